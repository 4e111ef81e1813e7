"""How our pictures look: one style in two variants, and the colours of what has a fixed meaning.

``plt.style.use("gaussmix.plots.light")`` or ``"gaussmix.plots.dark"`` (files beside this one) sets matplotlib's own
parameters: fonts, lines, no frame, and a cycle of colours that colour-blind people tell apart. What is drawn on axes
takes its colours from their background.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from matplotlib import rcParams, style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

P = ParamSpec("P")
R = TypeVar("R")


class Inks(NamedTuple):
    """Colours of texts and points, of histograms, of lines, of point masses, and of two that are compared."""

    ink: str
    bars: str
    line: str
    atom: str
    pair: tuple[str, str]


LIGHT = Inks("#333333", "#d5dde5", "#1f5fa8", "#c2402a", ("#1f5fa8", "#d9822b"))
DARK = Inks("#d8dce2", "#3a434f", "#7fb2e8", "#f07a62", ("#7fb2e8", "#f0a35e"))
INK, BARS, LINE, ATOM, PAIR = LIGHT
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue


def inks(axes: Axes) -> Inks:
    """Return the colours that show on the axes' background."""
    return DARK if _is_dark(axes.get_facecolor()) else LIGHT


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Have a function draw its figure in our style: the dark one if figures are dark already, else the light one."""

    @wraps(draw)
    def styled(*args: P.args, **options: P.kwargs) -> R:
        name = "dark" if _is_dark(rcParams["figure.facecolor"]) else "light"
        with style.context(f"gaussmix.plots.{name}"):
            return draw(*args, **options)

    return styled


def _is_dark(color: Any) -> bool:
    return float(np.dot(to_rgb(color), _LUMINANCE)) < 0.4
