"""integral |g| whatever the number of zeros: by polynomials on cells about as wide as a standard deviation.

On a cell g is a Taylor series p to a known error e, so that |integral |g| - integral |p|| is at most e times the width.
integral |p| is exact where p has one sign, or falls or rises steadily and has one zero, by its coefficients; other
polynomials are cut in halves, until what they hold does not matter.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval

from gaussmix._typing import FloatArray
from gaussmix.distances._lattice.tables import NEGLIGIBLE, REACH, UNIT, Kind, derivative, rounding, sum_at_most, taps

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
