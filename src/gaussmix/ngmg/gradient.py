"""The negative Gaussian mixture gradient (D section 4.1), and the distance made of it.

    L_i = min(pi1_i - pi2_i, 0),   -1 <= sum_i L_i <= 0     what pi1 lacks at centre i           D Eq. 11, Eq. 12
    ngmg_j = sum_{i != j} L_i phi(mu_j; mu_i, sigma)        spread to the other centres          D Eq. 13
    ngmg = M L   (the paper prints -M L)                    M_ij = phi(mu_i - mu_j; 0, sigma)    D Eq. 14

pi1 the current weights, pi2 the target, phi the normal density; M_ii = 0. Each ngmg_j is at most 0 and at least
-max_{i != j} phi(mu_j; mu_i, sigma). Weights and basis of what is to be learnt: arrays on a given basis, or expansions
that were fitted on one. The difference of two means by way of NGMG and the inverse of its matrix is

    | ||F M^-1 NGMG(L+)||_1 - ||F M^-1 NGMG(L-)||_1 |,    NGMG(L) = -M L,    F = diag(A)             D Eq. 15

A_i: the integral of component i's distribution function over an interval (D Eq. 6,
`gaussmix.distances.wasserstein`); L+ and L- as in the proof: -delta and delta
where delta = pi1 - pi2 is above and below 0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import shaped, weight_rows
from gaussmix.distances.mmd import kernel_matrix, kernel_product
from gaussmix.distances.wasserstein import cdf_integrals, whole_interval


def common_basis(given: GaussianBasis | None, **values: ArrayLike | GMMExpansion | None) -> GaussianBasis:
    """The basis that all of them live on: ``given``, and those of the fitted expansions among the named values.

    Raises ValueError where two differ, naming in what, for an expansion without a basis, and where there is none;
    TypeError for another ``given``, and for a mixture, whose weights need not be on a basis.
    """
    if not isinstance(given, GaussianBasis | None):
        raise TypeError(
            f"basis is a {type(given).__name__}; give the GaussianBasis that the weights belong to, such as "
            "GaussianBasis.spanning(low, high, n_components)"
        )
    found = {"basis": given} if given is not None else {}
    for name, value in values.items():
        if isinstance(value, GaussianMixture1D):
            raise TypeError(
                f"{name} is a GaussianMixture1D, which does not know its basis; give the fitted GMMExpansion that it "
                "came from, or weights (n,) with basis="
            )
        if isinstance(value, GMMExpansion):
            report = value.report_  # which says if it is not fitted or has several columns
            if value.bases_[0] is None:
                raise ValueError(
                    f"{name} was fitted with rule={value.rule!r}, which has no fixed basis: fit it with "
                    "rule='histogram' and a range=(low, high) that the two share"
                )
            bandwidth = report.details["bandwidth"]  # which may have been cross-validated
            found[name] = dataclasses.replace(value.bases_[0], bandwidth=bandwidth)
    if not found:
        raise ValueError("weights need the basis that they belong to: give basis=, or fitted expansions")
    (first, basis), *others = found.items()
    fields = ["n_components", *(field.name for field in dataclasses.fields(basis))]  # it moves start and spacing too
    for name, other in others:
        for field in fields:
            ours, theirs = getattr(basis, field), getattr(other, field)
            if ours != theirs:
                raise ValueError(
                    f"the bases differ: {field} is {ours} for {first} and {theirs} for {name}; fit both with the "
                    "same range=(low, high), n_components and bandwidth"
                )
    return basis


def weights_of(value: ArrayLike | GMMExpansion) -> ArrayLike:
    """The weights (n,) on the basis, as they are in an array, or as the rule of a fitted expansion found them.

    Tail components and the guard, which hold what lies outside the basis, are left aside. Raises ValueError for an
    expansion with point masses, which are no weights of Gaussians.
    """
    if not isinstance(value, GMMExpansion):
        return value
    distribution, basis = value.distribution_, value.bases_[0]
    if distribution.atoms.masses.size:
        raise ValueError(
            f"the expansion has {distribution.atoms.masses.size} point masses, {distribution.atoms.masses.sum():.3g} "
            "of the probability, which no weight of a Gaussian holds; leave the repeated values out of the fit"
        )
    assert basis is not None  # `common_basis` saw it
    weights = distribution.weights[: basis.n_components]
    return weights / weights.sum()


def negative_gaussian_mixture_gradient(
    current: ArrayLike | GMMExpansion,
    target: ArrayLike | GMMExpansion,
    basis: GaussianBasis | None = None,
    *,
    sigma: float | None = None,
    diagonal: bool = False,
    two_sided: bool = False,
) -> FloatArray:
    """Return the negative Gaussian mixture gradient of weights against a target (D Eq. 11 to Eq. 14), in 1 / units.

    As the paper with the defaults, in the sign of Eq. 13: NGMG <= 0, and a step pi1 - NGMG fills what is lacking.
    Eq. 14 prints the other sign, NGMG(L) = -M L >= 0. It is 0 everywhere if and only if the weights are equal (for
    n = 2 and more, and phi that does not underflow), and then exactly. Up to `toeplitz.DENSE_UP_TO` components by the
    matrix, beyond that by FFT in n log n.

    Parameters
    ----------
    current, target : array_like (..., n) or GMMExpansion
        Weights on ``basis``, which broadcast, or expansions fitted on one basis. ValueError or TypeError for what are
        no weights, for mixtures, and for expansions without a basis, with point masses or on different bases.
    basis : GaussianBasis, optional
        May be left out where expansions bring it.
    sigma : float, optional
        Standard deviation of phi in the units of the data; the basis's if not given, which a warped one has not.
    diagonal : bool
        Keep i = j, so that what a centre lacks pulls at that centre too.
    two_sided : bool
        Spread all of pi1 - pi2 and not only what is negative. With ``diagonal`` this is K (pi1 - pi2), the gradient of
        1/2 (pi1 - pi2)^T K (pi1 - pi2).
    """
    basis = common_basis(basis, current=current, target=target)
    first, second, shape = weight_rows(weights_of(current), weights_of(target), basis, names=("current", "target"))
    sigma = basis_sigma(basis) if sigma is None else sigma
    return smoothed(first - second, basis, sigma, diagonal=diagonal, two_sided=two_sided).reshape(*shape, -1)


def smoothed(
    difference: FloatArray, basis: GaussianBasis, sigma: float, *, diagonal: bool, two_sided: bool
) -> FloatArray:
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
    sigma = basis_sigma(basis) if sigma is None else sigma
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
