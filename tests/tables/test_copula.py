"""`TableDensity(dependence="copula")`: the copula that data came from, conditions in closed form, merges."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false
# (whatever pandas gives back is a union of all its types)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats

from gaussmix import TableDensity
from gaussmix.tables import compare_tables
from gaussmix.tables import copula as model
from gaussmix.tables.rows import RowSample
from gaussmix.tables.sampling import Conditions, draw_latent

R = np.array([[1.0, 0.7, -0.5, 0.4], [0.7, 1.0, -0.3, 0.5], [-0.5, -0.3, 1.0, -0.2], [0.4, 0.5, -0.2, 1.0]])
EDGES = [-0.8, 0.1, 1.0]  # of the categories' latent dimension
WORDS = np.array(["low", "some", "more", "most"])


def make_table(n: int, seed: int = 0) -> pd.DataFrame:
    """Marginals of four kinds on the Gaussian copula of R; ``size`` is missing where ``price`` tends to be high."""
    rng = np.random.default_rng(seed)
    z = rng.multivariate_normal(np.zeros(4), R, size=n)
    table = pd.DataFrame(
        {
            "price": np.exp(z[:, 0]),
            "count": stats.poisson(3).ppf(stats.norm.cdf(z[:, 1])).astype(int),
            "size": z[:, 2],
            "class": WORDS[np.digitize(z[:, 3], EDGES)],
        }
    )
    table.loc[0.6 * z[:, 0] + 0.8 * rng.normal(size=n) > 1, "size"] = np.nan
    return table


def learn(table: Any, **options: Any) -> TableDensity:
    return TableDensity(dependence="copula", rule="fast", **options).fit(table)


@pytest.fixture(scope="module")
def learnt() -> TableDensity:
    return learn(make_table(40_000))


def latent(fitted: TableDensity, names: list[str]) -> np.ndarray:
    """Latent correlations of columns in this order, ascending in the order of WORDS."""
    copula = fitted.copula_
    at = [copula.names.index(name) for name in names]
    up = copula.orders["class"][0] == "low"
    sign = np.array([1.0 if up or name != "class" else -1.0 for name in names])
    return copula.correlation[np.ix_(at, at)] * np.outer(sign, sign)


# -- correlations


def test_the_copula_that_data_came_from_is_found(learnt: TableDensity) -> None:
    """Counts and categories do not attenuate it; a plain correlation of scores would be .05 to .1 too small."""
    found = latent(learnt, ["price", "count", "size", "class"])
    complete = [0, 1, 3]
    assert np.abs(found - R)[np.ix_(complete, complete)].max() < 0.015
    assert np.abs(found - R).max() < 0.06  # rows without a size are others than those with one
    order = learnt.copula_.orders["class"]
    assert order in (WORDS.tolist(), WORDS[::-1].tolist())
    table = make_table(40_000)
    place = table["class"].map({word: k for k, word in enumerate(WORDS)})
    assert R[0, 3] - stats.pearsonr(np.log(table["price"]), place)[0] > 0.02


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_declared_orders_are_taken(library: str) -> None:
    """Also beside a category that no row has, and for how the other categories are ordered."""
    table = make_table(300)[["count", "class"]]
    declared = ["none", *WORDS]
    table["class"] = pd.Categorical(table["class"], declared, ordered=True)
    table["colour"] = np.where(table["class"] >= "more", "red", "blue")
    same: Any = pa.table(table) if library == "pyarrow" else table
    if library == "polars":
        same = pl.DataFrame({"class": pl.Series(table["class"].to_list(), dtype=pl.Enum(declared))}).with_columns(
            count=pl.Series(table["count"].to_list()), colour=pl.Series(table["colour"].to_list())
        )
    found = TableDensity(dependence="copula").fit(same).copula_
    assert found.orders["class"] == WORDS.tolist()
    places = table.assign(**{"class": table["class"].cat.codes.to_numpy(np.int64)})
    of_places = TableDensity(dependence="copula").fit(places).copula_
    assert found.orders["colour"] == of_places.orders["colour"]
    assert found.correlation == pytest.approx(of_places.correlation, abs=1e-12)
    assert found.correlation[0, 2] > 0.3  # class, count: as declared


def test_an_order_holds_where_all_batches_declare_it() -> None:
    """In whatever order they are merged; else the order is that of the association, as without one."""
    table = make_table(400)[["price", "class"]]
    halves = [table[:200].reset_index(drop=True), table[200:].reset_index(drop=True)]
    for orders, holds in ((["some low most more"] * 2, True), (["some low most more", "more some low most"], False)):
        parts = [
            half.assign(**{"class": pd.Categorical(half["class"], order.split(), ordered=True)})
            for half, order in zip(halves, orders, strict=True)
        ]
        for some in (parts, parts[::-1]):
            merged = TableDensity(dependence="copula").partial_fit(some[0]).partial_fit(some[1])
            assert (merged.copula_.orders["class"] == orders[0].split()) is holds
            if not holds:
                assert merged.copula_.orders == TableDensity(dependence="copula").fit(table).copula_.orders


def test_intervals_are_ordered() -> None:
    """`pd.cut` and `pd.qcut`: one alone among noise would be put in any order."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"x": rng.normal(size=200), "cut": pd.cut(rng.normal(size=200), [-9, -1, -0.5, 0, 0.5, 1, 9])})
    order = TableDensity(dependence="copula").fit(table).copula_.orders["cut"]
    assert order == [str(each) for each in table["cut"].cat.categories]


