"""Boosted weights, stacking and likelihoods of cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from gaussmix.conditional.bases import fit_atoms, likelihoods, mixture_likelihoods
from gaussmix.conditional.boosting import fit_boosted_weights
from gaussmix.conditional.folds import make_folds
from gaussmix.conditional.stacking import GUARD, stack


def test_likelihoods_of_cells_are_mean_densities() -> None:
    v, half = np.array([0.0, 1.0, -7.0, 30.0]), np.array([0.5, 1e-6, 1.0, 0.5])
    means, stds = np.array([0.0, 1.0]), np.array([1.0, 0.2])
    got = likelihoods(v, half, means, stds)
    upper, lower = (v + half)[:, None], (v - half)[:, None]
    low, high = (lower - means) / stds, (upper - means) / stds
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)  # no differences beside 1
    expected = (norm.cdf(high) - norm.cdf(low)) / (2 * half[:, None])
    np.testing.assert_allclose(got[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-9)
    np.testing.assert_allclose(got[1], norm.pdf(v[1], means, stds), rtol=1e-6)
    weights = np.array([[0.3, 0.7]] * 4)
    np.testing.assert_allclose(mixture_likelihoods(v, half, weights, means, stds), got @ weights[0], rtol=1e-12)


def test_boosted_weights_find_a_mixture_that_changes_with_x() -> None:
    """Two fixed Gaussians whose share is a step of x: the share is found, and beats the best constant one."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1500, 2))
    p = np.where(X[:, 0] > 0, 0.9, 0.2)
    v = np.where(rng.random(1500) < p, 2.0, -2.0) + 0.5 * rng.normal(size=1500)
    basis = np.full(2, 0.5), np.array([2.0, -2.0]), np.full(2, 0.5)
    found, likelihood = fit_boosted_weights(X, v, None, np.ones(1500), basis, make_folds(1500, rng), rng)
    weights = found.weights(X)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.abs(weights[:, 0] - p).mean() < 0.06
    densities = norm.pdf(v[:, None], basis[1], basis[2])
    constant = max(np.log(densities @ [a, 1 - a]).mean() for a in np.linspace(0.05, 0.95, 19))
    truth = np.log(densities[:, 0] * p + densities[:, 1] * (1 - p)).mean()
    assert constant + 0.8 * (truth - constant) < np.log(likelihood).mean() <= truth + 0.02


def test_boosted_weights_stay_the_prior_where_x_says_nothing() -> None:
    rng = np.random.default_rng(0)
    X, v = rng.uniform(-1, 1, (300, 2)), rng.normal(size=300)
    basis = np.array([0.25, 0.5, 0.25]), np.array([-1.0, 0.0, 1.0]), np.full(3, 0.7)
    found, likelihood = fit_boosted_weights(X, v, None, np.ones(300), basis, make_folds(300, rng), rng)
    prior = likelihoods(v, None, basis[1], basis[2]) @ basis[0]
    assert np.log(likelihood).mean() >= np.log(prior).mean() - 0.005
    assert np.abs(found.weights(X) - basis[0]).max() < 0.2


def test_stacking_is_the_maximum_of_its_likelihood() -> None:
    rng = np.random.default_rng(0)
    p = rng.gamma(1.0, size=(300, 4))
    weight = rng.uniform(0.5, 2, 300)
    shares, gap = stack(p, weight)
    assert shares.sum() == pytest.approx(1)
    assert shares[-1] >= GUARD
    assert 0 <= gap <= 1e-6

    def loss(z: np.ndarray) -> float:
        b = (1 - GUARD) * np.exp(z) / np.exp(z).sum()
        b[-1] += GUARD
        return -float(np.average(np.log(p @ b), weights=weight))

    best = minimize(loss, np.zeros(4), method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-12})
    assert -float(np.average(np.log(p @ shares), weights=weight)) == pytest.approx(best.fun, abs=1e-5)
    with pytest.raises(ValueError, match="no likelihood"):
        stack(np.zeros((3, 2)), np.ones(3))


def test_atoms_have_the_probability_that_x_gives_them() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (3000, 2))
    p = 1 / (1 + np.exp(-3 * X[:, 0]))
    kind = (rng.random(3000) > p).astype(int)  # 0: the atom
    found, unseen = fit_atoms(X, kind, np.array([7.0]), np.ones(3000), make_folds(3000, rng), rng)
    assert np.abs(unseen[:, 0] - p).mean() < 0.05
    np.testing.assert_array_equal(found.positions, [7.0])
    assert np.abs(found.predict(X)[:, 0] - p).mean() < 0.05
    shares, unseen = fit_atoms(
        X, rng.integers(0, 3, 3000), np.array([0.0, 1.0]), np.ones(3000), make_folds(3000, rng), rng
    )
    assert np.abs(unseen - 1 / 3).max() < 0.1
    assert shares.predict(X[:4]).shape == (4, 2)
