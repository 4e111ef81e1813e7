"""Pieces of a mixture as polynomials on a panel, with bounds on what they leave out, and integrals of |polynomial|.

A panel is x = middle + half t, t in [-1, 1]; polynomials are sum_k p_k t^k, k <= DEGREE. With z = (middle - m) / s and
eta = half / s, Taylor's series of a Gaussian is

    phi(z + eta t) = phi(z) sum_k a_k t^k,    a_0 = 1,  a_1 = -eta z,  a_(k+1) = -eta (z a_k + eta a_(k-1)) / (k + 1)

and by Cramer's inequality |He_k(z)| phi(z) <= 1.0866 sqrt(k!) exp(-z^2 / 4) / sqrt(2 pi) bounds its remainder. With
u = (x - loc) / (sqrt(3) scale) the guard's density is a power of 1 + u^2, whose poles are at distance sqrt(1 + u^2).
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.exact import _guard_upper

DEGREE = 15
N_TERMS = DEGREE + 1
EPS = 2.0**-52
_SERIES_ROUNDING = 48
"""Roundings, in EPS of the sum of the absolute terms, that a series of DEGREE terms may have collected."""
_SQRT_HALF, _SQRT_3 = math.sqrt(0.5), math.sqrt(3.0)
_PHI_0 = 1 / math.sqrt(2 * math.pi)
_LOG_CRAMER = math.log(1.0866 * _PHI_0)
_LOG_REST_OF_CDF = _LOG_CRAMER + 0.5 * math.lgamma(DEGREE + 1) - math.lgamma(DEGREE + 2)
_LOG_REST_OF_PDF = _LOG_CRAMER - 0.5 * math.lgamma(DEGREE + 2)


@nb.njit(cache=True, nogil=True)
def log_rest(eta: float, nearest: float, cumulative: bool) -> float:
    """log of the largest error of `add_gaussian` for c = 1 (and s = 1); ``nearest``: |z| where it is smallest."""
    of_degree = _LOG_REST_OF_CDF if cumulative else _LOG_REST_OF_PDF
    return of_degree + (DEGREE + 1) * math.log(eta) - 0.25 * nearest * nearest


@nb.njit(cache=True, nogil=True)
def add_gaussian(
    p: FloatArray, c: float, z: float, eta: float, inverse_std: float, upper: bool, cumulative: bool
) -> tuple[float, float]:
    """c Phi(z + eta t) (less c if ``upper``), or c phi(z + eta t) / s, onto p.

    Returns the sum of the absolute terms after p_0 (for a density: all), and a bound on the rounding of all.
    """
    peak = c * _PHI_0 * math.exp(-0.5 * z * z)
    before, now, size = 0.0, 1.0, 0.0
    if cumulative:
        mass = 0.5 * c * math.erfc((z if upper else -z) * _SQRT_HALF)
        p[0] += -mass if upper else mass
        peak *= eta
        for k in range(DEGREE):
            inverse = 1 / (k + 1)
            term = now * inverse
            p[k + 1] += peak * term
            size += abs(term)
            before, now = now, -eta * (z * now + eta * before) * inverse
        size *= abs(peak)
        slip = 4 * abs(mass) + 2 * abs(z * peak / eta)
    else:
        peak *= inverse_std
        for k in range(N_TERMS):
            p[k] += peak * now
            size += abs(now)
            before, now = now, -eta * (z * now + eta * before) * (1 / (k + 1))
        size *= abs(peak)
        slip = 2 * z * z * abs(peak)
    return size, EPS * (_SERIES_ROUNDING * size + slip)


@nb.njit(cache=True, nogil=True)
def guard_rest(away: float, half: float, mass: float, scale: float, cumulative: bool) -> float:
    """The largest error of `add_guard`: infinite where the panel is too wide for a series."""
    u, wide = away / (_SQRT_3 * scale), half / (_SQRT_3 * scale)
    distance = math.hypot(1.0, u)
    ratio = wide / distance
    first = DEGREE if cumulative else DEGREE + 1
    growth = ratio * (first + 4) / (first + 1)
    if growth >= 0.9:
        return math.inf
    terms = (first + 3) * (first + 2) * (first + 1) / 6 * ratio**first / (1 - growth)
    height = abs(mass) * 2 / math.pi * terms / distance / distance / distance / distance
    return height * wide / (first + 1) if cumulative else height / (_SQRT_3 * scale)


@nb.njit(cache=True, nogil=True)
def add_guard(
    p: FloatArray, away: float, half: float, mass: float, scale: float, upper: bool, cumulative: bool
) -> tuple[float, float]:
    """The guard's cdf (less its mass if ``upper``) or density onto p; returns as `add_gaussian`."""
    u, wide = away / (_SQRT_3 * scale), half / (_SQRT_3 * scale)
    square = 1 + u * u
    linear, quadratic = 2 * u * wide / square, wide / square * wide
    height = mass * 2 / math.pi / square / square
    height *= wide if cumulative else 1 / (_SQRT_3 * scale)
    before, now, size, first = 0.0, 1.0, 0.0, 1 if cumulative else 0
    for k in range(first, N_TERMS):
        term = now / k if cumulative else now
        p[k] += height * term
        size += abs(term)
        j = k + 1 - first
        before, now = now, -((j + 1) * linear * now + (j + 2) * quadratic * before) / j
    size *= abs(height)
    outside = 0.0
    if cumulative:
        outside = mass * _guard_upper(away / scale if upper else -away / scale)
        p[0] += -outside if upper else outside
    return size, EPS * (_SERIES_ROUNDING * size + 16 * abs(outside))