@pytest.mark.parametrize("rho", [-0.97, -0.5, 0.0, 0.3, 0.9])
def test_series_against_scipy(rho: float) -> None:
    """Rank correlations of latent rho: in closed form without ties, by the bivariate normal law for two steps each."""
    smooth = model.ranks_of(np.arange(50_000.0), np.ones(50_000))
    r = 6 / np.pi * np.arcsin(rho / 2)
    two = model.coefficients_of([smooth, smooth])
    assert model.latent_correlation(np.array([[1, r], [r, 1]]), two)[0, 1] == pytest.approx(rho, abs=2e-3)
    shares = np.array([0.3, 0.85])
    steps = [model.ranks_of(np.array([0.0, 1.0]), np.array([1 - share, share])) for share in shares]
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf(stats.norm.ppf(shares))
    r = (both - shares.prod()) / np.sqrt((shares * (1 - shares)).prod())
    found = model.latent_correlation(np.array([[1, r], [r, 1]]), model.coefficients_of(steps))
    assert found[0, 1] == pytest.approx(rho, abs=2e-3)


def test_solutions_stay_while_others_are_sought() -> None:
    """A pair that has arrived at its rho is not sent away again."""
    rng = np.random.default_rng(0)
    c = model.coefficients_of([model.ranks_of(rng.integers(0, k, 400) * 1.0, np.ones(400)) for k in range(2, 12)])
    rho = np.corrcoef(rng.multivariate_normal(np.zeros(10), 0.3 + 0.7 * np.eye(10), 30), rowvar=False)
    r = sum(np.outer(row, row) * rho**n for n, row in enumerate(c[:40], 1))
    found = model.latent_correlation(np.asarray(r), c[:40])
    assert found == pytest.approx(rho, abs=1e-12)


def test_nearest_correlation_is_higham_s() -> None:
    """The example of Higham (2002), section 4."""
    found = model.nearest_correlation(np.array([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]]))
    assert found[np.triu_indices(3, 1)] == pytest.approx([0.7607, 0.1573, 0.7607], abs=2e-4)
    assert np.linalg.eigvalsh(found)[0] > 0


