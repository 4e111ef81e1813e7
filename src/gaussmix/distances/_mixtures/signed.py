"""The difference of two laws as one signed list of pieces, and the stretches of the line on which it is smooth.

    a - b  =  sum_i c_i N(m_i, 1 / k_i^2)  +  flat parts  +  sum_j g_j t3(loc_j, scale_j)  +  sum_j h_j delta(y_j)

c_i, g_j, h_j: weights, of b with a minus; pieces of both with the same place and width are one, so that what the laws
share cancels exactly. Gaussians are cut off at the bounds of their law, mirror images listed (`exact.expand`). Where x
is below the center, a point in the bulk, the difference of the cdfs is F_a - F_b, above it S_b - S_a, both sums of
masses on the outer side: tails keep their accuracy, and weights whose sums differ by a rounding do not leave a constant
there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, continuous_share
from gaussmix.distances._mixtures.series import EPS

WINDOW = 9.0  # standard deviations from its mean beyond which a Gaussian is over: 1e-19 of its mass
GUARD_REACH = 2.0**27
"""Scales from its location beyond which a guard's integrals are over: 3e-17 of its mass times its scale."""
_CENTER_BITS = 40


class Signed(NamedTuple):
    """Gaussians are (n,), sorted by mean; guards (0..2,); point masses (M,), increasing, none for densities."""

    coefficient: FloatArray
    mean: FloatArray
    inverse_std: FloatArray
    mean_error: FloatArray  # by rounding: mirror images have it
    group: NDArray[np.int64]  # 0, or 1 for Gaussians of b where b has other bounds than a
    guard_mass: FloatArray
    guard_loc: FloatArray
    guard_scale: FloatArray
    step: FloatArray
    passed: FloatArray
    """(2, M + 1): what point masses add to the cdfs' difference between two of them, below and above the center."""
    passed_error: FloatArray  # (2, M + 1): its rounding
    cumulative: bool  # of cdfs, not densities


class Stretches(NamedTuple):
    """(S,) adjacent intervals between bounds, ends and the center, increasing."""

    low: FloatArray
    high: FloatArray
    upper: NDArray[np.int64]  # 1 above the center
    constant: FloatArray
    slope: FloatArray
    """constant + slope (x - low): what flat parts, and Gaussians that are cut off, add to the function."""
    error: FloatArray  # of the constant, by rounding
    inside: NDArray[np.bool_]  # (S, 2): whether the Gaussians of a group live here
    steps: NDArray[np.int64]  # (S, 2): the first point mass inside, and the one after the last


def difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> tuple[Signed, Stretches]:
    """a - b and its stretches; of the cdfs if ``cumulative``, else of the densities.

    A sample b only counts for where the stretches end.
    """
    laws = [(1.0, a)] + ([(-1.0, b)] if isinstance(b, GaussianMixture1D) else [])
    bounds = list(dict.fromkeys(law.bounds for _, law in laws))
    groups = [bounds.index(law.bounds) for _, law in laws]
    shares = [sign * continuous_share(law) for sign, law in laws]
    pieces = [law._pieces for _, law in laws]
    group = np.repeat(np.array(groups, float), [p.mean.size for p in pieces])
    weight = np.concatenate([share * p.weight for share, p in zip(shares, pieces, strict=True)])
    means, inverse_stds = (np.concatenate([p[field] for p in pieces]) for field in (0, 1))
    coefficient, mean, inverse_std, group = merged(weight, means, inverse_stds, group)
    guards = [(share * p.guard_mass, p.guard_loc, p.guard_scale) for share, p in zip(shares, pieces, strict=True)]
    guard_mass, guard_loc, guard_scale = merged(*np.array(guards).T)
    height, step = atom_difference(laws) if cumulative else (np.empty(0), np.empty(0))
    before, after = np.append(0.0, np.cumsum(height)), np.append(np.cumsum(height[::-1])[::-1], 0.0)
    passed_error = EPS * np.stack([np.cumsum(np.abs(before)), np.cumsum(np.abs(after[::-1]))[::-1]])
    ends = np.array(bounds)
    mean_error = 2 * EPS * np.abs(mean) * np.isfinite(ends).max(axis=1)[group.astype(int)]
    signed = Signed(
        coefficient, mean, inverse_std, mean_error, group.astype(np.int64), guard_mass, guard_loc, guard_scale, step,
        np.stack([before, -after]), passed_error, cumulative,
    )  # fmt: skip
    flat, mass = np.zeros(2), np.zeros(2)
    for share, g, p in zip(shares, groups, pieces, strict=True):
        flat[g] += share * p.flat
        mass[g] += share * (1 - p.guard_mass)
    far = np.empty(0) if isinstance(b, GaussianMixture1D) else np.array([b.values.min(), b.values.max()])
    middle = _middle(np.concatenate([coefficient, guard_mass, height]), np.concatenate([mean, guard_loc, step]))
    center, reach = _frame(signed, ends, far, middle)
    return signed, _stretches(signed, ends, flat, mass, center, reach)


