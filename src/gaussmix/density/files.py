"""Tables and columns of files, in batches, whatever their size: .npy, .csv, .tsv, .txt, .jsonl, .parquet, .feather.

Several files, patterns and folders are one table; ``-`` is the standard input. A folder is all files of one format
below it; a folder below it such as ``year=2024`` gives its files a column ``year`` (as Hive, Spark and Arrow write
them). Text may be packed (.gz, .zst). Missing values become NaN or NaT; `GMMExpansion` still knows that the others are
integers. Text has no types: numbers that are whole throughout are integers.
"""

from __future__ import annotations

import csv
import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import whole_file
from gaussmix._guard import reading, shown
from gaussmix.density.columns import BATCH_ROWS
from gaussmix.density.quantity import NUMBER, OF_INTEGERS, Quantity, as_text, holds_integers, marked_integers
from gaussmix.density.table_file import LEAST_ROWS, EmptyFileError, TableFile, WithFolders, gathered

TEXT, LINES = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")
ARROW = {".parquet": "parquet", ".pq": "parquet", ".feather": "Arrow", ".arrow": "Arrow", ".ipc": "Arrow"}
SUFFIXES = (".npy", *TEXT, ".parquet", ".feather", ".arrow", ".jsonl")
PACKED = (".gz", ".zst")

PathLike = str | os.PathLike[str]
Source = PathLike | Sequence[PathLike]


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

    def open(self, missing: Collection[str] = (), codes: Collection[str] = ()) -> TableFile:
        """The table in it. Raises ValueError for one that is damaged or of no known kind, EmptyFileError."""
        with reading(self.label, "cannot be read"):
            table = self._open(missing)
        table.codes = codes
        return WithFolders(table, self.constants) if self.constants else table

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
        from gaussmix.density.table_file import NpyFile, open_arrow

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