def test_shrinkage() -> None:
    """Two rows say nothing, many say what they say; between, noise shrinks to the size of what is there."""
    rng = np.random.default_rng(3)
    for n, least, most in ((2, 0.0, 1e-9), (100_000, 0.99, 1.0)):
        r = np.corrcoef(rng.multivariate_normal(np.zeros(4), R, size=n), rowvar=False)
        found = model.shrunk(r, np.full((4, 4), float(n)))
        share = found[0, 1] / r[0, 1]
        assert least <= share <= most
    r = np.corrcoef(rng.normal(size=(60, 40)), rowvar=False)
    found = model.shrunk(r, np.full((40, 40), 60.0))
    off = ~np.eye(40, dtype=bool)
    assert np.square(found[off]).mean() < 0.1 * np.square(r[off]).mean()


def test_rare_categories_are_not_associated_with_what_they_are_ordered_by() -> None:
    rng = np.random.default_rng(0)
    n = 3_000
    names = rng.integers(0, n // 2, n)  # two rows a name
    table = pd.DataFrame({"name": [f"n{k}" for k in names], "x": rng.normal(size=n), "true": rng.normal(size=n) / 3})
    table["true"] += names / (n // 2)  # which the names do tell of
    copula = learn(table).copula_
    at = {name: copula.names.index(name) for name in copula.names}
    assert abs(copula.correlation[at["name"], at["x"]]) < 0.08
    assert abs(copula.correlation[at["name"], at["true"]]) > 0.2


# -- rows that are kept


def test_sample_of_rows_does_not_depend_on_their_order() -> None:
    rng = np.random.default_rng(0)
    x, codes = rng.integers(0, 500, 20_000).astype(float), rng.integers(-1, 3, 20_000)
    whole = RowSample(2, limit=200).add([x, codes], [None, ["a", "b", "c"]])
    parts = RowSample(2, limit=200)
    for rows in np.array_split(rng.permutation(20_000), 7):  # whose words come in another order
        parts.merge(RowSample(2, limit=200).add([x[rows], np.where(codes < 0, -1, 2 - codes)[rows]], [None, [*"cba"]]))
    assert np.array_equal(whole.keys, parts.keys)
    assert np.array_equal(whole.weights, parts.weights)
    assert np.array_equal(whole.rows[:, 0], parts.rows[:, 0], equal_nan=True)
    words = [[s.levels[1][int(k)] if k == k else "" for k in s.rows[:, 1]] for s in (whole, parts)]
    assert words[0] == words[1]
    assert len(whole.keys) == 200
    counts = pd.Series(1, index=pd.MultiIndex.from_arrays([x, codes])).groupby(level=[0, 1]).sum()
    kept = [
        counts[row, ["a", "b", "c"].index(word) if word else -1]
        for row, word in zip(whole.rows[:, 0], words[0], strict=True)
    ]
    assert kept == whole.weights.tolist()
    assert abs(whole.rows[:, 0].mean() - x.mean()) < 5 * x.std() / np.sqrt(200)  # uniform


def test_merged_halves_and_chunks_are_one_fit() -> None:
    table = make_table(6_000)
    whole = learn(table)
    merged = learn(table[:2_500]).merge(learn(table[2_500:]))
    chunks = TableDensity(dependence="copula", rule="fast")
    for start in range(0, 6_000, 700):
        chunks.partial_fit(pl.from_pandas(table.sample(frac=1, random_state=1)[start : start + 700]))
    for other in (merged, chunks, learn(table[table.columns[::-1]])):
        assert np.array_equal(other.copula_.correlation, whole.copula_.correlation)
        assert other.copula_.orders == whole.copula_.orders


def test_files_hold_no_rows(tmp_path: Path) -> None:
    table = make_table(3_000)
    fitted = learn(table)
    fitted.save(tmp_path / "a.gmx")
    loaded = TableDensity.load(tmp_path / "a.gmx")
    assert loaded.counts_.sample is None
    assert np.array_equal(loaded.copula_.correlation, fitted.copula_.correlation)
    rows, again = pd.DataFrame(loaded.sample(500, random_state=1)), fitted.sample(500, random_state=1)
    assert np.allclose(rows["price"], again["price"], rtol=1e-8)
    assert rows["class"].tolist() == again["class"].tolist()
    for use in (lambda: loaded.partial_fit(table), lambda: loaded.merge(fitted), lambda: fitted.merge(loaded)):
        with pytest.raises(ValueError, match="files keep none"):
            use()
    with pytest.raises(ValueError, match="bytes hold no rows"):
        fitted.to_bytes()
    with pytest.raises(ValueError, match="leave by out"):
        learn(table, by="class")


# -- rows that are drawn


def test_rows_have_the_associations_and_marginals_of_the_table(learnt: TableDensity) -> None:
    real, drawn = make_table(20_000, seed=1), learnt.sample(20_000, random_state=0)
    for name in ("price", "size"):
        assert stats.ks_2samp(real[name].dropna(), drawn[name].dropna()).statistic < 0.02
    assert drawn["size"].isna().mean() == pytest.approx(real["size"].isna().mean(), abs=0.01)
    for table in (real, drawn):
        table["gone"], table["place"] = table["size"].isna(), table["class"].map({w: k for k, w in enumerate(WORDS)})
    numbers = ["price", "count", "size", "place", "gone"]
    apart = real[numbers].corr("spearman") - drawn[numbers].corr("spearman")
    assert np.nanmax(np.abs(apart)) < 0.04
    assert real["gone"].corr(real["price"], "spearman") > 0.3  # or there is nothing to keep


def test_values_stay_in_their_domain(learnt: TableDensity) -> None:
    rng = np.random.default_rng(0)
    table = make_table(4_000)
    table["day"] = pd.Timestamp("2024-02-01") + pd.to_timedelta(table["count"], "D")
    table["moment"] = (pd.Timestamp("2024-02-01 10:00") + pd.to_timedelta(table["price"], "h")).dt.floor("us")
    table["wide"] = rng.integers(0, 10**7, len(table))
    table["few"] = np.where(table["price"] > 2, np.nan, table["count"])
    table["yes"], table["flag"] = np.where(table["price"] > 1, "Yes", "No"), table["price"] > 1
    drawn = learn(table).sample(4_000, random_state=0)
    assert list(drawn) == list(table)
    for name in ("price", "count", "size", "day", "moment", "wide", "few"):
        assert drawn[name].min() >= table[name].min()
        assert drawn[name].max() <= table[name].max()
    assert drawn["count"].dtype == drawn["wide"].dtype == np.int64
    assert (drawn["few"].dropna() % 1 == 0).all()
    assert (drawn["day"].dt.normalize() == drawn["day"]).all()
    assert {*drawn["class"]} <= {*WORDS}
    assert {*drawn["yes"]} == {"Yes", "No"}
    assert drawn["flag"].dtype == bool
    assert (drawn["flag"] == (drawn["yes"] == "Yes")).mean() > 0.99


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict"])
def test_rows_come_in_the_library_of_the_table(library: str) -> None:
    frame = make_table(500)
    frame["few"] = np.where(frame["price"] > 2, np.nan, frame["count"])
    table = {
        "pandas": frame,
        "polars": pl.from_pandas(frame, nan_to_null=True),
        "pyarrow": pa.Table.from_pandas(frame),
        "dict": {name: frame[name].to_numpy() for name in frame},
    }[library]
    drawn = learn(table).sample(50, random_state=0)
    assert type(drawn) is type(table)
    if library in ("polars", "pyarrow"):
        assert str(drawn["few"].type if library == "pyarrow" else drawn["few"].dtype).lower() == "int64"
        assert drawn["few"].null_count > 0 if library == "pyarrow" else drawn["few"].null_count() > 0


# -- conditions


def test_conditional_of_a_bivariate_normal_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=30_000)
    fitted = learn(pd.DataFrame({"x": z[:, 0], "y": z[:, 1]}))
    y = fitted.sample(20_000, random_state=0, where={"x": 1.5})
    assert (y["x"] == 1.5).all()
    assert (y["y"].mean(), y["y"].std()) == pytest.approx((0.8 * 1.5, 0.6), abs=0.02)
    part = stats.truncnorm(0.5, 1.2)
    found = fitted.sample(20_000, random_state=0, where={"x": (0.5, 1.2)})
    assert found["x"].between(0.5, 1.2).all()
    spread = np.sqrt(1 - 0.64 * (1 - part.var()))
    assert (found["y"].mean(), found["y"].std()) == pytest.approx((0.8 * part.mean(), spread), abs=0.02)


def test_several_intervals_against_rejection() -> None:
    rng = np.random.default_rng(0)
    ends = {0: np.array([[0.5, 2.0]]), 2: np.array([[-np.inf, -1.0], [0.2, 0.6]]), 3: np.array([[-1.0, 0.0]])}
    found = draw_latent(R, 20_000, rng, Conditions({}, ends))
    free = rng.multivariate_normal(np.zeros(4), R, size=1_000_000)
    inside = np.all([((free[:, [k]] > e[:, 0]) & (free[:, [k]] < e[:, 1])).any(1) for k, e in ends.items()], axis=0)
    for k, e in ends.items():
        assert ((found[:, [k]] > e[:, 0]) & (found[:, [k]] < e[:, 1])).any(1).all()
    for k in range(4):
        assert stats.ks_2samp(found[:, k], free[inside, k]).statistic < 0.02
    assert np.cov(found.T) == pytest.approx(np.cov(free[inside].T), abs=0.04)


def test_conditions_on_categories_counts_and_missing(learnt: TableDensity) -> None:
    free = learnt.sample(200_000, random_state=1)
    for where, met in (
        ({"class": "most", "count": 4}, (free["class"] == "most") & (free["count"] == 4)),
        ({"class": ["low", "most"], "price": (None, 1)}, free["class"].isin(["low", "most"]) & (free["price"] <= 1)),
        ({"size": None, "count": (3, 5)}, free["size"].isna() & free["count"].between(3, 5)),
        ({"size": (0, None)}, free["size"] >= 0),
    ):
        drawn = learnt.sample(4_000, random_state=0, where=where)
        if "class" in where:
            assert {*drawn["class"]} <= {*np.atleast_1d(where["class"])}
        for name in ("price", "count"):
            chance = 2 * np.sqrt(1 / 4_000 + 1 / met.sum())
            assert stats.ks_2samp(drawn[name], free.loc[met, name]).statistic < chance


def test_conditions_that_no_row_meets(learnt: TableDensity) -> None:
    for where, said in (
        ({"price": -1}, "'price' lies between"),
        ({"class": "none"}, "'class' holds 4 values"),
        ({"cost": 1}, "there are price, count"),
        ({"price": None}, "is missing"),
        ({"count": (2.2, 2.8)}, "whole numbers alone"),
        ({"count": (1, 2, 3)}, r"a tuple is a range \(low, high\), and a list holds several values"),
        ({"count": []}, "among no values"),
        ({"class": set()}, "among no values"),
        ({"class": tuple(WORDS[:2])}, "it holds categories: give a list"),
        ({"price": [1.0, 2.0]}, "its own probability is 0"),
        ({"price": "dear"}, "where asks for price='dear'; 'price' holds numbers"),
        ({"price": {}}, "among no values"),
        ({"count": [1, None]}, "'count' holds numbers"),
    ):
        with pytest.raises(ValueError, match=said):
            learnt.sample(5, where=where)
    x = np.random.default_rng(0).normal(size=2_000)
    same = learn(pd.DataFrame({"x": x, "y": x}))
    with pytest.raises(ValueError, match="their probability is below"):
        same.sample(5, where={"x": 1.0, "y": (None, -1.0)})


def test_conditions_are_values_ranges_or_any_of_several(learnt: TableDensity) -> None:
    for wanted in ([1, 4], {1, 4}, np.array([1, 4]), pd.Series([4, 1])):
        assert {*learnt.sample(300, random_state=0, where={"count": wanted})["count"]} == {1, 4}
    assert {*learnt.sample(300, random_state=0, where={"count": (1, 4)})["count"]} == {1, 2, 3, 4}
    assert (learnt.sample(20, random_state=0, where={"price": [1.5]})["price"] == 1.5).all()
    both = learnt.sample(300, random_state=0, where={"count": [1, 4], "class": [WORDS[0], WORDS[1]]})
    assert {*both["class"]} == {*WORDS[:2]}
    free = learnt.sample(60_000, random_state=1)["count"]
    drawn = learnt.sample(4_000, random_state=0, where={"count": [1, 4]})["count"]
    assert (drawn == 1).mean() == pytest.approx((free == 1).sum() / free.isin([1, 4]).sum(), abs=0.03)


def test_a_column_without_values_is_missing_where_it_is_asked_to_be() -> None:
    table = learn(pd.DataFrame({"x": np.arange(50.0), "gone": [np.nan] * 50}))
    assert table.sample(5, random_state=0, where={"gone": None})["gone"].isna().all()
    with pytest.raises(ValueError, match="all of it are missing"):
        table.sample(5, where={"gone": 1})


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_time_zones_and_whole_days_come_back(library: str) -> None:
    rng = np.random.default_rng(0)
    zoned = pd.date_range("2024-03-01", periods=400, freq="97min", tz="Europe/Paris").as_unit("us")
    table: Any = pd.DataFrame({"seen": zoned, "stay": pd.to_timedelta(rng.integers(0, 90, 400), "D")})
    table.loc[5, "seen"] = pd.NaT
    table = {"pandas": lambda t: t, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}[library](table)
    learnt = learn(table)
    drawn = learnt.sample(400, random_state=0)
    found = compare_tables(learnt, drawn)
    assert [column.status for column in found.columns] == ["compared", "compared"]
    assert "none of 2" in found.summary
    drawn = drawn if library == "pandas" else drawn.to_pandas()
    assert str(drawn["seen"].dt.tz) == "Europe/Paris"
    assert zoned.min() <= drawn["seen"].min() <= drawn["seen"].max() <= zoned.max()
    assert (drawn["stay"] % pd.Timedelta("1D") == pd.Timedelta(0)).all()
    week = learnt.sample(60, random_state=0, where={"stay": pd.Timedelta("7D")})
    week = week if library == "pandas" else week.to_pandas()
    assert (week["stay"] == pd.Timedelta("7D")).all()


# -- odd tables


@pytest.mark.parametrize("n", [1, 2, 3, 400])
def test_odd_columns(n: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    table = pd.DataFrame({"x": x, "same": 2 * x + 1, "down": -x, "one": 7.0, "word": "a", "gone": np.nan})
    table["text"] = [None] * 400
    drawn = learn(table[:n]).sample(300, random_state=0)
    assert (drawn["one"] == 7).all()
    assert (drawn["word"] == "a").all()
    assert drawn["gone"].isna().all()
    assert drawn["text"].isna().all()
    if n == 400:
        assert np.abs(drawn["same"] - 2 * drawn["x"] - 1).max() < 0.1
        assert np.linalg.eigvalsh(learn(table).copula_.correlation)[0] > 0


def test_three_hundred_columns() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 300)) + rng.normal(size=(500, 300))
    table = pd.DataFrame({f"c{j}": z[:, j] if j % 3 else WORDS[np.digitize(z[:, j], EDGES)] for j in range(300)})
    table = table.mask(rng.random(table.shape) < 0.02)
    fitted = learn(table)
    assert len(fitted.copula_.correlation) == 600
    drawn = fitted.sample(500, random_state=0)
    real, made = (frame[[f"c{j}" for j in range(1, 300, 3)]].corr("spearman") for frame in (table, drawn))
    assert np.abs(real - made).to_numpy().mean() < 0.05
    assert real.abs().to_numpy().mean() > 0.2
