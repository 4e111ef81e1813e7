"""Tables of whatever people hold, batch by batch, as columns of numbers and of categories.

Data frames and arrays come whole, what has not been read yet and files in batches of some hundred thousand rows.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.columns import (
    arrow_values,
    as_level,
    from_objects,
    is_missing,
    is_readable,
    series_values,
    stream_batches,
)
from gaussmix.density.files import TableSource, open_table
from gaussmix.density.quantity import NUMBER, Quantity, holds_integers

_EXACT = 2.0**53  # from which on float64 skips integers
_BATCH_CELLS, _LEAST_ROWS = 1 << 19, 1 << 15  # of files: 4 MiB of numbers, but some ten thousand rows at least


@dataclass(frozen=True)
class ColumnCells:
    """A column (N,) of a batch: numbers, dates and durations in seconds; or categories ``names[codes]``, -1 missing,
    whose order means something if they are ``ordered``."""

    numbers: FloatArray | None
    quantity: Quantity = NUMBER
    names: Sequence[str] = ()
    codes: Any = None
    integers: bool = False
    ordered: bool = False

    def as_categories(self) -> ColumnCells:
        """Of numbers too."""
        if self.numbers is None:
            return self
        known = ~np.isnan(self.numbers)
        if self.integers and np.abs(self.numbers[known]).max(initial=0.0) >= _EXACT:
            raise ValueError("categories are integers of 2^53 and more, which are not told apart: make them text")
        found, codes = np.unique(self.numbers[known], return_inverse=True)
        values = found.tolist() if self.quantity.kind == "number" else self.quantity.to_data(found).tolist()
        places = np.full(len(self.numbers), -1)
        places[known] = codes
        return ColumnCells(None, NUMBER, [as_level(value) or "" for value in values], places)

    def take(self, rows: Any) -> ColumnCells:
        """Some of the rows."""
        if self.numbers is None:
            return replace(self, codes=self.codes[rows])
        return replace(self, numbers=self.numbers[rows])

    def __len__(self) -> int:
        return len(self.codes if self.numbers is None else self.numbers)


Batch = dict[str, ColumnCells]


def is_files(X: Any) -> bool:
    """Whether X names files, or is of open ones."""
    if isinstance(X, TableSource):
        return True
    named = X if isinstance(X, list | tuple) and X else [X]
    return all(isinstance(each, str | os.PathLike) for each in named)


def batches_of(
    X: Any, missing: Collection[str] = (), columns: Sequence[str] | None = None, codes: Collection[str] = ()
) -> Iterator[Batch]:
    """The batches of a table; of files ``columns`` alone are read, ``missing`` stands for what is missing, and
    ``codes`` are numbers that are names."""
    if isinstance(X, TableSource):
        yield from file_batches(X)
        return
    if is_files(X):
        with open_table(X, columns, missing=missing, codes=codes) as source:
            yield from file_batches(source)
        return
    batches = stream_batches(X)
    for batch in [X] if batches is None else _gathered(batches):
        yield read_batch(batch, columns)


def _gathered(batches: Iterator[Any]) -> Iterator[Any]:
    """The same; small Arrow tables together, so that none has few rows."""
    first = next(batches, None)
    if first is None or type(first).__module__.partition(".")[0] != "pyarrow":
        yield from [] if first is None else chain([first], batches)
        return
    import pyarrow as pa

    waiting: list[Any] = []
    for batch in chain([first], batches):
        waiting.append(batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch]))
        if sum(each.num_rows for each in waiting) >= _LEAST_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def file_batches(source: TableSource) -> Iterator[Batch]:
    """Those of an open `TableSource`."""
    for columns in source.sized(_BATCH_CELLS, _LEAST_ROWS):
        yield {
            name: _read_array(values, source.columns[name], name, name in source.booleans)
            for name, values in columns.items()
        }


def read_batch(X: Any, columns: Collection[str] | None = None) -> Batch:
    """The columns of a data frame, an Arrow table, a mapping of arrays or an array (N,) or (N, D).

    Others than ``columns`` may hold anything: they are not looked at.
    """

    def named(pairs: Iterable[tuple[Any, Any]], read: Callable[[Any, Any], ColumnCells]) -> Batch:
        chosen = ((name, each) for name, each in pairs if columns is None or str(name) in columns)
        found = _named([(name, read(each, name)) for name, each in chosen])
        if absent := [name for name in columns or () if name not in found]:
            raise ValueError(f"the table has no column {absent[0]!r}")
        return found

    library = type(X).__module__.partition(".")[0]
    if hasattr(X, "tocsr"):
        raise TypeError("sparse input is not supported: a table is dense, X.toarray()")
    if isinstance(X, Mapping):
        return named(X.items(), lambda values, name: _read_array(np.asarray(values), None, name))
    if library in ("numpy", "builtins"):
        return _read_matrix(X)
    if library == "pyarrow" or (hasattr(X, "__arrow_c_stream__") and library not in ("pandas", "polars")):
        import pyarrow as pa

        table = pa.table(X)
        return named(zip(table.schema.names, table.columns, strict=True), _read_arrow)
    import narwhals.stable.v2 as nw

    if library == "pandas" and hasattr(X, "columns"):  # narwhals refuses names that repeat
        series = ((X.columns[j], X.iloc[:, j]) for j in range(X.shape[1]))
        return named(series, lambda each, name: _read_series(nw.from_native(each, series_only=True), name))
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        return _read_matrix(X)
    return named(((name, frame[:, j]) for j, name in enumerate(frame.columns)), _read_series)


def _read_matrix(X: Any) -> Batch:
    """An array (N, D), or one whose fields have names; its columns are called 0, 1, ..."""
    table: Any = np.ma.filled(X.astype(np.float64), np.nan) if np.ma.isMaskedArray(X) else np.asarray(X)
    if table.dtype.names:
        return _named([(name, _read_array(table[name], None, name)) for name in table.dtype.names])
    if table.dtype.kind == "c":
        raise ValueError("Complex data not supported: give real and imaginary parts as columns")
    if table.ndim != 2:
        raise ValueError(f"X has shape {table.shape}; a table is (N, D). Reshape your data, or give a data frame")
    if table.shape[1] == 0:
        raise ValueError(f"0 feature(s) (shape={table.shape}) while a minimum of 1 is required.")
    return {str(j): _read_array(table[:, j], None, str(j)) for j in range(table.shape[1])}


def _named(columns: list[tuple[Any, ColumnCells]]) -> Batch:
    found = {str(name): cells for name, cells in columns}
    if len(found) < len(columns):
        names = [str(name) for name, _ in columns]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the table has several columns {twice!r}; give each its own name")
    return found


def numbers_of(values: NDArray[Any], zone: str | None = None) -> ColumnCells:
    """Numbers, datetime64 or timedelta64 (N,)."""
    quantity = Quantity.of(values.dtype, zone)
    if quantity.kind != "number":
        quantity = Quantity(quantity.kind, "s", quantity.resolution if quantity.resolution != "D" else "s", zone)
    return ColumnCells(np.asarray(quantity.to_numbers(values), np.float64), quantity, integers=holds_integers(values))


def _read_array(values: NDArray[Any], quantity: Quantity | None, name: Any, boolean: bool = False) -> ColumnCells:
    if values.ndim != 1:
        raise ValueError(f"column {name!r} has shape {values.shape}; it must be (N,)")
    if boolean:
        values = np.where(np.isnan(values), -1, values).astype(np.int64) if values.dtype.kind == "f" else values
        return ColumnCells(None, NUMBER, ("false", "true"), values.astype(np.int64))
    if values.dtype.kind == "b":
        return ColumnCells(None, NUMBER, ("false", "true"), values.astype(np.int64))
    if values.dtype.kind in "fiumM":
        return numbers_of(values, quantity.zone if quantity else None)
    return _coded(values.tolist(), name)


def _coded(values: list[Any], name: Any) -> ColumnCells:
    """Python's objects: dates and numbers if all are, categories otherwise."""
    if not {str, type(None)} >= {*map(type, values)}:
        given = [value for value in values if not is_missing(value)]
        if given and all(isinstance(value, bool | np.bool_) for value in given):
            codes = [-1 if is_missing(value) else int(value) for value in values]
            return ColumnCells(None, NUMBER, ("false", "true"), np.array(codes, np.int64))
        if given and isinstance(given[0], Real | Decimal | datetime.date | datetime.timedelta | np.generic):
            objects = np.empty(len(values), object)
            objects[:] = values
            with suppress(TypeError):  # several kinds are categories
                return numbers_of(*from_objects(objects, name))
        values = [_level(value, name) for value in values]
    names = sorted({*values} - {None})
    numbers = {None: -1, **{level: k for k, level in enumerate(names)}}
    return ColumnCells(None, NUMBER, names, np.fromiter(map(numbers.__getitem__, values), np.int64, len(values)))


