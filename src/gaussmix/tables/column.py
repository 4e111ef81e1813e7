"""One column of a table: what was counted of it, and the density or the frequencies that are made of that.

What a column holds is said by its values, not by the type that a library gave them: whole numbers are integers, though
missing ones among them made floats of them; dates that are midnights all are days; words that are all true and false,
or yes and no, are booleans. So a table has one model, in whatever it is kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.binning import MAX_BINS, SAMPLE, choose_axis, take_sample
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import DAYS, NUMBER, ColumnKind, Quantity
from gaussmix.density.report import FitReport, FittedDensity, make_report
from gaussmix.tables.counting import DAY, ColumnCounts, GroupKey, TableCounts
from gaussmix.tables.values import ValueCounts, keys_of, values_of

Kind = Literal["number", "integer", "date", "duration", "boolean", "category"]

_TRUE, _FALSE = {"true", "yes"}, {"false", "no"}
_LIKELY_ATOM = 2 / SAMPLE  # share of the points that one value must hold to be looked at as a point mass


class ColumnDensity:
    """What was learnt of one column, of all rows or of a group's; `TableDensity` makes them.

    Parameters
    ----------
    name : str
        Of the column.
    cells : ColumnCounts
        What was counted.
    n_rows : float
        Number of rows, or their weight.
    rule : {"auto", "fast"}
        How the density is made.
    group : int
        Number of the group.

    Attributes
    ----------
    name : str
    kind : {"number", "integer", "date", "duration", "boolean", "category"}
        By the values: "integer" where all are whole, "date" and "duration" whatever their resolution.
    quantity : Quantity
        Unit and time zone of numbers: dates in "D" (days since 1970) where all are midnights, else "s".
    n_rows : float
        Number of rows, or their weight, missing ones among them.
    missing : float
        Of them missing.
    counts : BinnedCounts or None
        Of numbers, in the units of ``quantity``; None of categories, and where there is no number.
    density : GaussianMixture1D or None
        Fitted to the counts when it is first asked for; with probabilities of values of integers
        (`LatticeMixture1D`).
    report : FitReport or None
        How far the density is from what was counted.
    frequencies : dict of str to float, or None
        Number, or weight, of each category, the most frequent first; of a boolean "true" and "false". At most 10 000 of
        them (1000 in a group).
    words : dict of str to str
        How "true" and "false" of a boolean are mostly written in the table.
    other : float
        Number, or weight, of the rows with rarer categories than these.
    """

    def __init__(self, name: str, cells: ColumnCounts, n_rows: float, rule: Any = "auto", group: int = 0):
        self.name, self.n_rows, self.missing, self._rule = name, float(n_rows), float(cells.missing[group]), rule
        self.frequencies: dict[str, float] | None = None
        self.words: dict[str, str] = {}
        self.other = 0.0
        self._cells = cells.values.group(group) if cells.values is not None else None
        self.quantity, self.kind = NUMBER, "number"
        if cells.levels is not None:
            found, self.other = cells.levels.group(group)
            self.kind, self.frequencies, self.words = _categories(found, self.other)
        elif cells.values is not None and cells.quantity is not None:
            whole = bool(cells.values.whole.all())
            self.kind, self.quantity = _described(cells.quantity, whole)
            self.step = 0.0 if not whole or self.quantity.zone else DAY if self.kind == "duration" else 1.0

    kind: Kind
    step = 0.0  # in the units of ``quantity``: what all values are multiples of

    @property
    def share_missing(self) -> float:
        """Share of the rows, or of their weight."""
        return self.missing / self.n_rows if self.n_rows > 0 else 0.0

    @cached_property
    def counts(self) -> BinnedCounts | None:
        """Of numbers, in the units of ``quantity``."""
        if self._cells is None or len(self._cells.values) == 0:
            return None
        try:
            return bin_values(self._cells, DAY if self.quantity.unit == "D" else 1.0)
        except ValueError as error:
            raise ValueError(f"column {self.name!r}: {error}") from None

    @cached_property
    def _fit(self) -> FittedDensity | None:
        counts = self.counts
        if counts is None or self._cells is None:
            return None
        from gaussmix.density.fit import fit_counts  # SciPy's linear algebra: a model from a file does without

        fit = fit_counts(counts, self._rule)
        if self.kind == "integer":
            from gaussmix.density.probabilities import with_probabilities

            look = counts.axis.scale is None and counts.axis.width > 1 and int(self._cells.levels[0]) == 0
            kind = ColumnKind.of(self._cells.values, True, look)
            fit = with_probabilities(counts, fit, kind, asked=False, bounds=(None, None))
        return fit

    def set_fit(self, density: GaussianMixture1D, report: FitReport) -> None:
        """Take what was fitted to the same counts before.

        Parameters
        ----------
        density : GaussianMixture1D
            The density.
        report : FitReport
            And its report.
        """
        self.density, self.report = density, report

    @cached_property
    def density(self) -> GaussianMixture1D | None:
        """Fitted to the counts when it is first asked for."""
        return None if self._fit is None else self._fit.distribution

    @cached_property
    def report(self) -> FitReport | None:
        """How far the density is from what was counted."""
        if self._fit is None or self.counts is None:
            return None
        return dataclasses.replace(make_report(self._rule, self.counts, self._fit), quantity=self.quantity)

    @property
    def size(self) -> float:
        """Number of values that are not missing; of weights Kish's, (sum w)^2 / sum w^2."""
        if self._cells is None:
            return self.n_rows - self.missing
        total = float(np.sum(self._cells.sums.number if self._cells.sums.mass is None else self._cells.sums.mass))
        return total**2 / float(self._cells.squares[0]) if total > 0 else 0.0

    def quantiles(self, q: ArrayLike) -> NDArray[Any]:
        """Return quantiles as the data came: datetime64 of dates, timedelta64 of durations.

        Parameters
        ----------
        q : array-like
            Probabilities, of any shape.

        Returns
        -------
        ndarray
            In the shape of q.

        Raises
        ------
        ValueError
            The column holds no numbers, dates or durations.
        """
        if self.density is None:
            raise ValueError(f"column {self.name!r} has no quantiles: it holds no numbers, dates or durations")
        return self.quantity.to_data(self.numbers_at(q))

    def numbers_at(self, q: ArrayLike) -> FloatArray:
        """Return quantiles in the units of ``quantity``; at 0 and 1 the least and the largest number that was counted.

        Parameters
        ----------
        q : array-like
            Probabilities, of any shape.
        """
        assert self.density is not None
        assert self.counts is not None
        q = np.asarray(q, np.float64)
        low, high = self.counts.minimum, self.counts.maximum
        return np.where(q == 0, low, np.where(q == 1, high, self.density.ppf(q)))

    def to_data(self, x: FloatArray, gone: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Return numbers as the column has them: whole, or as dates.

        Parameters
        ----------
        x : ndarray of shape (N,)
            Numbers in the units of ``quantity``.
        gone : ndarray of shape (N,), optional
            Which are missing.
        """
        x = np.rint(x) if self.kind == "integer" else x
        x = x if gone is None or not gone.any() else np.where(gone, np.nan, x)
        if self.kind == "integer" and np.isfinite(x).all() and np.abs(x).max(initial=0) < 2.0**63:
            return x.astype(np.int64)
        return self.quantity.to_data(x)

    def __repr__(self) -> str:
        return f"ColumnDensity({self.name!r}, {self.kind}, {self.n_rows:.15g} rows, {self.missing:.15g} missing)"


class GroupColumns(Mapping[GroupKey, dict[str, ColumnDensity]]):
    """The columns of each group, made when they are asked for."""

    def __init__(self, counts: TableCounts, rule: str):
        self._counts, self._rule = counts, rule

    def __getitem__(self, key: GroupKey) -> dict[str, ColumnDensity]:
        counts, g = self._counts, self._counts.keys[key]
        rows = float(counts.group_rows[g])
        return {name: ColumnDensity(name, each, rows, self._rule, g) for name, each in counts.groups.items()}

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self._counts.keys)

    def __len__(self) -> int:
        return len(self._counts.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._counts.keys


def numbers_in(column: ColumnDensity) -> ValueCounts | None:
    """What was counted of numbers, if any."""
    cells = column._cells
    return None if cells is None or len(cells.values) == 0 else cells


def kind_of(column: ColumnDensity | None) -> str | None:
    """That of its values; "empty" where all are missing."""
    if column is None:
        return None
    return column.kind if column.frequencies or numbers_in(column) is not None else "empty"


def rows_of(columns: Mapping[str, ColumnDensity]) -> float:
    """Rows of a table or a group, or their weight."""
    return next(iter(columns.values())).n_rows


def _categories(found: dict[str, float], other: float) -> tuple[Kind, dict[str, float], dict[str, str]]:
    """Booleans, where all words say so."""
    if (
        not other
        and found
        and len(found) <= len(_TRUE | _FALSE) * 3
        and all(w.lower() in _TRUE | _FALSE for w in found)
    ):
        said = {"true": 0.0, "false": 0.0}
        for word, weight in found.items():
            said["true" if word.lower() in _TRUE else "false"] += weight
        words = {"true" if word.lower() in _TRUE else "false": word for word in reversed(found)}
        said = {name: weight for name, weight in sorted(said.items(), key=lambda item: -item[1]) if weight}
        return "boolean", said, words
    return "category", found, {}


def _described(quantity: Quantity, whole: bool) -> tuple[Kind, Quantity]:
    """Kind and quantity by what the values are; resolutions are those that float64 can tell apart."""
    if quantity.kind == "number":
        return "integer" if whole else "number", NUMBER
    if quantity.kind == "duration":
        return "duration", Quantity("duration", "s", "ns")
    return "date", DAYS if whole and quantity.zone is None else Quantity("datetime", "s", "us", quantity.zone)


def bin_values(cells: ValueCounts, unit: float = 1.0) -> BinnedCounts:
    """Counts of one group's values, divided by ``unit``, on bins that are laid for them.

    Values that are kept as they are go to their bins. Of a cell, its kept value does where it may be a point mass, and
    the others are spread evenly over the cell: each bin has what is under its upper edge and not under its lower, to
    the next whole number.
    """
    least, most = cells.extremes[:, 0] / unit
    sums = cells.sums
    exact = int(cells.levels[0]) == 0
    values, number = cells.values / unit, sums.number
    if exact:
        own, spread = np.ones(len(values), bool), None
        sample = take_sample(values, number)
    else:
        total = float(number.sum())
        own = sums.number_at >= max(2.0, _LIKELY_ATOM * total)
        number = sums.number_at
        level = int(cells.levels[0])
        cell = keys_of(cells.values) >> level
        ends = np.stack([values_of(cell << level), values_of((cell + 1) << level)], 1) / unit
        spread = _Spread(np.clip(ends, least, most), sums.number - np.where(own, sums.number_at, 0))
        rest = round(SAMPLE * spread.total / total)
        repeats = np.rint(SAMPLE * number[own] / total).astype(int)
        sample = np.sort(
            np.concatenate([np.repeat(values[own], repeats), spread.quantiles((np.arange(rest) + 0.5) / max(rest, 1))])
        )
    axis, atoms, tied = choose_axis(sample, float(least), float(most))
    counts = BinnedCounts(axis, atoms=atoms, tied=tied, max_bins=MAX_BINS)
    whole = _filled(counts, values[own], number[own], spread)
    if sums.mass is None or sums.mass_at is None:
        return BinnedCounts.from_tensors(whole | {"extremes": np.array([least, most])})
    mass = sums.mass if exact else sums.mass_at
    if spread is not None:
        spread = _Spread(spread.ends, sums.mass - np.where(own, sums.mass_at, 0.0))
    weighed = _filled(counts, values[own], mass[own], spread)
    tensors = {"importance_table": whole["table"], "importance_atom_table": whole["atom_table"]}
    tensors |= {name: weighed[name] for name in ("importance_mass", "importance_atom_mass")}
    tensors |= {"importance_squares": cells.squares.copy(), "extremes": np.array([least, most])}
    tensors |= {name: np.zeros_like(whole[name]) for name in ("table", "atom_table")}
    return BinnedCounts.from_tensors({"settings": whole["settings"], "atoms": whole["atoms"], **tensors})


class _Spread:
    """Amounts (C,), numbers or weights, each spread evenly over its cell: ``ends`` (C, 2), in order."""

    def __init__(self, ends: FloatArray, amounts: NDArray[Any]):
        self.ends, self.whole = ends, amounts.dtype.kind == "i"
        below = np.append(0, np.cumsum(amounts))
        self.places, self.below = ends.reshape(-1), np.stack([below[:-1], below[1:]], 1).reshape(-1).astype(np.float64)
        self.total = float(self.below[-1])

    def quantiles(self, q: FloatArray) -> FloatArray:
        return np.interp(q * self.total, self.below, self.places)

    def in_bins(self, edges: FloatArray) -> tuple[float, NDArray[Any], float]:
        """Under the edges (K + 1,), between them (K,), and over them."""
        below = np.interp(edges, self.places, self.below, 0.0, self.total)
        if self.whole:
            below = np.rint(below).astype(np.int64)
        total = int(self.total) if self.whole else self.total
        return below[0], np.diff(below), total - below[-1]


def _filled(empty: BinnedCounts, values: FloatArray, amounts: NDArray[Any], spread: _Spread | None) -> dict[str, Any]:
    """The tensors of counts with the values and what is spread."""
    counts = empty.empty_like().add(values, amounts)
    if spread is not None:
        under, inside, over = spread.in_bins(counts.axis.edges)
        some = np.flatnonzero(inside > 0)
        ends = np.array([-math.inf, math.inf])
        sides = np.array([under, over], inside.dtype)
        counts.add(np.concatenate([counts.axis.centers[some], ends]), np.concatenate([inside[some], sides]))
    return counts.to_tensors()
