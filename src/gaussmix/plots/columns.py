"""Pictures of a table's columns, many small ones on one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from gaussmix._guard import printable
from gaussmix.density._mixture.picture import line_points, span
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.plots.densities import SPIKE, histogram_bars
from gaussmix.plots.look import in_style, inks

_FEW_ATOMS = 4  # of which the heaviest has its share beside it
_LARGE_TICK = 1e5
_CATEGORIES = 8  # that a small picture has room for
_MOST_COLUMNS = 400  # in one picture, 30 000 pixels high


@in_style
def plot_columns(columns: Sequence[Any], *, title: str = "") -> Figure:
    """Draw the columns of a table as small multiples: densities over histograms, frequencies as bars.

    Parameters
    ----------
    columns : sequence of ColumnDensity
        What is drawn: each has a ``name``, ``kind`` and ``share_missing``; a ``density``, ``counts`` and ``quantity``;
        or ``frequencies`` by name, and ``other``.
    title : str
        Above the picture.

    Raises
    ------
    ValueError
        More columns than 400.
    """
    if len(columns) > _MOST_COLUMNS:
        raise ValueError(f"{len(columns)} columns are more than a picture holds, {_MOST_COLUMNS}: choose some of them")
    across = min(4, max(1, math.ceil(math.sqrt(len(columns)))))
    down = max(1, math.ceil(len(columns) / across))
    figure = Figure(figsize=(3.1 * across, 2.1 * down + 0.4), layout="constrained")
    grid = np.atleast_1d(figure.subplots(down, across)).reshape(-1)
    for axes, column in zip(grid, columns, strict=False):
        if column.density is not None:
            _draw_small(axes, column)
        elif column.frequencies:
            _draw_frequencies(axes, column)
        else:
            axes.text(
                0.5, 0.5, "nothing but missing", ha="center", color=inks(axes).ink, fontsize=8, transform=axes.transAxes
            )
            axes.set(xticks=[], yticks=[])
        axes.set_title(_without_math(column.name), fontsize=9, loc="left")
        if column.share_missing > 0:
            axes.set_title(f"{column.share_missing:.1%} missing", fontsize=7, loc="right", color=inks(axes).ink)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelsize=7)
    for axes in grid[len(columns) :]:
        axes.set_visible(False)
    figure.suptitle(_without_math(title), fontsize=11)
    return figure


def _without_math(text: str, most: int = 40) -> str:
    """A name as it is, on one line: a dollar begins no formula."""
    text = printable(text)
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")


def _draw_small(axes: Axes, column: Any) -> None:
    """A density over its histogram, point masses as stems up to the top."""
    look = inks(axes)
    law, quantity = column.density, column.quantity
    low, high = span(law, False)
    if isinstance(law, LatticeMixture1D):
        low, high = low - law.step / 2, high + law.step / 2
        axes.bar(law.values, law.probabilities, 0.9 * law.step, color=look.line)
    else:
        bars = histogram_bars(column.counts, low, high, 60)
        top = 0.0
        if bars is not None:
            axes.stairs(*bars, fill=True, color=look.bars)
            x = line_points(law, low, high)
            y = law.pdf(x)
            axes.plot(x, y, color=look.line, linewidth=1.2)
            top = max(float(bars[0].max()), min(float(y.max()), SPIKE * float(bars[0].max())))
            axes.set_ylim(0, 1.1 * top)
        positions, masses = law.atoms
        if len(positions):
            heights = masses / masses.max() * (top or 1.0)
            axes.vlines(positions, 0, heights, color=look.atom, linewidth=1.5)
            most = int(np.argmax(masses))
            if len(positions) <= _FEW_ATOMS:
                style: Any = {"textcoords": "offset points", "color": look.atom, "fontsize": 7}
                axes.annotate(f"{masses[most]:.0%}", (positions[most], heights[most]), (3, -7), **style)
    axes.set_xlim(low, high)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    coarse = 100 * (high - low) if quantity.kind == "datetime" else high - low
    if quantity.kind == "number" and max(abs(low), abs(high)) >= _LARGE_TICK:
        axes.xaxis.set_major_formatter(EngFormatter())
    else:
        axes.xaxis.set_major_formatter(lambda value, _: quantity.format(value, coarse))


def _draw_frequencies(axes: Axes, column: Any) -> None:
    """The most frequent categories, from above."""
    look = inks(axes)
    total = sum(column.frequencies.values()) + column.other
    shown = list(column.frequencies.items())[:_CATEGORIES]
    rest = total - sum(weight for _, weight in shown)
    names = [_without_math(name, 16) for name, _ in shown]
    shares = [weight / total for _, weight in shown]
    axes.barh(range(len(shown)), shares, color=look.line, height=0.7)
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(PercentFormatter(1, None if max(shares) < 0.04 else 0))
    if rest > 0:
        axes.set_xlabel(f"{len(column.frequencies) - len(shown)} more: {rest / total:.0%}", fontsize=7)