def _level(value: Any, name: Any) -> str | None:
    if isinstance(value, list | dict | tuple | set | np.ndarray):
        raise ValueError(f"column {name!r} holds a {type(value).__name__} a row; leave it out, or choose columns")
    return as_level(value)


def _read_series(series: Any, name: Any) -> ColumnCells:
    """Of narwhals."""
    import narwhals.stable.v2 as nw

    kind, native = series.dtype, series.to_native()
    if hasattr(native, "cat") and str(getattr(native.dtype, "categories", None)).startswith("IntervalIndex"):  # pandas
        names, codes = [*map(str, native.dtype.categories)], native.cat.codes.to_numpy(np.int64)
        return ColumnCells(None, NUMBER, names, codes, ordered=native.dtype.ordered)
    if kind == nw.Boolean:
        codes = series.cast(nw.Int8).fill_null(-1).to_numpy() if series.null_count() else series.to_numpy()
        return ColumnCells(None, NUMBER, ("false", "true"), codes.astype(np.int64))
    if kind.is_numeric() or (kind.is_temporal() and kind != nw.Time):
        return numbers_of(*series_values(native))
    if kind == nw.Object or kind == nw.Unknown or not _has_arrow():
        return _coded(series.to_list(), name)
    return _read_arrow(series.to_arrow(), name)


