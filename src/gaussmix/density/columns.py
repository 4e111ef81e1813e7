"""Columns of whatever people hold, in memory or in batches, as arrays of numbers; Dask collections, where they lie.

Missing and masked values become NaN, dates and durations numbers (`gaussmix.density.quantity`). narwhals reads what
is neither NumPy's nor Arrow's; no other library is imported: an object of theirs has been made with it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.counts import BinnedCounts, add_columns
from gaussmix.density.quantity import NUMBER, OF_INTEGERS, Quantity

BATCH_ROWS = 1 << 19
FIRST_ROWS = 100_000  # of a Dask collection
MERGED_AT_ONCE = 8

Quantities = tuple[Quantity, ...]


class _Column(NamedTuple):
    """Values (N,), numbers, datetime64 or timedelta64 (UTC), and their time zone."""

    name: Any
    values: NDArray[Any]
    zone: str | None = None


def read_columns(X: Any, known: Sequence[Quantity] = ()) -> tuple[NDArray[Any], Quantities]:
    """Columns of anything that narwhals takes or that speaks Arrow, of arrays and lists; and what their numbers are.

    The array is (N,) of a series, (N, D) of a table. Numbers without missing values stay in place where they lie in one
    piece; columns of several types become float64. What is neither numbers nor dates nor a table is what `np.asarray`
    makes of it.

    ``known``, one a column, are the quantities of earlier rows: dates come in their units. Raises TypeError, naming
    column, row and value, for what is no number, date or duration, and ValueError for dates where numbers were, and
    the like.
    """
    library = type(X).__module__.partition(".")[0]
    if library in ("numpy", "builtins"):
        return _array_columns(X, known)
    if library == "pandas" and all(isinstance(t, np.dtype) and t.kind in "fiub" for t in _dtypes(X)):
        values = X.to_numpy()
        if values.dtype.kind != "O":  # as booleans beside numbers are
            return _checked(values, known, getattr(X, "columns", [getattr(X, "name", None)]))
    if library == "pyarrow":
        return _stack(*_arrow_table(X), known)
    import narwhals.stable.v2 as nw

    if library == "pandas" and hasattr(X, "columns"):  # narwhals refuses names that repeat
        series = [nw.from_native(X.iloc[:, j], series_only=True) for j in range(X.shape[1])]
        return _stack([_series_column(each) for each in series], False, known)
    native = nw.from_native(X, allow_series=True, pass_through=True)
    if isinstance(native, nw.LazyFrame):
        native = native.collect()
    if isinstance(native, nw.Series):
        return _stack([_series_column(native)], True, known)
    if isinstance(native, nw.DataFrame):
        return _stack([_series_column(native[:, j]) for j in range(native.shape[1])], False, known)
    if hasattr(X, "__arrow_c_stream__"):
        return _stack(*_arrow_table(X), known)
    return _array_columns(X, known)


def is_empty(X: Any) -> bool:
    """Whether X has no rows; not of what does not say so before it is read."""
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple):
        return shape[:1] == (0,)
    return hasattr(X, "__len__") and not isinstance(X, str) and len(X) == 0


def stream_batches(X: Any) -> Iterator[Any] | None:
    """Tables of some 500 000 rows each of what has not been read yet; None of anything else.

    That are lazy frames of Polars, relations of DuckDB and whatever narwhals takes as lazy, readers, datasets and
    scanners of Arrow.
    """
    library = type(X).__module__.partition(".")[0]
    if library in ("numpy", "builtins", "pandas") or is_dask(X):
        return None
    if library == "pyarrow":
        dataset = hasattr(X, "to_batches") and not hasattr(X, "num_rows")  # or a scanner
        if not dataset and not hasattr(X, "read_next_batch"):
            return None
        import pyarrow as pa

        return (pa.Table.from_batches([batch]) for batch in (X.to_batches() if dataset else X) if len(batch))
    import narwhals.stable.v2 as nw

    native = nw.from_native(X, pass_through=True)
    if not isinstance(native, nw.LazyFrame):
        return None
    if hasattr(X, "collect_batches"):
        return iter(X.collect_batches(chunk_size=BATCH_ROWS))
    for reader in ("to_arrow_reader", "fetch_arrow_reader"):  # of DuckDB, new and old
        if hasattr(X, reader):
            return iter(getattr(X, reader)(BATCH_ROWS))
    return iter([native.collect().to_native()])


# -- one column


def _array_columns(X: Any, known: Sequence[Quantity]) -> tuple[NDArray[Any], Quantities]:
    if np.ma.isMaskedArray(X):
        missing = np.ma.getmaskarray(X)
        X = X.data
        if missing.any():
            kind = X.dtype if X.dtype.kind in "mM" else np.result_type(X.dtype, np.float32)
            X = np.where(missing, np.array("NaT" if kind.kind in "mM" else np.nan, kind), X)
    X = np.asarray(X)
    columns = [X] if X.ndim == 1 else list(X.T) if X.ndim == 2 else []
    if X.dtype.kind == "O" and any(map(_holds_dates, columns)):
        return _stack([_Column(j, *from_objects(column, j)) for j, column in enumerate(columns)], X.ndim == 1, known)
    if X.dtype.kind not in "mM":
        return _checked(X, known, range(len(columns)))
    return _stack([_Column(j, column) for j, column in enumerate(columns)], X.ndim == 1, known)


def _dtypes(X: Any) -> list[Any]:
    return list(X.dtypes) if hasattr(X, "columns") else [getattr(X, "dtype", None)]


def _series_column(series: Any) -> _Column:
    """Of a narwhals series."""
    import narwhals.stable.v2 as nw

    name, kind, zone = series.name, series.dtype, None
    if kind == nw.Decimal or (kind == nw.Boolean and series.null_count()):
        series = series.cast(nw.Float64)
    elif kind == nw.Datetime:
        zone = getattr(kind, "time_zone", None)
    values = series.to_numpy()
    if values.dtype.kind == "O":
        values, zone = from_objects(values, name)
    elif values.dtype.kind not in "fiubmM" or (
        kind in (nw.String, nw.Categorical, nw.Enum) and values.dtype.kind == "U"
    ):
        raise _unreadable(name, kind, values)
    return _Column(name, values, zone)


def _unreadable(name: Any, kind: Any, values: Sequence[Any] | NDArray[Any]) -> TypeError:
    """Says which column, row and value."""
    row = next((row for row, value in enumerate(values) if not is_missing(value)), None)
    such = "" if row is None else f", such as {_plain(values[row])!r} in row {row}"
    return TypeError(f"{_said(name)} holds {kind}{such}; numbers are needed, dates or durations")


def series_values(series: Any) -> tuple[NDArray[Any], str | None]:
    """Numbers, datetime64 or timedelta64 of a series that narwhals takes, and the zone of dates."""
    import narwhals.stable.v2 as nw

    return _series_column(nw.from_native(series, series_only=True))[1:]


def _said(name: Any) -> str:
    return "the column" if name is None or name == "" else f"column {name!r}"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def is_missing(value: Any) -> bool:
    if isinstance(value, float | Decimal | np.floating | np.datetime64 | np.timedelta64):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant")


def as_level(value: Any) -> str | None:
    """A category's name; whole numbers are written as such, so that 3 and 3.0 are one, and no digit is lost."""
    whole = isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value)
    return None if is_missing(value) else str(int(value)) if whole else str(value)


