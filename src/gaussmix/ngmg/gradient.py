"""The negative Gaussian mixture gradient (D section 4.1).

    L_i = min(pi1_i - pi2_i, 0)                             what pi1 lacks at centre i           (D Eq. 11)
    ngmg_j = sum_{i != j} L_i phi(mu_j; mu_i, sigma)        spread to the other centres          (D Eq. 13)

pi1 the current weights, pi2 the target, phi the normal density. As a matrix: ngmg = M L, M = K without its diagonal,
K_ij = phi(mu_i - mu_j; 0, sigma). Each ngmg_j is at most 0 and at least -max_{i != j} phi(mu_j; mu_i, sigma).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.distances._inputs import as_weight_rows, check_weight_rows
from gaussmix.distances.toeplitz import kernel_product
from gaussmix.ngmg.models import common_basis, weights_of


def negative_gaussian_mixture_gradient(
    current: ArrayLike | GMMExpansion,
    target: ArrayLike | GMMExpansion,
    basis: GaussianBasis | None = None,
    *,
    sigma: float | None = None,
    diagonal: bool = False,
    two_sided: bool = False,
) -> NDArray[np.float64]:
    """NGMG (..., n) of weights `current` against weights `target`, both (..., n) and broadcast (D Eq. 11-14).

    current, target : weights (..., n) on `basis`, or `GMMExpansion`s fitted on one basis, which then may be left out.

    sigma : standard deviation of phi in the units of the data; the basis's if not given. NGMG is in 1 / units.
    diagonal : keep i = j, so that what a centre lacks pulls at that centre too.
    two_sided : spread all of pi1 - pi2 and not only what is negative. With `diagonal` this is K (pi1 - pi2), the
        gradient of 1/2 (pi1 - pi2)^T K (pi1 - pi2).

    As the paper with the defaults, in the sign of Eq. 13: NGMG <= 0, and a step pi1 - NGMG fills what is lacking.
    Eq. 14 prints the other sign, NGMG(L) = -M L >= 0. It is 0 everywhere if and only if the weights are equal (for
    n = 2 and more, and phi that does not underflow), and then exactly.

    Up to `toeplitz.DENSE_UP_TO` components by the matrix, beyond that by FFT in n log n. Raises ValueError for weights
    of another n, below 0, not finite or of another sum than 1, for a warped basis without `sigma`, and for expansions
    without a basis, with point masses or on different bases. TypeError for a mixture and for a basis that is none.
    """
    basis = common_basis(basis, current=current, target=target)
    first, second, shape = as_weight_rows(weights_of(current), weights_of(target), basis, ("current", "target"))
    lack = check_weight_rows(first, "current") - check_weight_rows(second, "target")
    sigma = basis_sigma(basis) if sigma is None else sigma
    return smoothed(lack, basis, sigma, diagonal=diagonal, two_sided=two_sided).reshape(*shape, -1)


def smoothed(
    difference: NDArray[np.float64], basis: GaussianBasis, sigma: float, *, diagonal: bool, two_sided: bool
) -> NDArray[np.float64]:
    """NGMG of pi1 - pi2, (..., n), for weights that are known to be good."""
    if two_sided:
        return kernel_product(difference, basis, sigma, diagonal=diagonal)
    negative = kernel_product(np.minimum(difference, 0.0), basis, sigma, diagonal=diagonal)
    return np.minimum(negative, 0.0)  # a Fourier transform may round a zero up


def basis_sigma(basis: GaussianBasis) -> float:
    """The standard deviation of the components. Raises ValueError for a warped basis, where it is not one number."""
    if basis.scale is not None:
        raise ValueError(
            f"the basis is warped (scale={basis.scale}): its components have different widths; give sigma=, the "
            "standard deviation of the kernel in the units of the data"
        )
    return basis.bandwidth * basis.spacing
