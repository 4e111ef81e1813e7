"""Rows of mixtures: what a conditional model says of y at each x.

    y_i ~ sum_k w_ik N(m_i + s_i c_k, (s_i d_k)^2) + sum_k v_ik N(e_k, f_k^2) + sum_a p_ia [y = t_a]

The first basis is moved by location and scale, the second lies still, and there may be point masses. Where y is on a
lattice the rows are distributions on it: a value has the probability of its cell, and what lies beyond the end values
is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.conditional import _rows
from gaussmix.conditional.bases import Basis, Lattice, Rows, distances, gathered, log_density, mean_distance, table
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D

_ROWS = 1 << 11
_LIGHT = 1e-6  # mass of components that quantiles, distribution functions and scores leave out


class ConditionalMixture:
    """Distributions of N rows, with SciPy's names; ``d[i]`` is one of them, ``d[i:j]`` some.

    Arguments that are a number each (``y``, ``x``) are arrays (N,), one a row, or a number for all. Memory is a weight
    for each row and Gaussian; mixtures are written out when they are asked for.

    Parameters
    ----------
    moved, fixed : Basis
        Gaussians in units of location and scale, and in those of y.
    loc, scale : ndarray of shape (N,)
        What moves the first.
    atoms : Basis, optional
        Point masses: positions are its ``means``, ``stds`` are 0.
    lattice : Lattice, optional
        Where the distributions are on one.
    """

    def __init__(
        self,
        moved: Basis,
        fixed: Basis,
        loc: FloatArray,
        scale: FloatArray,
        *,
        atoms: Basis | None = None,
        lattice: Lattice | None = None,
    ):
        self.moved, self.fixed, self.loc, self.scale = moved, fixed, loc, scale
        self.atoms, self.lattice = atoms, lattice

    def __len__(self) -> int:
        return len(self.loc)

    def __repr__(self) -> str:
        kind = "" if self.lattice is None else f" on {self.lattice.n} values"
        return f"ConditionalMixture({len(self)} rows{kind})"

    @overload
    def __getitem__(self, i: int | np.integer) -> GaussianMixture1D: ...
    @overload
    def __getitem__(self, i: slice | NDArray[Any]) -> ConditionalMixture: ...
    def __getitem__(self, i: Any) -> GaussianMixture1D | ConditionalMixture:
        if isinstance(i, int | np.integer):
            if not -len(self) <= i < len(self):
                raise IndexError(f"row {i} of {len(self)}")
            return self._some(slice(i % len(self), i % len(self) + 1))._single()
        return self._some(i)

    def __iter__(self) -> Iterator[GaussianMixture1D]:
        return (self[i] for i in range(len(self)))

    @property
    def continuous(self) -> ConditionalMixture:
        """The smooth densities behind distributions on a lattice; itself without one."""
        return self if self.lattice is None else self._with(None)

    @property
    def support(self) -> tuple[float, float]:
        """The least and the greatest value that can be."""
        return (-math.inf, math.inf) if self.lattice is None else (self.lattice.values[0], self.lattice.values[-1])

    def pdf(self, y: ArrayLike) -> FloatArray:
        """Return the density (N,) at y; at a point mass, and on a lattice, the probability."""
        return np.exp(self.logpdf(y))

    def logpdf(self, y: ArrayLike) -> FloatArray:
        """Return the log-density (N,) at y; at a point mass, and on a lattice, the log-probability."""
        y = self._each(y)
        if self.lattice is not None:
            return self._log_probability(y)
        return np.concatenate([part._log_density(y[rows]) for part, rows in self._parts()])

    def cdf(self, y: ArrayLike) -> FloatArray:
        """Return P(Y <= y), (N,)."""
        y = self._each(y)
        if self.lattice is None:
            return self._smooth_cdf(y[:, None])[:, 0]
        k = np.floor((y - self.lattice.origin) / self.lattice.step + 1e-6)
        inside = self._smooth_cdf((self.lattice.origin + self.lattice.step * (k + 0.5))[:, None])[:, 0]
        return np.where(k < 0, 0.0, np.where(k >= self.lattice.n - 1, 1.0, inside))

    def sf(self, y: ArrayLike) -> FloatArray:
        """Return P(Y > y), (N,)."""
        return 1 - self.cdf(y)

    def ppf(self, q: ArrayLike) -> FloatArray:
        """Return quantiles: (N,) for a number, (N, Q) for levels (Q,), in [0, 1]."""
        levels = np.asarray(q, np.float64)
        if levels.ndim > 1 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q must be a number or a row of numbers in [0, 1]; got {q!r}")
        x = self._quantiles(np.broadcast_to(np.atleast_1d(levels), (len(self), levels.size)))
        return x[:, 0] if levels.ndim == 0 else x

    def interval(self, level: float = 0.9) -> FloatArray:
        """Return the central intervals (N, 2) that hold ``level`` of each distribution."""
        if not 0 < level < 1:
            raise ValueError(f"level is {level}; it must lie in (0, 1)")
        return self.ppf([(1 - level) / 2, (1 + level) / 2])

    def mean(self) -> FloatArray:
        """Return the expectations, (N,)."""
        if self.lattice is not None:
            return self.pmf() @ self.lattice.values
        return self._moments()[0]

    def var(self) -> FloatArray:
        """Return the variances, (N,)."""
        if self.lattice is not None:
            p, values = self.pmf(), self.lattice.values
            return (p * (values - (p @ values)[:, None]) ** 2).sum(1)
        return self._moments()[1]

    def std(self) -> FloatArray:
        """Return the standard deviations, (N,)."""
        return np.sqrt(self.var())

    def median(self) -> FloatArray:
        """Return the medians, (N,)."""
        return self.ppf(0.5)

    def pmf(self) -> FloatArray:
        """Return the probabilities (N, V) of the lattice's values; ValueError without a lattice."""
        if self.lattice is None:
            raise ValueError("these are densities; y is on no lattice")
        edges = self.lattice.values[:-1] + self.lattice.step / 2
        inner = self._smooth_cdf(np.broadcast_to(edges, (len(self), len(edges))))
        return np.diff(inner, axis=1, prepend=0.0, append=1.0).clip(min=0.0)

    def rvs(self, size: int | None = None, random_state: Any = None) -> FloatArray:
        """Draw (N,) numbers, one a row, or (N, size).

        Parameters
        ----------
        size : int, optional
            How many for each row.
        random_state : int or Generator, optional
            The same seed draws the same numbers.
        """
        rng = np.random.default_rng(random_state)
        x = self._quantiles(1 - rng.random((len(self), 1 if size is None else size)))
        return x[:, 0] if size is None else x

    def crps(self, y: ArrayLike) -> FloatArray:
        """Return the continuous ranked probability scores (N,), E|Y - y| - E|Y - Y'| / 2, in units of y.

        In closed form (Grimit et al. 2006); on a lattice the sum of its steps.
        """
        y = self._each(y)
        if self.lattice is not None:
            F, values = np.cumsum(self.pmf(), axis=1)[:, :-1], self.lattice.values
            below = np.clip((y[:, None] - values[:-1]) / self.lattice.step, 0, 1)  # share of a step that lies below y
            inside = (below * F**2 + (1 - below) * (1 - F) ** 2).sum(1) * self.lattice.step
            return inside + np.maximum(values[0] - y, 0) + np.maximum(y - values[-1], 0)
        k, still = len(self.moved.means), self._still
        apart = distances(self.moved), distances(still)
        out = np.empty(len(self))
        for part, rows in self._parts():
            full = part._full(_LIGHT)
            row, weights, means, stds = gathered(*full)
            away = weights * mean_distance(means - np.repeat(y[rows], np.diff(row)), stds)
            moved, others = full[0][:, :k], full[0][:, k:]
            within = part.scale * np.einsum("nk,nk->n", moved @ apart[0], moved)
            within += np.einsum("nk,nk->n", others @ apart[1], others)
            across = np.empty(len(part))
            first, second = gathered(*(each[:, :k] for each in full)), gathered(*(each[:, k:] for each in full))
            _rows.apart_rows(*first, *second, across)
            out[rows] = np.add.reduceat(away, row[:-1]) - within / 2 - across
        return out

    def pit(self, y: ArrayLike, random_state: Any = 0) -> FloatArray:
        """Return P(Y <= y), (N,), drawn evenly over the step where y has a probability: uniform if the model is right.

        Parameters
        ----------
        y : array-like of shape (N,)
            What was observed.
        random_state : int or Generator, optional
            Draws the places in the steps.
        """
        y = self._each(y)
        upto = self.cdf(y)
        return np.clip(upto - self._step(y) * np.random.default_rng(random_state).random(len(self)), 0.0, 1.0)

    # -- inside

    def _step(self, y: FloatArray) -> FloatArray:
        """P(Y = y), (N,)."""
        if self.lattice is not None:
            return np.where(np.isnan(self.lattice.numbers(y)), 0.0, self.pdf(y))
        if self.atoms is not None:
            return (self.atoms.weights * (y[:, None] == self.atoms.means)).sum(1)
        return np.zeros(len(self))

    def _each(self, y: ArrayLike) -> FloatArray:
        y = np.asarray(y, np.float64)
        if y.shape not in ((), (len(self),)):
            raise ValueError(f"y has shape {y.shape}; it must be a number or one for each of the {len(self)} rows")
        return np.broadcast_to(y, (len(self),))

    def _some(self, rows: Any) -> ConditionalMixture:
        atoms = None if self.atoms is None else self.atoms.rows(rows)
        moved, fixed = self.moved.rows(rows), self.fixed.rows(rows)
        return ConditionalMixture(moved, fixed, self.loc[rows], self.scale[rows], atoms=atoms, lattice=self.lattice)

    def joined(self, other: ConditionalMixture) -> ConditionalMixture:
        """Return the rows of both, which are of one model without point masses."""
        loc, scale = np.append(self.loc, other.loc), np.append(self.scale, other.scale)
        return ConditionalMixture(
            self.moved.joined(other.moved), self.fixed.joined(other.fixed), loc, scale, lattice=self.lattice
        )

    def _with(self, lattice: Lattice | None) -> ConditionalMixture:
        return ConditionalMixture(self.moved, self.fixed, self.loc, self.scale, atoms=self.atoms, lattice=lattice)

    def _parts(self) -> Iterator[tuple[ConditionalMixture, slice]]:
        """Some rows at a time."""
        for start in range(0, len(self), _ROWS):
            rows = slice(start, start + _ROWS)
            yield self._some(rows), rows

    @property
    def _still(self) -> Basis:
        """What is not moved: Gaussians, and point masses."""
        return self.fixed if self.atoms is None else self.fixed.beside(self.atoms)

    def _full(self, light: float = 0.0) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weights, means and standard deviations (N, K) of all; atoms have 0, what is ``light`` has no weight."""
        still = self._still
        shape = still.weights.shape
        means = [self.loc[:, None] + self.scale[:, None] * self.moved.means, np.broadcast_to(still.means, shape)]
        stds = [self.scale[:, None] * self.moved.stds, np.broadcast_to(still.stds, shape)]
        weights = np.hstack([self.moved.weights, still.weights]).astype(np.float64)
        weights[weights <= light] = 0.0
        return weights / weights.sum(1, keepdims=True), np.hstack(means), np.hstack(stds)

    @cached_property
    def _components(self) -> Rows:
        """All components that are not light, row after row."""
        return gathered(*self._full(_LIGHT))

    def _smooth_cdf(self, x: FloatArray) -> FloatArray:
        """P(X <= x) for x (N, Q), the lattice aside."""
        out = np.empty(x.shape)
        for part, rows in self._parts():
            found = np.empty((len(part), x.shape[1]))
            _rows.cdf_rows(*part._components, np.ascontiguousarray(x[rows]), found)
            out[rows] = found
        return out

    def _quantiles(self, levels: FloatArray) -> FloatArray:
        x = np.empty(levels.shape)
        if len(self) == 0:
            return x
        (moved_places, moved_table), (fixed_places, fixed_table) = (table(each) for each in (self.moved, self.fixed))
        inner = np.clip(levels, np.finfo(float).tiny, 1 - np.finfo(float).epsneg)
        for part, rows in self._parts():
            found = np.empty((len(part), levels.shape[1]))
            moved = part.moved.weights.astype(np.float32) @ moved_table
            fixed = part.fixed.weights.astype(np.float32) @ fixed_table
            some = np.ascontiguousarray(inner[rows])
            _rows.quantile_rows(
                *part._components, some, part.loc, part.scale, moved_places, moved, fixed_places, fixed, found
            )
            x[rows] = found
        if self.lattice is None:
            x = np.where(levels <= 0, -math.inf, np.where(levels >= 1, math.inf, x))
            return x if self.atoms is None or self._continuous_share.any() else np.clip(x, *self._atom_ends)
        k = np.ceil((x - self.lattice.origin) / self.lattice.step - 0.5 - 1e-9)
        return self.lattice.origin + self.lattice.step * np.clip(k, 0, self.lattice.n - 1)

    @property
    def _continuous_share(self) -> FloatArray:
        return self.moved.weights.sum(1) + self.fixed.weights.sum(1)

    @property
    def _atom_ends(self) -> tuple[float, float]:
        assert self.atoms is not None
        return float(self.atoms.means[0]), float(self.atoms.means[-1])

    def _log_density(self, y: FloatArray) -> FloatArray:
        weights, means, stds = self._full()
        k = weights.shape[1] - (0 if self.atoms is None else len(self.atoms.means))
        weights, means, stds = weights[:, :k], means[:, :k], stds[:, :k]
        found = log_density(y, weights, means, stds) if k else np.full(len(y), -math.inf)
        if self.atoms is not None:
            at = y[:, None] == self.atoms.means
            with np.errstate(divide="ignore"):
                found = np.where(at.any(1), np.log((self.atoms.weights * at).sum(1)), found)
        return found

    def _log_probability(self, y: FloatArray) -> FloatArray:
        """log P(Y = y) on the lattice, in tails by the density at the middle of the cell.

        A number that is none of the values has what the smooth density gives the cell around it.
        """
        lattice = self.lattice
        assert lattice is not None
        k = lattice.numbers(y)
        values = np.where(np.isnan(k), y, lattice.origin + lattice.step * k)
        out = np.empty(len(y))
        for part, rows in self._parts():
            weights, means, stds = part._full()
            v, at = values[rows, None], k[rows, None]
            low = np.where(at <= 0, -math.inf, (v - lattice.step / 2 - means) / stds)
            high = np.where(at >= lattice.n - 1, math.inf, (v + lattice.step / 2 - means) / stds)
            mirrored = low > 0
            low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
            p = (weights * (ndtr(high) - ndtr(low))).sum(1)
            far = log_density(values[rows], weights, means, stds) + math.log(lattice.step)
            with np.errstate(divide="ignore"):
                out[rows] = np.where(p > 1e-280, np.log(p), far)
        return out

    def _moments(self) -> tuple[FloatArray, FloatArray]:
        """Expectation and variance, (N,)."""
        first, second = np.empty(len(self)), np.empty(len(self))
        for part, rows in self._parts():
            weights, means, stds = part._full()
            first[rows] = mean = (weights * means).sum(1)
            second[rows] = (weights * ((means - mean[:, None]) ** 2 + stds**2)).sum(1)
        return first, second

    def _single(self) -> GaussianMixture1D:
        """The only row as a mixture of its own."""
        _row, weights, means, stds = self._components
        is_atom = stds == 0
        rest = weights[~is_atom]
        atoms = (means[is_atom], weights[is_atom]) if is_atom.any() else None
        if len(rest) == 0:
            return GaussianMixture1D([1.0], [means[0]], [1.0], atoms=atoms)  # of which nothing is left
        law = GaussianMixture1D(rest / rest.sum(), means[~is_atom], stds[~is_atom], atoms=atoms)
        if self.lattice is None:
            return law
        return LatticeMixture1D(law, self.lattice.values, self.pmf()[0], self.lattice.step)
