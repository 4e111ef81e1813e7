"""What is learnt of columns of numbers, and how it is kept: `GMMExpansion` without scikit-learn.

    numbers --binning, counts--> BinnedCounts --fit, rules, auto--> GaussianMixture1D

The counts are all that a fit keeps of the data, and the mixture is made from them alone. Hence `partial_fit`, `merge`,
files and clusters reach what one `fit` reaches over the same bins. The command line and the distances learn with this
class: to load scikit-learn takes longer than to learn a million numbers.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import warnings
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._guard import reading
from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis, check_range
from gaussmix.density.binning import Layout, Warp, frequencies
from gaussmix.density.columns import is_empty, read_columns
from gaussmix.density.counts import BinnedCounts, add_columns, as_real
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import ColumnKind, Quantity, format_number, integer_columns
from gaussmix.density.reflection import Bounds, finite_or_not
from gaussmix.density.report import BASIS_RULES, RULES, FitReport, FittedDensity, Rule, make_report
from gaussmix.density.stored import StoredModel

if TYPE_CHECKING:
    from gaussmix.density.auto.modes import Mode

Smoothness = Literal["auto", "few_modes"] | float


class DensityModel:
    """Densities of columns, learnt from counts; parameters and attributes are those of `GMMExpansion`."""

    rule: Rule
    warp: Warp
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    quantities_: tuple[Quantity, ...]
    _bins_are_shared = False  # with models made by `empty_like`, or from a file
    _kinds: tuple[ColumnKind, ...] | None = None  # of what was counted, one a column

    def __init__(
        self,
        rule: Rule = "auto",
        *,
        n_components: int = 200,
        bandwidth: float | Literal["cv"] = 2.0,
        range: tuple[float, float] | None = None,
        bounds: Bounds | Literal["auto"] | None = "auto",
        warp: Warp = "auto",
        smoothness: Smoothness = "auto",
        exact: bool = False,
        discrete: bool | Literal["auto"] = "auto",
        nan_policy: Literal["raise", "omit"] = "raise",
        n_jobs: int | None = None,
    ):
        self.rule = rule
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.range = range
        self.bounds = bounds
        self.warp = warp
        self.smoothness = smoothness
        self.exact = exact
        self.discrete = discrete
        self.nan_policy = nan_policy
        self.n_jobs = n_jobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_") and name[-1] != "_"}

    # -- learning

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the density of each column of X."""
        self._check_parameters()
        self._warn_of_ignored()
        given, X = X, self._columns(X, y, reset=True)
        counts, bases = self._lay_bins(X, self._extremes(X), sample_weight)
        kinds = self._kinds_of(given, X, counts)
        self.counts_, self.bases_, self._kinds = self._counted(counts, X, sample_weight), bases, kinds
        return self._forget()._finish()

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Count one more chunk, as that of `GMMExpansion` does."""
        self._check_parameters()
        if is_empty(X):
            return self
        first = not hasattr(self, "counts_")
        if first:
            self._warn_of_ignored()
        given, X = X, self._columns(X, y, reset=first)
        extremes = self._extremes(X) if first or sample_weight is not None else []
        missing = getattr(self, "_n_missing", 0)
        if first and self.nan_policy == "omit" and X.shape[1] == 1 and not np.isfinite(X).any():
            self._n_missing = missing + len(X)  # bins wait for the first number
            self._kinds = self._joined_kinds(self._kinds_of(given, X, []), first)
            return self
        laid = self._lay_bins(X, extremes, sample_weight, stream=True) if first else self._relaid(X, sample_weight)
        kinds = self._joined_kinds(self._kinds_of(given, X, laid[0]), first)
        counts = self._counted(laid[0], X, sample_weight)
        if not extremes and self._may_be_wrong(laid[0], counts):
            self._extremes(X)
        if first and missing:
            counts[0].add(np.full(missing, np.nan))
        self.counts_, self.bases_, self._kinds = counts, laid[1], kinds
        return self._forget()

    def merge(self, other: DensityModel) -> Self:
        """Add what another estimator has counted on the same bins, as on another machine; see `empty_like`.

        Raises ValueError where bins or columns differ.
        """
        self._require_fitted()
        if not isinstance(other, DensityModel):
            raise TypeError(f"cannot merge {type(other).__name__}; it takes another GMMExpansion")
        other._require_fitted()
        names = [getattr(model, "feature_names_in_", None) for model in (self, other)]
        if names[0] is not None and names[1] is not None and not np.array_equal(names[0], names[1]):
            raise ValueError(f"cannot merge columns {names[1].tolist()} into {names[0].tolist()}")
        if len(self.counts_) != len(other.counts_):
            raise ValueError(f"cannot merge {len(other.counts_)} columns into {len(self.counts_)}")
        for mine, theirs in zip(self.quantities_, other.quantities_, strict=True):
            if not mine.fits(theirs) or mine.unit != theirs.unit:
                raise ValueError(f"cannot merge {theirs} into {mine} ({theirs.unit or 1} and {mine.unit or 1})")
        kinds = self._joined_kinds(other._kinds)
        self.counts_ = [mine + theirs for mine, theirs in zip(self.counts_, other.counts_, strict=True)]
        self._kinds = kinds
        return self._forget()

    def empty_like(self) -> Self:
        """Return an estimator with the same parameters and bins, nothing counted: one for each worker, then `merge`.

        From then on the bins of both stay, or grow alike.
        """
        self._require_fitted()
        self._bins_are_shared = True
        twin = type(self)(**self.get_params())
        twin.counts_ = [counts.empty_like() for counts in self.counts_]
        twin.bases_, twin._bins_are_shared = self.bases_, True
        twin.n_features_in_, twin.quantities_ = self.n_features_in_, self.quantities_
        twin._kinds = (ColumnKind(),) * self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            twin.feature_names_in_ = self.feature_names_in_
        return twin._forget()

    # -- what was learnt

    @property
    def distributions_(self) -> tuple[GaussianMixture1D, ...]:
        """The mixture of each column."""
        return tuple(fit.distribution for fit in self._fits())

    @property
    def reports_(self) -> tuple[FitReport, ...]:
        """What was found in each column, and the distance to its data."""
        fits = self._fits()
        if self._reports is None:
            columns = zip(self.counts_, fits, strict=True)
            made = (make_report(self.rule, counts, fit) for counts, fit in columns)
            self._reports = tuple(
                dataclasses.replace(report, quantity=quantity)
                for report, quantity in zip(made, self.quantities_, strict=True)
            )
        return self._reports

    @property
    def distribution_(self) -> GaussianMixture1D:
        """The mixture of the only column."""
        return self._only(self.distributions_, "distributions_")

    @property
    def report_(self) -> FitReport:
        """The report of the only column."""
        return self._only(self.reports_, "reports_")

    @property
    def weights_(self) -> FloatArray:
        """(n,) weights of the only column's Gaussians."""
        return self.distribution_.weights

    @property
    def means_(self) -> FloatArray:
        """(n,) means of the only column's Gaussians."""
        return self.distribution_.means

    @property
    def stds_(self) -> FloatArray:
        """(n,) standard deviations of the only column's Gaussians."""
        return self.distribution_.stds

    def modes(self) -> list[Mode]:
        """Return the modes of the only column's density, from left to right, with what the counts say for each.

        Returns
        -------
        list of Mode
            ``position`` and ``density`` of the maximum, and ``evidence``: by how many nats the log-likelihood of the
            counts would fall at least if the density had one mode less, infinite for the highest. Chance makes modes
            worth some nats, more of them the more points there are; of those that chance can make, "auto" and "fast"
            draw none (``smoothness``).
        """
        from gaussmix.density.auto.modes import find_modes

        fit = self._only(self._fits(), "distributions_")
        return find_modes(self.counts_[0], fit.distribution)

    def quantiles(self, q: ArrayLike) -> Any:
        """Return quantiles as the data came: datetime64 of a column of dates, timedelta64 of durations.

        Parameters
        ----------
        q : array-like
            Probabilities, of any shape.

        Returns
        -------
        ndarray
            In the shape of q; with several columns D, (..., D). Columns that are not all numbers, all dates or all
            durations come as floats: `quantities_` says in which units, and turns them into dates with ``to_data``.
        """
        found = self._as_data(np.stack([np.asarray(d.ppf(q)) for d in self.distributions_], axis=-1))
        return found[..., 0][()] if found.shape[-1] == 1 else found

    # -- on disk

    def save(self, path: str | Path) -> None:
        """Write mixtures, counts and parameters as one safetensors file.

        `partial_fit` and `merge` go on after `load`. Raises OSError where the file cannot be written; an older file of
        that name is then still whole.
        """
        self._require_fitted()
        names = list(map(str, getattr(self, "feature_names_in_", [])))
        StoredModel(
            self.get_params(),
            self.counts_,
            list(self.distributions_),
            list(self.reports_),
            self.bases_,
            self._kinds,
            self.quantities_,
            names,
        ).write(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ValueError, naming the file, for one that is damaged or written by another."""
        found = StoredModel.read(path)
        with reading(path, "holds no usable model", "; fit and save it again"):
            model = cls(**found.parameters)
            model._check_parameters()
        model.counts_, model.bases_, model._kinds = found.counts, found.bases, found.kinds
        model.quantities_, model.n_features_in_ = found.quantities, len(found.counts)
        if found.names:
            model.feature_names_in_ = np.array(found.names, dtype=object)
        details = [report.details for report in found.reports]
        model._fitted = tuple(map(FittedDensity, found.mixtures, details))
        model._reports, model._bins_are_shared = tuple(found.reports), True
        return model

    # -- inside

    def _name(self, j: int) -> str:
        """Column j as errors call it."""
        names = getattr(self, "feature_names_in_", None)
        return f"column {j}" if names is None else f"column {names[j]!r}"

    def _as_data(self, values: FloatArray) -> NDArray[Any]:
        """(..., D) numbers of the columns as dates or durations, if all columns are one of them."""
        first = self.quantities_[0]
        return first.to_data(values) if all(other == first for other in self.quantities_) else values

    def _warn_of_ignored(self) -> None:
        """Of parameters that were set, and that the rule does not use."""
        on_basis = self.rule in BASIS_RULES
        usual: dict[str, Any] = {"smoothness": "auto"} if on_basis else {"n_components": 200, "bandwidth": 2.0}
        given = [f"{name}={getattr(self, name)!r}" for name, value in usual.items() if getattr(self, name) != value]
        if given:
            level, frame = 1, sys._getframe()  # whoever asked for the fit is told
            while frame.f_back and frame.f_globals["__name__"].startswith("gaussmix.density."):
                level, frame = level + 1, frame.f_back
            rules = "auto, fast" if on_basis else ", ".join(BASIS_RULES)
            warnings.warn(f"rule {self.rule!r} does not use {' and '.join(given)}; {rules} do", stacklevel=level)

    def _check_parameters(self) -> None:
        if self.range is not None:
            check_range(*_pair(self.range, "range"), "range")
        low, high = self._bounds()
        if low is not None and high is not None:
            check_range(low, high, "bounds")
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}; choose from {', '.join(RULES)}")
        smoothness: Any = self.smoothness
        if smoothness not in ("auto", "few_modes") and not (
            isinstance(smoothness, Real) and 0 <= float(smoothness) < math.inf
        ):
            raise ValueError(
                f"smoothness is {smoothness!r}; it takes 'auto', 'few_modes', or nats of at least 0 a mode"
            )
        if self.exact and self.rule not in BASIS_RULES:
            raise ValueError(f"exact=True is for a fixed basis; rule is {self.rule!r}")
        if self.discrete is True and self.rule in BASIS_RULES:
            raise ValueError(f"discrete=True is for the rules 'auto' and 'fast'; rule is {self.rule!r}")

    def _require_fitted(self) -> None:
        if not hasattr(self, "counts_"):
            raise ValueError("no number has been counted yet: there is nothing to learn from")

    def _bounds(self) -> Bounds:
        """Given bounds, open sides as None."""
        if self.bounds is None or (isinstance(self.bounds, str) and self.bounds == "auto"):
            return None, None
        low, high = _pair(self.bounds, "bounds")
        return None if low == -math.inf else low, None if high == math.inf else high

    def _columns(self, X: Any, y: Any, *, reset: bool) -> NDArray[np.floating]:
        """X (N,) as a matrix (N, 1) of float32 or float64."""
        values, quantities = read_columns(X, () if reset else self.quantities_)
        column = as_real(values).reshape(-1, 1)
        column = column if column.dtype == np.float32 else column.astype(np.float64, copy=False)
        self.n_features_in_, self.quantities_ = 1, quantities
        return column

    def _kinds_of(self, given: Any, X: NDArray[np.floating], counts: list[BinnedCounts]) -> tuple[ColumnKind, ...]:
        """Of the columns of X, as they were ``given``, which come into these counts.

        A lattice is looked for if it was asked for, and of integers where bins hold several of them.
        """
        wide = [each.axis.scale is None and each.axis.width > 1 for each in counts] or [False]
        columns = zip(X.T, integer_columns(given, X.shape[1]), wide, strict=True)
        kinds = tuple(
            ColumnKind.of(column, integer, self.discrete is True or (integer and coarse))
            for column, integer, coarse in columns
        )
        self._require_lattices(kinds)
        return kinds

    def _joined_kinds(self, more: tuple[ColumnKind, ...] | None, first: bool = False) -> tuple[ColumnKind, ...] | None:
        """Of all that was counted, and of ``more``; None where one of them is not known."""
        if self._kinds is None or more is None:
            return more if first else None
        kinds = tuple(mine.joined(theirs) for mine, theirs in zip(self._kinds, more, strict=True))
        self._require_lattices(kinds)
        return kinds

    def _require_lattices(self, kinds: tuple[ColumnKind, ...]) -> None:
        for j, kind in enumerate(kinds if self.discrete is True else ()):
            if math.isnan(kind.step):
                raise ValueError(
                    f"discrete=True, but the numbers in column {j} are not whole steps apart, or too many of "
                    "these: round them, or leave discrete='auto'"
                )

    def _extremes(self, X: NDArray[np.floating]) -> list[tuple[float, float]]:
        """Of each column, NaN where it holds one. Raises as `_check_column`."""
        return [self._check_column(j, column) for j, column in enumerate(X.T)]

    def _may_be_wrong(self, before: list[BinnedCounts], after: list[BinnedCounts]) -> bool:
        """Whether among new points there can be some that `_check_column` refuses: spares looking at all of them."""
        low, high = self._bounds()
        return any(
            (old.n_nan, old.n_under, old.n_over) != (new.n_nan, new.n_under, new.n_over)
            or (low is not None and new.minimum < low)
            or (high is not None and new.maximum > high)
            for old, new in zip(before, after, strict=True)
        )

    def _check_column(self, j: int, column: NDArray[np.floating]) -> tuple[float, float]:
        """The extremes. Raises ValueError for what is not finite (unless omitted) or lies outside the bounds."""
        least, most = float(np.min(column)), float(np.max(column))  # NaN if there is any
        if self.nan_policy == "raise" and not (math.isfinite(least) and math.isfinite(most)):
            what = "NaN" if math.isnan(least) else "infinity"
            where = self._name(j)
            raise ValueError(f"Input X contains {what} in {where}: leave such rows out, or give nan_policy='omit'")
        low, high = finite_or_not(self._bounds())
        if (low > -math.inf or high < math.inf) and (outside := (column < low) | (column > high)).any():
            raise ValueError(
                f"{int(np.sum(outside))} of {len(column)} numbers in {self._name(j)} lie outside "
                f"bounds={self.bounds!r}, such as {format_number(column[np.argmax(outside)])}; "
                "leave them out, or widen them"
            )
        return least, most

    def _layout(self) -> Layout:
        """Where bins lie under these parameters."""
        t = 2.0 if self.bandwidth == "cv" else float(self.bandwidth)
        on_basis = (int(self.n_components), t, self.exact) if self.rule in BASIS_RULES else None
        return Layout(self.range, self._bounds(), self.warp, on_basis)

    def _lay_bins(
        self, X: NDArray[np.floating], extremes: list[tuple[float, float]], sample_weight: Any, stream: bool = False
    ) -> tuple[list[BinnedCounts], tuple[GaussianBasis | None, ...]]:
        """Empty counts for columns of which these are the first rows, or all; and their bases."""
        repeats, layout = frequencies(sample_weight, len(X)), self._layout()
        for j, (column, ends) in enumerate(zip(X.T, extremes, strict=True)):
            if not (math.isfinite(ends[0]) and math.isfinite(ends[1])) and not np.isfinite(column).any():
                what = f"{self._name(j)} holds no finite number" + " in its first chunk" * stream
                raise ValueError(f"{what}: all {len(column)} are missing, so there is nothing to learn from")
        laid = [layout.bins(column, ends, repeats, stream) for column, ends in zip(X.T, extremes, strict=True)]
        return [counts for counts, _ in laid], tuple(basis for _, basis in laid)

    def _relaid(
        self, X: NDArray[np.floating], sample_weight: Any
    ) -> tuple[list[BinnedCounts], tuple[GaussianBasis | None, ...]]:
        """The counts and bases, laid anew where `Layout.again` says so.

        Not so where ``range`` says where bins lie, or other models have the same.
        """
        if self.range is not None or self._bins_are_shared:
            return self.counts_, self.bases_
        layout, laid = self._layout(), list(zip(self.counts_, self.bases_, strict=True))
        for j, (counts, _) in enumerate(laid):
            laid[j] = layout.again(counts, X[:, j], sample_weight) or laid[j]
        return [counts for counts, _ in laid], tuple(basis for _, basis in laid)

    def _counted(
        self, counts: list[BinnedCounts], X: NDArray[np.floating], sample_weight: ArrayLike | None
    ) -> list[BinnedCounts]:
        """New counts with these rows added, so that an error leaves the old ones."""
        if sample_weight is not None and (sample_weight := np.asanyarray(sample_weight)).ndim == 0:
            sample_weight = np.full(len(X), sample_weight)
        if self.nan_policy == "omit" and (infinite := np.isinf(X)).any():
            X = np.where(infinite, np.nan, X)  # which the counts keep apart
        counts = [mine.copy() for mine in counts]
        add_columns(counts, X, sample_weight, n_jobs=self.n_jobs)
        return counts

    def _fits(self) -> tuple[FittedDensity, ...]:
        self._require_fitted()
        if self._fitted is None:
            self._finish()
        assert self._fitted is not None
        return self._fitted

    def _forget(self) -> Self:
        """What was made from older counts."""
        self._fitted: tuple[FittedDensity, ...] | None = None
        self._reports: tuple[FitReport, ...] | None = None
        return self

    def _finish(self) -> Self:
        if any((basis is None) == (self.rule in BASIS_RULES) for basis in self.bases_):
            raise ValueError(f"rule is {self.rule!r} now; what was counted was counted for another: fit again")
        from gaussmix.density.fit import fit_counts  # SciPy's linear algebra: a model from a file does without

        bounds: Any = "auto" if isinstance(self.bounds, str) else self._bounds()
        options: Any = {"cross_validate": self.bandwidth == "cv", "smoothness": self.smoothness, "bounds": bounds}
        self._fitted = tuple(
            fit_counts(counts, self.rule, basis=basis, **options)
            for counts, basis in zip(self.counts_, self.bases_, strict=True)
        )
        if self.discrete is not False and self._kinds is not None and self.rule not in BASIS_RULES:
            from gaussmix.density.probabilities import with_probabilities

            options: Any = {"asked": self.discrete is True, "bounds": self._bounds()}
            self._fitted = tuple(
                with_probabilities(counts, fit, kind, **options)
                for counts, fit, kind in zip(self.counts_, self._fitted, self._kinds, strict=True)
            )
        return self

    @staticmethod
    def _only(values: tuple[Any, ...], name: str) -> Any:
        if len(values) != 1:
            raise AttributeError(f"{len(values)} columns were fitted: use {name}[column]")
        return values[0]


def _pair(values: Any, name: str) -> tuple[Any, Any]:
    try:
        low, high = (None if value is None else float(value) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {values!r}; it takes a pair of numbers (low, high)") from None
    if name == "range" and (low is None or high is None):
        raise ValueError(f"range is {values!r}; both ends must be numbers (bounds may be open)")
    return low, high
