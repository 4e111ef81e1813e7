"""What is seen of a column, or of several over each other: as a chart that ECharts draws, and as a picture.

Charts are made of what `gaussmix.plots` draws with: `histogram_bars`, and the points of a line. Whoever takes the line
in a chart moves it by the series that `reading` gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix.density._mixture.picture import line_points, only_points, span
from gaussmix.density.discrete import LatticeMixture1D, count_values
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import Quantity
from gaussmix.plots.densities import histogram_bars
from gaussmix.studio import parts
from gaussmix.studio.tables import Overlay, Table, outliers
from gaussmix.tables.column import ColumnDensity

__all__ = ["SHARES", "View", "density_chart", "draw", "from_axis", "overlay_chart", "reading"]

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Whose quantiles are shown at first."""
COLOURS = (parts.BLUE, parts.ORANGE, "var(--third)", "var(--fourth)", "var(--fifth)")
"""Of the densities that lie over each other."""
_MOST_POINTS = 700  # of a line, which is sent to the browser
_MOST_OUTLIERS = 400
_MOST_STEMS = 60  # probabilities of integers, which are a line where there are more
_MS = {"D": 86_400e3, "s": 1e3}  # of a time axis, in the unit of a quantity
_SPIKE, _HEADROOM = 3.0, 1.12  # a line may rise above the highest bar by this factor before it is cut
_LABELS = {"color": parts.FAINT, "hideOverlap": True}
_POWERS = "(y) => y.toExponential(0).replace('e+', 'e')"


@dataclass
class View:
    """What is seen: a column of a table, beside what it lies, and how."""

    table: Table
    overlay: Overlay
    other: Table | None = None
    by: str = ""
    log: bool = False
    far: bool = False
    x: float = 0.0
    shares: tuple[float, ...] = SHARES
    samples: int = 1000
    column: str = field(init=False)

    def __post_init__(self):
        self.column = self.first.name
        self.x = float(self.law.median())

    @property
    def first(self) -> ColumnDensity:
        """The column, or the first of those that are compared."""
        return next(iter(self.overlay.columns.values()))

    @property
    def law(self) -> GaussianMixture1D:
        """Its distribution."""
        law = self.first.density
        assert law is not None
        return law

    @property
    def compared(self) -> bool:
        """Whether there are several."""
        return len(self.overlay.columns) > 1

    def said(self, x: float) -> str:
        """A value as people read it."""
        return self.first.quantity.format(x, self.law.std())

    def said_below(self) -> str:
        """What the line reads."""
        shares = {name: float(each.density.cdf(self.x)) for name, each in self.overlay.columns.items() if each.density}
        if not self.compared:
            (share,) = shares.values()
            return f"{share:.1%} of {self.column} are at most {self.said(self.x)}"
        return f"At most {self.said(self.x)}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


# -- one column


def density_chart(view: View) -> dict[str, Any]:
    """Return ECharts' options: histogram, density, edges, point masses or probabilities, and a line to move.

    On a logarithmic axis what is lower than its end stands at it. Those far out are a rug.
    """
    law, counts, to_axis = view.law, view.first.counts, _to_axis(view.first.quantity)
    assert counts is not None
    low, high = _ends(view)
    series, top, least = [], 0.0, math.inf
    if isinstance(law, LatticeMixture1D):
        series += _probabilities(law, counts, to_axis)
        top, least = float(law.probabilities.max()), float(law.probabilities.min()) / 3
    else:
        if (bars := histogram_bars(counts, low, high)) is not None:
            heights, edges = bars
            steps = pairs(to_axis(edges), np.r_[heights, 0.0])
            series.append({"name": "histogram", "data": steps, "step": "end", **area(parts.BARS, 1.0)})
            top, least = float(heights.max()), float(heights[heights > 0].min()) / 10
        if not only_points(law):
            x = _thinned(line_points(law, low, high))
            y = law.pdf(x)
            series.append({"name": "density", "data": pairs(to_axis(x), y), **line(parts.BLUE)})
            top = max(min(float(y.max()), _SPIKE * top), top) or float(y.max())
        series += _point_masses(law, to_axis)
    least = max(min(least, top / 10), 1e-9 * top)
    below, mark = reading(view)
    series += [{**below, **area(parts.BLUE, 0.22)}, {"data": [], **mark}, *_edges(law, low, high, to_axis)]
    if view.far:
        places = outliers(view.first)[0]
        rug = {"type": "scatter", "symbol": "rect", "symbolSize": [2, 16], "symbolOffset": [0, "-50%"], "z": 3}
        ground = pairs(to_axis(places), np.full(len(places), least if view.log else 0.0))
        series.append({"name": "far out", "color": parts.ORANGE, "data": _thinned(ground, _MOST_OUTLIERS), **rug})
    name = "probability" if isinstance(law, LatticeMixture1D) else "density"
    return framed(series, view.first.quantity, (low, high), upright(name, least, top, view.log), view.log)


