"""Pictures of densities, drawn with matplotlib: on figures of their own, without pyplot and its global state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gaussmix._files import whole_file
from gaussmix._typing import FloatArray
from gaussmix.density._mixture.picture import line_points, only_points, span
from gaussmix.density.discrete import LatticeMixture1D, count_values
from gaussmix.density.standard_units import settled
from gaussmix.plots.look import in_style, inks

if TYPE_CHECKING:
    from gaussmix.density.counts import BinnedCounts
    from gaussmix.density.mixture import GaussianMixture1D
    from gaussmix.density.quantity import Quantity

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LETTER = 0.085  # inches: of the labels of quantiles, with room beside it
_MENTION = 0.003  # share of the distribution outside the picture from which the axis says so
SPIKE = 3.0  # a line may rise above the highest bar by this factor before it is cut
_MARGIN = 0.03  # beside two distributions, in lengths of both: one of them may be a point
_HEADROOM = 1.25  # above the highest curve, for the legend
_DOTS = 60  # values up to which a stem has a dot on it


@in_style
def plot_density(
    distribution: GaussianMixture1D, counts: BinnedCounts | None = None, *, title: str = "", log: bool = False
) -> Figure:
    """Draw a density on a figure of its own, as `draw_density` does on given axes.

    Parameters
    ----------
    distribution : GaussianMixture1D
        What is drawn.
    counts : BinnedCounts, optional
        Of the data, for a histogram.
    title : str
        Above the picture.
    log : bool
        Whether the density axis is logarithmic.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    draw_density(axes, distribution, counts, log=log)
    axes.set_title(title)
    return figure


def draw_density(
    axes: Axes, distribution: GaussianMixture1D, counts: BinnedCounts | None = None, *, log: bool = False
) -> None:
    """Draw the density as a line, the counts as a histogram behind it, quantiles as ticks on the lower edge.

    The picture spans the central 99.8 % of the distribution (with ``log``: 99.98 %), or less where the tails are so
    long that the middle would vanish; the axis then says what share lies outside. Point masses are stems, in shares on
    an axis of their own at the right; the histogram and the line are the continuous part, whose area is the share they
    leave. Of a discrete distribution the stems are probabilities, before bars of what was counted, and the line is the
    smooth density times the step.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    distribution : GaussianMixture1D
        What is drawn.
    counts : BinnedCounts, optional
        Of the data, for a histogram.
    log : bool
        Whether the density axis is logarithmic.
    """
    low, high = span(distribution, log)
    if isinstance(distribution, LatticeMixture1D):
        low, high = low - distribution.step / 2, high + distribution.step / 2
        _draw_probabilities(axes, distribution, counts, low, high, log)
    else:
        _draw_continuous(axes, distribution, counts, low, high, log)
    _draw_quantiles(axes, distribution, low, high)
    axes.set_xlim(low, high)
    outside = 1 - float(distribution.cdf(high) - distribution.cdf(low))
    about = "value; ticks mark quantiles"
    axes.set_xlabel(f"{about}; {outside:.1%} lie outside" if outside > _MENTION else about)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left" if distribution.median() > low / 2 + high / 2 else "upper right")


def _draw_continuous(
    axes: Axes, distribution: GaussianMixture1D, counts: BinnedCounts | None, low: float, high: float, log: bool
) -> None:
    """Histogram, line and point masses."""
    look = inks(axes)
    bars = None if counts is None else histogram_bars(counts, low, high)
    if counts is not None and bars is not None:
        number = f"{counts.n:,}".replace(",", " ")
        axes.stairs(*bars, fill=True, color=look.bars, label=f"histogram of {number} numbers")
    continuous = bars is not None or (counts is None and not only_points(distribution))
    if continuous:
        x = line_points(distribution, low, high)
        y = distribution.pdf(x)
        n = len(distribution.weights)
        axes.plot(
            x, y, color=look.line, linewidth=1.8, label=f"density, {n} Gaussians" if n > 1 else "density, 1 Gaussian"
        )
        _limit_height(axes, y, None if bars is None else bars[0], log)
    if len(distribution.atoms.positions):
        _draw_atoms(axes, distribution, alone=not continuous)


