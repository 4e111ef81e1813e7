"""Gram matrices of random crops of a style's pictures, as rows of numbers; rows drawn, and valid matrices of them.

    G^l (C_l, C_l)      Gram matrix of layer l, symmetric                                                   (E Eq. 11)
    g = (G^l_ij, i <= j, l = 1..L)                                       a row, E = sum_l C_l (C_l + 1) / 2 numbers
    |g|^2 = sum_l sum_ij (G^l_ij)^2 / (L |M^l|_F^2)                      M^l a mean Gram matrix

With this metric the squared distance of two rows is the style loss of `gaussmix.style.objective`, relative to the mean.
Rows of crops are what a `gaussmix.style.expansion.GramExpansion` learns from (E Figure 12). How the entries of a row
that is drawn hang together, for entry e of the row of crop c, x_ce, c = 1..N:

    entry       g_e ~ sum_i pi_ei Normal(mu_ei, (t r_e)^2), each entry by itself       (E Sec. 3.2.2 and Algorithm 2)
                r_e = (max - min) / n,  mu_ei = min + i r_e,  i = 0..n-1
    crop        the same with pi = c / N (the share of the crops nearest to mu_i), but all entries take the same crop's
    pca         g = m + sum_k s_k a_k,  s_k ~ p_k, a `gaussmix.GMMExpansion` of the crops' scores on principal axis k

Of E = 306 000 entries by n = 100 components nothing is stored. A draw from a mixture with the weights c / N is the
centre nearest to a random crop's entry, plus noise; Algorithm 2 as printed, affine in c, takes or leaves such a pick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import interval
from gaussmix.style.images import Picture, to_tensor
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features, gram_matrix

Rows = NDArray[np.float32]
Gram = NDArray[np.float32]
PickRule = Literal["histogram", "algorithm2"]
Styles = Picture | Sequence[Picture] | Mapping[str, Picture | Sequence[Picture]]

DEFAULT_CROP = 160
"""Pixels of a crop's side at most, unless another is asked for: 50 of them take a few seconds."""
_AT_ONCE = 4  # crops in one pass through the network
_FLAT = 1e-6  # share of the largest variance below which a principal axis is rounding: rows are in single precision
_HUGE = 1e100  # what a file's numbers stay below, so that their products are finite
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

    @classmethod
    def of_channels(cls, channels: Any) -> GramLayout:
        """That of channels by layer, from a file. Raises ValueError for anything else."""
        if (
            not isinstance(channels, dict)
            or not channels
            or not all(type(c) is int and c > 0 for c in channels.values())
        ):
            raise ValueError(f"the layers' channels are {channels!r}")
        return cls(channels)

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

    def forms(self, coefficients: NDArray[np.floating]) -> dict[str, Gram]:
        """Symmetric A^l ``(C, C)`` with sum_l <A^l, G^l> = coefficients @ row, for coefficients ``(E,)``."""
        found = self.grams(coefficients)
        return {layer: ((gram + np.diag(np.diag(gram))) / 2).astype(np.float32) for layer, gram in found.items()}

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


class Picks:
    """Rows whose entries are those of random crops, on a grid, plus noise.

    Of ``rows`` ``(N, E)`` crop c is picked with probability ``shares[c]``: one crop for all entries (``together``), or
    one for each. ``rule`` makes weights of the counts: c / N, or Algorithm 2 as E prints it with negative weights set
    to zero, the latter not ``together``. ``n_components`` and ``bandwidth`` are n and t.
    """

    def __init__(
        self, rows: Rows, shares: FloatArray, *, together: bool, rule: PickRule, n_components: int, bandwidth: float
    ):
        self.rows, self.shares, self.together = rows, shares, together
        self.n_components, self.bandwidth = n_components, bandwidth
        self.low = rows.min(0)
        self.spacing = (rows.max(0) - self.low) / n_components
        if rule == "algorithm2":  # unnormalised weights are flat + slope * count
            t, n = bandwidth, n_components
            step = float(interval(-0.25, 0.25) - interval((1 - t / 4) / t, 1 / t))
            self.flat, self.slope = (1 - step * len(rows)) / n, step * (1 + 1 / n)
        else:
            self.flat, self.slope = 0.0, 1.0

    def draw(self, rng: np.random.Generator) -> Rows:
        """One row ``(E,)``."""
        n_rows, size = self.rows.shape
        pick = rng.choice(n_rows, p=self.shares) if self.together else rng.choice(n_rows, size, p=self.shares)
        cell = self._cells(self.rows[pick, np.arange(size)])
        if self.flat > 0:  # some weight for every centre
            even = self.n_components * self.flat
            anywhere = rng.random(size) < even / (even + self.slope * n_rows)
            cell[anywhere] = rng.integers(self.n_components, size=int(anywhere.sum()))
        elif self.flat < 0:
            cell = self._accepted(cell, rng)
        noise = self.bandwidth * rng.standard_normal(size, np.float32)
        return (self.low + self.spacing * (cell + noise)).astype(np.float32, copy=False)

    def _accepted(self, cell: Rows, rng: np.random.Generator) -> Rows:
        """Cells drawn with weights max(0, flat + slope c) for cells picked with weights c: rejection."""
        n_rows = len(self.rows)
        most = self.slope + self.flat / n_rows
        left = np.arange(len(cell))
        drawn = cell
        while True:
            own = self._cells(self.rows[:, left], left)
            count = n_rows * np.einsum("ne,n->e", own == drawn, self.shares)
            again = rng.random(len(left)) * most >= self.slope + self.flat / count
            cell[left[~again]] = drawn[~again]
            left = left[again]
            if not len(left):
                return cell
            drawn = self._cells(self.rows[rng.choice(n_rows, len(left), p=self.shares), left], left)

    def _cells(self, x: Rows, entries: NDArray[np.intp] | slice = slice(None)) -> Rows:
        """The number of the centre nearest to values ``(..., len(entries))`` of these entries, 0 where all agree."""
        low, spacing = self.low[entries], self.spacing[entries]
        place = np.divide(x - low, spacing, out=np.zeros_like(x), where=spacing > 0)
        return np.minimum(np.rint(place), self.n_components - 1)


