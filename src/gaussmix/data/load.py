"""Loading datasets: the only module that knows the readers.

`load_dataset` gives pictures with attributes, `load_labelled` images of classes. A reader recognises a folder by a file
that only its layout has. Pictures are decoded once, into a memory-mapped cache keyed by content
(`gaussmix.data.cache`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import cache_dir
from gaussmix._typing import IntArray
from gaussmix.data.base import (
    SPLITS,
    AttributeDataset,
    DataError,
    LabelledImages,
    every_fifth_for_test,
    images_digest,
    ranks_within,
)
from gaussmix.data.cache import digest
from gaussmix.data.decode import load_table
from gaussmix.data.readers.avatars import AVATAR_COUNT, load_avatars
from gaussmix.data.readers.celeba import find_celeba, read_celeba
from gaussmix.data.readers.cifar10 import find_cifar10, load_cifar10
from gaussmix.data.readers.idx import FILES, find_idx, read_idx_folder
from gaussmix.data.readers.image_folder import find_tables, read_class_folder, read_image_folder, unlisted
from gaussmix.data.table import ImageTable

_MOST_COMBINATIONS = 64
_NAMED = 3  # of pictures that are left out
FOLDER_SIZE = 32  # height and width that pictures of a class folder get unless told otherwise

_SETS = {
    "mnist": ("GAUSSMIX_MNIST", "http://yann.lecun.com/exdb/mnist"),
    "fashion-mnist": ("GAUSSMIX_FASHION_MNIST", "https://github.com/zalandoresearch/fashion-mnist"),
}  # source -> environment variable with the folder, the publishers' page


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

    Avatars are split by position: of every ten the first eight train, the ninth is valid, the tenth test. CIFAR-10
    keeps its test images; of its training images every tenth is valid. Its classes are K = 10 attributes.
    Raises DataError, one line naming the file and the row.

    Parameters
    ----------
    source : str or Path
        "avatars" for the built-in faces (write "./avatars" for a folder of that name); else a folder: CelebA's layout
        if ``list_attr_celeba.txt`` lies in it or in its ``Anno`` sub-folder; CIFAR-10's if ``batches.meta.txt``
        (binary) or ``batches.meta`` (pickled) lies in it or in the archive's own sub-folder; an image folder if
        ``metadata.csv`` lies in it or in a sub-folder named after a split.
    size : int, default 32
        Height and width in pixels. Pictures of any size are cropped to their centre square and resized; avatars come
        in 32 and 64.
    count : int, optional
        Of the avatars: how many to draw (default 4000). Of a folder: use only the first images it lists.
    seed : int, default 0
        Of the avatars only: which faces are drawn; 0 or more.
    skip_bad : bool, default False
        Leave out images that are missing or damaged, with a warning, instead of raising. CIFAR-10's files hold ten
        thousand images each and are whole or refused.
    cache : Path, optional
        Root of the cache; `cache_dir` if not given.
    progress : bool, default True
        Show progress bars on standard error.
    """
    _check_whole(size=(size, 1), seed=(seed, 0), count=(count, 1))
    root = cache_dir() if cache is None else Path(cache)
    if source == "avatars":
        return load_avatars(AVATAR_COUNT if count is None else count, size, seed, root, progress)
    folder = _folder(source, "give a folder of images, or 'avatars' for the built-in faces")
    if find_celeba(folder) is not None:
        name, table = "celeba", read_celeba(folder)
    elif (place := find_cifar10(folder)) is not None:
        return load_cifar10(place, size=size, count=count, root=root, progress=progress)
    elif find_tables(folder):
        name, table = folder.resolve().name, read_image_folder(folder)
        _warn_of_unlisted(folder, table, "no metadata.csv lists")
    else:
        raise DataError(
            f"{folder} holds no data set; expected list_attr_celeba.txt (CelebA), batches.meta.txt (CIFAR-10), or "
            "metadata.csv (image folder) in it or in its train/, validation/, test/"
        )
    if count is not None:
        table = table.take(range(min(count, len(table))))
    entry = load_table(table, size=size, skip_bad=skip_bad, root=root, progress=progress)
    return entry.dataset(name, table.attribute_names)


