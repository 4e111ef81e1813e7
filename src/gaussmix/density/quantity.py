"""What the numbers of a column stand for: numbers, dates or durations, and how they are printed; whether discrete.

Dates and durations are learnt as float64: in days where they come as days, or the first of them are midnights all, in
seconds otherwise, dates since the start of 1970 (UTC). A date of our time is kept to a quarter of a microsecond.

Columns are discrete by their type, or because their numbers lie on a lattice. That is kept for each column beside its
counts and joined over chunks, partitions and models, so that the whole decides: a column is of integers if every chunk
was; its step is the greatest that all numbers are whole multiples of, counted from one of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray

DIGITS = 6  # that are printed at least
MORE_THAN_SPREAD = 2  # digits behind the first one of the spread
_LEAST_POSITIONAL, _MOST_POSITIONAL = 1e-5, 1e16
_NOTHING = 1e-12  # of the spread: rounding about zero

_DAY = 86_400.0
_SECONDS = {"W": 7 * _DAY, "D": _DAY, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_FINE = ("s", "ms", "us", "ns")  # what data that are not days come back in
_DURATIONS = (("days", _DAY), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_DURATION = re.compile(r"\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*([a-zµ]+)\s*", re.IGNORECASE)
_CLOCK = re.compile(r"\s*(?:(-?\d+) days?,?\s+)?(-?)(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?\s*")
_FIRST, _LAST = (datetime(*each, tzinfo=UTC).timestamp() for each in ((1, 1, 1), (9999, 12, 31, 23, 59, 59)))
_NS_REACH = 9.2e9  # seconds from 1970 that 64 bits of nanoseconds hold


def format_number(x: float, spread: float = 0.0) -> str:
    """``x`` with as many digits as the ``spread`` of its column asks for, `DIGITS` of them at least.

    Written out from 1e-5 to 1e16, in powers of ten beyond. Spread 0: all digits that x has.
    """
    x, spread = float(x), abs(float(spread))
    if not math.isfinite(x):
        return f"{x:g}"
    if x == 0 or abs(x) < _NOTHING * spread:
        return "0"
    size, digits = math.floor(math.log10(abs(x))), 17
    if 0 < spread < math.inf:
        digits = min(max(DIGITS, size - math.floor(math.log10(spread)) + MORE_THAN_SPREAD + 1), 17)
    if digits == 17 or float(f"{x:.{digits - 1}e}") == x:
        text = repr(x)
        if "e" not in text or not _LEAST_POSITIONAL <= abs(x) < _MOST_POSITIONAL:
            return text.removesuffix(".0")
    if not _LEAST_POSITIONAL <= abs(x) < _MOST_POSITIONAL:
        return f"{x:.{digits}g}"
    text = f"{x:.{max(0, digits - 1 - size)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Quantity:
    """What the numbers of a column stand for.

    ``unit`` of the numbers is "D" (days) or "s" (seconds), for dates since 1970; ``resolution`` is that of the
    datetime64 or timedelta64 that comes back. ``zone`` is the name of the time zone that dates are printed in; in
    datetime64, which knows none, they are UTC.
    """

    kind: Literal["number", "datetime", "duration"] = "number"
    unit: str = ""
    resolution: str = ""
    zone: str | None = None

    @classmethod
    def of(cls, dtype: np.dtype[Any], zone: str | None = None) -> Quantity:
        """That of an array's dtype. Raises TypeError for what is neither numbers nor dates nor durations."""
        if dtype.kind in "fiub":
            return NUMBER
        if dtype.kind not in "mM":
            raise TypeError(f"{dtype} is neither numbers nor dates nor durations")
        unit = np.datetime_data(dtype)[0]
        if dtype.kind == "m" and unit in "YM":
            raise TypeError(f"{dtype} has no fixed length: convert it to days")
        days = unit in "YMWD"
        fine = unit if unit in _FINE else "s" if unit in ("h", "m", "generic") else "ns"
        return cls("datetime" if dtype.kind == "M" else "duration", "D" if days else "s", "D" if days else fine, zone)

    @classmethod
    def of_values(cls, values: NDArray[Any], zone: str | None = None) -> Quantity:
        """That of the first values (N,) of a column: midnights without a zone are days. Raises as `of`."""
        quantity = cls.of(values.dtype, zone)
        if quantity.kind == "datetime" and quantity.unit == "s" and zone is None:
            given = values[~np.isnat(values)]
            if len(given) and all((part.astype("M8[D]") == part).all() for part in (given[:100], given)):
                return DAYS
        return quantity

    def to_numbers(self, values: NDArray[Any]) -> FloatArray:
        """Datetime64 or timedelta64 as numbers in `unit`, NaT as NaN; numbers as they are."""
        if values.dtype.kind not in "mM":
            return values
        kind, unit = values.dtype.kind, np.datetime_data(values.dtype)[0]
        if unit not in _SECONDS or np.datetime_data(values.dtype)[1] != 1:
            unit = Quantity.of(values.dtype).resolution
            values = values.astype(f"{kind}8[{unit}]")
        ticks, step = values.astype(np.int64), _SECONDS[unit] / _SECONDS[self.unit]
        if unit == "ns":  # which float64 cannot hold
            whole, rest = np.divmod(ticks, 10**9)
            numbers = (whole + rest / 1e9) / _SECONDS[self.unit]
        else:
            numbers = ticks * step if step >= 1 else ticks / round(1 / step)
        return np.where(np.isnat(values), np.nan, numbers)

    def to_data(self, numbers: Any) -> NDArray[Any]:
        """Numbers as what they stand for: datetime64 or timedelta64 of `resolution`, NaN as NaT, ends clipped."""
        numbers = np.asarray(numbers, np.float64)
        if self.kind == "number":
            return numbers
        low, high = (_FIRST, _LAST) if self.kind == "datetime" and self.resolution != "ns" else (-_NS_REACH, _NS_REACH)
        if self.kind == "duration" and self.resolution != "ns":
            low, high = (sign * 2.0**62 * _SECONDS[self.resolution] for sign in (-1, 1))
        unit, missing = _SECONDS[self.unit], np.isnan(numbers)
        numbers = np.where(missing, 0.0, np.clip(numbers, low / unit, high / unit))
        whole, per_unit = np.floor(numbers), round(unit / _SECONDS[self.resolution])
        ticks = whole.astype(np.int64) * per_unit + np.rint((numbers - whole) * per_unit).astype(np.int64)
        letter = "M" if self.kind == "datetime" else "m"
        kind = f"{letter}8[{self.resolution}]"
        return np.where(missing, np.array("NaT", kind), ticks.astype(kind))

    def format(self, x: float, spread: float = 0.0) -> str:
        """A number as what it stands for, with as many digits as the ``spread`` of its column, in `unit`, asks for."""
        if self.kind == "number":
            return format_number(x, spread)
        seconds, span = x * _SECONDS[self.unit], spread * _SECONDS[self.unit]
        if not math.isfinite(seconds):
            return "missing" if math.isnan(seconds) else f"{seconds:g}"
        if self.kind == "duration":
            return _duration(seconds, span)
        step = _DAY if self.unit == "D" else span / 1000 or _SECONDS[self.resolution]
        moment = _instant(round(x) * _DAY if self.unit == "D" else seconds, self.zone)
        if step >= _DAY:
            return moment.date().isoformat()
        if step >= 60:
            return moment.isoformat(" ", "minutes")
        decimals = min(6, max(0, math.ceil(-math.log10(step))))
        text = moment.isoformat(" ", "microseconds" if decimals else "seconds")
        return re.sub(r"(\.\d+)", lambda found: found[0][: decimals + 1], text)

    def format_length(self, x: float) -> str:
        """A difference of two numbers, such as a standard deviation."""
        return format_number(x, x) if self.kind == "number" else _duration(*[x * _SECONDS[self.unit]] * 2)

    def to_json(self, x: float) -> float | str:
        """A date as text in ISO 8601, anything else as the number that it is."""
        if self.kind != "datetime" or not math.isfinite(x):
            return float(x)
        if self.unit == "D":
            return self.format(x)
        return _instant(x * _SECONDS[self.unit], self.zone).isoformat()

    def parse(self, text: str) -> float:
        """The number that a text says: a number, a date in ISO 8601, a duration such as ``3 days``, ``1.5h``, ``0:30``.

        Raises ValueError.
        """
        try:
            if self.kind == "number":
                return float(text)
            if self.kind == "duration":
                return _parse_duration(text) / _SECONDS[self.unit]
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            needed = {
                "number": "a number",
                "datetime": "a date such as 2024-03-01",
                "duration": "a duration such as 3h",
            }
            raise ValueError(f"{text!r} is not {needed[self.kind]}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_zone(self.zone))
        return moment.timestamp() / _SECONDS[self.unit]

    def fits(self, other: Quantity) -> bool:
        """Whether numbers of both may stand in one column: zones may differ, but not with dates that have none."""
        return self.kind == other.kind and (self.zone is None) == (other.zone is None)

    def __str__(self) -> str:
        names = {"number": "numbers", "datetime": "dates", "duration": "durations"}
        return names[self.kind] + (" with a time zone" if self.zone else "")


NUMBER, DAYS = Quantity(), Quantity("datetime", "D", "D")


def as_text(values: NDArray[Any]) -> list[str]:
    """Numbers with all their digits, datetime64 in ISO 8601, timedelta64 as days and a clock; all can be read again.

    Of objects their text, nothing of None.
    """
    if values.dtype == object:
        return ["" if value is None else str(value) for value in values]
    if values.dtype.kind == "m":
        seconds = values / np.timedelta64(1, "s")
        return ["NaT" if math.isnan(each) else _clock(each) for each in seconds.tolist()]
    return values.astype(str).tolist() if values.dtype.kind == "M" else list(map(repr, values.tolist()))


def _clock(seconds: float) -> str:
    """Such as ``0 days 00:05:23.5``; of negative ones days are counted down and hours up, as pandas does."""
    days, rest = divmod(round(seconds, 9), _DAY)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days:.0f} days {hours:02.0f}:{minutes:02.0f}:{rest:012.9f}".rstrip("0").rstrip(".")


