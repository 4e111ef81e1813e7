"""A forest of counts: leaves of trees hold counts of y in bins, and a row's distribution is the mean of its leaves'.

    P(bin b | x) = 1/T sum_t n_t(leaf_t(x), b) / n_t(leaf_t(x))

(Meinshausen 2006, with counts in place of rows.) Counts are integers: those of two halves of the data add up to those
of the whole. Bins come together to cells of about equal mass, and a cell is drawn as a Gaussian at its mean; its
standard deviation is the bandwidth times the local distance of cells, chosen by the likelihood out of bag: a row of the
data hears only trees that did not learn from it, and in their leaves is left out itself. So is the size of leaves:
trees are grown fine, and pruned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.tree import DecisionTreeRegressor

from gaussmix._typing import FloatArray, IntArray
from gaussmix.conditional import _rows
from gaussmix.conditional.bases import TINY, mixture_likelihoods
from gaussmix.conditional.folds import run_each, some_weights
from gaussmix.conditional.trees import Trees
from gaussmix.density.axis import Axis
from gaussmix.density.counts import BinnedCounts

MOST_CELLS, FEWEST_CELLS = 200, 20
MOST_TREE_ROWS = 30_000
_SEEN = 0.632  # share of the rows that a tree learns from
_LEAVES = (3, 6, 12, 24, 48)  # rows of a leaf, of those that a tree learnt from: tried out of bag
_SPANS, _FACTORS = (2, 5, 12, 30), (0.15, 0.5, 1.0, 2.0, 4.0, 8.0)
_JUDGES = 4_000  # rows that choose the bandwidth; half of them the size of leaves
_GUARD, _WIDE = 1e-4, 3.0  # mass and standard deviations of what keeps an outlier from deciding on a bandwidth
_CHUNK = 1 << 13
Sparse = Any  # a csr_matrix: SciPy's types do not say what its operators give
_ENTRIES = 1 << 22  # of a sparse matrix that are laid out at a time


class CountForest:
    """Trees and the counts in their leaves.

    Parameters
    ----------
    trees : Trees
        What `grow` gave, or any others.
    axis : gaussmix.density.axis.Axis
        The bins; what lies outside is counted in the first and the last.
    """

    def __init__(self, trees: Trees, axis: Axis):
        self.trees, self.axis = trees, axis
        self.counts: Sparse = csr_matrix((len(trees.left), axis.n_bins), dtype=np.int64)

    @classmethod
    def grow(
        cls,
        X: FloatArray,
        targets: FloatArray,
        axis: Axis,
        rng: np.random.Generator,
        *,
        n_trees: int = 100,
        weight: FloatArray | None = None,
        n_jobs: int | None = None,
    ) -> tuple[Self, NDArray[np.bool_]]:
        """Return a forest without counts; and which rows each tree learnt from, (T, N).

        Parameters
        ----------
        X : ndarray of shape (N, D)
            Features; NaN where they are missing.
        targets : ndarray of shape (N, J)
            What splits are chosen by, all together.
        axis : gaussmix.density.axis.Axis
            The bins.
        rng : Generator
            Draws rows and features.
        n_trees : int
            How many.
        weight : ndarray of shape (N,), optional
            Weights of the rows.
        n_jobs : int, optional
            Threads.
        """
        n, d = X.shape
        X32 = X.astype(np.float32)
        size = max(1, min(round(_SEEN * n), MOST_TREE_ROWS))
        seen = np.zeros((n_trees, n), bool)

        def fit(rows: IntArray, seed: int) -> Any:
            most = max(1, min(d // 2 + d % 2, 60))
            tree = DecisionTreeRegressor(min_samples_leaf=_LEAVES[0], max_features=most, random_state=seed)
            return tree.fit(X32[rows], targets[rows], None if weight is None else some_weights(weight, rows)).tree_

        work = []
        for t in range(n_trees):
            rows = rng.choice(n, size, replace=False)
            seen[t, rows] = True
            work.append(partial(fit, rows, int(rng.integers(1 << 31))))
        grown = run_each(work, n_jobs)
        return cls(Trees.from_sklearn(grown, [tree.n_node_samples.astype(np.float64) for tree in grown]), axis), seen

    def leaves(self, X: FloatArray) -> NDArray[np.int32]:
        """The leaf of each row in each tree, (N, T)."""
        return self.trees.leaves(X.astype(np.float32).astype(np.float64))

    def bins(self, v: FloatArray) -> IntArray:
        """The bin of each number (N,), those outside in the first or the last."""
        places = (self.axis.transform(v) - self.axis.origin) / self.axis.width
        return np.clip(np.floor(places), 0, self.axis.n_bins - 1).astype(np.int64)

    def add(self, X: FloatArray, v: FloatArray, times: IntArray | None = None) -> Self:
        """Count numbers in the leaves of their rows.

        Parameters
        ----------
        X : ndarray of shape (N, D)
            The rows.
        v : ndarray of shape (N,)
            The numbers.
        times : ndarray of shape (N,), optional
            How often each counts; once if not given.
        """
        return self.add_leaves(self.leaves(X), self.bins(v), times)

    def add_leaves(self, leaves: NDArray[np.int32], bins: IntArray, times: NDArray[Any] | None = None) -> Self:
        """Count rows whose leaves and bins are known.

        Parameters
        ----------
        leaves : ndarray of shape (N, T)
            As `leaves` gives them.
        bins : ndarray of shape (N,)
            As `bins` gives them.
        times : ndarray of shape (N,), optional
            How often each counts.
        """
        once = np.ones(len(bins), np.int64) if times is None else times
        self.counts = self.counts + _count(leaves, bins, once, self.counts.shape)
        return self

    def merge(self, other: CountForest) -> Self:
        """Add another forest's counts in the same trees and bins, exactly.

        Raises ValueError where trees or bins differ.
        """
        if self.axis != other.axis or self.trees != other.trees:
            raise ValueError("forests merge that have the same trees and bins; copy one without counts before counting")
        self.counts = self.counts + other.counts
        return self

    def leaf_counts(self, leaf: int) -> BinnedCounts:
        """Return what a leaf holds, as counts of which a density can be learnt."""
        row = self.counts[leaf]
        counts = BinnedCounts(self.axis)
        middles = self.axis.inverse(self.axis.origin + (row.indices + 0.5) * self.axis.width)
        return counts.add(middles, row.data)


@dataclass(frozen=True, eq=False)
class ForestExpansion:
    """Cells of a forest's bins as Gaussians; rows of weights are what a forest says of them."""

    trees: Trees
    shares: Sparse  # (nodes, C): counts of a leaf's cells over their sum
    means: FloatArray  # (C,)
    stds: FloatArray  # (C,)

    def weights(self, X: FloatArray) -> NDArray[np.float32]:
        """Rows (N, C) for X (N, D)."""
        out = np.empty((len(X), len(self.means)), np.float32)
        X = X.astype(np.float32).astype(np.float64)
        for start in range(0, len(X), _CHUNK):
            out[start : start + _CHUNK] = _mean_rows(self.trees.leaves(X[start : start + _CHUNK]), self.shares)
        return out

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        out = {f"trees.{name}": value for name, value in self.trees.to_tensors().items() if name != "values"}
        out |= {"shares": self.shares.data.astype(np.float32), "cell": self.shares.indices.astype(np.int32)}
        return out | {"start": self.shares.indptr.astype(np.int64), "means": self.means, "stds": self.stds}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """What `to_tensors` gave. Raises KeyError or ValueError for other arrays."""
        fields = {name.removeprefix("trees."): value for name, value in tensors.items() if name.startswith("trees.")}
        n = len(fields["left"])
        trees = Trees.from_tensors(fields | {"values": np.zeros(n)})
        means, stds = np.asarray(tensors["means"], np.float64), np.asarray(tensors["stds"], np.float64)
        if means.shape != stds.shape or not (np.isfinite(means).all() and (stds > 0).all() and np.isfinite(stds).all()):
            raise ValueError("a forest's cells are no Gaussians")
        data, start = np.asarray(tensors["shares"], np.float64), tensors["start"]
        if not ((data >= 0) & (data <= 1 + 1e-6)).all():
            raise ValueError("a forest's shares are not between 0 and 1")
        shares = csr_matrix((data, tensors["cell"], start), shape=(n, len(means)))
        shares.check_format(full_check=True)
        return cls(trees, shares, means, stds)


