"""Rows of mixtures of a y that cannot lie outside an interval: cut off at its ends, and made whole again.

    P(Y <= y) = (F(y) - F(low-)) / (F(high) - F(low-)),    low <= y <= high

The guard lies over the data, so that some of every row is inside.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.conditional.distribution import ConditionalMixture

_NOTHING = 1e-9  # mass outside that scores are the same without
_PANELS = np.array([0, 1e-4, 1e-3, 0.01, *np.arange(0.05, 0.96, 0.05), 0.99, 0.999, 0.9999, 1])
_NODES = 12
_ROOT_2PI = math.sqrt(2 * math.pi)


class BoundedMixture(ConditionalMixture):
    """Distributions of N rows given that y lies between two ends; all of `ConditionalMixture`'s methods.

    Parameters
    ----------
    law : ConditionalMixture
        The rows, on no lattice.
    bounds : tuple of float
        The ends, infinite where there is none.
    """

    def __init__(self, law: ConditionalMixture, bounds: tuple[float, float]):
        super().__init__(law.moved, law.fixed, law.loc, law.scale, atoms=law.atoms)
        self.law, self.bounds = law, bounds

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value that can be."""
        return self.bounds

    @cached_property
    def _masses(self) -> tuple[FloatArray, FloatArray]:
        """P(X < low) and P(low <= X <= high) of the rows that are cut off."""
        low, high = self.bounds
        below = self.law.cdf(low) - self.law._step(np.full(len(self), low))
        return below, self.law.cdf(high) - below

    def logpdf(self, y: ArrayLike) -> FloatArray:
        """Return the log-density (N,) at y, minus infinity outside; at a point mass the log-probability."""
        y = self._each(y)
        inside = (y >= self.bounds[0]) & (y <= self.bounds[1])
        return np.where(inside, self.law.logpdf(np.clip(y, *self.bounds)) - np.log(self._masses[1]), -math.inf)

    def cdf(self, y: ArrayLike) -> FloatArray:
        """Return P(Y <= y), (N,)."""
        y, (low, high), (below, inside) = self._each(y), self.bounds, self._masses
        found = np.clip((self.law.cdf(np.clip(y, low, high)) - below) / inside, 0.0, 1.0)
        return np.where(y < low, 0.0, np.where(y >= high, 1.0, found))

    def crps(self, y: ArrayLike) -> FloatArray:
        """Return the continuous ranked probability scores (N,) in units of y.

        In closed form where a row has no mass outside, else by quadrature of (F(x) - [y <= x])^2 between quantiles.
        """
        y = self._each(y)
        out = self.law.crps(y)
        cut = np.flatnonzero(1 - self._masses[1] > _NOTHING)
        if len(cut):
            some, at = self._some(cut), y[cut]
            ends = some._quantiles(np.broadcast_to(_PANELS, (len(cut), len(_PANELS))))
            finite = some._quantiles(np.broadcast_to(np.array([1e-7, 1 - 1e-7]), (len(cut), 2)))
            ends = np.sort(np.column_stack([np.clip(ends, finite[:, :1], finite[:, 1:]), at]), axis=1)
            nodes, weights = np.polynomial.legendre.leggauss(_NODES)
            width = np.diff(ends, axis=1)
            x = (ends[:, :-1, None] + width[:, :, None] * (nodes + 1) / 2).reshape(len(cut), -1)
            below, inside = (each[:, None] for each in some._masses)
            F = np.clip((some.law._smooth_cdf(np.clip(x, *self.bounds)) - below) / inside, 0.0, 1.0)
            F = np.where(x < self.bounds[0], 0.0, np.where(x >= self.bounds[1], 1.0, F))
            squares = (F - (x >= at[:, None])) ** 2
            out[cut] = (squares.reshape(*width.shape, _NODES) @ weights * width / 2).sum(1)
        return out

    def _step(self, y: FloatArray) -> FloatArray:
        return self.law._step(y) / self._masses[1]

    def _some(self, rows: Any) -> BoundedMixture:
        return BoundedMixture(self.law._some(rows), self.bounds)

    def _quantiles(self, levels: FloatArray) -> FloatArray:
        below, inside = (each[:, None] for each in self._masses)
        return np.clip(self.law._quantiles(np.clip(below + levels * inside, 0.0, 1.0)), *self.bounds)

    def _moments(self) -> tuple[FloatArray, FloatArray]:
        """Expectation and variance (N,), of Gaussians that are cut off."""
        first, second = np.empty(len(self)), np.empty(len(self))
        for part, rows in self.law._parts():
            weights, means, stds = part._full()
            center = (weights * means).sum(1)[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                a, b = ((end - means) / stds for end in self.bounds)
                p = ndtr(b) - ndtr(a)
                slope = (np.exp(-(a**2) / 2) - np.exp(-(b**2) / 2)) / _ROOT_2PI
                ends = (np.where(np.isfinite(z), z * np.exp(-(z**2) / 2), 0.0) / _ROOT_2PI for z in (a, b))
                curve = p + next(ends) - next(ends)
            if part.atoms is not None:
                fixed = np.flatnonzero(stds[0] == 0)
                p[:, fixed], slope[:, fixed], curve[:, fixed] = 1.0, 0.0, 0.0
            away = means - center
            total = (weights * p).sum(1)
            mean = (weights * (away * p + stds * slope)).sum(1) / total
            square = (weights * (away**2 * p + 2 * away * stds * slope + stds**2 * curve)).sum(1) / total
            first[rows], second[rows] = center[:, 0] + mean, np.maximum(square - mean**2, 0.0)
        return first, second

    def _single(self) -> Any:
        return self.law._single().truncate(*self.bounds)
