"""Folders of pictures.

Image folder: pictures and ``metadata.csv``, as in Hugging Face's imagefolder convention.

    folder/metadata.csv    file_name,Smiling,Hat    file_name relative to the table's own folder, then one
    folder/faces/a.png     faces/a.png,1,0          column of 0/1 (or -1/1, true/false) for each attribute
    folder/faces/b.jpg     faces/b.jpg,0,0

A table may lie in the folder itself, in sub-folders named after splits, or both. The split of an image is the
first part of its path: train; valid, validation, val or dev; test. If no image has one, a hash of ``file_name``
decides: about 80 % train, 10 % valid, 10 % test, and an image keeps its split when others come and go.

Class folder: one sub-folder of pictures for each class, with or without folders for the splits.

    folder/cat/a.png       folder/train/cat/a.png
    folder/cat/b.jpg       folder/validation/cat/b.jpg
    folder/dog/c.png       folder/test/dog/c.png

With a folder ``train`` the first part of the path is the split, otherwise every fifth picture of each class is for the
test. Classes and files come in the order of their names. Names that begin with a dot and files that do not end as a
picture does are passed over.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from pathlib import Path

import numpy as np

from gaussmix.data.base import DataError, every_fifth_for_test
from gaussmix.data.decode import read_square
from gaussmix.data.table import ImageTable, TableRows, check_file, check_names, read_text

READER, CLASS_READER = "image-folder 1", "class-folder 1"
TABLE = "metadata.csv"
FILE_COLUMN = "file_name"
SPLIT_FOLDERS = {"train": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2}
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


def find_tables(folder: Path) -> list[Path]:
    """The tables of an image folder: its own, then those of the splits; empty if it is none."""
    splits = [name for name in os.listdir(folder) if name.lower() in SPLIT_FOLDERS]
    splits.sort(key=lambda name: (SPLIT_FOLDERS[name.lower()], name))
    places = [folder / TABLE, *(folder / name / TABLE for name in splits)]
    return [path for path in places if path.is_file()]


def read_image_folder(folder: Path) -> ImageTable:
    """Read the tables of ``folder``; no image is opened. DataError names the file and row of what is wrong."""
    table: TableRows | None = None
    for path in find_tables(folder):
        table = _read_table(path, folder, table)
    assert table is not None, "call find_tables first"
    return table.table(READER, folder, _splits(list(table.rows), list(table.rows.values())))


def _read_table(path: Path, folder: Path, table: TableRows | None) -> TableRows:
    """Add the rows of one table to those before it."""
    prefix = "" if path.parent == folder else f"{path.parent.name}/"
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    row = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        if FILE_COLUMN not in header:
            found = ", ".join(map(repr, header)) or "none"
            raise DataError(f"{path}, row 1: no column {FILE_COLUMN!r} (columns: {found}); name the images in one")
        names = [name for name in header if name != FILE_COLUMN]
        if header.count(FILE_COLUMN) > 1:
            raise DataError(f"{path}, row 1: the column {FILE_COLUMN!r} appears twice; rename or drop one")
        check_names(names, path, 1)
        if table is None:
            table = TableRows(names)
        elif set(names) != set(table.names):
            first = next(iter(table.rows.values()))[0]
            odd = ", ".join(sorted(set(names) ^ set(table.names)))
            raise DataError(f"{path}, row 1: the attributes differ from those of {first} ({odd}); use the same in all")
        place = header.index(FILE_COLUMN)
        order = [header.index(name) for name in table.names]
        before = len(table.rows)
        for row, cells in enumerate(reader, 2):
            if not cells:  # a blank line
                continue
            if len(cells) != len(header):
                raise DataError(f"{path}, row {row}: {len(cells)} fields where the header has {len(header)}")
            file = check_file(cells[place], path, row)
            table.add(prefix + file, [cells[i] for i in order], path, row)
    except csv.Error as error:
        raise DataError(f"{path}, near row {row + 1}: not valid CSV ({error})") from error
    if len(table.rows) == before:
        raise DataError(f"{path} has no rows after the header; add one for each image, or remove the file")
    return table


def _splits(files: list[str], rows: list[tuple[Path, int]]) -> np.ndarray:
    """``(N,)`` uint8 splits, by folder or, if no image lies in a split's folder, by hash."""
    found = [SPLIT_FOLDERS.get(file.split("/", 1)[0].lower()) if "/" in file else None for file in files]
    if all(code is None for code in found):
        digests = (hashlib.blake2b(file.encode(), digest_size=8).digest() for file in files)
        buckets = [int.from_bytes(value, "big") % 10 for value in digests]
        return np.maximum(np.array(buckets) - 7, 0).astype(np.uint8)  # 0 to 7 train, 8 valid, 9 test
    if None in found:
        lost = found.index(None)
        path, row = rows[lost]
        raise DataError(
            f"{path}, row {row}: {files[lost]} lies in no split's folder while other images do; move it into "
            "train/, validation/ or test/"
        )
    return np.array(found, np.uint8)


