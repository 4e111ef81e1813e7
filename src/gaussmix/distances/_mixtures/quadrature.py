"""Integrals over the line of functions that are smooth on the scale of the components that lie there.

The line is cut into panels at the ends of supports, no wider than `WIDTH` of the narrowest component within `REACH`
standard deviations, and wider only in proportion to the distance from it: where a density is small, its logarithm bends
outside of the components, too. On each panel stands a 16-point Gauss-Legendre rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture.exact import Pieces

REACH = 9.5  # standard deviations at which a component ends: 1e-20 of its density
WIDTH = 6.0  # of a panel, in standard deviations; the rule on its halves is exact to 1e-15 for a normal density
GROWTH = 2.0  # of panels, with the distance from a component
GUARD_REACH = 1e14
"""Scales of a guard at which it ends: beyond, an integral of x^2 times its density has 1e-14 of its value."""
TOLERANCE = 1e-12
"""Of the integral, by which a panel's rule may differ from its halves'; the halves themselves are far more accurate."""
MOST_HALVINGS = 60
_MOST_CELLS = 2.0**50  # from one end to the other that integers in float64 can count
_OFF = 0.65  # narrowest widths from the middle to an end of cells: a density may bend sharply in the middle

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


class Features(NamedTuple):
    """What panels must resolve. All but ``cuts`` are (n,)."""

    start: FloatArray
    end: FloatArray
    """From start to end panels may be ``width`` wide, beyond by `GROWTH` times the distance if that is more."""
    width: FloatArray
    low: FloatArray
    high: FloatArray  # from low to high there is something to integrate
    cuts: FloatArray  # where panels end


def features(laws: Sequence[Pieces]) -> Features:
    """Of the components, the flat parts, the guards and the ends of the supports of mixtures."""
    rows, cuts = [], []
    for p in laws:
        std = 1 / p.inverse_std
        start, end = (np.clip(p.mean + side * REACH * std, p.low, p.high) for side in (-1, 1))
        rows.append(np.stack([start, end, WIDTH * std, start, end]))
        if p.flat > 0:
            rows.append(np.array([[p.low], [p.high], [p.high - p.low], [p.low], [p.high]]))
        if p.guard_mass > 0:
            loc, reach = p.guard_loc, GUARD_REACH * p.guard_scale
            rows.append(np.array([[loc], [loc], [GROWTH * p.guard_scale], [loc - reach], [loc + reach]]))
        cuts += [end for end in (p.low, p.high) if math.isfinite(end)]
    start, end, width, low, high = np.concatenate(rows, axis=1)
    return Features(start, end, width, low, high, np.array(cuts))


def panels(f: Features) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of the panels (M,), which cover [low, high] of every feature.

    Cells are cut in two where a feature that needs narrower ones is nearer than a `GROWTH`-th of their width, from the
    narrowest level to one wider than all. Their ends avoid places that are round for the features.
    """
    least, most = f.low.min(), f.high.max()
    edges, whole = [[least, most], f.cuts], most - least
    width = np.maximum(f.width, 8 * np.spacing(np.maximum(np.abs(f.start), np.abs(f.end))))  # no finer than numbers
    countable = whole / width.min() < _MOST_CELLS  # else narrow features lie near 0, where alone numbers are so fine
    origin = (0.5 * (least + most) if countable else 0.0) + _OFF * width.min()
    level = np.frexp(width / whole)[1]
    low, high = np.empty((2, 0))
    for e in range(level.min(), 3):
        own = level == e  # narrower than 2^e whole, but not than half of that
        low, high = union(np.append(low, f.start[own]), np.append(high, f.end[own]))
        width = math.ldexp(whole, e)
        first, stop = np.floor((low - origin) / width - 1 / GROWTH), np.ceil((high - origin) / width + 1 / GROWTH)
        first, last = union(first, stop - 1)
        cut = spread(first, (last - first + 1).astype(int))
        edges += [origin + (cut + part) * width for part in (0.0, 0.5, 1.0)]
    edges = np.unique(np.concatenate(edges).clip(least, most))
    lower, upper = edges[:-1], edges[1:]
    low, high = union(f.low, f.high)
    at = np.searchsorted(high, lower, "right").clip(max=high.size - 1)
    live = (low[at] < upper) & (high[at] > lower)
    return lower[live], upper[live]


def union(low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of intervals (n,): those that do not meet, in order."""
    order = np.argsort(low)
    low, high = low[order], np.maximum.accumulate(high[order])
    new = np.flatnonzero(low[1:] > high[:-1]) + 1
    return low[np.append(0, new)], high[np.append(new, low.size) - 1]


def spread(first: NDArray[Any], counts: IntArray) -> NDArray[Any]:
    """first_0, first_0 + 1, ... (counts_0 of them), first_1, first_1 + 1, ..."""
    return np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)


def rule(lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes (M, 16) and weights (M, 16) on panels (M,)."""
    half = 0.5 * (upper - lower)[:, None]
    return 0.5 * (lower + upper)[:, None] + half * _NODES, half * _WEIGHTS


def integral(
    function: Callable[[FloatArray], tuple[FloatArray, FloatArray]], lower: FloatArray, upper: FloatArray
) -> float:
    """Of ``function``, at least 0, over panels (M,), each halved until rules agree to `TOLERANCE` of the integral.

    Infinite where the function is, or more than double precision holds.

    ``function``: points (N,) -> values (N,) and how far rounding can put them off; what that explains is not halved.
    """

    def sums(lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        x, w = rule(lower, upper)
        values, noise = (part.reshape(x.shape) for part in function(x.ravel()))
        return (values * w).sum(1), (noise * w).sum(1)

    value, _ = sums(lower, upper)
    if np.isinf(value).any():
        return math.inf
    done = 0.0
    for _ in range(MOST_HALVINGS):
        middle = 0.5 * lower + 0.5 * upper
        lower, upper = np.concatenate([lower, middle]), np.concatenate([middle, upper])
        halves, noise = sums(lower, upper)
        both, explained = (part.reshape(2, -1).sum(0) for part in (halves, noise))
        off = np.abs(value - both) > np.maximum(TOLERANCE * (done + both.sum()), explained)
        done += float(both[~off].sum())
        again = np.tile(off, 2)
        lower, upper, value = lower[again], upper[again], halves[again]
        if not value.size:
            return done
    return done + float(value.sum())
