"""Learning weights: D Algorithm 1 as a loop and its fixed point; the default's descent, rate and end; the simplex."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ngmg as oracle

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.rules import histogram_weights, kernel_weights
from gaussmix.distances.mmd import kernel_matrix
from gaussmix.ngmg import (
    WeightPath,
    learn_weights,
    learn_weights_from_data,
    negative_gaussian_mixture_gradient,
    project_onto_simplex,
)
from gaussmix.ngmg.learn import RECORD_ALL

BASIS = GaussianBasis.spanning(0, 100, 150)


def bumps(*parts: tuple[float, float, float], basis: GaussianBasis = BASIS) -> FloatArray:
    """Weights of a smooth law: (mass, mean, std) of its normals."""
    z = [mass / std * np.exp(-(((basis.centers - mean) / std) ** 2) / 2) for mass, mean, std in parts]
    return np.sum(z, axis=0) / np.sum(z)


LEFT, TWO = bumps((1, 35, 8)), bumps((0.6, 40, 6), (0.4, 70, 8))


# --- the default


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), concentration=st.sampled_from([0.05, 1.0, 50.0]), seed=st.integers(0, 1000))
def test_default_learns_every_pair(n: int, concentration: float, seed: int) -> None:
    """Rough ones and ones with empty components as well, in the number of steps that is promised."""
    start, goal = np.random.default_rng(seed).dirichlet(np.full(n, concentration), 2)
    learnt = learn_weights(goal, GaussianBasis(3, 0.2, n), initial=start)
    assert learnt.converged
    assert learnt.n_steps <= 2000
    assert np.abs(learnt.weights - goal).sum() <= 1e-9
    assert learnt.path.min() >= 0
    np.testing.assert_allclose(learnt.path.sum(1), 1, atol=1e-12)
    assert (np.diff(learnt.losses) <= 1e-15 * learnt.losses[0]).all()


@pytest.mark.parametrize(("start", "goal"), [(LEFT, TWO), (TWO, LEFT), (None, TWO)])
def test_smooth_pairs_take_few_steps(start: FloatArray | None, goal: FloatArray) -> None:
    learnt = learn_weights(goal, BASIS, initial=start, tolerance=1e-6)
    assert learnt.converged
    assert learnt.n_steps <= 400
    assert learnt.l1[-1] <= 1e-6 < learnt.l1[-2]


def test_each_step_lowers_the_loss_and_comes_nearer_as_proved() -> None:
    sigma = 1.5 * BASIS.spacing
    K = kernel_matrix(BASIS, sigma, diagonal=True)
    step, eigenvalues = 1 / K.sum(1).max(), np.linalg.eigvalsh(K)
    assert step <= 1 / eigenvalues[-1]
    learnt = learn_weights(TWO, BASIS, initial=LEFT, sigma=sigma, n_steps=RECORD_ALL)
    assert learnt.steps.tolist() == list(range(RECORD_ALL + 1))
    moved = (np.diff(learnt.path, axis=0) ** 2).sum(1)
    assert (np.diff(learnt.losses) <= -moved / (2 * step) + 1e-16).all()
    away = np.linalg.norm(learnt.path - TWO, axis=1)
    assert (away[1:] <= (1 - step * eigenvalues[0]) * away[:-1]).all()
    delta = learnt.path - TWO
    np.testing.assert_allclose(learnt.losses, ((delta @ K) * delta).sum(1) / 2, rtol=1e-12)


def test_condition_at_one_and_two_spacings() -> None:
    """The numbers in the module's head."""
    for t, most in ((1.0, 70.0), (2.0, 2e8)):
        eigenvalues = np.linalg.eigvalsh(kernel_matrix(GaussianBasis(0, 1, 300), t, diagonal=True))
        assert most / 1.1 < eigenvalues[-1] / eigenvalues[0] < most


def test_a_wide_kernel_descends_too_but_slowly() -> None:
    learnt = learn_weights(TWO, BASIS, initial=LEFT, sigma=5 * BASIS.spacing, n_steps=300)
    assert not learnt.converged
    assert learnt.n_steps == 300
    assert (np.diff(learnt.losses) < 0).all()
    assert 1e-5 < learnt.l1[-1] < 0.1


def test_warped_bases() -> None:
    basis = GaussianBasis.spanning(-100, 300, 40, scale=10.0)
    goal = np.random.default_rng(0).dirichlet(np.ones(40))
    learnt = learn_weights(goal, basis, sigma=1.0)
    assert learnt.converged
    with pytest.raises(ValueError, match=r"warped .*give sigma="):
        learn_weights(goal, basis)
    with pytest.raises(ValueError, match=r"warped .*give step="):
        learn_weights(goal, basis, sigma=1.0, mode="paper")


