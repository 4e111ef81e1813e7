"""The idx files of MNIST (LeCun, Cortes, Burges) and of the sets made in its image, such as Fashion-MNIST.

    train-images-idx3-ubyte  train-labels-idx1-ubyte    for training
    t10k-images-idx3-ubyte   t10k-labels-idx1-ubyte     for the test

each as it is or gzipped (.gz), also with ``.idx`` for ``-idx``; in the folder itself or where torchvision puts them,
``MNIST/raw`` or ``FashionMNIST/raw`` below it. A file is ``0 0 8 n``, then n sizes of four bytes, the highest first,
then the numbers, a byte each, the last index fastest.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussmix._guard import reading
from gaussmix._typing import IntArray
from gaussmix.data.base import SPLITS, DataError, LabelledImages, images_digest
from gaussmix.data.cache import digest

FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
"""Zalando's names, in the order of the labels; taken if the folder's name contains "fashion"."""

_BELOW = ("", "raw", "MNIST/raw", "FashionMNIST/raw")
_BYTES = 8  # the type code of unsigned bytes
MOST_BYTES = 1 << 30  # of a file's numbers, 22 times those of MNIST
_GZIP = b"\x1f\x8b"


def find_idx(folder: Path) -> Path | None:
    """Where the files lie, in ``folder`` or below it; None if there is none of the four. DataError for two places."""
    places = [place for below in _BELOW if any(_find(place := folder / below, name) for name in FILES)]
    if len(places) > 1:
        raise DataError(f"idx files lie in {places[0]} and in {places[1]}; give one of these folders")
    return places[0] if places else None


def read_idx_folder(place: Path) -> LabelledImages:
    """The images of the four files in ``place``. DataError names the file of what is wrong."""
    paths = [_find(place, name) for name in FILES]
    missing = [name for name, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise DataError(f"{place} lacks {' and '.join(missing)} (also as .gz); put all four files of the set there")
    images, labels = zip(*(_read_pair(*paths[i : i + 2]) for i in (0, 2)), strict=True)  # pyright: ignore[reportArgumentType]
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(
            f"{paths[2]} has images of {images[1].shape[1]} pixels a side, {paths[0]} of {images[0].shape[1]}; "
            "give files of one set"
        )
    named = place.resolve()
    named = named.parent if named.name == "raw" else named
    names = FASHION if "fashion" in named.name.lower() else tuple(map(str, range(int(labels[0].max()) + 1)))
    for path, found in zip(paths[1::2], labels, strict=True):
        if found.max() >= len(names):
            raise DataError(
                f"{path}, image {found.argmax()}: label {found.max()}; expected 0 to {len(names) - 1}, as "
                + ("Fashion-MNIST has" if names is FASHION else f"in {FILES[1]}")
            )
    all_images, all_labels = np.concatenate(images)[..., None], np.concatenate(labels)
    split = np.repeat([SPLITS.index("train"), SPLITS.index("test")], [len(part) for part in labels]).astype(np.uint8)
    key = digest("idx 1", names, len(labels[0]), images_digest(all_images, all_labels))
    return LabelledImages(named.name, all_images, all_labels, names, split, key)


def _find(place: Path, name: str) -> Path | None:
    """The file of that name, plain if there is one."""
    spellings = [spelt + end for end in ("", ".gz") for spelt in (name, name.replace("-idx", ".idx"))]
    return next((place / spelt for spelt in spellings if (place / spelt).is_file()), None)


def _read_pair(images_path: Path, labels_path: Path) -> tuple[NDArray[np.uint8], IntArray]:
    """Images ``(N, S, S)`` and labels ``(N,)``."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1).astype(np.int64)
    if len(images) != len(labels):
        raise DataError(f"{images_path} has {len(images)} images, {labels_path} {len(labels)} labels; get both again")
    if not images.size or images.shape[1] != images.shape[2]:
        raise DataError(f"{images_path} has {' x '.join(map(str, images.shape))} pixels; expected square images")
    return images, labels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an idx file, gzipped or not, in their shape. DataError for a damaged or another file.

    What is unpacked is what the head announces, and at most `MOST_BYTES`.
    """
    start = 4 + 4 * dimensions
    with reading(path, "is damaged or cut off", "; get the file again", kind=DataError), path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        head = file.read(start)
        if head[:4] != bytes([0, 0, _BYTES, dimensions]) or len(head) < start:
            raise DataError(
                f"{path} begins with {head[:4].hex(' ') or 'nothing'}, an idx file of bytes in {dimensions} "
                f"dimension(s) with 00 00 08 {dimensions:02x}; get the file again"
            )
        shape = np.frombuffer(head, ">u4", dimensions, 4).tolist()
        size = math.prod(shape)
        said = f"its head says {' x '.join(map(str, shape))}"
        if size > MOST_BYTES:
            raise DataError(f"{path} is too large: {said}, {size} bytes; at most {MOST_BYTES} are read")
        data = file.read(size + 1)
    if len(data) != size:
        held = f"more than {size}" if len(data) > size else str(len(data))
        raise DataError(f"{path} holds {held} bytes, {said}; get the file again")
    return np.frombuffer(data, np.uint8).reshape(shape)
