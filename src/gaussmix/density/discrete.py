"""Probabilities on a lattice, with the smooth density behind them: counts, ages, scores, booleans.

    P(X = v_j) = p_j,    v_j increasing, v_j - v_0 a multiple of the step s

`LatticeMixture1D` is the Gaussian mixture whose point masses carry everything. Its Gaussians, bounds and guard are
those of `continuous`, the density that was fitted; of that mixture's mass they have none, and they say what a value
counts that was never seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture import picture, shape
from gaussmix.density._mixture.simplify import Simplified
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from scipy.stats._distn_infrastructure import rv_discrete_frozen

_SUM_TOLERANCE = 1e-6
_ROUNDING = 1e-12  # of sums of probabilities
_WIDTH = 0.6  # steps, of a Gaussian around each value: together they are smooth to .2 %
_NEAR = (1e-6, 2e-7)  # in steps, and of a number's size in single precision: what counts as a value that is no integer


class LatticeMixture1D(GaussianMixture1D):
    """A discrete distribution on a lattice, frozen, with SciPy's names, and the smooth density behind it.

    ``cdf`` and ``sf`` are steps, ``ppf`` and ``isf`` give values, so that ``ppf(cdf(v)) == v``, and ``rvs`` draws them:
    as float64, which holds integers exactly (``astype(int)`` changes none). ``atoms`` are the values and their
    probabilities. ``weights``, ``means``, ``stds``, ``bounds`` and ``tail`` are those of ``continuous``.

    Parameters
    ----------
    continuous : GaussianMixture1D
        The smooth density.
    values : array-like of shape (V,)
        Increasing, whole steps apart.
    probabilities : array-like of shape (V,)
        At least 0, with sum 1 to 1e-6, normalised exactly; values of probability 0 are left out.
    step : float
        Of the lattice, in data units.

    Raises
    ------
    ValueError
        Shapes do not match, values lie on no such lattice, or the probabilities make no distribution.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix import GMMExpansion
    >>> law = GMMExpansion().fit(np.arange(1000) % 4).distribution_  # integers have probabilities
    >>> law.ppf([0.2, 0.9]).tolist(), float(law.cdf(-0.5)), round(float(law.pdf(2)), 2)
    ([0.0, 3.0], 0.0, 0.25)
    """

    continuous: GaussianMixture1D
    values: FloatArray
    probabilities: FloatArray
    step: float

    def __init__(self, continuous: GaussianMixture1D, values: ArrayLike, probabilities: ArrayLike, step: float = 1.0):
        v, p = np.asarray(values, np.float64), np.asarray(probabilities, np.float64)
        if v.ndim != 1 or v.shape != p.shape or v.size == 0:
            raise ValueError(f"values have shape {v.shape} and probabilities {p.shape}; give as many of each")
        if not p.min() >= 0 or not abs(p.sum() - 1) <= _SUM_TOLERANCE:
            raise ValueError(f"probabilities have least {p.min():.6g} and sum {p.sum():.9g}; they are positive, sum 1")
        v, p = v[p > 0], _exactly_one(p[p > 0])
        if not (0 < step < math.inf and np.isfinite(v).all() and (np.diff(v) > step / 2).all()):
            raise ValueError(f"values must be finite and increase by steps of {step:g}")
        super().__init__(
            continuous.weights,
            continuous.means,
            continuous.stds,
            bounds=continuous.bounds,
            tail=continuous.tail,
            atoms=(v, p),
        )
        v, p = self.atoms
        self.__dict__.update(continuous=continuous, values=v, probabilities=p, step=float(step))
        if not self._on_lattice(v).all():
            raise ValueError(
                f"{v[~self._on_lattice(v)][0]:g} is no whole number of steps of {step:g} away from {v[0]:g}"
            )

    @cached_property
    def whole(self) -> bool:
        """Whether all values are integers, no larger than float64 holds exactly."""
        v = self.values
        return bool(self.step.is_integer() and (v == np.rint(v)).all() and np.abs(v).max() <= 2**53)

    def pmf(self, k: ArrayLike) -> FloatArray:
        """Return P(X = k), 0 where k is none of the values."""
        return np.exp(self.logpmf(k))

    def logpmf(self, k: ArrayLike) -> FloatArray:
        """Return log P(X = k), -inf where k is none of the values."""
        k = np.asarray(k)
        found = np.where(np.isnan(k), np.nan, -np.inf)
        nearest, is_value = self._find(np.asarray(k, np.float64))
        return np.where(is_value, np.log(self.probabilities)[nearest], found)[()]

    def logpdf(self, x: ArrayLike) -> FloatArray:
        """Return log P(X = x); at a place of the lattice that has no probability, what the smooth density gives it.

        So scores of numbers that were never seen are finite, as far as the given bounds allow them; of integers also
        beside the lattice, of other numbers there -inf.
        """
        return super().logpdf(x)

    def mode(self) -> float:
        """Return the most probable value, the first of several."""
        return float(self.values[np.argmax(self.probabilities)])

    def modes(self) -> FloatArray:
        """Return the values (k,) that are more probable than those beside them, in increasing order.

        Beside a gap in the lattice the probability is 0. Of equally probable neighbours it is the first; differences
        below a billionth are rounding.
        """
        runs = np.split(np.arange(self.values.size), np.flatnonzero(np.diff(self._numbers) > 1) + 1)
        log_p = np.log(self.probabilities)
        tops = [run[:1] if run.size == 1 else run[shape.turning_points(log_p[run])[0]] for run in runs]
        return self.values[np.concatenate(tops)]

    def hdi(self, mass: float = 0.95) -> FloatArray:
        """Return the fewest values that hold a share of the probability, as intervals (k, 2) of neighbouring values.

        Of equally probable values the smaller ones come first. They may hold more than the share.

        Parameters
        ----------
        mass : float
            The share, in (0, 1].
        """
        if not 0 < mass <= 1:
            raise ValueError(f"mass is {mass}; it must lie in (0, 1]")
        order = np.argsort(-self.probabilities, kind="stable")
        enough = np.searchsorted(np.cumsum(self.probabilities[order]), mass * (1 - _ROUNDING)) + 1
        used = np.sort(order[:enough])
        ends = np.flatnonzero(np.diff(self._numbers[used]) > 1)
        return np.stack([self.values[used[np.append(0, ends + 1)]], self.values[used[np.append(ends, -1)]]], axis=1)

    def responsibilities(self, x: ArrayLike) -> FloatArray:
        """Return those of the Gaussians of ``continuous``, (..., n)."""
        return self.continuous.responsibilities(x)

    # -- other distributions

    def affine(self, scale: float, shift: float = 0.0) -> LatticeMixture1D:
        """Return the distribution of scale X + shift; values, step and smooth density move along.

        Parameters
        ----------
        scale : float
            Not 0; a negative one mirrors.
        shift : float
            Added afterwards.

        Examples
        --------
        >>> from gaussmix import GaussianMixture1D, LatticeMixture1D
        >>> celsius = LatticeMixture1D(GaussianMixture1D([1.0], means=[1.0], stds=[1.0]), [0, 1, 3], [0.5, 0.3, 0.2])
        >>> celsius.affine(-2.0, 1.0)
        LatticeMixture1D(3 values, -5 .. 1, step 2)
        """
        continuous = self.continuous.affine(scale, shift)
        order = slice(None, None, 1 if scale > 0 else -1)
        values, p = (scale * self.values + shift)[order], self.probabilities[order]
        step, whole = abs(scale) * self.step, np.rint(values)
        if round(step) > 0 and np.abs(np.append(values - whole, step - round(step))).max() < _ROUNDING * (
            1 + np.abs(values).max()
        ):
            values, step = whole, float(round(step))
        return LatticeMixture1D(continuous, values, p, step)

    def truncate(self, low: float | None = None, high: float | None = None) -> LatticeMixture1D:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the distribution of X given low <= X <= high.

        Its smooth density, ``continuous``, is made of a Gaussian around each value, .6 steps wide, and reflected half a
        step outside the first and the last place that the lattice has in the interval.

        Parameters
        ----------
        low, high : float, optional
            Ends of the interval; open if not given.

        Raises
        ------
        ValueError
            ``low`` is above ``high``, or the interval holds no value.
        """
        ends = -math.inf if low is None else float(low), math.inf if high is None else float(high)
        if not ends[0] <= ends[1]:
            raise ValueError(f"the interval is [{ends[0]:g}, {ends[1]:g}]; low must not be above high")
        first, last = ((end - self.values[0]) / self.step for end in ends)
        near = [float(self._tolerance(np.array(end))) / self.step if math.isfinite(end) else 0.0 for end in ends]
        first, last = np.ceil(first - near[0]), np.floor(last + near[1])
        inside = (self._numbers >= first) & (self._numbers <= last)
        if not inside.any():
            raise ValueError(f"[{ends[0]:g}, {ends[1]:g}] holds none of the values; choose another interval")
        values, p = self.values[inside], self.probabilities[inside]
        bounds = float(self.values[0] + self.step * (first - 0.5)), float(self.values[0] + self.step * (last + 0.5))
        smooth = GaussianMixture1D(p / p.sum(), values, _WIDTH * self.step, bounds=bounds)
        return LatticeMixture1D(smooth, values, p / p.sum(), self.step)

    def simplify(self, k: int | None = None, tolerance: float | None = None) -> Simplified:
        """Refuse: the probabilities are no Gaussians; those of ``continuous`` can be simplified.

        Parameters
        ----------
        k, tolerance : optional
            As of a mixture, and not looked at.

        Raises
        ------
        ValueError
            In any case.
        """
        raise ValueError("a discrete distribution is not made of Gaussians: simplify its smooth density, .continuous")

    # -- elsewhere

    def to_scipy(self) -> rv_discrete_frozen:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a frozen discrete distribution of `scipy.stats`. Raises ValueError if the values are no integers."""
        from gaussmix.density._mixture.scipy_law import freeze_discrete

        return freeze_discrete(self)

    def _repr_html_(self) -> str:
        low, high = self.support()
        values = f"{self.values.size} from {low:.6g} to {high:.6g}, in steps of {self.step:.6g}"
        likely = ("most probable", picture.heaviest(self.atoms))
        return picture.as_html(self, [("values", values), *picture.describe_numbers(self), likely])

    def support(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        return float(self.values[0]), float(self.values[-1])

    def to_tensors(self) -> dict[str, FloatArray]:
        """Return everything as float64 arrays, for `from_tensors`."""
        own = {"values": self.values, "probabilities": self.probabilities, "step": [self.step]}
        return self.continuous.to_tensors() | {name: np.array(value) for name, value in own.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Make the distribution that gave `to_tensors()`. Raises KeyError and ValueError for other arrays."""
        continuous = GaussianMixture1D.from_tensors(tensors)
        if tensors["step"].shape != (1,):
            raise ValueError("step is one number")
        return cls(continuous, tensors["values"], tensors["probabilities"], float(tensors["step"][0]))

    def _listed(self) -> dict[str, FloatArray]:
        return {"value": self.values, "probability": self.probabilities}

    def _draw_on(self, axes: Axes, *, fill: bool, **style: Any) -> None:
        picture.draw_stems(axes, self.values, self.probabilities, "probability", **style)

    def __repr__(self) -> str:
        low, high = self.support()
        return f"LatticeMixture1D({self.values.size} values, {low:.6g} .. {high:.6g}, step {self.step:.6g})"

    def __reduce__(self) -> tuple[Callable[..., GaussianMixture1D], tuple[Any, ...]]:
        return LatticeMixture1D.from_tensors, (self.to_tensors(),)

    @cached_property
    def _numbers(self) -> IntArray:
        """(V,) how many steps the values are from the first."""
        return np.rint((self.values - self.values[0]) / self.step).astype(np.int64)

    @cached_property
    def _steps(self) -> tuple[FloatArray, FloatArray]:
        """P(X <= v) and P(X > v), (V + 1,), of a place before all values and of these."""
        p = self.probabilities
        up_to, beyond = np.append(0.0, np.cumsum(p)), np.append(np.cumsum(p[::-1])[::-1], 0.0)
        up_to[-1] = beyond[0] = 1.0
        return up_to, beyond

    def _tolerance(self, x: FloatArray) -> FloatArray:
        of_step, of_size = _NEAR
        near = of_step * self.step + of_size * np.minimum(np.abs(x), 1e300)
        return 0 * near if self.whole else np.minimum(near, 0.1 * self.step)

    def _on_lattice(self, x: FloatArray) -> NDArray[np.bool_]:
        away = x - self.values[0]
        return np.abs(away - self.step * np.rint(away / self.step)) <= self._tolerance(x)

    def _find(self, x: FloatArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """The number of the nearest value, and whether x is that."""
        nearest = np.searchsorted(self.values[:-1] / 2 + self.values[1:] / 2, x)
        return nearest, np.abs(x - self.values[nearest]) <= self._tolerance(x)

    def _logpdf(self, x: FloatArray) -> FloatArray:
        out = np.array(self.logpmf(x))
        with np.errstate(invalid="ignore"):
            possible = self._on_lattice(x) | (np.rint(x) == x) if self.whole else self._on_lattice(x)
            unseen = np.isneginf(out) & np.isfinite(x) & possible
        if unseen.any():
            out[unseen] = self.continuous.logpdf(x[unseen]) + math.log(self.step)
        return out

    def _outside(self, x: FloatArray, upper: bool) -> FloatArray:
        nearest, is_value = self._find(x)
        passed = np.where(is_value, nearest + 1, np.searchsorted(self.values, x, "right"))
        return np.where(np.isnan(x), np.nan, self._steps[upper][passed])

    def _quantiles(self, q: FloatArray, upper: bool) -> FloatArray:
        up_to, beyond = (steps[1:] for steps in self._steps)
        if upper:
            place = self.values.size - np.searchsorted(beyond[::-1], q, "right")
        else:
            place = np.searchsorted(up_to, q, "left")
        return np.where((q >= 0) & (q <= 1), self.values[np.clip(place, 0, self.values.size - 1)], np.nan)


def count_values(counts: BinnedCounts, origin: float, step: float) -> tuple[IntArray, FloatArray] | None:
    """Numbers j (V,) of the values origin + step j that were counted, increasing, and the mass of each.

    For counts of points that all lie on this lattice. None where some lie outside the bins, or a bin holds several
    values.
    """
    if counts.under_mass > 0 or counts.over_mass > 0:
        return None
    mass = counts.mass
    occupied = np.flatnonzero(mass)
    edges = counts.axis.edges
    low, high = edges[occupied], edges[occupied + 1]
    place, width = (low / 2 + high / 2 - origin) / step, (high - low) / step
    number = np.rint(place)
    centered = (np.abs(place - number) < 0.25) & (width < 1 + 1e-6)
    if not np.all(centered | (width < 0.75)) or np.abs(number).max(initial=0) > 2**53:
        return None
    found, which = np.unique(number.astype(np.int64), return_inverse=True)
    return found, np.bincount(which, mass[occupied], len(found)).astype(np.float64)


def _exactly_one(p: FloatArray) -> FloatArray:
    """Divided by the sum, rounding goes to the largest. What sums to 1 but for rounding stays: so twice is once."""
    if abs(p.sum() - 1) <= 4 * np.finfo(float).eps:
        return p
    p = p / p.sum()
    p[np.argmax(p)] += 1 - p.sum()
    return p
