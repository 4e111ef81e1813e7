"""Maximum likelihood of all parameters of a Gaussian mixture, given counts in cells: Fisher scoring.

Parameters theta = (log w_k, m_k, log s_k), k = 1..K. With P_kj the probability of cell j under component k (reflected
at the bounds), b_j that of the fixed background, p_j = sum_k w_k P_kj + b_j, and counts c_j, sum_j c_j = N,

    log-likelihood   L = sum_j c_j log p_j - N (sum_k w_k - 1)         (its maximum over the weights' sum is at 1)
    score            J c/p - (N w, 0, 0),     J = dp/dtheta
    information      F = N J diag(1/p) J^T

and a step solves (F + lambda diag F) d = score, lambda raised until L does not fall (Levenberg, Marquardt).
Cells beyond the data, up to infinity, have no counts but a share in the information.

For a cell [e_j, e_j+1] and an image (`gaussmix.density.reflection`) with mean m and deviation s,

    P = Phi(z_j+1) - Phi(z_j),    z = (e - m) / s,
    s dP/dm = -(phi_j+1 - phi_j),    dP/dlog s = -(z_j+1 phi_j+1 - z_j phi_j);

a mirrored image turns the sign of the first derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array
from scipy.special import ndtr

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.reflection import reflections

_LARGEST_STEP = np.array([[2.0], [1.0], [0.7]])  # of log w, of m in standard deviations, of log s
_REACH = 9.0  # standard deviations beyond which a Gaussian has no mass: 1e-19
_FAR = 12.0  # standard deviations beyond which all derivatives are zero: 1e-31
_SQRT_2PI = math.sqrt(2 * math.pi)
_TINY = float(np.finfo(float).tiny)
_RIDGE = 1e-9  # of N: keeps a component without influence where it is

Interval = tuple[float, float]  # bounds in y, infinite where open


@dataclass(frozen=True)
class Mixture:
    """Components of a Gaussian mixture: arrays (K,)."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    least: FloatArray  # the smallest standard deviation that each component may take

    def __len__(self) -> int:
        return len(self.weights)

    def select(self, keep: NDArray[np.bool_]) -> Mixture:
        """The components where ``keep``, (K,), is true."""
        return Mixture(self.weights[keep], self.means[keep], self.stds[keep], self.least[keep])

    def joined(self, other: Mixture) -> Mixture:
        """These components and those of another mixture."""
        return Mixture(*(np.concatenate([mine, getattr(other, name)]) for name, mine in vars(self).items()))


@dataclass(frozen=True)
class Likelihood:
    """Counts in cells, and what stays fixed while mixtures are fitted to them."""

    edges: FloatArray  # (m + 1,) ascending; infinite at an open side
    counts: FloatArray  # (m,)
    background: FloatArray  # (m,) probabilities of a fixed component, > 0 wherever there are counts
    bounds: Interval

    @cached_property
    def n(self) -> float:
        """Number of points."""
        return float(self.counts.sum())

    @cached_property
    def _seen(self) -> IntArray:
        """The cells with counts."""
        return np.flatnonzero(self.counts)

    @property
    def inner(self) -> slice:
        """The cells with finite edges: those that can have counts."""
        return slice(int(self.edges[0] == -np.inf), len(self.counts) - int(self.edges[-1] == np.inf))

    def probabilities(self, mixture: Mixture) -> FloatArray:
        """(K, m)."""
        return cell_probabilities(self.edges, mixture.means, mixture.stds, self.bounds)

    def of_cells(self, p: FloatArray, weights: FloatArray) -> float:
        """Log-likelihood, in nats, of weights (K,) that give the cells the probabilities p (m,)."""
        return float(self.counts[self._seen] @ np.log(p[self._seen])) - self.n * (float(weights.sum()) - 1)


def jacobian(likelihood: Likelihood, mixture: Mixture) -> tuple[FloatArray, FloatArray]:
    """(m,) cell probabilities p and (3 K, m) their derivatives by log w, m / s and log s."""
    parts = cell_derivatives(likelihood.edges, mixture.means, mixture.stds, likelihood.bounds)
    p = mixture.weights @ parts[0] + likelihood.background
    return p, (mixture.weights[:, None] * parts).reshape(-1, p.size)


def refine(likelihood: Likelihood, mixture: Mixture, steps: int, tol: float = 0.01) -> tuple[Mixture, float]:
    """At most ``steps`` scoring steps, until one gains less than ``tol`` nats; the mixture and its log-likelihood."""
    n, k, damping = likelihood.n, len(mixture), 0.01
    p, parts, value = _evaluate(likelihood, mixture)
    for _ in range(steps):
        p, weight = np.maximum(p, _TINY), np.tile(mixture.weights, 3)
        score = weight * (parts @ (likelihood.counts / p))
        score[:k] -= n * mixture.weights
        parts *= math.sqrt(n) / np.sqrt(p)
        information = (parts @ parts.T) * np.multiply.outer(weight, weight)
        diagonal = information.diagonal() + _RIDGE * n
        for _ in range(6):
            step = _solve(information, damping * diagonal + _RIDGE * n, score)
            if step is not None:
                moved = _move(likelihood, mixture, step)
                p, parts, value_moved = _evaluate(likelihood, moved)
                if value_moved >= value - 1e-9:
                    break
            damping *= 8
        else:
            break
        gain = value_moved - value
        mixture, value = moved, value_moved
        damping = max(damping / 6, 1e-5)
        if gain < tol:
            break
    return mixture, value


def _evaluate(likelihood: Likelihood, mixture: Mixture) -> tuple[FloatArray, FloatArray, float]:
    """(m,) cell probabilities, (3 K, m) derivatives of those of the components, and the log-likelihood."""
    parts = cell_derivatives(likelihood.edges, mixture.means, mixture.stds, likelihood.bounds)
    p = mixture.weights @ parts[0] + likelihood.background
    return p, parts.reshape(-1, p.size), likelihood.of_cells(p, mixture.weights)


