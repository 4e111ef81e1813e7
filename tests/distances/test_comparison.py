"""All distances at once: each is the one of its own function."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gaussmix import GaussianBasis, GaussianMixture1D, distances
from gaussmix.distances import compare

A = GaussianMixture1D([0.4, 0.6], [-1.0, 2.0], [1.0, 0.5])
B = GaussianMixture1D([1.0], [0.5], [2.0])


def test_every_number_is_that_of_its_function() -> None:
    found = compare(A, B)
    ends = np.concatenate([A.ppf([0.001, 0.999]), B.ppf([0.001, 0.999])])
    cells = GaussianBasis.spanning(ends.min(), ends.max(), 200)
    assert found.wasserstein_1 == distances.wasserstein_distance(A, B)
    assert found.wasserstein_2 == pytest.approx(distances.wasserstein_distance(A, B, 2), rel=1e-12)
    assert found.mean_difference == distances.mean_difference_bound(A, B)
    assert found.total_variation == distances.total_variation_distance(A, B)
    assert found.jensen_shannon == distances.jensen_shannon_divergence(A, B)
    assert (found.kl_a_b, found.kl_b_a) == (distances.kl_divergence(A, B), distances.kl_divergence(B, A))
    pooled = np.concatenate([law.rvs(400_000, random_state=0) for law in (A, B)])
    assert found.mmd_sigma == pytest.approx(pooled.std(), rel=5e-3)
    assert found.mmd2 == distances.gaussian_mmd2(A, B, found.mmd_sigma)
    assert found.binned_l1 == pytest.approx(distances.binned_l1(A, B, cells), rel=1e-12)
    assert 0 < found.binned_l1 <= 2 * found.total_variation
    assert found.density_information_loss == pytest.approx(2 * found.total_variation, rel=1e-2)


def test_table_names_both_ways_of_kl_and_where_it_is_infinite() -> None:
    half = GaussianMixture1D([1.0], [1.0], [1.0], bounds=(0.0, None))
    lines = str(compare(half, B)).splitlines()
    assert len(lines) == 10
    (line,) = [line for line in lines if " inf " in line]
    assert line.startswith("KL divergence B from A")
    assert line.endswith("B has mass where A has none")
    assert compare(half, B).to_dict()["kl_b_a"] == math.inf


def test_samples_are_learnt() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 4000), rng.normal(1, 1, 4000)
    found = compare(x, y)
    assert found.wasserstein_1 == pytest.approx(distances.wasserstein_distance(x, y), rel=0.02)
    assert compare(x, x).wasserstein_1 == 0
    weighted = compare(x, y, a_weights=np.exp(x - 0.5))  # what makes N(0, 1) N(1, 1)
    assert weighted.wasserstein_1 < 0.2 * found.wasserstein_1


def test_the_same_point_twice() -> None:
    point = GaussianMixture1D([1.0], [3.0], [1.0], atoms=([3.0], [1.0]))
    numbers = compare(point, point).to_dict()
    assert {value for name, value in numbers.items() if name != "mmd_sigma"} == {0.0}


@pytest.mark.parametrize(("scale", "shift"), [(1e-12, 0.0), (1e12, 0.0), (1.0, 1.7e9), (1e-3, -1.7e9)])
def test_unit_and_place_do_not_matter(scale: float, shift: float) -> None:
    here = compare(A, B)
    moved = [GaussianMixture1D(law.weights, law.means * scale + shift, law.stds * scale) for law in (A, B)]
    there = compare(*moved)
    rounding = 1e-15 * abs(shift) / scale
    for name in ("total_variation", "jensen_shannon", "kl_a_b", "kl_b_a", "binned_l1", "density_information_loss"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-6 + 10 * rounding)
    for name in ("wasserstein_1", "wasserstein_2", "mean_difference", "mmd_sigma"):
        assert getattr(there, name) == pytest.approx(scale * getattr(here, name), rel=1e-6 + 10 * rounding)


def test_what_is_too_wide_to_be_squared() -> None:
    """W2 is the standard deviation that the narrow one lacks; of a divergence of 1e320 nats infinity is left."""
    wide = GaussianMixture1D([1.0], [0.0], [1e160])
    found = compare(wide, A)
    assert found.wasserstein_2 == pytest.approx(1e160)
    assert found.wasserstein_1 == pytest.approx(1e160 * np.sqrt(2 / np.pi))
    assert found.kl_a_b == np.inf
    assert np.isfinite(found.kl_b_a)


def test_equal_laws_are_exactly_equal_in_the_table() -> None:
    (line,) = [line for line in str(compare(A, A)).splitlines() if line.startswith("Wasserstein distance W1")]
    assert line.split()[-2:] == ["0", "exact"]
