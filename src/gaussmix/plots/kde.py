"""Densities drawn straight from data, a line for each group: seaborn's `kdeplot`, on pyplot's axes as that one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.picture import line_points, only_points, span
from gaussmix.density.columns import read_columns
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.model import DensityModel
from gaussmix.density.report import Rule

_FOUND = "bw_method bw_adjust cut clip gridsize common_grid warn_singular".split()
_MISSING = "y multiple levels thresh cbar cbar_ax cbar_kws hue_norm".split()
_FILL = 0.25  # opacity
_HEADROOM = 1.08
_DAY = 86_400.0


class _Group(NamedTuple):
    """Numbers (N,) of one line, and their weights, if there are any."""

    values: FloatArray
    weights: NDArray[Any] | None

    @property
    def size(self) -> float:
        return float(len(self.values) if self.weights is None else self.weights.sum())


class _Curve(NamedTuple):
    """What is drawn of a group: its distribution, its share of all, its colour."""

    law: GaussianMixture1D
    share: float
    color: Any


def kdeplot(
    data: Any = None,
    *,
    x: Any = None,
    hue: Any = None,
    weights: Any = None,
    hue_order: Sequence[Any] | None = None,
    palette: Any = None,
    color: Any = None,
    fill: bool = False,
    common_norm: bool = True,
    cumulative: bool = False,
    log_scale: bool | float | None = None,
    bounds: Any = "auto",
    rule: Rule = "auto",
    legend: bool = True,
    ax: Axes | None = None,
    **style: Any,
) -> Axes:
    """Draw the densities of numbers, as seaborn's function of that name, with what `GMMExpansion` finds in them.

    Where a distribution ends its line falls vertically, values that come again and again are stems of their shares on
    an axis at the right, and widths follow the data: there is no bandwidth.

    Parameters
    ----------
    data : array-like, mapping or data frame, optional
        Numbers; or columns, some of which ``x``, ``hue`` and ``weights`` name; without ``x`` each is a line.
    x, hue, weights : str or array-like, optional
        Numbers, groups that are a line each, and weights: integers are frequencies, floats importance weights.
    hue_order : sequence, optional
        The groups, in the order of the legend; others are left out.
    palette : str, sequence or mapping, optional
        Colours of the groups: a colormap's name, a list, or one for each; matplotlib's cycle if not given.
    color : color, optional
        Of a single line.
    fill : bool
        Fill the area under the lines.
    common_norm : bool
        The areas of all groups add up to 1, each its share of the numbers; False: each is 1.
    cumulative : bool
        Draw distribution functions.
    log_scale : bool or float, optional
        Learn and draw the density of the logarithms, on a logarithmic axis, of that base if it is a number.
    bounds, rule : optional
        As for `GMMExpansion`.
    legend : bool
        Name the groups.
    ax : Axes, optional
        Where to draw, and what is returned; pyplot's current axes if not given.
    **style
        Of matplotlib's lines, such as linewidth, linestyle, alpha, label.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix.plots import kdeplot
    >>> waits = {"minutes": np.random.default_rng(0).exponential(5.0, 500), "line": ["a", "b"] * 250}
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> kdeplot(waits, x="minutes", hue="line", fill=True, ax=axes).get_xlabel()
    'minutes'
    """
    _refuse(style)
    groups, x_name, hue_name = _grouped(data, x, hue, weights, hue_order)
    ax = pyplot.gca() if ax is None else ax
    named = hue_name is not None or len(groups) > 1
    colors = _colors(list(groups), palette) if named else [color or _next_color(ax)]
    base = 10.0 if log_scale is True else float(log_scale or 0)
    lines = _learn_all(groups, colors, base, bounds, rule, common_norm)
    for line in lines:
        _draw_line(ax, line, base, cumulative, fill, style)
    if not cumulative:
        _draw_stems(ax, lines, base)
    _scale(ax, base, _are_dates(data, x))
    ax.set_xlabel(ax.get_xlabel() or x_name or "")
    ax.set_ylabel(ax.get_ylabel() or ("Cumulative probability" if cumulative else "Density"))
    if legend and named:
        ax.legend([_handle(each, fill, style) for each in colors], list(map(str, groups)), title=hue_name)
    return ax


def _scale(ax: Axes, base: float, dates: bool) -> None:
    if base:
        ax.set_xscale("log", base=base)
    if dates:
        ax.xaxis_date()


def _next_color(ax: Axes) -> Any:
    """Of the axes' cycle, which goes on."""
    (line,) = ax.plot([], [])
    line.remove()
    return line.get_color()


