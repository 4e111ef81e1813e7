"""Maximum likelihood of all parameters of a Gaussian mixture, given counts in cells: Fisher scoring.

Parameters theta = (log w_k, m_k, log s_k), k = 1..K. With P_kj the probability of cell j under component k (reflected
at the bounds), b_j that of the fixed background, p_j = sum_k w_k P_kj + b_j, and counts c_j, sum_j c_j = N,

    log-likelihood   L = sum_j c_j log p_j - N (sum_k w_k - 1)         (its maximum over the weights' sum is at 1)
    score            J c/p - (N w, 0, 0),     J = dp/dtheta
    information      F = N J diag(1/p) J^T

and a step solves (F + lambda diag F) d = score, lambda raised until L does not fall (Levenberg, Marquardt).
Cells beyond the data, up to infinity, have no counts but a share in the information.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.special import xlogy

from gaussmix._typing import FloatArray
from gaussmix.density.auto.cells import Interval, cell_derivatives, cell_probabilities

_LARGEST_STEP = np.array([[2.0], [1.0], [0.7]])  # of log w, of m in standard deviations, of log s
_RIDGE = 1e-9  # of N: keeps a component without influence where it is


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
        whitened = J * np.sqrt(n / p)
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
