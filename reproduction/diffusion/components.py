"""D Section 3.1: lower-level features are discrete, so a Gaussian mixture suits them. Which kinds do components select?

D's example is the length of hair: 'Long', 'Short', 'Median'. Of the built-in faces it is known which pair of glasses,
hat or mouth was drawn, so one can ask what the component of z_1 of an attribute says of the kind: in the training data,
where Z was matched to the faces, and in drawn faces, as a judge of kinds sees them. And may each Z_k be drawn by
itself?

With C the component of z_1 of an attribute and S the kind of its part (which pair of glasses), over pictures that were
asked for with the attribute,

    NMI = 2 I(C; S) / (H(C) + H(S))

is 0 if the component says nothing and 1 if the two are the same but for names. Of n pictures, independent ones have
about 1/n more than 0: the mean over shuffled components is the chance level. A mouth has two attributes, Smiling and
Mouth_Open, and Z of one must not tell the other: what a component says is therefore also taken with the other given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.data.base import AttributeDataset
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.latents.matching import MatchedLatents, match_latents
from gaussmix.metrics.classifier import balanced_accuracy
from reproduction.diffusion import model, subtypes
from reproduction.page import Measured
from reproduction.statistics import jackknife

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 20
"""With fewer pictures nothing is said."""
ENOUGH = 0.5
"""NMI from which a component is said to select the kind."""
PAPER = {"claim": "lower level features, for instance, hair length, are likely to be discretely distributed"}
_SHUFFLES = 50
_SHOWN = ("Eyeglasses", "Sunglasses", "Wearing_Hat", "Mouth_Open")
_COMPONENTS = 3  # of the model in the package; only the length of the progress bar depends on it
_DRAWN, _CLUSTERS, _CHANCE = "#1f5fa8", "#d5dde5", "#c2402a"


class Case(NamedTuple):
    """Pictures with an attribute, perhaps with or without another one, and the part whose kind is asked for."""

    attribute: str
    part: str
    given: tuple[str, bool] | None = None

    @property
    def label(self) -> str:
        if self.given is None:
            return model.words([self.attribute])
        other, has = self.given
        return f"{model.words([self.attribute])}, {'with' if has else 'without'} {model.words([other])}"

    def rows(self, attributes: NDArray, names: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the rows ``(M, K)`` are of this case."""
        wanted = attributes[:, names.index(self.attribute)] == 1
        if self.given is not None:
            wanted &= attributes[:, names.index(self.given[0])] == self.given[1]
        return wanted


CASES = (
    Case("Eyeglasses", "accessory"),
    Case("Sunglasses", "accessory"),
    Case("Wearing_Hat", "top"),
    Case("Mouth_Open", "mouth"),
    Case("Mouth_Open", "mouth", ("Smiling", True)),
    Case("Mouth_Open", "mouth", ("Smiling", False)),
    Case("Smiling", "mouth"),
    Case("Smiling", "mouth", ("Mouth_Open", True)),  # the closed smile is of one kind
    Case("Mustache", "facial_hair"),
    Case("Beard", "facial_hair"),
    Case("Long_Hair", "top"),
)
_PARTS = tuple(dict.fromkeys(case.part for case in CASES))
_WHOLE = [case for case in CASES if case.given is None]


@dataclass(frozen=True)
class Config(model.PageConfig):
    """Settings of the page of components."""

    guidance: float = 2.0
    pictures: int = 800
    """Faces drawn for attributes of held-out faces, every Z_k by itself."""
    taken: int = 150
    """For the first of these, faces drawn with Z read off the held-out face."""
    columns: int = 3
    """Faces shown of each component."""
    kind_steps: int = 800
    """Training steps of the judge of kinds."""

    @property
    def n_steps(self) -> int:
        """Steps of the judge, and faces."""
        return self.kind_steps + self.pictures + self.taken + _COMPONENTS * len(_SHOWN) * self.columns

    def quick(self) -> Config:
        return replace(self, pictures=24, taken=8, columns=1, kind_steps=3, **model.QUICK)


