"""The shape of a density: where it is highest, and the sets where it is above a level.

Turning points are first found on a grid that follows the cells of the mixture's table; rises of log p by less than
`RIPPLE` are rounding. A maximum is then the root of (log p)' between its neighbours, by Newton's method on exact sums:

    (log p)' = sum_i -z_i e_i / s_i / p,      e_i = w_i N(x; m_i, s_i^2),   z_i = (x - m_i) / s_i
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.exact import Pieces
from gaussmix.density._mixture.table import PolynomialTable

THIN_GUARD = 0.01  # mass below which the guard's own peak, in a gap between Gaussians, is none of the distribution's
RIPPLE = 1e-9  # least rise of log p on both sides of a maximum, relative where |log p| > 1
_PER_CELL = 8
_ROUNDS = 100

LogDensity = Callable[[FloatArray], FloatArray]


def grid(p: Pieces, table: PolynomialTable, far: FloatArray) -> FloatArray:
    """Increasing points between which the density does not turn unnoticed, up to the quantiles ``far`` (2,).

    Where a guard goes on beyond a bound, there is a point just outside.
    """
    fitted = np.isfinite(table.logs[:, 1])
    cells = table.logs[fitted, :1] + np.linspace(-1, 1, _PER_CELL, endpoint=False) / table.logs[fitted, 1:2]
    points = [cells.ravel(), table.logs[~fitted, 0], p.mean, exact.extent(p), far, [p.low, p.high]]
    if p.guard_mass > 0:
        points += [p.guard_loc + p.guard_scale * np.sinh(np.linspace(-40, 40, 161))]
        points += [np.nextafter([p.low, p.high], [-math.inf, math.inf])]
    low, high = exact.ends(p)
    low = max(low, min(far[0], p.low if math.isfinite(p.low) else math.inf))
    high = min(high, max(far[1], p.high if math.isfinite(p.high) else -math.inf))
    x = np.unique(np.concatenate(points))
    return x[np.isfinite(x) & (x >= low) & (x <= high)]


def turning_points(v: FloatArray) -> tuple[IntArray, IntArray]:
    """Indices of the maxima (k,) of values, and of the minima (k - 1,) between them; ripples do not count."""
    turns = np.flatnonzero(np.diff(np.sign(np.diff(v)), prepend=2, append=2) != 0)
    floor = RIPPLE * np.maximum(1.0, np.abs(v[turns]))
    maxima, minima, top, bottom, rises = [], [], 0, 0, True
    for i, (value, least) in enumerate(zip(v[turns].tolist(), floor.tolist(), strict=True)):
        if value > v[turns[top]]:
            top = i
        if value < v[turns[bottom]]:
            bottom = i
        if rises and v[turns[top]] - value >= least:
            maxima.append(turns[top])
            bottom, rises = i, False
        elif not rises and value - v[turns[bottom]] >= least:
            minima.append(turns[bottom])
            top, rises = i, True
    if rises:
        maxima.append(turns[top])
    return np.array(maxima, np.int64), np.array(minima[: len(maxima) - 1], np.int64)


def maxima(x: FloatArray, v: FloatArray, p: Pieces) -> FloatArray:
    """The positions of all local maxima of a density whose logs at the `grid` x are v."""
    tops, _ = turning_points(v)
    near = v[tops] - RIPPLE * np.maximum(1.0, np.abs(v[tops]))  # flat tops go down to here
    left, right = np.maximum(tops - 1, 0), np.minimum(tops + 1, x.size - 1)
    while (flat := (v[left] > near) & (left > 0)).any():
        left = left - flat
    while (flat := (v[right] > near) & (right < x.size - 1)).any():
        right = right + flat
    inside = (x[tops] >= p.low) & (x[tops] <= p.high)
    low = np.where(inside, np.maximum(x[left], p.low), x[left])
    high = np.where(inside, np.minimum(x[right], p.high), x[right])
    at_low, at_high = ((ends == bound) & _falls_from(ends, p) for ends, bound in ((low, p.low), (high, p.high)))
    level = (v[left] > near) & (v[right] > near)
    found = _roots(low, high, x[tops], p)
    found = np.select([level & ~at_low & ~at_high, at_low, at_high], [0.5 * low + 0.5 * high, low, high], found)
    if 0 < p.guard_mass < THIN_GUARD:
        others = exact.log_densities(found, p._replace(guard_mass=0.0))
        found = found[others >= exact.guard_log_density(found - p.guard_loc, p)]
    return found


def _falls_from(x: FloatArray, p: Pieces) -> NDArray[np.bool_]:
    """Whether log p is curved downwards at x (k,), a bound, where its slope is 0."""
    inside = np.clip(x, p.low, p.high)
    return _slopes(inside, p)[1] < 0


def _roots(low: FloatArray, high: FloatArray, x: FloatArray, p: Pieces) -> FloatArray:
    """The roots (k,) of the slope of log p between ``low``, where it rises, and ``high``; x lies between."""
    x, low, high = np.clip(x, low, high), low.copy(), high.copy()
    moving, width = np.arange(x.size), high - low
    for _ in range(_ROUNDS):
        slope, curvature = _slopes(x[moving], p)
        low[moving[slope > 0]], high[moving[slope <= 0]] = x[moving[slope > 0]], x[moving[slope <= 0]]
        with np.errstate(all="ignore"):
            new = x[moving] - slope / curvature
        a, b = low[moving], high[moving]
        new = np.where((a < new) & (new < b) & (curvature < 0), new, 0.5 * a + 0.5 * b)
        step = np.abs(new - x[moving])
        x[moving] = np.where(slope == 0, x[moving], new)
        moving = moving[(step > 1e-15 * np.abs(new) + 1e-14 * width[moving]) & (slope != 0)]
        if moving.size == 0:
            break
    return x


@np.errstate(all="ignore")
def _slopes(x: FloatArray, p: Pieces) -> tuple[FloatArray, FloatArray]:
    """First and second derivatives of log p at x (k,), inside the bounds."""
    first, second = np.empty(x.size), np.empty(x.size)
    guard = exact.guard_log_density(x - p.guard_loc, p)
    t = (x - p.guard_loc) / p.guard_scale
    falls = -4 / 3 * t / (1 + t * t / 3) / p.guard_scale
    bends = -4 / 3 * (1 - t * t / 3) / (1 + t * t / 3) ** 2 / p.guard_scale**2
    inside = (x >= p.low) & (x <= p.high)
    for rows in exact.blocks(np.arange(x.size), p):
        z = (x[rows, None] - p.mean) * p.inverse_std
        terms = np.where(inside[rows, None], p.log_height - 0.5 * z * z, -math.inf)
        flat = np.where(inside[rows] & (p.flat > 0), math.log(p.flat) if p.flat > 0 else 0.0, -math.inf)
        top = np.maximum(terms.max(1, initial=-math.inf), np.maximum(flat, guard[rows]))
        e, g = np.exp(terms - top[:, None]), np.exp(guard[rows] - top)
        total = e.sum(1) + g + np.exp(flat - top)
        first[rows] = (g * falls[rows] - (e * z) @ p.inverse_std) / total
        curved = g * (falls[rows] ** 2 + bends[rows]) + (e * (z * z - 1)) @ p.inverse_std**2
        second[rows] = curved / total - first[rows] ** 2
    return first, second


def highest_density(
    share: float, x: FloatArray, v: FloatArray, log_density: LogDensity, mass_below: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Intervals (k, 2) of the set {log p >= u} that holds a ``share`` < 1; ``x``, ``v``: the `grid` and log p there."""
    from scipy.optimize import brentq  # takes longer to load than all of this package

    tops, bottoms = turning_points(v)
    monotone = v.copy()
    turns = np.sort(np.concatenate([[0, v.size - 1], tops, bottoms]))
    for first, last in pairwise(turns):
        part = monotone[first : last + 1]
        part[:] = np.maximum.accumulate(part) if v[last] > v[first] else np.maximum.accumulate(part[::-1])[::-1]

    def intervals(level: float) -> FloatArray:
        above = np.concatenate([[False], monotone >= level, [False]])
        starts, stops = np.flatnonzero(above[1:] & ~above[:-1]), np.flatnonzero(above[:-1] & ~above[1:])
        padded = np.concatenate([x[:1], x, x[-1:]])
        rises = _crossings(padded[starts], padded[starts + 1], level, log_density)
        return np.stack([rises, _crossings(padded[stops + 1], padded[stops], level, log_density)], axis=1)

    def excess(level: float) -> float:
        found = intervals(level)
        below = mass_below(found.ravel()).reshape(found.shape)
        return float((below[:, 1] - below[:, 0]).sum()) - share

    low, high = float(v[np.isfinite(v)].min()), float(v.max())
    solve: Any = brentq
    level = float(solve(excess, low, high, xtol=1e-14, rtol=1e-14)) if excess(low) > 0 > excess(high) else low
    slack = 1e-13 * max(1.0, abs(level))
    while excess(level) < -1e-9 and level > low:  # a flat stretch begins here
        level, slack = level - slack, 2 * slack
    return intervals(level)


def _crossings(outer: FloatArray, inner: FloatArray, level: float, log_density: LogDensity) -> FloatArray:
    """Where log p crosses the level between ``outer`` (k,), where it is lower, and ``inner``, by bisection."""
    ends = outer == inner
    for _ in range(_ROUNDS):
        middle = 0.5 * outer + 0.5 * inner
        if (ends | (middle == outer) | (middle == inner)).all():
            break
        above = log_density(middle) >= level
        outer, inner = np.where(above, outer, middle), np.where(above, middle, inner)
    return inner


def with_points(intervals: FloatArray, points: FloatArray) -> FloatArray:
    """Intervals (k, 2) and points, those that lie in none as intervals of length 0, in increasing order."""
    lonely = points[~((intervals[:, :1] <= points) & (points <= intervals[:, 1:])).any(0)]
    found = np.concatenate([intervals.reshape(-1, 2), np.stack([lonely, lonely], axis=1)])
    return found[np.argsort(found[:, 0])]
