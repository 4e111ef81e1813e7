"""Rows of a table: those of files in memory, and a bounded sample which does not depend on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.files import Source, TableSource, open_table
from gaussmix.density.quantity import concatenated

if TYPE_CHECKING:
    from gaussmix.tables.reading import ColumnCells

MOST_ROWS, MOST_CELLS = 2**16, 2**23  # kept of a table: correlations are then known to .004; at most 64 MB
_LAST = np.uint64(2**64 - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def read_rows(
    sources: Source,
    columns: Sequence[str | int] | None = None,
    *,
    most: int | None = None,
    seed: int = 0,
    missing: Collection[str] = (),
) -> dict[str, NDArray[Any]]:
    """Read columns of files, all rows or a sample of them, in their order.

    Parameters
    ----------
    sources : path, or sequence of paths
        As `gaussmix.density.files.open_table` takes them.
    columns : sequence of str or int, optional
        Names or numbers from 0; all columns if not given.
    most : int, optional
        How many rows to keep at most; all if not given.
    seed : int
        The same seed keeps the same rows, whatever the size of the batches.
    missing : collection of str
        What stands for a missing value beside nothing, NA, NaN and null.

    Returns
    -------
    dict of str to ndarray of shape (n,)
        Numbers (NaN where missing), datetime64, timedelta64, or objects: text, None where missing.

    Raises
    ------
    ValueError
        Naming the file, as `gaussmix.density.files.open_table`.
    """
    with open_table(sources, columns, missing=missing) as source:
        return collect_rows(source, list(source.columns), most, seed)[0]


def collect_rows(
    source: TableSource, columns: Collection[str], most: int | None = None, seed: int = 0
) -> tuple[dict[str, NDArray[Any]], int]:
    """Return ``columns`` of an open table as arrays (n,) by name, and how many rows it has; see `read_rows`.

    Each row draws a number, and those with the least stay.

    Parameters
    ----------
    source : TableSource
        Read to its end.
    columns : collection of str
        Names of those to keep.
    most, seed : int
        As for `read_rows`.
    """
    rng, total = np.random.default_rng(seed), 0
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in columns}
    drawn = np.zeros(0)

    def keep(least: int) -> None:
        nonlocal drawn
        chosen = np.sort(np.argsort(drawn, kind="stable")[:least])
        drawn = drawn[chosen]
        for name, pieces in parts.items():
            parts[name] = [concatenated(pieces)[chosen]]

    for batch in source:
        n = len(next(iter(batch.values())))
        total += n
        for name in columns:
            parts[name].append(batch[name])
        if most is not None:
            drawn = np.concatenate([drawn, rng.random(n)])
            if len(drawn) > 2 * most:
                keep(most)
    if most is not None and len(drawn) > most:
        keep(most)
    return {name: concatenated(pieces) for name, pieces in parts.items() if pieces}, total


class RowSample:
    """A uniform sample of the distinct rows of a table, with how often each occurs: those of least hash.

    Which rows stay depends on what they hold, not on where they stand: chunks, files and partitions in any order give
    the same sample. Rows are numbers, NaN where missing; those of categories are places in ``levels``,
    which have an order of their own where they are ``ordered``: where that is the same in all batches.
    """

    def __init__(self, n_columns: int, limit: int | None = None):
        self.limit = limit or max(1, min(MOST_ROWS, MOST_CELLS // max(n_columns, 1)))
        self.keys = np.zeros(0, np.uint64)
        self.rows = np.zeros((0, n_columns))
        self.weights: FloatArray = np.zeros(0)
        self.levels: list[list[str]] = [[] for _ in range(n_columns)]
        self.ordered = [False] * n_columns

    def add(
        self,
        columns: Sequence[NDArray[Any]],
        levels: Sequence[list[str] | None],
        weights: FloatArray | None = None,
        ordered: Sequence[bool] | None = None,
    ) -> Self:
        """Take in rows: a (N,) array a column, of numbers, or of places in its ``levels`` (-1 or NaN: missing)."""
        n, keys = len(columns[0]), hash_rows(columns, levels)
        weights = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        if len(self.keys) == self.limit or not weights.all():
            kept = np.flatnonzero((weights > 0) & (keys <= (self.keys[-1] if len(self.keys) == self.limit else _LAST)))
            keys, weights = keys[kept], weights[kept]
        else:
            kept = np.arange(n)
        chunk = RowSample(len(columns), self.limit)
        chunk.ordered = list(ordered or chunk.ordered)
        chunk.keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        chunk.weights = np.bincount(inverse, weights, len(first)).astype(np.float64)
        kept = kept[first[: self.limit]]
        chunk.keys, chunk.weights = chunk.keys[: self.limit], chunk.weights[: self.limit]
        chunk.rows = np.column_stack([np.asarray(values)[kept].astype(np.float64) for values in columns])
        chunk.rows[~np.isfinite(chunk.rows)] = np.nan
        for j, names in enumerate(levels):
            if names is not None:
                chunk.levels[j] = list(names)
                chunk.rows[chunk.rows[:, j] < 0, j] = np.nan
        return self.merge(chunk)

    def add_cells(self, columns: Sequence[ColumnCells], weights: Any = None) -> Self:
        """Take in rows of a batch."""
        values = [each.codes if each.numbers is None else each.numbers for each in columns]
        levels = [list(each.names) if each.numbers is None else None for each in columns]
        return self.add(values, levels, weights, [each.ordered for each in columns])

    def merge(self, other: RowSample) -> Self:
        """Take in another sample."""
        if len(self.keys) == 0:
            self.ordered = list(other.ordered)
        elif len(other.keys):
            alike = zip(self.ordered, other.ordered, self.levels, other.levels, strict=True)
            self.ordered = [mine and theirs and own == others for mine, theirs, own, others in alike]
        rows = other.rows.copy()
        for j, names in enumerate(other.levels):
            if names != self.levels[j]:
                place = {name: k for k, name in enumerate(self.levels[j])}
                codes = np.array([place.setdefault(name, len(place)) for name in names] + [np.nan])
                rows[:, j] = codes[np.where(np.isnan(rows[:, j]), len(names), rows[:, j]).astype(np.int64)]
                self.levels[j] = list(place)
        keys, first, inverse = np.unique(
            np.concatenate([self.keys, other.keys]), return_index=True, return_inverse=True
        )
        weights = np.bincount(inverse, np.concatenate([self.weights, other.weights]), len(keys)).astype(np.float64)
        first = first[: self.limit]
        self.keys, self.weights = keys[: self.limit], weights[: self.limit]
        self.rows = np.concatenate([self.rows, rows])[first]
        return self


def hash_rows(columns: Sequence[NDArray[Any]], levels: Sequence[Sequence[str] | None]) -> NDArray[np.uint64]:
    """64 bits (N,) of each row; the arguments are those of `RowSample.add`."""
    keys = np.zeros(len(columns[0]), np.uint64)
    for values, names in zip(columns, levels, strict=True):
        keys = _mixed(keys * _GOLDEN + _hashes(np.asarray(values), names))
    return keys


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _hashes(values: NDArray[Any], names: Sequence[str] | None) -> NDArray[np.uint64]:
    if names is not None:
        of_names = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names]
        codes = np.nan_to_num(values, nan=-1).astype(np.int64)
        return np.array([*of_names, 1], np.uint64)[codes]  # the last one, -1, is missing
    numbers = np.asarray(values, np.float64) + 0.0  # -0 is 0
    return np.where(np.isfinite(numbers), _mixed(numbers.view(np.uint64)), np.uint64(1))