def unlisted(folder: Path, files: list[str]) -> list[str]:
    """Pictures under ``folder`` that are not among ``files``, relative to it; hidden folders are passed over."""
    listed, found = set(files), []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = Path(place).relative_to(folder)
        pictures = (n for n in sorted(names) if os.path.splitext(n)[1].lower() in ENDINGS and not n.startswith("."))
        found += [path for path in ((prefix / name).as_posix() for name in pictures) if path not in listed]
    return found


def read_pictures(folder: Path, size: int, count: int) -> np.ndarray:
    """The first ``count`` pictures under ``folder``, by name: their centre squares, ``(M, size, size, 3)`` uint8.

    Raises ValueError naming a file that is no picture, and for a folder without any.
    """
    names = unlisted(folder, [])[:count]
    if not names:
        raise ValueError(f"{folder} holds no pictures ({', '.join(sorted(ENDINGS))})")
    return np.stack([read_square(folder / name, size) for name in names])


def read_class_folder(folder: Path) -> ImageTable:
    """List the pictures of ``folder``; none is opened. The classes are the table's attributes, one in each row.

    DataError for a folder without classes, for a class without pictures and for one that only another split has.
    """
    codes = {path: SPLIT_FOLDERS.get(path.name.lower()) for path in _folders(folder)}
    has_splits = 0 in codes.values()
    if has_splits and None in codes.values():
        odd = next(path for path, code in codes.items() if code is None)
        split = next(path for path, code in codes.items() if code is not None)
        raise DataError(f"{odd} lies beside {split}; move the class into the splits, or take the splits away")
    places = [(own, code) for path, code in (codes if has_splits else {folder: 0}).items() for own in _folders(path)]
    if not places:
        raise DataError(
            f"{folder} holds no images of classes; expected idx files such as train-images-idx3-ubyte.gz, or a "
            "sub-folder of pictures for each class, in it or in its train/, validation/, test/"
        )
    names = tuple(sorted({own.name for own, code in places if code == 0}))
    files, rows, labels, split = [], [], [], []
    for own, code in places:
        if own.name not in names:
            raise DataError(f"{own} is a class without a folder in train/; move some of its pictures there")
        pictures = sorted(file.name for file in own.glob("[!.]*") if file.suffix.lower() in ENDINGS)
        if not pictures:
            raise DataError(f"{own} holds no pictures ({', '.join(sorted(ENDINGS))}); add some, or remove the folder")
        files += [(own / name).relative_to(folder).as_posix() for name in pictures]
        rows += [(own, place) for place in range(1, len(pictures) + 1)]
        labels += [names.index(own.name)] * len(pictures)
        split += [code] * len(pictures)
    attributes = np.eye(len(names), dtype=np.uint8)[labels]
    split = np.array(split, np.uint8) if has_splits else every_fifth_for_test(np.array(labels))
    return ImageTable(CLASS_READER, folder, files, rows, attributes, names, split)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())
