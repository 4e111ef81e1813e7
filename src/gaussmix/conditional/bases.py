"""Gaussians that many rows share, each row with weights of its own; lattices; and what a number counts for.

In a likelihood that is a density, or where numbers are rounded the mean density in the cell:

    p(y) = f(y)    or    (F(y + h) - F(y - h)) / (2 h)    for a number that stands for [y - h, y + h]

A density can be made as large as one likes at the few values that rounded numbers take, a probability cannot.

Probabilities of point masses given x: gradient boosting of the log-loss, one class an atom and one for all else.

    P(y = t_a | x) = softmax(F(x))_a

As with a third of rents at 0, or scores capped at 100. Members are one a fold, with as many rounds as are best out of
fold; where features say nothing the probabilities are the shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, log_softmax, logsumexp, ndtr, softmax
from sklearn.ensemble import HistGradientBoostingClassifier

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.folds import Fold, run_each, some_weights
from gaussmix.conditional.trees import Trees

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
TINY = 1e-300
_AT_ONCE = 1 << 21  # entries of tables
_FLAT = 1e-3  # half a cell in standard deviations, below which the density at its middle is its mean to 2e-7
_PLACES = 256  # of the tables in which a quantile's search begins
Rows = tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Basis:
    """K Gaussians that all rows share, and the rows' weights (N, K)."""

    weights: NDArray[np.floating]
    means: FloatArray
    stds: FloatArray

    def rows(self, some: Any) -> Basis:
        """The same Gaussians, the weights of some rows."""
        return replace(self, weights=self.weights[some])

    def times(self, factor: Any) -> Basis:
        """The same Gaussians, weights times a number or (N, 1)."""
        return replace(self, weights=self.weights * factor)

    def beside(self, other: Basis) -> Basis:
        """The Gaussians of both."""
        return Basis(
            np.hstack([self.weights, other.weights]),
            np.append(self.means, other.means),
            np.append(self.stds, other.stds),
        )

    def joined(self, other: Basis) -> Basis:
        """The same Gaussians, the rows of both."""
        return replace(self, weights=np.vstack([self.weights, other.weights]))


@dataclass(frozen=True)
class Lattice:
    """Values origin + k step, k = 0 .. n - 1."""

    origin: float
    step: float
    n: int

    @property
    def values(self) -> FloatArray:
        """(n,)."""
        return self.origin + self.step * np.arange(self.n, dtype=np.float64)

    def numbers(self, y: FloatArray) -> FloatArray:
        """The k of each y; NaN where it is none of the values."""
        k = np.rint((y - self.origin) / self.step)
        near = np.abs(y - (self.origin + self.step * k)) <= 1e-6 * self.step + 2e-7 * np.abs(y)
        return np.where(near & (k >= 0) & (k < self.n), k, np.nan)


def log_density(y: FloatArray, weights: FloatArray, means: FloatArray, stds: FloatArray) -> FloatArray:
    """log of each row's density at its own y (N,); components are (N, K)."""
    with np.errstate(divide="ignore", over="ignore"):  # squares of numbers that are far out
        z = (y[:, None] - means) / stds
        return np.asarray(logsumexp(np.log(weights) - 0.5 * z * z - np.log(stds) - _HALF_LOG_2PI, axis=1))


def gathered(weights: FloatArray, means: FloatArray, stds: FloatArray) -> Rows:
    """Where each row's components begin (N + 1,), and those of (N, K) that are not light."""
    kept = weights > 0
    row = np.append(0, np.cumsum(kept.sum(1)))
    return row, weights[kept], means[kept], stds[kept]


def mean_distance(d: FloatArray, s: FloatArray) -> FloatArray:
    """E|N(d, s^2)|, also for s = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = d / s
        found = d * erf(z / math.sqrt(2)) + s * np.exp(-0.5 * z * z) * math.sqrt(2 / math.pi)
    return np.where(s > 0, found, np.abs(d))


def distances(basis: Basis) -> FloatArray:
    """E|X_k - X_l| for Gaussians of a basis, (K, K)."""
    return mean_distance(np.subtract.outer(basis.means, basis.means), np.hypot.outer(basis.stds, basis.stds))


def table(basis: Basis) -> tuple[FloatArray, FloatArray]:
    """Places (G,) where Gaussians lie close, and each Gaussian's distribution function there, (K, G)."""
    if len(basis.means) == 0:
        return np.array([0.0, 1.0]), np.zeros((0, 2))
    around = np.linspace(-3, 3, 13)
    near = np.add.outer(basis.means, 0 * around) + np.multiply.outer(basis.stds, around)
    mass = np.repeat(basis.weights.mean(0, dtype=np.float64), len(around))
    order = np.argsort(near, axis=None)
    heaped = np.cumsum(mass[order])
    chosen = np.searchsorted(heaped, heaped[-1] * (np.arange(_PLACES) + 0.5) / _PLACES)
    ends = (basis.means - 6 * basis.stds).min(), (basis.means + 6 * basis.stds).max()
    places = np.unique(np.append(near.ravel()[order[chosen.clip(max=order.size - 1)]], ends))
    return places, ndtr(np.subtract.outer(places, basis.means) / basis.stds).T.astype(np.float32)


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


