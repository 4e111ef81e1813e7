"""A mixture as a table of polynomials: log-density and masses at a cost that does not depend on the components.

The line is cut at a point c of the bulk. Each side, |x - c| in [0, reach), is halved until on every cell, with t in
[-1, 1] across it, polynomials in t of degree 9 and 10 hold

    log p(x) = sum_k a_k t^k             to LOG_TOLERANCE * max(1, |log p|)
    G(x)     = sum_k b_k t^k             to MASS_TOLERANCE of the mass in the cell, or FLAT_TOLERANCE * G

G is the mass beyond x, seen from c: the cdf below c, the survival function above, so that both tails are relatively
accurate. Cells are made from the outside inwards, so that G accumulates and only positive numbers are added. Both
polynomials interpolate at ten Chebyshev points; their error is taken at the ends of the cell, where it is largest.
Only components that have a share of the density in a cell are summed there, and a cell looks only at its parent's.

A point finds its cell without a search: ``root`` is indexed by |x - c|, and finer cells hang below in blocks of `FAN`.
Outside the table, and in cells too narrow for float64, sums are direct.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture.exact import Pieces, ends, guard_log_density, log_density, mass_outside, quantile
from gaussmix.density.reflection import NEGLIGIBLE

LOG_TOLERANCE = 2e-11
MASS_TOLERANCE, FLAT_TOLERANCE = 1e-13, 3e-16
REACH = 10.0  # standard deviations from the means that the table covers
MAX_CELLS = 1 << 18  # cells after which the rest is summed directly: 50 MB

N_NODES = 10
ROOT_BITS, FAN_BITS = 11, 3
ROOT, FAN = 1 << ROOT_BITS, 1 << FAN_BITS
GUIDE = 4096
MAX_DEPTH = 50
SLACK = 1.001  # |t| up to which a polynomial is used: where cells are narrow, rounding may choose a neighbour
_SMOOTH_BELOW = 0.45  # degree 9 gives exp(-z^2/2) to 1e-13 over |z - y| < h if h (2 + |y|) is less
_HOPELESS_FROM = 0.5  # half-widths in standard deviations of the narrowest component there
_HIDDEN_FROM = 2.0  # the same of one whose mean is there, which the nodes could miss

_NODES = np.cos(np.pi * (np.arange(N_NODES) + 0.5) / N_NODES)
_POINTS = np.append(_NODES, [-1.0, 1.0])
_CHEBYSHEV = 2 / N_NODES * np.cos(np.outer(np.arange(N_NODES), np.arccos(_NODES)))
_CHEBYSHEV[0] /= 2
_TO_POWERS = np.array([chebyshev.cheb2poly(c) for c in _CHEBYSHEV.T])
"""(10, 10): from values at the nodes (rows) to coefficients of t^k."""
_TO_INTEGRAL = np.array([chebyshev.cheb2poly(chebyshev.chebint(c, lbnd=-1)) for c in _CHEBYSHEV.T])
"""(10, 11): from values at the nodes (rows) to coefficients of the integral from -1 to t."""
_TO_ENDS = chebyshev.chebvander(np.array([-1.0, 1.0]), N_NODES - 1) @ _CHEBYSHEV
"""(2, 10): values at the nodes to the interpolant's values at -1 and 1."""
_FRAME, _LOGS, _MASSES, _COLUMNS = 3, 5, 15, 26
"""Of a cell while the table is made: depth, index, G at the outer edge; middle, 1 / half-width; a_0..a_9; b_0..b_10."""
_TO_HALVES = np.stack([chebyshev.chebvander(0.5 * (_NODES + end), N_NODES - 1) @ _CHEBYSHEV for end in (-1.0, 1.0)])
"""(2, 10, 10): values at the nodes to the interpolant's values at the nodes of the lower and upper half."""


class PolynomialTable(NamedTuple):
    """Cells are in the order of increasing G: those below c first, each side from the outside inwards."""

    center: float  # c
    per_root: FloatArray  # (2,) root cells a unit of length, below and above c
    tree: NDArray[np.int32]
    """The number of a cell, or ~ where the block of FAN finer entries begins; first the two roots (2 ROOT,)."""
    logs: FloatArray  # (M, 12): middle, 1 / half-width, a_0 .. a_9
    masses: FloatArray  # (M, 13): middle, 1 / half-width, b_0 .. b_10
    outside: FloatArray  # (M + 2,) G at the outer edge of every cell; after the cells of a side, G at c
    first: IntArray  # (3,) entries of ``outside``: first[0] .. first[1] - 1 lie below c, first[1] .. first[2] - 1 above
    guide: IntArray  # (2, GUIDE + 2) the last entry of ``outside`` that is at most k / GUIDE of G at c


