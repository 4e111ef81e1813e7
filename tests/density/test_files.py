"""Columns out of files: the same numbers whatever the format, errors that name file and column, and flat memory."""

from __future__ import annotations

import gzip
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pyarrow.feather import write_feather

from gaussmix.density.files import open_column, open_table, write_batches

TABLE = np.column_stack([np.linspace(-3, 3, 1000), np.arange(1000) / 7, np.full(1000, 2.5)])


def read(path: Path, column: str | int | None = None, **options: Any) -> NDArray[Any]:
    """The whole column, and a check of what the source says about its progress."""
    with open_column(path, column, **options) as source:
        chunks, done = [], [0]
        for chunk in source:
            chunks.append(chunk)
            done.append(source.done)
    assert all(chunk.ndim == 1 for chunk in chunks)
    assert done == sorted(done)
    assert done[-1] == source.total
    return np.concatenate(chunks)


def without(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a library were not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)


def write_text(path: Path, header: str, delimiter: str, end: str = "\n") -> Path:
    """TABLE as text, gzipped if the name says so."""
    rows = [header] if header else []
    rows += [delimiter.join(map(repr, row)) for row in TABLE.tolist()]
    data = "".join(row + end for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# -- .npy


@pytest.mark.parametrize("batch_rows", [1, 7, 333, 10**6])
def test_npy_of_every_shape(tmp_path: Path, batch_rows: int) -> None:
    path = tmp_path / "x.npy"
    column = TABLE[:50, 1]
    for array, chosen in [
        (column, None),
        (column, "0"),
        (column[:, None], None),
        (TABLE[:50], 1),
        (TABLE[:50], "1"),
        (np.asfortranarray(TABLE[:50]), 1),
        (column.astype(">f8"), None),
    ]:
        np.save(path, array)
        np.testing.assert_array_equal(read(path, chosen, batch_rows=batch_rows), column)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_npy_of_every_type(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "x.npy", TABLE[:, 1].astype(dtype))
    found = read(tmp_path / "x.npy")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, TABLE[:, 1].astype(dtype))


def test_bad_npy_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, TABLE)
    whole = path.read_bytes()
    for part in (whole[:5], whole[:60], whole[:-1], b"something else entirely"):
        path.write_bytes(part)
        with pytest.raises(ValueError, match=r"x\.npy is not a whole \.npy file"):
            open_column(path, 0)
    for array in (np.array(["a"]), np.array([1j]), np.zeros((2, 2, 2)), np.array(3.0)):
        np.save(path, array)
        with pytest.raises(ValueError, match=r"x\.npy holds .* needed are numbers"):
            open_column(path, 0)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy is not a whole"):
        open_column(path)
    np.save(path, np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"x\.npy is empty"):
        open_column(path, 0)


def test_an_npy_file_cut_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, TABLE[:, 0])
    with open_column(path, batch_rows=100) as source:
        chunks = iter(source)
        next(chunks)
        os.truncate(path, 4000)
        with pytest.raises(ValueError, match=r"x\.npy ends before its row 1000"):
            list(chunks)


# -- text


@pytest.mark.parametrize("reader", ["pyarrow", "plain"])
@pytest.mark.parametrize(
    ("name", "delimiter"),
    [
        ("x.csv", ","),
        ("x.csv", ";"),
        ("x.tsv", "\t"),
        ("x.txt", " "),
        ("x.txt", "  "),
        ("x.csv.gz", ","),
        ("x.txt", ","),
    ],
)
@pytest.mark.parametrize("header", [True, False])
def test_text_of_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, name: str, delimiter: str, header: bool
) -> None:
    path = write_text(tmp_path / name, delimiter.join(("left", "middle", "right")) if header else "", delimiter)
    if reader == "plain":
        without("pyarrow", monkeypatch)
    np.testing.assert_array_equal(read(path, "middle" if header else "1"), TABLE[:, 1])
    np.testing.assert_array_equal(read(path, 2, batch_rows=7), TABLE[:, 2])


