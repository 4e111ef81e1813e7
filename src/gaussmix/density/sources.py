"""The files that a name, a pattern, a folder or several of them mean, and the reader of each.

A folder is all files of one format below it. A folder below it such as ``year=2024`` gives its files a column ``year``
(as Hive, Spark and Arrow write them).
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix._guard import reading
from gaussmix.density.cells import find_style
from gaussmix.density.quantity import NUMBER, Quantity
from gaussmix.density.table_file import Batches, EmptyFileError, TableFile

TEXT, LINES = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")
ARROW = {".parquet": "parquet", ".pq": "parquet", ".feather": "Arrow", ".arrow": "Arrow", ".ipc": "Arrow"}
SUFFIXES = (".npy", *TEXT, ".parquet", ".feather", ".arrow", ".jsonl")
PACKED = (".gz", ".zst")

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class SourceFile:
    """A file, or the standard input (None); and the columns that its folders give it, by name."""

    path: Path | None
    constants: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """What errors call it."""
        return "stdin" if self.path is None else str(self.path)

    @property
    def size(self) -> int:
        """In bytes; 0 of the standard input."""
        return 0 if self.path is None else self.path.stat().st_size

    def open(self, missing: Collection[str] = ()) -> TableFile:
        """The table in it. Raises ValueError for one that is damaged or of no known kind, EmptyFileError."""
        with reading(self.label, "cannot be read"):
            table = self._open(missing)
        return _WithFolders(table, self.constants) if self.constants else table

    def _open(self, missing: Collection[str]) -> TableFile:
        if self.path is None:
            from gaussmix.density.text import DelimitedFile, TextInput

            return DelimitedFile(TextInput(None, sys.stdin.buffer), missing)
        kind = _kind(self.path)
        if kind is None:
            raise ValueError(
                f"{self.path} is none of {', '.join(SUFFIXES)} (text also .gz and .zst): convert it to one"
            )
        if self.size == 0:
            raise EmptyFileError(f"{self.path} is empty")
        if kind in TEXT or kind in LINES:
            from gaussmix.density.text import DelimitedFile, JsonLines, TextInput

            source = TextInput(self.path)
            return JsonLines(source, missing) if kind in LINES else DelimitedFile(source, missing, kind == ".csv")
        from gaussmix.density.binary import NpyFile, open_arrow

        return NpyFile(self.path) if kind == ".npy" else open_arrow(self.path, ARROW[kind])


def find_files(sources: PathLike | Sequence[PathLike]) -> list[SourceFile]:
    """What is meant, at least one. Raises ValueError for a pattern or folder without files, FileNotFoundError."""
    named = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    if not named:
        raise ValueError("no file was named")
    found: list[SourceFile] = []
    for name in [os.fspath(each) for each in named]:
        if name == "-":
            found.append(SourceFile(None))
        elif os.path.isdir(name):
            found += _below(Path(name))
        elif glob.has_magic(name) and not os.path.exists(name):
            matches = [path for path in sorted(glob.glob(name, recursive=True)) if os.path.isfile(path)]
            if not matches:
                raise ValueError(f"no file matches {name}")
            found += [SourceFile(Path(path)) for path in matches]
        else:
            os.stat(name)  # raises for one that is absent
            found.append(SourceFile(Path(name)))
    return found


def _kind(path: Path) -> str | None:
    """Its suffix, below that of a packed file; None for what cannot be read."""
    suffix, packed = path.suffix.lower(), path.suffix.lower() in PACKED
    if packed:
        suffix = path.with_suffix("").suffix.lower()
    known = suffix in TEXT or suffix in LINES or (not packed and (suffix == ".npy" or suffix in ARROW))
    return suffix if known else None


def _below(folder: Path) -> list[SourceFile]:
    """All files of the one known format in a folder, hidden ones and those that begin with _ left out."""
    inside = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = {path: path.relative_to(folder).parts for path in inside}
    files = [path for path in inside if _kind(path) and not any(part[0] in "._" for part in named[path])]
    formats = Counter(ARROW.get(kind, kind) for path in files if (kind := _kind(path)))
    if not files:
        raise ValueError(f"{folder} holds no file that can be read: {', '.join(SUFFIXES)} (text also .gz and .zst)")
    if len(formats) > 1:
        kinds = " and ".join(f"{number} {kind.removeprefix('.')}" for kind, number in formats.most_common())
        raise ValueError(
            f"{folder} holds files of several formats, {kinds}: name them by a pattern, {folder}/*.csv, say"
        )
    return [SourceFile(path, tuple(_pairs(named[path][:-1]))) for path in files]


def _pairs(parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for part in parts:
        name, equals, value = part.partition("=")
        if equals:
            yield name, value


class _WithFolders(TableFile):
    """A table with more columns, of one value each; a name that the table has itself is not made again."""

    def __init__(self, table: TableFile, constants: Sequence[tuple[str, str]]):
        self._table = table
        self._constants = [(name, value) for name, value in constants if name not in table.names]
        self.label, self.total, self.has_types = table.label, table.total, table.has_types
        self.names = [*table.names, *(name for name, _ in self._constants)]

    def _own(self, j: int) -> str | None:
        """The value that folders give column j."""
        j -= len(self._table.names)
        return self._constants[j][1] if j >= 0 else None

    def quantity(self, j: int) -> Quantity | None:
        value = self._own(j)
        if value is None:
            return self._table.quantity(j)
        return NUMBER if find_style([value]).kind == "plain" else None

    def note(self, j: int) -> str:
        return self._table.note(j) if self._own(j) is None else ""

    def require_readable(self, j: int) -> None:
        if self._own(j) is None:
            self._table.require_readable(j)
        elif self.quantity(j) is None:
            raise ValueError(f"{self.label}, column {self.names[j]} is {self._own(j)!r}; numbers are needed")

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        inside = [j for j in chosen if self._own(j) is None]
        for columns, done in self._table.batches(inside or [0], batch_rows):
            n, rest = len(columns[0]), iter(columns)
            yield [next(rest) if self._own(j) is None else self._repeated(j, n) for j in chosen], done

    def _repeated(self, j: int, n: int) -> Any:
        value = self._own(j)
        return np.full(n, value, object) if self.quantity(j) is None else np.full(n, find_style([]).read([value])[0])
