"""From rows of features and standardised y to the parts of a conditional density, and what they say out of fold.

    y = m(x) + s(x) u,    u ~ b_1 GMM + b_2 GMM(boosting(x)) + b_3 GMM(forest(x)),    or
    y ~ b_4 GMM(forest(x)) + b_5 GMM(network(x)),

all on fixed bases whose weights alone depend on x; b by stacking, with a wide guard. What the pool is too wide is taken
back (`gaussmix.conditional.stacking`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import rankdata

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.bases import TINY, Basis, mixture_likelihoods
from gaussmix.conditional.boosting import BoostedWeights, fit_boosted_weights
from gaussmix.conditional.distribution import ConditionalMixture
from gaussmix.conditional.folds import Fold, make_folds
from gaussmix.conditional.forest import CountForest, Expanded, ForestExpansion, expand
from gaussmix.conditional.location import Location, Scale, fit_location, fit_scale
from gaussmix.conditional.network import NetworkWeights, feature_importance, fit_network_weights
from gaussmix.conditional.stacking import choose_sharpness, sharpen, stack_parts
from gaussmix.density.binning import choose_axis, take_sample
from gaussmix.density.estimator import GMMExpansion

PARTS = ("residuals", "boosting", "residual forest", "value forest", "network", "guard")
STAGES = ("location", "scale", "residuals", "boosted weights", "residual forest", "value forest", "network")
JUDGED = 2_000  # rows on which a report is made
GUARD_WIDTH = 2.0  # standard deviations of y
_GRID, _REACH = 41, 4.0  # Gaussians that are added to the residuals' own, over so many standard deviations
_GRID_SHARE = 0.2
_MOST_GAUSSIANS = 32  # of the residuals' own: more tell nothing that rows would notice
_LEAST_PRIOR = 1e-6
_LEAST_SPREAD = 0.1  # of the lattice's step: what stands for a single value
_COSINES = 5


@dataclass(frozen=True)
class Parts:
    """What was learnt, in units of y's standard deviation around its mean."""

    location: Location
    scale: Scale
    residuals: tuple[FloatArray, FloatArray, FloatArray]  # weights, means, standard deviations of u, (K,)
    basis: tuple[FloatArray, FloatArray] | None  # means and standard deviations of the boosted weights' basis, (B,)
    boosting: BoostedWeights | None
    residual_forest: ForestExpansion | None
    value_forest: ForestExpansion | None
    shares: FloatArray  # (6,), as `PARTS`
    sharpness: float = 1.0  # what takes back that a pool is wider than its parts
    network: NetworkWeights | None = None  # on the basis of the value forest

    def predict(self, X: FloatArray) -> ConditionalMixture:
        """Rows of mixtures, in standard units."""
        loc = self.location.predict(X)
        Xa = np.column_stack([X, loc])
        said = {}
        if self.boosting is not None:
            said["boosting"] = self.boosting.weights(Xa)
        if self.residual_forest is not None:
            said["residual forest"] = self.residual_forest.weights(Xa)
        if self.value_forest is not None:
            said["value forest"] = self.value_forest.weights(Xa)
        if self.network is not None:
            said["network"] = self.network.weights(X)
        return self.rows(loc, self.scale.predict(Xa), said)

    def rows(self, loc: FloatArray, scale: FloatArray, said: dict[str, Any]) -> ConditionalMixture:
        """Mixtures of what the parts that have weights (N, K) of their own say."""
        n = len(loc)
        share = dict(zip(PARTS, self.shares, strict=True))
        weights, means, stds = self.residuals
        columns = [np.broadcast_to((share["residuals"] * weights).astype(np.float32), (n, len(weights)))]
        moved_means, moved_stds = [means], [stds]
        if self.boosting is not None and self.basis is not None:
            columns.append(share["boosting"] * said["boosting"])
            moved_means.append(self.basis[0])
            moved_stds.append(self.basis[1])
        if self.residual_forest is not None:
            columns.append(share["residual forest"] * said["residual forest"])
            moved_means.append(self.residual_forest.means)
            moved_stds.append(self.residual_forest.stds)
        fixed = [np.full((n, 1), share["guard"], np.float32)]
        fixed_means, fixed_stds = [np.zeros(1)], [np.full(1, GUARD_WIDTH)]
        values = self.value_forest or self.network
        if values is not None:
            fixed.append(
                np.add.reduce([share[each] * said[each] for each in ("value forest", "network") if each in said])
            )
            fixed_means.append(values.means)
            fixed_stds.append(values.stds)
        moved = Basis(np.hstack(columns), np.concatenate(moved_means), np.concatenate(moved_stds))
        still = Basis(np.hstack(fixed), np.concatenate(fixed_means), np.concatenate(fixed_stds))
        return sharpen(ConditionalMixture(moved, still, loc, scale), self.sharpness)


