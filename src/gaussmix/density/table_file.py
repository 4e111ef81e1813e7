"""Files with a table, column by column and batch by batch: what all offer, and those that are no text.

NumPy's own; Parquet and Arrow IPC (Feather), which pyarrow reads, or Polars where only that is installed. Memory stays
flat: a row group or a wide row need not fit in it.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._guard import reading, shown
from gaussmix.density.cells import find_style
from gaussmix.density.columns import arrow_values, is_readable, series_values
from gaussmix.density.quantity import NUMBER, Quantity, concatenated

LEAST_ROWS = 1 << 14  # of a batch, however wide the table

Batches = Generator[tuple[list[NDArray[Any]], int], None, None]  # columns, and how much of the total has been read


class EmptyFileError(ValueError):
    """A file without rows: an error where there is no other."""


class TableFile:
    """A file of columns; ``total`` is its length, in rows or in bytes, 0 where that is not known."""

    label: str
    names: list[str]
    total: int
    has_types = True  # whether the file says which numbers are integers
    codes: Collection[str] = ()  # columns of numbers that are names, which in text stay as they are written

    def quantity(self, j: int) -> Quantity | None:
        """What the numbers of column j stand for; None of text."""
        raise NotImplementedError

    def is_boolean(self, j: int) -> bool:
        """Whether the numbers of column j are 0 for false and 1 for true."""
        return False

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        """Columns by their numbers, of about ``batch_rows`` rows. Raises ValueError for damage and wrong cells."""
        raise NotImplementedError

    def note(self, j: int) -> str:
        """Which cell of column j is read as what, where that is not plain."""
        return ""

    def require_readable(self, j: int) -> None:
        """Raises ValueError, saying what stands there, where column j holds no numbers."""

    def choose(self, column: str | int | None) -> int:
        """Number of the column of that name or number; None where there is one. Raises ValueError for no such one."""
        names = self.names
        listed = ", ".join(shown(name, 60) for name in names[:20]) + (", ..." if len(names) > 20 else "")
        found = range(len(names)) if column is None else [j for j, name in enumerate(names) if name == column]
        if len(found) == 1:
            return found[0]
        if column is None:
            raise ValueError(f"{self.label} has {len(names)} columns, so say which one: {listed}")
        last = len(names) - 1
        if found:
            raise ValueError(f"{self.label} has several columns {column!r}: name one by its number, from 0 to {last}")
        if str(column).isdecimal() and int(column) < len(names):
            return int(column)
        raise ValueError(f"{self.label} has no column {column!r}; it has {listed} (or a number from 0 to {last})")


def gathered(batches: Iterable[tuple[list[NDArray[Any]], int]], least: int) -> Batches:
    """The same in batches of at least so many rows, but for the last; larger ones pass as they are."""
    waiting: list[list[NDArray[Any]]] = []
    rows, done = 0, 0
    for columns, done in batches:
        rows += len(columns[0])
        waiting.append(columns)
        if rows >= least:
            yield _joined(waiting), done
            waiting, rows = [], 0
    if rows:
        yield _joined(waiting), done


def _joined(parts: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
    return parts[0] if len(parts) == 1 else [concatenated(list(pieces)) for pieces in zip(*parts, strict=True)]


BUFFER, BLOCK = 1 << 18, 1 << 24  # bytes of a file; of whole rows that are read at a time
_THREADS_END = 0.5  # seconds after an error of Polars within a table, by which its other threads have ended


class WithFolders(TableFile):
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
        return NUMBER if find_style([value]).kind == "plain" and self.names[j] not in self._table.codes else None

    def is_boolean(self, j: int) -> bool:
        return self._own(j) is None and self._table.is_boolean(j)

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


class NpyFile(TableFile):
    """An array (N,) or (N, D); its columns are called 0, 1, ... Raises ValueError for another and a damaged file."""

    def __init__(self, path: Path):
        with warnings.catch_warnings(), reading(path, "is not a whole .npy file of numbers"):
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            array: Any = np.lib.format.open_memmap(path, mode="r")
        if array.dtype.kind not in "fiubmM" or array.ndim not in (1, 2):
            raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}; needed are numbers (N,) or (N, D)")
        if array.size == 0:
            raise EmptyFileError(f"{path} is empty: its shape is {array.shape}")
        self.label, self._path, self.total = str(path), path, array.shape[0]
        self.names = [str(j) for j in range(array.shape[1] if array.ndim == 2 else 1)]
        self._offset, self._dtype, self._by_column = array.offset, array.dtype, array.flags.f_contiguous

    def quantity(self, j: int) -> Quantity:
        return Quantity.of(self._dtype)

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        width, size = len(self.names), self._dtype.itemsize
        with self._path.open("rb", buffering=0) as file:
            for start in range(0, self.total, batch_rows):
                rows = min(batch_rows, self.total - start)
                if self._by_column:
                    columns = []
                    for j in chosen:
                        file.seek(self._offset + (j * self.total + start) * size)
                        columns.append(self._read(file, rows))
                elif width == 1:
                    file.seek(self._offset + start * size)
                    columns = [self._read(file, rows)] * len(chosen)
                else:
                    file.seek(self._offset + start * width * size)
                    columns = self._from_rows(file, chosen, rows)
                yield columns, start + rows

    def _from_rows(self, file: Any, chosen: Sequence[int], rows: int) -> list[NDArray[Any]]:
        """Columns of the next rows, of which only as many are held whole as fit in a block."""
        width = len(self.names)
        step = max(1, BLOCK // (width * self._dtype.itemsize))
        if step >= rows:
            block = self._read(file, rows * width).reshape(rows, width)
            return [block[:, j] for j in chosen]
        columns = [np.empty(rows, self._dtype) for _ in chosen]
        for low in range(0, rows, step):
            block = self._read(file, min(step, rows - low) * width).reshape(-1, width)
            for column, j in zip(columns, chosen, strict=True):
                column[low : low + len(block)] = block[:, j]
        return columns

    def _read(self, file: Any, n: int) -> NDArray[Any]:
        numbers = np.fromfile(file, self._dtype, n)
        if len(numbers) < n:
            raise ValueError(f"{self.label} ends before its row {self.total}; was it cut short?")
        return numbers


class ArrowFile(TableFile):
    """A table in Parquet or in Arrow's IPC format. Raises ValueError for a damaged or an empty one."""

    def __init__(self, path: Path, kind: str):
        self.label, self._path, self._kind = str(path), path, kind
        with reading(path, f"is not a whole {kind} file"):
            self._schema, self.total = self._look()
        self.names = list(self._schema.names)
        if self.total == 0 or not self.names:
            raise EmptyFileError(f"{path} is empty: it has {self.total} rows and {len(self.names)} columns")

    def _look(self) -> tuple[Any, int]:
        if self._kind == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(self._path) as file:
                return file.schema_arrow, file.metadata.num_rows
        import pyarrow as pa

        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as reader:
            return reader.schema, reader.count_rows()

    def quantity(self, j: int) -> Quantity | None:
        kind = self._schema.field(j).type
        if not is_readable(kind):
            return None
        import pyarrow as pa  # whose pa.array imports pandas

        example = arrow_values(pa.nulls(0, kind.value_type if pa.types.is_dictionary(kind) else kind))
        return Quantity.of(example.dtype, getattr(kind, "tz", None))

    def is_boolean(self, j: int) -> bool:
        return str(self._schema.field(j).type) == "bool"

    def require_readable(self, j: int) -> None:
        field = self._schema.field(j)
        if not is_readable(field.type):
            raise ValueError(f"{self.label}, column {field.name} holds {field.type}; numbers are needed")

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        import pyarrow as pa

        done, names = 0, [self.names[j] for j in chosen]
        said = shown(", ".join(names[:3]))
        try:
            for batch in self._record_batches(chosen, batch_rows):
                done += len(batch)
                columns = [batch.column(name) for name in names]
                yield [arrow_values(c) if is_readable(c.type) else _objects(c) for c in columns], done
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.label}, column {said}, after row {done}: {shown(str(error), 400)}") from error

    def _record_batches(self, chosen: Sequence[int], batch_rows: int) -> Iterator[Any]:
        import pyarrow as pa

        if self._kind == "parquet":
            import pyarrow.parquet as pq

            # buffered, so that a row group need not fit in memory; text as it lies there, each word once
            text: Any = [self.names[j] for j in chosen if str(self._schema.field(j).type).endswith("string")]
            with pq.ParquetFile(self._path, buffer_size=BUFFER, pre_buffer=False, read_dictionary=text) as file:
                for batch in file.iter_batches(batch_rows, columns=[self.names[j] for j in chosen], use_threads=False):
                    yield batch
                    pa.default_memory_pool().release_unused()  # pages that were decoded: as much again as a batch
            return

        options = pa.ipc.IpcReadOptions(included_fields=sorted(set(chosen)), use_threads=False)
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file, options=options) as reader:
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i)
                yield from (batch.slice(start, batch_rows) for start in range(0, len(batch), batch_rows))


