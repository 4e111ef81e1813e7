"""The tab of prediction: the distribution of a column given others, which moves as sliders of these move.

`fit` runs in a job; `PredictionTab` lays out the tab. `prediction_code` says in Python what is seen.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from numpy.typing import NDArray

from gaussmix._progress import watched
from gaussmix._typing import FloatArray
from gaussmix.density.columns import as_level
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import NUMBER, format_number
from gaussmix.studio import charts, parts
from gaussmix.studio.session import Session
from gaussmix.studio.tables import Table, TableChooser, read_rows, table_code

if TYPE_CHECKING:
    from gaussmix.conditional.estimator import ConditionalGMMExpansion

__all__ = ["Fitted", "PredictionTab", "build", "fit", "prediction_code"]

MOST_ROWS = {"fast": 10_000, "auto": 5_000}
"""Rows that are learnt from: of more a sample, which takes about a minute of one processor."""
LEVELS = (0.5, 0.8, 0.9, 0.95)
_RULES = {"fast": "Fast", "auto": "Most accurate"}
_MOST_INPUTS, _MOST_CHOICES = 24, 30  # at first; words of one column


@dataclass(frozen=True)
class Input:
    """A column that the target is predicted from: numbers from ``low`` to ``high``, or ``choices``."""

    name: str
    usual: Any
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    whole: bool = False

    @classmethod
    def of(cls, name: str, values: NDArray[Any]) -> Input:
        """That of values (n,): numbers between their 1 and 99 % quantiles, the most frequent words."""
        if values.dtype.kind not in "fiub":
            counts = Counter(as_level(value) for value in values.tolist() if as_level(value) is not None)
            names = tuple(str(name) for name, _ in counts.most_common(_MOST_CHOICES))
            return cls(name, names[0] if names else None, choices=names)
        known = values[np.isfinite(values)].astype(np.float64)
        if not len(known):
            return cls(name, math.nan)
        low, middle, high = np.quantile(known, [0.01, 0.5, 0.99], method="nearest").tolist()
        return cls(name, middle, low, high, whole=bool((known == np.rint(known)).all()))

    @property
    def step(self) -> float:
        """Of a slider."""
        if self.whole:
            return 1.0
        return 10.0 ** math.floor(math.log10((self.high - self.low) / 200)) if self.high > self.low else 1.0

    def said(self, value: float) -> str:
        """A number as people read it."""
        return format_number(value, (self.high - self.low) / 4)


@dataclass
class Fitted:
    """A model, what it was learnt from, and what is asked of it."""

    table: Table
    target: str
    model: ConditionalGMMExpansion
    inputs: tuple[Input, ...]
    among: GaussianMixture1D
    rule: str
    rows: int
    total: int
    missing: int
    level: float = 0.9
    at: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.at = {each.name: each.usual for each in self.inputs}

    def ask(self) -> tuple[GaussianMixture1D, tuple[float, float]]:
        """Return the distribution of the target at the inputs, and its central interval."""
        law = self.model.predict_distribution(row_of(self.at))[0]
        low, high = law.ppf([(1 - self.level) / 2, (1 + self.level) / 2]).tolist()
        return law, (low, high)

    def ends(self) -> tuple[float, float]:
        """Of the picture: nearly all of the rows."""
        low, high = self.among.ppf([0.002, 0.998]).tolist()
        edge = 0.08 * (high - low) or 1.0
        return low - edge, high + edge

    def said(self, value: float) -> str:
        """A value of the target as people read it."""
        return format_number(value, float(self.among.std()))


def row_of(at: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """One row as columns (1,): numbers, or words."""
    return {
        name: np.array([value], object if isinstance(value, str) or value is None else np.float64)
        for name, value in at.items()
    }


def fit(table: Table, target: str, names: list[str], rule: str, *, progress: Callable[..., None]) -> Fitted:
    """Learn the distribution of the column ``target`` of numbers given the inputs ``names``; for a job."""
    from gaussmix.conditional.estimator import ConditionalGMMExpansion
    from gaussmix.density.model import DensityModel

    rows, total = read_rows(table.source, [*names, target], MOST_ROWS[rule], progress=progress)
    known = np.isfinite(rows[target].astype(np.float64))
    columns, y = {name: rows[name][known] for name in names}, rows[target][known].astype(np.float64)
    if len(y) < 20:
        raise ValueError(f"{len(y)} rows have a {target}; at least 20 are needed to learn from")
    model = ConditionalGMMExpansion(rule, random_state=0)
    with watched(progress):
        model.fit(columns, y)
    progress(None, "looking at the result")
    among = DensityModel().fit(y).distribution_
    inputs = tuple(Input.of(name, columns[name]) for name in names)
    found = Fitted(table, target, model, inputs, among, rule, len(y), total, int((~known).sum()))
    found.ask()  # what compiles for the first row compiles here
    return found


def prediction_code(found: Fitted) -> str:
    """Python that learns the same model, and makes of it what is seen."""
    is_file = not isinstance(found.table.source, str)
    names = [each.name for each in found.inputs]
    needed = [f"from sklearn.datasets import load_{found.table.source}"] if not is_file else []
    needed += ["", "from gaussmix import ConditionalGMMExpansion"]
    needed += ["from gaussmix.tables import read_rows"] if is_file else []
    row = [f"    {name!r}: np.array([{value!r}], {'object' if _is_word(value) else 'float'})," for name, value in
           found.at.items()]  # fmt: skip
    return "\n".join(
        [
            "import numpy as np",
            *needed,
            "",
            table_code(found.table, [*names, found.target], rows=True, most=MOST_ROWS[found.rule]),
            f"known = np.isfinite(table[{found.target!r}].astype(float))",
            f"columns = {{name: table[name][known] for name in {names!r}}}",
            f"model = ConditionalGMMExpansion({found.rule!r}, random_state=0)",
            f"model.fit(columns, table[{found.target!r}][known].astype(float))",
            "print(model.report_)",
            "",
            "row = {",
            *row,
            "}",
            "law = model.predict_distribution(row)[0]",
            f"interval = law.ppf({[(1 - found.level) / 2, (1 + found.level) / 2]!r})",
            "print(law.mean(), law.median(), interval)",
            "",
        ]
    )


def _is_word(value: Any) -> bool:
    return isinstance(value, str) or value is None


# -- charts


def conditional_chart(found: Fitted, law: GaussianMixture1D, interval: tuple[float, float]) -> dict[str, Any]:
    """Return ECharts' options: the distribution of the target for the row, over that of all rows."""
    ends = found.ends()
    series = [*charts.backdrop(found.among, ends, f"{found.target}, all rows"), *charts.row_series(law, interval, ends)]
    return charts.framed(series, NUMBER, ends, charts.upright("density"))