@dataclass(frozen=True)
class Learnt:
    """Parts, and what they said of rows (R,) that they did not learn from."""

    parts: Parts
    rows: IntArray
    distribution: ConditionalMixture  # of these rows, errors as wide as they are out of fold
    gap: float
    shrink: float


def learn(
    X: FloatArray,
    y: FloatArray,
    weight: FloatArray,
    half: float,
    rule: str,
    regressor: Any,
    rng: np.random.Generator,
    n_jobs: int | None,
    tell: Callable[[str], None] = lambda what: None,
) -> Learnt:
    """Learn from standardised y (N,) at X (N, D); numbers were rounded to cells of +-``half``, 0 if they were not."""
    n = len(y)
    fast, network = rule == "fast", rule == "network"
    folds = make_folds(n, rng)
    tell("location")
    found = fit_location(X, y, weight, folds, rng, fast=fast, network=network, regressor=regressor, n_jobs=n_jobs)
    error, m = found.shrink * (y - found.out_of_fold), found.out_of_fold
    Xa = np.column_stack([X, found.feature])
    tell("scale")
    typical = max(float(np.average(np.abs(error), weights=weight)), half / 4, 1e-9)
    if np.abs(error).max() <= max(1e-9, half / 4):
        scale, s = Scale(typical), np.full(n, typical)
    else:
        scale, s = fit_scale(Xa, error, weight, folds, rng, n_jobs)
    scale = replace(scale, least=max(half / 8, 1e-9))
    s = np.maximum(s, scale.least)
    u = error / s
    half_u = half / s if half > 0 else None
    half_y = np.full(n, half) if half > 0 else None
    tell("residuals")
    residuals = expand_residuals(u, half_u, weight, rng)
    p: dict[str, FloatArray] = {"residuals": mixture_likelihoods(u, half_u, *residuals) / s}
    boosted = basis = networks = None
    if not fast:
        tell("boosted weights")
        prior, *gaussians = _boosting_basis(residuals, u, weight)
        basis = (gaussians[0], gaussians[1])
        boosted, likelihood = fit_boosted_weights(Xa, u, half_u, weight, (prior, *basis), folds, rng, n_jobs)
        p["boosting"] = likelihood / s
    rows = np.arange(n) if n <= JUDGED else np.sort(rng.choice(n, JUDGED, replace=False))
    grow = partial(_grow, Xa, rows=rows, weight=weight, rng=rng, n_trees=40 if fast else 100, n_jobs=n_jobs)
    tell("residual forest")
    rank = (rankdata(u) - 0.5) / n - 0.5
    root = np.sign(error) * np.sqrt(np.abs(error) / typical)
    residual_forest, likelihood = grow(u, half_u, np.column_stack([rank, 2 * np.abs(rank), root]), 0.0)
    p["residual forest"] = likelihood / s
    tell("value forest")
    rank = (rankdata(y) - 0.5) / n
    cosines = np.column_stack([np.cos(np.pi * j * rank) / math.sqrt(j) for j in range(1, _COSINES + 1)])
    value_forest, p["value forest"] = grow(y, half_y, cosines, 2 * half * _LEAST_SPREAD)
    if network:
        tell("network")
        gaussians = value_forest.expansion.means, value_forest.expansion.stds
        importance = feature_importance(X, cosines, weight, rng)
        networks, p["network"] = fit_network_weights(X, y, half_y, weight, gaussians, importance, folds, rng, n_jobs)
    p["guard"] = mixture_likelihoods(y, half_y, np.ones(1), np.zeros(1), np.full(1, GUARD_WIDTH))
    shares, gap = stack_parts(p, PARTS, weight)
    b: dict[str, float] = dict(zip(PARTS, shares.tolist(), strict=True))
    said: dict[str, Any] = {}
    if boosted is not None and b["boosting"] > 0:
        said["boosting"] = _unseen_weights(boosted, Xa, rows, folds)
    else:
        boosted = basis = None
    if networks is not None and b["network"] > 0:
        said["network"] = _unseen_weights(networks, X, rows, folds)
    else:
        networks = None
    for name, forest in (("residual forest", residual_forest), ("value forest", value_forest)):
        if b[name] > 0:
            said[name] = forest.left_out
    kept = [
        forest.expansion if name in said else None
        for name, forest in (("residual forest", residual_forest), ("value forest", value_forest))
    ]
    parts = Parts(found.location, scale, residuals, basis, boosted, kept[0], kept[1], shares, network=networks)
    pool = parts.rows(m[rows], s[rows] / found.shrink, said)
    sharpness = choose_sharpness(pool, y[rows], half, weight[rows])
    return Learnt(replace(parts, sharpness=sharpness), rows, sharpen(pool, sharpness), gap, found.shrink)