def _handle(color: Any, fill: bool, style: Mapping[str, Any]) -> Patch | Line2D:
    if fill:
        return Patch(facecolor=to_rgba(color, _FILL), edgecolor=color)
    return Line2D([], [], color=color, **{name: value for name, value in style.items() if name != "label"})


def _refuse(style: Mapping[str, Any]) -> None:
    for name in style:
        if name in _FOUND:
            raise TypeError(f"kdeplot takes no {name}: widths, ends and points are found in the data; leave it out")
        if name in _MISSING:
            raise TypeError(f"kdeplot takes no {name}: it draws lines of one variable; use seaborn's for that")


def _learn_all(
    groups: Mapping[Any, _Group], colors: Sequence[Any], base: float, bounds: Any, rule: Rule, common_norm: bool
) -> list[_Curve]:
    """Lines of the groups that have numbers."""
    total = sum(group.size for group in groups.values())
    return [
        _Curve(_learn(group, base, bounds, rule), group.size / total if common_norm else 1.0, color)
        for group, color in zip(groups.values(), colors, strict=True)
        if group.size > 0
    ]


def _learn(group: _Group, base: float, bounds: Any, rule: Rule) -> GaussianMixture1D:
    """The density of the numbers, or of their logarithms."""
    values = group.values
    if base:
        if values.min() <= 0:
            n = int((values <= 0).sum())
            raise ValueError(f"{n} of {len(values)} numbers are not positive; leave them out, or log_scale")
        values = np.log(values) / np.log(base)
        if isinstance(bounds, tuple):
            bounds = tuple(np.log(end) / np.log(base) if end and end > 0 else None for end in bounds)
    return DensityModel(rule, bounds=bounds).fit(values, sample_weight=group.weights).distribution_


def _draw_line(ax: Axes, line: _Curve, base: float, cumulative: bool, fill: bool, style: Mapping[str, Any]) -> None:
    """The continuous part, or the whole distribution function, times the line's share."""
    law = line.law
    if only_points(law) and not cumulative:
        return
    x = line_points(law, *span(law))
    if cumulative:
        atoms = law.atoms.positions
        x = np.sort(np.concatenate([x, np.nextafter(atoms, -np.inf), atoms]))
    y = line.share * (law.cdf(x) if cumulative else law.pdf(x))
    x = base**x if base else x
    (drawn,) = ax.plot(x, y, **{"color": line.color, **style})
    drawn.sticky_edges.y.append(0.0)
    ax.update_datalim([(x[0], 0.0)])
    if fill:
        area = ax.fill_between(x, y, color=line.color, alpha=_FILL, linewidth=0, zorder=drawn.get_zorder() - 0.1)
        area.sticky_edges.y.append(0.0)
    ax.autoscale_view()


def _draw_stems(ax: Axes, lines: list[_Curve], base: float) -> None:
    """Point masses in shares, on an axis of their own unless there is nothing else."""
    stems = [line for line in lines if line.law.atoms.positions.size]
    if not stems:
        return
    shares = ax if all(only_points(line.law) for line in lines) else ax.twinx()
    top = max(share * float(law.atoms.masses.max()) for law, share, _ in stems)
    for law, share, color in sorted(stems, key=lambda line: -line.share * line.law.atoms.masses.max()):
        positions, masses = law.atoms.positions, share * law.atoms.masses
        x = base**positions if base else positions
        shares.vlines(x, 0, masses, color=color, linewidth=2)
        shares.plot(x, masses, "o", color=color, markersize=4)
    shares.set_ylim(0, _HEADROOM * top)
    shares.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top > 0.1 else None))
    shares.set_ylabel("Share of a single value")