def _solve(matrix: FloatArray, extra: FloatArray, right: FloatArray) -> FloatArray | None:
    """(matrix + diag(extra))^-1 right by Cholesky; None if that is not positive definite."""
    damped = matrix.copy()
    damped.flat[:: len(matrix) + 1] += extra
    factor, failed = lapack.dpotrf(damped)  # pyright: ignore[reportAttributeAccessIssue]
    if failed:
        return None
    step = lapack.dpotrs(factor, right)[0]  # pyright: ignore[reportAttributeAccessIssue]
    return step if np.isfinite(step).all() else None


def _move(likelihood: Likelihood, mixture: Mixture, step: FloatArray) -> Mixture:
    """The mixture after a step (3 K,), each part of it cut to what may be trusted."""
    d_weight, d_mean, d_std = np.minimum(np.maximum(step.reshape(3, -1), -_LARGEST_STEP), _LARGEST_STEP)
    low, high = likelihood.bounds
    return replace(
        mixture,
        weights=mixture.weights * np.exp(d_weight),
        means=np.minimum(np.maximum(mixture.means + d_mean * mixture.stds, low), high),
        stds=np.maximum(mixture.stds * np.exp(d_std), mixture.least),
    )


def cell_probabilities(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(n, m) probabilities of the m cells between ascending edges, which may start and end at infinity."""
    row, images, _ = _images(edges, means, stds, bounds)
    parts = _differences(_standardised(edges, images, 1 / stds[row]))
    for image in range(means.size, row.size):
        parts[row[image]] += parts[image]
    return parts[: means.size]


def sparse_probabilities(
    edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval, reach: float = _REACH
) -> csr_array:
    """As `cell_probabilities`, without the cells out of reach, in standard deviations."""
    _, images = _reflected(means, stds, bounds)
    first = np.maximum(np.searchsorted(edges, images - reach * stds) - 1, 0)
    last = np.minimum(np.searchsorted(edges, images + reach * stds), edges.size - 1)
    row, image = (last > first).T.nonzero()
    mean, first, size = images[image, row], first[image, row], (last - first)[image, row] + 1
    end = np.cumsum(size)
    edge = np.arange(size.sum()) + np.repeat(first - end + size, size)
    P = _differences((edges[edge] - np.repeat(mean, size)) * np.repeat(1 / stds[row], size))
    cells = np.ones(edge.size, bool)
    cells[end - 1] = False  # an image's last edge starts no cell
    ends = np.append(0, np.cumsum(np.bincount(row, size - 1, means.size)).astype(np.int64))
    found = csr_array((P[cells[:-1]], edge[cells], ends), shape=(means.size, edges.size - 1))
    if len(images) > 1:
        found.sum_duplicates()
    return found


def cell_derivatives(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(3, n, m): `cell_probabilities`, s dP/dm and dP/dlog s."""
    n = means.size
    rows, images, signs = _images(edges, means, stds, bounds)
    z = _standardised(edges, images, 1 / stds[rows])
    height = z * z
    height *= -0.5
    np.exp(height, out=height)
    height *= 1 / _SQRT_2PI
    parts = np.empty((3, len(z), edges.size - 1))
    parts[0] = _differences(z)
    np.subtract(height[:, :-1], height[:, 1:], out=parts[1])
    parts[1, n:] *= signs[n:, None]
    height *= z
    np.subtract(height[:, :-1], height[:, 1:], out=parts[2])
    for image in range(n, rows.size):
        parts[:, rows[image]] += parts[:, image]
    return parts[:, :n]


def _standardised(edges: FloatArray, means: FloatArray, inverse: FloatArray) -> FloatArray:
    """(I, m + 1) places of the edges in standard deviations from the means (I,), cut where nothing is beyond."""
    z = edges - means[:, None]
    z *= inverse[:, None]
    return np.minimum(np.maximum(z, -_FAR, out=z), _FAR, out=z)


def _images(
    edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Rows, means and signs (I,): of the components (n,) first, then of their mirror images between the edges."""
    rows, signs = np.arange(means.size), np.ones(means.size)
    if bounds == (-math.inf, math.inf):
        return rows, means, signs
    sign, images = _reflected(means, stds, bounds)
    reach = _REACH * stds
    kept = (images + reach > edges[0]) & (images - reach < edges[-1])
    kept[np.argmax((images == means).all(axis=1))] = False
    image, row = kept.nonzero()
    return np.append(rows, row), np.append(means, images[kept]), np.append(signs, sign[image])


def _reflected(means: FloatArray, stds: FloatArray, bounds: Interval) -> tuple[FloatArray, FloatArray]:
    """Signs (I,) and means (I, n) of the images that have mass inside the bounds for the widest of the components."""
    sign, offset, shift, _ = reflections(*bounds, _REACH * float(stds.max(initial=0.0))).T
    return sign, (offset[:, None] + np.multiply.outer(sign, means)) + shift[:, None]


def _differences(z: FloatArray) -> FloatArray:
    """Phi(z_j+1) - Phi(z_j) along the last axis, relatively accurate in both tails."""
    upper, below = z > 0, -np.abs(z)
    near = below > -_FAR
    if near.all():
        tail = ndtr(below)
    else:
        tail = np.zeros(z.shape)
        tail[near] = ndtr(below[near])
    np.copysign(tail, 0.0 - z, out=tail)  # not of -0
    mass = tail[..., 1:] - tail[..., :-1]
    mass += upper[..., 1:] > upper[..., :-1]
    return np.maximum(mass, 0.0, out=mass)  # of the narrowest cells rounding is all
