"""Fits as E section 3.1 makes them.

r = (max - min) / n, mu_i = min + i r for i = 0..n-1, sigma = t r; a point belongs to its nearest centre, be it beyond
the outermost one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.component_rows import interval
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.interior_point import BandedRows
from gaussmix.density.rules import clip

Array = NDArray[np.float64]

ALGORITHM2 = (
    "Algorithm 2: as printed, its step dL makes most weights negative (L far above 2). With the step dL = 1/N its "
    "result is exactly pi = c / N, the shares of the points nearest to each centre, and that reproduces the tables."
)
ALGORITHM1 = (
    "Algorithm 1: d = sigma/4, mid of half-width d. Step 11 prints side- about the data point; Eq. 7 and side+ are "
    "about the nearest centre. Both were run. Negative weights are set to zero and the rest is normalised."
)
LOSS = "Loss: E Eq. 9 with half-width r/2, so that the regions tile the line, against the target's true probabilities."


def count(x: Array, n: int, t: float) -> tuple[BinnedCounts, GaussianBasis]:
    """Counts of the points on the paper's basis for them."""
    basis = GaussianBasis.as_paper(float(x.min()), float(x.max()), n, t)
    return BinnedCounts(basis.axis()).add(np.minimum(x, basis.centers[-1])), basis


def algorithm1_about_points(counts: BinnedCounts, basis: GaussianBasis) -> tuple[Array, float]:
    """E Algorithm 1 with side- = (x_j - r, x_j - r + d] as printed, d = sigma/4: (weights, clipped mass).

    x_j is taken as the middle of its bin, 1/16 of a spacing wide.
    """
    n, t = basis.n_components, basis.bandwidth
    d = t / 4
    offset = np.arange(n - 1, -n, -1)  # mu_i - mu_k, for k from the first column on
    mid = interval((offset - d) / t, (offset + d) / t)
    side_plus = interval((offset + 1 - d) / t, (offset + 1) / t)
    place = ((np.arange(SUB_BINS) + 0.5) / SUB_BINS - 0.5)[:, None]
    side_minus = interval((offset + place - 1) / t, (offset + place - 1 + d) / t)
    cell, row = np.divmod(np.arange(n * SUB_BINS), SUB_BINS)
    A = BandedRows(mid - (side_plus + side_minus) / 2, row, cell - (n - 1), n)
    return clip(1 / n + A.transposed_times(counts.mass))
