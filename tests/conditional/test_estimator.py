"""ConditionalGMMExpansion: scikit-learn's contract, tables, lattices, point masses, files, and refusals."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import GammaRegressor, LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from gaussmix import ConditionalGMMExpansion
from gaussmix.conditional import conformal_level
from gaussmix.conditional import model as model_module
from gaussmix.conditional.calibration import coverage, crps_samples, ks_uniform
from gaussmix.conditional.model import far_out

WEIGHTS_ARE_NOT_ROWS = {
    "check_sample_weight_equivalence_on_dense_data": "rows that repeat fall into different folds, a weight into one",
    "check_sample_weight_equivalence_on_sparse_data": "sparse X is refused",
}


def bent(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two branches that part to the right, and noise that grows to the left."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 2))
    return X, rng.choice([-1, 1], n) * (1 + X[:, 0]) + (1.2 - X[:, 0]) * 0.1 * rng.normal(size=n)


@pytest.fixture(scope="module")
def fitted() -> ConditionalGMMExpansion:
    return ConditionalGMMExpansion(random_state=0).fit(*bent(800))


def test_scikit_learns_checks() -> None:
    found = check_estimator(
        ConditionalGMMExpansion(rule="fast"), on_fail=None, on_skip=None, expected_failed_checks=WEIGHTS_ARE_NOT_ROWS
    )
    assert [each["check_name"] for each in found if each["status"] == "failed"] == []


def test_two_branches_are_found_where_there_are_two(fitted: ConditionalGMMExpansion) -> None:
    law = fitted.predict_distribution([[0.5, 0.0]])[0]
    assert law.cdf(-1.1) - law.cdf(-1.9) == pytest.approx(0.5, abs=0.12)
    assert law.cdf(1.0) - law.cdf(-1.0) < 0.1
    X, y = bent(1000, seed=1)
    covered = [np.mean((y >= low) & (y <= high)) for low, high in [fitted.predict_interval(X, 0.9).T]]
    assert 0.85 < covered[0] < 0.96
    # nats: the mixture with the true parameters has none to spare
    s = (1.2 - X[:, 0]) * 0.1
    z = (y[:, None] - np.array([-1, 1]) * (1 + X[:, :1])) / s[:, None]
    truth = np.log(0.5 * np.exp(-(z**2) / 2).sum(1) / s / np.sqrt(2 * np.pi)).mean()
    alone = float(np.mean(-0.5 * np.log(2 * np.pi * y.var()) - (y - y.mean()) ** 2 / (2 * y.var())))
    assert alone + 0.6 * (truth - alone) < fitted.score(X, y) <= truth + 0.02


def test_the_report_is_what_new_rows_will_show() -> None:
    """With a location that told trees a row's own branch the report was .18 nats and a quarter of the CRPS too good."""
    model = ConditionalGMMExpansion(random_state=0).fit(*bent(800, seed=2))
    X, y = bent(4000, seed=9)
    assert model.report_.log_likelihood == pytest.approx(model.score(X, y), abs=0.08)
    assert model.report_.crps == pytest.approx(model.predict_distribution(X).crps(y).mean(), rel=0.08)


