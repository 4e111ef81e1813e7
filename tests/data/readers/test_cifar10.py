"""CIFAR-10's official layouts: both give the same data, and a pickle runs nothing."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gaussmix.data import SPLITS, AttributeDataset, DataError, load_dataset
from gaussmix.data.readers import cifar10

RECORDS = 20  # instead of ten thousand
NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()
FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    monkeypatch.setenv("GAUSSMIX_CACHE", str(tmp_path / "cache"))


def pictures(file: int) -> tuple[np.ndarray, np.ndarray]:
    """(20, 32, 32, 3) pixels and (20,) labels of one of the six files."""
    rng = np.random.default_rng(file)
    return rng.integers(0, 256, (RECORDS, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, RECORDS, dtype=np.uint8)


def planes(images: np.ndarray) -> np.ndarray:
    """A literal transcription: all red, then all green, then all blue values, row by row."""
    return np.stack([np.concatenate([image[:, :, c].ravel() for c in range(3)]) for image in images])


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i, name in enumerate(FILES):
        images, labels = pictures(i)
        (folder / f"{name}.bin").write_bytes(np.column_stack([labels, planes(images)]).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join([*NAMES, "", ""]))
    return folder


def write_pickles(folder: Path, *, python2: bool) -> Path:
    """As the official archive: with Python 2, keys and names are byte strings, which `pickle` writes no more.

    Protocol 2 of Python 3 writes bytes through `_codecs.encode` instead.
    """
    folder.mkdir()
    key = (lambda text: text.encode()) if python2 else (lambda text: text)
    for i, name in enumerate(FILES):
        images, labels = pictures(i)
        content = {key("data"): planes(images), key("labels"): labels.tolist(), key("batch_label"): key("a batch")}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2 if python2 else 4))
    meta = {key("label_names"): [key(name) for name in NAMES], key("num_vis"): 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2 if python2 else 4))
    return folder


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    return write_pickles(tmp_path / "cifar-10-batches-py", python2=True)


def load(folder: Path, **options: Any) -> AttributeDataset:
    return load_dataset(folder, progress=False, **options)


def check(data: AttributeDataset) -> None:
    assert data.name == "cifar10"
    assert data.attribute_names == tuple(NAMES)
    train, test = [pictures(i) for i in range(5)], pictures(5)
    order = ((image, label) for images, labels in train for image, label in zip(images, labels, strict=True))
    place = 0
    for image, label in zip(*test, strict=True):
        for _ in range(5):
            expected, of_class = next(order)
            np.testing.assert_array_equal(data.images[place], expected)
            assert data.attributes[place].tolist() == [int(k == of_class) for k in range(10)]
            assert SPLITS[data.split[place]] in ("train", "valid")
            place += 1
        np.testing.assert_array_equal(data.images[place], image)
        assert data.attributes[place].argmax() == label
        assert SPLITS[data.split[place]] == "test"
        place += 1
    assert place == len(data) == 120
    assert np.bincount(data.split).tolist() == [90, 10, 20]


def test_binary_layout(binary: Path) -> None:
    check(load(binary))
    check(load(binary.parent))  # the folder that the archive was unpacked in


def test_pickled_layout(pickled: Path) -> None:
    check(load(pickled))
    check(load(pickled.parent))


def test_pickles_of_python_3(tmp_path: Path) -> None:
    check(load(write_pickles(tmp_path / "cifar-10-batches-py", python2=False)))


def test_pickles_name_old_numpy(pickled: Path) -> None:
    """The official files say numpy.core.multiarray, as NumPy 1 did."""
    for name in FILES:
        data = (pickled / name).read_bytes()
        assert data.count(b"cnumpy._core.multiarray\n") == 1
        (pickled / name).write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    check(load(pickled))


def test_texts_of_python_2() -> None:
    """As Python 2 wrote them: byte strings (U) for keys, types and pixels, functions by their old names."""
    data = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x06abcdeftbU\x06labels]K\x07au."
    )
    content = cifar10._Unpickler(io.BytesIO(data), Path("data_batch_1")).load()
    assert content[b"labels"] == [7]
    np.testing.assert_array_equal(content[b"data"].array(), [[97, 98, 99], [100, 101, 102]])


def test_the_binary_layout_is_taken_first(binary: Path, pickled: Path) -> None:
    (pickled / "batches.meta").write_bytes(b"not read")
    check(load(binary.parent))


def test_a_few_images_have_every_split(binary: Path) -> None:
    whole, some = load(binary), load(binary, count=13)
    np.testing.assert_array_equal(some.images, whole.images[:13])
    np.testing.assert_array_equal(some.attributes, whole.attributes[:13])
    assert some.split.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0]
    assert some.key != whole.key
    assert load(binary, count=1000).key == whole.key


def test_other_sizes_are_resized(binary: Path) -> None:
    data = load(binary, size=16, count=6)
    expected = Image.fromarray(pictures(0)[0][3]).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(data.images[3], np.asarray(expected))


def test_unchanged_files_are_not_read_again(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = load(binary).key
    monkeypatch.setattr(cifar10, "_fingerprint", lambda path: pytest.fail(f"read {path}"))
    assert load(binary).key == key


def test_changed_files_are_read_again(binary: Path) -> None:
    before = load(binary)
    path = binary / "data_batch_1.bin"
    data = bytearray(path.read_bytes())
    data[1] ^= 255
    path.write_bytes(data)
    after = load(binary)
    assert after.key != before.key
    assert after.images[0, 0, 0, 0] == 255 - before.images[0, 0, 0, 0]


class Harmful:
    """What a pickle can do: call anything with anything."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_harmful_pickle_is_refused_and_not_run(pickled: Path, tmp_path: Path, name: str, protocol: int) -> None:
    proof = tmp_path / "proof"
    attack = pickle.dumps({"labels": Harmful(os.system, f"touch {proof}")}, protocol=protocol)
    (pickled / name).write_bytes(attack)
    with pytest.raises(
        DataError, match=rf"{name} asks for (posix|nt)\.system, which no file of CIFAR-10 needs"
    ) as caught:
        load(pickled)
    assert "\n" not in str(caught.value)
    assert not proof.exists()
    pickle.loads(attack)  # and it would have run
    assert proof.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Harmful(eval, "1"), r"asks for __builtin__\.eval"),
        (Harmful(getattr, 1, "real"), r"asks for __builtin__\.getattr"),
        (Harmful(np.load, "x"), r"asks for numpy\.load"),
        (
            Harmful(np.zeros(0).__reduce__()[0], np.ndarray, (10**12,), b"b"),
            r"has no 'data'",  # nothing of that size was made
        ),
        (Harmful(np.ndarray, (10**12,)), r"damaged .*not callable"),
        (Harmful(cifar10._latin1, "a", "b"), r"asks for gaussmix\.data\.readers\.cifar10\._latin1"),
    ],
)
def test_other_calls_are_refused(pickled: Path, content: object, message: str) -> None:
    (pickled / "test_batch").write_bytes(pickle.dumps({"data": content}, protocol=2))
    with pytest.raises(DataError, match=message):
        load(pickled)


