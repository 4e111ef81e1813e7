r"""How far two sets of features are apart: the Frechet distance behind FID, and the kernel distance (KID).

**Frechet.** Both sets are summed up by mean and covariance, :math:`\mu` and :math:`\Sigma`, and the normal laws that
have them are compared by their squared 2-Wasserstein distance (Heusel et al. 2017; Dowson and Landau 1982):

.. math::
    d^2 = |\mu_a - \mu_b|^2 + \mathrm{tr}\,\Sigma_a + \mathrm{tr}\,\Sigma_b
          - 2\,\mathrm{tr}\,(\Sigma_a^{1/2} \Sigma_b \Sigma_a^{1/2})^{1/2}

The last trace is the sum of the singular values of :math:`\Sigma_a^{1/2} \Sigma_b^{1/2}`. The roots come from
symmetric eigenvectors, so nothing complex appears, and the singular values are taken of the roots and not of the
product of covariances, whose small eigenvalues would lose half of their digits.

**Kernel** (Binkowski et al. 2018). With k(x, y) = (x.y / D + 1)^3 and D features, the squared maximum mean discrepancy,
estimated without bias:

    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

Its expectation is 0 for two samples of one law, whatever their sizes, so single values may be negative. All pairs
are used, where Binkowski et al. average over random subsets: the same expectation, less noise.

Standard error: split k into row means and a rest (Hoeffding). With p_i = mean_j k(x_i, x_j) - mean_j k(x_i, y_j),
q_j likewise for y, and r_xx, r_yy, r_xy the variances of what is left of k after its row and column means,

    Var KID = 4 Var(p) / N + 4 Var(q) / M + 2 r_xx / N(N-1) + 2 r_yy / M(M-1) + 4 r_xy / NM.

The p_i are known only up to an error of variance r_xx / N + r_xy / M, and the q_j likewise, which is taken off. The
last three terms are all that remains if the laws are equal; the estimate is never below them, which makes it up to a
quarter too large there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from gaussmix._typing import FloatArray
from gaussmix.metrics.manifolds import Features, blocks, feature_pair


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Return the squared 2-Wasserstein distance of the normal laws fitted to two sets of features.

    In the squared unit of the features; 0 only if means and covariances agree. Covariances divide by N - 1 and M - 1,
    as FID's do. Two finite samples of one law are apart as well: the distance is biased upward, roughly in proportion
    to D (1/N + 1/M), so compare values only at equal N and M and beside real against real. With fewer rows than D + 1
    the covariances have not full rank; the distance is still exact for them.
    Raises ValueError for fewer than two rows, for widths that differ and for NaN or infinity.

    Parameters
    ----------
    a, b : array_like
        Features ``(N, D)`` and ``(M, D)``, a row for each picture.
    """
    a, b = feature_pair(a, b, ("a", "b"), at_least=2, why=", and a covariance needs two")
    return distance_of_gaussians(*_moments(a), *_moments(b))


def _moments(rows: Features) -> tuple[FloatArray, FloatArray]:
    """Mean ``(D,)`` and covariance ``(D, D)``, with N - 1."""
    mean = rows.mean(0, dtype=np.float64)
    cov = np.zeros((rows.shape[1], rows.shape[1]))
    for _, block in blocks(rows, mean):
        cov += block.T @ block
    return mean, cov / (len(rows) - 1)


def distance_of_gaussians(mean_a: FloatArray, cov_a: FloatArray, mean_b: FloatArray, cov_b: FloatArray) -> float:
    """Of means ``(D,)`` and covariances ``(D, D)``, which may lack full rank."""
    root_a, root_b = _root(cov_a), _root(cov_b)
    cross = np.linalg.norm(root_a @ root_b.T, "nuc") if len(root_a) and len(root_b) else 0.0
    apart = mean_a - mean_b
    distance = apart @ apart + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return max(0.0, float(distance))  # below zero by rounding alone


def _root(cov: FloatArray) -> FloatArray:
    """R ``(r, D)`` with R^T R = cov, r its rank: eigenvalues within rounding count as 0; their roots are not small."""
    values, vectors = eigh(cov)
    kept = values > len(cov) * math.ulp(1.0) * max(values[-1], 0.0)
    return np.sqrt(values[kept])[:, None] * vectors[:, kept].T


class KernelDistance(NamedTuple):
    """KID and the standard deviation of its sampling error.

    Parameters
    ----------
    value : float
        The distance.
    standard_error : float
        Of the distance.
    """

    value: float
    standard_error: float


def kernel_distance(a: ArrayLike, b: ArrayLike) -> KernelDistance:
    """Return the unbiased squared MMD of two sets of features with the kernel (x.y / D + 1)^3.

    Takes time in proportion to (N + M)^2 D and no memory to speak of. The kernel depends on where zero is and on the
    scale of the features: values of two extractors cannot be compared.
    Raises ValueError for fewer than four rows, for widths that differ and for NaN or infinity.

    Parameters
    ----------
    a, b : array_like
        Features ``(N, D)`` and ``(M, D)``, a row for each picture.
    """
    a, b = feature_pair(a, b, ("a", "b"), at_least=4, why=", and a standard error needs four")
    N, M = len(a), len(b)
    xx, yy, xy = _Kernel(a, a), _Kernel(b, b), _Kernel(a, b)
    value = xx.mean + yy.mean - 2 * xy.mean
    r_xx, r_yy, r_xy = xx.rest, yy.rest, xy.rest
    p = np.var(xx.rows - xy.rows, ddof=1) - r_xx / N - r_xy / M
    q = np.var(yy.rows - xy.columns, ddof=1) - r_yy / M - r_xy / N
    rest = 2 * r_xx / (N * (N - 1)) + 2 * r_yy / (M * (M - 1)) + 4 * r_xy / (N * M)
    variance = rest + max(0.0, 4 * p / N + 4 * q / M)
    return KernelDistance(value, math.sqrt(variance))


class _Kernel:
    """Means of k over the pairs of two sets: of every row ``(N,)`` and column ``(M,)`` and of all pairs, and ``rest``,
    the variance of what row and column means leave unexplained.

    A row's pair with itself is left out if the sets are one.
    """

    def __init__(self, a: Features, b: Features):
        same, zero = a is b, np.zeros(a.shape[1])
        self.rows, self.columns, squares = np.zeros(len(a)), np.zeros(len(b)), 0.0
        for i, x in blocks(a, zero):
            for j, y in blocks(b, zero):
                k = (x @ y.T / a.shape[1] + 1) ** 3
                if same and i == j:
                    np.fill_diagonal(k, 0.0)
                self.rows[i] += k.sum(1)
                self.columns[j] += k.sum(0)
                squares += float(np.vdot(k, k))
        self.rows /= len(b) - same
        self.columns /= len(a) - same
        self.mean = float(self.rows.mean())
        deviations = float(np.var(self.rows)) + float(np.var(self.columns))
        self.rest = max(0.0, squares / (len(a) * (len(b) - same)) - self.mean**2 - deviations)
