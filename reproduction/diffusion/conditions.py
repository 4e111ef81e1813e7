"""One small diffusion model trained in several ways, and everything measured of each (for D Figures 7 and 9).

The networks of one seed share their images, the order of batches, noise levels and noise, so that what differs is the
treatment (only `pairing="fresh"` draws its Z from the same random numbers and so gets other noise). Each is measured
against the same faces, which no network has seen:

- *asked-for faces*: their attributes are the conditions of the pictures that are drawn; their pixels give the held-out
  denoising loss, and stand in the tables as what a perfect model would draw;
- *reference faces*: others, the real side of every distance. Features are those of the judge, a classifier of
  attributes trained on the training pictures.

What a network is told of the same pictures: features, disjoint classes, or nothing (D Sec. 3.1, Eq. 7).

D's features are K attributes that overlap, ``A`` in {0, 1}^K; its classes are M_1 sets that do not, one-hot rows of
which exactly one entry is 1. Each conditioning here is a rule that turns attribute rows ``(N, K)`` into rows of 0/1
``(N, K')``; Z is gated by them in the same way for all.

What the runs of D Figure 7 say of D's first claim, in sentences that follow from the numbers.

The pictures of D Figures 7 and 9: faces by what the network was told, measures with intervals, training curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from gaussmix.data.base import AttributeDataset
from gaussmix.data.cache import digest
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.batches import TrainingBatches
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import angle_weights, make_betas
from gaussmix.metrics.classifier import STEPS, AttributeClassifier, balanced_accuracy, load_or_train_classifier
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores
from reproduction.diffusion.model import Faces as Block
from reproduction.diffusion.model import draw_faces as draw_blocks
from reproduction.runs import Curve, drawn, run_folder, trained
from reproduction.statistics import Interval, difference, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = NDArray[np.uint8]

OVERLAP = 0.01
"""Attributes count as mutually exclusive if fewer than this share of the pictures has both."""


@dataclass(frozen=True)
class Conditioning:
    """``names`` of the K' columns and the rule that fills them, from attributes ``(N, K)``."""

    names: tuple[str, ...]
    apply: Callable[[Rows], Rows]

    def of(self, dataset: AttributeDataset) -> AttributeDataset:
        """The data set with these columns in place of its attributes."""
        rows = self.apply(np.asarray(dataset.attributes))
        key = digest("conditioning", dataset.key, self.names, rows.tobytes().hex())
        return replace(dataset, attributes=rows, attribute_names=self.names, key=key)


def features(names: tuple[str, ...]) -> Conditioning:
    """The attributes themselves."""
    return Conditioning(names, lambda rows: rows)


def nothing() -> Conditioning:
    """One attribute that no picture has."""
    return Conditioning(("nothing",), lambda rows: np.zeros((len(rows), 1), np.uint8))


def clusters(rows: Rows, count: int, seed: int) -> Conditioning:
    """``count`` classes: k-means of the attribute vectors ``rows`` ``(N, K)``, a new vector to its nearest centre."""
    distinct = len(np.unique(rows, axis=0))
    count = min(count, distinct)
    model = KMeans(count, n_init=10, random_state=seed).fit(rows.astype(np.float32))  # pyright: ignore[reportArgumentType]
    names = tuple(f"group_{i + 1}" for i in range(count))
    return Conditioning(names, lambda new: _one_hot(np.asarray(model.predict(new.astype(np.float32))), count))


def categories(rows: Rows, names: tuple[str, ...]) -> Conditioning:
    """Classes by one categorical property: a set of mutually exclusive attributes, and "none of them" if there are
    pictures without.

    Of all such sets that cannot be enlarged, the one whose classes have the largest entropy in ``rows`` ``(N, K)``. A
    picture with two of them, where `OVERLAP` allows it, belongs to the first.
    """
    best = max(_exclusive_sets(rows), key=lambda columns: entropy(_category(rows, columns)))
    without = bool((rows[:, best].sum(1) == 0).any())
    chosen = tuple(names[k] for k in best) + (("none",) if without else ())
    return Conditioning(chosen, lambda new: _one_hot(_category(new, best), len(best) + 1)[:, : len(chosen)])


