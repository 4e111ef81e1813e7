"""Point masses on top of a continuous distribution.

    P(X <= x) = (1 - A) F(x) + sum over y_j <= x of a_j,    A = sum_j a_j

F is the continuous part's. Quantiles are generalised inverses: the smallest x with P(X <= x) >= q. At the atoms both
tails are kept as numbers, so that a quantile of P(X <= y_j) is y_j itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray


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
