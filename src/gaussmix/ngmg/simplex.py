"""The nearest distribution to a vector: projection onto the simplex {p : p >= 0, sum p = 1}.

    argmin_p |p - v|^2  =  max(v - c, 0),  with the one c for which it sums to 1

Sorted in descending order, the k largest v stay positive, k the last with v_k > (v_1 + ... + v_k - 1) / k, and that
quotient is c (Held, Wolfe and Crowder 1974, doi 10.1007/BF01580223).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def project_onto_simplex(v: ArrayLike) -> NDArray[np.float64]:
    """The weights (n,) >= 0 of sum 1 that are nearest to v (n,) in the Euclidean sense; exact, in n log n.

    Raises ValueError for a v that is empty, not one-dimensional or not finite.
    """
    vector = np.asarray(v, np.float64)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise ValueError(f"v has shape {vector.shape} or values that are not finite; give finite numbers (n,)")
    vector = vector - vector.max()  # the projection is the same, and large values do not cancel
    descending = np.sort(vector)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, vector.size + 1)
    return np.maximum(vector - excess[np.flatnonzero(descending > excess)[-1]], 0.0)