def atom_difference(laws: list[tuple[float, GaussianMixture1D]]) -> tuple[FloatArray, FloatArray]:
    """Masses, with the laws' signs, and increasing positions of what remains of point masses."""
    height, step = merged(
        np.concatenate([sign * law.atoms.masses for sign, law in laws]),
        np.concatenate([law.atoms.positions for _, law in laws]),
    )
    return height, step


def merged(coefficient: FloatArray, *columns: FloatArray) -> list[FloatArray]:
    """Rows with equal columns added up, sorted by them; without those that cancel."""
    order = np.lexsort(columns[::-1])
    rows = [column[order] for column in columns]
    new = np.ones(order.size, bool)
    new[1:] = np.any([np.diff(row) != 0 for row in rows], axis=0)
    start = np.flatnonzero(new)
    total = np.add.reduceat(coefficient[order], start) if start.size else np.empty(0)
    kept = total != 0
    return [total[kept]] + [row[start][kept] for row in rows]


def _middle(weight: FloatArray, position: FloatArray) -> float:
    """The median of the positions with weights |weight|; 0 without any."""
    if position.size == 0:
        return 0.0
    order = np.argsort(position)
    share = np.cumsum(np.abs(weight[order]))
    return float(position[order[np.searchsorted(share, 0.5 * share[-1])]])


def _frame(signed: Signed, ends: FloatArray, far: FloatArray, middle: float) -> tuple[float, float]:
    """The center, near ``middle``, and a power of 2, the reach: all pieces end within it on either side.

    The center is so round that halving [center - reach, center + reach] never has to be rounded.
    """
    below, above = ends[signed.group].T
    away = WINDOW / signed.inverse_std
    places = np.concatenate([
        np.maximum(signed.mean - away, below),
        np.minimum(signed.mean + away, above),
        signed.guard_loc - GUARD_REACH * signed.guard_scale,
        signed.guard_loc + GUARD_REACH * signed.guard_scale,
        signed.step,
        ends[np.isfinite(ends)],
        far,
    ])  # fmt: skip
    most = float(np.abs(places - middle).max(initial=0.0))
    reach = math.ldexp(1.0, math.frexp(most)[1] + 1) if most > 0 else 1.0
    unit = reach * 2.0**-_CENTER_BITS
    return math.floor(middle / unit) * unit, reach


def _stretches(
    signed: Signed, ends: FloatArray, flat: FloatArray, mass: FloatArray, center: float, reach: float
) -> Stretches:
    """Cut at the center, where the side changes, and at the bounds ``ends`` (1 or 2 groups, 2)."""
    cuts = [center - reach, center, center + reach]
    edges = np.unique(np.concatenate([cuts, ends[np.abs(ends - center) < reach]]))
    low, high = edges[:-1], edges[1:]
    upper = low >= center
    constant, slope, size = np.zeros((3, low.size))
    inside = np.zeros((low.size, 2), bool)
    for g, (start, stop) in enumerate(ends):
        before, after = high <= start, low >= stop
        here = ~(before | after)
        inside[:, g] = here
        if not signed.cumulative:
            constant[here] += flat[g]
            continue
        c, m, k = (column[signed.group == g] for column in (signed.coefficient, signed.mean, signed.inverse_std))
        constant[before & upper] -= mass[g]
        constant[after & ~upper] += mass[g]
        if math.isfinite(start):
            constant[here & ~upper] -= c @ ndtr((start - m) * k)
            size[here & ~upper] += np.abs(c) @ ndtr((start - m) * k)
        if math.isfinite(stop):
            constant[here & upper] += c @ ndtr((m - stop) * k)
            size[here & upper] += np.abs(c) @ ndtr((m - stop) * k)
        if flat[g] != 0:
            constant[here] += flat[g] * np.where(upper, low - stop, low - start)[here]
            slope[here] += flat[g]
    steps = np.stack([np.searchsorted(signed.step, low, "right"), np.searchsorted(signed.step, high)], axis=1)
    error = EPS * (4 + signed.mean.size) * (np.abs(constant) + size)
    return Stretches(low, high, upper.astype(np.int64), constant, slope, error, inside, steps.astype(np.int64))
