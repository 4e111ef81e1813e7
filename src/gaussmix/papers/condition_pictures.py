"""The pictures of D Figures 7 and 9: faces by what the network was told, measures with intervals, training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaussmix.papers.condition_findings import Values
from gaussmix.papers.condition_study import Faces, Measured
from gaussmix.papers.intervals import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#555555"
COLORS = ("#8c8c8c", "#d9822b", "#c2402a", "#7f9fc6", "#4b9b5f", "#1f5fa8", "#8a5fa8", "#1b1b1b")
LINES = ("#d9822b", "#1f5fa8", "#4b9b5f", "#8c8c8c", "#8a5fa8")
_COLUMNS = 14


def draw_faces(faces: Faces, runs: Mapping[str, list[Measured]], labels: Mapping[str, str]) -> Figure:
    """Held-out faces, and for each a picture of the first network of every kind."""
    from matplotlib.figure import Figure

    rows = {"held-out faces": faces.asked, **{labels[key]: measured[0].pictures for key, measured in runs.items()}}
    figure = Figure(figsize=(10.5, 0.3 + 0.62 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        axes.imshow(np.concatenate(images[:_COLUMNS], axis=1), interpolation="nearest", aspect="equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle("What is drawn for the same faces, by what the network is told", fontsize=10)
    return figure


def draw_measures(values: Values, labels: Mapping[str, str], real: Mapping[str, float]) -> Figure:
    """Precision against recall, and the Frechet distance, each with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for i, (key, each) in enumerate(values.items()):
        precision, recall, distance = (interval(v) for v in (1 - each["defect rate"], each["recall"], each["FD"]))
        bars = {"color": COLORS[i], "fmt": "o", "markersize": 5, "linewidth": 1, "capsize": 2}
        left.errorbar(recall.mean, precision.mean, precision.half, recall.half, label=labels[key], **bars)
        right.errorbar(distance.mean, -i, xerr=distance.half, **bars)
    left.plot(real["recall"], 1 - real["defect rate"], "*", color=GREY, markersize=11, label="real faces")
    right.axvline(real["FD"], color=GREY, linestyle=":", linewidth=1)
    right.text(real["FD"], 0.5, " real faces", color=GREY, fontsize=8, va="center")
    right.set_yticks([-i for i in range(len(values))], [labels[key] for key in values], fontsize=8)
    right.set_ylim(0.8 - len(values) - 0.3, 0.8)
    right.set_xlim(left=0)
    _style(left, "precision and recall", "recall", "precision = 1 - defect rate")
    _style(right, "Frechet distance", "Frechet distance of the judge's features", "")
    left.legend(frameon=False, fontsize=7)
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
            right.plot(centre, middle, color=color, linewidth=1.2, label=f"{labels[name]} - {labels[controls[name]]}")
            low, high = np.subtract(middle, half), np.add(middle, half)
            right.fill_between(centre, low, high, color=color, alpha=0.15, linewidth=0)
    right.axhline(0, color=GREY, linestyle=":", linewidth=1)
    left.set_yscale("log")
    _style(left, f"running mean over {window} steps", "training step", "denoising loss")
    _style(right, "with a classifier minus without", "training step", "difference of the denoising loss")
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=7)
    return figure


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means ``(..., S - window + 1)`` over ``window`` neighbours of ``(..., S)``."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1]), values], -1), -1)
    return (sums[..., window:] - sums[..., :-window]) / window