@dataclass(frozen=True)
class Expanded:
    """An expansion; the likelihood (N,) of each number out of bag; and weights (R, C) out of bag of rows asked for."""

    expansion: ForestExpansion
    likelihood: FloatArray
    left_out: FloatArray


def _mean_rows(leaves: NDArray[np.int32], table: Sparse) -> FloatArray:
    """The mean over trees of the table's rows, (N, C)."""
    return _sum_rows(leaves, np.broadcast_to(1 / leaves.shape[1], leaves.shape), table)


def _sum_rows(leaves: NDArray[np.int32], share: FloatArray, table: Sparse) -> FloatArray:
    """The sum over trees of the table's rows times their shares (N, T), (N, C)."""
    out = np.zeros((len(leaves), table.shape[1]))
    _rows.add_leaves(leaves, share, table.indptr, table.indices, table.data, out)
    return out


@dataclass(frozen=True)
class _Sample:
    """Numbers v (N,), the cells that they lie in and what these are as Gaussians; and rows (J,) that choose."""

    v: FloatArray
    half: FloatArray | None
    weight: FloatArray
    cell: IntArray
    means: FloatArray
    within: FloatArray
    judges: IntArray
    least: float

    def bandwidth(self, rows: IntArray, out_of_bag: FloatArray, spans: Sequence[int]) -> tuple[float, FloatArray]:
        """The best mean log-likelihood of some rows with weights (R, C), and the widths (C,) that have it."""
        v, half, weight = self.v[rows], None if self.half is None else self.half[rows], self.weight[rows]
        center = float(np.average(self.v, weights=self.weight))
        spread = max(float(np.sqrt(np.average((self.v - center) ** 2, weights=self.weight))), TINY)
        floor = max(1e-4 * spread, self.least)
        guard = mixture_likelihoods(v, half, np.ones(1), np.array([center]), np.array([_WIDE * spread]))
        best, stds = -math.inf, self.within
        for span, factor in itertools.product(spans, _FACTORS):
            tried = np.sqrt((factor * _spacing(self.means, span)) ** 2 + self.within**2 + floor**2)
            p = mixture_likelihoods(v, half, out_of_bag, self.means, tried)
            score = float(np.average(np.log((1 - _GUARD) * p + _GUARD * guard + TINY), weights=weight))
            if score > best:
                best, stds = score, tried
        return best, stds