def _draw_probabilities(
    axes: Axes, distribution: LatticeMixture1D, counts: BinnedCounts | None, low: float, high: float, log: bool
) -> None:
    """Bars of what was counted, the smooth density, stems."""
    look = inks(axes)
    values, p, step = distribution.values, distribution.probabilities, distribution.step
    counted = None if counts is None else count_values(counts, values[0], step)
    if counts is not None and counted is not None:
        number = f"{counts.n:,}".replace(",", " ")
        label = f"shares of {number} numbers"
        axes.bar(
            values[0] + step * counted[0], counted[1] / counts.total_mass, 0.8 * step, color=look.bars, label=label
        )
    smooth = distribution.continuous
    if not only_points(smooth):
        x = line_points(smooth, low, high)
        axes.plot(x, step * smooth.pdf(x), color=look.ink, linewidth=0.8, label="smooth density, times the step")
    label = f"probabilities of {len(values)} values" if len(values) > 1 else "probability of 1 value"
    axes.vlines(values, 0, p, color=look.line, linewidth=min(2.0, 80 / len(values)), label=label)
    if len(values) <= _DOTS:
        axes.plot(values, p, "o", color=look.line, markersize=4)
    if log:
        axes.set_yscale("log")
    axes.set_ylim(float(p.min()) / 3 if log else 0, (8 if log else _HEADROOM) * float(p.max()))
    axes.set_ylabel("probability")


@in_style
def plot_comparison(
    a: GaussianMixture1D, b: GaussianMixture1D, *, names: Sequence[str] = ("A", "B"), title: str = "", log: bool = False
) -> Figure:
    """Draw two distributions over each other: their densities, and their distribution functions.

    The shaded area between the densities is twice the total variation distance, that between the distribution functions
    the Wasserstein distance W1, as far as they lie in the picture. Point masses are steps in the lower panel, and
    so are discrete distributions, of which the upper one shows the smooth density.

    Parameters
    ----------
    a, b : GaussianMixture1D
        What is compared.
    names : sequence of str
        Of the two, in the legend.
    title : str
        Above the picture.
    log : bool
        Whether the density axis is logarithmic.
    """
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    spans = np.array([span(law, log) for law in (a, b)])
    low, high = float(spans[:, 0].min()), float(spans[:, 1].max())
    low, high = low - _MARGIN * (high - low), high + _MARGIN * (high - low)
    densities = [law.continuous if isinstance(law, LatticeMixture1D) else law for law in (a, b)]
    x = np.union1d(*(line_points(law, low, high) for law in densities))
    atoms = np.union1d(a.atoms.positions, b.atoms.positions)
    massive = np.union1d(*(law.atoms.positions for law in densities))
    smooth = np.setdiff1d(x, massive)
    steps = np.sort(np.concatenate([x, np.nextafter(atoms, -np.inf), atoms]))
    for axes, points, curves in (
        (upper, smooth, [law.pdf(smooth) for law in densities]),
        (lower, steps, [law.cdf(steps) for law in (a, b)]),
    ):
        axes.fill_between(points, *curves, color=inks(axes).bars, linewidth=0)
        for curve, name, color in zip(curves, names, inks(axes).pair, strict=True):
            axes.plot(points, curve, color=color, linewidth=1.8, label=name)
        axes.spines[["top", "right"]].set_visible(False)
    upper.set_ylabel("density, without its point masses" if massive.size else "density")
    if log:
        heights = np.concatenate([line.get_ydata() for line in upper.lines])  # pyright: ignore[reportArgumentType]
        upper.set_yscale("log")
        upper.set_ylim(max(heights[heights > 0].min(), 1e-9 * heights.max()), 3 * heights.max())
    else:
        upper.set_ylim(bottom=0)
    upper.legend(frameon=False)
    upper.set_title(title)
    lower.set(ylabel="share below; shaded: W1", ylim=(0, 1.02), xlim=(low, high))
    outside = max(1 - float(law.cdf(high) - law.cdf(low)) for law in (a, b))
    lower.set_xlabel(f"value; up to {outside:.1%} lie outside" if outside > _MENTION else "value")
    return figure


def histogram_bars(
    counts: BinnedCounts, low: float, high: float, bins: int = 120
) -> tuple[FloatArray, FloatArray] | None:
    """Return heights ``(b,)`` and edges ``(b + 1,)`` of a histogram of what lies in [low, high], without point masses.

    A bar's area is its share of all points. There are 3 n^(1/3) bars for n points, of about equal width in x and of
    whole bins of the counts. None where there is nothing to show.

    Parameters
    ----------
    counts : BinnedCounts
        Of the data.
    low, high : float
        The ends of the picture.
    bins : int
        The most bars there may be.
    """
    edges, mass = counts.axis.edges, settled(counts).without_atoms().mass
    inside = np.flatnonzero((edges[1:] > low) & (edges[:-1] < high))
    if len(inside) == 0 or mass[inside].sum() <= 0:
        return None
    first, last = inside[0], inside[-1] + 1
    most = max(min(bins, round(3 * counts.size ** (1 / 3))), 4)
    wanted = np.linspace(max(low, edges[first]), min(high, edges[last]), min(most, last - first) + 1)
    nearest = np.searchsorted((edges[1:] + edges[:-1]) / 2, wanted)
    cuts = np.unique(np.clip(np.r_[first, nearest[1:-1], last], first, last))
    cumulative = np.r_[0.0, np.cumsum(mass)]
    return np.diff(cumulative[cuts]) / np.diff(edges[cuts]) / counts.total_mass, edges[cuts]