def reliability_chart(levels: FloatArray, shares: FloatArray, n: int) -> dict[str, Any]:
    """Return ECharts' options: the share of n observations inside central intervals over what these (L,) promise."""
    even = np.linspace(0, 1, 51)
    spread = 1.96 * np.sqrt(even * (1 - even) / n)
    low, high = np.clip(even - spread, 0, 1), np.clip(even + spread, 0, 1)
    band = {"stack": "chance", "lineStyle": {"width": 0}, "color": parts.BARS}
    series: list[dict[str, Any]] = [
        {"id": "lower", "data": charts.pairs(even, low), **band},
        {"name": "chance, 95 %", "data": charts.pairs(even, high - low), **band, "areaStyle": {"color": parts.BARS}},
        {"id": "even", "data": [[0, 0], [1, 1]], "lineStyle": {"color": parts.INK, "width": 1}},
        {"name": "rows out of fold", "data": charts.pairs(levels, shares), **charts.line(parts.BLUE)},
    ]
    percent = {"color": parts.FAINT, ":formatter": "(v) => Math.round(100 * v) + ' %'"}
    options = charts.framed(series, NUMBER, (0, 1), {"min": 0, "max": 1, "name": "inside", "axisLabel": percent})
    options["xAxis"] |= {"axisLabel": percent, "name": "level of the interval", **_BELOW}
    return {**options, "grid": {"bottom": 34, "right": 26}}


