"""The rule "fast": one Gaussian a cell, weighted by its count; the cells' width follows from the bandwidth.

With h the improved Sheather-Jones bandwidth of the counts (the normal-scale rule where that has none), cells are r
wide, an odd number of bins of at most h/2, and

    pi_i = c_i / N,      sigma^2 = h^2 - r^2 / 12,

as the spread of the points within their cells is part of the smoothing. On an asinh axis r and h are lengths in u and a
component has the standard deviation sigma dx/du in x.

Leaving out a point of cell j (of `scoring`) turns its probability p_j into (N p_j - s_j) / (N - 1), s_j the probability
of cell j under the point's own component.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.averaging import Prediction
from gaussmix.density.auto.scoring import Interval, Likelihood, sparse_probabilities
from gaussmix.density.bandwidth import isj_bandwidth, normal_scale_bandwidth
from gaussmix.density.reflection import reflect
from gaussmix.density.standard_units import StandardCounts

_FEWEST_FOR_ISJ = 30
_COARSE_AXIS = 64  # bins: up to here a bin is a value of its own
_NARROWEST = (0.5, 1.5)  # bandwidth in bins, on a coarse axis and on a fine one


@dataclass(frozen=True)
class Expansion:
    """Components in standard units, arrays (n,)."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    component: IntArray  # (m,) the component of each bin
    bandwidth: float  # h, on the axis


def expand_counts(data: StandardCounts, bounds: Interval) -> Expansion:
    """The expansion of counts within bounds in y."""
    m, axis = len(data.counts), data.rest.axis
    h = _bandwidth(data.counts)
    group = max(1, 2 * int((h / 2 + 1) / 2) - 1)  # bins a cell: odd, at most h/2
    n_groups = -(-m // group)
    n_groups += (n_groups * group - m) % 2  # so that cells lie symmetrically over the bins
    offset = (n_groups * group - m) // 2
    component = (np.arange(m) + offset) // group
    weights = np.bincount(component, data.counts, minlength=n_groups) / data.n
    used = weights > 0
    sigma = math.sqrt(h * h - group * group / 12) * axis.width
    u = axis.origin + axis.width * (data.first - offset + (np.arange(n_groups) + 0.5) * group)
    x = axis.inverse(u)[used]
    return Expansion(
        weights=weights[used],
        means=reflect(data.to_standard(x), *bounds),
        stds=sigma / axis.slope(x) / data.unit,
        component=(np.cumsum(used) - 1)[component],
        bandwidth=float(h * axis.width),
    )


def _bandwidth(counts: FloatArray) -> float:
    """h in bins."""
    m = len(counts)
    enough = counts.sum() >= _FEWEST_FOR_ISJ and m >= 16
    h = (enough and isj_bandwidth(counts)) or normal_scale_bandwidth(counts)
    return min(max(h, _NARROWEST[m > _COARSE_AXIS]), max(m / 3, 0.5))


def predict(likelihood: Likelihood, counts: FloatArray, cell: IntArray, expansion: Expansion) -> Prediction:
    """What an expansion says about the cells; counts (m,) of the bins, and the cell (m,) of each."""
    low, high = likelihood.edges[cell], likelihood.edges[cell + 1]
    mean, std = expansion.means[expansion.component], expansion.stds[expansion.component]
    images = [mean] + [2 * bound - mean for bound in likelihood.bounds if math.isfinite(bound)]  # the nearest will do
    own = sum(ndtr((high - image) / std) - ndtr((low - image) / std) for image in images)
    own = np.bincount(cell, counts * own, minlength=len(likelihood.counts))
    own /= np.where(likelihood.counts > 0, likelihood.counts, 1)
    P = sparse_probabilities(likelihood.edges, expansion.means, expansion.stds, likelihood.bounds)
    p = expansion.weights @ P
    without = np.maximum((likelihood.n * p - own) / (likelihood.n - 1), 0) + likelihood.background
    return Prediction(expansion.weights, expansion.means, expansion.stds, p + likelihood.background, without)
