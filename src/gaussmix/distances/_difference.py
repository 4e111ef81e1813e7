"""The difference of two laws: its point masses, its Gaussians in pairs, and the pieces that bounds cut off.

What both laws have is left out, and a pair is one Gaussian from each law: w (N(m, s^2) - N(m', s'^2)). With
z = (x - m) / s and z' of the other,

    z - z' = (z (s' - s) + m' - m) / s',    N' / N = s / s' exp((z - z') (z + z') / 2),

so that a difference of densities, or of distribution functions, keeps its digits however close the two are. Gaussians
are matched as they come from the left: laws with almost the same components have small terms only.

All positions are taken from where one law with a density lies: only differences matter, and far from zero those would
lose their digits.

A piece w N(x; m, s^2) on [low, high], convolved with a normal law of variance tau^2, becomes

    w N(x; m, S^2) (Phi((high - c) / d) - Phi((low - c) / d)),    S^2 = s^2 + tau^2,  c = x + (m - x) tau^2 / S^2,
                                                                  d = s tau / S

The guard is a mixture of normals: Student's t with 3 degrees of freedom is one whose variance v has the density
1.5^1.5 / Gamma(1.5) v^-2.5 exp(-1.5 / v), and the trapezoidal rule in log v takes it to 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.quadrature import Features
from gaussmix.distances._inputs import Law, Sample, continuous_share

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_ROWS = 128  # points at a time
SAME = 64 * 2.0**-53
"""Sums of weights that differ by less, relative to themselves, differ by rounding."""
REACH = 9.5  # standard deviations at which a Gaussian ends: 1e-20 of its density
_FAR = 1e30  # standard deviations, whose powers are numbers
_SHORT = 0.02  # of z - z': up to there Taylor's series has the mass between

_LOG_VARIANCES = np.arange(math.log(1.5 / 40), math.log(1e10), 0.3)
_GUARD_STDS = np.exp(0.5 * _LOG_VARIANCES)
_GUARD_WEIGHTS = np.exp(-1.5 * _LOG_VARIANCES - 1.5 * np.exp(-_LOG_VARIANCES))
_GUARD_WEIGHTS /= _GUARD_WEIGHTS.sum()

TO_LEGENDRE = _WEIGHTS * np.polynomial.legendre.legvander(_NODES, 15).T * (np.arange(16)[:, None] + 0.5)
"""(16, 16): from values at the nodes of a panel's rule to coefficients of Legendre's polynomials."""


class Pairs(NamedTuple):
    """(n,) each: ``weight`` of N(mean, std^2) less N(other_mean, other_std^2), which ``alone`` lacks."""

    weight: FloatArray
    mean: FloatArray
    std: FloatArray
    other_mean: FloatArray
    other_std: FloatArray
    move: FloatArray  # to the other's mean
    growth: FloatArray  # to the other's std
    alone: FloatArray  # 1 or 0


def net(a: FloatArray, b: FloatArray) -> FloatArray:
    """a less b, of which each column is a weight and then its place, sorted; columns that cancel are gone."""
    columns = np.concatenate([a, b], axis=1)
    order = np.lexsort(columns[:0:-1]) if len(columns) > 2 else np.argsort(columns[1])
    weight, places = columns[0, order], columns[1:, order]
    if weight.size == 0:
        return columns
    new = np.append(True, np.any(places[:, 1:] != places[:, :-1], axis=0))
    place, of_a = np.cumsum(new) - 1, order < a.shape[1]
    sums = [np.bincount(place, np.where(own, weight, 0.0)) for own in (of_a, ~of_a)]  # term by term: equal if equal
    total = np.asarray(sums[0] - sums[1], np.float64)
    return np.concatenate([total[None], places[:, new]])[:, total != 0]


def pairs(a: FloatArray, b: FloatArray) -> Pairs:
    """Of Gaussians a less b, (3, n) and (3, m): weights, means, stds. Weight that one has more stays alone."""
    rest = net(a, b)
    plus, minus = rest[:, rest[0] > 0], rest[:, rest[0] < 0]
    minus[0] *= -1
    sums = [np.cumsum(part[0]) for part in (plus, minus)]
    totals = [float(each[-1]) if each.size else 0.0 for each in sums]
    if abs(totals[0] - totals[1]) <= SAME * (a[0].sum() + b[0].sum()) and min(totals) > 0:
        sums[1] *= totals[0] / totals[1]
        totals[1] = totals[0]
    ends = np.unique(np.concatenate(sums))
    ends = ends[np.diff(ends, prepend=0.0) > SAME * ends]
    weight = np.diff(ends, prepend=0.0)
    common, middle = ends <= min(totals) * (1 + SAME), ends - 0.5 * weight
    i, j = (np.searchsorted(each, middle) for each in sums)
    more, at, sign = (plus, i, 1.0) if totals[0] > totals[1] else (minus, j, -1.0)
    alone = more[1:, at[~common]]
    mean, std = np.append(plus[1:, i[common]], alone, axis=1)
    other_mean, other_std = np.append(minus[1:, j[common]], alone, axis=1)
    return Pairs(
        np.append(weight[common], sign * weight[~common]), mean, std, other_mean, other_std, other_mean - mean,
        other_std - std, np.repeat([0.0, 1.0], [common.sum(), alone.shape[1]]),
    )  # fmt: skip


def smoothed(p: Pairs, tau: float) -> Pairs:
    """Convolved with a normal law of the standard deviation tau."""
    std, other = np.hypot(p.std, tau), np.hypot(p.other_std, tau)
    return p._replace(std=std, other_std=other, growth=p.growth * ((p.std + p.other_std) / (std + other)))


def summed(x: FloatArray, p: Pairs, terms: Callable[[FloatArray, Pairs], FloatArray], beyond: float) -> FloatArray:
    """Sums of ``terms``, such as `densities`, at increasing x (N,): of those that are not over near a point.

    Where it is over on the left, what is alone counts ``beyond`` times its weight.
    """
    low = np.minimum(p.mean - REACH * p.std, p.other_mean - REACH * p.other_std)
    high = np.maximum(p.mean + REACH * p.std, p.other_mean + REACH * p.other_std)
    out = np.empty(x.size)
    for start in range(0, x.size, _ROWS):
        part = x[start : start + _ROWS]
        near, over = (low <= part[-1]) & (high >= part[0]), (high < part[0]) & (p.alone > 0)
        values = terms(part, Pairs(*(column[near] for column in p)))
        out[start : start + _ROWS] = values.sum(axis=1) + beyond * p.weight[over].sum()
    return out


def densities(x: FloatArray, p: Pairs) -> FloatArray:
    """(N, n) differences of densities at x (N,)."""
    z, other, away = _in_stds(x, p)
    log_ratio = np.where(p.alone > 0, -math.inf, away * (z - 0.5 * away) - np.log1p(p.growth / p.std))
    of_other = log_ratio > 0
    larger = np.exp(-0.5 * np.where(of_other, other, z) ** 2) / np.where(of_other, p.other_std, p.std)
    return p.weight / math.sqrt(2 * math.pi) * larger * np.copysign(np.expm1(-np.abs(log_ratio)), -log_ratio)


def cdfs(x: FloatArray, p: Pairs) -> FloatArray:
    """(N, n) differences of distribution functions at x (N,)."""
    z, other, away = _in_stds(x, p)
    side = np.where((z > 0) & (p.alone == 0), -1.0, 1.0)
    plain = side * (ndtr(side * z) - np.where(p.alone > 0, 0.0, ndtr(side * other)))
    middle, square = (z - 0.5 * away) ** 2, away * away
    series = 1 + square * ((middle - 1) / 24 + square * ((middle * middle - 6 * middle + 3) / 1920))
    near = away * np.exp(-0.5 * middle) * series / math.sqrt(2 * math.pi)
    short = (square * (1 + middle) < _SHORT**2) & (p.alone == 0)
    return p.weight * np.where(short, near, plain)


def _in_stds(x: FloatArray, p: Pairs) -> tuple[FloatArray, FloatArray, FloatArray]:
    """z, z' and z - z', (N, n) each."""
    places = (p.mean, p.std), (p.other_mean, p.other_std)
    with np.errstate(over="ignore"):
        z, other = (((x[:, None] - mean) / std).clip(-_FAR, _FAR) for mean, std in places)
        return z, other, ((z * p.growth + p.move) / p.other_std).clip(-_FAR, _FAR)


class Difference:
    """a less b, with positions from ``origin`` on."""

    def __init__(self, a: Law, b: Law):
        self.origin = _location(b if isinstance(a, Sample) and not isinstance(b, Sample) else a)
        mass, at = net(*(_points(law) for law in (a, b)))
        self.at, self.mass = at - self.origin, mass  # (N,) increasing, and none of them 0: of points and atoms
        gaussians, pieces = zip(*(_parts(law, self.origin) for law in (a, b)), strict=True)
        matched = pairs(*gaussians)
        self.pairs = matched._replace(mean=matched.mean - self.origin, other_mean=matched.other_mean - self.origin)
        self.cut = net(*pieces)  # (5, n): weight, mean, std, low, high; an infinite std is a flat one's, of that height

    def has_densities(self) -> bool:
        return self.pairs.weight.size + self.cut.shape[1] > 0

    def smoothed(self, x: FloatArray, tau: float) -> FloatArray:
        """Convolved with a normal law of the standard deviation tau, at increasing x (N,), but for the points."""
        values = summed(x, smoothed(self.pairs, tau), densities, 0.0)
        weight, mean, std, low, high = self.cut
        S = np.hypot(std, tau)
        flat = np.isinf(std)
        height = weight / np.where(flat, 1.0, S * math.sqrt(2 * math.pi))
        for start in range(0, x.size if weight.size else 0, _ROWS):
            part = x[start : start + _ROWS, None]
            c = part + (mean - part) * (tau / S) ** 2
            inverse = np.hypot(1 / std, 1 / tau)
            below, above = (low - c) * inverse, (c - high) * inverse
            inside = np.where(below > above, ndtr(-below) - ndtr(above), ndtr(-above) - ndtr(below))
            values[start : start + _ROWS] += (height * np.exp(-0.5 * ((part - mean) / S) ** 2) * inside).sum(axis=1)
        return values

    def cdf(self, x: FloatArray) -> FloatArray:
        """The difference of the distribution functions at increasing x (N,), but for the points."""
        values = summed(x, self.pairs, cdfs, 1.0)
        weight, mean, std, low, high = self.cut
        flat = np.isinf(std)
        for start in range(0, x.size if weight.size else 0, _ROWS):
            part = x[start : start + _ROWS, None].clip(low, high)
            with np.errstate(invalid="ignore"):  # what is not flat may have no lower bound
                level = np.where(flat, part - low, ndtr((part - mean) / std) - ndtr((low - mean) / std))
            values[start : start + _ROWS] += (weight * level).sum(axis=1)
        return values

    def features(self, tau: float, width: float) -> Features:
        """What panels must resolve, convolved with tau; they are ``width`` standard deviations wide."""
        p, edge = smoothed(self.pairs, tau), REACH * tau
        _, mean, std, low, high = self.cut
        mean, std, low, high = (
            np.concatenate(parts)
            for parts in (
                (p.mean, p.other_mean, mean),
                (p.std, p.other_std, np.hypot(std, tau)),
                (np.full(2 * p.mean.size, -math.inf), low),
                (np.full(2 * p.mean.size, math.inf), high),
            )
        )
        flat, corners = np.isinf(std), np.unique(np.concatenate([low, high]))
        cuts = corners[np.isfinite(corners)]
        corners = cuts if tau > 0 else cuts[:0]  # convolved, they are round
        start, end = (np.where(flat, cut, mean + side * REACH * std) for side, cut in ((-1, low), (1, high)))
        start = np.concatenate([np.maximum(start, low - edge), corners - edge])
        end = np.concatenate([np.minimum(end, high + edge), corners + edge])
        widths = np.append(width * std, np.full(corners.size, width * tau))
        widths = np.maximum(widths, 2.0**-46 * np.maximum(np.abs(start), np.abs(end)))  # of which rounding leaves some
        there = start <= end  # not so of an image that ends before the bounds
        return Features(start[there], end[there], widths[there], start[there], end[there], cuts)


def _location(law: Law) -> float:
    """A place where the law has much of its mass."""
    if isinstance(law, Sample):
        return float(np.median(law.values))
    if law.atoms.masses.sum() > 0.5:
        return float(law.atoms.positions[law.atoms.masses.argmax()])
    return float(law.means[law.weights.argmax()])


def _points(law: Law) -> FloatArray:
    """Masses and positions (2, n) of points or atoms."""
    values, masses = law if isinstance(law, Sample) else law.atoms
    return np.stack([np.full(values.size, 1 / max(values.size, 1)) if masses is None else masses, values])


def _parts(law: Law, origin: float) -> tuple[FloatArray, FloatArray]:
    """Gaussians (3, n), in place, and what bounds cut off, (5, n), from ``origin`` on: weights, means, stds, bounds."""
    share = 0.0 if isinstance(law, Sample) else continuous_share(law)
    if isinstance(law, Sample) or share == 0:
        return np.empty((3, 0)), np.empty((5, 0))
    mass, loc, scale = law.tail
    own = np.stack([(share - share * mass) * law.weights, law.means, law.stds])[:, law.weights > 0]
    guard = np.stack([share * mass * _GUARD_WEIGHTS, np.full(_GUARD_STDS.size, loc), scale * _GUARD_STDS])
    guard = guard[:, : _GUARD_STDS.size if mass else 0]
    if not np.isfinite(law.bounds).any():
        return np.append(own, guard, axis=1), np.empty((5, 0))
    low, high = law.bounds[0] - origin, law.bounds[1] - origin
    if not low < high:  # so far from the origin that they are one number
        low, high = -math.inf, math.inf
    # Moved before it is mirrored: images of a law far from zero would be rounded
    p = exact.expand(law.weights, law.means - origin, law.stds, (low, high), law.tail)
    cut = np.stack([share * p.weight, p.mean, 1 / p.inverse_std, *np.tile([[low], [high]], p.mean.size)])
    flat = np.array([[share * p.flat], [0.0], [math.inf], [low], [high]])
    return guard, np.append(cut, flat[:, : int(p.flat > 0)], axis=1)
