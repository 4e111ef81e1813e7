"""The negative Gaussian mixture gradient: against D Eq. 13 term by term, its bounds, and FFT against matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ngmg as oracle

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.distances.mmd import DENSE_UP_TO, kernel_matrix
from gaussmix.ngmg import negative_gaussian_mixture_gradient as ngmg

Problem = tuple[GaussianBasis, FloatArray, FloatArray, float]

problems = st.builds(
    lambda n, start, r, t, concentration, seed: (
        GaussianBasis(start, r, n),
        *np.random.default_rng(seed).dirichlet(np.full(n, concentration), 2),
        t * r,
    ),
    n=st.integers(2, 12),
    start=st.floats(-3, 3),
    r=st.floats(0.1, 10),
    t=st.floats(0.3, 20),
    concentration=st.sampled_from([0.1, 1.0, 100.0]),
    seed=st.integers(0, 1000),
)


@settings(max_examples=60, deadline=None)
@given(problem=problems, diagonal=st.booleans(), two_sided=st.booleans())
def test_is_the_sum_of_the_paper(problem: Problem, diagonal: bool, two_sided: bool) -> None:
    basis, current, target, sigma = problem
    ours = ngmg(current, target, basis, sigma=sigma, diagonal=diagonal, two_sided=two_sided)
    literal = oracle.ngmg(current, target, basis.centers, sigma, diagonal=diagonal, two_sided=two_sided)
    np.testing.assert_allclose(ours, literal, rtol=1e-9, atol=1e-14 / sigma)


@settings(max_examples=60, deadline=None)
@given(problem=problems)
def test_bounds_and_zero_only_at_equality(problem: Problem) -> None:
    """As D states them below Eq. 14; and it vanishes if and only if the weights are equal."""
    basis, current, target, sigma = problem
    found = ngmg(current, target, basis, sigma=sigma)
    assert found.max() <= 0
    assert found.min() >= -kernel_matrix(basis, sigma, diagonal=False).max()
    assert found.min() < 0
    np.testing.assert_array_equal(ngmg(target, target, basis, sigma=sigma), 0)


def test_the_bounds_are_reached() -> None:
    basis = GaussianBasis(0, 1, 3)
    np.testing.assert_allclose(
        ngmg([0, 0, 1], [0, 1, 0], basis, sigma=2.0)[[0, 2]], -kernel_matrix(basis, 2.0, diagonal=False).max()
    )


@pytest.mark.parametrize("n", [2, DENSE_UP_TO, DENSE_UP_TO + 1, 5000])
def test_equal_weights_give_exactly_zero(n: int) -> None:
    basis, pi = GaussianBasis.spanning(0, 1, n), np.random.default_rng(0).dirichlet(np.ones(n))
    for two_sided in (False, True):
        np.testing.assert_array_equal(ngmg(pi, pi, basis, two_sided=two_sided), 0)


@pytest.mark.parametrize("t", [1.0, 2.0, 40.0])
@pytest.mark.parametrize("diagonal", [False, True])
def test_fft_is_the_matrix_at_a_thousand(t: float, diagonal: bool) -> None:
    basis = GaussianBasis.spanning(-5, 7, 1000, t)
    current, target = np.random.default_rng(1).dirichlet(np.ones(1000), 2)
    dense = kernel_matrix(basis, basis.stds[0], diagonal=diagonal) @ np.minimum(current - target, 0)
    found = ngmg(current, target, basis, diagonal=diagonal)
    assert np.abs(found - dense).max() <= 1e-12 * np.abs(dense).max()
    assert found.max() <= 0


def test_rounding_of_the_fft_has_no_sign_of_its_own() -> None:
    """Far from what is lacking the sum is 0, or as good as, and must not come out positive."""
    basis = GaussianBasis(0, 1, 1000, 2.0)
    current, target = np.zeros((2, 1000))
    current[900], target[95:105] = 1, 0.1
    assert ngmg(current, target, basis).max() == 0


def test_a_hundred_thousand_components() -> None:
    """A matrix would have 80 GB; a few entries against their sums."""
    n = 100_000
    basis = GaussianBasis.spanning(0, 1, n, 50.0)
    current, target = np.random.default_rng(2).dirichlet(np.ones(n), 2)
    found, sigma = ngmg(current, target, basis), basis.stds[0]
    lack = np.minimum(current - target, 0)
    for j in (0, 17, 54_321, n - 1):
        phi = np.exp(-(((basis.centers[j] - basis.centers) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
        phi[j] = 0
        assert found[j] == pytest.approx(phi @ lack, abs=1e-12 * np.abs(found).max())


def test_rows_are_broadcast() -> None:
    basis, rng = GaussianBasis(0, 1, 7), np.random.default_rng(0)
    current, target = rng.dirichlet(np.ones(7), (4, 1)), rng.dirichlet(np.ones(7), 3)
    found = ngmg(current, target, basis)
    assert found.shape == (4, 3, 7)
    np.testing.assert_allclose(found[2, 1], ngmg(current[2, 0], target[1], basis), rtol=1e-14)
    assert ngmg(current[0, 0], target[0], basis).shape == (7,)


def test_both_sides_with_diagonal_is_the_gradient_of_the_squared_mmd() -> None:
    basis, rng = GaussianBasis(0, 0.5, 9), np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(9), 2)
    K = kernel_matrix(basis, 1.3, diagonal=True)
    h = 1e-6
    numeric = [
        ((p + h * e - q) @ K @ (p + h * e - q) - (p - h * e - q) @ K @ (p - h * e - q)) / (4 * h) for e in np.eye(9)
    ]
    found = ngmg(p, q, basis, sigma=1.3, diagonal=True, two_sided=True)
    np.testing.assert_allclose(found, numeric, atol=1e-9)


def test_warped_bases_need_a_sigma() -> None:
    basis = GaussianBasis.spanning(-50, 80, 6, scale=2.0)
    p, q = np.random.default_rng(0).dirichlet(np.ones(6), 2)
    with pytest.raises(ValueError, match=r"warped .*give sigma="):
        ngmg(p, q, basis)
    np.testing.assert_allclose(ngmg(p, q, basis, sigma=9.0), oracle.ngmg(p, q, basis.centers, 9.0), atol=1e-15)


@pytest.mark.parametrize(
    ("current", "message"),
    [
        ([0.5, 0.4, 0.2], r"current has weights that sum to 1\.1; they must sum to 1"),
        ([1.5, -0.5, 0.0], r"current contains -0\.5; weights must not be negative"),
        ([0.5, float("nan"), 0.5], "current contains nan"),
        ([0.5, float("inf"), 0.5], "current contains inf"),
        ([0.5, 0.5], r"has shape \(2,\), but the basis has 3 components"),
    ],
)
def test_wrong_weights_are_refused(current: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ngmg(current, [0.2, 0.3, 0.5], GaussianBasis(0, 1, 3))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_sigmas_are_refused(sigma: float) -> None:
    with pytest.raises(ValueError, match=r"sigma is .*; it must be positive and finite"):
        ngmg([0.5, 0.5], [0.2, 0.8], GaussianBasis(0, 1, 2), sigma=sigma)


def test_not_weights_and_not_a_basis() -> None:
    with pytest.raises(TypeError, match="give weights"):
        ngmg("half", [0.2, 0.8], GaussianBasis(0, 1, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="give the GaussianBasis"):
        ngmg([0.5, 0.5], [0.2, 0.8], 2.0)  # pyright: ignore[reportArgumentType]


def test_fitted_expansions_bring_their_basis() -> None:
    x = np.random.default_rng(0).normal(50, 10, (2, 1000))
    start, target = (GMMExpansion("histogram", n_components=60, range=(0, 100)).fit(row) for row in x)
    basis = start.bases_[0]
    assert basis is not None
    weights = [model.distribution_.weights[:60] / model.distribution_.weights[:60].sum() for model in (start, target)]
    np.testing.assert_array_equal(ngmg(start, target), ngmg(*weights, basis=basis))
    with pytest.raises(ValueError, match="weights need the basis that they belong to"):
        ngmg(*weights)
