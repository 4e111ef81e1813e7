"""Expectations of any function under a distribution: adaptive Gauss-Kronrod quadrature, many panels at once.

    int f(x) p(x) dx  =  sum over panels of  h sum_k w_k f(x_k) p(x_k)

Panels begin as the cells of the mixture's table, on which p is smooth, and go on outwards in geometric steps for tails
and the guard. A panel is halved while its 15 points and the 7 among them disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.exact import Pieces
from gaussmix.density._mixture.table import PolynomialTable

Function = Callable[[Any], Any]

TOLERANCE = 1e-13  # of the integral of |f| p, for the error of each panel
MAX_POINTS = 1 << 22
_NODES = np.array([0.9914553711208126, 0.9491079123427585, 0.8648644233597691, 0.7415311855993945, 0.5860872354676911,
                   0.4058451513773972, 0.2077849550078985, 0.0])  # fmt: skip
_KRONROD = np.array([0.0229353220105292, 0.0630920926299786, 0.1047900103222502, 0.1406532597155259, 0.1690047266392679,
                     0.1903505780647854, 0.2044329400752989, 0.2094821410847278])  # fmt: skip
_GAUSS = np.array([0.0, 0.1294849661688697, 0.0, 0.2797053914892767, 0.0, 0.3818300505051189, 0.0, 0.4179591836734694])
_NODES, _KRONROD, _GAUSS = (
    np.concatenate([sign * half, half[-2::-1]]) for half, sign in ((_NODES, -1), (_KRONROD, 1), (_GAUSS, 1))
)


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


def knots(p: Pieces, table: PolynomialTable, low: float, high: float) -> FloatArray:
    """Edges of panels from ``low`` to ``high``, as far as there is any probability."""
    fitted = np.isfinite(table.logs[:, 1])
    middle, half = table.logs[fitted, 0], 1 / table.logs[fitted, 1]
    (left, right), most = exact.extent(p), 1 / p.inverse_std.min(initial=math.inf)
    outwards = most * 2.0 ** np.arange(-3, 6)
    edges = [middle - half, middle + half, left - outwards, right + outwards, [left, right]]
    if p.guard_mass > 0:
        outwards = p.guard_scale * 4.0 ** np.arange(-2, 133)
        edges += [p.guard_loc - outwards, [p.guard_loc], p.guard_loc + outwards]
    ends = exact.ends(p)
    low, high = max(low, ends[0]), min(high, ends[1])
    edges += [[end for end in (low, high, p.low, p.high) if math.isfinite(end)]]
    found = np.unique(np.concatenate(edges))
    return found[(found >= low) & (found <= high)]


def integrate(function: Function, log_density: Callable[[FloatArray], FloatArray], edges: FloatArray) -> float:
    """The integral of function(x) exp(log_density(x)) over panels between increasing ``edges``.

    NaN or infinite where the function is on a set of positive probability.
    """
    low, high = edges[:-1], edges[1:]
    total, magnitude = 0.0, 0.0
    n_points = 0
    while low.size:
        half = 0.5 * (high - low)
        x = (0.5 * low + 0.5 * high)[:, None] + half[:, None] * _NODES
        density = np.exp(log_density(x.ravel()))
        values = np.zeros(x.size)
        some = density > 0
        if some.any():
            values[some] = evaluate(function, x.ravel()[some]) * density[some]
        values = values.reshape(x.shape)
        if not np.isfinite(values).all():
            return float(values.sum())
        here, size = half * (values @ _KRONROD), half * (np.abs(values) @ _KRONROD)
        off = np.abs(here - half * (values @ _GAUSS))
        with np.errstate(all="ignore"):
            error = np.where(size > 0, np.minimum(off, size * (200 * off / size) ** 1.5), 0.0)
        n_points += x.size
        good = error <= TOLERANCE * (magnitude + size.sum())
        good |= (half <= 4 * np.spacing(np.maximum(np.abs(low), np.abs(high)))) | (n_points > MAX_POINTS)
        total, magnitude = total + float(here[good].sum()), magnitude + float(size[good].sum())
        low, high = low[~good], high[~good]
        middle = 0.5 * low + 0.5 * high
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    return total
