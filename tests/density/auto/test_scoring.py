"""Fisher scoring: its slopes, its maxima and its progress."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from gaussmix.density.auto.scoring import Interval, Likelihood, Mixture, jacobian, refine

INF = math.inf
OPEN: Interval = (-INF, INF)


def mixture(weights: list[float], means: list[float], stds: list[float]) -> Mixture:
    return Mixture(np.array(weights), np.array(means), np.array(stds), np.full(len(weights), 1e-3))


START = mixture([0.4, 0.6], [-1.0, 1.0], [0.5, 0.8])


def likelihood_of(x: np.ndarray, bounds: Interval = OPEN, n_cells: int = 150) -> Likelihood:
    inner = np.linspace(x.min(), x.max(), n_cells)
    edges = np.r_[bounds[0], inner[1:-1], bounds[1]]
    counts = np.histogram(x, edges)[0].astype(float)
    return Likelihood(edges, counts, np.full(len(counts), 1e-9), bounds)


def value_of(likelihood: Likelihood, m: Mixture) -> float:
    """Log-likelihood of a mixture."""
    return likelihood.of_cells(jacobian(likelihood, m)[0], m.weights)


def two_normals(n: int = 5000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.r_[rng.normal(-1.2, 0.4, n // 2), rng.normal(0.9, 1.0, n - n // 2)]


def theta_of(m: Mixture) -> np.ndarray:
    return np.r_[np.log(m.weights), m.means, np.log(m.stds)]


def mixture_of(theta: np.ndarray) -> Mixture:
    w, m, s = np.split(theta, 3)
    return Mixture(np.exp(w), m, np.exp(s), np.full(len(w), 1e-3))


@pytest.mark.parametrize("bounds", [OPEN, (0.0, INF), (0.0, 3.0)])
def test_jacobian_is_a_finite_difference(bounds: Interval) -> None:
    found = likelihood_of(np.abs(two_normals()) * 0.6, bounds)
    at = mixture([0.3, 0.6], [0.2, 1.1], [0.3, 0.9])
    p, J = jacobian(found, at)
    np.testing.assert_allclose(p, at.weights @ found.probabilities(at) + 1e-9, rtol=1e-12)
    theta, step = theta_of(at), 1e-6
    scale = np.r_[1, 1, at.stds, 1, 1]  # means move in units of their standard deviation
    for i in range(6):
        move = np.zeros(6)
        move[i] = step * scale[i]
        ahead, behind = (jacobian(found, mixture_of(theta + sign * move))[0] for sign in (1, -1))
        np.testing.assert_allclose(J[i], (ahead - behind) / (2 * step), atol=1e-8)


@pytest.mark.parametrize(("bounds", "fold"), [(OPEN, False), ((0.0, INF), True)])
def test_the_maximum_is_stationary_and_as_high_as_another_optimiser_gets(bounds: Interval, fold: bool) -> None:
    x = np.abs(two_normals()) if fold else two_normals()
    found = likelihood_of(x, bounds)
    best, value = refine(found, START if not fold else mixture([0.5, 0.5], [0.5, 1.5], [0.5, 0.8]), 200, tol=1e-10)
    assert value == pytest.approx(value_of(found, best), rel=1e-12)
    theta, step = theta_of(best), 1e-4
    slopes = [
        (value_of(found, mixture_of(theta + step * unit)) - value_of(found, mixture_of(theta - step * unit)))
        / (2 * step)
        for unit in np.eye(6)
    ]
    np.testing.assert_allclose(slopes, 0, atol=1e-2)  # of 5 000 points
    other = minimize(
        lambda t: -value_of(found, mixture_of(t)), theta_of(START), method="Nelder-Mead", options={"maxiter": 4000}
    )
    assert value >= -other.fun - 1e-3
    assert best.weights.sum() == pytest.approx(1, abs=1e-4)


def test_one_gaussian_has_the_moments_of_the_data() -> None:
    x = np.random.default_rng(4).normal(3, 2, 20_000)
    best, _ = refine(likelihood_of(x, n_cells=2000), mixture([1.0], [1.0], [1.0]), 50, tol=1e-9)
    assert best.means[0] == pytest.approx(x.mean(), abs=1e-3)
    assert best.stds[0] == pytest.approx(x.std(), rel=1e-3)


def test_the_likelihood_never_falls() -> None:
    found = likelihood_of(two_normals())
    values = [refine(found, START, steps, tol=0)[1] for steps in range(8)]
    assert np.all(np.diff(values) >= -1e-8)
    assert values[-1] > values[0] + 100


def test_a_component_keeps_its_least_deviation_and_stays_inside_bounds() -> None:
    spike = np.r_[np.full(500, 1.0005), np.random.default_rng(0).exponential(size=500)]
    found = likelihood_of(spike, (0.0, INF), 2000)
    start = Mixture(np.array([0.5, 0.5]), np.array([1.0, 0.1]), np.array([0.1, 1.0]), np.array([0.05, 0.1]))
    best, _ = refine(found, start, 50)
    assert best.stds[0] == pytest.approx(0.05)
    assert best.means.min() >= 0


def test_cells_with_counts_need_no_gaussian_near() -> None:
    edges = np.r_[-INF, np.linspace(-3, 3, 50), 1e6, 1e6 + 1, INF]
    p = norm.cdf(edges[1:]) - norm.cdf(edges[:-1])
    counts = np.round(1000 * p).astype(np.float64)
    counts[-2] = 1.0
    found = Likelihood(edges, counts, np.full(len(counts), 1e-30), OPEN)
    best, value = refine(found, mixture([1.0], [0.1], [1.2]), 50, tol=1e-9)
    assert math.isfinite(value)
    assert best.stds[0] == pytest.approx(1, rel=0.02)
