"""What KL and Jensen-Shannon divergences integrate, from two log-densities; never negative.

    KL:  q - p - p log(q/p) = p (e^t - 1 - t),   t = log q - log p
    JS:  p/2 log(p/m) + q/2 log(q/m),   m = (p + q) / 2
    log 2 - JS:  p/2 log(1 + q/p) + q/2 log(1 + p/q)

KL's has q - p on top of the usual p log(p/q): its integral is zero, as both have mass 1, and the sum has no parts that
cancel. Each function takes log p and log q of one shape and gives its values and how far rounding of the logarithms can
put them off.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ULPS = 8 * float(np.finfo(float).eps)
_NEVER = -1e4  # t from which on e^t is zero


def kl(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    """Infinite where p > 0 = q."""
    with np.errstate(over="ignore", invalid="ignore"):  # unused branches of where
        p, q = np.exp(log_p), np.exp(log_q)
        t = np.where(p > 0, log_q - log_p, 0.0)
        value = np.where(np.abs(t) <= 1, p * (np.expm1(t) - t), q - p - p * t)
        size = 1 + np.abs(log_q) + np.where(p > 0, np.abs(log_p), 0.0)
        return np.where(p > 0, value, q), _ULPS * np.where(q > 0, np.abs(q - p) * size, p)


def jensen_shannon(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    """The form that is accurate where p and q are close."""
    P, t, r = _larger_and_ratio(log_p, log_q)
    u = 0.5 * np.maximum(t, -1.0)
    s = np.sinh(u)
    close = P * np.exp(u) * (u * s - 0.5 * np.sqrt(1 + s * s) * np.log1p(s * s))
    apart = 0.5 * P * (r * t - (1 + r) * (np.log1p(r) - math.log(2)))
    return np.where(t > -1, close, apart), _noise(P, t, r)


def overlap(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    """log 2 - JS: zero where p or q is."""
    P, t, r = _larger_and_ratio(log_p, log_q)
    return 0.5 * P * (np.log1p(r) + r * (np.log1p(r) - t)), _noise(P, t, r)


def _larger_and_ratio(log_p: Array, log_q: Array) -> tuple[Array, Array, Array]:
    """The larger density, t = -|log p - log q| and e^t; t is finite."""
    t = np.maximum(-np.abs(log_p - log_q), _NEVER)
    return np.exp(np.maximum(log_p, log_q)), t, np.exp(t)


def _noise(P: Array, t: Array, r: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(P > 0, 1 + np.abs(np.log(P)) - t, 0.0)
    return _ULPS * P * r * -t * size
