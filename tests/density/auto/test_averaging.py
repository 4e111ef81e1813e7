"""The EM step on split components, and shares of fits by leave-one-out likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gaussmix.density.auto.averaging import Prediction, influence, predict, sharpen, split, stack
from gaussmix.density.auto.scoring import Likelihood, Mixture, cell_probabilities, refine
from gaussmix.density.reflection import reflect

ALPHAS = [0.5, 0.25, 0.125]


def problem(
    x: np.ndarray, bounds: tuple[float, float] = (-math.inf, math.inf), k: int = 2
) -> tuple[Likelihood, Mixture]:
    edges = np.r_[bounds[0], np.linspace(x.min(), x.max(), 121)[1:-1], bounds[1]]
    counts = np.histogram(x, edges)[0].astype(float)
    likelihood = Likelihood(edges, counts, np.full(len(counts), 1e-7), bounds)
    start = Mixture(np.full(k, 1 / k), np.quantile(x, np.linspace(0.3, 0.7, k)), np.full(k, x.std()), np.full(k, 0.01))
    mixture, _ = refine(likelihood, start, 100, tol=1e-9)
    return likelihood, mixture


def triangle(n: int = 20_000) -> np.ndarray:
    return np.random.default_rng(0).triangular(0, 0.3, 1, n)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)])
def test_splitting_leaves_the_density(alpha: float, bounds: tuple[float, float]) -> None:
    likelihood, mixture = problem(triangle(), bounds)
    before = mixture.weights @ cell_probabilities(likelihood.edges, mixture.means, mixture.stds, bounds)
    w, m, s = split(mixture, alpha)
    after = w @ cell_probabilities(likelihood.edges, reflect(m, *bounds), s, bounds)
    np.testing.assert_allclose(after, before, atol=5e-6)
    assert np.unique(s) == pytest.approx(np.unique(alpha * mixture.stds))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_step_is_em_and_raises_the_likelihood(alpha: float) -> None:
    likelihood, mixture = problem(triangle())
    found = influence(likelihood, mixture)
    result = sharpen(likelihood, mixture, found, alpha)
    assert likelihood.of_cells(result.p, result.weights) > likelihood.of_cells(found.p, mixture.weights) + 10
    assert result.weights.sum() == pytest.approx(1, abs=1e-12)
    assert result.weights.min() >= 0
    expected = result.weights @ cell_probabilities(likelihood.edges, result.means, result.stds, likelihood.bounds)
    np.testing.assert_allclose(result.p, expected + likelihood.background, atol=1e-5)


def test_a_correct_fit_is_left_nearly_as_it_is() -> None:
    likelihood, mixture = problem(np.random.default_rng(1).normal(size=100_000), k=1)
    result = sharpen(likelihood, mixture, influence(likelihood, mixture), 0.5)
    assert np.abs(result.p - influence(likelihood, mixture).p).sum() < 0.01


@pytest.mark.parametrize("alpha", [None, 0.5, 0.25])
def test_leaving_one_out_is_what_fitting_without_it_does(alpha: float | None) -> None:
    likelihood, mixture = problem(triangle(3000))
    found = influence(likelihood, mixture)
    ours = predict(mixture, found) if alpha is None else sharpen(likelihood, mixture, found, alpha)
    change = np.log(ours.p / ours.without)
    cells = np.flatnonzero(likelihood.counts > 3)[::9]
    exact = []
    for j in cells:
        counts = likelihood.counts.copy()
        counts[j] -= 1
        rest = Likelihood(likelihood.edges, counts, likelihood.background, likelihood.bounds)
        refit, _ = refine(rest, mixture, 100, tol=1e-10)
        changed = influence(rest, refit)
        p = changed.p if alpha is None else sharpen(rest, refit, changed, alpha).p
        exact.append(math.log(ours.p[j] / p[j]))
    # ours is meant to be somewhat larger: it also stands for the choice of components
    ratio = change[cells] / np.array(exact)
    assert 1.0 <= np.median(ratio) <= 1.5
    assert np.corrcoef(change[cells], exact)[0, 1] > 0.95


# --- stacking

NOTHING = np.empty(0)


def prediction(p: list[float], dof_each: float = 0.0, n: float = 1000) -> Prediction:
    q = np.array(p)
    return Prediction(NOTHING, NOTHING, NOTHING, q, q * np.exp(-dof_each / n))


COUNTS = np.array([500.0, 300.0, 200.0, 0.0])


def test_the_right_fit_gets_everything() -> None:
    right, wrong = prediction([0.5, 0.3, 0.2, 0.0]), prediction([0.25, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(stack(COUNTS, [wrong, right]), [0, 1], atol=1e-6)
    np.testing.assert_allclose(stack(COUNTS, [right, wrong]), [1, 0], atol=1e-6)


def test_shares_solve_the_mixture_problem() -> None:
    a, b = prediction([0.8, 0.1, 0.1, 0.0]), prediction([0.2, 0.5, 0.3, 0.0])
    np.testing.assert_allclose(stack(COUNTS, [a, b]), [0.5, 0.5], atol=1e-4)  # a/2 + b/2 is the data


def test_the_simplest_stays_alone_without_clear_gain() -> None:
    simple = prediction([0.505, 0.3, 0.195, 0.0])
    better = prediction([0.5, 0.3, 0.2, 0.0])
    gain = COUNTS[:3] @ np.log(better.p[:3] / simple.p[:3])
    assert 0 < gain < 1
    np.testing.assert_array_equal(stack(COUNTS, [simple, better]), [1, 0])


def test_parameters_cost_what_leaving_one_out_says_and_the_noise_of_that() -> None:
    simple = prediction([0.42, 0.33, 0.25, 0.0])
    gain = float(COUNTS[:3] @ np.log(np.array([0.5, 0.3, 0.2]) / simple.p[:3]))
    assert gain > 2
    exact = [0.5, 0.3, 0.2, 0.0]
    assert stack(COUNTS, [simple, prediction(exact)])[1] > 0.5
    assert stack(COUNTS, [simple, prediction(exact, dof_each=float(3 * gain))])[1] == pytest.approx(0)
