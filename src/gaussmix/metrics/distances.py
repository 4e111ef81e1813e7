r"""The Frechet distance of two sets of features, the one behind FID.

Both sets are summed up by mean and covariance, :math:`\mu` and :math:`\Sigma`, and the normal laws that have them are
compared by their squared 2-Wasserstein distance (Heusel et al. 2017; Dowson and Landau 1982):

.. math::
    d^2 = |\mu_a - \mu_b|^2 + \mathrm{tr}\,\Sigma_a + \mathrm{tr}\,\Sigma_b
          - 2\,\mathrm{tr}\,(\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}

The last trace is the sum of the singular values of :math:`\Sigma_a^{1/2} \Sigma_b^{1/2}`. The roots come from
symmetric eigenvectors, so nothing complex appears, and the singular values are taken of the roots and not of the
product of covariances, whose small eigenvalues would lose half of their digits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from gaussmix.metrics._rows import Array, Features, blocks, feature_pair

_TOLERANCE = 1e-6
"""How far a covariance may be from symmetric and from having no negative eigenvalue, as a share of its largest."""


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared 2-Wasserstein distance of the normal laws fitted to features ``a`` ``(N, D)`` and ``b`` ``(M, D)``.

    Covariances divide by N - 1 and M - 1, as FID's do. In the squared unit of the features; 0 only if means and
    covariances agree. Two finite samples of one law are apart as well: the distance is biased upward, roughly in
    proportion to D (1/N + 1/M), so compare values only at equal N and M and beside real against real. With fewer rows
    than D + 1 the covariances have not full rank; the distance is still exact for them.
    Raises ValueError for fewer than two rows, for widths that differ and for NaN or infinity.
    """
    a, b = feature_pair(a, b, ("a", "b"), at_least=2, why=", and a covariance needs two")
    return _squared_distance(*_moments(a), *_moments(b))


def frechet_distance_of_gaussians(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Squared 2-Wasserstein distance of two normal laws with means ``(D,)`` and covariances ``(D, D)``, variances.

    Covariances may lack full rank. Raises ValueError for shapes that do not fit, for NaN or infinity, and for a
    covariance that is not symmetric or has a negative eigenvalue beyond rounding.
    """
    means = [_finite(mean, name) for mean, name in ((mean_a, "mean_a"), (mean_b, "mean_b"))]
    covs = [_finite(cov, name) for cov, name in ((cov_a, "cov_a"), (cov_b, "cov_b"))]
    width = means[0].size
    shapes = [value.shape for value in (*means, *covs)]
    if shapes != [(width,)] * 2 + [(width, width)] * 2:
        raise ValueError(f"means and covariances have shapes {shapes}; give (D,), (D,), (D, D) and (D, D) of one D")
    for cov, name in zip(covs, ("cov_a", "cov_b"), strict=True):
        apart = np.abs(cov - cov.T).max()
        if apart > _TOLERANCE * np.abs(cov).max():
            raise ValueError(f"{name} is not symmetric: entries across the diagonal differ by up to {apart:.3g}")
    return _squared_distance(means[0], covs[0], means[1], covs[1])


def _finite(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; give finite numbers")
    return array


def _moments(rows: Features) -> tuple[Array, Array]:
    """Mean ``(D,)`` and covariance ``(D, D)``, with N - 1."""
    mean = rows.mean(0, dtype=np.float64)
    cov = np.zeros((rows.shape[1], rows.shape[1]))
    for _, block in blocks(rows, mean):
        cov += block.T @ block
    return mean, cov / (len(rows) - 1)


def _squared_distance(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    root_a, root_b = _root(cov_a), _root(cov_b)
    cross = np.linalg.norm(root_a @ root_b.T, "nuc") if len(root_a) and len(root_b) else 0.0
    apart = mean_a - mean_b
    distance = apart @ apart + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return max(0.0, float(distance))  # below zero by rounding alone


def _root(cov: Array) -> Array:
    """R ``(r, D)`` with R^T R = cov, r its rank.

    Eigenvalues within the rounding of an eigenvalue solver, D eps times the largest, count as 0: their roots would
    not be small.
    """
    values, vectors = eigh(cov)
    largest = max(values[-1], 0.0)
    if values[0] < -_TOLERANCE * largest or (largest == 0 and values[0] < 0):
        raise ValueError(
            f"a covariance has the negative eigenvalue {values[0]:.3g}; give one of real numbers' features"
        )
    kept = values > len(cov) * math.ulp(1.0) * largest
    return np.sqrt(values[kept])[:, None] * vectors[:, kept].T
