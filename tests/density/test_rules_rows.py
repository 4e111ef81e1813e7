"""Densities of a basis's components on its bins, against SciPy and against the mixture itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.rules import component_rows, density_rows, interval, moment_rows

BOUNDS = [(None, None), (-1.05, None), (None, 1.95), (-1.05, 1.95), (-0.95, 1.85)]
Bounds = tuple[float | None, float | None]


def images(x: NDArray[np.float64], bounds: Bounds) -> NDArray[np.float64]:
    """(N, images) the points, their reflections at the bounds, the reflections of those, and once more."""
    found = [x]
    for _ in range(3):
        for end in bounds:
            if end is not None:
                found += [2 * end - y for y in found]
    return np.array([np.unique(row.round(9)) for row in np.array(found).T])


def test_interval_is_relatively_accurate_in_both_tails() -> None:
    for a in (-30.0, -5.0, -1.0, 0.0, 2.0, 20.0):
        b = a + 0.5
        expected = norm.cdf(b) - norm.cdf(a) if b <= 0 else norm.sf(a) - norm.sf(b)
        assert interval(a, b) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("scale", [None, 0.4])
def test_rows_are_bin_probabilities_of_the_mixture(bandwidth: float, bounds: Bounds, scale: float | None) -> None:
    """Bins that a bound cuts, or that lie outside, are not looked at."""
    basis = GaussianBasis.spanning(-1.05, 1.95, 12, bandwidth, bounds=bounds, center=0.2, scale=scale)
    edges = basis.axis().edges[::4]
    low, high = (-math.inf if bounds[0] is None else bounds[0]), (math.inf if bounds[1] is None else bounds[1])
    inside = (edges[:-1] > low - 1e-12) & (edges[1:] < high + 1e-12)
    assert inside.sum() > 30
    weights = np.random.default_rng(0).dirichlet(np.ones(12))
    probability = np.diff(basis.mixture(weights).cdf(np.clip(edges, low, high)))
    ours = density_rows(basis, 4).times(weights) / 4
    np.testing.assert_allclose(ours[inside], probability[inside], atol=1e-12)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_moment_rows_sum_the_points(bounds: Bounds) -> None:
    basis = GaussianBasis.spanning(-1.05, 1.95, 12, 0.7, bounds=bounds)
    axis = basis.axis()
    x = np.random.default_rng(1).uniform(-0.7, 1.6, 40)
    place = (x - axis.low) / axis.width
    bins = place.astype(int)
    moments = [np.bincount(bins, (place - bins - 0.5) ** m, axis.n_bins).astype(np.float64) for m in range(5)]
    rows = moment_rows(basis, SUB_BINS)
    ours = sum(A.transposed_times(m) for A, m in zip(rows, moments, strict=True)) / basis.spacing
    expected = [sum(norm.pdf(images(x, bounds), mu, basis.stds[0]).sum(1)) for mu in basis.centers]
    np.testing.assert_allclose(ours, expected, rtol=1e-7)


def test_far_entries_are_zero() -> None:
    A = component_rows(GaussianBasis(0, 1, 100, 1.0), 2).dense()
    full = norm.pdf(np.linspace(-0.25, 99.25, 200)[:, None] - np.arange(100))
    assert (A == 0).mean() > 0.7
    assert full[A == 0].max() < 1e-14
