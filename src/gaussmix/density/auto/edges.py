"""Does the density end in a jump? A test of either side from the distances of the extreme points.

Near an end, let the share of points within a distance t of it grow as t^rho: rho = 1 where the density jumps to a
finite height, rho < 1 at a pole, rho = 2 where it starts as a ramp, and larger in tails. Of the M points nearest to the
end, with distances t_i and t_M the largest of them, the maximum likelihood estimate is (Hill 1975, turned around)

    1 / rho = mean_i log(t_M / t_i)        with relative standard error 1 / sqrt(M).

The true end lies beyond the extreme point, by about t_M M^(-1/rho); rho is estimated twice, the second time with
distances from there. An edge is reported, at that place, where rho < sqrt(2), half way between a jump and a ramp.
"""

from __future__ import annotations

import math

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.standard_units import Bounds, StandardCounts

_THRESHOLD = math.sqrt(2)
_FEWEST = 50  # points in all
_EXPONENT = 0.7  # M = N^0.7: grows, but its share of the points shrinks
_FEWEST_BINS = 4  # that the M points must cover for distances to mean something


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
    if n < _FEWEST or len(counts) < _FEWEST_BINS:
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
