"""Random target densities as in E section 3.1.

E says that targets mix "8 random Gaussian components" (Table 1) or normal, t and uniform ones (Table 2), and not how
they are drawn. The ranges here were found by a search for those that give the losses of Tables 1-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr
from scipy.stats import norm, t

Array = NDArray[np.float64]
Kind = Literal["normal", "t", "uniform"]
KINDS: tuple[Kind, ...] = ("normal", "t", "uniform")

N_COMPONENTS = 8
CENTERS = (0.0, 100.0)
SCALES = (5.0, 15.0)
"""Standard deviations of normal components, scales of t components."""
DEGREES_OF_FREEDOM = (20, 60)
WIDTHS = (5.0, 30.0)
"""Lengths of uniform components."""

GENERATOR = (
    "Targets: the paper does not say how its random mixtures are drawn. Found by search, to match Tables 1-3: 8 "
    "components, centres uniform on (0, 100), standard deviations uniform on (5, 15), weights uniform on (0, 1) and "
    "normalised. Table 2 has at least one each of normal, t (20-60 degrees of freedom) and uniform components (length "
    "uniform on (5, 30)), the kinds of the other five at random."
)


@dataclass(frozen=True)
class Component:
    """``scale``: standard deviation (normal), scale (t) or length (uniform)."""

    kind: Kind
    center: float
    scale: float
    dof: int = 0

    def cdf(self, x: Array) -> Array:
        z = (x - self.center) / self.scale
        if self.kind == "normal":
            return ndtr(z)
        return stdtr(self.dof, z) if self.kind == "t" else np.clip(z + 0.5, 0, 1)

    def pdf(self, x: Array) -> Array:
        z = (x - self.center) / self.scale
        if self.kind == "normal":
            return norm.pdf(z) / self.scale
        if self.kind == "t":
            return t.pdf(z, self.dof) / self.scale
        return np.where(np.abs(z) <= 0.5, 1 / self.scale, 0.0)

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        if self.kind == "normal":
            z = rng.standard_normal(size)
        else:
            z = rng.standard_t(self.dof, size) if self.kind == "t" else rng.uniform(-0.5, 0.5, size)
        return self.center + self.scale * z


@dataclass(frozen=True)
class Target:
    """A mixture of components; weights sum to 1."""

    weights: Array
    components: tuple[Component, ...]

    def cdf(self, x: Array) -> Array:
        """P(X <= x), the shape of x."""
        return np.sum([w * part.cdf(x) for w, part in zip(self.weights, self.components, strict=True)], axis=0)

    def pdf(self, x: Array) -> Array:
        """Density, the shape of x."""
        return np.sum([w * part.pdf(x) for w, part in zip(self.weights, self.components, strict=True)], axis=0)

    def draw(self, size: int, rng: np.random.Generator) -> Array:
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
