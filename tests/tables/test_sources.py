"""One table has one model, in whatever it is kept, in what order its rows come, and whoever counts which of them."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pd_arrow
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from oracles.tables import assert_same, make_table
from sklearn.base import clone

from gaussmix import TableDensity

CELLS = 512  # fewer than a column of numbers has values, so that neighbours share cells


def _dask(table: pd.DataFrame, folder: Path) -> Any:
    dd = pytest.importorskip("dask.dataframe")
    return dd.from_pandas(table.sample(frac=1, random_state=1), npartitions=7)


def _duckdb(table: pd.DataFrame, folder: Path) -> Any:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    _keep.append(connection)
    return connection.from_arrow(pa.Table.from_pandas(table, preserve_index=False))


_keep: list[Any] = []


def _file(write: Callable[[pd.DataFrame, Path], Any], suffix: str) -> Callable[[pd.DataFrame, Path], Path]:
    def source(table: pd.DataFrame, folder: Path) -> Path:
        path = folder / f"table{suffix}"
        write(table, path)
        return path

    return source


def _hive(table: pd.DataFrame, folder: Path) -> Path:
    for country, rows in table.groupby("country", dropna=False):
        inside = folder / "hive" / f"country={country}"
        inside.mkdir(parents=True)
        rows.drop(columns="country").to_parquet(inside / "part.parquet", row_group_size=500, index=False)
    return folder / "hive"


def _parts(table: pd.DataFrame, folder: Path) -> list[Path]:
    paths = [folder / f"{part}.parquet" for part in range(3)]
    for part, path in enumerate(paths):
        table.iloc[part::3].to_parquet(path)
    return paths


SOURCES: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "polars": lambda table, _: pl.from_pandas(table),
    "polars lazy": lambda table, _: pl.from_pandas(table).lazy(),
    "arrow": lambda table, _: pa.Table.from_pandas(table, preserve_index=False),
    "arrow reader": lambda table, _: pa.Table.from_pandas(table, preserve_index=False).to_reader(max_chunksize=700),
    "arrow dataset": lambda table, _: pd_arrow.dataset(pa.Table.from_pandas(table, preserve_index=False)),
    "mapping": lambda table, _: {name: table[name].to_numpy() for name in table},
    "duckdb": _duckdb,
    "dask": _dask,
    "csv": _file(lambda table, path: table.to_csv(path, index=False), ".csv"),
    "csv.gz": _file(lambda table, path: table.to_csv(path, index=False), ".csv.gz"),
    "tsv": _file(lambda table, path: table.to_csv(path, index=False, sep="\t"), ".tsv"),
    "parquet": _file(lambda table, path: table.to_parquet(path, row_group_size=1_000), ".parquet"),
    "feather": _file(lambda table, path: feather.write_feather(table, path), ".feather"),
    "several": _parts,
    "shuffled": lambda table, _: table.sample(frac=1, random_state=2),
    "categorical": lambda table, _: table.astype({"country": "category"}),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table(6_000)


@pytest.fixture(scope="module")
def whole(table: pd.DataFrame) -> TableDensity:
    return TableDensity(by="country", max_cells=CELLS, max_group_cells=128).fit(table)


@pytest.mark.parametrize("name", SOURCES)
def test_one_table_has_one_model(name: str, table: pd.DataFrame, whole: TableDensity, tmp_path: Path) -> None:
    assert_same(TableDensity(**whole.get_params()).fit(SOURCES[name](table, tmp_path)), whole)


def test_kinds_are_those_of_the_values(whole: TableDensity) -> None:
    kinds = {name: column.kind for name, column in whole.columns_.items()}
    assert kinds == {
        "normal": "number",
        "heavy": "number",
        "price": "number",
        "mass": "number",
        "count": "integer",
        "id": "integer",
        "day": "date",
        "time": "date",
        "took": "duration",
        "flag": "boolean",
        "country": "category",
        "maybe": "integer",
    }
    assert [whole.columns_[name].quantity.unit for name in ("day", "time", "took")] == ["D", "s", "s"]


def test_folders_give_their_column(table: pd.DataFrame, tmp_path: Path) -> None:
    known = table.dropna(subset="country")
    model = TableDensity(by="country").fit(_hive(known, tmp_path))
    assert_same(model, TableDensity(by="country").fit(known))


def test_json_lines(table: pd.DataFrame, tmp_path: Path) -> None:
    some = table[["normal", "count", "flag", "country"]].head(500)
    some.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    model, other = TableDensity().fit(tmp_path / "a.jsonl"), TableDensity().fit(some)
    assert model.columns_["count"].counts == other.columns_["count"].counts
    assert model.columns_["country"].frequencies == other.columns_["country"].frequencies
    assert model.columns_["flag"].frequencies == other.columns_["flag"].frequencies
    assert [column.kind for column in model.columns_.values()] == ["number", "integer", "boolean", "category"]


def test_npy_and_arrays_have_numbers_for_names(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    np.save(tmp_path / "a.npy", x)
    model = TableDensity().fit(tmp_path / "a.npy")
    assert list(model.columns_) == ["0", "1", "2"]
    assert_same(model, TableDensity().fit(x))


def test_standard_input(table: pd.DataFrame, whole: TableDensity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(table.to_csv(index=False).encode())))
    assert_same(TableDensity(**whole.get_params()).fit("-"), whole)


@pytest.mark.parametrize("weighted", ["frequencies", "importance"])
def test_weights_come_from_a_column_or_beside(weighted: str, table: pd.DataFrame, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    w: Any = rng.integers(0, 4, len(table)) if weighted == "frequencies" else rng.random(len(table))
    beside = TableDensity(by="country").fit(table, sample_weight=w)
    table.assign(w=w).to_parquet(tmp_path / "a.parquet")
    table.assign(w=w).to_csv(tmp_path / "a.csv", index=False)
    for path in (tmp_path / "a.parquet", tmp_path / "a.csv"):
        named = TableDensity(by="country", weights="w").fit(path)
        assert "w" not in named.columns_
        assert_same(named, beside)
    assert beside.n_rows_ == pytest.approx(w.sum())
    if weighted == "frequencies":
        assert_same(beside, TableDensity(by="country").fit(table.loc[table.index.repeat(w)]))


def test_rows_are_read_some_ten_thousand_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the width: the columns of a wide table are not read in crumbs."""
    from gaussmix.tables.counting import TableCounts

    seen: list[int] = []
    count = TableCounts.count
    monkeypatch.setattr(
        TableCounts,
        "count",
        lambda self, batch, *rest: (seen.append(len(next(iter(batch.values())))), count(self, batch, *rest)),
    )
    wide = pa.table({f"c{j}": np.arange(70_000.0) for j in range(40)})
    pq.write_table(wide, tmp_path / "wide.parquet", row_group_size=1_000)
    TableDensity().fit(tmp_path / "wide.parquet")
    TableDensity().fit(pd_arrow.dataset(tmp_path / "wide.parquet"))
    assert sum(seen) == 140_000
    assert min(seen[:1]) >= 10_000
    assert len(seen) <= 8


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl"])
def test_codes_keep_their_leading_zeros(suffix: str, tmp_path: Path) -> None:
    codes, path = (
        pd.DataFrame({"zip": [f"0{1000 + k % 3}" for k in range(60)], "x": range(60)}),
        tmp_path / f"t{suffix}",
    )
    codes.to_json(path, orient="records", lines=True) if suffix == ".jsonl" else codes.to_csv(path, index=False)
    found = TableDensity(categories=["zip"]).fit(path).columns_
    assert found["zip"].frequencies == {"01000": 20, "01001": 20, "01002": 20}
    assert found["x"].kind == "integer"
    assert TableDensity().fit(path).columns_["zip"].kind == "integer"


