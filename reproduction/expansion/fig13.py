"""E Figure 13: two styles blended at 0, 10, 20 and 80 %, ten pictures each, one content.

A draw of each style, combined as the blend says, is the target of a picture. Measured for each blend: how much of style
2 is in the pictures' Gram matrices, the style loss that is left, and how far the ten are apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from reproduction.expansion import style
from reproduction.page import Measured

BLENDS = (0.0, 0.1, 0.2, 0.8)


@dataclass(frozen=True)
class Config(style.StylePageConfig):
    """Settings of Figure 13."""

    pictures: int = 10
    """Of each blend."""

    @property
    def n_steps(self) -> int:
        """Pictures to draw: those of the figure, and two of the unmixed styles."""
        return len(BLENDS) * self.pictures + 2

    def quick(self) -> Config:
        return replace(self, pictures=2, **style.QUICK)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return for each blend the share of style 2 in drawn matrices and in pictures, the loss left and the variety."""
    study = style.StyleStudy(config, on_step)
    one, two = study.styles
    blends, rows = [], {}
    for share in BLENDS:
        targets = study.expansion.sample(config.pictures, {one: 1 - share, two: share}, config.seed)
        pictures, scores = study.made_of(targets)
        own = {"asked": share, "realised": study.share_drawn(targets), "seen": study.share_seen(pictures)}
        blends.append({**own, **scores})
        rows[f"{share:.0%}"] = pictures
    ours = {
        "blends": blends,
        "mean_gap": {key: np.mean([abs(each[key] - each["asked"]) for each in blends]) for key in ("realised", "seen")},
        "least_variety": min(each["variety"] for each in blends),
        "most_loss": max(each["loss"] for each in blends),
    }
    claim = "each output image shares the same style but has attributes that differ substantially"
    return Measured(ours, {"blends": [{"asked": share} for share in BLENDS], "claim": claim}, {"rows": rows})


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the pictures, a row a blend."""
    return {"": style.draw_rows("E Figure 13: two styles blended", measured.seen["rows"])}
