"""GMMExpansion: the density of columns of numbers, as a scikit-learn estimator (E section 2, D section 2.2).

`gaussmix.density.model` does what there is to do; here are scikit-learn's checks, its tables and their names, scores,
and Dask. Columns of a matrix are modelled as independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from gaussmix._typing import FloatArray
from gaussmix.density.columns import count_dask, first_rows, is_dask, read_columns, spread_rows, stream_batches
from gaussmix.density.model import DensityModel
from gaussmix.density.quantity import NUMBER, ColumnKind, format_number, integer_columns
from gaussmix.density.reflection import finite_or_not
from gaussmix.density.report import RULES


class GMMExpansion(DensityMixin, BaseEstimator, DensityModel):
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
    smoothness : {"auto", "few_modes"} or float
        What a mode must be worth to be drawn by "auto" and "fast", in nats of the likelihood that is lost without it.
        "auto": the larger of 1.5 and log N - 4.2, of N points, for "fast" twice that; "few_modes": three times as much
        as "auto"; 0: every mode stays. `modes` says what each one is worth.
    exact : bool
        Keep moments within the bins too; "kernel" is then exact to 1e-8 of its sum over points.
    discrete : bool or "auto"
        Whether ``distribution_`` is a `LatticeMixture1D`, with probabilities of values in place of a density. "auto":
        for columns whose type, in all that was counted, is of integers or booleans, with at most 512 cells from the
        least to the greatest, or only point masses, unless the rule is on a basis. True: also for floats that lie on a
        lattice (missing values make floats of integers); an error if they do not. False: never.
    nan_policy : {"raise", "omit"}
        What to do with NaN and infinities: an error, or leave them out and count NaN.
    n_jobs : int, optional
        Threads that count; one if not given, -1 for all processors.

    Attributes
    ----------
    distributions_ : tuple of GaussianMixture1D
        One a column; ``distribution_`` is the only one. `LatticeMixture1D` for discrete columns (see ``discrete``).
    counts_ : list of BinnedCounts
        One a column.
    bases_ : tuple of GaussianBasis
        One a column; None for "auto" and "fast". With ``bandwidth="cv"`` they hold the grid, and ``report_`` the
        bandwidth that was chosen.
    reports_ : tuple of FitReport
        One a column; ``report_`` is the only one.
    weights_, means_, stds_ : ndarray of shape (n,)
        Of the only column's Gaussians.
    quantities_ : tuple of Quantity
        One a column: whether its numbers are plain numbers, dates or durations, and their unit, "D" (days) or "s"
        (seconds), dates since the start of 1970, UTC; ``to_numbers``, ``to_data`` and ``format`` convert.
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {  # _check_parameters has those of range and bounds
        "rule": [StrOptions(set(RULES))],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "bandwidth": [Interval(Real, 0, None, closed="neither"), StrOptions({"cv"})],
        "warp": [StrOptions({"auto", "asinh"}), None],
        "smoothness": [StrOptions({"auto", "few_modes"}), Interval(Real, 0, None, closed="left")],
        "exact": ["boolean"],
        "discrete": ["boolean", StrOptions({"auto"})],
        "nan_policy": [StrOptions({"raise", "omit"})],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
    }

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the density of each column of X.

        Parameters
        ----------
        X : array-like of shape (N,) or (N, D)
            Also a column or table of pandas, Polars, PyArrow or anything else that narwhals takes, masked arrays, dates
            and durations. What has not been read yet (Polars' lazy frames, DuckDB's relations, readers and datasets of
            Arrow) is counted batch by batch, as by `partial_fit`; a Dask array or data frame where it lies.
        y : None
            Ignored, for pipelines; a one-dimensional X is accepted without y only.
        sample_weight : array-like of shape (N,), optional
            Integers are frequencies, floats are importance weights.
        """
        if is_dask(X):
            return self._fit_dask(X, sample_weight)
        batches = stream_batches(X)
        return super().fit(X, y, sample_weight) if batches is None else self._fit_stream(batches, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Count one more chunk; the mixtures are made when they are next asked for.

        The first chunk decides where the bins lie, or while there were only point masses a later one with a dozen
        other numbers. Bins of "auto" and "fast" grow with later chunks, but for rounded values and where ``range``
        fixes them; a basis stays, and what comes to lie outside goes to tail components. A model counts one chunk at a
        time: give each thread its own (`empty_like`). A chunk without rows changes nothing.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.
        """
        batches = stream_batches(X)
        for batch in [X] if batches is None else batches:
            super().partial_fit(batch, y, sample_weight)
        return self

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-density (N,) of each row, the sum over its columns; finite everywhere inside given bounds.

        Of a discrete column it is the log-probability: of values that were never seen that of their cell in the smooth
        density, beside the lattice -inf.
        """
        check_is_fitted(self)
        batches = stream_batches(X)
        if batches is not None:
            return np.concatenate([np.zeros(0), *map(self.score_samples, batches)])
        X = self._columns(X, None, reset=False)
        self._extremes(X)
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

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[Any]:
        """Draw independent rows from the learnt density, of shape (n_samples, D).

        They are datetime64 or timedelta64 where all columns hold dates, or durations; where only some do, floats, which
        ``quantities_[j].to_data`` turns into dates.

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
        return self._as_data(np.column_stack([d.rvs(n_samples, random_state=generator) for d in self.distributions_]))

    # -- inside

    def _check_parameters(self) -> None:
        self._validate_params()
        super()._check_parameters()

    def _require_fitted(self) -> None:
        check_is_fitted(self)

    def _columns(self, X: Any, y: Any, *, reset: bool) -> NDArray[np.floating]:
        """X as a matrix (N, D) of floats; names and number of columns are remembered (``reset``) or compared."""
        table = X if hasattr(X, "columns") else None
        quantities = (NUMBER,)
        if not issparse(X):  # which scikit-learn refuses
            X, quantities = read_columns(X, () if reset else self.quantities_)
            if X.ndim == 1:
                if y is not None:
                    raise ValueError(
                        f"Expected 2D array, got 1D array instead: with y, X must be (N, D), and it is {X.shape}. "
                        "Reshape your data with X.reshape(-1, 1), or leave y out."
                    )
                X = X.reshape(-1, 1)
        kinds: Any = [np.float64, np.float32]
        if table is None:
            X = validate_data(self, X, reset=reset, dtype=kinds, ensure_all_finite=False)
        else:  # it has names
            validate_data(self, table, reset=reset, skip_check_array=True)
            X = check_array(X, dtype=kinds, ensure_all_finite=False, estimator=self)
        if reset:
            self.quantities_ = quantities
        return X

    def _fit_stream(self, batches: Iterator[Any], sample_weight: ArrayLike | None) -> Self:
        """One pass over tables that come one after the other; after an error nothing has changed."""
        if sample_weight is not None:
            raise ValueError(
                "sample_weight is not taken together with a table that is read in batches; collect it first"
            )
        fresh = type(self)(**self.get_params())
        for batch in batches:
            fresh.partial_fit(batch)
        fresh._require_fitted()
        vars(self).update(vars(fresh))
        return self._forget()._finish()

    def _fit_dask(self, X: Any, sample_weight: ArrayLike | None) -> Self:
        """Bins from the first rows, counts from all partitions where they lie."""
        self._check_parameters()
        if sample_weight is not None:
            raise ValueError("sample_weight is not taken together with a Dask collection; repeat rows instead")
        first = self._columns(first_rows(X), None, reset=True)
        integer = integer_columns(X, first.shape[1])
        if self.discrete is True and not all(integer):
            raise ValueError("discrete=True takes integer columns of a Dask collection: convert them with astype(int)")
        counts, bases = self._lay_bins(first, self._extremes(first), None, stream=True)
        if any(np.isin(column, each.atoms).all() for column, each in zip(first.T, counts, strict=True)):
            more = self._columns(spread_rows(X), None, reset=False)  # the first are point masses: what do others say?
            counts, bases = self._lay_bins(more, self._extremes(more), None, stream=True)
        counts = count_dask(X, counts, finite=self.nan_policy == "raise", quantities=self.quantities_)
        low, high = finite_or_not(self._bounds())
        for j, column in enumerate(counts):
            if column.minimum < low or column.maximum > high:
                raise ValueError(
                    f"{self._name(j)} reaches from {format_number(column.minimum)} to {format_number(column.maximum)}, "
                    f"beyond bounds={self.bounds!r}; leave out what lies outside, or widen them"
                )
        self.counts_, self.bases_, self._kinds = counts, bases, tuple(map(ColumnKind, integer))
        return self._forget()._finish()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "counts_")
