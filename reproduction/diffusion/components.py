r"""D Section 3.1: lower-level features are discrete, so a Gaussian mixture suits them. Which kinds do components select?

D's example is the length of hair: 'Long', 'Short', 'Median'. Of the built-in faces it is known which pair of glasses,
hat or mouth was drawn, so one can ask what the component of z_1 of an attribute says of the kind: in the training data,
where Z was matched to the faces, and in drawn faces, as a judge of kinds sees them. And may each Z_k be drawn by
itself?

What a component of Z_k says of the kind that is drawn: the numbers of the page on components (D Sec. 3.1).

With C the component of z_1 of an attribute and S the kind of its part (which pair of glasses), over pictures that were
asked for with the attribute,

    NMI = 2 I(C; S) / (H(C) + H(S))                   reproduction.diffusion.components

is 0 if the component says nothing and 1 if the two are the same but for names. Of n pictures, independent ones have
about 1/n more than 0: the mean over shuffled components is the chance level. A mouth has two attributes, Smiling and
Mouth_Open, and Z of one must not tell the other: what a component says is therefore also taken with the other given.

The error is a jackknife over G groups: (G - 1)/G times the sum of squares of the G values with one group left out.

What the latents decide: what a component says of a sub-type, and what the latents say of each other.

- Information of a component: :math:`2 I(C; S) / (H(C) + H(S))`, normalised mutual information (arithmetic).
- Latents may be drawn independently only if they are nearly so in the data, also of the attributes beside them.

Their share of a picture is estimated by `reproduction.diffusion.fig5`.

A judge of sub-types: which of several kinds of a part does a picture show?

The avatars know which pair of glasses, which hat and which mouth was drawn (``AttributeDataset.parts``). A small
network learns to read that off real pictures, one softmax for each part,

.. math:: L = -\sum_p \log \mathrm{softmax}(\ell_p)_{s_p},

with :math:`\ell_p` the logits of the kinds of part :math:`p` and :math:`s_p` the kind that was drawn. With it one can
ask of a generated picture whether a component of the latents picks a sub-type (`reproduction.diffusion.components`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from gaussmix.data.base import AttributeDataset
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.latents.matching import MatchedLatents, match_latents
from gaussmix.metrics.classifier import BATCH_SIZE, AttributeClassifier, _augmented, _placed, balanced_accuracy
from gaussmix.training.schedule import ShuffledBatches, warmup_cosine
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
from reproduction.page import Cell, Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 20
"""With fewer pictures nothing is said."""
_GROUPS, _SHUFFLES = 20, 50
_DRAWN, _CEILING, _CHANCE = "#1f5fa8", "#d5dde5", "#c2402a"


class Case(NamedTuple):
    """Pictures with an attribute, perhaps with or without another one, and the part whose kind is asked for."""

    attribute: str
    part: str
    given: tuple[str, bool] | None = None

    @property
    def label(self) -> str:
        words = self.attribute.replace("_", " ")
        if self.given is None:
            return words
        other, has = self.given
        return f"{words}, {'with' if has else 'without'} {other.replace('_', ' ')}"

    def rows(self, attributes: NDArray, names: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the rows ``(M, K)`` are of this case."""
        wanted = attributes[:, names.index(self.attribute)] == 1
        if self.given is not None:
            wanted &= attributes[:, names.index(self.given[0])] == self.given[1]
        return wanted


CLAIMED = (
    Case("Eyeglasses", "accessory"),
    Case("Sunglasses", "accessory"),
    Case("Wearing_Hat", "top"),
    Case("Mouth_Open", "mouth"),
    Case("Mouth_Open", "mouth", ("Smiling", True)),
    Case("Mouth_Open", "mouth", ("Smiling", False)),
)
"""Glasses, hats and mouths."""
CASES = (
    *CLAIMED,
    Case("Smiling", "mouth"),
    Case("Smiling", "mouth", ("Mouth_Open", True)),  # the closed smile is of one kind
    Case("Mustache", "facial_hair"),
    Case("Beard", "facial_hair"),
    Case("Long_Hair", "top"),
)


class Information(NamedTuple):
    """NMI of so many ``pictures``, its standard error, and the mean NMI of shuffled components."""

    value: float
    error: float
    chance: float
    pictures: int


def information(components: NDArray, kinds: NDArray, seed: int) -> Information | None:
    """Of components and kinds ``(M,)``; None for fewer than `LEAST` pictures."""
    if len(kinds) < LEAST:
        return None
    rng = np.random.default_rng(seed)
    return Information(
        component_information(components, kinds),
        jackknife(lambda kept: component_information(components[kept], kinds[kept]), len(kinds)),
        float(np.mean([component_information(rng.permutation(components), kinds) for _ in range(_SHUFFLES)])),
        len(kinds),
    )


