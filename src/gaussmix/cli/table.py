"""``gaussmix table fit | info | quantiles | plot | compare | ...``: every column of a table at once, and by group."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix._guard import counted, printable
from gaussmix.cli._flags import Names, Output, check_suffix, split_names
from gaussmix.cli._table_commands import CompareTables, MeasureFidelity, SampleRows, learn, load_table
from gaussmix.cli._tables import as_json, name_files, naming

if TYPE_CHECKING:
    from gaussmix.tables.column import ColumnDensity
    from gaussmix.tables.estimator import TableDensity

_Group = Annotated[str | None, tyro.conf.arg(metavar="VALUE[,VALUE...]")]

_PICTURES = (".png", ".svg", ".pdf")
_SHOWN, _TOLD = (0.05, 0.5, 0.95), (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BLOCKS, _PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", " .:-=+*#"
_SHAPE = 16  # characters
_MOST_NAME, _MOST_LEVELS = 24, 20


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name."""
    return {
        "fit": FitTable,
        "info": ShowTable,
        "quantiles": ShowTableQuantiles,
        "plot": PlotTable,
        "compare": CompareTables,
        "sample": SampleRows,
        "fidelity": MeasureFidelity,
    }


@dataclass(frozen=True)
class FitTable:
    """Learn every column of a table in one pass: densities of numbers and dates, frequencies of categories, and what
    is missing; by group too."""

    file: Positional[Path]
    """A .parquet, .csv, .tsv, .txt (also .gz, .zst), .jsonl, .feather or .npy file, a folder of them, a pattern in
    quotes, or - for text on the standard input."""
    more: Positional[tuple[Path, ...]] = ()
    """More files of the same table."""
    output: Output = Path("table.gmx")
    """The model file to write."""
    by: Names = ()
    """Columns whose values make groups, each with its own densities; several with commas between."""
    columns: Names = ()
    """The columns to learn; all if not given."""
    categories: Names = ()
    """Columns of numbers that are names, such as postcodes."""
    weights: str | None = None
    """A column with the weights of the rows: whole numbers say how often a row came."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null, such as -999; several with commas between."""
    rule: Literal["auto", "fast"] = "auto"
    """How densities are made: auto is the most accurate, fast a kernel estimate."""
    dependence: Literal["independent", "copula"] = "independent"
    """copula: learn how columns hang together too, for `table sample`; not together with --by."""
    threads: int = 1
    """Threads that count."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        check_suffix(self.output, "model", ".gmx", ".safetensors")
        if self.threads == 0 or self.threads < -1:
            raise ValueError(f"--threads is {self.threads}; it must be at least 1, or -1 for all processors")

        from gaussmix.tables.estimator import TableDensity

        started, files = time.perf_counter(), (self.file, *self.more)
        label = name_files(files)
        table = TableDensity(
            rule=self.rule,
            dependence=self.dependence,
            by=None if not self.by else self.by[0] if len(self.by) == 1 else list(self.by),
            columns=list(self.columns) or None,
            categories=list(self.categories) or None,
            weights=self.weights,
            missing=list(self.missing) or None,
            n_jobs=self.threads,
        )
        notes = learn(table, files)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with naming(label):
            table.save(self.output)
        if self.json:
            print(json.dumps({"model": str(self.output), "notes": notes, **_facts(table, None)}, indent=2))
            return
        print(_screen(table, None, label))
        for note in notes:
            print(note)
        print(f"model: {self.output} ({time.perf_counter() - started:.1f} s)")


@dataclass(frozen=True)
class ShowTable:
    """Say what each column of a table looks like, on one screen."""

    model: Positional[Path]
    """A model file of `table fit`."""
    group: _Group = None
    """Of the rows of one group alone, where the table was learnt --by columns."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        table = load_table(self.model)
        facts = json.dumps(_facts(table, self.group), indent=2) if self.json else None
        print(facts or _screen(table, self.group, self.model.name))


