"""Loops over the points of large samples, compiled: into cells, and which cells have to be looked into.

K intervals in order are each cut into S equal cells; cell c = k S + s. ``axes`` (K, 3) holds the left end of an
interval, the width of its cells, and 1 / width; what lies outside counts to the nearest cell. Where K > 1 points come
with the numbers of their intervals. A table (K S, 2) holds the number of points in each cell, and the sum of their
distances from its left end.
"""

from __future__ import annotations

import numba as nb
import numpy as np

BLOCK = 1024
"""Points of one interval go through in blocks: their cells, a vector of points at a time, then one by one."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _cell(v, low, per_width, last):
    s = (v - low) * per_width
    s = s if s > 0.0 else 0.0
    s = s if s < last else last
    return np.int32(s)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _add(table, c, offset):
    table[c, 0] += 1.0
    table[c, 1] += offset


@nb.njit(cache=True, nogil=True, error_model="numpy")
def tabulate(values, intervals, axes, n_cells):
    """The table of points."""
    table, last = np.zeros((axes.shape[0] * n_cells, 2)), np.float64(n_cells - 1)
    if intervals.size > 0:
        for i in range(values.size):
            low, width, per_width = axes[intervals[i]]
            s = _cell(values[i], low, per_width, last)
            _add(table, intervals[i] * n_cells + s, values[i] - (low + s * width))
        return table
    low, width, per_width = axes[0]
    cells, offsets = np.empty(BLOCK, np.uint32), np.empty(BLOCK)
    for start in range(0, values.size, BLOCK):
        part = values[start : start + BLOCK]
        for i in range(part.size):
            s = _cell(part[i], low, per_width, last)
            cells[i] = np.uint32(s)
            offsets[i] = part[i] - (low + np.float64(s) * width)
        for i in range(part.size):
            _add(table, cells[i], offsets[i])
    return table


@nb.njit(cache=True, nogil=True, error_model="numpy")
def settle(x_table, y_table, before, axes, ends, n_cells, doubtful):
    """integral |F - G| over the cells where F - G keeps its sign; and the other cells' ends, and F - G before them.

    ``before`` (K,) is F - G left of the intervals. ``ends`` (K, 2) are those of all points: where they lie outside an
    interval its first or last cell is looked into. ``doubtful`` is filled with 1 for these cells.
    """
    total, m = 0.0, 0
    their_ends, their_before = np.empty((doubtful.size, 2)), np.empty(doubtful.size)
    for k in range(before.size):
        d, part, low, width = before[k], 0.0, axes[k, 0], axes[k, 1]
        for s in range(n_cells):
            c = k * n_cells + s
            x_mass, y_mass = x_table[c, 0], y_table[c, 0]
            left = low + s * width if s > 0 else ends[k, 0]
            right = low + (s + 1) * width if s < n_cells - 1 else ends[k, 1]
            outside = left < low or (s == n_cells - 1 and right > low + n_cells * width)
            doubtful[c] = outside or (d < y_mass and -d < x_mass)
            if doubtful[c]:
                their_ends[m, 0], their_ends[m, 1], their_before[m] = left, right, d
                m += 1
            else:
                h = right - left
                part += abs(d * h + (x_mass * h - x_table[c, 1]) - (y_mass * h - y_table[c, 1]))
            d += x_mass - y_mass
        total += part
    return total, their_ends[:m].copy(), their_before[:m].copy()


@nb.njit(cache=True, nogil=True, error_model="numpy")
def pick(values, intervals, axes, n_cells, doubtful):
    """The points in doubtful cells, and their cells' numbers among the doubtful ones."""
    ranks, last = (np.cumsum(doubtful.astype(np.int64)) - 1).astype(np.int32), np.float64(n_cells - 1)
    some, numbers, cells = np.empty(values.size), np.empty(values.size, np.int32), np.empty(BLOCK, np.uint32)
    m = 0
    for start in range(0, values.size, BLOCK):
        part = values[start : start + BLOCK]
        if intervals.size == 0:
            low, per_width = axes[0, 0], axes[0, 2]
            for i in range(part.size):
                cells[i] = np.uint32(_cell(part[i], low, per_width, last))
        else:
            for i in range(part.size):
                k = intervals[start + i]
                cells[i] = np.uint32(k * n_cells + _cell(part[i], axes[k, 0], axes[k, 2], last))
        for i in range(part.size):
            if doubtful[cells[i]]:
                some[m], numbers[m] = part[i], ranks[cells[i]]
                m += 1
    return some[:m].copy(), numbers[:m].copy()
