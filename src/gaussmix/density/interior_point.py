"""Maximum likelihood of mixture weights alone, with a certificate.

The components are fixed, so the log-likelihood is concave in the weights:

    maximise  F(pi) = sum_j w_j log p_j - sum_k pi_k,   p = A pi + b,   pi >= 0,   sum_j w_j = 1,

where A[j, k] >= 0 is the density (or probability) of component k at datum or cell j, w its share of the data and b a
density that stays as it is. Without b the maximum has sum pi = 1 by itself. With u = w / p and g = A^T u the optimum
is where g_k <= 1, with equality wherever pi_k > 0. For any pi, concavity and sum pi* <= 1 give

    F(pi*) - F(pi) <= gap = max(0, max_k g_k - 1) + max(0, sum_k pi_k (1 - g_k)),

in nats a unit of weight; the second term vanishes without b. The solver is a primal-dual interior point with Mehrotra's
predictor and corrector; each step factors A^T diag(u / p) A + diag(z / pi), z the multiplier of pi >= 0, by Cholesky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numba as nb
import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray, IntArray

_SMALL_PIVOT = 1e-13  # of the diagonal: below, a component is a combination of earlier ones and stays where it is
_TO_THE_WALL = 0.995  # share of the step at which the first weight would reach zero
_FLAGS = {"reassoc", "contract"}


@dataclass(frozen=True)
class BandedRows:
    """A matrix whose row j is zero but for ``table[row[j]]``, which starts at column ``first[j]``.

    Entries left of column 0 or right of the last column do not count. The rows of a lattice share few tables: with 16
    sub-bins a cell there are 16 of them, whatever the number of components.
    """

    table: FloatArray  # (S, width); entries >= 0 where they are densities
    row: IntArray  # (m,), indices into ``table``
    first: IntArray  # (m,), ascending; may be negative
    n_columns: int

    def __getitem__(self, rows: IntArray) -> BandedRows:
        """The matrix of these rows, ascending."""
        return BandedRows(self.table, self.row[rows], self.first[rows], self.n_columns)

    def times(self, pi: FloatArray) -> FloatArray:
        """A pi, (m,)."""
        p = np.empty(self.row.size)
        _banded_times(self.table, self.row, self.first, pi, p)
        return p

    def transposed_times(self, u: FloatArray) -> FloatArray:
        """A^T u, (n,)."""
        g = np.zeros(self.n_columns)
        _banded_transposed(self.table, self.row, self.first, u, g)
        return g

    def curvature(self, v: FloatArray) -> FloatArray:
        """A^T diag(v) A, the lower band: (n, h + 1) with [k, h + l - k] for l <= k."""
        n, width = self.n_columns, self.table.shape[1]
        band = np.zeros((n, min(n, width)))
        block = np.empty(self._products.shape[1])
        _banded_curvature(self._products, width, self.row, self.first, v, block, band)
        return band

    @cached_property
    def _products(self) -> FloatArray:
        """Lower triangles of the outer square of each table row, one after the other: (S, width (width + 1) / 2)."""
        c, d = np.tril_indices(self.table.shape[1])
        return np.ascontiguousarray(self.table[:, c] * self.table[:, d])

    def dense(self) -> FloatArray:
        """(m, n)."""
        out = np.zeros((self.row.size, self.n_columns))
        column = self.first[:, None] + np.arange(self.table.shape[1])
        inside = (column >= 0) & (column < self.n_columns)
        rows = np.broadcast_to(np.arange(self.row.size)[:, None], column.shape)
        out[rows[inside], column[inside]] = self.table[self.row][inside]
        return out


@dataclass(frozen=True)
class _Columns:
    """A full matrix, by columns; the products of `BandedRows`."""

    columns: FloatArray  # (n, m)

    def times(self, pi: FloatArray) -> FloatArray:
        p = np.zeros(self.columns.shape[1])
        _times(self.columns, pi, p)
        return p

    def transposed_times(self, u: FloatArray) -> FloatArray:
        g = np.empty(len(self.columns))
        _transposed(self.columns, u, g)
        return g

    def curvature(self, v: FloatArray) -> FloatArray:
        n, m = self.columns.shape
        band = np.zeros((n, n))
        _curvature(self.columns, v, np.empty(m), band)
        return band


@dataclass(frozen=True)
class MaximumLikelihood:
    """Weights and how far from the best possible they can be."""

    weights: FloatArray  # (n,), >= 0; exact zeros where the optimum has none. They sum to 1 without a background
    gap: float  # upper bound of what the log-likelihood could still gain, in nats a unit of weight
    n_iter: int  # Newton steps taken


def maximum_likelihood_weights(
    A: ArrayLike | BandedRows,
    w: ArrayLike,
    background: ArrayLike = 0.0,
    *,
    tol: float = 1e-8,
    start: ArrayLike | None = None,
    max_iter: int = 200,
) -> MaximumLikelihood:
    """The weights that maximise sum_j w_j log((A pi)_j + background_j) - sum pi over pi >= 0.

    ``A`` (m, n) holds the densities >= 0 of components at m data or cells, as an array or as `BandedRows`; ``w`` (m,)
    shares or counts >= 0, scaled to sum 1, where zeros have no influence; ``background``, a number or (m,), a density
    >= 0 that is already there and not scaled. The search starts near the weights ``start`` (n,), or from equal ones,
    and ends once the certified gap is at most ``tol``, in nats a unit of weight, or after ``max_iter`` Newton steps.

    Raises ValueError where shapes do not fit, an entry is negative or not finite, all of w is zero, or a row with w > 0
    has neither a component nor background.
    """
    w = np.ascontiguousarray(w, dtype=np.float64)
    if w.ndim != 1:
        raise ValueError(f"w has shape {w.shape}; one value a row of A is needed")
    b = np.broadcast_to(np.asarray(background, dtype=np.float64), w.shape)
    total = w.sum()
    if not (np.isfinite(total) and total > 0 and w.min() >= 0):
        raise ValueError(f"w has minimum {w.min(initial=np.inf)} and sum {total}; all must be >= 0 and some > 0")
    if not (np.isfinite(b).all() and b.min() >= 0):
        raise ValueError(f"background runs from {b.min()} to {b.max()}; it must be finite and >= 0")
    if isinstance(A, BandedRows):
        if A.row.shape != w.shape or A.first.shape != w.shape:
            raise ValueError(f"A has {A.row.size} rows and w has {w.size} values; they must be as many")
        n = A.n_columns
    else:
        A, b = _checked(A, w.size, b)
        n = A.shape[1]
    pi = np.full(n, 1.0 / n)
    if start is not None:
        given = np.asarray(start, dtype=np.float64)
        if given.shape != (n,) or not (np.isfinite(given).all() and given.min() >= 0 and given.sum() > 0):
            raise ValueError(f"start must be {n} finite weights >= 0 that are not all zero; got shape {given.shape}")
        pi = 0.9 * given / given.sum() + 0.1 / n
    if not w.all():
        seen = np.flatnonzero(w)
        A, w, b = A[seen], w[seen], b[seen]
    matrix = A if isinstance(A, BandedRows) else _Columns(np.ascontiguousarray(A.T))
    return _solve(matrix, w / total, b, tol, max_iter, pi)


def _checked(A: ArrayLike, m: int, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(m, n) and background (m,), each row in its own unit so that no power of it overflows."""
    A = np.asarray(A, dtype=np.float64)
    if A.ndim != 2 or A.shape[0] != m or A.shape[1] < 1:
        raise ValueError(f"A has shape {A.shape}; with {m} values in w it must be ({m}, n >= 1)")
    scale = np.maximum(A.max(1), b)
    if not (np.isfinite(scale).all() and A.min() >= 0):
        raise ValueError("A has entries that are negative or not finite; densities are needed")
    scale[scale == 0] = 1.0
    return A / scale[:, None], b / scale