def _holds_dates(values: NDArray[Any]) -> bool:
    """Whether the first object that is not missing is a date or a duration."""
    first = next((value for value in values if not is_missing(value)), None)
    return isinstance(first, datetime.date | datetime.timedelta | np.datetime64 | np.timedelta64)


def from_objects(values: NDArray[Any], name: Any) -> tuple[NDArray[Any], str | None]:
    """Numbers, datetime64 or timedelta64 of Python objects that are all of one kind, and the zone of dates."""
    given = [row for row, value in enumerate(values) if not is_missing(value)]
    first: Any = values[given[0]] if given else 0.0
    zone: str | None = None
    if isinstance(first, datetime.timedelta | np.timedelta64):
        wanted, out = (datetime.timedelta, np.timedelta64), np.full(len(values), "NaT", "m8[us]")
    elif isinstance(first, datetime.date | np.datetime64):
        wanted = (datetime.date, np.datetime64)
        days = all(type(values[row]) is datetime.date for row in given)
        out = np.full(len(values), "NaT", "M8[D]" if days else "M8[us]")
        zone = None if (found := getattr(first, "tzinfo", None)) is None else str(found)
    else:
        wanted, out = (Real, Decimal, np.bool_), np.full(len(values), np.nan)
    for row in given:
        value: Any = values[row]
        if not isinstance(value, wanted) or (getattr(value, "tzinfo", None) is None) != (zone is None):
            kinds = {type(first).__name__, type(value).__name__} if row != given[0] else {type(value).__name__}
            raise TypeError(
                f"{_said(name)} holds {' and '.join(sorted(kinds))}, such as {_plain(value)!r} in row {row}; "
                "numbers are needed, or dates or durations alone"
            )
        out[row] = value if zone is None else _in_utc(value)
    return out, zone