def expand_residuals(
    u: FloatArray, half: FloatArray | None, weight: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and standard deviations (K,) of the density of standardised errors; rounding is smoothed."""
    if half is not None:
        u = u + half * rng.uniform(-1, 1, len(u))
    if np.ptp(u) <= 1e-9 * np.abs(u).max(initial=TINY):
        return np.ones(1), np.array([float(u[0])]), np.ones(1)
    even = bool(np.all(weight == weight[0]))
    law = GMMExpansion(discrete=False).fit(u, sample_weight=None if even else weight).distribution_
    if len(law.weights) > _MOST_GAUSSIANS:
        law = law.simplify(_MOST_GAUSSIANS).mixture
    weights, means, stds = law.weights, law.means, law.stds
    mass, loc, scale = law.tail
    if mass > 0:
        weights = np.append((1 - mass) * weights, mass)
        means, stds = np.append(means, loc), np.append(stds, 3 * scale)
    positions, masses = law.atoms
    if len(positions):
        narrow = np.full(len(positions), 1e-3 * max(float(np.std(u)), TINY))
        weights = np.append(weights * max(1 - masses.sum(), 0.0), masses)
        means, stds = np.append(means, positions), np.append(stds, narrow)
    return weights / weights.sum(), means, stds


def _boosting_basis(
    residuals: tuple[FloatArray, FloatArray, FloatArray], u: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Priors, means and standard deviations: the residuals' own Gaussians, and evenly spaced ones between them."""
    weights, means, stds = residuals
    center = float(np.average(u, weights=weight))
    spread = max(float(np.sqrt(np.average((u - center) ** 2, weights=weight))), TINY)
    grid = center + np.linspace(-_REACH, _REACH, _GRID) * spread
    step = grid[1] - grid[0]
    prior = mixture_likelihoods(grid, None, weights, means, np.sqrt(stds**2 + step**2))
    prior = prior / prior.sum()
    priors = np.append((1 - _GRID_SHARE) * weights, _GRID_SHARE * prior)
    priors = np.maximum(priors, _LEAST_PRIOR)
    return priors / priors.sum(), np.append(means, grid), np.append(stds, np.full(_GRID, step))


def _grow(
    X: FloatArray,
    v: FloatArray,
    half: FloatArray | None,
    targets: FloatArray,
    least: float,
    *,
    rows: IntArray,
    weight: FloatArray,
    rng: np.random.Generator,
    n_trees: int,
    n_jobs: int | None,
) -> tuple[Expanded, FloatArray]:
    """A forest of counts of v (N,), split by ``targets``, what it says of ``rows``, and the likelihood out of bag."""
    axis, _, _ = choose_axis(take_sample(v), float(v.min()), float(v.max()))
    forest, seen = CountForest.grow(X, targets, axis, rng, n_trees=n_trees, weight=weight, n_jobs=n_jobs)
    expanded = expand(forest, seen, X, v, half, weight, rng, rows, least=least)
    return expanded, expanded.likelihood


def _unseen_weights(
    learned: BoostedWeights | NetworkWeights, X: FloatArray, rows: IntArray, folds: Sequence[Fold]
) -> FloatArray:
    """Weights (R, K) by the member that did not learn from a row."""
    out = np.empty((len(rows), len(learned.log_prior)))
    for k, fold in enumerate(folds):
        mine = np.isin(rows, fold.test)
        out[mine] = learned.member(k).weights(X[rows[mine]])
    return out
