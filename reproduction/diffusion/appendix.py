"""D Appendix A, Figures 13-16: sheets of random samples for four lists of attributes.

D shows 256 faces and has no number. Here each list has its accuracy, the share of faces in which the judge sees an
attribute of the list, and the kernel distance (KID) to real faces that have the list, each beside that of real faces.
The kernel distance is unbiased for few faces too; the Frechet distance is not, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.metrics.distances import kernel_distance
from reproduction.diffusion import model
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = tuple(figure for figure in model.D_LISTS if figure != "1")
_ROWS, _COLUMNS = 4, 10
_FEW = 4  # faces that a kernel distance needs
_UNKNOWN = {"value": None, "standard_error": None}


@dataclass(frozen=True)
class Config(model.PageConfig):
    """Settings of Appendix A."""

    pictures: int = 300
    """Faces drawn for each list; the sheets show the first."""

    @property
    def n_steps(self) -> int:
        """Faces to draw."""
        return self.pictures * len(FIGURES)

    def quick(self) -> Config:
        return replace(self, pictures=_ROWS * _COLUMNS, **model.QUICK)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return how well the faces of each list show it, and the faces."""
    subject = model.load_subject(config)
    sampler = model.FaceSampler(config, on_step)
    found = {figure: measure_list(subject, sampler, figure, config) for figure in FIGURES}
    rows = {figure: row for figure, (row, _) in found.items()}
    lists = {figure: model.words(model.D_LISTS[figure]) for figure in FIGURES}
    paper = {"claim": "Generations correctly match our conditioning features", "lists": lists}
    return Measured({**rows, "all": over_all(rows), "model": subject.facts}, paper, found)


def measure_list(
    subject: model.JudgedModel, sampler: model.FaceSampler, figure: str, config: Config
) -> tuple[dict[str, Any], model.Pictures]:
    """Draw faces for one list, and return numbers and faces; what cannot be said for want of real faces is None.

    ``seen`` is the share of the list's attributes that the judge sees, ``all_seen`` the share of faces in which it sees
    all of them. ``kernel`` is the distance of drawn faces to held-out ones with the list, ``kernel_others`` that of the
    other held-out faces: what ignoring the list would give.
    """
    wanted = subject.wanted(figure)
    rows = subject.pipeline.choose_attributes(wanted, count=config.pictures, seed=config.seed + int(figure))
    offset = config.pictures * FIGURES.index(figure)
    numbers = range(offset, offset + config.pictures)
    pictures = sampler.draw(subject.pipeline, rows, latents=numbers, noises=numbers)
    columns = find_attributes(wanted, subject.names)
    seen = subject.predict(pictures)[:, columns]
    real = subject.with_attributes(wanted)
    seen_real = subject.predict(subject.images[real])[:, columns]
    features, theirs = subject.judge.features(pictures), subject.judge.features(subject.images[real])
    others = subject.judge.features(subject.images[np.setdiff1d(subject.held_out, real)])
    enough = len(real) >= _FEW
    return {
        "wanted": wanted,
        "asked": model.words(wanted),
        "n_real": len(real),
        "seen": float(seen.mean()),
        "seen_real": float(seen_real.mean()) if len(real) else None,
        "all_seen": float(seen.all(1).mean()),
        "all_seen_real": float(seen_real.all(1).mean()) if len(real) else None,
        "kernel": kernel_distance(features, theirs)._asdict() if enough else _UNKNOWN,
        "kernel_others": kernel_distance(others, theirs)._asdict() if enough else _UNKNOWN,
    }, pictures


def over_all(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return how many distances are within two errors of 0, and the largest as a share of that of the other faces."""
    pairs = [(row["kernel"], row["kernel_others"]["value"]) for row in rows.values()]
    known = [(kernel, others) for kernel, others in pairs if others is not None]
    return {
        "within_two_errors": sum(kernel["value"] <= 2 * kernel["standard_error"] for kernel, _ in known),
        "largest_share_of_others": max((max(0.0, kernel["value"] / others) for kernel, others in known), default=None),
    }


def draw(measured: Measured) -> dict[str, Figure]:
    """Return a sheet of the first faces of each list."""
    sheets = {}
    for figure, (row, pictures) in measured.seen.items():
        block = pictures[: _ROWS * _COLUMNS].reshape(_ROWS, _COLUMNS, *pictures.shape[1:])
        sheets[f"-{figure}"] = model.draw_faces(f"As Figure {figure}: {row['asked']}", model.FaceBlock("", block))
    return sheets
