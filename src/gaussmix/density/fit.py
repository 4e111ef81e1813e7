"""From counts to a distribution: the rule that was asked for, point masses, what lies outside the bins, the guard.

    p = sum_a m_a delta_a + (1 - sum_a m_a) [ (1 - g) (rule's mixture + tail components) + g guard ],   g = .2 / N

The guard holds as much as .2 points: log-densities far out stay finite, and moments hardly change. It is a Student t
with 3 degrees of freedom around the median; within given bounds, three wide Gaussians that are reflected there as all
others. Points under and over the bins, whose number and extremes the counts know, become one Gaussian a side.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density import rules
from gaussmix.density.auto.modes import Smoothness
from gaussmix.density.auto.rule import find_edges, fit_automatic, fit_fast
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.report import FittedDensity, Rule
from gaussmix.density.standard_units import GUARD_POINTS, Bounds, read_counts, settled

Components = tuple[FloatArray, FloatArray, FloatArray]

MIN_ML_BANDWIDTH = 5.0
_BESIDE_ATOMS = 1e-9  # of the guard's mass: where all numbers were point masses, none is drawn beside them


def fit_counts(
    counts: BinnedCounts,
    rule: Rule,
    *,
    basis: GaussianBasis | None = None,
    cross_validate: bool = False,
    smoothness: Smoothness = "auto",
    bounds: Bounds | Literal["auto"] = "auto",
) -> FittedDensity:
    """The distribution that a rule makes of counts.

    The rules of `BASIS_RULES` need the ``basis`` on whose axis the counts were made; ``cross_validate`` replaces its
    bandwidth. The other two take ``smoothness``, and look for bounds with ``bounds="auto"``, where a basis has none.

    Raises ValueError for counts without points.
    """
    counts = settled(counts)
    data = read_counts(counts)
    guard = GUARD_POINTS / max(counts.size, 2 * GUARD_POINTS)
    masses = data.atom_mass / counts.total_mass
    positions, masses = counts.atoms[masses > 0], masses[masses > 0]
    given: Bounds = (None, None) if bounds == "auto" else bounds
    if float(masses.sum()) >= 1 - 1e-12:
        return FittedDensity(_point_masses(positions, masses, guard, given), {}, data.on_lattice)
    rest = data.rest
    if not rest.mass.any():
        raise ValueError(
            f"none of the numbers, from {counts.minimum:g} to {counts.maximum:g}, lies in the bins, from "
            f"{counts.axis.low:g} to {counts.axis.high:g}: give a range that holds them"
        )
    within = given != (None, None)
    if basis is not None:
        components, details = _on_basis(rest, replace(basis, bounds=given), rule, cross_validate)
    else:
        if bounds == "auto":
            low, high = find_edges(data)  # not where the bins end before the data do
            given = (None if rest.under_mass > 0 else low, None if rest.over_mass > 0 else high)
        found = (fit_automatic if rule == "auto" else fit_fast)(data, given, smoothness)
        components, details = (found.weights, found.means, found.stds), found.details
    components = _with_tails(components, rest)
    center, scale = float(data.to_data(np.array(data.median))), data.spread * data.unit
    if within:
        components = _with_guard(components, guard, center, scale)
    tail = None if within else (guard, center, scale)
    mixture = GaussianMixture1D(*components, bounds=given, tail=tail, atoms=(positions, masses))
    return FittedDensity(mixture, details, data.on_lattice)


def _on_basis(
    rest: BinnedCounts, basis: GaussianBasis, rule: str, cross_validate: bool
) -> tuple[Components, dict[str, Any]]:
    if cross_validate:
        basis = replace(basis, bandwidth=rules.choose_bandwidth(rest, basis, rule)[0])
    elif rule == "ml" and basis.bandwidth < MIN_ML_BANDWIDTH:
        warnings.warn(
            f"maximum likelihood overfits at bandwidth={basis.bandwidth:g} spacings, often to less than a histogram's "
            f"accuracy: use bandwidth='cv', or at least {MIN_ML_BANDWIDTH:g}",
            stacklevel=2,
        )
    weights, details = rules.basis_weights(rule, rest, basis)
    return (weights, basis.centers, basis.stds), {"bandwidth": basis.bandwidth, **details}


def _point_masses(positions: FloatArray, masses: FloatArray, guard: float, bounds: Bounds) -> GaussianMixture1D:
    """Every point lies on an atom: all mass there, but for what keeps log-densities of other numbers finite."""
    guard *= _BESIDE_ATOMS
    scale = float(np.ptp(positions)) or (abs(float(positions[0])) or 1.0) * 1e-3
    center = float(np.average(positions, weights=masses))
    atoms = (positions, masses / masses.sum() * (1 - guard))
    if bounds == (None, None):
        return GaussianMixture1D([1.0], [center], [scale], tail=(0.5, center, scale), atoms=atoms)
    nothing = (np.zeros(0), np.zeros(0), np.zeros(0))
    return GaussianMixture1D(*_with_guard(nothing, 1.0, center, scale), bounds=bounds, atoms=atoms)


def _with_tails(components: Components, rest: BinnedCounts) -> Components:
    """Points outside the bins as one Gaussian a side, from the axis's end to the extreme."""
    weights, means, stds = components
    axis, total = rest.axis, rest.total_mass
    weights = weights * (1 - (rest.under_mass + rest.over_mass) / total)
    sides = [(rest.under_mass, rest.minimum, axis.low), (rest.over_mass, axis.high, rest.maximum)]
    for mass, low, high in sides:
        if mass > 0:
            width = max(high - low, float(axis.width / axis.slope(high if low == axis.high else low)))
            weights = np.append(weights, mass / total)
            means, stds = np.append(means, low / 2 + high / 2), np.append(stds, width / math.sqrt(12))
    return weights, means, stds


def _with_guard(components: Components, mass: float, center: float, scale: float) -> Components:
    """Three more Gaussians, 3, 30 and 300 times as wide as the data, of that mass together."""
    weights, means, stds = components
    return (
        np.append(weights * (1 - mass), mass * np.array([0.9, 0.09, 0.01])),
        np.append(means, np.full(3, center)),
        np.append(stds, scale * np.array([3.0, 30.0, 300.0])),
    )