def _in_utc(moment: Any) -> Any:
    return moment.astimezone(datetime.UTC).replace(tzinfo=None)


# -- Arrow


def _arrow_table(X: Any) -> tuple[list[_Column], bool]:
    import pyarrow as pa

    single = isinstance(X, pa.Array | pa.ChunkedArray)
    table, columns = pa.table({"x": X} if single else X), []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if not is_readable(column.type):
            values = column.slice(0, next((i for i, value in enumerate(column) if value.is_valid), 0) + 1).to_pylist()
            raise _unreadable(name, column.type, values)
        arrays = [arrow_values(piece) for piece in column.chunks]
        values = arrays[0] if len(arrays) == 1 else np.concatenate(arrays or [np.empty(0)])
        columns.append(_Column(name, values, getattr(column.type, "tz", None)))
    return columns, single


def is_readable(kind: Any) -> bool:
    """Whether an Arrow type holds numbers, dates or durations."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    numbers = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal, types.is_null)
    return any(check(kind) for check in (*numbers, types.is_date, types.is_timestamp, types.is_duration))


def arrow_values(array: Any) -> NDArray[Any]:
    """Numbers, datetime64 or timedelta64 of an Arrow array, in place where it holds them without nulls.

    Read from its buffers: its own conversion imports pandas, 50 MB, where that is installed, and its casts
    ``pyarrow.compute``, which takes a quarter of a second.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        array = array.cast(pa.float64())
    letter = "M" if pa.types.is_timestamp(array.type) else "m" if pa.types.is_duration(array.type) else ""
    name, stored = str(array.type), {"bool": "u1", "date32[day]": "i4", "date64[ms]": "M8[ms]"}
    kind = np.dtype(f"{letter}8[{array.type.unit}]" if letter else "M8[D]" if name[:4] == "date" else
                    "u1" if name == "bool" else array.type.to_pandas_dtype())  # fmt: skip
    if len(array) == 0:
        return np.empty(0, kind if kind.kind in "mM" else np.float64)
    part = slice(array.offset, array.offset + len(array))
    validity, content = array.buffers()
    values = np.frombuffer(content, stored.get(name, kind))
    values = (np.unpackbits(values, bitorder="little") if name == "bool" else values)[part].astype(kind, copy=False)
    if array.null_count:
        valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[part].astype(bool)
        hole: Any = np.array("NaT", kind) if kind.kind in "mM" else kind.type(np.nan) if kind.kind == "f" else np.nan
        values = np.where(valid, values, hole)
        values = values.view(OF_INTEGERS) if kind.kind in "iu" else values
    return values


# -- together


def _checked(X: NDArray[Any], known: Sequence[Quantity], names: Any) -> tuple[NDArray[Any], Quantities]:
    """An array of numbers, where ``known`` has no dates."""
    for name, quantity in zip(names, known, strict=False):
        if quantity.kind != "number":
            _require_same(name, quantity, NUMBER)
    return X, (NUMBER,) * (X.shape[1] if X.ndim == 2 else 1)


def _stack(columns: list[_Column], single: bool, known: Sequence[Quantity]) -> tuple[NDArray[Any], Quantities]:
    """As the columns of one array, float32 if all of them are and float64 otherwise; one column stays in place."""
    arrays, quantities = [], []
    for j, (name, values, zone) in enumerate(columns):
        quantity = Quantity.of_values(values, zone)
        if j < len(known):
            if values.dtype.kind != "f" or not np.isnan(values).all():
                _require_same(name, known[j], quantity)
            quantity = known[j]
        arrays.append(quantity.to_numbers(values))
        quantities.append(quantity)
    if single:
        return arrays[0], tuple(quantities)
    if len(arrays) == 1 and arrays[0].dtype.kind == "f":
        return arrays[0][:, None], tuple(quantities)
    kind = np.float32 if arrays and all(array.dtype == np.float32 for array in arrays) else np.float64
    n = len(arrays[0]) if arrays else 0
    return np.array(arrays, kind).reshape(len(arrays), n).T, tuple(quantities)


