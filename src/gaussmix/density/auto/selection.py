"""From one Gaussian to as many as pay: components selected by score tests from a dictionary of many scales.

Cells are runs of bins, about `MAX_CELLS`: the edges of half of them are quantiles of the counts, of the other half
equally spaced, so that both narrow peaks and long tails are resolved. The cells at either end are split further, in
steps of sqrt(2) in the number of points outside, down to `SUPPORT` points: ends are where densities vary most.

The dictionary is a GMM expansion at every scale: standard deviations R/4, R/8, R/16, ..., R the range; at each scale
means on a lattice spaced by one standard deviation; kept are atoms with at least `SUPPORT` points within one standard
deviation, where the cells are narrow enough to see them. Atom k has probabilities A_kj in the cells j.

How much weight would help is the score of its weight at zero. With p_j the fitted probabilities, u_j = c_j / (N p_j):

    gradient g_k = sum_j A_kj u_j - 1,    curvature v_k = sum_j A_kj^2 u_j / p_j - 1,    z_k = g_k sqrt(N / v_k).

A step: the atoms with the largest scores z above the present threshold, up to `AT_ONCE` that do not overlap, join the
mixture; certified maximum likelihood of all weights; components left without weight go; a few scoring steps on weights,
means and deviations. When no score reaches the threshold it is lowered, down to the last one.

The mixture with the best  log-likelihood - 1.25 log(N) K  of all steps is polished, and components are taken out again
while that pays. So the expansion is where components come from; they then move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.scoring import Interval, Likelihood, Mixture, refine, sparse_probabilities
from gaussmix.density.interior_point import maximum_likelihood_weights
from gaussmix.density.standard_units import quantile_places

MAX_CELLS = 400
SUPPORT = 7.5  # not a whole number: counts with importance weights are whole but for rounding
_COARSEST = 4.0  # standard deviations in the range
_WIDEST_CELL = 1.5  # in standard deviations of an atom
_COARSE_LEVELS = 4  # kept in any case, before a level without atoms ends the search
_MAX_LEVELS = 200
_LEAST = 1e-150  # of a cell's probability, by whose square is divided


def cell_boundaries(counts: FloatArray, n_cells: int = MAX_CELLS) -> IntArray:
    """Numbers of the bins at which cells start, ascending, and m at the end; (m,) counts of bins."""
    m = len(counts)
    if m <= n_cells:
        return np.arange(m + 1)
    n = counts.sum()
    even = np.linspace(0, n, n_cells // 2 + 1)[1:-1]
    tail = even[0] * 2.0 ** -np.arange(0.5, max(math.log2(even[0] / SUPPORT), 0), 0.5)
    targets = np.concatenate([tail[::-1], even, n - tail])
    place = np.concatenate([quantile_places(counts, targets), np.linspace(0, m, n_cells // 2 + 1)])
    return np.unique(_nearest(place)).astype(np.int64)


def _nearest(place: FloatArray) -> FloatArray:
    """The nearest integers, both of them half way between two: so mirrored places give mirrored integers."""
    return np.concatenate([np.ceil(place - 0.5), np.floor(place + 0.5)])


@dataclass(frozen=True)
class Dictionary:
    """K atoms, their probabilities in m cells and the squares of these."""

    means: FloatArray
    stds: FloatArray
    probabilities: csr_array  # (K, m)
    squares: csr_array

    def scores(self, counts: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient g and curvature v of every atom, (K,), for counts and fitted probabilities of the cells, (m,)."""
        p = np.maximum(p, _LEAST)
        u = counts / (counts.sum() * p)
        return self.probabilities @ u - 1, self.squares @ (u / p) - 1


