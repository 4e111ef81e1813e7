"""D Figure 4: faces from a conditional distribution of features, each with a Z of its own.

How varied they are beside real faces with the same attributes, where the variety comes from, and what the components of
the mixture do that an attribute's Z_k is drawn from.

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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from gaussmix.diffusion.sampling import sheet_requests
from reproduction.diffusion import model
from reproduction.page import Measured
from reproduction.statistics import jackknife

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "we randomly sample the conditional Z; each image is assigned with a fix latent sample"}
WAYS = {
    "real": "real, held out",
    "all": "drawn, own Z and noise",
    "latents": "drawn, own Z, one noise",
    "noise": "drawn, one Z, own noise",
    "neither": "drawn, one Z, one noise",
}
"""The sets of faces, and what they are called in the picture."""
_SHOWN = ("Wearing_Hat", "Eyeglasses", "Smiling")  # attributes whose components are shown, where the model has them
_ROWS, _COLUMNS, _NOISES = 4, 3, 5  # of the blocks of faces


@dataclass(frozen=True)
class Config(model.PageConfig):
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
        return replace(self, pictures=_ROWS * _COLUMNS, component_rows=2, **model.QUICK)


class Diversity(NamedTuple):
    """Mean distance of two faces, or a difference of two of these, and its standard error."""

    value: float
    error: float


class ComponentEffect(NamedTuple):
    """Root mean square differences in levels of 255, of two faces that differ in one thing only."""

    component: float
    noise: float
    difference: float
    """The first minus the second."""
    error: float
    """Its standard error: jackknife over rows of attributes."""

    @property
    def sign(self) -> int:
        """1 if the component changes more than the noise by over two errors, -1 if less, else 0."""
        return int(np.sign(self.difference)) if abs(self.difference) > 2 * self.error else 0


def mean_distances(rows: NDArray) -> NDArray[np.float64]:
    """Return the mean Euclidean distance of each row ``(N, D)`` to the others, ``(N,)``; N at least 3."""
    return squareform(pdist(rows)).sum(1) / (len(rows) - 1)


def diversity(means: NDArray[np.float64]) -> Diversity:
    """Return that of the `mean_distances` of a set, or of those of one set minus those of another, ``(N,)``."""
    return Diversity(float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(means))))


def component_effect(grid: NDArray[np.float64]) -> ComponentEffect:
    """Return the effect in pictures ``(rows, components, 2 noises, D)``, at least two rows."""
    pairs = itertools.combinations(range(grid.shape[1]), 2)
    moved = np.mean([np.square(grid[:, a] - grid[:, b]).mean((1, 2)) for a, b in pairs] or [np.zeros(len(grid))], 0)
    redrawn = np.square(grid[:, :, 0] - grid[:, :, 1]).mean((1, 2))

    def beyond(kept: NDArray[np.int64]) -> float:
        return float(np.sqrt(moved[kept].mean()) - np.sqrt(redrawn[kept].mean()))

    component, noise = (float(np.sqrt(each.mean())) for each in (moved, redrawn))
    return ComponentEffect(component, noise, component - noise, jackknife(beyond, len(grid)))


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return how varied each set of faces is and what each component does, and faces to show."""
    subject = model.load_subject(config)
    sampler = model.FaceSampler(config, on_step)
    wanted = subject.wanted("1")
    exact = subject.with_attributes(wanted)
    chosen = subject.nearest_to(wanted, max(_ROWS * _COLUMNS, min(config.pictures, len(exact))), config.seed)
    faces = _ways(subject, sampler, chosen)
    means = {
        "features": {way: mean_distances(subject.judge.features(images)) for way, images in faces.items()},
        "pixels": {way: mean_distances(_flat(images) / np.sqrt(images[0].size)) for way, images in faces.items()},
    }
    sheets = {name: _by_component(subject, sampler, name, 1, _NOISES)[0] for name in _shown(subject)}
    grids = {name: _by_component(subject, sampler, name, config.component_rows, 2) for name in subject.names}
    effects = {name: component_effect(_flat(grid, 3)) for name, grid in grids.items()}
    latents = subject.pipeline.latent_distribution
    equal = np.full((len(effects), latents.n_components), 1 / latents.n_components)
    shares = equal if latents.shares is None else latents.shares
    ours = {
        "diversity": {way: {kind: diversity(of[way])._asdict() for kind, of in means.items()} for way in WAYS},
        "drawn_minus_real": {kind: diversity(of["all"] - of["real"])._asdict() for kind, of in means.items()},
        "latents_minus_noise": {"pixels": diversity(means["pixels"]["latents"] - means["pixels"]["noise"])._asdict()},
        "components": {
            name: effect._asdict() | {"seen": _seen(subject, grids[name])[k], "shares": shares[k]}
            for k, (name, effect) in enumerate(effects.items())
        },
        "over_attributes": over_attributes(effects),
        "attributes": list(wanted),
        "asked": model.words(wanted),
        "faces": len(chosen),
        "faces_with_all": min(len(chosen), len(exact)),
        "model": subject.facts,
    }
    return Measured(ours, PAPER, {"asked": model.words(wanted), "faces": faces, "sheets": sheets})