def expand(
    forest: CountForest,
    seen: NDArray[np.bool_],
    X: FloatArray,
    v: FloatArray,
    half: FloatArray | None,
    weight: FloatArray,
    rng: np.random.Generator,
    rows: IntArray,
    *,
    least: float = 0.0,
) -> Expanded:
    """Choose the size of a grown forest's leaves, count v (N,) in them, and choose cells and bandwidth.

    ``seen`` (T, N) says which tree learnt from which row of X (N, D), ``half`` is as in `gaussmix.conditional.bases`,
    ``rows`` (R,) are asked for out of bag, ``least`` is the smallest standard deviation.
    """
    cell, means, within = _cells(forest.bins(v), v, weight)
    sample = _Sample(v, half, weight, cell, means, within, rng.permutation(len(v))[:_JUDGES], least)
    leaves = forest.leaves(X)
    stops, number = _choose_leaves(forest, seen, leaves, sample)
    leaves = number[stops].astype(np.int32)[leaves]
    counts = _count(leaves, cell, weight, (len(forest.trees.left), len(means)))
    totals = np.asarray(counts.sum(1)).ravel()

    def left_out(some: Any) -> FloatArray:
        return _left_out(counts, totals, seen[:, some], leaves[some], cell[some], weight[some])

    _, stds = sample.bandwidth(sample.judges, left_out(sample.judges), _SPANS)
    inverse = np.divide(1.0, totals, out=np.zeros(len(totals)), where=totals > 0)
    share = (counts.data * np.repeat(inverse, np.diff(counts.indptr))).astype(np.float32)
    shares = csr_matrix((share, counts.indices, counts.indptr), shape=counts.shape)
    p = np.empty(len(v))
    for start in range(0, len(v), _CHUNK):
        some = slice(start, start + _CHUNK)
        p[some] = mixture_likelihoods(v[some], None if half is None else half[some], left_out(some), means, stds)
    return Expanded(ForestExpansion(forest.trees, shares, means, stds), p, left_out(rows))


