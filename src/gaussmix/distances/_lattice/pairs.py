"""Distances of many pairs of mixtures on one basis: all at once where there is a fast way, else pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import check_weight_rows
from gaussmix.distances._lattice import absolute_integrals
from gaussmix.distances._rows import is_lattice, unchecked_rows

Array = NDArray[np.float64]
LATTICE = (0.01, 100.0)
"""Bandwidths, in spacings, for which the tables of the fast way are small."""


def of_rows(
    a: ArrayLike,
    b: ArrayLike,
    basis: GaussianBasis,
    point_weights: tuple[ArrayLike | None, ArrayLike | None],
    kind: Literal["cdf", "density"] | None,
    of_pair: Callable[[GaussianMixture1D, GaussianMixture1D], tuple[float, float]],
) -> tuple[Array, Array]:
    """Values and errors (...) for weights a, b (..., n) on `basis`: int |difference| of `kind` if that is given, all
    components are alike and their bandwidth is within `LATTICE`, else `of_pair`.

    Raises ValueError for what are no weights, and TypeError if there are also weights of points.
    """
    first, second, shape = unchecked_rows(a, b, basis, *point_weights)
    if kind is not None and is_lattice(basis) and LATTICE[0] <= basis.bandwidth <= LATTICE[1]:
        values, errors = absolute_integrals(first, second, basis.spacing, basis.bandwidth, kind)
    else:
        rows = zip(check_weight_rows(first, "a"), check_weight_rows(second, "b"), strict=True)
        pairs = [of_pair(basis.mixture(x), basis.mixture(y)) for x, y in rows]
        values, errors = np.array(pairs, float).reshape(-1, 2).T
    return values.reshape(shape), errors.reshape(shape)
