"""Modes that the counts do not support are taken out of a fit.

Let p_j be the probability of cell j under a fit, of width w_j and with c_j of the N points. The cheapest way to lose a
mode is the monotone density between the outer valley beside it and the next higher mode: the regression p~ of p / w
with weights w that keeps the mass (pool adjacent violators). It costs

    sum_j c_j log(p_j / p~_j)        nats of likelihood.

Modes that cost less than the threshold are flattened, the cheapest first, those that do not overlap at once; until
every one left is worth it. What chance makes of a smooth density costs more the more points there are: by default

    T = max(1.5, log N - 4.2)        nats.

The flattened probabilities are then a target for the mixture: some EM steps of its weights, with the target in the
place of the data, w_i <- w_i sum_j A_ij p~_j / p_j. Components wider than the mode cannot follow, so they are split
into pieces first (`averaging.split`).

What the counts say for each mode of a density that was made from them is its price. These modes are found to a cell, a
thousandth of the points, or of the range, and left out where they are worth less than `RIPPLE`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_array
from scipy.special import xlogy

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.scoring import Interval, sparse_probabilities
from gaussmix.density.auto.selection import cell_boundaries
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.standard_units import read_counts, settled

Smoothness = Literal["auto", "few_modes"] | float
Components = tuple[FloatArray, FloatArray, FloatArray]  # weights, means, standard deviations, (n,) each

CELLS = 800
_REACH = 5.0  # standard deviations: modes in the far tails do not matter
_STEPS, _ROUNDS, _PASSES = 15, 3, 100
_CLOSE = 0.005  # of a log-probability to its target: the steps end there
_FLAT = 1e-9  # relative difference of neighbouring densities that is none
_EQUAL = 1e-12  # relative difference of masses that is rounding
_TINY = 1e-250  # of a probability: of the widest cell, less of others
_NOTHING = 1e-3  # points that move: such modes nobody sees


def nats_per_mode(smoothness: Smoothness, n: float) -> float:
    """What a mode must be worth, for n points. "few_modes" asks for three times as much as "auto"."""
    if isinstance(smoothness, str):
        return (3 if smoothness == "few_modes" else 1) * max(1.5, math.log(n) - 4.2)
    return smoothness


@dataclass(frozen=True)
class Prices:
    """The modes of probabilities in cells, (k,) each, from left to right, and the cheapest way to lose every one."""

    peaks: IntArray  # their cells
    costs: FloatArray  # nats of likelihood; infinite for the highest
    first: IntArray  # of the cells that change
    last: IntArray
    way: IntArray  # (c,) number of the mode, -1 for none, whose way changes ...
    cells: IntArray  # (c,) the cell ...
    masses: FloatArray  # (c,) to this


def flatten(p: FloatArray, width: FloatArray, counts: FloatArray, threshold: float) -> tuple[FloatArray, int]:
    """Probabilities (m,) without the modes that cost less than the threshold, and how many modes went."""
    removed = 0
    p = np.maximum(p, np.maximum(_TINY * width / width.max(), np.finfo(float).tiny))
    for _ in range(_PASSES):
        found = price_modes(p, width, counts)
        goes = found.costs < threshold
        for d in (1, 2):  # of ways that meet only the cheaper goes now
            meet = np.flatnonzero(goes[:-d] & goes[d:] & (found.last[:-d] + 2 >= found.first[d:]))
            dearer = meet + d * (found.costs[meet] <= found.costs[meet + d])
            goes[dearer] = False
        if not goes.any():
            break
        here = (found.way >= 0) & goes[found.way]
        cells, masses = found.cells[here], found.masses[here]
        moved = np.bincount(found.way[here], np.abs(masses - p[cells]))
        removed += int((moved > 2 * _NOTHING / counts.sum()).sum())
        p[cells] = masses
    return p, removed


def price_modes(p: FloatArray, width: FloatArray, counts: FloatArray) -> Prices:
    """The modes of positive probabilities p (m,) in cells, and what the counts (m,) say for each.

    A way to lose a mode runs up from the valley on one of its sides to the higher mode on the other. All of them are
    made monotone in one regression: each in units of its mode's density, up to which alone it changes, and lifted
    beyond the one before.
    """
    density = np.maximum(p / width, np.finfo(float).tiny)
    peaks, valleys = _turns(density)
    height = density[peaks]
    to_right, to_left = np.flatnonzero(height[1:] >= height[:-1]), np.flatnonzero(height[:-1] >= height[1:]) + 1
    mode = np.concatenate([to_right, to_left])
    costs = np.full(len(peaks), np.inf)
    if len(mode) == 0:
        return Prices(peaks, costs, peaks, peaks, peaks[:0], peaks[:0], p[:0])
    begin = np.concatenate([valleys[to_right], valleys[to_left + 1]])
    end = np.concatenate([peaks[to_right + 1], peaks[to_left - 1]])
    size = np.abs(end - begin) + 1
    starts = np.cumsum(size) - size
    way = np.repeat(np.arange(len(size)), size)
    cells = begin[way] + np.sign(end - begin)[way] * (np.arange(len(way)) - starts[way])
    relative = np.minimum(density[cells] / height[mode][way], 1.0)
    found = isotonic_regression(relative + 2 * way, weights=width[cells])
    blocks = found.blocks[:-1]
    mass, length = (np.add.reduceat(each[cells], blocks) for each in (p, width))  # lifted levels have lost digits
    pooled = (np.diff(found.blocks) > 1) & (mass < (1 - _EQUAL) * height[mode][way[blocks]] * length)
    block = np.repeat(np.arange(len(blocks)), np.diff(found.blocks))
    masses = mass[block] * (width[cells] / length[block])
    changed = pooled[block] & (np.abs(masses - p[cells]) > _EQUAL * p[cells])
    way, cells, masses = way[changed], cells[changed], masses[changed]
    with np.errstate(divide="ignore"):  # a mass that underflows costs infinitely much
        cost = np.bincount(way, xlogy(counts[cells], p[cells] / masses), len(mode)).astype(np.float64)
    cost[np.bincount(way, minlength=len(mode)) == 0] = np.inf  # nothing to change
    cheapest = np.full(len(peaks), -1)
    for ways in (slice(len(to_right)), slice(len(to_right), None)):
        better = cost[ways] < costs[mode[ways]]
        costs[mode[ways][better]], cheapest[mode[ways][better]] = cost[ways][better], np.arange(len(mode))[ways][better]
    way = np.where(cheapest[mode[way]] == way, mode[way], -1)
    first, last = np.full(len(peaks), len(p)), np.full(len(peaks), -1)
    np.minimum.at(first, way[way >= 0], cells[way >= 0])
    np.maximum.at(last, way[way >= 0], cells[way >= 0])
    return Prices(peaks, costs, first, last, way, cells, masses)


def _turns(density: FloatArray) -> tuple[IntArray, IntArray]:
    """Numbers of the peaks (k,), and of the valleys or ends (k + 1,) around them; of a flat run the last counts."""
    logs = np.log(density)
    moves = np.flatnonzero(np.abs(np.diff(logs)) > _FLAT)  # between cells k and k + 1
    if len(moves) == 0:
        return np.zeros(1, np.int64), np.array([0, len(density) - 1])
    rises = logs[moves + 1] > logs[moves]
    turn = np.flatnonzero(rises[1:] != rises[:-1])
    at, is_peak = moves[turn + 1], rises[turn]
    ends = np.zeros(0 if rises[0] else 1, np.int64), np.full(int(rises[-1]), len(density) - 1)
    return np.concatenate([ends[0], at[is_peak], ends[1]]), np.concatenate([[0], at[~is_peak], [len(density) - 1]])


def smooth(
    edges: FloatArray,
    counts: FloatArray,
    bounds: Interval,
    components: Components,
    threshold: float,
    split: Callable[[], Components],
) -> Components:
    """The mixture without unsupported modes; finite edges (m + 1,) and counts (m,) of the cells.

    ``split`` gives the same mixture in pieces; it is asked where a mode has to go.
    """
    width = np.diff(edges)
    A = sparse_probabilities(edges, *components[1:], bounds, _REACH)
    for attempt in range(_ROUNDS):  # the steps may leave ripples
        target, removed = flatten(components[0] @ A, width, counts, threshold)
        if removed == 0:
            break
        if attempt == 0:
            components = split()
            A = sparse_probabilities(edges, *components[1:], bounds, _REACH)
        components = _towards(target, A, components[0]), *components[1:]
    return components


def _towards(target: FloatArray, A: csr_array, weights: FloatArray) -> FloatArray:
    """Weights (n,) after EM steps for the target (m,) as data; what lies beyond the cells stays as it is."""
    beyond, columns = np.maximum(1 - A.sum(axis=1), 0), A.T  # which a product from the left makes anew each time
    for _ in range(_STEPS):
        ratio = target / np.maximum(columns @ weights, _TINY)
        if np.abs(np.log(ratio)).max() < _CLOSE:
            break
        weights = weights * (A @ ratio + beyond)
        weights /= weights.sum()
    return weights


RIPPLE = 0.5  # nats: what is worth less nobody can see
_CELLS = 1600
_FEWEST_CELLS = 1000  # a column of few bins is cut finer: several cells a bin


@dataclass(frozen=True)
class Mode:
    """A maximum of a density.

    ``position`` in data units, ``density`` there, per data unit; ``evidence`` in nats, infinite for the highest mode.
    """

    position: float
    density: float
    evidence: float


def find_modes(counts: BinnedCounts, distribution: GaussianMixture1D) -> list[Mode]:
    """The modes of the continuous part, from left to right; none where all mass is on atoms."""
    counts = settled(counts)
    if not counts.without_atoms().mass.any():
        return []
    smooth = GaussianMixture1D(distribution.weights, distribution.means, distribution.stds, bounds=distribution.bounds)
    edges, numbers = _cells(counts, smooth)
    width = np.diff(edges)
    middles = edges[:-1] + width / 2
    p, _ = flatten(width * smooth.pdf(middles), width, numbers, RIPPLE)
    found = price_modes(p, width, numbers)
    at = middles[found.peaks]
    facts = zip(at.tolist(), distribution.pdf(at).tolist(), found.costs.tolist(), strict=True)
    return [Mode(*each) for each in facts]


def _cells(counts: BinnedCounts, smooth: GaussianMixture1D) -> tuple[FloatArray, FloatArray]:
    """Edges (m + 1,) and counts (m,) of cells inside the bounds; points of a bin lie evenly in its cells."""
    data = read_counts(counts)
    edges = np.clip(data.to_data(data.edges), *smooth.bounds)
    boundaries = cell_boundaries(data.counts, _CELLS)
    edges, numbers = edges[boundaries], np.add.reduceat(data.counts, boundaries[:-1])
    parts = -(-_FEWEST_CELLS // len(numbers))
    cuts = np.interp(np.arange(len(numbers) * parts + 1) / parts, np.arange(len(edges)), edges)
    numbers = np.repeat(numbers / parts, parts)
    kept = np.diff(cuts) > 4 * np.spacing(np.abs(cuts[1:]))
    return np.append(cuts[:-1][kept], cuts[-1]), numbers[kept]