@dataclass(frozen=True, eq=False)
class PrincipalScores:
    """Rows on principal axes, a one-dimensional expansion for the scores on each.

    ``mean`` ``(E,)`` and ``axes`` ``(R, E)`` in the units of the rows, at most N - 1 axes; R ``marginals``.
    """

    mean: Rows
    axes: Rows
    marginals: tuple[GaussianMixture1D, ...]

    @classmethod
    def fit(cls, rows: Rows, scale: Rows, expansion: GMMExpansion) -> PrincipalScores:
        """Learn from rows ``(N, E)``; axes are principal for rows times ``scale`` ``(E,)``, scores of unit variance."""
        mean = rows.mean(0)
        centred = rows - mean
        scaled = centred * scale
        values, vectors = np.linalg.eigh((scaled @ scaled.T).astype(np.float64) / len(rows))
        wide = values > _FLAT * values[-1]
        values, vectors = values[wide][::-1], vectors[:, wide][:, ::-1]
        scores = vectors * np.sqrt(len(rows))
        axes = (scores.T / len(rows)).astype(np.float32) @ centred
        return cls(mean, axes, expansion.fit(scores).distributions_)

    def draw(self, rng: np.random.Generator) -> Rows:
        """One row ``(E,)``."""
        return self._rows(np.array([marginal.rvs(1, random_state=rng)[0] for marginal in self.marginals]))

    def walk(self, n: int, rng: np.random.Generator) -> Rows:
        """``(n, E)``: a closed walk, each of whose points has the distribution of a draw.

        s_k = F_k^-1(Phi(z_k)), z = cos(2 pi i / n) u + sin(2 pi i / n) v with standard normal u and v: a circle through
        two draws, in the Gaussian copula.
        """
        angle = 2 * np.pi * np.arange(n)[:, None] / n
        u, v = rng.standard_normal((2, len(self.marginals)))
        place = ndtr(np.cos(angle) * u + np.sin(angle) * v)
        return self._rows(np.stack([m.ppf(q) for m, q in zip(self.marginals, place.T, strict=True)], 1))

    def _rows(self, scores: FloatArray) -> Rows:
        return np.asarray(self.mean + scores.astype(np.float32) @ self.axes, np.float32)


@dataclass(frozen=True, eq=False)
class LearntStyle:
    """What is known of one style: ``rows`` ``(N, E)`` of its crops, or their scores; the least trace of each layer.

    ``grey`` where it was learnt from pictures without colour.
    """

    rows: Rows | None
    scores: PrincipalScores | None
    least_traces: FloatArray
    grey: bool = False

    @property
    def mean(self) -> Rows:
        """Of the crops, ``(E,)``."""
        return cast(Rows, self.rows).mean(0) if self.scores is None else self.scores.mean

    def check(self, layout: GramLayout) -> None:
        """Raise ValueError for arrays that do not fit the layout, or are not finite or huge."""
        arrays: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "least_traces": (self.least_traces, (len(layout.channels),))
        }
        if self.scores is not None:
            arrays["mean"] = self.scores.mean, (layout.size,)
            arrays["axes"] = self.scores.axes, (len(self.scores.marginals), layout.size)
        elif self.rows is not None:
            arrays["rows"] = self.rows, (len(self.rows), layout.size)
        for name, (array, shape) in arrays.items():
            if array.shape != shape or array.dtype.kind != "f" or not float(np.abs(array).max(initial=0)) < _HUGE:
                raise ValueError(f"{name} has shape {array.shape}, not {shape}, or numbers that are huge or not finite")
