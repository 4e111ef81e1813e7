"""GMMExpansion as scikit-learn's users meet it: checks, chunks, weights, tables, and what it says to bad input."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gaussmix import GMMExpansion
from gaussmix.density.report import RULES

BASIS = ("histogram", "algorithm1", "kernel")


@pytest.fixture(scope="module")
def gamma() -> np.ndarray:
    return np.random.default_rng(0).gamma(2.0, size=5000)


@pytest.mark.filterwarnings("ignore:rule '(auto|fast)' does not use n_components=1:UserWarning")  # the checks set it
@parametrize_with_checks(
    [GMMExpansion(), GMMExpansion("fast"), GMMExpansion("kernel"), GMMExpansion("ml", bandwidth=6)]
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_makes_a_density_near_the_truth(gamma: np.ndarray, rule: Any) -> None:
    bandwidth = 12.0 if rule == "ml" else 2.0
    with warnings.catch_warnings():
        if rule == "algorithm2":  # as printed it clips, and says so
            warnings.simplefilter("ignore", UserWarning)
        model = GMMExpansion(rule, bandwidth=bandwidth).fit(gamma)
    x = np.linspace(0.2, 8, 200)
    error = np.abs(model.distribution_.cdf(x) - stats.gamma(2.0).cdf(x)).max()
    assert error < (0.5 if rule == "algorithm2" else 0.03)
    assert model.weights_.sum() == pytest.approx(1)
    assert model.weights_.shape == model.means_.shape == model.stds_.shape


def test_one_column_may_come_in_any_form(gamma: np.ndarray) -> None:
    expected = GMMExpansion("fast").fit(gamma).distribution_
    forms = [
        gamma.tolist(),
        gamma[:, None],
        pd.Series(gamma, name="x"),
        pd.DataFrame({"x": gamma}),
        pl.Series("x", gamma),
        pl.DataFrame({"x": gamma}),
        pa.chunked_array([gamma[:100], gamma[100:]]),
        pa.table({"x": gamma}),
    ]
    for form in forms:
        assert GMMExpansion("fast").fit(form).distribution_ == expected, type(form)


def test_dask_collections_are_counted_in_their_partitions(gamma: np.ndarray) -> None:
    import dask
    import dask.dataframe as dd
    from dask.array import from_array  # pyright: ignore[reportPrivateImportUsage]

    table = pd.DataFrame({"x": gamma, "y": -gamma})
    with dask.config.set(scheduler="synchronous"):
        array = GMMExpansion("fast", range=(0, 15)).fit(from_array(gamma, chunks=cast(Any, 700)))
        frame = GMMExpansion("fast").fit(dd.from_pandas(table, npartitions=4))
        holes = from_array(np.append(gamma, np.nan), chunks=cast(Any, 700))
        with pytest.raises(ValueError, match="a partition contains NaN"):
            GMMExpansion("fast").fit(holes)
        with pytest.raises(ValueError, match="beyond bounds"):
            GMMExpansion("fast", bounds=(0, gamma[:700].max())).fit(from_array(gamma, chunks=cast(Any, 700)))
    assert array.distribution_ == GMMExpansion("fast", range=(0, 15)).fit(gamma).distribution_
    assert frame.feature_names_in_.tolist() == ["x", "y"]
    x = np.linspace(0.2, 8, 50)
    assert np.abs(frame.distributions_[0].cdf(x) - stats.gamma(2.0).cdf(x)).max() < 0.03


def test_tables_with_other_columns_and_missing_values(gamma: np.ndarray) -> None:
    with pytest.raises(TypeError, match="'shop' holds str, such as 'a' in row 0"):
        GMMExpansion().fit(pd.DataFrame({"x": gamma[:3], "shop": list("abc")}))
    expected = GMMExpansion("fast").fit(gamma).distribution_
    holes = [*gamma.tolist(), None]
    for table in (pd.DataFrame({"x": pd.array(holes, "Float64")}), pl.DataFrame({"x": holes}), pa.table({"x": holes})):
        assert GMMExpansion("fast", nan_policy="omit").fit(table).distribution_ == expected
        with pytest.raises(ValueError, match="NaN"):
            GMMExpansion("fast").fit(table)


def test_masked_numbers_are_missing(gamma: np.ndarray) -> None:
    masked = np.ma.masked_greater(gamma, 4.0)
    expected = GMMExpansion("fast").fit(masked.compressed()).distribution_
    for x in (masked, masked[:, None], masked.astype(np.float32)):
        model = GMMExpansion("fast", nan_policy="omit").fit(x)
        assert model.report_.n_missing == (gamma > 4).sum()
        assert model.distribution_.ppf(0.9) == pytest.approx(expected.ppf(0.9), rel=1e-4)
        with pytest.raises(ValueError, match="NaN"):
            GMMExpansion("fast").fit(x)
    with pytest.raises(ValueError, match=r"sample_weight has masked entries"):
        GMMExpansion("fast").fit(gamma, sample_weight=masked)


DAYS = np.datetime64("2024-01-01") + np.random.default_rng(3).gamma(3.0, 20.0, 4000).astype(int)
STAMPS = DAYS + np.random.default_rng(4).integers(0, 86_400_000, 4000).astype("m8[ms]")


@pytest.mark.parametrize("x", [DAYS, STAMPS, STAMPS - STAMPS[0]], ids=["days", "moments", "durations"])
def test_dates_are_learnt_and_come_back(x: np.ndarray, tmp_path: Path) -> None:
    model = GMMExpansion().fit(pd.Series(x))
    q = [0.1, 0.5, 0.9]
    found = model.quantiles(q)
    assert found.dtype.kind == x.dtype.kind
    truth = np.sort(x)[[400, 2000, 3600]]
    assert (np.abs(found - truth) < np.timedelta64(3, "D")).all()
    assert model.quantiles(0.5) == found[1]
    drawn = model.sample(4000, random_state=0)
    assert drawn.shape == (4000, 1)
    assert drawn.dtype.kind == x.dtype.kind
    number = model.quantities_[0].to_numbers
    assert cast(Any, stats.ks_2samp(number(drawn[:, 0]), number(x))).pvalue > 1e-3
    assert np.isfinite(model.score(x))
    said = str(model.report_)
    assert ("2024-0" in said) == (x.dtype.kind == "M")
    with pytest.raises(ValueError, match="holds numbers; what was learnt before are"):
        model.score_samples([1.0, 2.0])
    model.save(tmp_path / "m.safetensors")
    loaded = GMMExpansion.load(tmp_path / "m.safetensors")
    assert loaded.quantities_ == model.quantities_
    assert str(loaded.report_) == said
    np.testing.assert_array_equal(loaded.quantiles(q), found)
    with pytest.raises(ValueError, match="holds numbers"):
        loaded.partial_fit([1.0, 2.0])
    assert loaded.partial_fit(x).report_.n == 8000


def test_dates_merge_with_dates_alone() -> None:
    model = GMMExpansion("fast", range=(0, 1e5)).fit(DAYS)
    assert model.empty_like().partial_fit(DAYS).merge(model).report_.n == 8000
    numbers = GMMExpansion("fast", range=(0, 1e5)).fit(DAYS.astype(float))
    assert numbers.counts_ == model.counts_
    with pytest.raises(ValueError, match="cannot merge dates into numbers"):
        numbers.merge(model)


def test_zones_are_printed_and_numpy_gets_utc() -> None:
    local = pd.Series(STAMPS).dt.tz_localize("America/New_York", nonexistent="shift_forward", ambiguous=True)
    model = GMMExpansion("fast").fit(local)
    median = pd.Timestamp(model.quantiles(0.5)).tz_localize("UTC")
    assert abs(median - local.median()) < pd.Timedelta(days=3)
    assert "-05:00" in str(model.report_)


def test_several_columns_come_back_as_dates_if_all_are() -> None:
    both = GMMExpansion("fast").fit(pd.DataFrame({"a": DAYS, "b": DAYS[::-1] + 7}))
    assert both.sample(5).dtype == both.quantiles([0.1, 0.2]).dtype == "M8[D]"
    mixed = GMMExpansion("fast").fit(pd.DataFrame({"a": DAYS, "b": np.arange(4000.0)}))
    assert mixed.sample(5).dtype == float
    assert mixed.quantiles([0.5]).shape == (1, 2)
    day = mixed.quantities_[0].to_data(mixed.quantiles(0.5)[0])
    assert abs(day - np.sort(DAYS)[2000]) < np.timedelta64(3, "D")


def test_tables_that_were_not_read_yet_are_counted_in_batches(gamma: np.ndarray) -> None:
    frame = pl.DataFrame({"x": gamma, "y": -gamma})
    stream = GMMExpansion("fast", range=(-20, 20)).fit(frame.lazy())
    whole = GMMExpansion("fast", range=(-20, 20)).fit(frame)
    assert stream.counts_ == whole.counts_
    assert stream.feature_names_in_.tolist() == ["x", "y"]
    reader = pa.RecordBatchReader.from_batches(frame.to_arrow().schema, frame.to_arrow().to_batches(700))
    chunks = GMMExpansion("fast", range=(-20, 20)).partial_fit(reader)
    assert chunks.counts_ == whole.counts_
    np.testing.assert_allclose(chunks.score_samples(frame.lazy()), whole.score_samples(frame))
    before = whole.counts_
    with pytest.raises(ValueError, match="NaN"):
        whole.fit(pl.LazyFrame({"x": [1.0, np.nan]}))
    assert whole.counts_ == before


def test_a_chunk_without_rows_changes_nothing(gamma: np.ndarray) -> None:
    for empty in ([], np.zeros(0), np.zeros((0, 1)), pd.DataFrame({"x": []}), pl.Series([]), pa.array([])):
        model = GMMExpansion("fast").partial_fit(empty)
        with pytest.raises(NotFittedError):
            _ = model.distribution_
        assert not hasattr(model, "n_features_in_")
    model.partial_fit(gamma).partial_fit([])
    assert model.distribution_ == GMMExpansion("fast").partial_fit(gamma).distribution_


@pytest.mark.parametrize(("name", "value"), [("n_components", 50), ("bandwidth", 3.0), ("bandwidth", "cv")])
def test_parameters_that_the_rule_ignores_are_said(gamma: np.ndarray, name: str, value: Any) -> None:
    for rule in ("auto", "fast"):
        model = GMMExpansion(rule, **{name: value})
        with pytest.warns(UserWarning, match=rf"rule '{rule}' does not use {name}={value!r}") as caught:
            model.fit(gamma)
        assert [Path(each.filename).name for each in caught] == [Path(__file__).name]
        with pytest.warns(UserWarning, match="does not use"):
            chunks = GMMExpansion(rule, **{name: value}).partial_fit(gamma)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            chunks.partial_fit(gamma)
            clone(model)
            GMMExpansion("kernel", n_components=50, bandwidth=3.0).fit(gamma)


def test_columns_without_a_number_are_named(gamma: np.ndarray) -> None:
    table = pd.DataFrame({"a": gamma, "empty": np.nan})
    for learn in (GMMExpansion(nan_policy="omit").fit, GMMExpansion(nan_policy="omit").partial_fit):
        with pytest.raises(ValueError, match="column 'empty' holds no finite number"):
            learn(table)
    with pytest.raises(ValueError, match="NaN in column 'empty'"):
        GMMExpansion().fit(table)
    with pytest.raises(ValueError, match=r"in column 'a' lie outside bounds=\(0, 1\), such as"):
        GMMExpansion(bounds=(0, 1)).fit(table[["a"]])


def test_digits_of_the_report_follow_the_spread() -> None:
    x = np.random.default_rng(0).normal(1e9, 1, 2000)
    said = str(GMMExpansion("fast").fit(x).report_)
    for extreme in (x.min(), x.max()):
        assert f"{extreme:.2f}".rstrip("0") in said


@pytest.mark.parametrize(("x", "said"), [([5.0], "a single number: 5"), ([7.25] * 3000, "all 3 000 are equal: 7.25")])
def test_a_column_of_one_value_is_called_that(x: list[float], said: str) -> None:
    report = GMMExpansion().fit(x).report_
    assert str(report).startswith(said)
    assert "chance" not in str(report)
    assert report.ks_chance <= 1


def test_names_of_columns_are_kept_and_compared(gamma: np.ndarray) -> None:
    table = pd.DataFrame({"a": gamma, "b": -gamma})
    model = GMMExpansion("fast").fit(table)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(table[["b", "a"]])


def test_columns_are_independent(gamma: np.ndarray) -> None:
    X = np.column_stack([gamma, np.random.default_rng(1).normal(size=len(gamma))])
    model = GMMExpansion("fast").fit(X)
    each = [GMMExpansion("fast").fit(column).score_samples(column) for column in X.T]
    np.testing.assert_allclose(model.score_samples(X), each[0] + each[1], atol=1e-9)
    sample = model.sample(4000, random_state=0)
    assert sample.shape == (4000, 2)
    for drawn, column in zip(sample.T, X.T, strict=True):
        assert cast(Any, stats.ks_2samp(drawn, column)).pvalue > 1e-3
    assert abs(float(np.corrcoef(sample[:, 0], sample[:, 1])[0, 1])) < 0.06
    with pytest.raises(AttributeError, match=r"2 columns were fitted: use distributions_\[column\]"):
        _ = model.distribution_


def test_sample_is_reproducible_and_score_is_the_mean(gamma: np.ndarray) -> None:
    model = GMMExpansion("fast").fit(gamma)
    np.testing.assert_array_equal(model.sample(5, random_state=3), model.sample(5, random_state=3))
    np.testing.assert_array_equal(
        model.sample(5, random_state=np.random.default_rng(3)), model.sample(5, np.random.default_rng(3))
    )
    assert model.score(gamma) == pytest.approx(model.distribution_.logpdf(gamma).mean())


@pytest.mark.parametrize("rule", ["auto", "fast", *BASIS])
def test_chunks_make_the_same_model_on_given_bins(gamma: np.ndarray, rule: Any) -> None:
    whole = GMMExpansion(rule, range=(0, 12)).fit(gamma)
    chunks = GMMExpansion(rule, range=(0, 12))
    for start in range(0, len(gamma), 700):
        chunks.partial_fit(gamma[start : start + 700])
    assert whole.counts_ == chunks.counts_
    assert whole.distribution_ == chunks.distribution_


def test_a_stream_whose_first_chunk_is_unlike_the_rest_is_still_well_fitted(gamma: np.ndarray) -> None:
    model = GMMExpansion()
    for chunk in np.array_split(np.sort(np.append(gamma, 1e5)), 10):  # sorted: the worst order there is
        model.partial_fit(chunk)
    x = np.linspace(0.01, 8, 100)
    assert np.abs(model.distribution_.cdf(x) - stats.gamma(2.0).cdf(x)).max() < 0.02
    assert model.counts_[0].n == len(gamma) + 1
    assert model.counts_[0].n_over == 0


def test_workers_merge_to_what_one_would_have_counted(gamma: np.ndarray) -> None:
    first = GMMExpansion().partial_fit(gamma[:500])
    workers = [first.empty_like().partial_fit(part) for part in np.array_split(gamma[500:] * 3, 3)]
    one = GMMExpansion().partial_fit(gamma[:500]).partial_fit(gamma[500:] * 3)
    a, b, c = workers
    forward = clone_of(first).merge(a).merge(b).merge(c)
    backward = clone_of(first).merge(c.merge(clone_of(b)).merge(a))
    assert forward.counts_ == backward.counts_ == one.counts_
    assert forward.distribution_ == one.distribution_
    with pytest.raises(ValueError, match="axis"):
        first.merge(GMMExpansion().partial_fit(gamma[:500] * 7))


def clone_of(model: GMMExpansion) -> GMMExpansion:
    return pickle.loads(pickle.dumps(model))


def test_integer_weights_are_repeated_rows(gamma: np.ndarray) -> None:
    times = np.random.default_rng(2).integers(0, 4, len(gamma))
    repeated = np.repeat(gamma, times)
    weighted = GMMExpansion(range=(0, 20)).fit(gamma, sample_weight=times)
    assert weighted.counts_ == GMMExpansion(range=(0, 20)).fit(repeated).counts_


def test_importance_weights_move_the_density(gamma: np.ndarray) -> None:
    target, source = cast(Any, stats.gamma(4.0)), cast(Any, stats.gamma(2.0))
    weights = target.pdf(gamma) / source.pdf(gamma)
    x = np.linspace(0.5, 12, 60)
    for rule in ("auto", "fast", "kernel"):
        model = GMMExpansion(rule).fit(gamma, sample_weight=weights)
        assert np.abs(model.distribution_.cdf(x) - target.cdf(x)).max() < 0.06
        assert model.counts_[0].size < len(gamma)


def test_pipelines_clones_and_grid_search(gamma: np.ndarray) -> None:
    pipeline = make_pipeline(StandardScaler(), GMMExpansion("fast")).fit(gamma[:, None])
    assert np.isfinite(pipeline.score(gamma[:, None]))
    assert cast(GMMExpansion, clone(GMMExpansion("kernel", bandwidth=3))).bandwidth == 3
    search = GridSearchCV(GMMExpansion("kernel"), {"bandwidth": [0.3, 4.0, 60.0]}, cv=3).fit(gamma[:, None])
    assert search.best_params_ == {"bandwidth": 4.0}


@pytest.mark.parametrize("rule", ["histogram", "kernel", "ml"])
def test_cross_validated_bandwidth_beats_bad_ones(gamma: np.ndarray, rule: Any) -> None:
    held_out = np.random.default_rng(9).gamma(2.0, size=20_000)
    chosen = GMMExpansion(rule, bandwidth="cv").fit(gamma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ml at a narrow bandwidth
        others = [GMMExpansion(rule, bandwidth=t).fit(gamma).score(held_out) for t in (0.5, 80.0)]
    assert chosen.score(held_out) > max(others)


def test_maximum_likelihood_warns_of_overfitting(gamma: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="overfits at bandwidth=1"):
        GMMExpansion("ml", bandwidth=1).fit(gamma)


def test_points_outside_a_given_range_become_tails(gamma: np.ndarray) -> None:
    for rule in ("auto", "kernel"):
        model = GMMExpansion(rule, range=(0.5, 4.0)).fit(gamma)
        below, above = (gamma < 0.5).mean(), (gamma > 4.0).mean()
        assert model.distribution_.cdf(0.5) == pytest.approx(below, abs=0.03)
        assert model.distribution_.sf(4.0) == pytest.approx(above, abs=0.03)
        assert model.report_.n_outside == (gamma < 0.5).sum() + (gamma > 4.0).sum()


def test_given_bounds_hold_the_density_and_refuse_data_outside(gamma: np.ndarray) -> None:
    for rule in ("auto", "fast", "kernel"):
        model = GMMExpansion(rule, bounds=(0, None)).fit(gamma)
        assert model.distribution_.bounds[0] == 0
        assert model.distribution_.cdf(-1e-9) < 1e-3
    with pytest.raises(
        ValueError, match=r"1 of 5001 numbers in column 0 lie outside bounds=\(0, None\), such as -0\.5"
    ):
        GMMExpansion(bounds=(0, None)).fit(np.append(gamma, -0.5))


def test_missing_numbers_are_refused_or_left_out(gamma: np.ndarray) -> None:
    holes = np.concatenate([gamma, [np.nan, np.nan, np.inf]])
    with pytest.raises(ValueError, match="NaN"):
        GMMExpansion().fit(holes)
    model = GMMExpansion("fast", nan_policy="omit").fit(holes)
    assert model.distribution_ == GMMExpansion("fast").fit(gamma).distribution_
    assert (model.report_.n, model.report_.n_missing) == (len(gamma), 3)
    with pytest.raises(ValueError, match="no finite number"):
        GMMExpansion(nan_policy="omit").fit([np.nan, np.inf])


def test_point_masses_are_reported_and_drawn() -> None:
    rng = np.random.default_rng(5)
    x = np.where(rng.random(20_000) < 0.3, 0.0, rng.exponential(size=20_000))
    model = GMMExpansion().fit(x)
    assert model.report_.atoms == {0.0: pytest.approx((x == 0).mean())}
    assert model.report_.ks < model.report_.ks_chance
    assert model.distribution_.cdf(0.0) - model.distribution_.cdf(-1e-12) == pytest.approx((x == 0).mean(), abs=1e-3)
    drawn = model.sample(20_000, random_state=0)
    assert (drawn == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert np.median(drawn[drawn != 0]) == pytest.approx(np.log(2), abs=0.05)


def test_a_constant_column_is_one_point_mass() -> None:
    for x in (np.full(40, 3.0), [5.0], np.zeros(2)):
        model = GMMExpansion().fit(x)
        assert model.distribution_.ppf(0.5) == x[0]
        assert np.isfinite(model.score_samples([x[0], x[0] + 1e3])).all()
    assert GMMExpansion("kernel").fit(np.full(40, 3.0)).distribution_.ppf(0.5) == 3.0


def test_report_says_how_good_the_fit_is(gamma: np.ndarray) -> None:
    good = GMMExpansion().fit(gamma).report_
    poor = GMMExpansion("kernel", n_components=8, bandwidth=3).fit(gamma).report_
    assert good.ks < good.ks_chance < poor.ks
    assert good.ks_chance == pytest.approx(1.36 / np.sqrt(len(gamma)))
    expected = stats.kstest(gamma, GMMExpansion().fit(gamma).distribution_.cdf).statistic
    assert good.ks == pytest.approx(expected, abs=2e-3)
    assert good.log_likelihood == pytest.approx(GMMExpansion().fit(gamma).score(gamma), abs=2e-3)
    assert "5 000 numbers" in str(good)


def test_saved_models_go_on_where_they_stopped(gamma: np.ndarray, tmp_path: Path) -> None:
    for rule in ("auto", "kernel"):
        model = GMMExpansion(rule, bounds=(0, None)).partial_fit(pd.DataFrame({"x": gamma[:2000]}))
        model.save(tmp_path / "m.safetensors")
        loaded = GMMExpansion.load(tmp_path / "m.safetensors")
        assert loaded.get_params() == model.get_params()
        assert loaded.distribution_ == model.distribution_
        assert loaded.report_ == model.report_
        assert loaded.feature_names_in_.tolist() == ["x"]
        rest = pd.DataFrame({"x": gamma[2000:]})
        assert loaded.partial_fit(rest).distribution_ == model.partial_fit(rest).distribution_


def test_damaged_and_foreign_model_files_are_named(gamma: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    model = GMMExpansion("fast").fit(gamma)
    model.save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"m\.safetensors is not a whole safetensors file"):
        GMMExpansion.load(path)
    model.distribution_.save(path)
    with pytest.raises(ValueError, match=r"not gaussmix\.GMMExpansion"):
        GMMExpansion.load(path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rule": "atuo"}, "'rule' .* must be a str among .*'auto'.* Got 'atuo'"),
        ({"n_components": 0}, "'n_components' .* must be an int in the range .* Got 0"),
        ({"n_components": 20.5}, "'n_components' .* must be an int .* Got 20.5"),
        ({"bandwidth": 0}, r"'bandwidth' .* in the range \(0.*or a str among {'cv'}. Got 0"),
        ({"bandwidth": "silverman"}, "or a str among {'cv'}. Got 'silverman'"),
        ({"bandwidth": np.nan}, "Got nan"),
        ({"bandwidth": np.inf}, "Got inf"),
        ({"range": (3, 1)}, "the low end must come first"),
        ({"range": (0, np.inf)}, "must be finite"),
        ({"range": 5}, "takes a pair"),
        ({"bounds": (3, 1)}, "bounds is 3.0 to 1.0; the low end must come first"),
        ({"range": (0, None)}, "both ends must be numbers"),
        ({"bounds": (0, "x")}, "takes a pair of numbers"),
        ({"bounds": "positive"}, "takes a pair"),
        ({"warp": "log"}, "'warp' .*'asinh'.* or None. Got 'log'"),
        ({"nan_policy": "drop"}, "'nan_policy' .*'omit'.* Got 'drop'"),
        ({"exact": True}, "exact=True is for a fixed basis"),
        ({"n_jobs": 0}, "'n_jobs' .* or None. Got 0"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GMMExpansion(**parameters).fit([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], ValueError),
        (np.zeros((0, 2)), ValueError),
        (np.zeros((3, 0)), ValueError),
        (np.zeros((2, 2, 2)), ValueError),
        (["a", "b"], ValueError | TypeError),
        (np.array([1 + 2j, 3.0]), ValueError | TypeError),
        (np.array(["NaT"], dtype="datetime64[D]"), ValueError),
        ([1.0, 1e305], ValueError),
        (3.0, ValueError),
        (None, ValueError | TypeError),
    ],
)
def test_data_that_cannot_be_learnt_from(data: Any, error: Any) -> None:
    with pytest.raises(error.__args__ if hasattr(error, "__args__") else error) as caught:
        GMMExpansion().fit(data)
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0, 1.0], "negative"),
        ([1.0, np.nan, 1.0], "finite"),
        ([1.0, 2.0], "2"),
        ([0.0, 0.0, 0.0], "weight"),
        ([1e200] * 3, "near 1"),
    ],
)
def test_wrong_sample_weights(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GMMExpansion().fit([1.0, 2.0, 3.0], sample_weight=weights)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=300).astype(np.float16),
        np.random.default_rng(0).integers(2**62, 2**63 - 1, 300),
        np.random.default_rng(0).integers(0, 255, 300).astype(np.uint8),
        np.random.default_rng(0).random(300) < 0.4,
        np.random.default_rng(0).normal(size=300) * 1e-300,
        np.random.default_rng(0).normal(size=300) * 1e300,
        1e15 + np.random.default_rng(0).normal(size=300),
        [1.0, 2.0],
        [2.0, 1.0, 7.0],
    ],
    ids=["float16", "near 2^63", "uint8", "bool", "1e-300", "1e300", "1e15 + normal", "two", "three"],
)
@pytest.mark.parametrize("rule", ["auto", "fast", "kernel"])
def test_unusual_numbers_are_fitted(x: Any, rule: Any) -> None:
    if rule == "kernel" and 1e14 < float(np.min(x)) < 1e16:
        with pytest.raises(ValueError, match="too narrow for 200 components in double precision"):
            GMMExpansion(rule).fit(x)
        return
    model = GMMExpansion(rule).fit(x)
    x = np.asarray(x, float)
    assert np.isfinite(model.score_samples(x)).all()
    middle = float(model.distribution_.ppf(0.5))
    assert np.quantile(x, 0.3) - np.ptp(x) * 0.2 <= middle <= np.quantile(x, 0.7) + np.ptp(x) * 0.2


def test_unfitted_estimators_say_so() -> None:
    for ask in (lambda m: m.score_samples([1.0]), lambda m: m.sample(), lambda m: m.distribution_, lambda m: m.report_):
        with pytest.raises(NotFittedError):
            ask(GMMExpansion())


def test_a_failed_chunk_changes_nothing(gamma: np.ndarray) -> None:
    model = GMMExpansion("fast").partial_fit(gamma)
    before = [counts.copy() for counts in model.counts_]
    with pytest.raises(ValueError, match="negative"):
        model.partial_fit(gamma[:3], sample_weight=[1.0, -1.0, 1.0])
    assert model.counts_ == before


def test_tails_on_both_sides_keep_their_shares() -> None:
    x = np.random.default_rng(0).normal(size=20_000)
    model = GMMExpansion(range=(-0.3, 0.3)).fit(x)
    assert model.distribution_.cdf(-0.3) == pytest.approx((x < -0.3).mean(), abs=0.02)
    assert model.distribution_.sf(0.3) == pytest.approx((x > 0.3).mean(), abs=0.02)
    assert model.report_.ks < 0.02


def test_point_masses_outside_a_given_range_count_once() -> None:
    rng = np.random.default_rng(1)
    x = np.where(rng.random(20_000) < 0.4, 0.0, rng.gamma(5.0, 2.0, 20_000) + 1)
    model = GMMExpansion(range=(2, 40)).fit(x)
    for at in (0.0, 1.0, 8.0):
        assert model.distribution_.cdf(at) == pytest.approx((x <= at).mean(), abs=0.01)
    assert model.report_.n_outside == ((x != 0) & (x < 2)).sum() + (x > 40).sum()


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("pareto", np.random.default_rng(0).pareto(0.3, 50_000)),
        ("mirrored", -np.random.default_rng(0).pareto(0.3, 50_000)),
        ("lognormal", np.random.default_rng(0).lognormal(0, 4, 50_000)),
        ("loguniform", 10 ** np.random.default_rng(0).uniform(-6, 6, 50_000)),
    ],
)
def test_skewed_heavy_tails_keep_their_core(name: str, x: np.ndarray) -> None:
    """The bins adapt: around the median most of these numbers would share one."""
    model = GMMExpansion().fit(x)
    points = np.quantile(x, np.linspace(0.01, 0.99, 99))
    assert np.abs(model.distribution_.cdf(points) - np.linspace(0.01, 0.99, 99)).max() < 0.02, name
    assert model.report_.heaviest_bin < 0.02


def test_the_report_tells_of_coarse_bins() -> None:
    rng = np.random.default_rng(0)
    model = GMMExpansion().fit(np.concatenate([rng.normal(0, 1e-3, 5000), 1e6 + rng.normal(0, 1e-3, 5000)]))
    assert model.report_.heaviest_bin > 0.3
    assert "share one bin" in str(model.report_)
    assert GMMExpansion().fit(rng.poisson(3, 5000)).report_.heaviest_bin == 0


@pytest.mark.parametrize("shape", [(0, 1), (0, None)])
def test_nothing_leaks_through_given_bounds(shape: tuple[float, float | None]) -> None:
    for x in (np.array([0.1, 0.3, 0.2, 0.9, 0.5]), np.full(30, 0.5)):
        model = GMMExpansion(bounds=shape).fit(x).distribution_
        drawn = model.rvs(5000, random_state=0)
        assert drawn.min() >= 0
        assert drawn.max() <= (shape[1] or np.inf)
        assert model.cdf(0.0) == pytest.approx(0, abs=1e-12)
        assert np.isfinite(model.logpdf([0.0, 0.7, 1.0])).all()


@pytest.mark.parametrize("weights", [None, "frequencies", "importance"])
def test_a_stream_that_begins_with_point_masses_lays_its_bins_later(weights: str | None) -> None:
    rng = np.random.default_rng(0)
    waits = np.sort(np.where(rng.random(20_000) < 0.4, 0.0, rng.gamma(2, 1e-4, 20_000)))
    first = np.append(np.repeat([0.0, 999.0], 50), np.nan)
    every = np.concatenate([first, waits])
    given = {"frequencies": np.full(every.size, 3), "importance": rng.random(every.size)}.get(weights or "")
    model = GMMExpansion(nan_policy="omit")
    start = 0
    for chunk in (first, *np.array_split(waits, 20)):
        rows = slice(start, start + len(chunk))
        model.partial_fit(chunk, sample_weight=None if given is None else given[rows])
        start = rows.stop
    whole = GMMExpansion(nan_policy="omit").fit(every, sample_weight=given)
    assert model.counts_[0].n == whole.counts_[0].n
    assert model.counts_[0].n_nan == whole.counts_[0].n_nan > 0
    assert model.counts_[0].total_mass == pytest.approx(whole.counts_[0].total_mass, rel=1e-12)
    assert model.counts_[0].size == pytest.approx(whole.counts_[0].size, rel=1e-12)
    q = np.linspace(0.01, 0.98, 50)
    np.testing.assert_allclose(model.distribution_.ppf(q), whole.distribution_.ppf(q), atol=2e-5)
    assert model.report_.atoms[0.0] == pytest.approx(whole.report_.atoms[0.0])
    assert model.report_.ks < 0.02


def test_sorted_whole_numbers_stream_well() -> None:
    x = np.sort(np.round(np.random.default_rng(0).gamma(4, 100, 50_000)))
    model = GMMExpansion()
    for chunk in np.array_split(x, 20):
        model.partial_fit(chunk)
    assert model.report_.n_outside == 0
    assert model.distribution_.ppf(0.95) == pytest.approx(np.quantile(x, 0.95), rel=0.01)


def test_a_stream_may_begin_with_missing_numbers(gamma: np.ndarray) -> None:
    model = GMMExpansion(nan_policy="omit").partial_fit(np.full(10, np.nan))
    with pytest.raises(NotFittedError):
        _ = model.distribution_
    assert model.partial_fit(gamma).report_.n_missing == 10
    assert np.isfinite(model.score(np.append(gamma, np.nan)))


def test_a_refused_fit_keeps_the_old_model(gamma: np.ndarray) -> None:
    model = GMMExpansion().fit(gamma)
    before = model.distribution_
    with pytest.raises(ValueError, match="negative"):
        model.fit(gamma[:50], sample_weight=-np.ones(50))
    assert model.distribution_ == before


def test_changed_rules_wrong_merges_and_empty_models_say_so(gamma: np.ndarray, tmp_path: Path) -> None:
    model = GMMExpansion().partial_fit(gamma)
    model.rule = "kernel"
    with pytest.raises(ValueError, match="fit again"):
        _ = model.distribution_
    with pytest.raises(TypeError, match="takes another GMMExpansion"):
        model.merge(3)  # pyright: ignore[reportArgumentType]
    named = [GMMExpansion(range=(0, 9)).fit(pd.DataFrame({name: gamma})) for name in ("a", "b")]
    with pytest.raises(ValueError, match=r"cannot merge columns \['b'\] into \['a'\]"):
        named[0].merge(named[1])
    with pytest.raises(ValueError, match="nothing to learn from"):
        _ = GMMExpansion().partial_fit(gamma).empty_like().distribution_
    with pytest.raises(NotFittedError):
        GMMExpansion().save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="none of the numbers"):
        GMMExpansion(range=(100, 200)).fit(gamma)


def test_parameters_of_numpy_types_are_saved(gamma: np.ndarray, tmp_path: Path) -> None:
    bounds: Any = np.array([0, np.inf])
    model = GMMExpansion(
        "kernel", n_components=cast(int, np.int64(50)), bandwidth=cast(float, np.float32(3)), bounds=bounds
    )
    model.fit(gamma).save(tmp_path / "m.safetensors")
    assert GMMExpansion.load(tmp_path / "m.safetensors").distribution_ == model.distribution_


@pytest.mark.parametrize("rule", ["auto", "fast"])
def test_bounds_may_lie_on_the_end_values_of_a_rounded_column(rule: Any) -> None:
    x = np.round(np.random.default_rng(0).beta(2, 2, 20_000) * 100)
    x[:2] = 0, 100
    law = GMMExpansion(rule, bounds=(0, 100)).fit(x).distribution_
    points = np.linspace(0, 100, 999)
    assert np.abs(law.cdf(points) - stats.beta(2, 2, scale=100).cdf(points)).max() < 0.015
    assert law.cdf(0.0) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="widen"):
        GMMExpansion(rule, bounds=(-1, 99.4)).fit(x)


def test_columns_over_nineteen_decades_keep_their_quantiles() -> None:
    x = 10 ** np.random.default_rng(0).uniform(-10, 9, 20_000)
    q = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
    found = GMMExpansion().fit(x).distribution_.ppf(q)
    np.testing.assert_allclose(np.log10(found), np.log10(np.quantile(x, q)), atol=0.1)


def test_bins_that_workers_have_stay_and_few_numbers_lay_none() -> None:
    rng = np.random.default_rng(3)
    x = rng.lognormal(13, 1, 15_000)
    start = GMMExpansion().partial_fit(np.zeros(3000))
    worker = start.empty_like().partial_fit(np.zeros(500)).partial_fit(x)
    assert start.merge(worker).report_.n == 18_500
    model = GMMExpansion()
    for chunk in (np.zeros(10_000), [1.0, 2.0, 3.0], x):
        model.partial_fit(chunk)
    np.testing.assert_allclose(
        model.distribution_.ppf([0.6, 0.99]), np.quantile(np.r_[np.zeros(10_003), x], [0.6, 0.99]), rtol=0.1
    )
    model = GMMExpansion().partial_fit(np.zeros(10_000)).partial_fit(x)
    np.testing.assert_allclose(
        model.distribution_.ppf([0.6, 0.99]), np.quantile(np.r_[np.zeros(10_000), x], [0.6, 0.99]), rtol=0.02
    )


def test_moments_of_point_masses_keep_their_weights() -> None:
    rng = np.random.default_rng(0)
    x, w = np.r_[np.zeros(2000), rng.normal(3, 1, 3000)], np.r_[np.full(2000, 1e-3), np.ones(3000)]
    model = GMMExpansion("kernel", exact=True).partial_fit(x[:2000], sample_weight=w[:2000])
    model.partial_fit(x[2000:], sample_weight=w[2000:])
    direct = model.counts_[0].empty_like().add(x, w)
    np.testing.assert_allclose(model.counts_[0].moments, direct.moments, rtol=1e-9, atol=1e-9)


def test_chunks_of_single_precision_leave_extremes_as_they_are() -> None:
    x = np.r_[0.01 + np.random.default_rng(0).random(500) * 0.09, 0.1]
    model = GMMExpansion(bounds=(None, 0.1)).partial_fit(x).partial_fit(np.array([0.05, -0.2], np.float32))
    assert model.report_.maximum == 0.1
    assert model.distribution_.cdf(0.1) == pytest.approx(1)


@pytest.mark.parametrize("far", [1e160, 1e300])
def test_the_farthest_outlier_does_not_matter(far: float) -> None:
    x = np.random.default_rng(3).normal(size=500)
    q = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(GMMExpansion().fit(np.r_[x, far]).distribution_.ppf(q), np.quantile(x, q), atol=0.15)


@pytest.mark.parametrize("decades", [19, 40, 100])
@pytest.mark.parametrize("rule", ["auto", "fast"])
def test_quantiles_over_many_decades(decades: int, rule: Any) -> None:
    u = np.random.default_rng(2).uniform(-decades / 2, decades / 2, 20_000)
    q = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    found = GMMExpansion(rule).fit(10**u).distribution_.ppf(q)
    np.testing.assert_allclose(np.log10(found), np.quantile(u, q), atol=0.13)


@pytest.mark.parametrize("name", ["p-values", "log-normal of sigma 8", "near 1e155"])
def test_quantiles_at_the_ends_of_the_scale(name: str) -> None:
    rng = np.random.default_rng(0)
    x = {
        "p-values": 10.0 ** -rng.exponential(6, 5000),
        "log-normal of sigma 8": rng.lognormal(0, 8, 5000),
        "near 1e155": rng.lognormal(350, 2, 5000),
    }[name]
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    found = GMMExpansion().fit(x).distribution_.ppf(q)
    np.testing.assert_allclose(np.log10(found), np.log10(np.quantile(x, q)), atol=0.15)


def test_more_decades_than_doubles_have_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="300 decades: learn their logarithms"):
        GMMExpansion().fit(10.0 ** rng.uniform(-295, 295, 300))
    ties = np.r_[np.repeat(rng.normal(size=100), 3) * 1e-300, 1e299, -1e299]
    with pytest.raises(ValueError, match="300 decades"):
        GMMExpansion().partial_fit(ties)
