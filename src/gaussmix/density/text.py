"""Tables in text, column by column and batch by batch: delimited files and streams, and JSON lines; also packed.

The first 256 kB say which delimiter there is, whether there is a header, and how the cells of each column are read.
Columns of plain numbers go through pyarrow where that is installed, all others through `gaussmix.density.cells`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import importlib
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from gaussmix._guard import DamagedFileError, reading, shown
from gaussmix.density.cells import MISSING, CellError, Style, find_style, is_value
from gaussmix.density.columns import arrow_values
from gaussmix.density.quantity import Quantity
from gaussmix.density.table_file import Batches, EmptyFileError, TableFile

BUFFER = 1 << 18  # bytes
PLAIN_ROWS = 1 << 14  # read by Python's csv module at a time
LOOKED_AT = 1000  # rows that say how cells are read
MOST_LINE = 1 << 22  # bytes of a line
DELIMITERS = ("\t", ";", "|", ",")
PACKED = (".gz", ".zst")


class _Replayed(io.RawIOBase):
    """What was read of a stream already, and then the rest of it."""

    def __init__(self, head: bytes, rest: Any):
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


class TextInput:
    """The bytes of a file, unpacked, as often as one likes; or those of a stream, once. ``head`` are the first."""

    def __init__(self, path: Path | None, stream: IO[bytes] | None = None):
        self.label = "stdin" if path is None else str(path)
        self.total = 0 if path is None else path.stat().st_size
        self._path, self._stream = path, stream
        self.head, head, ended = b"", bytearray(), False
        try:
            with reading(self.label, f"is not a whole {self._packing} file"), self.opened() as (_, file):
                while (len(head) < BUFFER or not ended) and (more := file.read(1 << 13)):
                    head += more
                    ended = ended or b"\n" in more or b"\r" in more
                    if not ended and len(head) > MOST_LINE:
                        raise _too_long(self.label)
        except DamagedFileError:
            if not head:  # else it is said where the end is missing
                raise
        self.head = bytes(head)

    @property
    def _packing(self) -> str:
        return {".gz": "gzip", ".zst": "zstd"}.get(self._path.suffix if self._path else "", "text")

    @contextmanager
    def opened(self) -> Iterator[tuple[Any, IO[bytes]]]:
        """Something whose ``tell()`` says how much has been read, None of a stream; and what is read."""
        if self._path is None:
            yield None, io.BufferedReader(_Replayed(self.head, self._stream), BUFFER)
            return
        with self._path.open("rb") as raw:
            if self._packing == "gzip":
                with gzip.open(raw) as unpacked:
                    yield raw, unpacked  # pyright: ignore[reportReturnType]
            elif self._packing == "zstd":
                with io.BufferedReader(_Replayed(b"", _unpack_zstd(raw, self.label)), BUFFER) as unpacked:
                    yield raw, unpacked  # pyright: ignore[reportReturnType]
            else:
                yield raw, raw

    def first_lines(self) -> list[str]:
        """Of the head, without one that it may have cut."""
        lines = re.split(r"\r\n|\n|\r", self.head.decode("utf-8-sig", "replace"))
        return lines if len(lines) < 2 or len(self.head) < BUFFER else lines[:-1]


def _unpack_zstd(raw: IO[bytes], label: str) -> Any:
    for module, make in (
        ("compression.zstd", lambda zstd: zstd.ZstdFile(raw)),  # Python 3.14
        ("pyarrow", lambda arrow: arrow.CompressedInputStream(raw, "zstd")),
        ("zstandard", lambda zstandard: zstandard.ZstdDecompressor().stream_reader(raw)),
    ):
        try:
            return make(importlib.import_module(module))
        except ImportError:
            continue
    raise ImportError(f"reading {label} needs pyarrow: pip install 'gaussmix[parquet]'")


class _TextFile(TableFile):
    """Cells that are text, read in the style that the first of them have."""

    has_types = False
    _missing: frozenset[str]

    def style(self, j: int) -> Style:
        """How the cells of column j are read."""
        raise NotImplementedError

    def quantity(self, j: int) -> Quantity | None:
        style = self.style(j)
        return None if style.kind in ("text", "code") else style.quantity

    def _style_of(self, j: int, cells: Iterable[str], decimal_comma: bool = False) -> Style:
        style = find_style(cells, self._missing, decimal_comma)
        return Style("code") if style.kind == "plain" and self.names[j] in self.codes else style

    def is_boolean(self, j: int) -> bool:
        return self.style(j).kind == "boolean"

    def note(self, j: int) -> str:
        return self.style(j).note

    def require_readable(self, j: int) -> None:
        error = self.style(j).error
        if error is not None:
            raise self.bad_cell(j, error.row + 1, error)

    def bad_cell(self, j: int, row: int, error: CellError) -> ValueError:
        """An error for a cell in a row, counted from 1."""
        remedy = f"; if it stands for a missing value, say so: --missing {error.cell!r}" * (
            error.why == "is not a number"
        )
        return ValueError(f"{self.label}, column {shown(self.names[j])}, row {row}: {error}{remedy}")


class DelimitedFile(_TextFile):
    """A table of cells between delimiters. Raises ValueError for one that begins with an empty line."""

    def __init__(self, source: TextInput, missing: Collection[str] = (), commas_first: bool = True):
        self.label, self.total, self._source = source.label, source.total, source
        self._missing = frozenset((*MISSING, *missing))
        lines = source.first_lines()
        if not source.head:
            raise EmptyFileError(f"{self.label} is empty")
        if source.head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ValueError(f"{self.label} is text in UTF-16: save it as UTF-8")
        if not lines or not lines[0].strip():
            raise ValueError(f"{self.label} begins with an empty line; needed are numbers, or the names of the columns")
        every, lines = lines, [line for line in lines if line.strip()][: LOOKED_AT + 1]
        self._delimiter = _find_delimiter(lines, commas_first)
        rows = list(self._rows(f"{line}\n" for line in lines))
        self._least = 16 * len(lines[0])
        self._header = not all(cell.strip() in self._missing or is_value(cell) for cell in rows[0])
        self._above = _lines_of_first_row(every, self._delimiter) if self._header else 0
        self.names = [cell.strip() if self._header else str(j) for j, cell in enumerate(rows[0])]
        self._sample = rows[self._header :]
        self._styles: dict[int, Style] = {}

    def style(self, j: int) -> Style:
        if j not in self._styles:
            cells = (row[j] if j < len(row) else "" for row in self._sample)
            self._styles[j] = self._style_of(j, cells, self._delimiter == ";")
        return self._styles[j]

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        styles, done = [self.style(j) for j in chosen], 0
        read = self._with_arrow if self._delimiter is not None and find_spec("pyarrow") else self._plainly
        with self._source.opened() as (raw, file):
            try:
                for columns in read(file, chosen, batch_rows):
                    values = []
                    for j, style, cells in zip(chosen, styles, columns, strict=True):
                        try:
                            values.append(cells if isinstance(cells, np.ndarray) else style.read(cells, self._missing))
                        except CellError as error:
                            raise self.bad_cell(j, done + error.row + 1, error) from None
                    done += len(values[0])
                    yield values, 0 if raw is None else raw.tell()
            except (ImportError, MemoryError):
                raise
            except Exception as error:  # those of pyarrow, gzip and csv have no class in common
                if isinstance(error, ValueError) and str(error).startswith(self.label):
                    raise
                raise self._failed(error, chosen, done) from error

    def _failed(self, error: Exception, chosen: Sequence[int], done: int) -> ValueError:
        """What pyarrow or the disk said, with pyarrow's rows, which count the header, as ours."""
        text = str(error) or type(error).__name__
        skipped = -done if done else self._above  # each block is read by itself
        if found := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.*)'", text, re.DOTALL):
            cell = CellError(0, found[3])
            return self.bad_cell(int(found[1]), int(found[2]) - skipped, cell)
        text = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - skipped}", text)
        names = ", ".join(shown(self.names[j]) for j in chosen[:3])
        return ValueError(f"{self.label}, column {names}, after row {done}: {shown(text, 400)}")

    def _rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        if self._delimiter:
            return (row for row in csv.reader(lines, delimiter=self._delimiter) if row)
        return (row for row in (line.split() for line in lines) if row)

    def _plainly(self, file: IO[bytes], chosen: Sequence[int], batch_rows: int) -> Iterator[list[list[str]]]:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        width = len(self.names)
        try:
            rows = islice(self._rows(_lines_of(lines, self.label)), int(self._header), None)
            while batch := list(islice(rows, min(batch_rows, PLAIN_ROWS))):
                for row in batch:
                    if len(row) != width:
                        raise ValueError(f"expected {width} columns, got {len(row)}: {shown(str(row[:9]))}")
                yield [[row[j] for row in batch] for j in chosen]
        finally:
            lines.detach()  # it is not ours to close

    def _with_arrow(self, file: IO[bytes], chosen: Sequence[int], batch_rows: int) -> Iterator[list[Any]]:
        """Plain columns as numbers, others as cells."""
        import pyarrow as pa
        import pyarrow.csv as pc

        names = [str(j) for j in range(len(self.names))]
        plain = [self.style(j).kind == "plain" for j in chosen]
        types = {names[j]: pa.float64() if simple else pa.string() for j, simple in zip(chosen, plain, strict=True)}
        size, parse = max(BUFFER, self._least), pc.ParseOptions(delimiter=self._delimiter)
        convert = pc.ConvertOptions(
            include_columns=[names[j] for j in chosen], column_types=types, null_values=list(self._missing)
        )

        for number, block in enumerate(_blocks_of_lines(file, size, self.label)):
            skipped = 0 if number else self._above
            read = pc.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names, skip_rows=skipped)
            for batch in pc.read_csv(pa.BufferReader(block), read, parse, convert).to_batches():
                columns = zip(plain, batch.columns, strict=True)
                yield [arrow_values(column) if simple else column.to_pylist() for simple, column in columns]