@nb.njit(cache=True, nogil=True)
def _keep_relevant(low, high, p, smooth, arena, first, last, outside):
    """Copy those of arena[first:last] that have a share in [low, high] behind them.

    Those so wide that they are polynomials there join ``smooth`` (10,), their density at the nodes, instead. Returned
    are the new end and whether a fit is hopeless: some are so narrow that it would not be accurate, given the mass
    ``outside`` beyond the cell, or that ten nodes could miss one.
    """
    middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
    top = math.log(smooth.max()) if smooth.max() > 0 else -math.inf
    least = math.log(0.5 * smooth.min()) if smooth.min() > 0 else -math.inf
    least = max(least, guard_log_density(max(p.guard_loc - low, high - p.guard_loc), p))
    for k in range(first, last):
        i = arena[k]
        z = max(p.mean[i] - low, high - p.mean[i]) * p.inverse_std[i]
        least = max(least, p.log_height[i] - 0.5 * z * z)
    end, sharpest, hidden = last, 0.0, False
    if low <= p.guard_loc <= high and half > _HIDDEN_FROM * p.guard_scale:
        hidden = guard_log_density(0.0, p) - least > NEGLIGIBLE
    for k in range(first, last):
        i = arena[k]
        z = max(low - p.mean[i], p.mean[i] - high, 0.0) * p.inverse_std[i]
        most = p.log_height[i] - 0.5 * z * z
        if most - least > NEGLIGIBLE:
            top = max(top, most)
            if half * p.inverse_std[i] * (2 + z) < _SMOOTH_BELOW and -600 < most < 600:
                for j in range(N_NODES):
                    z = (middle - p.mean[i] + half * _NODES[j]) * p.inverse_std[i]
                    smooth[j] += math.exp(p.log_height[i] - 0.5 * z * z)
            else:
                arena[end] = i
                end += 1
                sharpest = max(sharpest, p.inverse_std[i])
                hidden = hidden or (z == 0 and half * p.inverse_std[i] > _HIDDEN_FROM)
    alone = end - last == 1 and p.guard_mass == 0 and smooth.max() == 0  # log p is a parabola, however narrow
    matters = math.exp(min(top + math.log(end - last + 2.0), 700.0)) * 2 * half > FLAT_TOLERANCE * outside
    return end, bool(hidden or (half * sharpest > _HOPELESS_FROM and matters and not alone))


@nb.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "nnan"})
def _sum_of_exponentials(terms: FloatArray, top: float) -> float:
    """sum exp(terms - top) for top >= terms, to 1e-14: a Taylor polynomial and six squarings, which vectorise."""
    total = 0.0
    for k in range(terms.size):
        x = max(terms[k] - top, NEGLIGIBLE) * (1 / 64)
        e = 1 / 720 + x * (1 / 5040 + x * (1 / 40320))
        e = 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * e)))))
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        total += e * e
    return total


@nb.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "nnan"})
def _log_terms(shift, away, inverse_std, log_height, terms):
    """The components' log-densities at m + away + shift into ``terms``; their maximum, at least -1e300."""
    top = -1e300
    for k in range(away.size):
        z = (away[k] + shift) * inverse_std[k]
        terms[k] = log_height[k] - 0.5 * z * z
        top = max(top, terms[k])
    return top


@nb.njit(cache=True, nogil=True)
def _log_density_at_points(middle, half, p, smooth, chosen, scratch, values):
    """log of the density of the ``chosen`` components, ``smooth`` and the guard at `_POINTS`, into ``values`` (12,).

    Points are kept as distances from the middle: far from 0, x itself would be too coarse.
    """
    n = chosen.size
    away, inverse_std, log_height, terms = scratch[0, :n], scratch[1, :n], scratch[2, :n], scratch[3, :n]
    for k in range(n):
        i = chosen[k]
        away[k], inverse_std[k], log_height[k] = middle - p.mean[i], p.inverse_std[i], p.log_height[i]
    for k in range(N_NODES + 2):
        shift = half * _POINTS[k]
        if k < N_NODES:
            rest = smooth[k]
        else:
            rest = 0.0
            for j in range(N_NODES):
                rest += _TO_ENDS[k - N_NODES, j] * smooth[j]
        rest = math.log(rest) if rest > 0 else -math.inf
        guard = guard_log_density(middle - p.guard_loc + shift, p)
        top = max(_log_terms(shift, away, inverse_std, log_height, terms), rest, guard)
        values[k] = top + math.log(_sum_of_exponentials(terms, top) + math.exp(rest - top) + math.exp(guard - top))