def load_labelled(
    source: str | Path = "digits",
    *,
    size: int | None = None,
    count: int | None = None,
    label_by: Sequence[str] = (),
    skip_bad: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> LabelledImages:
    """Load images of several classes.

    Of the digits, and of a class folder without ``train/``, every fifth image of each class is for the test, the rest
    is for training.
    Raises DataError, one line naming the file.

    Parameters
    ----------
    source : str or Path, default "digits"
        "digits" for scikit-learn's 1797 digits of 8 x 8 pixels (write "./digits" for a folder of that name); else a
        folder: idx files if there is one of the four that MNIST comes in (`gaussmix.data.readers.idx`), one with
        a ``metadata.csv`` of attributes, whose combinations are the classes (an attribute each, if every picture has
        one), or one with a sub-folder of pictures for each class (`gaussmix.data.readers.image_folder`). "mnist" and
        "fashion-mnist", unless there is such a folder here, stand for the folder in ``GAUSSMIX_MNIST`` and
        ``GAUSSMIX_FASHION_MNIST``.
    size : int, optional
        Height and width in pixels. Pictures of a class folder are cropped to their centre square and resized, to 32 if
        not given; digits and idx files keep theirs, and another number is an error.
    count : int, optional
        Use at most so many images in all: from each class of each split its first ones, in proportion, and at least
        one if ``count`` allows it.
    label_by : sequence of str, optional
        Of a ``metadata.csv``: the attributes that make the classes, all if not given.
    skip_bad : bool, default False
        Leave out pictures of a class folder that are missing or damaged, with a warning, instead of raising.
    cache : Path, optional
        Root of the cache of decoded pictures; `cache_dir` if not given. Only class folders need it.
    progress : bool, default True
        Show progress bars on standard error.

    Examples
    --------
    >>> from gaussmix import load_labelled
    >>> digits = load_labelled("digits")
    >>> digits.images.shape, len(digits.indices("test")), digits.class_names[:3]
    ((1797, 8, 8, 1), 355, ('0', '1', '2'))
    """
    _check_whole(size=(size, 1), count=(count, 1))
    if source == "digits":
        data = _digits()
    else:
        folder = _folder(source, "give a folder with idx files or one sub-folder for each class, or 'digits'", _SETS)
        if (place := find_idx(folder)) is None:
            tables = find_tables(folder)
            table = _by_class(read_image_folder(folder), label_by) if tables else read_class_folder(folder)
            _warn_of_unlisted(folder, table, "no metadata.csv lists" if tables else "lie in no class's folder")
            if count is not None:
                table = table.take(_first_of_each(table.attributes.argmax(1), table.split, count))
            root = cache_dir() if cache is None else Path(cache)
            entry = load_table(table, size=size or FOLDER_SIZE, skip_bad=skip_bad, root=root, progress=progress)
            labels, split = entry.arrays["attributes"].argmax(1).astype(np.int64), entry.arrays["split"]
            data = LabelledImages(folder.resolve().name, entry.images, labels, table.attribute_names, split, entry.key)
            _check_classes(data)  # after reading: skip_bad may have left none of a class
            return data
        data = read_idx_folder(place)
    own = data.images.shape[1]
    if size not in (None, own):
        raise DataError(f"size is {size}, but the images of {data.name} have {own} pixels a side; leave size out")
    _check_classes(data)
    if count is None:
        return data
    rows = _first_of_each(data.labels, data.split, count)
    images, labels, split = data.images[rows], data.labels[rows], data.split[rows]
    return replace(data, images=images, labels=labels, split=split, key=digest("first", len(rows), data.key))


def _warn_of_unlisted(folder: Path, table: ImageTable, why: str) -> None:
    """Pictures that lie there and are not used are counted and named."""
    lost = unlisted(folder, table.files)
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        pictures = "1 picture" if len(lost) == 1 else f"{len(lost)} pictures"
        names = ", ".join(lost[:_NAMED])
        warnings.warn(f"{pictures} in {folder} that {why}: left out ({names}{more})", stacklevel=3)


def _by_class(table: ImageTable, label_by: Sequence[str]) -> ImageTable:
    """A table whose attributes are classes, one in each row: the combinations of attributes that occur."""
    names = table.attribute_names
    for name in label_by:
        if name not in names:
            raise DataError(f"label_by names {name!r}; the attributes of {table.root} are {', '.join(names)}")
    columns = [names.index(name) for name in label_by or names]
    rows, labels = np.unique(table.attributes[:, columns], axis=0, return_inverse=True)
    if len(rows) > _MOST_COMBINATIONS:
        raise DataError(
            f"the {len(columns)} attributes of {table.root} make {len(rows)} combinations, too many for classes; name "
            f"a few with label_by (--label-by {','.join(names[:2])})"
        )
    on = [[names[k] for k, value in zip(columns, row, strict=True) if value] for row in rows]
    classes = tuple("+".join(each) or "none" for each in on)
    return replace(table, attributes=np.eye(len(rows), dtype=np.uint8)[labels.ravel()], attribute_names=classes)


def _digits() -> LabelledImages:
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)  # pixels 0 ... 16
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = np.asarray(classes, np.int64)
    key = digest("digits", images_digest(images, labels))
    return LabelledImages("digits", images, labels, tuple("0123456789"), every_fifth_for_test(labels), key)


def _check_whole(**settings: tuple[int | None, int]) -> None:
    """DataError for a setting, name=(value, least), that is neither None nor a whole number of at least so much."""
    for name, (value, least) in settings.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise DataError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _folder(source: str | Path, remedy: str, sets: Mapping[str, tuple[str, str]] | None = None) -> Path:
    """The folder that ``source`` means: itself, or that of one of ``sets``, which the environment names."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or not sets or source not in sets:
        raise DataError(f"{folder} {'is not a folder' if folder.exists() else 'does not exist'}; {remedy}")
    variable, page = sets[str(source)]
    given = os.environ.get(variable)
    if not given:
        raise DataError(
            f"no folder named {source}, and {variable} is not set; get {', '.join(f'{name}.gz' for name in FILES)} "
            f"from {page} and set {variable} to their folder"
        )
    if not Path(given).expanduser().is_dir():
        raise DataError(f"{variable} is {given}, which is not a folder; set it to the folder with the four files")
    return Path(given).expanduser()


def _first_of_each(labels: IntArray, split: NDArray[np.uint8], count: int) -> IntArray:
    """Ascending positions of at most ``count`` images, the first of each class of each split, in proportion."""
    names, groups, sizes = np.unique(labels * len(SPLITS) + split, return_inverse=True, return_counts=True)
    if count < len(names):
        raise DataError(f"count is {count}; give at least {len(names)}, one for each class in each split, or none")
    share = ranks_within(groups) / sizes[groups]  # the first image of each group has 0, so none is left out
    return np.sort(np.argsort(share, kind="stable")[:count])


def _check_classes(data: LabelledImages) -> None:
    """DataError unless there are two classes or more, each with an image to train on."""
    if len(data.class_names) < 2:
        raise DataError(f"{data.name} has one class, {', '.join(data.class_names)}; give two or more")
    counts = np.bincount(data.labels[data.split == 0], minlength=len(data.class_names))
    if not counts.all():
        missing = data.class_names[int(counts.argmin())]
        raise DataError(f"class {missing!r} of {data.name} has no image to train on; add some, or leave it out")