def reading(view: View) -> list[dict[str, Any]]:
    """Return the series that say what lies at most at the line: the line, and of one column the area below it."""
    to_axis, law = _to_axis(view.first.quantity), view.law
    share = "" if view.compared else f"{float(law.cdf(view.x)):.1%}"
    mark = {"id": "line", "markLine": _mark(float(to_axis(view.x)), share)}
    if view.compared:
        return [mark]
    shaded: list[list[float]] = []
    if not isinstance(law, LatticeMixture1D) and not only_points(law):
        low, high = _ends(view)
        places = _thinned(line_points(law, low, high))
        places = np.r_[places[places < view.x], min(max(view.x, low), high)]
        shaded = pairs(to_axis(places), law.pdf(places))
    return [{"id": "below", "data": shaded}, mark]


def _ends(view: View) -> tuple[float, float]:
    law, counts = view.law, view.first.counts
    low, high = span(law, view.log)
    if view.far and counts is not None:
        low, high = min(low, counts.minimum), max(high, counts.maximum)
        low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    if isinstance(law, LatticeMixture1D):
        low, high = low - law.step / 2, high + law.step / 2
    return low, high


# -- several columns over each other


def overlay_chart(view: View) -> dict[str, Any]:
    """Return ECharts' options: the densities of columns, or of groups, over each other, and a line to move."""
    laws: dict[str, Any] = {name: column.density for name, column in view.overlay.columns.items()}
    spans = np.array([span(law, view.log) for law in laws.values()])
    low, high = float(spans[:, 0].min()), float(spans[:, 1].max())
    to_axis, series, tops, leasts = _to_axis(view.first.quantity), [], [0.0], [math.inf]
    for (name, law), colour in zip(laws.items(), COLOURS, strict=False):
        smooth = law.continuous if isinstance(law, LatticeMixture1D) else law
        if not only_points(smooth):
            points = _thinned(line_points(smooth, low, high))
            y = smooth.pdf(points)
            series.append({"name": name, "data": pairs(to_axis(points), y), **line(colour)})
            tops.append(float(min(y.max(), 4 * np.quantile(y, 0.99))))
            leasts.append(float(y[y > 0].min()))
        series += _point_masses(smooth, to_axis, name, colour)
    top, least = max(tops) or 1.0, max(min(leasts), 1e-6 * max(tops))
    series += [{"data": [], **each} for each in reading(view)]
    log = view.log and max(tops) > 0
    return framed(series, view.first.quantity, (low, high), upright("density", least, top, log), log)


# -- one row of a prediction


def backdrop(law: GaussianMixture1D, ends: tuple[float, float], name: str) -> list[dict[str, Any]]:
    """Return the series of a distribution that others are seen before: of all rows."""
    if isinstance(law, LatticeMixture1D):
        step = law.step * 0.5
        x = np.stack([law.values - step, law.values + step], 1).ravel()
        return [{"name": name, "data": pairs(x, np.repeat(law.probabilities, 2)), **area(parts.BARS, 1.0), "z": 1}]
    if only_points(law):
        return []
    x = _thinned(line_points(law, *ends))
    return [{"name": name, "data": pairs(x, law.pdf(x)), **area(parts.BARS, 1.0), "z": 1}]


