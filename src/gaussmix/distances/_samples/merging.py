"""Two samples in order, merged, compiled.

A sample is ``values`` in order, each of the mass ``each``, a whole number, so that sums are exact.
"""

from __future__ import annotations

import numba as nb

CHUNK = 4096
"""Terms are added up in chunks, which keeps the error of long sums small."""


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _area_between(x, x_each, i, i_end, y, y_each, j, j_end, d, left):
    """integral |F - G| from left, where F - G is d, to the last of the points x[i:i_end] and y[j:j_end]; and that."""
    total, part, at, terms = 0.0, 0.0, left, 0
    while i < i_end and j < j_end:
        of_x = x[i] <= y[j]
        new = x[i] if of_x else y[j]
        part += abs(d) * (new - at)
        at = new
        d += x_each if of_x else -y_each
        i += of_x
        j += not of_x
        terms += 1
        if terms == CHUNK:
            total, part, terms = total + part, 0.0, 0
    for k in range(i, i_end):
        part += abs(d) * (x[k] - at)
        at = x[k]
        d += x_each
    for k in range(j, j_end):
        part += abs(d) * (y[k] - at)
        at = y[k]
        d -= y_each
    return total + part, at


@nb.njit(cache=True, nogil=True, error_model="numpy")
def area(x, x_each, y, y_each):
    """integral |F - G| of all points."""
    total, _ = _area_between(x, x_each, 0, x.size, y, y_each, 0, y.size, 0.0, min(x[0], y[0]))
    return total


@nb.njit(cache=True, nogil=True, error_model="numpy")
def area_of_cells(x, x_each, x_counts, y, y_each, y_counts, edges, before):
    """integral |F - G| over cells with these ends (K, 2), F - G before them (K,) and numbers of points (K,)."""
    total, i, j = 0.0, 0, 0
    for k in range(before.size):
        left, right, d = edges[k, 0], edges[k, 1], before[k]
        i_end, j_end = i + x_counts[k], j + y_counts[k]
        part, at = _area_between(x, x_each, i, i_end, y, y_each, j, j_end, d, left)
        d += (i_end - i) * x_each - (j_end - j) * y_each
        total += part + abs(d) * (right - at)
        i, j = i_end, j_end
    return total


@nb.njit(cache=True, nogil=True, error_model="numpy")
def largest_gap(x, x_each, y, y_each):
    """max |Q_x - Q_y| over levels of positive mass."""
    i, j, level, top = 0, 0, 0.0, 0.0
    of_x = x_each
    of_y = y_each
    while True:
        if min(of_x, of_y) > level:
            top = max(top, abs(x[i] - y[j]))
        level = min(of_x, of_y)
        next_x, next_y = of_x <= of_y, of_y <= of_x
        i, j = i + next_x, j + next_y
        if i == x.size or j == y.size:
            return top
        if next_x:
            of_x += x_each
        if next_y:
            of_y += y_each


@nb.njit(cache=True, nogil=True, error_model="numpy")
def mean_power(x, x_each, y, y_each, unit, p):
    """integral (|Q_x - Q_y| / unit)^p over the levels."""
    i, j, level, total, part, terms = 0, 0, 0.0, 0.0, 0.0, 0
    of_x = x_each
    of_y = y_each
    while True:
        gap = abs(x[i] - y[j]) / unit
        power = gap * gap if p == 2 else gap**p
        part += (min(of_x, of_y) - level) * power
        terms += 1
        if terms == CHUNK:
            total, part, terms = total + part, 0.0, 0
        level = min(of_x, of_y)
        next_x, next_y = of_x <= of_y, of_y <= of_x
        i, j = i + next_x, j + next_y
        if i == x.size or j == y.size:
            return total + part
        if next_x:
            of_x += x_each
        if next_y:
            of_y += y_each
