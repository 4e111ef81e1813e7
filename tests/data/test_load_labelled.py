"""Readers of labelled images: files that the tests write, whole and damaged."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.layouts import pixels, write_image
from PIL import Image
from sklearn.datasets import load_digits

from gaussmix.data.base import DataError, LabelledImages
from gaussmix.data.load import load_labelled
from gaussmix.data.readers.idx import FASHION, FILES


def load(source: Path | str, **options) -> LabelledImages:
    return load_labelled(source, progress=False, **options)


def test_digits_are_scikit_learns() -> None:
    data, (rows, labels) = load("digits"), load_digits(return_X_y=True)
    assert data.images.shape == (1797, 8, 8, 1)
    np.testing.assert_allclose(data.images.reshape(-1, 64) * (16 / 255), rows, atol=0.04)
    np.testing.assert_array_equal(data.labels, np.asarray(labels))
    for k in range(10):
        of_class = np.flatnonzero(data.labels == k)
        np.testing.assert_array_equal(data.split[of_class], [2 * (i % 5 == 4) for i in range(len(of_class))])
    assert not set(data.indices("train")) & set(data.indices("test"))
    with pytest.raises(DataError, match="unknown split 'tests'"):
        data.indices("tests")
    with pytest.raises(DataError, match="split 'valid' is empty"):
        data.indices("valid")
    with pytest.raises(DataError, match="size is 16, but the images of digits have 8 pixels"):
        load("digits", size=16)


def test_some_images_keep_classes_and_splits_in_proportion() -> None:
    whole, some = load("digits"), load("digits", count=300)
    assert len(some) == 300
    assert np.bincount(some.labels).min() >= 28
    assert some.key != whole.key
    for k in range(10):
        for split in (0, 2):
            ours, theirs = (data.images[(data.labels == k) & (data.split == split)] for data in (some, whole))
            np.testing.assert_array_equal(ours, theirs[: len(ours)])
            assert len(ours) == pytest.approx(len(theirs) / 6, abs=1)
    assert len(load("digits", count=5000)) == 1797
    assert len(np.unique(load("digits", count=20).labels * 3 + load("digits", count=20).split)) == 20
    with pytest.raises(DataError, match="count is 19; give at least 20"):
        load("digits", count=19)
    with pytest.raises(DataError, match="count must be a whole number"):
        load("digits", count=0)


# --- idx files ----------------------------------------------------------------------------------------------------


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def contents() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        FILES[0]: rng.integers(0, 256, (9, 5, 5), np.uint8),
        FILES[1]: np.arange(9, dtype=np.uint8) % 3,
        FILES[2]: rng.integers(0, 256, (4, 5, 5), np.uint8),
        FILES[3]: np.array([2, 1, 0, 0], np.uint8),
    }


def write_idx(folder: Path, spelling: Callable[[str], str] = str) -> Path:
    folder.mkdir(parents=True)
    for name, values in contents().items():
        data, path = idx_bytes(values), folder / spelling(name)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return folder


@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize(
    "spelling",
    [str, lambda n: f"{n}.gz", lambda n: n.replace("-idx", ".idx"), lambda n: n.replace("-idx", ".idx") + ".gz"],
)
def test_idx_files(tmp_path: Path, below: str, spelling: Callable[[str], str]) -> None:
    write_idx(tmp_path / "set" / below, spelling)
    data, files = load(tmp_path / "set"), contents()
    np.testing.assert_array_equal(data.images[..., 0], np.concatenate([files[FILES[0]], files[FILES[2]]]))
    assert data.labels.tolist() == [0, 1, 2] * 3 + [2, 1, 0, 0]
    assert data.labels.dtype == np.int64
    assert data.split.tolist() == [0] * 9 + [2] * 4
    assert data.class_names == ("0", "1", "2")
    assert data.name == ("MNIST" if below.startswith("MNIST") else "set")
    with pytest.raises(DataError, match=r"size is 28, but the images of (set|MNIST) have 5 pixels"):
        load(tmp_path / "set", size=28)


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    plain = load(write_idx(tmp_path / "a")).key
    assert load(write_idx(tmp_path / "b", lambda name: f"{name}.gz")).key == plain
    (tmp_path / "a" / FILES[3]).write_bytes(idx_bytes(np.array([2, 1, 0, 1], np.uint8)))
    assert load(tmp_path / "a").key != plain


def test_fashion_has_names_and_no_more_labels(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "FashionMNIST" / "raw")
    labels = np.arange(10, dtype=np.uint8)
    (folder / FILES[0]).write_bytes(idx_bytes(np.zeros((10, 5, 5), np.uint8)))
    (folder / FILES[1]).write_bytes(idx_bytes(labels))
    for place in (folder, folder.parent, tmp_path):
        assert load(place).class_names == FASHION
    (folder / FILES[3]).write_bytes(idx_bytes(np.array([0, 1, 10, 2], np.uint8)))
    with pytest.raises(DataError, match="image 2: label 10; expected 0 to 9, as Fashion-MNIST has"):
        load(folder)


def test_two_places_are_too_many(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    write_idx(tmp_path / "FashionMNIST" / "raw")
    with pytest.raises(DataError, match=r"idx files lie in .*MNIST/raw and in .*FashionMNIST/raw"):
        load(tmp_path)


def replaced(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def labels(name: str, values: list[int]) -> Callable[[Path], object]:
    return replaced(name, idx_bytes(np.array(values, np.uint8)))


IMAGES = idx_bytes(contents()[FILES[0]])
DAMAGE = {
    "array short": (replaced(FILES[0], IMAGES[:-1]), "train-images.* holds 224 bytes, its head says 9 x 5 x 5"),
    "array long": (replaced(FILES[0], IMAGES + b"0"), "holds 226 bytes"),
    "head short": (replaced(FILES[0], IMAGES[:9]), "begins with 00 00 08 03"),
    "empty": (replaced(FILES[0], b""), "begins with nothing"),
    "gzip cut": (replaced(FILES[0], gzip.compress(IMAGES)[:-20]), "is damaged or cut off"),
    "gzip of a short array": (replaced(FILES[0], gzip.compress(IMAGES[:-1])), "holds 224 bytes"),
    "gzip altered": (replaced(FILES[0], gzip.compress(IMAGES)[:-6] + b"\0" * 6), "is damaged or cut off"),
    "wrong magic": (replaced(FILES[1], IMAGES), "train-labels.* begins with 00 00 08 03, an idx file of bytes in 1"),
    "labels missing at the end": (
        replaced(FILES[1], idx_bytes(np.zeros(8, np.uint8))),
        "has 9 images, .*train-labels-idx1-ubyte 8 labels",
    ),
    "a partner missing": (lambda folder: (folder / FILES[3]).unlink(), "lacks t10k-labels-idx1-ubyte"),
    "labels beyond": (labels(FILES[3], [0, 3, 1, 1]), "image 1: label 3; expected 0 to 2"),
    "a class without images": (labels(FILES[1], [0, 2] * 4 + [0]), "class '1' of set has no"),
    "one class": (lambda at: (labels(FILES[1], [0] * 9)(at), labels(FILES[3], [0] * 4)(at)), "one class, 0;"),
    "other sizes": (replaced(FILES[2], idx_bytes(np.zeros((4, 6, 6), np.uint8))), "of 6 pixels a side, .* of 5"),
    "not square": (replaced(FILES[2], idx_bytes(np.zeros((4, 6, 5), np.uint8))), "4 x 6 x 5 pixels; expected square"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_idx_files(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_idx(tmp_path / "set"))
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "set")
    assert "\n" not in str(caught.value)


def test_names_of_known_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAUSSMIX_MNIST", raising=False)
    with pytest.raises(DataError, match=r"GAUSSMIX_MNIST is not set; get train-images-idx3-ubyte\.gz, .* from http"):
        load("mnist")
    monkeypatch.setenv("GAUSSMIX_MNIST", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"GAUSSMIX_MNIST is .*none, which is not a folder"):
        load("mnist")
    monkeypatch.setenv("GAUSSMIX_MNIST", str(write_idx(tmp_path / "elsewhere")))
    assert load("mnist").name == "elsewhere"
    write_idx(tmp_path / "mnist")
    assert load("mnist").name == "mnist"  # a folder here comes first


# --- class folders ------------------------------------------------------------------------------------------------


def write_classes(folder: Path, counts: dict[str, int]) -> Path:
    seed = 0
    for name, count in counts.items():
        for i in range(count):
            write_image(folder / name / f"{i:02}.png", seed)
            seed += 1
    return folder


def test_class_folder(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "pets", {"cat": 6, "dog": 7})
    (folder / "dog" / "notes.txt").write_text("not a picture")
    (folder / ".hidden").mkdir()
    data = load(folder, size=16)
    assert (data.name, data.class_names) == ("pets", ("cat", "dog"))
    assert data.labels.tolist() == [0] * 6 + [1] * 7
    assert np.flatnonzero(data.split == 2).tolist() == [4, 10]
    np.testing.assert_array_equal(data.images[7], pixels(7))
    assert load(folder).images.shape == (13, 32, 32, 3)
    some = load(folder, size=16, count=6)
    assert some.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.bincount(some.split).tolist() == [4, 0, 2]
    np.testing.assert_array_equal(some.images[2], pixels(4))


def test_pictures_are_cropped_to_their_centre(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 1, "b": 1})
    wide = pixels(5, 8, 20)
    Image.fromarray(wide).save(tmp_path / "a" / "00.png")
    np.testing.assert_array_equal(load(tmp_path, size=8).images[0], wide[:, 6:14])


def test_class_folder_with_splits(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train/b": 2, "train/a": 2, "validation/a": 1, "test/b": 1})
    data = load(tmp_path, size=8)
    assert data.class_names == ("a", "b")
    assert sorted(zip(data.split.tolist(), data.labels.tolist(), strict=True)) == [
        (0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds no images of classes"),
        ({"a": 3}, "has one class, a; give two"),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, "test/c is a class without a folder in train/"),
        ({"train/a": 1, "train/b": 1, "c": 1}, "c lies beside .*train"),
    ],
)
def test_class_folders_that_are_not_right(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write_classes(tmp_path, counts))


def test_empty_class_and_damaged_picture(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 2, "b": 1})
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="c holds no pictures"):
        load(tmp_path)
    (tmp_path / "c").rmdir()
    (tmp_path / "a" / "01.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"a/01\.png is"):
        load(tmp_path)
    with pytest.warns(UserWarning, match="skipped 1 of 3 images"):
        assert load(tmp_path, skip_bad=True).labels.tolist() == [0, 1]
    (tmp_path / "b" / "00.png").write_bytes(b"\x89PNG")
    with (
        pytest.warns(UserWarning, match="skipped 2 of 3"),
        pytest.raises(DataError, match=r"class 'b' of .* has no image to train on"),
    ):
        load(tmp_path, skip_bad=True)


def test_sources_that_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is not a folder"):
        load(tmp_path / "file")
    with pytest.raises(DataError, match="none does not exist; give a folder"):
        load(tmp_path / "none")
