"""E Figure 13: two styles blended at 0, 10, 20 and 80 %, ten pictures each, one content.

A draw of each style, combined as the blend says, is the target of a picture. Measured for each blend: how much of style
2 is in the pictures' Gram matrices, the style loss that is left, and how far the ten are apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gaussmix.style.expansion import GramExpansion
from reproduction.expansion.style import (
    QUICK,
    SOURCES,
    StyleConfig,
    Told,
    open_studio,
    picture_grams,
    realised_blend,
    style_losses,
    variety,
)
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLENDS = (0.0, 0.1, 0.2, 0.8)
_SHOWN = 0.85  # inches a picture


@dataclass(frozen=True)
class Config(StyleConfig):
    """Settings of Figure 13."""

    pictures: int = 10
    """Of each blend."""

    @property
    def n_steps(self) -> int:
        """Pictures to draw: those of the figure, and two of the unmixed styles."""
        return len(BLENDS) * self.pictures + 2

    def quick(self) -> Config:
        return replace(self, pictures=2, **QUICK)


class Numbers(NamedTuple):
    """Of one blend."""

    asked: float
    realised: float
    """Mean share of style 2 in the drawn matrices."""
    seen: float
    """The same in the pictures, between the pictures of the two styles' mean matrices."""
    loss: float
    variety: float


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 13."""
    studio, told = open_studio(config), Told(on_step)
    one, two = studio.styles
    crops = studio.crop_grams(config)
    expansion = GramExpansion().fit_grams(crops)
    layout = expansion.layout
    means = np.stack([layout.rows(own).mean(0) for own in crops.values()])
    pure = studio.render(config, expansion.targets(means), told)
    ends = layout.rows({layer: gram.numpy() for layer, gram in picture_grams(pure, studio.features).items()})

    numbers, sheet = [], []
    for share in BLENDS:
        blend = {one: 1 - share, two: share}
        targets = expansion.sample(config.pictures, blend, config.seed)
        pictures = studio.render(config, targets, told)
        found = picture_grams(pictures, studio.features)
        drawn = layout.rows({layer: np.stack([t[layer].numpy() for t in targets]) for layer in layout.channels})
        seen = layout.rows({layer: gram.numpy() for layer, gram in found.items()})
        numbers.append(
            Numbers(
                share,
                float(realised_blend(drawn, means, layout)[:, 1].mean()),
                float(realised_blend(seen, ends, layout)[:, 1].mean()),
                float(style_losses(found, targets).mean()),
                variety(pictures, studio.features),
            )
        )
        sheet.append(pictures)
    title = "E Figure 13: two styles blended"
    return Result(
        title=title,
        about=f"{config.pictures} pictures for each of the blends {', '.join(f'{share:.0%}' for share in BLENDS)} of "
        f"{two} with {one}.",
        ours={"blends": [n._asdict() for n in numbers]},
        paper={
            "blends": [{"asked": share} for share in BLENDS],
            "claim": "each output image shares the same style but has attributes that differ substantially",
        },
        tables=(
            Table(
                f"Means over {config.pictures} pictures of {config.steps} steps at {config.size} pixels",
                ("asked", "in the drawn matrices", "in the pictures", "style loss left", "distance of two pictures"),
                tuple(tuple(n) for n in numbers),
            ),
        ),
        readings=(
            *SOURCES,
            "Blend: E mixes the crops in one data set; here each style has its distribution, and a target is the "
            "convex combination of one draw of each (coupling pca). expansion-fig12 has the paper's way beside it.",
            "Share of style 2: least squares on the two styles' means, of the drawn matrices; and of the pictures' "
            "own, on those of two pictures made of the means, which takes out what the content adds.",
        ),
        findings=findings(numbers),
        pictures=(
            Picture(
                "",
                f"A row a blend, top to bottom {', '.join(f'{share:.0%}' for share in BLENDS)} of {two}, the rest "
                f"{one}; a column a draw: variant i of each style is the same in all rows.",
                lambda: _draw(title, sheet),
            ),
        ),
    )


def findings(numbers: list[Numbers]) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    gap = float(np.mean([abs(n.realised - n.asked) for n in numbers]))
    seen = float(np.mean([abs(n.seen - n.asked) for n in numbers]))
    least = min(n.variety for n in numbers)
    worst = max(n.loss for n in numbers)
    tracks = "tracks what is asked" if max(gap, seen) <= 0.1 else "is off what is asked"
    return (
        f"The blend {tracks}: by {gap:.2f} on average in the drawn matrices, by {seen:.2f} in the pictures.",
        f"Pictures of one blend differ: their features at relu4_2 lie {least:.2f} of their size apart or more; at most "
        f"{worst:.2f} of the style is left undone.",
    )


def _draw(title: str, sheet: list[Any]) -> Figure:
    from matplotlib.figure import Figure

    rows, columns = len(sheet), len(sheet[0])
    height, width = sheet[0].shape[1:3]
    figure = Figure(figsize=(0.6 + _SHOWN * columns, 0.5 + _SHOWN * height / width * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for row, share, pictures in zip(grid, BLENDS, sheet, strict=True):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"{share:.0%}")
    figure.suptitle(title)
    return figure
