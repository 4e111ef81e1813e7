"""Random targets and fits as in E section 3.1.

E says that its targets mix "8 random Gaussian components" (Table 1) or normal, t and uniform ones (Table 2), and not
how they are drawn. The ranges here were found by a search for those that give the losses of Tables 1 to 3.

Fits have r = (max - min) / n, mu_i = min + i r for i = 0..n-1 and sigma = t r; a point belongs to its nearest centre,
be it beyond the outermost one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, stdtr
from scipy.stats import norm, t

from gaussmix._typing import FloatArray
from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.rules import clip, interval

Kind = Literal["normal", "t", "uniform"]
KINDS: tuple[Kind, ...] = ("normal", "t", "uniform")

N_COMPONENTS = 8
CENTERS = (0.0, 100.0)
SCALES = (5.0, 15.0)
"""Standard deviations of normal components, scales of t components."""
DEGREES_OF_FREEDOM = (20, 60)
WIDTHS = (5.0, 30.0)
"""Lengths of uniform components."""


@dataclass(frozen=True)
class Component:
    """``scale``: standard deviation (normal), scale (t) or length (uniform)."""

    kind: Kind
    center: float
    scale: float
    dof: int = 0

    def cdf(self, x: FloatArray) -> FloatArray:
        z = (x - self.center) / self.scale
        if self.kind == "normal":
            return ndtr(z)
        return stdtr(self.dof, z) if self.kind == "t" else np.clip(z + 0.5, 0, 1)

    def pdf(self, x: FloatArray) -> FloatArray:
        z = (x - self.center) / self.scale
        if self.kind == "normal":
            return norm.pdf(z) / self.scale
        if self.kind == "t":
            return t.pdf(z, self.dof) / self.scale
        return np.where(np.abs(z) <= 0.5, 1 / self.scale, 0.0)

    def draw(self, size: int, rng: np.random.Generator) -> FloatArray:
        if self.kind == "normal":
            z = rng.standard_normal(size)
        else:
            z = rng.standard_t(self.dof, size) if self.kind == "t" else rng.uniform(-0.5, 0.5, size)
        return self.center + self.scale * z


@dataclass(frozen=True)
class Target:
    """A mixture of components; weights sum to 1."""

    weights: FloatArray
    components: tuple[Component, ...]

    def cdf(self, x: FloatArray) -> FloatArray:
        """P(X <= x), the shape of x."""
        return np.sum([w * part.cdf(x) for w, part in zip(self.weights, self.components, strict=True)], axis=0)

    def pdf(self, x: FloatArray) -> FloatArray:
        """Density, the shape of x."""
        return np.sum([w * part.pdf(x) for w, part in zip(self.weights, self.components, strict=True)], axis=0)

    def draw(self, size: int, rng: np.random.Generator) -> FloatArray:
        """(size,) points, grouped by component."""
        numbers = rng.multinomial(size, self.weights)
        return np.concatenate([part.draw(m, rng) for m, part in zip(numbers, self.components, strict=True)])


def gaussian_target(rng: np.random.Generator) -> Target:
    """Eight normal components (E Table 1)."""
    return _target(("normal",) * N_COMPONENTS, rng)


def mixed_target(rng: np.random.Generator) -> Target:
    """Normal, t and uniform components, at least one of each (E Table 2)."""
    others = rng.integers(len(KINDS), size=N_COMPONENTS - len(KINDS))
    return _target((*KINDS, *(KINDS[i] for i in others)), rng)


def _target(kinds: Sequence[Kind], rng: np.random.Generator) -> Target:
    weights = rng.uniform(size=len(kinds))
    components = []
    for kind in kinds:
        center = rng.uniform(*CENTERS)
        scale = rng.uniform(*(WIDTHS if kind == "uniform" else SCALES))
        dof = int(rng.integers(*DEGREES_OF_FREEDOM, endpoint=True)) if kind == "t" else 0
        components.append(Component(kind, center, scale, dof))
    return Target(weights / weights.sum(), tuple(components))


def count(x: FloatArray, n: int, t: float) -> tuple[BinnedCounts, GaussianBasis]:
    """Counts of the points on the paper's basis for them."""
    basis = GaussianBasis.as_paper(float(x.min()), float(x.max()), n, t)
    return BinnedCounts(basis.axis()).add(np.minimum(x, basis.centers[-1])), basis


def algorithm1_about_points(counts: BinnedCounts, basis: GaussianBasis) -> tuple[FloatArray, float]:
    """E Algorithm 1 with side- = (x_j - r, x_j - r + d] as printed, d = sigma/4: (weights, clipped mass).

    x_j is taken as the middle of its bin, 1/16 of a spacing wide.
    """
    n, t = basis.n_components, basis.bandwidth
    d = t / 4
    offset = np.arange(n - 1, -n, -1)  # mu_i - mu_k, for k from the first column on
    mid = interval((offset - d) / t, (offset + d) / t)
    side_plus = interval((offset + 1 - d) / t, (offset + 1) / t)
    place = ((np.arange(SUB_BINS) + 0.5) / SUB_BINS - 0.5)[:, None]
    side_minus = interval((offset + place - 1) / t, (offset + place - 1 + d) / t)
    moves = mid - (side_plus + side_minus) / 2
    masses = counts.mass.reshape(n, SUB_BINS)
    total = np.sum([masses[i] @ moves[:, n - 1 - i : 2 * n - 1 - i] for i in range(n)], axis=0)
    return clip(1 / n + total)
