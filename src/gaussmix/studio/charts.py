"""Charts of distributions as ECharts draws them: densities over histograms, conditional ones, calibration.

They are made of what `gaussmix.plots` draws with: `histogram_bars`, and the points of a line. Whoever takes the line
in a chart moves it by the series that `reading` gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.picture import line_points, only_points, span
from gaussmix.density.discrete import LatticeMixture1D, count_values
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.quantity import NUMBER, Quantity
from gaussmix.plots.densities import histogram_bars
from gaussmix.studio import parts
from gaussmix.studio.tables import outliers
from gaussmix.tables.column import ColumnDensity

if TYPE_CHECKING:
    from gaussmix.density.counts import BinnedCounts

__all__ = ["conditional_chart", "density_chart", "overlay_chart", "pit_chart", "reading", "reliability_chart"]

COLOURS = (parts.BLUE, parts.ORANGE, "var(--third)", "var(--fourth)", "var(--fifth)")
"""Of the densities that lie over each other."""
_MOST_POINTS = 700  # of a line, which is sent to the browser
_MOST_OUTLIERS = 400
_MS = {"D": 86_400e3, "s": 1e3}  # of a time axis, in the unit of a quantity
_SPIKE, _HEADROOM = 3.0, 1.12  # a line may rise above the highest bar by this factor before it is cut


# -- one column


def density_chart(
    column: ColumnDensity, *, log: bool = False, far: bool = False, at: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return ECharts' options: histogram, density, edges, point masses or probabilities, and a line to move.

    Parameters
    ----------
    column : ColumnDensity
        What is shown.
    log : bool
        Whether the axis of the density is logarithmic.
    far : bool
        Show all of the data, and those far out as a rug.
    at : (float, float), optional
        The share below the line, and where it stands; the median if not given.
    """
    law, counts, quantity = column.density, column.counts, column.quantity
    assert law is not None
    assert counts is not None
    low, high = _ends(law, counts, log, far)
    to_axis = _to_axis(quantity)
    series, top, least = [], 0.0, math.inf
    if isinstance(law, LatticeMixture1D):
        series += _probabilities(law, counts, to_axis)
        top, least = float(law.probabilities.max()), float(law.probabilities.min()) / 3
    else:
        if (bars := histogram_bars(counts, low, high)) is not None:
            heights, edges = bars
            steps = _pairs(to_axis(edges), np.r_[heights, 0.0])
            fill = {"step": "end", "lineStyle": {"width": 0}, "areaStyle": {"color": parts.BARS, "opacity": 1}}
            series.append({"name": "histogram", "color": parts.BARS, "data": steps, **fill})
            top, least = float(heights.max()), float(heights[heights > 0].min()) / 10
        if not only_points(law):
            x = _thinned(line_points(law, low, high))
            y = law.pdf(x)
            series.append({"name": "density", "data": _pairs(to_axis(x), y), **_line(parts.BLUE)})
            peak = float(y.max())
            top = max(min(peak, _SPIKE * top), top) if top else peak
            least = min(least, float(y[y > 0].min())) if math.isinf(least) else least
        series += _point_masses(law, to_axis)
    least = max(least, 1e-9 * top)
    share, x = at or (0.5, float(law.median()))
    below, line = reading(law, quantity, share, x, (low, high))
    series += [{**below, **_area(parts.BLUE)}, {"data": [], **line}]
    series += _edges(law, low, high, to_axis)
    if far:
        places = _thinned(outliers(column)[0], _MOST_OUTLIERS)
        rug = {"type": "scatter", "symbol": "rect", "symbolSize": [1.5, 12], "symbolOffset": [0, "-50%"]}
        ground = np.full(len(places), least if log else 0.0)
        series.append({"name": "far out", "color": parts.ORANGE, "data": _pairs(to_axis(places), ground), **rug})
    if log:
        series = [_above(each, least) for each in series]
    discrete = isinstance(law, LatticeMixture1D)
    left: dict[str, Any] = {"min": 0, "max": _HEADROOM * top, "name": "probability" if discrete else "density"}
    if log:
        left |= {"type": "log", "min": least, "max": 2 * top}
    return _framed(series, quantity, (low, high), left)


