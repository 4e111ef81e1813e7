"""Wasserstein distances of two samples, exact to rounding, and the difference of their distribution functions.

Point masses x (N,) and y (M,) with distribution functions F and G, and quantile functions Q_x and Q_y:

    W_1 = integral |F - G| dx,    W_p = (integral_0^1 |Q_x - Q_y|^p du)^(1/p),    W_inf = max |Q_x - Q_y|.

Masses are whole numbers, M for each of x and N for each of y over their greatest common divisor, so that F - G is
exact. Weights are summed from the left up to the middle of the probability, and from the right beyond it, so that
little mass far out keeps its digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.distances._inputs import Sample

LARGEST_EXPONENT = 900
"""Of 2: numbers beyond, or all below its inverse, are first brought near 1, where neither sums nor powers overflow.
Powers of 2 do not round."""
SAME = 16 * 2.0**-53
"""Sums of masses that differ by less, relative to themselves, differ by rounding."""


class Points(NamedTuple):
    """Increasing ``values`` (N,) and their ``masses`` (N,), positive."""

    values: FloatArray
    masses: FloatArray


def distance_of_samples(x: Sample, y: Sample, p: float) -> float:
    """W_p, in the units of the values, for p >= 1 or inf."""
    exponent = math.frexp(max(float(np.abs([v.values.min(), v.values.max()]).max()) for v in (x, y)))[1]
    if abs(exponent) > LARGEST_EXPONENT:
        x, y = (sample._replace(values=np.ldexp(sample.values, -exponent)) for sample in (x, y))
        return float(np.ldexp(distance_of_samples(x, y, p), exponent))
    n, m = x.values.size, y.values.size
    weighted = x.masses is not None or y.masses is not None
    if not weighted and n == m:
        moves = np.abs(np.sort(x.values) - np.sort(y.values))
        return float(moves.mean()) if p == 1 else _norm(np.array([1 / n]), moves, p)
    first, second = in_order(x, y)
    return _area(first, second) if p == 1 else _norm(*_moves(first, second), p)


def in_order(x: Sample, y: Sample) -> tuple[Points, Points]:
    """Both samples' points of positive mass, whose masses have one sum: 1, or whole numbers."""
    n, m = x.values.size, y.values.size
    whole = n * m // math.gcd(n, m)
    if x.masses is not None or y.masses is not None or whole >= 2**53:
        whole = 1
    first, second = (_sorted(sample, whole / sample.values.size) for sample in (x, y))
    return first, second


def difference_of_cdfs(x: Points, y: Points) -> tuple[FloatArray, FloatArray]:
    """All positions (N + M,), increasing, and F - G (N + M - 1,) between neighbours; probabilities sum to 1."""
    at, change = np.concatenate([x.values, y.values]), np.concatenate([x.masses, -y.masses])
    order = np.argsort(at, kind="stable")  # merges what is in order
    change = change[order]
    whole = x.masses.sum()
    below, above = running_sums(change)[:-1], -running_sums(change[::-1])[::-1][1:]
    in_lower_half = np.cumsum(np.abs(change))[:-1] <= whole  # of the two wholes that both add up to
    return at[order], np.where(in_lower_half, below, above) / whole


def running_sums(terms: FloatArray) -> FloatArray:
    """Running sums, each right to about one rounding: those of multiples of 2^-52 are exact, the rest is small."""
    coarse = np.rint(terms * 2.0**52) * 2.0**-52
    return np.cumsum(coarse) + np.cumsum(terms - coarse)


def _area(x: Points, y: Points) -> float:
    """integral |F - G| dx."""
    at, difference = difference_of_cdfs(x, y)
    return float(np.abs(difference) @ np.diff(at))


def _sorted(sample: Sample, each: float) -> Points:
    if sample.masses is None:
        return Points(np.sort(sample.values), np.full(sample.values.size, each))
    some = sample.masses > 0
    values, masses = sample.values[some], sample.masses[some]
    order = np.argsort(values)
    return Points(values[order], masses[order])


def _norm(length: FloatArray, gap: FloatArray, p: float) -> float:
    """(sum length gap^p)^(1/p)."""
    top = float(gap.max())
    if p == math.inf or top == 0:
        return top
    return top * float((length * (gap / top) ** p).sum()) ** (1 / p)


def _moves(x: Points, y: Points) -> tuple[FloatArray, FloatArray]:
    """Pieces of the probability, from either end to its middle: their lengths, and |Q_x - Q_y| on them."""
    whole, lengths, gaps = x.masses.sum(), [], []
    if np.array_equal(x.values, y.values) and np.array_equal(x.masses, y.masses):
        return np.ones(1), np.zeros(1)
    for side in (1, -1):
        x_sums, y_sums = running_sums(x.masses[::side]), running_sums(y.masses[::side])
        sums = np.sort(np.concatenate([x_sums, y_sums]), kind="stable")
        sums = np.append(sums[sums < 0.5 * whole], 0.5 * whole)
        sums = sums[np.diff(sums, prepend=0.0) > SAME * sums]
        length = np.diff(sums, prepend=0.0)
        middle = sums - 0.5 * length
        i, j = (np.searchsorted(each, middle).clip(max=each.size - 1) for each in (x_sums, y_sums))
        lengths.append(length / whole)
        gaps.append(np.abs(x.values[::side][i] - y.values[::side][j]))
    return np.concatenate(lengths), np.concatenate(gaps)
