"""Columns of data frames and Arrow tables as arrays of numbers; Dask collections, counted where their partitions lie.

Missing and masked values become NaN. No library is imported for it: an object of theirs has been made with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.counts import BinnedCounts, add_columns
from gaussmix.density.lattice import OF_INTEGERS

FIRST_ROWS = 100_000  # of a Dask collection
MERGED_AT_ONCE = 8


def as_columns(X: Any) -> NDArray[Any]:
    """Columns of a pandas, polars or Arrow object as an array: (N,) of a series, (N, D) of a table.

    Anything else is what `np.asarray` makes of it, numbers or not. Numbers without missing values stay in place where
    they lie in one piece; columns of several types become float64. Raises TypeError, naming the column, for one that is
    not numeric. The libraries are not imported for it.
    """
    library = type(X).__module__.partition(".")[0]
    if library == "pyarrow" or (hasattr(X, "__arrow_c_stream__") and library not in ("pandas", "polars")):
        return _arrow_columns(X)
    if library not in ("pandas", "polars"):
        if np.ma.is_masked(X):
            X = np.ma.filled(X.astype(np.result_type(X.dtype, np.float32)), np.nan)
        return np.asarray(X)
    if not hasattr(X, "columns"):
        return _series(X, library)
    if library == "pandas" and all(isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in X.dtypes):
        return X.to_numpy()
    series = X.get_columns() if library == "polars" else [X.iloc[:, j] for j in range(X.shape[1])]
    return _stack([_series(each, library) for each in series], len(X))


def _series(series: Any, library: str) -> NDArray[Any]:
    dtype = series.dtype
    if library == "polars":
        if dtype.is_decimal() or str(dtype) in ("Boolean", "Null"):
            series = series.cast(float)
        elif not dtype.is_numeric():
            raise TypeError(f"column {series.name!r} holds {dtype}; numbers are needed")
        return series.to_numpy()
    if dtype.kind not in "fiub":
        raise TypeError(f"column {series.name!r} holds {dtype}; numbers are needed: convert it with astype(float)")
    return series.to_numpy() if isinstance(dtype, np.dtype) else series.to_numpy(dtype=np.float64, na_value=np.nan)


def _arrow_columns(X: Any) -> NDArray[Any]:
    import pyarrow as pa

    single = isinstance(X, pa.Array | pa.ChunkedArray)
    table, columns = pa.table({"x": X} if single else X), []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        require_numbers(column.type, f"column {name!r}", TypeError)
        arrays = [arrow_numbers(piece) for piece in column.chunks]
        columns.append(arrays[0] if len(arrays) == 1 else np.concatenate(arrays or [np.empty(0)]))
    return columns[0] if single else _stack(columns, len(table))


def _stack(columns: list[NDArray[Any]], n_rows: int) -> NDArray[np.floating]:
    """As the columns of one array, float32 if all of them are and float64 otherwise; one column stays in place."""
    if len(columns) == 1 and columns[0].dtype.kind == "f":
        return columns[0][:, None]
    single = columns and all(column.dtype == np.float32 for column in columns)
    return np.array(columns, np.float32 if single else np.float64).reshape(len(columns), n_rows).T


def require_numbers(kind: Any, where: str, error: type[Exception] = ValueError) -> None:
    """Raise ``error`` unless the Arrow type is numeric."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    if not any(check(kind) for check in checks):
        raise error(f"{where} holds {kind}; numbers are needed")


def arrow_numbers(array: Any) -> NDArray[Any]:
    """Numbers of an Arrow array, in place where it holds them without nulls.

    Read from its buffers: its own conversion imports pandas, 50 MB, where that is installed.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif pa.types.is_decimal(array.type) or pa.types.is_null(array.type):
        array = array.cast(pa.float64())
    if len(array) == 0:
        return np.empty(0)
    part = slice(array.offset, array.offset + len(array))
    validity, content = array.buffers()
    numbers = np.frombuffer(content, array.type.to_pandas_dtype())[part]
    if array.null_count:
        valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[part]
        if numbers.dtype.kind == "f":
            return np.where(valid, numbers, numbers.dtype.type(np.nan))
        numbers = np.where(valid, numbers, np.nan).view(OF_INTEGERS)
    return numbers


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


def count_dask(collection: Any, counts: Sequence[BinnedCounts], *, finite: bool = False) -> list[BinnedCounts]:
    """``counts`` with the points of a Dask array (N,) or (N, D), series or data frame added, column j to counts[j].

    Each partition is counted where it lies, on the scheduler or cluster in use; counts travel, merged as a tree. The
    result is that of one pass in memory, bit for bit. With ``finite`` NaN and infinities are an error, else they are
    counted, infinities as NaN. Raises as `add_columns` does, and ImportError without Dask.
    """
    try:
        import dask
    except ImportError as error:
        raise ImportError("counting a Dask collection needs Dask: pip install 'gaussmix[dask]'") from error

    if getattr(collection, "numblocks", (0, 1))[1:] not in ((), (1,)):
        collection = collection.rechunk({1: -1})  # rows in one piece
    empty = dask.delayed([each.empty_like() for each in counts])
    parts = [dask.delayed(_count_part)(part, empty, finite) for part in np.ravel(collection.to_delayed())]
    while len(parts) > 1:
        groups = [parts[i : i + MERGED_AT_ONCE] for i in range(0, len(parts), MERGED_AT_ONCE)]
        parts = [dask.delayed(_merge_parts)(group) for group in groups]
    (total,) = dask.compute(*parts)
    return _merge_parts([list(counts), total])


def _count_part(part: Any, empty: Sequence[BinnedCounts], finite: bool) -> list[BinnedCounts]:
    numbers = as_columns(part)
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
