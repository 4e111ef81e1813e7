"""The location m(x): regressions, each out of fold, blended by non-negative least squares.

    m(x) = a_1 boosting(x) + a_2 extra_trees(x) + a_3 kernel_ridge(x) + a_4 networks(x),
    a >= 0, sum a = 1, minimises a^T C a,

C_pq the mean product of the errors of p and q at rows that they did not learn from. A new row hears all members of a
committee and a row of the data few. The product of errors of M members averaged is A + B / M (Krogh and Vedelsby 1995);
two halves of what a row heard give A and B, C is taken for all members, and ``shrink`` says how much narrower errors of
new rows are than those of the data.

Whoever learns with m(x) as a feature must have it without the row's whole fold. Left out alone, a row's m is a little
lower than that of its neighbours where its y is high, which trees find: with two branches of y they learn which one.

The scale s(x): the expected size of the error at x, by gradient boosting of the gamma deviance.

    s(x) = E|y - m(x)|,    minimises sum_i w_i (log s_i + |r_i| / s_i),    r_i out of fold

The boosting sees m(x) beside the features; where it gains nothing out of fold the scale is constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import nnls
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.tree import ExtraTreeRegressor

from gaussmix._typing import FloatArray
from gaussmix.conditional.folds import Fold, make_folds, run_each, some_weights, staged_out_of_fold
from gaussmix.conditional.kernel_ridge import KernelRidge, fit_kernel_ridge
from gaussmix.conditional.network import Networks, fit_regressions
from gaussmix.conditional.trees import Trees

_BOOSTING: dict[str, Any] = {
    "learning_rate": 0.1,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 5,
    "max_features": 0.7,
    "early_stopping": False,
}
_ROUNDS, _EVERY = 300, 10
_FAST_ROUNDS, _FAST_RATE = 140, 0.2
_TREES = 150
_SEEN = 0.8  # share of the rows that a tree learns from
MOST_TREE_ROWS = 20_000
_BLOCKS = 8  # of the rows, for a regressor that runs on Dask


@dataclass
class InUnits:
    """A regressor of the user's, which learns and says y in its own units; here they are standard ones."""

    regressor: Any
    center: float
    spread: float

    def fit(self, X: FloatArray, y: FloatArray, weight: FloatArray | None) -> InUnits:
        """A clone, fitted; of a pipeline the last step learns with the weights."""
        model: Any = clone(self.regressor)
        name = f"{model.steps[-1][0]}__sample_weight" if isinstance(model, Pipeline) else "sample_weight"
        ready = partial(_on_dask, like=X) if _runs_on_dask(model) else np.asarray
        weights = {} if weight is None else {name: ready(weight)}
        return InUnits(model.fit(ready(X), ready(y * self.spread + self.center), **weights), self.center, self.spread)

    def predict(self, X: FloatArray) -> FloatArray:
        """Standard units, (N,)."""
        found = self.regressor.predict(_on_dask(X, like=X) if _runs_on_dask(self.regressor) else X)
        return (np.asarray(found, np.float64).reshape(-1) - self.center) / self.spread  # a Dask array computes here


def _runs_on_dask(regressor: Any) -> bool:
    """Whether it takes Dask's arrays alone, as those of ``lightgbm.dask`` and ``xgboost.dask`` do."""
    return "dask" in type(regressor).__module__.split(".")


def _on_dask(values: FloatArray, like: FloatArray) -> Any:
    """Rows as a Dask array, in blocks as those of ``like``, whole rows each."""
    import dask.array

    rows = max(1, math.ceil(len(like) / _BLOCKS))
    return dask.array.from_array(values, chunks=(rows, *values.shape[1:]))  # pyright: ignore


@dataclass(frozen=True)
class Location:
    """What predicts the location, in the units of y it was fitted to."""

    weights: FloatArray  # of the members, (P,)
    boosting: Trees | None
    extra_trees: Trees | None
    kernel: KernelRidge | None
    networks: Networks | None = None
    regressors: tuple[Any, ...] = ()  # the user's own, one a fold, in place of all

    def predict(self, X: FloatArray) -> FloatArray:
        """m (N,) at X (N, D)."""
        if self.regressors:
            return np.mean([each.predict(X) for each in self.regressors], axis=0)
        columns = []
        if self.boosting is not None:
            columns.append(self.boosting.sums(X))
        if self.extra_trees is not None:
            columns.append(self.extra_trees.sums(_single(X)))
        if self.kernel is not None:
            columns.append(self.kernel.predict(X))
        if self.networks is not None:
            columns.append(self.networks.predict(X))
        return np.stack(columns, axis=1) @ self.weights