def entropy(rows: NDArray) -> float:
    """Entropy in bits of the distribution over distinct rows ``(N, ...)``."""
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    shares = counts / counts.sum()
    return float((shares * np.log2(1 / shares)).sum())


def _category(rows: Rows, columns: list[int]) -> NDArray[np.intp]:
    """Position in ``columns`` of the first that a row has; ``len(columns)`` if it has none."""
    held = rows[:, columns].astype(bool)
    return np.where(held.any(1), held.argmax(1), len(columns))


def _one_hot(labels: NDArray, count: int) -> Rows:
    return (labels[:, None] == np.arange(count)).astype(np.uint8)


def _exclusive_sets(rows: Rows) -> list[list[int]]:
    """The sets of pairwise exclusive columns that cannot be enlarged (Bron and Kerbosch, 1973), those seen at all."""
    together = rows.astype(np.float32).T @ rows.astype(np.float32) / len(rows)
    exclusive = together < OVERLAP
    np.fill_diagonal(exclusive, False)
    neighbours = [set(np.flatnonzero(line).tolist()) for line in exclusive]
    found: list[list[int]] = []

    def grow(members: set[int], candidates: set[int], done: set[int]) -> None:
        if not candidates and not done:
            found.append(sorted(members))
            return
        pivot = max(candidates | done, key=lambda k: len(neighbours[k] & candidates))
        for k in sorted(candidates - neighbours[pivot]):
            grow(members | {k}, candidates & neighbours[k], done & neighbours[k])
            candidates = candidates - {k}
            done = done | {k}

    grow(set(), set(range(rows.shape[1])), set())
    return found


SIZE = 32
LAST = 0.2
"""Share of the training steps, the last, that the training loss is averaged over."""
_BATCH = 50


@dataclass(frozen=True)
class StudyConfig:
    """What all runs of both figures have in common."""

    seed: int = 0
    """Of the faces; the runs take this seed and the next ones."""
    repetitions: int = 3
    """Runs of each kind."""
    avatars: int = 4000
    """Built-in faces, four fifths of them for training."""
    training_steps: int = 900
    batch_size: int = 8
    channels: tuple[int, ...] = (24, 48, 48)
    pictures: int = 500
    """Asked-for faces, and pictures drawn from each model."""
    reference: int = 2000
    """Reference faces."""
    sampling_steps: int = 10
    """Of DPM-Solver++."""
    guidance: float = 1.0
    """1: none, the model as it was trained."""
    judge_steps: int = STEPS
    """Training steps of the judge."""
    runs: str = "runs/reproduce"
    """Folder of the runs: what is in it is not trained again. Empty: nothing is kept."""

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.seed + i for i in range(self.repetitions))

    def recipe(self, seed: int, **changes: Any) -> DiffusionConfig:
        """The settings of one run; `pairing="fixed"`, the paper's, unless changed."""
        return DiffusionConfig(
            **{
                "size": SIZE,
                "seed": seed,
                "pairing": "fixed",
                "channels": self.channels,
                "batch_size": self.batch_size,
                "steps": self.training_steps,
                "keep_checkpoints": 1,
                "guidance": 1.0,
                "log_every": 1,
                "reader_steps": 0,
                **changes,
            }
        )


QUICK: dict[str, Any] = {
    "repetitions": 1, "avatars": 60, "training_steps": 4, "batch_size": 4, "channels": (8, 8, 8), "pictures": 70,
    "reference": 80, "sampling_steps": 2, "judge_steps": 4, "runs": "",
}  # fmt: skip
"""Seconds instead of hours."""


@dataclass(frozen=True)
class Variant:
    """One way to train: a name for the page, the conditioning, changes to the recipe."""

    label: str
    conditioning: Conditioning
    changes: dict[str, Any] = field(default_factory=dict)


class Faces(NamedTuple):
    """Pictures to train on and to measure against, and the judge."""

    dataset: AttributeDataset
    asked: NDArray[np.uint8]
    """Asked-for faces ``(M, H, W, 3)``."""
    attributes: NDArray[np.uint8]
    """Theirs, ``(M, K)``."""
    reference: NDArray[np.uint8]
    judge: AttributeClassifier
    features: NDArray[np.float32]
    """Of the reference faces, ``(R, D)``."""


