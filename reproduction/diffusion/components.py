"""D Section 3.1: lower-level features are discrete, so a Gaussian mixture suits them. Which kinds do components select?

D's example is the length of hair: 'Long', 'Short', 'Median'. Of the built-in faces it is known which pair of glasses,
hat or mouth was drawn, so one can ask what the component of z_1 of an attribute says of the kind: in the training data,
where Z was matched to the faces, and in drawn faces, as a judge of kinds sees them. And may each Z_k be drawn by
itself?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.data.load import AttributeDataset, load_dataset
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.latents.matching import MatchedLatents, match_latents
from gaussmix.latents.shares import attributes_told, component_information, latent_correlations
from gaussmix.metrics.attributes import balanced_accuracy
from gaussmix.metrics.subtypes import SubtypeJudge, train_subtype_judge
from gaussmix.papers.component_kinds import (
    CASES,
    ENOUGH,
    LEAST,
    Accuracy,
    Case,
    Commonest,
    Found,
    commonest,
    draw_information,
    findings,
    information,
    information_table,
    jackknife,
    largest,
)
from gaussmix.papers.result import Cell, Picture, Result, Table
from reproduction.diffusion.model import (
    QUICK,
    Artist,
    Faces,
    PageConfig,
    Pictures,
    Subject,
    draw_faces,
    given_folder,
    load_subject,
    words,
)

_PARTS = tuple(dict.fromkeys(case.part for case in CASES))
_SHOWN = ("Eyeglasses", "Sunglasses", "Wearing_Hat", "Mouth_Open")
_COMPONENTS = 3  # of the model in the package; only the length of the progress bar depends on it
_SAME_SHARES = 0.01


@dataclass(frozen=True)
class Config(PageConfig):
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
        return replace(self, pictures=24, taken=8, columns=1, kind_steps=3, **QUICK)


class Kinds(NamedTuple):
    """Of M pictures: attributes ``(M, K)``, components ``(M, K)``, and the kind of each part ``(M,)``."""

    attributes: NDArray[np.uint8]
    components: NDArray[np.intp]
    kinds: dict[str, NDArray[np.str_]]

    def of(self, case: Case, names: tuple[str, ...]) -> tuple[NDArray[np.intp], NDArray[np.str_]]:
        """Components of the case's attribute and kinds of its part, in the pictures of the case."""
        rows = case.rows(self.attributes, names)
        return self.components[rows, names.index(case.attribute)], self.kinds[case.part][rows]


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """The page of components. Raises ValueError for a model of other faces than the built-in ones."""
    if AttributeDiffusionPipeline.load(given_folder(config.model)).training.get("data") != "avatars":
        raise ValueError(
            "kinds are known of the built-in faces alone, and the model is of others; unset GAUSSMIX_MODEL"
        )
    subject = load_subject(config)
    dataset, names = _faces(subject), subject.names
    judge = train_subtype_judge(
        dataset, _PARTS, steps=config.kind_steps, seed=config.seed, on_progress=lambda step, _: on_step(step)
    )
    matched = _matched(subject)
    training = subject.attributes[subject.training]
    clusters = Kinds(training, matched.clusters.astype(np.intp), _kinds(dataset, subject.training))

    artist = Artist(config, on_step)
    artist.done = config.kind_steps
    rows = np.random.default_rng(config.seed).permutation(subject.held_out)[: config.pictures]
    asked = subject.attributes[rows]
    z = artist.latents(subject.pipeline, range(len(rows)))
    images = artist.draw_with(subject.pipeline, asked, z)
    drawn = Kinds(asked, subject.pipeline.attribute_latents.components(z), judge.predict(images))
    accuracy = _accuracy(subject, artist, matched, rows[: config.taken], images[: config.taken])
    sheet = {name: _sheet(subject, artist, name, config.columns) for name in _SHOWN}

    found: Found = {case: information(*drawn.of(case, names), config.seed) for case in CASES}
    ceiling = {case: component_information(*clusters.of(case, names)) for case in CASES}
    tokens = (*names, "base token")
    correlated = largest(latent_correlations(matched.table, training), tokens)
    told = largest(attributes_told(matched.table, training), names)
    sees = _judged(subject, dataset, judge)
    return Result(
        title="D Section 3.1: which kinds the components of Z select",
        about="Normalised mutual information (NMI) of the component of an attribute's Z and the kind of hat, glasses "
        "or mouth that is drawn; and whether each Z may be drawn by itself.",
        ours={
            "information": {case.label: each and each._asdict() for case, each in found.items()},
            "ceiling": {case.label: value for case, value in ceiling.items()},
            "judge": sees,
            "accuracy": accuracy._asdict(),
            "correlation": correlated and correlated._asdict(),
            "told": told and told._asdict(),
        },
        paper={"claim": "lower level features, for instance, hair length, are likely to be discretely distributed"},
        tables=(
            information_table(found, ceiling, sees),
            _kind_table(drawn, clusters, subject),
        ),
        readings=_readings(subject, matched, config),
        findings=findings(found, ceiling, told, correlated, accuracy, config.guidance),
        pictures=(
            Picture(
                "",
                f"NMI of component and kind. Drawn: with its standard error. Clusters: of the training faces, what "
                f"following Z exactly would give. Chance: components shuffled. {ENOUGH:g} is asked for.",
                lambda: draw_information(found, ceiling),
            ),
            Picture(
                "-faces",
                "A column has one held-out face's attributes, one Z and one noise for all components of an attribute: "
                "only the component differs. A row is named after the commonest kind of its cluster in the training "
                "faces.",
                lambda: draw_faces("Components of an attribute", _block(sheet, clusters, names)),
            ),
        ),
    )


