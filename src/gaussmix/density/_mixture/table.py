"""A mixture as a table of polynomials: log-density and masses at a cost that does not depend on the components.

The line is cut at a point c of the bulk. Each side, |x - c| in [0, reach), is halved until on every cell, with t in
[-1, 1] across it, polynomials in t of degree 9 and 10 hold

    log p(x) = sum_k a_k t^k             to LOG_TOLERANCE * max(1, |log p|)
    G(x)     = sum_k b_k t^k             to MASS_TOLERANCE of the mass in the cell, or FLAT_TOLERANCE * G

G is the mass beyond x, seen from c: the cdf below c, the survival function above, so that both tails are relatively
accurate. Both polynomials interpolate at ten Chebyshev points; their error is taken at the ends of the cell, where it
is largest. Only components that have a share of the density in a cell are summed there, and a cell looks only at its
parent's. All cells that are waiting are fitted at once; those where it fails are halved.

A point finds its cell without a search: the root of a tree is indexed by |x - c|, and finer cells hang below in blocks
of `FAN`. Outside the table, and in cells too narrow for float64, sums are direct.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from gaussmix._compiled import kernel
from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.exact import Pieces, guard_log_density
from gaussmix.density.reflection import NEGLIGIBLE

LOG_TOLERANCE = 2e-11
MASS_TOLERANCE, FLAT_TOLERANCE = 1e-13, 3e-16
MAX_CELLS = 1 << 18  # cells after which the rest is summed directly: 50 MB
MIN_DEPTH, MAX_DEPTH = 4, 50
N_NODES = 10
_BLOCK = 1 << 13  # components, of all cells, that are summed at once
_EXTREME = 300.0  # of log-densities
_SMOOTH_BELOW = 0.45  # degree 9 gives exp(-z^2/2) to 1e-13 over |z - y| < h if h (2 + |y|) is less
_HOPELESS_FROM = 0.5  # half-widths in standard deviations of the narrowest component there
_HIDDEN_FROM = 2.0  # the same of one whose mean is there, which the nodes could miss

_NODES = np.cos(np.pi * (np.arange(N_NODES) + 0.5) / N_NODES)
_POINTS = np.append(_NODES, [-1.0, 1.0])
_BASIS = np.stack([np.ones(N_NODES + 2), _POINTS, _POINTS**2])
_CHEBYSHEV = 2 / N_NODES * np.cos(np.outer(np.arange(N_NODES), np.arccos(_NODES)))
_CHEBYSHEV[0] /= 2
# From values at the nodes (rows) to coefficients of t^k, to those of the integral from -1 to t, to the interpolant's
# values at -1 and 1, and to those at the nodes of the lower and of the upper half.
_TO_POWERS = np.array([chebyshev.cheb2poly(c) for c in _CHEBYSHEV.T])
_TO_INTEGRAL = np.array([chebyshev.cheb2poly(chebyshev.chebint(c, lbnd=-1)) for c in _CHEBYSHEV.T])
_TO_ENDS = (chebyshev.chebvander(np.array([-1.0, 1.0]), N_NODES - 1) @ _CHEBYSHEV).T
_TO_HALVES = [(chebyshev.chebvander((_NODES + end) / 2, N_NODES - 1) @ _CHEBYSHEV).T for end in (-1.0, 1.0)]

_Mask = NDArray[np.bool_]


class _Open(NamedTuple):
    """Cells (C,) that have no polynomials yet, and the components to be summed there, cell after cell."""

    middle: FloatArray
    half: FloatArray
    smooth: FloatArray  # (C, 10) at the nodes, the density of all components that are polynomials there
    length: IntArray  # (C,) how many are summed
    component: IntArray  # (P,) which


@np.errstate(all="ignore")  # where numbers overflow a fit fails
def make_cells(p: Pieces, c: float, reaches: FloatArray) -> tuple[FloatArray, IntArray, FloatArray, list[FloatArray]]:
    """The cells of a mixture on both sides of c, up to ``reaches`` (2,) below and above it, in the order of G.

    Those below c are first, each side from the outside inwards. Given are (M,) positions, |x - c| / reach of the inner
    edges, above c one more, and depths, the number of halvings; rows (M, 26), twice middle and 1 / half-width (infinite
    without polynomials), followed by a_0 .. a_9, 0 and by b_0 .. b_10, which lack the mass outside the cell; and of
    each side G at its cells' outer edges, then at c.
    """
    beyond = [exact.masses_outside(np.array([c + sign * reaches[s]]), p, s == 1) for s, sign in enumerate((-1, 1))]
    first, n = 2 << MIN_DEPTH, p.mean.size
    side, index = np.arange(first) >> MIN_DEPTH, np.arange(first)[::-1] % (first // 2)
    depth, mass, rows = np.full(first, MIN_DEPTH), np.zeros(first), np.zeros((first, 6 + 2 * N_NODES))
    smooth, count, component = np.full((first, N_NODES), p.flat), np.full(first, n), np.tile(np.arange(n), first)
    while (new := np.flatnonzero(rows[:, 1] == 0)).size:
        upper, width = side[new] == 1, reaches[side[new]] * 0.5 ** depth[new]
        inner, outer = (c + np.where(upper, 1, -1) * (width * (index[new] + k)) for k in (0, 1))
        middle, half = 0.5 * inner + 0.5 * outer, 0.5 * np.abs(outer - inner)
        # the mass is at least this, until it is known
        cells, mass[new], most = _relevant(_Open(middle, half, smooth, count, component), p)
        outside = np.concatenate([G[:-1] for G in _accumulate(mass, side, beyond)])[new]
        direct = width < 1e-12 * np.maximum(np.abs(inner), np.abs(outer))
        direct |= (depth[new] == MAX_DEPTH) | (side.size >= MAX_CELLS)
        tried = np.flatnonzero(~direct & (most <= FLAT_TOLERANCE * outside))
        found, masses, good = _fit(_choose(cells, tried), p, upper[tried], outside[tried])
        rows[new[tried[good]]], mass[new[tried[good]]] = found[good], masses[good]
        rows[new[direct], 0::13], rows[new[direct], 1::13] = middle[direct, None], math.inf
        for s in np.unique(side[new[direct]]):
            k = np.flatnonzero(direct & (side[new] == s))
            mass[new[k]] = exact.masses_outside(inner[k], p, s == 1) - exact.masses_outside(outer[k], p, s == 1)
        again = rows[:, 1] == 0
        cells = _choose(cells, np.flatnonzero(again[new]).repeat(2))
        twice = np.arange(side.size).repeat(1 + again)
        second = np.diff(twice, prepend=-1) == 0  # of two halves the outer one is first
        side, depth, mass, rows, again = side[twice], depth[twice], mass[twice], rows[twice], again[twice]
        depth += again
        index = np.where(again, 2 * index[twice] + 1 - second, index[twice])
        at_top = (side[again] == 1) ^ second[again]
        smooth = np.where(at_top[:, None], cells.smooth @ _TO_HALVES[1], cells.smooth @ _TO_HALVES[0])
        count, component = cells.length, cells.component
    return side + index * 0.5**depth, depth, rows, _accumulate(mass, side, beyond)


def _accumulate(mass: FloatArray, side: IntArray, beyond: list[FloatArray]) -> list[FloatArray]:
    """G of each side at the outer edges of its cells and at c, from the cells' masses (M,) and G at its own end."""
    return [np.cumsum(np.append(beyond[s], mass[side == s])) for s in (0, 1)]


