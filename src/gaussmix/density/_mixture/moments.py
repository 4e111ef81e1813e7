"""Moments and entropy of a mixture's continuous part."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.exact import Pieces, center, guard_log_density, log_densities
from gaussmix.density._mixture.table import ROOT, PolynomialTable

_SQRT_2PI = math.sqrt(2 * math.pi)


def mean_and_variance(p: Pieces) -> tuple[float, float]:
    """Expectation and variance, from the moments of Gaussians cut off at the bounds."""
    start = center(p)
    mean = start + _moments_about(start, p)[0]
    shift, second = _moments_about(mean, p)
    return mean, second - shift**2


def _moments_about(c: float, p: Pieces) -> tuple[float, float]:
    """E[X - c] and E[(X - c)^2].

    For a Gaussian between a and b, alpha and beta in its standard deviations:
    int (x - c)^2 = ((m - c)^2 + s^2) (Phi(beta) - Phi(alpha)) - s ((b + m - 2 c) phi(beta) - (a + m - 2 c) phi(alpha)).
    """
    inside = np.ones(p.mean.size)
    first, second = np.zeros(p.mean.size), np.zeros(p.mean.size)
    for end, sign in ((p.low, -1), (p.high, 1)):
        if math.isfinite(end):
            z = (end - p.mean) * p.inverse_std
            inside -= ndtr(-sign * z)
            height = sign * np.exp(-0.5 * z * z) / (p.inverse_std * _SQRT_2PI)
            first -= height
            second -= height * (end + p.mean - 2 * c)
    away = p.mean - c
    first += inside * away
    second += inside * (away**2 + p.inverse_std**-2)
    one, two = float(p.weight @ first), float(p.weight @ second)
    if p.flat > 0:
        one += p.flat * (p.high - p.low) * (0.5 * (p.low + p.high) - c)
        two += p.flat * ((p.high - c) ** 3 - (p.low - c) ** 3) / 3
    away = p.guard_loc - c
    return one + p.guard_mass * away, two + p.guard_mass * (away**2 + 3 * p.guard_scale**2)


def central_moments(order: int, c: float, p: Pieces) -> FloatArray:
    """E[(X - c)^k] for k = 0 .. order, (order + 1,), of pieces without a guard.

    For a Gaussian between a and b, with d = m - c and the boundary term B_k = s ((b - c)^k phi(beta) - (a - c)^k
    phi(alpha)):   M_k = d M_(k-1) + (k - 1) s^2 M_(k-2) - B_(k-1).
    """
    d, s = p.mean - c, 1 / p.inverse_std
    inside, boundary = np.ones(d.size), np.zeros((order + 1, d.size))
    for end, sign in ((p.low, -1), (p.high, 1)):
        if math.isfinite(end):
            z = (end - p.mean) * p.inverse_std
            inside -= ndtr(-sign * z)
            height = sign * np.exp(-0.5 * z * z) * s / _SQRT_2PI
            boundary += height * (end - c) ** np.arange(order + 1.0)[:, None]
    moments = [inside]
    for k in range(1, order + 1):
        second = (k - 1) * s**2 * moments[k - 2] if k > 1 else 0.0
        moments.append(d * moments[k - 1] + second - boundary[k - 1])
    out = np.array([float(p.weight @ each) for each in moments])
    if p.flat > 0:
        k = np.arange(1.0, order + 2)
        out += p.flat * ((p.high - c) ** k - (p.low - c) ** k) / k
    return out


def entropy(p: Pieces, table: PolynomialTable) -> float:
    """-int p log p: Gauss-Legendre in the cells of the table, and the guard's closed form outside it."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    middle, inverse, powers = table.logs[:, 0], table.logs[:, 1], table.logs[:, 2:]
    fitted = np.isfinite(inverse)
    log_p = np.polynomial.polynomial.polyval(nodes, powers[fitted].T)
    total = -float((np.exp(log_p) * log_p / inverse[fitted, None] * weights).sum())
    mass = np.delete(np.diff(table.outside), table.n_below)
    total -= float(mass[~fitted] @ log_densities(middle[~fitted], p))
    if p.guard_mass > 0:
        for sign, per_root in zip((-1, 1), table.per_root, strict=True):
            total += _guard_entropy(sign * (table.center - p.guard_loc) + ROOT / per_root, p)
    return total


def _guard_entropy(start: float, p: Pieces) -> float:
    """The guard's part from ``start`` outwards, where the Gaussians have ended.

    With x = sqrt(3) scale tan(theta) the mass is 2/pi cos(theta)^2 dtheta, and the density falls as cos(theta)^4.
    """
    first = math.atan(start / (p.guard_scale * math.sqrt(3)))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    half = 0.5 * (0.5 * math.pi - first)
    cosine = np.cos(first + half * (nodes + 1))
    log_p = guard_log_density(0.0, p) + 4 * np.log(cosine)
    return -float((weights * half * cosine**2 * log_p).sum()) * p.guard_mass * 2 / math.pi
