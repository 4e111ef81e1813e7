"""The difference of two laws as one signed list of pieces.

    a - b  =  sum_i c_i N(m_i, 1 / k_i^2)  +  flat parts  +  sum_j g_j t3(loc_j, scale_j)  +  sum_j h_j delta(y_j)

c_i, g_j, h_j: weights, of b with a minus; pieces of both with the same place and width are one, so that what the laws
share cancels exactly. Gaussians are cut off at the bounds of their law, mirror images listed (`exact.expand`). Below
the center, a point in the bulk, the difference of the cdfs is F_a - F_b, above it S_b - S_a, both sums of masses on the
outer side: tails keep their accuracy. Weights and masses count divided by their sum, which is 1 but for rounding.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, Sample
from gaussmix.distances._mixtures.polynomials import EPS

_CENTER_BITS = 40
_NARROW = 16  # roundings of its place that a Gaussian must be wide
_OPEN = (-math.inf, math.inf)


class SignedPart(NamedTuple):
    """What lives between the same bounds: Gaussians (n,), guards, and what is uniform."""

    low: float
    high: float
    coefficient: FloatArray
    mean: FloatArray
    inverse_std: FloatArray
    guards: FloatArray  # (0..2, 3) mass, location, scale
    flat: float  # the density of what is uniform
    mass: float  # of all but guards


class Signed(NamedTuple):
    """Parts with different bounds, point masses (M,) at increasing places, and the center."""

    parts: list[SignedPart]
    height: FloatArray
    step: FloatArray
    center: float
    size: float  # of the integral, if nothing cancelled
    error: float  # what rounding of weights, places and widths does to the integral


def difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> Signed:
    """a - b, for the integral of cdfs if ``cumulative``, else of densities. Only the former counts point masses.

    Gaussians and guards narrower than the numbers at their place are point masses, or for densities only an error.
    """
    laws = [(1.0, a)] + ([(-1.0, b)] if isinstance(b, GaussianMixture1D) else [])
    bounds = [*dict.fromkeys(law.bounds for _, law in laws), _OPEN]  # the last for guards
    flat, mass, columns, factors = np.zeros(len(bounds)), np.zeros(len(bounds)), [], set()
    for sign, law in laws:
        p, g = law._pieces, bounds.index(law.bounds)
        share = sign * (1 - math.fsum(law.atoms.masses))
        factor = share / math.fsum(law.weights)
        factors.add(abs(factor))
        flat[g] += factor * p.flat
        mass[g] += share * (1 - p.guard_mass)
        guard = share * p.guard_mass, p.guard_loc, 1 / p.guard_scale, len(bounds) - 1
        rows = factor * p.weight, p.mean, p.inverse_std, np.full(p.mean.size, g)
        columns.append([np.append(*pair) for pair in zip(rows, guard, strict=True)])
    columns = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    c, gross, place, inverse, group = merged(*columns, zeros=len(factors) > 1)
    height, spread, step = np.empty((3, 0))
    if cumulative:
        height, spread, step = atom_difference(laws, b if isinstance(b, Sample) else None)
    center = _center(*((c, place) if c.size else (height, step)), inverse)

    low, high = np.array(bounds)[group].reshape(-1, 2).T
    size = gross / inverse if cumulative else gross
    images = np.isfinite(low) | np.isfinite(high)  # whose places are rounded
    error = EPS * float(size @ (4 + 2 * np.abs(place) * inverse * images))
    if cumulative:
        error += 4 * EPS * float(gross @ np.abs(place - center) + spread @ np.abs(step - center))
    narrow = inverse * np.maximum(np.abs(place), abs(center)) * (_NARROW * EPS) > 1
    error += 1.2 * float(size[narrow].sum())
    points = c * narrow * (ndtr((high - place) * inverse) - ndtr((low - place) * inverse))
    if cumulative and narrow.any():
        height, _, step = merged(np.append(height, points[narrow]), np.append(step, place.clip(low, high)[narrow]))
    parts, guard = [], group == len(bounds) - 1
    for ends in dict.fromkeys(bounds):
        g, same = bounds.index(ends), np.array([key == ends for key in bounds])[group]
        own, guards = same & ~guard & ~narrow, same & guard & ~narrow
        guards = np.stack([c[guards], place[guards], 1 / inverse[guards]], axis=1)
        rest = float(mass[g] - points[same & ~guard].sum())
        parts.append(SignedPart(*ends, c[own], place[own], inverse[own], guards, float(flat[g]), rest))
        if flat[g] != 0:
            away = max(abs(end - center) for end in ends) if cumulative else 1.0
            error += 4 * EPS * abs(flat[g]) * (ends[1] - ends[0]) * away
    return Signed(parts, height, step, center, float(size.sum()), error)


def atom_difference(
    laws: list[tuple[float, GaussianMixture1D]], sample: Sample | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Masses, with the laws' signs and less the sample's, how much they had without signs, and increasing places."""
    masses = [sign * law.atoms.masses for sign, law in laws]
    places = [law.atoms.positions for _, law in laws]
    if sample is not None:
        values, weights = sample
        if weights is None:
            values, weights = np.unique(values, return_counts=True)
        masses.append(weights / -math.fsum(weights.tolist()))
        places.append(values)
    height, gross, step = merged(np.concatenate(masses), np.concatenate(places))
    return height, gross, step


def merged(coefficient: FloatArray, *columns: NDArray[Any], zeros: bool = False) -> list[NDArray[Any]]:
    """Rows with equal columns added up, sorted by these; the sums, those of absolute values, and the columns.

    Rows whose sum is 0 are left out; if ``zeros``, only those with nothing but 0.
    """
    first, *others = columns
    order = np.lexsort((*others[::-1], first)) if others else np.argsort(first, kind="stable")
    rows = [column[order] for column in columns]
    new = np.ones(order.size, bool)
    new[1:] = np.any([row[1:] != row[:-1] for row in rows], axis=0)
    start = np.flatnonzero(new)
    ordered = coefficient[order]
    sums = [np.add.reduceat(values, start) if start.size else values for values in (ordered, np.abs(ordered))]
    kept = sums[int(zeros)] != 0
    return [values[kept] for values in [*sums, *(row[start] for row in rows)]]


def running_sums(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The sums of the first i of (n,) numbers, and less that of all: (2, n + 1). And a bound on their errors, as much.

    They are sums of integers: numbers are rounded, sums are not.
    """
    unit = math.ldexp(1.0, math.frexp(float(np.abs(values).sum()))[1] - 62)
    sums = np.append(0, np.cumsum(np.rint(values / unit).astype(np.int64)))
    error = np.linspace(0.0, 0.5 * unit * values.size, sums.size)
    return np.stack([sums, sums - sums[-1]]) * unit, np.stack([error, error[::-1]])


def _center(weight: FloatArray, position: FloatArray, inverse_std: FloatArray) -> float:
    """The median of positions with weights |weight|, so round that cells around it have exact ends; 0 without any."""
    if position.size == 0:
        return 0.0
    order = np.argsort(position)
    share = np.cumsum(np.abs(weight[order]))
    middle = float(position[order[np.searchsorted(share, 0.5 * share[-1])]])
    reach = float(np.abs(position - middle).max() + 10 / inverse_std.min(initial=math.inf))
    unit = math.ldexp(1.0, math.frexp(reach)[1] - _CENTER_BITS)
    return math.floor(middle / unit) * unit if reach > 0 else middle
