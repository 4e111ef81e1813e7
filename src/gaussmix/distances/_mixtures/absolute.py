"""The integral of |g| over the line, g the difference of two laws' cdfs or densities, with a bound on its error.

A panel adds its Gaussians to a polynomial as soon as Taylor's series is accurate there; those that are over on it are
constants of a cdf, or nothing. Where some remain it is split and the halves inherit polynomial and list, so that a
piece is only looked at where it matters. On a panel without any left, g is a polynomial p to a known error e: then
|int |g| - int |p|| <= length * e, and int |p| is exact between the zeros of p. Against a sample g is monotone between
two numbers: at most one zero each.

The bound holds what series leave out, what stays in doubt at zeros, Gaussians beyond WINDOW, guards beyond GUARD_REACH,
and rounding, as the sum of the bounds of its steps. It takes for granted that exp, erfc and atan2 are accurate to 4
units in the last place, and that the laws' weights, as stored, are meant.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, Sample
from gaussmix.distances._mixtures import series
from gaussmix.distances._mixtures.series import DEGREE, EPS, N_TERMS
from gaussmix.distances._mixtures.signed import GUARD_REACH, WINDOW, Signed, Stretches, difference

ACCURACY = 1e-10  # largest error relative to the integral, unless rounding alone is more
_FIRST_TOLERANCE, _LAST_TOLERANCE = 1e-14, 1e-24
"""Of a series, relative to the integral of its piece: tried first, and the finest."""
_SURE = 1e-3  # doubtful panels are halved until they hold this share of the tolerance
_MOST_HALVINGS = 62  # of a panel that has a polynomial
_BEYOND_CDF, _BEYOND_PDF = 2.9e-20, 2.3e-19  # integrals of Phi(-z), and of the two tails of phi(z), beyond WINDOW
_LONGEST_PATH = 2200  # panels on the way from the whole line to the smallest number


def absolute_difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> tuple[float, float]:
    """int |F_a - F_b| dx if ``cumulative``, else int |f_a - f_b| dx of the continuous parts; and a bound on the error.

    b may be a sample if ``cumulative``. The error is at most ACCURACY of the integral unless rounding is more.
    """
    signed, stretches = difference(a, b, cumulative=cumulative)
    position, level = _steps(b) if isinstance(b, Sample) else (np.empty(0), np.zeros((2, 1)))
    edges, errors = np.empty((2, _LONGEST_PATH, 2))
    stack = Stack(edges, errors, np.empty((_LONGEST_PATH, 5), np.int64), np.empty((_LONGEST_PATH, N_TERMS)))
    tolerance = _FIRST_TOLERANCE
    while True:
        value, left_out, rounding = _integrate(signed, stretches, position, level, tolerance, stack)
        if left_out <= 0.5 * ACCURACY * value or left_out <= 0.1 * rounding or tolerance <= _LAST_TOLERANCE:
            return value, left_out + rounding
        tolerance = max(_LAST_TOLERANCE, tolerance * min(1e-2, 0.1 * ACCURACY * value / left_out))


def _steps(sample: Sample) -> tuple[FloatArray, FloatArray]:
    """Increasing positions (N,), and between them (2, N + 1) the sample's - cdf and 1 - cdf."""
    order = np.argsort(sample.values)
    if sample.masses is None:
        below = np.arange(order.size + 1) / order.size
        above = below[::-1]
    else:
        masses = sample.masses[order]
        below, above = np.append(0.0, np.cumsum(masses)), np.append(np.cumsum(masses[::-1])[::-1], 0.0)
    return sample.values[order], np.stack([-below, above])


class Stack(NamedTuple):
    """Panels that wait, the lowest on top, one a row."""

    edges: FloatArray  # (D, 2) low and high
    errors: FloatArray  # (D, 2) of the polynomial so far, anywhere on the panel: by series and by rounding
    lists: NDArray[np.int64]
    """(D, 5): point masses inside, from and to; Gaussians that remain, from and to in the arena; guards, as bits."""
    rows: FloatArray  # (D, N_TERMS) the polynomial so far


@nb.njit(cache=True, nogil=True)
def _shape(low: float, high: float) -> tuple[float, float, float, bool]:
    """Middle; half-length; what a middle off by rounding does, to the sum of a series' terms; whether it is too narrow
    to be split. The middle is exact but for panels that end at a point mass or a bound."""
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    off = abs((middle - low) - (high - middle))
    return middle, half, DEGREE * off / half, half <= 4 * EPS * max(abs(low), abs(high))