def label_axis(figure: Figure, distribution: GaussianMixture1D, quantity: Quantity) -> None:
    """Write dates and durations along the axis of values, in place of the numbers that stand for them.

    Parameters
    ----------
    figure : Figure
        Of `plot_density` or `plot_comparison`.
    distribution : GaussianMixture1D
        What it shows, whose spread says how many digits are needed.
    quantity : Quantity
        What the numbers stand for, as a model's ``quantities_`` or a column's ``quantity`` says.
    """
    if quantity.kind == "number":
        return
    low, high = distribution.ppf([0.05, 0.95]).tolist()
    spread = (high - low or float(distribution.std())) * (100 if quantity.kind == "datetime" else 1)
    for axes in figure.axes:
        axes.xaxis.set_major_formatter(lambda value, _: quantity.format(value, spread))


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 130) -> None:
    """Save a figure, whole or not at all, creating folders.

    Parameters
    ----------
    figure : Figure
        To be saved.
    path : path-like
        Its suffix says how: .png, .svg or .pdf.
    dpi : int
        Pixels an inch.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=dpi)


def _limit_height(axes: Axes, line: FloatArray, bars: FloatArray | None, log: bool) -> None:
    """The lower and the upper end of the density axis; its label says so where the line's peak is cut off."""
    peak = top = float(line.max())
    if bars is not None:
        top = max(min(peak, SPIKE * float(bars.max())), float(bars.max()))
    if log:
        least = float(line[line > 0].min()) if bars is None else float(bars[bars > 0].min()) / 10
        axes.set_yscale("log")
        axes.set_ylim(max(least, 1e-9 * top), 8 * top)
    else:
        axes.set_ylim(0, _HEADROOM * top)
    axes.set_ylabel(f"density; its peak, {peak:.3g}, is cut off" if peak > axes.get_ylim()[1] else "density")


def _draw_atoms(axes: Axes, distribution: GaussianMixture1D, *, alone: bool) -> None:
    """Stems in shares, on an axis at the right unless there is nothing else to show."""
    look = inks(axes)
    positions, masses = distribution.atoms
    shares = axes if alone else axes.twinx()
    shares.vlines(positions, 0, masses, color=look.atom, linewidth=2)
    shares.plot(positions, masses, "o", color=look.atom, markersize=4)
    for position, mass in zip(positions, masses, strict=True):
        place, above = (position, mass), (0, 5)
        shares.annotate(
            f"{mass:.1%}", place, above, textcoords="offset points", ha="center", color=look.atom, fontsize=9
        )
    shares.set_ylim(0, _HEADROOM * float(masses.max()))
    shares.yaxis.set_major_formatter(PercentFormatter(1))
    shares.set_ylabel("share of a point mass", color=look.atom)
    shares.tick_params(axis="y", colors=look.atom)
    shares.spines[["top"] if alone else ["top", "left"]].set_visible(False)
    axes.plot([], [], "o-", color=look.atom, markersize=4, linewidth=2, label="point mass")


def _draw_quantiles(axes: Axes, distribution: GaussianMixture1D, low: float, high: float) -> None:
    """Ticks on the lower edge; a label stands above those that it would touch, and beside the stem of a point mass."""
    look = inks(axes)
    values = distribution.ppf(_QUANTILES)
    frame = axes.get_xaxis_transform()
    axes.plot(values, np.zeros(len(values)), "|", color=look.ink, markersize=16, markeredgewidth=1.2, transform=frame)
    letter = _LETTER * axes.figure.dpi / axes.bbox.width * (high - low)
    style: Any = {"xycoords": frame, "textcoords": "offset points", "fontsize": 8, "color": look.ink}
    ends: list[float] = []  # of the last label at each height
    for value in np.unique(values).tolist():
        same = [q for q, each in zip(_QUANTILES, values, strict=True) if each == value]
        said = f"{same[0]:.0%}" if len(same) == 1 else f"{100 * same[0]:.0f}–{same[-1]:.0%}"
        on_stem = value in distribution.atoms.positions
        left = value + letter * (1 if on_stem else -len(said) / 2)
        rank = next((k for k, end in enumerate(ends) if end < left), len(ends))
        ends[rank : rank + 1] = [left + letter * len(said)]
        axes.annotate(said, (left, 0), (0, 9 + 10 * rank), ha="left", **style)
