"""The pictures of D Figures 7 and 9: faces by what the network was told, measures with intervals, training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaussmix.papers.condition_findings import Values
from reproduction.diffusion.conditions import Faces, Measured
from reproduction.diffusion.model import Faces as Block
from reproduction.diffusion.model import draw_faces as draw_blocks
from reproduction.statistics import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#555555"
COLORS = ("#8c8c8c", "#d9822b", "#c2402a", "#7f9fc6", "#4b9b5f", "#1f5fa8", "#8a5fa8", "#1b1b1b")
LINES = ("#d9822b", "#1f5fa8", "#4b9b5f", "#8c8c8c", "#8a5fa8")
_COLUMNS = 8


def draw_faces(faces: Faces, runs: Mapping[str, list[Measured]], labels: Mapping[str, str]) -> Figure:
    """Held-out faces, and for each a picture of the first network of every kind."""
    rows = {"held-out faces": faces.asked, **{labels[key]: measured[0].pictures for key, measured in runs.items()}}
    shown = np.stack([images[:_COLUMNS] for images in rows.values()])
    return draw_blocks("The same faces asked for, by what the network was told", Block("", shown, list(rows)))


def draw_measures(values: Values, labels: Mapping[str, str], real: Mapping[str, float]) -> Figure:
    """Precision against recall, and the Frechet distance, each with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for i, each in enumerate(values.values()):
        precision, recall, distance = (interval(v) for v in (1 - each["defect rate"], each["recall"], each["FD"]))
        bars = {"color": COLORS[i], "fmt": "o", "markersize": 5, "linewidth": 1, "capsize": 2}
        left.errorbar(recall.mean, precision.mean, precision.half, recall.half, **bars)
        right.errorbar(distance.mean, -i, xerr=distance.half, **bars)
    right.axvline(real["FD"], color=GREY, linestyle=":", linewidth=1)
    right.text(real["FD"], 0.5, " real faces", color=GREY, fontsize=8, va="center")
    right.set_yticks([-i for i in range(len(values))], [labels[key] for key in values], fontsize=8)
    right.set_ylim(0.8 - len(values) - 0.3, 0.8)
    right.set_xlim(left=0)
    _style(left, "precision and recall", "recall", "precision = 1 - defect rate")
    _style(right, "Frechet distance", "Frechet distance of the judge's features", "")
    reference = f"real faces: recall {real['recall']:.3g}, precision {1 - real['defect rate']:.3g}"
    left.text(0.02, 0.98, reference, transform=left.transAxes, color=GREY, fontsize=8, va="top")
    return figure


def _style(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(runs: Mapping[str, list[Measured]], labels: Mapping[str, str], controls: Mapping[str, str]) -> Figure:
    """Denoising loss by step with the range of the seeds, and the difference to the control with its interval."""
    from matplotlib.figure import Figure

    steps = next(iter(runs.values()))[0].curve.steps
    window = max(1, len(steps) // 20)
    losses = {name: smoothed(np.stack([one.curve.denoising for one in m]), window) for name, m in runs.items()}
    centre = steps[: len(steps) - window + 1] + (window - 1) / 2
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for color, (name, each) in zip(LINES, losses.items(), strict=True):
        left.plot(centre, each.mean(0), color=color, linewidth=1.2, label=labels[name])
        left.fill_between(centre, each.min(0), each.max(0), color=color, alpha=0.15, linewidth=0)
        if name in controls:
            gap = each - losses[controls[name]]
            middle, half = zip(*(interval(column) for column in gap.T), strict=True)
            right.plot(centre, middle, color=color, linewidth=1.2, label=labels[name])
            low, high = np.subtract(middle, half), np.add(middle, half)
            right.fill_between(centre, low, high, color=color, alpha=0.15, linewidth=0)
    right.axhline(0, color=GREY, linestyle=":", linewidth=1)
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:.3g}")
    _style(left, f"running mean over {window} steps", "training step", "denoising loss")
    _style(right, "with a classifier minus without", "training step", "difference of the denoising loss")
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=7)
    return figure


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means ``(..., S - window + 1)`` over ``window`` neighbours of ``(..., S)``."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1]), values], -1), -1)
    return (sums[..., window:] - sums[..., :-window]) / window
