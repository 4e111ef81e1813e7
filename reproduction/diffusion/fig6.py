"""D Figure 6: the estimate x0* at each step of Eq. 10; and how good pictures are by sampler and number of steps.

    x0* = (x_t - sqrt(1 - ab_t) eps) / sqrt(ab_t)

The figure shows x0* along 100 steps; the text says that those of steps 80 to 100 are of similar quality. Both are shown
for a model of this package, then the same model is sampled with Eq. 10, DDPM, DDIM and DPM-Solver++ in fewer steps.

Pictures of one trained model by several samplers and numbers of steps, and how good they are (for D Figure 6).

All runs answer the same requests, the attributes of N faces that the model has not seen, with the same Z and the same
starting noise, picture by picture. They are measured against M other unseen faces, on the features of the judge; so
are the N faces themselves, which a perfect model would draw.

    d(run) = Frechet distance of the features of N pictures and of M unseen faces
    error  = standard deviation of d over resamplings of the N pictures, the same rows for every run

The M faces are the same throughout: an error says how far d would move with other pictures, not with other faces.
Close to the real faces the distance has hardly a first-order term, and resampling then overstates its error, 1.5 to 1.8
times in simulations of Gaussian features: two runs that are not told apart may still differ.

The pictures of D Figure 6: x0* along the way, and the Frechet distance by steps and time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import whole_file
from gaussmix.data.cache import digest
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import default_steps, draw_batches
from gaussmix.diffusion.schedulers import SchedulerName, switch_scheduler
from gaussmix.metrics.classifier import STEPS, AttributeClassifier, balanced_accuracy, load_or_train_classifier
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores
from reproduction.diffusion.model import source_of
from reproduction.page import Picture, Result, Table
from reproduction.runs import runs_under

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Images = NDArray[np.uint8]


class Faces(NamedTuple):
    """The judge; features of the reference faces ``(M, D)``; N other faces ``(N, H, W, 3)`` and their attributes
    ``(N, K)``, which are asked for."""

    source: str
    judge: AttributeClassifier
    reference: NDArray[np.float32]
    control: Images
    asked: NDArray[np.uint8]
    columns: list[int]
    """Of the judge's attributes, those of the model."""


def read_faces(
    pipeline: AttributeDiffusionPipeline,
    *,
    data: str,
    count: int,
    reference: int,
    known: int | None,
    judge_steps: int,
) -> Faces:
    """Attributes for ``count`` pictures, and ``reference`` faces to measure them against.

    ``known`` is the number of avatars that the judge learns from, by default as many as the model did. Of other
    ``data`` (see `source_of`), the test split is the reference and the valid split is asked for.
    Raises ValueError if it is not known what the model was trained on.
    """
    record = pipeline.training
    source, seed = source_of(pipeline, data), record.get("seed", 0)
    size = pipeline.unet.config["sample_size"]
    if source == "avatars":
        dataset = load_dataset(source, size=size, count=known or record.get("count"), seed=seed, progress=False)
        others = [
            load_dataset(source, size=size, count=n, seed=seed + i, progress=False)
            for i, n in enumerate((reference, count), 1)
        ]
        images, control, wanted = others[0].images, others[1].images, others[1].attributes
    else:
        dataset = load_dataset(source, size=size, count=record.get("count"), progress=False)
        images = dataset.images[dataset.indices("test")[:reference]]
        rows = dataset.indices("valid")[:count]
        control, wanted = dataset.images[rows], dataset.attributes[rows]
    judge, _ = load_or_train_classifier(dataset, steps=judge_steps, progress=False)
    columns = find_attributes(pipeline.attribute_names, dataset.attribute_names)
    return Faces(dataset.name, judge, judge.features(images), control, wanted[:, columns], columns)


@dataclass(frozen=True)
class Run:
    """One way to draw: a sampler's name, its number of steps, the guidance scale."""

    scheduler: SchedulerName
    steps: int
    guidance: float

    @property
    def evaluations(self) -> int:
        """Of the network, a picture."""
        return self.steps * (1 if self.guidance == 1 else 2)


