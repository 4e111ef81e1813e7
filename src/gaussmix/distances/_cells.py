"""Sums of Gaussians, and of guards, as polynomials on the cells of a tree.

A cell of level e is [c + k 2^e, c + (k + 1) 2^e], c the center. Each Gaussian is interpolated on cells of one level, no
wider than WIDTH of its standard deviations, that cover its mean +- WINDOW of them; a guard on levels that double with
the distance from its location. A level of the tree holds its own cells, the parents of those of the level below, and
their siblings, k ^ 1. From the widest level down a cell inherits its parent's polynomial and adds what is interpolated
on its own level, so that every piece is only looked at where it bends. The leaves, nobody's parents, carry the sum.

With x = middle + half t polynomials are sum_k p_k T_k(t). It is densities that are interpolated, at the zeros of T_n,
n = N_NODES; those of cdfs are integrated from a cell's middle, where the cdf is added. A density f is missed by at most
max |f^(n)| half^n / (2^(n - 1) n!). Gaussians: |He_n(z)| phi(z) <= 1.0866 sqrt(n!) exp(-z^2 / 4) / sqrt(2 pi) by
Cramer's inequality. Guards: with u = (x - loc) / (sqrt(3) scale) the density is a multiple of (u - i)^-2 (u + i)^-2,
whose n-th derivative is, by Leibniz' rule, at most n! (n + 1) (n + 2) (n + 3) / (6 r^(n + 4)), r = |u + i|.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture.quadrature import spread, union
from gaussmix.distances import _polynomials as poly
from gaussmix.distances._polynomials import EPS, N_NODES

WIDTH = 3.0  # of a Gaussian's cells, in standard deviations, at most
WINDOW = 8.0  # standard deviations from its mean beyond which a Gaussian is over: 1e-15 of its mass
_BEYOND_CDF, _BEYOND_PDF = 1.6e-16, 1.3e-15  # integrals of Phi(-z), and of phi(z), on both sides beyond WINDOW
_GUARD_WIDTH = 1.2  # of a guard's narrowest cells, in scales, at most
_NEAR = 2  # cells on either side of a guard's location that are too near for their level
_BEYOND_GUARD = 1e-15  # the integral of a guard beyond its cells, of that of all pieces
_PAIRS = 1 << 14  # of a Gaussian and a cell, at a time
_PAIRWISE = 26  # additions, one after the other, in NumPy's sum of any segment
_PHI_0 = 1 / math.sqrt(2 * math.pi)
_MISSED = 1.0866 * _PHI_0 / math.sqrt(math.factorial(N_NODES)) / 2 ** (N_NODES - 1)

Exponents = NDArray[np.intc]  # of 2, as ldexp takes them everywhere


class SignedPart(NamedTuple):
    """What lives between the same bounds: Gaussians (n,), guards, and what is uniform."""

    low: float
    high: float
    coefficient: FloatArray
    mean: FloatArray
    inverse_std: FloatArray
    guards: FloatArray  # (0..2, 3) mass, location, scale
    flat: float  # the density of what is uniform
    mass: float  # of all but guards


class Leaves(NamedTuple):
    """Leaves in order, (L,), and from where to where pieces (n,) have cells."""

    low: FloatArray
    high: FloatArray
    polynomial: FloatArray  # (L, N_TERMS)
    error: FloatArray  # of the polynomial, anywhere on the leaf, by rounding
    missed: float  # by interpolation and beyond the cells, integrated over the line
    weight: FloatArray
    start: FloatArray
    stop: FloatArray


class _Tree(NamedTuple):
    """(T,): cells, from the narrowest level on, in order on each; their values (N_NODES, T) and more."""

    levels: list[slice]
    exponent: Exponents
    k: IntArray
    middle: FloatArray
    half: FloatArray
    density: FloatArray  # (N_NODES, T) at the nodes
    mass: FloatArray  # of cdfs at the middle
    noise: FloatArray  # rounding of the polynomial that these give


def leaves(part: SignedPart, center: float, total: float, *, cumulative: bool) -> Leaves:
    """The sum of a part's Gaussians and guards: of their densities, or of cdfs below the center and cdfs - 1 above it.

    A piece of a cdf is left out on either side of its cells, where it is constant. ``total``: the sizes of all pieces.
    """
    std = 1 / part.inverse_std
    size = np.abs(part.coefficient) * (std if cumulative else 1.0)
    level = np.frexp(WIDTH * std)[1] - np.intc(1)
    ends = ((part.mean + side * WINDOW * std).clip(part.low, part.high) - center for side in (-1, 1))
    first, last = (np.floor(np.ldexp(end, -level)).astype(np.int64) for end in ends)
    eta = 0.5 * np.ldexp(part.inverse_std, level)
    share = _MISSED * eta**N_NODES * (3.55 + 4 * eta)
    missed = float(size @ (share * eta + _BEYOND_CDF if cumulative else share + _BEYOND_PDF))
    ranges = [(level, first, last)]
    start, stop = np.ldexp(first + 0.0, level), np.ldexp(last + 1.0, level)
    for mass, loc, scale in part.guards:
        e, k = _guard_cells(loc - center, scale, abs(mass) * (scale if cumulative else 1.0) / total, cumulative)
        ranges.append((e, k, k))
        start = np.append(start, np.ldexp(k[-1] - 4.0 * _NEAR - 1, e[-1]))
        stop = np.append(stop, np.ldexp(k[-1] + 1.0, e[-1]))
    tree, rows = _tree(ranges, center)
    _add_gaussians(part, rows[0], last - first + 1, tree, cumulative)
    for guard, row in zip(part.guards, rows[1:], strict=True):
        missed += _add_guard(guard, row, tree, cumulative) + _BEYOND_GUARD * total
    weight = np.append(part.coefficient, part.guards[:, 0])
    return Leaves(*_inherited(tree, center, cumulative), missed, weight, center + start, center + stop)


def _guard_cells(away: float, scale: float, share: float, cumulative: bool) -> tuple[Exponents, IntArray]:
    """Levels and k of a guard's cells: next to it narrow ones, and on each level those that are near for the next.

    ``away``: from the center. ``share``: of the guard in the sizes of all. The outermost cell comes last.
    """
    reach = math.sqrt(1.2 * share / _BEYOND_GUARD) if cumulative else (2.3 * share / _BEYOND_GUARD) ** (1 / 3)
    narrowest = math.frexp(_GUARD_WIDTH * scale)[1] - 1
    j = np.arange(max(0, math.frexp(reach * scale / _NEAR)[1] - narrowest) + 1)
    here = math.floor(math.ldexp(away, -narrowest)) >> j
    k = 2 * ((here >> 1)[:, None] - _NEAR) + np.arange(4 * _NEAR + 2)
    kept = (np.abs(k - here[:, None]) > _NEAR) | (j[:, None] == 0)
    return np.broadcast_to((narrowest + j)[:, None], k.shape)[kept].astype(np.intc), k[kept]


def _tree(ranges: list[tuple[Exponents, IntArray, IntArray]], center: float) -> tuple[_Tree, list[IntArray]]:
    """With the cells of levels (R,) from first to last k, and the rows (R,) of the first, for each of the ranges."""
    exponent, first, last = (np.concatenate(columns) for columns in zip(*ranges, strict=True))
    cells, levels, row = [np.empty(0, np.int64)], [slice(0)], np.empty(exponent.size, np.int64)
    low, high = np.empty((2, 0), np.int64)
    exponents = range(exponent.min(initial=1 << 20), exponent.max(initial=-(1 << 20)) + 1)
    for e in exponents:
        own = exponent == e
        low, high = union(np.append(first[own], low >> 1) & ~1, np.append(last[own], high >> 1) | 1)
        cells.append(spread(low, high - low + 1))
        levels.append(slice(levels[-1].stop, levels[-1].stop + cells[-1].size))
        row[own] = levels[-1].start + np.searchsorted(cells[-1], first[own])
    k, e = np.concatenate(cells), np.repeat(exponents, [own.size for own in cells[1:]]).astype(np.intc)
    middle, half, empty = center + np.ldexp(k + 0.5, e), np.ldexp(0.5, e), np.zeros((N_NODES + 2, k.size))
    rows = np.split(row, np.cumsum([level.size for level, *_ in ranges])[:-1])
    return _Tree(levels[1:], e, k, middle, half, empty[2:], *empty[:2]), rows


def _add_gaussians(part: SignedPart, row: IntArray, counts: IntArray, tree: _Tree, cumulative: bool) -> None:
    """Onto the ``counts`` (n,) rows from ``row`` (n,) on."""
    order = np.argsort(row)
    blocks = np.flatnonzero(np.diff(np.cumsum(counts[order]) // _PAIRS)) + 1
    touched = np.zeros(tree.k.size)
    for some in np.split(order, blocks) if order.size else []:
        n = counts[some]
        r = spread(row[some], n)
        key = r - row[some[0]]
        by_row = np.argsort(key.astype(np.uint16) if key.max() < 1 << 16 else key, kind="stable")  # radix for 16 bits
        r, i = r[by_row], np.repeat(some, n)[by_row]
        start = np.flatnonzero(np.diff(r, prepend=-1))
        cells = r[start]
        c, inverse = part.coefficient[i], part.inverse_std[i]
        z, eta = (tree.middle[r] - part.mean[i]) * inverse, tree.half[r] * inverse
        near = np.maximum(np.abs(z) - eta, 0)
        top = np.abs(c) * _PHI_0 * np.exp(-0.5 * near**2)
        noise = 9 + 3 * eta + near * (3.5 * near + 5 * eta)  # by rounding of y below, and by products
        if cumulative:
            side = np.where(tree.k[r] < 0, 1.0, -1.0)
            mass = side * c * ndtr(side * z)
            tree.mass[cells] += np.add.reduceat(mass, start)
            noise = (poly.CDF_MOST * eta * noise + 2 * np.abs(z)) * top + 10 * np.abs(mass)
        else:
            noise *= poly.PDF_MOST * inverse * top
        n = np.diff(start, append=r.size)
        added = np.minimum(np.minimum(n - 1, n / 8 + 3), _PAIRWISE)  # as NumPy adds pairs of sums
        tree.noise[cells] += 0.5 * EPS * np.add.reduceat(noise, start) * (1 + added / 9)
        touched[cells] += 1
        c *= _PHI_0 * inverse
        y = np.empty_like(z)
        for j in range(N_NODES):
            np.multiply(eta, poly.DENSITY_NODES[j], out=y)
            y += z
            y *= y
            y *= -0.5
            np.exp(y, out=y)
            y *= c
            tree.density[j, cells] += np.add.reduceat(y, start)
    tree.noise[:] *= 1 + touched / 9


def _add_guard(guard: FloatArray, row: IntArray, tree: _Tree, cumulative: bool) -> float:
    """Onto rows (R,); returns what is missed, integrated over the line."""
    mass, loc, unit = guard[0], guard[1], math.sqrt(3) * guard[2]
    half, away, height = tree.half[row] / unit, (tree.middle[row] - loc) / unit, mass * 2 / (math.pi * unit)
    tree.density[:, row] += height / (1 + (away + half * poly.DENSITY_NODES[:, None]) ** 2) ** 2
    r = np.hypot(1, np.maximum(np.abs(away) - half, 0))
    noise = 8 * EPS * abs(height) / r**4
    missed = 4 * math.comb(N_NODES + 3, 3) * abs(height) * tree.half[row] * (half / (2 * r)) ** N_NODES / r**4
    if cumulative:
        side = np.where(tree.k[row] < 0, 1.0, -1.0)
        outside = mass * stdtr(3, math.sqrt(3) * side * away)
        tree.mass[row] += side * outside
        tree.noise[row] += poly.CDF_MOST * tree.half[row] * noise + 64 * EPS * np.abs(outside)
        missed *= tree.half[row]
    else:
        tree.noise[row] += poly.PDF_MOST * noise
    return float(missed.sum())


def _inherited(tree: _Tree, center: float, cumulative: bool) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Low and high ends, polynomials and errors of the leaves."""
    matrix, scale = (poly.TO_CDF, tree.half) if cumulative else (poly.TO_PDF, np.ones(tree.k.size))
    middle = tree.density[N_NODES // 2]  # apart, as what is a constant is not rounded in the product
    others = (tree.density - middle).T
    polynomial = scale[:, None] * (others @ matrix)
    polynomial[:, int(cumulative)] += scale * middle
    polynomial[:, 0] += tree.mass
    rounding = poly.PRODUCT * np.abs(matrix).sum(axis=1).clip(0.02)
    error = tree.noise + scale * (EPS * np.abs(middle) + np.abs(others) @ rounding)
    leaf = np.ones(tree.k.size, bool)
    for parents, rows in zip(tree.levels[:0:-1], tree.levels[-2::-1], strict=True):
        up = parents.start + np.searchsorted(tree.k[parents], tree.k[rows][::2] >> 1)
        leaf[up] = False
        first, others = polynomial[up, 0], polynomial[up, 1:]
        polynomial[rows][::2] += others @ poly.LEFT[1:]
        polynomial[rows][1::2] += others @ poly.RIGHT[1:]
        polynomial[rows, 0] += np.repeat(first, 2)
        error[rows] += np.repeat(error[up] + EPS * np.abs(first) + np.abs(others) @ poly.OF_HALF[1:], 2)
    order = np.flatnonzero(leaf)[np.argsort(tree.middle[leaf])]
    low, high = (center + np.ldexp(tree.k[order] + end, tree.exponent[order]) for end in (0.0, 1.0))
    return low, high, polynomial[order], error[order]