@pytest.mark.parametrize("wild", [[1e3], [1e4, -1e3, 1e5, 1e8, -1e6]])
def test_a_few_wild_numbers_leave_the_others_theirs(wild: list[float], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    y = X[:, 0] + rng.normal(size=1000)
    z = y.copy()
    z[: len(wild)] = wild
    model = ConditionalGMMExpansion("fast", random_state=0).fit(X, z)
    law, plain = (m.predict_distribution(X) for m in (model, ConditionalGMMExpansion("fast", random_state=0).fit(X, y)))
    away = np.abs(law.median() - plain.median())  # in standard deviations; another seed alone makes .40 and .074
    assert away.max() < 0.5
    assert away.mean() < 0.08
    ordinary = np.abs(y - X[:, 0]) < 2
    assert np.exp(np.mean(law.logpdf(y)[ordinary] - plain.logpdf(y)[ordinary])) == pytest.approx(1, abs=0.06)
    assert (law.logpdf(z)[: len(wild)] > -40).all()
    model.save(tmp_path / "m.gmx")
    np.testing.assert_array_equal(ConditionalGMMExpansion.load(tmp_path / "m.gmx").predict(X), model.predict(X))


def test_heavy_tails_are_no_wild_numbers() -> None:
    rng = np.random.default_rng(0)
    assert not far_out(np.exp(2 * rng.normal(size=10_000))).any()
    assert not far_out(rng.standard_t(2, 10_000)).any()
    assert far_out(np.append(rng.normal(size=99), 1e3)).nonzero()[0].tolist() == [99]


def test_prices_have_no_mass_below_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = np.exp(0.7 * X[:, 0] + 0.5 * rng.normal(size=300))
    plain = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    model = ConditionalGMMExpansion("fast", bounds=(0, None), random_state=0).fit(X, y)
    law, free = model.predict_distribution(X), plain.predict_distribution(X)
    outside = free.cdf(0.0)
    assert outside.max() > 0.003
    assert law.cdf(0.0).max() == 0
    assert law.support == (0, np.inf)
    np.testing.assert_allclose(law.cdf(y), (free.cdf(y) - outside) / (1 - outside), atol=1e-12)
    assert model.sample(X, 20, random_state=0).min() >= 0
    assert model.score(X, y) > plain.score(X, y)
    model.save(tmp_path / "m.gmx")
    loaded = ConditionalGMMExpansion.load(tmp_path / "m.gmx")
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.predict_quantiles(X, [0.01, 0.5]), model.predict_quantiles(X, [0.01, 0.5]))
    refused: Any = ((1, 0), (0,), 3 * [1], ("a", None), (0, 0))
    for wrong in refused:
        with pytest.raises(ValueError, match=r"give \(low, high\)"):
            ConditionalGMMExpansion(bounds=wrong).fit(X, y)
    with pytest.raises(ValueError, match="beyond bounds"):
        ConditionalGMMExpansion(bounds=(0.1, 5)).fit(X, y)


def test_shapes_and_seeds(fitted: ConditionalGMMExpansion) -> None:
    X, _ = bent(7, seed=2)
    assert fitted.predict(X).shape == (7,)
    assert fitted.predict_quantiles(X, [0.1, 0.5, 0.9]).shape == (7, 3)
    assert (np.diff(fitted.predict_quantiles(X, [0.1, 0.5, 0.9])) > 0).all()
    assert fitted.sample(X, 5, random_state=1).shape == (7, 5)
    np.testing.assert_array_equal(fitted.sample(X, 5, random_state=1), fitted.sample(X, 5, random_state=1))
    unfitted: Any = clone(fitted)
    again = unfitted.fit(*bent(800))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_threads_change_nothing() -> None:
    X, y = bent(150)
    one = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    two = ConditionalGMMExpansion("fast", random_state=0, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(one.predict_quantiles(X, 0.3), two.predict_quantiles(X, 0.3))


@pytest.mark.parametrize("kind", ["densities", "lattice", "atoms", "all atoms"])
def test_a_saved_model_predicts_the_same(kind: str, tmp_path: Path) -> None:
    X, y = bent(200)
    if kind == "lattice":
        y = np.round(3 * y)
    elif kind == "atoms":
        y = np.maximum(y, 0)
    elif kind == "all atoms":
        y = np.where(y > 0, 1.5, np.pi)
    rule = "auto" if kind == "densities" else "fast"
    model = ConditionalGMMExpansion(rule, random_state=0).fit(pd.DataFrame(X, columns=["a", "b"]), y)
    model.save(tmp_path / "m.gmx")
    loaded = ConditionalGMMExpansion.load(tmp_path / "m.gmx")
    new = pd.DataFrame(bent(50, 3)[0], columns=["a", "b"])
    np.testing.assert_array_equal(loaded.predict_quantiles(new, [0.1, 0.6]), model.predict_quantiles(new, [0.1, 0.6]))
    assert loaded.report_ == model.report_
    assert loaded.get_params() == model.get_params()
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(new.rename(columns={"a": "c"}))
    model.save(tmp_path / "n.gmx")
    assert (tmp_path / "m.gmx").read_bytes() == (tmp_path / "n.gmx").read_bytes()


def test_counts_are_drawn_and_scored_on_their_lattice() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 1))
    y = rng.poisson(np.exp(1 + X[:, 0]))
    model = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    assert model.report_.discrete
    law = model.predict_distribution(X)
    assert set(np.unique(model.sample(X, 3, random_state=0))) <= set(range(y.max() + 1))
    mean = np.exp(1 + X[:, 0])
    assert np.abs(law.mean() - mean).mean() < 0.35
    from scipy.stats import poisson

    assert law.logpdf(y).mean() > poisson.logpmf(y, mean).mean() - 0.12
    smooth = ConditionalGMMExpansion("fast", discrete=False, random_state=0).fit(X, y)
    assert smooth.predict_distribution(X).lattice is None
    with pytest.raises(ValueError, match="repeat on a lattice"):
        ConditionalGMMExpansion(discrete=True).fit(*bent(100))