class Drawn(NamedTuple):
    """``images`` ``(N, H, W, 3)``, CPU ``seconds`` an image, ``estimates`` x0* of some steps ``(S, N, H, W, 3)``;
    ``cost``: CPU seconds of all of it, spent in an earlier run if it was ``kept``."""

    images: Images
    seconds: float
    estimates: Images
    cost: float
    kept: bool = False


def draw_run(
    pipeline: AttributeDiffusionPipeline,
    run: Run,
    asked: NDArray[np.uint8],
    *,
    seed: int,
    folder: Path,
    kept_steps: tuple[int, ...] = (),
) -> Drawn:
    """Draw, or read from ``folder`` what was drawn before. ``kept_steps`` count from 1.

    Time is that of the fastest batch: the others had to wait for something else.
    """
    file = folder / f"{_fingerprint(pipeline, run, asked, seed, kept_steps)}.npz"
    if file.is_file():
        with np.load(file) as found:
            seconds, cost = float(found["seconds"]), float(found["cost"])
            return Drawn(found["images"], seconds, found["estimates"], cost, kept=True)
    pipeline.scheduler = switch_scheduler(pipeline.scheduler, run.scheduler)
    images, estimates, seconds = [], [], []
    positions = [step - 1 for step in kept_steps]
    began = started = time.process_time()
    for batch in draw_batches(
        pipeline, asked, seed=seed, steps=run.steps, guidance=run.guidance, trajectory=bool(positions)
    ):
        seconds.append((time.process_time() - started) / len(batch.images))
        images.append(batch.images)
        if batch.trajectory is not None:
            estimates.append(batch.trajectory[positions])
        started = time.process_time()
    empty = np.empty((0, *images[0].shape), np.uint8)
    cost = time.process_time() - began
    drawn = Drawn(np.concatenate(images), min(seconds), np.concatenate(estimates, 1) if estimates else empty, cost)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as aside, aside.open("wb") as stream:
        np.savez(stream, **drawn._asdict())
    return drawn


def _fingerprint(
    pipeline: AttributeDiffusionPipeline, run: Run, asked: NDArray[np.uint8], seed: int, kept_steps: tuple[int, ...]
) -> str:
    """Of the weights, the scheduler's noise levels and everything that was asked for."""
    weights = hashlib.blake2b(digest_size=16)
    for tensor in pipeline.unet.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    facts = run.scheduler, run.steps, run.guidance, seed, kept_steps, asked.shape, asked.tobytes().hex()
    scheduler = switch_scheduler(pipeline.scheduler, run.scheduler)
    return digest("samples with cost", weights.hexdigest(), scheduler.to_json_string(), facts)


Z = 1.96
"""Standard deviations to either side of a 95 % interval."""


class Excess(NamedTuple):
    """A paired difference and the half width of its 95 % interval, from resampling."""

    value: float
    half: float

    @property
    def sign(self) -> int:
        """-1 or 1 if the interval lies on one side of 0, else 0."""
        return int(np.sign(self.value)) if abs(self.value) > self.half else 0

    def __str__(self) -> str:
        return f"{self.value:+.3f} ± {self.half:.3f}"


@dataclass(frozen=True)
class Scores:
    """Of one run. ``resampled``: the Frechet distance over resamplings, ``(R,)``, the same rows in every run."""

    frechet: float
    resampled: NDArray[np.float64]
    kernel: float
    kernel_error: float
    accuracy: float
    precision: float
    recall: float

    @property
    def error(self) -> float:
        """Standard deviation of the Frechet distance."""
        return float(self.resampled.std(ddof=1))

    def beyond(self, other: Scores) -> Excess:
        """By how much the Frechet distance exceeds another run's."""
        return Excess(self.frechet - other.frechet, Z * float((self.resampled - other.resampled).std(ddof=1)))


