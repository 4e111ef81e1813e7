"""Pairs of laws for D section 4, as weights on one basis: random smooth ones, and normals as exact as the basis can."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis

RANGE = (0.0, 100.0)
MEANS, STDS, MOST = (20.0, 80.0), (4.0, 10.0), 4  # a component's mean and standard deviation; most components

GENERATOR = (
    "D does not say which distributions it drew. Ours are the weights of random smooth laws on (0, 100): 1 to 4 "
    "normals, means uniform on (20, 80), standard deviations uniform on (4, 10), shares from a flat Dirichlet law; a "
    "weight is their density at the centre, normalised."
)


def draw_weights(basis: GaussianBasis, rng: np.random.Generator) -> FloatArray:
    """(n,) weights of one random smooth law."""
    k = int(rng.integers(1, MOST, endpoint=True))
    return normal_weights(basis, rng.dirichlet(np.ones(k)), rng.uniform(*MEANS, k), rng.uniform(*STDS, k))


def normal_weights(basis: GaussianBasis, masses: ArrayLike, means: ArrayLike, stds: ArrayLike) -> FloatArray:
    """(n,) the density of a mixture of normals at the centres, normalised.

    Sums of normals wider than a spacing over a lattice are integrals: with these weights the expansion is that mixture,
    its variances larger by the basis's, to about 1e-8 at stds of a spacing and better beyond.
    """
    values = norm.pdf(basis.centers[:, None], means, stds) @ np.asarray(masses, np.float64)
    return values / values.sum()
