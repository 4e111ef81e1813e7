from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import balanced_accuracy_score

from gaussmix.metrics import balanced_accuracy

pairs = hnp.arrays(bool, st.tuples(st.just(2), st.integers(1, 30), st.integers(1, 5)))


@settings(deadline=None)
@given(pairs)
def test_agrees_with_scikit_learn(pair: np.ndarray):
    predicted, truth = pair
    ours = balanced_accuracy(predicted, truth)
    for k in range(truth.shape[1]):
        if truth[:, k].all() or not truth[:, k].any():
            assert np.isnan(ours[k])
        else:
            assert ours[k] == pytest.approx(balanced_accuracy_score(truth[:, k], predicted[:, k]))


@settings(deadline=None)
@given(pairs)
def test_the_opposite_decisions_have_the_rest(pair: np.ndarray):
    predicted, truth = pair
    np.testing.assert_allclose(balanced_accuracy(predicted, truth), 1 - balanced_accuracy(~predicted, truth))


def test_ignoring_a_rare_attribute_is_worth_a_half():
    truth = np.zeros((100, 1), np.uint8)
    truth[0] = 1
    assert balanced_accuracy(np.zeros((100, 1)), truth) == [0.5]


@pytest.mark.parametrize(("predicted", "truth"), [((4, 2), (4, 3)), ((4, 2), (5, 2)), ((4,), (4,))])
def test_shapes_that_do_not_fit_are_named(predicted: tuple[int, ...], truth: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"\(N, K\), got \(4"):
        balanced_accuracy(np.zeros(predicted), np.zeros(truth))