class PictureKinds(NamedTuple):
    """Of M pictures: attributes ``(M, K)``, components ``(M, K)``, and the kind of each part ``(M,)``."""

    names: tuple[str, ...]
    attributes: NDArray[np.uint8]
    components: NDArray[np.intp]
    kinds: dict[str, NDArray[np.str_]]

    def of(self, case: Case) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
        """Components of the case's attribute and kinds of its part, in the pictures of the case."""
        rows = case.rows(self.attributes, self.names)
        return self.components[rows, self.names.index(case.attribute)], self.kinds[case.part][rows]

    def commonest(self, case: Case, component: int) -> dict[str, Any]:
        """The kind that most of the case's pictures of a component have, and the share; None if there are none."""
        components, kinds = self.of(case)
        names, counts = np.unique(kinds[components == component], return_counts=True)
        if not len(names):
            return {"kind": None, "share": None}
        return {"kind": model.words([names[counts.argmax()]]).lower(), "share": float(counts.max() / counts.sum())}


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Draw faces, judge their kinds, and compare the components with them.

    Raises ValueError for a model of other faces than the built-in ones.
    """
    if AttributeDiffusionPipeline.load(model.given_folder(config.model)).training.get("data") != "avatars":
        raise ValueError(
            "kinds are known of the built-in faces alone, and the model is of others; unset GAUSSMIX_MODEL"
        )
    subject = model.load_subject(config)
    names, latents = subject.names, subject.pipeline.latent_distribution
    images, seed = subject.images, subject.pipeline.training.get("seed", 0)
    dataset = load_dataset("avatars", size=images.shape[1], count=len(images), seed=seed, progress=False)
    judge = subtypes.train_subtype_judge(
        dataset, _PARTS, steps=config.kind_steps, seed=config.seed, on_progress=lambda step, _: on_step(step)
    )
    training = subject.attributes[subject.training]
    matched = match_latents(np.asarray(images[subject.training]), training, latents, seed=seed)
    clusters = PictureKinds(names, training, matched.clusters.astype(np.intp), _kinds(dataset, subject.training))

    sampler = model.FaceSampler(config, on_step)
    sampler.done = config.kind_steps
    rows = np.random.default_rng(config.seed).permutation(subject.held_out)[: config.pictures]
    asked = subject.attributes[rows]
    z = sampler.latents(subject.pipeline, range(len(rows)))
    pictures = sampler.draw_with(subject.pipeline, asked, z)
    drawn = PictureKinds(names, asked, latents.components(z), judge.predict(pictures))
    sheet = {name: _sheet(subject, sampler, name, config.columns) for name in _SHOWN}
    ours = {
        "model": subject.facts,
        "training_faces": len(subject.training),
        "information": {case.label: information(*drawn.of(case), config.seed) for case in CASES},
        "ceiling": {case.label: subtypes.component_information(*clusters.of(case)) for case in CASES},
        "judge": _judged(subject, dataset, judge),
        "accuracy": _accuracy(subject, sampler, matched, rows[: config.taken], pictures[: config.taken]),
        "correlation": largest(subtypes.latent_correlations(matched.table, training), (*names, "base token")),
        "told": largest(subtypes.attributes_told(matched.table, training), names),
        "shares_apart": float(np.abs(np.subtract(latents.shares or 0, matched.latents.shares or 0)).max()),
        "kinds": {case.label: _by_component(case, clusters, drawn, subject) for case in _WHOLE},
    }
    return Measured(ours, PAPER, {"sheet": sheet})


# --- numbers


def information(components: NDArray, kinds: NDArray, seed: int) -> dict[str, Any]:
    """NMI of components and kinds ``(M,)``, its standard error, and the mean NMI of shuffled components.

    None for fewer than `LEAST` pictures.
    """
    nmi, n, rng = subtypes.component_information, len(kinds), np.random.default_rng(seed)
    if n < LEAST:
        return {"value": None, "error": None, "chance": None, "pictures": n}
    return {
        "value": nmi(components, kinds),
        "error": jackknife(lambda kept: nmi(components[kept], kinds[kept]), n),
        "chance": float(np.mean([nmi(rng.permutation(components), kinds) for _ in range(_SHUFFLES)])),
        "pictures": n,
    }


def largest(table: NDArray, names: Sequence[str]) -> dict[str, Any]:
    """The largest entry of a square table of pairs and whose it is; None if all are NaN: nothing is known."""
    if np.isnan(table).all():
        return {"value": None, "first": None, "second": None}
    k, j = map(int, np.unravel_index(np.nanargmax(table), table.shape))
    return {"value": float(table[k, j]), "first": names[k], "second": names[j]}


def _kinds(dataset: AttributeDataset, rows: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    assert dataset.parts is not None
    return {part: dataset.parts[part][rows] for part in _PARTS}


def _judged(subject: model.JudgedModel, dataset: AttributeDataset, judge: subtypes.SubtypeJudge) -> dict[str, float]:
    """By case: the share of the kinds that the judge names right in held-out faces."""
    faces = subject.held_out
    seen, truth = judge.predict(np.asarray(subject.images[faces])), _kinds(dataset, faces)
    rows = {case: case.rows(subject.attributes[faces], subject.names) for case in CASES}
    return {case.label: float((seen[case.part] == truth[case.part])[rows[case]].mean()) for case in CASES}


def _accuracy(
    subject: model.JudgedModel,
    sampler: model.FaceSampler,
    matched: MatchedLatents,
    rows: NDArray[np.int64],
    drawn: model.Pictures,
) -> dict[str, float]:
    """Balanced accuracy, mean over attributes, of requests of held-out faces at ``rows``.

    They are ``drawn`` with each Z_k by itself, ``taken`` with Z read off that face, and the ``real`` faces themselves;
    the ``error`` is the standard error of the difference of the first two.
    """
    asked, faces = subject.attributes[rows], np.asarray(subject.images[rows])
    z = torch.from_numpy(matched.encoder.encode(faces, asked, sampler.config.seed))
    own, taken = subject.predict(drawn), subject.predict(sampler.draw_with(subject.pipeline, asked, z))

    def score(seen: NDArray[np.bool_], kept: NDArray[np.int64] | slice = slice(None)) -> float:
        return float(np.nanmean(balanced_accuracy(seen[kept], asked[kept])))

    return {
        "drawn": score(own),
        "taken": score(taken),
        "difference": score(own) - score(taken),
        "error": jackknife(lambda kept: score(own, kept) - score(taken, kept), len(rows)),
        "real": score(subject.predict(faces)),
    }


def _by_component(
    case: Case, clusters: PictureKinds, drawn: PictureKinds, subject: model.JudgedModel
) -> list[dict[str, Any]]:
    """Of each component: its share, and the commonest kind in the clusters and in drawn faces."""
    weights = subject.pipeline.latent_distribution.weights(subject.names.index(case.attribute))
    return [
        {"share": float(weight), "cluster": clusters.commonest(case, c), "drawn": drawn.commonest(case, c)}
        for c, weight in enumerate(weights)
    ]


# --- pictures


def _sheet(subject: model.JudgedModel, sampler: model.FaceSampler, name: str, columns: int) -> model.Pictures:
    """Faces ``(C, columns, H, W, 3)``: only the component of ``name`` differs within a column."""
    n_components = subject.pipeline.latent_distribution.n_components
    rows = np.resize(subject.with_attributes([name]), columns)
    numbers = list(range(columns)) * n_components
    pictures = sampler.draw(
        subject.pipeline,
        np.tile(subject.attributes[rows], (n_components, 1)),
        latents=numbers,
        noises=numbers,
        components=[{name: c} for c in range(n_components) for _ in range(columns)],
    )
    return pictures.reshape(n_components, columns, *pictures.shape[1:])


def draw(measured: Measured) -> dict[str, Figure]:
    """Return bars of NMI, and faces by component."""
    sheet, kinds = measured.seen["sheet"], measured.ours["kinds"]
    labels = [
        f"{model.words([name])} {c}: {kinds[model.words([name])][c]['cluster']['kind']}"
        for name, pictures in sheet.items()
        for c in range(len(pictures))
    ]
    faces = model.FaceBlock("", np.concatenate(list(sheet.values())), labels)
    return {
        "": draw_information(measured.ours["information"], measured.ours["ceiling"]),
        "-faces": model.draw_faces("Components of an attribute", faces),
    }


def draw_information(found: Mapping[str, Mapping[str, Any]], ceiling: Mapping[str, float]) -> Figure:
    """Bars of NMI by case: drawn, in the clusters, by chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for i, (label, each) in enumerate(found.items()):
        axes.barh(-i, ceiling[label], 0.8, color=_CLUSTERS, label=None if i else "clusters of the training faces")
        if each["value"] is not None:
            axes.barh(-i, each["value"], 0.4, xerr=each["error"], color=_DRAWN, ecolor="#333333", capsize=2)
            axes.plot([each["chance"]] * 2, [-i - 0.4, -i + 0.4], color=_CHANCE, linewidth=1.5)
    axes.barh(0, 0, color=_DRAWN, label="drawn faces")
    axes.plot([], [], color=_CHANCE, label="chance")
    axes.axvline(ENOUGH, color="#555555", linestyle=":", linewidth=1)
    axes.set_yticks([-i for i in range(len(found))], list(found))
    axes.set_xlim(0, 1)
    axes.set_xlabel("normalised mutual information of component and kind")
    axes.set_title("What the component of Z says of the kind that is drawn", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
