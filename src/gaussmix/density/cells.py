"""What cells of text say: numbers, plain or with thousands marks, currencies and per cents; booleans; dates.

`find_style` looks at some cells of a column and says how all of them are read. Where cells may be read in two ways,
such as 03/04/2024, it reads none: a wrong number is worse than an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaussmix._guard import shown
from gaussmix.density.quantity import NUMBER, Quantity, format_number, parse_clock

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "#N/A")

MOST_CELL = 120  # characters of a number or a date: patterns are not tried on what is longer
_BOOLEANS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_CURRENCY = r"[$€£¥₹₽₩₪₺₫฿₴₦]|[A-Z]{3}|kr\.?|zł|Fr\.?"
_SPACES = " \u00a0\u202f\u2009"
_DECORATED = re.compile(
    rf"\(?[-+−]?\s*(?P<before>{_CURRENCY})?\s*[-+−]?(?P<body>[.,]?\d[\d.,'’{_SPACES}]*)(?:[eE][-+]?\d+)?"
    rf"\s*(?P<after>{_CURRENCY})?\s*%?\)?"
)
_POINT = re.compile(r"(?<=\d)\.0+$")
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?")
_ZONE = r"(?P<zone>\s*(?:Z|UTC|[-+]\d\d:?\d\d))?"
_DATE = re.compile(
    r"(?P<a>\d{1,4})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<c>\d{1,4})"
    rf"(?:(?:T|,?\s+)(?P<h>\d{{1,2}}):(?P<m>\d\d)(?::(?P<s>\d\d(?:\.\d+)?))?(?P<half>\s*[AaPp][Mm])?{_ZONE})?"
)


class CellError(ValueError):
    """A cell that cannot be read: its row among those that were given, and what stands in it."""

    def __init__(self, row: int, cell: str, why: str = "is not a number"):
        super().__init__(f"{shown(cell)!r} {why}")
        self.row, self.cell, self.why = row, cell, why


@dataclass(frozen=True)
class Style:
    """How the cells of a column are read, and an ``example`` of them."""

    kind: Literal["plain", "boolean", "marked", "date", "clock", "text", "code"] = "plain"
    decimal: str = "."
    thousands: str = ""
    currency: str = ""
    order: str = ""
    """Of a date: iso, ymd, dmy or mdy."""
    quantity: Quantity = NUMBER
    example: str = ""
    error: CellError | None = None
    """Of text: the first cell that is no number, date or boolean."""

    @property
    def note(self) -> str:
        """Which cell was read as what; empty where that is plain."""
        if self.kind in ("plain", "text", "code") or self.order == "iso":
            return ""
        number = float(self.quantity.to_numbers(self.read([self.example]))[0])
        said = format_number(number) if self.quantity == NUMBER else self.quantity.format(number)
        return f"read {self.example} as {said}"

    def read(self, cells: Sequence[str | None], missing: Collection[str] = ()) -> NDArray[Any]:
        """Numbers or datetime64 (N,) of the cells, and for what is missing or None NaN or NaT; of text the text, and of
        codes too, without the point that libraries write beside missing ones: 75001 of 75001.0.

        Raises CellError.
        """
        given = [None if cell is None or cell.strip() in missing else cell.strip() for cell in cells]
        if self.kind == "text":
            return np.array(given, object)
        if self.kind == "code":
            return np.array([cell and _POINT.sub("", cell) for cell in given] + [None], object)[:-1]
        if self.kind == "date":
            return self._dates(given)
        if self.kind == "clock":
            return self.quantity.to_data(self._numbers(given, parse_clock))
        plain, boolean = _plain_number, lambda cell: _BOOLEANS[cell.lower()]
        return self._numbers(given, {"plain": plain, "boolean": boolean, "marked": self._marked}[self.kind])

    def _numbers(self, cells: list[str | None], read: Callable[[str], float]) -> NDArray[Any]:
        out = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            if cell is not None:
                try:
                    out[row] = read(cell)
                except (ValueError, KeyError, OverflowError):
                    raise CellError(row, cell) from None
        return out

    def _marked(self, cell: str) -> float:
        other = "," if self.decimal == "." else "."
        if other not in cell:
            with suppress(ValueError):  # most cells have no marks
                return _plain_number(cell.replace(self.decimal, ".", 1))
        found = _matched(_number_pattern(self.decimal, self.thousands, self.currency), cell)
        if found is None:
            raise ValueError
        debit, signs, whole, part, power, share = found.groups()
        if sum(map(signs.count, "+-−")) > 1:
            raise ValueError
        whole = "".join(filter(str.isdigit, whole))
        number = float(f"{whole or 0 if part else whole}.{part or ''}{power or ''}")
        return (-number if debit or "-" in signs or "−" in signs else number) / (100 if share else 1)

    def _dates(self, cells: list[str | None]) -> NDArray[Any]:
        kind = f"M8[{self.quantity.resolution}]"
        if self.order == "iso" and self.quantity.zone is None:
            try:
                return np.array([cell or "NaT" for cell in cells], kind)
            except ValueError:  # which names no row
                pass
        out = np.full(len(cells), "NaT", kind)
        for row, cell in enumerate(cells):
            if cell is not None:
                try:
                    out[row] = _moment(cell, self.order, self.quantity.zone is not None)
                except (ValueError, OverflowError):
                    raise CellError(row, cell, "is not a date like those above it") from None
        return out


@cache
def _number_pattern(decimal: str, thousands: str, currency: str) -> re.Pattern[str]:
    groups = f"\\d{{1,3}}(?:[{re.escape(thousands)}]\\d{{3}})+|" if thousands else ""
    sign, money = r"[-+−]?\s*", f"(?:{re.escape(currency)})?"
    return re.compile(
        rf"(?P<debit>\()?(?P<sign>{sign}{money}\s*{sign})(?P<whole>{groups}\d*)(?:{re.escape(decimal)}(?P<part>\d*))?"
        rf"(?P<power>[eE][-+]?\d+)?\s*{money}\s*(?P<share>%)?(?(debit)\))"
    )


def is_value(cell: str) -> bool:
    """Whether a cell is a number in any style, a boolean, or a date: nothing that names a column."""
    cell = cell.strip()
    known = cell in MISSING or cell.lower() in _BOOLEANS or _is_plain(cell)
    return known or _is_clock(cell) or bool(_matched(_DECORATED, cell) or _matched(_DATE, cell))


def _matched(pattern: re.Pattern[str], cell: str) -> re.Match[str] | None:
    return pattern.fullmatch(cell) if len(cell) <= MOST_CELL else None


def find_style(cells: Iterable[str], missing: Collection[str] = MISSING, decimal_comma: bool = False) -> Style:
    """How a column is read of which these are some cells.

    ``decimal_comma``: what 1,234 is where nothing else in the column says it.
    """
    rows = [(row, cell.strip()) for row, cell in enumerate(cells)]
    rows = [(row, cell) for row, cell in rows if cell not in missing]
    given = [cell for _, cell in rows]
    if all(map(_is_plain, given)):
        return Style()
    if all(cell.lower() in _BOOLEANS for cell in given):
        return Style("boolean", example=given[0])
    if all(map(_is_clock, given)):
        return Style("clock", quantity=Quantity("duration", "s", "ns"), example=given[0])
    style = _date_style(given) or _marked_style(given, decimal_comma)
    if isinstance(style, Style):
        try:
            style.read(given)
            return style
        except CellError as error:
            wrong = error.row, error.why
    else:
        words = [i for i, cell in enumerate(given) if not is_value(cell)]
        wrong = (words[0], "is not a number") if words else (0, style or "and other cells are of several kinds")
    row, cell = rows[wrong[0]]
    return Style("text", example=cell, error=CellError(row, cell, wrong[1]))


def _plain_number(cell: str) -> float:
    if "_" in cell:  # which Python takes
        raise ValueError
    return float(cell)


def _is_plain(cell: str) -> bool:
    try:
        _plain_number(cell)
    except ValueError:
        return False
    return True


def _is_clock(cell: str) -> bool:
    if len(cell) > MOST_CELL:
        return False
    try:
        parse_clock(cell)
    except ValueError:
        return False
    return True


def _marked_style(cells: list[str], decimal_comma: bool) -> Style | str | None:
    """For numbers with marks that all cells agree on; None, or why not."""
    found = [_matched(_DECORATED, cell) for cell in cells]
    if not all(found):
        return None
    decimals, thousands, open_commas = set(), set(), False
    for body in (match["body"] for match in found if match):
        marks = [mark for mark in body if not mark.isdigit()]
        thousands |= {mark for mark in marks if mark not in ".,"}
        points = [mark for mark in marks if mark in ".,"]
        if not points:
            continue
        last = points[-1]
        if len(set(points)) == 2:
            decimals.add(last)
            thousands |= set(points) - {last}
        elif len(points) > 1:
            thousands.add(last)
        elif re.fullmatch(rf"[1-9]\d{{0,2}}\{last}\d{{3}}", body):
            open_commas |= last == ","
        else:
            decimals.add(last)
    if not decimals and "." in thousands:
        decimals = {","}
    if not decimals and open_commas and "," not in thousands:
        decimals, thousands = ({","}, thousands) if decimal_comma else ({"."}, thousands | {","})
    if open_commas and decimals == {"."}:
        thousands |= {","}
    money = {name for match in found if match for name in (match["before"], match["after"]) if name}
    if len(decimals) > 1 or decimals & thousands:
        return "and other cells disagree on which mark is the decimal one"
    if len(money) > 1:
        return f"and other cells are amounts in several currencies ({', '.join(sorted(money))})"
    decimal = next(iter(decimals), ".")
    if decimal == "," and any("." in cell for cell in cells):
        thousands |= {"."}
    shown = max(cells, key=lambda cell: len(set(re.sub(r"[\d]", "", cell))))
    return Style("marked", decimal, "".join(sorted(thousands)), next(iter(money), ""), example=shown)


def _date_style(cells: list[str]) -> Style | str | None:
    """For dates whose day and month can be told apart; None for no dates, or why not."""
    found = [_matched(_DATE, cell) for cell in cells]
    if not all(found):
        return None
    matches = [match for match in found if match]
    zones, times = {bool(match["zone"]) for match in matches}, any(match["h"] for match in matches)
    quantity = Quantity("datetime", *(("s", "us") if times else ("D", "D")), "UTC" if zones == {True} else None)
    if len(zones) > 1:
        return "and other cells: only some have a time zone"
    if all(_ISO.match(cell) for cell in cells):
        return Style("date", order="iso", quantity=quantity, example=cells[0])
    first, last = (max(int(match[name]) for match in matches) for name in "ab")
    if all(len(match["a"]) == 4 for match in matches):
        order = "ymd"
    elif not all(len(match["c"]) == 4 for match in matches):
        return None
    elif all(match["mark"] == "." for match in matches) or first > 12:
        order = "dmy"
    elif last > 12:
        order = "mdy"
    else:
        return "may have the day first or the month: write dates as 2024-12-31"
    shown = max(cells, key=lambda cell: max(int(part) for part in re.findall(r"\d+", cell)[:2] if len(part) < 3))
    return Style("date", order=order, quantity=quantity, example=shown)


@lru_cache(1 << 14)
def _moment(cell: str, order: str, zoned: bool) -> datetime:
    """A date; with a zone in UTC. Raises ValueError."""
    found = _matched(_DATE, cell)
    if found is None or bool(found["zone"]) != zoned:
        raise ValueError
    parts = dict(zip("ymd" if order == "iso" else order, (int(found[name]) for name in "abc"), strict=True))
    hour = int(found["h"] or 0)
    if half := (found["half"] or "").strip().lower():
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + 12 * (half == "pm")
    seconds = float(found["s"] or 0)
    moment = datetime(
        parts["y"],
        parts["m"],
        parts["d"],
        hour,
        int(found["m"] or 0),
        int(seconds),
        min(999_999, round(seconds % 1 * 1e6)),
    )
    zone = (found["zone"] or "").strip()
    if zone in ("", "Z", "UTC"):
        return moment
    offset = datetime.fromisoformat(f"2000-01-01T00:00{zone[:3]}:{zone[-2:]}").utcoffset()
    assert offset is not None
    return (moment.replace(tzinfo=UTC) - offset).replace(tzinfo=None)
