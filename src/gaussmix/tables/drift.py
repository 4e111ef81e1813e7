"""Whether a table's columns still look as they did: `compare_tables`, and the records of what it finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaussmix._guard import counted
from gaussmix.density.quantity import NUMBER, Quantity
from gaussmix.tables.chance import (
    Chance,
    Move,
    compare_categories,
    compare_numbers,
    count_tests,
    deviations_of,
    effective_share,
    ratio,
)
from gaussmix.tables.column import ColumnDensity, kind_of, numbers_in, rows_of
from gaussmix.tables.estimator import TableDensity
from gaussmix.tables.notebook import comparison_html
from gaussmix.tables.report import page, text

ALPHA = 0.05
Pair = tuple[ColumnDensity | None, ColumnDensity | None]
Status = Literal["compared", "appeared", "vanished", "changed kind"]


@dataclass(frozen=True)
class ColumnDrift:
    """How far a column moved; floors are what chance stays below, in the whole table, with probability 1 - alpha.

    Parameters
    ----------
    name : str
        Of the column.
    status : {"compared", "appeared", "vanished", "changed kind"}
        Whether both tables have the column, and in it what can be compared.
    kinds : (str or None, str or None)
        Of the old and the new column; None of one that is not there.
    missing, missing_floor : (float, float), float
        Shares of the rows that are missing, 1 of a column that is not there; and the floor of their difference.
    wasserstein_1, wasserstein_1_floor : float
        In the unit of ``quantity``: days or seconds for dates and durations. NaN of categories.
    kolmogorov_smirnov, kolmogorov_smirnov_floor : float
        The largest difference of the shares of rows up to a value: with heavy tails it sees moves that W1 does not.
    spread : float
        Of the old column, in that unit: the larger of the distances between the quartiles / 1.349 and between the 5 and
        95 % quantiles / 3.290, both of them the standard deviation of a normal column; the standard deviation where
        both are 0.
    total_variation, total_variation_floor, jensen_shannon : float
        Between the shares of categories, or of at most `MOST_CELLS` cells of about equal probability; the divergence
        in nats. NaN where nothing can be compared.
    quantiles : tuple of Move
        Of numbers, in the unit of ``quantity``.
    categories : tuple of Move
        Shares; the largest changes first, at most `MOST_NAMED`.
    new_categories, vanished_categories : tuple of Move
        Those with rows in one table only, the largest first, at most `MOST_NAMED`.
    quantity : Quantity
        What numbers stand for.
    """

    name: str
    status: Status
    kinds: tuple[str | None, str | None]
    missing: tuple[float, float]
    missing_floor: float = 0.0
    wasserstein_1: float = math.nan
    wasserstein_1_floor: float = math.nan
    kolmogorov_smirnov: float = math.nan
    kolmogorov_smirnov_floor: float = math.nan
    spread: float = math.nan
    total_variation: float = math.nan
    total_variation_floor: float = math.nan
    jensen_shannon: float = math.nan
    quantiles: tuple[Move, ...] = ()
    categories: tuple[Move, ...] = ()
    new_categories: tuple[Move, ...] = ()
    vanished_categories: tuple[Move, ...] = ()
    quantity: Quantity = NUMBER

    @property
    def share_of_spread(self) -> float:
        """W1 divided by the spread; infinite of a constant that moved."""
        return ratio(self.wasserstein_1, self.spread)

    @property
    def share_of_spread_floor(self) -> float:
        """The floor of W1 divided by the spread; of a constant 0 if it moved beyond it."""
        if not self.spread and self.wasserstein_1 > self.wasserstein_1_floor:
            return 0.0
        return ratio(self.wasserstein_1_floor, self.spread)

    @property
    def measures(self) -> dict[str, tuple[float, float]]:
        """What was measured, each with its floor: W1 as a share of the spread, and differences of shares."""
        found = {
            "share_of_spread": (self.share_of_spread, self.share_of_spread_floor),
            "total_variation": (self.total_variation, self.total_variation_floor),
            "kolmogorov_smirnov": (self.kolmogorov_smirnov, self.kolmogorov_smirnov_floor),
            "missing": (abs(self.missing[1] - self.missing[0]), self.missing_floor),
        }
        if None in self.kinds:
            return {}
        return {name: each for name, each in found.items() if not math.isnan(each[0])}

    @property
    def beyond(self) -> tuple[str, ...]:
        """Names of the measures that are above their floor."""
        return tuple(name for name, (value, floor) in self.measures.items() if value > floor)

    @property
    def moved(self) -> bool:
        """Whether anything moved beyond chance, or the column is not in both tables as the same kind."""
        return self.status != "compared" or bool(self.beyond)

    @property
    def effect(self) -> float:
        """The largest measure above its floor; of a column that did not move minus the largest multiple of a floor."""
        if self.beyond:
            return max(self.measures[name][0] for name in self.beyond)
        return max((ratio(*each) for each in self.measures.values()), default=0.0) - 2.0

    def _above(self, limit: float) -> list[str]:
        """Names of the measures above a limit and their floor: of numbers W1, of categories the total variation."""
        if self.status != "compared":
            return [self.status]
        failing = {"missing", "total_variation" if math.isnan(self.wasserstein_1) else "share_of_spread"}
        return [name for name in self.beyond if name in failing and self.measures[name][0] > limit]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: dates as text, what is not finite left out or as text."""
        number = self.quantity.to_json
        floored = ("wasserstein_1", "share_of_spread", "total_variation", "kolmogorov_smirnov")
        names = ["spread", "jensen_shannon", *floored, *(f"{name}_floor" for name in floored)]
        measured = {name: value for name in names if not math.isnan(value := getattr(self, name))}
        facts: dict[str, Any] = {"name": self.name, "status": self.status, "kinds": list(self.kinds)}
        facts |= {"moved": self.moved, "beyond": list(self.beyond), "missing": list(self.missing)}
        facts |= {"missing_floor": self.missing_floor, "unit": self.quantity.unit}
        facts |= {name: value if math.isfinite(value) else str(value) for name, value in measured.items()}
        facts["quantiles"] = [[q, number(old), number(new), beyond] for q, old, new, beyond in self.quantiles]
        for name in ("categories", "new_categories", "vanished_categories"):
            facts[name] = [list(move) for move in getattr(self, name)]
        return {name: value for name, value in facts.items() if value not in ([], "")}


