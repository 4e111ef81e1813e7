"""CelebA's official layout (Liu et al., Deep Learning Face Attributes in the Wild, ICCV 2015).

    img_align_celeba/000001.jpg ...      178 x 218 pixels; any other size will do
    list_attr_celeba.txt                 number of images; K names; then a file name and K values -1/1 a row
    list_eval_partition.txt              a file name and 0 (train), 1 (valid) or 2 (test) a row

all in one folder, or where the official archives put them: in ``Img``, ``Anno`` and ``Eval``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gaussmix.data.base import SPLITS, DataError
from gaussmix.data.table import ImageTable, TableRows, check_file, check_names, read_text

READER = "celeba 1"
ATTRIBUTE_LIST = "list_attr_celeba.txt"
PARTITION_LIST = "list_eval_partition.txt"
IMAGES = "img_align_celeba"


def find_celeba(folder: Path) -> Path | None:
    """The list of attributes in ``folder``, or None if it is not CelebA."""
    places = (folder / ATTRIBUTE_LIST, folder / "Anno" / ATTRIBUTE_LIST)
    return next((path for path in places if path.is_file()), None)


def read_celeba(folder: Path) -> ImageTable:
    """Read the lists in ``folder``; no image is opened. DataError names the file and row of what is wrong."""
    path = find_celeba(folder)
    assert path is not None, "call find_celeba first"
    partition = _find(folder, PARTITION_LIST, ("", "Eval", "Anno"), "it assigns every image to a split")
    images = _find(folder, IMAGES, ("", "Img"), "it holds the images; unpack img_align_celeba.zip")
    table = _read_attributes(path)
    codes = _read_partition(partition)
    for file, (_, row) in table.rows.items():
        if file not in codes:
            raise DataError(f"{partition} has no row for {file} ({path}, row {row}); add it, or drop the image's row")
    return table.table(READER, images, np.array([codes[file] for file in table.rows], np.uint8))


def _find(folder: Path, name: str, places: tuple[str, ...], why: str) -> Path:
    found = [path for place in places if (path := folder / place / name).exists()]
    if not found:
        raise DataError(f"{folder / name} is missing: {why}")
    return found[0]


def _read_attributes(path: Path) -> TableRows:
    lines = read_text(path).splitlines()
    if len(lines) < 2:
        raise DataError(f"{path} has {len(lines)} rows; expected the number of images, the attribute names, then rows")
    try:
        count = int(lines[0])
    except ValueError:
        raise DataError(f"{path}, row 1: {lines[0]!r} is not the number of images") from None
    names = lines[1].split()
    check_names(names, path, 2)
    table = TableRows(names)
    for row, line in enumerate(lines[2:], 3):
        fields = line.split()
        if not fields:  # a blank line
            continue
        if len(fields) != len(names) + 1:
            raise DataError(
                f"{path}, row {row}: {len(fields)} fields; expected a file name and {len(names)} values, one "
                "for each attribute named in row 2"
            )
        table.add(check_file(fields[0], path, row), fields[1:], path, row)
    if len(table.rows) != count or not count:
        raise DataError(f"{path}, row 1: announces {count} images, but {len(table.rows)} rows follow; is it whole?")
    return table


def _read_partition(path: Path) -> dict[str, int]:
    codes: dict[str, int] = {}
    allowed = {str(code): code for code in range(len(SPLITS))}
    for row, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.split()
        if not fields:  # a blank line
            continue
        if len(fields) != 2 or fields[1] not in allowed:
            raise DataError(f"{path}, row {row}: {line!r}; expected a file name and 0 (train), 1 (valid) or 2 (test)")
        file = check_file(fields[0], path, row)
        if codes.setdefault(file, allowed[fields[1]]) != allowed[fields[1]]:
            raise DataError(f"{path}, row {row}: {file} was put into another split before; keep one of the rows")
    return codes