def _ends(law: GaussianMixture1D, counts: BinnedCounts, log: bool, far: bool) -> tuple[float, float]:
    low, high = span(law, log)
    if far:
        low, high = min(low, counts.minimum), max(high, counts.maximum)
        low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    if isinstance(law, LatticeMixture1D):
        low, high = low - law.step / 2, high + law.step / 2
    return low, high


def reading(
    law: GaussianMixture1D, quantity: Quantity, share: float, x: float, ends: tuple[float, float] | None = None
) -> list[dict[str, Any]]:
    """Return the two series that say what lies at most at x: the area below the density, and a line.

    Parameters
    ----------
    law : GaussianMixture1D
        The distribution.
    quantity : Quantity
        What its numbers stand for.
    share, x : float
        What lies below, and where the line stands.
    ends : (float, float), optional
        Of the picture; as of a density alone if not given.
    """
    to_axis = _to_axis(quantity)
    area: list[list[float]] = []
    if not isinstance(law, LatticeMixture1D) and not only_points(law):
        places = _thinned(line_points(law, *(ends or span(law))))
        places = np.r_[places[places < x], x]
        area = _pairs(to_axis(places), law.pdf(places))
    return [{"id": "below", "data": area}, {"id": "line", "markLine": _mark(float(to_axis(x)), f"{share:.1%}")}]


# -- several columns over each other


def overlay_chart(
    columns: Mapping[str, ColumnDensity], *, log: bool = False, x: float | None = None
) -> dict[str, Any]:
    """Return ECharts' options: the densities of columns, or of groups, over each other.

    Parameters
    ----------
    columns : mapping of str to ColumnDensity
        By name.
    log : bool
        Whether the axis of the density is logarithmic.
    x : float, optional
        Where the line stands; at the median of the first if not given.
    """
    laws: dict[str, Any] = {name: column.density for name, column in columns.items()}
    first = next(iter(columns.values()))
    spans = np.array([span(law, log) for law in laws.values()])
    low, high = float(spans[:, 0].min()), float(spans[:, 1].max())
    to_axis, series, tops, leasts = _to_axis(first.quantity), [], [0.0], [math.inf]
    for (name, law), colour in zip(laws.items(), COLOURS, strict=False):
        smooth = law.continuous if isinstance(law, LatticeMixture1D) else law
        if not only_points(smooth):
            points = _thinned(line_points(smooth, low, high))
            y = smooth.pdf(points)
            series.append({"name": name, "data": _pairs(to_axis(points), y), **_line(colour)})
            tops.append(float(min(y.max(), 4 * np.quantile(y, 0.99))))
            leasts.append(float(y[y > 0].min()))
        series += _point_masses(smooth, to_axis, name, colour)
    x = float(next(iter(laws.values())).median()) if x is None else x
    top, least = max(tops) or 1.0, max(min(leasts), 1e-6 * max(tops))
    series.append({"data": [], **overlay_reading(first.quantity, x)[0]})
    left: dict[str, Any] = {"min": 0, "max": _HEADROOM * top, "name": "density"}
    if log and max(tops):
        left |= {"type": "log", "min": least, "max": 2 * top}
        series = [_above(each, least) for each in series]
    return _framed(series, first.quantity, (low, high), left)


def overlay_reading(quantity: Quantity, x: float) -> list[dict[str, Any]]:
    """Return the series of the line in `overlay_chart`.

    Parameters
    ----------
    quantity : Quantity
        What the numbers stand for.
    x : float
        Where it stands.
    """
    return [{"id": "line", "markLine": _mark(float(_to_axis(quantity)(x)), "")}]


# -- predictions