@dataclass(frozen=True)
class ShowTableQuantiles:
    """Print quantiles of each column: the values below which given shares lie."""

    model: Positional[Path]
    """A model file of `table fit`."""
    shares: Positional[tuple[float, ...]] = _TOLD
    """Shares from 0 to 1, such as 0.05 0.5 0.95."""
    columns: Names = ()
    """Of these columns; of all that have quantiles if not given."""
    group: _Group = None
    """Of the rows of one group alone."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        if wrong := [share for share in self.shares if not 0 <= share <= 1]:
            raise ValueError(f"{wrong[0]:g} is no share; give numbers from 0 to 1")
        columns = _chosen(_columns_of(load_table(self.model), self.group)[0], self.columns, self.model)
        columns = {name: column for name, column in columns.items() if column.density is not None}
        if not columns:
            raise ValueError(f"{self.model} has no column of numbers or dates among these: none has quantiles")
        if self.json:
            print(json.dumps({name: _quantiles(column, self.shares) for name, column in columns.items()}, indent=2))
            return
        rows = [["column", *(f"{share:g}" for share in self.shares)]]
        print(_aligned(rows + [[_short(name), *_said(each, self.shares)] for name, each in columns.items()]))


@dataclass(frozen=True)
class PlotTable:
    """Draw every column: densities over histograms, and the most frequent categories."""

    model: Positional[Path]
    """A model file of `table fit`."""
    output: Output = Path("table.png")
    """The picture to write."""
    columns: Names = ()
    """These columns; all if not given."""
    group: _Group = None
    """Of the rows of one group alone."""
    title: str | None = None
    """Its title; the model's file name if not given."""

    def __call__(self) -> None:
        check_suffix(self.output, "picture", *_PICTURES)
        found, rows = _columns_of(load_table(self.model), self.group)
        columns = _chosen(found, self.columns, self.model)

        from gaussmix.plots import plot_columns, save_figure

        about = f"{self.title or self.model.stem}{f', {self.group}' if self.group else ''}: {_rows(rows)}"
        save_figure(plot_columns(list(columns.values()), title=about), self.output)
        print(f"picture: {self.output}")


def _columns_of(table: TableDensity, group: str | None) -> tuple[dict[str, ColumnDensity], float]:
    """The columns of all rows or of a group, and how many rows it has."""
    if group is None:
        return table.columns_, table.n_rows_
    if table.by is None:
        raise ValueError("the table was learnt without groups: fit it --by a column")
    key: Any = group if isinstance(table.by, str) else split_names(group)
    if key not in table.groups_:
        said = [", ".join([each] if isinstance(each, str) else each) for each in list(table.groups_)[:10]]
        raise ValueError(f"there is no group {group!r}; among {len(table.groups_)} there are {'; '.join(said)}")
    columns = table.groups_[key]
    return columns, next(iter(columns.values())).n_rows


def _chosen(columns: Mapping[str, ColumnDensity], names: tuple[str, ...], model: Path) -> dict[str, ColumnDensity]:
    if unknown := [name for name in names if name not in columns]:
        raise ValueError(f"{model} has no column {unknown[0]!r}; it has {', '.join(list(columns)[:20])}")
    return {name: columns[name] for name in names or columns}


def _rows(x: float, noun: str = "row") -> str:
    return counted(x, noun).replace(",", " ")


