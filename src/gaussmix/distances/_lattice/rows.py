"""integral |F_a - F_b| and integral |f_a - f_b| of pairs of mixtures on one lattice of components, to rounding.

Components of standard deviation sigma = t r lie at mu_i = i r and have the weights a_i and b_i. In spacings r from mu_0
both integrals are those of |g|, g(x) = sum_i c_i kappa(x - i), i = 0..n-1:

    "cdf"      r times it, c = running sums of a - b, kappa = Phi((y + 1/2) / t) - Phi((y - 1/2) / t), moved by 1/2
    "density"  c = a - b, kappa = phi_t

kappa is totally positive: g changes its sign at most as often as the sequence c. Where as many zeros are found as c
changes its sign, each between two points of certain and opposite signs, no more can hide, and with G' = g

    integral |g| = sum_k |G(z_k+1) - G(z_k)| = sum_i |c_i| + 2 sum_k +-(G(z_k) - sum_{i up to the sign change} c_i),

where + stands for a change to minus. Where zeros are missing (a rough c has sign changes that the kernel smooths away),
`by_cells` looks where they can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numba as nb
import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import SUM_TOLERANCE, check_weight_rows, is_lattice, weight_rows
from gaussmix.distances._lattice.tables import tables
from gaussmix.distances._lattice.vectors import LANES, scan, trailing_zeros
from gaussmix.distances._lattice.zeros import BLOCK, HALVINGS, by_cells, proved_zero

NEGLIGIBLE = 1e-16  # coefficients up to this share of sum |c| are rounding, and have no sign
UNIT = 0.5**53
NORMAL = 8 * UNIT  # sums within this of 1 are 1
WORD = 64
LATTICE = (0.01, 100.0)  # bandwidths, in spacings, for which the tables are small

Kind = Literal["cdf", "density"]


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
    first, second, shape = weight_rows(a, b, basis, *point_weights, checked=False)
    if kind is not None and is_lattice(basis) and LATTICE[0] <= basis.bandwidth <= LATTICE[1]:
        return *absolute_integrals(first, second, basis.spacing, basis.bandwidth, kind), shape
    rows = zip(check_weight_rows(first, "a"), check_weight_rows(second, "b"), strict=True)
    pairs = [of_pair(basis.mixture(x), basis.mixture(y)) for x, y in rows]
    values, errors = np.array(pairs, float).reshape(-1, 2).T
    return values, errors, shape


def absolute_integrals(
    a: FloatArray, b: FloatArray, spacing: float, bandwidth: float, kind: Kind
) -> tuple[FloatArray, FloatArray]:
    """(values (B,), errors (B,)) for weights a, b (B, n), contiguous; spacing r in data units, bandwidth t in r.

    "cdf": the Wasserstein-1 distance, in data units. "density": twice the total variation. Each error bounds the
    difference from the true integral. Rows are normalised; raises ValueError as `check_weight_rows` does.
    """
    values, errors = np.empty(len(a)), np.empty(len(a))
    here = tables(float(bandwidth), kind)

    def run(first: FloatArray, second: FloatArray) -> int:
        return _integrals(first, second, kind == "cdf", SUM_TOLERANCE, *here, values, errors)

    if run(a, b) < len(a):
        a, b = check_weight_rows(a, "a"), check_weight_rows(b, "b")
        run(a + 0.0, b + 0.0)  # -0.0 is 0, and no sign
    scale = spacing if kind == "cdf" else 1.0
    return scale * values, scale * errors


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _marks(c, pad, n, words, negligible, last, first):
    """Where c changes its sign: fills ``last`` of one sign and ``first`` of the other, and tells how many.

    Bit i of the words says whether c_i is negative.
    """
    m = 0
    before = words[0] & np.uint64(1)
    for k in range((n + WORD - 1) // WORD):
        word = words[k]
        changes = np.int64(word ^ ((word << np.uint64(1)) | before))
        before = word >> np.uint64(WORD - 1)
        while changes != 0:
            right = k * WORD + trailing_zeros(changes)
            changes &= changes - 1
            left = right - 1
            while left >= 0 and abs(c[pad + left]) <= negligible:
                left -= 1
            while right < n and abs(c[pad + right]) <= negligible:
                right += 1
            differ = left >= 0 and right < n and (c[pad + left] > 0) != (c[pad + right] > 0)
            if differ and (m == 0 or last[m - 1] != left):
                last[m], first[m] = left, right
                m += 1
    return m


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _first_guess(c, pad, last, first, limits):
    """Where g is zero if c is a parabola near its sign change: g = c + c'' variance / 2."""
    left, right = c[pad + last], c[pad + first]
    s = left / (left - right)
    if first > last + 1:
        return last + (first - last) * s
    curve = 0.5 * (c[pad + last - 1] - left - right + c[pad + first + 1])
    shift = 0.5 * (limits.variance - s * (1 - s)) * curve / (left - right)
    return last + s + (shift if abs(shift) < 1 else 0.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _by_proved_zeros(c, pad, last, first, m, total, at_values, limits):
    """integral |g| and its error; an error of -1 where a zero is missing."""
    value, error, reached = total, 0.0, -math.inf
    for k in range(m):
        left = c[pad + last[k]]
        near = _first_guess(c, pad, last[k], first[k], limits)
        z, away, j, e, wrong = proved_zero(near, left > 0, c, pad, 0.0, total, at_values, limits)
        if wrong < 0 or z - away <= reached:
            return 0.0, -1.0
        reached = z + away
        for i in range(last[k] + 1, j + 1):
            e += c[pad + i]
        for i in range(j + 1, last[k] + 1):
            e -= c[pad + i]
        value += 2 * e if left > 0 else -2 * e
        error += 2 * wrong
    return value, error


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _integrals(a, b, running, tolerance, values, limits, out, errors):
    """For each row of a, b (B, n); tells how many rows went through. The next row is not a pair of weights."""
    n = a.shape[1]
    n_scanned = -(-n // LANES) * LANES
    pad = 3 * limits.reach + 2 * limits.taps
    c, alone = np.zeros(n_scanned + 2 * pad), np.zeros(n_scanned + 2 * pad)
    tops = np.zeros(c.size // BLOCK)
    words = np.zeros(n // WORD + 1, np.uint64)
    last, first = np.empty(n, np.int64), np.empty(n, np.int64)
    copies, ends, sums = np.zeros((2, n_scanned)), np.empty(HALVINGS + 2), np.empty(4)
    at_c, at_words, at_values = np.int64(c.ctypes.data) + 8 * pad, words.ctypes.data, np.int64(values.ctypes.data)
    at_copies = np.int64(copies.ctypes.data)
    for row in range(a.shape[0]):
        at_a, at_b = np.int64(a.ctypes.data) + 8 * n * row, np.int64(b.ctypes.data) + 8 * n * row
        if n < n_scanned:
            for i in range(n):
                copies[0, i], copies[1, i] = a[row, i], b[row, i]
            at_a, at_b = at_copies, at_copies + 8 * n_scanned
        of_a, difference, total, sign = scan(at_a, at_b, at_c, at_words, n_scanned, running)
        of_b = of_a - difference
        if not (sign >= 0 and abs(of_a - 1) <= tolerance and abs(of_b - 1) <= tolerance):
            return row
        if abs(of_a - 1) > NORMAL or abs(of_b - 1) > NORMAL:
            a_scale, b_scale = 1 / of_a, 1 / of_b
            for i in range(n):
                copies[0, i] = a[row, i] * a_scale
            for i in range(n):
                copies[1, i] = b[row, i] * b_scale
            _, _, total, _ = scan(at_copies, at_copies + 8 * n_scanned, at_c, at_words, n_scanned, running)
        n_used = n - 1 if running else n  # the last running sum is 0 but for rounding
        for i in range(pad + n_used, pad + n_scanned):
            total -= abs(c[i])
            c[i] = 0.0
        m = _marks(c, pad, n_used, words, NEGLIGIBLE * total, last, first)
        value, error = _by_proved_zeros(c, pad, last, first, m, total, at_values, limits)
        if error < 0:
            value, error = by_cells(c, pad, last, first, m, total, at_values, limits, alone, tops, ends, sums)
        out[row] = value
        errors[row] = error + UNIT * (4 * n * total + 8 * n)
    return a.shape[0]
