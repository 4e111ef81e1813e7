"""Counting Dask collections where their partitions lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gaussmix.density.columns import as_columns
from gaussmix.density.counts import BinnedCounts, add_columns

FIRST_ROWS = 100_000
MERGED_AT_ONCE = 8


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