def _solve(
    A: BandedRows | _Columns, w: FloatArray, b: FloatArray, tol: float, max_iter: int, pi: FloatArray
) -> MaximumLikelihood:
    """Interior point from pi > 0, which it changes; all w > 0."""
    bare = not b.any()
    z = np.empty(0)
    best, best_gap = pi, np.inf
    n_iter = 0
    while True:
        p, g = _slopes(A, w, b, pi)
        if g is None:
            raise ValueError("a row of A with w > 0 is zero, without background: its likelihood is 0 for any weights")
        gap = _certificate(pi, g, bare)
        if gap < best_gap:
            best, best_gap = pi.copy(), gap
        if n_iter == 0:
            z = np.maximum(1.0 - g, 1.0)
        if gap <= tol or n_iter >= max_iter:
            break
        _newton_step(A.curvature(w / p / p), g, pi, z)
        n_iter += 1
    sparse = np.where(best > z, best, 0.0)  # where the multiplier won, the optimum has no weight
    _, g = _slopes(A, w, b, sparse)
    gap = np.inf if g is None else _certificate(sparse, g, bare)
    if gap <= max(tol, best_gap):
        best, best_gap = sparse, gap
    return MaximumLikelihood(best / best.sum() if bare else best, best_gap, n_iter)


def _slopes(
    A: BandedRows | _Columns, w: FloatArray, b: FloatArray, pi: FloatArray
) -> tuple[FloatArray, FloatArray | None]:
    """p and g at pi; no g if a datum has no density."""
    p = A.times(pi)
    p += b
    return p, A.transposed_times(w / p) if p.min() > 0 else None


