"""The automatic rules: a density from counts alone, without a number to choose.

"fast" is the plain GMM expansion (`expansion`): one Gaussian a cell, its width from the improved Sheather-Jones rule.
It is also what "auto" takes for fewer than `FEWEST` points. "auto" goes on:

1. `sample`      the bins, in standard units; point masses taken out.
2. `edges`       a density that ends in a jump is found on either side; all Gaussians are reflected there.
3. `dictionary`  at most 400 cells of bins; a GMM expansion at every scale, down to where 8 points support an atom.
4. `path`        atoms join by score tests; weights by certified maximum likelihood; Fisher scoring moves the few active
                 ones (at most 20); their number by penalised likelihood.
5. `sharpen`     the fit's components split into pieces of 1/2, 1/4, 1/8 of their width, and one EM step of the weights:
                 three fits with ever more detail.
6. `stacking`    these four and "fast" mixed in the shares that predict best, by leave-one-out likelihood.

In all likelihoods a Student t with 3 degrees of freedom around the median carries as much as .2 points: far points
then do not force components on the fit.

What was tried and left out: stacking the parametric fit and "fast" only (L1 error +5 % at 5 000 points, +10 % from 1e5
on, 1.6 times the best kernel estimate at a triangle); two EM steps, or pieces of 1/16 (noisier up to 5 000 points); 800
cells (1 % better, 1.6 times the time); up to 30 components (no better); maximum likelihood over all scales at once
(overfits); averages over resampled fits.

The matrices are small, so that BLAS is held to one thread: several would mostly wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr
from threadpoolctl import ThreadpoolController

from gaussmix._typing import FloatArray
from gaussmix.density.auto import averaging as sharpen
from gaussmix.density.auto import fast as expansions
from gaussmix.density.auto.averaging import stack
from gaussmix.density.auto.dictionary import build_dictionary, cell_boundaries
from gaussmix.density.auto.edges import find_edges
from gaussmix.density.auto.fast import expand_counts
from gaussmix.density.auto.scoring import Likelihood
from gaussmix.density.auto.selection import fit_path
from gaussmix.density.standard_units import GUARD_POINTS, Bounds, Sample, read_counts

if TYPE_CHECKING:
    from gaussmix.density.counts import BinnedCounts


FEWEST = 30.0
ALPHAS = (0.5, 0.25, 0.125)
_FEWEST_BINS = 4
_NEGLIGIBLE = 1e-4  # points: components that hold less are left out of the result


@dataclass(frozen=True)
class AutomaticFit:
    """Components (n,) in data units, ``stds`` standard deviations, weights with sum 1; and how they were found."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    bounds: Bounds
    """Where the components are to be reflected; None: open. As given, or the edges found."""
    bandwidth: float
    """Of the expansion "fast", as a length on the axis of the counts."""
    expansion_share: float
    """Share of "fast" in the result."""
    sharpened_share: float
    """Share of the fits after an EM step."""
    n_active: int
    """Components of the fit by likelihood before it was split; 0 where there is none."""


def fit_fast(counts: BinnedCounts, *, bounds: Bounds | Literal["auto"] = "auto") -> AutomaticFit:
    """The rule "fast". bounds: (low, high) in data units, None for an open side; "auto": looked for.

    Raises ValueError for counts without points, or with all of them on atoms, and for points outside the bounds.
    """
    sample, bounds = _read(counts, bounds)
    return _only_expansion(sample, bounds, expand_counts(sample, sample.interval(bounds)))


