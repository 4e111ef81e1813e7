"""Weights and basis of what is to be learnt: arrays on a given basis, or expansions that were fitted on one."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D

Array = NDArray[np.float64]


def common_basis(given: GaussianBasis | None, **values: ArrayLike | GMMExpansion | None) -> GaussianBasis:
    """The basis that all of them live on: `given`, and those of the fitted expansions among the named `values`.

    Raises ValueError where two differ, naming in what, for an expansion without a basis, and where there is none;
    TypeError for another `given`, and for a mixture, whose weights need not be on a basis.
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
            found[name] = _basis_of(value, name)
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


def _basis_of(model: GMMExpansion, name: str) -> GaussianBasis:
    report = model.report_  # which says if it is not fitted or has several columns
    basis = model.bases_[0]
    if basis is None:
        raise ValueError(
            f"{name} was fitted with weights={model.weights!r}, which has no fixed basis: fit it with "
            "weights='histogram' and a range=(low, high) that the two share"
        )
    return dataclasses.replace(basis, bandwidth=report.details["bandwidth"])  # which may have been cross-validated