def _objects(array: Any) -> NDArray[Any]:
    """Python's objects; a text that repeats is made once."""
    import pyarrow as pa

    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = array.dictionary_encode()
    if not pa.types.is_dictionary(array.type):
        return np.array([*array.to_pylist(), None], object)[:-1]
    names = np.array([*array.dictionary.to_pylist(), None], object)
    return names[np.nan_to_num(arrow_values(array.indices), nan=-1).astype(np.int64)]


class PolarsFile(TableFile):
    """The same through Polars."""

    def __init__(self, path: Path, kind: str):
        import polars as pl

        self.label = str(path)
        with reading(path, f"is not a whole {kind} file"), _panics_unsaid():
            self._scan: Any = (pl.scan_parquet if kind == "parquet" else pl.scan_ipc)(path)
            self._schema = self._scan.collect_schema()
            self.total = self._scan.select(pl.len()).collect().item()
        self.names = list(self._schema)
        if self.total == 0 or not self.names:
            raise EmptyFileError(f"{path} is empty: it has {self.total} rows and {len(self.names)} columns")

    @cached_property
    def _quantities(self) -> list[Quantity | None]:
        import polars as pl

        found: list[Quantity | None] = []
        for name, kind in self._schema.items():
            try:
                values, zone = series_values(pl.Series(name, [], kind))
                found.append(Quantity.of(values.dtype, zone))
            except TypeError:
                found.append(None)
        return found

    def quantity(self, j: int) -> Quantity | None:
        return self._quantities[j]

    def is_boolean(self, j: int) -> bool:
        return str(self._schema[self.names[j]]) == "Boolean"

    def require_readable(self, j: int) -> None:
        if self._quantities[j] is None:
            kind = self._schema[self.names[j]]
            raise ValueError(f"{self.label}, column {self.names[j]} holds {kind}; numbers are needed")

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        import polars as pl

        done, names = 0, [self.names[j] for j in chosen]
        said = shown(", ".join(names[:3]))
        try:
            for frame in self._frames(list(dict.fromkeys(names)), batch_rows):
                done += len(frame)
                pairs = [(frame[name], self._quantities[j]) for name, j in zip(names, chosen, strict=True)]
                yield [series_values(s)[0] if q else s.to_numpy() for s, q in pairs], done
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{self.label}, column {said}, after row {done}: {shown(str(error), 400)}") from error

    def _frames(self, names: list[str], batch_rows: int) -> Iterator[Any]:
        frames: Any = None
        while True:
            with _panics_unsaid(_THREADS_END):
                try:
                    frames = frames or iter(self._scan.select(names).collect_batches(chunk_size=batch_rows))
                    frame = next(frames, None)
                except BaseException as error:
                    frames = None  # nothing holds it now, and its threads end
                    raise error.with_traceback(None)  # noqa: B904
            if frame is None:
                return
            yield frame