def jackknife(statistic: Callable[[NDArray[np.int64]], float], count: int) -> float:
    """Standard error of a number computed from the pictures at the given positions, of ``count`` in random order."""
    positions, groups = np.arange(count), min(_GROUPS, count)
    without = np.array([statistic(positions[positions % groups != g]) for g in range(groups)])
    return float(np.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum()))


class Commonest(NamedTuple):
    """The kind that most pictures of a component have, and the share that has it."""

    kind: str
    share: float

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ').lower()} {self.share:.0%}"


def commonest(kinds: NDArray[np.str_]) -> Commonest | None:
    """Of kinds ``(M,)``; None for M = 0."""
    if not len(kinds):
        return None
    names, counts = np.unique(kinds, return_counts=True)
    return Commonest(str(names[counts.argmax()]), float(counts.max() / len(kinds)))


class Pair(NamedTuple):
    """The largest entry of a table of pairs, and whose it is."""

    value: float
    first: str
    second: str


def largest(table: NDArray, names: Sequence[str]) -> Pair | None:
    """Of a square table with NaN where nothing is known; None if nothing is."""
    if np.isnan(table).all():
        return None
    k, j = map(int, np.unravel_index(np.nanargmax(table), table.shape))
    return Pair(float(table[k, j]), names[k], names[j])


class Accuracy(NamedTuple):
    """Balanced accuracy, mean over attributes, of the same requests with Z drawn and with Z read off a real face.

    ``error``: standard error of the difference. ``real``: of the real faces with these attributes.
    """

    drawn: float
    taken: float
    error: float
    real: float


Found = Mapping[Case, Information | None]

ENOUGH = 0.5
"""NMI from which a component is said to select the kind."""


def findings(
    drawn: Found,
    ceiling: Mapping[Case, float],
    told: Pair | None,
    correlated: Pair | None,
    accuracy: Accuracy,
    guidance: float,
) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    return (
        _selected([(case, drawn[case], ceiling[case]) for case in CLAIMED]),
        _others([(case, drawn[case], ceiling[case]) for case in CASES if case not in CLAIMED]),
        _independence(told, correlated, accuracy, guidance),
    )


Row = tuple[Case, Information | None, float]


def _selected(rows: Sequence[Row]) -> str:
    """By part: a mouth's finer cases, with the other attribute given, are listed but not counted."""
    whole = [row for row in rows if row[0].given is None and row[1] is not None]
    finer = [row for row in rows if row[0].given is not None and row[1] is not None]
    if not whole:
        return "There are too few pictures to say what components select."
    above = [row for row in whole if row[1] and row[1].value >= ENOUGH]
    below = [row for row in whole if row[1] and row[1].value < ENOUGH]
    near = [case for case, found, _ in whole + finer if found and abs(found.value - ENOUGH) < 2 * found.error]
    text = f"The component selects the kind, with an NMI of {ENOUGH:g} or more, for {len(above)} of {len(whole)}"
    text += f": {_listed(above)}." if above else "."
    if below:
        text += f" It does not for {_listed(below)}."
    if finer:
        text += f" More finely: {_listed(finer)}."
    if near:
        text += f" Within two standard errors of {ENOUGH:g}: {'; '.join(case.label for case in near)}."
    return text


def _others(rows: Sequence[Row]) -> str:
    known = [(case, found, most) for case, found, most in rows if found is not None]
    if not known:
        return "There are too few pictures to say so of other attributes."
    silent = [case.label for case, found, _ in known if found.value - found.chance < 2 * found.error]
    text = f"Other attributes: {_listed(known)}."
    return text + (f" Not shown to differ from chance: {'; '.join(silent)}." if silent else "")


def _listed(rows: Sequence[Row]) -> str:
    return "; ".join(
        f"{case.label} {found.value:.2f} ± {found.error:.2f} (in the clusters {most:.2f})"
        for case, found, most in rows
        if found is not None
    )


def _independence(told: Pair | None, correlated: Pair | None, accuracy: Accuracy, guidance: float) -> str:
    gap = accuracy.drawn - accuracy.taken
    if abs(gap) <= 2 * accuracy.error:
        verdict = "Drawing each Z by itself is not shown to cost attributes"
    else:
        verdict = f"Drawing each Z by itself {'gains' if gap > 0 else 'costs'} attributes"
    text = (
        f"{verdict}, with guidance {guidance:g}: balanced accuracy {accuracy.drawn:.3f}, against {accuracy.taken:.3f} "
        f"with all of Z read off one real face (difference {gap:+.3f} ± {accuracy.error:.3f}), "
        f"{accuracy.real:.3f} in the real faces."
    )
    if correlated is not None:
        text += f" Strongest correlation of two Z in the training data: {correlated.value:.2f}, {_of(correlated)}."
    if told is not None:
        text += f" Most that Z of one attribute says of another: R² {told.value:.2f}, {_of(told)}."
    return text


