"""D Eq. 11-14 and Algorithm 1 as sums and loops, and the projection onto the simplex by bisection."""

from __future__ import annotations

import math

import numpy as np

from gaussmix._typing import FloatArray


def ngmg(
    current: FloatArray,
    target: FloatArray,
    mu: FloatArray,
    sigma: float,
    *,
    diagonal: bool = False,
    two_sided: bool = False,
) -> FloatArray:
    """D Eq. 13, term by term."""
    n = len(mu)
    found = np.zeros(n)
    for j in range(n):
        for i in range(n):
            difference = current[i] - target[i]
            if (i == j and not diagonal) or (difference >= 0 and not two_sided):
                continue
            phi = math.exp(-((mu[j] - mu[i]) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
            found[j] += difference * phi
    return found


def algorithm1(
    start: FloatArray,
    target: FloatArray,
    mu: FloatArray,
    sigma: float,
    n_steps: int,
    step: float = 1.0,
    *,
    diagonal: bool = False,
) -> FloatArray:
    """D Algorithm 1 with the sign of Eq. 13."""
    pi = start.copy()
    for _ in range(n_steps):
        pi = pi - step * ngmg(pi, target, mu, sigma, diagonal=diagonal)
        pi = pi / pi.sum()
    return pi


def projection(v: FloatArray) -> FloatArray:
    """max(v - c, 0) with the c for which it sums to 1, found by bisection."""
    low, high = v.min() - 1, v.max()
    for _ in range(100):
        c = (low + high) / 2
        low, high = (c, high) if np.maximum(v - c, 0).sum() > 1 else (low, c)
    return np.maximum(v - high, 0)