def _choose_leaves(
    forest: CountForest, seen: NDArray[np.bool_], leaves: NDArray[np.int32], sample: _Sample
) -> tuple[IntArray, IntArray]:
    """Prune a forest to leaves of the size that is best out of bag; where nodes stop, and their new numbers, (M,)."""
    few, scores = sample.judges[: _JUDGES // 2], []
    shape = len(forest.trees.left), len(sample.means)
    for size in _LEAVES:
        stop = forest.trees.stops(size).astype(np.int32)
        where, met = stop[leaves[few]], np.zeros(shape[0], bool)
        met[where] = True
        counts = _count(leaves, sample.cell, sample.weight, shape, stop, met)
        totals = np.asarray(counts.sum(1)).ravel()
        heard = _left_out(counts, totals, seen[:, few], where, sample.cell[few], sample.weight[few])
        scores.append(sample.bandwidth(few, heard, _SPANS[1:2])[0])
    best = _LEAVES[int(np.argmax(scores))]
    stops = forest.trees.stops(best)
    trees, number = forest.trees.pruned(best)
    forest.trees, forest.counts = trees, csr_matrix((len(trees.left), forest.axis.n_bins), dtype=np.int64)
    return stops, number


def _count(
    leaves: NDArray[np.int32],
    place: IntArray,
    times: NDArray[Any],
    shape: tuple[int, int],
    stop: NDArray[np.int32] | None = None,
    wanted: NDArray[np.bool_] | None = None,
) -> Sparse:
    """Counts of places (N,) in the leaves (N, T) of their rows, or in the nodes where these ``stop`` if ``wanted``."""
    total: Sparse = csr_matrix(shape, dtype=times.dtype)
    some = max(1, _ENTRIES // max(len(place), 1))
    for start in range(0, leaves.shape[1], some):
        rows = leaves[:, start : start + some] if stop is None else stop[leaves[:, start : start + some]]
        kept = slice(None) if wanted is None else wanted[rows].ravel()
        columns = np.repeat(place.astype(np.int32), rows.shape[1])[kept]
        values = np.repeat(times, rows.shape[1])[kept]
        total = total + csr_matrix((values, (rows.ravel()[kept], columns)), shape=shape)
    return total


def _left_out(
    counts: Sparse,
    totals: FloatArray,
    seen: NDArray[np.bool_],
    leaves: NDArray[np.int32],
    cell: IntArray,
    weight: FloatArray,
) -> FloatArray:
    """Weights (n, C) of rows that were counted: means over trees that did not learn from them, they themselves out."""
    n = len(leaves)
    left = totals[leaves] - weight[:, None]
    heard = ~seen.T & (left > 0.5 * weight[:, None])
    share = np.divide(1.0, left, out=np.zeros_like(left), where=heard)
    out = _sum_rows(leaves, share, counts)
    out[np.arange(n), cell] = np.maximum(out[np.arange(n), cell] - share.sum(1) * weight, 0.0)
    times = heard.sum(1)
    unheard = times == 0
    if unheard.any():
        overall = np.asarray(counts.sum(0)).ravel()
        out[unheard] = overall / overall.sum()
    return out / np.where(unheard, 1, times)[:, None]


def _cells(bins: IntArray, v: FloatArray, weight: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """The cell of each number (N,), about equally heavy; means (C,) of the cells and standard deviations inside."""
    met, inverse = np.unique(bins, return_inverse=True)
    mass = np.bincount(inverse, weight)
    most = min(MOST_CELLS, max(FEWEST_CELLS, len(v) // 4))
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    _, of_met = np.unique(
        (middle * most).astype(np.int64) if len(met) > most else np.arange(len(met)), return_inverse=True
    )
    cell = of_met[inverse]
    total = np.maximum(np.bincount(cell, weight), TINY)
    means = np.bincount(cell, weight * v) / total
    return cell, means, np.sqrt(np.bincount(cell, weight * (v - means[cell]) ** 2) / total)


def _spacing(means: FloatArray, span: int) -> FloatArray:
    """The mean distance of neighbouring cells, over ``span`` of them on either side."""
    i = np.arange(len(means))
    low, high = np.maximum(i - span, 0), np.minimum(i + span, len(means) - 1)
    return (means[high] - means[low]) / np.maximum(high - low, 1)
