"""GMMExpansion: the density of columns of numbers, as a scikit-learn estimator (E §2, D §2.2).

    numbers --plan, count--> BinnedCounts --rule--> GaussianMixture1D

The counts are all that a fit keeps of the data, and the mixture is made from them alone. Hence `partial_fit`, `merge`,
files and clusters reach what one `fit` reaches over the same bins.

Columns of a matrix are modelled as independent of each other.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from gaussmix._files import Tensors, read_tensors, write_tensors
from gaussmix.density._dask import count_dask, first_rows, is_dask
from gaussmix.density.basis import GaussianBasis, check_range
from gaussmix.density.binning import Warp, plan_basis, plan_bins, take_sample
from gaussmix.density.columns import as_columns
from gaussmix.density.counts import BinnedCounts, add_columns
from gaussmix.density.fit import BASIS_RULES, RULES, Bounds, Fit, Rule, fit_counts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.report import FitReport, make_report

MAX_BINS = 1 << 16


class GMMExpansion(DensityMixin, BaseEstimator):
    """One-dimensional densities as Gaussian mixtures, learnt in one pass over the data.

    Parameters
    ----------
    weights : how the mixture is made from the counts.
        "auto" (default): Gaussians chosen from a dictionary of many scales, their weights by maximum likelihood, their
        means and scales refined, stacked with "fast". The most accurate; needs no tuning.
        "fast": the pure expansion, bandwidth by the improved Sheather-Jones rule: a kernel density estimate.
        On a basis of `n_components` equally spaced Gaussians of one scale, as in the papers:
        "histogram": the share of the points nearest to each (E Algorithm 2 with the step that reproduces its tables);
        "algorithm1", "algorithm2": E as printed, negative weights clipped; "kernel": D's one-iteration rule;
        "ml": the certified maximum of the likelihood.
    n_components : size of the basis; "auto" and "fast" find their own.
    bandwidth : standard deviation of the basis's components in spacings (E: t), or "cv" to choose it by the likelihood
        of held-out counts.
    range : where the bins lie. None: the data's range, for a basis without the far outliers. (low, high): given; points
        outside go to tail components.
    bounds : where the distribution ends by nature. (low, high) with None for an open side; "auto": looked for in the
        counts by "auto" and "fast", open for a basis; None: open. Data outside given bounds are an error.
    warp : "asinh": bins (and a basis) equally spaced on an asinh axis, for heavy tails; None: linear; "auto": asinh for
        the bins of "auto" and "fast" where the data have far outliers.
    exact : keep moments within the bins too; "kernel" is then exact to 1e-8 of its sum over points.
    nan_policy : "raise", or "omit": NaN and infinities are left out, and NaN counted.
    n_threads : threads that count.

    Attributes
    ----------
    distributions_ : tuple of `GaussianMixture1D`, one a column; `distribution_` is the only one.
    counts_ : list of `BinnedCounts`, one a column.
    bases_ : tuple of `GaussianBasis`, one a column; None for "auto" and "fast". With bandwidth="cv" they hold the grid,
        and `report_` the bandwidth that was chosen.
    reports_ : tuple of `FitReport`, one a column; `report_` is the only one.
    weights_, means_, stds_ : of the only column's Gaussians.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix import GMMExpansion
    >>> x = np.random.default_rng(0).gamma(2.0, size=10_000)
    >>> model = GMMExpansion().fit(x)
    >>> model.distribution_.ppf([0.05, 0.5, 0.95]).round(1).tolist()
    [0.4, 1.7, 4.7]
    """

    weights: Rule
    bandwidth: float | Literal["cv"]
    range: tuple[float, float] | None
    bounds: Bounds | Literal["auto"] | None
    warp: Warp
    nan_policy: Literal["raise", "omit"]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        weights: Rule = "auto",
        *,
        n_components: int = 200,
        bandwidth: float | Literal["cv"] = 2.0,
        range: tuple[float, float] | None = None,
        bounds: Bounds | Literal["auto"] | None = "auto",
        warp: Warp = "auto",
        exact: bool = False,
        nan_policy: Literal["raise", "omit"] = "raise",
        n_threads: int = 1,
    ):
        self.weights = weights
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.range = range
        self.bounds = bounds
        self.warp = warp
        self.exact = exact
        self.nan_policy = nan_policy
        self.n_threads = n_threads

    # -- learning

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the density of each column of X.

        X : (N,) or (N, D) array, list, pandas/polars/pyarrow column or table, Dask array or dataframe.
        y : ignored, for pipelines; a one-dimensional X is accepted without y only.
        sample_weight : (N,); integers are frequencies, floats are importance weights.
        """
        self._check_parameters()
        if is_dask(X):
            return self._fit_dask(X, sample_weight)
        X, extremes = self._columns(X, y, reset=True)
        counts, bases = self._lay_bins(X, extremes, sample_weight)
        self.counts_, self.bases_ = self._counted(counts, X, sample_weight), bases
        return self._forget()._finish()

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Count one more chunk; the mixtures are made when they are next asked for.

        The first chunk decides where the bins lie. Those of "auto" and "fast" grow with later chunks, unless `range`
        fixes them; a basis stays, and what comes to lie outside goes to tail components. A model counts one chunk at a
        time: give each thread its own (`empty_like`).
        """
        self._check_parameters()
        first = not hasattr(self, "counts_")
        X, extremes = self._columns(X, y, reset=first)
        if first and self.nan_policy == "omit" and X.shape[1] == 1 and not np.isfinite(X).any():
            self._n_missing = getattr(self, "_n_missing", 0) + len(X)  # bins wait for the first number
            return self
        counts, bases = (
            self._lay_bins(X, extremes, sample_weight, stream=True) if first else (self.counts_, self.bases_)
        )
        counts = self._counted(counts, X, sample_weight)
        if first and getattr(self, "_n_missing", 0):
            counts[0].add(np.full(self._n_missing, np.nan))
        self.counts_, self.bases_ = counts, bases
        return self._forget()

    def merge(self, other: GMMExpansion) -> Self:
        """Add what another estimator has counted on the same bins, as on another machine; see `empty_like`.

        Raises ValueError where bins or columns differ.
        """
        check_is_fitted(self)
        if not isinstance(other, GMMExpansion):
            raise TypeError(f"cannot merge {type(other).__name__}; it takes another GMMExpansion")
        check_is_fitted(other)
        names = [getattr(model, "feature_names_in_", None) for model in (self, other)]
        if names[0] is not None and names[1] is not None and not np.array_equal(names[0], names[1]):
            raise ValueError(f"cannot merge columns {names[1].tolist()} into {names[0].tolist()}")
        if len(self.counts_) != len(other.counts_):
            raise ValueError(f"cannot merge {len(other.counts_)} columns into {len(self.counts_)}")
        merged = [mine + theirs for mine, theirs in zip(self.counts_, other.counts_, strict=True)]
        self.counts_ = merged
        return self._forget()

    def empty_like(self) -> GMMExpansion:
        """The same parameters and bins, nothing counted: one for each worker, then `merge`."""
        check_is_fitted(self)
        twin = type(self)(**self.get_params())
        twin.counts_ = [counts.empty_like() for counts in self.counts_]
        twin.bases_ = self.bases_
        twin.n_features_in_ = self.n_features_in_
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
            self._reports = tuple(make_report(self.weights, counts, fit) for counts, fit in columns)
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
    def weights_(self) -> NDArray[np.float64]:
        """(n,) weights of the only column's Gaussians."""
        return self.distribution_.weights

    @property
    def means_(self) -> NDArray[np.float64]:
        """(n,) means of the only column's Gaussians."""
        return self.distribution_.means

    @property
    def stds_(self) -> NDArray[np.float64]:
        """(n,) standard deviations of the only column's Gaussians."""
        return self.distribution_.stds

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """(N,) log-density of each row: the sum over its columns. Finite everywhere inside given bounds."""
        check_is_fitted(self)
        X, _ = self._columns(X, None, reset=False)
        scores = np.zeros(len(X))
        for distribution, column in zip(self.distributions_, X.T, strict=True):
            scores += distribution.logpdf(column)
        return scores

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Mean log-density of the rows, for model selection; with nan_policy="omit", of those that are finite."""
        scores = self.score_samples(X)
        return float(np.mean(scores[~np.isnan(scores)] if self.nan_policy == "omit" else scores))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[np.float64]:
        """(n_samples, D) independent rows from the learnt density."""
        if n_samples < 1:
            raise ValueError(f"n_samples is {n_samples}; it must be at least 1")
        generator = random_state
        if not isinstance(random_state, np.random.Generator):
            generator = np.random.default_rng(check_random_state(random_state).randint(2**31, size=4))
        return np.column_stack([d.rvs(n_samples, random_state=generator) for d in self.distributions_])

    # -- on disk

    def save(self, path: str | Path) -> None:
        """Write mixtures, counts and parameters as one safetensors file.

        `partial_fit` and `merge` go on after `load`. Raises OSError where the file cannot be written; an older file of
        that name is then still whole.
        """
        check_is_fitted(self)
        tensors = {}
        columns = zip(self.counts_, self.distributions_, strict=True)
        for j, (counts, distribution) in enumerate(columns):
            tensors |= {f"{j}.counts.{name}": value for name, value in counts.to_tensors().items()}
            tensors |= {f"{j}.mixture.{name}": value for name, value in distribution.to_tensors().items()}
        about = {
            "parameters": json.dumps(self.get_params(), default=lambda value: value.tolist()),
            "reports": json.dumps([report.to_dict() for report in self.reports_]),
            "bases": json.dumps([None if basis is None else dataclasses.asdict(basis) for basis in self.bases_]),
            "details": json.dumps([fit.details for fit in self._fits()]),
            "names": json.dumps(list(map(str, getattr(self, "feature_names_in_", [])))),
        }
        write_tensors(path, tensors, "GMMExpansion", about)

    @classmethod
    def load(cls, path: str | Path) -> GMMExpansion:
        """The estimator that `save` wrote. Raises ValueError for a file that is cut short or was written by another."""
        tensors, about = read_tensors(path, "GMMExpansion")
        try:
            parameters: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in json.loads(about["parameters"]).items()
            }
            model = cls(**parameters)
            model.counts_, fitted = [], []
            for j, details in enumerate(json.loads(about["details"])):
                model.counts_.append(BinnedCounts.from_tensors(_part(tensors, f"{j}.counts.")))
                fitted.append(Fit(GaussianMixture1D.from_tensors(_part(tensors, f"{j}.mixture.")), details))
            model.bases_ = tuple(None if b is None else _basis_from(b) for b in json.loads(about["bases"]))
            model.n_features_in_ = len(fitted)
            if names := json.loads(about["names"]):
                model.feature_names_in_ = np.array(names, dtype=object)
            model._fitted = tuple(fitted)
            model._reports = tuple(FitReport.from_dict(facts) for facts in json.loads(about["reports"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no usable model ({error}); fit and save it again") from error
        return model

    # -- inside

    def _check_parameters(self) -> None:
        if self.weights not in RULES:
            raise ValueError(f"weights is {self.weights!r}; use one of {', '.join(RULES)}")
        if not isinstance(self.n_components, int | np.integer) or self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components!r}; use an integer from 1 on")
        if self.bandwidth != "cv" and not (
            isinstance(self.bandwidth, int | float | np.number) and 0 < self.bandwidth < math.inf
        ):
            raise ValueError(f"bandwidth is {self.bandwidth!r}; use a positive number of spacings, or 'cv'")
        if self.range is not None:
            check_range(*_pair(self.range, "range"), "range")
        low, high = self._bounds()
        if low is not None and high is not None:
            check_range(low, high, "bounds")
        if self.warp not in ("auto", "asinh", None):
            raise ValueError(f"warp is {self.warp!r}; use 'auto', 'asinh' or None")
        if self.nan_policy not in ("raise", "omit"):
            raise ValueError(f"nan_policy is {self.nan_policy!r}; use 'raise' or 'omit'")
        if self.exact and self._uses_basis is False:
            raise ValueError(f"exact=True is for a fixed basis; weights is {self.weights!r}")

    @property
    def _uses_basis(self) -> bool:
        return self.weights in BASIS_RULES

    def _bounds(self) -> Bounds:
        """Given bounds, open sides as None."""
        if self.bounds is None or (isinstance(self.bounds, str) and self.bounds == "auto"):
            return None, None
        low, high = _pair(self.bounds, "bounds")
        return (
            None if low is None or low == -math.inf else float(low),
            None if high is None or high == math.inf else float(high),
        )

    def _columns(self, X: Any, y: Any, *, reset: bool) -> tuple[NDArray[np.floating], list[tuple[float, float]]]:
        """X as a matrix (N, D) of float32 or float64, and each column's extremes, NaN where it holds one.

        Names and number of columns are remembered (`reset`) or compared.
        """
        table = X if hasattr(X, "columns") else None
        if not issparse(X):  # which scikit-learn refuses
            X = as_columns(X)
            if X.ndim == 1:
                if y is not None:
                    raise ValueError(
                        f"Expected 2D array, got 1D array instead: with y, X must be (N, D), and it is {X.shape}. "
                        "Reshape your data with X.reshape(-1, 1), or leave y out."
                    )
                X = X.reshape(-1, 1)
            if X.dtype.kind in "mM":
                raise ValueError(f"X holds {X.dtype}; numbers are needed: convert dates to a number of days, say")
        if table is not None:  # it has names
            validate_data(self, table, reset=reset, skip_check_array=True)
        kinds: Any = [np.float64, np.float32]
        if table is None:
            X = validate_data(self, X, reset=reset, dtype=kinds, ensure_all_finite=False)
        else:
            X = check_array(X, dtype=kinds, ensure_all_finite=False, estimator=self)
        return X, [self._check_column(j, column) for j, column in enumerate(X.T)]

    def _check_column(self, j: int, column: NDArray[np.floating]) -> tuple[float, float]:
        """The extremes. Raises ValueError for what is not finite (unless omitted) or lies outside the bounds."""
        least, most = float(np.min(column)), float(np.max(column))  # NaN if there is any
        if self.nan_policy == "raise" and not (math.isfinite(least) and math.isfinite(most)):
            what = "NaN" if math.isnan(least) else "infinity"
            raise ValueError(
                f"Input X contains {what} in column {j}: leave such rows out, or let nan_policy='omit' do it"
            )
        low, high = self._bounds()
        outside = np.zeros(0, dtype=bool)
        if low is not None and not least >= low:
            outside = column < low
        if high is not None and not most <= high and not outside.any():
            outside = column > high
        if outside.any():
            raise ValueError(
                f"{int(np.sum(outside))} of {len(column)} numbers in column {j} lie outside "
                f"bounds={self.bounds!r}, such as {column[np.argmax(outside)]:g}; leave them out, or widen them"
            )
        return least, most

    def _lay_bins(
        self,
        X: NDArray[np.floating],
        extremes: list[tuple[float, float]],
        sample_weight: ArrayLike | None = None,
        *,
        stream: bool = False,
    ) -> tuple[list[BinnedCounts], tuple[GaussianBasis | None, ...]]:
        """Empty counts for columns of which these are the first rows, or all; and their bases."""
        given = np.asarray(sample_weight)  # importance weights do not move bins, wrong ones are refused in counting
        frequencies = given if given.dtype.kind in "iu" and given.shape == (len(X),) and given.any() else None
        if frequencies is not None:
            X, frequencies = X[frequencies > 0], frequencies[frequencies > 0]
            extremes = [(float(np.min(column)), float(np.max(column))) for column in X.T]
        laid = [self._bins(column, *ends, stream, frequencies) for column, ends in zip(X.T, extremes, strict=True)]
        return [counts for counts, _ in laid], tuple(basis for _, basis in laid)

    def _bins(
        self,
        column: NDArray[np.floating],
        low: float,
        high: float,
        stream: bool,
        frequencies: NDArray[np.integer] | None,
    ) -> tuple[BinnedCounts, GaussianBasis | None]:
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = np.isfinite(column)
            column, frequencies = column[finite], None if frequencies is None else frequencies[finite]
            if len(column) == 0:
                raise ValueError("a column holds no finite number (in its first chunk); there is nothing to learn from")
            low, high = float(column.min()), float(column.max())
        sample = take_sample(column, frequencies)
        if not self._uses_basis:
            plan = plan_bins(sample, low, high, span=self.range, warp=self.warp, stream=stream)
            grow = stream and plan.axis.scale is not None
            return BinnedCounts(plan.axis, atoms=plan.atoms, grow=grow, max_bins=MAX_BINS), None
        basis, atoms = plan_basis(
            sample,
            low,
            high,
            n_components=int(self.n_components),
            bandwidth=2.0 if self.bandwidth == "cv" else float(self.bandwidth),
            span=self.range,
            bounds=self._bounds(),
            warp=self.warp,
            stream=stream,
        )
        return BinnedCounts(basis.axis(), atoms=atoms, exact=self.exact), basis

    def _counted(
        self, counts: list[BinnedCounts], X: NDArray[np.floating], sample_weight: ArrayLike | None
    ) -> list[BinnedCounts]:
        """New counts with these rows added, so that an error leaves the old ones."""
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)
            if sample_weight.ndim == 0:
                sample_weight = np.full(len(X), sample_weight)
        if self.nan_policy == "omit":
            X = _without_infinities(X)
        counts = [mine.copy() for mine in counts]
        if len(counts) == 1:
            counts[0].add(X[:, 0], sample_weight, n_threads=self.n_threads)
        else:
            add_columns(counts, X, sample_weight, n_threads=self.n_threads)
        return counts

    def _fits(self) -> tuple[Fit, ...]:
        check_is_fitted(self)
        if self._fitted is None:
            self._finish()
        assert self._fitted is not None
        return self._fitted

    def _forget(self) -> Self:
        """What was made from older counts."""
        self._fitted: tuple[Fit, ...] | None = None
        self._reports: tuple[FitReport, ...] | None = None
        return self

    def _finish(self) -> Self:
        for basis in self.bases_:
            if (basis is not None) != self._uses_basis:
                raise ValueError(
                    f"weights is {self.weights!r} now; what was counted was counted for another: fit again"
                )
        bounds: Any = "auto" if isinstance(self.bounds, str) else self._bounds()
        self._fitted = tuple(
            fit_counts(counts, self.weights, basis=basis, cross_validate=self.bandwidth == "cv", bounds=bounds)
            for counts, basis in zip(self.counts_, self.bases_, strict=True)
        )
        return self

    def _fit_dask(self, X: Any, sample_weight: ArrayLike | None) -> Self:
        """Bins from the first rows, counts from all partitions where they lie."""
        if sample_weight is not None:
            raise ValueError("sample_weight is not taken together with a Dask collection; repeat rows instead")
        first = first_rows(X)
        counts, bases = self._lay_bins(*self._columns(first, None, reset=True), stream=True)
        counts = count_dask(X, counts, finite=self.nan_policy == "raise")
        for j, column in enumerate(counts):
            self._check_counted(j, column)
        self.counts_, self.bases_ = counts, bases
        return self._forget()._finish()

    def _check_counted(self, j: int, counts: BinnedCounts) -> None:
        """Raises ValueError for numbers outside the bounds."""
        low, high = self._bounds()
        if (low is not None and counts.minimum < low) or (high is not None and counts.maximum > high):
            raise ValueError(
                f"column {j} reaches from {counts.minimum:g} to {counts.maximum:g}, beyond bounds={self.bounds!r}; "
                "leave out what lies outside, or widen them"
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "counts_")

    @staticmethod
    def _only(values: tuple[Any, ...], name: str) -> Any:
        if len(values) != 1:
            raise AttributeError(f"{len(values)} columns were fitted: use {name}[column]")
        return values[0]


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _basis_from(fields: dict[str, Any]) -> GaussianBasis:
    return GaussianBasis(**{**fields, "bounds": tuple(fields["bounds"])})


def _pair(values: Any, name: str) -> tuple[Any, Any]:
    try:
        low, high = (None if value is None else float(value) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {values!r}; it takes a pair of numbers (low, high)") from None
    if name == "range" and (low is None or high is None):
        raise ValueError(f"range is {values!r}; both ends must be numbers (bounds may be open)")
    return low, high


def _without_infinities(X: NDArray[np.floating]) -> NDArray[np.floating]:
    """Infinities as NaN, which the counts keep apart."""
    infinite = np.isinf(X)
    return np.where(infinite, np.nan, X) if infinite.any() else X
