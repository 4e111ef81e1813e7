"""The fixed basis of a GMM expansion: equally spaced centres, one scale (E §2.1).

    mu_i = start + i r,   sigma = t r,   i = 0..n-1

n components, r the spacing, t the bandwidth. Only the weights of the components are learnt. Points are counted in cells
[mu_i - r/2, mu_i + r/2) around the centres, on `SUB_BINS` bins a cell.

On a warped basis the mu_i are equally spaced on u = asinh((x - center) / scale), which is linear near the center and
logarithmic far from it: a component's standard deviation in x is then t r dx/du at its centre, wide far out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density.axis import Axis
from gaussmix.density.mixture import GaussianMixture1D

SUB_BINS = 16


@dataclass(frozen=True)
class GaussianBasis:
    """`n_components` Gaussians of standard deviation `bandwidth * spacing`, centred at start, start + spacing, ...

    `start` and `spacing` are in the units of the data, or of the asinh axis where `scale` is given. `bandwidth` is the
    standard deviation in spacings (E: t, with sigma = t r). `bounds` = (low, high), None for an open side: components
    are reflected there. Raises ValueError for values that make no basis.
    """

    start: float
    spacing: float
    n_components: int
    bandwidth: float = 2.0
    center: float = 0.0
    scale: float | None = None
    bounds: tuple[float | None, float | None] = (None, None)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.spacing) and self.spacing > 0):
            raise ValueError(
                f"start is {self.start} and spacing {self.spacing}; both must be finite and the spacing positive"
            )
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components}; it must be at least 1")
        if not (math.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ValueError(f"bandwidth is {self.bandwidth}; it must be a positive number of spacings")

    @classmethod
    def spanning(
        cls,
        low: float,
        high: float,
        n_components: int,
        bandwidth: float = 2.0,
        *,
        padding: int = 0,
        center: float = 0.0,
        scale: float | None = None,
        bounds: tuple[float | None, float | None] = (None, None),
    ) -> GaussianBasis:
        """Cells that tile [low, high], centres in their middles; `padding` of the n components lie outside either end.

        `low` and `high` are in the units of the data, also for a warped basis. Raises ValueError for a range that is
        empty, reversed or not finite, and where padding leaves no component inside.
        """
        check_range(low, high)
        inside = n_components - 2 * padding
        if inside < 1 or padding < 0:
            raise ValueError(
                f"n_components is {n_components} with padding {padding} on either side; use padding >= 0 and "
                f"n_components > {2 * max(padding, 0)}"
            )
        if scale is not None:
            low, high = (math.asinh((end - center) / scale) for end in (low, high))
        spacing = high / inside - low / inside
        if spacing <= math.ulp(max(abs(low), abs(high))):
            raise ValueError(f"the range {low} to {high} is too narrow for {inside} components in double precision")
        return cls(low + (0.5 - padding) * spacing, spacing, n_components, bandwidth, center, scale, bounds)

    @classmethod
    def as_paper(cls, low: float, high: float, n_components: int, bandwidth: float = 2.0) -> GaussianBasis:
        """As the paper (E §2.1): r = (high - low) / n and mu_i = low + i r for i = 0..n-1."""
        check_range(low, high)
        return cls(low, (high - low) / n_components, n_components, bandwidth)

    @cached_property
    def centers(self) -> NDArray[np.float64]:
        """(n,) component means, in the units of the data."""
        u = self.start + self.spacing * np.arange(self.n_components, dtype=np.float64)
        return u if self.scale is None else self.center + self.scale * np.sinh(u)

    @cached_property
    def stds(self) -> NDArray[np.float64]:
        """(n,) standard deviations of the components, in the units of the data."""
        sigma = np.full(self.n_components, self.bandwidth * self.spacing)
        if self.scale is None:
            return sigma
        return np.multiply(sigma, np.hypot(self.centers - self.center, self.scale))  # dx/du = scale cosh(u)

    def axis(self) -> Axis:
        """`SUB_BINS` bins a cell, cell i centred on component i."""
        return Axis(
            self.start - self.spacing / 2,
            self.spacing / SUB_BINS,
            self.n_components * SUB_BINS,
            center=self.center,
            scale=self.scale,
        )

    def mixture(
        self,
        weights: ArrayLike,
        *,
        tail: tuple[float, float, float] | None = None,
        atoms: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> GaussianMixture1D:
        """The distribution with these component weights, shape (n,), that sum to 1."""
        return GaussianMixture1D(weights, self.centers, self.stds, bounds=self.bounds, tail=tail, atoms=atoms)


def check_range(low: float, high: float, name: str = "range") -> None:
    """Raises ValueError, naming what it is, unless low < high and both are finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} is {low} to {high}; both ends must be finite numbers")
    if not low < high:
        raise ValueError(f"{name} is {low} to {high}; the low end must come first and differ from the high end")
