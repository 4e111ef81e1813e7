"""Draws against the distribution function, their order, and the generators that may be given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.mixtures import MIXTURES
from scipy.stats import chi2, ks_2samp, kstest

from gaussmix.density._mixture import components
from gaussmix.density.mixture import GaussianMixture1D

N = 100_000
NAMES = ["claw", "scales", "grid 200", "one bound", "two bounds", "wide inside bounds", "heavy guard"]


@pytest.mark.parametrize("name", NAMES)
def test_draws_follow_the_distribution(name: str):
    mixture = GaussianMixture1D(**MIXTURES[name])
    x = mixture.rvs(N, 0)
    assert kstest(x, mixture.cdf).pvalue > 1e-3
    counts = np.histogram(mixture.cdf(x), np.linspace(0, 1, 101))[0]
    assert chi2(99).sf(((counts - N / 100) ** 2 / (N / 100)).sum()) > 1e-3


def test_a_wrong_weight_would_be_seen():
    """The same test rejects draws from weights that are off by 2 %."""
    mixture = GaussianMixture1D(**MIXTURES["claw"])
    wrong = mixture.weights + np.array([-0.02, 0.02, 0, 0, 0, 0])
    x = GaussianMixture1D(wrong, mixture.means, mixture.stds).rvs(N, 0)
    assert kstest(x, mixture.cdf).pvalue < 1e-6


def test_draws_come_in_random_order():
    mixture = GaussianMixture1D([0.3, 0.7], [-5.0, 5.0], 1.0)
    x = mixture.rvs(N, 1)
    halves: Any = ks_2samp(x[: N // 2], x[N // 2 :])
    assert halves.pvalue > 1e-3
    right = x > 0
    changes = np.mean(right[1:] != right[:-1])
    assert abs(changes - 2 * 0.3 * 0.7) < 4 * np.sqrt(0.25 / N)
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 4 / np.sqrt(N)


def test_draws_stay_inside_the_bounds_and_the_guard_does_not():
    bounded = GaussianMixture1D(**MIXTURES["wide inside bounds"]).rvs(N, 2)
    assert bounded.min() >= 0
    assert bounded.max() <= 1
    guarded = GaussianMixture1D(**MIXTURES["guard across bounds"])
    outside = np.mean((x := guarded.rvs(N, 2)) < 0) + np.mean(x > 1)
    expected = guarded.cdf(0.0) + guarded.sf(1.0)
    assert abs(outside - expected) < 4 * np.sqrt(expected / N)


def test_atoms_are_drawn_at_their_masses():
    mixture = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([0.0, 2.0], [0.3, 0.1]))
    x = mixture.rvs(N, 3)
    for position, mass in zip(*mixture.atoms, strict=True):
        assert abs(np.mean(x == position) - mass) < 4 * np.sqrt(mass / N)
    rest = x[(x != 0) & (x != 2)]
    assert kstest(rest, GaussianMixture1D([1.0], [0.0], [1.0]).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("size", "shape"), [(None, ()), (0, (0,)), (5, (5,)), (np.int64(5), (5,)), ((), ()), ((2, 3), (2, 3))]
)
def test_shapes(size: Any, shape: tuple[int, ...]):
    x = GaussianMixture1D([1.0], [0.0], [1.0]).rvs(size, 0)
    assert np.shape(x) == shape


def test_the_same_state_gives_the_same_numbers():
    mixture = GaussianMixture1D(**MIXTURES["heavy guard"])
    np.testing.assert_array_equal(mixture.rvs(100, 7), mixture.rvs(100, 7))
    np.testing.assert_array_equal(mixture.rvs(100, 7), mixture.rvs(100, np.random.default_rng(7)))
    old, again = (mixture.rvs(100, np.random.RandomState(7)) for _ in range(2))
    np.testing.assert_array_equal(old, again)
    for rng in (np.random.default_rng(7), np.random.RandomState(7)):  # a generator goes on
        assert not np.array_equal(mixture.rvs(100, rng), mixture.rvs(100, rng))
    assert not np.array_equal(mixture.rvs(100), mixture.rvs(100))


@pytest.mark.parametrize("size", [-1, (2, -1), 2.5, "3"])
def test_wrong_sizes_are_refused(size: Any):
    with pytest.raises((ValueError, TypeError)):
        GaussianMixture1D([1.0], [0.0], [1.0]).rvs(size)


class EvenlySpaced:
    """A generator whose uniform numbers are the midpoints of ``n`` equal intervals, and whose normal ones are 0."""

    def __init__(self, n: int):
        self._numbers = iter((np.arange(n) + 0.5) / n)

    def random(self) -> float:
        return next(self._numbers)

    def standard_normal(self) -> float:
        return 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30).filter(lambda values: sum(values) > 1e-6))
def test_evenly_spaced_uniforms_choose_components_in_their_shares(values: list[float]):
    probability, n = np.array(values) / sum(values), 1000
    numbers = np.arange(probability.size)
    chooser = components.chooser(probability, numbers.astype(float), np.ones(probability.size))
    chosen = np.empty(n)
    loop: Any = components.place_numbers
    loop.function(*chooser, -np.inf, np.inf, EvenlySpaced(n), chosen)
    assert np.all(abs(np.bincount(chosen.astype(int), minlength=numbers.size) - n * probability) <= 1 + 1e-9)
    assert np.all(probability[chosen.astype(int)] > 0)
