"""Certified maximum-likelihood weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import expansion
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array

from gaussmix._typing import FloatArray
from gaussmix.density.interior_point import maximum_likelihood_weights


def objective(A: FloatArray, w: FloatArray, b: FloatArray | float, pi: FloatArray) -> float:
    return float(w / w.sum() @ np.log(A @ pi + b) - pi.sum())


def random_problem(seed: int, m: int = 60, n: int = 12) -> tuple[FloatArray, FloatArray]:
    """Densities of Gaussians of mixed scales at random places, and counts."""
    rng = np.random.default_rng(seed)
    x, mu = np.sort(rng.uniform(size=m)), rng.uniform(size=n)
    sd = 10 ** rng.uniform(-1.5, 0, n)
    A = np.exp(-(((x[:, None] - mu) / sd) ** 2) / 2) / sd + 1e-300
    return A.astype(np.float64), rng.integers(0, 20, m).astype(np.float64)


def random_banded(seed: int, cells: int = 30, width: int = 7, rows_a_cell: int = 4) -> csr_array:
    rng = np.random.default_rng(seed)
    bands = [rng.exponential(size=cells) * (rng.uniform(size=cells) < 0.7) + 1e-3 for _ in range(width)]
    offsets: Any = range(-(width // 2), width - width // 2)
    band = diags_array(bands, offsets=offsets, shape=(cells, cells)).tocsr()
    return csr_array(band[np.repeat(np.arange(cells), rows_a_cell)])


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), background=st.sampled_from([0.0, 1e-9, 0.3, 100.0]))
def test_optimality_conditions_hold(seed: int, background: float) -> None:
    A, w = random_problem(seed)
    fit = maximum_likelihood_weights(A, w, background, tol=1e-8)
    slope = A.T @ (w / w.sum() / (A @ fit.weights + background)) - 1
    assert fit.weights.min() >= 0
    assert fit.gap <= 1e-8
    assert slope.max() <= 1e-8 + 1e-12
    assert abs(fit.weights @ slope) <= 1e-8 + 1e-12
    if background == 0:
        assert fit.weights.sum() == pytest.approx(1, abs=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), background=st.sampled_from([0.0, 0.5]))
def test_the_gap_bounds_what_is_left_to_gain(seed: int, background: float) -> None:
    A, w = random_problem(seed)
    best = maximum_likelihood_weights(A, w, background, tol=1e-12)
    for steps in (0, 1, 2, 4):
        early = maximum_likelihood_weights(A, w, background, max_iter=steps)
        gain = objective(A, w, background, best.weights) - objective(A, w, background, early.weights)
        assert -1e-12 <= gain <= early.gap + 1e-12
        assert early.n_iter <= steps


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("background", [0.0, 0.4])
def test_agrees_with_a_general_optimiser(seed: int, background: float) -> None:
    A, w = random_problem(seed, m=20, n=4)
    fit = maximum_likelihood_weights(A, w, background)

    def loss(pi: FloatArray) -> tuple[float, FloatArray]:
        p = A @ pi + background
        return -objective(A, w, background, pi), 1 - A.T @ (w / w.sum() / p)

    other = minimize(loss, np.full(4, 0.25), jac=True, method="L-BFGS-B", bounds=[(1e-12, None)] * 4, tol=1e-14)
    assert objective(A, w, background, fit.weights) >= -other.fun - 1e-9
    assert objective(A, w, background, fit.weights) == pytest.approx(-other.fun, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_beats_two_thousand_steps_of_em(seed: int) -> None:
    A, w = random_problem(seed, m=200, n=30)
    fit = maximum_likelihood_weights(A, w)
    em = expansion.em(A, w, 2000)
    gain = objective(A, w, 0, fit.weights) - objective(A, w, 0, em)
    assert gain > 0
    assert gain < (A.T @ (w / w.sum() / (A @ em))).max() - 1  # EM's own certificate


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([1, 2, 7, 9]), kept=st.sampled_from([1.0, 0.3]))
def test_banded_and_dense_agree(seed: int, width: int, kept: float) -> None:
    rng = np.random.default_rng(seed)
    A = random_banded(seed, width=width)
    A = A[np.flatnonzero(rng.random(len(A.indptr) - 1) < kept)]
    dense = A.toarray()
    w = rng.uniform(0.5, 9, len(dense))
    banded, full = maximum_likelihood_weights(A, w, tol=1e-11), maximum_likelihood_weights(dense, w, tol=1e-11)
    assert banded.gap <= 1e-11
    assert objective(dense, w, 0, banded.weights) == pytest.approx(objective(dense, w, 0, full.weights), abs=1e-10)


def test_units_of_rows_and_counts_do_not_matter() -> None:
    A, w = random_problem(3)
    unit = 10.0 ** np.random.default_rng(0).uniform(-100, 100, len(A))
    fit, scaled = maximum_likelihood_weights(A, w), maximum_likelihood_weights(A * unit[:, None], 1e-5 * w)
    np.testing.assert_allclose(scaled.weights, fit.weights, atol=1e-12)


def test_known_answers() -> None:
    identity = maximum_likelihood_weights(np.eye(3), [1, 2, 5])
    np.testing.assert_allclose(identity.weights, [0.125, 0.25, 0.625], atol=1e-7)
    assert maximum_likelihood_weights([[2.0]], [7]).weights.tolist() == [1.0]
    useless = maximum_likelihood_weights([[1.0, 3.0], [1.0, 2.0]], [1, 1])
    np.testing.assert_array_equal(useless.weights, [0, 1])
    covered = maximum_likelihood_weights([[1.0], [1.0]], [1, 1], background=5.0)
    np.testing.assert_array_equal(covered.weights, [0])


def test_rows_without_weight_have_no_influence() -> None:
    A, w = random_problem(4)
    w[::3] = 0
    changed = A.copy()
    changed[::3] = 0  # not even a likelihood of zero
    np.testing.assert_allclose(
        maximum_likelihood_weights(changed, w).weights,
        maximum_likelihood_weights(A[w > 0], w[w > 0]).weights,
        atol=1e-9,
    )


def test_a_start_near_the_optimum_reaches_it() -> None:
    A, w = random_problem(5)
    fit = maximum_likelihood_weights(A, w, tol=1e-10)
    again = maximum_likelihood_weights(A, w, start=fit.weights, tol=1e-10)
    assert again.gap <= 1e-10
    assert objective(A, w, 0, again.weights) == pytest.approx(objective(A, w, 0, fit.weights), abs=2e-10)


def test_copies_of_a_component_share() -> None:
    A, w = random_problem(6)
    once = maximum_likelihood_weights(A, w)
    twice = maximum_likelihood_weights(np.hstack([A, A, A]), w)
    assert twice.gap <= 1e-8
    np.testing.assert_allclose(twice.weights.reshape(3, -1).sum(0), once.weights, atol=1e-4)


@pytest.mark.parametrize(
    ("A", "w", "message"),
    [
        (np.ones((2, 2)), [0, 0], "some > 0"),
        (np.ones((2, 2)), [1, -1], "w has minimum -1"),
        (np.ones((2, 2)), [1, np.nan], "w has minimum nan"),
        (-np.ones((2, 2)), [1, 1], "negative or not finite"),
        (np.full((2, 2), np.nan), [1, 1], "negative or not finite"),
        (np.zeros((2, 2)), [1, 1], "likelihood is 0 for any weights"),
    ],
)
def test_errors(A: object, w: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maximum_likelihood_weights(A, w)  # pyright: ignore[reportArgumentType]
