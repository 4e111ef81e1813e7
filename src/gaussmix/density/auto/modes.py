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

from gaussmix._typing import FloatArray
from gaussmix.density.auto.scoring import Interval, sparse_probabilities

Smoothness = Literal["auto", "few_modes"] | float
Components = tuple[FloatArray, FloatArray, FloatArray]  # weights, means, standard deviations, (n,) each

CELLS = 800
_REACH = 6.0  # standard deviations: modes in the far tails do not matter
_STEPS, _ROUNDS, _PASSES = 15, 3, 100
_CLOSE = 0.005  # of a log-probability to its target: the steps end there
_FLAT = 1e-9  # relative difference of densities that is none
_TINY = 1e-250  # of a probability: of the widest cell, less of others
_NOTHING = 1e-3  # points that move: such modes nobody sees


def nats_per_mode(smoothness: Smoothness, n: float) -> float:
    """What a mode must be worth, for n points. "few_modes" asks for three times as much as "auto"."""
    if isinstance(smoothness, str):
        return (3 if smoothness == "few_modes" else 1) * max(1.5, math.log(n) - 4.2)
    return smoothness


@dataclass(frozen=True)
class PricedMode:
    """A mode among cells: the cell of the peak, and the cells first <= j < last whose monotone masses lose it."""

    peak: int
    cost: float  # nats of likelihood; infinite for the highest
    first: int
    last: int
    masses: FloatArray  # (last - first,)
    moved: float = 0.0  # probability that changes its cell


Known = dict[tuple[int, int, int], PricedMode]  # by the numbers of the peak, of the valley beside it, and the higher peak


def flatten(p: FloatArray, width: FloatArray, counts: FloatArray, threshold: float) -> tuple[FloatArray, int]:
    """Probabilities (m,) without the modes that cost less than the threshold, and how many modes went."""
    n, removed = counts.sum(), 0
    p = np.maximum(p, np.maximum(_TINY * width / width.max(), np.finfo(float).tiny))
    known: Known = {}
    for _ in range(_PASSES):
        modes = price_modes(p, width, counts, known)
        cheap = [mode for mode in modes if mode.cost < threshold and mode.last > mode.first]
        if not cheap:
            break
        taken = np.zeros(len(p) + 2, bool)
        for mode in sorted(cheap, key=lambda mode: mode.cost):
            if not taken[mode.first : mode.last + 2].any():  # with a cell on either side
                p[mode.first : mode.last] = mode.masses
                taken[mode.first : mode.last + 2] = True
                removed += mode.moved > _NOTHING / n
        known = {place: mode for place, mode in known.items() if not taken[min(place) : max(place) + 3].any()}
    return p, removed


def price_modes(p: FloatArray, width: FloatArray, counts: FloatArray, known: Known | None = None) -> list[PricedMode]:
    """The modes of probabilities p (m,) in cells, from left to right, and what the counts (m,) say for each.

    ``known`` are the ways without a mode that were found before, to which new ones are added.
    """
    known = {} if known is None else known
    density = np.maximum(p / width, np.finfo(float).tiny)
    peaks, valleys = _turns(density)
    modes = []
    for q, peak in enumerate(peaks):
        best = PricedMode(peak, math.inf, peak, peak, p[:0])
        for side in (-1, 1):
            if 0 <= q + side < len(peaks) and density[peaks[q + side]] >= density[peak]:
                place = peak, valleys[q if side == 1 else q + 1], peaks[q + side]
                if place not in known:
                    known[place] = _without(*place, p, density, width, counts)
                best = min(best, known[place], key=lambda mode: mode.cost)
        modes.append(best)
    return modes


def _without(
    peak: int, valley: int, higher: int, p: FloatArray, density: FloatArray, width: FloatArray, counts: FloatArray
) -> PricedMode:
    """The mode when the density becomes monotone from the valley beside it to a higher peak beyond it."""
    first, last = min(valley, higher), max(valley, higher) + 1
    part = slice(first, last)
    level = isotonic_regression(density[part], weights=width[part], increasing=higher > valley).x
    changed = np.flatnonzero(np.abs(level - density[part]) > _FLAT * density[part])
    if len(changed) == 0:
        return PricedMode(peak, 0.0, first, first, p[:0])
    first, last = first + int(changed[0]), first + int(changed[-1]) + 1
    masses = level[changed[0] : changed[-1] + 1] * width[first:last]
    cost = float(xlogy(counts[first:last], p[first:last] / masses).sum())
    return PricedMode(peak, cost, first, last, masses, float(np.abs(masses - p[first:last]).sum()) / 2)


def _turns(density: FloatArray) -> tuple[list[int], list[int]]:
    """Numbers of the peaks (k,), and of the valleys or ends (k + 1,) around them; of a flat run the last counts."""
    logs = np.log(density)
    moves = np.flatnonzero(np.abs(np.diff(logs)) > _FLAT)  # between cells k and k + 1
    if len(moves) == 0:
        return [0], [0, len(density) - 1]
    rises = logs[moves + 1] > logs[moves]
    turn = np.flatnonzero(rises[1:] != rises[:-1])
    at, is_peak = moves[turn + 1], rises[turn]
    peaks, valleys = at[is_peak].tolist(), at[~is_peak].tolist()
    if not rises[0]:
        peaks.insert(0, int(moves[0]))
    if rises[-1]:
        peaks.append(len(density) - 1)
    return peaks, [0, *valleys, len(density) - 1]


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
    width, pieces = np.diff(edges), None
    for _ in range(_ROUNDS):  # the steps may leave ripples
        A = sparse_probabilities(edges, *components[1:], bounds, _REACH)
        target, removed = flatten(components[0] @ A, width, counts, threshold)
        if removed == 0:
            break
        if pieces is None:
            pieces = components = split()
            A = sparse_probabilities(edges, *components[1:], bounds, _REACH)
        components = _towards(target, A, components[0]), *components[1:]
    return components


def _towards(target: FloatArray, A: csr_array, weights: FloatArray) -> FloatArray:
    """Weights (n,) after EM steps for the target (m,) as data; what lies beyond the cells stays as it is."""
    beyond = np.maximum(1 - A.sum(axis=1), 0)
    for _ in range(_STEPS):
        ratio = target / np.maximum(weights @ A, _TINY)
        if np.abs(np.log(ratio)).max() < _CLOSE:
            break
        weights = weights * (A @ ratio + beyond)
        weights /= weights.sum()
    return weights