@nb.njit(cache=True, nogil=True)
def _add_gaussians(
    place: int, upper: bool, s: Signed, tolerance: float, arena: NDArray[np.int32], p: FloatArray, stack: Stack
) -> tuple[int, float, float]:
    """Add to p those of the panel's list that are polynomials on it; copy the others behind them.

    Returns the end of the copies, and the errors by series and by rounding. A piece's own error is at most the
    tolerance of its integral, or that of its density.
    """
    low, high = stack.edges[place]
    first, last = stack.lists[place, 2:4]
    middle, half, shifted, hopeless = _shape(low, high)
    log_tolerance = math.log(0.5 * tolerance)
    end, blur, rounding, size = last, 0.0, 0.0, series.rise(p)
    for k in range(first, last):
        i = int(arena[k])
        c, inverse = s.coefficient[i], s.inverse_std[i]
        left, right = (low - s.mean[i]) * inverse, (high - s.mean[i]) * inverse
        if left > WINDOW or right < -WINDOW:
            if s.cumulative and upper == (right < -WINDOW):
                p[0] += -c if upper else c
                rounding += EPS * abs(p[0])
            continue
        eta, rest, smooth = half * inverse, 0.0, False
        if eta < 2:
            rest = series.log_rest(eta, max(left, -right, 0.0), s.cumulative)
            smooth = rest + math.log(eta) <= log_tolerance
        if smooth:
            blur += abs(c) * math.exp(rest) * (1.0 if s.cumulative else inverse)
            z = (middle - s.mean[i]) * inverse
            added, slip = series.add_gaussian(p, c, z, eta, inverse, upper, s.cumulative)
            size += added
            rounding += slip + shifted * added + EPS * (size + abs(p[0]))
        elif hopeless:
            blur += abs(c) * (1.0 if s.cumulative else 0.5 / half)
        else:
            arena[end] = i
            end += 1
    return end, blur, rounding


@nb.njit(cache=True, nogil=True)
def _add_guards(
    low: float, high: float, upper: bool, s: Signed, tolerance: float, waiting: int, p: FloatArray
) -> tuple[int, float, float]:
    """The same for the guards, bits of ``waiting``; returns those that still wait."""
    middle, half, shifted, hopeless = _shape(low, high)
    blur, rounding = 0.0, 0.0
    for j in range(s.guard_mass.size):
        if not waiting & (1 << j):
            continue
        mass, scale, away = s.guard_mass[j], s.guard_scale[j], middle - s.guard_loc[j]
        rest = series.guard_rest(away, half, mass, scale, s.cumulative)
        if 2 * half * rest <= tolerance * abs(mass) * (scale if s.cumulative else 1.0):
            added, slip = series.add_guard(p, away, half, mass, scale, upper, s.cumulative)
            blur += rest
            rounding += slip + shifted * added + EPS * (added + abs(p[0]))
        elif hopeless:
            blur += abs(mass) * (1.0 if s.cumulative else 0.5 / half)
        else:
            continue
        waiting &= ~(1 << j)
    return waiting, blur, rounding


@nb.njit(cache=True, nogil=True)
def _split(place: int, cut: int, s: Signed, p: FloatArray, blur: float, slips: float, stack: Stack) -> None:
    """Cut a panel in two, at the point mass ``cut`` or, if that is -1, near its middle: at a round number, so that
    nearly all panels have exact middles. The halves have the polynomial, its errors and the other lists of the whole.
    """
    low, high = stack.edges[place]
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    unit = math.ldexp(0.25, math.frexp(half)[1])
    at = math.floor(middle / unit + 0.5) * unit if cut < 0 else s.step[cut]
    size = series.rise(p)
    for child in range(2):
        a, b = (at, high) if child == 0 else (low, at)
        stack.edges[place + child, 0], stack.edges[place + child, 1] = a, b
        shift = (0.5 * a + 0.5 * b - middle) / half
        series.restrict(p, 0.5 * (b - a) / half, shift, stack.rows[place + child])
        stack.errors[place + child, 0], stack.errors[place + child, 1] = blur, slips + N_TERMS * EPS * size
    for k in range(5):
        stack.lists[place + 1, k] = stack.lists[place, k]
    if cut >= 0:
        stack.lists[place, 0], stack.lists[place + 1, 1] = cut + 1, cut


@nb.njit(cache=True, nogil=True)
def _between(p: FloatArray, level: float, low: float, high: float, bend: float) -> float:
    """int p + level from low to high: by end values and slopes where that is exact to rounding."""
    width = high - low
    value, slope = series.value_and_slope(p, low)
    other, other_slope = series.value_and_slope(p, high)
    if width * width * width * width * bend <= EPS:
        return width * (0.5 * (value + other) + level) + width * width * (slope - other_slope) / 12
    return series.integral(p, high) - series.integral(p, low) + level * width


@nb.njit(cache=True, nogil=True)
def _against_sample(
    low: float, high: float, p: FloatArray, position: FloatArray, level: FloatArray, at: int
) -> tuple[float, int]:
    """int |p + level| in half-lengths of the panel, and how many of the increasing positions (N,) are below its end.

    The level (N + 1,) holds between the positions; ``at`` of them are below the panel. Between two of them p is
    monotone but for its error, so that it has one zero, or what a second one could hide is less than that error.
    """
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    bend, total, t = 0.0, 0.0, -1.0
    for k in range(4, N_TERMS):
        bend += k * (k - 1) * (k - 2) * (k - 3) * abs(p[k]) / 720
    while True:
        last = at >= position.size or position[at] >= high
        new = 1.0 if last else min(max((position[at] - middle) / half, t), 1.0)
        start, stop = series.value_and_slope(p, t)[0], series.value_and_slope(p, new)[0]
        if (start + level[at]) * (stop + level[at]) < 0:
            crossing = series.zero(p, level[at], t, new)
            total += abs(_between(p, level[at], t, crossing, bend)) + abs(_between(p, level[at], crossing, new, bend))
        elif new > t:
            total += abs(_between(p, level[at], t, new, bend))
        t = new
        if last:
            return total, at
        at += 1


