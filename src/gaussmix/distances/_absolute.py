"""The integral of |g| over the line, g the difference of two laws' cdfs or densities, with a bound on its error.

The difference is one signed list of pieces,

    a - b  =  sum_i c_i N(m_i, 1 / k_i^2)  +  flat parts  +  sum_j g_j t3(loc_j, scale_j)  +  sum_j h_j delta(y_j)

c_i, g_j, h_j: weights, of b with a minus; pieces of both with the same place and width are one, so that what the laws
share cancels exactly. Gaussians are cut off at the bounds of their law, mirror images listed (`exact.expand`). Below
the center, a point in the bulk, the difference of the cdfs is F_a - F_b, above it S_b - S_a, both sums of masses on the
outer side: tails keep their accuracy. Weights and masses count divided by their sum, which is 1 but for rounding.

The line is cut at the ends of the leaves of `_cells`, at bounds and, between mixtures, at point masses. On each panel g
is a polynomial to a known error e: then |int |g| - int |p|| <= length * e. A panel on which the coefficients prove that
p has one sign, or one zero as p' has one sign, is integrated exactly; others are halved until they no longer matter.
Against a sample g is monotone between two numbers but for the error: at most one zero each.

The bound holds what interpolation misses, what stays in doubt at zeros, pieces beyond their cells, and rounding, as the
sum of the bounds of its steps. It takes for granted that exp is accurate to 1 unit in the last place, ndtr to 4 and
stdtr to 64, and that NumPy's sums are by pairs.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture.quadrature import spread
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances import _polynomials as poly
from gaussmix.distances._cells import Leaves, SignedPart, leaves
from gaussmix.distances._inputs import Law, Sample
from gaussmix.distances._polynomials import EPS, N_TERMS

_CENTER_BITS = 40
_NARROW = 16  # roundings of its place that a Gaussian must be wide
_OPEN = (-math.inf, math.inf)


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


ACCURACY = 1e-10  # largest error relative to the integral, unless rounding alone is more
_NUMBERS = 1 << 12  # of a sample at a time
_SUMS = 32 * EPS  # of sums by pairs


class Panels(NamedTuple):
    """(M,)"""

    low: FloatArray
    high: FloatArray
    half: FloatArray
    upper: IntArray  # 1 above the center


def absolute_difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> tuple[float, float]:
    """int |F_a - F_b| dx if ``cumulative``, else int |f_a - f_b| dx of the continuous parts; and a bound on the error.

    b may be a sample if ``cumulative``. The error is at most ACCURACY of the integral unless rounding is more.
    """
    d, many = difference(a, b, cumulative=cumulative), isinstance(b, Sample)
    trees = [leaves(part, d.center, d.size, cumulative=cumulative) for part in d.parts]
    ends = [end for part in d.parts for end in (part.low, part.high) if math.isfinite(end)]
    ends += [d.center, *d.step[:: max(d.step.size - 1, 1) if many else 1]]
    edges = np.unique(np.concatenate([ends, *(tree.low for tree in trees), *(tree.high for tree in trees)]))
    if edges.size == 1:
        return 0.0, d.error
    low, high = edges[:-1], edges[1:]
    panels = Panels(low, high, 0.5 * (high - low), (low >= d.center).astype(int))
    p, error = np.zeros((low.size, N_TERMS)), np.zeros(low.size)
    for part, tree in zip(d.parts, trees, strict=True):
        for whole, of_part in zip((p, error), _on_panels(part, tree, panels, cumulative), strict=True):
            whole += of_part
    levels, off = running_sums(d.height)
    passed = np.where(panels.upper, np.searchsorted(d.step, low, "right"), np.searchsorted(d.step, high))
    p[:, 0] += 0.0 if many else levels[panels.upper, passed]
    error += off[panels.upper, passed] + np.abs(p) @ poly.OF_WHOLE
    value, doubt = _against_sample(p, panels, d.step, levels) if many else poly.absolute_integral(p, panels.half, error)
    times = 6 if many else 2  # where p + level is smaller, it may have another sign, or one zero more
    rounding = d.error + sum(tree.missed for tree in trees) + times * float(panels.half @ error)
    return value, float(doubt + rounding + _SUMS * value)


def _on_panels(part: SignedPart, tree: Leaves, panels: Panels, cumulative: bool) -> tuple[FloatArray, FloatArray]:
    """A part of the difference as polynomials (M, N_TERMS), with their errors (M,)."""
    low, high, half, upper = panels
    p, error = np.zeros((low.size, N_TERMS)), np.zeros(low.size)
    inside = (low >= part.low) & (high <= part.high)
    if tree.low.size:
        at = (np.searchsorted(tree.low, low, "right") - 1).clip(0)
        here = np.flatnonzero(inside & (low >= tree.low[at]) & (high <= tree.high[at]))
        at = at[here]
        p[here], error[here] = tree.polynomial[at], tree.error[at]
        cut = (low[here] > tree.low[at]) | (high[here] < tree.high[at])
        at, here = at[cut], here[cut]
        error[here] += np.abs(p[here]) @ poly.OF_PART
        width, middle = tree.high[at] - tree.low[at], (low[here] - tree.low[at]) - (tree.high[at] - high[here])
        p[here] = poly.part(p[here], middle / width, 2 * half[here] / width)
    if not cumulative:
        p[inside, 0] += part.flat
        return p, error
    for x, ends, above in ((low, tree.stop, False), (high, tree.start, True)):
        here, order = inside & (upper == above), np.argsort(ends)
        sums, off = running_sums(tree.weight[order])
        passed = np.searchsorted(ends[order], x[here], "left" if above else "right")
        p[here, 0] += sums[int(above), passed]
        error[here] += off[int(above), passed]
        sign, end = (-1, part.high) if above else (1, part.low)
        if math.isfinite(end):
            lost = part.coefficient * ndtr(sign * (end - part.mean) * part.inverse_std)
            away = part.flat * (0.5 * low + 0.5 * high - end)[here]
            p[here, 0] += away - sign * lost.sum()
            p[here, 1] += part.flat * half[here]
            error[here] += _SUMS * (np.abs(lost).sum() + np.abs(away))
            beyond = (upper != above) & (low >= end if above else high <= end)
            p[beyond, 0] = -sign * part.mass
            error[beyond] = _SUMS * abs(part.mass)
    return p, error


def _against_sample(p: FloatArray, panels: Panels, step: FloatArray, levels: FloatArray) -> tuple[float, float]:
    """int |p + level| and a bound on its rounding; levels (2, N + 1): below and above the center, as `running_sums`.

    Between two steps (N,) p is monotone but for its error: it has one zero, or what a second one could hide is less
    than that error. Where p + level has one sign over many steps, its integral is that of p as a whole and a sum.
    """
    first, last = np.searchsorted(step, panels.low, "right"), np.searchsorted(step, panels.high)
    counts = last - first + 1
    panel = np.repeat(np.arange(counts.size), counts)
    passed = spread(first, counts)
    start = np.cumsum(counts) - counts
    t = (step[passed - 1] - panels.low[panel]) / panels.half[panel] - 1
    t[start] = -1.0
    level, value, rows = levels[panels.upper[panel], passed], np.empty(t.size), np.ascontiguousarray(p.T)
    for at in range(0, t.size, _NUMBERS):
        some = slice(at, at + _NUMBERS)
        value[some] = chebyshev.chebval(t[some], rows.take(panel[some], axis=1), tensor=False)
    end = np.append(start[1:], t.size) - 1
    stop, at_stop = np.append(t[1:], 1.0), np.append(value[1:], 0.0)
    stop[end], at_stop[end] = 1.0, p.sum(axis=1)
    value, at_stop = np.sign(value + level), np.sign(at_stop + level)
    cross, sign = np.flatnonzero(value * at_stop < 0), np.sign(value + at_stop)
    sign[cross] = value[cross]
    q = p[panel[cross]]
    q[:, 0] += level[cross]
    zeros, off = poly.zeros(q, t[cross], stop[cross])
    doubt = float(panels.half[panel[cross]] @ off)
    t, sign = np.insert(t, cross + 1, zeros), np.insert(sign, cross + 1, at_stop[cross])
    level, panel = np.insert(level, cross + 1, level[cross]), np.insert(panel, cross + 1, panel[cross])
    new = np.append(True, panel[1:] != panel[:-1])
    last, half = np.append(new[1:], True), panels.half[panel]
    parts = half * (np.where(last, 1.0, np.append(t[1:], 1.0)) - t) * level
    before = np.where(new, 0.0, np.append(0.0, sign[:-1]))
    turn = np.flatnonzero(sign != before)
    integral = p @ poly.PRIMITIVE
    at_turn = half[turn] * (before - sign)[turn] * poly.values(integral[panel[turn]], t[turn])
    value = float((sign * parts).sum() + at_turn.sum() + (panels.half * sign[last] * integral.sum(axis=1)).sum())
    noise = panels.half * (np.abs(p) @ poly.OF_PRIMITIVE)
    return value, doubt + float(noise.sum() + 2 * noise[panel[turn]].sum() + _SUMS * np.abs(parts).sum())