@nb.njit(cache=True, nogil=True)
def _fit(middle, half, upper, outside, values, row):
    """Polynomials from log-densities (12,) at `_POINTS` into ``row``: are they accurate, and G at the inner edge."""
    base, top = values[0], values[0]
    for k in range(1, N_NODES + 2):
        top = max(top, values[k])
    scale = math.exp(top)
    for k in range(_LOGS, _COLUMNS):
        row[k] = 0
    ends = np.zeros(4)
    for k in range(N_NODES):
        rise, share = values[k] - base, math.exp(values[k] - top) * scale
        for j in range(N_NODES):
            row[_LOGS + j] += _TO_POWERS[k, j] * rise
        for j in range(N_NODES + 1):
            row[_MASSES + j] += _TO_INTEGRAL[k, j] * share * half
        for j in range(2):
            ends[j] += _TO_ENDS[j, k] * rise
            ends[2 + j] += _TO_ENDS[j, k] * share
    mass = 0.0
    for j in range(N_NODES + 1):
        mass += row[_MASSES + j]
    inner = outside + max(mass, 0.0)
    for j in range(2):
        value = values[N_NODES + j]
        if not abs(base + ends[j] - value) <= LOG_TOLERANCE * max(1.0, abs(value)):
            return False, inner
        error = abs(ends[2 + j] - math.exp(value)) * 2 * half
        if not error <= max(MASS_TOLERANCE * (inner - outside), FLAT_TOLERANCE * inner):
            return False, inner
    row[_LOGS] += base
    if upper:  # the mass from t to 1 instead of that from -1 to t
        for j in range(N_NODES + 1):
            row[_MASSES + j] *= -1
        row[_MASSES] += mass
    row[_MASSES] += outside
    return True, inner


@nb.njit(cache=True, nogil=True)
def _to_halves(smooth: FloatArray, place: int, upper: bool) -> None:
    """From the values of a cell's nodes at ``place`` to its inner half's there, and its outer half's one further."""
    whole = np.empty(N_NODES)
    for k in range(N_NODES):
        whole[k] = smooth[place, k]
    for child in range(2):
        half = child if upper else 1 - child
        for k in range(N_NODES):
            value = 0.0
            for j in range(N_NODES):
                value += _TO_HALVES[half, k, j] * whole[j]
            smooth[place + child, k] = value


@nb.njit(cache=True, nogil=True)
def _side(p: Pieces, center: float, reach: float, upper: bool) -> tuple[FloatArray, float]:
    """The cells of one side from the outside inwards, (M, _COLUMNS), and G at c.

    A cell that has no polynomial has half-width 0.
    """
    sign = 1.0 if upper else -1.0
    n = p.mean.size
    arena = np.empty(8 * n + 64, np.int32)  # every waiting cell's components, its parent's before its own
    for i in range(n):
        arena[i] = i
    scratch, values = np.empty((4, n)), np.empty(N_NODES + 2)
    rows, found = np.empty((256, _COLUMNS)), 0
    smooth = np.empty((2 * MAX_DEPTH + 2, N_NODES))
    waiting = np.empty((2 * MAX_DEPTH + 2, 4), np.int64)  # depth, index, the parent's part of the arena
    for k in range(N_NODES):
        smooth[0, k] = p.flat
    waiting[0, 0], waiting[0, 1], waiting[0, 2], waiting[0, 3] = 0, 0, 0, n
    n_waiting = 1
    outside = mass_outside(center + sign * reach, p, upper)
    while n_waiting > 0:
        n_waiting -= 1
        depth, index = waiting[n_waiting, 0], waiting[n_waiting, 1]
        first, last = waiting[n_waiting, 2], waiting[n_waiting, 3]
        if arena.size < 2 * last - first:
            more = np.empty(4 * last, np.int32)
            for i in range(last):
                more[i] = arena[i]
            arena = more
        if found == rows.shape[0]:
            longer = np.empty((2 * found, _COLUMNS))
            for i in range(found):
                for j in range(_COLUMNS):
                    longer[i, j] = rows[i, j]
            rows = longer
        row = rows[found]
        width = reach * 0.5**depth
        one, other = center + sign * width * index, center + sign * width * (index + 1)
        low, high = min(one, other), max(one, other)
        middle, half = 0.5 * low + 0.5 * high, 0.5 * (high - low)
        end, hopeless = _keep_relevant(low, high, p, smooth[n_waiting], arena, first, last, outside)
        too_fine = depth == MAX_DEPTH or width < 1e-12 * max(abs(low), abs(high)) or found >= MAX_CELLS
        accepted, inner = False, outside
        if too_fine:
            inner, half = max(outside, mass_outside(one, p, upper)), 0.0
        elif not hopeless:
            _log_density_at_points(middle, half, p, smooth[n_waiting], arena[last:end], scratch, values)
            accepted, inner = _fit(middle, half, upper, outside, values, row)
        if accepted or too_fine:
            row[0], row[1], row[2], row[3] = depth, index, outside, middle
            row[4] = 1 / half if half > 0 else math.inf
            outside = inner
            found += 1
        else:
            for child in range(2):  # the outer one is next
                waiting[n_waiting + child, 0], waiting[n_waiting + child, 1] = depth + 1, 2 * index + child
                waiting[n_waiting + child, 2], waiting[n_waiting + child, 3] = last, end
            _to_halves(smooth, n_waiting, upper)
            n_waiting += 2
    return rows[:found], outside


