"""Divergences of probability vectors against SciPy, their definitions, and those of the mixtures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from gaussmix import GaussianBasis
from gaussmix.distances import (
    discrete_jensen_shannon_divergence,
    discrete_kl_divergence,
    discrete_total_variation_distance,
    jensen_shannon_divergence,
    kl_divergence,
    total_variation_distance,
)

DISCRETE = (discrete_kl_divergence, discrete_jensen_shannon_divergence, discrete_total_variation_distance)
CONTINUOUS = (kl_divergence, jensen_shannon_divergence, total_variation_distance)
HALVES = np.array([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5]])


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(30, 0.4), shape)


def test_they_are_scipys() -> None:
    a, b = rows(4, 1), rows(5, seed=1)
    expected = [[entropy(p, q) for q in b] for p in a[:, 0]]
    np.testing.assert_allclose(discrete_kl_divergence(a, b), expected, rtol=1e-12)
    expected = [[jensenshannon(p, q) ** 2 for q in b] for p in a[:, 0]]
    np.testing.assert_allclose(discrete_jensen_shannon_divergence(a, b), expected, rtol=1e-12)
    expected = 0.5 * np.abs(a - b).sum(-1)
    np.testing.assert_allclose(discrete_total_variation_distance(a, b), expected, rtol=1e-13)
    assert all(isinstance(measure(a[0, 0], b[0]), float) for measure in DISCRETE)
    assert all(np.shape(measure(a, a[:0, 0])) == (4, 0) for measure in DISCRETE)


def test_zeros_are_no_trouble() -> None:
    first, second, third = HALVES
    assert [discrete_kl_divergence(first, other) for other in HALVES] == [0, math.inf, math.inf]
    assert discrete_kl_divergence(first, [0.25, 0.5, 0.25, 0]) == pytest.approx(0.5 * math.log(2))
    expected = [[0, math.log(2) / 2, math.log(2)], [math.log(2) / 2, 0, math.log(2) / 2]]
    np.testing.assert_allclose(discrete_jensen_shannon_divergence(HALVES[:2, None], HALVES), expected, rtol=1e-14)
    assert discrete_jensen_shannon_divergence(first, third) == math.log(2)
    np.testing.assert_array_equal(discrete_total_variation_distance(first, HALVES), [0, 0.5, 1])
    assert [measure(second, second) for measure in DISCRETE] == [0, 0, 0]


@pytest.mark.parametrize("shift", [1e-3, 1e-6, 1e-9])
def test_almost_equal_vectors_keep_their_digits(shift: float) -> None:
    a, b = np.array([0.5, 0.5]), np.array([0.5 + shift, 0.5 - shift])
    shift = b[0] - 0.5
    assert discrete_kl_divergence(a, b) == pytest.approx(-0.5 * math.log1p(-4 * shift**2), rel=max(1e-8, 1e-15 / shift))
    assert discrete_jensen_shannon_divergence(a, b) == pytest.approx(shift**2 / 2, rel=max(shift, 1e-15 / shift))


@pytest.mark.parametrize(("discrete", "continuous"), list(zip(DISCRETE, CONTINUOUS, strict=True)))
def test_mixtures_are_no_further_apart_than_their_weights(discrete, continuous) -> None:
    a, b = rows(20), 0.5 * rows(20, seed=1) + 0.5 / 30
    for bandwidth, tight in ((0.1, True), (2.0, False)):
        bound = discrete(a, b)
        found = continuous(a, b, basis=GaussianBasis(0.0, 1.0, 30, bandwidth))
        assert np.all(found <= bound * (1 + 1e-12))
        assert np.allclose(found, bound, rtol=1e-4) is tight  # components that do not overlap are outcomes


@pytest.mark.parametrize("measure", DISCRETE)
def test_what_is_no_probability_is_refused(measure) -> None:
    a = np.array([0.5, 0.5])
    with pytest.raises(ValueError, match=r"a has weights that sum to 2; they must sum to 1"):
        measure(2 * a, a)
    with pytest.raises(ValueError, match=r"b contains -0\.5"):
        measure(a, [1.5, -0.5])
    with pytest.raises(ValueError, match=r"a has shape \(2,\) and b \(3,\), which do not broadcast"):
        measure(a, np.full(3, 1 / 3))
    with pytest.raises(TypeError, match=r"b is a str; give probabilities \(n,\) or \(B, n\)"):
        measure(a, "b")
    with pytest.raises(ValueError, match="a has masked entries"):
        measure(np.ma.masked_equal([0.5, 0.5, 9], 9), np.full(3, 1 / 3))