def build_dictionary(edges: FloatArray, counts: FloatArray, bounds: Interval) -> Dictionary:
    """The atoms for cells with finite edges (m + 1,) and counts (m,)."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    width = np.diff(edges)
    seen = counts > 0
    middles, widths = ((edges[1:] + edges[:-1]) / 2)[seen], width[seen]
    length = edges[-1] - edges[0]
    means, stds = [], []
    std = length / _COARSEST
    for level in range(_MAX_LEVELS):
        resolved = widths <= _WIDEST_CELL * std
        if level < 2:  # coarse: the whole lattice and one atom beyond either end
            place = np.arange(-1.0, round(length / std) + 2)
        else:
            place = np.unique(_nearest((middles[resolved] - edges[0]) / std))
        m = edges[0] + place * std
        near = np.interp(m + std, edges, cumulative) - np.interp(m - std, edges, cumulative)
        m = m[near >= SUPPORT]
        if level >= _COARSE_LEVELS and len(m) == 0:
            break
        means.append(m)
        stds.append(np.full(len(m), std))
        std /= 2
    means, stds = np.concatenate(means), np.concatenate(stds)
    probabilities = sparse_probabilities(edges, means, stds, bounds)
    return Dictionary(means, stds, probabilities, probabilities.power(2))


PENALTY = 1.25  # of log N, in nats a component
THRESHOLDS = (6.0, 4.5, 3.5, 3.0, 2.6)
AT_ONCE = 3
MOST = 20
_APART = 1.5  # sums of standard deviations between atoms that join together
_MOST_STEPS = 40
_WEIGHT_TOL = 1e-4  # certified gap of the weights, in nats a point


Candidate = tuple[Mixture, float]  # a mixture and its log-likelihood


def select_components(likelihood: Likelihood, dictionary: Dictionary) -> Mixture:
    """The best mixture met, polished and pruned; its weights sum to 1. The dictionary is of the inner cells."""
    penalty = PENALTY * math.log(likelihood.n)
    candidates = _starts(likelihood, dictionary)
    mixture, _ = _best(candidates, penalty)
    inner = likelihood.inner
    threshold = 0
    for _ in range(_MOST_STEPS):
        p = mixture.weights @ likelihood.probabilities(mixture) + likelihood.background
        gradient, curvature = dictionary.scores(likelihood.counts[inner], p[inner])
        z = np.where(gradient > 0, gradient * np.sqrt(likelihood.n / np.maximum(curvature, 1e-9)), -1.0)
        while threshold < len(THRESHOLDS) and z.max() < THRESHOLDS[threshold]:
            threshold += 1
        if threshold == len(THRESHOLDS):
            break
        new = _pick(dictionary, z, THRESHOLDS[threshold])
        if len(mixture) + len(new) > MOST:
            break
        weight = np.clip(gradient[new] / np.maximum(curvature[new], 1e-9), 1e-4, 0.2)
        atoms = Mixture(weight, dictionary.means[new], dictionary.stds[new], 0.3 * dictionary.stds[new])
        mixture = _reweigh(likelihood, mixture.joined(atoms))
        mixture, value = refine(likelihood, mixture, steps=3)
        mixture = _without_empty(mixture, likelihood.n)
        candidates.append((mixture, value))
    best, _ = _best(candidates, penalty)
    best, _ = _prune(likelihood, refine(likelihood, best, steps=10, tol=0.003), penalty)
    return replace(best, weights=best.weights / best.weights.sum())


def _best(candidates: list[Candidate], penalty: float) -> Candidate:
    """The first of those with the largest log-likelihood less ``penalty`` a component."""
    return max(candidates, key=lambda candidate: candidate[1] - penalty * len(candidate[0]))


def _without_empty(mixture: Mixture, n: float) -> Mixture:
    """The components that hold at least half a point of n, or the heaviest, where far points have emptied all."""
    return mixture.select(mixture.weights > min(max(1e-6, 0.5 / n), float(mixture.weights.max()) / 2))


def _starts(likelihood: Likelihood, dictionary: Dictionary) -> list[Candidate]:
    """One Gaussian with the data's moments, and that together with the coarsest atoms, both refined."""
    edges = likelihood.edges[np.isfinite(likelihood.edges)]
    share = likelihood.counts[likelihood.inner] / likelihood.n
    middles = (edges[1:] + edges[:-1]) / 2
    mean = float(share @ middles)
    away = middles - mean
    most = float(np.abs(away).max()) or 1.0  # whose square may overflow
    std = max(most * math.sqrt(float(share @ (away / most) ** 2)), float(np.diff(edges).min()))
    one = Mixture(*(np.array([value]) for value in (1.0, mean, std, 0.05 * std)))
    starts = [refine(likelihood, one, steps=10)]
    coarse = dictionary.stds == dictionary.stds.max()
    means, stds = dictionary.means[coarse], dictionary.stds[coarse]
    several = _reweigh(likelihood, one.joined(Mixture(np.full(len(means), 0.1), means, stds, 0.05 * stds)))
    several = several.select(several.weights > 1e-3)
    if len(several) > 1:
        several, value = refine(likelihood, several, steps=10)
        starts.append((_without_empty(several, likelihood.n), value))
    return starts


def _pick(dictionary: Dictionary, z: FloatArray, threshold: float) -> list[int]:
    """Atoms in falling order of z, not below the threshold, none near one picked before."""
    left = z.copy()
    new: list[int] = []
    while len(new) < AT_ONCE:
        k = int(np.argmax(left))
        if left[k] < threshold:
            break
        new.append(k)
        left[np.abs(dictionary.means - dictionary.means[k]) < _APART * (dictionary.stds + dictionary.stds[k])] = -1.0
    return new


def _reweigh(likelihood: Likelihood, mixture: Mixture) -> Mixture:
    """The mixture with the best weights for its components as they are; those without weight are dropped."""
    seen = likelihood.counts > 0
    A, background = likelihood.probabilities(mixture)[:, seen].T, likelihood.background[seen]
    best = maximum_likelihood_weights(A, likelihood.counts[seen], background, tol=_WEIGHT_TOL, start=mixture.weights)
    return replace(mixture, weights=best.weights).select(best.weights > 1e-6)


def _prune(likelihood: Likelihood, best: Candidate, penalty: float) -> Candidate:
    """Takes out one of the two lightest components, as long as the criterion does not fall."""
    for _ in range(2):
        mixture = best[0]
        if len(mixture) < 2:
            break
        for k in np.argsort(mixture.weights)[:2]:
            rest = mixture.select(np.arange(len(mixture)) != k)
            rest = replace(rest, weights=rest.weights / rest.weights.sum())
            shorter = refine(likelihood, rest, steps=8, tol=0.05)
            if _best([best, shorter], penalty) is shorter:
                best = shorter
                break
        else:
            break
    return best
