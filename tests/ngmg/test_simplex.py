"""Projection onto the simplex: against bisection, its optimality conditions, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import ngmg as oracle

from gaussmix.ngmg.learn import project_onto_simplex

vectors = st.lists(st.floats(-3, 3), min_size=1, max_size=30).map(np.array)


@settings(max_examples=100, deadline=None)
@given(v=vectors)
def test_is_the_bisection(v: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(project_onto_simplex(v), oracle.projection(v), atol=1e-13)


@settings(max_examples=100, deadline=None)
@given(v=vectors, seed=st.integers(0, 1000))
def test_no_distribution_is_nearer(v: NDArray[np.float64], seed: int) -> None:
    """(v - p) (q - p) <= 0 for every distribution q: the condition that p is the nearest one."""
    p = project_onto_simplex(v)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-14)
    others = np.vstack([np.eye(v.size), np.random.default_rng(seed).dirichlet(np.ones(v.size), 5)])
    assert ((others - p) @ (v - p)).max() <= 1e-13


@settings(max_examples=50, deadline=None)
@given(v=vectors, shift=st.floats(-1e3, 1e3))
def test_constants_do_not_matter_and_twice_is_once(v: NDArray[np.float64], shift: float) -> None:
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
