"""Truncated mixtures: conditional probabilities, against SciPy's truncated normal and the mixture's own numbers."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles.mixtures import MIXTURES, literal_density
from scipy import stats

from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.truncated import TruncatedMixture1D

each = pytest.mark.parametrize("arguments", MIXTURES.values(), ids=MIXTURES)
NORMAL = GaussianMixture1D([1.0], [0.0], [1.0])
ATOMS = ([0.0, 0.5, 1.0, 2.0], [0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 2.0), (12.0, np.inf), (-np.inf, -11.0), (30.0, 31.0), (5.0, 5.01), (-0.5, -0.49999)]
)
def test_one_gaussian_is_scipys_truncnorm(low: float, high: float):
    ours = NORMAL.truncate(low, high)
    theirs: Any = stats.truncnorm(low, high)
    q = np.linspace(0, 1, 21)
    x = theirs.ppf(q)
    width = np.ptp(x[1:-1])
    np.testing.assert_allclose(ours.ppf(q), x, atol=1e-10 * width, rtol=1e-14)
    np.testing.assert_allclose(ours.isf(q), x[::-1], atol=1e-10 * width, rtol=1e-14)
    inside = x[1:-1]
    for name in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"):
        np.testing.assert_allclose(getattr(ours, name)(inside), getattr(theirs, name)(inside), rtol=1e-9, err_msg=name)
    first, last = theirs.ppf([1e-15, 1 - 1e-13])
    grid = np.linspace(first, last, 100_001)
    mass = theirs.pdf(grid)
    assert (ours.mean() - x[1]) / width == pytest.approx(np.trapezoid((grid - x[1]) * mass, grid) / width, abs=1e-5)
    assert ours.var() == pytest.approx(np.trapezoid((grid - ours.mean()) ** 2 * mass, grid), rel=1e-4)
    assert ours.median() == pytest.approx(theirs.median(), rel=1e-12)
    assert ours.support() == (low, high)


@each
def test_conditional_probabilities(arguments: dict[str, Any]):
    """The literal density, integrated between random ends: total, cdf, moments and entropy."""
    mixture = GaussianMixture1D(**arguments)
    for share in ((0.1, 0.4), (0.3, 0.95), (0.97, 0.99)):
        low, high = mixture.ppf(share)
        truncated = mixture.truncate(low, high)
        turns = (mixture.means[:, None] + mixture.stds[:, None] * np.linspace(-8, 8, 641)).ravel()
        points = [
            mixture.ppf(np.linspace(*share, 4001)),
            np.linspace(low, high, 4001),
            turns if turns.size < 1e4 else [],
        ]
        x = np.unique(np.clip(np.concatenate(points), low, high))
        density = literal_density(mixture, x) if mixture.weights.size < 100 else mixture.pdf(x)
        total = np.trapezoid(density, x)
        assert total == pytest.approx(share[1] - share[0], rel=3e-4)
        some = slice(0, None, 197)
        np.testing.assert_allclose(truncated.pdf(x[some]), density[some] / (share[1] - share[0]), rtol=1e-6)
        cumulative = np.append(0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))) / total
        np.testing.assert_allclose(truncated.cdf(x[some]), cumulative[some], atol=1e-4)
        np.testing.assert_allclose(truncated.cdf(x[some]) + truncated.sf(x[some]), 1, atol=1e-9)
        assert (truncated.mean() - low) / (high - low) == pytest.approx(
            np.trapezoid(density * (x - low), x) / total / (high - low), abs=1e-3
        )
        entropy = -np.trapezoid(density / total * np.log(np.maximum(density / total, 1e-300)), x)
        assert truncated.entropy() == pytest.approx(entropy, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MIXTURES)), st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_quantiles_invert_the_cdf(name: str, seed: int, far: bool, large: bool):
    rng = np.random.default_rng(seed)
    arguments = MIXTURES[name]
    if far and name in ("far", "two bounds", "wide inside bounds", "one bound", "upper bound", "far bounds"):
        assume(False)  # nothing, or float64's neighbours, so near to a bound
    mixture = GaussianMixture1D(**arguments, atoms=([float(arguments["means"][0])], [0.3]))
    if far:
        ends = np.sort(mixture.isf([1e-30, 1e-33] if rng.random() < 0.5 else [1e-12, 1e-30]))
    else:
        ends = np.sort(mixture.ppf(rng.random(2)))
    truncated = mixture.truncate(*ends)
    q = np.sort(rng.random(200 if large else 20))
    x = truncated.ppf(q)
    assert np.all((x >= ends[0]) & (x <= ends[1]))
    assert np.all(np.diff(x) >= -1e-12 * np.abs(x[1:]))
    free = ~np.isin(x, mixture.atoms.positions)
    resolution = truncated.pdf(x) * np.spacing(np.abs(x))
    assert np.all((np.abs(truncated.cdf(x) - q) <= 1e-9 + 4 * resolution)[free])
    y = truncated.isf(q)
    free = ~np.isin(y, mixture.atoms.positions)
    assert np.all((np.abs(truncated.sf(y) - q) <= 1e-9 + 4 * truncated.pdf(y) * np.spacing(np.abs(y)))[free])
    np.testing.assert_allclose(np.exp(truncated.logsf(x)), truncated.sf(x), atol=1e-12)
    np.testing.assert_array_equal(
        truncated.ppf([0, 1, -0.1, 1.1, np.nan]), [*truncated.support(), np.nan, np.nan, np.nan]
    )


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(MIXTURES)), st.floats(0.001, 0.5), st.floats(0.5, 0.999), st.floats(0, 1))
def test_conditional_is_the_ratio_of_probabilities(name: str, first: float, second: float, between: float):
    mixture = GaussianMixture1D(**MIXTURES[name])
    low, high = mixture.ppf([first, second])
    x = mixture.ppf(first + between * (second - first))
    assume(low < high)
    truncated = mixture.truncate(low, high)
    resolution = 4 * np.spacing(abs(x)) * mixture.pdf([low, x, high]).max() / (second - first + 1e-9)
    expected = (mixture.cdf(x) - mixture.cdf(low)) / (mixture.cdf(high) - mixture.cdf(low))
    assert truncated.cdf(x) == pytest.approx(expected, abs=1e-9 + resolution)


def test_probabilities_of_events_that_hardly_happen():
    """Given X > 20, a Gaussian: sf by Mills' ratio, mean by its expansion; given a guard's far tail, a power law."""
    tail = NORMAL.truncate(20.0)
    assert tail.sf(20.5) == pytest.approx(math.exp(stats.norm.logsf(20.5) - stats.norm.logsf(20)), rel=1e-11)
    assert tail.logsf(60.0) == pytest.approx(stats.norm.logsf(60) - stats.norm.logsf(20), rel=1e-12)
    assert tail.mean() == pytest.approx(math.exp(stats.norm.logpdf(20) - stats.norm.logsf(20)), rel=1e-11)
    assert tail.isf(1e-100) == pytest.approx(float(stats.norm.isf(1e-100 * stats.norm.sf(20))), rel=1e-10)
    power = GaussianMixture1D([1.0], [0.0], [1.0], tail=(1e-6, 0.0, 1.0)).truncate(1e8)
    assert power.sf(2e8) == pytest.approx(1 / 8, rel=1e-9)
    assert power.mean() == pytest.approx(1.5e8, rel=1e-9)
    assert power.std() == pytest.approx(1e8 * math.sqrt(3 - 2.25), rel=1e-6)
    with pytest.raises(ValueError, match="has the probability 0"):
        NORMAL.truncate(60.0)


def test_atoms_inside_are_kept_also_at_the_ends():
    mixture = GaussianMixture1D([1.0], [0.0], [1.0], atoms=ATOMS)
    truncated = mixture.truncate(0.5, 1.0)
    probability = 0.2 + 0.6 * (stats.norm.cdf(1) - stats.norm.cdf(0.5))
    assert truncated.atoms.positions.tolist() == [0.5, 1.0]
    np.testing.assert_allclose(truncated.pdf([0.5, 1.0]), 0.1 / probability)
    assert truncated.cdf(0.5) == pytest.approx(0.1 / probability)
    assert truncated.sf(0.999999) == pytest.approx(0.1 / probability, abs=1e-5)
    assert truncated.cdf(0.49) == 0
    assert truncated.cdf(1.0) == pytest.approx(1, abs=1e-15)
    numbers = truncated.rvs(20_000, 0)
    assert np.mean(numbers == 0.5) == pytest.approx(0.1 / probability, abs=0.015)
    assert numbers.mean() == pytest.approx(truncated.mean(), abs=0.01)
    assert numbers.std() == pytest.approx(truncated.std(), abs=0.01)
    alone = mixture.truncate(2.0, 2.0)
    assert (alone.mean(), alone.var(), alone.entropy(), alone.ppf(0.3)) == (2, 0, 0, 2)
    assert alone.pdf([1.0, 2.0]).tolist() == [0, 1]


@each
def test_random_numbers_follow_the_cdf(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    truncated = mixture.truncate(*mixture.ppf([0.2, 0.9]))
    numbers = truncated.rvs((100, 50), 1)
    assert numbers.shape == (100, 50)
    test: Any = stats.kstest(truncated.cdf(numbers.ravel()), "uniform")
    assert test.pvalue > 1e-4
    np.testing.assert_array_equal(truncated.rvs(5, 2), truncated.rvs(5, 2))
    assert isinstance(truncated.rvs(random_state=0), float)


def test_expectations_given_the_interval():
    mixture = GaussianMixture1D(**MIXTURES["guard"], atoms=([1.0], [0.2]))
    truncated = mixture.truncate(-1.0, 4.9)
    for function in (np.cos, np.exp, lambda x: x > 1):
        assert truncated.expect(function) == pytest.approx(mixture.expect(function, -1.0, 4.9, True), rel=1e-10)
    assert truncated.expect(np.cos, 0, 10) == pytest.approx(truncated.expect(np.cos, 0), rel=1e-12)
    open_side = mixture.truncate(2.0)
    assert open_side.expect(np.exp) == pytest.approx(mixture._without_guard.truncate(2.0).expect(np.exp), rel=1e-12)


def test_truncating_again_and_as_values():
    once = GaussianMixture1D(**MIXTURES["claw"]).truncate(-1.0, 2.0)
    twice = once.truncate(0.0, 5.0)
    assert twice == GaussianMixture1D(**MIXTURES["claw"]).truncate(0.0, 2.0)
    assert once != twice
    assert once != "another"
    assert once.truncate() == once
    for twin in (copy.deepcopy(once), pickle.loads(pickle.dumps(once))):
        assert twin == once
    assert repr(once) == "TruncatedMixture1D(GaussianMixture1D(6 components, -1 .. 1), low=-1, high=2)"
    with pytest.raises(AttributeError, match="frozen"):
        once.low = 0.0
    for low, high in ((2.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="low must not be above high"):
            TruncatedMixture1D(NORMAL, low, high)


def test_nothing_inside_is_refused():
    bounded = GaussianMixture1D(**MIXTURES["two bounds"])
    with pytest.raises(ValueError, match="has the probability 0"):
        bounded.truncate(2.0, 3.0)
    assert bounded.truncate(-5.0, 5.0).support() == (0.0, 1.0)
    assert bounded.truncate(-5.0, 5.0).mean() == pytest.approx(bounded.mean(), rel=1e-12)


def test_the_whole_is_one_however_coarse_numbers_are():
    far = GMMExpansion().fit(1e9 + np.random.default_rng(0).normal(size=4000)).distribution_
    low, high = far.ppf([0.1, 0.9]).tolist()
    assert far.truncate(low, high).cdf([low, high]).tolist() == [0.0, 1.0]
    assert far.truncate(low, high).sf([low, high]).tolist() == [1.0, 0.0]
