"""Integrals over the line: moments, expectations, and panels for functions smooth on the scale of the components there.

Moments of Gaussians cut off at bounds are closed forms. For other functions the line is cut into panels at the ends of
supports, no wider than `WIDTH` of the narrowest component within `REACH` standard deviations, and wider only in
proportion to the distance from it: where a density is small, its logarithm bends outside of the components, too. On
each panel stands a 16-point Gauss-Legendre rule; panels are halved where their rule and that of their halves disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture.exact import Pieces, center

REACH = 9.5  # standard deviations at which a component ends: 1e-20 of its density
FAR = 42.0  # the same where its density underflows: for expectations of what grows as fast as it falls
WIDTH = 6.0  # of a panel, in standard deviations; the rule on its halves is exact to 1e-15 for a normal density
NARROW = 0.5  # the same where the function may have steps: next to an end of a panel the rule does not see them
GROWTH = 2.0  # of panels, with the distance from a component
GUARD_REACH = 1e14
"""Scales of a guard at which it ends: beyond, an integral of x^2 times its density has 1e-14 of its value."""
TOLERANCE = 1e-12
"""Of the integral, by which a panel's rule may differ from its halves'; the halves themselves are far more accurate."""
MOST_HALVINGS, MOST_POINTS = 60, 1 << 22
_MOST_CELLS = 2.0**50  # from one end to the other that integers in float64 can count
_OFF = 0.65  # narrowest widths from the middle to an end of cells: a density may bend sharply in the middle

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)

Function = Callable[[Any], Any]


def mean_and_variance(p: Pieces) -> tuple[float, float]:
    """Expectation and variance, those of the guard included."""

    def about(c: float) -> tuple[float, float]:
        """E[X - c] and E[(X - c)^2]."""
        _, first, second = central_moments(2, c, p).tolist()
        away = p.guard_loc - c
        return first + p.guard_mass * away, second + p.guard_mass * (away**2 + 3 * p.guard_scale**2)

    start = center(p)
    mean = start + about(start)[0]
    shift, second = about(mean)
    return mean, second - shift**2


def central_moments(order: int, c: float, p: Pieces) -> FloatArray:
    """E[(X - c)^k] for k = 0 .. order, (order + 1,), but for the guard.

    For a Gaussian between a and b, with d = m - c and the boundary term B_k = s ((b - c)^k phi(beta) - (a - c)^k
    phi(alpha)):   M_k = d M_(k-1) + (k - 1) s^2 M_(k-2) - B_(k-1).
    """
    d, s = p.mean - c, 1 / p.inverse_std
    inside, boundary = np.ones(d.size), np.zeros((order + 1, d.size))
    for end, sign in ((p.low, -1), (p.high, 1)):
        if math.isfinite(end):
            z = (end - p.mean) * p.inverse_std
            inside -= ndtr(-sign * z)
            height = sign * np.exp(-0.5 * z * z) * s / math.sqrt(2 * math.pi)
            boundary += height * (end - c) ** np.arange(order + 1.0)[:, None]
    moments = [inside]
    for k in range(1, order + 1):
        second = (k - 1) * s**2 * moments[k - 2] if k > 1 else 0.0
        moments.append(d * moments[k - 1] + second - boundary[k - 1])
    out = np.array([float(p.weight @ each) for each in moments])
    if p.flat > 0:
        k = np.arange(1.0, order + 2)
        out += p.flat * ((p.high - c) ** k - (p.low - c) ** k) / k
    return out


class Features(NamedTuple):
    """What panels must resolve. All but ``cuts`` are (n,)."""

    start: FloatArray
    end: FloatArray
    """From start to end panels may be ``width`` wide, beyond by `GROWTH` times the distance if that is more."""
    width: FloatArray
    low: FloatArray
    high: FloatArray  # from low to high there is something to integrate
    cuts: FloatArray  # where panels end


def features(laws: Sequence[Pieces], reach: float = REACH, width: float = WIDTH) -> Features:
    """Of the components, flat parts, guards and the ends of supports; reach and width in standard deviations."""
    rows, cuts = [], []
    for p in laws:
        std = 1 / p.inverse_std
        start, end = (np.clip(p.mean + side * REACH * std, p.low, p.high) for side in (-1, 1))
        low, high = (np.clip(p.mean + side * reach * std, p.low, p.high) for side in (-1, 1))
        rows.append(np.stack([start, end, width * std, low, high]))
        if p.flat > 0:
            rows.append(np.array([[p.low], [p.high], [p.high - p.low], [p.low], [p.high]]))
        if p.guard_mass > 0:
            loc, away = p.guard_loc, GUARD_REACH * p.guard_scale
            rows.append(np.array([[loc], [loc], [GROWTH * p.guard_scale], [loc - away], [loc + away]]))
        cuts += [end for end in (p.low, p.high) if math.isfinite(end)]
    return Features(*np.concatenate(rows, axis=1), cuts=np.array(cuts))


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
    """Of ``function`` over panels (M,), each halved until rules agree to `TOLERANCE` of the integral of its size.

    NaN or infinite where the function is, or more than double precision holds.

    ``function``: points (N,) -> values (N,) and how far rounding can put them off; what that explains is not halved.
    """

    def sums(lower: FloatArray, upper: FloatArray) -> FloatArray:
        x, w = rule(lower, upper)
        values, noise = (part.reshape(x.shape) for part in function(x.ravel()))
        return np.stack([(part * w).sum(1) for part in (values, np.abs(values), noise)])

    value, done, size = sums(lower, upper)[0], 0.0, 0.0
    for _ in range(MOST_HALVINGS):
        if not np.isfinite(value).all():
            return float(value.sum())
        middle = 0.5 * lower + 0.5 * upper
        lower, upper = np.concatenate([lower, middle]), np.concatenate([middle, upper])
        halves = sums(lower, upper)
        both, sizes, explained = halves.reshape(3, 2, -1).sum(1)
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(value - both) <= np.maximum(TOLERANCE * (size + sizes.sum()), explained))
        done, size = done + float(both[~off].sum()), size + float(sizes[~off].sum())
        again = np.tile(off, 2)
        lower, upper, value = lower[again], upper[again], halves[0, again]
        if not 0 < value.size * _NODES.size < MOST_POINTS:
            break
    return done + float(value.sum())


def expectation(function: Function, log_density: Function, p: Pieces, low: float, high: float) -> float:
    """The integral from ``low`` to ``high`` of function(x) exp(log_density(x)), the density of what p has there."""
    lower, upper = panels(features([p], FAR, NARROW))
    if p.guard_mass > 0:  # of which as much may count far out
        away = GUARD_REACH * p.guard_scale * 4.0 ** np.arange(110)
        outer = [p.guard_loc - away[1:], p.guard_loc + away[:-1]], [p.guard_loc - away[:-1], p.guard_loc + away[1:]]
        lower, upper = np.concatenate([lower, *outer[0]]), np.concatenate([upper, *outer[1]])

    def weighed(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        values, density = np.zeros(x.size), np.exp(log_density(x))
        some = density > 0
        if some.any():
            values[some] = evaluate(function, x[some]) * density[some]
        return values, np.zeros(x.size)

    return integral(weighed, *_within(lower, upper, low, high))


def entropy(log_density: Function, p: Pieces, low: float, high: float) -> float:
    """-int f log f between ``low`` and ``high`` of a density f as in `expectation`."""

    def surprise(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_f = np.maximum(log_density(x), -1e3)
        return -np.exp(log_f) * log_f, np.zeros(x.size)

    return integral(surprise, *_within(*panels(features([p])), low, high))


def _within(lower: NDArray[Any], upper: NDArray[Any], low: float, high: float) -> tuple[FloatArray, FloatArray]:
    lower, upper = lower.clip(low, high), upper.clip(low, high)
    return lower[lower < upper], upper[lower < upper]


def evaluate(function: Function, x: FloatArray) -> FloatArray:
    """function(x) in float64 (N,), one by one where it does not take arrays; infinite where it overflows."""
    with np.errstate(all="ignore"):
        try:
            values = np.asarray(function(x), np.float64)
            if values.shape in ((), x.shape):
                return np.broadcast_to(values, x.shape)
        except (TypeError, ValueError):
            pass
        return np.array([_evaluate_one(function, each) for each in x.tolist()])


def _evaluate_one(function: Function, x: float) -> float:
    try:
        return float(function(x))
    except OverflowError:
        return math.inf


def guard_has_no_share(function: Function, p: Pieces, low: float, high: float) -> bool:
    """Whether between ``low`` and ``high`` a function grows so fast that the guard's expectation of it diverges.

    A Student t with 3 degrees of freedom has none where |f| grows as |x|^3, or is not finite far out.
    """
    ends = np.array([sign for sign, end in ((-1.0, low), (1.0, high)) if math.isinf(end)])
    if p.guard_mass == 0 or ends.size == 0:
        return False
    with np.errstate(over="ignore"):
        near, far = (np.abs(evaluate(function, p.guard_loc + p.guard_scale * ends * t)) for t in (1e20, 1e40))
    return not np.all(np.isfinite(far) & (far <= near * 1e20**2.99))
