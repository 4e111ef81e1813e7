"""D Figure 4: faces from a conditional distribution of features, each with a Z of its own.

How varied are they? Mean distance of two faces, d = mean_{i != j} |f_i - f_j|, in features of the judge and in pixels,
beside that of real faces with the same attributes; with Z or the noise held fixed it tells where the variety comes
from. And what do the components of the mixture do that an attribute's Z_k is drawn from?
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from gaussmix.diffusion.draw import sheet_requests
from gaussmix.diffusion.requests import find_attributes
from gaussmix.papers.model_pages import (
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
from gaussmix.papers.result import Cell, Picture, Result, Table

_SHOWN = ("Wearing_Hat", "Eyeglasses", "Smiling")  # attributes whose components are shown, where the model has them
_ROWS, _COLUMNS, _NOISES = 4, 3, 5  # of the blocks of faces
_WAYS = {
    "real": "real, held out",
    "all": "drawn, own Z and noise",
    "latents": "drawn, own Z, one noise",
    "noise": "drawn, one Z, own noise",
    "neither": "drawn, one Z, one noise",
}


@dataclass(frozen=True)
class Config(PageConfig):
    """Settings of Figure 4."""

    pictures: int = 100
    """Held-out faces that have the attributes, at most, and as many drawn for each way."""
    component_rows: int = 8
    """Rows of attributes that each component of each attribute is tried on."""

    @property
    def n_steps(self) -> int:
        """Faces to draw with the model of the package, at most: 16 attributes, 3 components."""
        return (len(_WAYS) - 1) * self.pictures + 3 * (_NOISES * len(_SHOWN) + 2 * self.component_rows * 16)

    def quick(self) -> Config:
        return replace(self, pictures=_ROWS * _COLUMNS, component_rows=1, **QUICK)


class Diversity(NamedTuple):
    """Mean distance of two faces, and its standard error."""

    value: float
    error: float


class ComponentEffect(NamedTuple):
    """Root mean square differences in levels of 255, of two faces that differ in one thing only."""

    component: float
    noise: float
    seen: float
    """Share of these faces in which the judge sees the attribute."""


Varied = dict[str, dict[str, Diversity]]
"""By the keys of `_WAYS`, by "features" and "pixels"."""


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 4."""
    subject = load_subject(config)
    artist = Artist(config, on_step)
    wanted = subject.wanted("1")
    exact = subject.with_attributes(wanted)
    count = max(_ROWS * _COLUMNS, min(config.pictures, len(exact)))
    chosen = subject.nearest_to(wanted, count, config.seed)
    faces = _ways(subject, artist, chosen)
    varied: Varied = {
        way: {
            "features": diversity(subject.judge.features(images)),
            "pixels": diversity(_flat(images) / np.sqrt(images[0].size)),
        }
        for way, images in faces.items()
    }
    shown = _shown(subject)
    sheets = {name: _component_sheet(subject, artist, name) for name in shown}
    effects = {name: _component_effect(subject, artist, name, config) for name in subject.names}
    return Result(
        title="D Figure 4: faces from a conditional distribution of features",
        about=f"Faces of {{{words(wanted)}}} with a random Z each: how varied they are, and what components of Z do.",
        ours={
            "diversity": {way: {kind: each._asdict() for kind, each in both.items()} for way, both in varied.items()},
            "components": {name: effect._asdict() for name, effect in effects.items()},
            "attributes": list(wanted),
            "faces": len(chosen),
        },
        paper={"claim": "we randomly sample the conditional Z; each image is assigned with a fix latent sample"},
        tables=(_variety_table(varied), _component_table(subject, effects)),
        readings=(
            how_drawn(subject, config),
            f"Variety: {len(chosen)} held-out faces, {min(count, len(exact))} of them with all of these attributes "
            "(the others lack the fewest), and as many drawn for all attributes of each of these faces, so that only "
            "Z, the noise and what no attribute says can differ. Standard errors: of a mean over pairs (Hoeffding).",
            f"Components: z_1 of an attribute is moved to another component, everything else kept, on "
            f"{config.component_rows} rows of attributes; beside it the same faces from another noise, "
            "everything else kept.",
        ),
        findings=findings(varied, effects),
        pictures=(
            Picture(
                "",
                "Drawn faces are for all attributes of the real face at the same place. If the block with one "
                "noise is as varied as the one with Z and noise of its own, Z decides; if the block with one Z is, the "
                "noise does.",
                lambda: draw_faces(
                    words(wanted),
                    *(
                        Faces(_WAYS[way], images[: _ROWS * _COLUMNS].reshape(_ROWS, _COLUMNS, *images.shape[1:]))
                        for way, images in faces.items()
                        if way != "neither"
                    ),
                ),
            ),
            Picture(
                "-components",
                "A row has one component (0, 1, 2) of the attribute's Z, a column one noise; all other numbers of Z "
                "and all attributes are the same within a block.",
                lambda: draw_faces(
                    "Components of an attribute",
                    *(
                        Faces(words([name]), sheet, [str(c) for c in range(len(sheet))])
                        for name, sheet in sheets.items()
                    ),
                ),
            ),
        ),
    )


def _ways(subject: Subject, artist: Artist, chosen: NDArray[np.int64]) -> dict[str, Pictures]:
    """Real faces at ``chosen``, and faces for their attributes, by the keys of `_WAYS`."""
    rows, one = subject.attributes[chosen], [0] * len(chosen)
    return {
        "real": subject.images[chosen],
        "all": artist.draw(subject.pipeline, rows),
        "latents": artist.draw(subject.pipeline, rows, noises=one),
        "noise": artist.draw(subject.pipeline, rows, latents=one),
        "neither": artist.draw(subject.pipeline, rows, latents=one, noises=one),
    }


