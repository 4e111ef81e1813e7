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

EPS = 2.0**-52
_CENTER_BITS = 40
_NARROW = 16  # roundings of its place that a Gaussian must be wide
_OPEN = (-math.inf, math.inf)


class Part(NamedTuple):
    """What lives between the same bounds: Gaussians (n,), guards, and what is uniform."""

    low: float
    high: float
    coefficient: FloatArray
    mean: FloatArray
    inverse_std: FloatArray
    guards: FloatArray  # (0..2, 3) mass, location, scale
    flat: float  # the density of what is uniform
    mass: float  # of all but guards


class Difference(NamedTuple):
    """Parts with different bounds, point masses (M,) at increasing places, and the center."""

    parts: list[Part]
    height: FloatArray
    step: FloatArray
    center: float
    size: float  # of the integral, if nothing cancelled
    error: float  # what rounding of weights, places and widths does to the integral


def difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> Difference:
    """a - b, for the integral of cdfs if ``cumulative``, else of densities. Only the former counts point masses.

    Gaussians and guards narrower than the numbers at their place are point masses, or for densities only an error.
    """
    laws = [(1.0, a)] + ([(-1.0, b)] if isinstance(b, GaussianMixture1D) else [])
    bounds = [*dict.fromkeys(law.bounds for _, law in laws), _OPEN]  # the last for guards
    mine = []  # of each law: its bounds, the factors of its guard and of its Gaussians' weights, its pieces
    for sign, law in laws:
        share = sign * (1 - math.fsum(law.atoms.masses))
        mine.append((law.bounds, share, share / math.fsum(law.weights), law._pieces))
    c, gross, place, inverse, group = merged(
        np.concatenate([np.append(factor * p.weight, share * p.guard_mass) for _, share, factor, p in mine]),
        np.concatenate([np.append(p.mean, p.guard_loc) for *_, p in mine]),
        np.concatenate([np.append(p.inverse_std, 1 / p.guard_scale) for *_, p in mine]),
        np.concatenate([np.append(np.full(p.mean.size, bounds.index(ends)), len(bounds) - 1) for ends, *_, p in mine]),
        zeros=abs(mine[0][2]) != abs(mine[-1][2]),
    )
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
        same = np.array([key == ends for key in bounds])[group]
        own, guarded = same & ~guard & ~narrow, same & guard & ~narrow
        flat = sum(factor * p.flat for key, _, factor, p in mine if key == ends)
        mass = sum(share * (1 - p.guard_mass) for key, share, _, p in mine if key == ends) - points[same & ~guard].sum()
        guards = np.stack([c[guarded], place[guarded], 1 / inverse[guarded]], axis=1)
        parts.append(Part(*ends, c[own], place[own], inverse[own], guards, flat, mass))
        if flat:
            error += (
                4 * EPS * abs(flat) * (ends[1] - ends[0]) * (np.abs(np.array(ends) - center).max() if cumulative else 1)
            )
    return Difference(parts, height, step, center, float(size.sum()), error)


def atom_difference(
    laws: list[tuple[float, GaussianMixture1D]], sample: Sample | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Masses, with the laws' signs and less the sample's, how much they had without signs, and increasing places."""
    masses = [sign * law.atoms.masses for sign, law in laws]
    places = [law.atoms.positions for _, law in laws]
    if sample is not None:
        values, weights = sample
        if weights is None:
            values, counts = np.unique(values, return_counts=True)
            weights = counts / float(sample.values.size)
        else:
            weights = weights / math.fsum(weights.tolist())
        places.append(values)
        masses.append(-weights)
    height, gross, step = merged(np.concatenate(masses), np.concatenate(places))
    return height, gross, step


def merged(coefficient: FloatArray, *columns: NDArray[Any], zeros: bool = False) -> list[NDArray[Any]]:
    """Rows with equal columns added up, sorted by these; the sums, those of absolute values, and the columns.

    Rows whose sum is 0 are left out, unless ``zeros``.
    """
    order = np.lexsort(columns[::-1]) if len(columns) > 1 else np.argsort(columns[0], kind="stable")
    rows = [column[order] for column in columns]
    new = np.ones(order.size, bool)
    new[1:] = np.any([row[1:] != row[:-1] for row in rows], axis=0)
    start = np.flatnonzero(new)
    ordered = coefficient[order]
    sums = [np.add.reduceat(values, start) if start.size else values for values in (ordered, np.abs(ordered))]
    kept = zeros | (sums[0] != 0)
    return [values[kept] for values in [*sums, *(row[start] for row in rows)]]


def running_sums(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The sums of the first i of (n,) numbers, and less that of all: (2, n + 1). And a bound on their errors, as much.

    They are sums of integers: numbers are rounded, sums are not.
    """
    unit = math.ldexp(1.0, math.frexp(float(np.abs(values).sum()))[1] - 62)
    sums = np.append(0, np.cumsum(np.rint(values / unit).astype(np.int64)))
    count = np.arange(sums.size)
    return np.stack([sums, sums - sums[-1]]) * unit, 0.5 * unit * np.stack([count, count[::-1]])


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
