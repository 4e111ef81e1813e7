"""D Appendix A, Figures 13-16: sheets of random samples for four lists of attributes.

D shows 256 faces and has no number. Here each list has its accuracy, the share of faces in which the judge sees an
attribute of the list, and the kernel distance (KID) to real faces that have the list, each beside that of real faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.metrics.distances import KernelDistance, kernel_distance
from reproduction.diffusion.model import (
    LISTS,
    QUICK,
    Artist,
    Faces,
    PageConfig,
    Pictures,
    Subject,
    draw_faces,
    how_drawn,
    load_subject,
    words,
)
from reproduction.page import Cell, Picture, Result, Table

FIGURES = tuple(figure for figure in LISTS if figure != "1")
_ROWS, _COLUMNS = 4, 10
_FEW = 4  # faces that a kernel distance needs


@dataclass(frozen=True)
class Config(PageConfig):
    """Settings of Appendix A."""

    pictures: int = 300
    """Faces drawn for each list; the sheets show the first."""

    @property
    def n_steps(self) -> int:
        """Faces to draw."""
        return self.pictures * len(FIGURES)

    def quick(self) -> Config:
        return replace(self, pictures=_ROWS * _COLUMNS, **QUICK)


class Sheet(NamedTuple):
    """One list. What cannot be said for want of real faces is None."""

    figure: str
    wanted: tuple[str, ...]
    pictures: Pictures
    n_real: int
    """Held-out faces that have all of the list."""
    seen: float
    """Share of the list's attributes that the judge sees, mean over drawn faces."""
    seen_real: float | None
    all_seen: float
    """Share of drawn faces in which it sees all of them."""
    all_seen_real: float | None
    kernel: KernelDistance | None
    """Drawn faces against these real ones."""
    kernel_others: KernelDistance | None
    """The other held-out faces against these real ones: what ignoring the list would give."""


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figures 13-16."""
    subject = load_subject(config)
    artist = Artist(config, on_step)
    sheets = [sheet(subject, artist, figure, config) for figure in FIGURES]
    theirs = {figure: words(LISTS[figure][0]) for figure in FIGURES}
    return Result(
        title="D Appendix A: sheets of random samples",
        about="Random faces for the four lists of attributes of D's Figures 13 to 16, and how well they show them.",
        ours={
            one.figure: {key: value for key, value in one._asdict().items() if key not in ("figure", "pictures")}
            | {"kernel": _plain(one.kernel), "kernel_others": _plain(one.kernel_others)}
            for one in sheets
        },
        paper={"claim": "Generations correctly match our conditioning features", "lists": theirs},
        tables=(_table(sheets),),
        readings=(
            how_drawn(subject, config),
            _lists_sentence(sheets),
            f"{config.pictures} faces a list, each with a random Z and noise. Attributes that are not listed follow "
            "the data, given those that are.",
            "Real faces: all held-out ones (valid and test splits) with the whole list. The kernel distance is "
            "unbiased for few faces too; the Frechet distance is not, and is left out.",
        ),
        findings=findings(sheets),
        pictures=tuple(
            Picture(
                f"-{one.figure}",
                f"The first {len(_shown(one)) * _COLUMNS} random faces; the judge sees all listed attributes in "
                f"{one.all_seen:.0%} of {len(one.pictures)}.",
                lambda one=one: draw_faces(f"As Figure {one.figure}: {words(one.wanted)}", Faces("", _shown(one))),
            )
            for one in sheets
        ),
    )


def sheet(subject: Subject, artist: Artist, figure: str, config: Config) -> Sheet:
    """Draw and measure one list."""
    wanted = subject.wanted(figure)
    rows = subject.pipeline.choose_attributes(wanted, count=config.pictures, seed=config.seed + int(figure))
    offset = config.pictures * FIGURES.index(figure)
    numbers = range(offset, offset + config.pictures)
    pictures = artist.draw(subject.pipeline, rows, latents=numbers, noises=numbers)
    columns = find_attributes(wanted, subject.names)
    seen = subject.predict(pictures)[:, columns]
    real = subject.with_attributes(wanted)
    seen_real = subject.predict(subject.images[real])[:, columns]
    enough = len(real) >= _FEW
    features, theirs = subject.judge.features(pictures), subject.judge.features(subject.images[real])
    others = subject.judge.features(subject.images[np.setdiff1d(subject.held_out, real)])
    return Sheet(
        figure=figure,
        wanted=wanted,
        pictures=pictures,
        n_real=len(real),
        seen=float(seen.mean()),
        seen_real=float(seen_real.mean()) if len(real) else None,
        all_seen=float(seen.all(1).mean()),
        all_seen_real=float(seen_real.all(1).mean()) if len(real) else None,
        kernel=kernel_distance(features, theirs) if enough else None,
        kernel_others=kernel_distance(others, theirs) if enough else None,
    )


def findings(sheets: list[Sheet]) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    listed = "; ".join(
        f"Figure {one.figure} {one.all_seen:.0%}"
        + (f" ({one.all_seen_real:.0%})" if one.all_seen_real is not None else "")
        for one in sheets
    )
    followed = all(one.all_seen >= (one.all_seen_real or 1.0) - 0.05 for one in sheets)
    return (
        f"The faces {'match' if followed else 'do not all match'} their lists: the judge sees all listed attributes in "
        f"these shares of drawn (real) faces: {listed}.",
        _distance_sentence(sheets),
    )


def _distance_sentence(sheets: list[Sheet]) -> str:
    known = [(one.figure, one.kernel, one.kernel_others) for one in sheets if one.kernel and one.kernel_others]
    if not known:
        return "There are too few real faces with these lists for a distance."
    near = [figure for figure, kernel, _ in known if kernel.value <= 2 * kernel.standard_error]
    shares = [kernel.value / others.value for _, kernel, others in known if others.value > 0]
    scale = f", {max(0.0, *shares):.1%} at most of that of real faces without the list" if shares else ""
    return (
        f"For {len(near)} of {len(known)} lists the kernel distance to real faces with the list is within two standard "
        f"errors of 0{scale}."
    )


def _lists_sentence(sheets: list[Sheet]) -> str:
    parts = []
    for one in sheets:
        theirs = LISTS[one.figure][0]
        same = set(one.wanted) == set(theirs)
        parts.append(f"Figure {one.figure}: {words(theirs)}" + ("" if same else f"; here {words(one.wanted)}"))
    return (
        f"D's lists, as far as printed, and what was asked for instead where the model lacks them. {'. '.join(parts)}."
    )


def _table(sheets: list[Sheet]) -> Table:
    columns = (
        "as figure", "attributes", "seen", "real", "all seen", "real", "real faces", "KID", "standard error",
        "KID of faces without the list",
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            *(one.figure, words(one.wanted), one.seen, one.seen_real, one.all_seen, one.all_seen_real),
            float(one.n_real),
            *(one.kernel or (None, None)),
            one.kernel_others.value if one.kernel_others else None,
        )
        for one in sheets
    ]
    return Table("The four lists: shares of drawn and of real faces, distances to real faces", columns, tuple(rows))


def _plain(distance: KernelDistance | None) -> dict[str, float] | None:
    return None if distance is None else distance._asdict()


def _shown(one: Sheet) -> Pictures:
    """Full rows of faces."""
    rows = min(_ROWS, len(one.pictures) // _COLUMNS)
    return one.pictures[: rows * _COLUMNS].reshape(rows, _COLUMNS, *one.pictures.shape[1:])
