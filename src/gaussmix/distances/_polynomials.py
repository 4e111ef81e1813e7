"""Polynomials on [-1, 1] as rows of coefficients, p = sum_k p_k T_k, k < N_TERMS, and integrals of |p|.

A row whose coefficients prove that p has one sign, |p_0| >= sum_k>0 |p_k|, or p' has, so that there is one zero, is
integrated exactly; others are halved. Roundings are bounded for each coefficient.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev

from gaussmix._typing import FloatArray

EPS = 2.0**-52
N_NODES = 25
N_TERMS = N_NODES + 1
_SURE = 0.1  # of the rounding: what may stay in doubt at zeros
_MOST_HALVINGS = 60


def _nodes(n: int) -> tuple[FloatArray, FloatArray]:
    """The zeros of T_n and the matrix (n, n) that makes coefficients of values there."""
    turns = (2 * np.arange(n) + 1)[:, None] * np.arange(n) % (4 * n)  # of 4 n in a circle
    matrix = 2 / n * np.cos(np.pi / (2 * n) * np.minimum(turns, 4 * n - turns))
    matrix[:, 0] /= 2
    return np.cos(np.pi / (2 * n) * turns[:, 1]), matrix


NODES, FROM_VALUES = _nodes(N_TERMS)
DENSITY_NODES, _FROM_DENSITIES = _nodes(N_NODES)
TO_PDF = np.pad(_FROM_DENSITIES, [(0, 0), (0, 1)])
TO_CDF = chebyshev.chebint(_FROM_DENSITIES, lbnd=0, axis=1)
"""Of values (..., N_NODES) the coefficients of the polynomial through them, and of its integral from 0."""
PDF_MOST, CDF_MOST = 3.02, 1.04  # of these polynomials, for values that are at most 1
_SCALE = 2.0**N_NODES  # of which coefficients of halves are fractions
LEFT, RIGHT = (
    np.rint(_SCALE * (chebyshev.chebvander(0.5 * (NODES + side), N_NODES).T @ FROM_VALUES)) / _SCALE for side in (-1, 1)
)
"""Of coefficients (..., N_TERMS) those of p's left and its right half."""
PRIMITIVE = chebyshev.chebint(np.eye(N_TERMS), lbnd=-1, axis=1)
_WHOLE = PRIMITIVE.sum(axis=1)  # int_-1^1 T_k
_DERIVATIVE = np.pad(chebyshev.chebder(np.eye(N_TERMS), axis=1), [(0, 0), (0, 1)])
_ORDERS = np.arange(N_TERMS + 1)

PRODUCT = (0.5 * N_TERMS + 3) * EPS
"""Rounding of a product with these matrices, and of their entries, in sums of absolute entries, of .02 at least."""
OF_HALF = PRODUCT * np.abs(LEFT).sum(axis=1)
OF_PART = EPS * (0.65 * N_TERMS**2 + 6 * _ORDERS[:-1] ** 2)  # `part` of p
OF_WHOLE = 0.5 * PRODUCT * np.abs(_WHOLE) + EPS  # half the integral
OF_PRIMITIVE = PRODUCT * np.abs(PRIMITIVE).sum(axis=1) + EPS * (
    12 + 8 * _ORDERS[:-1]
)  # a value of the primitive, or of p


def part(p: FloatArray, middle: FloatArray, half: FloatArray) -> FloatArray:
    """Coefficients (M, N_TERMS) of p(middle + half t)."""
    return chebyshev.chebval(middle + half * NODES[:, None], p.T, tensor=False).T @ FROM_VALUES


def values(p: FloatArray, t: FloatArray) -> FloatArray:
    """Of polynomials (Z, n) at t (Z,)."""
    return (p * np.cos(np.arccos(t)[:, None] * _ORDERS[: p.shape[1]])).sum(axis=1)


def zeros(p: FloatArray, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of monotone polynomials (Z, N_TERMS) with two signs at low and high (Z,); what is off int |p| there."""
    slope, small = p @ _DERIVATIVE, EPS * (np.abs(p) @ (4 + 3 * _ORDERS[:-1]))  # rounding of a value
    start, stop = values(p, low), values(p, high)
    rising, t = stop > 0, ((low * stop - high * start) / (stop - start)).clip(low, high)
    for _ in range(100):
        value = values(p, t)
        low, high = np.where((value > 0) == rising, (low, t), (t, high))
        found = np.abs(value) * (high - low) <= small
        if found.all():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            new = np.where(found, t, t - value / values(slope, t))
        t = np.where(found | (low < new) & (new < high), new, 0.5 * (low + high))
    return t, 2 * (np.abs(values(p, t)) + small) * (high - low)


def absolute_integral(p: FloatArray, half: FloatArray, blur: FloatArray) -> tuple[float, float]:
    """The sum of half int_-1^1 |p| for polynomials (M, N_TERMS) with errors ``blur`` (M,), and what stays in doubt.

    Polynomials are halved until they, or their slopes, have one sign by their coefficients, or are hidden by the blur,
    or what is left in doubt is less than a share _SURE of what the blur does.
    """
    value = doubt = 0.0
    spare = _SURE * float(half @ blur)
    for halving in range(_MOST_HALVINGS + 1):
        most, first = np.abs(p).sum(axis=1), np.abs(p[:, 0])
        slope, whole = np.abs(p @ _DERIVATIVE), p @ _WHOLE
        sure = most <= 2 * first
        monotone = ~sure & (slope.sum(axis=1) <= 2 * slope[:, 0])
        cross = np.flatnonzero(monotone & ((p.sum(axis=1) > 0) != (p @ (-1.0) ** _ORDERS[:-1] > 0)))
        at, off = zeros(p[cross], np.full(cross.size, -1.0), np.ones(cross.size))
        doubt += float(half[cross] @ (off + 2 * np.abs(p[cross]) @ OF_PRIMITIVE))
        at_zero = values(p[cross] @ PRIMITIVE, at)
        whole[cross] = np.abs(at_zero) + np.abs(whole[cross] - at_zero)
        lost = np.where(sure | monotone, 0.0, half * (2 * most - np.abs(whole)))
        again = (lost > 0) & (most > blur) & (lost.sum() > spare) & (halving < _MOST_HALVINGS)
        value += float((half * np.abs(whole))[~again].sum())
        doubt += float(lost[~again].sum())
        if not again.any():
            break
        p, half, blur = p[again], 0.5 * half[again], blur[again]
        doubt += 4 * float(half @ (np.abs(p) @ OF_HALF))
        p, half, blur = np.concatenate([p @ LEFT, p @ RIGHT]), np.tile(half, 2), np.tile(blur, 2)
    return value, doubt
