"""D Appendix A, Figures 13-16: sheets of random samples for four lists of attributes.

D shows 256 faces and has no number. Here each list has its accuracy, the share of faces in which the judge sees an
attribute of the list, and the kernel distance (KID) to real faces that have the list, each beside that of real faces.
The kernel distance is unbiased for few faces too; the Frechet distance is not, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.metrics.distances import kernel_distance
from reproduction.diffusion.faces import (
    D_LISTS,
    OUR_LISTS,
    FaceBlock,
    Pictures,
    draw_faces,
    draw_numbered,
    with_attributes,
    words,
)
from reproduction.diffusion.study import Run, Study, StudyConfig, kept_arrays, progress, study_of
from reproduction.page import Measured
from reproduction.statistics import Row, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = tuple(figure for figure in D_LISTS if figure != "1")
_ROWS, _COLUMNS = 4, 10
_FEW = 4  # faces that a kernel distance needs
_FACES = 10  # for each row of the settings, drawn for a list


class Config(StudyConfig):
    """Settings of Appendix A."""

    arms = ("matched", "fixed")


def drawn_for(run: Run, figure: str) -> Pictures:
    """Random faces of a list, each with a Z and a noise of its own; what is not listed follows the data."""
    count = max(_ROWS * _COLUMNS, _FACES * run.study.config.rows)
    rows = run.pipeline.choose_attributes(OUR_LISTS[figure], count=count, seed=run.study.config.seed + int(figure))
    first = count * FIGURES.index(figure)
    numbers = range(first, first + count)
    return draw_numbered(run, rows, latents=numbers, noises=numbers)


def lists(run: Run) -> dict[str, Row]:
    """Of a run: `list_measures` of each list; the first faces are kept for the sheets."""
    found = {}
    for figure in FIGURES:
        pictures = drawn_for(run, figure)
        found[figure] = list_measures(run.study, figure, pictures)
        _sheet(run, figure, lambda x=pictures: x)
    return found


def _sheet(run: Run, figure: str, pictures: Callable[[], Pictures]) -> Pictures:
    """The first of the pictures that a run draws for a list, which are kept."""
    file = run.file(f"list-{figure}", "npz")
    return kept_arrays(file, lambda: {"images": pictures()[: _ROWS * _COLUMNS]})["images"]


def real_lists(study: Study) -> dict[str, Row]:
    """The same of the unseen faces that have the list, and how many these are."""
    found = {}
    for figure in FIGURES:
        chosen = with_attributes(study.faces, OUR_LISTS[figure])
        own = list_measures(study, figure, study.faces.asked[chosen]) if len(chosen) else {}
        found[figure] = {"count": len(chosen), "seen": own.get("seen"), "all seen": own.get("all seen")}
    return found


def list_measures(study: Study, figure: str, pictures: Pictures) -> Row:
    """Of pictures drawn for a list: ``seen``, the share of its attributes that the judge sees; ``all seen``, that of
    pictures in which it sees all; ``KID`` to unseen faces with the list; and ``KID of others``, of those without it,
    which ignoring the list would give. NaN for want of real faces."""
    faces = study.faces
    columns = find_attributes(OUR_LISTS[figure], faces.names)
    seen = faces.judge.predict(pictures)[:, columns]
    chosen = with_attributes(faces, OUR_LISTS[figure])
    theirs = study.asked_features
    enough = len(chosen) >= _FEW and len(pictures) >= _FEW
    others = np.setdiff1d(np.arange(len(theirs)), chosen)
    near, far = (
        kernel_distance(each, theirs[chosen]) if enough else None
        for each in (faces.judge.features(pictures), theirs[others])
    )
    nan = float("nan")
    return {
        "seen": float(seen.mean()),
        "all seen": float(seen.all(1).mean()),
        "KID": near.value if near else nan,
        "KID error": near.standard_error if near else nan,
        "KID of others": far.value if far else nan,
    }


MEASURES = {"lists": (Config.arms, lists)}


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return how well the faces of each list show it, and the faces."""
    with study_of(config) as study:
        found = study.table("lists", lists, config.arms, progress(config, on_step))
        real, run = study.real("lists", real_lists), study.first("matched", "fixed")
        sheets = {figure: _sheet(run, figure, lambda f=figure: drawn_for(run, f)) for figure in FIGURES}
    ours = {
        figure: {
            **summaries({arm: {seed: each[figure] for seed, each in found[arm].items()} for arm in config.arms}),
            "real": real[figure],
            "asked": words(OUR_LISTS[figure]),
        }
        for figure in FIGURES
    }
    paper = {
        "claim": "Generations correctly match our conditioning features",
        "lists": {figure: words(D_LISTS[figure]) for figure in FIGURES},
    }
    return Measured({**ours, "shown": run.arm}, paper, {"sheets": sheets})


def draw(measured: Measured) -> dict[str, Figure]:
    """Return a sheet of the first faces of each list."""
    return {
        f"-{figure}": draw_faces(
            f"As Figure {figure}: {measured.ours[figure]['asked']}",
            FaceBlock("", pictures.reshape(_ROWS, _COLUMNS, *pictures.shape[1:])),
        )
        for figure, pictures in measured.seen["sheets"].items()
    }
