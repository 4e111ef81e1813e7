"""A kernel's derivatives at fractions of a spacing, and what sums over them can be wrong by.

On a lattice of spacing 1 with components of standard deviation t, both integrals of `rows` are

    integral |g|,   g(x) = sum_i c_i kappa(x - i),   integral kappa = 1

with kappa = the density phi_t ("density"), or a unit step smoothed by it, Phi((y + 1/2) / t) - Phi((y - 1/2) / t)
("cdf"). Windows hold the taps y = q / F - k, k = -(K-1)..K, for offsets q / F from a lattice point.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray

Kind = Literal["cdf", "density"]

REACH = 8.0
"""Half-width of the window that sums run over, in standard deviations: a normal has 1e-15 of its mass outside."""
PER_STD = 128  # offsets in one standard deviation, at least, for which there is a table
NEGLIGIBLE = 1e-16  # coefficients up to this share of sum |c| are rounding, and have no sign
UNIT = 0.5**53


class Tables(NamedTuple):
    """``values[q, m + 1]`` (2 K,) is the m-th derivative of kappa over m!, m = 0..3, at the taps of q; ``values[q, 0]``
    the integral of kappa up to there, less 1 for k <= 0: what the running sum up to k = 0 leaves of g's integral."""

    values: FloatArray  # (F, 5, 2 K)
    variance: float  # of kappa
    second: float  # sup of sum_i |kappa^(2)(x - i)|
    fourth: float  # sup of sum_i |kappa^(4)(x - i)|
    noise: FloatArray  # (3,) errors of g's integral, g and g' at an offset where |c| <= 1: rounding
    outside: FloatArray  # (3,) the same where the |c| outside the window have the sum 1


@lru_cache(maxsize=64)
def tables(bandwidth: float, kind: Kind) -> Tables:
    """For a standard deviation ``bandwidth``."""
    t, half = bandwidth, 0.5 if kind == "cdf" else 0.0
    fractions = max(1, math.ceil(PER_STD / t))
    reach = math.ceil(REACH * t + half)
    y = taps(reach, fractions)
    values = [derivative(y, t, order, kind) / math.factorial(max(order, 0)) for order in range(-1, 4)]
    return Tables(
        np.ascontiguousarray(np.stack(values, axis=1)),
        t * t + half / 6,
        sum_at_most(t, 2, kind),
        sum_at_most(t, 4, kind),
        np.array([rounding(t, order, 2 * reach, kind) for order in (-1, 0, 1)]),
        np.abs([float(derivative(np.array(float(reach)), t, order, kind)) for order in (-1, 0, 1)]),
    )


def taps(reach: int, fractions: int) -> FloatArray:
    """(F, 2 K)."""
    return np.arange(fractions)[:, None] / fractions - np.arange(1 - reach, 1 + reach)


def derivative(y: FloatArray, t: float, order: int, kind: Kind) -> FloatArray:
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


def sum_at_most(t: float, order: int, kind: Kind) -> float:
    """An upper bound of sum_i |kappa^(m)(x - i)| over all x.

    For steps the cells of the sum tile the line: at most integral |phi_t^(m)|. For phi_t itself a sum at spacing 1 is
    at most the integral plus the total variation, integral |phi_t^(m+1)|.
    """
    z = np.linspace(0, 16, 16_001)
    orders = (order, order + 1) if kind == "density" else (order,)
    return float(sum(2.00002 * np.trapezoid(np.abs(_normal_derivative(z, m)), z) / t**m for m in orders))


def rounding(t: float, order: int, n_terms: int, kind: Kind) -> float:
    """What rounding does to a sum of so many terms c times the derivative of kappa, |c| <= 1: in the sum and the table.

    |kappa|'s own integral, order -1, adds up to less than t + 1 over the taps.
    """
    size = sum_at_most(t, order, kind) if order >= 0 else t + 1
    return UNIT * ((n_terms + 24) * size + 16 * (t + 1) * t**-order)


def _integral_of_cdf(z: FloatArray) -> FloatArray:
    """integral of Phi up to z."""
    return z * ndtr(z) + _normal_derivative(z, 0)


def _normal_derivative(z: FloatArray, order: int) -> FloatArray:
    """The derivative of this order of the standard normal density: (-1)^m He_m(z) phi(z)."""
    hermite = np.polynomial.hermite_e.hermeval(z, [0.0] * order + [1.0])
    return (-1) ** order * hermite * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