def _of(pair: Pair) -> str:
    return f"{pair.first.replace('_', ' ')} and {pair.second.replace('_', ' ')}"


def information_table(found: Found, ceiling: Mapping[Case, float], sees: Mapping[str, float]) -> Table:
    """All numbers, and the share of kinds that the judge ``sees`` rightly, by label."""
    rows: list[tuple[Cell, ...]] = [
        (case.label, *((None,) * 4 if each is None else each), ceiling[case], sees[case.label])
        for case, each in found.items()
    ]
    columns = ("faces with", "NMI, drawn", "standard error", "chance", "drawn", "NMI, clusters", "judge right")
    return Table("What the component says of the kind", columns, tuple(rows))


def draw_information(found: Found, ceiling: Mapping[Case, float]) -> Figure:
    """Bars of NMI: drawn, in the clusters, by chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for i, (case, each) in enumerate(found.items()):
        first = i == 0
        axes.barh(-i, ceiling[case], 0.8, color=_CEILING, label="clusters of the training faces" if first else None)
        if each is not None:
            axes.barh(-i, each.value, 0.4, xerr=each.error, color=_DRAWN, ecolor="#333333", capsize=2)
            axes.plot([each.chance] * 2, [-i - 0.4, -i + 0.4], color=_CHANCE, linewidth=1.5)
    axes.barh(0, 0, color=_DRAWN, label="drawn faces")
    axes.plot([], [], color=_CHANCE, label="chance")
    axes.axvline(ENOUGH, color="#555555", linestyle=":", linewidth=1)
    axes.set_yticks([-i for i in range(len(found))], [case.label for case in found])
    axes.set_xlim(0, 1)
    axes.set_xlabel("normalised mutual information of component and kind")
    axes.set_title("What the component of Z says of the kind that is drawn", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


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
    drawn = Kinds(asked, subject.pipeline.latent_distribution.components(z), judge.predict(images))
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
    latents = subject.pipeline.latent_distribution
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
    n_components = subject.pipeline.latent_distribution.n_components
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
    given, today = subject.pipeline.latent_distribution.shares, matched.latents.shares
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
    weights = {name: subject.pipeline.latent_distribution.weights(subject.names.index(name)) for name in attributes}
    rows: list[tuple[Cell, ...]] = []
    for name in attributes:
        for c, weight in enumerate(weights[name]):
            most = [_commonest(of, name, c, subject.names) for of in (clusters, drawn)]
            rows.append((words([name]), str(c), float(weight), *(None if each is None else str(each) for each in most)))
    columns = ("attribute", "component", "share", "commonest kind in the cluster", "commonest kind drawn")
    return Table("Kinds by component", columns, tuple(rows))


LEAST_IMAGES = 100
"""With fewer images that have both attributes, the largest of their correlations is mostly chance: NaN."""


def component_information(components: ArrayLike, kinds: ArrayLike) -> float:
    """Normalised mutual information (arithmetic) of components ``(M,)`` and sub-types ``(M,)``, any labels, 0 ... 1.

    0 if either takes a single value. Independent labels have about ``(C-1)(S-1) / M / (H(C) + H(S))``, entropies in
    nats, and not 0.
    Raises ValueError if the lengths differ or are zero.
    """
    components, kinds = np.asarray(components), np.asarray(kinds)
    if components.shape != kinds.shape or components.ndim != 1 or not len(kinds):
        raise ValueError(
            f"components have shape {components.shape} and kinds {kinds.shape}; give one of each a picture"
        )
    c, s = (np.unique(labels, return_inverse=True)[1] for labels in (components, kinds))
    joint = np.zeros((c.max() + 1, s.max() + 1))
    np.add.at(joint, (c, s), 1 / len(c))

    def entropy(p: NDArray) -> float:
        return float(-(p[p > 0] * np.log(p[p > 0])).sum())

    apart = entropy(joint.sum(1)) + entropy(joint.sum(0))
    single = min(joint.shape) == 1
    return 0.0 if single else 2 * (apart - entropy(joint)) / apart


def latent_correlations(table: ArrayLike, has: ArrayLike) -> NDArray[np.float64]:
    """Largest absolute correlation of a number of ``Z_k`` with one of ``Z_l``, ``(T, T)``.

    ``table``: Z ``(M, T, N)``. ``has``: ``(M, K)`` of 0/1; a base token, ``T = K + 1``, belongs to every image. Taken
    over the images that have both; NaN on the diagonal and below `LEAST_IMAGES`. Of ``N^2`` numbers the largest is not
    zero by chance: about ``2.9 / sqrt(images)`` for N = 8.
    """
    z, gate = _checked(table, has)
    n_tokens, n_numbers = z.shape[1:]
    worst = np.full((n_tokens, n_tokens), np.nan)
    for k in range(n_tokens):
        for j in range(k):
            both = gate[:, k] & gate[:, j]
            if both.sum() >= LEAST_IMAGES:
                pair = np.corrcoef(z[both, k], z[both, j], rowvar=False)[:n_numbers, n_numbers:]
                worst[k, j] = worst[j, k] = np.abs(pair).max()
    return worst


def attributes_told(table: ArrayLike, has: ArrayLike) -> NDArray[np.float64]:
    """R² of a linear regression of attribute ``l`` on ``Z_k`` and ``Z_k^2``, among images with attribute k, ``(K, K)``.

    ``table`` and ``has`` as in `latent_correlations`. NaN on the diagonal and where fewer than `LEAST_IMAGES` have k,
    or all or none of them have l.
    """
    z, gate = _checked(table, has)
    n_attributes = np.asarray(has).shape[1]
    told = np.full((n_attributes, n_attributes), np.nan)
    for k in range(n_attributes):
        own = z[gate[:, k], k]
        if len(own) < LEAST_IMAGES:
            continue
        known = np.column_stack([np.ones(len(own)), own, own**2])
        target = gate[gate[:, k], :n_attributes].astype(float)
        rest = target - known @ np.linalg.lstsq(known, target, rcond=None)[0]
        varying = target.var(0) > 0
        told[k, varying] = 1 - rest.var(0)[varying] / target.var(0)[varying]
    return told


def _checked(table: ArrayLike, has: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Z ``(M, T, N)`` and the gate ``(M, T)``."""
    z, gate = np.asarray(table, float), np.asarray(has, bool)
    if z.ndim != 3 or gate.ndim != 2 or len(z) != len(gate) or z.shape[1] - gate.shape[1] not in (0, 1):
        raise ValueError(
            f"table has shape {z.shape} and has {gate.shape}; expected (M, T, N) and (M, K), T = K or K + 1"
        )
    if z.shape[1] > gate.shape[1]:
        gate = np.column_stack([gate, np.ones(len(gate), bool)])
    return z, gate


