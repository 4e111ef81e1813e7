"""D Figure 4: faces from a conditional distribution of features, each with a Z of its own.

How varied are they, beside real faces with the same attributes, and where does the variety come from? And what do the
components of the mixture do that an attribute's Z_k is drawn from? `reproduction.diffusion.fig4` has the numbers.

How varied faces are, and what decides it: the numbers of D Figure 4's page, and what is said of them.

Mean distance of two faces, d = mean_{i != j} |f_i - f_j|, in features of the judge and in pixels: of real faces, of
faces drawn for their attributes, and of faces drawn so with Z or the noise held fixed. Face i of every set has the same
attributes, so sets are compared face by face: with h_i the mean distance of face i to the others, d is the mean of h,
and half of the variance of a mean over pairs comes from either face (Hoeffding 1948):

    error = 2 sd(h) / sqrt(N),            with h' - h of two sets in place of h for their difference.

Of a difference within two errors nothing is said but that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.sheets import sheet_requests
from reproduction.diffusion.components import jackknife
from reproduction.diffusion.model import (
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

WAYS = {
    "real": "real, held out",
    "all": "drawn, own Z and noise",
    "latents": "drawn, own Z, one noise",
    "noise": "drawn, one Z, own noise",
    "neither": "drawn, one Z, one noise",
}
"""The sets of faces."""

Varied = dict[str, dict[str, NDArray[np.float64]]]
"""Mean distances of each face ``(N,)``, by the keys of `WAYS`, by "features" and "pixels"."""


class Diversity(NamedTuple):
    """Mean distance of two faces, or a difference of two of these, and its standard error."""

    value: float
    error: float

    @property
    def sign(self) -> int:
        """-1 or 1 if that is below or above 0 by more than two errors, else 0."""
        return _sign(self.value, self.error)


class ComponentEffect(NamedTuple):
    """Root mean square differences in levels of 255, of two faces that differ in one thing only."""

    component: float
    noise: float
    error: float
    """Standard error of the first minus the second: jackknife over rows of attributes."""
    seen: float
    """Share of these faces in which the judge sees the attribute."""

    @property
    def sign(self) -> int:
        """1 if the component changes more than the noise by over two errors, -1 if less, else 0."""
        return _sign(self.component - self.noise, self.error)


def _sign(value: float, error: float) -> int:
    return int(np.sign(value)) if abs(value) > 2 * error else 0


def mean_distances(rows: NDArray) -> NDArray[np.float64]:
    """Mean Euclidean distance of each row ``(N, D)`` to the others, ``(N,)``; N at least 3."""
    return squareform(pdist(rows)).sum(1) / (len(rows) - 1)


def diversity(means: NDArray[np.float64]) -> Diversity:
    """Of the `mean_distances` of a set of faces, or of those of one set minus those of another, ``(N,)``."""
    return Diversity(float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(means))))


def component_effect(grid: NDArray[np.float64], seen: float) -> ComponentEffect:
    """Of pictures ``(rows, components, 2 noises, D)``, at least two rows; ``seen`` is passed on."""
    pairs = itertools.combinations(range(grid.shape[1]), 2)
    moved = np.mean([np.square(grid[:, a] - grid[:, b]).mean((1, 2)) for a, b in pairs] or [np.zeros(len(grid))], 0)
    redrawn = np.square(grid[:, :, 0] - grid[:, :, 1]).mean((1, 2))

    def beyond(kept: NDArray[np.int64]) -> float:
        return float(np.sqrt(moved[kept].mean()) - np.sqrt(redrawn[kept].mean()))

    component, noise = (float(np.sqrt(each.mean())) for each in (moved, redrawn))
    return ComponentEffect(component, noise, jackknife(beyond, len(grid)), seen)


def findings(varied: Varied, effects: dict[str, ComponentEffect]) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    more, less, neither = ([name for name, one in effects.items() if one.sign == sign] for sign in (1, -1, 0))
    medians = [
        float(np.median([getattr(effect, part) for effect in effects.values()])) for part in ("component", "noise")
    ]
    return (
        " ".join(
            _variety_sentence(kind, {way: both[kind] for way, both in varied.items()})
            for kind in ("features", "pixels")
        ),
        _source_sentence({way: both["pixels"] for way, both in varied.items()}),
        f"Another component of an attribute changes the picture by {medians[0]:.3g} levels (median over attributes), "
        f"another noise by {medians[1]:.3g}. Components change more than noise, by over two standard errors, for "
        f"{len(more)} of {len(effects)} attributes{': ' + words(more) if more else ''}; less for {len(less)}; neither "
        f"is shown for {len(neither)}{': ' + words(neither) if neither else ''}.",
    )


def _variety_sentence(kind: str, of: dict[str, NDArray[np.float64]]) -> str:
    drawn, real, gap = diversity(of["all"]), diversity(of["real"]), diversity(of["all"] - of["real"])
    verdict = {1: "more varied than", -1: "less varied than", 0: "not shown to be more or less varied than"}[gap.sign]
    return (
        f"In {kind}, drawn faces are {verdict} real ones with the same attributes: mean distance {drawn.value:.3g} "
        f"against {real.value:.3g}, difference {gap.value:+.2g} ± {gap.error:.2g}."
    )


def _source_sentence(of: dict[str, NDArray[np.float64]]) -> str:
    value = {way: float(means.mean()) for way, means in of.items()}
    gap = diversity(of["latents"] - of["noise"])
    verdict = {1: "More of the variety comes from Z", -1: "More of the variety comes from the noise"}
    return (
        f"{verdict.get(gap.sign, 'That more of the variety comes from Z or from the noise is not shown')}: with one Z "
        f"and one noise for all, only the attributes differ, and two faces are {value['neither']:.3g} levels apart; "
        f"with Z of their own {value['latents']:.3g}, with noise of their own {value['noise']:.3g} (difference "
        f"{gap.value:+.2g} ± {gap.error:.2g}), with both {value['all']:.3g}."
    )


_SHOWN = ("Wearing_Hat", "Eyeglasses", "Smiling")  # attributes whose components are shown, where the model has them
_ROWS, _COLUMNS, _NOISES = 4, 3, 5  # of the blocks of faces


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
        return (len(WAYS) - 1) * self.pictures + 3 * (_NOISES * len(_SHOWN) + 2 * self.component_rows * 16)

    def quick(self) -> Config:
        return replace(self, pictures=_ROWS * _COLUMNS, component_rows=2, **QUICK)


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
            "features": mean_distances(subject.judge.features(images)),
            "pixels": mean_distances(_flat(images) / np.sqrt(images[0].size)),
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
            "diversity": {
                way: {kind: diversity(each)._asdict() for kind, each in both.items()} for way, both in varied.items()
            },
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
            "Z, the noise and what no attribute says can differ. ± is one standard error: of a mean over pairs "
            "(Hoeffding), of differences face by face. They are over faces: of the one Z and the one "
            "noise that sets share, another choice is not in them.",
            f"Components: z_1 of an attribute is moved to another component, everything else kept, on "
            f"{config.component_rows} rows of attributes; beside it the same faces from another noise, "
            "everything else kept. Standard error of the difference: jackknife over these rows.",
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
                        Faces(WAYS[way], images[: _ROWS * _COLUMNS].reshape(_ROWS, _COLUMNS, *images.shape[1:]))
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
    """Real faces at ``chosen``, and faces for their attributes, by the keys of `WAYS`."""
    rows, one = subject.attributes[chosen], [0] * len(chosen)
    return {
        "real": subject.images[chosen],
        "all": artist.draw(subject.pipeline, rows),
        "latents": artist.draw(subject.pipeline, rows, noises=one),
        "noise": artist.draw(subject.pipeline, rows, latents=one),
        "neither": artist.draw(subject.pipeline, rows, latents=one, noises=one),
    }


def _flat(images: Pictures) -> NDArray[np.float64]:
    return images.reshape(len(images), -1).astype(np.float64)


def _shown(subject: Subject) -> tuple[str, ...]:
    if set(_SHOWN) <= set(subject.names):
        return _SHOWN
    return tuple(names[0] for names in sheet_requests(subject.pipeline, len(_SHOWN)) if names)


def _component_sheet(subject: Subject, artist: Artist, name: str) -> Pictures:
    """Faces ``(C, noises, H, W, 3)`` with one row of attributes and one Z but for the component of ``name``."""
    row = subject.pipeline.choose_attributes([name], count=1, seed=artist.config.seed)
    cells = list(itertools.product(range(subject.pipeline.latent_distribution.n_components), range(_NOISES)))
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
    n_components, n_rows = subject.pipeline.latent_distribution.n_components, config.component_rows
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
    grid = _flat(pictures).reshape(n_rows, n_components, 2, -1)
    return component_effect(grid, float(subject.predict(pictures)[:, column].mean()))


def _variety_table(varied: Varied) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (WAYS[way], *diversity(both["features"]), *diversity(both["pixels"])) for way, both in varied.items()
    ]
    columns = ("faces", "in features", "standard error", "in pixels, levels", "standard error")
    return Table("Variety: mean distance of two faces", columns, tuple(rows))


def _component_table(subject: Subject, effects: dict[str, ComponentEffect]) -> Table:
    shares = subject.pipeline.latent_distribution.shares
    rows: list[tuple[Cell, ...]] = [
        (
            words([name]),
            "equal" if shares is None else ", ".join(f"{share:.2f}" for share in shares[k]),
            *(effect.component, effect.noise, effect.component - effect.noise, effect.error, effect.seen),
        )
        for k, (name, effect) in enumerate(effects.items())
    ]
    columns = (
        "attribute",
        "shares of its components",
        "another component",
        "another noise",
        "difference",
        "its standard error",
        "attribute seen",
    )
    return Table("What changes a picture: root mean square difference, levels of 255", columns, tuple(rows))
