"""The modes of a density, and what the counts that it was made from say for each.

The evidence is the log-likelihood of the counts less the most that a density has which is monotone where the mode was:
from the valley on one side to the next higher mode on the other (`gaussmix.density.auto.modes`). Modes are found to a
cell: a thousandth of the points, or of the range. Those worth less than `RIPPLE` are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.auto.dictionary import cell_boundaries
from gaussmix.density.auto.modes import flatten, price_modes
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.standard_units import read_counts, settled

RIPPLE = 0.5  # nats: what is worth less nobody can see
_CELLS = 1600
_FEWEST_CELLS = 1000  # a column of few bins is cut finer: several cells a bin


@dataclass(frozen=True)
class Mode:
    """A maximum of a density.

    ``position`` in data units, ``density`` there, per data unit; ``evidence`` in nats, infinite for the highest mode.
    """

    position: float
    density: float
    evidence: float


def find_modes(counts: BinnedCounts, distribution: GaussianMixture1D) -> list[Mode]:
    """The modes of the continuous part, from left to right; none where all mass is on atoms."""
    counts = settled(counts)
    if not counts.without_atoms().mass.any():
        return []
    smooth = GaussianMixture1D(distribution.weights, distribution.means, distribution.stds, bounds=distribution.bounds)
    edges, numbers = _cells(counts, smooth)
    width = np.diff(edges)
    middles = edges[:-1] + width / 2
    p, _ = flatten(width * smooth.pdf(middles), width, numbers, RIPPLE)
    found = price_modes(p, width, numbers)
    at = middles[found.peaks]
    facts = zip(at.tolist(), distribution.pdf(at).tolist(), found.costs.tolist(), strict=True)
    return [Mode(*each) for each in facts]


def _cells(counts: BinnedCounts, smooth: GaussianMixture1D) -> tuple[FloatArray, FloatArray]:
    """Edges (m + 1,) and counts (m,) of cells inside the bounds; points of a bin lie evenly in its cells."""
    data = read_counts(counts)
    edges = np.clip(data.to_data(data.edges), *smooth.bounds)
    boundaries = cell_boundaries(data.counts, _CELLS)
    edges, numbers = edges[boundaries], np.add.reduceat(data.counts, boundaries[:-1])
    parts = -(-_FEWEST_CELLS // len(numbers))
    cuts = np.interp(np.arange(len(numbers) * parts + 1) / parts, np.arange(len(edges)), edges)
    numbers = np.repeat(numbers / parts, parts)
    kept = np.diff(cuts) > 4 * np.spacing(np.abs(cuts[1:]))
    return np.append(cuts[:-1][kept], cuts[-1]), numbers[kept]
