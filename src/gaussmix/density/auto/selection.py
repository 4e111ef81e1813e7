"""From one Gaussian to as many as pay: components selected from the dictionary by score tests.

A step: the atoms with the largest scores z above the present threshold, up to `AT_ONCE` that do not overlap, join the
mixture; certified maximum likelihood of all weights; components left without weight go; a few scoring steps on weights,
means and deviations. When no score reaches the threshold it is lowered, down to the last one.

The mixture with the best  log-likelihood - 1.25 log(N) K  of all steps is polished, and components are taken out again
while that pays. So the expansion is where components come from; they then move.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.auto.dictionary import Dictionary
from gaussmix.density.auto.scoring import Likelihood, Mixture, refine
from gaussmix.density.interior_point import maximum_likelihood_weights

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
    """The components that hold at least half a point of n."""
    return mixture.select(mixture.weights > max(1e-6, 0.5 / n))


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
