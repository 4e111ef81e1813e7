"""GMMExpansion: the density of columns of numbers, as a scikit-learn estimator (E section 2, D section 2.2).

    numbers --binning, counts--> BinnedCounts --fit, rules, auto--> GaussianMixture1D

The counts are all that a fit keeps of the data, and the mixture is made from them alone. Hence `partial_fit`, `merge`,
files and clusters reach what one `fit` reaches over the same bins.

Columns of a matrix are modelled as independent of each other.
"""

from __future__ import annotations

import dataclasses
import json
import math
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from gaussmix._files import Tensors, read_tensors, write_tensors
from gaussmix._typing import FloatArray
from gaussmix.density._dask import count_dask, first_rows, is_dask
from gaussmix.density.basis import GaussianBasis, check_range
from gaussmix.density.binning import Warp, choose_axis, choose_basis, take_sample
from gaussmix.density.columns import as_columns
from gaussmix.density.counts import BinnedCounts, add_columns
from gaussmix.density.fit import BASIS_RULES, RULES, Bounds, FittedDensity, Rule, fit_counts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.report import FitReport, make_report

MAX_BINS = 1 << 16


class GMMExpansion(DensityMixin, BaseEstimator):
    """One-dimensional densities as Gaussian mixtures, learnt in one pass over the data.

    Parameters
    ----------
    rule : {"auto", "fast", "histogram", "algorithm1", "algorithm2", "kernel", "ml"}
        How the mixture is made from the counts. "auto": Gaussians chosen from a dictionary of many scales, their
        weights by maximum likelihood, their means and scales refined, stacked with "fast". The most accurate; needs no
        tuning. "fast": the pure expansion, bandwidth by the improved Sheather-Jones rule: a kernel density estimate.

        The others are on a basis of ``n_components`` equally spaced Gaussians of one scale, as in the papers.
        "histogram": the share of the points nearest to each (E Algorithm 2 with the step that reproduces its tables);
        "algorithm1", "algorithm2": E as printed, negative weights clipped; "kernel": D's one-iteration rule; "ml": the
        certified maximum of the likelihood.
    n_components : int
        Size of the basis; "auto" and "fast" find their own.
    bandwidth : float or "cv"
        Standard deviation of the basis's components in spacings (E: t); "cv" chooses it by the likelihood of held-out
        counts.
    range : tuple of float, optional
        Where the bins lie: (low, high), points outside go to tail components. If not given the data's range, for a
        basis without the far outliers.
    bounds : tuple of float or None, or "auto"
        Where the distribution ends by nature: (low, high) with None for an open side; data outside are an error.
        "auto": looked for in the counts by "auto" and "fast", open for a basis. None: open.
    warp : {"auto", "asinh"} or None
        "asinh": bins (and a basis) equally spaced on an asinh axis, for heavy tails; None: linear; "auto": asinh for
        the bins of "auto" and "fast" where the data have far outliers.
    exact : bool
        Keep moments within the bins too; "kernel" is then exact to 1e-8 of its sum over points.
    nan_policy : {"raise", "omit"}
        What to do with NaN and infinities: an error, or leave them out and count NaN.
    n_jobs : int, optional
        Threads that count; one if not given, -1 for all processors.

    Attributes
    ----------
    distributions_ : tuple of GaussianMixture1D
        One a column; ``distribution_`` is the only one.
    counts_ : list of BinnedCounts
        One a column.
    bases_ : tuple of GaussianBasis
        One a column; None for "auto" and "fast". With ``bandwidth="cv"`` they hold the grid, and ``report_`` the
        bandwidth that was chosen.
    reports_ : tuple of FitReport
        One a column; ``report_`` is the only one.
    weights_, means_, stds_ : ndarray of shape (n,)
        Of the only column's Gaussians.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix import GMMExpansion
    >>> x = np.random.default_rng(0).gamma(2.0, size=10_000)
    >>> model = GMMExpansion().fit(x)
    >>> model.distribution_.ppf([0.05, 0.5, 0.95]).round(1).tolist()
    [0.4, 1.7, 4.7]
    """

    rule: Rule
    warp: Warp
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {  # _check_parameters has those of range and bounds
        "rule": [StrOptions(set(RULES))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "warp": [StrOptions({"auto", "asinh"}), None],
        "exact": ["boolean"],
        "nan_policy": [StrOptions({"raise", "omit"})],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
    }

    def __init__(
        self,
        rule: Rule = "auto",
        *,
        n_components: int = 200,
        bandwidth: float | Literal["cv"] = 2.0,
        range: tuple[float, float] | None = None,
        bounds: Bounds | Literal["auto"] | None = "auto",
        warp: Warp = "auto",
        exact: bool = False,
        nan_policy: Literal["raise", "omit"] = "raise",
        n_jobs: int | None = None,
    ):
        self.rule = rule
        self.n_components = n_components
        self.bandwidth = bandwidth
        self.range = range
        self.bounds = bounds
        self.warp = warp
        self.exact = exact
        self.nan_policy = nan_policy
        self.n_jobs = n_jobs

    # -- learning

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the density of each column of X.

        Parameters
        ----------
        X : array-like of shape (N,) or (N, D)
            Also a pandas, polars or pyarrow column or table, a Dask array or data frame.
        y : None
            Ignored, for pipelines; a one-dimensional X is accepted without y only.
        sample_weight : array-like of shape (N,), optional
            Integers are frequencies, floats are importance weights.
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

        The first chunk decides where the bins lie. Those of "auto" and "fast" grow with later chunks, unless ``range``
        fixes them; a basis stays, and what comes to lie outside goes to tail components. A model counts one chunk at a
        time: give each thread its own (`empty_like`).

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.
        """
        self._check_parameters()
        first = not hasattr(self, "counts_")
        X, extremes = self._columns(X, y, reset=first)
        missing = getattr(self, "_n_missing", 0)
        if first and self.nan_policy == "omit" and X.shape[1] == 1 and not np.isfinite(X).any():
            self._n_missing = missing + len(X)  # bins wait for the first number
            return self
        laid = self._lay_bins(X, extremes, sample_weight, stream=True) if first else (self.counts_, self.bases_)
        counts = self._counted(laid[0], X, sample_weight)
        if first and missing:
            counts[0].add(np.full(missing, np.nan))
        self.counts_, self.bases_ = counts, laid[1]
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
        self.counts_ = [mine + theirs for mine, theirs in zip(self.counts_, other.counts_, strict=True)]
        return self._forget()

    def empty_like(self) -> GMMExpansion:
        """Return an estimator with the same parameters and bins, nothing counted: one for each worker, then `merge`."""
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
            self._reports = tuple(make_report(self.rule, counts, fit) for counts, fit in columns)
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

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-density (N,) of each row, the sum over its columns; finite everywhere inside given bounds."""
        check_is_fitted(self)
        X, _ = self._columns(X, None, reset=False)
        scores = np.zeros(len(X))
        for distribution, column in zip(self.distributions_, X.T, strict=True):
            scores += distribution.logpdf(column)
        return scores

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the mean log-density of the rows, in nats, for model selection.

        Parameters
        ----------
        X : array-like of shape (N,) or (N, D)
            The rows; with ``nan_policy="omit"`` those that are finite count.
        y : None
            Ignored, for pipelines.
        """
        scores = self.score_samples(X)
        return float(np.mean(scores[~np.isnan(scores)] if self.nan_policy == "omit" else scores))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> FloatArray:
        """Draw independent rows from the learnt density, of shape (n_samples, D).

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, Generator or RandomState, optional
            The same seed draws the same rows.
        """
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
            "names": json.dumps(list(map(str, getattr(self, "feature_names_in_", [])))),
        }
        write_tensors(path, tensors, "GMMExpansion", about)

    @classmethod
    def load(cls, path: str | Path) -> GMMExpansion:
        """Read what `save` wrote. Raises ValueError for a file that is cut short or was written by another."""
        tensors, about = read_tensors(path, "GMMExpansion")
        try:
            model = cls(**_tupled(json.loads(about["parameters"])))
            reports = tuple(FitReport.from_dict(facts) for facts in json.loads(about["reports"]))
            model.counts_, fitted = [], []
            for j, report in enumerate(reports):
                model.counts_.append(BinnedCounts.from_tensors(_part(tensors, f"{j}.counts.")))
                mixture = GaussianMixture1D.from_tensors(_part(tensors, f"{j}.mixture."))
                fitted.append(FittedDensity(mixture, report.details))
            model.bases_ = tuple(b and GaussianBasis(**_tupled(b)) for b in json.loads(about["bases"]))
            model.n_features_in_ = len(fitted)
            if names := json.loads(about["names"]):
                model.feature_names_in_ = np.array(names, dtype=object)
            model._fitted, model._reports = tuple(fitted), reports
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no usable model ({error}); fit and save it again") from error
        return model

    # -- inside

    def _check_parameters(self) -> None:
        self._validate_params()
        if self.range is not None:
            check_range(*_pair(self.range, "range"), "range")
        low, high = self._bounds()
        if low is not None and high is not None:
            check_range(low, high, "bounds")
        if self.exact and self.rule not in BASIS_RULES:
            raise ValueError(f"exact=True is for a fixed basis; rule is {self.rule!r}")

    def _bounds(self) -> Bounds:
        """Given bounds, open sides as None."""
        if self.bounds is None or (isinstance(self.bounds, str) and self.bounds == "auto"):
            return None, None
        low, high = _pair(self.bounds, "bounds")
        return None if low == -math.inf else low, None if high == math.inf else high

    def _columns(self, X: Any, y: Any, *, reset: bool) -> tuple[NDArray[np.floating], list[tuple[float, float]]]:
        """X as a matrix (N, D) of float32 or float64, and each column's extremes, NaN where it holds one.

        Names and number of columns are remembered (``reset``) or compared.
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
        kinds: Any = [np.float64, np.float32]
        if table is None:
            X = validate_data(self, X, reset=reset, dtype=kinds, ensure_all_finite=False)
        else:  # it has names
            validate_data(self, table, reset=reset, skip_check_array=True)
            X = check_array(X, dtype=kinds, ensure_all_finite=False, estimator=self)
        return X, [self._check_column(j, column) for j, column in enumerate(X.T)]

    def _check_column(self, j: int, column: NDArray[np.floating]) -> tuple[float, float]:
        """The extremes. Raises ValueError for what is not finite (unless omitted) or lies outside the bounds."""
        least, most = float(np.min(column)), float(np.max(column))  # NaN if there is any
        if self.nan_policy == "raise" and not (math.isfinite(least) and math.isfinite(most)):
            what = "NaN" if math.isnan(least) else "infinity"
            raise ValueError(f"Input X contains {what} in column {j}: leave such rows out, or give nan_policy='omit'")
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
        self, X: NDArray[np.floating], extremes: list[tuple[float, float]], sample_weight: Any, stream: bool = False
    ) -> tuple[list[BinnedCounts], tuple[GaussianBasis | None, ...]]:
        """Empty counts for columns of which these are the first rows, or all; and their bases."""
        given = np.asarray(sample_weight)  # importance weights do not move bins, wrong ones are refused in counting
        repeats = given if given.dtype.kind in "iu" and given.shape == (len(X),) and given.any() else None
        laid = [self._bins(column, ends, repeats, stream) for column, ends in zip(X.T, extremes, strict=True)]
        return [counts for counts, _ in laid], tuple(basis for _, basis in laid)

    def _bins(
        self, column: NDArray[np.floating], ends: tuple[float, float], repeats: NDArray[Any] | None, stream: bool
    ) -> tuple[BinnedCounts, GaussianBasis | None]:
        low, high = ends
        if repeats is not None or not (math.isfinite(low) and math.isfinite(high)):
            kept = np.isfinite(column) if repeats is None else np.isfinite(column) & (repeats > 0)
            column, repeats = column[kept], None if repeats is None else repeats[kept]
            if len(column) == 0:
                raise ValueError("a column holds no finite number (in its first chunk); there is nothing to learn from")
            low, high = float(column.min()), float(column.max())
        sample = take_sample(column, repeats)
        options: Any = {"span": self.range, "warp": self.warp, "stream": stream}
        if self.rule not in BASIS_RULES:
            axis, atoms = choose_axis(sample, low, high, **options)
            return BinnedCounts(axis, atoms=atoms, grow=stream and axis.scale is not None, max_bins=MAX_BINS), None
        t = 2.0 if self.bandwidth == "cv" else float(self.bandwidth)
        basis, atoms = choose_basis(sample, low, high, int(self.n_components), t, bounds=self._bounds(), **options)
        return BinnedCounts(basis.axis(), atoms=atoms, exact=self.exact), basis

    def _counted(
        self, counts: list[BinnedCounts], X: NDArray[np.floating], sample_weight: ArrayLike | None
    ) -> list[BinnedCounts]:
        """New counts with these rows added, so that an error leaves the old ones."""
        if sample_weight is not None and (sample_weight := np.asarray(sample_weight)).ndim == 0:
            sample_weight = np.full(len(X), sample_weight)
        if self.nan_policy == "omit" and (infinite := np.isinf(X)).any():
            X = np.where(infinite, np.nan, X)  # which the counts keep apart
        counts = [mine.copy() for mine in counts]
        add_columns(counts, X, sample_weight, n_jobs=self.n_jobs)
        return counts

    def _fits(self) -> tuple[FittedDensity, ...]:
        check_is_fitted(self)
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
        bounds: Any = "auto" if isinstance(self.bounds, str) else self._bounds()
        self._fitted = tuple(
            fit_counts(counts, self.rule, basis=basis, cross_validate=self.bandwidth == "cv", bounds=bounds)
            for counts, basis in zip(self.counts_, self.bases_, strict=True)
        )
        return self

    def _fit_dask(self, X: Any, sample_weight: ArrayLike | None) -> Self:
        """Bins from the first rows, counts from all partitions where they lie."""
        if sample_weight is not None:
            raise ValueError("sample_weight is not taken together with a Dask collection; repeat rows instead")
        counts, bases = self._lay_bins(*self._columns(first_rows(X), None, reset=True), None, stream=True)
        counts = count_dask(X, counts, finite=self.nan_policy == "raise")
        low, high = self._bounds()
        for j, column in enumerate(counts):
            if (low is not None and column.minimum < low) or (high is not None and column.maximum > high):
                raise ValueError(
                    f"column {j} reaches from {column.minimum:g} to {column.maximum:g}, beyond bounds={self.bounds!r}; "
                    "leave out what lies outside, or widen them"
                )
        self.counts_, self.bases_ = counts, bases
        return self._forget()._finish()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "counts_")

    @staticmethod
    def _only(values: tuple[Any, ...], name: str) -> Any:
        if len(values) != 1:
            raise AttributeError(f"{len(values)} columns were fitted: use {name}[column]")
        return values[0]


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _tupled(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they were before JSON made lists of their tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _pair(values: Any, name: str) -> tuple[Any, Any]:
    try:
        low, high = (None if value is None else float(value) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {values!r}; it takes a pair of numbers (low, high)") from None
    if name == "range" and (low is None or high is None):
        raise ValueError(f"range is {values!r}; both ends must be numbers (bounds may be open)")
    return low, high
