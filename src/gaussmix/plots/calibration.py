"""Are distributions right, and what do they look like along a feature: reliability, a histogram of transforms, a fan.

They take numbers, or whatever has a conditional distribution's methods, and know nothing of where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.plots.look import inks

DENSEST = (0.5, 0.8, 0.95)  # shares of each distribution that a fan shows
_SHADES = ("#2f6cae", "#86b0d9", "#d3e2f1")
_CHANCE = 1.96  # standard errors
_CELLS = 400  # of y in a fan
_FEWER_DOTS = 1500


class LawsOfRows(Protocol):
    """Distributions of N rows, as `gaussmix.conditional.ConditionalMixture`."""

    atoms: Any

    def __iter__(self) -> Iterator[Any]: ...
    def ppf(self, q: ArrayLike) -> FloatArray: ...


def draw_reliability(axes: Axes, levels: FloatArray, shares: FloatArray, n: int) -> None:
    """Draw the share of n observations inside central intervals over the share that these promise.

    The band is what chance leaves in 95 % of samples of a right model, level by level.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    levels, shares : ndarray of shape (L,)
        Promised and found.
    n : int
        How many observations.
    """
    look = inks(axes)
    even = np.linspace(0, 1, 101)
    spread = _CHANCE * np.sqrt(even * (1 - even) / n)
    axes.fill_between(even, even - spread, even + spread, color=look.bars, linewidth=0, label="chance, 95 %")
    axes.plot([0, 1], [0, 1], color=look.ink, linewidth=0.8)
    axes.plot(levels, shares, color=look.line, linewidth=1.8, label=f"{_said(n)} observations")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="level of the central interval", ylabel="share of observations inside")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    _finish(axes)


def draw_pit_histogram(axes: Axes, heights: FloatArray, edges: FloatArray, n: int) -> None:
    """Draw a histogram of probability integral transforms: flat where the model is right.

    A hump in the middle means distributions that are too wide, a bowl too narrow ones, a slope a shift.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    heights : ndarray of shape (B,)
        Densities of the bars, 1 where transforms are uniform.
    edges : ndarray of shape (B + 1,)
        Of the bars, from 0 to 1.
    n : int
        How many observations.
    """
    look = inks(axes)
    width = np.diff(edges)
    spread = _CHANCE * np.sqrt((1 - width) / (width * n))
    axes.stairs(heights, edges, fill=True, color=look.line, alpha=0.75, label=f"{_said(n)} observations")
    low, high = (np.append(limit, limit[-1]) for limit in (1 - spread, 1 + spread))
    axes.fill_between(
        edges, low, high, step="post", color=look.ink, alpha=0.15, linewidth=0, label="chance, 95 % of bars", zorder=3
    )
    axes.axhline(1, color=look.ink, linewidth=0.8, zorder=4)
    axes.set(xlim=(0, 1), ylim=(0, 1.35 * max(float(heights.max()), float(high.max()))))
    axes.set(xlabel="P(Y <= y) under the model", ylabel="density of observations")
    _finish(axes)


def draw_fan(
    axes: Axes,
    distribution: LawsOfRows,
    x: ArrayLike,
    points: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    span: Any = None,
) -> None:
    """Draw distributions along one feature: of each the densest 50, 80 and 95 %, which bend and split as they do.

    Point masses are dots whose area is the probability; the rest is shaded alone.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    distribution : LawsOfRows
        As `gaussmix.conditional.ConditionalMixture`, N rows.
    x : array-like of shape (N,)
        The feature's values, in rising order.
    points : pair of array-like of shape (M,), optional
        Observations, x and y.
    span : pair of float, optional
        The ends of the y axis; those of nearly all of the distributions if not given.
    """
    look = inks(axes)
    x = np.asarray(x, np.float64)
    smooth: Any = getattr(distribution, "continuous", distribution)
    atoms = getattr(distribution, "atoms", None)
    low, high = span or _span(distribution)
    y = np.linspace(low, high, _CELLS)
    density = np.array([law.pdf(y) for law in smooth])
    if atoms is not None:  # a value of the grid may be one
        at = np.isin(y, atoms.means)
        density[:, at] = 0.0
    total = np.ones(len(x)) if atoms is None else 1 - atoms.weights.sum(1)
    mass = _denser(density) * (y[1] - y[0]) / np.maximum(total, 1e-9)[:, None]
    mass[total < 1e-3] = 2.0  # of point masses alone nothing is shaded
    axes.contourf(x, y, mass.T, levels=[0, *DENSEST], colors=_SHADES)
    for share, color in zip(DENSEST, _SHADES, strict=True):
        axes.fill_between([], [], color=color, label=f"densest {share:.0%}".replace("%", " %"))
    if points is not None:
        _draw_points(axes, *(np.asarray(each, np.float64) for each in points))
    if atoms is not None:
        for place, weights in zip(atoms.means, atoms.weights.T, strict=True):
            axes.scatter(x, np.full(len(x), place), s=30 * weights, color=look.atom, linewidth=0, zorder=3)
        axes.scatter([], [], s=30, color=look.atom, label="point mass")
    axes.set(xlim=(x[0], x[-1]), ylim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    _finish(axes)


def _span(distribution: LawsOfRows) -> tuple[float, float]:
    """Where nearly all of the distributions lie."""
    ends = distribution.ppf([0.005, 0.995])
    low, high = float(np.quantile(ends[:, 0], 0.02)), float(np.quantile(ends[:, 1], 0.98))
    edge = 0.05 * (high - low) or 1.0
    return low - edge, high + edge


def _denser(density: FloatArray) -> FloatArray:
    """Of rows (N, C), the sum of what is at least as dense as each cell."""
    order = np.argsort(-density, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(density, order, 1), axis=1)
    out = np.empty_like(density)
    np.put_along_axis(out, order, sums, 1)
    return out


def _draw_points(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    look = inks(axes)
    every = -(-len(x) // _FEWER_DOTS)
    label = "observations" if every == 1 else f"1 of {every} observations"
    axes.plot(x[::every], y[::every], ".", color=look.ink, markersize=2, alpha=0.6, label=label)


def _said(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best")