def conditional_chart(
    law: GaussianMixture1D, interval: tuple[float, float], among: GaussianMixture1D, ends: tuple[float, float], name: str
) -> dict[str, Any]:
    """Return ECharts' options: the distribution of the target for one row, over that of all rows.

    Parameters
    ----------
    law, among : GaussianMixture1D
        For the row, and of all rows.
    interval : (float, float)
        Shaded.
    ends : (float, float)
        Of the picture, which stay while the row changes.
    name : str
        Of the target.
    """
    series: list[dict[str, Any]] = []
    smooth = among.continuous if isinstance(among, LatticeMixture1D) else among
    factor = law.step if isinstance(law, LatticeMixture1D) else 1.0
    if not only_points(smooth):
        x = _thinned(line_points(smooth, *ends))
        grey = {"color": parts.BARS, "lineStyle": {"width": 0}, "areaStyle": {"color": parts.BARS, "opacity": 1}}
        series.append({"name": f"{name}, all rows", "data": _pairs(x, factor * smooth.pdf(x)), **grey})
    series += conditional_series(law, interval, ends)
    left = {"min": 0, "name": "probability" if isinstance(law, LatticeMixture1D) else "density"}
    return _framed(series, NUMBER, ends, left)


def conditional_series(
    law: GaussianMixture1D, interval: tuple[float, float], ends: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the series of `conditional_chart` that change with the row.

    Parameters
    ----------
    law : GaussianMixture1D
        For the row.
    interval, ends : (float, float)
        As there.
    """
    curve: list[list[float]] = []
    inside: list[list[float]] = []
    if not isinstance(law, LatticeMixture1D) and not only_points(law):
        x = _thinned(line_points(law, *ends))
        curve = _pairs(x, law.pdf(x))
        held = np.r_[interval[0], x[(x > interval[0]) & (x < interval[1])], interval[1]]
        inside = _pairs(held, law.pdf(held))
    marks = [{"xAxis": each} for each in interval]
    ticks = {"symbol": "none", "data": marks, "label": {"show": False}, "lineStyle": {"color": parts.INK, "width": 1}}
    found = [
        {"id": "inside", "data": inside, **_area(parts.BLUE), "markLine": ticks},
        {"id": "row", "name": "this row", "data": curve, **_line(parts.BLUE)},
    ]
    if isinstance(law, LatticeMixture1D):
        stems = _stems("probabilities", law.values, law.probabilities, parts.BLUE)
        return [{"id": "stems", **stems, "markLine": ticks}]
    return found + [{"id": "stems", **each} for each in _point_masses(law, _to_axis(NUMBER))]


def reliability_chart(levels: FloatArray, shares: FloatArray, n: int) -> dict[str, Any]:
    """Return ECharts' options: the share of observations inside central intervals over what these promise.

    Parameters
    ----------
    levels, shares : ndarray of shape (L,)
        Promised and found.
    n : int
        How many observations; the band is what chance leaves in 95 % of samples, level by level.
    """
    even = np.linspace(0, 1, 51)
    spread = 1.96 * np.sqrt(even * (1 - even) / n)
    low, high = np.clip(even - spread, 0, 1), np.clip(even + spread, 0, 1)
    hidden: dict[str, Any] = {"lineStyle": {"width": 0}, "stack": "chance", "color": parts.BARS}
    series = [
        {"id": "lower", "data": _pairs(even, low), **hidden},
        {"name": "chance, 95 %", "data": _pairs(even, high - low), **hidden, "areaStyle": {"color": parts.BARS}},
        {"id": "even", "data": [[0, 0], [1, 1]], "lineStyle": {"color": parts.INK, "width": 1}},
        {"name": f"{n:,} rows out of fold".replace(",", " "), "data": _pairs(levels, shares), **_line(parts.BLUE)},
    ]
    percent = {"min": 0, "max": 1, "axisLabel": {"color": parts.FAINT, ":formatter": "(v) => Math.round(100 * v) + ' %'"}}
    options = _framed(series, NUMBER, (0.0, 1.0), {**percent, "name": "inside"})
    options["xAxis"] |= {**percent, "name": "level of the interval", "nameLocation": "middle", "nameGap": 28}
    return options


def pit_chart(heights: FloatArray, edges: FloatArray, n: int) -> dict[str, Any]:
    """Return ECharts' options: a histogram of probability integral transforms, flat where the model is right.

    Parameters
    ----------
    heights : ndarray of shape (B,)
        1 where transforms are uniform.
    edges : ndarray of shape (B + 1,)
        From 0 to 1.
    n : int
        How many observations.
    """
    width = float(edges[1] - edges[0])
    spread = 1.96 * math.sqrt((1 - width) / (width * n))
    fill = {"step": "end", "lineStyle": {"width": 0}, "areaStyle": {"color": parts.BLUE, "opacity": 0.7}}
    band = {"silent": True, "itemStyle": {"color": parts.LINES, "opacity": 0.8}}
    band |= {"data": [[{"yAxis": max(0.0, 1 - spread)}, {"yAxis": 1 + spread}]]}
    level = {"symbol": "none", "label": {"show": False}, "lineStyle": {"color": parts.INK, "type": "solid"}}
    series = [
        {"name": "rows out of fold", "color": parts.BLUE, "data": _pairs(edges, np.r_[heights, 0.0]), **fill},
        {"id": "flat", "name": "chance, 95 % of bars", "color": parts.LINES, "data": [], "markArea": band, "markLine":
         {**level, "data": [{"yAxis": 1}]}},
    ]  # fmt: skip
    top = 1.2 * max(float(heights.max()), 1 + spread)
    options = _framed(series, NUMBER, (0.0, 1.0), {"min": 0, "max": top, "name": "rows"})
    options["xAxis"] |= {"name": "P(Y <= y) under the model", "nameLocation": "middle", "nameGap": 28}
    options["legend"] = {"data": [each["name"] for each in series]}
    return options


# -- what they are made of


def _framed(
    series: list[dict[str, Any]], quantity: Quantity, ends: tuple[float, float], left: dict[str, Any]
) -> dict[str, Any]:
    to_axis = _to_axis(quantity)
    kind = "time" if quantity.kind == "datetime" else "value"
    right = {"min": 0, "name": "share", "position": "right", "splitLine": {"show": False}}
    names = [each["name"] for each in series if "name" in each]
    return {
        "useUTC": True,
        "xAxis": {"type": kind, "min": float(to_axis(ends[0])), "max": float(to_axis(ends[1])),
                  "splitLine": {"show": False}},
        "yAxis": [left, right] if any("yAxisIndex" in each for each in series) else [left],
        "legend": {"data": list(dict.fromkeys(names))},
        "series": [{"type": "line", "showSymbol": False, "silent": True, **each} for each in series],
    }  # fmt: skip


def _line(colour: str) -> dict[str, Any]:
    return {"color": colour, "lineStyle": {"color": colour, "width": 2.2}}


def _area(colour: str) -> dict[str, Any]:
    area = {"color": colour, "opacity": 0.22, "origin": "start"}
    return {"color": colour, "lineStyle": {"width": 0}, "areaStyle": area}


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
    marks = {"symbol": "none", "label": label, "lineStyle": style, "data": [{"xAxis": float(to_axis(x))} for x in found]}
    return [{"id": "edges", "data": [], "markLine": marks}]


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
    return {"symbol": "none", "lineStyle": line, "label": {**label, "show": bool(words)}, "data": [{"xAxis": x}]}


def _to_axis(quantity: Quantity) -> Callable[[Any], Any]:
    scale = _MS[quantity.unit] if quantity.kind == "datetime" else 1.0
    return lambda x: np.asarray(x, np.float64) * scale


def from_axis(quantity: Quantity, x: float) -> float:
    """Return the number that stands at a place of a chart's axis.

    Parameters
    ----------
    quantity : Quantity
        What the numbers stand for.
    x : float
        The place.
    """
    return x / (_MS[quantity.unit] if quantity.kind == "datetime" else 1.0)


def _pairs(x: Any, y: Any) -> list[list[float]]:
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1).tolist()


def _thinned(x: FloatArray, most: int = _MOST_POINTS) -> FloatArray:
    return x[:: max(1, -(-len(x) // most))]
