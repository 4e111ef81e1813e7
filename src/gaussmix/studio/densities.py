"""The tab of densities: a table, a column of it, its density over a histogram, and what share lies below a value.

`learn` and `load_example` run in jobs; `Densities` lays out the tab and keeps what it shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.picture import line_points, only_points, span
from gaussmix.density.discrete import LatticeMixture1D, count_values
from gaussmix.density.files import open_column, open_table
from gaussmix.density.model import DensityModel
from gaussmix.density.quantity import Quantity
from gaussmix.plots.densities import histogram_bars
from gaussmix.studio import parts
from gaussmix.studio.session import KeptFile, Session

if TYPE_CHECKING:
    from pathlib import Path

    from gaussmix.density.mixture import GaussianMixture1D

__all__ = ["Densities", "LearntColumn", "Table", "build", "columns_of", "learn"]

EXAMPLES = {"Tumours": "breast_cancer", "Wines": "wine", "Diabetes": "diabetes"}
"""Data sets of scikit-learn that need no download, by what people call them."""
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_POINTS = 700  # of a line, which is sent to the browser
_MS = {"D": 86_400e3, "s": 1e3}  # of a time axis, in the unit of a quantity


@dataclass(frozen=True)
class Table:
    """A table to choose from: a file, or an example; and its columns of numbers, dates and durations."""

    name: str
    source: Path | str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class LearntColumn:
    """A column's density."""

    column: str
    model: DensityModel

    @property
    def law(self) -> GaussianMixture1D:
        """The mixture."""
        return self.model.distribution_

    @property
    def quantity(self) -> Quantity:
        """What its numbers stand for."""
        return self.model.quantities_[0]

    def said(self, x: float) -> str:
        """A value as people read it."""
        return self.quantity.format(x, self.law.std())


def columns_of(source: Path | str) -> tuple[str, ...]:
    """Return the names of the columns that have a density; raises ValueError if there is none.

    Parameters
    ----------
    source : Path or str
        A file, or one of `EXAMPLES`' data sets.
    """
    if isinstance(source, str):
        return tuple(load_example(source))
    with open_table(source) as table:
        found = tuple(name for name, quantity in table.columns.items() if quantity is not None)
    if not found:
        raise ValueError(f"{source} holds text alone; a density needs a column of numbers, dates or durations")
    return found


def load_example(name: str) -> dict[str, FloatArray]:
    """Return the columns (n,) of a data set of scikit-learn, by name."""
    from sklearn import datasets

    data: Any = getattr(datasets, f"load_{name}")()
    return {str(column): data.data[:, j] for j, column in enumerate(data.feature_names)}


def learn(source: Path | str, column: str, *, progress: Callable[..., None]) -> LearntColumn:
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
    model = DensityModel(nan_policy="omit", n_jobs=1)
    if isinstance(source, str):
        model.fit(load_example(source)[column])
    else:
        with open_column(source, column) as rows:
            batches = iter(rows)
            first = next(batches)
            quantity = Quantity.of_values(first, rows.quantity.zone)
            for batch in chain([first], batches):
                model.partial_fit(quantity.to_numbers(batch))
                progress(rows.done / rows.total if rows.total else None, "counting")
        if not hasattr(model, "counts_"):
            raise ValueError(f"{column} holds missing values alone: there is nothing to learn")
        model.quantities_ = (quantity,)
    progress(1.0, "finding the density")
    _ = model.reports_
    return LearntColumn(column, model)


# -- the picture


