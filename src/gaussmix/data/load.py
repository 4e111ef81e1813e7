"""The one interface to pictures with attributes: N images, K binary attributes each, and a split.

`load_dataset` reads the built-in avatars, an image folder with `metadata.csv`, or the official layouts of CelebA and
CIFAR-10.
Every image is decoded once, into a memory-mapped cache keyed by content (`gaussmix.data.cache`).

Images of K classes, one class each, behind one small interface: `load_labelled`.

It reads scikit-learn's digits, which need no download, the idx files of MNIST and its kin (`gaussmix.data.readers.idx`), and
folders with a sub-folder for each class (`gaussmix.data.readers.class_folder`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussmix.data.base import (
    SPLITS,
    AttributeDataset,
    DataError,
    LabelledImages,
    _check_whole,
    _ranks,
)
from gaussmix.data.readers.avatars import AVATAR_COUNT, _load_avatars
from gaussmix.data.readers.digits import _digits


def load_dataset(
    source: str | Path,
    *,
    size: int = 32,
    count: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> AttributeDataset:
    """Load pictures with attributes, decoding them only if the cache does not hold them yet.

    Parameters
    ----------
    source : "avatars" for the built-in faces (write "./avatars" for a folder of that name); else a folder:
        CelebA's layout if `list_attr_celeba.txt` lies in it or in its `Anno` sub-folder; CIFAR-10's if
        `batches.meta.txt` (binary) or `batches.meta` (pickled) lies in it or in the archive's own sub-folder; an image
        folder if `metadata.csv` lies in it or in a sub-folder named after a split.
    size : height and width in pixels. Pictures of any size are cropped to their centre square and resized;
        avatars come in 32 and 64.
    count : avatars: how many to draw (default 4000). A folder: use only the first `count` images it lists.
    seed : avatars only: which faces are drawn; 0 or more.
    skip_bad : leave out images that are missing or damaged, with a warning, instead of raising. CIFAR-10's files
        hold ten thousand images each and are whole or refused.
    cache : root of the cache, default `cache_dir()`.
    progress : show progress bars on standard error.

    Avatars are split by position: of every ten the first eight train, the ninth is valid, the tenth test. CIFAR-10
    keeps its test images; of its training images every tenth is valid. Its classes are K = 10 attributes.

    Raises
    ------
    DataError : one line naming the file and the row.
    """
    # Imported here: the readers need DataError from this module, and Pillow should load on first use only.
    from gaussmix.data.cache import cache_dir
    from gaussmix.data.decode import load_table
    from gaussmix.data.readers.celeba import find_celeba, read_celeba
    from gaussmix.data.readers.cifar10 import find_cifar10, load_cifar10
    from gaussmix.data.readers.image_folder import find_tables, read_image_folder

    _check_whole("size", size, 1)
    _check_whole("seed", seed, 0)
    if count is not None:
        _check_whole("count", count, 1)
    root = cache_dir() if cache is None else Path(cache)
    if source == "avatars":
        return _load_avatars(size, AVATAR_COUNT if count is None else count, seed, root, progress)

    folder = Path(source).expanduser()
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {problem}; give a folder of images, or 'avatars' for the built-in faces")
    if find_celeba(folder) is not None:
        name, table = "celeba", read_celeba(folder)
    elif (place := find_cifar10(folder)) is not None:
        return load_cifar10(place, size=size, count=count, root=root, progress=progress)
    elif find_tables(folder):
        name, table = folder.resolve().name, read_image_folder(folder)
    else:
        raise DataError(
            f"{folder} holds no data set; expected list_attr_celeba.txt (CelebA), batches.meta.txt (CIFAR-10), or "
            "metadata.csv (image folder) in it or in its train/, validation/, test/"
        )
    if count is not None:
        table = table.first(count)
    entry, key = load_table(table, size=size, skip_bad=skip_bad, root=root, progress=progress)
    return AttributeDataset(
        name=name,
        images=entry.images,
        attributes=entry.arrays["attributes"],
        attribute_names=table.attribute_names,
        split=entry.arrays["split"],
        key=key,
        skipped=entry.info["skipped"],
    )


FOLDER_SIZE = 32
"""Height and width that pictures of a class folder get unless told otherwise."""

_SETS = {
    "mnist": ("GAUSSMIX_MNIST", "http://yann.lecun.com/exdb/mnist"),
    "fashion-mnist": ("GAUSSMIX_FASHION_MNIST", "https://github.com/zalandoresearch/fashion-mnist"),
}  # source -> environment variable with the folder, the publishers' page


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


def _check_classes(data: LabelledImages) -> None:
    """DataError unless there are two classes or more, each with an image to train on."""
    if len(data.class_names) < 2:
        raise DataError(f"{data.name} has one class, {', '.join(data.class_names)}; give two or more")
    counts = np.bincount(data.labels[data.split == 0], minlength=len(data.class_names))
    if not counts.all():
        missing = data.class_names[int(counts.argmin())]
        raise DataError(f"class {missing!r} of {data.name} has no image to train on; add some, or leave it out")
