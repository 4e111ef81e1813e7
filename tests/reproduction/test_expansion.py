"""Random targets, fits as in E section 3.1 against literal loops, and the regions of E Figures 1 and 2."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import expansion as oracle
from scipy.integrate import quad
from scipy.stats import kstest

from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.rules import histogram_weights
from reproduction.expansion.fig1_2 import check_regions, matching_weights
from reproduction.expansion.targets import (
    Component,
    algorithm1_about_points,
    count,
    gaussian_target,
    mixed_target,
)

# --- targets


@pytest.mark.parametrize("part", [
    Component("normal", 3.0, 2.0),
    Component("t", 3.0, 2.0, 5),
    Component("uniform", 3.0, 2.0),
])  # fmt: skip
def test_density_is_the_slope_of_the_cdf(part: Component) -> None:
    for a, b in ((-1.0, 1.5), (2.2, 3.1), (3.5, 9.0)):
        mass, _ = quad(lambda x: part.pdf(np.array([x]))[0], a, b, points=[2.0, 4.0], limit=200)
        ends = part.cdf(np.array([a, b]))
        assert ends[1] - ends[0] == pytest.approx(mass, abs=1e-7)


@pytest.mark.parametrize("make", [gaussian_target, mixed_target])
@pytest.mark.parametrize("seed", range(3))
def test_points_follow_the_cdf(make: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = make(rng)  # pyright: ignore[reportCallIssue]
    x = target.draw(20_000, rng)
    assert x.shape == (20_000,)
    assert kstest(x, target.cdf).statistic < 1.63 / np.sqrt(20_000)
    assert target.cdf(np.array([-1e6, 1e6])).tolist() == pytest.approx([0, 1])


def test_what_targets_are_made_of() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert {part.kind for part in gaussian_target(rng).components} == {"normal"}
        target = mixed_target(rng)
        assert len(target.components) == len(target.weights) == 8
        assert target.weights.sum() == pytest.approx(1)
        assert {part.kind for part in target.components} == {"normal", "t", "uniform"}
        for part in target.components:
            assert 0 <= part.center <= 100
            assert 5 <= part.scale <= (30 if part.kind == "uniform" else 15)
            assert (20 <= part.dof <= 60) == (part.kind == "t")


def test_same_seed_same_target() -> None:
    one, same = (mixed_target(np.random.default_rng(4)) for _ in range(2))
    assert one.components == same.components
    np.testing.assert_array_equal(one.weights, same.weights)


# --- fits and regions


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
        assert found["condition_1"][found["central"]].all()
        assert found["bound"][found["central"]].mean() > 0.95


def test_the_bound_can_fail() -> None:
    target = gaussian_target(np.random.default_rng(0))
    basis = GaussianBasis.spanning(-80, 180, 400, 0.5)
    alternating = matching_weights(target, basis) * np.tile([0.5, 1.5], 200)
    found = check_regions(target, basis.mixture(alternating / alternating.sum()), basis, 0.5)
    assert found["bound"][found["central"]].mean() < 0.7
    assert found["condition_1"][found["central"]].mean() < 0.5
