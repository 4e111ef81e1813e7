"""A mixture as a table of polynomials: log-density and masses at a cost that does not depend on the components.

The line is cut at a point c of the bulk, and each side into cells that have polynomials of log p(x) and of G(x), the
mass beyond x seen from c: the cdf below c, the survival function above, so that both tails are relatively accurate
(`gaussmix.density._mixture.polynomials`).

A point finds its cell without a search: the root of a tree is indexed by |x - c|, and finer cells hang below in blocks
of `FAN`. Outside the table, and in cells too narrow for float64, sums are direct.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix._compiled import kernel
from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.exact import Pieces
from gaussmix.density._mixture.polynomials import make_cells

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
