"""integral |F_a - F_b| and integral |f_a - f_b| of pairs of mixtures on one lattice of components, to rounding.

Components of standard deviation sigma = t r lie at mu_i = i r and have the weights a_i and b_i. In spacings r from mu_0
both integrals are those of |g|, g(x) = sum_i c_i kappa(x - i), i = 0..n-1:

    "cdf"      r times it, c = running sums of a - b, kappa = Phi((y + 1/2) / t) - Phi((y - 1/2) / t), moved by 1/2
    "density"  c = a - b, kappa = phi_t

With h = sum_i |c_i| kappa(x - i), whose integral is sum_i |c_i|, |g| = h wherever all c_i within reach have one sign:

    integral |g| = sum_i |c_i| - sum over the other cells of (integral h - integral |g|).

On a cell, about as wide as a standard deviation, g is a Taylor series p to a known error e, so that |integral |g| -
integral |p|| is at most e times the width. integral |p| is exact where p has one sign, or falls or rises steadily and
has one zero, by its coefficients; other polynomials are cut in halves, until what they hold does not matter. Windows
hold the taps y = q / F - k, k = -(K-1)..K, for offsets q / F from a lattice point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial.polynomial import polyval
from numpy.typing import ArrayLike
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import is_lattice, weight_rows

Kind = Literal["cdf", "density"]

LATTICE = (0.01, 100.0)  # bandwidths, in spacings, for which the tables are small
AT_ONCE = 2**15  # cells, to stay in the cache
REACH = 8.0
"""Half-width of the window that sums run over, in standard deviations: a normal has 1e-15 of its mass outside."""
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


def row_distances(
    a: ArrayLike,
    b: ArrayLike,
    basis: GaussianBasis,
    point_weights: tuple[ArrayLike | None, ArrayLike | None],
    kind: Kind | None,
    of_pair: Callable[[GaussianMixture1D, GaussianMixture1D], tuple[float, float]],
) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Values (B,), errors (B,) and the shape that B stands for, for weights a, b (..., n) on a basis.

    The integrals of this module if a kind is given and the basis is a lattice, else those of each pair of mixtures.
    Raises as `weight_rows`.
    """
    first, second, shape = weight_rows(a, b, basis, *point_weights)
    if kind is not None and is_lattice(basis) and LATTICE[0] <= basis.bandwidth <= LATTICE[1]:
        return *absolute_integrals(first, second, basis.spacing, basis.bandwidth, kind), shape
    pairs = [of_pair(basis.mixture(x), basis.mixture(y)) for x, y in zip(first, second, strict=True)]
    values, errors = np.array(pairs, float).reshape(-1, 2).T
    return values, errors, shape


