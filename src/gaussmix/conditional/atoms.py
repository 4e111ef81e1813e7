"""Probabilities of point masses given x: gradient boosting of the log-loss, one class an atom and one for all else.

    P(y = t_a | x) = softmax(F(x))_a

As with a third of rents at 0, or scores capped at 100. Members are one a fold, with as many rounds as are best out of
fold; where features say nothing the probabilities are the shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.ensemble import HistGradientBoostingClassifier

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.bases import Basis
from gaussmix.conditional.folds import Fold, run_each, some_weights
from gaussmix.conditional.trees import Trees

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
