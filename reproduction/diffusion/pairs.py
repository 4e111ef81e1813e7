"""Laws for D section 4, as weights on one basis: random smooth ones, and normals as exact as the basis can.

D does not say which distributions it drew. Ours are mixtures of 1 to 4 normals on (0, 100), their means uniform on (20,
80), their standard deviations uniform on (4, 10), their shares from a flat Dirichlet law.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis

RANGE = (0.0, 100.0)
MEANS, STDS, MOST = (20.0, 80.0), (4.0, 10.0), 4


def draw_weights(basis: GaussianBasis, rng: np.random.Generator) -> FloatArray:
    """Return the weights ``(n,)`` of one random smooth law."""
    k = int(rng.integers(1, MOST, endpoint=True))
    return normal_weights(basis, rng.dirichlet(np.ones(k)), rng.uniform(*MEANS, k), rng.uniform(*STDS, k))


def normal_weights(basis: GaussianBasis, masses: ArrayLike, means: ArrayLike, stds: ArrayLike) -> FloatArray:
    """Return the density ``(n,)`` of a mixture of normals at the centres, normalised.

    Sums of normals wider than a spacing over a lattice are integrals: with these weights the expansion is that mixture,
    its variances larger by the basis's, to about 1e-8 at stds of a spacing and better beyond.
    """
    values = norm.pdf(basis.centers[:, None], means, stds) @ np.asarray(masses, np.float64)
    return values / values.sum()