@pytest.mark.parametrize("reader", ["pyarrow", "plain"])
def test_missing_quoted_and_special_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    path = tmp_path / "x.csv"
    rows = ['1,"a"', "2, 3.5 ", '3,"4"', "4,NA", "5,", "6,nan", "7,null", "8,inf", "9,-inf", "10,1e400", "11,-0.0"]
    path.write_bytes("\r\n".join(["\ufeffn,value", *rows[1:], ""]).encode())
    if reader == "plain":
        without("pyarrow", monkeypatch)
    expected = [3.5, 4, math.nan, math.nan, math.nan, math.nan, math.inf, -math.inf, math.inf, 0]
    np.testing.assert_array_equal(read(path, "value"), expected)
    np.testing.assert_array_equal(read(path, "n"), np.arange(2, 12))
    path.write_text("\n".join([*rows, ""]))  # now the first row makes a header
    with pytest.raises(ValueError, match=r"has no column 'value'; it has 1, a "):
        open_column(path, "value")


@pytest.mark.parametrize("reader", ["pyarrow", "plain"])
def test_one_number_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    if reader == "plain":
        without("pyarrow", monkeypatch)
    path = tmp_path / "x.txt"
    path.write_text("1.5\n2.5\n\n3.5")
    np.testing.assert_array_equal(read(path), [1.5, 2.5, 3.5])


@pytest.mark.parametrize("reader", ["pyarrow", "plain"])
def test_text_that_is_not_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    if reader == "plain":
        without("pyarrow", monkeypatch)
    path = tmp_path / "x.csv"
    path.write_text("name,value\nann,1\nbob,2\n")
    with pytest.raises(ValueError, match=r"x\.csv, column name, row 1: 'ann' is not a number; .*--missing 'ann'"):
        read(path, "name")
    path.write_text("name,value\nann,1\nbob\n")
    with pytest.raises(ValueError, match=r"x\.csv, column value, after row 0: .*xpected 2 columns, got 1"):
        read(path, "value")
    path.write_text("name,value\n" + "x,1\n" * 40_000 + "x,one\n")  # far behind what was looked at
    with pytest.raises(ValueError, match=r"x\.csv, column value, row 40001: 'one' is not a number"):
        read(path, "value")
    path.write_bytes("name,value\nann,1\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"x\.csv is text in UTF-16: save it as UTF-8"):
        read(path, "value")
    for header in ("name,value", "name,value\n"):
        path.write_text(header)
        with pytest.raises(ValueError, match=r"x\.csv is empty: it has a header and no rows"):
            read(path, "value")
    path.write_text("\n1\n")
    with pytest.raises(ValueError, match=r"x\.csv begins with an empty line"):
        open_column(path)


def test_broken_gzip(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv.gz", "a,b,c", ",")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.csv\.gz, column a, after row \d+: "):
        read(path, "a")
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"x\.csv\.gz is not a whole gzip file"):
        open_column(path)


# -- parquet


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {
        "double": TABLE[:, 1],
        "single": TABLE[:, 1].astype(np.float32),
        "integer": np.arange(1000),
        "boolean": np.arange(1000) % 3 == 0,
        "decimal": pa.array(np.arange(1000)).cast(pa.decimal128(22, 2)),
        "category": pa.array(np.arange(1000) % 5).dictionary_encode(),
        "holes": pa.array([None if i % 3 else i / 4 for i in range(1000)]),
        "integer holes": pa.array([None if i % 3 else i for i in range(1000)]),
        "boolean holes": pa.array([None if i % 3 else i % 2 == 0 for i in range(1000)]),
        "nothing": pa.nulls(1000),
        "name": [str(i) for i in range(1000)],
    }
    path = write_parquet(tmp_path / "x.parquet", columns, row_group_size=130)
    i = np.arange(1000)
    expected = {
        "double": TABLE[:, 1],
        "single": TABLE[:, 1].astype(np.float32),
        "integer": i,
        "boolean": i % 3 == 0,
        "decimal": i,
        "category": i % 5,
        "holes": np.where(i % 3, math.nan, i / 4),
        "integer holes": np.where(i % 3, math.nan, i),
        "boolean holes": np.where(i % 3, math.nan, i % 2 == 0),
        "nothing": np.full(1000, math.nan),
    }
    for name, values in expected.items():
        for batch_rows in (64, 10**6):
            found = read(path, name, batch_rows=batch_rows)
            assert found.dtype.kind in "fiu"
            np.testing.assert_array_equal(found, values)
    without("pyarrow", monkeypatch)  # then Polars reads it
    for name, values in expected.items():
        np.testing.assert_array_equal(read(path, name), values)
    np.testing.assert_array_equal(read(path, 2), i)
    with pytest.raises(ValueError, match=r"x\.parquet, column name holds String; numbers are needed"):
        open_column(path, "name")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"x\.parquet, column name holds string; numbers are needed"):
        open_column(path, "name")


