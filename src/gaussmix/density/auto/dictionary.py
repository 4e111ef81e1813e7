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

import numpy as np
from scipy.sparse import csr_array

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.scoring import Interval, sparse_probabilities
from gaussmix.density.standard_units import quantile_places

MAX_CELLS = 400
SUPPORT = 7.5  # not a whole number: counts with importance weights are whole but for rounding
_COARSEST = 4.0  # standard deviations in the range
_WIDEST_CELL = 1.5  # in standard deviations of an atom
_COARSE_LEVELS = 4  # kept in any case, before a level without atoms ends the search
_MAX_LEVELS = 200
_LEAST = 1e-150  # of a cell's probability, by whose square is divided


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
    return np.unique(_nearest(place)).astype(np.int64)


def _nearest(place: FloatArray) -> FloatArray:
    """The nearest integers, both of them half way between two: so mirrored places give mirrored integers."""
    return np.concatenate([np.ceil(place - 0.5), np.floor(place + 0.5)])


@dataclass(frozen=True)
class Dictionary:
    """K atoms, their probabilities in m cells and the squares of these."""

    means: FloatArray
    stds: FloatArray
    probabilities: csr_array  # (K, m)
    squares: csr_array

    def scores(self, counts: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient g and curvature v of every atom, (K,), for counts and fitted probabilities of the cells, (m,)."""
        p = np.maximum(p, _LEAST)
        u = counts / (counts.sum() * p)
        return self.probabilities @ u - 1, self.squares @ (u / p) - 1


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
            place = np.unique(_nearest((middles[resolved] - edges[0]) / std))
        m = edges[0] + place * std
        near = np.interp(m + std, edges, cumulative) - np.interp(m - std, edges, cumulative)
        m = m[near >= SUPPORT]
        if level >= _COARSE_LEVELS and len(m) == 0:
            break
        means.append(m)
        stds.append(np.full(len(m), std))
        std /= 2
    means, stds = np.concatenate(means), np.concatenate(stds)
    probabilities = sparse_probabilities(edges, means, stds, bounds)
    return Dictionary(means, stds, probabilities, probabilities.power(2))
