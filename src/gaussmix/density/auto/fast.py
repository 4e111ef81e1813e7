"""The rule "fast": one Gaussian a cell, weighted by its count; the cells' width follows from the bandwidth.

With h the bandwidth of the counts, cells are r wide, an odd number of bins of at most h/2, and

    pi_i = c_i / N,      sigma^2 = h^2 - r^2 / 12,

as the spread of the points within their cells is part of the smoothing. On an asinh axis r and h are lengths in u and a
component has the standard deviation sigma dx/du in x.

Bandwidths of a Gaussian kernel estimate from counts in equal bins, as standard deviations in bins:

    improved Sheather-Jones   Botev, Grotowski, Kroese (2010), Annals of Statistics 38, section 5: the fixed point of
                              t = zeta gamma^[7](t), computed from the discrete cosine transform of the counts
    normal scale              h = 1.06 min(sd, interquartile range / 1.34) N^(-1/5), where that equation has no root

Leaving out a point of cell j (of `scoring`) turns its probability p_j into (N p_j - s_j) / (N - 1), s_j the probability
of cell j under the point's own component.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from scipy.fft import dct
from scipy.optimize import brentq
from scipy.special import ndtr

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.averaging import Prediction
from gaussmix.density.auto.modes import Components, flatten
from gaussmix.density.auto.scoring import Interval, Likelihood, sparse_probabilities
from gaussmix.density.reflection import reflect
from gaussmix.density.standard_units import StandardCounts

_FEWEST_FOR_ISJ = 30
_STAGES = 7
_LARGEST_EXPONENT = 40.0  # terms below exp(-40) of the first are left out
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
    k, before = 0, excess(grid[0])
    while k + 1 < len(grid):
        # what the stages make of t rises with t, until they underflow: no root lies between t and that
        ahead = bisect_right(grid, grid[k] - before) - 1
        if ahead > k + 1 and (value := excess(grid[ahead])) < 0:
            k, before = ahead, value
            continue
        value = excess(grid[k + 1])
        if before < 0 <= value:
            return math.sqrt(brentq(excess, grid[k], grid[k + 1], rtol=1e-6)) * m  # pyright: ignore[reportArgumentType]
        k, before = k + 1, value
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


def predict(likelihood: Likelihood, counts: FloatArray, cell: IntArray, expansion: Expansion) -> Prediction:
    """What an expansion says about the cells; counts (m,) of the bins, and the cell (m,) of each."""
    seen = np.flatnonzero(counts)
    cell, component = cell[seen], expansion.component[seen]
    low, high = likelihood.edges[cell], likelihood.edges[cell + 1]
    mean, std = expansion.means[component], expansion.stds[component]
    images = [mean] + [2 * bound - mean for bound in likelihood.bounds if math.isfinite(bound)]  # the nearest will do
    own = sum(ndtr((high - image) / std) - ndtr((low - image) / std) for image in images)
    own = np.bincount(cell, counts[seen] * own, minlength=len(likelihood.counts))
    own /= np.where(likelihood.counts > 0, likelihood.counts, 1)
    P = sparse_probabilities(likelihood.edges, expansion.means, expansion.stds, likelihood.bounds)
    p = expansion.weights @ P
    without = np.maximum((likelihood.n * p - own) / (likelihood.n - 1), 0) + likelihood.background
    return Prediction(expansion.weights, expansion.means, expansion.stds, p + likelihood.background, without)
