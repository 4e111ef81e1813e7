"""One-dimensional mixtures summed literally: every component, every mirror image, in long double."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import t as student


def images(
    weights: ArrayLike, means: ArrayLike, stds: ArrayLike, bounds: tuple[float, float], depth: int = 200
) -> tuple[NDArray, NDArray, NDArray]:
    """Weights, means and standard deviations of Gaussians reflected at `bounds`, to `depth` images on either side."""
    w, m, s = (np.asarray(values, np.longdouble) for values in np.broadcast_arrays(weights, means, stds))
    low, high = bounds
    if np.isinf(low) and np.isinf(high):
        return w, m, s
    if np.isinf(low) or np.isinf(high):
        mirrors = [m, 2 * (low if np.isfinite(low) else high) - m]
    else:
        shifts = 2 * (high - low) * np.arange(-depth, depth + 1)
        mirrors = [m + k for k in shifts] + [2 * low - m + k for k in shifts]
    return np.tile(w, len(mirrors)), np.concatenate(mirrors), np.tile(s, len(mirrors))


def log_density(
    x: ArrayLike,
    weights: ArrayLike,
    means: ArrayLike,
    stds: ArrayLike,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    tail: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> NDArray[np.float64]:
    """log-density of the reflected Gaussians with a Student t guard, at (N,) points."""
    x = np.asarray(x, np.longdouble)
    w, m, s = images(weights, means, stds, bounds)
    with np.errstate(divide="ignore"):
        logs = np.log(w * (1 - tail[0])) - np.log(s) - 0.5 * np.log(2 * np.longdouble(np.pi))
        logs = logs - 0.5 * ((x[:, None] - m) / s) ** 2
        logs[(x < bounds[0]) | (x > bounds[1])] = -np.inf
        guard = np.log(tail[0]) + student.logpdf(x.astype(float), 3, tail[1], tail[2])
        return np.logaddexp(np.logaddexp.reduce(logs, axis=1), guard).astype(float)


def cdf(
    x: ArrayLike,
    weights: ArrayLike,
    means: ArrayLike,
    stds: ArrayLike,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    tail: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> NDArray[np.float64]:
    """P(X <= x) of the same at (N,) points."""
    x = np.asarray(x, float)
    w, m, s = (values.astype(float) for values in images(weights, means, stds, bounds))
    inside = np.clip(x, *bounds)[:, None]
    gaussians = (ndtr((inside - m) / s) - ndtr((bounds[0] - m) / s)) @ w
    return (1 - tail[0]) * gaussians + tail[0] * student.cdf(x, 3, tail[1], tail[2])
