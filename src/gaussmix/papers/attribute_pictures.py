"""The two pictures of D Figure 12's page: error by training step, at matched tuning and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix.papers.attribute_study import BCE, INPUTS, LEARNS, WORKING, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {BCE: "#d9822b", "literal": "#1f5fa8", LEARNS: "#4b9b5f", WORKING[2]: "#8a5fa8"}


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)


def draw_matched(studies: list[Study]) -> Figure:
    """Error by step, each loss at its own best learning rate; two studies to a data set."""
    from matplotlib.figure import Figure

    rows = len(studies) // 2
    figure = Figure(figsize=(10, 0.6 + 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, sharey="row", sharex=True, squeeze=False)
    names = {
        BCE: "binary cross-entropy",
        "literal": "Eq. 18, best reading as printed",
        LEARNS: "Eq. 18, two-sided, with its diagonal",
        WORKING[2]: "kernel gradient, correlation",
    }
    for axes, part in zip(panels.flat, studies, strict=True):
        for key, label in names.items():
            curve = part.tuned[part.literal if key == "literal" else key].curve
            mean, spread = curve.mean(-1), curve.std(-1, ddof=1)
            axes.plot(part.steps, mean, color=COLORS[key], label=label)
            axes.fill_between(part.steps, mean - spread, mean + spread, color=COLORS[key], alpha=0.2, linewidth=0)
        axes.axhline(part.constant, color="#555555", linestyle=":", linewidth=1, label="training frequencies")
        _style(axes, f"{part.label}, {part.n_attributes} attributes; {INPUTS[part.kind]}")
    for axes in panels[:, 0]:
        axes.set_ylabel("squared error of a test picture")
    for axes in panels[-1]:
        axes.set_xlabel("training step")
    panels[0, 0].legend(frameon=False, fontsize=8)
    return figure


def draw_unmatched(part: Study, rates: tuple[float, ...]) -> Figure:
    """Error by step at one learning rate for all, for every second rate, the largest among them."""
    from matplotlib.figure import Figure

    shown = range((len(rates) - 1) % 2, len(rates), 2)
    figure = Figure(figsize=(3.0 * len(shown) + 0.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    lines = {
        "BCE": ("binary cross-entropy, mean", COLORS[BCE], "-"),
        "mean": ("Eq. 18, mean over pictures", COLORS["literal"], "-"),
        "sum": ("Eq. 18, sum over pictures", COLORS["literal"], "--"),
    }
    for axes, i in zip(panels, shown, strict=True):
        for key, errors in part.unmatched(i).items():
            label, color, style = lines[key]
            axes.plot(part.steps, errors, color=color, linestyle=style, label=label)
        axes.axhline(part.constant, color="#555555", linestyle=":", linewidth=1, label="training frequencies")
        _style(axes, f"learning rate {rates[i]:g}")
        axes.set_xlabel("training step")
    panels[0].set_ylabel("squared error of a test picture")
    panels[0].legend(frameon=False, fontsize=8)
    return figure