def _choose(cells: _Open, numbers: IntArray) -> _Open:
    """Those of the ``numbers``, as often as they occur there."""
    count = cells.length[numbers]
    shift = _bounds(cells.length)[numbers] - _bounds(count)[:-1]
    component = cells.component[np.arange(count.sum()) + shift.repeat(count)]
    return _Open(cells.middle[numbers], cells.half[numbers], cells.smooth[numbers], count, component)


def _bounds(count: IntArray) -> IntArray:
    """Where the segments of the lengths ``count`` (C,) begin, and the end of the last, (C + 1,)."""
    return np.concatenate([[0], np.cumsum(count)])


def _reduce(ufunc: np.ufunc, values: FloatArray, count: IntArray) -> FloatArray:
    """The ``ufunc`` of every segment of the values (P, ...), (C, ...); the sum or maximum of none is 0 or -inf."""
    out = np.full((count.size, *values.shape[1:]), 0.0 if ufunc is np.add else -math.inf)
    if len(values):
        out[count > 0] = ufunc.reduceat(values, _bounds(count)[:-1][count > 0])
    return out


def _relevant(cells: _Open, p: Pieces) -> tuple[_Open, FloatArray, FloatArray]:
    """The cells without the components that have no share in them, and bounds (C,) on their masses.

    Components so wide that they are polynomials join ``smooth`` instead. The upper bound is 0 where all are so wide
    that a fit can be accurate, and infinite where ten nodes could miss one.
    """
    middle, half, smooth, count, i = cells
    away, reach = _in_deviations(cells, p)
    nearest, log_height = np.maximum(np.abs(away) - reach, 0.0), p.log_height[i]
    smallest, largest = log_height - 0.5 * (np.abs(away) + reach) ** 2, log_height - 0.5 * nearest**2
    lowest, top = np.log(0.5 * smooth.min(1)), np.log(smooth.max(1))
    guard = guard_log_density(np.abs(middle - p.guard_loc) + half, p)
    least = np.maximum(np.maximum(lowest, guard), _reduce(np.maximum, smallest, count))
    top = np.maximum(top, _reduce(np.maximum, largest, count))
    kept = largest > (least + NEGLIGIBLE).repeat(count)
    wide = kept & (reach * (2 + nearest) < _SMOOTH_BELOW) & (np.abs(largest) < 600)
    kept, wide = np.flatnonzero(kept & ~wide), np.flatnonzero(wide)
    count, n_wide = (np.diff(np.searchsorted(rows, _bounds(count))) for rows in (kept, wide))
    terms = _parabolas(log_height[wide], away[wide], reach[wide]) @ _BASIS[:, :N_NODES]
    smooth = smooth + _reduce(np.add, np.exp(terms, out=terms), n_wide)
    nearest, reach = nearest[kept], reach[kept]
    narrow = _reduce(np.maximum, reach, count) > _HOPELESS_FROM
    hidden = _reduce(np.maximum, reach * (nearest == 0), count) > _HIDDEN_FROM
    guard_here = (np.abs(middle - p.guard_loc) <= half) & (half > _HIDDEN_FROM * p.guard_scale)
    hidden |= guard_here & (guard_log_density(0.0, p) - least > NEGLIGIBLE)
    most = np.where(narrow, top + np.log(count + 2.0), -math.inf)
    below, above = (np.exp(np.minimum(logs + np.log(2 * half), 700.0)) for logs in (least, most))
    return _Open(middle, half, smooth, count, i[kept]), below, np.where(hidden, math.inf, above)