def measure(faces: Faces, images: NDArray[Any], attributes: NDArray[np.uint8], resamplings: int) -> Scores:
    """Scores of pictures ``(N, H, W, 3)`` that were asked for with ``attributes`` ``(N, K)``."""
    features = faces.judge.features(images)
    rng = np.random.default_rng(0)  # the same rows for every run of N pictures
    rows = rng.integers(0, len(features), (resamplings, len(features)))
    kernel = kernel_distance(features, faces.reference)
    manifold = manifold_scores(faces.reference[: len(features)], features)
    return Scores(
        frechet=frechet_distance(features, faces.reference),
        resampled=np.array([frechet_distance(features[picked], faces.reference) for picked in rows]),
        kernel=kernel.value,
        kernel_error=kernel.standard_error,
        accuracy=float(np.nanmean(balanced_accuracy(faces.judge.predict(images)[:, faces.columns], attributes))),
        precision=manifold.precision,
        recall=manifold.recall,
    )


@dataclass(frozen=True)
class Study:
    """All runs, the paper's first; the steps of that one whose x0* was measured, and their scores; real faces'."""

    scores: dict[Run, Scores]
    seconds: dict[Run, float]
    kept: tuple[int, ...]
    along: list[Scores]
    real: Scores

    @property
    def paper(self) -> Run:
        return next(iter(self.scores))

    @property
    def unguided(self) -> list[Run]:
        """Those with the paper's guidance."""
        return [run for run in self.scores if run.guidance == self.paper.guidance]

    @property
    def best(self) -> Run:
        """Of these, the one with the least Frechet distance."""
        return min(self.unguided, key=lambda run: self.scores[run].frechet)

    @property
    def tied(self) -> list[Run]:
        """The best one and those that cannot be told from it."""
        return [run for run in self.unguided if not self.scores[run].beyond(self.scores[self.best]).sign]


FACES = 6