def _blocks_of_lines(file: IO[bytes], size: int, label: str) -> Iterator[bytes]:
    """About ``size`` bytes each, and whole lines."""
    rest = b""
    while data := file.read(size):
        data = rest + data
        end = (data.rfind(b"\n") if b"\n" in data else data.rfind(b"\r")) + 1
        rest = data[end:]
        if len(rest) > MOST_LINE:
            raise _too_long(label)
        if end:
            yield data[:end]
    if rest:
        yield rest + b"\n"  # it may be a header, which is skipped with its end


def _lines_of(file: Any, label: str) -> Iterator[Any]:
    """The lines of text or bytes. Raises ValueError for one that is too long to be one."""
    while line := file.readline(MOST_LINE + 1):
        if len(line) > MOST_LINE:
            raise _too_long(label)
        yield line


def _lines_of_first_row(lines: list[str], delimiter: str | None) -> int:
    """More than one where a quoted cell goes on in the next line."""
    rows = csv.reader(lines, delimiter=delimiter or "\x1f")
    next(rows)
    return rows.line_num if delimiter else 1


def _too_long(label: str) -> ValueError:
    return ValueError(f"{label} has a line of more than {MOST_LINE >> 20} MiB; is it text, a row a line?")


def _find_delimiter(lines: list[str], commas_first: bool) -> str | None:
    """Between the cells; None for blanks. What parts all rows into as many cells as the first, a comma last of all."""
    for mark in DELIMITERS:
        widths = {len(row) for row in csv.reader(lines, delimiter=mark) if row}
        if len(widths) == 1 and widths != {1}:
            return mark
    if present := [mark for mark in (",;\t|" if commas_first else "\t,;|") if mark in lines[0]]:
        return present[0]
    words = {len(line.split()) for line in lines}
    return None if len(words) == 1 and words != {1} else "\x1f"  # one column


