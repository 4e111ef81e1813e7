"""Numbers that stand for dates and durations: there and back, as pandas has them, and with the digits that matter."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.density.quantity import NUMBER, Quantity, as_text, format_number, parse_clock

UNITS = ("D", "s", "ms", "us", "ns")


@given(st.floats(-1e15, 1e15), st.floats(1e-9, 1e12))
def test_digits_tell_values_a_hundredth_of_the_spread_apart(x: float, spread: float) -> None:
    assert abs(float(format_number(x, spread)) - x) <= spread / 100 + 1e-15 * abs(x)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_without_a_spread_all_digits_are_there(x: float) -> None:
    assert float(format_number(x)) == x


@pytest.mark.parametrize(
    ("x", "spread", "text"),
    [
        (1e9 + 0.3123, 1.0, "1000000000.31"),
        (20.08553, 13.0, "20.0855"),
        (1234567.0, 4e5, "1234567"),
        (-0.25, 1.0, "-0.25"),
        (3e-17, 1.0, "0"),
        (3e-17, 1e-17, "3e-17"),
        (1.5e20, 1e19, "1.5e+20"),
        (math.inf, 1.0, "inf"),
        (5.0, 0.0, "5"),
    ],
)
def test_numbers_as_they_are_printed(x: float, spread: float, text: str) -> None:
    assert format_number(x, spread) == text


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("letter", ["M", "m"])
def test_dates_and_durations_come_back(unit: str, letter: str) -> None:
    ticks = np.random.default_rng(0).integers(-(10**5), 10**6, 500) * {"D": 1, "ns": 10**6}.get(unit, 10**4)
    values = np.append(ticks, 0).astype(f"{letter}8[{unit}]")
    values[7] = "NaT"
    quantity = Quantity.of(values.dtype)
    numbers = quantity.to_numbers(values)
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(quantity.to_data(numbers), values)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_seconds_are_those_of_pandas(unit: str) -> None:
    stamps = pd.to_datetime(["1969-12-31 23:59:59.25", "2024-02-29 12:00:01", "2262-01-01"], format="ISO8601")
    values = stamps.to_numpy().astype(f"M8[{unit}]")
    expected = [cast(pd.Timestamp, pd.Timestamp(value)).timestamp() for value in values]
    np.testing.assert_allclose(Quantity.of(values.dtype).to_numbers(values), expected, rtol=1e-15)


def test_midnights_are_days_where_there_is_no_zone() -> None:
    midnights = np.array(["2024-01-01", "NaT", "2024-01-07"], "M8[us]")
    assert Quantity.of_values(midnights) == Quantity.of(np.dtype("M8[D]"))
    for other in (midnights + np.array([0, 0, 1], "m8[us]"), midnights[1:2]):
        assert Quantity.of_values(other).unit == "s"
    assert Quantity.of_values(midnights, "Europe/Berlin").unit == "s"


def test_finer_dates_become_parts_of_days() -> None:
    days = Quantity.of(np.dtype("M8[D]"))
    half = days.to_numbers(np.array(["1970-01-02T12:00", "NaT"], "M8[m]"))
    np.testing.assert_array_equal(half, [1.5, math.nan])
    assert (days.to_data(1.6), days.to_data(1.4)) == (np.datetime64("1970-01-03"), np.datetime64("1970-01-02"))


def test_far_numbers_become_the_first_and_the_last_date() -> None:
    for unit in UNITS:
        first, last = Quantity.of(np.dtype(f"M8[{unit}]")).to_data([-1e300, 1e300])
        assert first < np.datetime64("1700-01-01") < np.datetime64("2200-01-01") < last


@pytest.mark.parametrize(
    ("spread", "text"),
    [(1e8, "2024-03-01"), (1e6, "2024-03-01 12:34"), (1e4, "2024-03-01 12:34:56"), (10.0, "2024-03-01 12:34:56.78")],
)
def test_dates_are_as_fine_as_their_spread(spread: float, text: str) -> None:
    moment = np.datetime64("2024-03-01T12:34:56.789")
    seconds = Quantity.of(moment.dtype)
    x = float(seconds.to_numbers(np.array([moment]))[0])
    assert seconds.format(x, spread) == text
    local = Quantity("datetime", "s", "ms", "Asia/Kolkata").format(x, 1e6)
    assert local == pd.Timestamp(moment, tz="UTC").tz_convert("Asia/Kolkata").strftime("%Y-%m-%d %H:%M+05:30")


def test_lengths_of_time() -> None:
    seconds = Quantity.of(np.dtype("m8[ms]"))
    assert [seconds.format(x, x) for x in (2e6, 9000.0, 150.0, 3.0, 0.01)] == [
        "23.1481 days", "2.5 h", "2.5 min", "3 s", "10 ms",
    ]  # fmt: skip
    assert Quantity.of(np.dtype("M8[D]")).format_length(2.5) == "2.5 days"


@pytest.mark.parametrize(
    ("quantity", "text", "number"),
    [
        (NUMBER, "-1.5e3", -1500.0),
        (Quantity("datetime", "D", "D"), "1970-01-03", 2.0),
        (Quantity("datetime", "s", "us"), "1970-01-01 00:01", 60.0),
        (Quantity("datetime", "s", "us", "Europe/Berlin"), "1970-01-01 02:00", 3600.0),
        (Quantity("datetime", "s", "us", "UTC"), "1970-01-01T02:00+02:00", 0.0),
        (Quantity("duration", "s", "us"), "1.5h", 5400.0),
        (Quantity("duration", "D", "D"), "2 weeks", 14.0),
        (Quantity("duration", "s", "us"), "1 day 0:30", 88200.0),
    ],
)
def test_what_is_written_is_read(quantity: Quantity, text: str, number: float) -> None:
    assert quantity.parse(text) == number


@pytest.mark.parametrize(
    ("quantity", "text", "message"),
    [
        (NUMBER, "2024-01-01", "not a number"),
        (Quantity("datetime", "D", "D"), "7", "not a date such as"),
        (Quantity("duration", "s", "s"), "3 moons", "not a duration such as"),
    ],
)
def test_what_cannot_be_read_is_said(quantity: Quantity, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantity.parse(text)


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1))
def test_durations_as_text_are_read_again(microseconds: list[int]) -> None:
    values = np.array(microseconds, "m8[us]")
    found = [parse_clock(text) for text in as_text(values)]
    np.testing.assert_allclose(found, values / np.timedelta64(1, "s"), rtol=1e-15, atol=1e-9)


def test_zones_do_not_mix_with_none() -> None:
    plain, berlin, utc = (Quantity("datetime", "s", "us", zone) for zone in (None, "Europe/Berlin", "UTC"))
    assert berlin.fits(utc)
    assert not berlin.fits(plain)
    assert not plain.fits(NUMBER)


@pytest.mark.parametrize("dtype", ["U3", "m8[M]", "c16"])
def test_what_stands_for_nothing_we_know(dtype: Any) -> None:
    with pytest.raises(TypeError):
        Quantity.of(np.dtype(dtype))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "-11:00"])
def test_the_first_and_the_last_date_stay_what_they_are(zone: str | None) -> None:
    """9999-12-31 stands for no end in many tables."""
    ends = np.array(["0001-01-01", "9999-12-31"], "M8[D]")
    days, seconds = Quantity("datetime", "D", "D"), Quantity("datetime", "s", "us", zone)
    assert (days.to_data(days.to_numbers(ends)) == ends).all()
    assert [days.format(x) for x in days.to_numbers(ends)] == ["0001-01-01", "9999-12-31"]
    assert (seconds.to_data(seconds.to_numbers(ends)) == ends).all()
    said = [seconds.format(x, 1e6) for x in (*seconds.to_numbers(ends), -1e15, 1e15)]
    assert [text[:4] for text in said] == ["0001", "9999", "0001", "9999"]
