"""Probabilities of cells under Gaussians reflected at bounds, and their derivatives.

A Gaussian with mean m and deviation s, folded into [a, b], is inside the sum of its images, which are Gaussians of the
same deviation at

    m + 2 j L  and  2 a - m + 2 j L,    j integer,    L = b - a        (one bound c only: at m and 2 c - m).

For a cell [e_j, e_j+1], P = Phi(z_j+1) - Phi(z_j) with z = (e - m) / s, and s dP/dm = -(phi_j+1 - phi_j),
dP/dlog s = -(z_j+1 phi_j+1 - z_j phi_j); an image of the mirrored kind turns the sign of the first.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray

_REACH = 9.0  # standard deviations beyond which a Gaussian has no mass: 1e-19
_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

Interval = tuple[float, float]
"""Bounds in y, infinite where open."""


@nb.njit(nogil=True, cache=True)
def _probability(z0, z1):
    """Phi(z1) - Phi(z0), z0 <= z1, precise in both tails."""
    if z0 > 0.0:
        return 0.5 * (math.erfc(z0 * _SQRT_HALF) - math.erfc(z1 * _SQRT_HALF))
    return 0.5 * (math.erfc(-z1 * _SQRT_HALF) - math.erfc(-z0 * _SQRT_HALF))


@nb.njit(nogil=True, cache=True)
def _images(mean, std, low, high):
    """(number of pairs on either side, shift between pairs, mirrored mean or nan)."""
    if low > -np.inf and high < np.inf:
        length = high - low
        return math.ceil(_REACH * std / (2 * length)), 2 * length, 2 * low - mean
    if low > -np.inf:
        return 0, 0.0, 2 * low - mean
    if high < np.inf:
        return 0, 0.0, 2 * high - mean
    return 0, 0.0, np.nan


@nb.njit(nogil=True, cache=True)
def _at_least(edges, x):
    """How many edges lie below x: `np.searchsorted`, which takes longer to compile than to write."""
    low, high = 0, edges.size
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(nogil=True, cache=True)
def _add_image(edges, mean, inverse, sign, P, D, S):
    """Adds one Gaussian's cells to a row of P, and to those of D (s d/dm) and S (d/dlog s) unless they are empty."""
    first, last = _at_least(edges, mean - _REACH / inverse) - 1, _at_least(edges, mean + _REACH / inverse)
    first, last = first if first > 0 else 0, last if last < edges.size else edges.size - 1
    slopes = D.size > 0
    z0 = (edges[first] - mean) * inverse if edges[first] > -np.inf else -np.inf
    height0 = _INV_SQRT_2PI * math.exp(-0.5 * z0 * z0)
    for j in range(first, last):
        z1 = (edges[j + 1] - mean) * inverse
        P[j] += _probability(z0, z1)
        if slopes:
            height1 = _INV_SQRT_2PI * math.exp(-0.5 * z1 * z1)
            moment0 = z0 * height0 if height0 > 0.0 else 0.0
            moment1 = z1 * height1 if height1 > 0.0 else 0.0
            D[j] -= sign * (height1 - height0)
            S[j] -= moment1 - moment0
            height0 = height1
        z0 = z1


@nb.njit(nogil=True, cache=True)
def _fold(edges, mean, std, low, high, P, D, S):
    """One component, all its images; P, D, S (cells,), added to."""
    pairs, step, mirrored = _images(mean, std, low, high)
    inverse = 1.0 / std
    for j in range(-pairs, pairs + 1):
        _add_image(edges, mean + j * step, inverse, 1.0, P, D, S)
        if not math.isnan(mirrored):
            _add_image(edges, mirrored + j * step, inverse, -1.0, P, D, S)


@nb.njit(nogil=True, cache=True)
def _rows(edges, means, stds, low, high, P, D, S):
    for k in range(means.size):
        _fold(edges, means[k], stds[k], low, high, P[k], D[min(k, D.shape[0] - 1)], S[min(k, S.shape[0] - 1)])


@nb.njit(nogil=True, cache=True)
def _mass(edges, weights, means, stds, low, high, out):
    nothing = np.empty(0)
    row = np.empty(out.size)
    for k in range(means.size):
        row[:] = 0.0
        _fold(edges, means[k], stds[k], low, high, row, nothing, nothing)
        for j in range(out.size):
            out[j] += weights[k] * row[j]


def cell_probabilities(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(n, m) probabilities of the m cells between ascending edges, which may start and end at infinity."""
    P = np.zeros((len(means), len(edges) - 1))
    _rows(edges, means, stds, *bounds, P, np.empty((1, 0)), np.empty((1, 0)))
    return P


def cell_derivatives(
    edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """As `cell_probabilities`, with s dP/dm and dP/dlog s: three arrays (n, m)."""
    P, D, S = (np.zeros((len(means), len(edges) - 1)) for _ in range(3))
    _rows(edges, means, stds, *bounds, P, D, S)
    return P, D, S


def cell_mass(
    edges: FloatArray, weights: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval
) -> FloatArray:
    """(m,) probabilities of the cells under the whole mixture, without a matrix."""
    out = np.zeros(len(edges) - 1)
    _mass(edges, weights, means, stds, *bounds, out)
    return out


def reflect(means: FloatArray, bounds: Interval) -> FloatArray:
    """Means moved inside the bounds by reflection there."""
    low, high = bounds
    if low > -math.inf and high < math.inf:
        phase = np.mod(means - low, 2 * (high - low))
        return low + np.minimum(phase, 2 * (high - low) - phase)
    if low > -math.inf:
        return low + np.abs(means - low)
    return high - np.abs(high - means) if high < math.inf else means
