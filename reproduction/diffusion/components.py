"""D Section 3.1: a Gaussian mixture works better than one Gaussian. Does it, how many, and which kinds do they select?

D says that the mixture "performs better than a single Gaussian", and that lower-level features, such as the length of
hair, are likely to be discrete. So models are trained that differ in the number of Gaussians alone, all of the same
variance: with D's random Z, and with Z that describe the pictures. And of the built-in faces it is known which pair of
glasses, hat or mouth was drawn, so one can ask what the component of z_1 of an attribute says of the kind: in the
training data, and in drawn faces, as a judge of kinds sees them.

With C the component of z_1 of an attribute and S the kind of its part (which pair of glasses), over pictures that were
asked for with the attribute,

    NMI = 2 I(C; S) / (H(C) + H(S))

is 0 if the component says nothing and 1 if the two are the same but for names. Of n pictures, independent ones have
about 1/n more than 0: the mean over shuffled components is the chance level. A mouth has two attributes, Smiling and
Mouth_Open, and Z of one must not tell the other: what a component says is therefore also taken with the other given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reproduction.diffusion import subtypes
from reproduction.diffusion.faces import FaceBlock, Pictures, draw_faces, draw_numbered, numbered_latents, words
from reproduction.diffusion.study import Run, StudyConfig, judged, progress, real_quality, study_of
from reproduction.page import Measured
from reproduction.statistics import Row, Table, compare, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gaussmix.data.base import AttributeDataset

LEAST = 20
"""With fewer pictures nothing is said."""
PAPER = {
    "claim": "Gaussian mixture model performs better than a single Gaussian; lower level features, for instance, hair "
    "length, are likely to be discretely distributed",
}
KIND_STEPS = 800
"""Training steps of the judge of kinds, at most: a hundredth of them for each picture of a small set."""
_SHUFFLES = 50
_SHOWN = ("Eyeglasses", "Sunglasses", "Wearing_Hat", "Mouth_Open")
_SHOWN_COLUMNS = 3
_DRAWN, _CLUSTERS, _CHANCE = "#1f5fa8", "#d5dde5", "#c2402a"


class Case(NamedTuple):
    """Pictures with an attribute, perhaps with or without another one, and the part whose kind is asked for."""

    attribute: str
    part: str
    given: tuple[str, bool] | None = None

    @property
    def label(self) -> str:
        if self.given is None:
            return words([self.attribute])
        other, has = self.given
        return f"{words([self.attribute])}, {'with' if has else 'without'} {words([other])}"

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


class Config(StudyConfig):
    """Settings of the page of components."""

    arms = ("fixed", "fixed_1", "matched", "matched_1", "matched_6")


def kinds(run: Run) -> dict[str, Row]:
    """Of a run with matched Z: by case, the NMI of components and kinds drawn, by chance, and in the clusters."""
    study = run.study
    seed, count = study.config.seed, len(run.asked)
    pictures, components = run.pictures, _components_asked(run, count)
    seen = _judge_of_kinds(study.faces.dataset, study.config.judge_steps).predict(pictures)
    assert study.faces.dataset.parts is not None
    assert run.batches.table is not None
    training = study.faces.dataset.indices("train")
    table = run.batches.table
    clusters = run.pipeline.latent_distribution.components(_tensor(table))
    found = {}
    for case in CASES:
        rows, own = (case.rows(each, study.faces.names) for each in (study.faces.attributes, study.faces.training))
        k = study.faces.names.index(case.attribute)
        truth = study.faces.dataset.parts[case.part][training]
        drawn = information(components[rows, k], seen[case.part][rows], seed)
        found[case.label] = {
            **drawn,
            "clusters": information(clusters[own, k], truth[own], seed)["value"],
        }
    names = (*study.faces.names, "base token")
    correlation = largest(subtypes.latent_correlations(table, study.faces.training), names)
    told = largest(subtypes.attributes_told(table, study.faces.training), names)
    return {"cases": found, "independence": {"correlation": correlation["value"], "told": told["value"]}}


def _tensor(table: NDArray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(table, np.float32))


def _components_asked(run: Run, count: int) -> NDArray[np.intp]:
    """The components ``(M, K)`` of the Z that `Run.pictures` are drawn with."""
    pipeline, seed = run.pipeline, run.study.config.seed
    return pipeline.latent_distribution.components(numbered_latents(pipeline, range(count), seed=seed))


@lru_cache(maxsize=1)
def _judge_of_kinds(dataset: AttributeDataset, steps: int) -> subtypes.SubtypeJudge:
    """Trained once; quick runs, whose judge has few steps, give it as few."""
    return subtypes.train_subtype_judge(dataset, _PARTS, steps=min(KIND_STEPS, steps))


def information(components: NDArray, kinds: NDArray, seed: int) -> Row:
    """NMI of components and kinds ``(M,)``, and the mean NMI of shuffled components; NaN for under `LEAST` pictures."""
    nmi, rng = subtypes.component_information, np.random.default_rng(seed)
    if len(kinds) < LEAST:
        return {"value": float("nan"), "chance": float("nan")}
    shuffled = [nmi(rng.permutation(components), kinds) for _ in range(_SHUFFLES)]
    return {"value": nmi(components, kinds), "chance": float(np.mean(shuffled))}


def largest(table: NDArray, names: Sequence[str]) -> dict[str, Any]:
    """The largest entry of a square table of pairs and whose it is; NaN if all are NaN: nothing is known."""
    if np.isnan(table).all():
        return {"value": float("nan"), "first": None, "second": None}
    k, j = map(int, np.unravel_index(np.nanargmax(table), table.shape))
    return {"value": float(table[k, j]), "first": names[k], "second": names[j]}


MATCHED = ("matched", "matched_6")
MEASURES = {"judged": (Config.arms, judged), "kinds": (MATCHED, kinds)}


def claims(table: Table) -> dict[str, Any]:
    """D's: three Gaussians are better than one; and whether six are better than three."""
    signs = {"FD": -1, "accuracy": 1, "defect rate": -1, "recall": 1, "held-out loss": -1, "detail": -1}
    pairs = ("fixed", "fixed_1"), ("matched", "matched_1"), ("matched_6", "matched")
    return {
        f"{arm} minus {control}": {name: compare(table, arm, control, name, sign) for name, sign in signs.items()}
        for arm, control in pairs
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Compare numbers of Gaussians, and the components with the kinds that are drawn."""
    with study_of(config) as study:
        table = study.table("judged", judged, config.arms, progress(config, on_step))
        found = study.table("kinds", kinds, MATCHED)
        run = study.first("matched", "fixed")
        sheet = {name: _sheet(run, name) for name in _SHOWN}
        real = study.real("quality", real_quality)
    names = "value", "chance", "clusters"
    cases = {
        arm: summaries({c.label: {seed: each["cases"][c.label] for seed, each in rows.items()} for c in CASES}, names)
        for arm, rows in found.items()
    }
    apart = {arm: {seed: one["independence"] for seed, one in rows.items()} for arm, rows in found.items()}
    ours = {
        "runs": summaries(table),
        "claims": claims(table),
        "real": real,
        "shown": run.arm,
        "kinds": cases,
        "independence": summaries(apart, ["correlation", "told"]),
    }
    return Measured(ours, PAPER, {"sheet": sheet})


def _sheet(run: Run, name: str) -> Pictures:
    """Faces ``(C, columns, H, W, 3)``: only the component of ``name`` differs within a column."""
    shares = run.pipeline.latent_distribution.weights(run.study.faces.names.index(name))
    there = np.flatnonzero(shares).tolist()
    rows = run.pipeline.choose_attributes([name], count=_SHOWN_COLUMNS, seed=run.study.config.seed)
    numbers = list(range(_SHOWN_COLUMNS)) * len(there)
    components = [{name: c} for c in there for _ in range(_SHOWN_COLUMNS)]
    pictures = draw_numbered(
        run, np.tile(rows, (len(there), 1)), latents=numbers, noises=numbers, components=components
    )
    return pictures.reshape(len(there), _SHOWN_COLUMNS, *pictures.shape[1:])


def draw(measured: Measured) -> dict[str, Figure]:
    """Return bars of NMI, and faces by component."""
    blocks = [FaceBlock(words([name]), pictures) for name, pictures in measured.seen["sheet"].items()]
    return {
        "": draw_information(measured.ours["kinds"]["matched"]),
        "-faces": draw_faces("Components of an attribute", *blocks),
    }


def draw_information(found: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Bars of NMI by case: drawn, in the clusters, by chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for i, each in enumerate(found.values()):
        value, chance, clusters = (each[name]["mean"] or 0.0 for name in ("value", "chance", "clusters"))
        axes.barh(-i, clusters, 0.8, color=_CLUSTERS, label=None if i else "clusters of the training faces")
        half = float(np.nan_to_num(each["value"]["half"] or 0.0))
        axes.barh(-i, value, 0.4, xerr=half, color=_DRAWN, ecolor="#333333", capsize=2)
        axes.plot([chance] * 2, [-i - 0.4, -i + 0.4], color=_CHANCE, linewidth=1.5)
    axes.barh(0, 0, color=_DRAWN, label="drawn faces")
    axes.plot([], [], color=_CHANCE, label="chance")
    axes.set_yticks([-i for i in range(len(found))], list(found))
    axes.set_xlim(0, 1)
    axes.set_xlabel("normalised mutual information of component and kind")
    axes.set_title("What the component of Z says of the kind that is drawn", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure
