"""Distances of columns of integers: of their probabilities, or of the smooth density behind them."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
from scipy import stats

from gaussmix import GaussianMixture1D, GMMExpansion, LatticeMixture1D
from gaussmix.distances import (
    compare,
    gaussian_mmd2,
    jensen_shannon_divergence,
    kl_divergence,
    total_variation_distance,
    wasserstein_distance,
)

RNG = np.random.default_rng(0)
X, Y = RNG.poisson(20, 2000), RNG.binomial(40, 0.6, 1500)
A, B = (cast(LatticeMixture1D, GMMExpansion().fit(x).distribution_) for x in (X, Y))
K = np.arange(60)
P, Q = A.pdf(K), B.pdf(K)


def test_transport_is_that_of_point_masses() -> None:
    assert isinstance(A, LatticeMixture1D)
    distance, error = wasserstein_distance(A, B, return_error=True)
    assert distance == pytest.approx(np.abs(A.cdf(K) - B.cdf(K)).sum(), rel=1e-12)
    assert error < 1e-12
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    between = np.sqrt(np.mean((A.ppf(quantiles) - B.ppf(quantiles)) ** 2))
    assert wasserstein_distance(A, B, 2) == pytest.approx(between, rel=1e-3)
    sample = wasserstein_distance(A, X)
    assert sample == pytest.approx(stats.wasserstein_distance(A.values, X, A.probabilities), rel=1e-10)
    assert wasserstein_distance(A, A) == 0


def test_mmd_is_that_of_point_masses() -> None:
    difference = np.where(np.isin(K, A.values), P, 0) - np.where(np.isin(K, B.values), Q, 0)
    kernel = np.exp(-((K[:, None] - K) ** 2) / 2 / 3.0**2)
    assert gaussian_mmd2(A, B, 3.0) == pytest.approx(difference @ kernel @ difference, rel=1e-9)


def test_divergences_are_sums_over_the_values() -> None:
    p, q = A.pmf(K), B.pmf(K)
    assert total_variation_distance(A, B) == pytest.approx(np.abs(p - q).sum() / 2, rel=1e-12)
    m = (p + q) / 2
    of_m = [np.sum(each[each > 0] * np.log(each[each > 0] / m[each > 0])) / 2 for each in (p, q)]
    assert jensen_shannon_divergence(A, B) == pytest.approx(sum(of_m), rel=1e-9)
    values = np.union1d(A.values, B.values)
    extended = B.pdf(values) / B.pdf(values).sum()  # B counts what it has not seen
    expected = np.sum(A.probabilities * np.log(A.probabilities / extended[np.isin(values, A.values)]))
    assert set(A.values) - set(B.values)
    assert kl_divergence(A, B) == pytest.approx(expected, rel=1e-9)
    assert kl_divergence(A, A) == 0
    halves = LatticeMixture1D(A.continuous, A.values + 0.5, A.probabilities)
    with pytest.warns(RuntimeWarning, match="infinite"):
        assert kl_divergence(halves, A) == math.inf


def test_beside_a_density_the_smooth_one_is_compared() -> None:
    normal = GaussianMixture1D([1.0], [20.0], [math.sqrt(20)])
    assert total_variation_distance(A, normal) == total_variation_distance(A.continuous, normal) < 0.1
    assert kl_divergence(normal, A) == kl_divergence(normal, A.continuous)
    found = compare(normal, A)
    assert found.kl_b_a == kl_divergence(A.continuous, normal)
    assert found.wasserstein_1 == wasserstein_distance(normal, A.continuous)


def test_beside_point_masses_the_probabilities_are() -> None:
    truth = stats.poisson.pmf(np.arange(80), 20)
    atoms = GaussianMixture1D([1.0], [0.0], [1.0], atoms=(np.arange(80), truth / truth.sum()))
    expected = np.abs(A.pmf(np.arange(80)) - truth / truth.sum()).sum() / 2
    assert total_variation_distance(A, atoms) == pytest.approx(expected, rel=1e-9)


def test_samples_of_integers_are_learnt_as_discrete() -> None:
    assert total_variation_distance(A, X) < 0.05
    assert compare(X, Y).total_variation == total_variation_distance(A, B)
    few = RNG.random(50) < 0.3
    assert total_variation_distance(few, np.array([0, 1] * 20)) == pytest.approx(abs(few.mean() - 0.5))
