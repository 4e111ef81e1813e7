"""Images of K classes, one class each, behind one small interface: `load_labelled`.

It reads scikit-learn's digits, which need no download, the idx files of MNIST and its kin (`gaussmix.data.readers.idx`), and
folders with a sub-folder for each class (`gaussmix.data.readers.class_folder`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussmix.data.load import SPLITS, AttributeDataset, DataError, _check_whole

FOLDER_SIZE = 32
"""Height and width that pictures of a class folder get unless told otherwise."""
DIGITS_SIZE = 8
TEST_EVERY = 5
"""Where the data have no split of their own, every so many-th image of each class is for the test."""

_SETS = {
    "mnist": ("GAUSSMIX_MNIST", "http://yann.lecun.com/exdb/mnist"),
    "fashion-mnist": ("GAUSSMIX_FASHION_MNIST", "https://github.com/zalandoresearch/fashion-mnist"),
}  # source -> environment variable with the folder, the publishers' page


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """N square images, each of one of K classes.

    Attributes
    ----------
    name : "digits", or the folder's name.
    images : (N, S, S, C) uint8, C = 1 (grey) or 3 (RGB); of a class folder a read-only memory map.
    labels : (N,) int64, position in `class_names`.
    class_names : K names, each with at least one image to train on.
    split : (N,) uint8, index into `SPLITS`.
    key : hex digest of the content; names whatever is derived from this data.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    split: NDArray[np.uint8]
    key: str

    def __len__(self) -> int:
        return len(self.images)

    def indices(self, split: str) -> NDArray[np.int64]:
        """(M,) positions of the images of ``split``, ascending. DataError if there are none, or no such split."""
        return AttributeDataset.indices(self, split)  # pyright: ignore[reportArgumentType]  # needs name and split


