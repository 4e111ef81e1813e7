"""From a smooth density to the probabilities of a lattice's values, beside what was counted.

    p_k = F(v_k + s/2) - F(v_k - s/2),        the end cells reach to infinity,

F: distribution function of the fitted mixture, point masses included; v_k, k = 1..V: the values origin + k s from the
smallest to the largest that was seen, or to given bounds. So nothing leaks below zero where no negative count was seen.
Where the density is not smooth on the scale of the values, what was counted predicts better, e_k = c_k / N. The result

    (1 - b) p_k + b e_k

has the share b that makes the leave-one-out likelihood largest, as in `gaussmix.density.auto.averaging`. Without one of
the points of value k, e says (c_k - 1) / (N - 1), and p changes, to first order, by the factor

    exp(-sum_i w_i A_ik^2 / (N p_k^2) - 2 K / N),

A_ik: probability of cell k under component i, of weight w_i; K: the number of components that were moved. Where all
numbers are point masses already, at most ten different ones, these are the result.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.auto.scoring import sparse_probabilities
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.discrete import LatticeMixture1D, count_values
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import MOST_CELLS, ColumnKind
from gaussmix.density.reflection import Bounds, finite_or_not
from gaussmix.density.report import FittedDensity

FEW = 512  # cells up to which integers are taken for discrete unasked
_BY_CHANCE = 1e-3  # probability of a common divisor of integers, from which on it may be chance
_SHARES = np.linspace(0, 1, 101)
_ONE_NAT_AT = 500  # points: what b must gain over 0 is the cube root of their number in these
_LARGEST_LEVERAGE = 4.0
_NEGLIGIBLE = 1e-15  # a probability that a sum of others does not see


def with_probabilities(
    counts: BinnedCounts, fit: FittedDensity, kind: ColumnKind, *, asked: bool, bounds: Bounds
) -> FittedDensity:
    """The fit, its distribution made discrete if the column is: integers of at most `FEW` cells, or ``asked`` for.

    ``bounds`` are those that were given. Raises ValueError where it was asked for and cannot be.
    """
    if not (kind.integer or asked):
        return fit
    held, total = counts.atom_mass, counts.total_mass
    if float(held.sum()) >= total * (1 - 1e-12):
        step = kind.step if kind.step > 0 and not kind.whole else 1.0
        discrete = LatticeMixture1D(fit.distribution, counts.atoms[held > 0], held[held > 0] / total, step)
        return _told(fit, discrete, 0.0)
    found = _on_lattice(counts, kind)
    if found is None:
        why = "it is not known on what lattice all numbers lie, or the bins are wider than its steps"
    else:
        origin, step, number, mass = found
        cells, most = int(number[-1] - number[0]) + 1, MOST_CELLS if asked else FEW
        if cells <= most:
            return _smooth_and_counted(counts, fit, origin, step, number, mass, bounds)
        why = f"there are {cells} cells from the least to the greatest, more than {most}"
    if asked:
        raise ValueError(f"discrete=True, but {why}; leave discrete='auto'")
    return fit


def _on_lattice(counts: BinnedCounts, kind: ColumnKind) -> tuple[float, float, IntArray, FloatArray] | None:
    """Origin and step, and what `count_values` says there. Integers have a step of 1, unless all share a larger one."""
    seen = count_values(counts, 0.0, 1.0) if kind.whole else None
    if seen is not None:
        number, mass = seen
        divisor = _divisor(number)
        return float(number[0]), float(divisor), (number - number[0]) // divisor, mass
    if kind.origin is None or not kind.step > 0:
        return None
    held = counts.atoms[counts.atom_mass > 0]
    kind = kind.joined(ColumnKind.of(held, True, True))  # the first that came, before there were bins
    assert kind.origin is not None
    seen = count_values(counts, kind.origin, kind.step) if kind.step > 0 else None
    return None if seen is None else (kind.origin, kind.step, *seen)


def _smooth_and_counted(
    counts: BinnedCounts,
    fit: FittedDensity,
    origin: float,
    step: float,
    number: IntArray,
    mass: FloatArray,
    bounds: Bounds,
) -> FittedDensity:
    """The fit with the probabilities of the cells around ``number`` (V,), of which ``mass`` was counted."""
    first, last = _reaching(bounds, origin, step, int(number[0]), int(number[-1]))
    j = np.arange(first, last + 1)
    counted = np.zeros(len(j))
    counted[number - first] = mass * (counts.size / counts.total_mass)
    values: FloatArray = np.float64(origin) + step * j
    mixture, inner = fit.distribution, np.asarray(values[:-1] + step / 2, np.float64)
    smooth = _smooth(mixture, inner)
    share = 0.0
    if len(j) > 1:
        log_change = _leverage(mixture, inner, smooth) / counts.size + 2 * fit.details.get("n_active", 0) / counts.size
        share = _share_of_counts(counted, smooth, log_change)
    p = (1 - share) * smooth + share * counted / counted.sum()
    p[p < _NEGLIGIBLE] = 0.0
    if not float(step).is_integer() or not float(origin).is_integer():
        values = np.round(values, 12 - math.ceil(math.log10(float(np.abs(values).max()))))  # .3 and not .1 + .1 + .1
    return _told(fit, LatticeMixture1D(mixture, values, p / p.sum(), step), share)


def _told(fit: FittedDensity, discrete: LatticeMixture1D, share: float) -> FittedDensity:
    facts = {"values": len(discrete.values), "step": discrete.step, "counted_share": share}
    return replace(fit, distribution=discrete, details=fit.details | facts)


def _divisor(number: IntArray) -> int:
    """The greatest step of integers (V,), 1 where it may be chance that they have one."""
    divisor = int(np.gcd.reduce(number - number[0]))
    return divisor if float(max(divisor, 1)) ** (1 - len(number)) <= _BY_CHANCE else 1


def _reaching(bounds: Bounds, origin: float, step: float, first: int, last: int) -> tuple[int, int]:
    """The numbers of the end cells, which are those of given bounds where these are not too far."""
    low, high = finite_or_not(bounds)
    lowest = first if low == -math.inf else min(first, math.ceil((low - origin) / step - 1e-9))
    highest = last if high == math.inf else max(last, math.floor((high - origin) / step + 1e-9))
    return (lowest, highest) if highest - lowest < max(FEW, last - first + 1) else (first, last)


def _smooth(mixture: GaussianMixture1D, inner: FloatArray) -> FloatArray:
    """Probabilities (V,) of the cells between ``inner`` (V - 1,), from whichever tail is the smaller."""
    below, above = mixture.cdf(inner), mixture.sf(inner)
    p = np.where(np.append(below, 1.0) < 0.5, np.diff(below, prepend=0.0, append=1.0), 0.0)
    upper = -np.diff(above, prepend=1.0, append=0.0)
    p = np.where(np.append(below, 1.0) < 0.5, p, upper)
    return np.maximum(p, 0.0)


def _leverage(mixture: GaussianMixture1D, inner: FloatArray, p: FloatArray) -> FloatArray:
    """(V,) N times what a point of a cell adds to the logarithm of its probability."""
    edges = np.concatenate([[mixture.bounds[0]], inner, [mixture.bounds[1]]])
    edges = np.maximum.accumulate(np.clip(edges, *mixture.bounds))
    A = sparse_probabilities(edges, mixture.means, mixture.stds, mixture.bounds)
    positions, masses = mixture.atoms
    own = (1 - masses.sum()) * (A.multiply(A).T @ mixture.weights)
    np.add.at(own, np.searchsorted(inner, positions), masses)
    return own / np.maximum(p, np.finfo(float).tiny) ** 2


def _share_of_counts(c: FloatArray, smooth: FloatArray, log_change: FloatArray) -> float:
    """b, for counts c (V,)."""
    seen = (c > 0) & (smooth > 0)
    c, n = c[seen], float(c.sum())
    without = smooth[seen] * np.exp(-np.minimum(log_change[seen], _LARGEST_LEVERAGE))
    counted = np.maximum(c - 1, 0) / max(n - 1, 1)
    more = len(c) - 1 - float(c @ log_change[seen])
    counted *= math.exp(-math.sqrt(max(more, 0.0)) / n)
    with np.errstate(divide="ignore"):
        scores = np.log(np.outer(1 - _SHARES, without) + np.outer(_SHARES, counted)) @ c
    best = int(np.argmax(scores))
    return float(_SHARES[best]) if scores[best] - scores[0] >= (n / _ONE_NAT_AT) ** (1 / 3) else 0.0