def test_bad_parquet_files(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", {"a": TABLE[:, 1]}, compression="none", use_dictionary=False)
    whole = path.read_bytes()
    for part in (whole[:-5], whole[:30], b"something else entirely"):
        path.write_bytes(part)
        with pytest.raises(ValueError, match=r"x\.parquet is not a whole parquet file"):
            open_column(path)
    path.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])  # the footer is fine, the first page is not
    with pytest.raises(ValueError, match=r"x\.parquet, column a, after row 0: "):
        read(path)
    write_parquet(path, {"a": TABLE[:0, 1]})
    with pytest.raises(ValueError, match=r"x\.parquet is empty"):
        open_column(path)


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "x.parquet", {"a": TABLE[:, 1]})
    without("pyarrow", monkeypatch)
    without("polars", monkeypatch)
    with pytest.raises(ImportError, match=r"pip install 'gaussmix\[parquet\]'"):
        open_column(path)
    with pytest.raises(ImportError, match=r"pip install 'gaussmix\[parquet\]'"):
        write_batches(tmp_path / "y.parquet", [{"x": TABLE[:, 1]}], len(TABLE[:, 1]))


def test_batches_have_many_rows_however_wide_the_table(tmp_path: Path) -> None:
    table = np.arange(600.0) + np.arange(40_000.0)[:, None]
    np.save(tmp_path / "x.npy", table)
    (tmp_path / "x.csv").write_text(("1," * 599 + "1\n") * 40_000)
    for name in ("x.npy", "x.csv"):
        with open_column(tmp_path / name, 3) as source:
            lengths = [len(chunk) for chunk in source]
        assert sum(lengths) == 40_000
        assert min(lengths[:-1], default=40_000) >= 16_000
    np.testing.assert_array_equal(read(tmp_path / "x.npy", 7), table[:, 7])


# -- which column


@pytest.mark.parametrize("name", ["x.csv", "x.npy", "x.parquet"])
def test_errors_say_which_columns_there_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    labels = ("0", "1", "2") if name == "x.npy" else ("left", "middle", "right")
    if name == "x.csv":
        write_text(path, ",".join(labels), ",")
    elif name == "x.npy":
        np.save(path, TABLE)
    else:
        write_parquet(path, dict(zip(labels, TABLE.T, strict=True)))
    listed = ", ".join(labels)
    with pytest.raises(ValueError, match=rf"{name} has 3 columns, so say which one: {listed}"):
        open_column(path)
    for wrong in ("midle", "3", 3, -1, "-1"):
        with pytest.raises(ValueError, match=rf"{name} has no column {wrong!r}; it has {listed}"):
            open_column(path, wrong)
    np.testing.assert_array_equal(read(path, "1"), TABLE[:, 1])


