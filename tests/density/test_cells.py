"""What stands in cells of text is read as it was meant, or not at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.density.cells import MISSING, CellError, find_style, is_value


@pytest.mark.parametrize(
    ("cells", "values", "note"),
    [
        (["1", "-2.5e3", "NA", ".5"], [1, -2500, math.nan, 0.5], ""),
        (["1.234,56", "7", "-3,1"], [1234.56, 7, -3.1], "read 1.234,56 as 1234.56"),
        (["1,234.5", "12"], [1234.5, 12], "read 1,234.5 as 1234.5"),
        (["1,234", "5"], [1234, 5], "read 1,234 as 1234"),
        (["0,123", "5"], [0.123, 5], "read 0,123 as 0.123"),
        (["1.234.567", "2"], [1234567, 2], "read 1.234.567 as 1234567"),
        (["1.234", "12,5"], [1234, 12.5], "read 1.234 as 1234"),
        (["1 234,5", "2"], [1234.5, 2], "read 1 234,5 as 1234.5"),
        (["1\u00a0234", "2"], [1234, 2], "read 1\u00a0234 as 1234"),
        (["1'234.5", "2"], [1234.5, 2], "read 1'234.5 as 1234.5"),
        (["$1,234.50", "($3.00)", "-$2", "$-4"], [1234.5, -3, -2, -4], "read ($3.00) as -3"),
        (["€ 3,50", "4,20 €"], [3.5, 4.2], "read € 3,50 as 3.5"),
        (["USD 1,200", "3 USD"], [1200, 3], "read USD 1,200 as 1200"),
        (["12.5%", "3 %", "50"], [0.125, 0.03, 50], "read 12.5% as 0.125"),
        (["true", "False", "NO", "yes"], [1, 0, 0, 1], "read true as 1"),
    ],
)
def test_numbers_of_every_kind(cells: list[str], values: list[float], note: str) -> None:
    style = find_style(cells)
    np.testing.assert_allclose(style.read(cells, MISSING), values, rtol=1e-15)
    assert style.note == note


@pytest.mark.parametrize(
    ("cells", "values", "note"),
    [
        (["2024-03-01", "NA"], ["2024-03-01", "NaT"], ""),
        (["2024-03-01 12:30", "2024-03-02"], ["2024-03-01T12:30", "2024-03-02"], ""),
        (["2024-03-01T12:30:01.5Z", "2024-03-01T12:30+02:00"], ["2024-03-01T12:30:01.5", "2024-03-01T10:30"], ""),
        (["2024/3/1"], ["2024-03-01"], "read 2024/3/1 as 2024-03-01"),
        (["03/04/2024", "25/04/2024"], ["2024-04-03", "2024-04-25"], "read 25/04/2024 as 2024-04-25"),
        (["03/04/2024 3:04 PM", "04/25/2024"], ["2024-03-04T15:04", "2024-04-25"], "read 04/25/2024 as 2024-04-25"),
        (["3.4.2024", "1.2.2024"], ["2024-04-03", "2024-02-01"], "read 3.4.2024 as 2024-04-03"),
    ],
)
def test_dates_of_every_kind(cells: list[str], values: list[str], note: str) -> None:
    style = find_style(cells)
    np.testing.assert_array_equal(style.read(cells, MISSING), np.array(values, "M8[us]"))
    assert style.note[: len(note)] == note


def test_clocks_are_durations() -> None:
    found = find_style(["0:30", "1 days 02:00:00.5"]).read(["0:30", "1 days 02:00:00.5"])
    assert found.dtype.kind == "m"
    np.testing.assert_array_equal(found / np.timedelta64(1, "s"), [1800, 93600.5])


@pytest.mark.parametrize(
    ("cells", "row", "why"),
    [
        (["1", "b"], 1, "is not a number"),
        (["NA", "1", "", "one"], 3, "is not a number"),
        (["1_000"], 0, "is not a number"),
        (["1,2,3"], 0, "is not a number"),
        (["1,234.5", "1.234,5"], 0, "which mark is the decimal one"),
        (["$3", "€4"], 0, r"several currencies \(\$, €\)"),
        (["03/04/2024", "05/06/2024"], 0, "day first or the month"),
        (["2024-01-01", "2024-13-01"], 1, "not a date like those above"),
        (["2024-01-01T00:00Z", "2024-01-01"], 0, "only some have a time zone"),
        (["2024-01-01", "7"], 0, "of several kinds"),
    ],
)
def test_what_is_doubtful_is_text_and_says_why(cells: list[str], row: int, why: str) -> None:
    style = find_style(cells)
    assert style.kind == "text"
    assert style.error is not None
    assert style.error.row == row
    with pytest.raises(CellError, match=why):
        raise style.error


@pytest.mark.parametrize("later", ["12,34", "1,2345", "1.5.5", "€5", "5€", "abc", "--5"])
def test_cells_that_come_later_must_have_the_same_marks(later: str) -> None:
    style = find_style(["$1,234.50", "2"])
    with pytest.raises(CellError, match="is not a number") as caught:
        style.read(["1", "$2", later])
    assert (caught.value.row, caught.value.cell) == (2, later)


MARKS = st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (",", "\u202f"), (".", "")])


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=30), MARKS, st.sampled_from(["", "$", "€ "]))
def test_amounts_written_with_marks_are_read_back(cents: list[int], marks: tuple[str, str], money: str) -> None:
    decimal, thousands = marks
    texts = [f"{abs(c) // 100:,}".replace(",", thousands) + f"{decimal}{abs(c) % 100:02}" for c in cents]
    cells = [("-" if c < 0 else "") + money + text for c, text in zip(cents, texts, strict=True)]
    np.testing.assert_allclose(find_style(cells).read(cells), np.array(cents) / 100, rtol=1e-15)


def test_an_open_comma_follows_the_delimiter() -> None:
    assert find_style(["1,234", "5"], decimal_comma=True).read(["1,234"]) == 1.234
    assert find_style(["1,234", "5,25"]).kind == "marked"
    assert find_style(["1,234", "5,25"]).read(["1,234"]) == 1.234


def test_what_names_a_column() -> None:
    assert all(map(is_value, ["1", "NA", "$5", "1.234,5", "true", "2024-01-01", "12:30"]))
    assert not any(map(is_value, ["price", "x1", "2024 sales", "$"]))
