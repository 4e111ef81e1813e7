"""Gaussian mixtures on the line as frozen distributions, with SciPy's names.

    p(x) = sum_j a_j delta(x - y_j) + (1 - sum_j a_j) [ (1 - g) sum_i pi_i N_fold(x; mu_i, sigma_i^2) + g t3(x) ]

pi_i, mu_i, sigma_i: weights, means and standard deviations of the Gaussians; N_fold: reflected at the bounds of the
support, if there are any; t3: a Student t with 3 degrees of freedom, location and scale, of mass g, the guard that
keeps log-densities of far points finite; a_j, y_j: point masses. The one-dimensional case of
D Eq. 1; a GMM expansion (E section 2.1) is one with equally spaced means and one sigma.

Many evaluations go through a table of polynomials (`gaussmix.density._mixture.table`), whose cost does not depend on
the number of components; few are summed directly (`gaussmix.density._mixture.exact`). Both agree to 1e-10.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from gaussmix._files import TensorRecord
from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact, moments, sampling, table
from gaussmix.density._mixture.atoms import AtomOverlay
from gaussmix.density.reflection import Bounds

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

_SUM_TOLERANCE = 1e-6
_DIRECT_BELOW = 4000  # log-densities that cost as much as making the table, whatever the number of components
_MASS_COSTS, _QUANTILE_COSTS = 6, 60  # of a cdf and of a quantile's search, in log-densities


class Tail(NamedTuple):
    """Student t with 3 degrees of freedom: probability mass, location, scale (its variance is 3 scale^2)."""

    mass: float
    loc: float
    scale: float


class Atoms(NamedTuple):
    """Point masses: increasing positions (A,) and their probabilities (A,)."""

    positions: FloatArray
    masses: FloatArray


class GaussianMixture1D(TensorRecord):
    """Mixture of Gaussians on the line, frozen, with the methods of SciPy's distributions.

    They take numbers or arrays of any shape and give the same shape in float64; NaN gives NaN. Where there are atoms,
    densities are with respect to length plus counting measure: at an atom, `pdf` is its mass.

    Parameters
    ----------
    weights : array-like of shape (n,)
        At least 0, with sum 1 to 1e-6; normalised exactly.
    means : array-like of shape (n,)
        Of the Gaussians, in data units.
    stds : float or array-like of shape (n,)
        Standard deviations of the Gaussians.
    bounds : tuple of float or None
        (low, high): every Gaussian is reflected there and the density is zero outside; None or infinite for an open
        side. Means must lie inside.
    tail : tuple of float, optional
        (mass, loc, scale): share of the continuous part that is a Student t with 3 degrees of freedom. It is not
        reflected and covers the whole line, so that no point has log-density -inf.
    atoms : tuple of array-like, optional
        Positions (A,) and masses (A,) of point masses, also outside the bounds; the sum of the masses is at most 1, the
        continuous part carries the rest.

    Raises
    ------
    ValueError
        Shapes do not match, or values make no distribution.
    """

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    bounds: tuple[float, float]
    tail: Tail
    atoms: Atoms

    def __init__(
        self,
        weights: ArrayLike,
        means: ArrayLike,
        stds: ArrayLike,
        *,
        bounds: Bounds = (None, None),
        tail: tuple[float, float, float] | None = None,
        atoms: tuple[ArrayLike, ArrayLike] | None = None,
    ):
        w, m = _vector("weights", weights), _vector("means", means)
        s = _vector("stds", np.full(m.shape, stds) if np.ndim(stds) == 0 else stds)
        if not w.shape == m.shape == s.shape:
            raise ValueError(
                f"weights, means and stds have {w.size}, {m.size} and {s.size} values; give as many of each "
                "(or one number as stds)"
            )
        if w.min() < 0:
            raise ValueError(f"weights contain {w.min():.6g}; they must not be negative")
        if not abs(w.sum() - 1) <= _SUM_TOLERANCE:
            raise ValueError(f"weights sum to {w.sum():.9g}; they must sum to 1: divide them by their sum")
        if s.min() <= 0:
            raise ValueError(f"stds contain {s.min():.6g}; standard deviations must be positive")
        self.__dict__.update(
            weights=_frozen(w if abs(w.sum() - 1) <= 4 * np.finfo(float).eps else w / w.sum()),  # twice is once
            means=_frozen(m),
            stds=_frozen(s),
            bounds=_checked_bounds(bounds, m),
            tail=_checked_tail(tail),
            atoms=_checked_atoms(atoms),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a GaussianMixture1D is frozen: make a new one instead of setting {name}")

    @classmethod
    def from_sklearn(cls, mixture: GaussianMixture) -> GaussianMixture1D:
        """Take over a fitted one-dimensional `sklearn.mixture.GaussianMixture`, of any covariance type.

        Raises ValueError for a mixture of more than one dimension or one that was not fitted.
        """
        if not hasattr(mixture, "means_"):
            raise ValueError("the scikit-learn mixture is not fitted; call its fit first")
        weights, means, variances = (
            np.asarray(getattr(mixture, name), np.float64) for name in ("weights_", "means_", "covariances_")
        )
        if means.shape[1] != 1:
            raise ValueError(f"the scikit-learn mixture has {means.shape[1]} dimensions; only one is allowed")
        return cls(weights, means[:, 0], np.sqrt(np.broadcast_to(variances.ravel(), weights.shape)))

    def logpdf(self, x: ArrayLike) -> FloatArray:
        """Return the log of the density at x, of the mass at an atom."""
        return _elementwise(self._logpdf, x)

    def pdf(self, x: ArrayLike) -> FloatArray:
        """Return the density at x, the mass at an atom."""
        return np.exp(self.logpdf(x))

    def cdf(self, x: ArrayLike) -> FloatArray:
        """Return P(X <= x)."""
        return _elementwise(self._outside, x, False)

    def sf(self, x: ArrayLike) -> FloatArray:
        """Return P(X > x), relatively accurate where it is small."""
        return _elementwise(self._outside, x, True)

    def ppf(self, q: ArrayLike) -> FloatArray:
        """Return the smallest x with cdf(x) >= q: the ends of the support at 0 and 1, NaN for q outside [0, 1]."""
        return _elementwise(self._quantiles, q, False)

    def isf(self, q: ArrayLike) -> FloatArray:
        """Return the x with sf(x) = q, relatively accurate for small q; NaN for q outside [0, 1]."""
        return _elementwise(self._quantiles, q, True)

    def median(self) -> float:
        """Return ppf(1/2)."""
        return float(self.ppf(0.5))

    def interval(self, confidence: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the central interval that holds a ``confidence`` share of the probability."""
        share = np.asarray(confidence, float)
        if not np.all((share >= 0) & (share <= 1)):
            raise ValueError(f"confidence is {confidence}; it must lie in [0, 1]")
        return self.ppf((1 - share) / 2), self.isf((1 - share) / 2)

    def mean(self) -> float:
        """Return the expectation, atoms and guard included."""
        return self._moments[0]

    def var(self) -> float:
        """Return the variance, atoms and guard (3 scale^2) included."""
        return self._moments[1]

    def std(self) -> float:
        """Return the standard deviation."""
        return math.sqrt(self._moments[1])

    @cached_property
    def _moments(self) -> tuple[float, float]:
        mean, variance = moments.mean_and_variance(self._pieces)
        positions, masses = self.atoms
        rest = 1 - float(masses.sum())
        total = float(masses @ positions) + rest * mean
        return total, float(masses @ (positions - total) ** 2) + rest * (variance + (mean - total) ** 2)

    def entropy(self) -> float:
        """Return -E[log p(X)] in nats, by quadrature to 1e-8; p is the mass at an atom and the density elsewhere."""
        rest = 1 - float(self.atoms.masses.sum())
        of_atoms = -float(xlogy(self.atoms.masses, self.atoms.masses).sum())
        if rest <= 0:
            return of_atoms
        return of_atoms + rest * (moments.entropy(self._pieces, self._table) - math.log(rest))

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
        return sampling.draw(math.prod(shape), self._components, self.bounds, self.tail, rng).reshape(shape)[()]

    @cached_property
    def _components(self) -> sampling.Components:
        positions, masses = self.atoms
        rest = 1 - masses.sum()
        gaussians = rest * (1 - self.tail.mass) * self.weights
        probability = np.concatenate([gaussians, masses, [rest * self.tail.mass]])
        mean = np.concatenate([self.means, positions, [math.nan]])
        return sampling.components(probability, mean, np.concatenate([self.stds, 0 * masses, [math.nan]]))

    def to_tensors(self) -> dict[str, FloatArray]:
        """Return everything as float64 arrays, for `from_tensors`."""
        tensors = {name: getattr(self, name) for name in ("weights", "means", "stds", "bounds", "tail")}
        tensors |= {"atom_positions": self.atoms.positions, "atom_masses": self.atoms.masses}
        return {name: np.array(value) for name, value in tensors.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Make the mixture that gave `to_tensors()`. Raises KeyError and ValueError for other arrays."""
        gaussians = tensors["weights"], tensors["means"], tensors["stds"]
        atoms = tensors["atom_positions"], tensors["atom_masses"]
        (low, high), (mass, loc, scale) = tensors["bounds"].tolist(), tensors["tail"].tolist()
        return cls(*gaussians, bounds=(low, high), tail=(mass, loc, scale), atoms=atoms)

    def __repr__(self) -> str:
        extra = "" if self.bounds == (-math.inf, math.inf) else f", bounds={self.bounds}"
        extra += f", tail={tuple(self.tail)}" if self.tail.mass else ""
        extra += f", {self.atoms.masses.size} atoms" if self.atoms.masses.size else ""
        span = f"{self.means.min():.6g} .. {self.means.max():.6g}"
        return f"GaussianMixture1D({self.weights.size} components, {span}{extra})"

    def __reduce__(self) -> tuple[Callable[..., GaussianMixture1D], tuple[Any, ...]]:
        return GaussianMixture1D.from_tensors, (self.to_tensors(),)

    @cached_property
    def _pieces(self) -> exact.Pieces:
        return exact.expand(self.weights, self.means, self.stds, self.bounds, self.tail)

    @cached_property
    def _table(self) -> table.PolynomialTable:
        return table.build(self._pieces)

    def _use_table(self, n_sums: int) -> bool:
        """Whether as much work as ``n_sums`` log-densities goes through the table; the first large call makes it."""
        return n_sums >= _DIRECT_BELOW or "_table" in self.__dict__

    @cached_property
    def _overlay(self) -> AtomOverlay | None:
        """The point masses, if there are any."""
        positions, masses = self.atoms
        if positions.size == 0:
            return None
        below, above = (exact.masses_outside(positions, self._pieces, upper) for upper in (False, True))
        return AtomOverlay(positions, masses, below, above)

    def _logpdf(self, x: FloatArray) -> FloatArray:
        if self._use_table(x.size):
            values = table.log_densities(x, self._table, self._pieces)
        else:
            values = exact.log_densities(x, self._pieces)
        return values if self._overlay is None else self._overlay.log_density(x, values)

    def _outside(self, x: FloatArray, upper: bool) -> FloatArray:
        if self._use_table(_MASS_COSTS * x.size):
            masses = table.masses_outside(x, self._table, self._pieces, upper)
        else:
            masses = exact.masses_outside(x, self._pieces, upper)
        return masses if self._overlay is None else self._overlay.outside(x, masses, upper)

    def _quantiles(self, q: FloatArray, upper: bool) -> FloatArray:
        if self._overlay is not None:
            return self._overlay.quantiles(q, self._continuous_quantiles, upper)
        return self._continuous_quantiles(q, upper)

    def _continuous_quantiles(self, q: FloatArray, upper: bool) -> FloatArray:
        if self._use_table(_QUANTILE_COSTS * q.size):
            found = table.quantiles(q, self._table, self._pieces, upper)
        else:
            found = exact.quantiles(q, self._pieces, upper)
        return found if self.tail.mass else np.clip(found, *self.bounds)  # rounding may lead out


def _elementwise(function: Callable[..., FloatArray], x: ArrayLike, *options: bool) -> FloatArray:
    """function((N,) contiguous, options) in the shape of x; a NumPy number for a number."""
    if np.ma.is_masked(x):
        raise ValueError("some values are masked: leave them out, x.compressed(), or fill them in, x.filled(nan)")
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"values have dtype {values.dtype}; give real numbers")
    return function(np.ascontiguousarray(values, np.float64).ravel(), *options).reshape(values.shape)[()]


def _frozen(values: FloatArray) -> FloatArray:
    values = values.copy()
    values.flags.writeable = False
    return values


def _vector(name: str, values: ArrayLike) -> FloatArray:
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"{name} has shape {vector.shape}; give a non-empty list of numbers")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} contains {vector[~np.isfinite(vector)][0]}; all must be finite")
    return vector


def _checked_bounds(bounds: Bounds, means: FloatArray) -> tuple[float, float]:
    low = -math.inf if bounds[0] is None else float(bounds[0])
    high = math.inf if bounds[1] is None else float(bounds[1])
    if not low < high or low == math.inf or high == -math.inf:
        raise ValueError(f"bounds are {bounds}; the first must be below the second")
    slack = 1e-9 * max(np.ptp(means), *(abs(end) for end in (low, high) if math.isfinite(end)), 0.0)
    if means.min() < low - slack or means.max() > high + slack:
        raise ValueError(
            f"means run from {means.min():.6g} to {means.max():.6g}, outside the bounds ({low:.6g}, {high:.6g}); "
            "reflection needs components that lie inside"
        )
    return low, high


def _checked_tail(tail: tuple[float, float, float] | None) -> Tail:
    mass, loc, scale = (0.0, 0.0, 1.0) if tail is None else (float(value) for value in tail)
    if not (0 <= mass < 1 and math.isfinite(loc) and 0 < scale < math.inf):
        raise ValueError(f"tail is {tail}; it must be (mass in [0, 1), finite location, positive scale)")
    return Tail(mass, loc, scale)


def _checked_atoms(atoms: tuple[ArrayLike, ArrayLike] | None) -> Atoms:
    positions, masses = (np.asarray(values, np.float64) for values in (((), ()) if atoms is None else atoms))
    if positions.ndim != 1 or positions.shape != masses.shape:
        raise ValueError(f"atoms have positions of shape {positions.shape} and masses of shape {masses.shape}")
    order = np.argsort(positions)
    positions, masses = positions[order], masses[order]
    if not np.isfinite(positions).all() or (np.diff(positions) == 0).any():
        raise ValueError(f"atoms lie at {positions}; positions must be finite and different")
    if not (masses > 0).all() or masses.sum() > 1 + _SUM_TOLERANCE:
        raise ValueError(f"atoms have masses {masses}; each must be positive, their sum {masses.sum():.6g} at most 1")
    return Atoms(_frozen(positions), _frozen(masses / max(masses.sum(), 1.0)))
