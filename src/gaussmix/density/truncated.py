"""A mixture given that it lies in an interval: X | low <= X <= high.

    p(x | low <= X <= high) = p(x) / P(low <= X <= high),    zero outside

A mixture reflects its Gaussians at bounds; this cuts them off, which no mixture of Gaussians does, so that it is a
distribution of its own. Masses are differences of the mixture's on the side where they are small, or, where these are
nearly equal, direct sums over the components: conditional probabilities are relatively accurate far out in a tail too.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.distribution import Atoms, Distribution1D
from gaussmix.density._mixture.exact import Pieces

if TYPE_CHECKING:
    from gaussmix.density.mixture import GaussianMixture1D

LEAST_PROBABILITY = 1e-280
_NEARLY_EQUAL = 1e-3  # share of two masses below which their difference is summed directly


class TruncatedMixture1D(Distribution1D):
    """Distribution of X given ``low`` <= X <= ``high``, with the methods of SciPy's distributions.

    What `GaussianMixture1D.truncate` returns; immutable. Atoms inside, also at the ends, are kept.

    Parameters
    ----------
    mixture : GaussianMixture1D
        Of X.
    low, high : float
        Ends of the interval, infinite for an open side.

    Raises
    ------
    ValueError
        The interval is none, or has a probability below 1e-280.

    Examples
    --------
    >>> from gaussmix import GaussianMixture1D
    >>> far = GaussianMixture1D([1.0], means=[0.0], stds=[1.0]).truncate(12.0)  # an event of probability 2e-33
    >>> round(far.mean(), 3), far.ppf([0.1, 0.9]).round(3).tolist()
    (12.082, [12.009, 12.189])
    """

    mixture: GaussianMixture1D
    low: float
    high: float
    atoms: Atoms

    def __init__(self, mixture: GaussianMixture1D, low: float, high: float):
        if not low <= high:
            raise ValueError(f"the interval is [{low:g}, {high:g}]; low must not be above high")
        probability = mixture._probability(low, high)
        if not probability >= LEAST_PROBABILITY:
            raise ValueError(
                f"[{low:g}, {high:g}] has the probability {probability:.3g}; choose an interval that has at least "
                f"{LEAST_PROBABILITY:g}"
            )
        positions, masses = mixture.atoms
        inside = (positions >= low) & (positions <= high)
        self.__dict__.update(
            mixture=mixture,
            low=float(low),
            high=float(high),
            atoms=Atoms(positions[inside], masses[inside] / probability),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a TruncatedMixture1D is frozen: truncate again instead of setting {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TruncatedMixture1D):
            return NotImplemented
        return (self.low, self.high, self.mixture) == (other.low, other.high, other.mixture)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # equality is by value

    def __repr__(self) -> str:
        return f"TruncatedMixture1D({self.mixture!r}, low={self.low:g}, high={self.high:g})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TruncatedMixture1D, (self.mixture, self.low, self.high)

    def truncate(self, low: float | None = None, high: float | None = None) -> TruncatedMixture1D:
        """Return the distribution of X in a narrower interval.

        Parameters
        ----------
        low, high : float, optional
            Its ends; those of this one if not given, or further out.
        """
        ends = max(self.low, -math.inf if low is None else low), min(self.high, math.inf if high is None else high)
        return TruncatedMixture1D(self.mixture, *ends)

    # -- the continuous part

    @cached_property
    def _pieces(self) -> Pieces:
        return self.mixture._pieces

    @cached_property
    def _in_units(self) -> tuple[float, TruncatedMixture1D | None]:
        unit, small = self.mixture._in_units
        return unit, None if small is None else TruncatedMixture1D(small, self.low / unit, self.high / unit)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        low, high = self.mixture._ends
        return max(self.low, low), min(self.high, high)

    @cached_property
    def _mass(self) -> float:
        """Share of the mixture's continuous part that lies in the interval."""
        return self.mixture._mass_between(self.low, self.high)

    @cached_property
    def _without_guard(self) -> TruncatedMixture1D:
        return TruncatedMixture1D(self.mixture._without_guard, self.low, self.high)

    def _log_density(self, x: FloatArray) -> FloatArray:
        out = np.where(np.isnan(x), math.nan, -math.inf)
        inside = (x >= self._ends[0]) & (x <= self._ends[1])
        if self._mass > 0 and inside.any():
            out[inside] = self.mixture._log_density(x[inside]) - math.log(self._mass)
        return out

    def _mass_outside(self, x: FloatArray, upper: bool) -> FloatArray:
        if self._mass == 0:
            return np.where(np.isnan(x), math.nan, 0.0)
        end, inside = self._ends[upper], np.clip(x, *self._ends)
        points = np.append(inside, end)
        below, above = (self.mixture._mass_outside(points, side) for side in (False, True))
        thin, thick = np.maximum(below[:-1], below[-1]), np.maximum(above[:-1], above[-1])
        from_below = thin <= thick
        masses = np.where(from_below, np.abs(below[:-1] - below[-1]), np.abs(above[:-1] - above[-1]))
        near = np.flatnonzero(masses < _NEARLY_EQUAL * np.where(from_below, thin, thick))
        if near.size:
            masses[near] = exact.masses_between(inside[near], end, self._pieces)
        return np.where(inside == self._ends[not upper], 1.0, np.minimum(masses / self._mass, 1.0))

    def _log_mass_outside(self, x: FloatArray, upper: bool) -> FloatArray:
        guard = self._pieces.guard_mass if math.isinf(self._ends[upper]) else 0.0  # else it does not underflow
        pieces = self._pieces._replace(low=self._ends[0], high=self._ends[1], guard_mass=guard)
        return exact.log_masses_outside(x, pieces, upper) - (math.log(self._mass) if self._mass > 0 else 0.0)

    def _mass_between(self, low: float, high: float) -> float:
        low, high = np.clip([low, high], *self._ends).tolist()
        return min(self.mixture._mass_between(low, high) / self._mass, 1.0) if self._mass > 0 else 0.0

    def _quantiles_outside(self, q: FloatArray, upper: bool) -> FloatArray:
        start = np.array([self._ends[1 if upper else 0]])  # from which q is counted
        below, above = (self.mixture._mass_outside(start, side) for side in (False, True))
        moved = (-q if upper else q) * self._mass
        below, above = np.clip(below + moved, 0.0, 1.0), np.clip(above - moved, 0.0, 1.0)
        from_below = below <= above
        x = np.full(q.size, math.nan)
        for side, mass in ((False, below), (True, above)):
            some = from_below != side
            x[some] = self.mixture._quantiles_outside(mass[some], side)
        x = np.clip(x, *self._ends)
        first, last = self._ends[::-1] if upper else self._ends
        return np.select([q == 0, q == 1, (q > 0) & (q < 1)], [first, last, x], math.nan)