def test_many_zeros_are_a_point_mass_that_depends_on_x() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (1200, 2))
    p = 1 / (1 + np.exp(-3 * X[:, 0]))
    y = np.where(rng.random(1200) < p, 0.0, np.exp(0.5 * X[:, 1] + 0.4 * rng.normal(size=1200)))
    law = ConditionalGMMExpansion("fast", random_state=0).fit(X, y).predict_distribution(X)
    assert law.atoms is not None
    assert np.abs(law.pdf(0.0) - p).mean() < 0.06
    assert (law.ppf(0.01)[p > 0.5] == 0).all()


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_tables_with_categories_missing_values_and_dates(library: Any) -> None:
    rng = np.random.default_rng(0)
    n = 400
    color = rng.choice(["red", "green", "blue"], n)
    town = np.array([f"town {k}" for k in rng.integers(0, 30, n)])
    number = rng.normal(size=n)
    when = np.datetime64("2024-01-01") + rng.integers(0, 365, n).astype("timedelta64[D]")
    y = 3 * (color == "red") + np.array([int(t[5:]) for t in town]) / 10 + number + 0.1 * rng.normal(size=n)
    number[::7] = np.nan
    table = library({"color": color, "town": town, "number": number, "when": when.astype("datetime64[ns]"), "one": 1})
    model = ConditionalGMMExpansion("fast", random_state=0).fit(table, y)
    assert model.report_.crps < 0.6 * model.report_.crps_marginal
    unseen = library({"color": ["violet"], "town": ["nowhere"], "number": [np.nan], "when": when[:1], "one": [1]})
    if library is pd.DataFrame:
        assert np.isfinite(model.predict(unseen)).all()
        with pytest.raises(ValueError, match="color held categories when the model was fitted, and now numbers"):
            model.predict(table.assign(color=1.0))


def test_numbers_can_be_named_as_categories() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, (500, 1)).astype(float)
    y = rng.permutation(20)[X[:, 0].astype(int)] + 0.1 * rng.normal(size=500)
    model = ConditionalGMMExpansion("fast", categorical_features=[0], random_state=0).fit(X, y)
    assert model.report_.crps < 0.2 * model.report_.crps_marginal
    with pytest.raises(ValueError, match="categorical_features names 3"):
        ConditionalGMMExpansion(categorical_features=[3]).fit(X, y)


class OnDask(LinearRegression):
    """Takes Dask's arrays alone and answers with one, as those of ``lightgbm.dask`` do."""

    __module__ = "tests.dask"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> OnDask:
        assert {type(each).__module__ for each in (X, y)} == {"dask.array.core"}
        assert X.numblocks[1] == 1
        return super().fit(X.compute(), y.compute(), sample_weight)

    def predict(self, X: Any) -> Any:
        return X.map_blocks(super().predict, drop_axis=1, meta=np.empty(0))


def test_a_regressor_that_runs_on_dask_is_given_its_arrays() -> None:
    pytest.importorskip("dask.array")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = X @ [1.0, -2.0] + rng.normal(size=300)
    plain, on_dask = (
        ConditionalGMMExpansion("fast", regressor=each, random_state=0).fit(X, y)
        for each in (LinearRegression(), OnDask())
    )
    np.testing.assert_allclose(on_dask.predict(X), plain.predict(X), rtol=1e-9)


@pytest.mark.skipif(find_spec("skpro") is not None, reason="skpro is there")
def test_without_skpro_there_is_no_predict_proba() -> None:
    assert not hasattr(ConditionalGMMExpansion("fast"), "predict_proba")


