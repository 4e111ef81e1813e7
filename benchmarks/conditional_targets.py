"""The data of the conditional benchmark: nine UCI sets in their standard splits, and four truths that are known.

    inverse    x = y + .3 sin(2 pi y) + .05 e, y uniform on (0, 1): one to three branches of y (E section 1)
    gamma      y = 2 sin(3 x_0) + exp(x_1 - .5) g, g ~ Gamma(1.5 + x_0): skewed, scale and shape move
    modes      one, two or three Gaussians of standard deviation .3 by x_0, 2 (1.5 + x_1) apart, around 3 x_1
    zeros      0 with probability 1 / (1 + exp(3 x_0)), else log-normal: exp((x_1 + 1) / 2 + .4 e)

Features are uniform on (-1, 1), but for the inverse problem's; each truth has three more that say nothing.

The splits are those of Hernandez-Lobato and Adams (2015), as published with the dropout experiments of Gal and
Ghahramani (2016): a folder of NAME.npz with `X (N, d)`, `y (N,)`, `test` (the packed bits of each split's rows) and
`n`, the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import gamma

Array = NDArray[np.float64]

UCI = {
    "yacht": "yacht",
    "boston": "bostonHousing",
    "energy": "energy",
    "concrete": "concrete",
    "wine": "wine-quality-red",
    "kin8nm": "kin8nm",
    "power": "power-plant",
    "naval": "naval-propulsion-plant",
    "protein": "protein-tertiary-structure",
}
TRUTH_ROWS, TRUTH_TEST, NOISE = 2_000, 1_000, 3
_FINE = np.linspace(0, 1, 2001)


@dataclass(frozen=True)
class Split:
    """Rows to learn from, and to be judged on; and what y does at x, where that is known."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    cdf: Callable[[Array, Array], Array] | None = None  # X (N, d), edges (G,) -> (N, G)
    zero: Callable[[Array], Array] | None = None  # X (N, d) -> P(y = 0), (N,)

    @property
    def width(self) -> float:
        """The smallest step between training values; what floating point makes of equal ones is no step."""
        values = np.unique(self.y)
        steps = np.diff(values)
        return float(steps[steps > 1e-9 * np.ptp(values)].min())


def _inverse(X: Array, edges: Array) -> Array:
    z = (X[:, :1] - _FINE - 0.3 * np.sin(2 * np.pi * _FINE)) / 0.05
    p = np.exp(-0.5 * z * z)
    below = np.column_stack([np.zeros(len(X)), np.cumsum((p[:, 1:] + p[:, :-1]) / 2, axis=1)])
    return np.array([np.interp(edges, _FINE, row / row[-1]) for row in below])


def _gamma(X: Array, edges: Array) -> Array:
    return gamma.cdf((edges - 2 * np.sin(3 * X[:, :1])) / np.exp(X[:, 1:2] - 0.5), 1.5 + X[:, :1])


def _branches(X: Array) -> NDArray[np.int64]:
    return 1 + (X[:, 0] > -1 / 3) + (X[:, 0] > 1 / 3)


def _centers(X: Array, j: NDArray[np.int64], K: NDArray[np.int64]) -> Array:
    return 3 * X[:, 1] + 2 * (1.5 + X[:, 1]) * (j - (K - 1) / 2)


def _modes(X: Array, edges: Array) -> Array:
    K, out = _branches(X), np.zeros((len(X), len(edges)))
    for j in range(3):
        z = (edges - _centers(X, np.full(len(X), j), K)[:, None]) / 0.3
        out += ((j < K) / K)[:, None] * ndtr(z)
    return out


def _zero_probability(X: Array) -> Array:
    return 1 / (1 + np.exp(3 * X[:, 0]))


def _draw(name: str, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    X = rng.uniform(-1, 1, (n, 2 + NOISE))
    if name == "inverse":
        y = rng.uniform(0, 1, n)
        X[:, 0] = y + 0.3 * np.sin(2 * np.pi * y) + 0.05 * rng.normal(size=n)
        return np.delete(X, 1, axis=1), y
    if name == "gamma":
        return X, 2 * np.sin(3 * X[:, 0]) + np.exp(X[:, 1] - 0.5) * rng.gamma(1.5 + X[:, 0])
    if name == "modes":
        K = _branches(X)
        return X, _centers(X, (rng.uniform(size=n) * K).astype(np.int64), K) + 0.3 * rng.normal(size=n)
    positive = np.exp((X[:, 1] + 1) / 2 + 0.4 * rng.normal(size=n))
    return X, np.where(rng.uniform(size=n) < _zero_probability(X), 0.0, positive)


TRUTHS: dict[str, Callable[[Array, Array], Array] | None] = {
    "inverse": _inverse,
    "gamma": _gamma,
    "modes": _modes,
    "zeros": None,
}


def splits_of(name: str) -> int:
    """How many splits a set is judged on: 20, protein's 5, or three draws of a truth."""
    return 3 if name in TRUTHS else 5 if name == "protein" else 20


def load(name: str, split: int, data: Path | None, rows: int | None = None) -> Split:
    """One split of a set, at most ``rows`` of its training rows, taken at random.

    Raises ValueError where the folder is not given or lacks the set.
    """
    rng = np.random.default_rng([len(name), split])
    if name in TRUTHS:
        X, y = _draw(name, rng, TRUTH_ROWS + TRUTH_TEST)
        test = np.arange(len(y)) >= TRUTH_ROWS
    else:
        path = Path() if data is None else data / f"{UCI[name]}.npz"
        if not path.is_file():
            raise ValueError(f"{name} needs {UCI[name]}.npz in the folder that --data names; --data is {data}")
        with np.load(path) as held:
            X, y = held["X"].astype(np.float64), held["y"].astype(np.float64)
            test = np.unpackbits(held["test"][split])[: int(held["n"])].astype(bool)
    train = np.flatnonzero(~test)
    if rows is not None and rows < len(train):
        train = np.sort(rng.permutation(train)[:rows])
    zero = _zero_probability if name == "zeros" else None
    return Split(X[train], y[train], X[test], y[test], TRUTHS.get(name), zero)
