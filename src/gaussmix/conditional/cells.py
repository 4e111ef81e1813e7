"""What a number counts for in a likelihood: a density, or where numbers are rounded the mean density in its cell.

    p(y) = f(y)    or    (F(y + h) - F(y - h)) / (2 h)    for a number that stands for [y - h, y + h]

A density can be made as large as one likes at the few values that rounded numbers take, a probability cannot.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray

TINY = 1e-300
_AT_ONCE = 1 << 21  # entries of tables
_FLAT = 1e-3  # half a cell in standard deviations, below which the density at its middle is its mean to 2e-7


def likelihoods(v: FloatArray, half: FloatArray | None, means: FloatArray, stds: FloatArray) -> FloatArray:
    """p of numbers (N,) under each of K Gaussians, (N, K); ``half`` (N,) is h, None for no cells."""
    z = (v[:, None] - means) / stds
    density = np.exp(-0.5 * z * z) / (stds * math.sqrt(2 * math.pi))
    if half is None:
        return density
    wide = half[:, None] > _FLAT * stds
    if not wide.any():
        return density
    h = np.broadcast_to(half[:, None], z.shape)[wide]
    away, s = np.abs(z[wide]), np.broadcast_to(stds, z.shape)[wide]
    density[wide] = (ndtr(h / s - away) - ndtr(-h / s - away)) / (2 * h)
    return density


def mixture_likelihoods(
    v: FloatArray, half: FloatArray | None, weights: FloatArray, means: FloatArray, stds: FloatArray
) -> FloatArray:
    """p of numbers (N,), each under its own row of weights (N, K) of the same Gaussians, or all under one (K,)."""
    out = np.empty(len(v))
    step = max(1, _AT_ONCE // len(means))
    for start in range(0, len(v), step):
        some = slice(start, start + step)
        p = likelihoods(v[some], None if half is None else half[some], means, stds)
        out[some] = np.einsum("nk,nk->n", p, weights[some]) if weights.ndim == 2 else p @ weights
    return out
