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
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from gaussmix._files import TensorRecord
from gaussmix._typing import FloatArray
from gaussmix.density._mixture import components, exact, picture, quadrature, shape, table
from gaussmix.density._mixture.components import Tail
from gaussmix.density._mixture.distribution import Atoms, Distribution1D, elementwise
from gaussmix.density._mixture.simplify import Simplified, simplify
from gaussmix.density.reflection import Bounds
from gaussmix.density.truncated import TruncatedMixture1D

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame
    from scipy.stats._distn_infrastructure import rv_continuous_frozen
    from sklearn.mixture import GaussianMixture

_SQUARABLE = 1e150  # numbers whose squares, and sums of them, are finite
_FAR = 1e-15  # mass on either side in which no highest-density set ends
_DIRECT_BELOW = 4000  # log-densities that cost as much as making the table, whatever the number of components
_MASS_COSTS, _QUANTILE_COSTS = 6, 60  # of a cdf and of a quantile's search, in log-densities


class GaussianMixture1D(Distribution1D, TensorRecord):
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

    Examples
    --------
    >>> from gaussmix import GaussianMixture1D
    >>> mixture = GaussianMixture1D([0.5, 0.5], means=[0.0, 3.0], stds=[1.0, 0.5])
    >>> mixture.mean(), mixture.ppf([0.05, 0.95]).round(2).tolist()
    (1.5, [-1.28, 3.64])
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
        w, m, s = components.checked_components(weights, means, stds)
        self.__dict__.update(
            weights=w,
            means=m,
            stds=s,
            bounds=components.checked_bounds(bounds, m),
            tail=components.checked_tail(tail),
            atoms=components.checked_atoms(atoms),
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

    # -- what it looks like

    def moment(self, order: int) -> float:
        """Return the raw moment E[X^order], exact but for rounding.

        A Student t with 3 degrees of freedom, the guard, has no third moment. From order 3 on the moments, skewness and
        kurtosis are those of the distribution without it; orders 1 and 2 count it, as `mean` and `var` do.
        """
        if order != int(order) or order < 0:
            raise ValueError(f"order is {order}; it must be a whole number, at least 0")
        unit, small = self._in_units
        if small is not None:
            return small.moment(order) * float(np.float64(unit) ** order)
        if order <= 2:
            return (1.0, self.mean(), self.var() + self.mean() ** 2)[int(order)]
        powers = np.arange(int(order) + 1)
        mean, central = self._without_guard._central_moments(int(order))
        return float(comb(order, powers) * mean ** (order - powers) @ central)

    def skewness(self) -> float:
        """Return E[(X - mean)^3] / std^3 of the distribution without its guard; NaN for a single point."""
        _, central = (self._in_units[1] or self)._without_guard._central_moments(3)
        return float(central[3] / central[2] ** 1.5) if central[2] > 0 else math.nan

    def kurtosis(self) -> float:
        """Return E[(X - mean)^4] / std^4 - 3 of the distribution without its guard; 0 for a Gaussian."""
        _, central = (self._in_units[1] or self)._without_guard._central_moments(4)
        return float(central[4] / central[2] ** 2) - 3 if central[2] > 0 else math.nan

    def modes(self) -> FloatArray:
        """Return the positions (k,) of all local maxima of the density, in increasing order.

        A bound where the density is highest is one. Atoms are no density and do not count: with nothing but atoms there
        are no modes. Rises by less than a billionth are rounding, a flat stretch counts once, and a peak that is mostly
        the guard's does not count where that has less than a hundredth of the mass.

        Examples
        --------
        >>> from gaussmix import GaussianMixture1D
        >>> GaussianMixture1D([0.5, 0.5], means=[0.0, 4.0], stds=[1.0, 0.5]).modes().round(3).tolist()
        [0.0, 4.0]
        """
        unit, small = self._in_units
        if small is not None:
            return unit * small.modes()
        return shape.maxima(*self._profile, self._pieces) if self._rest > 0 else np.empty(0)

    def mode(self) -> float:
        """Return where the density is highest; atoms do not count. Raises ValueError for nothing but atoms."""
        modes = self.modes()
        if modes.size == 0:
            raise ValueError("there are only point masses; the heaviest is atoms.positions[atoms.masses.argmax()]")
        return float(modes[np.argmax(self._log_density(modes))])

    def hdi(self, mass: float = 0.95) -> FloatArray:
        """Return the highest-density set: the shortest intervals (k, 2) that hold a share of the probability.

        Atoms are infinitely dense, so that they belong to it first, the heaviest foremost; one that lies between the
        intervals is an interval of length 0. Where the density is flat, or an atom is heavy, it may hold more.

        Parameters
        ----------
        mass : float
            The share, in (0, 1].

        Examples
        --------
        >>> from gaussmix import GaussianMixture1D
        >>> GaussianMixture1D([0.5, 0.5], means=[0.0, 9.0], stds=[1.0, 0.5]).hdi(0.8).round(2).tolist()
        [[-1.06, 1.06], [8.21, 9.79]]
        """
        if not 0 < mass <= 1:
            raise ValueError(f"mass is {mass}; it must lie in (0, 1]")
        positions, masses = self.atoms
        order = np.argsort(-masses, kind="stable")
        used = order[: np.searchsorted(np.cumsum(masses[order]), mass - 1e-15) + 1]
        left = mass - float(masses[used].sum())
        if mass == 1:
            intervals = np.array([self._ends] if self._rest > 0 else []).reshape(-1, 2)
        elif left <= 0:
            intervals = np.empty((0, 2))
        else:
            below = lambda x: self._mass_outside(x, False)  # noqa: E731
            intervals = shape.highest_density(left / self._rest, *self._profile, self._log_density, below)
        return shape.with_points(intervals, positions[used])

    def responsibilities(self, x: ArrayLike) -> FloatArray:
        """Return the probabilities (..., n) that x (...) came from each of the Gaussians, mirror images included.

        What they lack to 1 came from the guard, or, at an atom, from that. NaN where the density is 0.
        """
        return elementwise(self._responsibilities, x)

    # -- other distributions

    def affine(self, scale: float, shift: float = 0.0) -> GaussianMixture1D:
        """Return the distribution of scale X + shift; bounds, guard and atoms move along.

        Atoms that fall on one number become one; standard deviations end at 2^-1022.

        Parameters
        ----------
        scale : float
            Not 0; a negative one mirrors.
        shift : float
            Added afterwards.

        Examples
        --------
        >>> from gaussmix import GaussianMixture1D
        >>> celsius = GaussianMixture1D([0.3, 0.7], means=[5.0, 18.0], stds=[4.0, 6.0])
        >>> round(celsius.affine(1.8, 32.0).median() - (1.8 * celsius.median() + 32.0), 9)
        0.0
        """
        if not (math.isfinite(scale) and scale != 0 and math.isfinite(shift)):
            raise ValueError(f"scale is {scale} and shift {shift}; both must be finite, and scale not 0")
        mass, loc, width = self.tail
        low, high = sorted(scale * end + shift for end in self.bounds)
        positions, which = np.unique(scale * self.atoms.positions + shift, return_inverse=True)
        return GaussianMixture1D(
            self.weights,
            np.clip(scale * self.means + shift, low, high),
            np.maximum(abs(scale) * self.stds, components.SHORTEST),
            bounds=(low, high),
            tail=(mass, scale * loc + shift, max(abs(scale) * width, components.SHORTEST)),
            atoms=(positions, np.bincount(which, self.atoms.masses, len(positions))),
        )

    def truncate(self, low: float | None = None, high: float | None = None) -> TruncatedMixture1D:
        """Return the distribution of X given low <= X <= high.

        Gaussians are cut off there, not reflected as at `bounds`.

        Parameters
        ----------
        low, high : float, optional
            Ends of the interval; open if not given.

        Raises
        ------
        ValueError
            ``low`` is above ``high``, or the interval has a probability below 1e-280.

        Examples
        --------
        >>> from gaussmix import GaussianMixture1D
        >>> rest = GaussianMixture1D([0.5, 0.5], means=[0.0, 4.0], stds=[1.0, 1.0]).truncate(low=2.0)
        >>> rest.cdf([2.0, 4.0, 6.0]).round(3).tolist()
        [0.0, 0.5, 0.977]
        """
        return TruncatedMixture1D(self, -math.inf if low is None else low, math.inf if high is None else high)

    def simplify(self, k: int | None = None, tolerance: float | None = None) -> Simplified:
        """Return a mixture of fewer Gaussians, with a certified bound on its distance.

        Mean, variance, bounds, guard and atoms are kept (mean and variance within bounds if three Gaussians or more are
        left). Gaussians are merged pairwise, then moved for the greatest likelihood.

        Parameters
        ----------
        k : int, optional
            How many Gaussians there shall be.
        tolerance : float, optional
            Or as few as are found whose distance is at most this, in units of the data. If neither is given, a
            thousandth of the spread: of the distance between the quantiles .05 and .95 over 3.29.

        Returns
        -------
        Simplified
            A tuple (mixture, distance): ``distance`` is an upper bound on the Wasserstein distance W1 to the original.

        Raises
        ------
        ValueError
            Both are given, ``k`` is below 1, or ``tolerance`` is negative.

        Examples
        --------
        >>> import numpy as np
        >>> from gaussmix import GaussianMixture1D
        >>> fine = GaussianMixture1D(np.full(100, 0.01), means=np.linspace(0, 1, 100), stds=0.1)
        >>> few, distance = fine.simplify(tolerance=0.01)
        >>> len(few.weights) < 10, distance <= 0.01
        (True, True)
        """
        unit, small = self._in_units
        if small is None:
            return simplify(self, k, tolerance)
        mixture, distance = simplify(small, k, None if tolerance is None else tolerance / unit)
        return Simplified(mixture.affine(unit), unit * distance)

    # -- elsewhere

    def to_scipy(self) -> rv_continuous_frozen:
        """Return a frozen distribution of `scipy.stats` with the same methods. Raises ValueError if there are atoms."""
        from gaussmix.density._mixture.scipy_law import freeze

        return freeze(self)

    def to_frame(self) -> DataFrame:
        """Return a pandas DataFrame of the Gaussians: weight, mean, std; the weights have sum 1.

        Of a discrete distribution it is of the values: value, probability.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("to_frame needs pandas, which is not installed: pip install pandas") from error
        return DataFrame(self._listed())

    def plot(self, ax: Axes | None = None, *, fill: bool = False, **style: Any) -> Axes:
        """Draw the density as a line, atoms as stems on an axis at the right; of discrete ones the probabilities.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; pyplot's current axes if not given.
        fill : bool
            Fill the area under the line.
        **style
            Of matplotlib's lines, such as color, linewidth, label.

        Returns
        -------
        Axes
            Those drawn on.
        """
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.gca()
        self._draw_on(ax, fill=fill, **style)
        return ax

    def _listed(self) -> dict[str, FloatArray]:
        return {"weight": self.weights, "mean": self.means, "std": self.stds}

    def _draw_on(self, axes: Axes, *, fill: bool, **style: Any) -> None:
        picture.draw_line(axes, self, fill=fill, **style)

    def _repr_html_(self) -> str:
        return picture.as_html(self, picture.describe(self))

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
        if tensors["bounds"].shape != (2,) or tensors["tail"].shape != (3,):
            raise ValueError("bounds are two numbers and tail three")
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
    def _chooser(self) -> components.Chooser:
        positions, masses = self.atoms
        rest = 1 - masses.sum()
        gaussians = rest * (1 - self.tail.mass) * self.weights
        probability = np.concatenate([gaussians, masses, [rest * self.tail.mass]])
        mean = np.concatenate([self.means, positions, [math.nan]])
        return components.chooser(probability, mean, np.concatenate([self.stds, 0 * masses, [math.nan]]))

    @cached_property
    def _without_guard(self) -> GaussianMixture1D:
        if self.tail.mass == 0:
            return self
        return GaussianMixture1D(self.weights, self.means, self.stds, bounds=self.bounds, atoms=self.atoms)

    def _mean_and_variance(self) -> tuple[float, float]:
        mean, variance = quadrature.mean_and_variance(self._pieces)
        positions, masses = self.atoms
        total = float(masses @ positions) + self._rest * mean
        return total, float(masses @ (positions - total) ** 2) + self._rest * (variance + (mean - total) ** 2)

    @cached_property
    def _in_units(self) -> tuple[float, GaussianMixture1D | None]:
        places = [self.means, self.stds, self.atoms.positions, np.array(self.tail)[1:]]
        size = max(float(np.abs(each).max(initial=0)) for each in places)
        if size < _SQUARABLE:
            return 1.0, None
        unit = 2.0 ** math.frexp(size)[1]
        return unit, self.affine(1 / unit)

    def _central_moments(self, order: int) -> tuple[float, FloatArray]:
        """The mean, and the moments about it up to ``order``, of a mixture without guard."""
        mean = self.mean()
        away = (self.atoms.positions - mean) ** np.arange(order + 1)[:, None]
        return mean, away @ self.atoms.masses + self._rest * quadrature.central_moments(order, mean, self._pieces)

    @cached_property
    def _profile(self) -> tuple[FloatArray, FloatArray]:
        """Points that follow the density, and its logs there."""
        ends = np.array([self._quantiles_outside(np.array([_FAR]), upper)[0] for upper in (False, True)])
        x = shape.grid(self._pieces, self._table, ends)
        return x, self._log_density(x)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return exact.ends(self._pieces)

    @cached_property
    def _table(self) -> table.PolynomialTable:
        return table.build(self._pieces)

    def _use_table(self, n_sums: int) -> bool:
        """Whether as much work as ``n_sums`` log-densities goes through the table; the first large call makes it."""
        return n_sums >= _DIRECT_BELOW or "_table" in self.__dict__

    def _log_density(self, x: FloatArray) -> FloatArray:
        if self._use_table(x.size):
            return table.log_densities(x, self._table, self._pieces)
        return exact.log_densities(x, self._pieces)

    def _mass_outside(self, x: FloatArray, upper: bool) -> FloatArray:
        if self._use_table(_MASS_COSTS * x.size):
            return table.masses_outside(x, self._table, self._pieces, upper)
        return exact.masses_outside(x, self._pieces, upper)

    def _log_mass_outside(self, x: FloatArray, upper: bool) -> FloatArray:
        return exact.log_masses_outside(x, self._pieces, upper)

    def _mass_between(self, low: float, high: float) -> float:
        return float(exact.masses_between(np.array([low]), high, self._pieces)[0])

    def _quantiles_outside(self, q: FloatArray, upper: bool) -> FloatArray:
        if self._use_table(_QUANTILE_COSTS * q.size):
            found = table.quantiles(q, self._table, self._pieces, upper)
        else:
            found = exact.quantiles(q, self._pieces, upper)
        return found if self.tail.mass else np.clip(found, *self.bounds)  # rounding may lead out

    def _draw(self, size: int, rng: np.random.Generator) -> FloatArray:
        return components.draw(size, self._chooser, self.bounds, self.tail, rng)

    def _responsibilities(self, x: FloatArray) -> FloatArray:
        found = components.responsibilities(x, self.weights, self.means, self.stds, self._pieces)
        found[np.isin(x, self.atoms.positions)] = 0
        return found