class Measured(NamedTuple):
    """One run."""

    values: dict[str, float]
    """By the names of `QUALITY` and `LOSSES`."""
    curve: Curve
    pictures: NDArray[np.uint8]
    """``(M, H, W, 3)``; M = 0 if none were drawn."""


QUALITY = ("defect rate", "recall", "density", "coverage", "FD", "KID", "accuracy")
"""Measures of pictures: 1 - precision and its like, Frechet and kernel distance, balanced accuracy of the attributes
asked for."""
LOSSES = ("training loss", "held-out loss")
"""Denoising loss on training batches, mean of the last fifth of the steps; on held-out faces, with the same noise."""


def avatar_faces(config: StudyConfig) -> Faces:
    """Built-in faces; those measured against are of a seed that no run uses."""
    count = config.pictures + config.reference
    dataset = load_dataset("avatars", size=SIZE, count=config.avatars, seed=config.seed, progress=False)
    others = load_dataset("avatars", size=SIZE, count=count, seed=config.seed + 1000, progress=False)
    rows = np.arange(count)
    return gather(dataset, others, rows[: config.pictures], rows[config.pictures :], config.judge_steps)


def gather(
    dataset: AttributeDataset, others: AttributeDataset, asked: NDArray, reference: NDArray, judge_steps: int
) -> Faces:
    """`asked` and `reference` are positions in `others`."""
    judge, _ = load_or_train_classifier(dataset, steps=judge_steps, progress=False)
    pictures = np.asarray(others.images[reference])
    return Faces(
        dataset, np.asarray(others.images[asked]), others.attributes[asked], pictures, judge, judge.features(pictures)
    )


def quality(faces: Faces, images: NDArray[np.uint8]) -> dict[str, float]:
    """The measures of `QUALITY`, of pictures ``(M, H, W, 3)`` for the asked-for conditions."""
    features = faces.judge.features(images)
    scores = manifold_scores(faces.features, features)
    return {
        "defect rate": scores.defect_rate,
        "recall": scores.recall,
        "density": scores.density,
        "coverage": scores.coverage,
        "FD": frechet_distance(faces.features, features),
        "KID": kernel_distance(faces.features, features).value,
        "accuracy": float(np.nanmean(balanced_accuracy(faces.judge.predict(images), faces.attributes))),
    }


def trained_variant(
    variant: Variant, faces: Faces, config: StudyConfig, seed: int, folder: Path
) -> tuple[AttributeDiffusionPipeline, Curve, DiffusionConfig, Path]:
    """The model of one variant and seed, its curve, its settings and the folder of the run."""
    dataset, settings = variant.conditioning.of(faces.dataset), config.recipe(seed, **variant.changes)
    pipeline, curve = trained(settings, dataset, folder)
    return pipeline, curve, settings, run_folder(settings, dataset, folder)


def run_variant(
    variant: Variant, faces: Faces, config: StudyConfig, seed: int, folder: Path, *, draws: bool = True
) -> Measured:
    """Train one variant with one seed, or read it, and measure its losses and, if it ``draws``, its pictures."""
    pipeline, curve, settings, out = trained_variant(variant, faces, config, seed, folder)
    conditions = variant.conditioning.apply(faces.attributes)
    images = faces.asked[:0]
    if draws:
        how = {"seed": config.seed, "steps": config.sampling_steps, "guidance": config.guidance}
        images = drawn(pipeline, conditions, out, **how)
    batches = TrainingBatches(
        variant.conditioning.of(faces.dataset), settings, out / "latents.safetensors", settings.batch_size
    )
    latents = None  # drawn, as in training ...
    if batches.encoder is not None:  # ... unless they were read off the pictures
        latents = torch.from_numpy(batches.encoder.encode(faces.asked, conditions, config.seed))
    last = max(1, round(LAST * len(curve.steps)))
    values = (quality(faces, images) if draws else {}) | {
        "training loss": float(curve.denoising[-last:].mean()),
        "held-out loss": held_out_loss(pipeline, settings, faces.asked, conditions, config.seed, latents),
    }
    return Measured(values, curve, images)