def test_distributions_as_skpros() -> None:
    pytest.importorskip("skpro")
    import pandas as pd

    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=300)}, index=np.arange(300) * 2)
    y = pd.Series(X["a"] + rng.normal(size=300), name="price")
    model = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    X = X.iloc[:7]
    law, ours = model.predict_proba(X), model.predict_distribution(X)
    assert law.shape == (7, 1)
    assert list(law.columns) == ["price"]
    for name in ("pdf", "log_pdf", "cdf"):
        told = getattr(law, name)(np.full((7, 1), 0.3))
        np.testing.assert_allclose(told.to_numpy()[:, 0], getattr(ours, name.replace("log_pdf", "logpdf"))(0.3))
        assert told.index.equals(X.index)
    np.testing.assert_allclose(law.ppf(0.2).to_numpy()[:, 0], ours.ppf(0.2))
    np.testing.assert_allclose(law.mean().to_numpy()[:, 0], ours.mean())
    np.testing.assert_allclose(law.var().to_numpy()[:, 0], ours.var())
    np.testing.assert_allclose(law.iloc[[2, 4]].mean().to_numpy()[:, 0], ours.mean()[[2, 4]])
    np.testing.assert_allclose(law.loc[[4]].quantile([0.1, 0.9]).to_numpy(), ours[2:3].ppf([0.1, 0.9]))
    drawn = law.sample(400).to_numpy().reshape(400, 7)
    assert np.abs(drawn.mean(0) - ours.mean()).max() < 5 * ours.std().max() / 20
    assert law.sample().shape == (7, 1)


def test_any_regressor_becomes_distributional(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X @ [1.0, 2.0, 0.0] + rng.gamma(2.0, size=300)
    pipeline: Any = make_pipeline(StandardScaler(), ConditionalGMMExpansion("fast", regressor=LinearRegression()))
    model: ConditionalGMMExpansion = pipeline.fit(X, y)[-1]
    assert model.report_.rmse < 1.7
    with pytest.raises(ValueError, match="LinearRegression"):
        model.save(tmp_path / "m.gmx")


def test_the_last_step_of_a_pipeline_learns_with_the_weights() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1))
    wrong = rng.random(400) < 0.5
    y = np.where(wrong, 5.0, X[:, 0]) + 0.1 * rng.normal(size=400)
    pipeline = make_pipeline(StandardScaler(), LinearRegression())
    model = ConditionalGMMExpansion("fast", regressor=pipeline, random_state=0)
    model.fit(X, pd.Series(y, name="cost"), np.where(wrong, 1e-6, 1.0))
    np.testing.assert_allclose(model.predict([[-1.0], [1.0]]), [-1, 1], atol=0.2)
    assert model.target_name_ == "cost"


def test_weights_of_zero_are_rows_that_are_not_there() -> None:
    X, y = bent(120)
    weight = np.ones(120)
    weight[:20] = 0
    y[:20] = 1e6
    some = ConditionalGMMExpansion("fast", random_state=0).fit(X, y, weight)
    rest = ConditionalGMMExpansion("fast", random_state=0).fit(X[20:], y[20:])
    np.testing.assert_array_equal(some.predict(X), rest.predict(X))


CASES: dict[str, tuple[Any, Any]] = {
    "constant y": (np.arange(20.0)[:, None], np.full(20, 3.0)),
    "five rows": (np.arange(5.0)[:, None], np.array([0.1, 0.7, 0.2, 1.9, 0.3])),
    "two rows": (np.arange(2.0)[:, None], np.array([0.1, 0.7])),
    "constant X": (np.ones((30, 2)), np.linspace(0, 1, 30) ** 2),
    "one class": (np.arange(30.0)[:, None], np.repeat([0.0, 1.0], 15)),
    "a column missing altogether": (
        np.column_stack([np.arange(30.0), np.full(30, np.nan)]),
        np.linspace(0, 1, 30) ** 2,
    ),
    "exact": (np.arange(60.0)[:, None], np.arange(60.0) * 1.37),
    "huge": (np.arange(40.0)[:, None], 1e149 * np.linspace(1, 2, 40) ** 2),
    "tiny": (np.arange(40.0)[:, None], 1e-150 * np.linspace(1, 2, 40) ** 2),
}