def row_series(
    law: GaussianMixture1D, interval: tuple[float, float], ends: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the series of one row's distribution, with its interval, which take the place of those of another row."""
    curve: list[list[float]] = []
    inside: list[list[float]] = []
    lattice = isinstance(law, LatticeMixture1D)
    dense = isinstance(law, LatticeMixture1D) and ends[1] - ends[0] > _MOST_STEMS * law.step
    positions, masses = law.atoms
    alone = slice(None, None, max(1, len(positions) - 1) if dense else 1)  # of many the ends, which hold what is beyond
    stems = pairs(positions[alone], masses[alone])
    if dense or not (lattice or only_points(law)):
        x = positions[1:-1] if dense else _thinned(line_points(law, *ends))
        curve = pairs(x, law.pdf(x))
        held = np.r_[interval[0], x[(x > interval[0]) & (x < interval[1])], interval[1]]
        inside = pairs(held, law.pdf(held))
    style = {"color": parts.INK, "width": 1, "type": "dashed"}
    marks = {"symbol": "none", "label": {"show": False}, "lineStyle": style, "data": [{"xAxis": x} for x in interval]}
    found: list[dict[str, Any]] = [
        {"id": "inside", "data": inside, **area(parts.BLUE, 0.22), "markLine": marks},
        {"id": "row", **({"name": "this row"} if curve else {}), "data": curve, **line(parts.BLUE)},
    ]
    if stems:
        name = "at the ends" if dense else "this row" if lattice else "point masses"
        how: dict[str, Any] = {"color": parts.BLUE} if lattice else {"color": parts.ORANGE, "yAxisIndex": 1}
        found.append(
            {"id": "stems", "name": name, "data": stems, "type": "bar", "barWidth": 3, "barGap": "-100%", **how}
        )
    return found


# -- as a picture


def draw(view: View, path: Path, *, progress: Callable[..., None]) -> Path:
    """Draw what the code draws, in a job: .png or .svg by the suffix."""
    from matplotlib.figure import Figure

    from gaussmix.plots import label_axis, plot_comparison, plot_density, save_figure

    progress(None, "drawing")
    laws: dict[str, Any] = {name: column.density for name, column in view.overlay.columns.items()}
    if len(laws) == 1:
        figure = plot_density(view.law, view.first.counts, title=view.column, log=view.log)
    elif len(laws) == 2:
        figure = plot_comparison(*laws.values(), names=list(laws), title=view.column, log=view.log)
    else:
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for name, law in laws.items():
            law.plot(axes, label=name)
        if view.log:
            axes.set_yscale("log")
        axes.set_title(view.column)
        axes.legend()
    label_axis(figure, view.law, view.first.quantity)
    save_figure(figure, path)
    return path


# -- what they are made of


def framed(
    series: list[dict[str, Any]], quantity: Quantity, ends: tuple[float, float], left: dict[str, Any], log: bool = False
) -> dict[str, Any]:
    """A whole chart of series."""
    to_axis = _to_axis(quantity)
    kind = "time" if quantity.kind == "datetime" else "value"
    right = {"min": 0, "name": "share", "position": "right", "splitLine": {"show": False}}
    bottom = {
        "type": kind,
        "min": float(to_axis(ends[0])),
        "max": float(to_axis(ends[1])),
        "splitLine": {"show": False},
        "containShape": False,  # what would make room for the width of bars
    }
    if log:
        series = [_above(each, left["min"]) for each in series]
    return {
        "useUTC": True,
        "xAxis": bottom,
        "yAxis": [left, right] if any("yAxisIndex" in each for each in series) else [left],
        "legend": {"data": list(dict.fromkeys(each["name"] for each in series if "name" in each))},
        "series": [{"type": "line", "showSymbol": False, "silent": True, **each} for each in series],
    }


def upright(name: str, least: float = 0.0, top: float | None = None, log: bool = False) -> dict[str, Any]:
    """The axis of densities."""
    if top is None:
        return {"name": name, "min": 0, "axisLabel": {**_LABELS, "showMaxLabel": False}}
    if log:
        return {
            "name": name,
            "type": "log",
            "min": least,
            "max": 2 * top,
            "axisLabel": {**_LABELS, ":formatter": _POWERS, "showMinLabel": False, "showMaxLabel": False},
        }
    return {
        "name": name,
        "min": 0,
        "max": float(f"{_HEADROOM * top:.1e}"),
        "axisLabel": {**_LABELS, "showMaxLabel": False},
    }


def line(colour: str) -> dict[str, Any]:
    return {"color": colour, "lineStyle": {"color": colour, "width": 2.2}}


def area(colour: str, opacity: float) -> dict[str, Any]:
    return {"color": colour, "lineStyle": {"width": 0}, "areaStyle": {"color": colour, "opacity": opacity}}


def _above(series: dict[str, Any], least: float) -> dict[str, Any]:
    """For a logarithmic axis, which has no zero."""
    if "yAxisIndex" in series:
        return series
    if "areaStyle" in series:
        series = {**series, "areaStyle": {**series["areaStyle"], "origin": "start"}}
    return {**series, "data": [[x, max(y, least)] for x, y in series["data"]]}


def _point_masses(
    law: GaussianMixture1D, to_axis: Callable[[Any], Any], name: str = "point masses", colour: str = parts.ORANGE
) -> list[dict[str, Any]]:
    positions, masses = law.atoms
    if not positions.size:
        return []
    return [_stems(name, to_axis(positions), masses, colour, yAxisIndex=1)]


def _edges(law: GaussianMixture1D, low: float, high: float, to_axis: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Where the distribution ends, as a dashed line with a word."""
    if isinstance(law, LatticeMixture1D):
        return []
    found = [bound for bound in law.bounds if low <= bound <= high]
    if not found:
        return []
    label = {"formatter": "edge", "color": parts.FAINT, "position": "insideEndTop", "fontSize": 11}
    style = {"color": parts.FAINT, "width": 1.2, "type": "dashed"}
    marks = {
        "symbol": "none",
        "label": label,
        "lineStyle": style,
        "data": [{"xAxis": float(to_axis(x))} for x in found],
    }
    return [{"id": "edges", "data": [], "markLine": marks}]


def _probabilities(law: LatticeMixture1D, counts: Any, to_axis: Callable[[Any], Any]) -> list[dict[str, Any]]:
    series = []
    counted = count_values(counts, law.values[0], law.step)
    if counted is not None:
        places, shares = to_axis(law.values[0] + law.step * counted[0]), counted[1] / counts.total_mass
        bars = {"type": "bar", "color": parts.BARS, "barMaxWidth": 24, "data": pairs(places, shares)}
        series.append({"name": "shares of the data", **bars})
    return [*series, _stems("probabilities", to_axis(law.values), law.probabilities, parts.BLUE)]


def _stems(name: str, x: Any, y: Any, color: str, **more: Any) -> dict[str, Any]:
    """Thin bars, beside no others."""
    return {"type": "bar", "name": name, "color": color, "barWidth": 3, "barGap": "-100%", "data": pairs(x, y), **more}


def _mark(x: float, words: str) -> dict[str, Any]:
    line = {"color": parts.INK, "width": 1.4, "type": "solid"}
    label = {"formatter": words.replace("{", "(").replace("}", ")"), "color": parts.INK, "position": "end"}
    return {"symbol": "none", "lineStyle": line, "label": {**label, "show": bool(words)}, "data": [{"xAxis": x}]}


def _to_axis(quantity: Quantity) -> Callable[[Any], Any]:
    scale = _MS[quantity.unit] if quantity.kind == "datetime" else 1.0
    return lambda x: np.asarray(x, np.float64) * scale


def from_axis(quantity: Quantity, x: float) -> float:
    """Return the number that stands at the place x of a chart's axis."""
    return x / (_MS[quantity.unit] if quantity.kind == "datetime" else 1.0)


def pairs(x: Any, y: Any) -> list[list[float]]:
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1).tolist()


def _thinned(x: Any, most: int = _MOST_POINTS) -> Any:
    return x[:: max(1, -(-len(x) // most))]