def _in_deviations(cells: _Open, p: Pieces) -> tuple[FloatArray, FloatArray]:
    """Of every component, middle - mean and the half-width of the cell in its standard deviations, (P,)."""
    middle, half, _, count, i = cells
    inverse_std = p.inverse_std[i]
    return (middle.repeat(count) - p.mean[i]) * inverse_std, half.repeat(count) * inverse_std


def _parabolas(log_height: FloatArray, away: FloatArray, reach: FloatArray) -> FloatArray:
    """Coefficients (P, 3) of 1, t, t^2 of the components' log-densities log_height - (away + reach t)^2 / 2."""
    return np.stack([log_height - 0.5 * away * away, -away * reach, -0.5 * reach * reach], axis=1)


def _log_density_at_points(cells: _Open, p: Pieces) -> FloatArray:
    """log of the density at `_POINTS` of every cell, (C, 12): sums of what lies above the leading parabola."""
    middle, half, smooth, count, i = cells
    guard = guard_log_density((middle - p.guard_loc)[:, None] + half[:, None] * _POINTS, p)
    rest = np.log(np.maximum(np.concatenate([smooth, smooth @ _TO_ENDS], axis=1), 0.0))
    parabolas, bounds = _parabolas(p.log_height[i], *_in_deviations(cells, p)), _bounds(count)
    leading = np.zeros((half.size, 3))
    leading[:, 0] = np.maximum(rest[:, N_NODES // 2], guard[:, N_NODES // 2])
    highest = np.maximum(leading[:, 0], _reduce(np.maximum, parabolas[:, 0], count))
    chosen = np.flatnonzero(parabolas[:, 0] == highest.repeat(count))
    leading[np.searchsorted(bounds, chosen, "right") - 1] = parabolas[chosen]
    base = leading @ _BASIS
    total = np.exp(rest - base) + np.exp(guard - base)
    parts = np.searchsorted(bounds, np.arange(0, bounds[-1], _BLOCK))
    for start, stop in pairwise(np.unique(np.append(parts, half.size))):
        some = slice(start, stop)
        terms = parabolas[bounds[start] : bounds[stop]] - leading[some].repeat(count[some], axis=0)
        terms = terms @ _BASIS
        total[some] += _reduce(np.add, np.exp(terms, out=terms), count[some])
    return base + np.log(total)


def _fit(cells: _Open, p: Pieces, upper: _Mask, outside: FloatArray) -> tuple[FloatArray, FloatArray, _Mask]:
    """The cells' rows of the table, with the mass of the cell alone as G, that mass, and whether they are accurate.

    ``outside`` (C,) is at most G at the cells' outer edges.
    """
    values, half = _log_density_at_points(cells, p), cells.half[:, None]
    base, at_ends = values[:, :1], values[:, N_NODES:]
    extreme = np.abs(base) > _EXTREME  # there densities are taken over that in the middle, to be normal numbers
    unit, width = np.where(extreme, base, 0.0), np.where(extreme, np.exp(base + np.log(half)), half)
    rise, density = values[:, :N_NODES] - base, np.exp(values[:, :N_NODES] - unit)
    logs, masses = rise @ _TO_POWERS, (density @ _TO_INTEGRAL) * width
    mass = np.maximum(masses.sum(1), 0.0)
    log_error = np.abs(base + rise @ _TO_ENDS - at_ends) / np.maximum(1.0, np.abs(at_ends))
    error = 2 * width * np.abs(density @ _TO_ENDS - np.exp(at_ends - unit))
    allowed = np.maximum(MASS_TOLERANCE * mass, FLAT_TOLERANCE * (outside + mass))
    logs[:, :1] += base
    masses[upper] *= -1  # the mass from t to 1 instead of that from -1 to t
    masses[upper, 0] += mass[upper]
    frame = cells.middle[:, None], 1 / half
    rows = np.concatenate([*frame, logs, 0 * half, *frame, masses], axis=1)
    return rows, mass, (log_error.max(1) <= LOG_TOLERANCE) & (error.max(1) <= allowed)


ROOT_BITS, FAN_BITS = 13, 4
ROOT, FAN = 1 << ROOT_BITS, 1 << FAN_BITS
GUIDE = 4096
SLACK = 1.001  # |t| up to which a polynomial is used: where cells are narrow, rounding may choose a neighbour


class PolynomialTable(NamedTuple):
    """Cells are in the order of increasing G: those below c first, each side from the outside inwards."""

    center: float  # c
    per_root: FloatArray  # (2,) root cells a unit of length below and above c
    tree: NDArray[np.int32]  # numbers of cells, or ~ where a block of FAN finer entries begins; first the two roots
    logs: FloatArray  # (M, 13): middle, 1 / half-width, a_0 .. a_9, 0
    masses: FloatArray  # (M, 13): middle, 1 / half-width, b_0 .. b_10
    outside: FloatArray  # (M + 2,) G at the outer edge of every cell; after the cells of a side, G at c
    n_below: int  # cells below c
    guide: IntArray  # (2 GUIDE,) for both sides the last entry of ``outside`` that is at most k / GUIDE of G at c


def build(p: Pieces) -> PolynomialTable:
    """The table of a mixture."""
    (low, high), c = exact.extent(p), exact.center(p)
    reaches = np.array([c - low, high - c])
    position, depth, rows, outside = make_cells(p, c, reaches)
    total = sum(G[-1] for G in outside)  # 1 to the tolerance; now exactly
    rows[:, 15] += np.concatenate([G[:-1] for G in outside])
    rows[:, 15:] /= total
    outside, n_below = [G / total for G in outside], outside[0].size - 1
    guide = [np.searchsorted(G[1:-1] * GUIDE, np.arange(GUIDE) * G[-1], side="right") for G in outside]
    guide[1] += n_below + 1
    with np.errstate(divide="ignore"):
        per_root = ROOT / reaches
    logs, masses = rows[:, :13].copy(), rows[:, 13:].copy()
    tree, outside = _tree(position, depth), np.concatenate(outside)
    return PolynomialTable(c, per_root, tree, logs, masses, outside, n_below, np.concatenate(guide))


def _tree(position: FloatArray, depth: IntArray) -> NDArray[np.int32]:
    """The tree of the cells' numbers, level by level; positions and depths (M,) as `make_cells` gives them."""
    number, levels, used, bits = np.argsort(position), [], 0, ROOT_BITS
    while number.size:
        first = np.diff(np.floor(position[number] * 2.0**bits), prepend=-1) > 0  # of those in one entry
        entry = number[first]
        finer = np.flatnonzero(depth[entry] > bits)
        spread = 1 << np.maximum(bits - depth[entry], 0)
        used += spread.sum()
        entry[finer] = ~(used + FAN * np.arange(finer.size))
        levels.append(entry.repeat(spread))
        number, bits = number[depth[number] > bits], bits + FAN_BITS
    return np.concatenate(levels).astype(np.int32)


@kernel(fastmath={"contract"})
def _values(x, center, below, above, tree, rows, sign_below, sign_above, out):
    """The polynomials at x (N,) into ``out``, NaN where sums are direct: the number of these.

    Below and above c, one whose sign is -1 is taken from 1.
    """
    missing = 0
    for j in range(x.size):
        away = x[j] - center
        place, k = (away * above, ROOT) if away >= 0 else (-away * below, 0)
        value = math.nan
        if place < ROOT:
            cell = tree[k + int(place)]
            while cell < 0:
                place = (place - int(place)) * FAN
                cell = tree[~cell + int(place)]
            k = 13 * cell
            t = (x[j] - rows[k]) * rows[k + 1]
            if abs(t) <= SLACK:
                t2 = t * t
                t4 = t2 * t2
                low = (rows[k + 2] + rows[k + 3] * t) + (rows[k + 4] + rows[k + 5] * t) * t2
                high = (rows[k + 6] + rows[k + 7] * t) + (rows[k + 8] + rows[k + 9] * t) * t2
                top = (rows[k + 10] + rows[k + 11] * t) + rows[k + 12] * t2
                value = low + (high + top * t4) * t4
                sign = sign_above if away >= 0 else sign_below
                value = 0.5 - 0.5 * sign + sign * value
        missing += value != value
        out[j] = value
    return missing


@kernel(error_model="numpy")
def _quantiles(q, upper, n_below, outside, guide, masses, out):
    """The x with mass q (N,) outside into ``out``, NaN where it is found directly: the number of these."""
    missing = 0
    for j in range(q.size):
        above, mass = upper, q[j]
        if mass > outside[-1 if above else n_below]:
            above, mass = not upper, 1 - mass
        out[j] = math.nan
        missing += 1
        if not (mass > 0 and mass >= outside[n_below + 1 if above else 0]):
            continue
        k = min(int(mass / outside[-1 if above else n_below] * GUIDE), GUIDE - 1)
        cell = guide[k + GUIDE if above else k]
        last = outside.size - 2 if above else n_below - 1
        while cell < last and outside[cell + 1] <= mass:
            cell += 1
        t = (mass - outside[cell]) / (outside[cell + 1] - outside[cell])
        t = 1 - 2 * t if above else 2 * t - 1
        row = 13 * (cell - 1 if above else cell)
        if math.isinf(masses[row + 1]):
            continue
        for _ in range(60):
            there, slope = masses[row + 12], 0.0
            for k in range(row + 11, row + 1, -1):
                slope = slope * t + there
                there = there * t + masses[k]
            before = t
            t = min(max(t - (there - mass) / slope, -1.0), 1.0)
            if abs(t - before) < 1e-15 or abs(there - mass) <= 1e-15 * mass:
                out[j] = masses[row] + t / masses[row + 1]
                missing -= 1
                break
    return missing


def _evaluate(kernel: Callable[..., int], direct: Callable[..., FloatArray], x: FloatArray, *args: Any) -> FloatArray:
    """kernel(x, *args) of (N,) numbers, direct(x) where it gives NaN."""
    out = np.empty(x.size)
    if kernel(x, *args, out):
        missing = np.flatnonzero(np.isnan(out))
        out[missing] = direct(x[missing])
    return out


def log_densities(x: FloatArray, t: PolynomialTable, p: Pieces) -> FloatArray:
    """Log-densities of (N,) numbers."""
    direct = partial(exact.log_densities, p=p)
    return _evaluate(_values, direct, x, t.center, *t.per_root, t.tree, t.logs.ravel(), 1.0, 1.0)


def masses_outside(x: FloatArray, t: PolynomialTable, p: Pieces, upper: bool) -> FloatArray:
    """P(X > x) if ``upper``, else P(X < x), of (N,) numbers."""
    direct, sign = partial(exact.masses_outside, p=p, upper=upper), 1.0 if upper else -1.0
    found = _evaluate(_values, direct, x, t.center, *t.per_root, t.tree, t.masses.ravel(), -sign, sign)
    end = exact.ends(p)[upper]
    if math.isfinite(end):  # where rounding of polynomials is left
        found[x >= end if upper else x <= end] = 0.0
    return found


def quantiles(mass: FloatArray, t: PolynomialTable, p: Pieces, upper: bool) -> FloatArray:
    """The x with ``mass`` (N,) above them if ``upper``, else below; the support's ends at 0 and 1, NaN beyond."""
    direct = partial(exact.quantiles, p=p, upper=upper)
    return _evaluate(_quantiles, direct, mass, upper, t.n_below, t.outside, t.guide, t.masses.ravel())
