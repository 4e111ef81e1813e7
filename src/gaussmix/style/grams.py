"""Gram matrices of all style layers as one row of numbers, the metric of such rows, and the way back to a valid matrix.

    G^l (C_l, C_l)      Gram matrix of layer l, symmetric
    g = (G^l_ij, i <= j, l = 1..L)                                       a row, E = sum_l C_l (C_l + 1) / 2 numbers
    |g|^2 = sum_l sum_ij (G^l_ij)^2 / (L |M^l|_F^2)                      M^l a mean Gram matrix

With this metric the squared distance of two rows is the style loss of `gaussmix.style.objective`, relative to the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Gram = NDArray[np.float32]


@dataclass(frozen=True)
class GramLayout:
    """Which layers follow one another in a row, and how many channels each has."""

    channels: dict[str, int]

    @property
    def size(self) -> int:
        """E, numbers in a row."""
        return sum(c * (c + 1) // 2 for c in self.channels.values())

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Where each layer lies in a row."""
        ends = np.cumsum([0, *(c * (c + 1) // 2 for c in self.channels.values())])
        return {layer: slice(ends[i], ends[i + 1]) for i, layer in enumerate(self.channels)}

    def rows(self, grams: Mapping[str, NDArray[np.floating]]) -> Rows:
        """``(n, E)`` for symmetric matrices ``(n, C, C)`` of each layer."""
        parts = [grams[layer][:, *np.triu_indices(c)] for layer, c in self.channels.items()]
        return np.concatenate(parts, 1, dtype=np.float32)

    def grams(self, row: NDArray[np.floating]) -> dict[str, Gram]:
        """Symmetric matrices ``(C, C)`` of each layer from a row ``(E,)``."""
        found = {}
        for layer, c in self.channels.items():
            gram = np.zeros((c, c), np.float32)
            upper = np.triu_indices(c)
            gram[upper] = gram.T[upper] = row[self.spans[layer]]
            found[layer] = gram
        return found

    def scale(self, mean: NDArray[np.floating]) -> Rows:
        """What to multiply a row ``(E,)`` by so that plain squares add up to the metric, M given as the row `mean`.

        A layer in which M is zero counts nothing.
        """
        scale = np.zeros(self.size, np.float32)
        for layer, c in self.channels.items():
            first, second = np.triu_indices(c)
            twice = np.where(first == second, 1.0, 2.0)  # an entry off the diagonal stands for two
            norm = (twice * mean[self.spans[layer]].astype(np.float64) ** 2).sum()
            if norm > 0:
                scale[self.spans[layer]] = np.sqrt(twice / (norm * len(self.channels)))
        return scale

    def traces(self, rows: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
        """Of each layer, ``(n,)`` for rows ``(n, E)``: the mean energy of its features."""
        diagonal = {layer: np.equal(*np.triu_indices(c)) for layer, c in self.channels.items()}
        return {layer: rows[:, span][:, diagonal[layer]].sum(1) for layer, span in self.spans.items()}


def repair(gram: NDArray[np.floating], least_trace: float = 0.0) -> Gram:
    """The nearest matrix that features can have, with the same energy: no negative eigenvalue, the same trace.

    ``(C, C)`` to ``(C, C)``: symmetrised, negative eigenvalues set to zero, the rest scaled to the trace that the
    matrix had, or to `least_trace` if that is more. Nothing happens to a valid matrix but rounding.
    """
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    kept = np.maximum(values, 0)
    trace = max(float(values.sum()), least_trace)
    if kept.sum() > 0:
        kept *= max(trace, 0.0) / kept.sum()
    return ((vectors * kept) @ vectors.T).astype(np.float32)
