"""What is counted of a table: of each column, of all rows and of each group's; how it merges, and how it is kept.

The counts of a table are a few arrays, those of its columns one after the other: a file, or a string of bytes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import Tensors
from gaussmix._typing import FloatArray
from gaussmix.density.counts import check_weights
from gaussmix.density.quantity import Quantity
from gaussmix.density.stored import check_quantity
from gaussmix.tables.reading import Batch, ColumnCells
from gaussmix.tables.rows import RowSample
from gaussmix.tables.values import LevelCounts, ValueCounts, check_amounts

DAY = 86_400.0
MOST_LEVELS, MOST_GROUP_LEVELS = 10_000, 1_000
NO_GROUP = "(missing)"
_QUOTED = re.compile(r"^'*\(missing\)'*$")  # which the key of a group puts in quotes: it is not missing

GroupKey = str | tuple[str, ...]


class ColumnCounts:
    """What is counted of a column in each of ``n_groups`` groups: `ValueCounts` or `LevelCounts`, once there are any.

    ``missing`` (G,) is the weight of what is missing; ``quantity`` what numbers stand for: dates and durations come in
    seconds.
    """

    def __init__(self, most: int, most_levels: int, n_groups: int = 1):
        self.most, self.most_levels, self.missing = most, most_levels, np.zeros(n_groups)
        self.quantity: Quantity | None = None
        self.values: ValueCounts | None = None
        self.levels: LevelCounts | None = None

    def grow(self, n_groups: int) -> None:
        """Make room for more groups."""
        self.missing = np.append(self.missing, np.zeros(max(n_groups - len(self.missing), 0)))
        for part in (self.values, self.levels):
            if part is not None:
                part.grow(n_groups)

    @property
    def unit(self) -> float:
        """What values are multiples of that are called whole: of dates and durations days."""
        return 1.0 if self.quantity is None or self.quantity.kind == "number" else DAY

    def add_numbers(self, x: FloatArray, quantity: Quantity, groups: Any = None, weights: Any = None) -> None:
        """Count numbers (N,); those that are not finite are missing."""
        finite = np.isfinite(x)
        if not finite.all():
            self._miss(~finite, groups, weights)
            x, groups, weights = x[finite], *(None if each is None else each[finite] for each in (groups, weights))
        if len(x) == 0:
            return
        if self.levels is not None:
            raise ValueError(f"holds {quantity}; in earlier rows it held text")
        if self.quantity is not None and not self.quantity.fits(quantity):
            raise ValueError(f"holds {quantity}; in earlier rows it held {self.quantity}")
        if self.values is None:
            self.quantity = quantity
            self.values = ValueCounts(self.most, len(self.missing), self.unit)
        self.values.add(x, groups, weights)

    def add_levels(self, names: list[str], codes: NDArray[Any], groups: Any = None, weights: Any = None) -> None:
        """Count categories ``names[codes]`` (N,); codes below 0 are missing."""
        known = codes >= 0
        if not known.all():
            self._miss(~known, groups, weights)
            codes, groups, weights = (
                codes[known],
                *(None if each is None else each[known] for each in (groups, weights)),
            )
        if len(codes) == 0:
            return
        if self.values is not None:
            raise ValueError(f"holds text, such as {names[int(codes[0])]!r}; in earlier rows it held {self.quantity}")
        if self.levels is None:
            self.levels = LevelCounts(self.most_levels, len(self.missing))
        self.levels.add(names, codes, groups, weights)

    def _miss(self, gone: NDArray[np.bool_], groups: Any, weights: Any) -> None:
        places = np.zeros(int(gone.sum()), np.int8) if groups is None else groups[gone]
        self.missing += np.bincount(places, None if weights is None else weights[gone], len(self.missing))

    def require_fits(self, other: ColumnCounts) -> None:
        """Raises ValueError where the other holds something else."""
        for mine, theirs in ((self.values, other.levels), (self.levels, other.values)):
            if mine is not None and theirs is not None:
                raise ValueError("holds text in one of the tables and numbers in the other")
        if self.quantity is not None and other.quantity is not None and not self.quantity.fits(other.quantity):
            raise ValueError(f"holds {other.quantity} in one of the tables and {self.quantity} in the other")

    def merge(self, other: ColumnCounts, places: Any = None) -> None:
        """Add what others counted, whose group g is ``places[g]`` here."""
        self.require_fits(other)
        at = np.arange(len(other.missing)) if places is None else np.asarray(places)
        self.missing[at] += other.missing
        self.quantity = self.quantity or other.quantity
        if other.values is not None:
            self.values = self.values or ValueCounts(other.values.most, len(self.missing), other.values.unit)
            self.values.merge(other.values, at)
        if other.levels is not None:
            self.levels = self.levels or LevelCounts(other.levels.most, len(self.missing))
            self.levels.merge(other.levels, at)


@dataclasses.dataclass(frozen=True)
class TableLayout:
    """What a table is counted by: columns that group, those to learn (None: all), categories, weights; and cells."""

    by: tuple[str, ...] = ()
    several: bool = False
    """Whether keys of groups are tuples."""
    columns: tuple[str, ...] | None = None
    categories: tuple[str, ...] = ()
    weights: str | None = None
    cells: int = 1 << 15
    group_cells: int = 512
    dependence: bool = False
    """Whether a sample of rows is kept, for the dependence between columns."""

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> TableLayout:
        """What `asdict` gave, by way of JSON. Raises ValueError for anything else."""
        facts = {name: tuple(each) if isinstance(each, list) else each for name, each in facts.items()}
        layout = cls(**facts)
        lists = [layout.by, layout.categories, layout.columns or (), (layout.weights or "",)]
        if not all(isinstance(each, tuple) and all(isinstance(name, str) for name in each) for each in lists):
            raise ValueError("its columns have no names")
        if not all(type(each) is int and each >= 1 for each in (layout.cells, layout.group_cells)):
            raise ValueError("its numbers of cells are no numbers")
        return layout

    @property
    def wanted(self) -> list[str] | None:
        """The columns to read; None for all."""
        extra = [*self.by, *([self.weights] if self.weights else [])]
        return None if self.columns is None else list(dict.fromkeys([*self.columns, *extra]))


class TableCounts:
    """Counts of the rows of a table: of all of them (``whole``) and of groups, by column; ``rows`` and ``group_rows``
    (G,) are numbers of rows, or weights. ``sample`` are rows, for the dependence, if asked for; files have none."""

    def __init__(self, layout: TableLayout):
        self.layout = layout
        self.rows, self.group_rows = 0.0, np.zeros(0)
        self.keys: dict[GroupKey, int] = {}
        self.whole: dict[str, ColumnCounts] = {}
        self.groups: dict[str, ColumnCounts] = {}
        self.sample: RowSample | None = None

    def count(self, batch: Batch, sample_weight: Any = None, threads: int = 1) -> None:
        """Count the rows of a batch."""
        layout = self.layout
        n = len(next(iter(batch.values()))) if batch else 0
        for name, cells in batch.items():
            if len(cells) != n:
                raise ValueError(f"column {name!r} has {len(cells)} rows; the first has {n}")
        if n == 0:
            return
        for name in (*(layout.wanted or layout.by), *layout.categories, *([layout.weights] if layout.weights else [])):
            if name not in batch:
                raise ValueError(f"the table has no column {name!r}; it has {', '.join(list(batch)[:20])}")
        weights = self._weights(batch, n, sample_weight)
        columns = {
            name: cells.as_categories() if name in layout.categories else cells
            for name, cells in batch.items()
            if name != layout.weights and (layout.columns is None or name in layout.columns)
        }
        if not columns:
            raise ValueError("there is no column to learn")
        keys = [batch[name].as_categories() for name in layout.by]
        if weights is not None and not weights.all():
            some = weights != 0
            weights, n = weights[some], int(some.sum())
            if n == 0:
                return
            columns, keys = {name: cells.take(some) for name, cells in columns.items()}, [k.take(some) for k in keys]
        if not self.whole:
            self._start(columns)
        self._check_names(columns)
        groups = self._grouped(keys, weights) if keys else None
        if self.sample is not None:
            self.sample.add_cells([columns[name] for name in sorted(columns)], weights)
        self.rows += float(n if weights is None else weights.sum())
        jobs = [(self.whole[name], name, cells, None, weights) for name, cells in columns.items()]
        jobs += [(self.groups[name], name, columns[name], groups, weights) for name in self.groups]
        if threads == 1:
            for job in jobs:
                _count_column(*job)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: _count_column(*job), jobs))

    def _weights(self, batch: Batch, n: int, given: Any) -> NDArray[Any] | None:
        name = self.layout.weights
        if name is not None:
            cells = batch[name]
            if cells.numbers is None or np.isnan(cells.numbers).any():
                raise ValueError(f"column {name!r} holds weights: a number is needed in each row")
            given = cells.numbers.astype(np.int64) if cells.integers else cells.numbers
        return None if given is None else check_weights(given, n)

    def _start(self, columns: Iterable[str]) -> None:
        layout, places = self.layout, len(self.keys)
        self.whole = {name: ColumnCounts(layout.cells, MOST_LEVELS) for name in columns}
        self.groups = {
            name: ColumnCounts(layout.group_cells, MOST_GROUP_LEVELS, places)
            for name in columns
            if layout.by and name not in layout.by
        }
        self.sample = RowSample(len(self.whole)) if layout.dependence else None

    def _check_names(self, names: Collection[str]) -> None:
        if len(names) != len(self.whole):
            raise ValueError(
                f"X has {len(names)} features, but TableDensity is expecting {len(self.whole)} features as input"
            )
        if {*names} != {*self.whole}:
            odd = sorted({*names} ^ {*self.whole})
            raise ValueError(f"the columns differ from those of earlier rows: {', '.join(odd[:5])}")

    def _grouped(self, keys: list[ColumnCells], weights: Any) -> NDArray[np.int32]:
        """(N,) numbers of the rows' groups."""
        code, radix = np.zeros(len(keys[0]), np.int64), 1
        for cells in keys:
            radix *= len(cells.names) + 1
            if radix > 1 << 62:
                raise ValueError("the groups are too many: group by fewer columns")
            code = code * (len(cells.names) + 1) + cells.codes + 1
        if radix <= max(1 << 20, 4 * len(code)):
            seen = np.flatnonzero(np.bincount(code, minlength=radix))
            places = np.zeros(radix, np.int64)
            places[seen] = np.arange(len(seen))
            inverse = places[code]
        else:
            seen, inverse = np.unique(code, return_inverse=True)
        parts: list[list[str]] = []
        for cells in reversed(keys):
            seen, last = np.divmod(seen, len(cells.names) + 1)
            names = [NO_GROUP, *(_QUOTED.sub(r"'\g<0>'", name) for name in cells.names)]
            parts.append([names[k] for k in last.tolist()])
        found = list(zip(*reversed(parts), strict=True))
        here = self._places(found if self.layout.several else [each[0] for each in found])[inverse]
        self.group_rows += np.bincount(here, weights, len(self.keys))
        return here.astype(np.int32)

    def _places(self, keys: Iterable[Any]) -> NDArray[np.int64]:
        """Numbers of groups, new ones too."""
        places = np.array([self.keys.setdefault(key, len(self.keys)) for key in keys], np.int64)
        more = len(self.keys) - len(self.group_rows)
        if more:
            self.group_rows = np.append(self.group_rows, np.zeros(more))
            for counts in self.groups.values():
                counts.grow(len(self.keys))
        return places

    def merge(self, other: TableCounts) -> None:
        """Add what another has counted. Raises ValueError where columns, groups or cells differ."""
        for part in dataclasses.fields(TableLayout):
            mine, theirs = (getattr(each.layout, part.name) for each in (self, other))
            if mine != theirs and part.name not in ("columns", "categories"):
                raise ValueError(f"cannot merge tables whose {part.name} differ: {mine!r} and {theirs!r}")
        if not other.whole:
            return
        if not self.whole:
            self._start(other.whole)
        self._check_names(other.whole)
        for name, counts in self.whole.items():
            _naming(name, counts.require_fits, other.whole[name])
        if self.sample is not None and other.sample is not None:
            self.sample.merge(other.sample)
        places = self._places(other.keys)
        for mine, theirs, at in ((self.whole, other.whole, None), (self.groups, other.groups, places)):
            for name, counts in mine.items():
                counts.merge(theirs[name], at)
        self.rows += other.rows
        self.group_rows[places] += other.group_rows

    # -- kept

    def to_tensors(self) -> Tensors:
        """Return everything as arrays by name, for `from_tensors`."""
        about = {
            "layout": dataclasses.asdict(self.layout),
            "rows": self.rows,
            "keys": list(self.keys),
            "columns": list(self.whole),
            "quantities": [each.quantity and dataclasses.asdict(each.quantity) for each in self.whole.values()],
        }
        tensors: Tensors = {"about": _json(about), "group_rows": self.group_rows}
        for name, part in (("whole", self.whole), ("groups", self.groups)):
            tensors |= {f"{name}.{key}": value for key, value in _packed(list(part.values())).items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """Make the counts that `to_tensors` described. Raises ValueError, or what else comes of wrong arrays."""
        about = json.loads(bytes(tensors["about"]))
        counts = cls(TableLayout.from_dict(about["layout"]))
        names, width = about["columns"], len(counts.layout.by)
        keys = [tuple(key) if isinstance(key, list) else key for key in about["keys"]]
        parts = [key if counts.layout.several else (key,) for key in keys]
        if not all(isinstance(name, str) for name in [*names, *(part for each in parts for part in each)]):
            raise ValueError("its names of columns and groups are no names")
        if len({*names}) < len(names) or len({*keys}) < len(keys) or any(len(part) != width for part in parts):
            raise ValueError("its names of columns and groups repeat, or are of too few columns")
        counts.keys = {key: g for g, key in enumerate(keys)}
        counts.rows = float(check_amounts("rows", np.array([about["rows"]], np.float64), 1)[0])
        counts.group_rows = check_amounts("group_rows", tensors["group_rows"], len(keys)).copy()
        counts._start(names)
        for name, facts in zip(names, about["quantities"], strict=True):
            check_quantity(facts or {})
            for part in (counts.whole, counts.groups):
                if name in part:
                    part[name].quantity = Quantity(**facts) if facts else None
        for name, part in (("whole", counts.whole), ("groups", counts.groups)):
            own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
            _unpack(list(part.values()), own)
        counts.sample = None
        return counts


def _json(facts: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(facts, separators=(",", ":")).encode(), np.uint8)


def _packed(columns: Sequence[ColumnCounts]) -> Tensors:
    """Arrays of all columns, one after the other; ``kinds`` says which have what."""
    kinds = ["values" if each.values is not None else "levels" if each.levels is not None else "" for each in columns]
    tensors: Tensors = {"missing": np.concatenate([np.zeros(0), *(each.missing for each in columns)])}
    for kind in ("values", "levels"):
        parts = [getattr(each, kind).to_tensors() for each, own in zip(columns, kinds, strict=True) if own == kind]
        for name in parts[0] if parts else ():
            joined = np.concatenate([part[name] for part in parts])
            small = joined.dtype.kind == "i" and name != "levels"  # which are of one byte already
            tensors[f"{kind}.{name}"] = joined.astype(np.min_scalar_type(joined.max(initial=0))) if small else joined
    names = [list(each.levels.names) for each in columns if each.levels is not None]
    return tensors | {"kinds": _json([kinds, names])}


def _unpack(columns: Sequence[ColumnCounts], tensors: Tensors) -> None:
    """Fill columns with what `_packed` gave. Raises ValueError, or what else comes of wrong arrays."""
    kinds, names = json.loads(bytes(tensors["kinds"]))
    n_groups = len(columns[0].missing) if columns else 0
    missing = check_amounts("missing", tensors["missing"], n_groups * len(columns)).reshape(len(columns), n_groups)
    for column, amounts, _ in zip(columns, missing, kinds, strict=True):
        column.missing = amounts.copy()
    for kind, made in (("values", ValueCounts), ("levels", LevelCounts)):
        chosen = [column for column, own in zip(columns, kinds, strict=True) if own == kind]
        arrays = {name.removeprefix(f"{kind}."): a for name, a in tensors.items() if name.startswith(f"{kind}.")}
        if not chosen:
            continue
        sizes = arrays["sizes"].reshape(len(chosen), n_groups).astype(np.int64)
        cells, at = sizes.sum(1), 0
        for name, array in arrays.items():
            wanted = cells.sum() if name in made.OF_CELLS else sizes.size
            if array.shape != (wanted,) or sizes.min(initial=0) < 0:
                raise ValueError(f"{kind}.{name} has shape {array.shape}, not ({wanted},)")
        for j, column in enumerate(chosen):
            here, of_groups = slice(at, at + int(cells[j])), slice(j * n_groups, (j + 1) * n_groups)
            part = {name: array[here if name in made.OF_CELLS else of_groups] for name, array in arrays.items()}
            at += int(cells[j])
            if kind == "values":
                if column.quantity is None:
                    raise ValueError("a column has numbers and no quantity")
                column.values = ValueCounts.from_tensors(part, column.most, column.unit)
            else:
                column.levels = LevelCounts.from_tensors(part, names[j], column.most_levels)


def _count_column(counts: ColumnCounts, name: str, cells: ColumnCells, groups: Any, weights: Any) -> None:
    if cells.numbers is None:
        _naming(name, counts.add_levels, cells.names, cells.codes, groups, weights)
    else:
        _naming(name, counts.add_numbers, cells.numbers, cells.quantity, groups, weights)


def _naming(name: str, call: Any, *arguments: Any) -> None:
    """A ValueError names the column."""
    try:
        call(*arguments)
    except ValueError as error:
        raise ValueError(f"column {name!r} {error}") from None
