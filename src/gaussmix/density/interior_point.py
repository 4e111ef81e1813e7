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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dpbtrf, dpbtrs  # pyright: ignore[reportAttributeAccessIssue]
from scipy.sparse import csr_array

from gaussmix._typing import FloatArray

_COLUMNS = 16  # of a full piece of a banded matrix beyond its band
_TO_THE_WALL = 0.995  # share of the step at which the first weight would reach zero


_Block = tuple[slice, slice, FloatArray]  # rows, columns and the values there; every row lies in one block


def _blocks(A: csr_array, n: int) -> Iterator[_Block]:
    """A banded matrix in full pieces along its diagonal, somewhat wider than its band."""
    first, width = A.indices[A.indptr[:-1]], int(np.diff(A.indptr).max())
    start = 0
    while start < first.size:
        stop = int(np.searchsorted(first, first[start] + max(_COLUMNS, width // 2)))
        columns = slice(int(first[start]), min(int(first[stop - 1]) + width, n))
        yield slice(start, stop), columns, A[start:stop, columns].toarray()
        start = stop


def _times(blocks: Iterable[_Block], pi: FloatArray) -> FloatArray:
    return np.concatenate([values @ pi[columns] for _, columns, values in blocks])


def _transposed_times(blocks: Iterable[_Block], u: FloatArray, n: int) -> FloatArray:
    g = np.zeros(n)
    for rows, columns, values in blocks:
        g[columns] += u[rows] @ values
    return g


def _curvature(blocks: Iterable[_Block], v: FloatArray, n: int) -> FloatArray:
    """A^T diag(v) A as its lower band: (h + 1, n) with [k - l, l] for l <= k."""
    h = max(values.shape[1] for _, _, values in blocks) - 1
    around = np.zeros((n, 2 * h + 1))  # [l, h + k - l]
    skewed = (2 * h * around.itemsize, around.itemsize)  # from one l to the next, and from one k
    for rows, columns, values in blocks:
        here = around[columns.start :, h:]
        as_strided(here, (values.shape[1],) * 2, skewed)[:] += (values.T * v[rows]) @ values
    return around[:, h:].T


@dataclass(frozen=True)
class MaximumLikelihood:
    """Weights and how far from the best possible they can be."""

    weights: FloatArray  # (n,), >= 0; exact zeros where the optimum has none. They sum to 1 without a background
    gap: float  # upper bound of what the log-likelihood could still gain, in nats a unit of weight
    n_iter: int  # Newton steps taken


def maximum_likelihood_weights(
    A: ArrayLike | csr_array,
    w: ArrayLike,
    background: ArrayLike = 0.0,
    *,
    tol: float = 1e-8,
    start: ArrayLike | None = None,
    max_iter: int = 200,
) -> MaximumLikelihood:
    """The weights that maximise sum_j w_j log((A pi)_j + background_j) - sum pi over pi >= 0.

    ``A`` (m, n) holds the densities >= 0 of components at m data or cells, as an array, or sparse and banded: the first
    columns of its rows ascend, and none is empty. ``w`` (m,) are shares or counts >= 0, scaled to sum 1, where zeros
    have no influence; ``background``, a number or (m,), is a density >= 0 that is already there and not scaled. The
    search starts near the weights ``start`` (n,), or from equal ones, and ends once the certified gap is at most
    ``tol``, in nats a unit of weight, or after ``max_iter`` Newton steps.

    Raises ValueError where an entry of A or w is negative or not finite, all of w is zero, or a row with w > 0 has
    neither a component nor background.
    """
    w = np.ascontiguousarray(w, dtype=np.float64)
    b, total = np.broadcast_to(np.asarray(background, dtype=np.float64), w.shape), w.sum()
    if not (np.isfinite(total) and total > 0 and w.min() >= 0):
        raise ValueError(f"w has minimum {w.min(initial=np.inf)} and sum {total}; all must be >= 0 and some > 0")
    if isinstance(A, csr_array):
        _, n = cast(tuple[int, int], A.shape)
    else:
        A = np.asarray(A, dtype=np.float64)
        scale = np.maximum(A.max(1), b)  # each row in its own unit, so that no power of it overflows
        if not (np.isfinite(scale).all() and A.min() >= 0):
            raise ValueError("A has entries that are negative or not finite; densities are needed")
        scale[scale == 0] = 1.0
        A, b, n = A / scale[:, None], b / scale, A.shape[1]
    pi = np.full(n, 1.0 / n)
    if start is not None:
        given = np.asarray(start, dtype=np.float64)
        pi = 0.9 * given / given.sum() + 0.1 / n
    if not w.all():
        seen = np.flatnonzero(w)
        A, w, b = A[seen], w[seen], b[seen]
    blocks = list(_blocks(A, n)) if isinstance(A, csr_array) else [(slice(None), slice(0, n), A)]
    return _solve(blocks, w / total, b, tol, max_iter, pi)


def _solve(
    A: Sequence[_Block], w: FloatArray, b: FloatArray, tol: float, max_iter: int, pi: FloatArray
) -> MaximumLikelihood:
    """Interior point from pi > 0; all w > 0."""
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
            best, best_gap = pi, gap
        if n_iter == 0:
            z = np.maximum(1.0 - g, 1.0)
        if gap <= tol or n_iter >= max_iter:
            break
        pi, z = _newton_step(_curvature(A, w / p / p, pi.size), g, pi, z)
        n_iter += 1
    sparse = np.where(best > z, best, 0.0)  # where the multiplier won, the optimum has no weight
    _, g = _slopes(A, w, b, sparse)
    gap = np.inf if g is None else _certificate(sparse, g, bare)
    if gap <= max(tol, best_gap):
        best, best_gap = sparse, gap
    return MaximumLikelihood(best / best.sum() if bare else best, best_gap, n_iter)


def _slopes(A: Sequence[_Block], w: FloatArray, b: FloatArray, pi: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """p and g at pi; no g if a datum has no density."""
    p = _times(A, pi) + b
    return p, _transposed_times(A, w / p, pi.size) if p.min() > 0 else None


def _certificate(pi: FloatArray, g: FloatArray, bare: bool) -> float:
    """The gap at pi with g = A^T (w / p). Without background, of pi / sum pi."""
    if bare:
        return max(0.0, float(g.max() * pi.sum()) - 1.0)
    return max(0.0, float(g.max()) - 1.0) + max(0.0, float(pi @ (1.0 - g)))


def _newton_step(band: FloatArray, g: FloatArray, pi: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Predictor and corrector from pi, z > 0; band is A^T diag(u / p) A."""
    ratio = z / pi
    band[0] += ratio
    factor = _factor(band)
    dpi = dpbtrs(factor, g - 1.0, lower=1)[0]
    dz = -z - ratio * dpi
    now = pi @ z
    ahead = (pi + _longest(pi, dpi) * dpi) @ (z + _longest(z, dz) * dz)
    pull = ((ahead / now) ** 3 * now / pi.size - dpi * dz) / pi
    dpi = dpbtrs(factor, g - 1.0 + pull, lower=1)[0]
    dz = pull - z - ratio * dpi
    return pi + _longest(pi, dpi) * dpi, z + _longest(z, dz) * dz


def _factor(band: FloatArray) -> FloatArray:
    """Cholesky factor of a banded matrix, its diagonal raised by as little as that takes."""
    for ridge in 10.0 ** np.arange(-13, 1):
        factor, failed = dpbtrf(band, lower=1)
        if not failed:
            return factor
        band[0] *= 1 + ridge  # components may be combinations of others
    raise ArithmeticError("the weights' curvature is not positive definite")


def _longest(x: FloatArray, dx: FloatArray) -> float:
    """The longest step a <= 1 with x + a dx >= 0, short of the wall."""
    fastest = float((dx / x).min())  # share of itself that a weight loses
    return min(1.0, -_TO_THE_WALL / fastest) if fastest < 0 else 1.0
