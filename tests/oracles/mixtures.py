"""Mixtures that a table of polynomials could fail on, as arguments of GaussianMixture1D."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gaussmix.density.mixture import GaussianMixture1D

_RNG = np.random.default_rng(20)


def _grid(n: int, bandwidth: float) -> dict[str, Any]:
    """A rough GMM expansion: n centres over [-5, 5], weights of a noisy normal."""
    spacing = 10 / n
    means = -5 + spacing * (np.arange(n) + 0.5)
    weights = _RNG.poisson(1000 * np.exp(-0.5 * means**2)).astype(float)
    return {"weights": weights / weights.sum(), "means": means, "stds": bandwidth * spacing}


MIXTURES: dict[str, dict[str, Any]] = {
    "one": {"weights": [1.0], "means": [2.0], "stds": [3.0]},
    "claw": {"weights": [0.5] + [0.1] * 5, "means": [0, -1, -0.5, 0, 0.5, 1], "stds": [1.0] + [0.1] * 5},
    "gap": {"weights": [0.5, 0.5], "means": [0.0, 1000.0], "stds": [1.0, 2.0]},
    "scales": {"weights": [0.3, 0.3, 0.4], "means": [0.0, 3.0, -1.0], "stds": [1e-3, 1.0, 1e6]},
    "far": {"weights": [0.5, 0.5], "means": [1e8, 1e8 + 3], "stds": [1.0, 0.1]},
    "grid 200": _grid(200, 2.0),
    "grid 1000": _grid(1000, 1.0),
    "individual": {
        "weights": _RNG.dirichlet(np.ones(2000)),
        "means": _RNG.normal(0, 5, 2000),
        "stds": np.exp(_RNG.normal(-3, 1, 2000)),
    },
    "one bound": {"weights": [0.5, 0.5], "means": [0.2, 4.0], "stds": [0.5, 1.0], "bounds": (0.0, None)},
    "upper bound": {"weights": [0.5, 0.5], "means": [-0.2, -4.0], "stds": [0.5, 1.0], "bounds": (None, 0.0)},
    "two bounds": {"weights": [0.4, 0.6], "means": [0.2, 0.95], "stds": [0.4, 0.05], "bounds": (0.0, 1.0)},
    "wide inside bounds": {
        "weights": [0.4, 0.3, 0.3],
        "means": [0.2, 0.5, 0.5],
        "stds": [2.5, 40.0, 0.02],
        "bounds": (0.0, 1.0),
    },
    "far bounds": {"weights": [1.0], "means": [0.5], "stds": [0.005], "bounds": (0.0, 1.0)},
    "guard": {"weights": [0.5, 0.5], "means": [0.0, 5.0], "stds": [1.0, 0.1], "tail": (1e-6, 0.0, 1.0)},
    "heavy guard": {"weights": [1.0], "means": [0.0], "stds": [1.0], "tail": (0.3, 4.0, 0.1)},
    "guard across bounds": {
        "weights": [0.5, 0.5],
        "means": [0.3, 0.9],
        "stds": [0.3, 0.02],
        "bounds": (0.0, 1.0),
        "tail": (0.01, 0.5, 0.5),
    },
}


def literal_density(mixture: GaussianMixture1D, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The density of the continuous part, as the sums are written: every mirror image, SciPy's Student t."""
    low, high = mixture.bounds
    total = np.zeros(x.size)
    for w, m, s in zip(mixture.weights, mixture.means, mixture.stds, strict=True):
        if np.isfinite(low) and np.isfinite(high):
            period = 2 * (high - low)
            shifts = period * np.arange(-int(10 * s / period) - 2, int(10 * s / period) + 3)
            images = np.concatenate([m + shifts, 2 * low - m + shifts])
        else:
            images = np.array([m, *(2 * end - m for end in (low, high) if np.isfinite(end))])
        total += w * stats.norm.pdf(x[:, None], images, s).sum(1)
    total[(x < low) | (x > high)] = 0
    mass, loc, scale = mixture.tail
    student: Any = stats.t(3, loc, scale)
    return (1 - mass) * total + mass * student.pdf(x)