# -- point masses

_ROUNDS, _EVERY = 150, 5
_ABSENT = -20.0  # the logit of a class that a fold has no row of
_BOOSTING: dict[str, Any] = {
    "learning_rate": 0.05,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "early_stopping": False,
}


@dataclass(frozen=True)
class AtomProbabilities:
    """Positions (A,) in units of y, log-shares (C,) of the atoms and, where there is one, the rest; members' trees.

    Each member has trees for each class, whose sums are logits; none where the shares stand for all rows.
    """

    positions: FloatArray
    log_shares: FloatArray
    members: tuple[tuple[Trees, ...], ...] = ()

    def basis(self, p: FloatArray) -> Basis:
        """Point masses with probabilities (N, A)."""
        return Basis(p, self.positions, np.zeros(len(self.positions)))

    def predict(self, X: FloatArray) -> FloatArray:
        """Probabilities (N, A) of the atoms at X (N, D)."""
        A = len(self.positions)
        if not self.members:
            return np.tile(np.exp(self.log_shares)[:A], (len(X), 1))
        said = [softmax(np.stack([trees.sums(X) for trees in member], axis=1), axis=1) for member in self.members]
        return np.mean(said, axis=0)[:, :A]


def fit_atoms(
    X: FloatArray,
    kind: IntArray,
    positions: FloatArray,
    weight: FloatArray,
    folds: Sequence[Fold],
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> tuple[AtomProbabilities, FloatArray]:
    """Learn which atom a row (N, D) has, ``kind`` (N,), A for none; and probabilities (N, A) out of fold."""
    n, A = len(X), len(positions)
    C = int(kind.max()) + 1
    shares = np.bincount(kind, weight, max(C, A)) / weight.sum()
    log_shares = np.log(np.maximum(shares, np.finfo(float).tiny))
    constant = AtomProbabilities(positions, log_shares), np.tile(shares[:A], (n, 1))
    if any(len(np.unique(kind[fold.train])) < 2 for fold in folds):
        return constant

    def fit(fold: Fold, seed: int) -> Any:
        model = HistGradientBoostingClassifier(max_iter=_ROUNDS, random_state=seed, **_BOOSTING)
        return model.fit(X[fold.train], kind[fold.train], some_weights(weight, fold.train))

    models = run_each([partial(fit, fold, int(rng.integers(1 << 31))) for fold in folds], n_jobs)
    staged = np.empty((_ROUNDS // _EVERY, n, C))
    for model, fold in zip(models, folds, strict=True):
        for r, logits in enumerate(_staged_logits(model, X[fold.test], C)):
            if (r + 1) % _EVERY == 0:
                staged[(r + 1) // _EVERY - 1, fold.test] = log_softmax(logits, axis=1)
    scores = staged[:, np.arange(n), kind] @ weight
    best = int(np.argmax(scores))
    if not scores[best] > float(log_shares[kind] @ weight):
        return constant
    rounds = (best + 1) * _EVERY
    members = tuple(_classes(model, rounds, C) for model in models)
    return AtomProbabilities(positions, log_shares, members), np.exp(staged[best])[:, :A]


def _staged_logits(model: Any, X: FloatArray, n_classes: int) -> Any:
    """Logits (N, C) after each round; of two classes the first's are 0, of those that a fold lacks `_ABSENT`."""
    for raw in model._staged_raw_predict(X):
        logits = np.full((len(X), n_classes), _ABSENT)
        logits[:, model.classes_] = np.column_stack([np.zeros(len(X)), raw[:, 0]]) if raw.shape[1] == 1 else raw
        yield logits


def _classes(model: Any, rounds: int, n_classes: int) -> tuple[Trees, ...]:
    """Trees whose sums are those logits."""
    known = model.classes_.tolist()
    first = Trees.from_boosting(model, rounds)
    constant = first.pruned(np.inf)[0].scaled(0.0)
    trees = [constant.plus(_ABSENT)] * n_classes
    if len(known) == 2:
        trees[known[0]], trees[known[1]] = constant, first
    else:
        for k, output in enumerate(known):
            trees[output] = Trees.from_boosting(model, rounds, k)
    return tuple(trees)