# --- Algorithm 1


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("step", [None, 1.0])
def test_paper_mode_is_the_loop(step: float | None, diagonal: bool) -> None:
    basis = GaussianBasis(0, 0.7, 12)
    start, goal = np.random.default_rng(0).dirichlet(np.ones(12), 2)
    learnt = learn_weights(goal, basis, initial=start, mode="paper", step=step, n_steps=9, diagonal=diagonal)
    literal = oracle.algorithm1(start, goal, basis.centers, 1.4, 9, step or 0.7, diagonal=diagonal)
    np.testing.assert_allclose(learnt.weights, literal, atol=1e-14)


def test_a_step_of_one_spacing_has_no_unit() -> None:
    there = learn_weights(TWO, BASIS, initial=LEFT, mode="paper", n_steps=10)
    other = GaussianBasis(-7, 1.0, BASIS.n_components)
    np.testing.assert_allclose(
        learn_weights(TWO, other, initial=LEFT, mode="paper", step=1.0, n_steps=10).weights, there.weights, atol=1e-14
    )
    fine = GaussianBasis(0, 1e-3, BASIS.n_components)
    far = learn_weights(TWO, fine, initial=LEFT, mode="paper", step=1.0, n_steps=10)
    assert far.l1[-1] > 3 * there.l1[-1]  # overshoots


def test_ten_steps_come_near_and_the_limit_is_a_comb() -> None:
    """Fig. 11's ten steps; then the fixed point that the module's head describes, with its L1."""
    r = BASIS.spacing
    for t, teeth in ((1, 2), (2, 4), (3, 6)):
        options: dict[str, Any] = {"initial": LEFT, "mode": "paper", "sigma": t * r, "tolerance": 0.0}
        assert learn_weights(TWO, BASIS, n_steps=10, **options).l1[-1] < 0.2
        limit = learn_weights(TWO, BASIS, n_steps=20_000, **options)
        pull = -negative_gaussian_mixture_gradient(limit.weights, TWO, BASIS, sigma=t * r)
        np.testing.assert_allclose(pull / pull.sum(), limit.weights, atol=1e-6)  # a fixed point
        phi = np.exp(-((np.arange(1, 100) / t) ** 2) / 2) / (t * np.sqrt(2 * np.pi))
        height = 1 - teeth * phi[teeth - 1 :: teeth].sum() / phi.sum()
        assert limit.l1[-1] == pytest.approx(2 * height / teeth, rel=0.06)


def test_the_diagonal_cures_the_comb_slowly() -> None:
    learnt = learn_weights(TWO, BASIS, initial=LEFT, mode="paper", diagonal=True, n_steps=1000)
    late = learnt.steps >= 100
    product = learnt.steps[late] * learnt.l1[late]
    assert 0.3 < product.min() <= product.max() < 3  # like 1/k
    assert not learnt.converged


def test_two_sided_without_diagonal_diverges_and_with_it_does_not() -> None:
    options: dict[str, Any] = {"initial": LEFT, "mode": "paper", "two_sided": True, "n_steps": 1000}
    apart = learn_weights(TWO, BASIS, **options)
    assert apart.l1[-1] > 1
    assert apart.weights.min() == 0
    assert learn_weights(TWO, BASIS, diagonal=True, **options).l1[-1] < 1e-3


# --- what is recorded


def test_recorded_steps() -> None:
    learnt = learn_weights(TWO, BASIS, initial=LEFT, mode="paper", diagonal=True, n_steps=3001)
    assert learnt.steps[: RECORD_ALL + 1].tolist() == list(range(RECORD_ALL + 1))
    assert learnt.steps[-1] == learnt.n_steps == 3001
    assert RECORD_ALL + 3.5 * np.log2(3001 / RECORD_ALL) < len(learnt.steps) < RECORD_ALL + 4 * np.log2(100) + 3
    assert learnt.path.shape == (len(learnt.steps), 150)
    np.testing.assert_array_equal(learnt.path[0], LEFT)
    np.testing.assert_array_equal(learnt.path[-1], learnt.weights)
    np.testing.assert_allclose(learnt.l1, np.abs(learnt.path - TWO).sum(1), atol=1e-15)
    k = int(learnt.steps[40])
    shorter = learn_weights(TWO, BASIS, initial=LEFT, mode="paper", diagonal=True, n_steps=k)
    np.testing.assert_array_equal(shorter.weights, learnt.path[40])


