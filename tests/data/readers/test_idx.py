"""The idx files of MNIST and its kin: whole, gzipped, in their folders and damaged."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gaussmix.data import DataError, LabelledImages, load_labelled
from gaussmix.data.readers.idx import FASHION, FILES


def load(source: Path | str, **options) -> LabelledImages:
    return load_labelled(source, progress=False, **options)


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
    "array long": (replaced(FILES[0], IMAGES + b"0"), "holds more than 225 bytes"),
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
