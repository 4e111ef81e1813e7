"""The total variation distance: how much of the probability has to move (D section 2.3).

    TV(a, b) = 1/2 int |f_a - f_b| dx + 1/2 sum_j |a_j - b_j|  =  max over sets S of |P_a(S) - P_b(S)|

f: densities of the continuous parts, a_j, b_j: masses of the atoms. The integral is that of the cdfs' differences,
between certified zeros (`_mixtures.absolute`; `_lattice.rows` for weights on one basis).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import as_mixture, near_zero, shaped
from gaussmix.distances._lattice.rows import row_distances
from gaussmix.distances._mixtures.absolute import absolute_difference
from gaussmix.distances._mixtures.signed import atom_difference


def total_variation_distance(
    a: Any,
    b: Any,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
) -> float | FloatArray:
    """Return the total variation distance, from 0 for equal laws (exactly 0.0) to 1 for laws with nothing in common.

    As the paper (D section 2.3).

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions, or samples, which are learnt first, by ``GMMExpansion()``: as point
        masses they would have distance 1 from every density. ValueError or TypeError for anything else.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Weights of a sample's numbers.

    Returns
    -------
    float or array (...)
        To 1e-10 of its value (1e-8 with a ``basis`` whose bandwidth is below .1 or above 10).
    """
    if basis is not None:
        values, _, shape = row_distances(a, b, basis, (a_weights, b_weights), "density", _twice)
        return shaped(np.minimum(0.5 * values, 1.0), shape)
    return min(0.5 * _twice(as_mixture(a, "a", a_weights), as_mixture(b, "b", b_weights))[0], 1.0)


def _twice(a: GaussianMixture1D, b: GaussianMixture1D) -> tuple[float, float]:
    """2 TV and a bound on its error."""
    if a == b:
        return 0.0, 0.0
    first, second = near_zero(a, b)
    assert isinstance(first, GaussianMixture1D)
    value, error = absolute_difference(first, second, cumulative=False)
    heights, _, _ = atom_difference([(1.0, a), (-1.0, b)])
    return value + float(np.abs(heights).sum()), error