@dataclass(frozen=True)
class GroupDrift:
    """A group of both tables in which something moved.

    Parameters
    ----------
    key : tuple of str
        The group's values of ``by``.
    n_rows : (float, float)
        Rows, or their weight.
    moved : tuple of ColumnDrift
        The columns that did, the most first.
    """

    key: tuple[str, ...]
    n_rows: tuple[float, float]
    moved: tuple[ColumnDrift, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"key": self.key, "n_rows": self.n_rows, "moved": [column.to_dict() for column in self.moved]}


@dataclass(frozen=True)
class TableComparison:
    """How far the columns of two tables are apart; ``print`` gives a table, `to_html` a page.

    Parameters
    ----------
    columns : tuple of ColumnDrift
        Those that moved first, by `ColumnDrift.effect`.
    n_rows : (float, float)
        Rows, or their weight.
    names : (str, str)
        Of the tables.
    groups : tuple of GroupDrift
        Those of both tables in which a column moved beyond chance, by the first column's effect.
    n_groups : int
        How many groups were compared.
    new_groups, vanished_groups : tuple of (key, float)
        Groups of one table only and their rows, the largest first.
    by : tuple of str
        Columns that the groups were made by.
    alpha : float
        The probability that chance alone brings anything above its floor; with groups half of it is theirs.
    pairs : mapping of str to (ColumnDensity or None, ColumnDensity or None)
        The columns of both.
    """

    columns: tuple[ColumnDrift, ...]
    n_rows: tuple[float, float]
    names: tuple[str, str] = ("old", "new")
    groups: tuple[GroupDrift, ...] = ()
    n_groups: int = 0
    new_groups: tuple[tuple[tuple[str, ...], float], ...] = ()
    vanished_groups: tuple[tuple[tuple[str, ...], float], ...] = ()
    by: tuple[str, ...] = ()
    alpha: float = ALPHA
    pairs: Mapping[str, Pair] = field(default_factory=dict, repr=False)

    @property
    def summary(self) -> str:
        """What moved, in a sentence."""
        n_moved = sum(column.moved for column in self.columns)
        return f"{n_moved or 'none'} of {counted(len(self.columns), 'column')} moved beyond chance"

    def above(self, limit: float) -> list[str]:
        """Return sentences that say what is above a limit and its floor.

        Parameters
        ----------
        limit : float
            Of W1 as a share of its spread, of categories of the total variation, and of the change of missing shares.
        """
        found = [("", column) for column in self.columns]
        found += [(f" where {self.group_name(group.key)}", column) for group in self.groups for column in group.moved]
        return [
            f"{column.name}{where}: " + (f"{name} {column.measures[name][0]:.3g}" if name in column.measures else name)
            for where, column in found
            for name in column._above(limit)
        ]

    def group_name(self, key: tuple[str, ...]) -> str:
        """Return a group's ``key`` as text."""
        return ", ".join(f"{name}={each}" for name, each in zip(self.by, key, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        facts: dict[str, Any] = {"old": self.names[0], "new": self.names[1], "n_rows": list(self.n_rows)}
        facts |= {"alpha": self.alpha, "n_moved": sum(column.moved for column in self.columns)}
        facts["columns"] = [column.to_dict() for column in self.columns]
        if self.by:
            facts |= {
                "by": list(self.by),
                "n_groups": self.n_groups,
                "groups": [each.to_dict() for each in self.groups],
            }
            for name in ("new_groups", "vanished_groups"):
                facts[name] = [[list(key), rows] for key, rows in getattr(self, name)]
        return facts

    def to_html(self) -> str:
        """Return one page of HTML that needs no other file, for light and dark screens of any width."""
        return page(self)

    def __str__(self) -> str:
        return text(self)

    _repr_html_ = comparison_html


def compare_tables(
    old: Any,
    new: Any,
    *,
    by: str | Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    names: tuple[str, str] | None = None,
    alpha: float = ALPHA,
    **options: Any,
) -> TableComparison:
    """Say which columns of a table moved, how far, and whether chance alone could have done it.

    Parameters
    ----------
    old, new : TableDensity, data frame, or files
        Tables, as `TableDensity.fit` takes them, or what it learnt; a ``.gmx`` or ``.safetensors`` file is a model.
    by : str or sequence of str, optional
        Columns whose values make groups, each of which is compared as well; models must have been learnt by the same.
    ignore : sequence of str
        Columns to leave out, such as a date that moves by nature.
    names : (str, str), optional
        What the tables are called; "old" and "new" if not given.
    alpha : float
        The probability that any measure of a table that did not change is above its floor, at most. It supposes rows
        that do not depend on each other.
    **options
        Of `TableDensity`, for tables that are learnt here: ``weights``, ``categories``, ``missing``. Where the other
        table is a model, its parameters hold.

    Returns
    -------
    TableComparison
        Whose columns are sorted, those that moved first.

    Raises
    ------
    ValueError
        The tables have no column in common, ``by`` is not what a model was learnt by, or alpha is not in (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")
    keys, ignore = _names(by), _names(ignore)
    tables = _learnt(old, new, keys, options)
    if unknown := {*ignore} - {*tables[0].columns_, *tables[1].columns_}:
        raise ValueError(f"no column {min(unknown)!r} in either table: it cannot be left out")
    first, second = ({k: v for k, v in table.columns_.items() if k not in ignore} for table in tables)
    if not first.keys() & second.keys():
        raise ValueError(f"the tables have no column in common: {', '.join(first)} and {', '.join(second)}")
    share = alpha / 2 if keys else alpha
    sizes = (effective_share(tables[0].columns_.values()), effective_share(tables[1].columns_.values()))
    pairs = {name: (first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second])}
    z = deviations_of(share, sum(count_tests(*pair) for pair in pairs.values()))
    columns = [_compare(name, pair, sizes, z) for name, pair in pairs.items()]
    both = [name for name in first if name in second and name not in keys]
    found = _compare_groups(tables, both, sizes, share) if keys else {}
    return TableComparison(
        tuple(sorted(columns, key=_by_effect)),
        (float(tables[0].n_rows_), float(tables[1].n_rows_)),
        names or ("old", "new"),
        by=keys,
        alpha=alpha,
        pairs=pairs,
        **found,
    )


def _names(by: str | Sequence[str] | None) -> tuple[str, ...]:
    return (by,) if isinstance(by, str) else tuple(by or ())


def _learnt(old: Any, new: Any, by: tuple[str, ...], options: dict[str, Any]) -> tuple[TableDensity, TableDensity]:
    """Models of both tables. Raises ValueError for one that was learnt by other columns."""
    given = [TableDensity.load(each) if _is_model(each) else each for each in (old, new)]
    models = [each for each in given if isinstance(each, TableDensity)]
    for model in models if by else ():
        if _names(model.by) != by:
            known = ", ".join(_names(model.by)) or "no groups"
            raise ValueError(f"a model was learnt by {known}, not by {', '.join(by)}: fit it again")
    options = (models[0].get_params() if models else options) | {"by": list(by) or None}
    first, second = (each if isinstance(each, TableDensity) else TableDensity(**options).fit(each) for each in given)
    return first, second


def _is_model(table: Any) -> bool:
    return isinstance(table, str | Path) and Path(table).suffix in (".gmx", ".safetensors")


def _by_effect(column: ColumnDrift) -> tuple[bool, bool, float, str]:
    return column.status == "compared", not column.moved, -column.effect, column.name


def _compare(name: str, pair: Pair, sizes: tuple[float, float], z: float) -> ColumnDrift:
    """One column, whose floors are z standard deviations away."""
    old, new = pair
    kinds = (kind_of(old), kind_of(new))
    if old is None or new is None:
        missing = (1.0 if old is None else old.share_missing, 1.0 if new is None else new.share_missing)
        return ColumnDrift(name, "appeared" if old is None else "vanished", kinds, missing)
    missing = (old.share_missing, new.share_missing)
    chance = Chance(old.n_rows * sizes[0], new.n_rows * sizes[1], z)
    gone = chance.pooled(np.array(missing[0]), np.array(missing[1]))
    floor = chance.total_variation(np.array([gone, 1 - gone]))
    cells, frequencies = (numbers_in(old), numbers_in(new)), (old.frequencies, new.frequencies)
    facts: dict[str, Any] = {}
    status: Status = "compared"
    if cells[0] is not None and cells[1] is not None and old.quantity.fits(new.quantity):
        facts = compare_numbers(old, new, z)
    elif frequencies[0] and frequencies[1]:
        known = [(each.n_rows - each.missing) * size for each, size in zip((old, new), sizes, strict=True)]
        facts = compare_categories(old, new, Chance(known[0], known[1], z))
    elif "empty" not in kinds:
        status = "changed kind"
    return ColumnDrift(name, status, kinds, missing, floor, **facts)


def _compare_groups(
    tables: tuple[TableDensity, TableDensity], names: list[str], sizes: tuple[float, float], alpha: float
) -> dict[str, Any]:
    """The groups of two tables, with one alpha."""
    keys = [{_names(key): key for key in table.groups_} for table in tables]
    both = [key for key in keys[0] if key in keys[1]]
    n_tests = sum(count_tests(*(table.columns_[name] for table in tables)) for name in names)
    z, groups = deviations_of(alpha, n_tests * len(both)), []
    for key in both:
        old, new = (table.groups_[known[key]] for table, known in zip(tables, keys, strict=True))
        found = [_compare(name, (old[name], new[name]), sizes, z) for name in names]
        if moved := sorted((column for column in found if column.moved), key=_by_effect):
            groups.append(GroupDrift(key, (rows_of(old), rows_of(new)), tuple(moved)))
    alone: list[tuple[Any, ...]] = []
    for k in (1, 0):
        rows = [(key, rows_of(tables[k].groups_[known])) for key, known in keys[k].items() if key not in keys[1 - k]]
        alone.append(tuple(sorted(rows, key=lambda each: (-each[1], each[0]))))
    groups.sort(key=lambda group: _by_effect(group.moved[0]))
    facts: dict[str, Any] = {"new_groups": alone[0], "vanished_groups": alone[1]}
    return facts | {"groups": tuple(groups), "n_groups": len(both)}
