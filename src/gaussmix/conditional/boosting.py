"""Boosted weights of a fixed basis: y ~ GMM(f(x)) by gradient boosting, each round an EM step.

With basis densities N_k, logits F_k(x), weights pi_k = softmax(F)_k and responsibilities r_ik = pi_ik N_k(v_i) / p_i,
the gradient of the mixture's log-likelihood sum_i w_i log p_i in the logits is r - pi. A round grows one tree on a few
smooth contrasts of it, and each leaf adds to all logits the step of EM that its rows share:

    F_k += rate log((sum_i w_i r_ik + a p_k) / (sum_i w_i pi_ik + a p_k)),    p the prior, a = 2 rows of it.

E section 1 aims at y ~ GMM(f(x)) and fixes the basis so that only weights are to be learnt; this learns them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional.bases import TINY, likelihoods
from gaussmix.conditional.folds import Fold, run_each
from gaussmix.conditional.trees import Trees

_ROUNDS, _PATIENCE, _LEAST_GAIN = 200, 20, 2e-4  # rounds, and nats that so many must gain
_RATE, _PRIOR = 0.2, 2.0
_LEAVES, _LEAF, _FEATURES = 6, 20, 0.7
_CONTRASTS = 6
_MOST_ROWS = 20_000  # that a member learns from
_ROWS = 1 << 13

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class BoostedWeights:
    """Log-priors (K,), and the trees of each fold's member, whose leaves hold steps of the logits (nodes, K)."""

    log_prior: FloatArray
    members: tuple[Trees, ...]

    def weights(self, X: FloatArray) -> Float32:
        """Rows (N, K) for X (N, D), the mean of the members'."""
        out = np.zeros((len(X), len(self.log_prior)), np.float32)
        X = X.astype(np.float32).astype(np.float64)
        for trees in self.members:
            for start in range(0, len(X), _ROWS):
                some = slice(start, start + _ROWS)
                logits = self.log_prior + (trees.sums(X[some]) if len(trees) else 0.0)
                out[some] += _softmax(np.broadcast_to(logits, out[some].shape)).astype(np.float32)
        out /= np.float32(len(self.members))
        return out

    def member(self, k: int) -> BoostedWeights:
        """The k-th alone."""
        return BoostedWeights(self.log_prior, self.members[k : k + 1])


def _softmax(logits: FloatArray) -> FloatArray:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@dataclass
class _Member:
    """What one fold learnt: trees, their steps, and the likelihood (n,) of its unseen rows after 0, 1, ... of them."""

    trees: list[object]
    steps: list[Float32]
    unseen: list[FloatArray]


def fit_boosted_weights(
    X: FloatArray,
    v: FloatArray,
    half: FloatArray | None,
    weight: FloatArray,
    basis: tuple[FloatArray, FloatArray, FloatArray],
    folds: Sequence[Fold],
    rng: np.random.Generator,
    n_jobs: int | None = None,
) -> tuple[BoostedWeights, FloatArray]:
    """Weights of a basis (priors, means, standard deviations, each (K,)); and the likelihood (N,) of v out of fold.

    Members, one a fold, have as many rounds as are best for the rows that they did not see, taken together.
    """
    prior, means, stds = basis
    N = likelihoods(v, half, means, stds)
    scale = np.maximum(N.max(1), TINY)
    N = (N / scale[:, None]).astype(np.float32)
    weight = weight / weight.mean()
    X32 = X.astype(np.float32)
    work = [
        partial(_boost, X32, N, weight, prior, fold, np.random.default_rng(rng.integers(1 << 31))) for fold in folds
    ]
    members = run_each(work, n_jobs)
    rounds = max(len(member.unseen) for member in members)
    curve = np.zeros(rounds)
    for member, fold in zip(members, folds, strict=True):
        own = [float(np.log(p + TINY) @ weight[fold.test]) for p in member.unseen]
        curve += own + [own[-1]] * (rounds - len(own))
    best = int(np.argmax(curve))
    p = np.empty(len(v))
    parts = []
    for member, fold in zip(members, folds, strict=True):
        kept = min(best, len(member.trees))
        p[fold.test] = member.unseen[kept]
        parts.append(_trees(member, kept, len(prior)))
    return BoostedWeights(np.log(prior), tuple(parts)), p * scale


def _trees(member: _Member, kept: int, n: int) -> Trees:
    if kept == 0:  # a single leaf that changes nothing
        nothing = np.full(1, -1, np.int32)
        zero = np.zeros(1)
        return Trees(
            zero.astype(np.int32), zero, nothing, nothing, zero.astype(bool), zero.astype(np.int64), np.zeros((1, n))
        )
    return Trees.from_sklearn(member.trees[:kept], [step.astype(np.float64) for step in member.steps[:kept]])


def _boost(
    X: Float32, N: Float32, weight: FloatArray, prior: FloatArray, fold: Fold, rng: np.random.Generator
) -> _Member:
    """One member: rounds until the unseen rows have gained nothing for a while."""
    train: IntArray = fold.train
    if len(train) > _MOST_ROWS:
        train = np.sort(rng.choice(train, _MOST_ROWS, replace=False))
    middles = np.cumsum(prior) - prior / 2
    contrasts = np.cos(np.pi * np.outer(middles, np.arange(1, _CONTRASTS + 1))).astype(np.float32)
    here, there, N_here, N_there, w = X[train], X[fold.test], N[train], N[fold.test], weight[train].astype(np.float32)
    pi = np.tile(prior.astype(np.float32), (len(train), 1))
    unseen = np.tile(prior.astype(np.float32), (len(fold.test), 1))
    member = _Member([], [], [np.einsum("nk,nk->n", unseen, N_there).astype(np.float64)])
    w_there = weight[fold.test]
    curve = [float(np.average(np.log(member.unseen[0] + TINY), weights=w_there))]
    for _ in range(_ROUNDS):
        r = pi * N_here
        r /= np.maximum(r.sum(1, keepdims=True), np.float32(1e-30))
        tree = DecisionTreeRegressor(
            max_leaf_nodes=_LEAVES,
            min_samples_leaf=_LEAF,
            max_features=_FEATURES,
            random_state=int(rng.integers(1 << 31)),
        ).fit(here, (r - pi) @ contrasts, w)
        leaf, n_nodes = tree.apply(here), tree.tree_.node_count
        member_of = np.zeros((n_nodes, len(train)), np.float32)
        member_of[leaf, np.arange(len(train))] = w
        p = (_PRIOR * prior).astype(np.float32)
        step = np.float32(_RATE) * np.log((member_of @ r + p) / (member_of @ pi + p))
        for weights, rows in ((pi, leaf), (unseen, tree.apply(there))):
            weights *= np.exp(step)[rows]
            weights /= weights.sum(1, keepdims=True)
        member.trees.append(tree.tree_)
        member.steps.append(step)
        member.unseen.append(np.einsum("nk,nk->n", unseen, N_there).astype(np.float64))
        curve.append(float(np.average(np.log(member.unseen[-1] + TINY), weights=w_there)))
        if len(curve) > _PATIENCE and max(curve[-_PATIENCE:]) < max(curve[:-_PATIENCE]) + _LEAST_GAIN:
            break
    return member