def _require_same(name: Any, known: Quantity, found: Quantity) -> None:
    if not known.fits(found):
        raise ValueError(f"{_said(name)} holds {found}; what was learnt before are {known}: give these")


# -- Dask


def is_dask(X: object) -> bool:
    """Whether X is a Dask collection."""
    return hasattr(X, "__dask_graph__") and type(X).__module__.partition(".")[0] in ("dask", "dask_expr")


def first_rows(X: Any, n: int = FIRST_ROWS) -> Any:
    """Up to n first rows of a Dask array, series or data frame, in memory, from the first partition that has any."""
    is_array = hasattr(X, "blocks")
    n_parts = X.numblocks[0] if is_array else X.npartitions
    for i in range(n_parts):
        rows = (X.blocks[i] if is_array else X.get_partition(i)).compute()[:n]
        if len(rows) or i == n_parts - 1:
            return rows
    raise ValueError("the Dask collection has no partitions")


def spread_rows(X: Any, n: int = FIRST_ROWS, most_parts: int = 16) -> Any:
    """About n rows of a Dask array, series or data frame, in memory: evenly from some partitions, also the last."""
    is_array = hasattr(X, "blocks")
    n_parts = X.numblocks[0] if is_array else X.npartitions
    some = np.unique(np.linspace(0, n_parts - 1, most_parts).astype(int))
    rows = []
    for i in some.tolist():
        part = (X.blocks[i] if is_array else X.get_partition(i)).compute()
        step = -(-len(part) * len(some) // n) or 1
        rows.append(part[::step] if is_array else part.iloc[::step])
    if is_array:
        return np.concatenate(rows)
    import pandas as pd  # which a Dask data frame is made of

    return pd.concat(rows)


def count_dask(
    collection: Any, counts: Sequence[BinnedCounts], *, finite: bool = False, quantities: Sequence[Quantity] = ()
) -> list[BinnedCounts]:
    """``counts`` with the points of a Dask array (N,) or (N, D), series or data frame added, column j to counts[j].

    Each partition is counted where it lies, on the scheduler or cluster in use; counts travel, merged as a tree. The
    result is that of one pass in memory, bit for bit. With ``finite`` NaN and infinities are an error, else they are
    counted, infinities as NaN. ``quantities`` are those of the first rows. Raises as `add_columns` does, and
    ImportError without Dask.
    """
    try:
        import dask
    except ImportError as error:
        raise ImportError("counting a Dask collection needs Dask: pip install 'gaussmix[dask]'") from error

    if getattr(collection, "numblocks", (0, 1))[1:] not in ((), (1,)):
        collection = collection.rechunk({1: -1})  # rows in one piece
    empty = dask.delayed([each.empty_like() for each in counts])
    parts = [dask.delayed(_count_part)(part, empty, finite, quantities) for part in np.ravel(collection.to_delayed())]
    while len(parts) > 1:
        groups = [parts[i : i + MERGED_AT_ONCE] for i in range(0, len(parts), MERGED_AT_ONCE)]
        parts = [dask.delayed(_merge_parts)(group) for group in groups]
    (total,) = dask.compute(*parts)
    return _merge_parts([list(counts), total])


def _count_part(
    part: Any, empty: Sequence[BinnedCounts], finite: bool, quantities: Sequence[Quantity]
) -> list[BinnedCounts]:
    numbers, _ = read_columns(part, quantities)
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        if finite:
            what = "NaN" if np.isnan(numbers).any() else "infinity"
            raise ValueError(f"a partition contains {what}: leave such rows out, or let nan_policy='omit' do it")
        numbers = np.where(np.isinf(numbers), np.nan, numbers)
    counts = [each.copy() for each in empty]
    add_columns(counts, numbers[:, None] if numbers.ndim == 1 else numbers)
    return counts


def _merge_parts(parts: Sequence[Sequence[BinnedCounts]]) -> list[BinnedCounts]:
    merged = [each.copy() for each in parts[0]]
    for part in parts[1:]:
        for each, more in zip(merged, part, strict=True):
            each.merge(more)
    return merged
