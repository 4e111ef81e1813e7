"""D Figure 4: faces from a conditional distribution of features, each with a Z of its own.

How varied they are beside real faces with the same attributes, where the variety comes from, and what the components of
the mixture do that an attribute's Z_k is drawn from.

Mean distance of two faces, d = mean_{i != j} |f_i - f_j|, in features of the judge and in pixels: of real faces, of
faces drawn for their attributes, and of faces drawn so with Z or the noise held fixed. Face i of every set has the same
attributes. The effect of a component is the root mean square difference of two faces that differ in nothing but the
component of z_1 of one attribute; that of the noise, of two that differ in the noise alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.metrics.manifolds import pairwise_diversity
from reproduction.diffusion.faces import OUR_LISTS, FaceBlock, Pictures, draw_faces, draw_numbered, nearest_to, words
from reproduction.diffusion.study import Run, StudyConfig, progress, study_of
from reproduction.page import Measured
from reproduction.statistics import Row, compare, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "we randomly sample the conditional Z; each image is assigned with a fix latent sample"}
WAYS = {
    "real": "real, unseen",
    "all": "drawn, own Z and noise",
    "latents": "drawn, own Z, one noise",
    "noise": "drawn, one Z, own noise",
    "neither": "drawn, one Z, one noise",
}
"""The sets of faces, and what they are called in the picture."""
_SHOWN = ("Wearing_Hat", "Eyeglasses", "Smiling")  # attributes whose components are shown
_ROWS, _COLUMNS, _NOISES = 4, 3, 5  # of the blocks of faces
_FACES = 3  # for each row of the settings, of the sets
_TRIED = 4  # a component is tried on one of so many rows of the settings


class Config(StudyConfig):
    """Settings of Figure 4."""

    arms = ("fixed", "matched")


class ComponentEffect(NamedTuple):
    """Root mean square differences in levels of 255, of two faces that differ in one thing only."""

    component: float
    noise: float


def component_effect(grid: NDArray[np.float64]) -> ComponentEffect:
    """Return the effect in pictures ``(rows, components, 2 noises, D)``."""
    pairs = itertools.combinations(range(grid.shape[1]), 2)
    moved = np.mean([np.square(grid[:, a] - grid[:, b]).mean() for a, b in pairs] or [0.0])
    redrawn = np.square(grid[:, :, 0] - grid[:, :, 1]).mean()
    return ComponentEffect(float(np.sqrt(moved)), float(np.sqrt(redrawn)))


def sets(run: Run, count: int) -> dict[str, Pictures]:
    """Real faces that have the attributes of the list, or lack the fewest, and faces for theirs, by `WAYS`."""
    faces, one = run.study.faces, [0] * count
    chosen = nearest_to(faces, OUR_LISTS["1"], count)
    rows = faces.attributes[chosen]
    return {
        "real": faces.asked[chosen],
        "all": draw_numbered(run, rows),
        "latents": draw_numbered(run, rows, noises=one),
        "noise": draw_numbered(run, rows, latents=one),
        "neither": draw_numbered(run, rows, latents=one, noises=one),
    }


def variety(run: Run) -> Row:
    """Of a run: the mean distances of each set, and the effects of components and noise, medians over attributes."""
    study, found = run.study, {}
    for way, pictures in sets(run, _FACES * study.config.rows).items():
        flat = pictures.reshape(len(pictures), -1).astype(np.float64)
        found[f"{way}, features"] = pairwise_diversity(study.faces.judge.features(pictures))
        found[f"{way}, pixels"] = pairwise_diversity(flat) / np.sqrt(flat.shape[1])
    effects = []
    for name in study.faces.names:
        grid = by_component(run, name, max(2, study.config.rows // _TRIED), 2)
        effects.append(component_effect(grid.reshape(*grid.shape[:3], -1).astype(np.float64)))
    return {
        **found,
        "component": float(np.median([one.component for one in effects])),
        "noise": float(np.median([one.noise for one in effects])),
        "above noise": float(np.mean([one.component > one.noise for one in effects])),
    }


def by_component(run: Run, name: str, n_rows: int, n_noises: int) -> Pictures:
    """Faces ``(rows of attributes, components of name, noises, H, W, 3)``; all else of Z is the same within a row."""
    rows = run.pipeline.choose_attributes([name], count=n_rows, seed=run.study.config.seed)
    distribution = run.pipeline.latent_distribution
    weights = distribution.weights(run.study.faces.names.index(name))
    there = np.flatnonzero(weights)
    row, place, noise = np.indices((n_rows, len(there), n_noises)).reshape(3, -1).tolist()
    pictures = draw_numbered(
        run,
        rows[row],
        latents=row,
        noises=[n_noises * r + n for r, n in zip(row, noise, strict=True)],
        components=[{name: int(there[c])} for c in place],
    )
    return pictures.reshape(n_rows, len(there), n_noises, *pictures.shape[1:])


MEASURES = {"variety": (Config.arms, variety)}
_PAIRS = {"Z minus noise": ("latents, pixels", "noise, pixels"), "component minus noise": ("component", "noise")}


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Compare sets of faces and components, and draw some to show."""
    with study_of(config) as study:
        values = study.table("variety", variety, config.arms, progress(config, on_step))
        run = study.first("matched", "fixed")
        seen = {
            "faces": sets(run, _ROWS * _COLUMNS),
            "sheets": {name: by_component(run, name, 1, _NOISES)[0] for name in _SHOWN},
        }
    within = {name: {arm: within_runs(values[arm], *pair) for arm in config.arms} for name, pair in _PAIRS.items()} | {
        f"drawn minus real, {space}": {
            arm: within_runs(values[arm], f"all, {space}", f"real, {space}", sign=-1) for arm in config.arms
        }
        for space in ("features", "pixels")
    }
    return Measured(
        {"runs": summaries(values), "within": within, "asked": words(OUR_LISTS["1"]), "shown": run.arm}, PAPER, seen
    )


def within_runs(rows: dict[int, Row], first: str, second: str, sign: int = 1) -> dict[str, object]:
    """Two measures of the same runs, compared seed by seed."""
    table = {name: {seed: {"value": row[name]} for seed, row in rows.items()} for name in (first, second)}
    return compare(table, first, second, "value", sign)


def draw(measured: Measured) -> dict[str, Figure]:
    """Return faces of every set but that with one Z and one noise, and faces by component."""
    seen = measured.seen
    ways = [
        FaceBlock(WAYS[way], images.reshape(_ROWS, _COLUMNS, *images.shape[1:]))
        for way, images in seen["faces"].items()
        if way != "neither"
    ]
    components = [
        FaceBlock(words([name]), sheet, [str(c) for c in range(len(sheet))]) for name, sheet in seen["sheets"].items()
    ]
    return {
        "": draw_faces(measured.ours["asked"], *ways),
        "-components": draw_faces("Components of an attribute", *components),
    }
