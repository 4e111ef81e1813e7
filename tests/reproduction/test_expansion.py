"""Fits as in E section 3.1, against literal loops."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import expansion as oracle

from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.rules import histogram_weights
from reproduction.expansion.fig1_2 import check_regions, matching_weights
from reproduction.expansion.targets import algorithm1_about_points, count, gaussian_target


def test_every_point_belongs_to_its_nearest_centre() -> None:
    x = np.random.default_rng(0).normal(size=300)
    counts, basis = count(x, 17, 2.0)
    assert basis.spacing == pytest.approx((x.max() - x.min()) / 17)
    assert basis.centers[0] == x.min()
    nearest = np.abs(x[:, None] - basis.centers).argmin(1)
    np.testing.assert_allclose(histogram_weights(counts, basis), np.bincount(nearest, minlength=17) / 300)
    assert counts.n_under + counts.n_over == 0


@pytest.mark.parametrize("t", [0.7, 1.0, 3.0])
def test_algorithm1_about_points_is_the_loop(t: float) -> None:
    basis = GaussianBasis(0, 0.5, 9, t)
    x = np.random.default_rng(0).choice(basis.axis().centers, 40)
    sigma = basis.stds[0]
    literal = oracle.algorithm1(x, basis.centers, 0.5, sigma, sigma / 4, side_minus="point")
    weights, clipped = algorithm1_about_points(BinnedCounts(basis.axis()).add(x), basis)
    np.testing.assert_allclose(weights, oracle.clipped(literal), atol=1e-10)
    assert clipped == pytest.approx(-literal[literal < 0].sum(), abs=1e-10)


@pytest.mark.parametrize("t", [1.0, 3.0])
def test_matching_weights_meet_condition_1(t: float) -> None:
    target = gaussian_target(np.random.default_rng(0))
    basis = GaussianBasis.spanning(-80, 180, 400, t)
    mixture = basis.mixture(matching_weights(target, basis))
    edges = basis.axis().edges[::SUB_BINS]
    np.testing.assert_allclose(np.diff(mixture.cdf(edges)), np.diff(target.cdf(edges)), atol=1e-9)
    for half in (0.5, 1.0):
        found = check_regions(target, mixture, basis, half)
        assert found.condition_1[found.central].all()
        assert found.bound[found.central].mean() > 0.95


def test_the_bound_can_fail() -> None:
    target = gaussian_target(np.random.default_rng(0))
    basis = GaussianBasis.spanning(-80, 180, 400, 0.5)
    alternating = matching_weights(target, basis) * np.tile([0.5, 1.5], 200)
    found = check_regions(target, basis.mixture(alternating / alternating.sum()), basis, 0.5)
    assert found.bound[found.central].mean() < 0.7
    assert found.condition_1[found.central].mean() < 0.5