class TableSource(AbstractContextManager):
    """Batches of a table, dictionaries of columns (n,) by name, to be iterated over once; a context that closes it.

    Columns are numbers, datetime64, timedelta64 or, of text, objects with None for what is missing.
    """

    columns: dict[str, Quantity | None]
    """What the numbers of each column stand for, by name; None of text."""
    booleans: set[str]
    """Columns whose numbers are 0 for false and 1 for true."""
    notes: list[str]
    """Which cell is read as what, of each column where that is not plain."""
    total: int
    """Bytes on the disk, 0 where they are not known."""
    done: int
    """How much of them has been read."""

    def __init__(
        self,
        files: Sequence[SourceFile],
        columns: Sequence[str | int | None] | None,
        batch_rows: int,
        missing: Collection[str],
        *,
        numbers_only: bool = False,
        codes: Collection[str] = (),
    ):
        self._files, self._batch_rows, self._numbers_only, self._codes = files, batch_rows, numbers_only, codes
        self._show: Callable[[int], None] = lambda done: None
        self._missing = frozenset(missing)
        self._sentinels = np.array([float(mark) for mark in missing if _is_float(mark)])
        first, self._first = self._open_first()
        chosen = list(range(len(first.names))) if columns is None else [first.choose(column) for column in columns]
        repeated = {name for name in first.names if first.names.count(name) > 1} if len(chosen) > 1 else set()
        if twice := [first.names[j] for j in chosen if first.has_types and first.names[j] in repeated]:
            raise ValueError(f"{first.label} has several columns {shown(twice[0])!r}; give each its own name")
        self._names = [str(j) if first.names[j] in repeated else first.names[j] for j in chosen]
        self.columns = {name: first.quantity(j) for name, j in zip(self._names, chosen, strict=True)}
        self.booleans = {name for name, j in zip(self._names, chosen, strict=True) if first.is_boolean(j)}
        self.total, self.done, self.notes = sum(file.size for file in files), 0, []
        for name, j in zip(self._names, chosen, strict=True):
            if numbers_only:
                first.require_readable(j)
            if note := first.note(j):
                self.notes.append(note if len(chosen) == 1 else f"{name}: {note}")
        self._batches = self._read(first, chosen)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for arrays, done in self._batches:
            self.done = done
            self._show(done)
            yield dict(zip(self._names, arrays, strict=True))

    def __exit__(self, *error: object) -> None:
        self._batches.close()

    def watched(self, show: Callable[[int], None]) -> TableSource:
        """The same, which says after each batch how much of ``total`` has been read."""
        self._show = show
        return self

    def sized(self, cells: int, least: int = LEAST_ROWS) -> TableSource:
        """The same in batches of at most so many cells, and at least so many rows."""
        self._batch_rows = min(self._batch_rows, max(cells // max(len(self.columns), 1), least))
        return self

    def _open_first(self) -> tuple[TableFile, int]:
        """The first file that has rows, and its number; of a single file the error says what is wrong with it."""
        for number, file in enumerate(self._files):
            try:
                return file.open(self._missing, self._codes), number
            except EmptyFileError:
                if len(self._files) == 1:
                    raise
        raise ValueError(f"{self._files[0].label} and {len(self._files) - 1} more files are empty")

    def _read(self, first: TableFile, chosen: list[int]) -> Generator[tuple[list[NDArray[Any]], int], None, None]:
        least, any_rows, before = min(LEAST_ROWS, self._batch_rows), False, 0
        for number, file in enumerate(self._files):
            table = first if number == self._first else self._open_later(file) if number > self._first else None
            if table is not None:
                here = chosen if table is first else [table.choose(name) for name in self._names]
                self._check_kinds(table, here)
                with reading(table.label, "cannot be read"):
                    for columns, done in gathered(table.batches(here, self._batch_rows), least):
                        columns = columns if table.has_types else [marked_integers(column) for column in columns]
                        any_rows = True
                        read = before + (file.size * done // table.total if table.total else 0)
                        yield [self._without_sentinels(column) for column in columns], read
            before += file.size
        if not any_rows:
            raise EmptyFileError(f"{self._files[0].label} is empty: it has a header and no rows")

    def _open_later(self, file: SourceFile) -> TableFile | None:
        try:
            return file.open(self._missing, self._codes)
        except EmptyFileError:
            return None

    def _check_kinds(self, table: TableFile, chosen: list[int]) -> None:
        for name, j in zip(self._names, chosen, strict=True):
            known, found = self.columns[name], table.quantity(j)
            if self._numbers_only:
                table.require_readable(j)
            if (known is None) != (found is None) or (known and found and not known.fits(found)):
                raise ValueError(
                    f"{table.label}, column {name} holds {found or 'text'}; "
                    f"in {self._files[self._first].label} they are {known or 'text'}"
                )

    def _without_sentinels(self, column: NDArray[Any]) -> NDArray[Any]:
        """With NaN for the numbers that stand for what is missing."""
        if not self._sentinels.size or column.dtype.kind not in "fiub":
            return column
        found = np.isin(column, self._sentinels)
        if not found.any():
            return column
        left = np.where(found, np.nan, column)
        return left.view(OF_INTEGERS) if holds_integers(column) else left


class ColumnSource(AbstractContextManager):
    """Batches of one column, shape (n,) each, to be iterated over once; a context that closes the file.

    ``total``, ``done`` and ``notes`` are those of its `TableSource`; ``quantity`` says what its numbers stand for.
    """

    def __init__(self, table: TableSource):
        self._table = table
        (self.name, quantity), *_ = table.columns.items()
        self.quantity = quantity or NUMBER
        self.total, self.notes = table.total, table.notes

    @property
    def done(self) -> int:
        """How much of ``total`` has been read."""
        return self._table.done

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for batch in self._table:
            yield batch[self.name]

    def __exit__(self, *error: object) -> None:
        self._table.__exit__(*error)


def open_table(
    sources: Source,
    columns: Sequence[str | int] | None = None,
    *,
    missing: Collection[str] = (),
    codes: Collection[str] = (),
    batch_rows: int = BATCH_ROWS,
) -> TableSource:
    """Open files of one table for reading in batches of at most about ``batch_rows`` rows.

    Parameters
    ----------
    sources : path, or sequence of paths
        Files, patterns such as ``sales-*.csv``, folders (with all files below; of ``year=2024/`` the column ``year``
        is made), or "-" for delimited text on the standard input.
    columns : sequence of str or int, optional
        Names or numbers from 0; all columns if not given.
    missing : collection of str
        What stands for a missing value beside nothing, NA, NaN and null; such as "-999", also of numbers.
    codes : collection of str
        Columns of numbers that are names, such as postcodes: of text they come as text, with their leading zeros.
    batch_rows : int
        How many rows at most.

    Returns
    -------
    TableSource
        Dictionaries of columns; a context.

    Raises
    ------
    ValueError
        Naming the file: unknown columns (with those that there are), empty, damaged and truncated files. In text some
        of it shows only while reading, with the row and what stands there.
    ImportError
        Parquet is read without pyarrow and Polars.
    """
    return TableSource(find_files(sources), columns, batch_rows, missing, codes=codes)


def open_column(
    sources: Source,
    column: str | int | None = None,
    *,
    missing: Collection[str] = (),
    batch_rows: int = BATCH_ROWS,
) -> ColumnSource:
    """Open one column, as `open_table` does; ``column`` may be None where there is only one.

    Raises as that, and ValueError for a column that holds neither numbers nor dates nor durations.
    """
    return ColumnSource(TableSource(find_files(sources), [column], batch_rows, missing, numbers_only=True))


def write_batches(path: PathLike, batches: Iterable[Mapping[str, NDArray[Any]]], total: int = 0) -> None:
    """Write columns (n,) by name, one batch at a time, as .csv or .parquet; or one of ``total`` numbers as .npy.

    Raises ValueError for another suffix, ImportError for parquet without pyarrow.
    """
    path = Path(path)
    write = {".npy": _write_npy, ".csv": write_csv, ".parquet": _write_parquet, ".pq": _write_parquet}.get(
        path.suffix.lower()
    )
    if write is None:
        raise ValueError(f"{path} is none of .npy, .csv, .parquet")
    with whole_file(path) as aside:
        try:
            write(aside, batches, total)
        except ImportError as error:
            raise ImportError(f"writing {path} needs pyarrow: pip install 'gaussmix[parquet]'") from error


def _write_npy(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]], total: int) -> None:
    with path.open("wb") as file:
        for number, batch in enumerate(batches):
            (values,) = batch.values()
            if number == 0:
                about = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": (total,)}
                np.lib.format.write_array_header_1_0(file, about)
            file.write(np.ascontiguousarray(values).tobytes())


def write_csv(path: Path | TextIO, batches: Iterable[Mapping[str, NDArray[Any]]], total: int = 0) -> None:
    """`write_batches` as text, also to an open file."""
    with nullcontext(path) if not isinstance(path, Path) else path.open("w", newline="") as file:
        for number, batch in enumerate(batches):
            rows = csv.writer(file, lineterminator="\n")
            if number == 0:
                rows.writerow(batch)
            rows.writerows(zip(*map(as_text, batch.values()), strict=True))


def _write_parquet(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]], total: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writer: Any = None
        for batch in batches:
            table = pa.table(dict(batch))
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def _is_float(mark: str) -> bool:
    try:
        return np.isfinite(float(mark))
    except ValueError:
        return False
