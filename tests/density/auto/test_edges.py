"""Hard edges: found where densities jump, at about the right place, and not elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from gaussmix.density.auto.rule import find_edges, mean_log_distance
from gaussmix.density.axis import Axis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.standard_units import read_counts

FITS = 40


def edges_of(x: np.ndarray, n_bins: int = 16_384) -> tuple[float | None, float | None]:
    low, high = x.min(), x.max()
    counts = BinnedCounts(Axis(low, (high - low) / n_bins * (1 + 1e-12), n_bins)).add(x)
    return find_edges(read_counts(counts))


def rate(distribution: Any, n: int, side: int) -> float:
    rng = np.random.default_rng(7)
    samples = (distribution.rvs(size=n, random_state=rng) for _ in range(FITS))
    return float(np.mean([edges_of(x)[side] is not None for x in samples]))


@pytest.mark.parametrize("n", [500, 5000])
@pytest.mark.parametrize(
    ("distribution", "side"),
    [
        (stats.uniform(), 0),
        (stats.uniform(), 1),
        (stats.expon(), 0),
        (stats.halfnorm(), 0),
        (stats.pareto(1.5), 0),
        (stats.beta(0.5, 0.5), 1),
    ],
)
def test_found_where_the_density_jumps(distribution: Any, side: int, n: int) -> None:
    assert rate(distribution, n, side) >= 0.9


@pytest.mark.parametrize("n", [500, 5000])
@pytest.mark.parametrize(
    ("distribution", "side"),
    [
        (stats.norm(), 0),
        (stats.norm(), 1),
        (stats.laplace(), 0),
        (stats.triang(0.3), 0),
        (stats.triang(0.3), 1),
        (stats.t(2), 0),
        (stats.expon(), 1),
        (stats.beta(2, 5), 1),
    ],
)
def test_not_found_where_it_fades_out(distribution: Any, side: int, n: int) -> None:
    assert rate(distribution, n, side) <= 0.1


def test_the_edge_is_unbiased_and_beyond_the_data() -> None:
    rng = np.random.default_rng(1)
    n, found = 1000, []
    for _ in range(FITS):
        x = rng.uniform(0, 1, n)
        low, high = edges_of(x)
        assert low is not None
        assert high is not None
        assert low < x.min()
        assert high > x.max()
        found.append([low, high - 1])
    error = n * np.array(found)  # in mean gaps; one alone has about standard deviation 1
    assert np.abs(error.mean(0)).max() < 4 / np.sqrt(FITS)


def test_mirrored_data_have_mirrored_edges() -> None:
    x = np.random.default_rng(2).exponential(size=3000)
    low, high = edges_of(x)
    mirrored = edges_of(-x)
    assert low is not None
    assert high is None
    assert mirrored[0] is None
    assert mirrored[1] == pytest.approx(-low, rel=1e-6, abs=1e-6)


def lattice(values: np.ndarray) -> BinnedCounts:
    return BinnedCounts(Axis(values.min() - 0.5, 1.0, round(np.ptp(values)) + 1)).add(values)


def test_rounded_values_end_half_a_step_outside() -> None:
    dice = np.random.default_rng(3).integers(0, 100, 5000).astype(float)
    assert find_edges(read_counts(lattice(dice))) == (-0.5, 99.5)
    poisson = np.random.default_rng(3).poisson(30, 5000).astype(float)
    assert find_edges(read_counts(lattice(poisson))) == (None, None)


def test_few_points_have_no_edges() -> None:
    assert edges_of(np.linspace(0, 1, 49)) == (None, None)


def test_mean_log_distance_is_the_integral() -> None:
    edges, counts = np.array([0.0, 0.1, 0.4, 2.0]), np.array([3.0, 1.0, 2.0])
    expected = sum(
        c * integrate.quad(lambda t: np.log(2.0 / t), a, b)[0] / (b - a)
        for c, a, b in zip(counts, edges[:-1], edges[1:], strict=True)
    )
    assert mean_log_distance(edges, counts) == pytest.approx(expected / 6, rel=1e-9)
