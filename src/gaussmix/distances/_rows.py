"""Weights of many pairs of mixtures on one basis: in as (..., n), out as (...)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._inputs import as_weight_rows, check_weight_rows

Array = NDArray[np.float64]


def unchecked_rows(
    a: ArrayLike,
    b: ArrayLike,
    basis: GaussianBasis,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    names: tuple[str, str] = ("a", "b"),
) -> tuple[Array, Array, tuple[int, ...]]:
    """Both as (B, n), and the shape of the answer: shapes only. Raises ValueError and TypeError with `names`."""
    if a_weights is not None or b_weights is not None:
        raise TypeError("a_weights and b_weights are for samples; with basis=, a and b are the weights")
    return as_weight_rows(a, b, basis, names)


def weight_rows(
    a: ArrayLike,
    b: ArrayLike,
    basis: GaussianBasis,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    names: tuple[str, str] = ("a", "b"),
) -> tuple[Array, Array, tuple[int, ...]]:
    """The same, checked and with sum 1."""
    first, second, shape = unchecked_rows(a, b, basis, a_weights, b_weights, names)
    return check_weight_rows(first, names[0]), check_weight_rows(second, names[1]), shape


def shaped(values: Array, shape: tuple[int, ...]) -> float | Array:
    """(B,) in the caller's shape: a float where that is ()."""
    return values.reshape(shape) if shape else float(values[0])


def is_open(basis: GaussianBasis) -> bool:
    """Whether nothing is reflected: both sides are open."""
    return not any(end is not None and math.isfinite(end) for end in basis.bounds)


def is_lattice(basis: GaussianBasis) -> bool:
    """Whether all components are alike and equally far from their neighbours: neither warped nor bounded."""
    return basis.scale is None and is_open(basis)
