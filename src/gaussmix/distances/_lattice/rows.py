"""integral |F_a - F_b| and integral |f_a - f_b| of pairs of mixtures on one lattice of components, to rounding.

Components of standard deviation sigma = t r lie at mu_i = i r and have the weights a_i and b_i. In spacings r from mu_0
both integrals are those of |g|, g(x) = sum_i c_i kappa(x - i), i = 0..n-1:

    "cdf"      r times it, c = running sums of a - b, kappa = Phi((y + 1/2) / t) - Phi((y - 1/2) / t), moved by 1/2
    "density"  c = a - b, kappa = phi_t

kappa is totally positive: g changes its sign at most as often as the sequence c. Where as many zeros are found as c
changes its sign, each between two points of certain and opposite signs, no more can hide, and with G' = g

    integral |g| = sum_k |G(z_k+1) - G(z_k)| = sum_i |c_i| + 2 sum_k +-(G(z_k) - sum_{i up to the sign change} c_i),

where + stands for a change to minus. These are the compiled loops over rows. Where zeros are missing (a rough c has
sign changes that the kernel smooths away), and for few rows, `integrals_by_cells` does without.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._compiled import kernel
from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import SUM_TOLERANCE, check_weight_rows, is_lattice, weight_rows
from gaussmix.distances._lattice.cells import NEGLIGIBLE, UNIT, Kind, cells, integrals_by_cells, tables

NORMAL = 8 * UNIT  # sums within this of 1 are 1
LATTICE = (0.01, 100.0)  # bandwidths, in spacings, for which the tables are small
MANY = 4000  # rows, from which on it pays to compile a loop
AT_ONCE = 2**14  # cells, to stay in the cache
NEWTON_STEPS = 6
NEAREST = 0.75  # zeros are found at most so far from a table's offset, in 1/F


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
    a: FloatArray, b: FloatArray, spacing: float, bandwidth: float, kind: Kind, many: int = MANY
) -> tuple[FloatArray, FloatArray]:
    """(values (B,), errors (B,)) for weights a, b (B, n), contiguous; spacing r in data units, bandwidth t in r.

    "cdf": the Wasserstein-1 distance, in data units. "density": twice the total variation. Each error bounds the
    difference from the true integral. Rows are normalised; raises ValueError as `check_weight_rows` does.
    """
    n_rows, n = a.shape
    values, errors, running = np.empty(n_rows), np.full(n_rows, -1.0), kind == "cdf"
    if n_rows >= many:
        _by_zeros(a, b, running, SUM_TOLERANCE, *tables(float(bandwidth), kind), values, errors)
    left, here = np.flatnonzero(errors < 0), cells(float(bandwidth), kind)
    at_once = max(1, AT_ONCE * here.stride // n)
    for start in range(0, left.size, at_once):
        rows = left[start : start + at_once]
        c = check_weight_rows(a[rows], "a") - check_weight_rows(b[rows], "b")
        if running:
            c = np.cumsum(c, axis=1)[:, :-1]  # the last one is 0 but for rounding
        values[rows], errors[rows] = integrals_by_cells(c, here)
        errors[rows] += UNIT * (4 * n * np.abs(c).sum(axis=1) + 8 * n)
    scale = spacing if running else 1.0
    return scale * values, scale * errors


@kernel(error_model="numpy", fastmath={"reassoc", "contract"})
def _weigh(window, table):
    """Sums of the window times the five rows of a table."""
    s0 = s1 = s2 = s3 = s4 = 0.0
    for k in range(window.size):
        c = window[k]
        s0 += c * table[0, k]
        s1 += c * table[1, k]
        s2 += c * table[2, k]
        s3 += c * table[3, k]
        s4 += c * table[4, k]
    return s0, s1, s2, s3, s4


@kernel(error_model="numpy")
def _zero(z, falling, c, pad, total, values, second, fourth, noise, outside):
    """The zero of g near z where g falls or rises: (it, its distance from the true one at most, j, e, error of e).

    j = floor(zero), e is the window's part of the integral up to there. By Newton's and Halley's methods; the signs of
    g on either side are certain. The error is -1 where there is none. ``total`` is sum |c|.
    """
    fractions, n_taps = values.shape[0], values.shape[2]
    step = math.floor(z * fractions + 0.5)
    for _ in range(NEWTON_STEPS):
        j = step // fractions
        start = pad + j - n_taps // 2 + 1
        if start < 0 or start + n_taps > c.size:
            break
        e, g, slope, bend, last = _weigh(c[start : start + n_taps], values[step - j * fractions])
        if slope == 0 or (slope < 0) != falling:
            break
        d = -g * slope / (slope * slope - g * bend)
        if abs(d) * fractions <= NEAREST:
            for _ in range(2):
                d -= (g + d * (slope + d * (bend + d * last))) / (slope + d * (2 * bend + d * 3 * last))
            top = 0.0
            for k in range(start, start + n_taps):
                top = max(top, abs(c[k]))
            left_out = fourth * top * d * d * abs(d)
            rest = abs(g + d * (slope + d * (bend + d * last))) + left_out * abs(d) / 24
            rest += noise[1] * top + outside[1] * total
            steep = abs(slope + d * (2 * bend + d * 3 * last)) - left_out / 6 - noise[2] * top - outside[2] * total
            away = 2 * rest / steep
            if steep <= 0 or 2 * second * top * away > steep or abs(d) * fractions > 1:
                break
            e += d * (g + d * (slope / 2 + d * (bend / 3 + d * last / 4)))
            wrong = 2 * away * rest + left_out * d * d / 120 + noise[0] * top + outside[0] * total
            return step / fractions + d, away, j, e, wrong
        if not abs(d) <= n_taps:
            break
        step += math.floor(d * fractions + 0.5)
    return 0.0, 0.0, 0, 0.0, -1.0


@kernel(error_model="numpy")
def _by_zeros(a, b, running, tolerance, values, variance, second, fourth, noise, outside, out, errors):
    """integral |g| and its error for each row of a, b (B, n); an error of -1 for no weights, or a missing zero."""
    n = a.shape[1]
    n_used = n - 1 if running else n  # the last running sum is 0 but for rounding
    pad = 2 * values.shape[2]
    c, marks = np.zeros(n_used + 2 * pad), np.empty((n_used, 2), np.int64)  # last of a sign, first of the other
    for row in range(a.shape[0]):
        a_scale, b_scale, valid, total, m = 1.0, 1.0, False, 0.0, 0
        for _ in range(2):
            a_sum = b_sum = least = here = total = 0.0
            m, last, positive = 0, -1, False
            for i in range(n_used):
                a_sum += a[row, i]
                b_sum += b[row, i]
                least = min(least, min(a[row, i], b[row, i]))
                here = a[row, i] * a_scale - b[row, i] * b_scale + (here if running else 0.0)
                c[pad + i] = here
                total += abs(here)
                if abs(here) > NEGLIGIBLE * total:
                    if (here > 0) != positive:
                        marks[m, 0], marks[m, 1] = last, i
                        m += last >= 0
                        positive = here > 0
                    last = i
            if running:
                a_sum += a[row, n - 1]
                b_sum += b[row, n - 1]
                least = min(least, min(a[row, n - 1], b[row, n - 1]))
            if a_scale == 1 and b_scale == 1:
                valid = least >= 0 and abs(a_sum - 1) <= tolerance and abs(b_sum - 1) <= tolerance
                if abs(a_sum - 1) <= NORMAL and abs(b_sum - 1) <= NORMAL:
                    break
                a_scale, b_scale = 1 / a_sum, 1 / b_sum
        if not valid:
            errors[row] = -1.0
            continue
        value, error, reached = total, 0.0, -math.inf
        for mark in range(m):
            last, first = marks[mark]
            left, right = c[pad + last], c[pad + first]
            near = left / (left - right)
            if first == last + 1:  # g = c + c'' variance / 2, were c a parabola
                curve = 0.5 * (c[pad + last - 1] - left - right + c[pad + first + 1])
                shift = 0.5 * (variance - near * (1 - near)) * curve / (left - right)
                near += shift if abs(shift) < 1 else 0.0
            z, away, j, e, wrong = _zero(
                last + near * (first - last), left > 0, c, pad, total, values, second, fourth, noise, outside
            )
            if wrong < 0 or z - away <= reached:
                error = -1.0
                break
            reached = z + away
            for k in range(last + 1, j + 1):
                e += c[pad + k]
            for k in range(j + 1, last + 1):
                e -= c[pad + k]
            value += 2 * e if left > 0 else -2 * e
            error += 2 * wrong
        out[row] = value
        errors[row] = error + UNIT * (4 * n * total + 8 * n) if error >= 0 else -1.0
