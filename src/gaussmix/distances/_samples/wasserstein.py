"""Wasserstein distances of two samples, exact to rounding.

Point masses x (N,) and y (M,) with distribution functions F and G, and quantile functions Q_x and Q_y:

    W_1 = integral |F - G| dx,    W_p = (integral_0^1 |Q_x - Q_y|^p du)^(1/p),    W_inf = max |Q_x - Q_y|.

Large samples are not sorted for W_1. Points go into cells; of a cell's points their mass and the sum of their
distances from its left end are kept. So F - G is known at the ends, and its integral over each cell. Within a cell F
and G only rise: where F - G at the left end is at least what G rises, or at most -(what F rises), it keeps its sign,
and |integral| is the integral of the absolute value. The other cells are cut into finer ones, until few points are left
in them, which are sorted.

Masses are whole numbers, M for each of x and N for each of y over their greatest common divisor, so that F - G is
exact. Samples with weights are sorted. Their masses are summed from the left up to the middle of the probability, and
from the right beyond it, so that little mass far out keeps its digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.distances._inputs import Sample
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
SAME = 16 * 2.0**-53
"""Sums of masses that differ by less, relative to themselves, differ by rounding."""


class Points(NamedTuple):
    """``values`` (N,), each of the mass ``each``."""

    values: FloatArray
    each: float


def distance_of_samples(x: Sample, y: Sample, p: float) -> float:
    """W_p, in the units of the values, for p >= 1 or inf."""
    low, high = min(x.values.min(), y.values.min()), max(x.values.max(), y.values.max())
    exponent = math.frexp(max(abs(low), abs(high)))[1]
    if abs(exponent) > LARGEST_EXPONENT:
        x, y = (sample._replace(values=np.ldexp(sample.values, -exponent)) for sample in (x, y))
        return float(np.ldexp(distance_of_samples(x, y, p), exponent))
    n, m = x.values.size, y.values.size
    mass = n * m // math.gcd(n, m)
    if x.masses is not None or y.masses is not None or mass >= 2**53:
        return _weighted_distance(x, y, p)
    first, second = Points(x.values, mass / n), Points(y.values, mass / m)
    few = _few(x.values, y.values)
    if p == 1 and n + m >= SORT_BELOW and np.unique(few).size > few.size // 2:  # equal points are sorted fast
        return _in_cells(first, second, few, np.array([[low, high]])) / mass
    first, second = _sorted_points(first), _sorted_points(second)
    if p == 1:
        return area(*first, *second) / mass
    gap = largest_gap(*first, *second)
    if p == math.inf or gap == 0:
        return gap
    return gap * (mean_power(*first, *second, gap, p) / mass) ** (1 / p)


def _sorted_points(points: Points) -> Points:
    return points._replace(values=np.sort(points.values))


def _in_cells(x: Points, y: Points, few: FloatArray, ends: FloatArray) -> float:
    """The area between the masses of x and of y up to a point, by cells, and finer ones, until few points are left.

    ``few`` of the points, and the ``ends`` (1, 2) of all.
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
    x, y = _sorted_points(x), _sorted_points(y)
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


def _weighted_distance(x: Sample, y: Sample, p: float) -> float:
    """W_p, in the units of the values, for p >= 1 or inf; points without mass do not count."""
    (x_values, x_masses), (y_values, y_masses) = _sorted_with_masses(x), _sorted_with_masses(y)
    if np.array_equal(x_values, y_values) and np.array_equal(x_masses, y_masses):
        return 0.0
    if p == 1:
        return _area(x_values, x_masses, y_values, y_masses)
    halves = [
        _moves(x_values[::side], _sums(x_masses[::side]), y_values[::side], _sums(y_masses[::side])) for side in (1, -1)
    ]
    length, gap = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    top = float(gap.max())
    if p == math.inf or top == 0:
        return top
    return top * float(length @ (gap / top) ** p) ** (1 / p)


def _sorted_with_masses(sample: Sample) -> tuple[FloatArray, FloatArray]:
    """Increasing values and their masses."""
    values = sample.values
    masses = np.full(values.size, 1 / values.size) if sample.masses is None else sample.masses
    values, masses = values[masses > 0], masses[masses > 0]
    order = np.argsort(values)
    return values[order], masses[order]


def _area(x: FloatArray, x_masses: FloatArray, y: FloatArray, y_masses: FloatArray) -> float:
    """integral |F - G| dx."""
    at = np.concatenate([x, y])
    order = np.argsort(at, kind="stable")
    change = np.concatenate([x_masses, -y_masses])[order]
    below, above = _sums(change)[:-1], -_sums(change[::-1])[::-1][1:]
    in_lower_half = np.cumsum(np.abs(change))[:-1] <= 1.0  # of the 2 that both add up to
    return float(np.abs(np.where(in_lower_half, below, above)) @ np.diff(at[order]))


def _moves(x: FloatArray, x_sums: FloatArray, y: FloatArray, y_sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pieces of the half of the probability where the samples begin: their lengths, and |Q_x - Q_y| on them."""
    sums = np.sort(np.concatenate([x_sums, y_sums]))
    sums = np.append(sums[sums < 0.5], 0.5)
    sums = sums[np.diff(sums, prepend=0.0) > SAME * sums]
    length = np.diff(sums, prepend=0.0)
    middle = sums - 0.5 * length
    i, j = (np.searchsorted(each, middle).clip(max=each.size - 1) for each in (x_sums, y_sums))
    return length, np.abs(x[i] - y[j])


@nb.njit(cache=True, nogil=True)
def _sums(terms: FloatArray) -> FloatArray:
    """Running sums, each right to about one rounding (Neumaier)."""
    out, total, lost = np.empty(terms.size), 0.0, 0.0
    for i in range(terms.size):
        new = total + terms[i]
        lost += (total - new) + terms[i] if abs(total) >= abs(terms[i]) else (terms[i] - new) + total
        total = new
        out[i] = total + lost
    return out