def test_repeated_names_are_told_apart_by_number(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.csv", "a,a,b", ",")
    with pytest.raises(ValueError, match=r"several columns 'a': name one by its number, from 0 to 2"):
        open_column(path, "a")
    np.testing.assert_array_equal(read(path, 1), TABLE[:, 1])


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name in ("x.xlsx", "x", "x.npy.gz"):
        (tmp_path / name).write_bytes(b"1\n")
        with pytest.raises(ValueError, match=r"is none of \.npy, \.csv, \.tsv, \.txt, \.parquet, \.feather"):
            open_column(tmp_path / name)
    for name in ("x.npy", "x.csv", "x.parquet"):
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=rf"{name} is empty"):
            open_column(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_column(tmp_path / "absent.csv")


# -- writing


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_written_columns_are_read_back(tmp_path: Path, suffix: str) -> None:
    write_batches(tmp_path / f"x{suffix}", [{"x": TABLE[:, 1]}], len(TABLE[:, 1]))
    np.testing.assert_array_equal(read(tmp_path / f"x{suffix}"), TABLE[:, 1])


def test_columns_are_not_written_to_other_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of \.npy, \.csv, \.parquet"):
        write_batches(tmp_path / "x.xlsx", [{"x": TABLE[:, 1]}], len(TABLE[:, 1]))


# -- memory

MEASURE = """
import re, sys
import numpy as np, pyarrow.csv, pyarrow.parquet
from gaussmix.density.axis import Axis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.files import open_column

def kilobytes(what):
    return int(re.search(what + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

counts = BinnedCounts(Axis(-1.0, 0.01, 200)).add(np.zeros(10**5))
open("/proc/self/clear_refs", "w").write("5")  # the peak starts from here
before = kilobytes("VmRSS")
whole, path = sys.argv[1] == "whole", sys.argv[2]
with open_column(path) as source:
    for chunk in [np.load(path)] if whole else source:
        counts.add(chunk)
print(counts.n - 10**5, kilobytes("VmHWM") - before)
"""


def peak_growth(path: Path, how: str) -> tuple[int, float]:
    """Rows counted from a file by another process, and by how many MB its memory grew at most."""
    command = [sys.executable, "-c", MEASURE, how, str(path)]
    rows, kilobytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(rows), int(kilobytes) / 1000


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's account of memory")
def test_memory_stays_flat(tmp_path: Path) -> None:
    numpy_file, parquet_file, csv_file = (tmp_path / name for name in ("x.npy", "x.parquet", "x.csv"))
    np.lib.format.open_memmap(numpy_file, "w+", np.float64, (20_000_000,)).flush()  # a hole on the disk
    chunk = pa.record_batch({"x": np.random.default_rng(0).random(1_000_000)})
    with pq.ParquetWriter(parquet_file, chunk.schema) as writer:
        for _ in range(10):
            writer.write_batch(chunk, row_group_size=10_000_000)
    csv_file.write_text("0.12345678901234567\n" * 4_000_000)
    for path, rows in [(numpy_file, 20_000_000), (parquet_file, 10_000_000), (csv_file, 4_000_000)]:
        assert path.stat().st_size > 75e6
        counted, growth = peak_growth(path, "chunks")
        assert counted == rows
        assert growth < 60
    assert peak_growth(numpy_file, "whole")[1] > 150  # the measure sees what is held


def test_a_failed_write_leaves_the_old_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npy"
    write_batches(path, [{"x": np.arange(3.0)}], len(np.arange(3.0)))

    def full(file: Any, about: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device", file.name)

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space left"):
        write_batches(path, [{"x": np.arange(9.0)}], len(np.arange(9.0)))
    np.testing.assert_array_equal(np.load(path), np.arange(3.0))
    assert [each.name for each in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_repeated_names_are_said(kind: str, tmp_path: Path) -> None:
    """Of the columns that are read."""
    path = tmp_path / f"x.{kind}"
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0]), pa.array([3.0])], names=["a", "a", "b"])
    pq.write_table(table, path) if kind == "parquet" else write_feather(table, path)
    with pytest.raises(ValueError, match=rf"x\.{kind} has several columns 'a'; give each its own name"):
        open_table(path)
    with open_table(path, ["b"]) as source:
        assert next(iter(source))["b"].tolist() == [3.0]