def _faces(subject: Subject) -> AttributeDataset:
    """The subject's faces with their parts."""
    seed, size = subject.pipeline.training.get("seed", 0), subject.images.shape[1]
    return load_dataset("avatars", size=size, count=len(subject.images), seed=seed, progress=False)


def _kinds(dataset: AttributeDataset, rows: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    assert dataset.parts is not None
    return {part: dataset.parts[part][rows] for part in _PARTS}


def _matched(subject: Subject) -> MatchedLatents:
    """Z of the training faces, as in training."""
    faces, seed = subject.training, subject.pipeline.training.get("seed", 0)
    latents = subject.pipeline.attribute_latents
    return match_latents(np.asarray(subject.images[faces]), subject.attributes[faces], latents, seed=seed)


def _judged(subject: Subject, dataset: AttributeDataset, judge: SubtypeJudge) -> dict[str, float]:
    """By case: the share of the kinds that the judge names right in held-out faces."""
    faces = subject.held_out
    seen, truth = judge.predict(np.asarray(subject.images[faces])), _kinds(dataset, faces)
    attributes = subject.attributes[faces]
    right = {part: seen[part] == truth[part] for part in _PARTS}
    return {case.label: float(right[case.part][case.rows(attributes, subject.names)].mean()) for case in CASES}


def _accuracy(
    subject: Subject, artist: Artist, matched: MatchedLatents, rows: NDArray[np.int64], drawn: Pictures
) -> Accuracy:
    """Requests of held-out faces at ``rows``, ``drawn`` with Z_k by itself, and now with Z read off that face."""
    asked, faces = subject.attributes[rows], np.asarray(subject.images[rows])
    z = torch.from_numpy(matched.encoder.encode(faces, asked, artist.config.seed))
    own, taken = subject.predict(drawn), subject.predict(artist.draw_with(subject.pipeline, asked, z))

    def score(seen: NDArray[np.bool_], kept: NDArray[np.int64]) -> float:
        return float(np.nanmean(balanced_accuracy(seen[kept], asked[kept])))

    everything = np.arange(len(rows))
    return Accuracy(
        score(own, everything),
        score(taken, everything),
        jackknife(lambda kept: score(own, kept) - score(taken, kept), len(rows)),
        score(subject.predict(faces), everything),
    )


def _sheet(subject: Subject, artist: Artist, name: str, columns: int) -> Pictures:
    """Faces ``(C, columns, H, W, 3)``: only the component of ``name`` differs within a column."""
    n_components = subject.pipeline.attribute_latents.n_components
    rows = np.resize(subject.with_attributes([name]), columns)
    numbers = list(range(columns)) * n_components
    pictures = artist.draw(
        subject.pipeline,
        np.tile(subject.attributes[rows], (n_components, 1)),
        latents=numbers,
        noises=numbers,
        components=[{name: c} for c in range(n_components) for _ in range(columns)],
    )
    return pictures.reshape(n_components, columns, *pictures.shape[1:])


def _block(sheet: dict[str, Pictures], clusters: Kinds, names: tuple[str, ...]) -> Faces:
    labels = [
        f"{words([name])} {c}: {_without_share(_commonest(clusters, name, c, names))}"
        for name in sheet
        for c in range(len(sheet[name]))
    ]
    return Faces("", np.concatenate(list(sheet.values())), labels)


def _without_share(most: Commonest | None) -> str:
    return "none" if most is None else most.kind.replace("_", " ").lower()


def _commonest(of: Kinds, name: str, component: int, names: tuple[str, ...]) -> Commonest | None:
    case = next(case for case in CASES if case.attribute == name)
    components, kinds = of.of(case, names)
    return commonest(kinds[components == component])


def _readings(subject: Subject, matched: MatchedLatents, config: Config) -> tuple[str, ...]:
    given, today = subject.pipeline.attribute_latents.shares, matched.latents.shares
    assert today is not None
    apart = float("inf") if given is None else float(np.abs(np.subtract(given, today)).max())
    other = (
        f" The model's shares of components differ from these clusters' by up to {apart:.2f}: it was trained with "
        "others, so that its components need not be theirs."
        if apart > _SAME_SHARES
        else " They are the ones that the model was trained with."
    )
    return (
        f"Drawn by {subject.label}, with DPM-Solver++ in {config.sampling_steps} steps and guidance "
        f"{config.guidance:g}, for the attributes of {config.pictures} held-out faces; every Z_k is drawn by itself. "
        f"The judge of kinds was trained {config.kind_steps} steps on real faces and may see any kind of the part, "
        "also one that the attribute does not have.",
        f"Clusters are those of matched latents on {len(subject.training)} training faces." + other,
        "Control, not run: with the paper's pairing Z is independent of the face by construction, so that component "
        "and kind have NMI 0 in the training data: nothing is there to learn.",
        "The kind of a mouth also says whether it smiles, which Z of Mouth Open must not tell: with smiles and others "
        "taken together the NMI of the clusters is lower than within either.",
        f"Cases with fewer than {LEAST} pictures are left out. Z read off a real face has that face's own details in "
        f"all attributes at once; {config.taken} requests, noise as in the faces with Z drawn.",
    )


def _kind_table(drawn: Kinds, clusters: Kinds, subject: Subject) -> Table:
    attributes = dict.fromkeys(case.attribute for case in CASES)
    weights = {name: subject.pipeline.attribute_latents.weights(subject.names.index(name)) for name in attributes}
    rows: list[tuple[Cell, ...]] = []
    for name in attributes:
        for c, weight in enumerate(weights[name]):
            most = [_commonest(of, name, c, subject.names) for of in (clusters, drawn)]
            rows.append((words([name]), str(c), float(weight), *(None if each is None else str(each) for each in most)))
    columns = ("attribute", "component", "share", "commonest kind in the cluster", "commonest kind drawn")
    return Table("Kinds by component", columns, tuple(rows))