@pytest.mark.parametrize("name", CASES)
def test_small_and_odd_data_have_right_answers(name: str) -> None:
    X, y = CASES[name]
    model = ConditionalGMMExpansion(random_state=0).fit(X, y)
    law = model.predict_distribution(X)
    low, high = law.interval(0.9).T
    assert np.isfinite([low, high, law.mean(), law.crps(y)]).all()
    assert np.mean((low <= y) & (y <= high)) >= 0.8
    assert str(model.report_)


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (np.ones((3, 1)), [0, np.nan, 1], "NaN"),
        (np.ones((3, 1)), [0, 1], "inconsistent"),
        (np.array([["a"], ["b"]]), [0, 1], "could not convert"),
        (np.full((3, 1), np.inf), [0, 1, 2], "infinity"),
        (np.ones((1, 1)), [0], "n_samples=1"),
    ],
)
def test_what_cannot_be_learnt_is_said(X: Any, y: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ConditionalGMMExpansion().fit(X, y)


def test_calibration_in_numbers() -> None:
    pit = (np.arange(999) + 0.5) / 999
    assert coverage(pit)[0.9] == pytest.approx(0.9, abs=2e-3)
    assert ks_uniform(pit) == pytest.approx(0.5 / 999)
    assert conformal_level(pit, 0.9) == pytest.approx(0.9, abs=2e-3)
    assert conformal_level(pit[:5], 0.9) == 1.0
    y = np.random.default_rng(0).normal(size=2000)
    assert crps_samples(y) == pytest.approx(np.abs(np.subtract.outer(y, y)).sum() / (2000 * 1999) / 2)


def test_conformal_intervals_cover_what_plain_ones_miss(fitted: ConditionalGMMExpansion) -> None:
    """A model that is told too narrow transforms asks for a wider level, the right share of which is covered."""
    X, y = bent(2000, seed=5)
    plain = fitted.predict_interval(X, 0.8)
    conformal = fitted.predict_interval(X, 0.8, conformal=True)
    asked = conformal_level(fitted.pit_, 0.8)
    np.testing.assert_array_equal(conformal, fitted.predict_distribution(X).interval(asked))
    assert plain.shape == conformal.shape
    assert np.mean((conformal[:, 0] <= y) & (y <= conformal[:, 1])) > 0.73
    with pytest.raises(ValueError, match="level is 2"):
        fitted.predict_interval(X, 2.0)


def test_a_rare_value_leaves_the_others_their_features() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = np.where(X[:, 0] > 0, 1.5, np.pi)
    y[0] = 5.3
    model = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    assert np.ptp(model.predict([[2.0, 0.0], [-2.0, 0.0]])) > 1.5


def test_a_missing_value_is_neither_of_two_levels() -> None:
    rng = np.random.default_rng(0)
    s = rng.choice(np.array(["a", "b", None], object), 300)
    y = np.select([s == "a", s == "b"], [0.0, 5.0], 10.0) + 0.1 * rng.normal(size=300)
    model = ConditionalGMMExpansion("fast", random_state=0).fit(pd.DataFrame({"s": s}), y)
    np.testing.assert_allclose(model.predict(pd.DataFrame({"s": ["a", "b", None]})), [0, 5, 10], atol=0.3)


def test_nullable_columns_and_dates_with_zones_of_pandas() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "text": pd.array(rng.choice(np.array(["a", "b", "c", None], object), 100), "string"),
            "whole": pd.array([None, *range(99)], "Int64"),
            "real": pd.array([None, *rng.normal(size=99)], "Float64"),
            "yes": pd.array([None, *(rng.random(99) < 0.5)], "boolean"),
            "when": pd.date_range("2024-01-01", periods=100, tz="UTC"),
        }
    )
    y = np.arange(100) + rng.normal(size=100)
    model = ConditionalGMMExpansion("fast", random_state=0).fit(table, y)
    assert np.isfinite(model.predict(table)).all()
    assert model.report_.crps < 0.3 * model.report_.crps_marginal


