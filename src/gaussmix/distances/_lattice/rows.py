"""integral |g| for coefficients on a lattice, compiled: g(x) = sum_i c_i kappa(x - i), i = 0..n-1.

kappa is totally positive: g changes its sign at most as often as the sequence c. Where as many zeros are found as c
changes its sign, each between two points of certain and opposite signs, no more can hide, and with G' = g

    integral |g| = sum_k |G(z_k+1) - G(z_k)| = sum_i |c_i| + 2 sum_k +-(G(z_k) - sum_{i up to the sign change} c_i),

where + stands for a change to minus. Where zeros are missing (a rough c has sign changes that the kernel smooths away),
`by_cells` looks where they can be.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix.distances._lattice.vectors import LANES, scan, trailing_zeros
from gaussmix.distances._lattice.zeros import BLOCK, HALVINGS, by_cells, proved_zero

NEGLIGIBLE = 1e-16
"""Coefficients up to this share of sum |c| are rounding, and have no sign."""
UNIT = 0.5**53
NORMAL = 8 * UNIT
"""Sums within this of 1 are 1."""
WORD = 64


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _marks(c, pad, n, words, negligible, last, first):
    """Where c changes its sign: fills `last` of one sign and `first` of the other, and tells how many.

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
def integrals(a, b, running, tolerance, values, limits, out, errors):
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