def density_chart(found: LearntColumn) -> dict[str, Any]:
    """Return ECharts' options: histogram, density, point masses or probabilities."""
    law, counts, quantity = found.law, found.model.counts_[0], found.quantity
    low, high = span(law)
    discrete = isinstance(law, LatticeMixture1D)
    if discrete:
        low, high = low - law.step / 2, high + law.step / 2
    to_axis = _to_axis(quantity)
    series: list[dict[str, Any]] = []
    if isinstance(law, LatticeMixture1D):
        series += _probabilities(law, counts, to_axis)
    else:
        if (bars := histogram_bars(counts, low, high)) is not None:
            heights, edges = bars
            steps = _pairs(to_axis(edges), np.r_[heights, 0.0])
            line = {"step": "end", "lineStyle": {"width": 0}, "areaStyle": {"color": parts.BARS, "opacity": 1}}
            series.append({"name": "histogram", "color": parts.BARS, "data": steps, **line})
        if not only_points(law):
            x = _thinned(line_points(law, low, high))
            blue = {"color": parts.BLUE, "lineStyle": {"width": 2.2}}
            series.append({"name": "density", "data": _pairs(to_axis(x), law.pdf(x)), **blue})
        if law.atoms.positions.size:
            series.append(
                _stems("point masses", to_axis(law.atoms.positions), law.atoms.masses, parts.ORANGE, yAxisIndex=1)
            )
    blue = {"color": parts.BLUE, "lineStyle": {"width": 0}, "areaStyle": {"color": parts.BLUE, "opacity": 0.22}}
    below, line = reading(found, 0.5, float(law.median()))
    series += [{**below, **blue}, {"data": [], **line}]
    ends = {"min": float(to_axis(low)), "max": float(to_axis(high))}
    kind = "time" if quantity.kind == "datetime" else "value"
    left: list[dict[str, Any]] = [{"min": 0, "name": "probability" if discrete else "density"}]
    right = {"min": 0, "name": "share", "position": "right", "splitLine": {"show": False}}
    return {
        "useUTC": True,
        "xAxis": {"type": kind, **ends, "splitLine": {"show": False}},
        "yAxis": [*left, right] if any("yAxisIndex" in each for each in series) else left,
        "legend": {"data": [each["name"] for each in series if "id" not in each]},
        "series": [{"type": "line", "showSymbol": False, "silent": True, **each} for each in series],
    }


def reading(found: LearntColumn, share: float, x: float) -> list[dict[str, Any]]:
    """Return the two series that say what lies at most at x: the area below the density, and a line."""
    law, to_axis = found.law, _to_axis(found.quantity)
    area: list[list[float]] = []
    if not isinstance(law, LatticeMixture1D) and not only_points(law):
        places = _thinned(line_points(law, *span(law)))
        places = np.r_[places[places < x], x]
        area = _pairs(to_axis(places), law.pdf(places))
    return [{"id": "below", "data": area}, {"id": "line", "markLine": _mark(float(to_axis(x)), f"{share:.1%}")}]


def _probabilities(law: LatticeMixture1D, counts: Any, to_axis: Callable[[Any], Any]) -> list[dict[str, Any]]:
    series = []
    counted = count_values(counts, law.values[0], law.step)
    if counted is not None:
        places, shares = to_axis(law.values[0] + law.step * counted[0]), counted[1] / counts.total_mass
        bars = {"type": "bar", "color": parts.BARS, "barMaxWidth": 24, "data": _pairs(places, shares)}
        series.append({"name": "shares of the data", **bars})
    return [*series, _stems("probabilities", to_axis(law.values), law.probabilities, parts.BLUE)]


def _stems(name: str, x: Any, y: Any, color: str, **more: Any) -> dict[str, Any]:
    """Thin bars, beside no others."""
    return {"type": "bar", "name": name, "color": color, "barWidth": 3, "barGap": "-100%", "data": _pairs(x, y), **more}


def _mark(x: float, words: str) -> dict[str, Any]:
    line = {"color": parts.INK, "width": 1.4, "type": "solid"}
    label = {"formatter": words.replace("{", "(").replace("}", ")"), "color": parts.INK, "position": "end"}
    return {"symbol": "none", "lineStyle": line, "label": label, "data": [{"xAxis": x}]}


def _to_axis(quantity: Quantity) -> Callable[[Any], Any]:
    scale = _MS[quantity.unit] if quantity.kind == "datetime" else 1.0
    return lambda x: np.asarray(x, np.float64) * scale


def _pairs(x: Any, y: Any) -> list[list[float]]:
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1).tolist()


