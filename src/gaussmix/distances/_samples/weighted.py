"""Wasserstein distances of two samples of which one or both have weights.

    W_1 = integral |F - G| dx,    W_p = (integral_0^1 |Q_x - Q_y|^p du)^(1/p),    W_inf = max |Q_x - Q_y|

F, G: distribution functions, Q: quantile functions. Masses are summed from the left up to the middle of the
probability, and from the right beyond it, so that little mass far out keeps its digits.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.distances._inputs import Sample

SAME = 16 * 2.0**-53
"""Sums of masses that differ by less, relative to themselves, differ by rounding."""


def wasserstein(x: Sample, y: Sample, p: float) -> float:
    """W_p, in the units of the values, for p >= 1 or inf; points without mass do not count."""
    (x_values, x_masses), (y_values, y_masses) = _ordered(x), _ordered(y)
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


def _ordered(sample: Sample) -> tuple[FloatArray, FloatArray]:
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
