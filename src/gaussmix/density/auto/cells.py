"""Probabilities of cells under Gaussians reflected at bounds, and their derivatives.

For a cell [e_j, e_j+1] and an image (`gaussmix.density.reflection`) with mean m and deviation s,

    P = Phi(z_j+1) - Phi(z_j),    z = (e - m) / s,
    s dP/dm = -(phi_j+1 - phi_j),    dP/dlog s = -(z_j+1 phi_j+1 - z_j phi_j);

a mirrored image turns the sign of the first derivative.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.reflection import reflections

_REACH = 9.0  # standard deviations beyond which a Gaussian has no mass: 1e-19
_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

Interval = tuple[float, float]  # bounds in y, infinite where open


def images_within(stds: FloatArray, bounds: Interval) -> FloatArray:
    """`reflections` (I, 4) that have mass inside the bounds for the widest of the components."""
    return reflections(*bounds, _REACH * float(stds.max(initial=0.0)))


@nb.njit(nogil=True, cache=True)
def _probability(z0, z1):
    """Phi(z1) - Phi(z0), z0 <= z1, precise in both tails."""
    if z0 > 0.0:
        return 0.5 * (math.erfc(z0 * _SQRT_HALF) - math.erfc(z1 * _SQRT_HALF))
    return 0.5 * (math.erfc(-z1 * _SQRT_HALF) - math.erfc(-z0 * _SQRT_HALF))


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
def add_component(edges, mean, std, images, P, D, S):
    """One component with its ``images``; P, D, S (cells,), added to."""
    inverse = 1.0 / std
    reach = _REACH / inverse
    for i in range(images.shape[0]):
        m = (images[i, 1] + images[i, 0] * mean) + images[i, 2]
        if m + reach >= edges[0] and m - reach <= edges[-1]:
            _add_image(edges, m, inverse, images[i, 0], P, D, S)


@nb.njit(nogil=True, cache=True)
def _rows(edges, means, stds, images, P, D, S):
    for k in range(means.size):
        add_component(edges, means[k], stds[k], images, P[k], D[min(k, D.shape[0] - 1)], S[min(k, S.shape[0] - 1)])


@nb.njit(nogil=True, cache=True)
def _mass(edges, weights, means, stds, images, out):
    nothing = np.empty(0)
    row = np.empty(out.size)
    for k in range(means.size):
        row[:] = 0.0
        add_component(edges, means[k], stds[k], images, row, nothing, nothing)
        for j in range(out.size):
            out[j] += weights[k] * row[j]


def cell_probabilities(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(n, m) probabilities of the m cells between ascending edges, which may start and end at infinity."""
    P = np.zeros((len(means), len(edges) - 1))
    _rows(edges, means, stds, images_within(stds, bounds), P, np.empty((1, 0)), np.empty((1, 0)))
    return P


def cell_derivatives(
    edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """As `cell_probabilities`, with s dP/dm and dP/dlog s: three arrays (n, m)."""
    P, D, S = (np.zeros((len(means), len(edges) - 1)) for _ in range(3))
    _rows(edges, means, stds, images_within(stds, bounds), P, D, S)
    return P, D, S


def cell_mass(
    edges: FloatArray, weights: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval
) -> FloatArray:
    """(m,) probabilities of the cells under the whole mixture, without a matrix."""
    out = np.zeros(len(edges) - 1)
    _mass(edges, weights, means, stds, images_within(stds, bounds), out)
    return out