class JsonLines(_TextFile):
    """An object a line, whose keys are the columns."""

    def __init__(self, source: TextInput, missing: Collection[str] = ()):
        self.label, self.total, self._source = source.label, source.total, source
        self._missing = frozenset((*MISSING, *missing))
        lines = [line for line in source.first_lines() if line.strip()][:LOOKED_AT]
        self._sample = list(self._objects(lines))
        self.names = list(dict.fromkeys(chain.from_iterable(self._sample)))

    def style(self, j: int) -> Style:
        values = [each.get(self.names[j]) for each in self._sample]
        return self._style_of(j, ["" if value is None else _cell(value) for value in values])

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        styles, done = [self.style(j) for j in chosen], 0
        with self._source.opened() as (raw, file):
            lines = (line.decode("utf-8-sig", "replace") for line in _lines_of(file, self.label))
            objects = self._objects(line for line in lines if line.strip())
            while batch := list(islice(objects, min(batch_rows, PLAIN_ROWS))):
                values = []
                for j, style in zip(chosen, styles, strict=True):
                    given = [each.get(self.names[j]) for each in batch]
                    if style.kind == "plain" and {*map(type, given)} <= {int, float, type(None)}:
                        values.append(np.array(given, np.float64))
                        continue
                    try:
                        cells = [None if value is None else _cell(value) for value in given]
                        values.append(style.read(cells, self._missing))
                    except CellError as error:
                        raise self.bad_cell(j, done + error.row + 1, error) from None
                done += len(batch)
                yield values, 0 if raw is None else raw.tell()

    def _objects(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        for row, line in enumerate(lines, 1):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.label}, row {row}: not JSON ({shown(str(error))})") from None
            if not isinstance(found, dict):
                raise ValueError(
                    f'{self.label}, row {row}: needed is an object, such as {{"price": 3}}; got {line[:60]!r}'
                )
            yield found


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, bool) else json.dumps(value)