def pit_chart(heights: FloatArray, edges: FloatArray, n: int) -> dict[str, Any]:
    """Return ECharts' options: a histogram (B,) of probability integral transforms, flat where the model is right."""
    width = float(edges[1] - edges[0])
    spread = 1.96 * math.sqrt((1 - width) / (width * n))
    band = {"itemStyle": {"color": parts.LINES, "opacity": 0.9}, "data": [[{"yAxis": max(0.0, 1 - spread)},
            {"yAxis": 1 + spread}]]}  # fmt: skip
    level = {"symbol": "none", "label": {"show": False}, "lineStyle": {"color": parts.INK, "type": "solid"}}
    bars = charts.pairs(edges, np.r_[heights, 0.0])
    series: list[dict[str, Any]] = [
        {"name": "chance, 95 % of bars", "color": parts.LINES, "data": [], "markArea": band},
        {"name": "rows out of fold", "data": bars, "step": "end", **charts.area(parts.BLUE, 0.7),
         "markLine": {**level, "data": [{"yAxis": 1}]}},
    ]  # fmt: skip
    top = round(1.2 * max(float(heights.max()), 1 + spread), 1)
    labels = {"color": parts.FAINT, "showMaxLabel": False}
    options = charts.framed(series, NUMBER, (0, 1), {"min": 0, "max": top, "name": "rows", "axisLabel": labels})
    options["xAxis"] |= {"name": "P(Y ≤ y) under the model", **_BELOW}
    return {**options, "grid": {"bottom": 34, "right": 26}}


_BELOW = {"nameLocation": "middle", "nameGap": 30}


# -- the tab