def diversity(rows: NDArray) -> Diversity:
    """Mean Euclidean distance of two different rows ``(N, D)``, N at least 3, with its standard error.

    Half of the variance of the mean over pairs comes from each of the two rows: with h_i the mean distance of row i to
    the others, the error is 2 sd(h) / sqrt(N).
    """
    distances = squareform(pdist(rows))
    means = distances.sum(1) / (len(rows) - 1)
    return Diversity(float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(rows))))


def _flat(images: Pictures) -> NDArray[np.float64]:
    return images.reshape(len(images), -1).astype(np.float64)


def _shown(subject: Subject) -> tuple[str, ...]:
    if set(_SHOWN) <= set(subject.names):
        return _SHOWN
    return tuple(names[0] for names in sheet_requests(subject.pipeline, len(_SHOWN)) if names)


def _component_sheet(subject: Subject, artist: Artist, name: str) -> Pictures:
    """Faces ``(C, noises, H, W, 3)`` with one row of attributes and one Z but for the component of ``name``."""
    row = subject.pipeline.choose_attributes([name], count=1, seed=artist.config.seed)
    cells = list(itertools.product(range(subject.pipeline.attribute_latents.n_components), range(_NOISES)))
    pictures = artist.draw(
        subject.pipeline,
        row.repeat(len(cells), 0),
        latents=[0] * len(cells),
        noises=[noise for _, noise in cells],
        components=[{name: c} for c, _ in cells],
    )
    return pictures.reshape(-1, _NOISES, *pictures.shape[1:])


def _component_effect(subject: Subject, artist: Artist, name: str, config: Config) -> ComponentEffect:
    """What the component of ``name`` changes, and what the noise does, over some rows of attributes."""
    n_components, n_rows = subject.pipeline.attribute_latents.n_components, config.component_rows
    rows = subject.pipeline.choose_attributes([name], count=n_rows, seed=config.seed)
    cells = list(itertools.product(range(n_rows), range(n_components), range(2)))
    pictures = artist.draw(
        subject.pipeline,
        rows[[row for row, _, _ in cells]],
        latents=[row for row, _, _ in cells],
        noises=[2 * row + noise for row, _, noise in cells],
        components=[{name: c} for _, c, _ in cells],
    )
    [column] = find_attributes([name], subject.names)
    seen = float(subject.predict(pictures)[:, column].mean())
    grid = _flat(pictures).reshape(n_rows, n_components, 2, -1)
    pairs = itertools.combinations(range(n_components), 2)
    moved = [np.square(grid[:, a] - grid[:, b]).mean() for a, b in pairs]
    redrawn = np.square(grid[:, :, 0] - grid[:, :, 1]).mean()
    return ComponentEffect(float(np.sqrt(np.mean(moved))) if moved else 0.0, float(np.sqrt(redrawn)), seen)


def findings(varied: Varied, effects: dict[str, ComponentEffect]) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    strong = [name for name, effect in effects.items() if effect.component > effect.noise]
    medians = [
        float(np.median([getattr(effect, part) for effect in effects.values()])) for part in ("component", "noise")
    ]
    return (
        " ".join(
            _variety_sentence(kind, {way: both[kind] for way, both in varied.items()})
            for kind in ("features", "pixels")
        ),
        _source_sentence({way: both["pixels"].value for way, both in varied.items()}),
        f"Another component of an attribute changes the picture by {medians[0]:.3g} levels (median over attributes), "
        f"another noise by {medians[1]:.3g}. Components change more than noise for {len(strong)} of {len(effects)} "
        f"attributes{': ' + words(strong) if strong else ''}.",
    )


def _variety_sentence(kind: str, of: dict[str, Diversity]) -> str:
    drawn, real = of["all"], of["real"]
    error = float(np.hypot(drawn.error, real.error))
    gap = drawn.value - real.value
    verdict = "as varied as" if abs(gap) <= 2 * error else "more varied than" if gap > 0 else "less varied than"
    return (
        f"In {kind}, drawn faces are {verdict} real ones with the same attributes: mean distance "
        f"{drawn.value:.3g} ± {drawn.error:.2g} against {real.value:.3g} ± {real.error:.2g}."
    )


def _source_sentence(value: dict[str, float]) -> str:
    latents, noise = (value[way] - value["neither"] for way in ("latents", "noise"))
    source = "Z" if latents > noise else "the noise"
    return (
        f"More of the variety comes from {source}: with one Z and one noise for all, only the attributes differ, and "
        f"two faces are {value['neither']:.3g} levels apart; with Z of their own {value['latents']:.3g}, with noise of "
        f"their own {value['noise']:.3g}, with both {value['all']:.3g}."
    )


def _variety_table(varied: Varied) -> Table:
    rows: list[tuple[Cell, ...]] = [(_WAYS[way], *both["features"], *both["pixels"]) for way, both in varied.items()]
    columns = ("faces", "in features", "standard error", "in pixels, levels", "standard error")
    return Table("Variety: mean distance of two faces", columns, tuple(rows))


def _component_table(subject: Subject, effects: dict[str, ComponentEffect]) -> Table:
    shares = subject.pipeline.attribute_latents.shares
    rows: list[tuple[Cell, ...]] = [
        (
            words([name]),
            "equal" if shares is None else ", ".join(f"{share:.2f}" for share in shares[k]),
            *effect,
        )
        for k, (name, effect) in enumerate(effects.items())
    ]
    columns = ("attribute", "shares of its components", "another component", "another noise", "attribute seen")
    return Table("What changes a picture: root mean square difference, levels of 255", columns, tuple(rows))
