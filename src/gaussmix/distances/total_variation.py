"""The total variation distance: how much of the probability has to move (D section 2.3).

    TV(a, b) = 1/2 int |f_a - f_b| dx + 1/2 sum_j |a_j - b_j|  =  max over sets S of |P_a(S) - P_b(S)|

f: densities of the continuous parts, a_j, b_j: masses of the atoms. The integral is that of the cdfs' differences,
between certified zeros (`_absolute`; `_lattice` for weights on one basis).
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import as_mixture, near_zero
from gaussmix.distances._lattice.pairs import of_rows
from gaussmix.distances._mixtures.absolute import absolute_difference
from gaussmix.distances._mixtures.signed import atom_difference


@overload
def total_variation_distance(
    a: Any, b: Any, *, basis: None = None, a_weights: ArrayLike | None = None, b_weights: ArrayLike | None = None
) -> float: ...
@overload
def total_variation_distance(a: ArrayLike, b: ArrayLike, *, basis: GaussianBasis) -> float | FloatArray: ...
def total_variation_distance(
    a: Any,
    b: Any,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
) -> float | FloatArray:
    """TV(a, b), from 0 for equal laws (exactly 0.0) to 1 for laws with nothing in common; to 1e-10 of its value (1e-8
    with a `basis` whose bandwidth is below .1 or above 10).

    a, b: a `GaussianMixture1D` or a fitted one-column `GMMExpansion`. A sample (N,), with `a_weights` or `b_weights`
    (N,), is learnt first, by `GMMExpansion()`: as point masses it would have distance 1 from every density. With
    `basis`, a and b are weights (..., n) on it, which broadcast; the answer has their leading shape, a float where that
    is (). Raises ValueError and TypeError for what is no distribution.
    """
    if basis is not None:
        values, _ = of_rows(a, b, basis, (a_weights, b_weights), "density", _twice)
        halves = np.minimum(0.5 * values, 1.0)
        return halves if halves.shape else float(halves)
    return min(0.5 * _twice(as_mixture(a, "a", a_weights), as_mixture(b, "b", b_weights))[0], 1.0)


def _twice(a: GaussianMixture1D, b: GaussianMixture1D) -> tuple[float, float]:
    """2 TV and a bound on its error."""
    if a == b:
        return 0.0, 0.0
    first, second = near_zero(a, b)
    assert isinstance(first, GaussianMixture1D)
    value, error = absolute_difference(first, second, cumulative=False)
    heights, _ = atom_difference([(1.0, a), (-1.0, b)])
    return value + float(np.abs(heights).sum()), error
