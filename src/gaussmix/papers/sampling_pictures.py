"""The pictures of D Figure 6: x0* along the way, and the Frechet distance by steps and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaussmix.papers.sampling_study import Study, Z

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    "renoise": ("Eq. 10", "#c2402a"),
    "ddpm": ("DDPM", "#d9822b"),
    "ddim": ("DDIM", "#4b9b5f"),
    "dpm++": ("DPM-Solver++", "#1f5fa8"),
}
GREY = "#555555"
_TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


def draw_path(estimates: NDArray[np.uint8], steps: Sequence[int]) -> Figure:
    """Estimates ``(S, N, H, W, 3)``: a column a step, a row a face."""
    from matplotlib.figure import Figure

    n, width = estimates.shape[1], estimates.shape[3]
    figure = Figure(figsize=(0.9 * len(steps), 0.9 * n + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.concatenate([np.concatenate(list(row), axis=1) for row in estimates.swapaxes(0, 1)]))
    axes.set_xticks([(i + 0.5) * width for i in range(len(steps))], [f"step {step}" for step in steps], fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure


def draw_quality(study: Study) -> Figure:
    """The Frechet distance by steps, by CPU time, and of x0* by step of Eq. 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    by_steps, by_time, on_the_way = figure.subplots(1, 3)
    ms = [1000 * study.seconds[run] for run in study.unguided]
    for name, (label, color) in LOOKS.items():
        mine = sorted((one for one in study.unguided if one.scheduler == name), key=lambda one: one.steps)
        distances = [study.scores[one].frechet for one in mine]
        errors = [Z * study.scores[one].error for one in mine]
        style = {"color": color, "label": label, "marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2}
        by_steps.errorbar([one.steps for one in mine], distances, errors, **style)
        by_time.errorbar([1000 * study.seconds[one] for one in mine], distances, errors, **style)
    middle = np.array([one.frechet for one in study.along])
    half = Z * np.array([one.error for one in study.along])
    on_the_way.plot(study.kept, middle, color=LOOKS["renoise"][1], marker="o", markersize=3, linewidth=1.2)
    on_the_way.fill_between(
        study.kept, middle - half, middle + half, color=LOOKS["renoise"][1], alpha=0.25, linewidth=0
    )
    for axes, title, label in (
        (by_steps, "by number of steps", "steps"),
        (by_time, "by time", "CPU milliseconds an image"),
        (on_the_way, "x0* along Eq. 10", "step"),
    ):
        _style(axes, title, label, study.real.frechet)
    for axes, values in ((by_steps, [run.steps for run in study.unguided]), (by_time, ms)):
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = [tick for tick in _TICKS if min(values) <= tick <= max(values)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    by_steps.set_ylabel("Frechet distance")
    by_steps.legend(frameon=False, fontsize=8)
    return figure


def _style(axes: Axes, title: str, label: str, real: float) -> None:
    axes.axhline(real, color=GREY, linestyle=":", linewidth=1)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
