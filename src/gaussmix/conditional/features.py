"""Columns of a table as numbers that trees and kernels take: categories, dates and missing values among them.

A category is a column for each of its levels where it has few, else the mean of y over the rows of its level, shrunk
towards the overall mean (Micci-Barreca 2001); rows of the data get means of the other folds. Levels that were never
seen are missing. Numbers may be missing; constant columns are left out.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.conditional.folds import Fold
from gaussmix.density.columns import as_level, is_missing, series_values

MOST_HOT = 12  # levels that have a column each
_FAR = 100.0  # ranges from zero, from which on a column is moved there
_SINGLE = 1e15  # larger columns, and smaller than its inverse, are scaled: single precision holds the squares of others
_LARGEST = float(np.finfo(np.float32).max)
_SHRUNK = 10.0  # rows of the overall mean that a level's mean starts with


@dataclass(frozen=True)
class Levels:
    """What a column of categories becomes; ``means`` of y for each level, none where each has a column."""

    levels: tuple[str, ...]
    means: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many features there are."""
        return 1 if self.means or len(self.levels) == 2 else len(self.levels)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """What `asdict` gave. Raises ValueError for anything else."""
        levels, means = tuple(facts["levels"]), tuple(float(mean) for mean in facts["means"])
        if not all(isinstance(level, str) for level in levels) or len(means) not in (0, len(levels)):
            raise ValueError("its levels of a category do not fit their means")
        if not np.isfinite(means).all():
            raise ValueError("its means of a category's levels are not finite")
        return cls(levels, means)


@dataclass(frozen=True)
class TableFeatures:
    """How columns become numbers: ``columns`` has a `Levels` for categories, else None; ``kept`` of those made."""

    names: tuple[str, ...]
    columns: tuple[Levels | None, ...]
    kept: tuple[int, ...]
    shift: tuple[float, ...] = ()  # of the kept, taken off: trees see single precision
    scale: tuple[float, ...] = ()  # of what is left, a power of two: 1 but where single precision would not hold it

    @classmethod
    def learn(
        cls,
        table: Sequence[NDArray[Any]],
        names: Sequence[str],
        y: FloatArray,
        weight: FloatArray,
        folds: Sequence[Fold],
    ) -> tuple[Self, FloatArray]:
        """From columns, each numbers (N,) or objects; and the features (N, D) of their rows."""
        columns: list[Levels | None] = []
        made: list[FloatArray] = []
        for values in table:
            if values.dtype != object:
                columns.append(None)
                made.append(values[:, None])
                continue
            found = tuple(sorted({level for level in values.tolist() if level is not None}))
            if len(found) <= MOST_HOT:
                columns.append(Levels(found))
                made.append(_hot(values, found))
                continue
            everything = _level_means(values, found, y, weight)
            columns.append(Levels(found, everything))
            unseen = np.empty(len(y))
            for fold in folds:
                means = _level_means(values[fold.train], found, y[fold.train], weight[fold.train])
                unseen[fold.test] = _looked_up(values[fold.test], found, means)
            made.append(unseen[:, None])
        X = np.hstack(made) if made else np.empty((len(y), 0))
        low, high = np.fmin.reduce(X, 0, initial=np.inf), np.fmax.reduce(X, 0, initial=-np.inf)
        kept = np.flatnonzero((low < high) | (np.isnan(X).any(0) & (low <= high)))
        if len(kept) == 0:  # nothing tells rows apart: one column that does not either
            return cls(tuple(names), tuple(columns), ()), np.zeros((len(y), 1))
        center = np.nan_to_num(low[kept] / 2 + high[kept] / 2)
        half = np.nan_to_num(high[kept] / 2 - low[kept] / 2)
        shift = np.where(np.abs(center) / _FAR > 2 * half, center, 0.0)
        size = np.where(shift == 0, np.fmax(high[kept], -low[kept]), half)
        odd = (size > _SINGLE) | (size < 1 / _SINGLE)
        scale = np.where(odd, np.ldexp(1.0, np.clip(-np.frexp(size)[1], -1022, 1022)), 1.0)
        found = cls(tuple(names), tuple(columns), *(tuple(each.tolist()) for each in (kept, shift, scale)))
        return found, found._moved(X[:, kept])

    def transform(self, table: Sequence[NDArray[Any]]) -> FloatArray:
        """TableFeatures (N, D) of new rows."""
        n = len(table[0]) if table else 0
        if not self.kept:
            return np.zeros((n, 1))
        made = []
        for values, levels, name in zip(map(_plain, table, self.columns), self.columns, self.names, strict=True):
            if (values.dtype == object) != (levels is not None):
                was, now = ("categories", "numbers") if levels is not None else ("numbers", "categories")
                raise ValueError(f"{name} held {was} when the model was fitted, and now {now}")
            if levels is None:
                made.append(values[:, None])
            elif levels.means:
                made.append(_looked_up(values, levels.levels, levels.means)[:, None])
            else:
                made.append(_hot(values, levels.levels))
        return self._moved(np.hstack(made)[:, list(self.kept)])

    def _moved(self, X: FloatArray) -> FloatArray:
        """Kept columns (N, D), changed in place: as single precision tells their values apart; at most its limit."""
        X = np.ascontiguousarray(X)
        with np.errstate(over="ignore"):
            X -= self.shift
            X *= self.scale
        return np.clip(X, -_LARGEST, _LARGEST, out=X)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """What `to_dict` gave. Raises ValueError for anything else."""
        names, kept = facts["names"], facts["kept"]
        columns = tuple(None if each is None else Levels.from_dict(each) for each in facts["columns"])
        if len(names) != len(columns) or not all(isinstance(name, str) for name in names):
            raise ValueError("its names of columns do not fit its columns")
        width = sum(1 if each is None else each.width for each in columns)
        if not all(type(k) is int and 0 <= k < width for k in kept) or kept != sorted(set(kept)):
            raise ValueError(f"it keeps some of {width} features that there are not")
        shift, scale = facts["shift"], facts.get("scale", [1.0] * len(kept))  # older files scale none
        for moves in (shift, scale):
            if len(moves) != len(kept) or not all(isinstance(each, float) and math.isfinite(each) for each in moves):
                raise ValueError("it moves features that there are not, or to nowhere")
        if not all(each > 0 for each in scale):
            raise ValueError("it scales features by nothing")
        return cls(tuple(names), columns, tuple(kept), tuple(shift), tuple(scale))


