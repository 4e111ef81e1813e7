"""Class folder: one sub-folder of pictures for each class, with or without folders for the splits.

    folder/cat/a.png            folder/train/cat/a.png
    folder/cat/b.jpg            folder/validation/cat/b.jpg
    folder/dog/c.png            folder/test/dog/c.png

With a folder ``train`` the first part of the path is the split (`image_folder.SPLIT_FOLDERS`), otherwise every fifth
picture of each class is for the test. Classes and files come in the order of their names. Names that begin with a dot
and files that do not end as a picture does are passed over.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gaussmix.data.base import DataError, every_fifth_for_test
from gaussmix.data.readers.image_folder import SPLIT_FOLDERS
from gaussmix.data.table import ImageTable

READER = "class-folder 1"
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


def read_class_folder(folder: Path) -> ImageTable:
    """List the pictures of ``folder``; none is opened. The classes are the table's attributes, one in each row.

    DataError for a folder without classes, for a class without pictures and for one that only another split has.
    """
    splits = [path for path in _folders(folder) if path.name.lower() in SPLIT_FOLDERS]
    has_splits = any(SPLIT_FOLDERS[path.name.lower()] == 0 for path in splits)
    if has_splits and len(splits) < len(_folders(folder)):
        odd = next(path for path in _folders(folder) if path not in splits)
        raise DataError(f"{odd} lies beside {splits[0]}; move the class into the splits, or take the splits away")
    places = [(path, own) for path in (splits if has_splits else [folder]) for own in _folders(path)]
    if not places:
        raise DataError(
            f"{folder} holds no images of classes; expected idx files such as train-images-idx3-ubyte.gz, or a "
            "sub-folder of pictures for each class, in it or in its train/, validation/, test/"
        )
    names = tuple(sorted({own.name for path, own in places if not has_splits or _code(path) == 0}))
    files, rows, labels, split = [], [], [], []
    for path, own in places:
        if own.name not in names:
            raise DataError(f"{own} is a class without a folder in train/; move some of its pictures there")
        pictures = sorted(file.name for file in own.glob("[!.]*") if file.suffix.lower() in ENDINGS)
        if not pictures:
            raise DataError(f"{own} holds no pictures ({', '.join(sorted(ENDINGS))}); add some, or remove the folder")
        files += [(own / name).relative_to(folder).as_posix() for name in pictures]
        rows += [(own, place) for place in range(1, len(pictures) + 1)]
        labels += [names.index(own.name)] * len(pictures)
        split += [_code(path) if has_splits else 0] * len(pictures)
    return ImageTable(
        reader=READER,
        root=folder,
        files=files,
        rows=rows,
        attributes=np.eye(len(names), dtype=np.uint8)[labels],
        attribute_names=names,
        split=np.array(split, np.uint8) if has_splits else every_fifth_for_test(np.array(labels)),
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())


def _code(split: Path) -> int:
    return SPLIT_FOLDERS[split.name.lower()]
