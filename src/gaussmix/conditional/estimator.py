"""ConditionalGMMExpansion: y ~ GMM(f(x)) as a scikit-learn estimator (E section 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d, validate_data

from gaussmix._progress import progress_bar
from gaussmix._typing import FloatArray
from gaussmix.conditional import stored
from gaussmix.conditional.calibration import ConditionalReport, conformal_level
from gaussmix.conditional.distribution import ConditionalMixture
from gaussmix.conditional.features import read_table
from gaussmix.conditional.learning import STAGES
from gaussmix.conditional.model import ConditionalModel, Options, learn_model
from gaussmix.density.columns import as_level


class ConditionalGMMExpansion(RegressorMixin, BaseEstimator):
    """The distribution of y given x as a Gaussian mixture for each row: y ~ GMM(f(x)).

    Differs from E section 1, which names the aim and learns no f: bases are fixed there as here, but here they move
    with a location and a scale, and f is boosting, forests of counts and networks, stacked by the likelihood of rows
    that they did not see. Nothing needs tuning.

    Parameters
    ----------
    rule : {"auto", "fast", "network"}
        "auto": the most accurate on most tables. "fast": a third of its time, without kernel regression and boosted
        weights. "network": all of "auto", and committees of small networks for the location and the weights, up to
        twice its time; where y is a smooth function of many features, or has several values at one x. NumPy suffices.
    regressor : estimator, optional
        A regressor with scikit-learn's ``fit`` and ``predict`` that gives the location in place of our own, as
        ``LGBMRegressor()``: it becomes distributional. It is cloned for each fold.
    categorical_features : sequence of str or int, optional
        Columns of numbers that are categories. Those of types that are no numbers are categories anyway.
    discrete : bool or "auto"
        Whether distributions are on the lattice of y: draws and quantiles are values that y can have, and the mean
        may lie between. "auto": where y repeats on a lattice of at most 512 values. True: an error if it does not.
        False: densities; likelihoods in learning still know that y was rounded.
    bounds : tuple of float or None, optional
        Where y ends by nature: (low, high) with None for an open side, as (0, None) for prices; data outside are an
        error. Rows are cut off there and divided by what lies inside; nothing is learnt differently.
    random_state : int, Generator or RandomState, optional
        The same seed learns the same model.
    n_jobs : int, optional
        Threads; one if not given, -1 for all processors. The model does not depend on it.
    verbose : bool
        Show what is being learnt, on stderr.

    Attributes
    ----------
    report_ : ConditionalReport
        Scores, coverage and the parts' shares, all out of fold.
    pit_ : ndarray of shape (R,)
        Probability integral transforms of at most 2 000 rows out of fold, for calibration plots.
    n_features_in_, feature_names_in_
        As in scikit-learn.
    target_name_ : str or None
        The name that y had, as a column of a data frame has one.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix import ConditionalGMMExpansion
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (400, 1))
    >>> y = X[:, 0] + rng.choice([-1, 1], 400) * (1 + X[:, 0]) + rng.normal(0, 0.1, 400)
    >>> model = ConditionalGMMExpansion(random_state=0).fit(X, y)
    >>> model.predict_interval([[0.5]], 0.9).shape
    (1, 2)
    >>> law = model.predict_distribution([[0.5]])[0]  # a GaussianMixture1D with two modes
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "rule": [StrOptions({"auto", "fast", "network"})],
        "regressor": [HasMethods(["fit", "predict"]), None],
        "categorical_features": ["array-like", None],
        "discrete": ["boolean", StrOptions({"auto"})],
        "bounds": [tuple, list, None],
        "random_state": ["random_state", np.random.Generator],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        rule: str = "auto",
        *,
        regressor: Any = None,
        categorical_features: Sequence[str | int] | None = None,
        discrete: bool | str = "auto",
        bounds: tuple[float | None, float | None] | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ):
        self.rule = rule
        self.regressor = regressor
        self.categorical_features = categorical_features
        self.discrete = discrete
        self.bounds = bounds
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the distribution of y at each X.

        Parameters
        ----------
        X : array-like of shape (N, D)
            Numbers, NaN where they are missing; or a data frame of pandas, Polars or another that narwhals takes, or a
            dictionary of arrays (N,) by name, with numbers, dates, booleans and categories.
        y : array-like of shape (N,)
            Numbers.
        sample_weight : array-like of shape (N,), optional
            Weights of the rows, at least 0; only their ratios count.

        Raises
        ------
        ValueError
            Shapes do not match, there are fewer than two rows, y is not finite, or a parameter is out of its range.
        TypeError
            Something is neither a number nor a category.
        """
        self._validate_params()
        name = getattr(y, "name", None)
        y = self._targets(y)
        table, names = self._table(X, reset=True)
        check_consistent_length(table[0], y)
        weight = np.ones(len(y)) if sample_weight is None else _weights(sample_weight, len(y))
        if not weight.all():
            kept = weight > 0
            table, y, weight = [column[kept] for column in table], y[kept], weight[kept]
        if len(y) < 2:
            raise ValueError(f"n_samples={len(y)} with positive weight; at least 2 rows are needed to learn from")
        weight = weight / weight.mean()
        rng = self.random_state
        if not isinstance(rng, np.random.Generator):
            rng = np.random.default_rng(check_random_state(rng).randint(2**31, size=4))
        with progress_bar("learning y given x", len(STAGES), self.verbose) as advance:
            options = Options(self.rule, self.regressor, self.discrete, self.n_jobs, _ends(self.bounds))
            self.target_name_ = name if isinstance(name, str) else None
            stages = {stage: number for number, stage in enumerate(STAGES)}
            self._learned = learn_model(
                table, names, y, weight, options, rng, lambda stage: advance(stages.get(stage, 0), stage)
            )
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the expectation of y (N,) at X (N, D); of values far out, if there were any, it knows nothing."""
        return np.concatenate([law.mean() for _, law in self._some_rows(X, far=False)])

    def predict_distribution(self, X: Any) -> ConditionalMixture:
        """Return the distributions of y at X (N, D), with SciPy's names: `ConditionalMixture`."""
        return self._fitted().predict(self._features(X))

    def _some_rows(self, X: Any, *, far: bool = True) -> Iterator[tuple[slice, ConditionalMixture]]:
        return self._fitted().some_rows(self._features(X), far=far)

    def _features(self, X: Any) -> FloatArray:
        return self._fitted().features.transform(self._table(X, reset=False)[0])

    def predict_quantiles(self, X: Any, q: ArrayLike) -> FloatArray:
        """Return quantiles of y, (N, Q).

        Parameters
        ----------
        X : array-like of shape (N, D)
            The rows.
        q : array-like of shape (Q,)
            Levels in [0, 1].
        """
        levels = np.atleast_1d(np.asarray(q, np.float64))
        return np.concatenate([law.ppf(levels) for _, law in self._some_rows(X)])

    def predict_interval(self, X: Any, level: float = 0.9, *, conformal: bool = False) -> FloatArray:
        """Return central intervals (N, 2) of y at X (N, D).

        Parameters
        ----------
        X : array-like of shape (N, D)
            The rows.
        level : float
            The probability that they hold, in (0, 1).
        conformal : bool
            Take the level that has covered ``level`` of the rows out of fold, in the manner of cross-conformal
            prediction (Vovk et al. 2018). Rows exchangeable with those of the data are then covered about as often; no
            theorem promises it, as the committee of all folds speaks of new rows. Where there are fewer rows than
            1 / (1 - level) it is the whole support.
        """
        if not 0 < level < 1:
            raise ValueError(f"level is {level}; it must lie in (0, 1)")
        asked = conformal_level(self.pit_, level) if conformal else level
        laws = (law for _, law in self._some_rows(X))
        whole = asked >= 1
        return np.concatenate([np.tile(law.support, (len(law), 1)) if whole else law.interval(asked) for law in laws])

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> FloatArray:
        """Draw y (N, n_samples) at X (N, D).

        Parameters
        ----------
        X : array-like of shape (N, D)
            The rows.
        n_samples : int
            How many for each row.
        random_state : int or Generator, optional
            The same seed draws the same numbers.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples is {n_samples}; it must be at least 1")
        rng = np.random.default_rng(random_state)
        return np.concatenate([law.rvs(n_samples, random_state=rng) for _, law in self._some_rows(X)])

    @available_if(lambda self: find_spec("skpro") is not None)
    def predict_proba(self, X: Any) -> Any:
        """Return the distributions at X (N, D) as a distribution of skpro, (N, 1), where skpro is installed.

        Parameters
        ----------
        X : array-like of shape (N, D)
            The rows; a pandas table's index is kept.
        """
        import pandas as pd

        from gaussmix.conditional._skpro import distribution_class

        name = 0 if self.target_name_ is None else self.target_name_
        index = X.index if isinstance(X, pd.DataFrame) else None
        return distribution_class()(self.predict_distribution(X), index, pd.Index([name]))

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean log-density (log-probability on a lattice or a point mass) of y at X, in nats.

        Parameters
        ----------
        X : array-like of shape (N, D)
            The rows.
        y : array-like of shape (N,)
            What was observed.
        sample_weight : array-like of shape (N,), optional
            Weights of the rows.
        """
        targets = self._targets(y)
        found = [law.logpdf(targets[some]) for some, law in self._some_rows(X)]
        weights = None if sample_weight is None else np.asarray(sample_weight)
        return float(np.average(np.concatenate(found), weights=weights))

    @property
    def report_(self) -> ConditionalReport:
        """What was found; ``str()`` is a few sentences."""
        return self._fitted().report

    @property
    def pit_(self) -> FloatArray:
        """Probability integral transforms of rows out of fold."""
        return self._fitted().pit

    def save(self, path: str | Path) -> None:
        """Write the model to a file (``.gmx``), whole or not at all, for `load`; nothing in it is pickled.

        Raises ValueError for a model with a regressor of the user's.
        """
        learned = self._fitted()
        parameters = {name: value for name, value in self.get_params(deep=False).items() if name != "regressor"}
        seed = parameters["random_state"]
        parameters["random_state"] = int(seed) if isinstance(seed, Integral) else None
        if self.categorical_features is not None:
            parameters["categorical_features"] = self._categorical()
        if self.bounds is not None:
            parameters["bounds"] = [None if end is None else float(end) for end in self.bounds]
        names = getattr(self, "feature_names_in_", None)
        names = None if names is None else [str(name) for name in names]
        stored.write(path, learned, parameters, names, self.target_name_)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ValueError, naming the file, for one that is damaged or of another kind."""
        learned, parameters, names, target = stored.read(path)
        with stored.usable(path):
            if isinstance(parameters.get("bounds"), list):
                parameters["bounds"] = tuple(parameters["bounds"])
            model = cls(**parameters)
            model._validate_params()
            model._learned, model.n_features_in_ = learned, len(learned.features.names)
            model.target_name_ = target
            if names is not None:
                vars(model)["feature_names_in_"] = np.array(names, dtype=object)
            model._require_answers()
        return model

    # -- inside

    def _require_answers(self) -> None:
        """Raises where what was read cannot predict, as rows of missing values, and of zeros, show."""
        learned = self._fitted()
        names = [*learned.features.names, *range(-self.n_features_in_, self.n_features_in_)]
        if not all(each in names for each in self.categorical_features or ()):
            raise ValueError(f"its categories are {self.categorical_features!r:.60}")
        width = max(len(learned.features.kept), 1)
        law = learned.predict(np.array([[np.nan], [0.0]]) * np.ones(width)).continuous
        if not (np.isfinite(law.mean()).all() and np.isfinite(law.var()).all() and len(list(law))):
            raise ValueError("its distributions are not finite")

    def _fitted(self) -> ConditionalModel:
        check_is_fitted(self)
        return self._learned

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_learned")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.regressor_tags.poor_score = True
        return tags

    def _targets(self, y: ArrayLike) -> FloatArray:
        if y is None:
            raise ValueError("this estimator requires y to be passed, but the target y is None")
        if np.asarray(y).dtype.kind in "mM":
            raise TypeError("y holds dates or durations; give numbers, such as days since a date")
        y = column_or_1d(y, warn=True)
        kind: Any = np.float64
        return np.asarray(check_array(y, ensure_2d=False, dtype=kind, input_name="y", estimator=self))

    def _categorical(self) -> list[Any]:
        """Names and numbers of columns; a mask of all columns is that of its true ones."""
        given = [] if self.categorical_features is None else list(self.categorical_features)
        if given and all(isinstance(each, bool | np.bool_) for each in given):
            return np.flatnonzero(given).tolist()
        return [int(each) if isinstance(each, Integral) else each for each in given]

    def _table(self, X: Any, *, reset: bool) -> tuple[list[NDArray[Any]], list[str]]:
        """Columns of X, numbers or categories."""
        check: Any = validate_data
        categorical = self._categorical()
        named = isinstance(X, Mapping) and not hasattr(X, "shape")  # sparse matrices may be dictionaries
        if named or hasattr(X, "columns") or (hasattr(X, "schema") and not isinstance(X, np.ndarray)):
            table, names = read_table(X, categorical)
            if hasattr(X, "shape") and hasattr(X, "columns"):
                check(self, X, reset=reset, skip_check_array=True)
            elif reset:
                self.n_features_in_, self.feature_names_in_ = len(table), np.array(names, dtype=object)
            elif names != (known := list(getattr(self, "feature_names_in_", names))):
                raise ValueError(f"X has columns {names}; the model was fitted with {known}, in this order")
            if not table:
                raise ValueError(f"0 feature(s) (shape={getattr(X, 'shape', None)}) while a minimum of 1 is required.")
            if len(table) != self.n_features_in_:
                raise ValueError(f"X has {len(table)} features; the model was fitted with {self.n_features_in_}")
            return table, names
        if np.asarray(X).dtype.kind in "mM":
            raise TypeError("X is an array of dates or durations; give a data frame, whose dates become seconds")
        values: FloatArray = check(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        table: list[NDArray[Any]] = list(np.ascontiguousarray(values.T))
        for each in categorical:
            if not isinstance(each, Integral) or not -len(table) <= int(each) < len(table):
                raise ValueError(
                    f"categorical_features names {each!r}; X is an array with columns 0 to {len(table) - 1}"
                )
            column = table[int(each)]
            table[int(each)] = np.array([as_level(v) for v in column.tolist()], dtype=object)
        return table, [str(name) for name in getattr(self, "feature_names_in_", range(len(table)))]


def _ends(bounds: Any) -> tuple[float, float]:
    """Two numbers, infinite for None."""
    try:
        low, high = (None, None) if bounds is None else bounds
        ends = -math.inf if low is None else float(low), math.inf if high is None else float(high)
    except (TypeError, ValueError):
        ends = math.nan, math.nan
    if not ends[0] < ends[1]:
        raise ValueError(f"bounds is {bounds!r}; give (low, high), the first below the second, None for an open side")
    return ends


def _weights(sample_weight: ArrayLike, n: int) -> FloatArray:
    weight = np.asarray(sample_weight, np.float64)
    if weight.ndim == 0:
        weight = np.full(n, float(weight))
    if weight.shape != (n,):
        raise ValueError(f"sample_weight has shape {weight.shape}; it must be ({n},), one a row")
    if not (np.isfinite(weight).all() and weight.min() >= 0 and weight.any()):
        raise ValueError("sample_weight must be finite and at least zero, and some weight above zero")
    return weight