def absolute_integrals(
    a: FloatArray, b: FloatArray, spacing: float, bandwidth: float, kind: Kind
) -> tuple[FloatArray, FloatArray]:
    """(values (B,), errors (B,)) for weights a, b (B, n) with sum 1; spacing r in data units, bandwidth t in r.

    "cdf": the Wasserstein-1 distance, in data units. "density": twice the total variation. Each error bounds the
    difference from the true integral.
    """
    n_rows, n = a.shape
    here, scale = cells(float(bandwidth), kind), spacing if kind == "cdf" else 1.0
    values, errors = np.empty((2, n_rows))
    at_once = max(1, AT_ONCE * here.stride // n)
    for start in range(0, n_rows, at_once):
        rows = slice(start, start + at_once)
        c = a[rows] - b[rows]
        if kind == "cdf":
            c = np.cumsum(c, axis=1)[:, :-1]  # the last one is 0 but for rounding
        values[rows], errors[rows] = integrals_by_cells(c, here)
        errors[rows] += UNIT * (5 * n * np.abs(c).sum(axis=1) + 8 * n)
    return scale * values, scale * errors


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
    y = np.arange(fractions)[:, None] / fractions - np.arange(1 - reach, 1 + reach)
    values = [derivative(y, t, m, kind) * half**m / math.factorial(m) for m in range(DEGREE + 1)]
    table = np.stack(values, axis=-1).transpose(1, 0, 2).reshape(2 * reach, -1)
    left_out = sum_at_most(t, DEGREE + 1, kind) * half ** (DEGREE + 1) / math.factorial(DEGREE + 1)
    rounding = UNIT * ((2 * reach + 4 * DEGREE + 24) * sum_at_most(t, 0, kind) + 16 * (t + 1))  # of sum and table
    return Cells(table, stride, width, left_out + 2 * rounding, 4 * float(ndtr(-(reach - half - 0.5) / t)))


def integrals_by_cells(c: FloatArray, here: Cells) -> tuple[FloatArray, FloatArray]:
    """integral |g| (B,) and its error (B,) for coefficients c (B, n)."""
    n_rows, n = c.shape
    n_taps, fractions = len(here.table), here.table.shape[1] // (DEGREE + 1)
    total, top = np.abs(c).sum(axis=1), np.abs(c).max(axis=1, initial=0.0)
    n_windows = -(-(n + n_taps) // here.stride)  # from a whole one before the first coefficient to one after the last
    padded = np.zeros((n_rows, n_windows * here.stride + n_taps - 1))
    padded[:, n_taps : n_taps + n] = np.where(np.abs(c) > NEGLIGIBLE * total[:, None], c, 0.0)
    at = np.arange(n_windows) * here.stride
    before = [np.cumsum(sign, axis=1, dtype=np.int32) for sign in (padded > 0, padded < 0)]
    both = np.logical_and(*(count[:, at + n_taps - 1] > count[:, at - (at > 0)] for count in before))
    windows = sliding_window_view(padded, n_taps, axis=1)[:, :: here.stride][both]
    row = np.repeat(np.nonzero(both)[0], fractions)
    series = (windows @ here.table).reshape(-1, DEGREE + 1)
    found, doubt = _integrals(series, np.maximum(TINY * total / here.width, here.error * top)[row])
    wholes = here.table.reshape(n_taps, fractions, DEGREE + 1) @ _WHOLE
    lost = np.bincount(row, (np.abs(windows) @ wholes).ravel() - found, n_rows)
    length = 2 * both.sum(axis=1) * fractions * here.width
    left_out = length * here.error * top + (here.outside + n * NEGLIGIBLE + (4 * n_taps + 64) * UNIT) * total
    errors = 0.5 * here.width * np.bincount(row, doubt, n_rows) + left_out
    return np.maximum(total - 0.5 * here.width * lost, 0.0), errors


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


def derivative(y: FloatArray, t: float, order: int, kind: Kind) -> FloatArray:
    """The derivative of this order of kappa."""
    if kind == "density":
        return _normal_derivative(y / t, order) / t ** (order + 1)
    upper, lower = (y + 0.5) / t, (y - 0.5) / t
    if order > 0:
        return (_normal_derivative(upper, order - 1) - _normal_derivative(lower, order - 1)) / t**order
    far, near = np.where(y > 0, -lower, upper), np.where(y > 0, -upper, lower)  # on the side without cancellation
    return ndtr(far) - ndtr(near)


def sum_at_most(t: float, order: int, kind: Kind) -> float:
    """An upper bound of sum_i |kappa^(m)(x - i)| over all x.

    For steps the cells of the sum tile the line: at most integral |phi_t^(m)|. For phi_t itself a sum at spacing 1 is
    at most the integral plus the total variation, integral |phi_t^(m+1)|.
    """
    z = np.linspace(0, 16, 16_001)
    orders = (order, order + 1) if kind == "density" else (order,)
    return float(sum(2.00002 * np.trapezoid(np.abs(_normal_derivative(z, m)), z) / t**m for m in orders))


def _normal_derivative(z: FloatArray, order: int) -> FloatArray:
    """The derivative of this order of the standard normal density: (-1)^m He_m(z) phi(z)."""
    hermite = np.polynomial.hermite_e.hermeval(z, [0.0] * order + [1.0])
    return (-1) ** order * hermite * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
