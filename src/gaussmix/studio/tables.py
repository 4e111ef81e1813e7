"""What the tabs of tables share: files and examples to choose from, and what is learnt of their columns, in jobs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.columns import as_level
from gaussmix.density.files import open_table
from gaussmix.density.standard_units import settled
from gaussmix.studio import parts
from gaussmix.studio.session import KeptFile, Session
from gaussmix.tables.column import ColumnDensity
from gaussmix.tables.estimator import TableDensity
from gaussmix.tables.rows import collect_rows

if TYPE_CHECKING:
    from gaussmix.distances.comparison import Comparison
    from gaussmix.tables.drift import ColumnDrift

__all__ = [
    "Overlay",
    "Table",
    "TableChooser",
    "learn",
    "learn_groups",
    "learn_pair",
    "load_example",
    "outliers",
    "read_rows",
]

EXAMPLES = {"Tumours": "breast_cancer", "Wines": "wine", "Diabetes": "diabetes"}
"""Data sets of scikit-learn that need no download, by what people call them."""
MOST_GROUPS, MOST_VALUES, MOST_ROWS = (
    5,
    50,
    1_000_000,
)  # drawn; of a column that makes groups; rows that are kept for it


@dataclass(frozen=True)
class Table:
    """A table to choose from: a file, or an example.

    Parameters
    ----------
    name : str
        What people call it.
    source : Path or str
        A file, or a data set of scikit-learn.
    numbers, categories : tuple of str
        Names of the columns of numbers, dates and durations, and of the others.
    plain : tuple of str
        Of the first, those of numbers alone.
    """

    name: str
    source: Path | str
    numbers: tuple[str, ...]
    categories: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()

    @classmethod
    def open(cls, name: str, source: Path | str) -> Table:
        """Look at what there is; raises ValueError for a table of text alone, and for a damaged one.

        Parameters
        ----------
        name, source : str, Path or str
            As above.
        """
        if isinstance(source, str):
            columns = load_example(source)
            numbers = tuple(each for each, values in columns.items() if values.dtype != object)
            return cls(name, source, numbers, tuple(each for each in columns if each not in numbers), numbers)
        with open_table(source) as table:
            kinds = {each: None if each in table.booleans else found for each, found in table.columns.items()}
        numbers = tuple(each for each, found in kinds.items() if found is not None)
        if not numbers:
            raise ValueError(f"{source} holds text alone; a density needs a column of numbers, dates or durations")
        plain = tuple(each for each in numbers if str(kinds[each]) == "numbers")
        return cls(name, source, numbers, tuple(each for each in kinds if each not in numbers), plain)


@dataclass(frozen=True)
class Overlay:
    """One column of several tables, or groups, and how far each is from the first.

    Parameters
    ----------
    columns : dict of str to ColumnDensity
        By the name of the table or group.
    distances, drifts : tuple
        Of the others from the first.
    note : str
        What was left out.
    values : dict
        Of groups, what the rows of each hold, by its name.
    """

    columns: dict[str, ColumnDensity]
    distances: tuple[Comparison, ...]
    drifts: tuple[ColumnDrift, ...]
    note: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def load_example(name: str) -> dict[str, NDArray[Any]]:
    """Return the columns (n,) of a data set of scikit-learn by name, that which is to be predicted the last."""
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    data: Any = getattr(datasets, f"load_{name}")(**options)
    columns: dict[str, NDArray[Any]] = {str(each): data.data[:, j] for j, each in enumerate(data.feature_names)}
    if "target_names" in data:
        return columns | {"class": np.asarray(data.target_names, object)[data.target]}
    return columns | {"progression": data.target}


def learn(source: Path | str, column: str, *, progress: Callable[..., None]) -> ColumnDensity:
    """Learn the density of a column, in batches; for a job.

    Parameters
    ----------
    source : Path or str
        A file, or one of `EXAMPLES`' data sets.
    column : str
        Its name.
    progress : callable
        Told how much is read; see `gaussmix.studio.work.Progress`.
    """
    return _learnt(source, column, progress).columns_[column]


def _learnt(source: Path | str, column: str, progress: Callable[..., None]) -> TableDensity:
    model = TableDensity(columns=[column])
    if isinstance(source, str):
        model.fit({column: load_example(source)[column]})
    else:
        with open_table(source, [column]) as table:
            model.fit(table.watched(lambda done: progress(done / table.total if table.total else None, "counting")))
    progress(1.0, "finding the density")
    if model.columns_[column].density is None:
        raise ValueError(f"{column} holds missing values alone: there is nothing to learn")
    return model


def learn_pair(first: Table, second: Table, column: str, *, progress: Callable[..., None]) -> Overlay:
    """Learn one column of two tables, and compare them; for a job.

    Parameters
    ----------
    first, second : Table
        Which have the column.
    column : str
        Its name.
    progress : callable
        As for `learn`.
    """
    if column not in second.numbers:
        raise ValueError(f"{second.name} has no column {column} of numbers, dates or durations")
    models = [_learnt(table.source, column, progress) for table in (first, second)]
    quantities = [model.columns_[column].quantity for model in models]
    if not quantities[0].fits(quantities[1]) or quantities[0].unit != quantities[1].unit:
        kinds = " and ".join(f"{each} ({each.unit})" if each.unit else str(each) for each in quantities)
        raise ValueError(f"{column} holds {kinds} in these tables: compare like with like")
    names = [first.name, second.name if second.name != first.name else f"{second.name} (2)"]
    return _compared(column, dict(zip(names, models, strict=True)), progress)


def learn_groups(source: Path | str, column: str, by: str, *, progress: Callable[..., None]) -> Overlay:
    """Learn a column in each of the largest groups of another one, and compare them; for a job.

    Parameters
    ----------
    source : Path or str
        As for `learn`.
    column, by : str
        The column, and that whose values make groups, at most `MOST_VALUES`.
    progress : callable
        As for `learn`.
    """
    rows, total = read_rows(source, [column, by], MOST_ROWS, progress=progress)
    sizes = Counter(value for value in rows[by].tolist() if value == value and value is not None)
    if len(sizes) > MOST_VALUES:
        raise ValueError(f"{by} has {len(sizes)} values; groups are made of a column with at most {MOST_VALUES}")
    models, values = {}, {}
    for value, _ in sizes.most_common(MOST_GROUPS):
        progress(None, "finding the densities")
        model = TableDensity().fit({column: rows[column][rows[by] == value]})
        if model.columns_[column].density is not None:
            name = f"{by} {as_level(value)}"
            models[name], values[name] = model, value
    if len(models) < 2:
        raise ValueError(f"{by} makes {len(models)} groups with values of {column}; a comparison needs two")
    notes = [f"the {len(models)} largest of {len(sizes)} groups"] if len(models) < len(sizes) else []
    notes += [f"a sample of {MOST_ROWS:,} of {total:,} rows"] if total > MOST_ROWS else []
    return _compared(column, models, progress, ", of ".join(notes), values)


def _compared(
    column: str, models: dict[str, TableDensity], progress: Callable[..., None], note: str = "", values: Any = None
) -> Overlay:
    from gaussmix.distances import compare
    from gaussmix.tables.drift import compare_tables

    first, *others = models.values()
    distances, drifts = [], []
    for k, other in enumerate(others):
        progress(k / len(others), "comparing")
        distances.append(compare(first.columns_[column].density, other.columns_[column].density))
        drifts.append(compare_tables(first, other).columns[0])
    columns = {name: model.columns_[column] for name, model in models.items()}
    return Overlay(columns, tuple(distances), tuple(drifts), note, values or {})


def read_rows(
    source: Path | str, columns: list[str], most: int, *, progress: Callable[..., None]
) -> tuple[dict[str, NDArray[Any]], int]:
    """Read columns into memory, at most ``most`` rows, as `gaussmix.tables.read_rows` does; and say how many there are.

    Parameters
    ----------
    source : Path or str
        As for `learn`.
    columns : list of str
        Their names.
    most : int
        Rows that are kept.
    progress : callable
        As for `learn`.
    """
    if isinstance(source, str):
        found = load_example(source)
        return {name: found[name] for name in columns}, len(found[columns[0]])
    with open_table(source, columns) as table:
        show = table.watched(lambda done: progress(done / table.total if table.total else None, "reading"))
        return collect_rows(show, columns, most)


def outliers(column: ColumnDensity) -> tuple[FloatArray, float]:
    """Return the values (k,) beyond 1.5 interquartile ranges from the quartiles, as counted; and how many there are.

    Parameters
    ----------
    column : ColumnDensity
        Of numbers.
    """
    law, counts = column.density, column.counts
    assert law is not None
    assert counts is not None
    first, third = law.ppf([0.25, 0.75]).tolist()
    fences = first - 1.5 * (third - first), third + 1.5 * (third - first)
    mass, centers = settled(counts).without_atoms().mass, counts.axis.centers
    places = np.clip(centers, counts.minimum, counts.maximum)
    beyond = ((places < fences[0]) | (places > fences[1])) & (mass > 0)
    return places[beyond], float(mass[beyond].sum())


def table_code(table: Table, columns: list[str], *, rows: bool, most: int = MOST_ROWS, name: str = "table") -> str:
    """Code that says where a table is, or reads its rows: ``name = ...``."""
    if isinstance(table.source, str):
        options = "scaled=False" if table.source == "diabetes" else ""
        lines = [f"data = load_{table.source}({options})", f"{name} = dict(zip(data.feature_names, data.data.T))"]
        if table.categories:
            lines.append(f'{name}["class"] = data.target_names.astype(object)[data.target]')
        else:
            lines.append(f'{name}["progression"] = data.target')
        return "\n".join(lines)
    # What came in by the browser lies under a name of ours; people know theirs.
    path = str(table.source) if table.name == table.source.name else table.name
    if rows:
        return f"{name} = read_rows({path!r}, {columns!r}, most={most})"
    return f"{name} = {path!r}"


# -- on the page


class TableChooser:
    """A card in which a table is dropped or picked.

    Parameters
    ----------
    session : Session
        Whose it is.
    on_table : callable
        Awaited with the table that was picked; what it raises becomes a sentence.

    Attributes
    ----------
    tables : dict of str to (str, Path or str)
        Name and source of all there are to pick, by a key of each.
    """

    def __init__(self, session: Session, on_table: Callable[[Table], Awaitable[None]]):
        self._session, self._on_table = session, on_table
        self.tables: dict[str, tuple[str, Path | str]] = {}
        with parts.card("A table") as self._card:
            parts.drop_files(session, self._take)
            self._chips = ui.row().classes("gm-row")
        for file in session.files:
            self._chip(file.name, file.path)
        for name, data in EXAMPLES.items():
            self._chip(f"Example: {name}", data)

    def _chip(self, name: str, source: Path | str) -> Callable[[], Awaitable[None]]:
        self.tables[str(source)] = (name, source)
        with self._chips:
            chip = ui.button(name, color=None).classes("gm-chip").props("flat aria-pressed=false")

        async def pick() -> None:
            with parts.saying(self._session, self._card):
                table = await asyncio.to_thread(Table.open, name, source)
                for other in self._chips.default_slot.children:
                    other.props["aria-pressed"] = "true" if other is chip else "false"
                await self._on_table(table)

        chip.on_click(pick)
        return pick

    async def _take(self, file: KeptFile) -> None:
        await self._chip(file.name, file.path)()