@dataclass(frozen=True)
class LocationFit:
    """A location, what it says of its own rows without having seen them (N,), and how much narrower errors get.

    ``feature`` (N,) is what it says of them without having seen their folds.
    """

    location: Location
    out_of_fold: FloatArray
    feature: FloatArray
    shrink: float


def fit_location(
    X: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    folds: Sequence[Fold],
    rng: np.random.Generator,
    *,
    fast: bool = False,
    network: bool = False,
    regressor: InUnits | None = None,
    n_jobs: int | None = None,
) -> LocationFit:
    """Regress y (N,) on X (N, D); rows weigh ``weight`` (N,)."""
    if regressor is not None:
        return _fit_regressor(X, y, weight, folds, regressor, n_jobs)
    repeats = [list(folds), make_folds(len(X), rng)]
    boosting, halves = _fit_boosting(X, y, weight, repeats, rng, fast, n_jobs)
    trees, tree_halves, importance = _fit_extra_trees(X, y, weight, rng, 30 if fast else _TREES, n_jobs)
    columns, without_fold = [halves, tree_halves], [halves.mean(0), tree_halves.mean(0)]
    kernel = networks = None
    if not fast:
        kernel, left_out, folded = fit_kernel_ridge(X, y, weight, importance, folds, rng)
        columns.append(np.stack([left_out, left_out]))
        without_fold.append(folded)
    if network:
        networks_at, staged = fit_regressions(X, y, weight, repeats, rng, n_jobs)
        best = _best_stage(staged, y, weight, 2 * len(repeats[0]))
        networks = networks_at(best)
        columns.append(staged[:, best])
        without_fold.append(columns[-1].mean(0))
    halves = np.stack(columns, axis=2)  # (2, N, P)
    products = _error_products(halves - y[:, None], weight, 2 * len(repeats[0]))
    blend = _least_error(products)
    out_of_fold = halves.mean(0) @ blend
    heard = float(np.average((out_of_fold - y) ** 2, weights=weight))
    shrink = math.sqrt(min(max(float(blend @ products @ blend) / heard, 0.25), 1.0)) if heard > 0 else 1.0
    feature = np.column_stack(without_fold) @ blend
    return LocationFit(Location(blend, boosting, trees, kernel, networks), out_of_fold, feature, shrink)


def _error_products(errors: FloatArray, weight: FloatArray, members: int) -> FloatArray:
    """Mean products (P, P) of the errors of ``members`` averaged, from those of two halves (2, N, P)."""
    share = weight / weight.sum()
    across = np.einsum("np,nq,n->pq", errors[0], errors[1], share)
    across = (across + across.T) / 2
    within = np.einsum("hnp,hnq,n->pq", errors, errors, share) / 2
    return across + (within - across) / members


def _best_stage(staged: Sequence[FloatArray] | FloatArray, y: FloatArray, weight: FloatArray, members: int) -> int:
    """The stage with the least error of ``members`` averaged, from what two halves say of y (N,), (2, stages, N)."""
    found = []
    for first, second in zip(*staged, strict=True):  # a stage at a time: all of them are large
        first, second = first - y, second - y
        across, within = (first * second) @ weight, ((first**2 + second**2) / 2) @ weight
        found.append(across + (within - across) / members)
    return int(np.argmin(found))


def _least_error(products: FloatArray) -> FloatArray:
    """The a >= 0 with sum 1 of the least a^T C a."""
    values, vectors = np.linalg.eigh(products)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    heavy = 1e4 * max(np.abs(root).max(), np.finfo(float).tiny)
    blend, _ = nnls(np.vstack([root, np.full(len(products), heavy)]), np.append(np.zeros(len(products)), heavy))
    return blend / blend.sum()


def _fit_boosting(
    X: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    repeats: Sequence[Sequence[Fold]],
    rng: np.random.Generator,
    fast: bool,
    n_jobs: int | None,
) -> tuple[Trees, FloatArray]:
    """A boosting a fold, of as many rounds as are best out of fold; and (2, N) what each repeat says."""
    rounds, options = (_FAST_ROUNDS, {**_BOOSTING, "learning_rate": _FAST_RATE}) if fast else (_ROUNDS, _BOOSTING)

    def fit(fold: Fold, seed: int) -> Any:
        model = HistGradientBoostingRegressor(max_iter=rounds, random_state=seed, **options)
        return model.fit(X[fold.train], y[fold.train], some_weights(weight, fold.train))

    work = [partial(fit, fold, int(rng.integers(1 << 31))) for folds in repeats for fold in folds]
    models = run_each(work, n_jobs)
    k = len(repeats[0])
    staged = [staged_out_of_fold(models[r * k : r * k + k], X, repeats[r], _EVERY) for r in range(2)]
    best = _best_stage(staged, y, weight, len(models))
    kept = (best + 1) * _EVERY
    parts = [Trees.from_boosting(model, kept).scaled(1 / len(models)) for model in models]
    return Trees.joined(parts), np.stack([each[best] for each in staged])