STEPS = 1000


class SubtypeJudge:
    """``predict`` names the kind of every part in uint8 images ``(N, S, S, 3)``.

    ``kinds``: for each part its kinds, sorted. ``network`` has one logit for each of them, the parts in this order.
    """

    def __init__(self, kinds: dict[str, tuple[str, ...]], image_size: int):
        self.kinds = kinds
        self.network = AttributeClassifier(
            tuple(f"{part}={kind}" for part in kinds for kind in kinds[part]), image_size
        )

    def predict(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.str_]]:
        """For each part the likeliest kind in each image, ``(N,)`` strings."""
        sizes = [len(kinds) for kinds in self.kinds.values()]
        parts = np.split(self.network.logits(images), np.cumsum(sizes)[:-1], axis=1)
        return {
            part: np.array(self.kinds[part])[logits.argmax(1)] for part, logits in zip(self.kinds, parts, strict=True)
        }


def train_subtype_judge(
    dataset: AttributeDataset,
    parts: Sequence[str],
    *,
    steps: int = STEPS,
    seed: int = 0,
    on_progress: Callable[[int, float], None] | None = None,
) -> SubtypeJudge:
    """Train on the train split of a data set that knows the ``parts`` of its pictures.

    AdamW and pictures shifted and brightened as for the judge of attributes. One seed gives one result on one machine;
    the global random state stays as it was. ``on_progress`` gets the number of steps done and the loss.
    Raises ValueError for parts that the data set does not know and for less than one step, DataError (a ValueError)
    if the train split is empty.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    known = dataset.parts or {}
    missing = [part for part in parts if part not in known]
    if missing or not parts:
        raise ValueError(f"parts are {', '.join(parts) or 'none'}; {dataset.name} knows {', '.join(known) or 'none'}")
    rows = dataset.indices("train")
    codes = [np.unique(known[part], return_inverse=True) for part in parts]
    truth = torch.from_numpy(np.stack([code[rows] for _, code in codes]))
    kinds = {part: tuple(map(str, names)) for part, (names, _) in zip(parts, codes, strict=True)}
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = SubtypeJudge(kinds, dataset.images.shape[1])
    network, sizes = _placed(judge.network, "cpu"), [len(names) for names in kinds.values()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, s / steps, steps // 5))
    batches = ShuffledBatches(len(rows), BATCH_SIZE, seed)
    for step in range(steps):
        picked = batches[step]
        logits = network(_augmented(dataset.images, rows[picked], rng, torch.device("cpu"))).split(sizes, 1)
        losses = [F.cross_entropy(part, wanted[picked]) for part, wanted in zip(logits, truth, strict=True)]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress(step + 1, loss.item())
    network.eval()
    return judge
