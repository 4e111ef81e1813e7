"""The difference of two laws with what both have left out, and its Gaussians in pairs of one from each law.

A term of a difference is  w (N(m, s^2) - N(m', s'^2)). With z = (x - m) / s and z' of the other,

    z - z' = (z (s' - s) + m' - m) / s',    N' / N = s / s' exp((z - z') (z + z') / 2),

so that a difference of densities, or of distribution functions, keeps its digits however close the two are. Gaussians
are matched as they come from the left: laws with almost the same components have small terms only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray

SAME = 64 * 2.0**-53
"""Sums of weights that differ by less, relative to themselves, differ by rounding."""
REACH = 9.5  # standard deviations at which a Gaussian ends: 1e-20 of its density
_FAR = 1e30  # standard deviations, whose powers are numbers
_ROWS = 128  # points at a time
_SHORT = 0.02  # of z - z': up to there Taylor's series has the mass between


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
