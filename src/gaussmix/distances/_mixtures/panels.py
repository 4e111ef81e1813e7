"""A panel of the line: the pieces of a signed difference that it turns into a polynomial, and what it hands down."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.distances._mixtures import series as _series
from gaussmix.distances._mixtures.series import DEGREE, EPS, N_TERMS
from gaussmix.distances._mixtures.signed import WINDOW, Signed

_LONGEST_PATH = 2200
"""Panels on the way from the whole line to the smallest number."""


class Stack(NamedTuple):
    """Panels that wait, the lowest on top, one a row."""

    edges: FloatArray
    """(D, 2) low and high."""
    errors: FloatArray
    """(D, 2) of the polynomial so far, anywhere on the panel: by series and by rounding."""
    lists: NDArray[np.int64]
    """(D, 5): point masses inside, from and to; Gaussians that remain, from and to in the arena; guards, as bits."""
    rows: FloatArray
    """(D, N_TERMS) the polynomial so far."""


def empty_stack() -> Stack:
    """Room for the longest way down."""
    depth = _LONGEST_PATH
    return Stack(np.empty((depth, 2)), np.empty((depth, 2)), np.empty((depth, 5), np.int64), np.empty((depth, N_TERMS)))


@nb.njit(cache=True, nogil=True)
def _shape(low: float, high: float) -> tuple[float, float, float, bool]:
    """Middle; half-length; what a middle off by rounding does, to the sum of a series' terms; whether it is too narrow
    to be split. The middle is exact but for panels that end at a point mass or a bound."""
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    off = abs((middle - low) - (high - middle))
    return middle, half, DEGREE * off / half, half <= 4 * EPS * max(abs(low), abs(high))


@nb.njit(cache=True, nogil=True)
def add_gaussians(
    low: float,
    high: float,
    upper: bool,
    s: Signed,
    cumulative: bool,
    tolerance: float,
    arena: NDArray[np.int32],
    first: int,
    last: int,
    p: FloatArray,
) -> tuple[int, float, float]:
    """Add to p those of arena[first:last] that are polynomials on the panel; copy the others behind them.

    Returns the end of the copies, and the errors by series and by rounding. A piece's own error is at most `tolerance`
    of its integral, or that of its density.
    """
    middle, half, shifted, hopeless = _shape(low, high)
    log_tolerance = math.log(0.5 * tolerance)
    end, blur, rounding, size = last, 0.0, 0.0, _series.rise(p)
    for k in range(first, last):
        i = int(arena[k])
        c, inverse = s.coefficient[i], s.inverse_std[i]
        left, right = (low - s.mean[i]) * inverse, (high - s.mean[i]) * inverse
        if left > WINDOW or right < -WINDOW:
            if cumulative and upper == (right < -WINDOW):
                p[0] += -c if upper else c
                rounding += EPS * abs(p[0])
            continue
        eta, rest, smooth = half * inverse, 0.0, False
        if eta < 2:
            rest = _series.log_rest(eta, max(left, -right, 0.0), cumulative)
            smooth = rest + math.log(eta) <= log_tolerance
        if smooth:
            blur += abs(c) * math.exp(rest) * (1.0 if cumulative else inverse)
            z = (middle - s.mean[i]) * inverse
            added, slip = _series.add_gaussian(p, c, z, eta, inverse, upper, cumulative)
            size += added
            rounding += slip + shifted * added + EPS * (size + abs(p[0]))
        elif hopeless:
            blur += abs(c) * (1.0 if cumulative else 0.5 / half)
        else:
            arena[end] = i
            end += 1
    return end, blur, rounding


@nb.njit(cache=True, nogil=True)
def add_guards(
    low: float, high: float, upper: bool, s: Signed, cumulative: bool, tolerance: float, waiting: int, p: FloatArray
) -> tuple[int, float, float]:
    """The same for the guards, bits of `waiting`; returns those that still wait."""
    middle, half, shifted, hopeless = _shape(low, high)
    blur, rounding = 0.0, 0.0
    for j in range(s.guard_mass.size):
        if not waiting & (1 << j):
            continue
        mass, scale, away = s.guard_mass[j], s.guard_scale[j], middle - s.guard_loc[j]
        rest = _series.guard_rest(away, half, mass, scale, cumulative)
        if 2 * half * rest <= tolerance * abs(mass) * (scale if cumulative else 1.0):
            added, slip = _series.add_guard(p, away, half, mass, scale, upper, cumulative)
            blur += rest
            rounding += slip + shifted * added + EPS * (added + abs(p[0]))
        elif hopeless:
            blur += abs(mass) * (1.0 if cumulative else 0.5 / half)
        else:
            continue
        waiting &= ~(1 << j)
    return waiting, blur, rounding


@nb.njit(cache=True, nogil=True)
def split(place: int, cut: int, s: Signed, p: FloatArray, blur: float, slips: float, stack: Stack) -> None:
    """The panel at `place` in two there, at the point mass `cut` or, if that is -1, near its middle: at a round number,
    so that nearly all panels have exact middles.

    The children have the polynomial p, its errors, and the other lists of their parent.
    """
    low, high = stack.edges[place]
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    unit = math.ldexp(0.25, math.frexp(half)[1])
    at = math.floor(middle / unit + 0.5) * unit if cut < 0 else s.step[cut]
    size = _series.rise(p)
    for child in range(2):
        a, b = (at, high) if child == 0 else (low, at)
        stack.edges[place + child, 0], stack.edges[place + child, 1] = a, b
        shift = (0.5 * a + 0.5 * b - middle) / half
        _series.restrict(p, 0.5 * (b - a) / half, shift, stack.rows[place + child])
        stack.errors[place + child, 0], stack.errors[place + child, 1] = blur, slips + N_TERMS * EPS * size
    for k in range(5):
        stack.lists[place + 1, k] = stack.lists[place, k]
    if cut >= 0:
        stack.lists[place, 0], stack.lists[place + 1, 1] = cut + 1, cut


@nb.njit(cache=True, nogil=True)
def _between(p: FloatArray, level: float, low: float, high: float, bend: float) -> float:
    """int p + level from low to high: by end values and slopes where that is exact to rounding."""
    width = high - low
    value, slope = _series.value_and_slope(p, low)
    other, other_slope = _series.value_and_slope(p, high)
    if width * width * width * width * bend <= EPS:
        return width * (0.5 * (value + other) + level) + width * width * (slope - other_slope) / 12
    return _series.integral(p, high) - _series.integral(p, low) + level * width


@nb.njit(cache=True, nogil=True)
def against_sample(
    low: float, high: float, p: FloatArray, position: FloatArray, level: FloatArray, at: int
) -> tuple[float, int]:
    """int |p + level| in half-lengths of the panel, and how many of the increasing positions (N,) are below its end.

    `level` (N + 1,) holds between the positions; `at` of them are below the panel. Between two of them p is monotone
    but for its error, so that it has one zero, or what a second one could hide is less than that error.
    """
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    bend, total, t = 0.0, 0.0, -1.0
    for k in range(4, N_TERMS):
        bend += k * (k - 1) * (k - 2) * (k - 3) * abs(p[k]) / 720
    while True:
        last = at >= position.size or position[at] >= high
        new = 1.0 if last else min(max((position[at] - middle) / half, t), 1.0)
        start, stop = _series.value_and_slope(p, t)[0], _series.value_and_slope(p, new)[0]
        if (start + level[at]) * (stop + level[at]) < 0:
            crossing = _series.zero(p, level[at], t, new)
            total += abs(_between(p, level[at], t, crossing, bend)) + abs(_between(p, level[at], crossing, new, bend))
        elif new > t:
            total += abs(_between(p, level[at], t, new, bend))
        t = new
        if last:
            return total, at
        at += 1