@nb.njit(cache=True, nogil=True)
def restrict(p: FloatArray, scale: float, shift: float, out: FloatArray) -> None:
    """The polynomial t -> p(shift + scale t) into ``out``."""
    for k in range(N_TERMS):
        out[k] = p[k]
    for k in range(DEGREE):
        for j in range(DEGREE - 1, k - 1, -1):
            out[j] += shift * out[j + 1]
    power = 1.0
    for k in range(1, N_TERMS):
        power *= scale
        out[k] *= power


@nb.njit(cache=True, nogil=True)
def rise(p: FloatArray) -> float:
    """sum_k |p_k| from k = 1: the most that p can differ from p_0 on its panel."""
    total = 0.0
    for k in range(1, N_TERMS):
        total += abs(p[k])
    return total


@nb.njit(cache=True, nogil=True)
def value_and_slope(p: FloatArray, t: float) -> tuple[float, float]:
    """p(t) and p'(t)."""
    value, slope = p[DEGREE], 0.0
    for k in range(DEGREE - 1, -1, -1):
        slope = slope * t + value
        value = value * t + p[k]
    return value, slope


@nb.njit(cache=True, nogil=True)
def integral(p: FloatArray, t: float) -> float:
    """int_0^t p."""
    total = 0.0
    for k in range(DEGREE, -1, -1):
        total = total * t + p[k] / (k + 1)
    return total * t


@nb.njit(cache=True, nogil=True)
def zero(p: FloatArray, level: float, low: float, high: float) -> float:
    """A zero of p + level between ``low`` and ``high``, where it has two signs: Newton in a bracket."""
    rising = value_and_slope(p, high)[0] + level > 0
    t = 0.5 * (low + high)
    for _ in range(100):
        value, slope = value_and_slope(p, t)
        value += level
        if value == 0:
            break
        if (value > 0) == rising:
            high = t
        else:
            low = t
        new = t - value / slope if slope != 0 else low
        if not low < new < high:
            new = 0.5 * (low + high)
        if abs(new - t) <= EPS * (high - low) or not low < new < high:
            break
        t = new
    return t


@nb.njit(cache=True, nogil=True)
def absolute_integral(p: FloatArray, blur: float, small: float, work: FloatArray) -> tuple[float, float]:
    """int_-1^1 |p| and a bound on its error.

    Halves the panel until p, or its slope, has one sign by its coefficients. What is left in doubt is less than
    ``small``, or hidden by the uncertainty ``blur`` of p. ``work``: (D, N_TERMS) scratch, D the most halvings plus 2.
    """
    total, error = 0.0, 0.0
    for k in range(N_TERMS):
        work[0, k] = p[k]
    widths = np.empty(work.shape[0])
    widths[0] = 1.0
    pending = 1
    while pending:
        pending -= 1
        q, width = work[pending], widths[pending]
        most, steep = rise(q), 0.0
        for k in range(2, N_TERMS):
            steep += k * abs(q[k])
        left, right = integral(q, -1.0), integral(q, 1.0)
        whole = abs(right - left)
        if abs(q[0]) >= most:
            total += width * whole
        elif abs(q[1]) >= steep:
            if (value_and_slope(q, -1.0)[0] > 0) != (value_and_slope(q, 1.0)[0] > 0):
                middle = integral(q, zero(q, 0.0, -1.0, 1.0))
                whole = abs(middle - left) + abs(right - middle)
            total += width * whole
        elif 2 * width * (abs(q[0]) + most) <= small or abs(q[0]) + most <= blur or pending + 2 > work.shape[0]:
            total += width * whole
            error += width * max(0.0, 2 * (abs(q[0]) + most) - whole)
        else:
            restrict(q, 0.5, 0.5, work[pending + 1])
            restrict(q, 0.5, -0.5, q)
            widths[pending] = widths[pending + 1] = 0.5 * width
            pending += 2
    return total, error
