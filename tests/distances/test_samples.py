"""Wasserstein distances of samples, against SciPy, POT and exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.distances import wasserstein_of_atoms
from scipy.stats import wasserstein_distance as scipy_wasserstein

from gaussmix._typing import FloatArray
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances import wasserstein_distance
from gaussmix.distances._inputs import Sample
from gaussmix.distances._samples import distance_of_samples


def sample(values: Any, masses: Any = None) -> Sample:
    weights = None if masses is None else np.asarray(masses, float) / np.sum(masses)
    return Sample(np.ascontiguousarray(values, float), weights)


def literal(x: FloatArray, y: FloatArray) -> float:
    """The area between two step functions, in fractions: no rounding but the last."""
    jumps = sorted([(Fraction(v), Fraction(1, x.size)) for v in x] + [(Fraction(v), -Fraction(1, y.size)) for v in y])
    area, height, at = Fraction(0), Fraction(0), jumps[0][0]
    for place, jump in jumps:
        area += abs(height) * (place - at)
        height, at = height + jump, place
    return float(area)


LAWS = {
    "other law": lambda rng, n, m: (rng.normal(size=n), rng.normal(0.2, 1.3, m)),
    "same law": lambda rng, n, m: (rng.normal(size=n), rng.normal(size=m)),
    "far": lambda rng, n, m: (rng.normal(size=n), rng.normal(1e4, 1, m)),
    "far from 0": lambda rng, n, m: (1e6 + rng.normal(size=n), 1e6 + rng.normal(size=m)),
    "heavy tails": lambda rng, n, m: (rng.standard_cauchy(n), rng.standard_cauchy(m)),
    "scales": lambda rng, n, m: (rng.lognormal(0, 4, n), rng.lognormal(0.1, 4, m)),
    "outlier": lambda rng, n, m: (np.r_[rng.normal(size=n - 1), 1e9], rng.normal(size=m)),
    "ties": lambda rng, n, m: (rng.poisson(3, n), rng.poisson(3, m)),
    "almost equal": lambda rng, n, m: ((x := rng.normal(size=n)), np.resize(x, m) + 1e-9 * rng.normal(size=m)),
    "two values": lambda rng, n, m: (rng.integers(0, 2, n), rng.integers(0, 2, m)),
    "one value": lambda rng, n, m: (np.zeros(n), np.full(m, 0.5)),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sizes", [(1, 1), (40, 40), (400, 400), (500, 173)])
def test_w1_is_exact(law: str, sizes: tuple[int, int]) -> None:
    x, y = (np.asarray(values, float) for values in LAWS[law](np.random.default_rng(0), *sizes))
    scale = 1e-15 * max(np.abs(x).max(), np.abs(y).max())  # a sample is not known better
    assert distance_of_samples(sample(x), sample(y), 1) == pytest.approx(literal(x, y), rel=1e-12, abs=scale)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("weighted", [(True, False), (True, True)])
def test_w1_with_weights(law: str, weighted: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(1)
    x, y = LAWS[law](rng, 700, 300)
    u, v = (rng.random(size) if weigh else None for size, weigh in zip((700, 300), weighted, strict=True))
    scale = 1e-14 * max(np.abs(x).max(), np.abs(y).max())
    assert distance_of_samples(sample(x, u), sample(y, v), 1) == pytest.approx(
        scipy_wasserstein(x, y, u, v), rel=1e-11, abs=scale
    )


@pytest.mark.parametrize("law", ["other law", "same law", "outlier"])
def test_large_samples(law: str) -> None:
    rng = np.random.default_rng(2)
    x, y = LAWS[law](rng, 60_000, 50_000)
    at_once = distance_of_samples(sample(x), sample(y), 1)
    assert at_once == pytest.approx(scipy_wasserstein(x, y), rel=1e-9 if law == "outlier" else 1e-12)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 7])
@pytest.mark.parametrize("weighted", [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("sizes", [(1, 5), (60, 60), (50, 73)])
def test_wp_against_pot(p: float, weighted: tuple[bool, bool], sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=sizes[0]), rng.gamma(2, size=sizes[1])
    u, v = (rng.random(size) if weigh else np.ones(size) for size, weigh in zip(sizes, weighted, strict=True))
    u, v = u / u.sum(), v / v.sum()
    cost: Any = ot.emd2_1d(x, y, u, v, metric="minkowski", p=p)
    masses = (given if weigh else None for given, weigh in zip((u, v), weighted, strict=True))
    first, second = (sample(values, mass) for values, mass in zip((x, y), masses, strict=True))
    ours = distance_of_samples(first, second, p)
    assert ours == pytest.approx(cost ** (1 / p), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1.0, 1.7, 2.0, 5.0, math.inf]))
def test_properties(seed: int, n: int, m: int, p: float) -> None:
    """Symmetry, moving, scaling, growth with p, repeated points, and distance 0 of the same points in another order."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(1, 2, m)
    distance = distance_of_samples(sample(x), sample(y), p)
    near = pytest.approx(distance, rel=1e-12, abs=1e-14)
    assert distance_of_samples(sample(y), sample(x), p) == near
    assert distance_of_samples(sample(8 - x), sample(8 - y), p) == pytest.approx(distance, rel=1e-12, abs=1e-14)
    assert distance_of_samples(sample(3 * x), sample(3 * y), p) == pytest.approx(3 * distance, rel=1e-12, abs=1e-14)
    assert distance_of_samples(sample(np.repeat(x, 3)), sample(y, np.ones(m)), p) == pytest.approx(
        distance, rel=1e-11, abs=1e-14
    )
    assert distance_of_samples(sample(x), sample(rng.permutation(x)), p) == 0
    assert distance_of_samples(sample(x), sample(x + 0.5), p) == pytest.approx(0.5, rel=1e-12)
    assert distance_of_samples(sample(x), sample(y), 1) <= distance * (1 + 1e-12)
    assert distance <= distance_of_samples(sample(x), sample(y), math.inf) * (1 + 1e-12)


