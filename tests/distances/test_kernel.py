"""The Gaussian kernel on a basis, against literal loops and the dense product."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.mmd import DENSE_UP_TO, kernel_matrix, kernel_product, kernel_row

LATTICE = GaussianBasis(-3.0, 0.25, 23)
WARPED = GaussianBasis(-3.0, 0.25, 23, center=1.0, scale=0.5)


@pytest.mark.parametrize("basis", [LATTICE, WARPED], ids=["lattice", "warped"])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 50.0])
@pytest.mark.parametrize("diagonal", [True, False])
def test_matrix_is_the_density_between_centres(basis: GaussianBasis, sigma: float, diagonal: bool) -> None:
    K = kernel_matrix(basis, sigma, diagonal=diagonal)
    for i, j in np.ndindex(K.shape):
        zero = i == j and not diagonal
        expected = 0.0 if zero else norm.pdf(basis.centers[i], basis.centers[j], sigma)
        assert K[i, j] == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("diagonal", [True, False])
def test_row_is_the_matrix_first(diagonal: bool) -> None:
    row = kernel_row(LATTICE, 0.4, diagonal=diagonal)
    np.testing.assert_array_equal(row, kernel_matrix(LATTICE, 0.4, diagonal=diagonal)[0])


@pytest.mark.parametrize("sigma_in_spacings", [1e-3, 0.5, 2.0, 30.0, 1e4])
@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("n", [DENSE_UP_TO + 1, 1000])
def test_product_by_fft_is_the_dense_one(n: int, diagonal: bool, sigma_in_spacings: float) -> None:
    basis = GaussianBasis(7.0, 0.1, n)
    v = np.random.default_rng(0).normal(size=(3, n))
    sigma = sigma_in_spacings * 0.1
    dense = v @ kernel_matrix(basis, sigma, diagonal=diagonal)
    fast = kernel_product(v, basis, sigma, diagonal=diagonal)
    np.testing.assert_allclose(fast, dense, rtol=0, atol=1e-12 * max(np.abs(dense).max(), 1e-300))


@given(
    n=st.sampled_from([1, 2, 17, DENSE_UP_TO, DENSE_UP_TO + 1, 401]),
    spread=st.floats(0.05, 100),
    shape=st.sampled_from([(), (1,), (2, 3), (0,)]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_product_is_linear_and_symmetric(n: int, spread: float, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis = GaussianBasis(0.0, 2.0, n)
    u, v = rng.normal(size=(2, *shape, n))
    Ku, Kv = (kernel_product(w, basis, 2 * spread, diagonal=True) for w in (u, v))
    assert Kv.shape == v.shape
    scale = max(np.abs(Ku).max(initial=0), np.abs(Kv).max(initial=0)) * n
    np.testing.assert_allclose(
        kernel_product(u + 3 * v, basis, 2 * spread, diagonal=True), Ku + 3 * Kv, atol=1e-13 * scale
    )
    np.testing.assert_allclose((u * Kv).sum(-1), (v * Ku).sum(-1), atol=1e-12 * scale)


def test_warped_basis_is_dense_at_any_size() -> None:
    basis = GaussianBasis(-3.0, 6 / 400, 400, center=1.0, scale=0.5)
    v = np.random.default_rng(0).normal(size=400)
    product = kernel_product(v, basis, 0.7, diagonal=True)
    np.testing.assert_allclose(product, norm.pdf(basis.centers[:, None], basis.centers, 0.7) @ v, atol=1e-12)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"warped \(scale=0\.5\).*use kernel_matrix"):
        kernel_row(WARPED, 1.0, diagonal=True)
    with pytest.raises(ValueError, match=r"shape \(22,\), but the basis has 23 components"):
        kernel_product(np.ones(22), LATTICE, 1.0, diagonal=True)
    with pytest.raises(ValueError, match="v contains nan; all must be finite"):
        kernel_product(np.full(23, math.nan), LATTICE, 1.0, diagonal=True)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"sigma is {sigma}; it must be positive and finite"):
            kernel_product(np.ones(23), LATTICE, sigma, diagonal=False)
    with pytest.raises(TypeError, match="sigma is None; give a positive number"):
        kernel_row(LATTICE, None, diagonal=True)  # pyright: ignore[reportArgumentType]
