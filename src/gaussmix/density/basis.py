"""The fixed basis of a GMM expansion: equally spaced centres, one scale (E section 2.1, D section 2.2).

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
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.axis import Axis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.reflection import Bounds

SUB_BINS = 16


@dataclass(frozen=True)
class GaussianBasis:
    """Gaussians of one standard deviation, ``bandwidth * spacing``, centred at start, start + spacing, ...

    Parameters
    ----------
    start, spacing : float
        In the units of the data, or of the asinh axis where ``scale`` is given.
    n_components : int
        How many Gaussians.
    bandwidth : float
        Standard deviation in spacings (E: t, with sigma = t r).
    center, scale : float or None
        Of the asinh axis, in the units of the data; linear where ``scale`` is None.
    bounds : tuple of float or None
        (low, high), None for an open side: components are reflected there.

    Raises
    ------
    ValueError
        Values make no basis.

    Examples
    --------
    >>> from gaussmix import GaussianBasis
    >>> basis = GaussianBasis.spanning(0.0, 5.0, 5)
    >>> basis.centers.tolist()
    [0.5, 1.5, 2.5, 3.5, 4.5]
    >>> round(float(basis.mixture([0.0, 0.5, 0.0, 0.5, 0.0]).mean()), 6)
    2.5
    """

    start: float
    spacing: float
    n_components: int
    bandwidth: float = 2.0
    center: float = 0.0
    scale: float | None = None
    bounds: Bounds = (None, None)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.spacing) and self.spacing > 0):
            raise ValueError(
                f"start is {self.start} and spacing {self.spacing}; finite numbers are needed, a spacing > 0"
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
        center: float = 0.0,
        scale: float | None = None,
        bounds: Bounds = (None, None),
    ) -> GaussianBasis:
        """Make a basis whose cells tile [low, high], centres in their middles.

        Parameters
        ----------
        low, high : float
            In the units of the data, also for a warped basis.
        n_components, bandwidth, center, scale, bounds : int, float or tuple
            As of the class.

        Raises
        ------
        ValueError
            The range is empty, reversed, not finite, or too narrow for so many components.
        """
        check_range(low, high)
        if n_components < 1:
            raise ValueError(f"n_components is {n_components}; it must be at least 1")
        if scale is not None:
            low, high = (math.asinh((end - center) / scale) for end in (low, high))
        n = n_components
        spacing = high / n - low / n
        if spacing <= math.ulp(max(abs(low), abs(high))):
            raise ValueError(f"the range {low} to {high} is too narrow for {n} components in double precision")
        return cls(low + 0.5 * spacing, spacing, n_components, bandwidth, center, scale, bounds)

    @classmethod
    def as_paper(cls, low: float, high: float, n_components: int, bandwidth: float = 2.0) -> GaussianBasis:
        """Make the basis as the paper (E section 2.1): r = (high - low) / n and mu_i = low + i r for i = 0..n-1.

        Parameters
        ----------
        low, high, n_components, bandwidth : float or int
            As of `spanning`: the least and the greatest number of the data are meant.
        """
        check_range(low, high)
        return cls(low, (high - low) / n_components, n_components, bandwidth)

    @cached_property
    def centers(self) -> FloatArray:
        """(n,) component means, in the units of the data."""
        u = self.start + self.spacing * np.arange(self.n_components, dtype=np.float64)
        return u if self.scale is None else self.center + self.scale * np.sinh(u)

    @cached_property
    def stds(self) -> FloatArray:
        """(n,) standard deviations of the components, in the units of the data."""
        sigma = np.full(self.n_components, self.bandwidth * self.spacing)
        if self.scale is None:
            return sigma
        return np.multiply(sigma, np.hypot(self.centers - self.center, self.scale))  # dx/du = scale cosh(u)

    def axis(self) -> Axis:
        """Return `SUB_BINS` bins a cell, cell i centred on component i."""
        low, width, n_bins = self.start - self.spacing / 2, self.spacing / SUB_BINS, self.n_components * SUB_BINS
        return Axis(low, width, n_bins, center=self.center, scale=self.scale)

    def mixture(
        self,
        weights: ArrayLike,
        *,
        tail: tuple[float, float, float] | None = None,
        atoms: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> GaussianMixture1D:
        """Return the distribution with given weights of the components.

        Parameters
        ----------
        weights : array-like of shape (n,)
            Their sum is 1.
        tail, atoms : tuple, optional
            As of `GaussianMixture1D`.
        """
        return GaussianMixture1D(weights, self.centers, self.stds, bounds=self.bounds, tail=tail, atoms=atoms)


def check_range(low: float, high: float, name: str = "range") -> None:
    """Raises ValueError, naming what it is, unless low < high and both are finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} is {low} to {high}; both ends must be finite numbers")
    if not low < high:
        raise ValueError(f"{name} is {low} to {high}; the low end must come first and differ from the high end")