def test_codes_are_those_of_the_numbers_beside_missing_ones(tmp_path: Path) -> None:
    codes = pd.DataFrame({"zip": [75001, 75002, np.nan] * 20})
    codes.to_csv(tmp_path / "t.csv", index=False)  # as 75001.0
    model = TableDensity(categories=["zip"])
    again: Any = clone(model)
    assert_same(model.fit(tmp_path / "t.csv"), again.fit(codes))


def test_codes_in_the_names_of_folders(tmp_path: Path) -> None:
    for code in ("01", "10"):
        (tmp_path / f"district={code}").mkdir()
        pd.DataFrame({"x": [1.5, 2.5]}).to_csv(tmp_path / f"district={code}" / "part.csv", index=False)
    found = TableDensity(categories=["district"]).fit(tmp_path).columns_
    assert found["district"].frequencies == {"01": 2, "10": 2}


@pytest.mark.parametrize("head", ['"price\nin euros",n\n', '"price\r\nin euros","n"\r\n'])
def test_a_name_may_go_on_in_the_next_line(head: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes((head + "1.5,2\n2.5,3\n3.5,4\n").encode())
    found = TableDensity().fit(tmp_path / "t.csv").columns_
    assert [name.split() for name in found] == [["price", "in", "euros"], ["n"]]
    assert [each.n_rows for each in found.values()] == [3, 3]
    (tmp_path / "t.csv").write_bytes((head + "1.5,2\n2.5,x\n").encode())
    assert TableDensity().fit(tmp_path / "t.csv").columns_["n"].kind == "category"


def test_intervals_are_categories() -> None:
    rows = np.arange(100.0)
    cut = pd.DataFrame({"age": pd.cut(rows, [-1, 9, 50, 100]), "quarter": pd.qcut(rows, 4)})
    cut.loc[3, "age"] = np.nan
    found = TableDensity().fit(cut).columns_
    assert found["age"].frequencies == {"(50, 100]": 49, "(9, 50]": 41, "(-1, 9]": 9}
    assert found["age"].missing == 1
    assert {*(found["quarter"].frequencies or {}).values()} == {25}


def test_parquet_is_read_without_the_imports_of_casts(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "t.parquet")
    code = f"from gaussmix import TableDensity; TableDensity().fit({str(tmp_path / 't.parquet')!r}); import sys; "
    done = subprocess.run([sys.executable, "-c", code + "print(*sys.modules)"], capture_output=True, text=True)
    assert "pyarrow.parquet" in done.stdout.split(), done.stderr
    assert {"pandas", "pyarrow.compute"}.isdisjoint(done.stdout.split())