def _fit_extra_trees(
    X: FloatArray, y: FloatArray, weight: FloatArray, rng: np.random.Generator, n_trees: int, n_jobs: int | None
) -> tuple[Trees, FloatArray, FloatArray]:
    """Extremely randomised trees (Geurts et al. 2006) on subsamples; (2, N) what each half of them says unseen."""
    n, X32 = len(X), X.astype(np.float32)
    size = max(1, min(int(_SEEN * n), MOST_TREE_ROWS))
    samples = _balanced_samples(n, size, n_trees, rng)

    def fit(rows: Any, seed: int) -> Any:
        tree: Any = ExtraTreeRegressor(random_state=seed)
        return tree.fit(X32[rows], y[rows], some_weights(weight, rows))

    work = [partial(fit, rows, int(rng.integers(1 << 31))) for rows in samples]
    models = run_each(work, n_jobs)
    trees = Trees.from_sklearn([model.tree_ for model in models]).scaled(1 / n_trees)
    sums, times = np.zeros((2, n)), np.zeros((2, n))
    for t, leaf in enumerate(trees.leaves(_single(X)).T):
        unseen = np.ones(n, bool)
        unseen[samples[t]] = False
        sums[t % 2, unseen] += trees.values[leaf[unseen]] * n_trees
        times[t % 2, unseen] += 1
    halves = np.where(times > 0, sums / np.maximum(times, 1), np.average(y, weights=weight))
    importance = np.mean([model.feature_importances_ for model in models], axis=0)
    return trees, halves, importance / max(importance.sum(), np.finfo(float).tiny)


def _balanced_samples(n: int, size: int, n_trees: int, rng: np.random.Generator) -> list[Any]:
    """Rows that each tree sees; the others follow each other in a shuffled order, so that all are left out as often."""
    out, order, at = [], rng.permutation(n), 0
    left_out = n - size
    if left_out == 0:
        return [np.arange(n)] * n_trees
    for t in range(n_trees):
        if (t % 2 == 0 and at + left_out > n) or left_out * 2 > n:
            order, at = rng.permutation(n), 0
        kept = np.ones(n, bool)
        kept[np.take(order, np.arange(at, at + left_out), mode="wrap")] = False
        out.append(np.flatnonzero(kept))
        at = (at + left_out) % n
    return out


def _single(X: FloatArray) -> FloatArray:
    """X as trees of scikit-learn saw it: in single precision."""
    return X.astype(np.float32).astype(np.float64)


def _fit_regressor(
    X: FloatArray, y: FloatArray, weight: FloatArray, folds: Sequence[Fold], regressor: InUnits, n_jobs: int | None
) -> LocationFit:
    """The user's regressor, cloned for each fold; nothing is known of how its errors shrink."""

    def fit(fold: Fold) -> Any:
        return regressor.fit(X[fold.train], y[fold.train], some_weights(weight, fold.train))

    models = tuple(run_each([partial(fit, fold) for fold in folds], n_jobs))
    out = np.empty(len(y))
    for model, fold in zip(models, folds, strict=True):
        out[fold.test] = model.predict(X[fold.test])
    return LocationFit(Location(np.ones(1), None, None, None, regressors=models), out, out, 1.0)


# -- the scale

_SCALE_BOOSTING: dict[str, Any] = {
    "loss": "gamma",
    "learning_rate": 0.08,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "max_features": 0.7,
    "early_stopping": False,
}
_SCALE_ROUNDS, _SCALE_EVERY = 120, 10
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
        model = HistGradientBoostingRegressor(max_iter=_SCALE_ROUNDS, random_state=seed, **_SCALE_BOOSTING)
        return model.fit(X[fold.train], size[fold.train], some_weights(weight, fold.train))

    models = run_each([partial(fit, fold, int(rng.integers(1 << 31))) for fold in folds], n_jobs)
    staged = staged_out_of_fold(models, X, folds, _SCALE_EVERY)
    share = weight / weight.sum()
    deviance = [(np.log(each) + size / each) @ share for each in staged]
    best = int(np.argmin(deviance))
    if not deviance[best] < np.log(typical) + 1:
        return Scale(typical), np.full(len(X), typical)
    rounds = (best + 1) * _SCALE_EVERY
    return Scale(typical, tuple(Trees.from_boosting(model, rounds) for model in models)), staged[best]