def parse_clock(text: str) -> float:
    """Seconds of ``1 days 02:03:04.5`` or ``26:03``. Raises ValueError."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(text)
    days, sign, hours, minutes, seconds = found.groups()
    time = 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds or 0)
    return _DAY * int(days or 0) + (-time if sign else time)


def _zone(name: str | None) -> tzinfo:
    """UTC for none, and for one that this system does not know."""
    if name is None or name.upper() == "UTC":
        return UTC
    if re.fullmatch(r"[+-]\d\d:\d\d", name):
        return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo or UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return UTC


def _instant(since: float, zone: str | None) -> datetime:
    """A moment so many seconds since 1970; without a zone where the column has none."""
    room = 0.0 if zone is None else _DAY  # a zone leads no further than the years 1 to 9999
    seconds = min(max(since, _FIRST + room), _LAST - room)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=round(seconds, 6))
    return moment.replace(tzinfo=None) if zone is None else moment.astimezone(_zone(zone))


def _duration(seconds: float, spread: float) -> str:
    size = max(abs(seconds) if not spread else 0.0, abs(spread))
    name, unit = next((each for each in _DURATIONS if size >= 2 * each[1]), _DURATIONS[-1] if size else ("s", 1.0))
    return f"{format_number(seconds / unit, spread / unit)} {name}"


def _parse_duration(text: str) -> float:
    """Seconds."""
    if ":" in text:
        return parse_clock(text)
    found = _DURATION.fullmatch(text)
    word = found[2].lower() if found else ""
    aliases = {"d": "days", "day": "days", "hours": "h", "hour": "h", "m": "min", "minutes": "min", "minute": "min",
               "sec": "s", "seconds": "s", "second": "s", "us": "µs", "weeks": "weeks", "w": "weeks"}  # fmt: skip
    units = dict(_DURATIONS) | {"weeks": 7 * _DAY}
    word = aliases.get(word, word)
    if found is None or word not in units:
        raise ValueError(text)
    return float(found[1]) * units[word]


OF_INTEGERS = np.dtype(np.float64, metadata={"of": "integers"})  # type of integers as floats, missing ones as NaN
MOST_CELLS = 10_000  # from the least value to the greatest
_SINGLE = 2e-7  # of a number: decimals kept in single precision are that far off
_OFF = 0.1  # steps: further off no number lies, whatever the precision
_ROUNDS = 200


class ColumnKind(NamedTuple):
    """Whether every chunk was of integers; if it was looked for, the lattice of the numbers.

    ``origin`` is one of them, None while there is none or no one looked; ``step`` is 0 while all are equal, NaN where
    they lie on no lattice of at most `MOST_CELLS`.
    """

    integer: bool = True
    origin: float | None = None
    step: float = 0.0

    @classmethod
    def of(cls, column: NDArray[np.floating], integer: bool, look: bool) -> Self:
        """The kind of one chunk (N,)."""
        values = np.unique(column[np.isfinite(column)]).astype(np.float64) if look else np.empty(0)
        if len(values) == 0:
            return cls(integer)
        size, eps = float(np.abs(values).max()), float(np.finfo(column.dtype).eps)
        distances = values - values[0]
        return cls(integer, float(values[0]), common_step(distances[distances > 8 * eps * size], size))

    def joined(self, other: ColumnKind) -> ColumnKind:
        """The kind of both together."""
        integer = self.integer and other.integer
        if self.origin is None or other.origin is None:
            origin, step = self[1:] if other.origin is None else other[1:]
            return ColumnKind(integer, origin, step)
        apart, size = abs(other.origin - self.origin), max(abs(self.origin), abs(other.origin))
        least = min((step for step in (self.step, other.step) if step > 0), default=0.0)
        if apart <= 2 * _SINGLE * size and apart < _OFF * least:  # rounding has put the same place twice
            apart = 0.0
        return ColumnKind(integer, self.origin, common_step(np.array([self.step, other.step, apart]), size))

    @property
    def whole(self) -> bool:
        """Whether all numbers are integers."""
        return self.integer or (self.origin is not None and self.origin.is_integer() and self.step.is_integer())


def common_step(distances: FloatArray, size: float) -> float:
    """The greatest number of which all distances >= 0 are multiples: 0 if all are 0, NaN if there is none.

    ``size`` is that of the numbers whose distances they are; rounding in single precision is allowed for.
    """
    d = np.unique(distances[~(distances <= 0)])
    precision = 0.0 if np.array_equal(d, np.rint(d)) else _SINGLE * size
    if len(d) == 0:
        return 0.0
    step, reach = float(d[0]), 1
    for _ in range(_ROUNDS):
        if not step > d[-1] / MOST_CELLS:
            break
        near = d[: max(int(np.searchsorted(d, 1.5 * reach * step)), 2)]
        off = np.abs(near - step * np.rint(near / step))
        if (wrong := off > min(1e-3 * step + precision, _OFF * step)).any():
            step, reach = float(off[wrong].min()), 1
            d = np.append(step, d)  # short distances first: long ones hold many steps, and as many of their errors
            continue
        step = float(near[-1] / np.rint(near[-1] / step))  # the longer the distance, the less rounding a step
        if len(near) == len(d):
            return step
        reach *= 8
    return math.nan


def holds_integers(values: Any) -> bool:
    """Whether an array is of integers, booleans, or floats that are known to be integers or missing."""
    dtype = values.dtype
    return getattr(dtype, "kind", "f") in "iub" or (getattr(dtype, "metadata", None) or {}).get("of") == "integers"


def marked_integers(values: NDArray[Any]) -> NDArray[Any]:
    """Float64 values as what is known to be integers, where all that are not missing are whole numbers."""
    if values.dtype != np.float64 or holds_integers(values):
        return values
    whole = (values == np.rint(values)) | np.isnan(values)
    return values.view(OF_INTEGERS) if whole.all() else values


def concatenated(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Arrays (n,) one after another; of integers if all of them are."""
    values = np.concatenate(parts)
    of_integers = values.dtype == np.float64 and all(map(holds_integers, parts))
    return values.view(OF_INTEGERS) if of_integers else values


