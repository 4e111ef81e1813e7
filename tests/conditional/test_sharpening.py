"""The beta-transformed pool: weights against the definition, and pools that are known to be too wide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from gaussmix.conditional.bases import Basis
from gaussmix.conditional.distribution import ConditionalMixture
from gaussmix.conditional.stacking import choose_sharpness, sharpen

GUARD = 0.002


def pool_of(means: np.ndarray, std: float) -> ConditionalMixture:
    """Rows that are the mean of normals (N, J) of one standard deviation, on a fine basis, behind a guard."""
    grid = np.arange(-9, 9, 0.1)
    weights = norm.pdf(grid, means[:, :, None], np.sqrt(std**2 - 0.1**2)).sum(1)
    weights *= (1 - GUARD) / weights.sum(1, keepdims=True)
    n = len(means)
    guard = Basis(np.full((n, 1), GUARD), np.zeros(1), np.full(1, 4.0))
    return ConditionalMixture(Basis(weights, grid, np.full(len(grid), 0.1)), guard, np.zeros(n), np.ones(n))


def covered(law: ConditionalMixture, y: np.ndarray, level: float) -> float:
    return float(np.mean(np.abs(2 * law.pit(y) - 1) <= level))


def test_weights_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    moved = Basis(rng.dirichlet(np.ones(30), 5) * 0.6, rng.normal(size=30), rng.uniform(0.05, 0.3, 30))
    still = Basis(rng.dirichlet(np.ones(40), 5) * 0.4, rng.normal(size=40), rng.uniform(0.05, 0.3, 40))
    law = ConditionalMixture(moved, still, rng.normal(size=5), rng.uniform(0.5, 2, 5))
    found = sharpen(law, 1.5)
    for i in range(5):
        mixture = law[i]
        low, high = (mixture.cdf(each) for each in (law.loc[i] + law.scale[i] * moved.means, still.means))
        tilted, others = moved.weights[i] * np.sqrt(low * (1 - low)), still.weights[i] * np.sqrt(high * (1 - high))
        rest = (1 - still.weights[i, 0]) / (tilted.sum() + others[1:].sum())
        expected = np.concatenate([tilted * rest, [still.weights[i, 0]], others[1:] * rest])
        got = np.append(found.moved.weights[i], found.fixed.weights[i])
        assert np.abs(got - expected).sum() < 0.01
        assert np.abs(np.append(moved.weights[i], still.weights[i]) - expected).sum() > 0.1
    np.testing.assert_allclose(np.append(found.moved.weights, found.fixed.weights, axis=1).sum(1), 1, rtol=1e-6)
    assert sharpen(law, 1.0) is law


def test_experts_who_know_different_things_make_too_wide_a_pool() -> None:
    """y = x_1 + x_2 + noise, and each expert knows one x: each is calibrated, their mean is not (Gneiting, Ranjan)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2))
    y = x.sum(1) + 0.5 * rng.normal(size=2000)
    pool = pool_of(x, np.sqrt(1 + 0.5**2))
    assert covered(pool, y, 0.5) > 0.54
    assert covered(pool, y, 0.9) > 0.925
    a = choose_sharpness(pool, y, 0.0, np.ones(2000))
    found = sharpen(pool, a)
    assert covered(found, y, 0.5) == pytest.approx(0.5, abs=0.025)
    assert covered(found, y, 0.9) == pytest.approx(0.9, abs=0.02)
    assert found.logpdf(y).mean() > pool.logpdf(y).mean() + 0.005
    assert found.crps(y).mean() < pool.crps(y).mean()
    rounded = np.round(y * 5) / 5
    assert choose_sharpness(pool, rounded, 0.1, np.ones(2000)) == pytest.approx(a, abs=0.05)


def test_what_is_right_stays() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 1))
    y = x[:, 0] + rng.normal(size=2000)
    assert choose_sharpness(pool_of(x, 1.0), y, 0.0, np.ones(2000)) < 1.06