def _grouped(
    data: Any, x: Any, hue: Any, weights: Any, hue_order: Sequence[Any] | None
) -> tuple[dict[Any, _Group], str | None, str | None]:
    """The groups by name, and the names of the variable and of what groups it."""
    if x is None and hue is None and _is_table(data):
        columns = {name: _numbers(data[name]) for name in _names(data)}
        found = {name: column for name, column in columns.items() if column is not None}
        if not found:
            raise ValueError(f"none of the columns {_names(data)} holds numbers; name one with x")
        its_weights = _column(data, weights, "weights")[0]
        return {name: _finite(column, its_weights, name) for name, column in found.items()}, None, None
    values, x_name = _column(data, data if x is None else x, "x")
    numbers = None if values is None else _numbers(values)
    if numbers is None:
        raise ValueError(f"x is {x_name or 'of no numbers'}; give numbers, or the name of a column of them")
    its_weights = _column(data, weights, "weights")[0]
    levels, hue_name = _column(data, hue, "hue")
    if levels is None:
        return {x_name: _finite(numbers, its_weights, x_name)}, x_name, None
    labels = np.asarray(levels, dtype=object)
    if len(labels) != len(numbers):
        raise ValueError(f"hue has {len(labels)} entries for {len(numbers)} numbers; give one for each")
    whole = {}
    for level in _order(levels, labels) if hue_order is None else hue_order:
        rows = labels == level
        part = None if its_weights is None else np.asarray(its_weights)[rows]
        whole[level] = _finite(numbers[rows], part, level)
    return whole, x_name, hue_name or ""


def _is_table(data: Any) -> bool:
    return isinstance(data, Mapping) or hasattr(data, "columns") or np.ndim(data) == 2


def _names(data: Any) -> list[Any]:
    if isinstance(data, Mapping):
        return list(data)
    return list(getattr(data, "columns", range(np.shape(data)[-1])))


def _column(data: Any, what: Any, role: str) -> tuple[Any, str | None]:
    """A column by its name in the data, or what is given as it is; and its name."""
    if what is None:
        return None, None
    if isinstance(what, str) or (np.ndim(what) == 0 and _is_table(data)):
        if not _is_table(data) or what not in _names(data):
            there = _names(data) if _is_table(data) else "none: give a table as data"
            raise ValueError(f"{role} is {what!r}, and there is no such column; columns are {there}")
        return data[what], str(what)
    name = getattr(what, "name", None)
    return what, None if name is None else str(name)


def _numbers(values: Any) -> FloatArray | None:
    """As float64 (N,), missing ones as NaN, dates as matplotlib's days; None for what are not numbers."""
    try:
        numbers, (quantity, *_) = read_columns(values)
        numbers = np.asarray(numbers)
        if numbers.dtype.kind not in "fiubO":
            return None
        numbers = numbers.astype(np.float64).ravel()
    except (TypeError, ValueError):
        return None
    return numbers / (_DAY if quantity.unit == "s" else 1.0) if quantity.kind == "datetime" else numbers


def _are_dates(data: Any, x: Any) -> bool:
    """Whether the numbers that `_grouped` took, which are some, are dates."""
    values = data if x is None else _column(data, x, "x")[0]
    return not _is_table(values) and read_columns(values)[1][0].kind == "datetime"


def _finite(values: FloatArray, weights: Any, name: Any) -> _Group:
    """Without what is missing or infinite, as seaborn."""
    kept = np.isfinite(values)
    if weights is None:
        return _Group(values[kept], None)
    weights = np.asarray(weights)
    if weights.shape != values.shape:
        raise ValueError(f"weights have {weights.size} entries for {values.size} numbers of {name}; give one for each")
    return _Group(values[kept], weights[kept])


def _order(levels: Any, labels: NDArray[Any]) -> list[Any]:
    """Different groups: in the order of their categories, of numbers, or as they come."""
    kind = getattr(levels, "dtype", None)
    if str(kind).lower().startswith(("category", "enum")):  # of pandas and of polars
        return list(kind.categories)  # pyright: ignore[reportOptionalMemberAccess]
    found = [level for level in dict.fromkeys(labels.tolist()) if level is not None and level == level]
    return sorted(found) if all(isinstance(level, int | float) for level in found) else found


def _colors(levels: list[Any], palette: Any) -> list[Any]:
    if isinstance(palette, Mapping):
        return [palette[level] for level in levels]
    if palette is None:
        palette = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        palette = "turbo" if len(levels) > len(palette) else palette
    if isinstance(palette, str):
        return list(matplotlib.colormaps[palette](np.linspace(0.1, 0.9, len(levels))))
    if len(palette) < len(levels):
        raise ValueError(f"palette has {len(palette)} colours for {len(levels)} groups; give one for each")
    return list(palette[: len(levels)])