def _thinned(x: FloatArray) -> FloatArray:
    return x[:: max(1, -(-len(x) // _MOST_POINTS))]


# -- the tab


class Densities:
    """What the tab shows of a session."""

    def __init__(self, session: Session):
        self.session = session
        self.tables: list[Table] = []
        self.table: Table | None = None
        self.found: LearntColumn | None = None
        with parts.columns() as (side, main):
            with side:
                with parts.card("A table") as self._choice:
                    parts.drop_files(session, self._take)
                    self._chips = ui.row().classes("gm-row")
                with parts.card("A column") as self._columns:
                    self._select = ui.select([], label="Column", with_input=True, on_change=self._learn)
                    self._select.props("outlined dense").classes("gm-wide")
            with main:
                self._result = parts.card()
        self._columns.set_visibility(False)
        with self._result:
            self._welcome()
        for file in session.files:
            self._chip(file.name, file.path)
        for name, data in EXAMPLES.items():
            self._chip(f"Example: {name}", data)

    def _welcome(self) -> None:
        with ui.column().classes("gm-welcome"):
            ui.label("Drop a table to see how a column is distributed.").classes("gm-heading")
            ui.label("No bandwidth, no bins, no number of components to choose. Nothing leaves this machine.")

    def _chip(self, name: str, source: Path | str) -> None:
        with self._chips:
            chip = ui.button(name, color=None).classes("gm-chip").props("flat aria-pressed=false")
        chip.on_click(lambda: self._open(name, source, chip))

    async def _take(self, file: KeptFile) -> None:
        self._chip(file.name, file.path)
        *_, chip = self._chips.default_slot.children
        await self._open(file.name, file.path, chip)

    async def _open(self, name: str, source: Path | str, chip: ui.element) -> None:
        with parts.saying(self.session, self._choice):
            self.table = Table(name, source, await asyncio.to_thread(columns_of, source))
            for other in self._chips.default_slot.children:
                other.props["aria-pressed"] = "true" if other is chip else "false"
            self._columns.set_visibility(True)
            self._select.set_options(list(self.table.columns), value=None)
            self._select.set_value(self.table.columns[0])

    async def _learn(self) -> None:
        table, column = self.table, self._select.value
        if table is None or column is None:
            return
        found = await parts.run(self.session, self._columns, f"Learning {column}", learn, table.source, column)
        if found is not None and (table, column) == (self.table, self._select.value):
            self.found = found
            self._result.clear()
            with self._result:
                self._show(table, found)

    def _show(self, table: Table, found: LearntColumn) -> None:
        law = found.law
        ui.label(found.column).classes("gm-title").props("role=heading aria-level=2")
        ui.label(table.name).classes("gm-soft")
        low, middle, high = (found.said(float(x)) for x in law.ppf([0.05, 0.5, 0.95]))
        about = f"Density of {found.column}: {middle} in the middle, 90 % from {low} to {high}"
        self._chart = parts.chart(density_chart(found), about)
        self._share = parts.Slider("Share below the line", 0.001, 0.999, step=0.001, value=0.5, on_move=self._read)
        with ui.row().classes("gm-readout"):
            with ui.column():
                self._number = ui.label(middle).classes("gm-number")
                self._sentence = ui.label(f"50.0% of {found.column} are at most {middle}").classes("gm-soft")
                self._sentence.props("role=status")
            self._value = ui.input("What share is at most ...", placeholder=middle).props("outlined dense")
            self._value.on("keydown.enter", self._read_value).on("blur", self._read_value)
        with ui.element("div").classes("gm-facts"):
            for share, x in zip(_SHARES, law.ppf(_SHARES), strict=True):
                with ui.column().classes("gm-fact"):
                    ui.label(f"{share:.0%} quantile").classes("gm-soft gm-small")
                    ui.label(found.said(float(x)))
        with ui.column().classes("gm-lines"):
            for line in str(found.model.report_).splitlines():
                ui.label(line).classes("gm-soft gm-small")

    def _read(self, share: float) -> None:
        """Move the line to a quantile."""
        if self.found is not None:
            self._place(share, float(self.found.law.ppf(share)))

    def _read_value(self) -> None:
        """Move the line to a value that was typed."""
        if self.found is not None and self._value.value:
            with parts.saying(self.session, self._result):
                x = self.found.quantity.parse(self._value.value)
                share = float(self.found.law.cdf(x))
                self._share.set_value(share)
                self._place(share, x)

    def _place(self, share: float, x: float) -> None:
        assert self.found is not None
        said = self.found.said(x)
        self._number.text = said
        self._sentence.text = f"{share:.1%} of {self.found.column} are at most {said}"
        self._chart.run_chart_method("setOption", {"series": reading(self.found, share, x)})


def build(session: Session) -> None:
    """Lay out the tab.

    Parameters
    ----------
    session : Session
        Whose it is.
    """
    Densities(session)