@dataclass(frozen=True)
class Config:
    """Settings of Figure 6."""

    seed: int = 0
    model: str = "$GAUSSMIX_MODEL"
    """A model's or a training run's folder; the model in the package where the variable is not set."""
    data: str = "$GAUSSMIX_CELEBA"
    """Folder of the model's faces; where the variable is not set, the one that the model was trained on."""
    pictures: int = 400
    """Of each sampler and number of steps."""
    reference: int = 4000
    """Unseen faces that they are compared with."""
    samplers: tuple[str, ...] = (
        *("renoise 100", "renoise 20", "ddpm 100", "ddpm 20", "ddim 20", "ddim 10"),
        *("dpm++ 20", "dpm++ 10", "dpm++ 8", "dpm++ 5"),
    )
    """Name and number of steps. The first is the paper's: it is shown step by step, and the others are held to it."""
    guidance: float = 1.0
    """1: none, as the paper."""
    guidances: tuple[float, ...] = (1.5, 2.0)
    """Guidance scales tried with the default sampler."""
    resamplings: int = 200
    faces: int = 0
    """Avatars that the judge learns from; 0: as many as the model did."""
    judge_steps: int = STEPS
    runs: str = "runs/reproduce"
    """Folder of the pictures: what is in it is not drawn again. Empty: nothing is kept."""

    @property
    def folder(self) -> Path | None:
        """The model's folder, if one is given."""
        path = os.path.expandvars(self.model)
        return Path(path).expanduser() if path and "$" not in path else None

    def plan(self, timesteps: int) -> list[Run]:
        """All that is drawn, the paper's first."""
        named = [name.split() for name in self.samplers]
        plain: list[Any] = [(name, int(steps), self.guidance) for name, steps in named]
        default = default_steps("dpm++", timesteps)
        wanted = [*plain, *(("dpm++", default, scale) for scale in (self.guidance, *self.guidances))]
        return [Run(*one) for one in dict.fromkeys(wanted)]

    @property
    def n_steps(self) -> int:
        return 1 + len(self.plan(100))

    def quick(self) -> Config:
        samplers = ("renoise 4", "ddpm 4", "ddim 4", "dpm++ 4", "dpm++ 2")
        small = replace(self, pictures=8, reference=40, samplers=samplers, guidances=(2.0,), resamplings=5)
        return replace(small, model="", data="", faces=60, judge_steps=3, runs="")


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 6 and the speed of sampling."""
    pipeline = AttributeDiffusionPipeline.load(config.folder)
    faces = read_faces(
        pipeline,
        data=config.data,
        count=config.pictures,
        reference=config.reference,
        known=config.faces or None,
        judge_steps=config.judge_steps,
    )
    on_step(1)
    plan = config.plan(int(pipeline.scheduler.config["num_train_timesteps"]))
    kept = kept_steps(plan[0].steps)
    scores: dict[Run, Scores] = {}
    seconds: dict[Run, float] = {}
    estimates, costs = np.empty(0, np.uint8), []
    with runs_under(config.runs) as folder:
        for i, one in enumerate(plan):
            drawn = draw_run(
                pipeline, one, faces.asked, seed=config.seed, folder=folder / "samples", kept_steps=() if i else kept
            )
            estimates = estimates if i else drawn.estimates
            seconds[one] = drawn.seconds
            costs.append((drawn.cost, drawn.kept))
            scores[one] = measure(faces, drawn.images, faces.asked, config.resamplings)
            on_step(2 + i)
    along = [measure(faces, np.asarray(images), faces.asked, config.resamplings) for images in estimates]
    real = measure(faces, faces.control, faces.asked, config.resamplings)
    study = Study(scores, seconds, kept, along, real)
    shown = sorted(shown_steps(plan[0].steps))
    return Result(
        title="D Figure 6: x0* along the way, and quality by number of steps",
        about=f"Pictures of one model (trained on {faces.source}) by four samplers, against faces that it has not "
        "seen. The judge, a classifier trained on the model's training faces, gives features and accuracy.",
        ours=_numbers(study),
        paper={"claim": "x0* from steps 80-100 reach similar generation quality", "steps": 100},
        tables=(_quality_table(study), _path_table(study)),
        readings=_readings(config, faces, costs),
        findings=_findings(study),
        pictures=(
            Picture(
                "",
                f"As Figure 6: x0* at some of the {plan[0].steps} steps of Eq. 10, a row a face.",
                lambda: draw_path(estimates[[kept.index(step) for step in shown], :FACES], shown),
            ),
            Picture(
                "-quality",
                "Frechet distance to unseen faces (lower is better) by number of steps and by CPU time, and of x0* "
                "along the steps of Eq. 10. Bars and band: 95 %, other pictures. Dotted: the real faces.",
                lambda: draw_quality(study),
            ),
        ),
    )


def kept_steps(steps: int) -> tuple[int, ...]:
    """Steps, counted from 1, whose x0* is measured: ten parts of the way, and more at the end."""
    spread = np.linspace(1, steps, 11).round().astype(int)
    return tuple(sorted({*map(int, spread), *(max(1, round(steps * share)) for share in (0.8, 0.85, 0.9, 0.95))}))


def shown_steps(steps: int) -> set[int]:
    """The ten of them that are drawn."""
    return {int(step) for step in np.linspace(1, steps, 11).round()}


def _numbers(study: Study) -> dict[str, Any]:
    def plain(one: Scores) -> dict[str, float]:
        return {
            "frechet_distance": one.frechet,
            "error": one.error,
            "kernel_distance": one.kernel,
            "kernel_error": one.kernel_error,
            "accuracy": one.accuracy,
            "precision": one.precision,
            "recall": one.recall,
        }

    return {
        "real": plain(study.real),
        "runs": {
            _named(run): {"cpu_seconds_an_image": study.seconds[run], **plain(scores)}
            for run, scores in study.scores.items()
        },
        "estimates_by_step": {str(step): plain(one) for step, one in zip(study.kept, study.along, strict=True)},
    }


def _named(one: Run) -> str:
    return f"{one.scheduler} {one.steps}" + ("" if one.guidance == 1 else f", guidance {one.guidance:g}")


def _quality_table(study: Study) -> Table:
    rows = []
    for run, scores in study.scores.items():
        difference = "" if run is study.paper else str(scores.beyond(study.scores[study.paper]))
        rows.append((_named(run), 1000 * study.seconds[run], *_cells(scores), difference))
    rows.append(("real faces with these attributes", None, *_cells(study.real), ""))
    columns = ("sampler and steps", "CPU ms an image", *_HEADINGS, f"beyond {_named(study.paper)}")
    return Table("Quality by sampler and number of steps", columns, tuple(rows))


_HEADINGS = ("Frechet distance", "kernel distance", "accuracy", "precision", "recall")


def _cells(one: Scores) -> tuple[str, str, float, float, float]:
    frechet = f"{one.frechet:.3f} ± {Z * one.error:.3f}"
    kernel = f"{1000 * one.kernel:.2f} ± {Z * 1000 * one.kernel_error:.2f} e-3"
    return frechet, kernel, one.accuracy, one.precision, one.recall


def _path_table(study: Study) -> Table:
    rows = []
    for step, scores in zip(study.kept, study.along, strict=True):
        rows.append((float(step), *_cells(scores), str(scores.beyond(study.along[-1]))))
    return Table(f"x0* along {_named(study.paper)}", ("step", *_HEADINGS, "beyond the last step"), tuple(rows))


def _readings(config: Config, faces: Faces, costs: list[tuple[float, bool]]) -> tuple[str, ...]:
    earlier = sum(cost for cost, kept in costs if kept)
    return (
        "Steps are counted as the paper draws them, from 1 (noise) to 100 (picture), so step s estimates x0 from "
        "t = 101 - s. Eq. 10 is read with its indices restored: the estimate is noised to t - 1.",
        f"{len(faces.asked)} pictures a row, asked for with the attributes of as many unseen faces; Z and starting "
        f"noise of picture i are the same in every row. {len(faces.reference)} other unseen faces are the real side of "
        "the Frechet and the kernel distance; precision and recall take as many of them as there are pictures, k = 5. "
        "The Frechet distance is biased by the number of pictures: compare with the last row, the very faces whose "
        "attributes were asked for.",
        "± is 1.96 standard deviations over resamplings of the pictures; differences are resampled in pairs. They "
        "leave out what another model, or another judge, would change. Close to the real faces the distance has hardly "
        "a first-order term, and resampling overstates ±, 1.5 to 1.8 times in a simulation: “not told apart” does not "
        "mean equal. For another model set GAUSSMIX_MODEL, and GAUSSMIX_CELEBA for its faces.",
        "CPU time is that of the fastest batch, one thread, and includes the scheduler. Fewer steps than T are spaced "
        f"as `gaussmix sample` does. Drawing everything took {sum(cost for cost, _ in costs):.0f} s; the time below "
        f"leaves out the {earlier:.0f} s of pictures that were kept from before.",
        f"Guidance {config.guidance:g}{' (none), as the paper' if config.guidance == 1 else ''}; a scale other than 1 "
        "evaluates the network twice a step.",
    )


def _findings(study: Study) -> tuple[str, ...]:
    scores, seconds, paper = study.scores, study.seconds, study.paper
    beyond = {run: scores[run].beyond(scores[paper]) for run in study.unguided if run.scheduler == "dpm++"}
    held = "; ".join(
        f"{run.steps} steps {excess} ({100 * excess.value / scores[paper].frechet:+.1f} %, {_WORDS[excess.sign]}) in "
        f"{seconds[run] / seconds[paper]:.2f} of the time"
        for run, excess in beyond.items()
    )
    fastest = min(study.tied, key=lambda run: run.evaluations)
    late = [one for step, one in zip(study.kept, study.along, strict=True) if step >= round(0.8 * paper.steps)]
    widest = max((one.beyond(late[-1]) for one in late), key=lambda excess: abs(excess.value))
    last = list(scores)[-1]
    guided = "; ".join(
        f"{run.guidance:g}: {scores[run].frechet:.3f}, accuracy {scores[run].accuracy:.3f}, precision "
        f"{scores[run].precision:.3f}, recall {scores[run].recall:.3f}"
        for run in scores
        if (run.scheduler, run.steps) == (last.scheduler, last.steps)
    )
    return (
        f"Frechet distance of {_named(paper)}, the paper's: {scores[paper].frechet:.3f} "
        f"(the real faces with the same attributes: {study.real.frechet:.3f}). DPM-Solver++ beyond it: {held}. "
        f"{_at_or_below(beyond)}",
        f"Least: {_named(study.best)}, {scores[study.best].frechet:.3f}; {_tie(study)} The fastest of these: "
        f"{_named(fastest)}, {1000 * seconds[fastest]:.0f} ms of CPU time an image against "
        f"{1000 * seconds[paper]:.0f} of the paper's.",
        f"x0* from step {round(0.8 * paper.steps)} on: the Frechet distance is within {abs(widest.value):.3f} "
        f"(± {widest.half:.3f}) of the last step's, {100 * abs(widest.value) / late[-1].frechet:.1f} % of it. At the "
        f"first step it is {study.along[0].frechet:.1f}.",
        f"Guidance with {last.scheduler} {last.steps}, Frechet distance by scale: {guided}.",
    )


_WORDS = {-1: "lower", 0: "not told apart", 1: "higher"}


def _at_or_below(beyond: Mapping[Run, Excess]) -> str:
    """Are fewer steps of DPM-Solver++ at or below the paper's distance?"""
    signs = {excess.sign for excess in beyond.values()}
    if signs == {-1}:
        return "All are below it."
    if 1 in signs:
        return "Not all are at or below it."
    return "That they are at or below it is not shown; nor that any is above."


