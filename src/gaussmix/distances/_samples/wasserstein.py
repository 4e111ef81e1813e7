"""Wasserstein distances of two samples, exact to rounding.

Point masses x (N,) and y (M,) with distribution functions F and G, and quantile functions Q_x and Q_y:

    W_1 = integral |F - G| dx,    W_p = (integral_0^1 |Q_x - Q_y|^p du)^(1/p),    W_inf = max |Q_x - Q_y|.

Large samples are not sorted for W_1. Points go into cells; of a cell's points their mass and the sum of their
distances from its left end are kept. So F - G is known at the ends, and its integral over each cell. Within a cell F
and G only rise: where F - G at the left end is at least what G rises, or at most -(what F rises), it keeps its sign,
and |integral| is the integral of the absolute value. The other cells are cut into finer ones, until few points are left
in them, which are sorted.

Masses are whole numbers, M for each of x and N for each of y over their greatest common divisor, so that F - G is
exact. Samples with weights are sorted (`_weighted`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.distances._inputs import Sample
from gaussmix.distances._samples import weighted as _weighted
from gaussmix.distances._samples.cells import pick, settle, tabulate
from gaussmix.distances._samples.merging import area, area_of_cells, largest_gap, mean_power

N_CELLS = 2**15
"""How many at first, where most points are: a sample's table, 16 bytes a cell, stays in the second-level cache."""
FINER = 8
"""Into how many a doubtful cell is cut, or more where they are few."""
SORT_BELOW = 2**15
"""So many points, of both samples together, are sorted."""
N_LOOKED_AT = 2**11
"""How many points of each sample tell where most points are."""
OUTSIDE = 1 / 256
"""The share of these beyond either end: heavy tails must not make the cells wide."""
SMALLEST = np.finfo(float).tiny
"""Width of a cell where all points are equal."""
LARGEST_EXPONENT = 900
"""Of 2: numbers beyond, or all below its inverse, are first brought near 1, where neither sums nor powers overflow.
Powers of 2 do not round."""


class Points(NamedTuple):
    """`values` (N,), each of the mass `each`."""

    values: FloatArray
    each: float


def wasserstein(x: Sample, y: Sample, p: float) -> float:
    """W_p, in the units of the values, for p >= 1 or inf."""
    low, high = min(x.values.min(), y.values.min()), max(x.values.max(), y.values.max())
    exponent = math.frexp(max(abs(low), abs(high)))[1]
    if abs(exponent) > LARGEST_EXPONENT:
        x, y = (sample._replace(values=np.ldexp(sample.values, -exponent)) for sample in (x, y))
        return float(np.ldexp(wasserstein(x, y, p), exponent))
    n, m = x.values.size, y.values.size
    mass = n * m // math.gcd(n, m)
    if x.masses is not None or y.masses is not None or mass >= 2**53:
        return _weighted.wasserstein(x, y, p)
    first, second = Points(x.values, mass / n), Points(y.values, mass / m)
    few = _few(x.values, y.values)
    if p == 1 and n + m >= SORT_BELOW and np.unique(few).size > few.size // 2:  # equal points are sorted fast
        return _in_cells(first, second, few, np.array([[low, high]])) / mass
    first, second = _ordered(first), _ordered(second)
    if p == 1:
        return area(*first, *second) / mass
    gap = largest_gap(*first, *second)
    if p == math.inf or gap == 0:
        return gap
    return gap * (mean_power(*first, *second, gap, p) / mass) ** (1 / p)


def _ordered(points: Points) -> Points:
    return points._replace(values=np.sort(points.values))


def _in_cells(x: Points, y: Points, few: FloatArray, ends: FloatArray) -> float:
    """The area between the masses of x and of y up to a point, by cells, and finer ones, until few points are left.

    `few` of the points, and the `ends` (1, 2) of all.
    """
    before, total = np.zeros(1), 0.0
    outside = int(OUTSIDE * few.size)
    inside = np.array([[few[outside], few[-1 - outside]]])
    x_in = y_in = np.empty(0, np.int32)
    left, idle = x.values.size + y.values.size, 0
    while left >= SORT_BELOW and idle < 2 and len(ends) <= N_CELLS // 4:
        n_cells = max(N_CELLS // len(ends), FINER)
        width = np.maximum((inside[:, 1] - inside[:, 0]) / n_cells, SMALLEST)
        axes, doubtful = np.column_stack([inside[:, 0], width, 1 / width]), np.empty(len(ends) * n_cells, np.uint8)
        x_table, y_table = (
            points.each * tabulate(points.values, intervals, axes, n_cells)
            for points, intervals in ((x, x_in), (y, y_in))
        )
        certain, ends, before = settle(x_table, y_table, before, axes, ends, n_cells, doubtful)
        total += certain
        x, x_in = _picked(x, x_in, axes, n_cells, doubtful)
        y, y_in = _picked(y, y_in, axes, n_cells, doubtful)
        inside, was, left = ends, left, x.values.size + y.values.size
        idle += left > 0.5 * was  # almost equal samples are best sorted; or the cells were too wide
    counts = [np.bincount(intervals, minlength=len(ends)) for intervals in (x_in, y_in)]
    x, y = _ordered(x), _ordered(y)
    return total + area_of_cells(*x, counts[0], *y, counts[1], ends, before)


def _few(x: FloatArray, y: FloatArray) -> FloatArray:
    """Some of the points of both, in order."""
    return np.sort(np.concatenate([values[:: max(values.size // N_LOOKED_AT, 1)] for values in (x, y)]))


def _picked(
    points: Points, intervals: NDArray[np.int32], axes: FloatArray, n_cells: int, doubtful: NDArray[np.uint8]
) -> tuple[Points, NDArray[np.int32]]:
    """Those in doubtful cells, and these cells' numbers among the doubtful ones."""
    values, cells = pick(points.values, intervals, axes, n_cells, doubtful)
    return points._replace(values=values), cells