def load_labelled(
    source: str | Path = "digits",
    *,
    size: int | None = None,
    count: int | None = None,
    skip_bad: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> LabelledImages:
    """Load images of several classes.

    Parameters
    ----------
    source : "digits" for scikit-learn's 1797 digits of 8 x 8 pixels (write "./digits" for a folder of that name); else
        a folder: idx files if there is one of the four that MNIST comes in (`gaussmix.data.readers.idx`), otherwise one with
        a sub-folder of pictures for each class (`gaussmix.data.readers.class_folder`). "mnist" and "fashion-mnist", unless
        there is such a folder here, stand for the folder in GAUSSMIX_MNIST and GAUSSMIX_FASHION_MNIST.
    size : height and width in pixels. Pictures of a class folder are cropped to their centre square and resized (32 if
        None); digits and idx files keep theirs, and another number is an error.
    count : use at most so many images in all: from each class of each split its first ones, in proportion, and at
        least one if ``count`` allows it.
    skip_bad : leave out pictures of a class folder that are missing or damaged, with a warning, instead of raising.
    cache : root of the cache of decoded pictures, default `cache_dir()`; only class folders need it.
    progress : show progress bars on standard error.

    Of the digits, and of a class folder without train/, every fifth image of each class is for the test, the rest is
    for training.

    Raises
    ------
    DataError : one line naming the file.
    """
    # Imported here: the readers need this module's names, and Pillow and scikit-learn should load on first use only.
    from gaussmix.data.cache import cache_dir
    from gaussmix.data.decode import load_table
    from gaussmix.data.readers.class_folder import read_class_folder, some_of
    from gaussmix.data.readers.idx import find_idx, read_idx_folder

    for name, value in (("size", size), ("count", count)):
        if value is not None:
            _check_whole(name, value, 1)
    if source == "digits":
        data = _digits()
    elif (place := find_idx(folder := _folder(source))) is not None:
        data = read_idx_folder(place)
    else:
        table = read_class_folder(folder)
        if count is not None:
            table = some_of(table, _first_of_each(table.attributes.argmax(1), table.split, count))
        root = cache_dir() if cache is None else Path(cache)
        entry, key = load_table(table, size=size or FOLDER_SIZE, skip_bad=skip_bad, root=root, progress=progress)
        labels = entry.arrays["attributes"].argmax(1).astype(np.int64)
        name, names, split = folder.resolve().name, table.attribute_names, entry.arrays["split"]
        data = LabelledImages(name, entry.images, labels, names, split, key)
        _check_classes(data)  # after reading: skip_bad may have left none of a class
        return data
    own = data.images.shape[1]
    if size not in (None, own):
        raise DataError(f"size is {size}, but the images of {data.name} have {own} pixels a side; leave size out")
    _check_classes(data)
    return data if count is None else _some_images(data, _first_of_each(data.labels, data.split, count))


def every_fifth_for_test(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Split codes ``(N,)``: of the images of each label every fifth is for the test, the rest for training."""
    return np.where(_ranks(labels) % TEST_EVERY == TEST_EVERY - 1, SPLITS.index("test"), 0).astype(np.uint8)


def _ranks(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier images are in each image's group, ``(N,)``."""
    ranks = np.empty(len(groups), np.int64)
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        ranks[mine] = np.arange(len(mine))
    return ranks


def _first_of_each(labels: NDArray[np.int64], split: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Ascending positions of at most ``count`` images, the first of each class of each split, in proportion."""
    names, groups, sizes = np.unique(labels * len(SPLITS) + split, return_inverse=True, return_counts=True)
    if count < len(names):
        raise DataError(
            f"count is {count}; give at least {len(names)}, one image for each class in each split, or leave it out"
        )
    share = _ranks(groups) / sizes[groups]  # the first image of each group has 0, so none is left out
    return np.sort(np.argsort(share, kind="stable")[:count])


def _some_images(data: LabelledImages, rows: NDArray[np.int64]) -> LabelledImages:
    from gaussmix.data.cache import digest

    images, labels, split = data.images[rows], data.labels[rows], data.split[rows]
    return replace(data, images=images, labels=labels, split=split, key=digest("first", len(rows), data.key))


def _folder(source: str | Path) -> Path:
    """The folder that ``source`` means."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if source in _SETS and not folder.exists():
        variable, page = _SETS[str(source)]
        told = os.environ.get(variable)
        if not told:
            from gaussmix.data.readers.idx import FILES

            raise DataError(
                f"no folder named {source}, and {variable} is not set; get {', '.join(f'{name}.gz' for name in FILES)} "
                f"from {page} and set {variable} to their folder"
            )
        if Path(told).expanduser().is_dir():
            return Path(told).expanduser()
        raise DataError(f"{variable} is {told}, which is not a folder; set it to the folder with the four files")
    problem = "is not a folder" if folder.exists() else "does not exist"
    raise DataError(f"{folder} {problem}; give a folder with idx files or one sub-folder for each class, or 'digits'")


def _digits() -> LabelledImages:
    from sklearn.datasets import load_digits

    from gaussmix.data.cache import digest

    pixels, classes = load_digits(return_X_y=True)  # pixels 0 ... 16
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, DIGITS_SIZE, DIGITS_SIZE, 1)
    labels = np.asarray(classes, np.int64)
    key = digest("digits", images_digest(images, labels))
    return LabelledImages("digits", images, labels, tuple("0123456789"), every_fifth_for_test(labels), key)


def images_digest(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """Hex digest of the pixels and the labels."""
    hasher = hashlib.blake2b(str(images.shape).encode(), digest_size=16)
    hasher.update(np.ascontiguousarray(images).data)
    hasher.update(labels.tobytes())
    return hasher.hexdigest()


def _check_classes(data: LabelledImages) -> None:
    """DataError unless there are two classes or more, each with an image to train on."""
    if len(data.class_names) < 2:
        raise DataError(f"{data.name} has one class, {', '.join(data.class_names)}; give two or more")
    counts = np.bincount(data.labels[data.split == 0], minlength=len(data.class_names))
    if not counts.all():
        missing = data.class_names[int(counts.argmin())]
        raise DataError(f"class {missing!r} of {data.name} has no image to train on; add some, or leave it out")