def _tie(study: Study) -> str:
    others = [run for run in study.tied if run != study.best]
    if not others:
        return "all others are higher."
    if len(others) == len(study.unguided) - 1:
        return f"a tie: none of the other {len(others)} can be told from it."
    return f"not told from it: {', '.join(map(_named, others))}."


LOOKS = {
    "renoise": ("Eq. 10", "#c2402a"),
    "ddpm": ("DDPM", "#d9822b"),
    "ddim": ("DDIM", "#4b9b5f"),
    "dpm++": ("DPM-Solver++", "#1f5fa8"),
}
GREY = "#555555"
_TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


def draw_path(estimates: NDArray[np.uint8], steps: Sequence[int]) -> Figure:
    """Estimates ``(S, N, H, W, 3)``: a column a step, a row a face."""
    from matplotlib.figure import Figure

    n, width = estimates.shape[1], estimates.shape[3]
    figure = Figure(figsize=(0.9 * len(steps), 0.9 * n + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.concatenate([np.concatenate(list(row), axis=1) for row in estimates.swapaxes(0, 1)]))
    axes.set_xticks([(i + 0.5) * width for i in range(len(steps))], [f"step {step}" for step in steps], fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure


def draw_quality(study: Study) -> Figure:
    """The Frechet distance by steps, by CPU time, and of x0* by step of Eq. 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    by_steps, by_time, on_the_way = figure.subplots(1, 3)
    ms = [1000 * study.seconds[run] for run in study.unguided]
    for name, (label, color) in LOOKS.items():
        mine = sorted((one for one in study.unguided if one.scheduler == name), key=lambda one: one.steps)
        distances = [study.scores[one].frechet for one in mine]
        errors = [Z * study.scores[one].error for one in mine]
        style = {"color": color, "label": label, "marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2}
        by_steps.errorbar([one.steps for one in mine], distances, errors, **style)
        by_time.errorbar([1000 * study.seconds[one] for one in mine], distances, errors, **style)
    middle = np.array([one.frechet for one in study.along])
    half = Z * np.array([one.error for one in study.along])
    on_the_way.plot(study.kept, middle, color=LOOKS["renoise"][1], marker="o", markersize=3, linewidth=1.2)
    on_the_way.fill_between(
        study.kept, middle - half, middle + half, color=LOOKS["renoise"][1], alpha=0.25, linewidth=0
    )
    for axes, title, label in (
        (by_steps, "by number of steps", "steps"),
        (by_time, "by time", "CPU milliseconds an image"),
        (on_the_way, "x0* along Eq. 10", "step"),
    ):
        _style(axes, title, label, study.real.frechet)
    for axes, values in ((by_steps, [run.steps for run in study.unguided]), (by_time, ms)):
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = [tick for tick in _TICKS if min(values) <= tick <= max(values)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    by_steps.set_ylabel("Frechet distance")
    by_steps.legend(frameon=False, fontsize=8)
    return figure


def _style(axes: Axes, title: str, label: str, real: float) -> None:
    axes.axhline(real, color=GREY, linestyle=":", linewidth=1)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