@torch.no_grad()
def held_out_loss(
    pipeline: AttributeDiffusionPipeline,
    settings: DiffusionConfig,
    images: NDArray[np.uint8],
    conditions: NDArray[np.uint8],
    seed: int,
    latents: torch.Tensor | None = None,
) -> float:
    """The training objective, of the averaged weights, on pictures ``(M, H, W, 3)`` with conditions ``(M, K')``.

    Noise levels and noise follow from ``seed`` alone: two models see the same. ``latents`` ``(M, T, N)`` are the
    pictures' Z; drawn, as for sampling, if not given.
    """
    betas = make_betas(settings.beta_schedule, settings.timesteps, beta=settings.beta)
    alpha_bar = torch.from_numpy(np.cumprod(1 - betas)).float()
    generator = torch.Generator().manual_seed(seed)
    levels = torch.multinomial(torch.from_numpy(angle_weights(betas)).float(), len(images), True, generator=generator)
    noise = torch.randn((len(images), 3, *images.shape[1:3]), generator=generator)
    if latents is None:
        latents = pipeline.draw_attribute_latents(len(images), generator)
    total = 0.0
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        x = torch.from_numpy(np.array(images[part])).permute(0, 3, 1, 2).float() / 127.5 - 1
        ab, eps = alpha_bar[levels[part]].view(-1, 1, 1, 1), noise[part]
        noisy, velocity = ab.sqrt() * x + (1 - ab).sqrt() * eps, ab.sqrt() * eps - (1 - ab).sqrt() * x
        given = torch.from_numpy(conditions[part].astype(np.float32))
        answer = pipeline.unet(noisy, levels[part], latents[part], given).sample
        total += float((answer - velocity).square().mean((1, 2, 3)).sum())
    return total / len(images)


TOLD = {
    "nothing": "nothing",
    "category": "classes: one property",
    "clusters": "classes: groups",
    "multi_hot": "features, no Z",
    "one_gaussian": "features, one Gaussian",
    "features": "features, three Gaussians (D)",
    "fresh": "features, fresh Z",
    "matched": "features, matched Z",
}
CLASSES = ("category", "clusters")

Values = Mapping[str, Mapping[str, np.ndarray]]
"""By what was told, by measure: (n,) values, one a seed."""

_WORDS = {-1: "lower", 0: "not told apart", 1: "higher"}


def values_of(runs: Mapping[str, list[Measured]]) -> dict[str, dict[str, np.ndarray]]:
    """The runs' measures as arrays over the seeds."""
    return {
        key: {name: np.array([one.values[name] for one in measured]) for name in measured[0].values}
        for key, measured in runs.items()
    }


def findings(values: Values, real: Mapping[str, float]) -> tuple[str, ...]:
    """All sentences; ``real`` holds the measures of held-out real faces."""
    return (
        claim(values, real),
        equation_7(values),
        loss(values),
        what_z_adds(values),
        resolution(values),
    )


def gap(values: Values, measure: str, one: str, other: str) -> Interval:
    """``one`` minus ``other``, seed by seed."""
    return difference(values[one][measure], values[other][measure])


def claim(values: Values, real: Mapping[str, float]) -> str:
    """Does telling features make fewer defects than telling classes?"""
    gaps = {key: gap(values, "defect rate", "features", key) for key in CLASSES}
    signs = [each.sign for each in gaps.values()]
    if all(sign < 0 for sign in signs):
        verdict = "D's first claim holds here: told features, the network draws fewer defects than told classes"
    elif all(sign > 0 for sign in signs):
        verdict = "D's first claim is reversed here: told features, the network draws more defects than told classes"
    elif any(signs):
        verdict = "D's first claim holds against some classes at most"
    else:
        verdict = "D's first claim is not seen here: the defect rates of features and classes cannot be told apart"
    rates = ", ".join(f"{TOLD[key]} {_mean(values, 'defect rate', key)}" for key in ("features", *CLASSES, "nothing"))
    against = "; ".join(f"against {TOLD[key]} {each} ({_WORDS[each.sign]})" for key, each in gaps.items())
    return (
        f"{verdict}. Defect rate (1 - precision): {rates}; real faces {real['defect rate']:.3g}. Difference seed by "
        f"seed: {against}."
    )


