"""Counts in standard units: what the automatic rules see of a column.

    y = (x - shift) / unit,      unit = a power of two near the spread of the data, shift = a bin edge near the median

Everything behind this module is computed in y, so that data multiplied by a power of two give bit for bit the same
fit, and data far from zero do not lose their digits twice. Point masses are taken out of the bins first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.reflection import Bounds, finite_or_not
from gaussmix.density.ties import remaining_atoms, resolve

_DIGITS = 64  # of the spacing of numbers: a bin must be wider to be kept apart
GUARD_POINTS = 0.2  # what far points are given, in points: log-densities stay finite, and nothing else changes much


@dataclass(frozen=True)
class StandardCounts:
    """The continuous part of counts: the occupied range of bins."""

    rest: BinnedCounts  # the counts without their point masses
    first: int  # number of the first occupied bin on the axis
    counts: FloatArray  # (m,) points in each bin; with importance weights scaled to sum to the effective size
    edges: FloatArray
    """(m + 1,) edges of the bins in y; the outermost are the extremes, where those are known better than a bin."""
    ends: tuple[float, float]  # the outermost edges in x, exactly
    on_lattice: bool  # whether the bins are centred on rounded values
    shift: float
    unit: float
    many_decades: bool  # bins differ so much in width that ``shift`` lies where they are narrowest
    atom_mass: FloatArray  # (A,) of the atoms; on a lattice less what the values around them say was there anyway
    allowed: IntArray | None = None  # bins at which cells may start, 0 and m among them; None: all
    typical_cell: float = 1.0  # in bins

    @property
    def n(self) -> float:
        """Number of points in the bins."""
        return float(self.counts.sum())

    def quantiles(self, shares: Sequence[float]) -> FloatArray:
        """In y, by linear interpolation within a bin."""
        places = quantile_places(self.counts, np.array(shares) * self.n)
        return np.interp(places, np.arange(len(self.edges)), self.edges)

    @cached_property
    def median(self) -> float:
        """In y."""
        return float(self.quantiles([0.5])[0])

    @cached_property
    def spread(self) -> float:
        """In y: near a standard deviation, robust, positive."""
        q = self.quantiles([0.005, 0.05, 0.25, 0.75, 0.95, 0.995]).tolist()
        return max(q[3] - q[2], (q[4] - q[1]) / 3, (q[5] - q[0]) / 8)

    def interval(self, bounds: Bounds) -> tuple[float, float]:
        """Bounds in x as bounds in y; infinite where open."""
        low, high = (bound / self.unit - self.shift / self.unit for bound in finite_or_not(bounds))
        return low, high

    def to_data(self, y: FloatArray) -> FloatArray:
        """y in the units of the data."""
        return self.shift + self.unit * y

    def to_standard(self, x: FloatArray) -> FloatArray:
        """x in standard units."""
        return x / self.unit - self.shift / self.unit


def quantile_places(counts: FloatArray, targets: FloatArray) -> FloatArray:
    """Where the cumulative counts reach the targets, in bins from the first edge; points lie evenly in their bins.

    Where a run of empty bins has the target on either side, its middle: so mirrored counts have mirrored places, and
    rounding of weighted counts does not move them.
    """
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    tolerance = 1e-9 * cumulative[-1]
    below = np.searchsorted(cumulative, targets + tolerance, side="right") - 1
    above = np.minimum(np.searchsorted(cumulative, targets - tolerance, side="left"), len(counts))
    rise = cumulative[above] - cumulative[below]
    between = above > below
    part = np.where(between, (targets - cumulative[below]) / np.where(between, rise, 1.0), 0.5)
    return below + (above - below) * part


def settled(counts: BinnedCounts) -> BinnedCounts:
    """Counts without atoms that a part of the data showed, such as a chunk of a sorted stream, and the whole denies.

    On a lattice of rounded values the neighbours say so, elsewhere the share.
    """
    if not counts.atom_counts.any():
        return counts
    bins, held = counts.atom_bins(), counts.atom_mass
    inside = (bins >= 0) & (bins < counts.axis.n_bins) & (held > 0)
    repeats = counts.mass
    repeats[bins[inside]] = held[inside]
    occupied = np.flatnonzero(repeats)
    at = np.searchsorted(occupied, bins[inside])
    step = counts.axis.width if counts.axis.scale is None else 0.0
    numbers = repeats[occupied] * (counts.size / counts.total_mass)
    remain = np.ones(len(bins), bool)
    remain[inside] = remaining_atoms(counts.axis.centers[occupied], numbers, step, at, counts.tied)
    return counts if remain.all() else counts.with_atoms(remain)


def read_counts(counts: BinnedCounts) -> StandardCounts:
    """The occupied bins of counts less their point masses. Raises ValueError where there are no points at all."""
    if not counts.total_mass > 0:
        raise ValueError("the counts hold no points, or every sample weight is zero: there is nothing to learn from")
    rest = counts.without_atoms()
    axis, mass, total = rest.axis, rest.mass, rest.total_mass
    bins = mass * (rest.size / total) if total > 0 else np.zeros(axis.n_bins)
    occupied = np.flatnonzero(bins)
    first, last = (int(occupied[0]), int(occupied[-1])) if len(occupied) else (0, 0)
    on_lattice, atom_mass = _on_lattice(rest), counts.atom_mass
    if rest.tied and on_lattice:
        bins, atom_mass = _under_atoms(counts, bins, atom_mass)
    bins = bins[first : last + 1]
    resolved = resolve(bins, on_lattice) if rest.tied and len(bins) > 1 else None
    if resolved is not None:
        bins = resolved.counts
    edges = axis.edges[first : last + 2].copy()
    if not on_lattice:
        edges[0] = max(edges[0], min(rest.minimum, edges[1]))
        edges[-1] = min(edges[-1], max(rest.maximum, edges[-2]))
        if not edges[0] < edges[-1]:
            edges = axis.edges[first : last + 2]
    shift = float(edges[np.searchsorted(np.cumsum(bins), bins.sum() / 2)])
    many_decades = float(np.diff(edges).min()) < _DIGITS * abs(shift) * np.finfo(float).eps
    if many_decades:
        shift = float(edges[np.argmin(np.diff(edges))])
    quartiles = quantile_places(bins, np.array([0.25, 0.75]) * bins.sum())  # at least a part of a bin apart
    low, high = np.interp(quartiles, np.arange(len(edges)), edges / 4)
    unit = 2.0 ** round(math.log2(high - low) + 2) if high > low else 1.0
    ends = float(edges[0]), float(edges[-1])
    return StandardCounts(
        rest=rest,
        first=first,
        counts=bins,
        edges=edges / unit - shift / unit,
        ends=ends,
        on_lattice=on_lattice,
        shift=shift,
        unit=unit,
        many_decades=many_decades,
        atom_mass=atom_mass,
        allowed=None if resolved is None else resolved.allowed,
        typical_cell=1.0 if resolved is None else resolved.typical_cell(),
    )


def _under_atoms(counts: BinnedCounts, bins: FloatArray, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bins and masses of the atoms, where a bin on the lattice is given what its neighbours have, out of its atom."""
    axis, bins, mass = counts.axis, bins.copy(), mass.copy()
    for a, k in enumerate(np.rint((counts.atoms - axis.origin) / axis.width - 0.5).astype(np.int64).tolist()):
        if 0 < k < len(bins) - 1 and bins[k] < min(bins[k - 1], bins[k + 1]) / 2:
            missing = min((bins[k - 1] + bins[k + 1]) / 2 - bins[k], mass[a] / 2)
            bins[k], mass[a] = bins[k] + missing, mass[a] - missing
    return bins, mass


def _on_lattice(counts: BinnedCounts) -> bool:
    """Whether the extremes are the centres of bins: so it is with rounded values, and with others by accident."""
    axis, (low, high) = counts.axis, (counts.minimum, counts.maximum)
    if axis.scale is not None or not low < high:
        return False
    place = (np.array([low, high]) - axis.origin) / axis.width
    return bool(np.all(np.abs(place - np.floor(place) - 0.5) < 1e-3))
