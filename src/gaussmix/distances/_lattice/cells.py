"""integral |g| whatever the number of zeros: by polynomials on cells about as wide as a standard deviation.

On a cell g is a Taylor series p to a known error e, so that |integral |g| - integral |p|| is at most e times the width.
integral |p| is exact where p has one sign, or falls or rises steadily and has one zero, by its coefficients; other
polynomials are cut in halves, until what they hold does not matter.

As in `rows`, g(x) = sum_i c_i kappa(x - i) with kappa = the density phi_t ("density"), or a unit step smoothed by it,
Phi((y + 1/2) / t) - Phi((y - 1/2) / t) ("cdf"). Windows hold the taps y = q / F - k, k = -(K-1)..K, for offsets q / F
from a lattice point.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from scipy.special import ndtr

from gaussmix._typing import FloatArray

Kind = Literal["cdf", "density"]

REACH = 8.0
"""Half-width of the window that sums run over, in standard deviations: a normal has 1e-15 of its mass outside."""
PER_STD = 128  # offsets in one standard deviation, at least, for which there is a table
NEGLIGIBLE = 1e-16  # coefficients up to this share of sum |c| are rounding, and have no sign
UNIT = 0.5**53
DEGREE = 19  # of a series: on a cell half a standard deviation wide to either side it leaves out 1e-15
HALVINGS = 40
NEWTON_STEPS = 4
TINY = 1e-14  # of sum |c|: polynomials whose integral is at most that are not cut

_ORDERS = np.arange(DEGREE + 1.0)
_WHOLE = (1 + (-1) ** _ORDERS) / (_ORDERS + 1)  # integral of u^m over [-1, 1]
_HALVES = [
    np.array([[math.comb(m, k) * side ** (m - k) * 0.5**m for k in range(DEGREE + 1)] for m in range(DEGREE + 1)])
    for side in (-1.0, 1.0)
]
"""From coefficients in u to those in 2 u + 1 and 2 u - 1."""


class Cells(NamedTuple):
    """Cells of ``width``, every ``stride`` spacings F of them."""

    table: FloatArray  # (2 K, F (DEGREE + 1)): what a tap adds to the series of F cells, in half-widths
    stride: int
    width: float
    error: float  # of g where |c| <= 1
    outside: float  # of the integral where the |c| outside windows have the sum 1


@lru_cache(maxsize=16)
def cells(bandwidth: float, kind: Kind) -> Cells:
    """For a standard deviation ``bandwidth``."""
    t = bandwidth
    stride, fractions = max(1, math.floor(t)), max(1, math.ceil(1 / t))
    width = stride / fractions
    half = 0.5 * width
    reach = math.ceil(REACH * t + half + 0.5)
    y = taps(reach, fractions)
    values = [derivative(y, t, m, kind) * half**m / math.factorial(m) for m in range(DEGREE + 1)]
    table = np.stack(values, axis=-1).transpose(1, 0, 2).reshape(2 * reach, -1)
    left_out = sum_at_most(t, DEGREE + 1, kind) * half ** (DEGREE + 1) / math.factorial(DEGREE + 1)
    outside = abs(float(derivative(np.array(reach - half), t, -1, kind)))
    return Cells(table, stride, width, left_out + 2 * rounding(t, 0, 2 * reach + 4 * DEGREE, kind), 4 * outside)


def integrals_by_cells(c: FloatArray, here: Cells) -> tuple[FloatArray, FloatArray]:
    """integral |g| (B,) and its error (B,) for coefficients c (B, n).

    Where all coefficients in a window have one sign, g has it, too.
    """
    n_rows, n = c.shape
    n_taps, fractions = len(here.table), here.table.shape[1] // (DEGREE + 1)
    total, top = np.abs(c).sum(axis=1), np.abs(c).max(axis=1, initial=0.0)
    n_windows = -(-(n + n_taps) // here.stride)  # from a whole one before the first coefficient to one after the last
    padded = np.zeros((n_rows, n_windows * here.stride + n_taps - 1))
    padded[:, n_taps : n_taps + n] = np.where(np.abs(c) > NEGLIGIBLE * total[:, None], c, 0.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_taps, axis=1)[:, :: here.stride]
    at = np.arange(n_windows) * here.stride
    before = [np.cumsum(sign, axis=1) for sign in (padded > 0, padded < 0)]
    both = np.logical_and(*(count[:, at + n_taps - 1] > count[:, at - (at > 0)] for count in before))
    wholes = here.table.reshape(n_taps, fractions, DEGREE + 1) @ _WHOLE
    found, doubt = np.zeros((2, n_rows, n_windows))
    found[~both] = np.abs(windows[~both] @ wholes).sum(axis=1)
    small = np.repeat(np.maximum(TINY * total / here.width, here.error * top)[np.nonzero(both)[0]], fractions)
    of_cells = _integrals((windows[both] @ here.table).reshape(-1, DEGREE + 1), small)
    found[both], doubt[both] = (part.reshape(-1, fractions).sum(axis=1) for part in of_cells)
    length = both.sum(axis=1) * fractions * here.width
    left_out = length * here.error * top + (here.outside + n * NEGLIGIBLE + (4 * n_taps + 64) * UNIT) * total
    return 0.5 * here.width * found.sum(axis=1), 0.5 * here.width * doubt.sum(axis=1) + left_out


def _integrals(p: FloatArray, small: FloatArray) -> tuple[FloatArray, FloatArray]:
    """integral |p| over [-1, 1] and its error (N,), for coefficients (N, DEGREE + 1), that are ``small`` if below."""
    values, errors = np.zeros(len(p)), np.zeros(len(p))
    owner, width = np.arange(len(p)), 1.0
    for halving in range(HALVINGS + 1):
        size = np.abs(p)
        constant, rest = size[:, 0], size[:, 1:].sum(axis=1)
        tiny = (width * (constant + rest) <= small[owner]) | (halving == HALVINGS)
        steady = size[:, 1] >= 2 * (size[:, 2:] @ _ORDERS[2:])
        integral, doubt = np.abs(p @ _WHOLE), np.where(tiny & (constant < rest), 2 * (constant + rest), 0.0)
        left, right = p @ (-1) ** _ORDERS, p.sum(axis=1)
        zeros = np.flatnonzero(steady & (left * right < 0))
        integral[zeros], doubt[zeros] = _with_a_zero(p[zeros].T.copy(), left[zeros], right[zeros])
        settled = (constant >= rest) | steady | tiny
        done = owner[settled]
        values += width * np.bincount(done, integral[settled], len(values))
        errors += width * np.bincount(done, doubt[settled], len(values))
        if settled.all():
            break
        p, owner, width = p[~settled], np.tile(owner[~settled], 2), 0.5 * width
        p = np.concatenate([p @ half for half in _HALVES])
    return values, errors


def _with_a_zero(p: FloatArray, left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """integral |p| and its error for p (DEGREE + 1, N) of a slope that changes by at most a half: by Newton's method.

    ``left`` and ``right``, of opposite signs, are p at the ends.
    """
    z, slopes, antiderivative = (left + right) / (left - right), p[1:] * _ORDERS[1:, None], p / (_ORDERS[:, None] + 1)
    for _ in range(NEWTON_STEPS):
        z = (z - polyval(z, p, tensor=False) / polyval(z, slopes, tensor=False)).clip(-1, 1)
    start, middle, end = (
        antiderivative.T @ -((-1) ** _ORDERS),
        z * polyval(z, antiderivative, tensor=False),
        antiderivative.sum(axis=0),
    )
    return np.abs(middle - start) + np.abs(end - middle), 4 * np.abs(polyval(z, p, tensor=False))


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