def integer_columns(X: Any, width: int) -> list[bool]:
    """Of the ``width`` columns of X, an array or a pandas, polars, Arrow or Dask object: whether of integers, booleans.

    By the declared types: integers with missing values are integers, though what is counted of them are floats. What
    has none is taken for floats.
    """
    library = type(X).__module__.partition(".")[0]
    if library == "polars":
        kinds = [
            kind.is_integer() or str(kind) == "Boolean" for kind in (X.dtypes if hasattr(X, "columns") else [X.dtype])
        ]
    elif library == "pyarrow" or (hasattr(X, "__arrow_c_stream__") and library != "pandas"):
        kinds = _arrow_kinds(X)
    elif hasattr(X, "dtypes") and hasattr(X, "columns"):  # pandas, and Dask's data frames
        kinds = [kind.kind in "iub" for kind in X.dtypes]
    else:
        kinds = [holds_integers(X if hasattr(X, "dtype") else np.asarray(X))] * width
    return kinds if len(kinds) == width else [False] * width


def _arrow_kinds(X: Any) -> list[bool]:
    import pyarrow as pa

    schema = getattr(X, "schema", None)
    types = [X.type] if isinstance(X, pa.Array | pa.ChunkedArray) else schema.types if schema is not None else []
    types = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types]
    return [pa.types.is_integer(kind) or pa.types.is_boolean(kind) for kind in types]