def _plain(values: NDArray[Any], levels: Levels | None) -> NDArray[Any]:
    """A column of missing values alone as numbers or categories, whichever is known."""
    if values.dtype == object and levels is None and all(value is None for value in values):
        return np.full(len(values), np.nan)
    if values.dtype != object and levels is not None and np.isnan(values).all():
        return np.full(len(values), None, object)
    return values


def _hot(values: NDArray[Any], levels: Sequence[str]) -> FloatArray:
    """A column a level; a missing value has none. Of two levels the second's column says all, NaN for neither."""
    hot = np.array([[value == level for level in levels] for value in values.tolist()], np.float64)
    hot = hot.reshape(len(values), len(levels))
    return np.where(hot.any(1, keepdims=True), hot[:, 1:], np.nan) if len(levels) == 2 else hot


def _level_means(values: NDArray[Any], levels: Sequence[str], y: FloatArray, weight: FloatArray) -> tuple[float, ...]:
    """The mean of y over each level's rows and some rows of the overall mean."""
    number = {level: k for k, level in enumerate(levels)}
    of_row = np.array([number.get(value, -1) for value in values.tolist()])
    known = of_row >= 0
    mass = np.bincount(of_row[known], weight[known], len(levels))
    total = np.bincount(of_row[known], weight[known] * y[known], len(levels))
    overall = float(np.average(y, weights=weight))
    return tuple(((total + _SHRUNK * overall) / (mass + _SHRUNK)).tolist())


def _looked_up(values: NDArray[Any], levels: Sequence[str], means: Sequence[float]) -> FloatArray:
    """Each row's level's mean, NaN for missing and unseen ones."""
    of_level = dict(zip(levels, means, strict=True))
    return np.array([of_level.get(value, np.nan) for value in values.tolist()], np.float64)


def read_table(X: Any, categorical: Sequence[str | int]) -> tuple[list[NDArray[Any]], list[str]]:
    """Columns of a data frame of any library that narwhals takes, or arrays by name: numbers as float64 (dates as
    seconds since 1970, durations as seconds), everything else, and the columns named in ``categorical``, as objects:
    strings or None.
    """
    import narwhals.stable.v2 as nw

    frame = X if isinstance(X, Mapping) else nw.from_native(X)
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    names = list(frame if isinstance(frame, Mapping) else frame.columns)
    chosen = {names[each] if isinstance(each, int) else each for each in categorical}
    if not chosen <= set(names):
        raise ValueError(f"categorical_features names {sorted(chosen - set(names))}; columns are {names}")
    columns = list(frame.values()) if isinstance(frame, Mapping) else [frame[:, j] for j in range(len(names))]
    read = _read_array if isinstance(frame, Mapping) else _read_series
    found = [read(each, name in chosen, name) for each, name in zip(columns, names, strict=True)]
    return found, [str(name) for name in names]


def _read_array(values: Any, categorical: bool, name: Any) -> NDArray[Any]:
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"column {name} has shape {values.shape}; it must be (N,)")
    if not categorical and values.dtype.kind in "Mm":
        moments = values.astype(f"{values.dtype.kind}8[us]")
        return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)
    if not categorical and values.dtype.kind in "fiub":
        return _checked(values.astype(np.float64), name)
    out = np.empty(len(values), dtype=object)
    out[:] = [as_level(value) for value in values.tolist()]
    return out


def _read_series(series: Any, categorical: bool, name: Any) -> NDArray[Any]:
    import narwhals.stable.v2 as nw

    kind, values = series.dtype, series.to_list()
    known = [value for value in values if not is_missing(value)]
    numbers = kind == nw.Object and known and all(isinstance(v, int | float | np.number) for v in known)
    dates = kind == nw.Object and known and all(isinstance(v, datetime.date) for v in known)
    if not categorical and (numbers or dates or kind.is_numeric() or kind.is_temporal() or kind == nw.Boolean):
        return _read_array(series_values(series)[0], False, name)
    out = np.empty(len(values), dtype=object)
    out[:] = [as_level(value) for value in values]
    return out


def _checked(values: FloatArray, name: Any) -> FloatArray:
    if np.isinf(values).any():
        raise ValueError(f"column {name} holds infinity; leave such rows out, or clip them")
    return values
