"""Rows of features: what the metrics take, and all pairs of rows a tile at a time.

A row is one picture, a column one feature. Sums are in double precision whatever the features are in, and no array
of all pairs, nor a second copy of the features, is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]
_ROWS = 1024
"""Of a tile: 8 MB of pairs in double precision."""


def feature_rows(values: ArrayLike, name: str, *, at_least: int = 1, why: str = "") -> Features:
    """``values`` as ``(N, D)`` float32 or float64. Raises ValueError or TypeError, naming the argument ``name``."""
    rows = np.asarray(values)
    if rows.dtype.kind not in "fiub":
        raise TypeError(f"{name} holds {rows.dtype}; give numbers (N, D), a row of features for each picture")
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} has shape {rows.shape}; give (N, D), a row of features for each picture")
    if len(rows) < at_least:
        raise ValueError(f"{name} has {len(rows)} row(s){why}; give at least {at_least}")
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    bad = [i for part in _parts(len(rows)) for i in part.start + np.flatnonzero(~np.isfinite(rows[part]).all(1))]
    if bad:
        raise ValueError(
            f"{name}: {len(bad)} of {len(rows)} rows hold NaN or infinity, the first is row {bad[0]}; leave them out"
        )
    return rows


def feature_pair(
    a: ArrayLike, b: ArrayLike, names: tuple[str, str], *, at_least: int = 1, why: str = ""
) -> tuple[Features, Features]:
    """Two sets of `feature_rows` of one width."""
    first = feature_rows(a, names[0], at_least=at_least, why=why)
    second = feature_rows(b, names[1], at_least=at_least, why=why)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[0]} has {first.shape[1]} features a row and {names[1]} has {second.shape[1]}; "
            "compute both with one extractor"
        )
    return first, second


def _parts(rows: int) -> list[slice]:
    return [slice(i, min(i + _ROWS, rows)) for i in range(0, rows, _ROWS)]


def blocks(rows: Features, centre: Array) -> Iterator[tuple[slice, Array]]:
    """``rows`` less ``centre`` ``(D,)`` in double precision, some at a time."""
    for part in _parts(len(rows)):
        yield part, rows[part] - centre


def squared_distances(a: Features, b: Features, centre: Array) -> Iterator[tuple[slice, slice, Array]]:
    """Yield rows of ``a``, rows of ``b`` and their squared Euclidean distances, a tile at a time.

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y with x and y less ``centre`` ``(D,)``. A result that is not above the rounding of
    that sum is 0, so equal rows have distance 0.
    """
    rounding = a.shape[1] * np.finfo(np.float64).eps
    for rows, x in blocks(a, centre):
        x_squares = np.einsum("ij,ij->i", x, x)[:, None]
        for columns, y in blocks(b, centre):
            sums = x_squares + np.einsum("ij,ij->i", y, y)
            squares = sums - 2 * x @ y.T
            squares[squares <= rounding * sums] = 0
            yield rows, columns, squares


def middle(rows: Features) -> Array:
    """A centre for `squared_distances`, the median of every feature ``(D,)``.

    With it nothing of a common offset cancels, and features that are whole numbers stay multiples of 1/2, exactly.
    """
    return np.median(rows, axis=0).astype(np.float64)