# Loops over scalars only: numba takes seconds to compile a slice assignment or a reduction, and the first fit waits.


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _times(columns, pi, p):
    """p += A pi."""
    for k in range(pi.size):
        for j in range(p.size):
            p[j] += pi[k] * columns[k, j]


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _transposed(columns, u, g):
    """g = A^T u."""
    for k in range(g.size):
        total = 0.0
        for j in range(u.size):
            total += columns[k, j] * u[j]
        g[k] = total


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _curvature(columns, v, scratch, band):
    """Lower band of A^T diag(v) A."""
    n = band.shape[0]
    for k in range(n):
        for j in range(v.size):
            scratch[j] = v[j] * columns[k, j]
        for i in range(k + 1):
            total = 0.0
            for j in range(v.size):
                total += scratch[j] * columns[i, j]
            band[k, n - 1 + i - k] = total


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _banded_times(table, row, first, pi, p):
    """p = A pi."""
    width, n = table.shape[1], pi.size
    for j in range(p.size):
        start = first[j]
        low, high = -start if start < 0 else 0, n - start if n - start < width else width
        values, weights = table[row[j], low:high], pi[start + low : start + high]
        total = 0.0
        for c in range(values.size):
            total += values[c] * weights[c]
        p[j] = total


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _banded_transposed(table, row, first, u, g):
    """g += A^T u."""
    width, n = table.shape[1], g.size
    for j in range(u.size):
        start, uj = first[j], u[j]
        low, high = -start if start < 0 else 0, n - start if n - start < width else width
        values, sums = table[row[j], low:high], g[start + low : start + high]
        for c in range(values.size):
            sums[c] += values[c] * uj


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _banded_curvature(products, width, row, first, v, block, band):
    """band += A^T diag(v) A; the rows of one cell are summed before they are placed."""
    n, h = band.shape[0], band.shape[1] - 1
    m = v.size
    j = 0
    while j < m:
        start = first[j]
        for e in range(block.size):
            block[e] = 0.0
        while j < m and first[j] == start:
            factor, values = v[j], products[row[j]]
            for e in range(block.size):
                block[e] += factor * values[e]
            j += 1
        low, high = -start if start < 0 else 0, n - start if n - start < width else width
        for c in range(low, high):
            at = c * (c + 1) // 2
            line, values = band[start + c, h - c + low : h + 1], block[at + low : at + c + 1]
            for d in range(values.size):
                line[d] += values[d]


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _factor(band):
    """Cholesky factor of a banded matrix in place; the diagonal ends up inverted, 0 where a pivot is too small."""
    n, h = band.shape[0], band.shape[1] - 1
    for k in range(n):
        line = band[k]
        lowest = k - h if k > h else 0
        diagonal = line[h]
        for i in range(lowest, k):
            other = band[i]
            start = i - h if i - h > lowest else lowest
            total = line[h + i - k]
            ours, theirs = line[h + start - k : h + i - k], other[h + start - i : h]
            for c in range(ours.size):
                total -= ours[c] * theirs[c]
            line[h + i - k] = total * other[h]
        total = diagonal
        for c in range(h + lowest - k, h):
            total -= line[c] * line[c]
        line[h] = 1.0 / math.sqrt(total) if total > _SMALL_PIVOT * diagonal else 0.0


