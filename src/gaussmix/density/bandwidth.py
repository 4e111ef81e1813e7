"""How wide to smooth, from counts alone.

Bandwidths of a Gaussian kernel estimate from counts in equal bins, as standard deviations in bins:

    improved Sheather-Jones   Botev, Grotowski, Kroese (2010), Annals of Statistics 38, section 5: the fixed point of
                              t = zeta gamma^[7](t), computed from the discrete cosine transform of the counts
    normal scale              h = 1.06 min(sd, interquartile range / 1.34) N^(-1/5)

The bandwidth of an expansion on a basis (E section 2.1: t, with sigma = t r) by held-out likelihood: each bin's count
is split at random into K parts, multinomial with probabilities 1/K: the parts are the counts of K random folds of the
data, without a second pass over it. For every fold the weights are fitted to the other folds and the mean log-density
of the fold's points is taken; the bandwidth with the best mean over folds wins. Of the density that judges a point, the
share 0.2 / (points fitted) is uniform on the basis's axis, so that a lone point far from all others costs some nats and
not infinitely many.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.fft import dct
from scipy.optimize import brentq

from gaussmix._typing import FloatArray
from gaussmix.density import rules
from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.standard_units import GUARD_POINTS

Rule = Literal["histogram", "algorithm1", "algorithm2", "kernel", "ml"]

N_FOLDS = 5
ML_TOLERANCE = 1e-5  # nats a point; differences between bandwidths are far larger
_STAGES = 7
_LARGEST_EXPONENT = 40.0  # terms below exp(-40) of the first are left out

_WEIGHTS: dict[Rule, Callable[[BinnedCounts, GaussianBasis], FloatArray]] = {
    "histogram": rules.histogram_weights,
    "algorithm1": lambda counts, basis: rules.algorithm1_weights(counts, basis)[0],
    "algorithm2": lambda counts, basis: rules.clip(rules.unclipped_algorithm2(counts, basis))[0],
    "kernel": rules.kernel_weights,
    "ml": lambda counts, basis: rules.ml_weights(counts, basis, tol=ML_TOLERANCE).weights,
}


def isj_bandwidth(counts: FloatArray) -> float | None:
    """The improved Sheather-Jones bandwidth of (m,) counts, in bins; None where its equation has no root."""
    m, n = len(counts), float(counts.sum())
    if m < 4 or n <= 0:
        return None
    cosines = np.asarray(dct(counts / n, type=2), dtype=np.float64)[1:] / 2
    square = np.arange(1, m, dtype=np.float64) ** 2
    powers = {1: square * cosines**2}
    for s in range(2, _STAGES + 1):
        powers[s] = powers[s - 1] * square

    def roughness(s: int, t: float) -> float:
        """Squared norm of the s-th derivative of the estimate with squared bandwidth t, on an axis of length 1."""
        k = min(m - 1, int(math.sqrt(_LARGEST_EXPONENT / t) / math.pi) + 8)
        return 2 * math.pi ** (2 * s) * float(powers[s][:k] @ np.exp(-(math.pi**2) * t * square[:k]))

    def excess(t: float) -> float:
        """t less what the plug-in stages make of it."""
        norm = roughness(_STAGES, t)
        for s in range(_STAGES - 1, 1, -1):
            if norm <= 0:
                return t
            odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2 * math.pi)
            stage = (2 * (1 + 0.5 ** (s + 0.5)) / 3 * odd / (n * norm)) ** (2 / (3 + 2 * s))
            norm = roughness(s, stage)
        return t - (2 * n * math.sqrt(math.pi) * norm) ** -0.4 if norm > 0 else t

    grid = np.geomspace(1e-12, 0.1, 24).tolist()
    value = excess(grid[0])
    for low, high in itertools.pairwise(grid):
        before, value = value, excess(high)
        if before < 0 <= value:
            return math.sqrt(brentq(excess, low, high, rtol=1e-6)) * m  # pyright: ignore[reportArgumentType]
    return None


def normal_scale_bandwidth(counts: FloatArray) -> float:
    """The bandwidth in bins that would be best for a normal distribution of the data's spread; (m,) counts."""
    n = float(counts.sum())
    places = np.arange(len(counts)) + 0.5
    mean = float(counts @ places) / n
    sd = math.sqrt(float(counts @ (places - mean) ** 2) / n)
    cumulative = np.cumsum(counts) / n
    quartiles = float(np.searchsorted(cumulative, 0.75) - np.searchsorted(cumulative, 0.25)) / 1.34
    return 1.06 * (min(sd, quartiles) if quartiles > 0 else sd) * n**-0.2


def choose_bandwidth(
    counts: BinnedCounts, basis: GaussianBasis, rule: Rule, *, rng: np.random.Generator | int = 0
) -> tuple[float, FloatArray, FloatArray]:
    """The bandwidth t of ``basis`` (sigma = t r) that predicts held-out points best under ``rule``.

    After it those that were tried, (T,): 1/2 to 32 in steps of sqrt(2), at most n/4; and the mean log-densities of
    held-out points, (T,), in nats a point per unit of the basis's axis. The counts lie on ``basis.axis()``; points
    outside the axis have no say. ``rng`` is a generator or a seed for the split.

    Raises ValueError for counts on another axis, and too few points to split.
    """
    grid = 2 ** np.arange(-1, 5.5, 0.5)
    grid = grid[grid <= max(1.0, basis.n_components / 4)]
    mass, number = rules.bin_masses(counts, basis), counts.counts
    used = np.flatnonzero(number)
    parts = np.random.default_rng(rng).multinomial(number, np.full(N_FOLDS, 1 / N_FOLDS))[used].T
    centers, per_point = counts.axis.centers[used], mass[used] / number[used]  # importance weights go with the points
    folds: list[tuple[BinnedCounts, float, FloatArray]] = []
    for held in parts:
        fitted = number[used] - held
        if held.any() and fitted.any():
            others = BinnedCounts(counts.axis).add(centers, sample_weight=fitted * per_point)
            folds.append((others, GUARD_POINTS / (GUARD_POINTS + int(fitted.sum())), held * per_point))
    if not folds:
        raise ValueError(f"{counts.n} points cannot be split into {N_FOLDS} folds; give the bandwidth as a number")
    held_out = np.zeros(grid.size)
    for i, t in enumerate(grid):
        tried = dataclasses.replace(basis, bandwidth=float(t))
        rows = rules.density_rows(tried, SUB_BINS)[used]
        for others, guard, held in folds:
            density = (1 - guard) * (rows @ _WEIGHTS[rule](others, tried)) + guard / basis.n_components
            held_out[i] += float(held @ np.log(density / basis.spacing) / held.sum()) / len(folds)
    return float(grid[np.argmax(held_out)]), grid, held_out
