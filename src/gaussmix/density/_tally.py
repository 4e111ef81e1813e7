"""Loops of counting, compiled, without the GIL.

A *slot* says where a point goes: 0 NaN, 1 under the axis, 2 + k bin k (k = 0..K-1), K + 2 over it. The bin of u is
k = floor((u - base) (1 / width)) - first, in float64. Weights are None for ones.

Points go through in short blocks: slots by a loop without branches, which vectorises, then one increment each.
"""

from __future__ import annotations

import numpy as np

from gaussmix._compiled import kernel


@kernel
def locate(x, u, base, per_width, first, n_bins, low, high, slots):
    """Slots of the points x, which lie at u on the axis; tells how many x lie outside [low, high]."""
    top = np.float64(n_bins + 2)
    shift = np.float64(first - 2)
    outside = np.int32(0)
    for i in range(x.size):
        v = np.float64(x[i])
        outside += np.int32((v < low) | (v > high))
        place = np.floor((np.float64(u[i]) - base) * per_width) - shift
        place = place if place > 1.0 else 1.0
        place = place if place < top else top
        place = place if v == v else 0.0
        slots[i] = np.uint32(np.int32(place))
    return outside


@kernel
def widen(x, extremes):
    """Widen extremes (2,), least and greatest, to the finite ones of x."""
    low0, low1, low2, low3 = np.inf, np.inf, np.inf, np.inf  # four at a time: a vector instruction each
    high0, high1, high2, high3 = -np.inf, -np.inf, -np.inf, -np.inf
    whole = x.size - x.size % 4
    for i in range(0, whole, 4):
        a, b, c, d = np.float64(x[i]), np.float64(x[i + 1]), np.float64(x[i + 2]), np.float64(x[i + 3])
        low0, low1 = a if a < low0 else low0, b if b < low1 else low1  # false for NaN
        low2, low3 = c if c < low2 else low2, d if d < low3 else low3
        high0, high1 = a if a > high0 else high0, b if b > high1 else high1
        high2, high3 = c if c > high2 else high2, d if d > high3 else high3
    low, high = min(low0, low1, low2, low3), max(high0, high1, high2, high3)
    rest = whole if low > -np.inf and high < np.inf else 0  # all over again where there are infinities
    if rest == 0:
        low, high = np.inf, -np.inf
    for i in range(rest, x.size):
        v = np.float64(x[i])
        if np.isfinite(v):
            low, high = min(low, v), max(high, v)
    extremes[0], extremes[1] = min(extremes[0], low), max(extremes[1], high)


@kernel
def tally(slots, weights, table):
    """Add each point's weight to its slot."""
    for i in range(slots.size):
        table[slots[i]] += 1 if weights is None else weights[i]


@kernel
def tally_equal(x, weights, atoms, table):
    """Add the weights of points that equal an atom; N A comparisons, a vector of them at a time."""
    for a in range(atoms.size):
        if weights is None:
            number = 0
            for i in range(x.size):
                number += np.float64(x[i]) == atoms[a]
            table[a] += number
        else:
            for i in range(x.size):
                if np.float64(x[i]) == atoms[a]:
                    table[a] += weights[i]


@kernel
def tally_moments(slots, u, weights, base, per_width, first, moments):
    """Add d^k, k = 1..4, d = (u - bin centre) / width, times the weight, to moments (4, K)."""
    for i in range(slots.size):
        k = np.int64(slots[i]) - 2
        if 0 <= k < moments.shape[1]:
            d = (np.float64(u[i]) - base) * per_width - np.float64(k + first) - 0.5
            term = 1.0 if weights is None else np.float64(weights[i])
            for power in range(4):
                term *= d
                moments[power, k] += term


@kernel
def count_blocks(x, base, per_width, first, n_bins, slots, table, extremes):
    """`locate`, `widen` and `tally` for the points of a contiguous x on a linear axis, one each, a block at a time."""
    for start in range(0, x.size, slots.size):
        part = x[start : start + slots.size]
        if locate(part, part, base, per_width, first, n_bins, extremes[0], extremes[1], slots) > 0:
            widen(part, extremes)
        tally(slots[: part.size], None, table)


def count(x, base, per_width, first, n_bins, block, table, extremes) -> None:
    """`count_blocks` of fewer than 2^31 points, ``block`` at a time."""
    slots = np.empty(block, np.uint32)
    if x.size < 4 * table.size:
        count_blocks(x, base, per_width, first, n_bins, slots, table, extremes)
    else:
        small = np.zeros(table.size, np.int32)  # half the memory of table, which matters in the first-level cache
        count_blocks(x, base, per_width, first, n_bins, slots, small, extremes)
        table += small
