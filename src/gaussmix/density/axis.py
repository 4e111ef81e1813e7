"""An axis of equal-width bins: where counts, bases and densities lie.

Bin k, k = 0..K-1, holds the x with origin + k width <= u(x) < origin + (k + 1) width, where u(x) = x on a linear axis
and u(x) = asinh((x - center) / scale) on a warped one, for heavy tails.

An axis can grow. Its bins are runs of 2^level bins of a *base lattice*, which starts at ``base`` and never changes:
bin k of the axis is number ``first + k`` at its level, and holds the base bins j with j >> level == first + k. Hence
what an axis becomes depends on the base lattice and on the points that it must hold, not on the order they came in.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray

LARGEST_EDGE = 2.0**1022  # so that differences of edges are finite
LARGEST_POINT = 2.0**1000  # an axis grows no further; leaves room for the bin around the point
MOST_BINS = 1 << 28
EDGE = 1e-9  # bins below an edge of an asinh axis from where on points belong to it: asinh is rounded


@dataclass(frozen=True)
class Axis:
    """Bins of one width on a linear axis (``scale=None``) or an asinh axis.

    ``origin`` is u of the first edge, ``width`` a bin's in u; ``center`` and ``scale`` of the warp are in units of x;
    ``first``, ``level`` and ``base`` are the place on the base lattice; left alone, the axis is its own base lattice.

    Raises ValueError for a width or a scale that is not positive, no bins, or edges beyond +-2^1022.
    """

    origin: float
    width: float
    n_bins: int
    center: float = 0.0
    scale: float | None = None
    first: int = 0
    level: int = 0
    base: float | None = None

    def __post_init__(self) -> None:
        for name in ("origin", "width", "center", "scale", "base"):
            if getattr(self, name) is None and name in ("scale", "base"):
                continue
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise ValueError(f"{name} of an axis is {value}; it must be finite")
            object.__setattr__(self, name, value)
        for name in ("n_bins", "first", "level"):
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        if not 1 / LARGEST_EDGE <= self.width <= LARGEST_EDGE:
            raise ValueError(f"width of an axis is {self.width}; it must be positive, from 2^-1022 to 2^1022")
        if not 1 <= self.n_bins <= MOST_BINS:
            raise ValueError(f"n_bins of an axis is {self.n_bins}; it must be from 1 to 2^28")
        if self.scale is not None and self.scale < 1 / LARGEST_EDGE:
            raise ValueError(f"scale of an asinh axis is {self.scale}; it must be positive (or None: linear)")
        if self.base is None:
            object.__setattr__(self, "base", self.origin - self.first * self.width)
        end = self.origin + self.n_bins * self.width
        if max(abs(self.origin), abs(end), abs(self.center)) > LARGEST_EDGE:
            raise ValueError(f"an axis from {self.origin:g} to {end:g}: edges must lie within +-2^1022 (4.5e307)")

    def transform(self, x: ArrayLike) -> FloatArray:
        """u(x); beyond what a float holds, +-inf."""
        x = np.asarray(x, dtype=np.float64)
        if self.scale is None:
            return x
        with np.errstate(over="ignore"):
            return np.arcsinh((x - self.center) / self.scale)

    def inverse(self, u: ArrayLike) -> FloatArray:
        """x(u); beyond what a float holds, +-inf."""
        u = np.asarray(u, dtype=np.float64)
        if self.scale is None:
            return u
        with np.errstate(over="ignore"):
            return self.center + self.scale * np.sinh(u)

    def slope(self, x: ArrayLike) -> FloatArray:
        """du/dx at x, in 1/units of x."""
        x = np.asarray(x, dtype=np.float64)
        return np.ones_like(x) if self.scale is None else 1 / np.hypot(self.scale, x - self.center)

    @property
    def edges(self) -> FloatArray:
        """The ``n_bins + 1`` edges, in x."""
        return self.inverse(self.start + np.arange(self.first, self.first + self.n_bins + 1) * self.width)

    @property
    def centers(self) -> FloatArray:
        """The middles of the bins in u, as x: (n_bins,)."""
        return self.inverse(self.start + (np.arange(self.first, self.first + self.n_bins) + 0.5) * self.width)

    @property
    def low(self) -> float:
        """The lowest edge, in x."""
        return float(self.inverse(self.start + self.first * self.width))

    @property
    def high(self) -> float:
        """The highest edge, in x."""
        return float(self.inverse(self.start + (self.first + self.n_bins) * self.width))

    @property
    def start(self) -> float:
        """u where the base lattice starts."""
        assert self.base is not None  # set by __post_init__
        return self.base

    @property
    def lattice(self) -> tuple[float, float, float, float | None]:
        """What axes must share to grow into each other: base, width of a base bin, center, scale."""
        return self.start, math.ldexp(self.width, -self.level), self.center, self.scale

    def extended(self, low: float, high: float, max_bins: int = 1 << 16) -> Axis:
        """The axis grown by whole bins until it holds the points ``low`` and ``high`` (in x).

        Where that takes more than ``max_bins`` (>= 2) bins, neighbouring pairs of the base lattice are joined, as often
        as needed. Bins are never dropped, so extensions may come in any order.

        Raises ValueError for ``low > high``, points x or u(x) beyond +-2^1000, and ``max_bins`` below 2 or ``n_bins``.
        """
        u_low, u_high = self._place(low), self._place(high)
        if not (low <= high and max(map(abs, (low, high, u_low, u_high))) <= LARGEST_POINT):
            raise ValueError(f"cannot extend an axis to [{low}, {high}]: needed are low <= high within +-2^1000")
        return self._grown(self._number(u_low), self._number(u_high), max_bins)

    def joined(self, other: Axis, max_bins: int = 1 << 16) -> Axis:
        """The axis grown until it holds all bins of ``other``. Raises ValueError if that has another base lattice."""
        if self.lattice != other.lattice:
            raise ValueError(f"axes lie on different lattices: {self.lattice} and {other.lattice}")
        if other.level > self.level:
            return other.joined(self, max_bins)
        shift = self.level - other.level
        return self._grown(other.first >> shift, (other.first + other.n_bins - 1) >> shift, max_bins)

    def _grown(self, first: int, last: int, max_bins: int) -> Axis:
        """Grown to hold also the bins from number ``first`` to ``last`` of its level."""
        if max_bins < max(2, self.n_bins):
            raise ValueError(f"max_bins is {max_bins}; the axis has {self.n_bins} bins and 2 are needed at least")
        first, last, level = min(first, self.first), max(last, self.first + self.n_bins - 1), self.level
        while last - first >= max_bins:
            first, last, level = first >> 1, last >> 1, level + 1
        width = math.ldexp(self.width, level - self.level)
        origin = self.start + first * width
        return replace(self, origin=origin, width=width, n_bins=last - first + 1, first=first, level=level)

    def _place(self, x: float) -> float:
        """u(x) by the formula of the kernels, from which that of `transform` may differ in the last digit."""
        return x if self.scale is None else math.asinh((x - self.center) * (1 / self.scale))

    def _number(self, u: float) -> int:
        """Number of the bin that holds u, by the formula of the kernels."""
        place = (u - self.start) * (1 / self.width) + (0.0 if self.scale is None else EDGE)
        return math.floor(place) if math.isfinite(place) else int(math.copysign(LARGEST_EDGE, place))
