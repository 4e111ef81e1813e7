"""The automatic rules: a density from counts alone, without a number to choose.

"fast" is the plain GMM expansion (`fast`): one Gaussian a cell, its width from the improved Sheather-Jones rule. It is
also what "auto" takes for fewer than `FEWEST` points. "auto" goes on, from counts in standard units without their point
masses (`standard_units`):

1. `find_edges`  a density that ends in a jump is found on either side; all Gaussians are reflected there.
2. `dictionary`  at most 400 cells of bins; a GMM expansion at every scale, down to where 8 points support an atom.
3. `selection`   atoms join by score tests; weights by certified maximum likelihood; Fisher scoring (`scoring`) moves
                 the few active ones (at most 20); their number by penalised likelihood.
4. `averaging`   the fit's components split into pieces of 1/2, 1/4, 1/8 of their width, and one EM step of the weights:
                 three fits with ever more detail. These, the fit itself and "fast" are mixed in the shares that predict
                 best, by leave-one-out likelihood.

In all likelihoods a Student t with 3 degrees of freedom around the median carries as much as .2 points: far points
then do not force components on the fit.

Near an end, let the share of points within a distance t of it grow as t^rho: rho = 1 where the density jumps to a
finite height, rho < 1 at a pole, rho = 2 where it starts as a ramp, and larger in tails. Of the M points nearest to the
end, with distances t_i and t_M the largest of them, the maximum likelihood estimate is (Hill 1975, turned around)

    1 / rho = mean_i log(t_M / t_i)        with relative standard error 1 / sqrt(M).

The true end lies beyond the extreme point, by about t_M M^(-1/rho); rho is estimated twice, the second time with
distances from there. An edge is reported, at that place, where rho < sqrt(2), half way between a jump and a ramp.

What was tried and left out: stacking the parametric fit and "fast" only (L1 error +5 % at 5 000 points, +10 % from 1e5
on, 1.6 times the best kernel estimate at a triangle); two EM steps, or pieces of 1/16 (noisier up to 5 000 points); 800
cells (1 % better, 1.6 times the time); up to 30 components (no better); maximum likelihood over all scales at once
(overfits); averages over resampled fits.

The matrices are small, so that BLAS is held to one thread: several would mostly wait for each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from scipy.special import stdtr
from threadpoolctl import ThreadpoolController

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto import averaging, fast, modes
from gaussmix.density.auto.scoring import Interval, Likelihood, Mixture
from gaussmix.density.auto.selection import MAX_CELLS, build_dictionary, cell_boundaries, select_components
from gaussmix.density.reflection import reflect
from gaussmix.density.standard_units import GUARD_POINTS, Bounds, StandardCounts

FEWEST = 30.0
ALPHAS = (0.5, 0.25, 0.125)
PIECES = 0.25  # of the components' width, where a mode has to go
_FEWEST_BINS = 4  # also those that the M points must cover for distances to mean something
_blas = cache(ThreadpoolController)
_THRESHOLD = math.sqrt(2)  # of rho
_FEWEST_FOR_EDGES = 50  # points in all
_EXPONENT = 0.7  # M = N^0.7: grows, but its share of the points shrinks
_NEGLIGIBLE = 1e-4  # points: components that hold less are left out of the result


@dataclass(frozen=True)
class AutomaticFit:
    """Components (n,) in data units, ``stds`` standard deviations, weights with sum 1; and how they were found.

    ``details`` are the ``bandwidth`` of "fast", a length on the axis of the counts, its ``expansion_share`` in the
    result, the ``sharpened_share`` of the fits after an EM step, and ``n_active``, how many components the fit by
    likelihood had before it was split, 0 where there is none.
    """

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    details: dict[str, Any]


def fit_fast(data: StandardCounts, bounds: Bounds, smoothness: modes.Smoothness = "auto") -> AutomaticFit:
    """Fit the rule "fast", reflected at bounds (low, high) in data units, None for an open side.

    Raises ValueError for data outside the bounds.
    """
    data = _within(data, bounds)
    threshold = modes.nats_per_mode(smoothness, data.n) * (2 if isinstance(smoothness, str) else 1)
    found = fast.expand_counts(data, data.interval(bounds), threshold)
    details = {"bandwidth": found.bandwidth, "expansion_share": 1.0, "sharpened_share": 0.0, "n_active": 0}
    return AutomaticFit(found.weights, *_in_data_units(data, bounds, found.means, found.stds), details)


def fit_automatic(data: StandardCounts, bounds: Bounds, smoothness: modes.Smoothness = "auto") -> AutomaticFit:
    """Fit the rule "auto", as `fit_fast` does."""
    n_cells = len(data.counts) if data.allowed is None else len(data.allowed) - 1
    if data.n < FEWEST or n_cells < _FEWEST_BINS or data.many_decades:  # twenty Gaussians cannot follow decades
        return fit_fast(data, bounds, smoothness)
    data = _within(data, bounds)
    expansion = fast.expand_counts(data, data.interval(bounds))
    with _blas().limit(limits=1, user_api="blas"):
        likelihood, cell = make_cells(data, data.interval(bounds))
        finite = likelihood.edges[np.isfinite(likelihood.edges)]
        dictionary = build_dictionary(finite, likelihood.counts[likelihood.inner], likelihood.bounds)
        mixture = select_components(likelihood, dictionary)
        found = averaging.influence(likelihood, mixture)
        fits = [averaging.predict(mixture, found)]
        fits += [averaging.sharpen(likelihood, mixture, found, alpha) for alpha in ALPHAS]
        fits += [fast.predict(likelihood, data.counts, cell, expansion)]
        shares = averaging.stack(likelihood.counts, fits)
        weights, means, stds = _smooth(data, likelihood.bounds, shares, fits, mixture, smoothness)
    keep = weights * data.n >= _NEGLIGIBLE
    details = {
        "bandwidth": expansion.bandwidth,
        "expansion_share": float(shares[-1]),
        "sharpened_share": float(shares[1:-1].sum()),
        "n_active": len(mixture),
    }
    weights = weights[keep] / weights[keep].sum()
    return AutomaticFit(weights, *_in_data_units(data, bounds, means[keep], stds[keep]), details)


def _smooth(
    data: StandardCounts,
    bounds: Interval,
    shares: FloatArray,
    fits: list[averaging.Prediction],
    mixture: Mixture,
    smoothness: modes.Smoothness,
) -> modes.Components:
    """The stacked fits without modes that the counts do not support."""
    used = [(share * fit.weights, fit.means, fit.stds) for share, fit in zip(shares, fits, strict=True) if share > 0]

    def split() -> modes.Components:
        pieces = averaging.split(replace(mixture, weights=shares[0] * mixture.weights), PIECES)
        inside = pieces[0], reflect(pieces[1], *bounds), pieces[2]
        return _joined([inside, *used[1:]] if shares[0] > 0 else used, data.n)

    edges, counts, _ = _cut(data, bounds, modes.CELLS)
    threshold = modes.nats_per_mode(smoothness, data.n)
    return modes.smooth(edges, counts, bounds, _joined(used, data.n), threshold, split)


def _joined(parts: list[modes.Components], n: float) -> modes.Components:
    """All components of mixtures, of n points, but for those that hold next to nothing."""
    weights, means, stds = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    keep = weights * n >= _NEGLIGIBLE
    return weights[keep] / weights[keep].sum(), means[keep], stds[keep]


def _in_data_units(
    data: StandardCounts, bounds: Bounds, means: FloatArray, stds: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Means, which rounding may put beyond a bound, and standard deviations."""
    means = data.to_data(means)
    return means if bounds == (None, None) else np.clip(means, *bounds), stds * data.unit