@nb.njit(cache=True, nogil=True)
def _enter(cells: FloatArray, number: int, start: int, tree: NDArray[np.int32], used: int) -> tuple[NDArray, int]:
    """Enter a side's cells (M, _COLUMNS), numbered from ``number``: the tree, and how much of it is used.

    The side's root is tree[start : start + ROOT].
    """
    for k in range(cells.shape[0]):
        depth, index = int(cells[k, 0]), int(cells[k, 1])
        below = depth - ROOT_BITS
        if below <= 0:
            place, spread = start + (index << -below), 1 << -below
        else:
            place, spread = start + (index >> below), FAN
            while below > 0:
                if tree[place] >= 0:  # the first cell in this block
                    if used + FAN > tree.size:
                        more = np.zeros(2 * tree.size, np.int32)
                        for i in range(used):
                            more[i] = tree[i]
                        tree = more
                    tree[place] = ~used
                    used += FAN
                step = min(below, FAN_BITS)
                below -= step
                spread = FAN >> step
                place = ~tree[place] + ((index >> below) & ((1 << step) - 1)) * spread
        for i in range(spread):
            tree[place + i] = number + k
    return tree, used


def build(p: Pieces, center: float) -> PolynomialTable:
    """The table of a mixture, cut at ``center``, which must have mass on either side."""
    stds = 1 / p.inverse_std
    low = max(p.low, (p.mean - REACH * stds).min(initial=p.low if p.flat else math.inf))
    high = min(p.high, (p.mean + REACH * stds).max(initial=p.high if p.flat else -math.inf))
    reaches = center - low, high - center
    (below, lower), (above, upper) = _side(p, center, reaches[0], False), _side(p, center, reaches[1], True)
    tree, used = _enter(below, 0, 0, np.zeros(2 * ROOT + 64 * FAN, np.int32), 2 * ROOT)
    tree, used = _enter(above, len(below), ROOT, tree, used)
    rows, total = np.concatenate([below, above]), lower + upper  # 1 to the tolerance; now exactly
    rows[:, _MASSES:] /= total
    outside = [np.append(below[:, 2], lower) / total, np.append(above[:, 2], upper) / total]
    guide = [np.searchsorted(G[1:-1] * GUIDE, np.arange(GUIDE + 2) * G[-1], side="right") for G in outside]
    return PolynomialTable(
        center,
        ROOT / np.array(reaches),
        tree[:used].copy(),
        rows[:, _FRAME:_MASSES].copy(),
        np.concatenate([rows[:, _FRAME:_LOGS], rows[:, _MASSES:]], axis=1),
        np.concatenate(outside),
        np.array([0, outside[0].size, outside[0].size + outside[1].size]),
        np.stack(guide),
    )


