"""One column of a file, in chunks, whatever the size of the file: .npy, .csv, .tsv, .txt (also .gz) and .parquet.

Missing values become NaN; `GMMExpansion` still knows that the others are integers. pyarrow, an extra, reads parquet,
and text where it is installed.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import whole_file
from gaussmix._typing import FloatArray
from gaussmix.density.columns import arrow_numbers, require_numbers

BATCH_ROWS = 1 << 19
BUFFER = 1 << 18  # bytes
PLAIN_ROWS = 1 << 14  # read by Python's csv module at a time
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "#N/A")
SUFFIXES = (".npy", ".csv", ".tsv", ".txt", ".parquet")

Chunks = Generator[tuple[NDArray[Any], int], None, None]  # numbers, and how much of the total has been read with them


class ColumnSource(AbstractContextManager):
    """Chunks of one column, shape (n,) each, to be iterated over once; a context that closes the file.

    ``total`` is the length of the column in rows, or of a text file in bytes, and ``done`` how much of it was read.
    """

    def __init__(self, total: int, chunks: Chunks):
        self.total = total
        self.done = 0
        self._chunks = chunks

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for numbers, done in self._chunks:
            self.done = done
            yield numbers

    def __exit__(self, *error: object) -> None:
        self._chunks.close()


def open_column(
    path: str | os.PathLike[str], column: str | int | None = None, *, batch_rows: int = BATCH_ROWS
) -> ColumnSource:
    """Open one column of a .npy, .csv, .tsv, .txt or .parquet file for reading in chunks of about ``batch_rows``.

    ``column`` is a name or a number from 0; None where there is only one. Text may be gzipped, and needs no header.

    Raises ValueError, naming the file, for an unknown or missing ``column`` (with those that there are), a column that
    is not numeric, an empty file and a truncated one; ImportError where parquet is read without pyarrow. In text and
    parquet some of it shows only while reading.
    """
    path = Path(path)
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if kind not in SUFFIXES or (path.suffix == ".gz" and kind in (".npy", ".parquet")):
        raise ValueError(f"{path} is none of {', '.join(SUFFIXES)} (text also .gz): convert it to one of them")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if kind == ".npy":
        return _open_npy(path, column, batch_rows)
    if kind == ".parquet":
        return _open_parquet(path, column, batch_rows)
    return _open_text(path, column, batch_rows)


def _choose(path: Path, names: Sequence[str], column: str | int | None) -> int:
    """Number of the column that is meant."""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    found = range(len(names)) if column is None else [j for j, name in enumerate(names) if name == column]
    if len(found) == 1:
        return found[0]
    if column is None:
        raise ValueError(f"{path} has {len(names)} columns, so say which one: {shown}")
    if found:
        raise ValueError(f"{path} has several columns {column!r}: name one by its number, from 0 to {len(names) - 1}")
    if str(column).isdecimal() and int(column) < len(names):
        return int(column)
    raise ValueError(f"{path} has no column {column!r}; it has {shown} (or a number from 0 to {len(names) - 1})")


def _open_npy(path: Path, column: str | int | None, batch_rows: int) -> ColumnSource:
    try:
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a whole .npy file of numbers ({error})") from error
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}; needed are numbers (N,) or (N, D)")
    n_rows, width = array.shape[0], array.shape[1] if array.ndim == 2 else 1
    if array.size == 0:
        raise ValueError(f"{path} is empty: its shape is {array.shape}")
    chosen = _choose(path, [str(j) for j in range(width)], column)
    offset, row = array.offset, width
    if array.flags.f_contiguous:  # columns lie one after another
        offset, row, chosen = offset + chosen * n_rows * array.itemsize, 1, 0
    dtype, step = array.dtype, max(1, batch_rows // row)

    def chunks() -> Chunks:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            for start in range(0, n_rows, step):
                rows = min(step, n_rows - start)
                block = np.fromfile(file, dtype, rows * row)
                if len(block) < rows * row:
                    raise ValueError(f"{path} ends before its row {n_rows}; was it cut short?")
                yield block.reshape(rows, row)[:, chosen], start + rows

    return ColumnSource(n_rows, chunks())


def _open_parquet(path: Path, column: str | int | None, batch_rows: int) -> ColumnSource:
    pa, pq = _pyarrow(f"reading {path}")
    try:
        with pq.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a whole parquet file ({error})") from error
    if n_rows == 0 or len(schema) == 0:
        raise ValueError(f"{path} is empty: it has {n_rows} rows and {len(schema)} columns")
    field = schema.field(_choose(path, schema.names, column))
    require_numbers(field.type, f"{path}, column {field.name}")

    def chunks() -> Chunks:
        done = 0
        try:  # buffered, so that a row group need not fit in memory
            with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_rows, columns=[field.name], use_threads=False):
                    done += len(batch)
                    yield arrow_numbers(batch.column(0)), done
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}, column {field.name}, after row {done}: {error}") from error

    return ColumnSource(n_rows, chunks())


def _pyarrow(need: str) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(f"{need} needs pyarrow: pip install 'gaussmix[parquet]'") from error
    return pa, pq


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file as it lies on the disk, and what it says."""
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as unpacked:
                yield raw, cast(IO[bytes], unpacked)
        else:
            yield raw, raw


