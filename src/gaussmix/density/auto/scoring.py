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

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array
from scipy.special import ndtr, xlogy

from gaussmix._typing import FloatArray
from gaussmix.density.reflection import reflections

_LARGEST_STEP = np.array([[2.0], [1.0], [0.7]])  # of log w, of m in standard deviations, of log s
_REACH = 9.0  # standard deviations beyond which a Gaussian has no mass: 1e-19
_FAR = 40.0  # where heights are zero in double precision
_SQRT_2PI = math.sqrt(2 * math.pi)
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

    @property
    def n(self) -> float:
        """Number of points."""
        return float(self.counts.sum())

    @property
    def inner(self) -> slice:
        """The cells with finite edges: those that can have counts."""
        return slice(int(self.edges[0] == -np.inf), len(self.counts) - int(self.edges[-1] == np.inf))

    def probabilities(self, mixture: Mixture) -> FloatArray:
        """(K, m)."""
        return cell_probabilities(self.edges, mixture.means, mixture.stds, self.bounds)

    def of_cells(self, p: FloatArray, weights: FloatArray) -> float:
        """Log-likelihood, in nats, of weights (K,) that give the cells the probabilities p (m,)."""
        return float(xlogy(self.counts, p).sum()) - self.n * (float(weights.sum()) - 1)


def jacobian(likelihood: Likelihood, mixture: Mixture) -> tuple[FloatArray, FloatArray]:
    """(m,) cell probabilities p and (3 K, m) their derivatives by log w, m / s and log s."""
    parts = cell_derivatives(likelihood.edges, mixture.means, mixture.stds, likelihood.bounds)
    p = mixture.weights @ parts[0] + likelihood.background
    return p, (mixture.weights[:, None] * parts).reshape(-1, p.size)


def refine(
    likelihood: Likelihood, mixture: Mixture, steps: int, tol: float = 0.01, damping: float = 0.01
) -> tuple[Mixture, float]:
    """At most ``steps`` scoring steps, until one gains less than ``tol`` nats; the mixture and its log-likelihood."""
    n, k = likelihood.n, len(mixture)
    p, J = jacobian(likelihood, mixture)
    value = likelihood.of_cells(p, mixture.weights)
    for _ in range(steps):
        p = np.maximum(p, np.finfo(float).tiny)
        score = J @ (likelihood.counts / p)
        score[:k] -= n * mixture.weights
        whitened = J * (math.sqrt(n) / np.sqrt(p))
        information = whitened @ whitened.T
        diagonal = information.diagonal() + _RIDGE * n
        for _ in range(6):
            step = _solve(information, damping * diagonal + _RIDGE * n, score)
            if step is not None:
                moved = _move(likelihood, mixture, step)
                p_moved, J_moved = jacobian(likelihood, moved)
                value_moved = likelihood.of_cells(p_moved, moved.weights)
                if value_moved >= value - 1e-9:
                    break
            damping *= 8
        else:
            break
        gain = value_moved - value
        mixture, value, p, J = moved, value_moved, p_moved, J_moved
        damping = max(damping / 6, 1e-5)
        if gain < tol:
            break
    return mixture, value


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
    return sparse_probabilities(edges, means, stds, bounds).toarray()


def sparse_probabilities(
    edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval, reach: float = _REACH
) -> csr_array:
    """As `cell_probabilities`, without the cells out of reach, in standard deviations."""
    _, images = _reflected(means, stds, bounds)
    first = np.maximum(np.searchsorted(edges, images - reach * stds) - 1, 0)
    last = np.minimum(np.searchsorted(edges, images + reach * stds), edges.size - 1)
    kept = last > first
    row, mean, first, size = kept.nonzero()[1], images[kept], first[kept], (last - first)[kept] + 1
    end = np.cumsum(size)
    image = np.repeat(np.arange(size.size), size)
    edge = np.arange(image.size) + (first - end + size)[image]
    P = _differences((edges[edge] - mean[image]) * (1 / stds[row])[image])
    starts = np.ones(edge.size, bool)
    starts[end - 1] = False  # an image's last edge starts no cell
    cell = np.flatnonzero(starts)
    return csr_array((P[cell], (row[image[cell]], edge[cell])), shape=(means.size, edges.size - 1))


def cell_derivatives(edges: FloatArray, means: FloatArray, stds: FloatArray, bounds: Interval) -> FloatArray:
    """(3, n, m): `cell_probabilities`, s dP/dm and dP/dlog s."""
    n, inverse, signs, rows = means.size, 1 / stds, np.empty(0), np.empty(0, np.int64)
    if bounds != (-math.inf, math.inf):  # the mirror images that reach between the edges stand behind the components
        signs, images = _reflected(means, stds, bounds)
        reach = _REACH * stds
        kept = (images + reach > edges[0]) & (images - reach < edges[-1])
        kept[np.argmax((images == means).all(axis=1))] = False
        image, rows = kept.nonzero()
        means, inverse, signs = np.append(means, images[kept]), np.append(inverse, inverse[rows]), signs[image]
    z = (edges - means[:, None]) * inverse[:, None]
    np.minimum(np.maximum(z, -_FAR, out=z), _FAR, out=z)
    height = np.exp(-0.5 * z * z)
    height *= 1 / _SQRT_2PI
    parts = np.empty((3, len(z), edges.size - 1))
    parts[0] = _differences(z)
    np.subtract(height[:, :-1], height[:, 1:], out=parts[1])
    parts[1, n:] *= signs[:, None]
    height *= z
    np.subtract(height[:, :-1], height[:, 1:], out=parts[2])
    for image, row in enumerate(rows, n):
        parts[:, row] += parts[:, image]
    return parts[:, :n]


def _reflected(means: FloatArray, stds: FloatArray, bounds: Interval) -> tuple[FloatArray, FloatArray]:
    """Signs (I,) and means (I, n) of the images that have mass inside the bounds for the widest of the components."""
    sign, offset, shift, _ = reflections(*bounds, _REACH * float(stds.max(initial=0.0))).T
    return sign, (offset[:, None] + np.multiply.outer(sign, means)) + shift[:, None]


def _differences(z: FloatArray) -> FloatArray:
    """Phi(z_j+1) - Phi(z_j) along the last axis, relatively accurate in both tails."""
    upper = z > 0
    tail = ndtr(-np.abs(z))
    tail = np.where(upper, -tail, tail)
    mass = (tail[..., 1:] - tail[..., :-1]) + (upper[..., 1:] > upper[..., :-1])
    return np.maximum(mass, 0.0, out=mass)  # of the narrowest cells rounding is all
