"""Trees as arrays say what scikit-learn's own say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

from gaussmix.conditional.trees import Trees


def rows(n: int = 300, missing: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    y = X[:, 0] * X[:, 1] + rng.normal(size=n)
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X, y


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", [DecisionTreeRegressor, ExtraTreeRegressor])
def test_leaves_and_sums_of_trees(kind: Any, missing: bool) -> None:
    X, y = rows(missing=missing)
    fitted = [kind(random_state=seed, min_samples_leaf=3).fit(X, y) for seed in range(5)]
    trees = Trees.from_sklearn([each.tree_ for each in fitted])
    single = X.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(trees.sums(single), sum(each.predict(X) for each in fitted), rtol=1e-12)
    starts = trees.roots
    for t, each in enumerate(fitted):
        np.testing.assert_array_equal(trees.leaves(single)[:, t] - starts[t], each.apply(X))


def test_boosting_with_its_baseline_after_some_rounds() -> None:
    X, y = rows()
    model: Any = HistGradientBoostingRegressor(max_iter=30, random_state=0).fit(X, y)
    *_, after_20 = (p for p, _ in zip(model.staged_predict(X), range(20), strict=False))
    np.testing.assert_allclose(Trees.from_boosting(model, 20).sums(X), after_20, rtol=1e-10)
    gamma: Any = HistGradientBoostingRegressor(loss="gamma", max_iter=10).fit(X, np.exp(y))
    np.testing.assert_allclose(np.exp(Trees.from_boosting(gamma, 10).sums(X)), gamma.predict(X), rtol=1e-10)


def test_each_class_of_a_boosted_classifier() -> None:
    X, y = rows()
    model: Any = HistGradientBoostingClassifier(max_iter=10).fit(X, np.digitize(y, [-1, 1]))
    logits = np.stack([Trees.from_boosting(model, 10, k).sums(X) for k in range(3)], axis=1)
    np.testing.assert_allclose(logits, model.decision_function(X), rtol=1e-10)


def test_joined_trees_add_up_and_survive_tensors() -> None:
    X, y = rows(missing=False)
    one = Trees.from_sklearn([DecisionTreeRegressor(max_depth=3).fit(X, y).tree_])
    two = Trees.from_sklearn([DecisionTreeRegressor(max_depth=5).fit(X, -y).tree_])
    both = Trees.joined([one, two])
    X = X.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(both.sums(X), one.sums(X) + two.sums(X), rtol=1e-12)
    assert Trees.from_tensors(both.to_tensors()) == both


def damaged() -> dict[str, Any]:
    return {
        "left": lambda v: np.where(v >= 0, 0, v),  # a circle
        "right": lambda v: v + 1000,
        "feature": lambda v: v - 5,
        "roots": lambda v: v + 1000,
        "values": lambda v: v[:-1],
    }


@pytest.mark.parametrize("name", damaged())
def test_trees_that_cannot_be_walked_are_refused(name: str) -> None:
    X, y = rows(missing=False)
    tensors = Trees.from_sklearn([DecisionTreeRegressor(max_depth=3).fit(X, y).tree_]).to_tensors()
    with pytest.raises(ValueError, match="tree"):
        Trees.from_tensors({**tensors, name: damaged()[name](tensors[name])})


def test_a_feature_that_rows_lack_is_refused() -> None:
    X, y = rows(missing=False)
    trees = Trees.from_sklearn([DecisionTreeRegressor(max_depth=6).fit(X, y).tree_])
    trees.check_features(4)
    with pytest.raises(ValueError, match="feature 3 of 3"):
        trees.check_features(3)


@pytest.mark.parametrize("least", [1, 7, 30, 1000])
def test_pruned_trees_stop_where_a_child_would_be_too_small(least: int) -> None:
    X, y = rows(missing=False)
    tree: Any = DecisionTreeRegressor(min_samples_leaf=2).fit(X, y).tree_
    trees = Trees.from_sklearn([tree, tree], [tree.n_node_samples.astype(float)] * 2)
    pruned, number = trees.pruned(least)
    X = X.astype(np.float32).astype(np.float64)
    leaves = pruned.leaves(X)
    np.testing.assert_array_equal(leaves, number[trees.stops(least)[trees.leaves(X)]])
    for i in (0, 100, 299):  # walk down by hand
        v = 0
        while tree.children_left[v] >= 0:
            children = tree.children_left[v], tree.children_right[v]
            if min(tree.n_node_samples[list(children)]) < least:
                break
            v = children[int(X[i, tree.feature[v]] > tree.threshold[v])]
        assert pruned.values[leaves[i, 0]] == tree.n_node_samples[v]
    assert len(pruned.left) == len(set(leaves.ravel().tolist())) * 2 - 2  # binary trees without nodes to spare