class PredictionTab:
    """What the tab shows of a session."""

    def __init__(self, session: Session):
        self.session = session
        self.table: Table | None = None
        self.found: Fitted | None = None
        self._busy = self._again = False
        with parts.columns() as (side, main):
            with side:
                TableChooser(session, self._open)
                with parts.card("What to predict") as self._choice:
                    self._target = ui.select([], label="Target", with_input=True, on_change=self._offer)
                    self._inputs = ui.select([], label="Inputs", multiple=True).props("use-chips")
                    self._rule = ui.select(_RULES, label="Rule", value="fast")
                    for select in (self._target, self._inputs, self._rule):
                        select.props("outlined dense").classes("gm-wide")
                    ui.button("Learn", on_click=self._fit, color=None).classes("gm-button").props("flat")
            with main:
                self._result = parts.card()
        self._choice.set_visibility(False)
        with self._result, ui.column().classes("gm-welcome"):
            ui.label("Drop a table, choose a column, and see how it depends on the others.").classes("gm-heading")
            ui.label("Not one number but a distribution for each row, and how often it was right.")

    async def _open(self, table: Table) -> None:
        if not table.plain:
            raise ValueError(f"{table.name} has no column of numbers to predict")
        self.table = table
        self._choice.set_visibility(True)
        self._target.set_options(list(table.plain), value=table.plain[-1])
        self._offer()

    def _offer(self) -> None:
        """All other columns as inputs."""
        if self.table is not None:
            others = [each for each in (*self.table.numbers, *self.table.categories) if each != self._target.value]
            self._inputs.set_options(others, value=others[:_MOST_INPUTS])

    async def _fit(self) -> None:
        table, target, names, rule = self.table, self._target.value, self._inputs.value, self._rule.value
        if table is None:
            return
        if target is None or not names:
            parts.tell(self._choice, "Choose a target, and at least one input.")
            return
        chosen = table, target, list(names), rule
        found = await parts.run(self.session, self._choice, f"Learning {target} from {len(names)} inputs", fit, *chosen)
        if found is not None and self.table is table:
            self.found = found
            self._result.clear()
            with self._result:
                self._show(found)

    def _show(self, found: Fitted) -> None:
        law, interval = found.ask()
        ui.label(f"{found.target}, given the others").classes("gm-title").props("role=heading aria-level=2")
        ui.label(self._said_rows(found)).classes("gm-soft")
        self._chart = parts.chart(conditional_chart(found, law, interval), f"Distribution of {found.target}")
        with ui.row().classes("gm-readout"):
            with ui.column():
                self._number = ui.label().classes("gm-number")
                self._sentence = ui.label().classes("gm-soft").props("role=status")
            levels = {level: f"{level:.0%} interval" for level in LEVELS}
            ui.select(levels, label="Interval", value=found.level, on_change=self._set_level).props("outlined dense")
        self._say(found, law, interval)
        ui.label("The row").classes("gm-heading").props("role=heading aria-level=3")
        with ui.element("div").classes("gm-inputs"):
            for each in found.inputs:
                self._control(found, each)
        self._show_calibration(found)
        with ui.element("div").classes("gm-fields"):
            parts.python_code(lambda: prediction_code(found))

    def _said_rows(self, found: Fitted) -> str:
        used, total = f"{found.rows:,}".replace(",", " "), f"{found.total:,}".replace(",", " ")
        about = f"{found.table.name} · {used} rows"
        if found.total > found.rows + found.missing:
            about = f"{found.table.name} · a sample of {used} of {total} rows"
        return about + (f" · {found.missing} rows without {found.target} left out" if found.missing else "")

    def _control(self, found: Fitted, each: Input) -> None:
        """A slider, or a choice."""
        if each.choices:
            choose = ui.select(list(each.choices), label=each.name, value=each.usual)
            choose.on_value_change(lambda event: self._set(each.name, event.value))
            choose.props("outlined dense")
            return
        with ui.column().classes("gm-input"):
            with ui.row().classes("gm-input-line"):
                ui.label(each.name).classes("gm-small")
                value = ui.label(each.said(each.usual)).classes("gm-small")

            def move(x: float) -> Any:
                value.text = each.said(x)
                return self._set(each.name, x)

            ends = (each.low, each.high) if each.high > each.low else (each.low - 1, each.low + 1)
            parts.Slider(each.name, *ends, step=each.step, value=each.usual, on_move=move)

    def _show_calibration(self, found: Fitted) -> None:
        from gaussmix.conditional.calibration import pit_histogram, reliability

        report, pit = found.model.report_, found.model.pit_
        ui.label("How right is it?").classes("gm-heading").props("role=heading aria-level=3")
        facts = {"CRPS": f"{report.crps:.4g}", "CRPS without inputs": f"{report.crps_marginal:.4g}"}
        facts |= {f"{level:.0%} intervals cover": f"{share:.1%}" for level, share in report.coverage.items()}
        facts |= {"PIT from uniform": f"{report.pit_ks:.3f}", "chance alone": f"{report.pit_chance:.3f}"}
        with ui.element("div").classes("gm-facts"):
            for words, value in facts.items():
                with ui.column().classes("gm-fact"):
                    ui.label(words).classes("gm-soft gm-small")
                    ui.label(value)
        with ui.element("div").classes("gm-pair"):
            bins = 20 if len(pit) >= 400 else 10
            parts.chart(
                reliability_chart(*reliability(pit), len(pit)), "Share of rows inside intervals, by their level"
            )
            parts.chart(pit_chart(*pit_histogram(pit, bins), len(pit)), "Histogram of the rows' transforms")
        ui.label("All of it on rows that the model did not learn from.").classes("gm-soft gm-small")

    # -- what moves

    async def _set(self, name: str, value: Any) -> None:
        if self.found is not None:
            self.found.at[name] = value
            await self._move()

    async def _set_level(self, event: Any) -> None:
        if self.found is not None:
            self.found.level = float(event.value)
            await self._move()

    async def _move(self) -> None:
        """Ask the model, in a thread; of what comes while it answers the last is asked next."""
        self._again = True
        if self._busy:
            return
        self._busy = True
        try:
            while self._again and self.found is not None and not self.session.closed:
                self._again, found = False, self.found
                with parts.saying(self.session, self._result):
                    law, interval = await asyncio.to_thread(found.ask)
                    if found is self.found:
                        self._say(found, law, interval)
                        series = charts.row_series(law, interval, found.ends())
                        self._chart.run_chart_method("setOption", {"series": series})
        finally:
            self._busy = False

    def _say(self, found: Fitted, law: GaussianMixture1D, interval: tuple[float, float]) -> None:
        low, middle, high = (found.said(x) for x in (interval[0], float(law.median()), interval[1]))
        self._number.text = middle
        self._sentence.text = f"in the middle; {found.level:.0%} from {low} to {high}"


def build(session: Session) -> None:
    """Lay out the tab.

    Parameters
    ----------
    session : Session
        Whose it is.
    """
    PredictionTab(session)
