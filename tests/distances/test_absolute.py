"""int |F_a - F_b| and int |f_a - f_b| with their bounds: against quadrature, closed forms, and coarser tolerances."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import distances as oracle
from oracles.mixtures import MIXTURES

from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances import _cells as cells
from gaussmix.distances._absolute import ACCURACY, absolute_difference
from gaussmix.distances._inputs import Sample

LAWS: dict[str, dict[str, Any]] = {
    name: MIXTURES[name]
    for name in ("claw", "gap", "scales", "far", "upper bound", "two bounds", "far bounds", "guard", "heavy guard")
}
LAWS["guard across bounds"] = MIXTURES["guard across bounds"]
LAWS["uniform"] = {"weights": [0.5, 0.5], "means": [0.2, 0.5], "stds": [0.5, 4.0], "bounds": (0.0, 0.7)}
LAWS["atoms"] = {"weights": [0.5, 0.5], "means": [0, 4], "stds": [0.5, 1], "atoms": ([0.0, 1.0, 7.0], [0.1, 0.2, 0.1])}
LAWS["everything"] = LAWS["atoms"] | {"bounds": (0.0, None), "tail": (0.01, 1.0, 2.0)}
LAWS["only atoms"] = {"weights": [1.0], "means": [0.0], "stds": [1.0], "atoms": ([-1.0, 2.0], [0.25, 0.75])}
PAIRS = [pair for k, pair in enumerate(itertools.combinations(LAWS, 2)) if k % 3 == 0]

seeds = st.integers(0, 2**32 - 1)


def law(arguments: dict[str, Any]) -> GaussianMixture1D:
    return GaussianMixture1D(**arguments)


def normal(mean: float, std: float) -> GaussianMixture1D:
    return GaussianMixture1D([1.0], [mean], [std])


def grid(n: int, low: float, high: float, seed: int) -> GaussianMixture1D:
    """An expansion: n centres that tile [low, high], noisy normal weights."""
    spacing = (high - low) / n
    means = low + spacing * (np.arange(n) + 0.5)
    weights = np.random.default_rng(seed).poisson(1000 * np.exp(-0.5 * means**2)).astype(float)
    return GaussianMixture1D(weights / weights.sum(), means, np.full(n, 2 * spacing))


def twice_variation_of_densities(a: dict[str, Any], b: dict[str, Any]) -> float:
    without = [{key: value for key, value in arguments.items() if key != "atoms"} for arguments in (a, b)]
    shares = [1 - np.sum(arguments["atoms"][1]) if "atoms" in arguments else 1.0 for arguments in (a, b)]
    edges = np.unique(np.concatenate([oracle.knots(arguments) for arguments in without]))

    def g(x: oracle.FloatArray) -> oracle.FloatArray:
        return shares[0] * oracle.density(without[0], x) - shares[1] * oracle.density(without[1], x)

    return oracle.absolute_integral(g, edges)


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_integrals_agree_with_quadrature(first: str, second: str):
    a, b = LAWS[first], LAWS[second]
    value, error = absolute_difference(law(a), law(b), cumulative=True)
    assert value == pytest.approx(oracle.wasserstein_1(a, b), rel=1e-9)
    assert error <= ACCURACY * value
    value, error = absolute_difference(law(a), law(b), cumulative=False)
    assert value == pytest.approx(twice_variation_of_densities(a, b), rel=1e-9)
    assert error <= ACCURACY * value


@given(seeds, seeds)
@settings(max_examples=25, deadline=None)
def test_random_laws_agree_with_quadrature(first: int, second: int):
    a, b = oracle.random_law(first), oracle.random_law(second)
    value, error = absolute_difference(law(a), law(b), cumulative=True)
    assert abs(value - oracle.wasserstein_1(a, b)) <= 1e-8 * value
    assert error <= ACCURACY * value
    value, _ = absolute_difference(law(a), law(b), cumulative=False)
    assert abs(value - twice_variation_of_densities(a, b)) <= 1e-8 * value


@pytest.mark.parametrize("kind", ["cdf", "density", "sample"])
@given(first=seeds, second=seeds, width=st.floats(3, 10))
@settings(max_examples=50, deadline=None)
def test_the_bound_holds_for_cells_of_any_width(kind: str, first: int, second: int, width: float):
    a, b = law(oracle.random_law(first)), law(oracle.random_law(second))
    cumulative = kind != "density"
    if kind == "sample":
        b = Sample(b.rvs(20, second), None)
    exact, rest = absolute_difference(a, b, cumulative=cumulative)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "WIDTH", width)
        patch.setattr(cells, "_GUARD_WIDTH", width)
        value, error = absolute_difference(a, b, cumulative=cumulative)
    assert abs(value - exact) <= error + rest


@pytest.mark.parametrize("cumulative", [True, False], ids=["cdf", "density"])
@pytest.mark.parametrize("width", [4.0, 8.0, 16.0])
def test_the_bound_holds_for_guards_alone(cumulative: bool, width: float):
    """The Gaussians cancel."""
    a, b = (GaussianMixture1D([1.0], [0.0], [1.0], tail=(0.5, 0.0, scale)) for scale in (1.0, 2.0))
    exact, rest = absolute_difference(a, b, cumulative=cumulative)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_GUARD_WIDTH", width)
        value, error = absolute_difference(a, b, cumulative=cumulative)
    assert rest < abs(value - exact) <= error


def test_wide_cells_are_coarse():
    """So that the tests above are some."""
    a, b = grid(50, -5, 5, 0), grid(40, -6, 5, 1)
    exact, _ = absolute_difference(a, b, cumulative=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "WIDTH", 8.0)
        value, error = absolute_difference(a, b, cumulative=True)
    assert abs(value - exact) > ACCURACY * exact
    assert error < 0.5 * exact


@pytest.mark.parametrize("std", [1e-6, 0.5, 1 - 1e-9, 1 + 1e-12, 30.0, 1e6])
def test_normals_of_one_mean(std: float):
    """int |Phi(x) - Phi(x / s)| = |1 - s| E|Z|; the densities cross at x^2 = 2 log(s) / (1 - 1 / s^2)."""
    a, b = normal(0.25, 1.0), normal(0.25, std)
    value, error = absolute_difference(a, b, cumulative=True)
    assert abs(value - abs(1 - std) * math.sqrt(2 / math.pi)) <= error
    assert error <= 1e-10 * value + 5e-14
    value, error = absolute_difference(a, b, cumulative=False)
    z = math.sqrt(2 * math.log(std) / (1 - std**-2))
    exact = 2 * abs(math.erf(z / math.sqrt(2)) - math.erf(z / std / math.sqrt(2)))
    assert abs(value - exact) <= error + 1e-15


@pytest.mark.parametrize("shift", [1e-12, 1e-6, 0.3, 1e6, 1e12])
def test_a_shift(shift: float):
    """int |F(x) - F(x - s)| = s, and 2 (2 Phi(s / 2 sigma) - 1) for the densities of one normal."""
    a, b = normal(0.0, 2.0), normal(shift, 2.0)
    value, error = absolute_difference(a, b, cumulative=True)
    assert abs(value - shift) <= error
    assert error <= 1e-10 * value + 5e-14
    value, error = absolute_difference(a, b, cumulative=False)
    assert abs(value - 2 * math.erf(shift / 4 / math.sqrt(2))) <= error
    assert error <= 1e-10 * value + 5e-14


def test_rounding_is_in_the_bound():
    """A shift by 2^-30 of means that are multiples of 2^-20 is exact, and so is the distance."""
    rng = np.random.default_rng(6)
    means, stds = rng.integers(-(2**22), 2**22, 300) * 2.0**-20, rng.uniform(0.05, 2, 300)
    weights = rng.dirichlet(np.ones(300))
    for shift in (2.0**-10, 2.0**-30):
        a, b = (GaussianMixture1D(weights, means + s, stds) for s in (0.0, shift))
        value, error = absolute_difference(a, b, cumulative=True)
        assert 0 < abs(value - shift) <= error <= 2e-13


@pytest.mark.parametrize("weights", [[0.3, 0.7 + 2.0**-51], [0.3, 0.7 - 2.0**-52], [0.1, 0.9]])
def test_weights_count_divided_by_their_sum(weights: list[float]):
    """Which is 1 but for rounding: that moves mass over 2^30. Between places of one spread W1 is that of the points."""
    laws = [GaussianMixture1D(w, [0.0, 2.0**30], [1.0, 1.0]) for w in (weights, [0.3, 0.7])]
    first, second = (Fraction(law.weights[0]) / sum(map(Fraction, law.weights)) for law in laws)
    value, error = absolute_difference(*laws, cumulative=True)
    assert abs(value - float(abs(first - second)) * 2.0**30) <= error <= 1e-14 * 2.0**30


def test_expansions_on_different_bases():
    a, b = grid(1000, -5, 5, 0), grid(300, -5.5, 5.2, 1)
    x, spacing = np.linspace(-8, 8, 800_001, retstep=True)
    for cumulative, f in ((True, a.cdf(x) - b.cdf(x)), (False, a.pdf(x) - b.pdf(x))):
        value, error = absolute_difference(a, b, cumulative=cumulative)
        assert value == pytest.approx(np.abs(f).sum() * spacing, rel=1e-7)
        assert error <= 1e-11 * value


def test_what_laws_share_cancels_exactly():
    """Ten thousand alike components, one that moves by 1e-9."""
    rng = np.random.default_rng(5)
    means, stds = rng.normal(0, 1e3, 10_000), rng.uniform(0.01, 10, 10_000)
    moved = means.copy()
    moved[17] += 1.0
    weights = np.full(10_000, 1e-4)
    value, error = absolute_difference(
        GaussianMixture1D(weights, means, stds), GaussianMixture1D(weights, moved, stds), cumulative=True
    )
    assert abs(value - weights[0] * (moved[17] - means[17])) <= error
    assert error <= 1e-12 * value


def test_components_narrower_than_the_numbers_there_are_bounded():
    a, b = normal(0.0, 1.0), GaussianMixture1D([0.5, 0.5], [0.0, 1e8], [1.0, 1e-12])
    value, error = absolute_difference(a, b, cumulative=True)
    assert abs(value - 0.5e8) <= error
    assert error <= 1e-10 * value


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n", [1, 7, 2000])
def test_a_sample_agrees_with_quadrature(name: str, n: int):
    rng = np.random.default_rng(n)
    mixture = law(LAWS[name])
    values = np.round(mixture.rvs(n, rng) + rng.normal(size=n), 2)  # ties
    masses = rng.dirichlet(np.ones(n))
    value, error = absolute_difference(mixture, Sample(values, masses), cumulative=True)
    assert value == pytest.approx(oracle.wasserstein_of_sample(LAWS[name], values, masses), rel=1e-8)
    assert error <= ACCURACY * value


def test_a_sample_of_equal_masses_is_one_of_given_masses():
    mixture, values = grid(100, -4, 4, 3), np.random.default_rng(3).normal(size=1000)
    plain, _ = absolute_difference(mixture, Sample(values, None), cumulative=True)
    assert plain == pytest.approx(
        absolute_difference(mixture, Sample(values, np.full(1000, 1e-3)), cumulative=True)[0], rel=1e-12
    )


def test_a_sample_far_from_the_mixture():
    value, error = absolute_difference(normal(0.0, 1.0), Sample(np.array([3e9, -1e9]), None), cumulative=True)
    assert abs(value - (2e9 - math.sqrt(2 / math.pi))) <= error
    assert error <= 1e-10 * value


@pytest.mark.parametrize("unit", [2.0**-900, 2.0**900])
@pytest.mark.parametrize("cumulative", [True, False], ids=["cdf", "density"])
def test_any_unit(unit: float, cumulative: bool):
    values = []
    for scale in (1.0, unit):
        a, b = normal(0.0, scale), GaussianMixture1D([1.0], [scale], [2 * scale], tail=(0.125, scale, scale))
        values.append(absolute_difference(a, b, cumulative=cumulative)[0] / (scale if cumulative else 1.0))
    assert values[1] == pytest.approx(values[0], rel=1e-13)


def test_a_sample_of_the_points_of_a_law():
    points = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([0.0, 1.0], [0.25, 0.75]))
    value, error = absolute_difference(points, Sample(np.array([1.0, 0.0, 1.0, 1.0]), None), cumulative=True)
    assert value == 0
    assert error <= 1e-15
    value, error = absolute_difference(points, Sample(np.array([2.0]), None), cumulative=True)
    assert abs(value - (0.25 * 2 + 0.75)) <= error <= 1e-13