def _has_arrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def _read_arrow(column: Any, name: Any) -> ColumnCells:
    """An Arrow array, whole or in pieces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    pieces = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if pa.types.is_boolean(kind):
        parts = [pc.fill_null(piece.cast(pa.int8()), -1).to_numpy(zero_copy_only=False) for piece in pieces]
        return ColumnCells(None, NUMBER, ("false", "true"), np.concatenate([np.zeros(0, np.int64), *parts]))
    if is_readable(kind):
        parts = [arrow_values(piece) for piece in pieces]
        values = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0)])
        return numbers_of(values, getattr(kind, "tz", None))
    if pa.types.is_interval(kind):  # DuckDB's
        return numbers_of(_lengths([value for piece in pieces for value in piece.to_pylist()], name))
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return _coded([value for piece in pieces for value in piece.to_pylist()], name)
    names: dict[str, int] = {}
    parts = []
    for piece in pieces:
        coded = piece if pa.types.is_dictionary(piece.type) else piece.dictionary_encode()
        known = [names.setdefault(each, len(names)) for each in coded.dictionary.to_pylist()]
        codes = arrow_values(pc.fill_null(coded.indices, -1) if coded.indices.null_count else coded.indices)
        parts.append(np.append(np.array(known, np.int64), -1)[codes.astype(np.int64)])
    ordered = bool(getattr(column.type, "ordered", False))  # so come ordered categories of pandas, Enums of Polars
    return ColumnCells(None, NUMBER, list(names), np.concatenate([np.zeros(0, np.int64), *parts]), ordered=ordered)


def _lengths(values: list[Any], name: Any) -> NDArray[Any]:
    """Durations of Arrow's months, days and nanoseconds."""
    if any(value is not None and value.months for value in values):
        raise ValueError(f"column {name!r} holds intervals of months, which have no fixed length: convert them to days")
    ticks = [None if value is None else value.days * 86_400_000_000_000 + value.nanoseconds for value in values]
    return np.array(["NaT" if tick is None else tick for tick in ticks], "m8[ns]")


def library_of(X: Any) -> str:
    """The library that a table is of, by name."""
    return type(X).__module__.partition(".")[0]


def as_frame(
    library: str,
    rows: Mapping[str, NDArray[Any]],
    integers: Collection[str] = (),
    zones: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Columns as a data frame of pandas, Polars or PyArrow, dates of ``zones`` in their time zone; of ``integers``
    missing ones are null in the last two."""
    if library == "pandas":
        import pandas

        frame = pandas.DataFrame(dict(rows))
        return frame.assign(**{name: frame[name].dt.tz_localize("UTC").dt.tz_convert(zones[name]) for name in zones})
    if library not in ("polars", "pyarrow"):
        return rows
    import pyarrow as pa

    columns = {}
    for name, values in rows.items():
        if values.dtype == object:
            kind = pa.bool_() if any(isinstance(value, bool) for value in values) else pa.string()
            columns[name] = pa.array(values.tolist(), kind)
            continue
        column = pa.array(values, from_pandas=True)
        columns[name] = column.cast(pa.int64()) if name in integers else column
        if name in zones:
            columns[name] = column.view(pa.timestamp(column.type.unit, zones[name]))
    table = pa.table(columns)
    if library == "pyarrow":
        return table
    import polars

    return polars.from_arrow(table)