def _within(data: StandardCounts, bounds: Bounds) -> StandardCounts:
    """The counts cut at the bounds where these lie in the cell of a rounded end value, half of which is possible then.

    Raises ValueError for data beyond the bounds.
    """
    low, high = bounds
    edges, ends = data.edges.copy(), list(data.ends)
    for side, bound, sign, value in ((0, low, 1, data.rest.minimum), (-1, high, -1, data.rest.maximum)):
        if bound is not None and sign * bound > sign * ends[side] and data.on_lattice and sign * bound <= sign * value:
            edges[side], ends[side] = data.to_standard(np.array(bound)), bound
    if (low is not None and ends[0] < low) or (high is not None and ends[1] > high):
        raise ValueError(
            f"bounds are {bounds} and data lie from {data.ends[0]:g} to {data.ends[1]:g}, beyond them: "
            f"widen the bounds, or use None for an open side"
        )
    return replace(data, edges=edges, ends=(ends[0], ends[1]))


def make_cells(data: StandardCounts, bounds: Interval) -> tuple[Likelihood, IntArray]:
    """The counts in cells, which reach to the bounds or to infinity; and the number of each bin's cell, (m,)."""
    edges, counts, boundaries = _cut(data, bounds, MAX_CELLS)
    cell = np.repeat(np.arange(len(counts)), np.diff(boundaries))
    if np.isinf(bounds[0]):
        edges, counts, cell = np.append(-np.inf, edges), np.append(0.0, counts), cell + 1
    if np.isinf(bounds[1]):
        edges, counts = np.append(edges, np.inf), np.append(counts, 0.0)
    guard = _student((edges - data.median) / data.spread)
    background = GUARD_POINTS / data.n * np.maximum(guard, np.finfo(float).tiny)
    return Likelihood(edges, counts, background, bounds), cell