def equation_7(values: Values) -> str:
    """D's inclusion bounds recall, Eq. 7 precision; both are measured."""
    recall = {key: gap(values, "recall", "features", key) for key in CLASSES}
    defects = {key: gap(values, "defect rate", "features", key) for key in CLASSES}
    wider = [key for key in CLASSES if recall[key].sign > 0]
    narrower = [key for key in CLASSES if recall[key].sign < 0]
    inclusion = _both(
        (f"The inclusion fails: recall with features is higher than with {_named(wider)}", wider),
        (f"the inclusion is borne out: recall with features is lower than with {_named(narrower)}", narrower),
        "The inclusion is neither borne out nor refuted: the recalls cannot be told apart",
    )
    more = [key for key in CLASSES if defects[key].sign > 0]
    fewer = [key for key in CLASSES if defects[key].sign < 0]
    equation = _both(
        (f"Eq. 7 fails: more defects than with {_named(more)}", more),
        (f"Eq. 7 agrees with the numbers: fewer defects than with {_named(fewer)}", fewer),
        "Eq. 7 is neither borne out nor refuted",
    )
    recalls = ", ".join(f"{TOLD[key]} {_mean(values, 'recall', key)}" for key in ("features", *CLASSES))
    return (
        "Eq. 7 does not follow from what D sets out from: if the good pictures of the features lie among the good ones "
        "of the classes, and both sets of pictures are equally large, then what is left over, the defects, is at least "
        "as large with features, not at most. The set argument also says nothing of how well a network learns each "
        "subset: finer ones leave it fewer pictures for each. It can be measured, the inclusion as recall: "
        f"{recalls}. {inclusion}. {equation}."
    )


def loss(values: Values) -> str:
    """D: the loss with classes is larger."""
    gaps = {key: gap(values, "held-out loss", "features", key) for key in (*CLASSES, "nothing")}
    lower = [key for key in CLASSES if gaps[key].sign < 0]
    if len(lower) == len(CLASSES):
        verdict = "As in D, the loss is lower with features than with classes"
    elif lower:
        verdict = f"The loss is lower with features than with {_named(lower)} only"
    else:
        verdict = "The loss is not lower with features than with classes"
    means = ", ".join(f"{TOLD[key]} {_mean(values, 'held-out loss', key)}" for key in ("features", *gaps))
    listed = "; ".join(f"against {TOLD[key]} {each} ({_WORDS[each.sign]})" for key, each in gaps.items())
    return (
        f"{verdict}. Held-out denoising loss, the same faces, noise levels and noise for all: {means}. Features: "
        f"{listed}. A condition that says more of a picture leaves less to predict; a lower loss alone does not make "
        "better pictures."
    )


def what_z_adds(values: Values) -> str:
    """Three Gaussians against one, none, fresh and matched Z."""
    sentences = []
    others, measures = ("multi_hot", "one_gaussian", "fresh", "matched"), ("defect rate", "recall", "FD", "accuracy")
    for other in others:
        told = []
        for measure in measures:
            each = gap(values, measure, other, "features")
            if each.sign:
                told.append(f"{measure} {_WORDS[each.sign]} by {abs(each.mean):.2g} ± {each.half:.2g}")
        sentences.append(f"{TOLD[other]}: {', '.join(told) or 'nothing that these seeds can tell'}")
    tests = len(others) * len(measures)
    return (
        f"What Z is good for, against {TOLD['features']}: {'; '.join(sentences)}. Of these {tests} comparisons at 95 % "
        f"about {by_chance(tests)} would be seen by chance alone."
    )


def by_chance(tests: int) -> str:
    """How many of so many true nulls an interval of 95 % calls a difference."""
    return f"{0.05 * tests:.1g}"


def resolution(values: Values) -> str:
    """The smallest difference that could have been seen."""
    if len(values["features"]["FD"]) < 2:
        return "One seed: no difference can be told from chance."
    halves = {m: [gap(values, m, "features", key).half for key in CLASSES] for m in ("defect rate", "recall", "FD")}
    listed = ", ".join(f"{measure} {np.max(each):.2g}" for measure, each in halves.items())
    return f"Smaller differences than these could not have been seen against the classes: {listed}."


def _both(first: tuple[str, list[str]], second: tuple[str, list[str]], neither: str) -> str:
    """The sentences whose lists are not empty."""
    said = "; ".join(sentence for sentence, keys in (first, second) if keys) or neither
    return said[0].upper() + said[1:]


