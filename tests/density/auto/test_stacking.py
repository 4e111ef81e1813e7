"""Shares of fits by leave-one-out likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from gaussmix.density.auto.averaging import Prediction, stack

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
