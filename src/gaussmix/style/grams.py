"""Gram matrices of random crops of a style's pictures, as rows of numbers, and the way back to valid matrices.

    G^l (C_l, C_l)      Gram matrix of layer l, symmetric                                                   (E Eq. 11)
    g = (G^l_ij, i <= j, l = 1..L)                                       a row, E = sum_l C_l (C_l + 1) / 2 numbers
    |g|^2 = sum_l sum_ij (G^l_ij)^2 / (L |M^l|_F^2)                      M^l a mean Gram matrix

With this metric the squared distance of two rows is the style loss of `gaussmix.style.objective`, relative to the mean.
Rows of crops are what a `gaussmix.style.expansion.GramExpansion` learns from (E Figure 12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.style.images import Picture, to_tensor
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features, gram_matrix

Rows = NDArray[np.float32]
Gram = NDArray[np.float32]
Styles = Picture | Sequence[Picture] | Mapping[str, Picture | Sequence[Picture]]

DEFAULT_CROP = 160
"""Pixels of a crop's side at most, unless another is asked for: 50 of them take a few seconds."""
_AT_ONCE = 4  # crops in one pass through the network
_ASYMMETRY = 1e-4  # of the largest entry: single precision sums G_ij and G_ji in different orders


@dataclass(frozen=True)
class GramLayout:
    """Which layers follow one another in a row, and how many channels each has."""

    channels: dict[str, int]

    @classmethod
    def of(cls, grams: Mapping[str, NDArray[Any]], name: str) -> GramLayout:
        """That of ``{layer: (n, C, C)}`` of the style ``name``. Raises ValueError as `GramExpansion.fit_grams`."""
        counts = set()
        for layer, gram in grams.items():
            if gram.ndim != 3 or gram.shape[1] != gram.shape[2] or 0 in gram.shape:
                raise ValueError(f"{name} at {layer} has shape {gram.shape}; give (crops, C, C)")
            if not np.isfinite(gram).all():
                raise ValueError(f"{name} at {layer} has values that are not finite; leave those crops out")
            if np.abs(gram - gram.swapaxes(1, 2)).max() > _ASYMMETRY * np.abs(gram).max():
                raise ValueError(f"{name} at {layer} is not symmetric; give Gram matrices")
            counts.add(len(gram))
        if len(counts) != 1 or min(counts) < 2:
            raise ValueError(f"{name} has {sorted(counts)} crops; give at least 2, as many at each layer")
        return cls({layer: gram.shape[1] for layer, gram in grams.items()})

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
        """What to multiply a row ``(E,)`` by so that plain squares add up to the metric, M given as the row ``mean``.

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
    matrix had, or to ``least_trace`` if that is more. Nothing happens to a valid matrix but rounding.
    """
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    kept = np.maximum(values, 0)
    trace = max(float(values.sum()), least_trace)
    if kept.sum() > 0:
        kept *= max(trace, 0.0) / kept.sum()
    return ((vectors * kept) @ vectors.T).astype(np.float32)


def crop_grams(
    pictures: Sequence[Picture],
    features: VGG19Features,
    *,
    crops: int,
    crop_size: int | None,
    rng: np.random.Generator,
    name: str = "style",
) -> dict[str, Gram]:
    """Gram matrices ``{layer: (crops, C, C)}`` of square crops at even random places, the pictures taken in turn.

    By default a crop has half the shorter side of the smallest picture, at most ``DEFAULT_CROP`` pixels. Raises
    ValueError as `GramExpansion.fit`, with ``name`` for the style.
    """
    if not pictures:
        raise ValueError(f"there are no pictures of {name}; give at least one")
    if crops < 2:
        raise ValueError(f"crops is {crops}; a distribution needs at least 2 (50 are usual)")
    lacking = [layer for layer in STYLE_LAYERS if layer not in features.layers]
    if lacking:
        raise ValueError(f"the network gives {features.layers}; it needs {', '.join(lacking)}, too")
    for number, picture in enumerate(pictures):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise ValueError(f"picture {number} of {name} is {picture.dtype} {picture.shape}; give uint8 (H, W, 3)")
        if not np.ptp(picture, axis=(0, 1)).any():
            raise ValueError(f"picture {number} of {name} has one colour, {picture[0, 0].tolist()}; it has no texture")
    shorter = min(min(picture.shape[:2]) for picture in pictures)
    side = max(min(shorter // 2, DEFAULT_CROP), features.stride) if crop_size is None else crop_size
    if not features.stride <= side <= shorter:
        raise ValueError(
            f"crop_size is {side}, the shorter side of the smallest picture of {name} {shorter}; choose from "
            f"{features.stride} to that, or give a larger picture"
        )
    found: dict[str, list[Gram]] = {layer: [] for layer in STYLE_LAYERS}
    for first in range(0, crops, _AT_ONCE):
        chosen = [pictures[i % len(pictures)] for i in range(first, min(first + _AT_ONCE, crops))]
        corners = [[rng.integers(length - side + 1) for length in picture.shape[:2]] for picture in chosen]
        batch = [p[top : top + side, left : left + side] for p, (top, left) in zip(chosen, corners, strict=True)]
        with torch.inference_mode():
            outputs = features(to_tensor(np.stack(batch), features.mean.device))
            for layer in STYLE_LAYERS:
                found[layer].append(cast(Gram, gram_matrix(outputs[layer]).cpu().numpy()))
    return {layer: np.concatenate(parts) for layer, parts in found.items()}
