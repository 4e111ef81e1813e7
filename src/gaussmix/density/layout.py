"""The bins of a model's columns: laid by the first chunk, and again by a later one if that saw point masses only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.binning import Span, Warp, choose_axis, choose_basis, take_sample
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.reflection import Bounds
from gaussmix.density.ties import LEAST_REPEATS

MAX_BINS = 1 << 16
_FEWEST, _ENOUGH = 12, 100  # different numbers that say how wide bins shall lie, and whether they are rounded
_MORE = 20  # numbers, rounded ones, that say so as well

Bins = tuple[BinnedCounts, GaussianBasis | None]  # empty counts, and the basis on whose axis they lie


@dataclass(frozen=True)
class Layout:
    """What a model's parameters say of bins; ``on_basis``: components, bandwidth and ``exact`` of a fixed basis."""

    span: Span
    bounds: Bounds
    warp: Warp
    on_basis: tuple[int, float, bool] | None

    def bins(
        self, column: NDArray[np.floating], ends: tuple[float, float], repeats: NDArray[Any] | None, stream: bool
    ) -> Bins:
        """Bins for a column (N,), or its first rows (``stream``), with these extremes, NaN if they are not known.

        ``repeats`` (N,) says how often each number came.
        """
        low, high = ends
        if repeats is not None or not (math.isfinite(low) and math.isfinite(high)):
            kept = np.isfinite(column) if repeats is None else np.isfinite(column) & (repeats > 0)
            column, repeats = column[kept], None if repeats is None else repeats[kept]
            if len(column) == 0:
                raise ValueError("a column holds no finite number (in its first chunk); there is nothing to learn from")
            low, high = float(column.min()), float(column.max())
        sample = take_sample(column, repeats)
        options: Any = {"span": self.span, "warp": self.warp, "stream": stream}
        if self.on_basis is None:
            axis, atoms, tied = choose_axis(sample, low, high, **options)
            grow = stream and axis.scale is not None
            return BinnedCounts(axis, atoms=atoms, tied=tied, grow=grow, max_bins=MAX_BINS), None
        n_components, bandwidth, exact = self.on_basis
        basis, atoms = choose_basis(sample, low, high, n_components, bandwidth, bounds=self.bounds, **options)
        return BinnedCounts(basis.axis(), atoms=atoms, exact=exact), basis

    def again(self, counts: BinnedCounts, column: NDArray[np.floating], sample_weight: Any) -> Bins | None:
        """Counts on new bins, for those of which all points lie on point masses, where a chunk (N,) brings others.

        None where it brings too few to say how wide bins shall lie: fewer than `_FEWEST`, unless all that were seen
        repeat. Of a dozen numbers nobody knows whether they are rounded: their bins lie on an asinh axis, which grows
        both ways.
        """
        if not 0 < counts.atom_counts.sum() == counts.n:
            return None
        others = np.isfinite(column) & ~np.isin(column, counts.atoms)
        if np.size(sample_weight) == len(column):
            others &= np.reshape(sample_weight, -1) != 0
        different, repeats = len(np.unique(column[others])), frequencies(sample_weight, len(column))
        new = others.astype(np.int64) if repeats is None else np.where(others, repeats, 0)
        met = counts.atom_counts[counts.atom_counts > 0]
        met = met[: len(met) * (len(met) > 2)]  # one or two say nothing of rounding
        seen = int(new.sum()) + met.clip(max=LEAST_REPEATS).sum()
        rounded = different > 0 and seen >= max(_MORE, LEAST_REPEATS / 2 * (different + len(met)))
        if different < _FEWEST and not rounded:
            return None
        guess = different < _ENOUGH and self.on_basis is None and not rounded
        layout = Layout(self.span, self.bounds, "asinh" if guess else self.warp, self.on_basis)
        both = np.append(counts.atoms, column), np.append(counts.atom_counts.clip(max=int(new.sum())), new)
        empty, basis = layout.bins(both[0], (math.nan, math.nan), both[1], True)
        return counts.relaid(empty), basis


def frequencies(sample_weight: Any, n: int) -> NDArray[np.integer] | None:
    """Weights (n,) that are frequencies; importance weights do not move bins, wrong ones are refused in counting."""
    given = np.asarray(sample_weight).reshape(-1)
    return given if given.dtype.kind in "iu" and given.shape == (n,) and given.any() else None