def test_infinite_p_is_the_largest_move() -> None:
    x, y = np.array([0.0, 1.0, 5.0]), np.array([5.5, 0.25, 1.0])
    assert distance_of_samples(sample(x), sample(y), math.inf) == 0.5
    assert distance_of_samples(sample([0.0, 1.0]), sample([0.0, 1.0, 1.0]), math.inf) == 1.0
    tenths = [0.1] * 10
    assert distance_of_samples(sample(np.arange(10), tenths), sample(np.arange(10)), math.inf) == 0.0
    assert distance_of_samples(sample([0.0, 7.0], [1.0, 0.0]), sample([0.0]), math.inf) == 0.0


def test_large_p_neither_overflows_nor_vanishes() -> None:
    x, y = sample([0.0, 1e-200]), sample([1e-200, 3e-200])
    assert distance_of_samples(x, y, 40) == pytest.approx(2e-200 * (0.5 + 0.5 * 0.5**40) ** (1 / 40), rel=1e-12)
    x, y = sample([0.0, 1e200]), sample([1e200, 3e200])
    assert distance_of_samples(x, y, 2) == pytest.approx(1e200 * math.sqrt(2.5), rel=1e-12)


def test_equal_samples_are_at_distance_0() -> None:
    x = np.random.default_rng(5).normal(size=1000)
    assert distance_of_samples(sample(x), sample(x), 1) == 0
    assert distance_of_samples(sample(x), sample(x[::-1]), 1) == 0
    assert distance_of_samples(sample(x, np.ones(1000)), sample(x, np.ones(1000)), 1) == 0


def test_near_the_ends_of_what_can_be_written() -> None:
    x = np.random.default_rng(6).normal(size=300)
    tiny = distance_of_samples(sample(1e-300 * x), sample(2e-300 * x), 1)
    assert tiny == pytest.approx(1e-300 * np.abs(x).mean(), rel=1e-12)
    huge = distance_of_samples(sample(1e300 * x), sample(2e300 * x), 1)
    assert huge == pytest.approx(1e300 * np.abs(x).mean(), rel=1e-12)


@pytest.mark.parametrize("p", [2.0, 7.0, math.inf])
def test_little_mass_far_away_counts(p: float) -> None:
    x, masses = np.append(np.arange(50.0), 1e12), np.append(np.ones(50), 5e-14)
    share = 5e-14 / masses.sum()
    expected = 1e12 - 49 if p == math.inf else (share * (1e12 - 49) ** p) ** (1 / p)
    assert wasserstein_distance(x, np.arange(50.0), p, a_weights=masses) == pytest.approx(expected, rel=1e-3)
    assert wasserstein_distance(-x, -np.arange(50.0), p, a_weights=masses) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("n", [1000, 40_000])
@pytest.mark.parametrize("far", [-1e30, 1e9, 1e16])
def test_points_without_weight_do_not_count(n: int, far: float) -> None:
    rng = np.random.default_rng(0)
    x, y, masses = rng.normal(size=n), rng.normal(size=n), rng.random(n)
    for p in (1, 2, math.inf):
        expected = wasserstein_distance(x, y, p, a_weights=masses)
        found = wasserstein_distance(np.append(x, far), y, p, a_weights=np.append(masses, 0.0))
        assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0])
def test_weights_against_point_transport(p: float) -> None:
    rng = np.random.default_rng(1)
    for n, m in ((1, 1), (7, 4), (300, 200)):
        x, y = rng.normal(size=n), rng.standard_cauchy(size=m)
        a, b = rng.random(n), rng.random(m)
        expected = wasserstein_of_atoms(x, a / a.sum(), y, b / b.sum(), p)
        assert wasserstein_distance(x, y, p, a_weights=a, b_weights=b) == pytest.approx(expected, rel=1e-9)
        assert wasserstein_distance(x, x[::-1], p, a_weights=a, b_weights=a[::-1]) == 0


@pytest.mark.parametrize("scale", [1e-308, 1e-306, 1e305, 4e306])
@pytest.mark.parametrize("sizes", [(20_011, 20_000), (2003, 2000), (20_000, 20_000)])
def test_numbers_at_the_ends_of_double_precision(scale: float, sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    x, y = (np.clip(rng.normal(size=n), -8, 8) for n in sizes)
    for p in (1, 2):
        assert wasserstein_distance(x * scale, y * scale, p) / scale == pytest.approx(
            wasserstein_distance(x, y, p), rel=1e-3 if scale == 1e-308 else 1e-9
        )


def test_orders_beyond_what_quadrature_can_do() -> None:
    with pytest.raises(ValueError, match="p is 1000; with a mixture it can be at most 100"):
        wasserstein_distance(GaussianMixture1D([1.0], [0.0], [1.0]), [1.0], 1000)