def test_a_fixed_point_ends_it() -> None:
    learnt = learn_weights(TWO, BASIS, initial=LEFT, mode="paper", n_steps=100_000)
    assert not learnt.converged
    assert learnt.n_steps < 5000
    again = learn_weights(TWO, BASIS, initial=learnt.weights, mode="paper")
    np.testing.assert_allclose(again.weights, learnt.weights, atol=1e-12)


def test_nothing_to_learn() -> None:
    for learnt in (
        learn_weights(TWO, BASIS, initial=TWO),
        learn_weights(TWO, BASIS, initial=TWO, mode="paper", tolerance=0),
    ):
        assert learnt.converged
        assert learnt.n_steps == 0
        assert learnt.l1.tolist() == learnt.losses.tolist() == [0.0]
    stopped = learn_weights(TWO, BASIS, n_steps=0)
    assert not stopped.converged
    np.testing.assert_allclose(stopped.weights, 1 / 150)


# --- expansions and data


def expansion(mean: float, seed: int = 0, **options: Any) -> GMMExpansion:
    x = np.random.default_rng(seed).normal(mean, 1, 2000)
    given: dict[str, Any] = {"rule": "histogram", "range": (-6, 6), "n_components": 60}
    return GMMExpansion(**given | options).fit(x)


def test_between_two_expansions() -> None:
    start, goal = expansion(-1), expansion(1, seed=1, rule="kernel")
    learnt = learn_weights(goal, initial=start)
    basis = goal.bases_[0]
    assert learnt.converged
    assert basis is not None
    np.testing.assert_allclose(learnt.weights, kernel_weights(goal.counts_[0], basis), atol=1e-9)
    np.testing.assert_allclose(learnt.path[0], histogram_weights(start.counts_[0], basis), atol=1e-12)
    mixed = learn_weights(goal, basis, initial=np.full(60, 1 / 60))
    np.testing.assert_allclose(mixed.weights, learnt.weights, atol=3e-9)


def test_points_outside_the_basis_are_left_aside() -> None:
    goal = expansion(1, range=(-1, 1))
    assert len(goal.weights_) > 60
    learnt = learn_weights(goal)
    assert learnt.converged
    assert learnt.weights.shape == (60,)


def test_a_cross_validated_bandwidth_is_the_sigma() -> None:
    goal = expansion(1, bandwidth="cv")
    basis, sigma = goal.bases_[0], goal.stds_[0]
    assert basis is not None
    assert sigma != basis.stds[0]
    ours = learn_weights(goal, mode="paper", n_steps=3)
    theirs = learn_weights(goal, mode="paper", n_steps=3, sigma=sigma)
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-14)


def test_from_data() -> None:
    x = np.random.default_rng(0).normal(50, 10, 5000).clip(1, 99)
    learnt = learn_weights_from_data(x, BASIS, initial=LEFT, tolerance=1e-7)
    assert isinstance(learnt, WeightPath)
    counts = BinnedCounts(BASIS.axis()).add(x)
    np.testing.assert_allclose(learnt.weights, histogram_weights(counts, BASIS), atol=1e-7)
    np.testing.assert_array_equal(learnt.path[0], LEFT)


# --- projection onto the simplex: against bisection, its optimality conditions, and properties

vectors = st.lists(st.floats(-3, 3), min_size=1, max_size=30).map(np.array)


@settings(max_examples=100, deadline=None)
@given(v=vectors)
def test_is_the_bisection(v: FloatArray) -> None:
    np.testing.assert_allclose(project_onto_simplex(v), oracle.projection(v), atol=1e-13)


@settings(max_examples=100, deadline=None)
@given(v=vectors, seed=st.integers(0, 1000))
def test_no_distribution_is_nearer(v: FloatArray, seed: int) -> None:
    """(v - p) (q - p) <= 0 for every distribution q: the condition that p is the nearest one."""
    p = project_onto_simplex(v)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-14)
    others = np.vstack([np.eye(v.size), np.random.default_rng(seed).dirichlet(np.ones(v.size), 5)])
    assert ((others - p) @ (v - p)).max() <= 1e-13


@settings(max_examples=50, deadline=None)
@given(v=vectors, shift=st.floats(-1e3, 1e3))
def test_constants_do_not_matter_and_twice_is_once(v: FloatArray, shift: float) -> None:
    p = project_onto_simplex(v)
    np.testing.assert_allclose(project_onto_simplex(v + shift), p, atol=1e-12)
    np.testing.assert_allclose(project_onto_simplex(p), p, atol=1e-15)


