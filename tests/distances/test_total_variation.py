"""`total_variation_distance`: closed forms, quadrature, the axioms of a metric, rows of weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import distances as oracle

from gaussmix import GaussianBasis, GaussianMixture1D, GMMExpansion
from gaussmix.distances.divergences import total_variation_distance

seeds = st.integers(0, 2**32 - 1)
BASES = {
    "lattice": GaussianBasis.spanning(-3, 3, 30),
    "warped": GaussianBasis.spanning(-50, 50, 30, scale=1.0),
    "bounded": GaussianBasis.spanning(0, 3, 30, bounds=(0.0, None)),
}


def law(seed: int) -> GaussianMixture1D:
    return GaussianMixture1D(**oracle.random_law(seed))


def normal(mean: float, std: float) -> GaussianMixture1D:
    return GaussianMixture1D([1.0], [mean], [std])


@pytest.mark.parametrize("away", [1e-9, 0.1, 3.0, 30.0, 1e9])
def test_two_normals_of_one_spread(away: float):
    """2 Phi(d / (2 sigma)) - 1."""
    expected = math.erf(away / (2 * 1.5) / math.sqrt(2))
    found = total_variation_distance(normal(1.0, 1.5), normal(1.0 + away, 1.5))
    assert found == pytest.approx(expected, rel=2 * math.ulp(1.0) / away + 1e-14, abs=2e-15)


@given(seeds, seeds)
@settings(max_examples=20, deadline=None)
def test_random_laws_agree_with_quadrature(first: int, second: int):
    a, b = oracle.random_law(first), oracle.random_law(second)
    found = total_variation_distance(GaussianMixture1D(**a), GaussianMixture1D(**b))
    assert found == pytest.approx(oracle.total_variation(a, b), rel=1e-8)


def test_atoms_count_half_of_what_their_masses_differ_by():
    a = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([0.0, 1.0], [0.3, 0.2]))
    b = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([1.0, 2.0], [0.4, 0.1]))
    assert total_variation_distance(a, b) == pytest.approx(0.5 * (0.3 + 0.2 + 0.1), rel=1e-14)
    c = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([5.0], [0.5]))
    assert total_variation_distance(normal(0, 1), c) == pytest.approx(0.5, rel=1e-14)


def test_laws_without_anything_in_common_are_at_distance_1():
    low = GaussianMixture1D([1.0], [-1.0], [1.0], bounds=(None, 0.0))
    high = GaussianMixture1D([1.0], [1.0], [1.0], bounds=(0.0, None))
    assert total_variation_distance(low, high) == pytest.approx(1, rel=1e-15)
    assert total_variation_distance(normal(0, 1), normal(1e8, 1e-3)) <= 1


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_equal_laws_are_at_distance_zero(seed: int):
    assert total_variation_distance(law(seed), law(seed)) == 0.0
    weights = np.random.default_rng(seed).dirichlet(np.ones(30), 2)
    for basis in BASES.values():
        assert np.all(total_variation_distance(weights, weights, basis=basis) == 0)


@given(seeds, seeds, seeds)
@settings(max_examples=30, deadline=None)
def test_it_is_a_metric(first: int, second: int, third: int):
    a, b, c = law(first), law(second), law(third)
    forth, back = total_variation_distance(a, b), total_variation_distance(b, a)
    assert forth == pytest.approx(back, rel=1e-9)
    assert (0 if first == second else 1e-9) <= forth <= 1
    assert total_variation_distance(a, c) <= forth + total_variation_distance(b, c) + 1e-12


@pytest.mark.parametrize("name", BASES)
def test_rows_of_weights_are_pairs_of_mixtures(name: str):
    rng, basis = np.random.default_rng(3), BASES[name]
    a, b = rng.dirichlet(np.ones(30), (2, 1)), rng.dirichlet(np.ones(30), 3)
    values = total_variation_distance(a, b, basis=basis)
    assert isinstance(values, np.ndarray)
    assert values.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        expected = total_variation_distance(basis.mixture(a[i, 0]), basis.mixture(b[j]))
        assert values[i, j] == pytest.approx(expected, rel=1e-9)
    assert isinstance(total_variation_distance(a[0, 0], b[0], basis=basis), float)


def test_a_sample_is_learnt_first():
    values = np.random.default_rng(4).normal(size=400)
    fitted = GMMExpansion().fit(values)
    assert total_variation_distance(values, normal(0, 1)) == total_variation_distance(fitted, normal(0, 1)) < 0.2


def test_wrong_weights_are_refused():
    right = np.full(30, 1 / 30)
    for basis in BASES.values():
        with pytest.raises(ValueError, match="a has weights that sum to 2; they must sum to 1"):
            total_variation_distance(2 * right, right, basis=basis)
        with pytest.raises(ValueError, match=r"b has shape \(29,\), but the basis has 30 components"):
            total_variation_distance(right, right[1:], basis=basis)