@nb.njit(cache=True, nogil=True)
def _cell(x: float, t: PolynomialTable) -> int:
    """The cell of x, or -1 outside the table and for NaN."""
    away = x - t.center
    side = 1 if away >= 0 else 0
    place = abs(away) * t.per_root[side]
    if not place < ROOT:
        return -1
    k = int(place)
    entry = t.tree[side * ROOT + k]
    while entry < 0:
        place = (place - k) * FAN
        k = int(place)
        entry = t.tree[~entry + k]
    return int(entry)


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def log_densities(x: FloatArray, t: PolynomialTable, p: Pieces) -> FloatArray:
    """Log-densities of (N,) numbers."""
    out = np.empty(x.size)
    for j in range(x.size):
        cell = _cell(x[j], t)
        a = t.logs[max(cell, 0)]
        u = (x[j] - a[0]) * a[1]
        if cell >= 0 and abs(u) <= SLACK:
            u2 = u * u
            u4 = u2 * u2
            low = (a[2] + a[3] * u) + (a[4] + a[5] * u) * u2
            high = (a[6] + a[7] * u) + (a[8] + a[9] * u) * u2
            out[j] = low + (high + (a[10] + a[11] * u) * u4) * u4
        else:
            out[j] = log_density(x[j], p)
    return out


@nb.njit(cache=True, nogil=True, fastmath={"contract"})
def masses_outside(x: FloatArray, t: PolynomialTable, p: Pieces, upper: bool) -> FloatArray:
    """P(X > x) if ``upper``, else P(X < x), of (N,) numbers."""
    out = np.empty(x.size)
    for j in range(x.size):
        cell = _cell(x[j], t)
        b = t.masses[max(cell, 0)]
        u = (x[j] - b[0]) * b[1]
        if cell >= 0 and abs(u) <= SLACK:
            u2 = u * u
            u4 = u2 * u2
            low = (b[2] + b[3] * u) + (b[4] + b[5] * u) * u2
            high = (b[6] + b[7] * u) + (b[8] + b[9] * u) * u2
            mass = low + (high + ((b[10] + b[11] * u) + b[12] * u2) * u4) * u4
            out[j] = mass if upper == (x[j] >= t.center) else 1 - mass
        else:
            out[j] = mass_outside(x[j], p, upper)
    return out


@nb.njit(cache=True, nogil=True)
def _quantile(mass: float, upper: bool, t: PolynomialTable, p: Pieces) -> float:
    """The x with ``mass`` outside it, for a mass of at most G at c on the side ``upper``."""
    side = 1 if upper else 0
    first, last = t.first[side], t.first[side + 1] - 1
    whole = t.outside[last]
    if mass < t.outside[first]:
        reach = ROOT / t.per_root[side]
        return quantile(mass, p, upper, t.center + (reach if upper else -reach), reach)
    k = min(int(mass / whole * GUIDE), GUIDE)
    low, high = first + t.guide[side, k], first + t.guide[side, k + 1] + 1
    while high - low > 1:
        middle = (low + high) // 2
        if t.outside[middle] <= mass:
            low = middle
        else:
            high = middle
    b = t.masses[low - side]
    if math.isinf(b[1]):
        return quantile(mass, p, upper, t.center, ROOT / t.per_root[side])
    rise = t.outside[low + 1] - t.outside[low]
    inner = float((mass - t.outside[low]) / rise) if rise > 0 else 0.0
    below, above = -1.0, 1.0
    u = 1 - 2 * inner if upper else 2 * inner - 1
    for _ in range(60):
        there, slope = b[12], 0.0
        for k in range(11, 1, -1):
            slope = slope * u + there
            there = there * u + b[k]
        if there == mass:
            break
        if (there > mass) == upper:
            below = u
        else:
            above = u
        new = u - (there - mass) / slope if slope != 0 else below
        if not below < new < above:
            new = 0.5 * (below + above)
        if abs(new - u) < 1e-15:
            break
        u = new
    return b[0] + u / b[1]


@nb.njit(cache=True, nogil=True)
def quantiles(mass: FloatArray, t: PolynomialTable, p: Pieces, upper: bool) -> FloatArray:
    """The x with ``mass`` (N,) above them if ``upper``, else below; the support's ends at 0 and 1, NaN beyond."""
    low, high = ends(p)
    here, there = (high, low) if upper else (low, high)
    at_center = t.outside[t.first[2] - 1] if upper else t.outside[t.first[1] - 1]
    out = np.empty(mass.size)
    for j in range(mass.size):
        q = mass[j]
        if not 0 <= q <= 1:
            out[j] = math.nan
        elif q == 0:
            out[j] = here
        elif q == 1:
            out[j] = there
        elif q <= at_center:
            out[j] = _quantile(q, upper, t, p)
        else:
            out[j] = _quantile(1 - q, not upper, t, p)
    return out
