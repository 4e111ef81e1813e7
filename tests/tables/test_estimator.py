"""`TableDensity`: scikit-learn's contract, chunks and merges, groups, files and bytes, and what it refuses."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from oracles.tables import assert_same, make_table
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from gaussmix import GMMExpansion, TableDensity, distances

SMALL: dict[str, Any] = {"max_cells": 512, "max_group_cells": 64}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table(4_000, seed=5)


def test_columns_are_learnt_as_alone() -> None:
    """Where values are kept exactly, a column's density is that of `GMMExpansion`, but for which points it looks at."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.gamma(2, 1, 5_000), "n": rng.poisson(9, 5_000)})
    model = TableDensity().fit(frame)
    for name in frame:
        alone = GMMExpansion().fit(frame[name]).distribution_
        together = model.columns_[name].density
        assert distances.wasserstein_distance(together, alone) < 1e-3 * frame[name].std()
    assert type(model.columns_["n"].density).__name__ == "LatticeMixture1D"


@pytest.mark.parametrize("draw", ["normal", "lognormal", "student", "mixture", "offset"])
def test_cells_cost_little(draw: str) -> None:
    """In as many cells as there are by default, a density is as near to the law as one from all the numbers."""
    rng = np.random.default_rng(7)
    n = 100_000
    x = {
        "normal": lambda: rng.normal(size=n),
        "lognormal": lambda: rng.lognormal(0, 1.5, n),
        "student": lambda: rng.standard_t(3, n),
        "mixture": lambda: np.where(rng.random(n) < 0.1, rng.normal(2, 0.005, n), rng.normal(size=n)),
        "offset": lambda: 1.7e9 + rng.gamma(2, 1e6, n),
    }[draw]()
    model, alone = TableDensity().fit({"x": x}), GMMExpansion().fit(x)
    values, density = model.counts_.whole["x"].values, model.columns_["x"].density
    assert values is not None
    assert density is not None
    assert int(values.settle().levels[0]) > 0  # or there is nothing to test
    q = np.linspace(0.001, 0.999, 999)
    error, usual = (np.abs(law.ppf(q) - np.quantile(x, q)).mean() for law in (density, alone.distribution_))
    assert error < 1.2 * usual + 1e-3 * x.std()


def test_chunks_and_merges_add_up(table: pd.DataFrame) -> None:
    whole = TableDensity(by="country", **SMALL).fit(table)
    chunks = TableDensity(by="country", **SMALL)
    for start in range(0, len(table), 700):
        chunks.partial_fit(table.iloc[start : start + 700])
    assert_same(chunks, whole)
    halves = [TableDensity(by="country", **SMALL).fit(table.iloc[part::2]) for part in (1, 0)]
    assert_same(halves[0].merge(halves[1]), whole)
    threads = TableDensity(by="country", n_jobs=2, **SMALL).fit(table)
    assert_same(threads, whole)


def test_bytes_and_files_keep_everything(table: pd.DataFrame, tmp_path: Path) -> None:
    whole = TableDensity(by=["country", "flag"], categories=["count"], random_state=3, **SMALL).fit(table)
    by_bytes = TableDensity.from_bytes(whole.to_bytes())
    whole.save(tmp_path / "a.gmx")
    by_file = TableDensity.load(tmp_path / "a.gmx")
    for model in (by_bytes, by_file):
        assert model.get_params() == whole.get_params()
        assert_same(model, whole)
        afresh = TableDensity(**whole.get_params()).fit(pd.concat([table, table.head(50)]))
        assert_same(model.partial_fit(table.head(50)), afresh)
    weighted = TableDensity(**SMALL).fit(table, sample_weight=np.random.default_rng(0).random(len(table)))
    weighted.save(tmp_path / "w.gmx")
    assert_same(TableDensity.load(tmp_path / "w.gmx"), weighted)


@pytest.mark.parametrize("cut", [0, 10, 1000, -1])
def test_cut_bytes_are_refused(cut: int, table: pd.DataFrame) -> None:
    data = TableDensity(**SMALL).fit(table.head(300)).to_bytes()
    with pytest.raises(ValueError, match="these bytes"):
        TableDensity.from_bytes(data[:cut])


def test_groups_are_those_of_each_group_alone(table: pd.DataFrame) -> None:
    model = TableDensity(by=["country", "flag"], **SMALL).fit(table)
    assert len(model.groups_) == 10  # four countries and missing ones, twice
    for key in (("FR", "true"), ("(missing)", "false")):
        chosen = table["country"].isna() if key[0] == "(missing)" else table["country"] == key[0]
        rows = table[chosen & (table["flag"] == (key[1] == "true"))].drop(columns=["country", "flag"])
        alone = TableDensity(max_cells=64).fit(rows)
        assert {*model.groups_[key]} == {*alone.columns_}
        for name, column in model.groups_[key].items():
            assert (column.n_rows, column.missing) == (len(rows), alone.columns_[name].missing)
            assert column.counts == alone.columns_[name].counts


