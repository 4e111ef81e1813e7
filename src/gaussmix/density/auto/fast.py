"""The rule "fast": one Gaussian a cell, weighted by its count; the cells' width follows from the bandwidth.

With h the improved Sheather-Jones bandwidth of the counts (the normal-scale rule where that has none), cells are r
wide, an odd number of bins of at most h/2, and

    pi_i = c_i / N,      sigma^2 = h^2 - r^2 / 12,

as the spread of the points within their cells is part of the smoothing. On an asinh axis r and h are lengths in u and a
component has the standard deviation sigma dx/du in x.

Leaving out a point of cell j (of `refine`) turns its probability p_j into (N p_j - s_j) / (N - 1), s_j the probability
of cell j under the point's own component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.auto.averaging import Prediction
from gaussmix.density.auto.cells import Interval, cell_mass, reflect
from gaussmix.density.auto.scoring import Likelihood
from gaussmix.density.bandwidth import isj_bandwidth, normal_scale_bandwidth
from gaussmix.density.standard_units import Sample

_FEWEST_FOR_ISJ = 30
_COARSE_AXIS = 64  # bins: up to here a bin is a value of its own
_NARROWEST = (0.5, 1.5)  # bandwidth in bins, on a coarse axis and on a fine one


@dataclass(frozen=True)
class Expansion:
    """Components in standard units, arrays (n,)."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    component: NDArray[np.int64]
    """(m,) the component of each bin of the sample."""
    bandwidth: float
    """h, on the axis."""


def expand_counts(sample: Sample, bounds: Interval) -> Expansion:
    """The expansion of a sample within bounds in y."""
    m, width = len(sample.counts), sample.axis.width
    h = choose_bandwidth(sample.counts)
    group = max(1, 2 * int((h / 2 + 1) / 2) - 1)  # bins a cell: odd, at most h/2
    n_groups = -(-m // group)
    n_groups += (n_groups * group - m) % 2  # so that cells lie symmetrically over the bins
    offset = (n_groups * group - m) // 2
    component = (np.arange(m) + offset) // group
    weights = np.bincount(component, sample.counts, minlength=n_groups) / sample.n
    sigma = math.sqrt(h * h - group * group / 12) * width
    u = sample.axis.origin + width * (sample.first - offset + (np.arange(n_groups) + 0.5) * group)
    x = sample.axis.inverse(u)
    used = weights > 0
    return Expansion(
        weights=weights[used],
        means=reflect(sample.to_standard(x[used]), bounds),
        stds=sigma / sample.axis.slope(x[used]) / sample.unit,
        component=(np.cumsum(used) - 1)[component],
        bandwidth=h * width,
    )


def predict(likelihood: Likelihood, sample: Sample, cell: NDArray[np.int64], expansion: Expansion) -> Prediction:
    """What an expansion says about the cells; ``cell``: (m,) the cell of each bin."""
    low, high = likelihood.edges[cell], likelihood.edges[cell + 1]
    mean, std = expansion.means[expansion.component], expansion.stds[expansion.component]
    images = [mean] + [2 * bound - mean for bound in likelihood.bounds if math.isfinite(bound)]
    own = sum(ndtr((high - image) / std) - ndtr((low - image) / std) for image in images)
    n_cells = len(likelihood.counts)
    own = np.bincount(cell, sample.counts * own, minlength=n_cells) / np.where(
        likelihood.counts > 0, likelihood.counts, 1
    )
    p = cell_mass(likelihood.edges, expansion.weights, expansion.means, expansion.stds, likelihood.bounds)
    without = np.maximum((likelihood.n * p - own) / (likelihood.n - 1), 0) + likelihood.background
    return Prediction(expansion.weights, expansion.means, expansion.stds, p + likelihood.background, without)


def choose_bandwidth(counts: FloatArray) -> float:
    """h in bins."""
    m = len(counts)
    h = isj_bandwidth(counts) if counts.sum() >= _FEWEST_FOR_ISJ and m >= 16 else None
    if h is None:
        h = normal_scale_bandwidth(counts)
    return min(max(h, _NARROWEST[m > _COARSE_AXIS]), max(m / 3, 0.5))
