r"""Do generated pictures lie where real ones do, and the other way round?

The manifold of a set is taken for the union of balls around its rows, each reaching to the row's k-th nearest
neighbour in the set, with the rim. :math:`r_i` are the radii of the N real rows :math:`x_i`, :math:`s_j` those of the
M generated rows :math:`y_j`:

    precision  share of j with |y_j - x_i| <= r_i for some i            (Kynkaanniemi et al. 2019)
    recall     share of i with |x_i - y_j| <= s_j for some j
    density    mean over j of (number of i with |y_j - x_i| <= r_i) / k (Naeem et al. 2020)
    coverage   share of i with |x_i - y_j| <= r_i for some j
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gaussmix.metrics._rows import Array, Features, feature_pair, middle, squared_distances


class ManifoldScores(NamedTuple):
    """Precision, recall and coverage are shares; density has the expectation 1 for two samples of one law."""

    precision: float
    recall: float
    density: float
    coverage: float

    @property
    def defect_rate(self) -> float:
        """1 - precision: the share of generated pictures that resemble no real one."""
        return 1 - self.precision


def manifold_scores(real: ArrayLike, generated: ArrayLike, *, k: int = 5) -> ManifoldScores:
    """Precision, recall, density and coverage of features ``generated`` ``(M, D)`` against ``real`` ``(N, D)``.

    All four depend on N, M and k: compare them at equal ones. One outlier among the real rows has a large ball and
    raises precision; density and coverage are made to mind it less. Takes time in proportion to (N + M)^2 D, and
    memory that does not grow with the number of pairs.
    Raises ValueError if k is not from 1 to N - 1 and M - 1, for widths that differ and for NaN or infinity.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    real, generated = feature_pair(
        real, generated, ("real", "generated"), at_least=k + 1, why=f", and each needs k = {k} neighbours"
    )
    centre = middle(real)
    r, s = _squared_radii(real, k, centre), _squared_radii(generated, k, centre)
    containing = np.zeros(len(generated), int)  # balls of real rows around each generated one
    reached, covered = np.zeros((2, len(real)), bool)
    for i, j, squares in squared_distances(real, generated, centre):
        inside = squares <= r[i, None]
        containing[j] += inside.sum(0)
        covered[i] |= inside.any(1)
        reached[i] |= (squares <= s[j]).any(1)
    return ManifoldScores(
        precision=float((containing > 0).mean()),
        recall=float(reached.mean()),
        density=float(containing.mean() / k),
        coverage=float(covered.mean()),
    )


def _squared_radii(rows: Features, k: int, centre: Array) -> Array:
    """Squared distance of every row to its k-th nearest other row, ``(N,)``."""
    nearest = np.full((len(rows), k), np.inf)
    for i, j, squares in squared_distances(rows, rows, centre):
        if i == j:
            np.fill_diagonal(squares, np.inf)
        both = np.concatenate([nearest[i], squares], axis=1)
        nearest[i] = np.partition(both, k - 1, axis=1)[:, :k]
    return nearest.max(1)
