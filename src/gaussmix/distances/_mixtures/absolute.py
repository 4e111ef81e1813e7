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

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, Sample
from gaussmix.distances._mixtures import panels as _taylor_panels
from gaussmix.distances._mixtures import series as _series
from gaussmix.distances._mixtures.panels import Stack
from gaussmix.distances._mixtures.series import EPS, N_TERMS
from gaussmix.distances._mixtures.signed import GUARD_REACH, Signed, Stretches, difference

ACCURACY = 1e-10
"""Largest error relative to the integral, unless rounding alone is more."""
_FIRST_TOLERANCE, _LAST_TOLERANCE = 1e-14, 1e-24
"""Of a series, relative to the integral of its piece: tried first, and the finest."""
_SURE = 1e-3
"""Doubtful panels are halved until they hold this share of the tolerance."""
_MOST_HALVINGS = 62
"""Of a panel that has a polynomial."""
_BEYOND_CDF, _BEYOND_PDF = 2.9e-20, 2.3e-19
"""Integrals of Phi(-z), and of the two tails of phi(z), beyond WINDOW."""


def absolute_difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> tuple[float, float]:
    """int |F_a - F_b| dx if `cumulative`, else int |f_a - f_b| dx of the continuous parts; and a bound on the error.

    b may be a sample if `cumulative`. The error is at most ACCURACY of the integral unless rounding is more.
    """
    signed, stretches = difference(a, b, cumulative=cumulative)
    position, level = _steps(b) if isinstance(b, Sample) else (np.empty(0), np.zeros((2, 1)))
    tolerance = _FIRST_TOLERANCE
    while True:
        stack = _taylor_panels.empty_stack()
        value, left_out, rounding = _integrate(signed, stretches, position, level, cumulative, tolerance, stack)
        if left_out <= 0.5 * ACCURACY * value or left_out <= 0.1 * rounding or tolerance <= _LAST_TOLERANCE:
            return value, left_out + rounding
        tolerance = max(_LAST_TOLERANCE, tolerance * min(1e-2, 0.1 * ACCURACY * value / left_out))


def _steps(sample: Sample) -> tuple[FloatArray, FloatArray]:
    """Increasing positions (N,), and between them (2, N + 1) the sample's - cdf and 1 - cdf."""
    n = sample.values.size
    if sample.masses is None:
        position = np.sort(sample.values)
        below = np.arange(n + 1) / n
        return position, np.stack([-below, below[::-1]])
    order = np.argsort(sample.values)
    masses = sample.masses[order]
    level = np.zeros((2, n + 1))
    level[0, 1:] = -np.cumsum(masses)
    level[1, :-1] = np.cumsum(masses[::-1])[::-1]
    return sample.values[order], level


@nb.njit(cache=True, nogil=True)
def _whole(s: Signed, cumulative: bool) -> tuple[float, float, float]:
    """The integral if nothing cancelled; what windows and reaches leave out; what rounded positions and widths do."""
    size, left_out, rounding = 0.0, 0.0, 0.0
    for i in range(s.mean.size):
        std = 1 / s.inverse_std[i]
        part = abs(s.coefficient[i]) * (std if cumulative else 1.0)
        size += part
        left_out += part * (2 * _BEYOND_CDF if cumulative else _BEYOND_PDF)
        rounding += part * (2 * EPS + s.mean_error[i] * s.inverse_std[i])
    for j in range(s.guard_mass.size):
        part = abs(s.guard_mass[j]) * (s.guard_scale[j] if cumulative else 1.0)
        size += part
        left_out += part * (1.2 / GUARD_REACH**2 if cumulative else 2.3 / GUARD_REACH**3)
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
    s: Signed,
    stretches: Stretches,
    position: FloatArray,
    level: FloatArray,
    cumulative: bool,
    tolerance: float,
    stack: Stack,
) -> tuple[float, float, float]:
    """The integral, what is left out at most, and what rounding does at most. `position`, `level`: of a sample."""
    size, left_out, rounding = _whole(s, cumulative)
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
            end, blur, slips = _taylor_panels.add_gaussians(
                low, high, upper == 1, s, cumulative, tolerance, arena, first, last, p
            )
            guards, more_blur, more_slips = _taylor_panels.add_guards(
                low, high, upper == 1, s, cumulative, tolerance, guards, p
            )
            blur += more_blur + stack.errors[place, 0]
            slips += more_slips + stack.errors[place, 1]
            if end > last or guards or step < last_step:
                stack.lists[place, 2], stack.lists[place, 3], stack.lists[place, 4] = last, end, guards
                cut = (step + last_step) // 2 if step < last_step else -1
                _taylor_panels.split(place, cut, s, p, blur, slips, stack)
                place += 1
                continue
            place -= 1
            half = 0.5 * (high - low)
            if cumulative:
                p[0] += s.passed[upper, step]
                slips += s.passed_error[upper, step]
            slips += EPS * (4 * abs(p[0]) + 3 * N_TERMS * _series.rise(p))
            if position.size:
                value, at = _taylor_panels.against_sample(low, high, p, position, level[upper], at)
                doubt, slips = 6 * blur, 3 * slips
            else:
                value, doubt = _series.absolute_integral(p, 2 * (blur + slips), _SURE * tolerance * size / half, work)
                doubt += 2 * blur
            left_out += half * doubt
            rounding += 2 * half * slips
            part = half * value - lost  # Kahan's sum
            new = total + part
            lost = (new - total) - part
            total = new
    return total, left_out, rounding + 4 * EPS * total
