"""Binary trees as arrays: what scikit-learn grew, read once, then found in by one compiled loop, and saved as it is.

A row x goes left at node v where x[f_v] <= t_v, or where x[f_v] is missing and v sends missing values left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._compiled import kernel
from gaussmix._files import TensorRecord
from gaussmix._typing import FloatArray, IntArray

_Array = NDArray[Any]
_ROWS = 1 << 12  # whose sums are made at a time, so that they stay near
_FIELDS = {"feature": np.int32, "threshold": np.float64, "left": np.int32, "right": np.int32, "missing_left": np.bool_}


@kernel
def _leaf(x, v, feature, threshold, left, right, missing_left):
    """The leaf that a row comes to from node v."""
    while left[v] >= 0:
        at = x[feature[v]]
        v = left[v] if at <= threshold[v] or (at != at and missing_left[v]) else right[v]
    return v


@kernel
def _descend(X, feature, threshold, left, right, missing_left, roots, out):
    """``out[i, t]``: the leaf of row i in tree t. Tree by tree, whose nodes then stay near."""
    for t in range(roots.size):
        for i in range(X.shape[0]):
            out[i, t] = _leaf(X[i], roots[t], feature, threshold, left, right, missing_left)


@kernel
def _add_values(X, feature, threshold, left, right, missing_left, roots, values, out):
    """Add to ``out[i]`` what the leaves of row i say, rows of (K,)."""
    for t in range(roots.size):
        for i in range(X.shape[0]):
            leaf = _leaf(X[i], roots[t], feature, threshold, left, right, missing_left)
            for k in range(out.shape[1]):
                out[i, k] += values[leaf, k]


@dataclass(frozen=True, eq=False)
class Trees(TensorRecord):
    """Trees one behind the other, (M,) nodes in all; ``left`` and ``right`` are -1 at leaves, ``roots`` (T,)."""

    feature: NDArray[np.int32]
    threshold: FloatArray
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    roots: IntArray
    values: FloatArray  # (M,) or (M, K): what a leaf says

    def __len__(self) -> int:
        return len(self.roots)

    def leaves(self, X: FloatArray) -> NDArray[np.int32]:
        """The leaf, as a number of a node, of each row of X (N, D) in each tree, (N, T)."""
        out = np.empty((len(X), len(self.roots)), np.int32)
        _descend(np.ascontiguousarray(X), *self._nodes, self.roots, out)
        return out

    def sums(self, X: FloatArray) -> FloatArray:
        """The sum over trees of what their leaves say, (N,) or (N, K)."""
        values = self.values.reshape(len(self.values), -1)
        out = np.zeros((len(X), values.shape[1]))
        for start in range(0, len(X), _ROWS):
            some = slice(start, start + _ROWS)
            _add_values(np.ascontiguousarray(X[some]), *self._nodes, self.roots, values, out[some])
        return out.reshape(len(X), *self.values.shape[1:])

    @property
    def _nodes(self) -> tuple[_Array, _Array, _Array, _Array, _Array]:
        return self.feature, self.threshold, self.left, self.right, self.missing_left

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in (*_FIELDS, "roots", "values")}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Trees that can be walked: children lie behind their parent and within the arrays."""
        arrays = {name: np.ascontiguousarray(tensors[name], kind) for name, kind in _FIELDS.items()}
        roots, values = np.asarray(tensors["roots"], np.int64), np.asarray(tensors["values"], np.float64)
        n = len(arrays["left"])
        inner = arrays["left"] >= 0
        for name in ("left", "right"):
            child = arrays[name]
            if not ((child < n) & ((child > np.arange(n)) == inner)).all():
                raise ValueError("a tree's nodes do not lie behind their parents")
        if any(len(each) != n for each in (*arrays.values(), values)) or arrays["feature"].min(initial=0) < 0:
            raise ValueError("a tree's arrays do not fit each other")
        if roots.ndim != 1 or not ((roots >= 0) & (roots < n)).all():
            raise ValueError("a tree begins outside the arrays")
        if not np.isfinite(values).all():
            raise ValueError("a tree's leaves are not finite")
        return cls(**arrays, roots=roots, values=values)

    def check_features(self, n_features: int) -> None:
        """Raises ValueError where a node asks for a feature that rows do not have."""
        if self.feature.max(initial=0) >= n_features:
            raise ValueError(f"a tree asks for feature {self.feature.max()} of {n_features}")

    def stops(self, least: float) -> IntArray:
        """Where rows that come to each node (M,) stop, if ``values`` (M,) of both children must be at least ``least``.

        For a node before that it is the node itself.
        """
        inner = self.left >= 0
        children = np.minimum(self.values[self.left], self.values[self.right])
        split = inner & (children >= least)
        out = np.arange(len(self.left))
        level = self.roots
        while len(level):
            level = level[inner[level]]
            goes_on = split[level] & (out[level] == level)
            for child in (self.left[level], self.right[level]):
                out[child] = np.where(goes_on, child, out[level])
            level = np.concatenate([self.left[level], self.right[level]]).astype(np.int64)
        return out

    def pruned(self, least: float) -> tuple[Trees, IntArray]:
        """Trees whose rows stop where `stops` says, and the new number (M,) of each node that is left, else -1."""
        stops = self.stops(least)
        kept = stops == np.arange(len(stops))
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        split = kept & (self.left >= 0)
        split[split] = kept[self.left[split]]
        left, right = (np.where(split, number[each], -1)[kept].astype(np.int32) for each in (self.left, self.right))
        feature, threshold, missing = self.feature[kept], self.threshold[kept], self.missing_left[kept]
        return Trees(feature, threshold, left, right, missing, number[self.roots], self.values[kept]), number

    def scaled(self, factor: float) -> Trees:
        """The same trees, values times ``factor``."""
        tensors = self.to_tensors()
        return Trees.from_tensors(tensors | {"values": self.values * factor})

    def plus(self, constant: float) -> Trees:
        """Trees whose sums are larger by a constant, which the first tree has."""
        values = self.values.copy()
        values[: self.roots[1] if len(self) > 1 else None] += constant
        return Trees.from_tensors(self.to_tensors() | {"values": values})

    @classmethod
    def joined(cls, parts: Sequence[Trees]) -> Trees:
        """All trees of all parts."""
        starts = np.cumsum([0, *(len(each.left) for each in parts)])[:-1]
        shifted = zip(parts, starts, strict=True)
        moved: dict[str, list[NDArray[Any]]] = {"left": [], "right": [], "roots": []}
        for each, start in shifted:
            for name in ("left", "right"):
                child = getattr(each, name)
                moved[name].append(np.where(child >= 0, child + start, -1).astype(np.int32))
            moved["roots"].append(each.roots + start)
        arrays = {name: np.concatenate(values) for name, values in moved.items()}
        for name in ("feature", "threshold", "missing_left", "values"):
            arrays[name] = np.concatenate([getattr(each, name) for each in parts])
        return cls(**arrays)

    @classmethod
    def from_sklearn(cls, trees: Iterable[Any], values: Sequence[FloatArray] | None = None) -> Trees:
        """Fitted trees (``tree_`` of `sklearn.tree`); ``values``, one (nodes, K) a tree, stand for their own."""
        parts = []
        for t, tree in enumerate(trees):
            inner = tree.children_left >= 0
            parts.append(
                cls(
                    np.where(inner, tree.feature, 0).astype(np.int32),
                    np.where(inner, tree.threshold, 0.0),
                    tree.children_left.astype(np.int32),
                    tree.children_right.astype(np.int32),
                    tree.missing_go_to_left.astype(bool),
                    np.zeros(1, np.int64),
                    tree.value[:, 0, 0].copy() if values is None else values[t],
                )
            )
        return cls.joined(parts)

    @classmethod
    def from_boosting(cls, model: Any, rounds: int, output: int = 0) -> Trees:
        """The first rounds of a fitted histogram gradient boosting; its baseline is added to the first tree."""
        parts = []
        for predictors in model._predictors[:rounds]:
            nodes = predictors[output].nodes
            inner = nodes["is_leaf"] == 0
            parts.append(
                cls(
                    np.where(inner, nodes["feature_idx"], 0).astype(np.int32),
                    np.where(inner, nodes["num_threshold"], 0.0),
                    np.where(inner, nodes["left"].astype(np.int64), -1).astype(np.int32),
                    np.where(inner, nodes["right"].astype(np.int64), -1).astype(np.int32),
                    nodes["missing_go_to_left"].astype(bool),
                    np.zeros(1, np.int64),
                    nodes["value"].copy(),
                )
            )
        parts[0].values[:] += float(np.ravel(model._baseline_prediction)[output])
        return cls.joined(parts)