def test_codecs_other_than_latin1_are_refused(pickled: Path) -> None:
    attack = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    (pickled / "test_batch").write_bytes(attack)
    with pytest.raises(DataError, match=r"test_batch is damaged \(bytes in rot13\)"):
        load(pickled)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data_batch_2.bin", lambda data: data[:-1], "data_batch_2.bin has 61459 bytes; expected 20 records of 3073"),
        ("test_batch.bin", lambda data: data[3073:], "test_batch.bin has 58387 bytes"),
        ("test_batch.bin", lambda _: b"", "test_batch.bin has 0 bytes"),
        ("data_batch_5.bin", lambda data: data[: 7 * 3073] + b"\x0a" + data[7 * 3073 + 1 :], "image 7: label 10;"),
        ("batches.meta.txt", lambda data: data.replace(b"cat", b""), "batches.meta.txt names 9 classes"),
        ("batches.meta.txt", lambda data: data.replace(b"cat", b"dog"), "row 1: the column 'dog' appears twice"),
    ],
)
def test_damaged_binary_files(binary: Path, name: str, change: Any, message: str) -> None:
    path = binary / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load(binary)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list; expected a dictionary"),
        ({"labels": [0] * RECORDS}, "has no 'data' of 20 x 3072 bytes"),
        ({"data": np.zeros((RECORDS, 3072)), "labels": [0] * RECORDS}, "has no 'data' of 20 x 3072 bytes"),
        ({"data": np.zeros((RECORDS, 3072), np.uint8), "fine_labels": [0] * RECORDS}, "has no 'labels'"),
        ({"data": np.zeros((RECORDS, 3072), np.uint8), "labels": ["0"] * RECORDS}, "has no 'labels'"),
        ({"data": np.zeros((RECORDS, 3072), np.uint8), "labels": [0] * 19 + [-1]}, "image 19: label -1"),
    ],
)
def test_pickles_of_something_else(pickled: Path, content: object, message: str) -> None:
    (pickled / "data_batch_4").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=f"data_batch_4.* ?{message}"):
        load(pickled)


def test_cut_off_pickle(pickled: Path) -> None:
    path = pickled / "data_batch_1"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"data_batch_1 is damaged \("):
        load(pickled)


@pytest.mark.parametrize("name", ["data_batch_4.bin", "test_batch.bin"])
def test_missing_file(binary: Path, name: str) -> None:
    (binary / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing; CIFAR-10 comes in 6 files and batches.meta.txt"):
        load(binary)
