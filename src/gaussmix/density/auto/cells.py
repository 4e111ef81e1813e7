"""Probabilities of cells under Gaussians reflected at bounds, and their derivatives.

For a cell [e_j, e_j+1] and an image (`gaussmix.density.reflection`) with mean m and deviation s,

    P = Phi(z_j+1) - Phi(z_j),    z = (e - m) / s,
    s dP/dm = -(phi_j+1 - phi_j),    dP/dlog s = -(z_j+1 phi_j+1 - z_j phi_j);

a mirrored image turns the sign of the first derivative.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.reflection import reflections

_REACH = 9.0  # standard deviations beyond which a Gaussian has no mass: 1e-19
_FAR = 40.0  # where heights are zero in double precision
_SQRT_2PI = math.sqrt(2 * math.pi)

Interval = tuple[float, float]  # bounds in y, infinite where open


def cell_probabilities(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(n, m) probabilities of the m cells between ascending edges, which may start and end at infinity."""
    return sparse_probabilities(edges, means, stds, bounds).toarray()


def sparse_probabilities(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> csr_array:
    """As `cell_probabilities`, without the cells out of reach."""
    reach = _REACH * stds
    _, images = _reflected(means, stds, bounds)
    first = np.maximum(np.searchsorted(edges, images - reach) - 1, 0)
    last = np.minimum(np.searchsorted(edges, images + reach), edges.size - 1)
    kept = last > first
    row, mean, first, size = kept.nonzero()[1], images[kept], first[kept], (last - first)[kept] + 1
    end = np.cumsum(size)
    image = np.repeat(np.arange(size.size), size)
    edge = np.arange(image.size) + (first - end + size)[image]
    P = _differences((edges[edge] - mean[image]) * (1 / stds[row])[image])
    starts = np.ones(edge.size, bool)
    starts[end - 1] = False  # an image's last edge starts no cell
    cell = np.flatnonzero(starts)
    return csr_array((P[cell], (row[image[cell]], edge[cell])), shape=(means.size, edges.size - 1))


def cell_derivatives(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(3, n, m): `cell_probabilities`, s dP/dm and dP/dlog s."""
    n, inverse, signs, rows = means.size, 1 / stds, np.empty(0), np.empty(0, np.int64)
    if bounds != (-math.inf, math.inf):  # the mirror images that reach between the edges stand behind the components
        signs, images = _reflected(means, stds, bounds)
        reach = _REACH * stds
        kept = (images + reach > edges[0]) & (images - reach < edges[-1])
        kept[np.argmax((images == means).all(axis=1))] = False
        image, rows = kept.nonzero()
        means, inverse, signs = np.append(means, images[kept]), np.append(inverse, inverse[rows]), signs[image]
    z = (edges - means[:, None]) * inverse[:, None]
    np.minimum(np.maximum(z, -_FAR, out=z), _FAR, out=z)
    height = np.exp(-0.5 * z * z)
    height *= 1 / _SQRT_2PI
    parts = np.empty((3, len(z), edges.size - 1))
    parts[0] = _differences(z)
    np.subtract(height[:, :-1], height[:, 1:], out=parts[1])
    parts[1, n:] *= signs[:, None]
    height *= z
    np.subtract(height[:, :-1], height[:, 1:], out=parts[2])
    for image, row in enumerate(rows, n):
        parts[:, row] += parts[:, image]
    return parts[:, :n]


def _reflected(means: FloatArray, stds: FloatArray, bounds: Interval) -> tuple[FloatArray, FloatArray]:
    """Signs (I,) and means (I, n) of the images that have mass inside the bounds for the widest of the components."""
    sign, offset, shift, _ = reflections(*bounds, _REACH * float(stds.max(initial=0.0))).T
    return sign, (offset[:, None] + np.multiply.outer(sign, means)) + shift[:, None]


def _differences(z: FloatArray) -> FloatArray:
    """Phi(z_j+1) - Phi(z_j) along the last axis, relatively accurate in both tails."""
    upper = z > 0
    tail = ndtr(-np.abs(z))
    tail = np.where(upper, -tail, tail)
    mass = (tail[..., 1:] - tail[..., :-1]) + (upper[..., 1:] > upper[..., :-1])
    return np.maximum(mass, 0.0, out=mass)  # of the narrowest cells rounding is all
