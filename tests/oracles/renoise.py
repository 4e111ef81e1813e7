"""Sampling loops written out, one equation a line, in float64 NumPy. Slow and literal on purpose.

`betas[t]` belongs to step t = 0..T-1, `visited` lists the steps from the highest down, and `predict(x, t)`
returns the network's eps, or v = sqrt(ab) eps - sqrt(1 - ab) x_0 when `velocity` is true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Predict = Callable[[np.ndarray, int], np.ndarray]


def alpha_bar(betas: Sequence[float], t: int) -> float:
    """Product of 1 - beta over steps 0..t; 1 for t = -1."""
    product = 1.0
    for s in range(t + 1):
        product *= 1.0 - betas[s]
    return product


def _estimate(
    predict: Predict, x: np.ndarray, t: int, ab: float, *, velocity: bool, clip: bool
) -> tuple[np.ndarray, np.ndarray]:
    output = predict(x, t)
    eps = math.sqrt(ab) * output + math.sqrt(1 - ab) * x if velocity else output
    x0 = (x - math.sqrt(1 - ab) * eps) / math.sqrt(ab)
    return (np.clip(x0, -1, 1) if clip else x0), eps


def renoise_loop(
    predict: Predict,
    x: np.ndarray,
    betas: Sequence[float],
    visited: Sequence[int],
    noises: Iterator[np.ndarray],
    *,
    velocity: bool = False,
    clip: bool = True,
) -> np.ndarray:
    """D Eq. 10 with its indices restored; one noise (same shape as x) is taken at every step but the last."""
    for position, t in enumerate(visited):
        x0, _ = _estimate(predict, x, t, alpha_bar(betas, t), velocity=velocity, clip=clip)
        if position == len(visited) - 1:
            return x0
        ab_next = alpha_bar(betas, visited[position + 1])
        x = math.sqrt(ab_next) * x0 + math.sqrt(1 - ab_next) * next(noises)
    return x


def ddim_loop(
    predict: Predict,
    x: np.ndarray,
    betas: Sequence[float],
    visited: Sequence[int],
    *,
    velocity: bool = False,
    clip: bool = True,
) -> np.ndarray:
    """DDIM, Eq. 12 of Song et al. 2021 with sigma = 0; eps is not recomputed after clipping x_0."""
    for position, t in enumerate(visited):
        x0, eps = _estimate(predict, x, t, alpha_bar(betas, t), velocity=velocity, clip=clip)
        ab_next = alpha_bar(betas, visited[position + 1]) if position + 1 < len(visited) else 1.0
        x = math.sqrt(ab_next) * x0 + math.sqrt(1 - ab_next) * eps
    return x


def renoise_variances(v: float, betas: Sequence[float], visited: Sequence[int]) -> list[float]:
    """Variance of x after each step of `renoise_loop`, with the exact eps for N(0, v), from x ~ N(0, 1)."""
    variances, variance = [], 1.0
    for position, t in enumerate(visited):
        ab = alpha_bar(betas, t)
        ab_next = alpha_bar(betas, visited[position + 1]) if position + 1 < len(visited) else 1.0
        k = math.sqrt(ab) * v / (ab * v + 1 - ab)
        variance = ab_next * k**2 * variance + 1 - ab_next
        variances.append(variance)
    return variances
