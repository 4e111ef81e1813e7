r"""The kernel distance of two sets of features (KID, Binkowski et al. 2018).

With k(x, y) = (x.y / D + 1)^3 and D features, the squared maximum mean discrepancy, estimated without bias:

    KID = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

Its expectation is 0 for two samples of one law, whatever their sizes, so single values may be negative. All pairs
are used, where Binkowski et al. average over random subsets: the same expectation, less noise.

Standard error. Split k into row means and a rest (Hoeffding): with p_i = mean_j k(x_i, x_j) - mean_j k(x_i, y_j),
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

from gaussmix.metrics._rows import Array, Features, blocks, feature_pair


class KernelDistance(NamedTuple):
    """KID and the standard deviation of its sampling error."""

    value: float
    standard_error: float


def kernel_distance(a: ArrayLike, b: ArrayLike) -> KernelDistance:
    """Unbiased squared MMD of features ``a`` ``(N, D)`` and ``b`` ``(M, D)`` with the kernel (x.y / D + 1)^3.

    Takes time in proportion to (N + M)^2 D and no memory to speak of. The kernel depends on where zero is and on the
    scale of the features: values of two extractors cannot be compared.
    Raises ValueError for fewer than four rows, for widths that differ and for NaN or infinity.
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
    """Means of k over the pairs of two sets; a row's pair with itself is left out if the sets are one.

    Attributes:
        rows, columns: mean of every row ``(N,)`` and column ``(M,)``.
        mean: of all pairs.
        rest: variance of what row and column means leave unexplained.
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
        deviations = _spread(self.rows) + _spread(self.columns)
        self.rest = max(0.0, squares / (len(a) * (len(b) - same)) - self.mean**2 - deviations)


def _spread(means: Array) -> float:
    return float(np.var(means))