def _open_text(path: Path, column: str | int | None, batch_rows: int) -> ColumnSource:
    try:
        with _unpacked(path) as (_, file):
            start = file.readline().decode("utf-8-sig", "replace").rstrip("\r\n")
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error})") from error
    if not start.strip():
        raise ValueError(f"{path} begins with an empty line; needed are numbers, or the names of the columns")
    delimiter = next((mark for mark in (",;\t" if ".csv" in path.suffixes else "\t,;") if mark in start), None)
    if delimiter is None and len(start.split()) < 2:
        delimiter = ","  # one column
    cells = next(csv.reader([start], delimiter=delimiter)) if delimiter else start.split()
    header = not all(_is_number(cell) for cell in cells)
    names = [cell.strip() if header else str(j) for j, cell in enumerate(cells)]
    chosen, least = _choose(path, names, column), 16 * len(start)
    read = _plain_text if delimiter is None or find_spec("pyarrow") is None else partial(_arrow_text, least=least)

    def chunks() -> Chunks:
        n_rows = 0
        with _unpacked(path) as (raw, file):
            try:
                for numbers in read(file, delimiter, header, len(names), chosen, batch_rows):
                    n_rows += len(numbers)
                    yield numbers, raw.tell()
            except (ValueError, OSError, EOFError) as error:  # pyarrow's among them
                raise ValueError(f"{path}, column {names[chosen]}, after row {n_rows}: {error}") from error
        if n_rows == 0:
            raise ValueError(f"{path} is empty: it has a header and no rows")

    return ColumnSource(path.stat().st_size, chunks())


def _is_number(cell: str) -> bool:
    try:
        float("nan" if cell.strip() in MISSING else cell)
    except ValueError:
        return False
    return True


def _arrow_text(
    file: IO[bytes], delimiter: str | None, header: bool, width: int, chosen: int, batch_rows: int, least: int
) -> Iterator[FloatArray]:
    """Column ``chosen`` of ``width``, in blocks of at least so many bytes, in which a row must fit."""
    import pyarrow as pa
    import pyarrow.csv as pc

    names = [str(j) for j in range(width)]
    reader = pc.open_csv(
        file,
        pc.ReadOptions(use_threads=False, block_size=max(BUFFER, least), column_names=names, skip_rows=int(header)),
        pc.ParseOptions(delimiter=delimiter),
        pc.ConvertOptions(
            include_columns=[names[chosen]], column_types={names[chosen]: pa.float64()}, null_values=MISSING
        ),
    )
    for batch in reader:
        yield arrow_numbers(batch.column(0))


def _plain_text(
    file: IO[bytes], delimiter: str | None, header: bool, width: int, chosen: int, batch_rows: int
) -> Iterator[FloatArray]:
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    try:
        rows = csv.reader(lines, delimiter=delimiter) if delimiter else (line.split() for line in lines)
        rows = islice((row for row in rows if row), int(header), None)  # without blank lines
        while batch := list(islice(rows, min(batch_rows, PLAIN_ROWS))):
            for row in batch:
                if len(row) != width:
                    raise ValueError(f"expected {width} columns, got {len(row)}: {row}")
            cells = (row[chosen].strip() for row in batch)
            yield np.array([math.nan if cell in MISSING else float(cell) for cell in cells])
    finally:
        lines.detach()  # it is not ours to close


def write_column(path: str | os.PathLike[str], numbers: NDArray[Any], name: str = "x") -> None:
    """Write numbers (N,) as a .npy file, or as the column ``name`` of a .csv or .parquet file.

    Raises ValueError for another suffix, ImportError for parquet without pyarrow.
    """
    path = Path(path)
    with whole_file(path) as aside:
        if path.suffix == ".npy":
            np.save(aside, numbers)
        elif path.suffix == ".csv":
            aside.write_text("".join(f"{line}\n" for line in (name, *map(repr, numbers.tolist()))))
        elif path.suffix == ".parquet":
            pa, pq = _pyarrow(f"writing {path}")
            pq.write_table(pa.table({name: numbers}), aside)
        else:
            raise ValueError(f"{path} is none of .npy, .csv, .parquet")
