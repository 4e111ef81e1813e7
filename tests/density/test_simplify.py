"""Fewer Gaussians: the certificate holds, moments stay, mergers are the cheapest; against grids and literal loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.mixtures import MIXTURES

from gaussmix.density._mixture import simplify as module
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances.wasserstein import wasserstein_distance


def measured_distance(a: GaussianMixture1D, b: GaussianMixture1D) -> float:
    """W1 on a fine grid, of distributions that have guard and atoms in common."""
    q = np.linspace(1e-7, 1 - 1e-7, 20_001)
    ends = [(law.means - 9 * law.stds, law.means + 9 * law.stds) for law in (a, b)]
    even = np.linspace(min(low.min() for low, _ in ends), max(high.max() for _, high in ends), 100_001)
    x = np.unique(np.concatenate([a.ppf(q), b.ppf(q), even]))
    return float(np.trapezoid(np.abs(a.cdf(x) - b.cdf(x)), x))


def random_mixture(seed: int, n: int, bounds: tuple[float | None, float | None] = (None, None)) -> GaussianMixture1D:
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 2, n) if bounds == (None, None) else rng.beta(0.7, 2, n) * 3
    return GaussianMixture1D(rng.dirichlet(np.ones(n)), means, np.exp(rng.normal(-1, 0.7, n)), bounds=bounds)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(5, 60),
    st.floats(-3, -1),
    st.sampled_from([(None, None), (0.0, None), (0.0, 3.0)]),
)
def test_the_certificate_is_above_the_distance(seed: int, n: int, power: float, bounds: Any):
    mixture = random_mixture(seed, n, bounds)
    tolerance = mixture.std() * 10**power
    simple, distance = mixture.simplify(tolerance=tolerance)
    assert distance <= tolerance
    assert measured_distance(mixture, simple) <= distance * (1 + 1e-3) + 1e-9
    assert wasserstein_distance(mixture, simple) <= distance
    assert simple.weights.size <= n
    assert simple.bounds == mixture.bounds


@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_mean_and_variance_stay(k: int):
    guarded = GaussianMixture1D(
        *(getattr(random_mixture(k, 50), name) for name in ("weights", "means", "stds")),
        tail=(0.01, 1.0, 2.0),
        atoms=([0.0, 1.0], [0.1, 0.3]),
    )
    simple, _ = guarded.simplify(k)
    assert simple.weights.size <= k
    assert simple.mean() == pytest.approx(guarded.mean(), rel=1e-12)
    assert simple.var() == pytest.approx(guarded.var(), rel=1e-12)
    assert simple.tail == guarded.tail
    np.testing.assert_array_equal(simple.atoms.positions, guarded.atoms.positions)
    np.testing.assert_array_equal(simple.atoms.masses, guarded.atoms.masses)


@pytest.mark.parametrize("bounds", [(0.0, None), (None, 3.0), (0.0, 3.0)])
def test_mean_and_variance_stay_within_bounds(bounds: Any):
    mixture = random_mixture(3, 60, bounds)
    simple, _ = mixture.simplify(8)
    assert simple.mean() == pytest.approx(mixture.mean(), rel=1e-9)
    assert simple.var() == pytest.approx(mixture.var(), rel=1e-8)
    one, distance = mixture.simplify(1)
    assert measured_distance(mixture, one) <= distance


def test_a_learnt_log_normal_needs_few():
    x = np.random.default_rng(0).lognormal(size=20_000)
    learnt = GMMExpansion().fit(x).distribution_
    simple, distance = learnt.simplify()
    assert learnt.weights.size > 200
    assert simple.weights.size < 70
    assert distance < 1e-3 * learnt.std()
    grid = np.linspace(-2, 40, 200_001)
    assert 0.5 * np.trapezoid(np.abs(learnt.pdf(grid) - simple.pdf(grid)), grid) < 0.01
    rough, _ = learnt.simplify(tolerance=0.05)
    assert rough.weights.size < simple.weights.size / 2


def test_what_cannot_be_simplified_stays():
    claw = GaussianMixture1D(**MIXTURES["claw"])
    for result in (claw.simplify(), claw.simplify(6), claw.simplify(100), claw.simplify(tolerance=0.0)):
        assert result.mixture is claw
        assert result.distance == 0
    assert claw.simplify(2).distance > 0.001
    points = GaussianMixture1D([0.5, 0.5], [0.0, 1.0], [1.0, 1.0], atoms=([0.0], [1.0]))
    assert points.simplify(1).distance == 0


def test_equal_gaussians_become_one():
    same = GaussianMixture1D(np.full(40, 1 / 40), np.full(40, 3.0), 2.0)
    simple, distance = same.simplify()
    assert simple.weights.size == 1
    assert (simple.means[0], simple.stds[0]) == pytest.approx((3, 2))
    assert distance < 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 2, "tolerance": 0.1}, "give only one"),
        ({"k": 0}, "k is 0"),
        ({"k": 1.5}, r"k is 1\.5"),
        ({"tolerance": -1.0}, "tolerance is -1"),
        ({"tolerance": math.nan}, "tolerance is nan"),
    ],
)
def test_orders_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        GaussianMixture1D(**MIXTURES["claw"]).simplify(**arguments)


# --------------------------------------------------------------------------------------------------------- inside


def literal_cost(a: tuple[float, ...], b: tuple[float, ...], spread: float) -> tuple[float, tuple[float, ...]]:
    (w, m, v), (u, n, t) = a, b
    mean = (w * m + u * n) / (w + u)
    variance = (w * (v + (m - mean) ** 2) + u * (t + (n - mean) ** 2)) / (w + u)
    cost = 0.5 * ((w + u) * math.log(variance) - w * math.log(v) - u * math.log(t)) * (1 + variance / spread**2)
    return cost, (w + u, mean, variance)


def test_the_cheapest_pair_is_merged_first():
    mixture = random_mixture(5, 14)
    spread = 1.7
    given = (mixture.weights, mixture.means, mixture.stds**2)
    left = {i: tuple(float(values[i]) for values in given) for i in range(14)}
    order = module.merge_order(given, spread)
    for step, (i, j) in enumerate(order):
        costs = {(a, b): literal_cost(left[a], left[b], spread)[0] for a in left for b in left if a < b}
        assert literal_cost(left[i], left[j], spread)[0] == pytest.approx(min(costs.values()), rel=1e-9, abs=1e-12)
        left[i] = literal_cost(left[i], left[j], spread)[1]
        del left[j]
        merged = module.merge(given, order, 13 - step)
        np.testing.assert_allclose(sorted(zip(*merged, strict=True)), sorted(left.values()), rtol=1e-9)


def test_neighbours_of_very_many_are_merged_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_PAIRED", 30)
    mixture = random_mixture(6, 200)
    given = (mixture.weights, mixture.means, mixture.stds**2)
    order = module.merge_order(given, 1.0)
    assert len(order) == 199
    assert len({j for _, j in order}) == 199
    for k in (150, 30, 3):
        w, m, v = module.merge(given, order, k)
        assert w.size == k
        assert w @ m == pytest.approx(mixture.mean())
        assert w @ (v + m**2) - mixture.mean() ** 2 == pytest.approx(mixture.var())


def test_polishing_raises_the_likelihood():
    mixture = random_mixture(7, 80)
    target = module.cells_of(mixture)
    given = (mixture.weights, mixture.means, mixture.stds**2)
    merged = module.merge(given, module.merge_order(given, 1.0), 6)
    polished = module.polish(merged, target)
    laws = [GaussianMixture1D(w, m, np.sqrt(v)) for w, m, v in (merged, polished)]
    cells = (np.maximum(np.diff(law.cdf(target.edges)), 0) + target.background for law in (*laws, mixture))
    before, after, best = (target.of_cells(p, np.ones(1)) for p in cells)
    assert after > before
    assert best - after < 0.5 * (best - before)


def test_the_bound_of_a_known_distance():
    """A shift by d has the distance d; a change of scale E|X| times it."""
    normal = GaussianMixture1D([1.0], [0.0], [1.0])
    for other, distance in (([0.3], [1.0]), 0.3), (([0.0], [1.2]), 0.2 * math.sqrt(2 / math.pi)):
        there = GaussianMixture1D([1.0], *other)
        coarse, fine = (module.bound_distance(normal, there, (-13.0, 13.0), panels) for panels in (1 << 10, 1 << 16))
        assert distance <= fine <= coarse
        assert fine == pytest.approx(distance, rel=1e-3)


@pytest.mark.parametrize("unit", [2.0**-600, 2.0**500])
def test_the_unit_does_not_matter(unit: float):
    law = GaussianMixture1D(np.full(50, 0.02), np.linspace(0, 1, 50), 0.1, bounds=(-1.0, None))
    few, distance = law.simplify(tolerance=0.01)
    moved, there = law.affine(unit).simplify(tolerance=0.01 * unit)
    assert len(moved.weights) == len(few.weights)
    assert there == pytest.approx(distance * unit, rel=1e-3)
    assert moved.affine(1 / unit).ppf(0.3) == pytest.approx(few.ppf(0.3), rel=1e-3)
