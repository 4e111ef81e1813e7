"""Random numbers from a mixture, one after another in random order.

Walker's alias table picks the component of every number in O(1): column j of K gives its own component with probability
``own[j]`` and another one otherwise. Both are looked up rather than branched to: a branch that nobody can predict would
cost more than the normal number. Gaussians are folded back at the bounds; an atom is a component of standard deviation
0, which is not; the guard, if there is one, is the last component.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray, IntArray


class AliasTable(NamedTuple):
    """K components, what chooses among them and what to do with the chosen one; arrays are (K,)."""

    own: FloatArray
    choices: IntArray  # (2 K,): the own component of every column, then the other one
    mean: FloatArray
    std: FloatArray
    guarded: bool
    low: float
    high: float


@nb.njit(cache=True)
def alias_table(probability: FloatArray) -> tuple[FloatArray, IntArray]:
    """(own, choices) of probabilities (K,) that sum to 1."""
    size = probability.size
    own, choices = np.empty(size), np.empty(2 * size, np.int64)
    poor, rich = np.empty(size, np.int64), np.empty(size, np.int64)
    n_poor = n_rich = 0
    for k in range(size):
        own[k] = probability[k] * size
        choices[k] = choices[size + k] = k
        if own[k] < 1:
            poor[n_poor] = k
            n_poor += 1
        else:
            rich[n_rich] = k
            n_rich += 1
    while n_poor > 0 and n_rich > 0:
        n_poor -= 1
        needy, giver = poor[n_poor], rich[n_rich - 1]
        choices[size + needy] = giver
        own[giver] -= 1 - own[needy]
        if own[giver] < 1:
            n_rich -= 1
            poor[n_poor] = giver
            n_poor += 1
    return own, choices


@nb.njit(cache=True, nogil=True)
def _folded(x: float, low: float, high: float) -> float:
    """x reflected at the bounds until it lies inside."""
    if x < low and math.isinf(high):
        return 2 * low - x
    if x > high and math.isinf(low):
        return 2 * high - x
    if low <= x <= high:
        return x
    turn = (x - low) % (2 * (high - low))
    return min(max(low + min(turn, 2 * (high - low) - turn), low), high)


@nb.njit(cache=True, nogil=True)
def draw(size: int, s: AliasTable, rng: np.random.Generator) -> FloatArray:
    """``size`` independent numbers."""
    out = np.empty(size)
    columns = s.own.size
    for k in range(size):
        place = rng.random() * columns
        j = int(place)
        j = int(s.choices[j + columns * int(place - j >= s.own[j])])
        z = rng.standard_normal()
        if s.guarded and j == columns - 1:
            square = rng.standard_normal() ** 2 + rng.standard_normal() ** 2 + rng.standard_normal() ** 2
            out[k] = s.mean[j] + s.std[j] * z / math.sqrt(square / 3)
        else:
            std = s.std[j]
            out[k] = _folded(s.mean[j] + std * z, s.low, s.high) if std > 0 else s.mean[j]
    return out
