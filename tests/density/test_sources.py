"""Whole tables out of several files, folders, patterns and streams; and what is said where they do not fit together."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gaussmix.density.files import open_column, open_table, write_batches

N = 3000
RNG = np.random.default_rng(0)
FRAME: Any = pd.DataFrame(
    {
        "x": RNG.normal(size=N),
        "n": RNG.integers(0, 9, N),
        "day": [datetime.date(2024, 1, 1) + datetime.timedelta(int(d)) for d in RNG.integers(0, 300, N)],
        "when": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(RNG.integers(0, 10**7, N), unit="s"),
        "wait": pd.to_timedelta(RNG.integers(0, 10**5, N), unit="s"),
        "ok": RNG.random(N) < 0.5,
        "shop": RNG.choice(["north", "south"], N),
    }
)
KINDS = {"x": "numbers", "n": "numbers", "day": "dates", "when": "dates with a time zone", "wait": "durations",
         "ok": "numbers", "shop": "text"}  # fmt: skip


def read_table(sources: Any, columns: Sequence[str | int] | None = None, **options: Any) -> tuple[Any, Any]:
    """The whole table and its source."""
    with open_table(sources, columns, **options) as source:
        parts, done = [], [0]
        for batch in source:
            assert len({len(values) for values in batch.values()}) == 1
            parts.append(pd.DataFrame(batch))
            done.append(source.done)
    assert done == sorted(done)
    assert done[-1] == source.total
    return pd.concat(parts, ignore_index=True), source


def write_frame(path: Path, frame: Any = FRAME) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".feather":
        pl.from_pandas(frame).write_ipc(path)
    elif path.suffix == ".jsonl":
        text = frame.assign(wait=frame["wait"].astype(str))
        text.to_json(path, orient="records", lines=True, date_format="iso", double_precision=15)
    elif path.name.endswith(".csv.zst"):
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(frame.to_csv(index=False).encode())
    else:
        frame.to_csv(path, index=False)
    return path


def assert_is_frame(found: Any, frame: Any = FRAME) -> None:
    np.testing.assert_allclose(found["x"], frame["x"], rtol=1e-12)
    for name in ("n", "ok", "shop"):
        np.testing.assert_array_equal(found[name], frame[name])
    np.testing.assert_array_equal(found["day"].astype("M8[us]"), pd.to_datetime(frame["day"]))
    np.testing.assert_array_equal(found["when"], frame["when"].dt.tz_localize(None))
    np.testing.assert_array_equal(found["wait"], frame["wait"])


@pytest.mark.parametrize("name", ["x.parquet", "x.feather", "x.csv", "x.csv.gz", "x.csv.zst"])
@pytest.mark.parametrize("library", ["pyarrow", "other"])
def test_every_format_gives_the_same_table(tmp_path: Path, name: str, library: str, monkeypatch: Any) -> None:
    path = write_frame(tmp_path / name)
    if library == "other":
        if name.endswith(".zst"):
            pytest.skip("zstd needs a library")
        for module in [module for module in sys.modules if module.partition(".")[0] == "pyarrow"]:
            monkeypatch.setitem(sys.modules, module, None)
    found, source = read_table(path)
    assert {name: str(kind or "text") for name, kind in source.columns.items()} == KINDS
    assert_is_frame(found)


def test_json_lines(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "x.jsonl")
    found, source = read_table(path)
    assert {name: str(kind or "text") for name, kind in source.columns.items()} == KINDS | {"day": "dates"}
    np.testing.assert_allclose(found["x"], FRAME["x"], atol=1e-14)
    np.testing.assert_array_equal(found["wait"], FRAME["wait"])
    rows = [{"a": 1}, {"a": None, "b": 2}, {"b": 2.5}]
    path.write_text("\n".join(map(json.dumps, rows)))
    found, _ = read_table(path)
    np.testing.assert_array_equal(found, [[1, np.nan], [np.nan, 2], [np.nan, 2.5]])
    path.write_text('{"a": 1}\n{"a": "one"}\n')
    with pytest.raises(ValueError, match=r"x\.jsonl, column a, row 2: 'one' is not a number"):
        open_column(path)
    path.write_text('{"a": 1}\n[2]\n')
    with pytest.raises(ValueError, match=r"x\.jsonl, row 2: needed is an object"):
        open_table(path)


def test_several_files_patterns_and_folders_are_one_table(tmp_path: Path) -> None:
    parts = np.array_split(np.arange(N), 3)
    for suffix in (".csv", ".parquet"):
        for i, rows in enumerate(parts):
            write_frame(tmp_path / suffix[1:] / f"part{i}{suffix}", FRAME.iloc[rows])
        folder = tmp_path / suffix[1:]
        (folder / "_SUCCESS").touch()
        (folder / ".hidden.csv").write_text("nothing")
        for sources in (folder, f"{folder}/part*{suffix}", sorted(folder.glob("part*"))):
            assert_is_frame(read_table(sources)[0])
    swapped = write_frame(tmp_path / "more.csv", FRAME[FRAME.columns[::-1]])
    found, _ = read_table([*sorted((tmp_path / "csv").glob("part*")), swapped])
    assert_is_frame(found, pd.concat([FRAME, FRAME], ignore_index=True))


def test_folders_may_name_columns(tmp_path: Path) -> None:
    for year in (2023, 2024):
        for shop in ("a b", "c"):
            write_frame(tmp_path / f"year={year}" / f"place={shop}" / "part.parquet", FRAME[["x"]].iloc[: year - 2000])
    found, source = read_table(tmp_path)
    assert found.groupby(["year", "place"]).size().to_dict() == {
        (year, shop): year - 2000 for year in (2023, 2024) for shop in ("a b", "c")
    }
    assert source.columns["place"] is None
    assert read_table(tmp_path, ["year"])[0]["year"].sum() == 2 * (23 * 2023 + 24 * 2024)
    with pytest.raises(ValueError, match="column place is 'a b'; numbers are needed"):
        open_column(tmp_path, "place")


def test_files_without_rows_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").write_text("x,y\n")
    (tmp_path / "c.csv").write_text("x,y\n1,2\n")
    assert read_table(tmp_path, ["y"])[0]["y"].tolist() == [2]
    with pytest.raises(ValueError, match=r"a\.csv and 1 more files are empty"):
        open_table([tmp_path / "a.csv", tmp_path / "a.csv"])


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").write_text("x\n2024-01-01\n")
    (tmp_path / "c.csv").write_text("y\n1\n")
    (tmp_path / "d.csv").write_text("x\nword\n")
    for name, message in (("b", "holds dates; in .*a.csv they are numbers"), ("c", "has no column 'x'; it has y"),
                          ("d", "row 1: 'word' is not a number")):  # fmt: skip
        with (
            pytest.raises(ValueError, match=rf"{name}\.csv.*{message}"),
            open_column([tmp_path / "a.csv", tmp_path / f"{name}.csv"]) as source,
        ):
            list(source)
    write_batches(tmp_path / "e.npy", [{"x": np.arange(3.0)}], len(np.arange(3.0)))
    with pytest.raises(ValueError, match="several formats, 4 csv and 1 npy"):
        open_table(tmp_path)
    with pytest.raises(ValueError, match="no file matches"):
        open_table(f"{tmp_path}/*.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file that can be read"):
        open_table(tmp_path / "empty")


def test_marks_for_missing_values(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,-999\n-,2\n3,-999.0\n")
    found, _ = read_table(tmp_path / "x.csv", missing=["-", "-999"])
    np.testing.assert_array_equal(found, [[1, np.nan], [np.nan, 2], [3, np.nan]])
    np.save(tmp_path / "x.npy", np.array([1, -999, 3]))
    np.testing.assert_array_equal(read_table(tmp_path / "x.npy", missing=["-999"])[0]["0"], [1, np.nan, 3])


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_delimiters_beside_decimal_commas(tmp_path: Path, delimiter: str, suffix: str) -> None:
    quote = '"' if delimiter == "," else ""
    rows = [f"{quote}{i},{i % 100:02}{quote}{delimiter}{i}" for i in range(50)]
    expected = [i + i % 100 / 100 for i in range(50)]
    for header in ([], [f"price{delimiter}n"]):
        (tmp_path / f"x{suffix}").write_text("\n".join([*header, *rows]) + "\n")
        with open_column(tmp_path / f"x{suffix}", 0) as source:
            np.testing.assert_allclose(np.concatenate(list(source)), expected)
        assert source.notes == ["read 0,00 as 0"]


def test_a_column_of_decimal_commas_alone(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x\n1,5\n2,25\n")
    assert read_table(tmp_path / "x.csv")[0]["x"].tolist() == [1.5, 2.25]


def test_the_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a,b\n" + "".join(f"{i},{i / 4}\n" for i in range(100_000))

    class Pipe(io.RawIOBase):
        """Which cannot go back, and gives a little at a time."""

        left = io.BytesIO(text.encode())

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = self.left.read(min(len(buffer), 5000))
            buffer[: len(data)] = data
            return len(data)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pipe())))
    with open_column("-", "b") as source:
        found = np.concatenate(list(source))
    np.testing.assert_array_equal(found, np.arange(100_000) / 4)
    assert source.total == 0
    for rows in (10, 90_000):  # in the first block, and behind it
        wrong = "a,b\n" + "1,2\n" * rows + "1,many\n"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(wrong.encode())))
        with pytest.raises(ValueError, match=rf"stdin, column b, row {rows + 1}: 'many' is not a number"):
            list(open_column("-", "b"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(ValueError, match="stdin is empty"):
        open_column("-")


def test_repeated_names_are_numbers_in_tables(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,a,b\n1,2,3\n")
    (tmp_path / "y.csv").write_text("a,a,b\n4,5,6\n")
    found, _ = read_table([tmp_path / "x.csv", tmp_path / "y.csv"])
    assert found.to_dict("list") == {"0": [1, 4], "1": [2, 5], "b": [3, 6]}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_dates_and_durations_are_written_and_read_back(tmp_path: Path, suffix: str) -> None:
    for values in (
        FRAME["day"].to_numpy().astype("M8[D]"),
        FRAME["when"].dt.tz_localize(None).to_numpy().astype("M8[us]"),
        FRAME["wait"].to_numpy(),
    ):
        if suffix == ".parquet" and values.dtype == "M8[D]":
            pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet")
        else:
            write_batches(tmp_path / f"x{suffix}", [{"x": values}], len(values))
        with open_column(tmp_path / f"x{suffix}") as source:
            np.testing.assert_array_equal(np.concatenate(list(source)), values)


def test_a_gzip_that_breaks_off_says_where(tmp_path: Path) -> None:
    whole = gzip.compress(b"x\n" + b"".join(b"%d.%d\n" % (i, i * 7919 % 1000) for i in range(300_000)))
    (tmp_path / "x.csv.gz").write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(ValueError, match=r"x\.csv\.gz, column x, after row \d+: "),
        open_column(tmp_path / "x.csv.gz") as source,
    ):
        list(source)