def test_ten_thousand_groups_take_bounded_memory() -> None:
    rng = np.random.default_rng(1)
    names = np.array([f"shop{g}" for g in range(10_000)], object)

    def most_memory(batches: int) -> float:
        model = TableDensity(by="shop", max_group_cells=16)
        tracemalloc.start()
        for _ in range(batches):
            group = rng.integers(0, 10_000, 100_000)
            model.partial_fit({"shop": names[group], "x": rng.normal(group, 1.0)})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(model.groups_) == 10_000
        assert model.groups_["shop77"]["x"].quantiles(0.5) == pytest.approx(77, abs=3)
        return peak

    assert most_memory(8) < 1.5 * most_memory(4)


def test_recipe_of_polars(table: pd.DataFrame) -> None:
    frame = pl.from_pandas(table)

    def learn(rows: pl.DataFrame) -> pl.DataFrame:
        state = TableDensity(columns=["price", "day"], max_cells=512).fit(rows).to_bytes()
        return pl.DataFrame({"country": rows["country"][:1], "state": [state]})

    states = frame.group_by("country").map_groups(learn)
    assert states.height == 5
    assert max(map(len, states["state"])) < 20_000
    total = TableDensity.from_bytes(states["state"][0])
    for state in states["state"][1:]:
        total.merge(TableDensity.from_bytes(state))
    assert_same(total, TableDensity(columns=["price", "day"], max_cells=512).fit(table))


def test_recipe_of_dask(table: pd.DataFrame) -> None:
    dd = pytest.importorskip("dask.dataframe")

    def learn(rows: pd.DataFrame) -> bytes:
        return TableDensity(columns=["price"], max_cells=512).fit(rows).to_bytes()

    grouped = dd.from_pandas(table, npartitions=3).groupby("country")
    states = grouped[["price"]].apply(learn, meta=("state", object)).compute()
    assert len(states) == 4
    one = TableDensity.from_bytes(states.loc["IT"])
    assert one.columns_["price"].counts == learn_counts(table[table["country"] == "IT"])


def test_recipe_of_duckdb(table: pd.DataFrame) -> None:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.register("sales", pl.from_pandas(table).to_arrow())
    rows = connection.sql("SELECT country, price FROM sales WHERE price > 5")
    model = TableDensity(by="country", max_group_cells=512).fit(rows)
    some = table[(table["country"] == "IT") & (table["price"] > 5)]
    assert model.groups_["IT"]["price"].counts == learn_counts(some)


def learn_counts(rows: Any) -> Any:
    return TableDensity(columns=["price"], max_cells=512).fit(rows).columns_["price"].counts


def test_an_error_changes_nothing(table: pd.DataFrame) -> None:
    model = TableDensity(by="country", **SMALL).fit(table)
    before = TableDensity.from_bytes(model.to_bytes())
    for wrong in (
        table.assign(day="text"),
        table.drop(columns="price"),
        table.assign(took=table["day"]),
        table.assign(more=1),
    ):
        with pytest.raises(ValueError, match=r"column|features"):
            model.partial_fit(wrong)
    with pytest.raises(ValueError, match="cannot merge tables whose by differ"):
        model.merge(TableDensity(by="flag", **SMALL).fit(table))
    assert_same(model, before)


@parametrize_with_checks([TableDensity()])
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def test_scikit_learn_contract(table: pd.DataFrame) -> None:
    model = TableDensity(by="country", rule="fast")
    with pytest.raises(NotFittedError):
        _ = model.columns_
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    twin: Any = clone(model.fit(table))
    assert twin.get_params() == model.get_params()
    assert repr(twin) == "TableDensity(rule='fast', by='country')"
    check_is_fitted(model)
    assert model.n_features_in_ == table.shape[1]
    assert model.feature_names_in_.tolist() == list(table)
    assert twin.set_params(rule="auto").rule == "auto"
    with pytest.raises(ValueError, match="no parameter 'rul'"):
        twin.set_params(rul="auto")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"rule": "best"}, "rule is 'best'"),
        ({"by": "nowhere"}, "no column 'nowhere'"),
        ({"columns": "price"}, "takes a list"),
        ({"columns": ["prize"]}, "no column 'prize'"),
        ({"weights": "country"}, "holds weights"),
        ({"max_cells": 3}, "at least 16"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"dependence": "strong"}, "independent, copula"),
    ],
)
def test_wrong_parameters_end_in_a_sentence(parameters: dict[str, Any], said: str, table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=said):
        TableDensity(**parameters).fit(table)


