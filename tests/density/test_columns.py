"""Columns of data frames and Arrow tables: the numbers, in place where they can be, NaN for what is missing."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import dataset

from gaussmix.density.columns import is_empty, read_columns, stream_batches

X = np.linspace(-1, 1, 20)
SINGLE = X.astype(np.float32)


@pytest.mark.parametrize("values", [X, SINGLE, np.arange(20), np.arange(20, dtype=np.uint8)])
@pytest.mark.parametrize("wrap", [pd.Series, pl.Series, pa.array, lambda x: pa.chunked_array([x])])
def test_series_stay_in_place(values: Any, wrap: Any) -> None:
    series = wrap(values)
    found = as_columns(series)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    assert np.shares_memory(found, as_columns(series))


def as_columns(X: Any) -> Any:
    return read_columns(X)[0]


def test_pieces_and_slices_of_arrow() -> None:
    pieces = pa.chunked_array([X[:3], X[3:3], X[3:]])
    np.testing.assert_array_equal(as_columns(pieces), X)
    holes = pa.array([None, 1.0, None, 3.0, 4.0] * 9)
    expected = np.array([math.nan, 1.0, math.nan, 3.0, 4.0] * 9)
    for start in range(10):
        np.testing.assert_array_equal(as_columns(holes[start:30]), expected[start:30])
    booleans = pa.array([True, None, False] * 5)
    np.testing.assert_array_equal(as_columns(booleans[4:]), [math.nan, 0, *[1, math.nan, 0] * 3])
    assert as_columns(pa.chunked_array([], pa.float64())).shape == (0,)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pd.Series([1, None, 3], dtype="Int64"), [1, math.nan, 3]),
        (pd.Series([True, None], dtype="boolean"), [1, math.nan]),
        (pd.Series([1.5, None], dtype="float[pyarrow]"), [1.5, math.nan]),
        (pd.Series([1.5, None]), [1.5, math.nan]),
        (pd.Series([True, False]), [1, 0]),
        (pl.Series([1, None, 3]), [1, math.nan, 3]),
        (pl.Series([True, None]), [1, math.nan]),
        (pl.Series([1.5, None]), [1.5, math.nan]),
        (pl.Series([Decimal("1.25"), None]), [1.25, math.nan]),
        (pl.Series([None, None]), [math.nan, math.nan]),
        (pa.array([1, None, 3]), [1, math.nan, 3]),
        (pa.array([1.5, None], pa.float32()), [1.5, math.nan]),
        (pa.array([Decimal("1.25"), None]), [1.25, math.nan]),
        (pa.nulls(2), [math.nan, math.nan]),
        (pa.array([3, 4, 3, None]).dictionary_encode(), [3, 4, 3, math.nan]),
    ],
)
def test_missing_values_become_nan(series: Any, expected: list[float]) -> None:
    found = as_columns(series)
    assert found.dtype.kind in "fb"
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("wrap", [pd.DataFrame, pl.DataFrame, pa.table, pa.RecordBatch.from_pydict])
def test_tables(wrap: Any) -> None:
    both = as_columns(wrap({"a": X, "b": np.arange(20)}))
    assert both.dtype == np.float64
    np.testing.assert_array_equal(both, np.column_stack([X, np.arange(20)]))
    assert as_columns(wrap({"a": SINGLE, "b": SINGLE})).dtype == np.float32
    one = wrap({"a": X})
    assert as_columns(one).shape == (20, 1)
    assert np.shares_memory(as_columns(one), as_columns(one))


def test_holes_and_repeated_names_in_tables() -> None:
    frame = pd.DataFrame({"a": pd.Series([1, None], dtype="Int64"), "b": [1.5, 2.5]})
    np.testing.assert_array_equal(as_columns(frame), [[1, 1.5], [math.nan, 2.5]])
    assert as_columns(pd.DataFrame({"a": [True, False], "b": [1.5, 2.5]})).dtype == np.float64
    frame.columns = ["a", "a"]
    np.testing.assert_array_equal(as_columns(frame), [[1, 1.5], [math.nan, 2.5]])
    np.testing.assert_array_equal(as_columns(pl.DataFrame({"a": [1, None], "b": [1.5, 2.5]})), as_columns(frame))


class OnlyAStream:
    """An object of some other library that speaks Arrow."""

    def __init__(self, table: pa.Table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def test_whoever_speaks_arrow_is_read() -> None:
    np.testing.assert_array_equal(as_columns(OnlyAStream(pa.table({"a": X, "b": X}))), np.column_stack([X, X]))


@pytest.mark.parametrize("make", [pd.Series, pl.Series])
@pytest.mark.parametrize("values", [["a"], [datetime.time(1)], [[1.0]]])
def test_columns_that_are_not_numbers_are_named(make: Any, values: list[Any]) -> None:
    with pytest.raises(TypeError, match=r"column 'price' holds .*numbers are needed"):
        as_columns(make(values, name="price") if make is pd.Series else make("price", values))


def test_tables_name_the_column_that_is_not_numbers() -> None:
    columns = {"ok": [1.0], "price": ["a"]}
    for table in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        with pytest.raises(TypeError, match="column 'price' holds"):
            as_columns(table)


def test_the_first_row_that_is_no_number_is_named() -> None:
    mixed = pd.Series([None, 1.5, "n/a", "x"], name="price", dtype=object)
    with pytest.raises(TypeError, match=r"'price' holds float and str, such as 'n/a' in row 2"):
        as_columns(mixed)
    with pytest.raises(TypeError, match=r"'price' holds string, such as 'x' in row 1"):
        as_columns(pa.table({"price": [None, "x"]}))
    with pytest.raises(TypeError, match=r"'price' holds .*, such as 'x' in row 1"):
        as_columns(pl.DataFrame({"price": [None, "x"]}))


MOMENTS = [datetime.datetime(2024, 2, 29, 12, 30), None, datetime.datetime(1969, 12, 31, 23, 59, 59)]
SECONDS = [1709209800.0, math.nan, -1.0]
DAYS = [None if moment is None else moment.date() for moment in MOMENTS]
WAITS = [datetime.timedelta(hours=1), None, datetime.timedelta(microseconds=-1500)]


@pytest.mark.parametrize(
    "wrap",
    [
        pd.Series,
        lambda x: pd.Series(x, dtype=object),
        pl.Series,
        pa.array,
        list,
        lambda x: np.array(x, dtype=object),
        lambda x: np.array(x, dtype="m8[us]" if isinstance(x[0], datetime.timedelta) else "M8[us]"),
        lambda x: np.ma.masked_array(pd.Series(x).ffill().to_numpy(), [each is None for each in x]),
        lambda x: pd.Series(pd.array(x, pd.ArrowDtype(pa.array(x).type))),
    ],
)
def test_dates_and_durations_in_any_form(wrap: Any) -> None:
    found, (quantity,) = read_columns(wrap(MOMENTS))
    np.testing.assert_array_equal(found, SECONDS)
    assert (quantity.kind, quantity.unit, quantity.zone) == ("datetime", "s", None)
    found, (quantity,) = read_columns(wrap(WAITS))
    np.testing.assert_array_equal(found, [3600, math.nan, -0.0015])
    assert (quantity.kind, quantity.unit) == ("duration", "s")


@pytest.mark.parametrize("wrap", [lambda x: pd.Series(x, dtype=object), pl.Series, pa.array, list])
def test_days_are_counted_in_days(wrap: Any) -> None:
    found, (quantity,) = read_columns(wrap(DAYS))
    np.testing.assert_array_equal(found, [19782, math.nan, -1])
    assert (quantity.unit, quantity.resolution) == ("D", "D")


def test_time_zones_are_kept_and_dates_are_utc() -> None:
    stamps = pd.Series(pd.to_datetime(["2024-07-01 12:00", None])).dt.tz_localize("Europe/Berlin")
    for form in (stamps, stamps.astype(object), pl.from_pandas(stamps), pa.array(stamps), stamps.tolist()):
        found, (quantity,) = read_columns(form)
        np.testing.assert_array_equal(found, [stamps[0].timestamp(), math.nan])
        assert quantity.zone == "Europe/Berlin"
    with pytest.raises(TypeError, match="row 1"):
        read_columns([stamps[0], stamps[0].tz_localize(None)])


def test_columns_of_a_table_keep_their_own_quantities() -> None:
    columns = {"x": [1.0, 2.0, 3.0], "day": DAYS}
    for table in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        found, quantities = read_columns(table)
        np.testing.assert_array_equal(found, [[1, 19782], [2, math.nan], [3, -1]])
        assert [quantity.kind for quantity in quantities] == ["number", "datetime"]
        again, _ = read_columns(table, quantities)
        np.testing.assert_array_equal(again, found)
        with pytest.raises(ValueError, match="column 'x' holds numbers; what was learnt before are dates"):
            read_columns(table, quantities[::-1])
    finer, _ = read_columns(MOMENTS, quantities[1:])
    np.testing.assert_allclose(finer, np.array(SECONDS) / 86400, rtol=1e-15)


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([Decimal("1.5"), None, 2], dtype=object),
        pd.Series(pd.Categorical([1.5, None, 2.0])),
        pd.Series([1.5, pd.NA, np.float32(2)], dtype=object),
        np.ma.masked_equal([1.5, -999, 2], -999),
        pl.Series([Decimal("1.5"), None, Decimal(2)]),
    ],
)
def test_numbers_in_other_clothes(series: Any) -> None:
    np.testing.assert_array_equal(as_columns(series), [1.5, math.nan, 2])


def lazy_tables() -> Iterator[Any]:
    frame = pl.DataFrame({"a": X, "day": [DAYS[0]] * 20})
    table = frame.to_arrow()
    yield frame.lazy()
    yield pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=7))
    yield dataset.dataset(table)
    yield dataset.dataset(table).scanner()
    duckdb = pytest.importorskip("duckdb")
    yield duckdb.arrow(table)


def test_what_was_not_read_yet_comes_in_batches() -> None:
    for lazy in lazy_tables():
        batches = stream_batches(lazy)
        assert batches is not None
        read = [read_columns(batch) for batch in batches]
        np.testing.assert_array_equal(np.concatenate([found for found, _ in read])[:, 0], X)
        assert all(quantities[1].kind == "datetime" for _, quantities in read)
    for held in (
        X,
        X.tolist(),
        pd.Series(X),
        pl.Series(X),
        pl.DataFrame({"a": X}),
        pa.table({"a": X}),
        pa.array(X),
        3.0,
    ):
        assert stream_batches(held) is None


def test_what_is_empty() -> None:
    frame = pd.DataFrame({"a": []})
    assert all(
        map(is_empty, [[], np.zeros((0, 3)), frame, pl.from_pandas(frame), pa.table(frame), pa.array([]), frame["a"]])
    )
    assert not any(map(is_empty, [[1], X, 3.0, None, "", pl.LazyFrame({"a": []})]))


def test_anything_else_is_left_to_numpy() -> None:
    assert as_columns(X) is X
    for other in ([1.0, 2.0], 3.0, np.array([1j]), "abc", None):
        np.testing.assert_array_equal(as_columns(other), np.asarray(other))


def test_no_library_is_imported() -> None:
    code = """
import sys, numpy as np
from gaussmix.density.columns import read_columns
read_columns(np.zeros(3)), read_columns([1.0])
print([name for name in ("pandas", "polars", "pyarrow", "dask", "narwhals") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"
