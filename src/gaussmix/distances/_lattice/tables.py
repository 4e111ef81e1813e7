"""Tables of a kernel at fractions of a spacing, and what sums over them can be wrong by.

On a lattice of spacing 1 with components of standard deviation t, both integrals of `rows` are

    integral |g|,   g(x) = sum_i c_i kappa(x - i),   integral kappa = 1

with kappa = the density phi_t ("density"), or a unit step smoothed by it, Phi((y + 1/2) / t) - Phi((y - 1/2) / t)
("cdf"). `values[q, k, m + 1]` is the m-th derivative of kappa over m!, at y = q / F - k for the taps k = -(K-1)..K;
`values[q, k, 0]` is the integral of kappa up to y, less 1 for k <= 0: what the running sum up to k = 0 leaves of g's
integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.distances._lattice.vectors import LANES

REACH = 7.5
"""Half-width of the window that sums run over, in standard deviations: a normal has 6e-14 of its mass outside."""

PER_STD = 16  # offsets for which there is a table, at least, in one standard deviation

NEAREST = 0.75  # zeros are found at most so far from a table's offset, in 1/F

ORDERS = 7  # kappa and its derivatives up to the sixth; the seventh bounds what a Taylor series leaves out

CELL = 1.0  # width of the cells that a search for zeros starts from, in standard deviations

_UNIT = 0.5**53


class Limits(NamedTuple):
    """Numbers about the tables. Of three errors, those of the integral, g and g'."""

    reach: int  # K: taps are k = -(K-1)..K, then zeros
    taps: int  # how many, with the zeros
    fractions: int  # F
    cell: int  # `CELL` standard deviations, in steps of 1/F; even
    variance: float  # of kappa
    second: float  # sup of sum_i |kappa^(2)(x - i)|
    seventh: float  # sup of sum_i |kappa^(7)(x - i)|
    noise: tuple[float, float, float]  # errors at an offset where |c| <= 1 in the window: rounding
    series: float  # what Taylor's series between offsets adds to that of the integral
    outside: tuple[float, float, float]  # errors where the |c| outside the window have the sum 1


@lru_cache(maxsize=64)
def tables(bandwidth: float, kind: str) -> tuple[FloatArray, Limits]:
    """`values` (F, taps, LANES) and their limits, for a standard deviation ``bandwidth``, kind "cdf" or "density"."""
    t, half = bandwidth, 0.5 if kind == "cdf" else 0.0
    fractions = max(1, math.ceil(PER_STD / t))
    reach = math.ceil(REACH * t + half)
    taps = 2 * reach + (-2 * reach) % 8
    y = np.arange(fractions)[:, None] / fractions - np.arange(1 - reach, 1 + reach)
    room = np.zeros((fractions * taps + 1) * LANES)
    start = -room.ctypes.data % (8 * LANES) // 8  # a row that crosses no line of the cache loads twice as fast
    values = room[start : start + fractions * taps * LANES].reshape(fractions, taps, LANES)
    for order in range(-1, ORDERS):
        values[:, : 2 * reach, order + 1] = _kernel(y, t, order, kind) / math.factorial(max(order, 0))
    bounds = _sums_at_most(t, kind)
    limits = Limits(
        reach,
        taps,
        fractions,
        2 * round(0.5 * CELL * fractions * t),
        t * t + half / 6,
        float(bounds[2]),
        float(bounds[ORDERS]),
        _three(lambda order: _UNIT * taps * (2 * bounds[max(order, 0)] * t ** max(-order, 0) + 8 * t**-order)),
        float(bounds[ORDERS]) * (0.5 / fractions) ** (ORDERS + 1) / math.factorial(ORDERS + 1),
        _three(lambda order: float(abs(_kernel(np.array(float(reach)), t, order, kind)))),
    )
    return values, limits


def _three(error: Callable[[int], float]) -> tuple[float, float, float]:
    """Of derivatives -1, 0 and 1 of kappa."""
    return float(error(-1)), float(error(0)), float(error(1))


def _kernel(y: FloatArray, t: float, order: int, kind: str) -> FloatArray:
    """The derivative of this order of kappa; order -1: its integral up to y, less 1 where y >= 0."""
    if kind == "density":
        z = y / t
        if order < 0:
            return np.where(z >= 0, -ndtr(-z), ndtr(z))
        return _normal_derivative(z, order) / t ** (order + 1)
    upper, lower = (y + 0.5) / t, (y - 0.5) / t
    if order > 0:
        return (_normal_derivative(upper, order - 1) - _normal_derivative(lower, order - 1)) / t**order
    far, near = np.where(y > 0, -lower, upper), np.where(y > 0, -upper, lower)  # on the side without cancellation
    if order == 0:
        return ndtr(far) - ndtr(near)
    tail = t * (_integral_of_cdf(far) - _integral_of_cdf(near))
    return np.where(y > 0, -tail, np.where(y == 0, -0.5, tail))


def _integral_of_cdf(z: FloatArray) -> FloatArray:
    """integral of Phi up to z."""
    return z * ndtr(z) + _normal_derivative(z, 0)


def _normal_derivative(z: FloatArray, order: int) -> FloatArray:
    """The derivative of this order of the standard normal density: (-1)^m He_m(z) phi(z)."""
    hermite = np.polynomial.hermite_e.hermeval(z, [0.0] * order + [1.0])
    return (-1) ** order * hermite * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _sums_at_most(t: float, kind: str) -> FloatArray:
    """Upper bounds of sum_i |kappa^(m)(x - i)| over all x.

    For steps the cells of the sum tile the line: at most integral |phi_t^(m)|. For phi_t itself a sum at spacing 1 is
    at most the integral plus the total variation, integral |phi_t^(m+1)|.
    """
    z = np.linspace(0, 16, 16_001)
    norms = [2 * np.trapezoid(np.abs(_normal_derivative(z, m)), z) * (1 + 1e-5) for m in range(ORDERS + 2)]
    scaled = np.array([norm / t**m for m, norm in enumerate(norms)])
    return scaled[:-1] + (scaled[1:] if kind == "density" else 0.0)
