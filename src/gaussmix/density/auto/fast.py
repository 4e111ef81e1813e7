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
from gaussmix.density.auto.modes import Components, flatten
from gaussmix.density.auto.scoring import Interval, Likelihood, sparse_probabilities
from gaussmix.density.bandwidth import isj_bandwidth, normal_scale_bandwidth
from gaussmix.density.reflection import reflect
from gaussmix.density.standard_units import StandardCounts

_FEWEST_FOR_ISJ = 30
_ROUNDS = 4
_MOST_MOVED = 0.1  # of the narrowest Gaussian: far tails do not move the rest
_NEAR = 5.0  # standard deviations: where modes are looked for
_COARSE_AXIS = 64  # bins: up to here a bin is a value of its own
_WIDEST = 0.4  # on an asinh axis: a wider Gaussian is skewed there ...
_CELLS_A_POINT = 4  # ... but not more than about twice as many cells as that for the points there are
_NARROWEST_IN_CELLS = 0.75  # of rounded values, where these are wider than bins
_NARROWEST = (0.5, 1.5)  # bandwidth in bins, on a coarse axis and on a fine one


@dataclass(frozen=True)
class Expansion:
    """Components in standard units, arrays (n,)."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    component: IntArray  # (m,) the component of each bin
    bandwidth: float  # h, on the axis


def expand_counts(data: StandardCounts, bounds: Interval, threshold: float = 0.0) -> Expansion:
    """The expansion of counts within bounds in y, without modes worth less than ``threshold`` nats."""
    m, axis = len(data.counts), data.rest.axis
    h = max(_bandwidth(data.counts), _NARROWEST_IN_CELLS * data.typical_cell if data.typical_cell > 1 else 0.0)
    if axis.scale is not None:
        h = min(h, max(_WIDEST / axis.width, _NARROWEST[1], m / (_CELLS_A_POINT * data.n)))
    group = max(1, 2 * int((h / 2 + 1) / 2) - 1)  # bins a cell: odd, at most h/2
    n_groups = -(-m // group)
    n_groups += (n_groups * group - m) % 2  # so that cells lie symmetrically over the bins
    offset = (n_groups * group - m) // 2
    component = (np.arange(m) + offset) // group
    weights = np.bincount(component, data.counts, minlength=n_groups) / data.n
    sigma = math.sqrt(h * h - group * group / 12) * axis.width
    u = axis.origin + axis.width * (data.first - offset + np.arange(n_groups + 0.5, step=0.5) * group)
    x = axis.inverse(u[1::2])
    means, stds = reflect(data.to_standard(x), *bounds), sigma / axis.slope(x) / data.unit
    if threshold > 0 and data.n >= _FEWEST_FOR_ISJ:
        edges = np.clip(data.to_standard(axis.inverse(u[::2])), *bounds)
        supported = _supported(edges, (weights, means, stds), bounds, data.n, threshold)
        if np.isinf(bounds).all():  # the mean stays what it was
            most = _MOST_MOVED * float(stds.min())
            means = means + float(np.clip((weights - supported) @ means, -most, most))
        weights = supported
    used = weights > 0
    return Expansion(
        weights=weights[used],
        means=means[used],
        stds=stds[used],
        component=(np.cumsum(used) - 1)[component],
        bandwidth=float(h * axis.width),
    )


def _supported(edges: FloatArray, components: Components, bounds: Interval, n: float, threshold: float) -> FloatArray:
    """Weights (k,) without unsupported modes, one a cell: those of a mode become the monotone ones.

    For a run of rising weights on equal Gaussians has a rising density, but for its ends.
    """
    counts, width = components[0] * n, np.diff(edges)
    if not (width > 0).all():
        return components[0]
    A, weights = sparse_probabilities(edges, *components[1:], bounds, _NEAR), components[0]
    for _ in range(_ROUNDS):
        p = weights @ A
        target, removed = flatten(p, width, counts, threshold)
        if removed == 0:
            break
        weights = np.where(np.abs(target - p) > 1e-9 * p, target, weights)
        weights = weights / weights.sum()
    return weights


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
