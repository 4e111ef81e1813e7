"""The tab of densities: a table, a column of it, its density over a histogram, and what share lies below a value.

`Densities` lays out the tab; what it shows is an `Overlay`, of one column, or of the same in another table or in
groups. `density_code` and `overlay_code` say in Python what is seen.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nicegui import ui

from gaussmix.studio import charts, parts
from gaussmix.studio.charts import SHARES, View, draw
from gaussmix.studio.session import Session
from gaussmix.studio.tables import (
    Overlay,
    Table,
    TableChooser,
    learn,
    learn_groups,
    learn_pair,
    outliers,
    table_code,
)

__all__ = ["Densities", "build", "density_code", "overlay_code"]

_MOST_SHARES, _MOST_SAMPLES = 20, 1_000_000


def parse_shares(text: str) -> tuple[float, ...]:
    """Shares of a text such as ``5, 50, 95`` in per cent. Raises ValueError."""
    words = text.replace("%", " ").replace(",", " ").replace(";", " ").split()
    try:
        shares = tuple(float(word) / 100 for word in words)
    except ValueError:
        shares = ()
    if not shares or len(shares) > _MOST_SHARES or not all(0 <= share <= 1 for share in shares):
        raise ValueError(
            f"{text!r} are no quantiles: give up to {_MOST_SHARES} numbers from 0 to 100, such as 5, 50, 95"
        )
    return shares


# -- in Python


def _imports(view: View, *lines: str) -> str:
    tables = [view.table] + ([view.other] if view.other else [])
    examples = sorted({f"load_{each.source}" for each in tables if isinstance(each.source, str)})
    loads = [f"from sklearn.datasets import {', '.join(examples)}", ""] if examples else []
    return "\n".join([*loads, *lines, ""])


def density_code(view: View) -> str:
    """Python that makes what is seen of one column: quantiles, the share below the line, samples, the picture."""
    seen = f"plot_density(law, column.counts, title={view.column!r}, log={view.log})"
    return "\n".join(
        [
            _imports(
                view,
                "from gaussmix import TableDensity",
                "from gaussmix.plots import label_axis, plot_density, save_figure",
            ),
            table_code(view.table, [view.column], rows=False),
            f"column = TableDensity(columns=[{view.column!r}]).fit(table).columns_[{view.column!r}]",
            "law = column.density",
            "print(column.report)",
            "",
            f"quantiles = column.quantiles({list(view.shares)!r})",
            f"share = law.cdf({view.x!r})  # at most {view.said(view.x)}",
            f"sample = column.to_data(law.rvs({view.samples}, random_state=0))",
            "print(quantiles, share, sample[:5])",
            "",
            f"figure = {seen}",
            "label_axis(figure, law, column.quantity)",
            'save_figure(figure, "density.png")',
            "",
        ]
    )


def overlay_code(view: View) -> str:
    """Python that makes what is seen of several: shares below the line, distances, what moved, the picture."""
    column, groups = view.column, view.other is None
    needed = ["from gaussmix import TableDensity", "from gaussmix.distances import compare"]
    is_file = groups and not isinstance(view.table.source, str)
    if groups:
        made = [table_code(view.table, [column, view.by], rows=True), "groups = {"]
        made += [f"    {name!r}: table[{view.by!r}] == {value!r}," for name, value in view.overlay.values.items()]
        made += ["}", "models = {", f"    name: TableDensity().fit({{{column!r}: table[{column!r}][rows]}})"]
        made += ["    for name, rows in groups.items()", "}"]
    else:
        assert view.other is not None
        made = [
            table_code(view.table, [column], rows=False),
            table_code(view.other, [column], rows=False, name="other"),
        ]
        made.append("models = {")
        made += [
            f"    {name!r}: TableDensity(columns=[{column!r}]).fit({table}),"
            for name, table in zip(view.overlay.columns, ("table", "other"), strict=True)
        ]
        made.append("}")
    picture = "plot_comparison, save_figure" if len(view.overlay.columns) == 2 else "save_figure"
    needed += [f"from gaussmix.plots import label_axis, {picture}"]
    needed += [f"from gaussmix.tables import compare_tables{', read_rows' if is_file else ''}"]
    if len(view.overlay.columns) == 2:
        drawn = [f"figure = plot_comparison(*laws.values(), names=list(laws), title={column!r}, log={view.log})"]
    else:
        needed.append("from matplotlib.figure import Figure")
        drawn = ['figure = Figure(figsize=(8, 4.5), layout="constrained")', "axes = figure.add_subplot()"]
        drawn += ["for name, law in laws.items():", "    law.plot(axes, label=name)"]
        drawn += [*(['axes.set_yscale("log")'] if view.log else []), f"axes.set_title({column!r})", "axes.legend()"]
    return "\n".join(
        [
            _imports(view, *needed),
            *made,
            f"columns = {{name: model.columns_[{column!r}] for name, model in models.items()}}",
            "laws = {name: column.density for name, column in columns.items()}",
            f"shares = {{name: law.cdf({view.x!r}) for name, law in laws.items()}}  # at most {view.said(view.x)}",
            "",
            "first, *others = models",
            "distances = {name: compare(laws[first], laws[name]) for name in others}",
            "drifts = {name: compare_tables(models[first], models[name]).columns[0] for name in others}",
            "for name in others:",
            '    print(f"{first} and {name}\\n{distances[name]}")',
            "",
            *drawn,
            "label_axis(figure, laws[first], columns[first].quantity)",
            'save_figure(figure, "density.png")',
            "",
        ]
    )


# -- the tab


class Densities:
    """What the tab shows of a session."""

    def __init__(self, session: Session):
        self.session = session
        self.table: Table | None = None
        self.view: View | None = None
        with parts.columns() as (side, main):
            with side:
                self._chooser = TableChooser(session, self._open)
                with parts.card("A column") as self._columns:
                    self._select = ui.select([], label="Column", with_input=True, on_change=self._learn)
                    self._beside = ui.select({}, label="Compare with", on_change=self._learn)
                    for select in (self._select, self._beside):
                        select.props("outlined dense").classes("gm-wide")
            with main:
                self._result = parts.card()
        self._columns.set_visibility(False)
        self._asked: tuple[Any, ...] | None = None  # what is being learnt, or was: selects tell of each change
        with self._result, ui.column().classes("gm-welcome"):
            ui.label("Drop a table to see how a column is distributed.").classes("gm-heading")
            ui.label("No bandwidth, no bins, no number of components to choose. Nothing leaves this machine.")

    async def _open(self, table: Table) -> None:
        self.table = table
        self._columns.set_visibility(True)
        self._select.set_options(list(table.numbers), value=table.numbers[0])
        self._beside.set_options({"": "nothing"}, value="")
        await self._learn()

    def _offer(self, table: Table, column: str) -> None:
        """What the column may be compared with: the same of another table, groups."""
        offered = {"": "nothing"}
        for key, (name, source) in self._chooser.tables.items():
            if isinstance(source, Path) and source != table.source:
                offered[f"table {key}"] = f"{column} in {name}"
        groups = [each for each in (*table.categories, *table.plain) if each != column]
        offered |= {f"group {each}": f"by {each}" for each in groups}
        self._beside.set_options(offered, value=self._beside.value if self._beside.value in offered else "")

    async def _learn(self) -> None:
        table, column = self.table, self._select.value
        if table is None or column not in table.numbers:
            return
        self._offer(table, column)
        asked = (table, column, self._beside.value)
        if asked == self._asked:
            return
        self._asked = asked
        kind, _, what = (self._beside.value or "").partition(" ")
        other, by = None, ""
        if kind == "table":
            with parts.saying(self.session, self._columns):
                other = await asyncio.to_thread(Table.open, *self._chooser.tables[what])
                job: tuple[Any, ...] = (learn_pair, table, other, column)
            if other is None:
                return
        elif kind == "group":
            by, job = what, (learn_groups, table.source, column, what)
        else:
            job = (learn, table.source, column)
        found: Any = await parts.run(self.session, self._columns, f"Learning {column}", *job)
        if asked != self._asked:
            return
        if found is None:
            self._asked = None
        else:
            overlay = Overlay({str(column): found}, (), ()) if kind == "" else found
            self.view = View(table, overlay, other, by)
            self._result.clear()
            with self._result:
                self._show(self.view)

    def _show(self, view: View) -> None:
        ui.label(view.column).classes("gm-title").props("role=heading aria-level=2")
        about = [view.table.name, *([view.other.name] if view.other else []), *([f"by {view.by}"] if view.by else [])]
        ui.label(" · ".join([*about, *([view.overlay.note] if view.overlay.note else [])])).classes("gm-soft")
        with ui.row().classes("gm-row"):
            self._toggle("Log scale", "log")
            if not view.compared:
                self._toggle("Far out", "far")
        self._canvas = ui.column().classes("gm-wide")
        self._rug = ui.label().classes("gm-soft gm-small").props("role=status")
        self._draw_chart()
        self._share = parts.Slider("Share below the line", 0.001, 0.999, step=0.001, value=0.5, on_move=self._read)
        middle = view.said(view.x)
        with ui.row().classes("gm-readout"):
            with ui.column():
                self._number = ui.label(middle).classes("gm-number")
                self._sentence = ui.label(view.said_below()).classes("gm-soft").props("role=status")
            self._value = ui.input("What share is at most ...", placeholder=middle).props("outlined dense")
            self._value.on("keydown.enter", self._read_value).on("blur", self._read_value)
        if view.compared:
            self._show_distances(view)
        else:
            self._show_quantiles(view)
        self._show_exports(view)
        if not view.compared:
            with ui.column().classes("gm-lines"):
                for line in str(view.first.report).splitlines():
                    ui.label(line).classes("gm-soft gm-small")

    def _toggle(self, words: str, name: str) -> None:
        def turn() -> None:
            setattr(self.view, name, not getattr(self.view, name))
            chip.props["aria-pressed"] = str(getattr(self.view, name)).lower()
            self._draw_chart()

        chip = ui.button(words, on_click=turn, color=None).classes("gm-chip").props("flat aria-pressed=false")

    def _draw_chart(self) -> None:
        view = self.view
        assert view is not None
        if view.compared:
            options = charts.overlay_chart(view)
            about = f"Densities of {view.column}: {', '.join(view.overlay.columns)}"
        else:
            options = charts.density_chart(view)
            low, middle, high = (view.said(float(x)) for x in view.law.ppf([0.05, 0.5, 0.95]))
            about = f"Density of {view.column}: {middle} in the middle, 90 % from {low} to {high}"
        self._canvas.clear()
        with self._canvas:
            self._chart = parts.chart(options, about)
        parts.follow(self._chart, self._take_line)
        self._rug.text = self._said_far(view) if view.far else ""

    def _said_far(self, view: View) -> str:
        places, number = outliers(view.first)
        if not number:
            return "No value lies beyond 1.5 interquartile ranges from the quartiles."
        ends = ", ".join(dict.fromkeys(view.said(float(x)) for x in (places.min(), places.max())))
        return f"{number:,.0f} values lie beyond 1.5 interquartile ranges from the quartiles; the outermost are {ends}."

    def _show_quantiles(self, view: View) -> None:
        def show() -> None:
            with parts.saying(self.session, self._result):
                view.shares = parse_shares(asked.value or "")
                facts.clear()
                with facts:
                    for share, x in zip(view.shares, view.law.ppf(view.shares), strict=True):
                        with ui.column().classes("gm-fact"):
                            ui.label(f"{100 * share:g}% quantile").classes("gm-soft gm-small")
                            ui.label(view.said(float(x)))

        facts = ui.element("div").classes("gm-facts")
        usual = ", ".join(f"{100 * share:g}" for share in view.shares)
        asked = ui.input("Quantiles, in %", value=usual).props("outlined dense").classes("gm-wide")
        asked.on("keydown.enter", show).on("blur", show)
        show()

    def _show_distances(self, view: View) -> None:
        first, *others = view.overlay.columns
        quantity = view.first.quantity
        for name, found, drift in zip(others, view.overlay.distances, view.overlay.drifts, strict=True):
            moved = "moved beyond chance" if drift.moved else "moved as chance may do"
            ui.label(f"From {first} to {name}: {moved}").classes("gm-heading").props("role=heading aria-level=3")
            facts = {
                "W1": quantity.format_length(found.wasserstein_1),
                "W1 / spread": f"{drift.share_of_spread:.1%}",
                "total variation": f"{found.total_variation:.3f}",
                "difference of means": quantity.format_length(found.mean_difference),
            }
            for move in drift.quantiles:
                if move.at in SHARES:
                    words = f"{100 * move.at:g}% quantile{', moved' if move.beyond else ''}"
                    facts[words] = f"{view.said(move.old)} → {view.said(move.new)}"
            with ui.element("div").classes("gm-facts"):
                for words, value in facts.items():
                    with ui.column().classes("gm-fact"):
                        ui.label(words).classes("gm-soft gm-small")
                        ui.label(value)

    def _show_exports(self, view: View) -> None:
        """The picture, samples, code."""

        async def picture(kind: str) -> None:
            with parts.saying(self.session, around):
                path = self.session.folder / f"density.{kind}"
            if await parts.run(self.session, around, "Drawing", draw, view, path):
                ui.download.content(path.read_bytes(), f"{_file_name(view.column)}.{kind}")

        def sample() -> None:
            with parts.saying(self.session, around):
                view.samples = _count(count.value)
                ui.download.content(sample_csv(view).encode(), f"{_file_name(view.column)}-sample.csv")

        with ui.column().classes("gm-wide gm-lines") as around, ui.element("div").classes("gm-fields"):
            for kind in ("png", "svg"):
                ui.button(kind.upper(), on_click=partial(picture, kind)).props("flat dense").classes("gm-take")
            if not view.compared:
                count = ui.input("Samples", value=str(view.samples)).props("outlined dense inputmode=numeric")
                ui.button("Samples as CSV", on_click=sample).props("flat dense").classes("gm-take")
            parts.python_code(lambda: overlay_code(view) if view.compared else density_code(view))

    # -- the line

    def _take_line(self, place: float) -> None:
        """Move the line to where the pointer is."""
        if self.view is not None:
            self._place(charts.from_axis(self.view.first.quantity, place))

    def _read(self, share: float) -> None:
        """Move the line to a quantile."""
        if self.view is not None:
            self._place(float(self.view.law.ppf(share)), share)

    def _read_value(self) -> None:
        """Move the line to a value that was typed."""
        if self.view is not None and self._value.value:
            with parts.saying(self.session, self._result):
                self._place(self.view.first.quantity.parse(self._value.value))

    def _place(self, x: float, share: float | None = None) -> None:
        view = self.view
        assert view is not None
        view.x = x
        if share is None:
            share = float(view.law.cdf(x))
            self._share.set_value(share)
        self._number.text, self._sentence.text = view.said(x), view.said_below()
        self._chart.run_chart_method("setOption", {"series": charts.reading(view)})


def sample_csv(view: View) -> str:
    """Return samples as CSV, the same as the code draws."""
    import io

    from gaussmix.density.files import write_csv

    text = io.StringIO()
    values = view.first.to_data(np.asarray(view.law.rvs(view.samples, random_state=0)))
    write_csv(text, [{view.column: values}])
    return text.getvalue()


def _count(text: str | None) -> int:
    if text is None or not text.strip().isdecimal() or not 1 <= int(text) <= _MOST_SAMPLES:
        raise ValueError(f"{text!r} is no number of samples: give one from 1 to {_MOST_SAMPLES:,}")
    return int(text)


def _file_name(text: str) -> str:
    """A name for what is downloaded."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)[:60].strip("-") or "density"


def build(session: Session) -> None:
    """Lay out the tab.

    Parameters
    ----------
    session : Session
        Whose it is.
    """
    Densities(session)