@contextmanager
def _panics_unsaid(wait: float = 0.0) -> Iterator[None]:
    """Around work of Polars, whose threads print a traceback of Rust beside the error that comes of it.

    What the process writes to descriptor 2 in the meantime is written after it, unless the work fails; what it writes
    up to ``wait`` seconds after that is not. A panic becomes a ComputeError.
    """
    import polars as pl

    with _unnamed_file() as aside:
        try:
            usual = os.dup(2)
        except OSError:  # closed
            yield
            return
        os.dup2(aside.fileno(), 2)
        try:
            yield
            wait = 0.0
        except pl.exceptions.PanicException as error:  # no Exception
            raise pl.exceptions.ComputeError(shown(str(error))) from None
        finally:
            time.sleep(wait)
            os.dup2(usual, 2)
            os.close(usual)
        aside.seek(0)
        said = aside.read()
        if said and b" panicked at " not in said:  # of an earlier file
            os.write(2, said)


def _unnamed_file() -> Any:
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError:  # there is no place for it
        return Path(os.devnull).open("w+b")


def open_arrow(path: Path, kind: str) -> ArrowFile | PolarsFile:
    """Open a Parquet or IPC file with whichever library there is. Raises ImportError for none."""
    if find_spec("pyarrow"):
        return ArrowFile(path, kind)
    if find_spec("polars"):
        return PolarsFile(path, kind)
    raise ImportError(f"reading {path} needs pyarrow: pip install 'gaussmix[parquet]'")