@nb.njit(cache=True, nogil=True)
def _whole(s: Signed) -> tuple[float, float, float]:
    """The integral if nothing cancelled; what windows and reaches leave out; what rounded positions and widths do."""
    size, left_out, rounding = 0.0, 0.0, 0.0
    for i in range(s.mean.size):
        std = 1 / s.inverse_std[i]
        part = abs(s.coefficient[i]) * (std if s.cumulative else 1.0)
        size += part
        left_out += part * (2 * _BEYOND_CDF if s.cumulative else _BEYOND_PDF)
        rounding += part * (2 * EPS + s.mean_error[i] * s.inverse_std[i])
    for j in range(s.guard_mass.size):
        part = abs(s.guard_mass[j]) * (s.guard_scale[j] if s.cumulative else 1.0)
        size += part
        left_out += part * (1.2 / GUARD_REACH**2 if s.cumulative else 2.3 / GUARD_REACH**3)
        rounding += 2 * EPS * part
    return size, left_out, rounding


@nb.njit(cache=True, nogil=True)
def _start(stretch: int, s: Signed, stretches: Stretches, arena: NDArray[np.int32], stack: Stack) -> None:
    """A whole stretch as the panel at the bottom of the stack."""
    n_inside = 0
    for i in range(s.mean.size):
        if stretches.inside[stretch, s.group[i]]:
            arena[n_inside] = i
            n_inside += 1
    low, high = stretches.low[stretch], stretches.high[stretch]
    rise, constant = stretches.slope[stretch] * 0.5 * (high - low), stretches.constant[stretch]
    for k in range(N_TERMS):
        stack.rows[0, k] = 0.0
    stack.rows[0, 0], stack.rows[0, 1] = constant + rise, rise
    stack.edges[0, 0], stack.edges[0, 1] = low, high
    stack.errors[0, 0], stack.errors[0, 1] = 0.0, stretches.error[stretch] + EPS * abs(rise)
    lists = stack.lists[0]
    lists[0], lists[1] = stretches.steps[stretch]
    lists[2], lists[3], lists[4] = 0, n_inside, (1 << s.guard_mass.size) - 1


@nb.njit(cache=True, nogil=True)
def _integrate(
    s: Signed, stretches: Stretches, position: FloatArray, level: FloatArray, tolerance: float, stack: Stack
) -> tuple[float, float, float]:
    """The integral, what is left out at most, and what rounding does at most. Position and level: of a sample."""
    size, left_out, rounding = _whole(s)
    total, lost, at = 0.0, 0.0, 0
    arena = np.empty(8 * s.mean.size + 64, np.int32)
    p, work = np.empty(N_TERMS), np.empty((_MOST_HALVINGS + 2, N_TERMS))
    for stretch in range(stretches.low.size):
        upper = stretches.upper[stretch]
        _start(stretch, s, stretches, arena, stack)
        place = 0
        while place >= 0:
            low, high = stack.edges[place]
            step, last_step, first, last, guards = stack.lists[place]
            for k in range(N_TERMS):
                p[k] = stack.rows[place, k]
            if arena.size < 2 * last - first:
                arena = np.append(arena, np.empty(arena.size + last, np.int32))
            end, blur, slips = _add_gaussians(place, upper == 1, s, tolerance, arena, p, stack)
            guards, more_blur, more_slips = _add_guards(low, high, upper == 1, s, tolerance, guards, p)
            blur += more_blur + stack.errors[place, 0]
            slips += more_slips + stack.errors[place, 1]
            if end > last or guards or step < last_step:
                stack.lists[place, 2], stack.lists[place, 3], stack.lists[place, 4] = last, end, guards
                cut = (step + last_step) // 2 if step < last_step else -1
                _split(place, cut, s, p, blur, slips, stack)
                place += 1
                continue
            place -= 1
            half = 0.5 * (high - low)
            if s.cumulative:
                p[0] += s.passed[upper, step]
                slips += s.passed_error[upper, step]
            slips += EPS * (4 * abs(p[0]) + 3 * N_TERMS * series.rise(p))
            if position.size:
                value, at = _against_sample(low, high, p, position, level[upper], at)
                doubt, slips = 6 * blur, 3 * slips
            else:
                value, doubt = series.absolute_integral(p, 2 * (blur + slips), _SURE * tolerance * size / half, work)
                doubt += 2 * blur
            left_out += half * doubt
            rounding += 2 * half * slips
            part = half * value - lost  # Kahan's sum
            new = total + part
            lost = (new - total) - part
            total = new
    return total, left_out, rounding + 4 * EPS * total