def over_attributes(effects: dict[str, ComponentEffect]) -> dict[str, Any]:
    """Return medians, and of which attributes the components change more than noise, less, or neither is shown."""
    medians = {part: np.median([getattr(one, part) for one in effects.values()]) for part in ("component", "noise")}
    groups = {
        group: [name for name, one in effects.items() if one.sign == sign]
        for group, sign in (("more", 1), ("less", -1), ("neither", 0))
    }
    listed = {group: {"count": len(names), "names": model.words(names)} for group, names in groups.items()}
    return {"count": len(effects), **medians, **listed}


def _ways(
    subject: model.JudgedModel, sampler: model.FaceSampler, chosen: NDArray[np.int64]
) -> dict[str, model.Pictures]:
    """Real faces at ``chosen``, and faces for their attributes, by the keys of `WAYS`."""
    rows, one = subject.attributes[chosen], [0] * len(chosen)
    return {
        "real": subject.images[chosen],
        "all": sampler.draw(subject.pipeline, rows),
        "latents": sampler.draw(subject.pipeline, rows, noises=one),
        "noise": sampler.draw(subject.pipeline, rows, latents=one),
        "neither": sampler.draw(subject.pipeline, rows, latents=one, noises=one),
    }


def _seen(subject: model.JudgedModel, grid: model.Pictures) -> NDArray[np.float64]:
    """Shares of pictures ``(rows, components, noises, H, W, 3)`` in which the judge sees the attributes, ``(K,)``."""
    return subject.predict(grid.reshape(-1, *grid.shape[3:])).mean(0)


def _flat(images: model.Pictures, axes: int = 1) -> NDArray[np.float64]:
    return images.reshape(*images.shape[:axes], -1).astype(np.float64)


def _shown(subject: model.JudgedModel) -> tuple[str, ...]:
    if set(_SHOWN) <= set(subject.names):
        return _SHOWN
    return tuple(names[0] for names in sheet_requests(subject.pipeline, len(_SHOWN)) if names)


def _by_component(
    subject: model.JudgedModel, sampler: model.FaceSampler, name: str, n_rows: int, n_noises: int
) -> model.Pictures:
    """Faces ``(rows of attributes, components of name, noises, H, W, 3)``; all else of Z is the same within a row."""
    rows = subject.pipeline.choose_attributes([name], count=n_rows, seed=sampler.config.seed)
    n_components = subject.pipeline.latent_distribution.n_components
    row, component, noise = np.indices((n_rows, n_components, n_noises)).reshape(3, -1).tolist()
    pictures = sampler.draw(
        subject.pipeline,
        rows[row],
        latents=row,
        noises=[n_noises * r + n for r, n in zip(row, noise, strict=True)],
        components=[{name: c} for c in component],
    )
    return pictures.reshape(n_rows, n_components, n_noises, *pictures.shape[1:])


def draw(measured: Measured) -> dict[str, Figure]:
    """Return faces of every set but that with one Z and one noise, and faces by component."""
    seen = measured.seen
    ways = [
        model.FaceBlock(WAYS[way], images[: _ROWS * _COLUMNS].reshape(_ROWS, _COLUMNS, *images.shape[1:]))
        for way, images in seen["faces"].items()
        if way != "neither"
    ]
    components = [
        model.FaceBlock(model.words([name]), sheet, [str(c) for c in range(len(sheet))])
        for name, sheet in seen["sheets"].items()
    ]
    return {
        "": model.draw_faces(seen["asked"], *ways),
        "-components": model.draw_faces("Components of an attribute", *components),
    }
