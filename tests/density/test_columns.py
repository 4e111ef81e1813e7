"""Columns of data frames and Arrow tables: the numbers, in place where they can be, NaN for what is missing."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gaussmix.density.columns import as_columns

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
@pytest.mark.parametrize("values", [["a"], [datetime.date(2020, 1, 1)], [[1.0]]])
def test_columns_that_are_not_numbers_are_named(make: Any, values: list[Any]) -> None:
    with pytest.raises(TypeError, match=r"column 'price' holds .*numbers are needed"):
        as_columns(make(values, name="price") if make is pd.Series else make("price", values))


def test_tables_name_the_column_that_is_not_numbers() -> None:
    columns = {"ok": [1.0], "price": ["a"]}
    for table in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        with pytest.raises(TypeError, match="column 'price' holds"):
            as_columns(table)


def test_anything_else_is_left_to_numpy() -> None:
    assert as_columns(X) is X
    for other in ([1.0, 2.0], 3.0, np.array([1j]), "abc", None):
        np.testing.assert_array_equal(as_columns(other), np.asarray(other))


def test_no_library_is_imported() -> None:
    code = """
import sys, numpy as np
from gaussmix.density.columns import as_columns
as_columns(np.zeros(3)), as_columns([1.0])
print([name for name in ("pandas", "polars", "pyarrow", "dask") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"