def test_a_regressor_learns_y_in_its_own_units() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = rng.gamma(20.0, np.exp(0.3 * X[:, 0]) / 20)
    model = ConditionalGMMExpansion("fast", regressor=GammaRegressor(alpha=0), random_state=0).fit(X, y)
    assert model.report_.crps < 0.8 * model.report_.crps_marginal


def test_masks_name_categories_and_weights_count_in_reports() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=400), rng.permutation(400) % 20])
    y = rng.permutation(20)[X[:, 1].astype(int)] + 0.1 * rng.normal(size=400)
    by_mask = ConditionalGMMExpansion("fast", categorical_features=[False, True], random_state=0).fit(X, y)
    by_number = ConditionalGMMExpansion("fast", categorical_features=[1], random_state=0).fit(X, y)
    np.testing.assert_array_equal(by_mask.predict(X), by_number.predict(X))
    X = rng.normal(size=(400, 1))
    right = X[:, 0] > 0
    y = X[:, 0] + np.where(right, 0.01, 50.0) * rng.normal(size=400)
    weighted = ConditionalGMMExpansion("fast", random_state=0).fit(X, y, np.where(right, 1.0, 1e-9))
    assert weighted.report_.rmse < 1


def test_where_numbers_end_is_said() -> None:
    X = np.arange(40.0)[:, None]
    with pytest.raises(ValueError, match="beyond 1e"):
        ConditionalGMMExpansion().fit(X, 1e200 * np.linspace(1, 2, 40))
    with pytest.raises(ValueError, match="values from the least"):
        ConditionalGMMExpansion(discrete=True).fit(X, np.repeat([0, 1, 90_000, 90_001], 10))
    with pytest.raises(TypeError, match="dates or durations"):
        ConditionalGMMExpansion().fit(X, np.datetime64("2024-01-01") + np.arange(40))
    with pytest.raises(TypeError, match="data frame"):
        ConditionalGMMExpansion().fit((np.datetime64("2024-01-01") + np.arange(40))[:, None], X[:, 0])


def test_a_wild_value_does_not_move_expectations_within_bounds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 1))
    y = np.exp(0.3 * X[:, 0] + 0.1 * rng.normal(size=120))
    y[7] = 1e9
    model = ConditionalGMMExpansion("fast", bounds=(0, cast(float, np.float32(1e12))), random_state=0).fit(X, y)
    free = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    np.testing.assert_allclose(model.predict(X), free.predict(X), rtol=0.1)
    assert np.isfinite(model.predict_distribution(X).logpdf(y)).all()
    model.save(tmp_path / "m.gmx")  # bounds of NumPy's types too
    np.testing.assert_array_equal(ConditionalGMMExpansion.load(tmp_path / "m.gmx").predict(X), model.predict(X))


@pytest.mark.parametrize("power", [-1000, -140, 140, 1000])
def test_columns_that_single_precision_cannot_hold(power: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=200)
    wide = X * np.array([2.0**power, 1.0])
    plain = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    model = ConditionalGMMExpansion("fast", random_state=0).fit(wide, y)
    np.testing.assert_allclose(model.predict(wide), plain.predict(X), rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = model.predict(np.array([[1.7e308, 0.0], [-1.7e308, 0.0]]))
    np.testing.assert_allclose(far, plain.predict([[1e30, 0.0], [-1e30, 0.0]]), rtol=1e-12)


def test_many_rows_are_predicted_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 1))
    y = X[:, 0] + rng.normal(size=120)
    model = ConditionalGMMExpansion("fast", random_state=0).fit(X, y)
    whole = model.predict(X), model.predict_quantiles(X, [0.1, 0.5]), model.predict_interval(X), model.score(X, y)
    monkeypatch.setattr(model_module, "_ROWS", 50)
    assert [len(law) for _, law in model._some_rows(X)] == [50, 50, 20]
    some = model.predict(X), model.predict_quantiles(X, [0.1, 0.5]), model.predict_interval(X), model.score(X, y)
    for one, other in zip(whole, some, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9)
    assert model.sample(X, 2, random_state=1).shape == (120, 2)
    np.testing.assert_array_equal(model.sample(X, random_state=1), model.sample(X, random_state=1))
    for wrong in (y[:119], np.append(y, 0.0)):
        with pytest.raises(ValueError, match="y has shape"):
            model.score(X, wrong)
