"""Distances of many pairs of mixtures on one basis: all at once where there is a fast way, else pair by pair.

integral |F_a - F_b| and integral |f_a - f_b| of mixtures on one lattice of components, to rounding.

Components of standard deviation sigma = t r at mu_i = i r have the weights a_i and b_i. In spacings r from mu_0 both
integrals are those of |sum_i c_i kappa(x - i)|, which `_lattice_rows` finds:

    "cdf"      r times it, c = running sums of a - b, kappa = Phi((y + 1/2) / t) - Phi((y - 1/2) / t), moved by 1/2
    "density"  c = a - b, kappa = phi_t
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import SUM_TOLERANCE, check_weight_rows, is_lattice, unchecked_rows
from gaussmix.distances._lattice.rows import integrals
from gaussmix.distances._lattice.tables import tables


def absolute_integrals(
    a: FloatArray, b: FloatArray, spacing: float, bandwidth: float, kind: Literal["cdf", "density"]
) -> tuple[FloatArray, FloatArray]:
    """(values (B,), errors (B,)) for weights a, b (B, n), contiguous; `spacing` r in data units, `bandwidth` t in r.

    "cdf": the Wasserstein-1 distance, in data units. "density": twice the total variation. Each error bounds the
    difference from the true integral. Rows are normalised; raises ValueError as `check_weight_rows` does.
    """
    values, errors = np.empty(len(a)), np.empty(len(a))
    here = tables(float(bandwidth), kind)

    def run(first: FloatArray, second: FloatArray) -> int:
        return integrals(first, second, kind == "cdf", SUM_TOLERANCE, *here, values, errors)

    if run(a, b) < len(a):
        a, b = check_weight_rows(a, "a"), check_weight_rows(b, "b")
        run(a + 0.0, b + 0.0)  # -0.0 is 0, and no sign
    scale = spacing if kind == "cdf" else 1.0
    return scale * values, scale * errors


LATTICE = (0.01, 100.0)
"""Bandwidths, in spacings, for which the tables of the fast way are small."""


def of_rows(
    a: ArrayLike,
    b: ArrayLike,
    basis: GaussianBasis,
    point_weights: tuple[ArrayLike | None, ArrayLike | None],
    kind: Literal["cdf", "density"] | None,
    of_pair: Callable[[GaussianMixture1D, GaussianMixture1D], tuple[float, float]],
) -> tuple[FloatArray, FloatArray]:
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
