"""The distance of D Eq. 15: the difference of two means by way of NGMG and the inverse of its matrix.

    | ||F M^-1 NGMG(L+)||_1 - ||F M^-1 NGMG(L-)||_1 |,    NGMG(L) = -M L,    F = diag(A)             D Eq. 15

A_i: the integral of component i's distribution function over an interval (D Eq. 6, `gaussmix.distances.means`); M: the
kernel of D Eq. 14, with zeros on its diagonal; L+ and L- as in the proof: -delta and delta where delta > 0 and < 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._inputs import shaped, weight_rows
from gaussmix.distances.means import cdf_integrals, whole_interval
from gaussmix.distances.toeplitz import kernel_matrix


class InvertedNGMG(NamedTuple):
    """The distance of D Eq. 15, and how well it could be computed.

    Parameters
    ----------
    distance : float or array (...)
        In the units of the data, of the leading shape of the weights.
    condition_number : float
        Of M.
    """

    distance: float | FloatArray
    condition_number: float


def inverted_ngmg_distance(
    current: ArrayLike, target: ArrayLike, basis: GaussianBasis, *, sigma: float | None = None
) -> InvertedNGMG:
    """Return the distance of D Eq. 15, for the record: Eq. 6 by way of NGMG and the inverse of M (D Eq. 14).

    As the paper: M^-1 takes back what NGMG did, so that this is Eq. 6, the difference of the means and not W1, with a
    relative error of about the condition number times 1e-16. M is indefinite. The interval of F reaches `means.REACH`
    standard deviations beyond the outermost centres, or to the basis's bounds.

    Parameters
    ----------
    current, target : array_like (..., n)
        Weights on ``basis``, which broadcast. ValueError or TypeError for what are no weights.
    basis : GaussianBasis
        The components.
    sigma : float, optional
        Standard deviation of M's kernel in the units of the data; the basis's if not given, which a warped one has not.
        ValueError where M then has no inverse in double precision.
    """
    first, second, shape = weight_rows(current, target, basis, names=("current", "target"))
    if sigma is None:
        if basis.scale is not None:
            raise ValueError("sigma is not given, and the components of a warped basis differ in theirs; give sigma")
        sigma = float(basis.stds[0])
    M = kernel_matrix(basis, sigma, diagonal=False)
    size = np.abs(np.linalg.eigvalsh(M))
    condition = float(size.max() / size.min()) if size.min() > 0 else math.inf
    if condition * np.finfo(float).eps >= 1:
        raise ValueError(
            f"M of D Eq. 14 has the condition number {condition:.2g} for {basis.n_components} components and "
            f"sigma={sigma:g}: no inverse in double precision; use another sigma or number of components"
        )
    A = cdf_integrals(basis, whole_interval(basis))
    delta = first - second
    norms = []
    for L in (-np.maximum(delta, 0), np.minimum(delta, 0)):  # L+ = -B delta, L- = (1 - B) delta
        ngmg = -(M @ L.T)
        norms.append(np.abs(A[:, None] * np.linalg.solve(M, ngmg)).sum(0))
    return InvertedNGMG(shaped(np.abs(norms[0] - norms[1]), shape), condition)
