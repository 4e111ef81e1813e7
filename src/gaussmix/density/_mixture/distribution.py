"""What distributions of a continuous part and point masses have in common: the methods of SciPy's frozen distributions.

A class says what its continuous part is, at arrays (N,): log-density, mass outside on either side and its log,
quantiles, and what lies between two numbers. Point masses are laid over it here:

    P(X <= x) = (1 - A) F(x) + sum over y_j <= x of a_j,    A = sum_j a_j

F is the continuous part's. Quantiles are generalised inverses: the smallest x with P(X <= x) >= q. At the atoms both
tails are kept as numbers, so that a quantile of P(X <= y_j) is y_j itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import quadrature
from gaussmix.density._mixture.exact import Pieces


class AtomOverlay:
    """Atoms at increasing positions (A,) with masses (A,); ``below`` and ``above`` are F and 1 - F there, (A,)."""

    def __init__(self, positions: FloatArray, masses: FloatArray, below: FloatArray, above: FloatArray):
        self.positions, self.masses = positions, masses
        self.continuous = max(0.0, 1 - float(masses.sum()))
        before = np.append(0.0, np.cumsum(masses))
        after = np.append(np.cumsum(masses[::-1])[::-1], 0.0)
        self._before, self._after = before, after
        self._up_to = np.minimum(self.continuous * below + before[1:], 1.0)
        self._beyond = np.minimum(self.continuous * above + after[1:], 1.0)

    def log_density(self, x: FloatArray, continuous: FloatArray) -> FloatArray:
        """log of the density with respect to length plus counting measure, given the continuous part's at x."""
        share = math.log(self.continuous) if self.continuous > 0 else -math.inf
        nearest, is_atom = self._find(x)
        return np.where(is_atom, np.log(self.masses)[nearest], share + continuous)

    def outside(self, x: FloatArray, continuous: FloatArray, upper: bool) -> FloatArray:
        """P(X > x) if ``upper``, else P(X <= x), given the continuous part's."""
        nearest, is_atom = self._find(x)
        passed = np.searchsorted(self.positions, x, "right")
        sums, at_atoms = (self._after, self._beyond) if upper else (self._before, self._up_to)
        return np.where(is_atom, at_atoms[nearest], np.minimum(self.continuous * continuous + sums[passed], 1.0))

    def log_outside(self, x: FloatArray, continuous: FloatArray, upper: bool) -> FloatArray:
        """log of `outside` where that underflows, given the log of the continuous part's."""
        passed = np.searchsorted(self.positions, x, "right")
        sums = (self._after if upper else self._before)[passed]
        with np.errstate(divide="ignore"):
            return np.logaddexp(np.log(sums), np.log(self.continuous) + continuous)

    def quantiles(self, q: FloatArray, continuous: Callable[[FloatArray, bool], FloatArray], upper: bool) -> FloatArray:
        """The smallest x with at least q (N,) at or below it; if ``upper``, with at most q above it."""
        if upper:
            positions, sums = self.positions[::-1], self._after[::-1]
            start, end = self._beyond[::-1], (self._beyond + self.masses)[::-1]
        else:
            positions, sums = self.positions, self._before
            start, end = self._up_to - self.masses, self._up_to
        passed = np.searchsorted(end, q, "left")
        candidate = np.minimum(passed, positions.size - 1)
        in_atom = (passed < positions.size) & (q >= start[candidate]) & (q <= end[candidate]) & (q >= 0)
        if self.continuous > 0:
            rest = np.clip((q - sums[passed]) / self.continuous, 0.0, 1.0)
            between = continuous(np.where((q >= 0) & (q <= 1), rest, math.nan), upper)
            ends = np.concatenate([[math.inf if upper else -math.inf], positions, [-math.inf if upper else math.inf]])
            sides = np.sort([ends[passed], ends[passed + 1]], axis=0)
            between = np.clip(between, *sides)  # where rounding leaves a mass of 0 or 1 beside an atom
        else:
            between = np.where((q >= 0) & (q <= 1), positions[candidate], math.nan)
        return np.where(in_atom, positions[candidate], between)

    def _find(self, x: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        nearest = np.minimum(np.searchsorted(self.positions, x), self.positions.size - 1)
        return nearest, self.positions[nearest] == x


_UNDERFLOWS = 1e-290  # probabilities below are summed in logs


class Atoms(NamedTuple):
    """Point masses: increasing positions (A,) and their probabilities (A,)."""

    positions: FloatArray
    masses: FloatArray


class Distribution1D:
    """Methods of a distribution on the line, from those of its continuous part.

    They take numbers or arrays of any shape and give the same shape in float64; NaN gives NaN. Where there are atoms,
    densities are with respect to length plus counting measure: at an atom, `pdf` is its mass.
    """

    atoms: Atoms

    # what a class says: of the continuous part alone
    _log_density: Callable[[FloatArray], FloatArray]
    _mass_outside: Callable[[FloatArray, bool], FloatArray]
    _log_mass_outside: Callable[[FloatArray, bool], FloatArray]
    _mass_between: Callable[[float, float], float]
    _quantiles_outside: Callable[[FloatArray, bool], FloatArray]
    _pieces: cached_property[Pieces]
    _ends: cached_property[tuple[float, float]]
    _without_guard: cached_property[Any]

    # -- what it has

    def logpdf(self, x: ArrayLike) -> FloatArray:
        """Return the log of the density at x, of the mass at an atom."""
        return elementwise(self._logpdf, x)

    def pdf(self, x: ArrayLike) -> FloatArray:
        """Return the density at x, the mass at an atom."""
        return np.exp(self.logpdf(x))

    def cdf(self, x: ArrayLike) -> FloatArray:
        """Return P(X <= x)."""
        return elementwise(self._outside, x, False)

    def sf(self, x: ArrayLike) -> FloatArray:
        """Return P(X > x), relatively accurate where it is small."""
        return elementwise(self._outside, x, True)

    def logcdf(self, x: ArrayLike) -> FloatArray:
        """Return log P(X <= x), accurate also where the probability underflows; -inf below the support."""
        return elementwise(self._log_outside, x, False)

    def logsf(self, x: ArrayLike) -> FloatArray:
        """Return log P(X > x), accurate also where the probability underflows; -inf above the support."""
        return elementwise(self._log_outside, x, True)

    def ppf(self, q: ArrayLike) -> FloatArray:
        """Return the smallest x with cdf(x) >= q: the ends of the support at 0 and 1, NaN for q outside [0, 1]."""
        return elementwise(self._quantiles, q, False)

    def isf(self, q: ArrayLike) -> FloatArray:
        """Return the x with sf(x) = q, relatively accurate for small q; NaN for q outside [0, 1]."""
        return elementwise(self._quantiles, q, True)

    def median(self) -> float:
        """Return ppf(1/2)."""
        return float(self.ppf(0.5))

    def interval(self, confidence: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the central interval that holds a ``confidence`` share of the probability."""
        share = np.asarray(confidence, float)
        if not np.all((share >= 0) & (share <= 1)):
            raise ValueError(f"confidence is {confidence}; it must lie in [0, 1]")
        return self.ppf((1 - share) / 2), self.isf((1 - share) / 2)

    def support(self) -> tuple[float, float]:
        """Return the ends of the support, atoms and guard included; infinite where it is open."""
        low, high = self.ppf([0.0, 1.0]).tolist()
        return low, high

    def mean(self) -> float:
        """Return the expectation, atoms and guard included."""
        return self._moments[0]

    def var(self) -> float:
        """Return the variance, atoms and guard (3 scale^2) included; infinite where it overflows."""
        return self._moments[1]

    def std(self) -> float:
        """Return the standard deviation, finite also where its square is not."""
        unit, small = self._in_units
        return math.sqrt(self._moments[1]) if small is None else unit * small.std()

    def expect(
        self,
        function: Callable[[Any], Any],
        lb: float | None = None,
        ub: float | None = None,
        conditional: bool = False,
    ) -> float:
        """Return the expectation of a function, by adaptive quadrature; atoms are added exactly.

        Parameters
        ----------
        function : callable
            Of arrays, or of single numbers, which is slower.
        lb, ub : float, optional
            Only X in [lb, ub], both included, counts; everything if not given.
        conditional : bool
            Divide by the probability of [lb, ub].

        Notes
        -----
        A Student t with 3 degrees of freedom, the guard, has no expectation of what grows as |x|^3 or faster, such as
        exp. Where the function does, or is not finite far out, the result is that of the distribution without guard.

        Raises
        ------
        ValueError
            ``lb`` is above ``ub``, or [lb, ub] has no probability to condition on.

        Examples
        --------
        >>> from gaussmix import GaussianMixture1D
        >>> mixture = GaussianMixture1D([0.5, 0.5], means=[0.0, 4.0], stds=[1.0, 1.0])
        >>> round(mixture.expect(lambda x: x**2), 12)
        9.0
        >>> round(mixture.expect(lambda x: x, lb=2.0, conditional=True), 3)
        4.017
        """
        low, high = -math.inf if lb is None else float(lb), math.inf if ub is None else float(ub)
        if not low <= high:
            raise ValueError(f"lb is {lb} and ub {ub}; lb must not be above ub")
        ends = max(low, self._ends[0]), min(high, self._ends[1])
        if quadrature.guard_has_no_share(function, self._pieces, *ends):
            return self._without_guard.expect(function, lb, ub, conditional)
        inside = (self.atoms.positions >= low) & (self.atoms.positions <= high)
        positions, masses = (values[inside] for values in self.atoms)
        total = float(masses @ quadrature.evaluate(function, positions)) if masses.size else 0.0
        if self._rest > 0:
            total += self._rest * quadrature.expectation(function, self._log_density, self._pieces, *ends)
        if conditional:
            probability = self._probability(low, high)
            if not probability > 0:
                raise ValueError(f"[{low:g}, {high:g}] has no probability to condition on; choose another interval")
            total /= probability
        return total

    def entropy(self) -> float:
        """Return -E[log p(X)] in nats, by quadrature to 1e-8; p is the mass at an atom and the density elsewhere."""
        of_atoms = -float(xlogy(self.atoms.masses, self.atoms.masses).sum())
        if self._rest <= 0:
            return of_atoms
        continuous = quadrature.entropy(self._log_density, self._pieces, *self._ends)
        return of_atoms + self._rest * (continuous - math.log(self._rest))

    def rvs(
        self,
        size: int | tuple[int, ...] | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> FloatArray:
        """Draw independent numbers, in random order.

        Parameters
        ----------
        size : int or tuple of int, optional
            Shape of the array; a number if not given.
        random_state : int, Generator or RandomState, optional
            The same seed gives the same numbers; fresh randomness if not given.
        """
        legacy = isinstance(random_state, np.random.RandomState)
        rng = np.random.default_rng(random_state.randint(0, 2**32, 4, np.uint32) if legacy else random_state)
        shape = np.broadcast_to(0, () if size is None else size).shape
        return self._draw(math.prod(shape), rng).reshape(shape)[()]

    # -- inside

    def _draw(self, size: int, rng: np.random.Generator) -> FloatArray:
        return self._quantiles(rng.random(size), False)

    @cached_property
    def _in_units(self) -> tuple[float, Distribution1D | None]:
        """A power of two, and the distribution in its units, where squares of the numbers would overflow; else None."""
        return 1.0, None

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and variance, infinite where it overflows."""
        unit, small = self._in_units
        if small is None:
            return self._mean_and_variance()
        mean, variance = small._moments
        return unit * mean, unit * (unit * variance)

    def _mean_and_variance(self) -> tuple[float, float]:
        origin = self.median()  # far from 0, x itself is coarse
        mean = origin + self.expect(lambda x: x - origin)
        return mean, self.expect(lambda x: (x - mean) ** 2)

    @property
    def _rest(self) -> float:
        """Probability of the continuous part."""
        masses = self.atoms.masses
        return max(0.0, 1 - float(masses.sum())) if masses.size else 1.0

    def _probability(self, low: float, high: float) -> float:
        """P(low <= X <= high)."""
        positions, masses = self.atoms
        inside = (positions >= low) & (positions <= high)
        return float(masses[inside].sum()) + self._rest * self._mass_between(low, high)

    @cached_property
    def _overlay(self) -> AtomOverlay | None:
        """The point masses, if there are any."""
        positions, masses = self.atoms
        if positions.size == 0:
            return None
        below, above = (self._mass_outside(positions, upper) for upper in (False, True))
        return AtomOverlay(positions, masses, below, above)

    def _logpdf(self, x: FloatArray) -> FloatArray:
        values = self._log_density(x)
        return values if self._overlay is None else self._overlay.log_density(x, values)

    def _outside(self, x: FloatArray, upper: bool) -> FloatArray:
        masses = self._mass_outside(x, upper)
        return masses if self._overlay is None else self._overlay.outside(x, masses, upper)

    def _log_outside(self, x: FloatArray, upper: bool) -> FloatArray:
        here, there = self._outside(x, upper), self._outside(x, not upper)
        with np.errstate(divide="ignore"):
            logs = np.where(here > 0.5, np.log1p(-np.minimum(there, 1.0)), np.log(here))
        tiny = np.flatnonzero(here < _UNDERFLOWS)
        if tiny.size:
            continuous = self._log_mass_outside(x[tiny], upper)
            overlay = self._overlay
            logs[tiny] = continuous if overlay is None else overlay.log_outside(x[tiny], continuous, upper)
        return logs

    def _quantiles(self, q: FloatArray, upper: bool) -> FloatArray:
        if self._overlay is not None:
            return self._overlay.quantiles(q, self._quantiles_outside, upper)
        return self._quantiles_outside(q, upper)


def elementwise(function: Callable[..., FloatArray], x: ArrayLike, *options: bool) -> FloatArray:
    """function((N,) contiguous, options) in the shape of x, with more axes if it gives them; a number for a number."""
    if np.ma.is_masked(x):
        raise ValueError("some values are masked: leave them out, x.compressed(), or fill them in, x.filled(nan)")
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"values have dtype {values.dtype}; give real numbers")
    found = function(np.ascontiguousarray(values, np.float64).ravel(), *options)
    return found.reshape(values.shape + found.shape[1:])[()]