def fit_automatic(counts: BinnedCounts, *, bounds: Bounds | Literal["auto"] = "auto") -> AutomaticFit:
    """The rule "auto". bounds: (low, high) in data units, None for an open side; "auto": looked for.

    Raises ValueError for counts without points, or with all of them on atoms, and for points outside the bounds.
    """
    sample, bounds = _read(counts, bounds)
    expansion = expand_counts(sample, sample.interval(bounds))
    if sample.n < FEWEST or len(sample.counts) < _FEWEST_BINS:
        return _only_expansion(sample, bounds, expansion)
    with _blas().limit(limits=1, user_api="blas"):
        return _stacked(sample, bounds, expansion)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _stacked(sample: Sample, bounds: Bounds, expansion: expansions.Expansion) -> AutomaticFit:
    """Steps 3 to 6."""
    likelihood, cell = make_cells(sample, sample.interval(bounds))
    finite = likelihood.edges[np.isfinite(likelihood.edges)]
    dictionary = build_dictionary(finite, likelihood.counts[likelihood.inner], likelihood.bounds)
    mixture = fit_path(likelihood, dictionary)
    found = sharpen.influence(likelihood, mixture)
    fits = [sharpen.predict(mixture, found)]
    fits += [sharpen.sharpened(likelihood, mixture, found, alpha) for alpha in ALPHAS]
    fits += [expansions.predict(likelihood, sample, cell, expansion)]
    shares = stack(likelihood.counts, fits)
    used = [(share, fit) for share, fit in zip(shares, fits, strict=True) if share > 0]
    weights = np.concatenate([share * fit.weights for share, fit in used])
    means = np.concatenate([fit.means for _, fit in used])
    stds = np.concatenate([fit.stds for _, fit in used])
    keep = weights * sample.n >= _NEGLIGIBLE
    return AutomaticFit(
        weights=weights[keep] / weights[keep].sum(),
        means=_inside(sample.to_data(means[keep]), bounds),
        stds=stds[keep] * sample.unit,
        bounds=bounds,
        bandwidth=expansion.bandwidth,
        expansion_share=float(shares[-1]),
        sharpened_share=float(shares[1:-1].sum()),
        n_active=len(mixture),
    )


def _read(counts: BinnedCounts, bounds: Bounds | Literal["auto"]) -> tuple[Sample, Bounds]:
    """The sample, and bounds that hold it."""
    sample = read_counts(counts)
    if not sample.n > 0:
        raise ValueError("every point lies on an atom: there is no continuous part to fit")
    if bounds == "auto":
        return sample, find_edges(sample)
    low, high = bounds
    if (low is not None and sample.ends[0] < low) or (high is not None and sample.ends[1] > high):
        raise ValueError(
            f"bounds are {bounds} and data lie from {sample.ends[0]:g} to {sample.ends[1]:g}, beyond them: "
            f"widen the bounds, or use None for an open side"
        )
    return sample, bounds


def _only_expansion(sample: Sample, bounds: Bounds, expansion: expansions.Expansion) -> AutomaticFit:
    means = _inside(sample.to_data(expansion.means), bounds)
    return AutomaticFit(
        expansion.weights, means, expansion.stds * sample.unit, bounds, expansion.bandwidth, 1.0, 0.0, 0
    )


def _inside(means: FloatArray, bounds: Bounds) -> FloatArray:
    """Means that rounding put beyond a bound, on it."""
    low, high = bounds
    return means if low is None and high is None else np.clip(means, low, high)


def make_cells(sample: Sample, bounds: tuple[float, float]) -> tuple[Likelihood, NDArray[np.int64]]:
    """The counts in cells, which reach to the bounds or to infinity; and the number of each bin's cell, (m,)."""
    boundaries = cell_boundaries(sample.counts)
    edges = sample.edges[boundaries]
    counts = np.add.reduceat(sample.counts, boundaries[:-1])
    cell = np.repeat(np.arange(len(counts)), np.diff(boundaries))
    low, high = bounds
    if low > -np.inf:
        edges[0] = low
    else:
        edges, counts, cell = np.append(-np.inf, edges), np.append(0.0, counts), cell + 1
    if high < np.inf:
        edges[-1] = high
    else:
        edges, counts = np.append(edges, np.inf), np.append(counts, 0.0)
    background = GUARD_POINTS / sample.n * _guard_probabilities((edges - sample.median) / sample.spread)
    return Likelihood(edges, counts, background, bounds), cell


def _guard_probabilities(t: FloatArray) -> FloatArray:
    """(m,) probabilities between the (m + 1,) places t under Student's t with 3 degrees of freedom."""
    below, above = stdtr(3, t), stdtr(3, -t)
    return np.maximum(np.where(t[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1]), np.finfo(float).tiny)
