"""GaussianBasis: where centres, scales and cells lie."""

from __future__ import annotations

import numpy as np
import pytest

from gaussmix.density.basis import SUB_BINS, GaussianBasis


def test_spanning_tiles_the_range_with_cells() -> None:
    basis = GaussianBasis.spanning(-1.0, 3.0, 8, bandwidth=1.5)
    assert basis.spacing == 0.5
    np.testing.assert_allclose(basis.centers, np.arange(8) * 0.5 - 0.75)
    np.testing.assert_allclose(basis.stds, 0.75)
    axis = basis.axis()
    assert (axis.low, axis.high, axis.n_bins) == (-1.0, 3.0, 8 * SUB_BINS)


def test_as_paper_puts_the_first_centre_on_the_minimum() -> None:
    basis = GaussianBasis.as_paper(2.0, 12.0, 20, bandwidth=3.0)
    np.testing.assert_allclose(basis.centers, 2.0 + 0.5 * np.arange(20))
    assert basis.stds[0] == 1.5


def test_warped_scales_are_the_slope_of_the_axis() -> None:
    basis = GaussianBasis.spanning(-50.0, 80.0, 40, bandwidth=2.0, center=1.0, scale=2.0)
    u = np.arcsinh((basis.centers - 1.0) / 2.0)
    np.testing.assert_allclose(np.diff(u), basis.spacing, rtol=1e-9)
    step = 1e-6
    slope = (2 * np.sinh(u + step) - 2 * np.sinh(u - step)) / (2 * step)
    np.testing.assert_allclose(basis.stds, 2.0 * basis.spacing * slope, rtol=1e-6)
    edges = basis.axis().edges
    np.testing.assert_allclose([edges[0], edges[-1]], [-50.0, 80.0])


def test_mixture_is_the_weighted_sum_of_the_components() -> None:
    basis = GaussianBasis.spanning(0.0, 1.0, 5)
    weights = np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    x = np.linspace(-1, 2, 7)
    z = (x[:, None] - basis.centers) / basis.stds
    expected = (np.exp(-(z**2) / 2) / basis.stds / np.sqrt(2 * np.pi)) @ weights
    np.testing.assert_allclose(basis.mixture(weights).pdf(x), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0.0, 5), "must come first"),
        ((1.0, 1.0, 5), "differ from"),
        ((0.0, np.inf, 5), "must be finite"),
        ((np.nan, 1.0, 5), "must be finite"),
        ((0.0, 1.0, 0), "n_components is 0"),
        ((1e15, 1e15 + 1, 200), "too narrow"),
    ],
)
def test_ranges_that_make_no_basis(arguments: tuple[float, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianBasis.spanning(*arguments)


@pytest.mark.parametrize("values", [{"bandwidth": 0.0}, {"bandwidth": np.nan}, {"spacing": -1.0}, {"n_components": 0}])
def test_values_that_make_no_basis(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        GaussianBasis(**{"start": 0.0, "spacing": 1.0, "n_components": 3, **values})