def _short(text: str, most: int = _MOST_NAME) -> str:
    text = printable(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _quantiles(column: ColumnDensity, shares: tuple[float, ...]) -> dict[str, Any]:
    assert column.density is not None
    found = column.numbers_at(shares).tolist()
    return {str(q): as_json(column.quantity, x) for q, x in zip(shares, found, strict=True)}


def _said(column: ColumnDensity, shares: tuple[float, ...]) -> list[str]:
    """Quantiles with the digits that their spread asks for."""
    law = column.density
    assert law is not None
    low, high = law.ppf([0.05, 0.95]).tolist()
    spread = high - low or float(law.std())
    return [_digits(column, x, spread) for x in column.numbers_at(shares).tolist()]


def _digits(column: ColumnDensity, x: float, spread: float) -> str:
    """A value of a screen: four digits are enough of numbers."""
    if column.quantity.kind != "number" or column.kind == "integer":
        return column.quantity.format(x, spread)
    step = 10.0 ** (math.floor(math.log10(spread)) - 3) if spread > 0 else 0.0
    return column.quantity.format(round(x / step) * step if step else x, spread)


def _shape(column: ColumnDensity, blocks: str) -> str:
    """The density from its 0.5 % to its 99.5 % quantile, or the frequencies of the first categories, in characters."""
    import numpy as np

    if column.frequencies:
        heights = np.array(list(column.frequencies.values())[:_SHAPE])
    elif column.density is None:
        return ""
    else:
        law = column.density
        low, high = law.ppf([0.005, 0.995]).tolist()
        if not low < high:
            return blocks[-1]
        step = getattr(law, "step", 0.0)
        n = min(_SHAPE, round((high - low) / step) + 1) if step else _SHAPE
        if step:  # as many values in each part
            each = math.ceil((round((high - low) / step) + 1) / n)
            n = math.ceil((round((high - low) / step) + 1) / each)
            edges = low + step * (each * np.arange(n + 1) - 0.5)
        else:
            edges = np.linspace(low, high, n + 1)
            edges[0] = np.nextafter(low, -np.inf)  # a point mass there is in
        heights = np.diff(law.cdf(edges))
    top = float(heights.max()) or 1.0
    return "".join(blocks[min(int(len(blocks) * h / top), len(blocks) - 1)] for h in heights.clip(0).tolist())


def _levels(column: ColumnDensity) -> str:
    """The most frequent categories, in words."""
    frequencies = column.frequencies or {}
    total = sum(frequencies.values()) + column.other
    top = [f"{_short(name, 14)} {weight / total:.0%}" for name, weight in list(frequencies.items())[:3]]
    if column.kind == "boolean":
        return ", ".join(top)
    more = "more than " if column.other else ""
    number = f"{more}{_rows(len(frequencies), 'value')}"
    return f"{number}: {', '.join(top)}"[:44]


def _aligned(rows: list[list[str]], left: int = 1) -> str:
    """Cells in columns, the first ``left`` of them to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(w) if j < left else cell.rjust(w) for j, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _screen(table: TableDensity, group: str | None, label: str) -> str:
    """What was learnt, a line a column."""
    columns, n = _columns_of(table, group)
    blocks = _BLOCKS
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        blocks = _PLAIN_BLOCKS
    numeric, others = [["column", "kind", "missing", *(f"{q:.0%}" for q in _SHOWN), "shape"]], []
    for name, column in columns.items():
        gone = f"{column.share_missing:.1%}" if column.missing else ""
        if column.density is not None:
            numeric.append([_short(name), column.kind, gone, *_said(column, _SHOWN), _shape(column, blocks)])
        else:
            told = _levels(column) if column.frequencies else "nothing but missing"
            others.append([_short(name), column.kind, gone, _shape(column, blocks), told])
    of = "" if group is None else f", {group}"
    groups = f", {_rows(len(table.groups_), 'group')}" if table.by is not None and group is None else ""
    parts = [f"{label}{of}: {_rows(n)}, {_rows(len(columns), 'column')}{groups}"]
    if len(numeric) > 1:
        parts.append(_aligned(numeric, 2))
    if others:
        heads = ["column", "kind", "missing", "shares", "most frequent"]
        parts.append(_aligned([heads, *others], 5))
    return "\n\n".join(parts)


def _facts(table: TableDensity, group: str | None) -> dict[str, Any]:
    """Everything with JSON's types."""
    columns, n = _columns_of(table, group)
    found: dict[str, Any] = {}
    for name, column in columns.items():
        facts: dict[str, Any] = {"kind": column.kind, "missing": column.missing, "share_missing": column.share_missing}
        if column.frequencies is not None:
            facts |= {"frequencies": dict(list(column.frequencies.items())[:_MOST_LEVELS])}
            facts |= {"n_values": len(column.frequencies), "other": column.other}
        if column.density is not None and column.report is not None:
            law, report, quantity = column.density, column.report, column.quantity
            facts |= {"unit": quantity.unit} if quantity.unit else {}
            facts |= {key: as_json(quantity, getattr(report, key)) for key in ("minimum", "maximum")}
            facts |= {"mean": as_json(quantity, float(law.mean())), "std": float(law.std())}
            facts |= {"quantiles": _quantiles(column, _TOLD), "ks": report.ks, "ks_chance": report.ks_chance}
        found[name] = facts
    about: dict[str, Any] = {"rows": n, "columns": found}
    if table.by is not None and group is None:
        about["by"] = table.by
        about["groups"] = [{"key": key, "rows": rows} for key, rows in table.group_sizes().items()]
    return about
