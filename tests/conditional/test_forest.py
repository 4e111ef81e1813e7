"""The forest of counts: leaves add up, and weights are means of leaves that did not learn from a row."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from gaussmix.conditional.forest import CountForest, ForestExpansion, _cells, expand
from gaussmix.density.axis import Axis


def data(n: int = 200) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 2))
    return X, X[:, 0] + 0.3 * rng.normal(size=n), rng


def cells_of(forest: CountForest, y: np.ndarray) -> np.ndarray:
    cells, means, stds = _cells(forest.bins(y), y, np.ones(len(y)))
    assert (np.diff(cells[np.argsort(y)]) >= 0).all()  # neighbours come together, about as many in each
    assert np.bincount(cells).max() <= 2 * len(y) / len(means) + 1
    for k in range(len(means)):
        assert (means[k], stds[k]) == pytest.approx((y[cells == k].mean(), y[cells == k].std()), abs=1e-7)
    return cells


def test_counts_of_two_halves_add_up_to_those_of_the_whole() -> None:
    X, y, rng = data()
    whole, _ = CountForest.grow(X, y[:, None], Axis(-3, 0.01, 600), rng, n_trees=7)
    one, two = copy.deepcopy(whole), copy.deepcopy(whole)
    whole.add(X, y)
    one.add(X[:90], y[:90])
    two.add(X[90:], y[90:])
    merged = one.merge(two)
    assert merged.counts.dtype == np.int64
    assert (merged.counts != whole.counts).nnz == 0
    assert whole.counts.sum() == 7 * 200
    with pytest.raises(ValueError, match="same trees"):
        merged.merge(CountForest(whole.trees, Axis(-3, 0.02, 300)))


def test_a_leaf_is_counts_of_which_a_density_can_be_learnt() -> None:
    X, y, rng = data()
    forest, _ = CountForest.grow(X, y[:, None], Axis(-3, 0.01, 600), rng, n_trees=3)
    forest.add(X, y, np.full(200, 2))
    leaf = int(forest.leaves(X)[0, 1])
    inside = y[forest.leaves(X)[:, 1] == leaf]
    counts = forest.leaf_counts(leaf)
    assert counts.n == 2 * len(inside)
    np.testing.assert_array_equal(counts.counts, 2 * np.histogram(inside, np.arange(601) * 0.01 - 3)[0])


def test_weights_out_of_bag_are_those_of_a_literal_loop() -> None:
    X, y, rng = data(60)
    forest, seen = CountForest.grow(X, y[:, None], Axis(-3, 0.01, 600), rng, n_trees=9)
    found = expand(forest, seen, X, y, None, np.ones(60), rng, np.arange(60))
    leaves = forest.leaves(X)
    cells = cells_of(forest, y)
    for i in (0, 13, 59):
        rows = []
        for t in range(9):
            others = (leaves[:, t] == leaves[i, t]) & (np.arange(60) != i)
            if not seen[t, i] and others.any():
                rows.append(np.bincount(cells[others], minlength=len(found.expansion.means)) / others.sum())
        np.testing.assert_allclose(found.left_out[i], np.mean(rows, axis=0), atol=1e-6)
    z = (y[:, None] - found.expansion.means) / found.expansion.stds
    density = np.exp(-(z**2) / 2) / found.expansion.stds / np.sqrt(2 * np.pi)
    everything = (found.left_out * density).sum(1)
    np.testing.assert_allclose(found.likelihood, everything, rtol=1e-9)


def test_weights_of_new_rows_are_means_of_their_leaves() -> None:
    X, y, rng = data(80)
    forest, seen = CountForest.grow(X, y[:, None], Axis(-3, 0.01, 600), rng, n_trees=5)
    expansion = expand(forest, seen, X, y, None, np.ones(80), rng, np.arange(9)).expansion
    new = rng.uniform(-1, 1, (3, 2))
    cells = cells_of(forest, y)
    for row, weights in zip(new, expansion.weights(new), strict=True):
        leaves = forest.leaves(row[None])[0]
        shares = [
            np.bincount(cells[forest.leaves(X)[:, t] == leaf], minlength=len(expansion.means))
            / (forest.leaves(X)[:, t] == leaf).sum()
            for t, leaf in enumerate(leaves)
        ]
        np.testing.assert_allclose(weights, np.mean(shares, axis=0), atol=1e-6)
    again = ForestExpansion.from_tensors(expansion.to_tensors())
    np.testing.assert_array_equal(again.weights(new), expansion.weights(new))


@pytest.mark.parametrize(("name", "value"), [("stds", -1.0), ("means", np.nan), ("shares", 2.0), ("cell", 10_000)])
def test_a_damaged_expansion_is_refused(name: str, value: float) -> None:
    X, y, rng = data(80)
    forest, seen = CountForest.grow(X, y[:, None], Axis(-3, 0.01, 600), rng, n_trees=2)
    tensors = expand(forest, seen, X, y, None, np.ones(80), rng, np.arange(9)).expansion.to_tensors()
    with pytest.raises(ValueError, match=r"\w"):
        ForestExpansion.from_tensors({**tensors, name: np.full_like(tensors[name], value)})
