"""What a network is told of a picture: rules that turn attributes into conditions (D Sec. 3.1, Eq. 7).

D's features are K attributes that overlap, ``A`` in {0, 1}^K; its classes are M_1 sets that do not, one-hot rows of
which exactly one entry is 1. Each rule turns attribute rows ``(N, K)`` into rows of 0/1 ``(N, K')``; Z is gated by them
in the same way for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from networkx import find_cliques, from_numpy_array
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from gaussmix.data.base import AttributeDataset
from gaussmix.data.cache import digest
from reproduction.runs import Rows

OVERLAP = 0.01
"""Attributes count as mutually exclusive if fewer than this share of the pictures has both."""


@dataclass(frozen=True)
class Conditioning:
    """``names`` of the K' columns and the rule that fills them, from attributes ``(N, K)``."""

    names: tuple[str, ...]
    apply: Callable[[Rows], Rows]

    def of(self, dataset: AttributeDataset) -> AttributeDataset:
        """The data set with these columns in place of its attributes."""
        rows = self.apply(np.asarray(dataset.attributes))
        key = digest("conditioning", dataset.key, self.names, rows.tobytes().hex())
        return replace(dataset, attributes=rows, attribute_names=self.names, key=key)


def features(names: tuple[str, ...]) -> Conditioning:
    """The attributes themselves."""
    return Conditioning(names, lambda rows: rows)


def nothing() -> Conditioning:
    """One attribute that no picture has."""
    return Conditioning(("nothing",), lambda rows: np.zeros((len(rows), 1), np.uint8))


def clusters(rows: Rows, count: int, seed: int) -> Conditioning:
    """``count`` classes: k-means of the attribute vectors ``rows`` ``(N, K)``, a new vector to its nearest centre."""
    distinct = len(np.unique(rows, axis=0))
    count = min(count, distinct)
    model = KMeans(count, n_init=10, random_state=seed).fit(rows.astype(np.float32))  # pyright: ignore[reportArgumentType]
    names = tuple(f"group_{i + 1}" for i in range(count))
    return Conditioning(names, lambda new: _one_hot(np.asarray(model.predict(new.astype(np.float32))), count))


def categories(rows: Rows, names: tuple[str, ...]) -> Conditioning:
    """Classes by one categorical property: a set of mutually exclusive attributes, and "none of them" if there are
    pictures without.

    Of all such sets that cannot be enlarged, the one whose classes have the largest entropy in ``rows`` ``(N, K)``. A
    picture with two of them, where `OVERLAP` allows it, belongs to the first.
    """
    best = max(_exclusive_sets(rows), key=lambda columns: entropy(_category(rows, columns)))
    without = bool((rows[:, best].sum(1) == 0).any())
    chosen = tuple(names[k] for k in best) + (("none",) if without else ())
    return Conditioning(chosen, lambda new: _one_hot(_category(new, best), len(best) + 1)[:, : len(chosen)])


def entropy(rows: NDArray) -> float:
    """Entropy in bits of the distribution over distinct rows ``(N, ...)``."""
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    shares = counts / counts.sum()
    return float((shares * np.log2(1 / shares)).sum())


def _category(rows: Rows, columns: list[int]) -> NDArray[np.intp]:
    """Position in ``columns`` of the first that a row has; ``len(columns)`` if it has none."""
    held = rows[:, columns].astype(bool)
    return np.where(held.any(1), held.argmax(1), len(columns))


def _one_hot(labels: NDArray, count: int) -> Rows:
    return (labels[:, None] == np.arange(count)).astype(np.uint8)


def _exclusive_sets(rows: Rows) -> list[list[int]]:
    """The sets of pairwise exclusive columns that cannot be enlarged: the maximal cliques of a graph."""
    together = rows.astype(np.float32).T @ rows.astype(np.float32) / len(rows)
    exclusive = (together < OVERLAP) & ~np.eye(len(together), dtype=bool)
    return [sorted(clique) for clique in find_cliques(from_numpy_array(exclusive))]
