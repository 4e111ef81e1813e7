"""The difference of two laws: its point masses, its Gaussians in pairs, and the pieces that bounds cut off.

All positions are taken from where a lies: only differences matter, and far from zero those would lose their digits.

A piece w N(x; m, s^2) on [low, high], convolved with a normal law of variance tau^2, becomes

    w N(x; m, S^2) (Phi((high - c) / d) - Phi((low - c) / d)),    S^2 = s^2 + tau^2,  c = x + (m - x) tau^2 / S^2,
                                                                  d = s tau / S

The guard is a mixture of normals: Student's t with 3 degrees of freedom is one whose variance v has the density
1.5^1.5 / Gamma(1.5) v^-2.5 exp(-1.5 / v), and the trapezoidal rule in log v takes it to 1e-12.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.distances._inputs import Law, Sample, continuous_share
from gaussmix.distances._mixtures.quadrature import Features
from gaussmix.distances._pairs import REACH, cdfs, densities, net, pairs, smoothed, summed

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_ROWS = 128  # points at a time

_LOG_VARIANCES = np.arange(math.log(1.5 / 40), math.log(1e10), 0.3)
_GUARD_STDS = np.exp(0.5 * _LOG_VARIANCES)
_GUARD_WEIGHTS = np.exp(-1.5 * _LOG_VARIANCES - 1.5 * np.exp(-_LOG_VARIANCES))
_GUARD_WEIGHTS /= _GUARD_WEIGHTS.sum()

TO_LEGENDRE = _WEIGHTS * np.polynomial.legendre.legvander(_NODES, 15).T * (np.arange(16)[:, None] + 0.5)
"""(16, 16): from values at the nodes of a panel's rule to coefficients of Legendre's polynomials."""


class Difference:
    """a less b, with positions from ``origin`` on."""

    def __init__(self, a: Law, b: Law):
        self.origin = _location(a)
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
    # Moved before it is mirrored: images of a law far from zero would be rounded
    p = exact.expand(law.weights, law.means - origin, law.stds, (low, high), law.tail)
    cut = np.stack([share * p.weight, p.mean, 1 / p.inverse_std, *np.tile([[low], [high]], p.mean.size)])
    flat = np.array([[share * p.flat], [0.0], [math.inf], [low], [high]])
    return guard, np.append(cut, flat[:, : int(p.flat > 0)], axis=1)
