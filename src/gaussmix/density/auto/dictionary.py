"""Cells, and the multi-scale dictionary of Gaussians that the automatic rule chooses from.

Cells are runs of bins, about `MAX_CELLS`: the edges of half of them are quantiles of the counts, of the other half
equally spaced, so that both narrow peaks and long tails are resolved. The cells at either end are split further, in
steps of sqrt(2) in the number of points outside, down to `SUPPORT` points: ends are where densities vary most.

The dictionary is a GMM expansion at every scale: standard deviations R/4, R/8, R/16, ..., R the range; at each scale
means on a lattice spaced by one standard deviation; kept are atoms with at least `SUPPORT` points within one standard
deviation, where the cells are narrow enough to see them. Atom k has probabilities A_kj in the cells j.

How much weight would help is the score of its weight at zero. With p_j the fitted probabilities, u_j = c_j / (N p_j):

    gradient g_k = sum_j A_kj u_j - 1,    curvature v_k = sum_j A_kj^2 u_j / p_j - 1,    z_k = g_k sqrt(N / v_k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.cells import Interval, add_component, images_within
from gaussmix.density.standard_units import quantile_places

MAX_CELLS = 400
SUPPORT = 7.5  # not a whole number: counts with importance weights are whole but for rounding
_COARSEST = 4.0  # standard deviations in the range
_WIDEST_CELL = 1.5  # in standard deviations of an atom
_REACH = 6.0  # standard deviations of an atom that the dictionary stores
_COARSE_LEVELS = 4  # kept in any case, before a level without atoms ends the search
_MAX_LEVELS = 60


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
    return np.unique(_nearest(place))


def _nearest(place: FloatArray) -> IntArray:
    """The nearest integers, both of them half way between two: so mirrored places give mirrored integers."""
    return np.concatenate([np.ceil(place - 0.5), np.floor(place + 0.5)]).astype(np.int64)


@dataclass(frozen=True)
class Dictionary:
    """K atoms, and their probabilities in the cells as rows of a sparse matrix."""

    means: FloatArray
    stds: FloatArray
    first: IntArray  # (K,) first cell of each row
    start: IntArray  # (K + 1,) where each row starts in ``values``
    values: FloatArray

    def scores(self, counts: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient g and curvature v of every atom, (K,), for counts and fitted probabilities of the cells, (m,)."""
        n = counts.sum()
        u = np.where(counts > 0, counts / (n * np.maximum(p, np.finfo(float).tiny)), 0.0)
        gradient, curvature = np.full(len(self.first), -1.0), np.full(len(self.first), -1.0)
        v = u / np.maximum(p, np.finfo(float).tiny)
        _scores(self.first, self.start, self.values, u, v, gradient, curvature)
        return gradient, curvature


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
            place = np.unique(_nearest((middles[resolved] - edges[0]) / std)).astype(np.float64)
        m = edges[0] + place * std
        near = np.interp(m + std, edges, cumulative) - np.interp(m - std, edges, cumulative)
        m = m[near >= SUPPORT]
        if level >= _COARSE_LEVELS and len(m) == 0:
            break
        means.append(m)
        stds.append(np.full(len(m), std))
        std /= 2
    means, stds = np.concatenate(means), np.concatenate(stds)
    first = np.maximum(np.searchsorted(edges, means - _REACH * stds) - 1, 0)
    last = np.minimum(np.searchsorted(edges, means + _REACH * stds), len(width))
    start = np.concatenate([[0], np.cumsum(last - first)])
    values = np.zeros(start[-1])
    _fill(edges, means, stds, images_within(stds, bounds), first, start, values)
    return Dictionary(means, stds, first, start, values)


@nb.njit(nogil=True, cache=True)
def _fill(edges, means, stds, images, first, start, values):
    nothing = np.empty(0)
    for k in range(means.size):
        n = start[k + 1] - start[k]
        row = edges[first[k] : first[k] + n + 1]
        add_component(row, means[k], stds[k], images, values[start[k] : start[k + 1]], nothing, nothing)


@nb.njit(nogil=True, cache=True)
def _scores(first, start, values, u, v, gradient, curvature):
    """Adds to gradient and curvature, (K,)."""
    for k in range(first.size):
        shift = first[k] - start[k]
        for i in range(start[k], start[k + 1]):
            a = values[i]
            gradient[k] += a * u[i + shift]
            curvature[k] += a * a * v[i + shift]
