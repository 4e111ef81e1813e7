"""The difference of two mixtures' continuous parts, convolved with a Gaussian of standard deviation tau.

A piece w N(x; m, s^2) on [low, high] becomes

    w N(x; m, S^2) (Phi((high - c) / d) - Phi((low - c) / d)),    S^2 = s^2 + tau^2,  c = x + (m - x) tau^2 / S^2,
                                                                  d = s tau / S

The guard is a mixture of normals: Student's t with 3 degrees of freedom is one whose variance v has the density
1.5^1.5 / Gamma(1.5) v^-2.5 exp(-1.5 / v), and the trapezoidal rule in log v takes it to 1e-12.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from gaussmix.density._mixture import exact as _direct
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._mixtures.quadrature import REACH, Features

Array = NDArray[np.float64]

WIDTH = 2.0
"""Of a panel, in S: there 16 points integrate the square to 1e-15."""

_LOG_VARIANCES = np.arange(math.log(1.5 / 40), math.log(1e10), 0.3)
_GUARD_STDS = np.exp(0.5 * _LOG_VARIANCES)
_GUARD_WEIGHTS = np.exp(-1.5 * _LOG_VARIANCES - 1.5 * np.exp(-_LOG_VARIANCES))
_GUARD_WEIGHTS /= _GUARD_WEIGHTS.sum()


class Smoothed(NamedTuple):
    """(n,) each: what the formula of the module needs of a piece, with the sign of its law. Open ends are infinite."""

    height: Array
    """w / (S sqrt(2 pi))."""
    mean: Array
    inverse_std: Array
    """1 / S."""
    shrink: Array
    """tau^2 / S^2."""
    inverse_cut: Array
    """1 / d."""
    low: Array
    high: Array


def smoothed_difference(
    a: GaussianMixture1D | None, b: GaussianMixture1D | None, tau: float, origin: float
) -> Smoothed:
    """a's continuous part less b's, None having none, with positions from `origin` on.

    Pieces that both have are merged, and gone where equal.
    """
    columns = [_columns(law, origin) for law in (a, b)]
    places, inverse = np.unique(np.concatenate([place for _, place in columns]), axis=0, return_inverse=True)
    (first, _), (second, _) = columns
    inverse = inverse.ravel()
    amount = np.bincount(inverse[: first.size], first, len(places)).astype(np.float64)
    amount -= np.bincount(inverse[first.size :], second, len(places))
    used = amount != 0
    mean, std, low, high = places[used].T
    S = np.hypot(std, tau)
    width = np.where(np.isinf(std), 1.0, S * math.sqrt(2 * math.pi))  # the amount of a flat piece is its height
    return Smoothed(amount[used] / width, mean, 1 / S, (tau / S) ** 2, np.hypot(1 / std, 1 / tau), low, high)


def _columns(law: GaussianMixture1D | None, origin: float) -> tuple[Array, Array]:
    """Weights (n,) and mean, std, low, high (n, 4) of a law's pieces; std is infinite for a flat one."""
    share = 0.0 if law is None else max(0.0, 1 - float(law.atoms.masses.sum()))
    if law is None or share == 0:
        return np.empty(0), np.empty((0, 4))
    low, high = law.bounds
    tail = (law.tail.mass, law.tail.loc - origin, law.tail.scale)
    # Moved before it is mirrored: images of a law far from zero would be rounded
    p = _direct.expand(law.weights, law.means - origin, law.stds, (low - origin, high - origin), tail)
    ends = [p.low, p.high]
    weights, places = [p.weight], [np.column_stack([p.mean, 1 / p.inverse_std, np.tile(ends, (p.mean.size, 1))])]
    if p.flat > 0:
        weights.append(np.array([p.flat]))
        places.append(np.array([[0.0, math.inf, *ends]]))
    if p.guard_mass > 0:
        weights.append(p.guard_mass * _GUARD_WEIGHTS)
        places.append(np.array([[p.guard_loc, p.guard_scale * s, -math.inf, math.inf] for s in _GUARD_STDS]))
    return share * np.concatenate(weights), np.concatenate(places)


def features(p: Smoothed, tau: float) -> Features:
    """What panels must resolve to integrate the square."""
    with np.errstate(divide="ignore"):
        S = 1 / p.inverse_std
    edge = REACH * tau
    start = np.where(np.isinf(S), p.low, p.mean - REACH * S)
    end = np.where(np.isinf(S), p.high, p.mean + REACH * S)
    corners = np.unique(np.concatenate([p.low, p.high]))
    corners = corners[np.isfinite(corners)]
    start = np.concatenate([np.maximum(start, p.low - edge), corners - edge])
    end = np.concatenate([np.minimum(end, p.high + edge), corners + edge])
    width = np.concatenate([WIDTH * S, np.full(corners.size, WIDTH * tau)])
    return Features(start, end, width, start, end, corners)


@nb.njit(cache=True, nogil=True)
def value(x: float, p: Smoothed) -> float:
    """At one number."""
    total = 0.0
    for i in range(p.mean.size):
        z = (x - p.mean[i]) * p.inverse_std[i]
        if abs(z) > REACH:
            continue
        density = p.height[i] * math.exp(-0.5 * z * z)
        if math.isfinite(p.low[i]) or math.isfinite(p.high[i]):
            c = x + (p.mean[i] - x) * p.shrink[i]
            scale = p.inverse_cut[i] * math.sqrt(0.5)
            density *= 0.5 * (math.erfc((p.low[i] - c) * scale) - math.erfc((p.high[i] - c) * scale))
        total += density
    return total


@nb.njit(cache=True, nogil=True)
def values(x: Array, p: Smoothed) -> Array:
    """At (N,) numbers."""
    out = np.empty(x.size)
    for k in range(x.size):
        out[k] = value(x[k], p)
    return out