@nb.njit(nogil=True, cache=True, fastmath=_FLAGS)
def _substitute(band, x):
    """Solve in place with the factor of `_factor`."""
    n, h = band.shape[0], band.shape[1] - 1
    for k in range(n):
        total = x[k]
        for i in range(k - h if k > h else 0, k):
            total -= band[k, h + i - k] * x[i]
        x[k] = total * band[k, h]
    for k in range(n - 1, -1, -1):
        value = x[k] * band[k, h]
        x[k] = value
        for i in range(k - h if k > h else 0, k):
            x[i] -= band[k, h + i - k] * value


@nb.njit(nogil=True, cache=True)
def _longest(x, dx):
    """The longest step a <= 1 with x + a dx >= 0, short of the wall."""
    a = 1.0 / _TO_THE_WALL
    for k in range(x.size):
        if dx[k] < 0.0 and -x[k] > a * dx[k]:
            a = -x[k] / dx[k]
    return _TO_THE_WALL * a


@nb.njit(nogil=True, cache=True)
def _certificate(pi, g, bare):
    """The gap at pi with g = A^T (w / p). Without background, of pi / sum pi."""
    steepest, total, slack = g[0], 0.0, 0.0
    for k in range(pi.size):
        steepest = g[k] if g[k] > steepest else steepest
        total += pi[k]
        slack += pi[k] * (1.0 - g[k])
    if bare:
        return max(0.0, steepest * total - 1.0)
    return max(0.0, steepest - 1.0) + max(0.0, slack)


@nb.njit(nogil=True, cache=True)
def _newton_step(band, g, pi, z):
    """Predictor and corrector from pi, z > 0, in place; band is A^T diag(u / p) A and is overwritten."""
    n, h = band.shape[0], band.shape[1] - 1
    dpi, dz = np.empty(n), np.empty(n)
    for k in range(n):
        band[k, h] += z[k] / pi[k]
        dpi[k] = g[k] - 1.0
    _factor(band)
    _substitute(band, dpi)
    for k in range(n):
        dz[k] = -z[k] - z[k] / pi[k] * dpi[k]
    a, c = _longest(pi, dpi), _longest(z, dz)
    now, ahead = 0.0, 0.0
    for k in range(n):
        now += pi[k] * z[k]
        ahead += (pi[k] + a * dpi[k]) * (z[k] + c * dz[k])
    centre = (ahead / now) ** 3 * now / n
    for k in range(n):
        pull = (centre - dpi[k] * dz[k]) / pi[k]
        dz[k] = pull - z[k]
        dpi[k] = g[k] - 1.0 + pull
    _substitute(band, dpi)
    for k in range(n):
        dz[k] -= z[k] / pi[k] * dpi[k]
    a, c = _longest(pi, dpi), _longest(z, dz)
    for k in range(n):
        pi[k] += a * dpi[k]
        z[k] += c * dz[k]
