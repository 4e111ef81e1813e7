"""E Figure 13: two styles blended at 0, 10, 20 and 80 %, and at 50 and 100 %, some pictures each, one content.

A draw of each style, combined as the blend says, is the target of a picture. Measured for each blend and seed: how much
of style 2 is in the drawn matrices, before they are moved to their shares and after, and in the pictures' own; the
style loss that is left, and how far the pictures are apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from reproduction.expansion import style
from reproduction.page import Measured

BLENDS = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
PAPER = (0.0, 0.1, 0.2, 0.8)


@dataclass(frozen=True)
class Config(style.StylePageConfig):
    """Settings of Figure 13."""

    size: int = 256
    steps: int = 20
    pictures: int = 10
    """Of each blend and seed."""
    seeds: int = 3
    """How many, from ``seed`` on: of crops and draws."""

    @property
    def n_steps(self) -> int:
        """Pictures to draw."""
        return self.seeds * len(BLENDS) * self.pictures

    def quick(self) -> Config:
        return replace(self, pictures=2, seeds=2, **style.QUICK)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return for each blend the shares of style 2 in drawn matrices and in pictures, the loss left and the variety."""
    found: list[list[dict[str, float]]] = []
    rows, earlier = {}, 0.0
    for number in range(config.seeds):
        before = number * config.n_steps // config.seeds
        study = style.StyleStudy(
            replace(config, seed=config.seed + number), lambda done, before=before: on_step(before + done)
        )
        one, two = study.styles
        found.append([])
        for share in BLENDS:
            blend = {one: 1 - share, two: share}
            targets = study.expansion.sample(config.pictures, blend, study.config.seed)
            plain = study.expansion.sample_rows(config.pictures, blend, study.config.seed)
            plain = study.share_drawn(study.expansion.targets(plain, blend))
            pictures, scores = study.made_of(targets, blend)
            found[-1].append(
                {"plain": plain, "drawn": study.share_drawn(targets), "seen": study.share_of(pictures), **scores}
            )
            rows.setdefault(f"{share:.0%}", pictures)
        earlier += study.earlier_seconds
    blends = []
    for place, share in enumerate(BLENDS):
        own = {key: np.array([each[place][key] for each in found]) for key in found[0][0]}
        gaps = {f"{key}_gap": float(np.abs(own[key] - share).max()) for key in ("drawn", "seen")}
        means = {key: float(values.mean()) for key, values in own.items()}
        blends.append({"asked": share, **means, **gaps, "seen_by_seed": own["seen"].tolist()})
    gaps = {key: np.mean([abs(each[key] - each["asked"]) for each in blends]) for key in ("drawn", "seen")}
    most = {key: max(abs(each[key] - each["asked"]) for each in blends) for key in ("drawn", "seen")}
    ours = {
        "blends": blends,
        "mean_gap": gaps,
        "most_gap": most,
        "worst_seed_gap": max(each["seen_gap"] for each in blends),
        "least_variety": min(each["variety"] for each in blends),
        "most_loss": max(each["loss"] for each in blends),
    }
    claim = "each output image shares the same style but has attributes that differ substantially"
    return Measured(ours, {"blends": [{"asked": share} for share in PAPER], "claim": claim}, {"rows": rows}, earlier)


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the pictures, a row a blend."""
    return {"": style.draw_rows("E Figure 13: two styles blended", measured.seen["rows"])}