def test_odd_columns() -> None:
    n = 200
    frame = pd.DataFrame(
        {
            "nothing": [None] * n,
            "constant": [3.5] * n,
            "infinite": [np.inf, -np.inf, *np.arange(n - 2.0)],
            "words": ["a", *["b"] * (n - 1)],
            "yes": ["Yes", "no"] * (n // 2),
            "mixed": [1, "two"] * (n // 2),
            "large": [2**60 + k for k in range(n)],
        }
    )
    model = TableDensity().fit(frame)
    columns = model.columns_
    assert (columns["nothing"].missing, columns["nothing"].density, columns["nothing"].share_missing) == (n, None, 1)
    assert columns["constant"].quantiles([0.1, 0.9]).tolist() == [3.5, 3.5]
    assert (columns["infinite"].missing, columns["infinite"].kind) == (2, "integer")
    assert columns["yes"].frequencies == {"true": n / 2, "false": n / 2}
    assert columns["mixed"].frequencies == {"1": n / 2, "two": n / 2}
    assert columns["large"].density is not None
    with pytest.raises(ValueError, match="'words' has no quantiles"):
        columns["words"].quantiles(0.5)
    with pytest.raises(ValueError, match="no rows"):
        TableDensity().fit(frame.head(0))
    with pytest.raises(ValueError, match="holds a list a row"):
        TableDensity().fit(pd.DataFrame({"x": [[1], [2]]}))


def test_rows_drawn_are_like_those_learnt(table: pd.DataFrame) -> None:
    model = TableDensity(random_state=0).fit(table)
    rows = model.sample(4_000)
    assert {name: len(values) for name, values in rows.items()} == dict.fromkeys(table, 4_000)
    assert rows["count"].dtype.kind == "i"
    assert rows["day"].dtype.kind == "M"
    assert (rows["day"].dt.normalize() == rows["day"])[rows["day"].notna()].all()
    assert rows["took"].dtype.kind == "m"
    assert {*rows["country"].dropna()} == {"FR", "DE", "IT", "Österreich"}
    assert rows["country"].isna().any()
    assert np.isnan(rows["normal"]).mean() == pytest.approx(0.1, abs=0.03)
    assert (rows["mass"] == 0).mean() == pytest.approx(0.3, abs=0.03)
    assert rows["flag"].dtype == bool
    first, again = (pd.DataFrame(model.sample(50, random_state=1)) for _ in range(2))
    assert first.equals(again)


def test_parameters_are_json(table: pd.DataFrame, tmp_path: Path) -> None:
    """Nothing in a file is code: the head is JSON."""
    TableDensity(by="country").fit(table.head(100)).save(tmp_path / "a.gmx")
    data = (tmp_path / "a.gmx").read_bytes()
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert head["__metadata__"]["format"] == "gaussmix.TableDensity"
    assert head["__metadata__"]["version"] == "1"


def test_quantiles_at_the_ends_are_the_extremes() -> None:
    days = np.array(["2020-01-01", "2021-03-04", "2022-06-07"], "M8[D]")
    table = TableDensity().fit(pd.DataFrame({"x": [1.5, 2.25, 9.0], "day": days}))
    assert table.columns_["x"].quantiles([0, 1]).tolist() == [1.5, 9.0]
    assert table.columns_["day"].quantiles([0, 1]).astype("M8[D]").tolist() == days[[0, 2]].tolist()


def test_columns_that_are_not_asked_for_may_hold_anything() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "lists": [[1], [2]]})
    assert list(TableDensity(columns=["x"]).fit(frame).columns_) == ["x"]
    with pytest.raises(ValueError, match="column 'lists' holds a list a row"):
        TableDensity().fit(frame)


def test_integers_that_doubles_do_not_tell_apart_are_no_categories() -> None:
    frame = pd.DataFrame({"id": np.array([2**53, 2**53 + 1])})
    with pytest.raises(ValueError, match=r"integers of 2\^53 and more"):
        TableDensity(categories=["id"]).fit(frame)


def test_a_group_that_is_called_missing_is_none() -> None:
    rows = pd.DataFrame({"shop": ["(missing)", None, "a", "'(missing)'", None], "x": range(5)})
    found = TableDensity(by="shop").fit(rows)
    assert found.group_sizes() == {"(missing)": 2, "'(missing)'": 1, "a": 1, "''(missing)''": 1}
    counts = found.groups_["'(missing)'"]["x"].counts
    assert counts is not None
    assert counts.minimum == 0


@pytest.mark.parametrize("most", [np.finfo(np.float64).max, -1e305])
def test_numbers_that_are_too_large_are_named(most: float) -> None:
    found = TableDensity().fit({"fine": [1.0, 2.0, 3.0], "large": [1.0, 2.0, most]}).columns_
    with pytest.raises(ValueError, match="column 'large': the numbers reach from"):
        found["large"].quantiles(0.5)
    assert found["fine"].quantiles(0.5) == 2
