"""What a reader makes of annotation files: images with K binary attributes; and the checks readers share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gaussmix._typing import IntArray
from gaussmix.data.base import DataError

_MINUS = 2  # stands for -1 until it is known that its column holds no 0
_CODES = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0, "-1": _MINUS, "-1.0": _MINUS}


@dataclass(frozen=True, eq=False)
class ImageTable:
    """N images, not read yet."""

    reader: str  # name and version of the reader; part of the cache's key
    root: Path  # folder of the images
    files: list[str]  # N names relative to `root`, with "/" between the parts
    rows: list[tuple[Path, int]]  # N places that name the images, for messages: annotation file, row (from 1)
    attributes: np.ndarray  # (N, K) uint8, 0 or 1
    attribute_names: tuple[str, ...]
    split: np.ndarray  # (N,) uint8, index into `SPLITS`

    def __len__(self) -> int:
        return len(self.files)

    def take(self, places: Sequence[int] | IntArray) -> ImageTable:
        """The rows at these places."""
        return replace(
            self,
            files=[self.files[i] for i in places],
            rows=[self.rows[i] for i in places],
            attributes=self.attributes[places],
            split=self.split[places],
        )


class TableRows:
    """Collects the rows of one or more annotation files with the same K attributes."""

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.rows: dict[str, tuple[Path, int]] = {}  # by file, in order
        self._codes = bytearray()

    def add(self, file: str, cells: Sequence[str], path: Path, row: int) -> None:
        """One image and its K values, found at ``row`` of ``path``."""
        if file in self.rows:
            earlier, line = self.rows[file]
            raise DataError(f"{path}, row {row}: {file} was named before, in {earlier}, row {line}; keep one of them")
        try:
            codes = bytes(map(_CODES.__getitem__, cells))
        except KeyError:  # the slow way finds the odd one, or that only blanks and capitals are odd
            plain = [cell.strip().lower() for cell in cells]
            odd = next((i for i, cell in enumerate(plain) if cell not in _CODES), None)
            if odd is not None:
                raise DataError(
                    f"{path}, row {row}: column {self.names[odd]!r} holds {cells[odd]!r}, not 0/1, -1/1 or true/false; "
                    "correct the value, or drop the column if it is not an attribute"
                ) from None
            codes = bytes(map(_CODES.__getitem__, plain))
        self._codes += codes
        self.rows[file] = (path, row)

    def table(self, reader: str, root: Path, split: np.ndarray) -> ImageTable:
        """All rows as images in ``root``. DataError if a column mixes 0/1 with -1/1: its 0 might mean "unknown"."""
        files, rows = list(self.rows), list(self.rows.values())
        codes = np.frombuffer(bytes(self._codes), np.uint8).reshape(len(rows), len(self.names))
        for column in np.flatnonzero((codes == 0).any(0) & (codes == _MINUS).any(0)):
            where = max(np.argmax(codes[:, column] == value) for value in (0, _MINUS))
            path, row = rows[where]
            here, before = ("-1", "0") if codes[where, column] else ("0", "-1")
            raise DataError(
                f"{path}, row {row}: column {self.names[column]!r} holds {here}, but {before} in an earlier "
                "row; write a column in 0/1 or in -1/1"
            )
        return ImageTable(reader, root, files, rows, (codes == 1).astype(np.uint8), self.names, split)


def check_names(names: Sequence[str], path: Path, row: int) -> None:
    """DataError unless the attribute names are there and distinct."""
    if not names:
        raise DataError(f"{path}, row {row}: no attributes; name one column for each attribute")
    for name in names:
        if not name.strip():
            raise DataError(f"{path}, row {row}: a column has no name; name or drop it (pandas: to_csv(index=False))")
        if names.count(name) > 1:
            raise DataError(f"{path}, row {row}: the column {name!r} appears twice; rename or drop one")


def check_file(name: str, path: Path, row: int) -> str:
    """``name`` without needless parts. DataError if it is empty or leads out of the folder."""
    if name.replace(".", "").isalnum():  # most names, quickly: 000001.jpg
        return name
    clean = os.path.normpath(name).replace(os.sep, "/") if name.strip() else ""
    if not clean or clean == "." or "\0" in clean:
        raise DataError(f"{path}, row {row}: {name!r} names no image file")
    if name.startswith("/") or os.path.splitdrive(name)[0] or clean == ".." or clean.startswith("../"):
        raise DataError(f"{path}, row {row}: {name!r} leads out of the folder; give a path inside it")
    return clean


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, with or without a byte-order mark."""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, row {row}: not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
