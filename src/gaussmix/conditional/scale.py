"""The scale s(x): the expected size of the error at x, by gradient boosting of the gamma deviance.

    s(x) = E|y - m(x)|,    minimises sum_i w_i (log s_i + |r_i| / s_i),    r_i out of fold

The boosting sees m(x) beside the features; where it gains nothing out of fold the scale is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from gaussmix._typing import FloatArray
from gaussmix.conditional.folds import Fold, run_each, some_weights, staged_out_of_fold
from gaussmix.conditional.trees import Trees

_BOOSTING: dict[str, Any] = {
    "loss": "gamma",
    "learning_rate": 0.08,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "max_features": 0.7,
    "early_stopping": False,
}
_ROUNDS, _EVERY = 120, 10
_LEAST = 1e-3  # of the mean error is added to each: a gamma variable is positive


@dataclass(frozen=True)
class Scale:
    """A constant, or trees of which each fold's sum is the log of a scale; the members' mean is the scale."""

    constant: float
    members: tuple[Trees, ...] = ()
    least: float = 0.0  # where y was rounded no smaller one is known

    def predict(self, X: FloatArray) -> FloatArray:
        """s (N,) at rows (N, D + 1), the location in the last column."""
        if not self.members:
            return np.full(len(X), max(self.constant, self.least))
        return np.maximum(np.mean([np.exp(trees.sums(X)) for trees in self.members], axis=0), self.least)


def fit_scale(
    X: FloatArray,
    error: FloatArray,
    weight: FloatArray,
    folds: Sequence[Fold],
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> tuple[Scale, FloatArray]:
    """The scale of errors (N,) at rows (N, D + 1), and what it says of its own rows without having seen them."""
    size = np.abs(error)
    typical = float(np.average(size, weights=weight))
    if not typical > 0:
        raise ValueError("all errors are zero; there is no scale to learn")
    size = size + _LEAST * typical
    typical = float(np.average(size, weights=weight))

    def fit(fold: Fold, seed: int) -> Any:
        model = HistGradientBoostingRegressor(max_iter=_ROUNDS, random_state=seed, **_BOOSTING)
        return model.fit(X[fold.train], size[fold.train], some_weights(weight, fold.train))

    models = run_each([partial(fit, fold, int(rng.integers(1 << 31))) for fold in folds], n_jobs)
    staged = staged_out_of_fold(models, X, folds, _EVERY)
    deviance = (np.log(staged) + size / staged) @ (weight / weight.sum())
    best = int(np.argmin(deviance))
    if not deviance[best] < np.log(typical) + 1:
        return Scale(typical), np.full(len(X), typical)
    rounds = (best + 1) * _EVERY
    return Scale(typical, tuple(Trees.from_boosting(model, rounds) for model in models)), staged[best]