def test_large_values_do_not_cancel() -> None:
    np.testing.assert_array_equal(project_onto_simplex([1e200, -1e200, 0.0]), [1, 0, 0])
    np.testing.assert_allclose(project_onto_simplex([2.0**52 + 1, 2.0**52 + 1, 0]), [0.5, 0.5, 0], atol=1e-15)


@pytest.mark.parametrize("v", [[], [[0.5, 0.5]], [0.1, float("nan")], [np.inf, 0.0]])
def test_wrong_vectors_are_refused(v: list[float]) -> None:
    with pytest.raises(ValueError, match="give finite numbers"):
        project_onto_simplex(v)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": TWO * 1.1}, r"target has weights that sum to 1\.1"),
        ({"target": np.r_[-0.5, 1.5, TWO[2:] * 0]}, r"target contains -0\.5; weights must not be negative"),
        ({"target": np.r_[np.nan, TWO[1:]]}, "target contains nan"),
        ({"initial": LEFT / 2}, r"initial has weights that sum to 0\.5"),
        ({"initial": LEFT[1:]}, r"has shape \(149,\), but the basis has 150 components"),
        ({"target": np.tile(TWO, (3, 1))}, r"shape \(3, 150\); learn one vector"),
        ({"basis": None}, "give basis=, or fitted expansions"),
        ({"mode": "fast"}, "mode is 'fast'; use 'projected' or 'paper'"),
        ({"n_steps": -1}, "n_steps is -1 and"),
        ({"tolerance": float("nan")}, "tolerance nan; neither"),
        ({"sigma": 0.0}, "sigma is 0.*; it must be positive"),
        ({"step": 0.0}, "step is 0.*; it must be positive"),
        ({"step": 3 * BASIS.spacing}, r"step is 2\.0; it must be below 1\.33333, beyond which"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learn_weights(**({"target": TWO, "basis": BASIS} | arguments))


@pytest.mark.parametrize("function", [learn_weights, negative_gaussian_mixture_gradient])
def test_wrong_types(function: Any) -> None:
    goal, others = [0.5, 0.5], () if function is learn_weights else ([0.5, 0.5],)
    with pytest.raises(TypeError, match="basis is a int; give the GaussianBasis that the weights belong to, such as"):
        function(goal, *others, 2)
    law = BASIS.mixture(TWO)
    for basis in (None, BASIS):
        with pytest.raises(TypeError, match=r"target is a GaussianMixture1D.* give the fitted GMMExpansion"):
            function(**{"target": law, "basis": basis} | ({} if function is learn_weights else {"current": TWO}))


def test_steps_are_counted_in_whole_numbers() -> None:
    with pytest.raises(TypeError, match=r"n_steps is 2\.5; give a whole number"):
        learn_weights(TWO, BASIS, n_steps=2.5)  # pyright: ignore[reportArgumentType]
    assert learn_weights(TWO, BASIS, n_steps=np.int64(2)).n_steps == 2  # pyright: ignore[reportArgumentType]


def test_expansions_that_cannot_be_learnt() -> None:
    x = np.random.default_rng(0).normal(size=500)
    with pytest.raises(ValueError, match="target was fitted with rule='auto', which has no fixed basis: fit it with"):
        learn_weights(GMMExpansion().fit(x))
    with pytest.raises(
        ValueError, match=r"start is -5\.9\d* for target and -6\.875\d* for initial; fit both with the same"
    ):
        learn_weights(expansion(0), initial=expansion(0, range=(-7, 8)))
    with pytest.raises(ValueError, match="n_components is 60 for target and 30 for initial"):
        learn_weights(expansion(0), initial=expansion(0, n_components=30))
    with pytest.raises(ValueError, match=r"bandwidth is 2\.0 for basis and 3\.0 for target"):
        learn_weights(expansion(0, bandwidth=3.0), expansion(0).bases_[0])
    model = GMMExpansion("histogram", range=(-6, 6)).fit(np.r_[x, np.zeros(500)])
    with pytest.raises(ValueError, match=r"1 point masses, 0\.5 of the probability"):
        learn_weights(model)


def test_data_that_cannot_be_learnt() -> None:
    with pytest.raises(ValueError, match=r"2 of 4 numbers lie outside the cells of the basis, 0 to 100"):
        learn_weights_from_data([1.0, 5.0, 101.0, -3.0], BASIS)
    with pytest.raises(ValueError, match="x contains nan"):
        learn_weights_from_data([1.0, np.nan], BASIS)
    with pytest.raises(TypeError, match="basis is a str; give the GaussianBasis"):
        learn_weights_from_data([1.0, 2.0], "b")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="x is a mixture"):
        learn_weights_from_data(expansion(0), BASIS)  # pyright: ignore[reportArgumentType]