def _mean(values: Values, measure: str, key: str) -> str:
    return str(interval(values[key][measure]))


def _named(keys: list[str]) -> str:
    return " and ".join(TOLD[key] for key in keys)


GREY = "#555555"
COLORS = ("#8c8c8c", "#d9822b", "#c2402a", "#7f9fc6", "#4b9b5f", "#1f5fa8", "#8a5fa8", "#1b1b1b")
LINES = ("#d9822b", "#1f5fa8", "#4b9b5f", "#8c8c8c", "#8a5fa8")
_COLUMNS = 8


def draw_faces(faces: Faces, runs: Mapping[str, list[Measured]], labels: Mapping[str, str]) -> Figure:
    """Held-out faces, and for each a picture of the first network of every kind."""
    rows = {"held-out faces": faces.asked, **{labels[key]: measured[0].pictures for key, measured in runs.items()}}
    shown = np.stack([images[:_COLUMNS] for images in rows.values()])
    return draw_blocks("The same faces asked for, by what the network was told", Block("", shown, list(rows)))


def draw_measures(values: Values, labels: Mapping[str, str], real: Mapping[str, float]) -> Figure:
    """Precision against recall, and the Frechet distance, each with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for i, each in enumerate(values.values()):
        precision, recall, distance = (interval(v) for v in (1 - each["defect rate"], each["recall"], each["FD"]))
        bars = {"color": COLORS[i], "fmt": "o", "markersize": 5, "linewidth": 1, "capsize": 2}
        left.errorbar(recall.mean, precision.mean, precision.half, recall.half, **bars)
        right.errorbar(distance.mean, -i, xerr=distance.half, **bars)
    right.axvline(real["FD"], color=GREY, linestyle=":", linewidth=1)
    right.text(real["FD"], 0.5, " real faces", color=GREY, fontsize=8, va="center")
    right.set_yticks([-i for i in range(len(values))], [labels[key] for key in values], fontsize=8)
    right.set_ylim(0.8 - len(values) - 0.3, 0.8)
    right.set_xlim(left=0)
    _style(left, "precision and recall", "recall", "precision = 1 - defect rate")
    _style(right, "Frechet distance", "Frechet distance of the judge's features", "")
    reference = f"real faces: recall {real['recall']:.3g}, precision {1 - real['defect rate']:.3g}"
    left.text(0.02, 0.98, reference, transform=left.transAxes, color=GREY, fontsize=8, va="top")
    return figure


def _style(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)


def draw_curves(runs: Mapping[str, list[Measured]], labels: Mapping[str, str], controls: Mapping[str, str]) -> Figure:
    """Denoising loss by step with the range of the seeds, and the difference to the control with its interval."""
    from matplotlib.figure import Figure

    steps = next(iter(runs.values()))[0].curve.steps
    window = max(1, len(steps) // 20)
    losses = {name: smoothed(np.stack([one.curve.denoising for one in m]), window) for name, m in runs.items()}
    centre = steps[: len(steps) - window + 1] + (window - 1) / 2
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for color, (name, each) in zip(LINES, losses.items(), strict=True):
        left.plot(centre, each.mean(0), color=color, linewidth=1.2, label=labels[name])
        left.fill_between(centre, each.min(0), each.max(0), color=color, alpha=0.15, linewidth=0)
        if name in controls:
            gap = each - losses[controls[name]]
            middle, half = zip(*(interval(column) for column in gap.T), strict=True)
            right.plot(centre, middle, color=color, linewidth=1.2, label=labels[name])
            low, high = np.subtract(middle, half), np.add(middle, half)
            right.fill_between(centre, low, high, color=color, alpha=0.15, linewidth=0)
    right.axhline(0, color=GREY, linestyle=":", linewidth=1)
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:.3g}")
    _style(left, f"running mean over {window} steps", "training step", "denoising loss")
    _style(right, "with a classifier minus without", "training step", "difference of the denoising loss")
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=7)
    return figure


def smoothed(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means ``(..., S - window + 1)`` over ``window`` neighbours of ``(..., S)``."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1]), values], -1), -1)
    return (sums[..., window:] - sums[..., :-window]) / window