def _cut(data: StandardCounts, bounds: Interval, n_cells: int) -> tuple[FloatArray, FloatArray, IntArray]:
    """About ``n_cells`` cells up to finite bounds: edges (m + 1,), counts (m,), and the bins at which they start."""
    boundaries = cell_boundaries(data.counts, n_cells)
    if data.allowed is not None:
        above = np.searchsorted(data.allowed, boundaries).clip(1, len(data.allowed) - 1)
        sides = data.allowed[above - 1], data.allowed[above]
        boundaries = np.unique(np.where(boundaries - sides[0] < sides[1] - boundaries, *sides))
    boundaries = _apart(data.edges, boundaries)
    edges = data.edges[boundaries]
    edges[[0, -1]] = np.where(np.isinf(bounds), edges[[0, -1]], bounds)
    return edges, np.add.reduceat(data.counts, boundaries[:-1]), boundaries


def _apart(edges: FloatArray, boundaries: IntArray) -> IntArray:
    """The boundaries whose edges (m + 1,) differ by more than rounding; the first and the last stay."""
    at = edges[boundaries]
    least = 8 * np.spacing(np.abs(at))
    if (np.diff(at) > np.maximum(least[1:], least[:-1])).all():
        return boundaries
    kept = [0]
    for k in range(1, len(at)):
        if at[k] - at[kept[-1]] > max(least[k], least[kept[-1]]):
            kept.append(k)
    kept[-1] = len(at) - 1
    return boundaries[kept]


def _student(t: FloatArray) -> FloatArray:
    """Probabilities (m,) between ascending places (m + 1,) under Student's t with 3 degrees of freedom.

    Between close places it is the density times the distance, as the difference would cancel.
    """
    below, above = stdtr(3, t), stdtr(3, -t)
    mass = np.where(t[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])
    inner = np.isfinite(t[:-1]) & np.isfinite(t[1:])
    middle, width = np.where(inner, t[:-1] / 2 + t[1:] / 2, 0.0), np.where(inner, t[1:] - t[:-1], np.inf)
    close = width < 1e-4 * (1 + np.abs(middle))
    height = 2 / (math.pi * math.sqrt(3) * (1 + np.minimum(np.abs(middle), 1e70) ** 2 / 3) ** 2)
    return np.where(close, height * width, mass)


def find_edges(data: StandardCounts) -> Bounds:
    """Positions, in x, of a jump at the (lower, upper) end of the data; None where the density fades out."""
    lower = _edge_gap(data.edges - data.edges[0], data.counts)
    upper = _edge_gap((data.edges[-1] - data.edges)[::-1], data.counts[::-1])
    unit = 0.0 if data.on_lattice else data.unit  # rounded values end where they end
    return (
        None if lower is None else data.ends[0] - lower * unit,
        None if upper is None else data.ends[1] + upper * unit,
    )


def _edge_gap(distance: FloatArray, counts: FloatArray) -> float | None:
    """How far beyond distance 0 the edge is expected, None without one; (m + 1,) distances of the bins' edges."""
    n = counts.sum()
    if n < _FEWEST_FOR_EDGES or len(counts) < _FEWEST_BINS:
        return None
    cumulative = np.cumsum(counts)
    last = max(int(np.searchsorted(cumulative, float(n) ** _EXPONENT)), _FEWEST_BINS - 1)
    points = float(cumulative[min(last, len(counts) - 1)])
    if points > n / 2:
        return None
    distance, counts = distance[: last + 2], counts[: last + 1]
    gap = rho = 0.0
    for _ in range(2):
        rho = 1 / mean_log_distance(distance + gap, counts)
        gap = min(float(distance[-1] + gap) * points ** (-1 / rho), float(distance[-1]))
    return gap if rho < _THRESHOLD else None


def mean_log_distance(distance: FloatArray, counts: FloatArray) -> float:
    """Mean of log(t_M / t) over points spread evenly in their bins; t_M is the last of the bins' edges, (m + 1,)."""
    t = distance / distance[-1]
    integral = t * np.log(np.where(t > 0, t, 1.0)) - t
    width = np.diff(t)
    at_point = -np.log(np.maximum(t[1:], np.finfo(float).tiny))
    means = np.divide(-np.diff(integral), width, out=at_point, where=width > 0)  # 0: narrower than rounding
    return float(counts @ means / counts.sum())
