"""D Eq. 15 against Eq. 6, the difference of means, which it is by another way."""

from __future__ import annotations

import numpy as np
import pytest

from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.mmd import kernel_matrix
from gaussmix.distances.wasserstein import mean_difference_bound
from gaussmix.ngmg.gradient import inverted_ngmg_distance

BASES = {
    "lattice": GaussianBasis(-3.0, 0.25, 23),
    "warped": GaussianBasis(-3.0, 0.25, 23, center=1.0, scale=0.5),
    "bounded": GaussianBasis(0.1, 0.2, 15, bounds=(0.0, 3.0)),
    "lower bound": GaussianBasis(0.1, 0.2, 15, bounds=(0.0, None)),
    "upper bound": GaussianBasis(-2.9, 0.2, 15, bounds=(None, 0.0)),
    "wide in bounds": GaussianBasis(-2.0, 0.25, 23, 20.0, center=1.0, scale=0.5, bounds=(-1.0, 9.4)),
}


def rows(rng: np.random.Generator, n: int, *shape: int) -> np.ndarray:
    return rng.dirichlet(np.full(n, 0.5), size=shape) if shape else rng.dirichlet(np.full(n, 0.5))


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
def test_eq15_is_eq6_where_the_kernel_is_well_conditioned(basis: GaussianBasis) -> None:
    rng = np.random.default_rng(1)
    n = basis.n_components
    current, target = rows(rng, n, 4), rows(rng, n)
    distance, condition = inverted_ngmg_distance(current, target, basis, sigma=0.5)
    assert condition == pytest.approx(np.linalg.cond(kernel_matrix(basis, 0.5, diagonal=False)), rel=1e-6)
    assert condition < 1e6
    np.testing.assert_allclose(distance, mean_difference_bound(current, target, basis=basis), rtol=1e-8)


def test_eq15_defaults_to_the_basis_and_gives_floats() -> None:
    basis = BASES["lattice"]
    current, target = rows(np.random.default_rng(1), 23, 2)
    found = inverted_ngmg_distance(current, target, basis)
    assert found == inverted_ngmg_distance(current, target, basis, sigma=0.5)
    assert isinstance(found.distance, float)
    assert inverted_ngmg_distance(current, current, basis).distance == 0


def test_bad_input_is_refused() -> None:
    basis, pi = BASES["lattice"], np.full(23, 1 / 23)
    with pytest.raises(ValueError, match=r"condition number inf for 23 components and sigma=0\.001: no inverse"):
        inverted_ngmg_distance(pi, pi, basis, sigma=0.001)
    with pytest.raises(TypeError, match="sigma is 'a'; give a positive number"):
        inverted_ngmg_distance(pi, pi, basis, sigma="a")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"current has shape \(22,\), but the basis has 23"):
        inverted_ngmg_distance(pi[1:], pi, basis)
    with pytest.raises(ValueError, match=r"target has weights that sum to 2"):
        inverted_ngmg_distance(pi, 2 * pi, basis)
    with pytest.raises(ValueError, match=r"the basis is warped .* have different widths; give sigma="):
        inverted_ngmg_distance(pi, pi, BASES["warped"])
