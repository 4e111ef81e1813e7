"""The papers' learning rules as literal loops over the points: E Algorithms 1-2, E Eq. 9, D's one iteration; EM.

Slow and plain on purpose. Centres mu (n,), spacing r, one standard deviation sigma; pi (n,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.stats import norm

from gaussmix._typing import FloatArray


def probability(low: float, high: float, mu: float, sigma: float) -> float:
    """P(low < x <= high) under N(mu, sigma^2)."""
    return float(norm.cdf(high, mu, sigma) - norm.cdf(low, mu, sigma))


def algorithm1(
    x: FloatArray, mu: FloatArray, r: float, sigma: float, d: float, side_minus: Literal["centre", "point"] = "centre"
) -> FloatArray:
    """E Algorithm 1, steps 5-16; side- about the centre (as Eq. 7) or about the point (as printed in step 11)."""
    n = len(mu)
    pi = [1 / n] * n
    for x_j in x:
        i = int(np.argmin(np.abs(mu - x_j)))
        at = mu[i] if side_minus == "centre" else x_j
        for m in range(n):
            mid = probability(mu[i] - d, mu[i] + d, mu[m], sigma)
            side_plus = probability(mu[i] + r - d, mu[i] + r, mu[m], sigma)
            side = probability(at - r, at - r + d, mu[m], sigma)
            pi[m] += ((mid - side_plus) + (mid - side)) / 2
    return np.array(pi) / sum(pi)


def algorithm2(
    x: FloatArray, mu: FloatArray, r: float, sigma: float, d: float, step: float | None = None
) -> FloatArray:
    """E Algorithm 2, steps 5-14; ``step`` in place of its dL."""
    n = len(mu)
    pi = [1 / n] * n
    for x_j in x:
        i = int(np.argmin(np.abs(mu - x_j)))
        dL = probability(mu[i] - d, mu[i] + d, mu[i], sigma) - probability(mu[i] + r - d, mu[i] + r, mu[i], sigma)
        if step is not None:
            dL = step
        for m in range(n):
            pi[m] += dL if m == i else -dL / n
    return np.array(pi) / sum(pi)


def clipped(pi: FloatArray) -> FloatArray:
    """Negative weights set to zero, the rest scaled to sum 1."""
    pi = np.array([max(p, 0.0) for p in pi])
    return pi / pi.sum()


def one_iteration(x: FloatArray, mu: FloatArray, sigma: float) -> FloatArray:
    """D section 2.2, steps 4-5."""
    total = np.array([sum(norm.pdf(x_d, m, sigma) for x_d in x) for m in mu])
    return total / total.sum()


def information_loss(
    target_cdf: Callable[[float], float], model_cdf: Callable[[float], float], mu: FloatArray, d: float
) -> float:
    """E Eq. 9, L."""
    loss = abs(target_cdf(mu[0] - d) - model_cdf(mu[0] - d))
    for m in mu:
        loss += abs((target_cdf(m + d) - target_cdf(m - d)) - (model_cdf(m + d) - model_cdf(m - d)))
    return loss + abs((1 - target_cdf(mu[-1] + d)) - (1 - model_cdf(mu[-1] + d)))


def em(A: FloatArray, w: FloatArray, n_iter: int) -> FloatArray:
    """EM for the weights alone from equal ones: pi_k <- pi_k sum_j w_j A_jk / (A pi)_j, sum w = 1."""
    pi = np.full(A.shape[1], 1 / A.shape[1])
    w = w / w.sum()
    for _ in range(n_iter):
        pi = pi * (A.T @ (w / (A @ pi)))
    return pi
