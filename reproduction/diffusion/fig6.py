"""D Figure 6: the estimate x0* at each step of Eq. 10; and how good pictures are by sampler and number of steps.

    x0* = (x_t - sqrt(1 - ab_t) eps) / sqrt(ab_t)

The figure shows x0* along 100 steps; the text says that those of steps 80 to 100 are of similar quality. Both are shown
for a model of this package, then the same model is sampled with Eq. 10, DDPM, DDIM and DPM-Solver++ in fewer steps.

All runs answer the same requests, the attributes of N faces that the model has not seen, with the same Z and the same
starting noise, picture by picture. They are measured against M other unseen faces, on the features of the judge; so
are the N faces themselves, which a perfect model would draw.

    d(run) = Frechet distance of the features of N pictures and of M unseen faces
    error  = standard deviation of d over resamplings of the N pictures, the same rows for every run

The M faces are the same throughout: an error says how far d would move with other pictures, not with other faces.
Close to the real faces the distance has hardly a first-order term, and resampling then overstates its error: two runs
that are not told apart may still differ.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.data.cache import digest
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw_batches
from gaussmix.diffusion.schedulers import SchedulerName, switch_scheduler
from gaussmix.metrics.classifier import balanced_accuracy
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores
from reproduction.diffusion.model import QUICK, FaceBlock, JudgedModel, PageConfig, Pictures, draw_faces, load_subject
from reproduction.page import Measured
from reproduction.runs import Rows, kept_arrays, runs_under

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "x0* from steps 80-100 reach similar generation quality", "steps": 100}
ERROR_OVERSTATED = (1.5, 1.8)
"""How many times too large the error is close to the real faces, in simulations of Gaussian features."""
SHOWN = (1, 11, 21, 31, 41, 50, 60, 70, 80, 90, 100)
"""Steps of the paper's 100, counted from 1, whose x0* is shown ..."""
KEPT = tuple(sorted((*SHOWN, 85, 95)))
"""... and measured."""
FACES = 6
Z = 1.96
"""Standard deviations to either side of a 95 % interval."""
LOOKS = {
    "renoise": ("Eq. 10", "#c2402a"),
    "ddpm": ("DDPM", "#d9822b"),
    "ddim": ("DDIM", "#4b9b5f"),
    "dpm++": ("DPM-Solver++", "#1f5fa8"),
}
_GREY = "#555555"
_TICKS = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]


class Sampling(NamedTuple):
    """One way to draw: its name, the sampler's, the number of steps, the guidance scale."""

    name: str
    scheduler: SchedulerName
    steps: int
    guidance: float


@dataclass(frozen=True)
class Config(PageConfig):
    """Settings of Figure 6."""

    pictures: int = 400
    """Of each sampler and number of steps."""
    reference: int = 4000
    """Unseen faces that they are compared with."""
    samplers: tuple[str, ...] = (
        *("renoise 100", "renoise 20", "ddpm 100", "ddpm 20", "ddim 20", "ddim 10"),
        *("dpm++ 20", "dpm++ 10", "dpm++ 8", "dpm++ 5"),
    )
    """Name and number of steps. The first is the paper's: it is shown step by step, and the others are held to it."""
    guidances: tuple[float, ...] = (1.5, 2.0)
    """Guidance scales tried with ``sampling_steps`` of DPM-Solver++."""
    step_share: float = 1.0
    """Share of all these steps that is taken: less than 1 in a quick run."""
    resamplings: int = 200
    runs: str = "runs/reproduce"
    """Folder of the pictures: what is in it is not drawn again. Empty: nothing is kept."""

    @property
    def samplings(self) -> list[Sampling]:
        """All that is drawn, the paper's first."""
        guided = [(f"dpm++ {self.sampling_steps}", scale) for scale in (self.guidance, *self.guidances)]
        found = []
        for name, guidance in dict.fromkeys([*((name, self.guidance) for name in self.samplers), *guided]):
            scheduler, steps = name.split()
            label = name if guidance == 1 else f"{name}, guidance {guidance:g}"
            found.append(Sampling(label, cast(SchedulerName, scheduler), self.taken(int(steps)), guidance))
        return found

    def taken(self, step: int) -> int:
        """Which step is taken for one of a whole run."""
        return max(1, round(step * self.step_share))

    @property
    def n_steps(self) -> int:
        return 1 + len(self.samplings)

    def quick(self) -> Config:
        small = {**QUICK, "sampling_steps": self.sampling_steps, "faces": 60, "runs": ""}
        return replace(self, **small, pictures=8, reference=40, step_share=0.05, resamplings=5)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Draw with every sampler, and score the pictures, those along the way, and real faces."""
    subject = load_subject(config)
    faces = unseen_faces(subject, config)
    on_step(1)
    samplings = config.samplings
    paper = samplings[0].name
    scores: dict[str, PictureScores] = {}
    drawn: dict[str, dict[str, Any]] = {}
    with runs_under(config.runs) as runs:
        for i, one in enumerate(samplings):
            steps, folder = () if i else tuple(map(config.taken, KEPT)), runs / "samples"
            found = draw_pictures(subject.pipeline, one, faces.asked, config.seed, folder, steps)
            drawn[one.name], scores[one.name] = found, score(subject, faces, found["images"], config.resamplings)
            on_step(2 + i)
    estimates = drawn[paper]["estimates"]
    along = [score(subject, faces, images, config.resamplings) for images in estimates]
    seconds = {name: each["seconds"] for name, each in drawn.items()}
    ours = {
        "model": subject.facts,
        "real": score(subject, faces, faces.images, config.resamplings).numbers,
        "runs": {
            name: {
                "cpu_seconds_an_image": seconds[name],
                **each.numbers,
                "beyond_paper": each.beyond(scores[paper]),
                "time_share": seconds[name] / seconds[paper],
            }
            for name, each in scores.items()
        },
        "estimates_by_step": {
            str(step): {**each.numbers, "beyond_last": each.beyond(along[-1])}
            for step, each in zip(KEPT, along, strict=True)
        },
        "error_overstated": ERROR_OVERSTATED,
        "drawing_cpu_seconds": sum(each["cost"] for each in drawn.values()),
        "kept_cpu_seconds": sum(each["cost"] for each in drawn.values() if each["kept"]),
    }
    shown = estimates[[KEPT.index(step) for step in SHOWN], :FACES]
    return Measured(ours, PAPER, {"estimates": shown, "samplings": samplings})


class UnseenFaces(NamedTuple):
    """Faces ``(N, H, W, 3)``, their attributes ``(N, K)``, which are asked for, and the judge's features of others."""

    images: Pictures
    asked: Rows
    reference: NDArray[np.float32]


def unseen_faces(subject: JudgedModel, config: Config) -> UnseenFaces:
    """Built-in faces of other seeds than the model's, or held-out ones of other data."""
    n, pipeline = config.pictures, subject.pipeline
    if pipeline.training.get("data") == "avatars":
        size, seed = subject.images.shape[1], pipeline.training.get("seed", 0)
        reference, asked = (
            load_dataset("avatars", size=size, count=count, seed=seed + i, progress=False)
            for i, count in enumerate((config.reference, n), 1)
        )
        columns = find_attributes(subject.names, asked.attribute_names)
        return UnseenFaces(asked.images, asked.attributes[:, columns], subject.judge.features(reference.images))
    rows, others = subject.held_out[:n], subject.held_out[n : n + config.reference]
    features = subject.judge.features(subject.images[others])
    return UnseenFaces(subject.images[rows], subject.attributes[rows], features)


# --- pictures


def draw_pictures(
    pipeline: AttributeDiffusionPipeline,
    sampling: Sampling,
    asked: Rows,
    seed: int,
    folder: Path,
    steps: tuple[int, ...],
) -> dict[str, Any]:
    """Draw, or read from ``folder`` what was drawn before.

    ``images`` ``(N, H, W, 3)``; ``estimates`` ``(S, N, H, W, 3)``, x0* of the given ``steps``, which count from 1;
    ``seconds``, the CPU time an image, in the fastest batch, as the others had to wait for something else; ``cost``,
    the CPU time of all of it; ``kept``, whether it was drawn before.
    """

    def drawn() -> dict[str, Any]:
        pipeline.scheduler = switch_scheduler(pipeline.scheduler, sampling.scheduler)
        images, estimates, times = [], [], [time.process_time()]
        positions = [step - 1 for step in steps]
        for batch in draw_batches(
            pipeline, asked, seed=seed, steps=sampling.steps, guidance=sampling.guidance, trajectory=bool(positions)
        ):
            times.append(time.process_time())
            images.append(batch.images)
            if batch.trajectory is not None:
                estimates.append(batch.trajectory[positions])
        along = np.concatenate(estimates, 1) if estimates else np.empty((0, *images[0].shape), np.uint8)
        seconds = np.diff(times) / [len(each) for each in images]
        cost = time.process_time() - times[0]
        return {"images": np.concatenate(images), "estimates": along, "seconds": seconds.min(), "cost": cost}

    key = _fingerprint(pipeline, sampling, seed, steps, asked.shape, asked.tobytes().hex())
    file = folder / f"{key}.npz"
    before = {"kept": file.is_file()}
    found = kept_arrays(file, drawn)
    return {**found, "seconds": float(found["seconds"]), "cost": float(found["cost"]), **before}


def _fingerprint(pipeline: AttributeDiffusionPipeline, sampling: Sampling, *asked: Any) -> str:
    """Of the weights, the scheduler's noise levels and everything that was asked for."""
    weights = hashlib.blake2b(digest_size=16)
    for tensor in pipeline.network.state_dict().values():
        weights.update(tensor.cpu().numpy().tobytes())
    scheduler = switch_scheduler(pipeline.scheduler, sampling.scheduler)
    return digest("samples with cost", weights.hexdigest(), scheduler.to_json_string(), (*sampling[1:], *asked))


# --- scores


class PictureScores(NamedTuple):
    """Of one way to draw: its numbers, and the Frechet distance over resamplings ``(R,)``, the same rows in every."""

    numbers: dict[str, float]
    resampled: FloatArray

    def beyond(self, other: PictureScores) -> dict[str, float]:
        """By how much the Frechet distance exceeds another's, half of its 95 % interval, and as a share of it."""
        mean = self.numbers["frechet_distance"] - other.numbers["frechet_distance"]
        half = Z * float((self.resampled - other.resampled).std(ddof=1))
        return {"mean": mean, "half": half, "share": mean / other.numbers["frechet_distance"]}


def score(subject: JudgedModel, faces: UnseenFaces, images: Pictures, resamplings: int) -> PictureScores:
    """Scores of pictures ``(N, H, W, 3)`` of the asked-for faces."""
    features = subject.judge.features(images)
    rng = np.random.default_rng(0)  # the same rows for every way to draw N pictures
    rows = rng.integers(0, len(features), (resamplings, len(features)))
    resampled = np.array([frechet_distance(features[picked], faces.reference) for picked in rows])
    error = float(resampled.std(ddof=1))
    kernel = kernel_distance(features, faces.reference)
    manifold = manifold_scores(faces.reference[: len(features)], features)
    accuracy = balanced_accuracy(subject.predict(images), faces.asked)
    numbers = {
        "frechet_distance": frechet_distance(features, faces.reference),
        "error": error,
        "half": Z * error,
        "kernel_distance": kernel.value,
        "kernel_error": kernel.standard_error,
        "kernel_half": Z * kernel.standard_error,
        "accuracy": float(np.nanmean(accuracy)),
        "precision": manifold.precision,
        "recall": manifold.recall,
    }
    return PictureScores(numbers, resampled)


# --- pictures of the page


def draw(measured: Measured) -> dict[str, Figure]:
    """Return x0* along the way, and the Frechet distance by steps and time."""
    faces = FaceBlock("", measured.seen["estimates"].swapaxes(0, 1), columns=[f"step {step}" for step in SHOWN])
    return {
        "": draw_faces("x0* along the steps of Eq. 10", faces),
        "-quality": _draw_quality(measured.ours, measured.seen["samplings"]),
    }


def _draw_quality(ours: Mapping[str, Any], samplings: Sequence[Sampling]) -> Figure:
    """The Frechet distance by steps, by CPU time, and of x0* by step of Eq. 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    by_steps, by_time, on_the_way = figure.subplots(1, 3)
    unguided = [one for one in samplings if one.guidance == samplings[0].guidance]
    ms = {one: 1000 * ours["runs"][one.name]["cpu_seconds_an_image"] for one in unguided}
    for name, (label, color) in LOOKS.items():
        mine = sorted((one for one in unguided if one.scheduler == name), key=lambda one: one.steps)
        runs = [ours["runs"][one.name] for one in mine]
        distances, halves = [run["frechet_distance"] for run in runs], [run["half"] for run in runs]
        style = {"color": color, "label": label, "marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2}
        by_steps.errorbar([one.steps for one in mine], distances, halves, **style)
        by_time.errorbar([ms[one] for one in mine], distances, halves, **style)
    along = ours["estimates_by_step"]
    steps, color = list(map(int, along)), LOOKS["renoise"][1]
    middle, half = (np.array([each[key] for each in along.values()]) for key in ("frechet_distance", "half"))
    on_the_way.plot(steps, middle, color=color, marker="o", markersize=3, linewidth=1.2)
    on_the_way.fill_between(steps, middle - half, middle + half, color=color, alpha=0.25, linewidth=0)
    for axes, title, label in (
        (by_steps, "by number of steps", "steps"),
        (by_time, "by time", "CPU milliseconds an image"),
        (on_the_way, "x0* along Eq. 10", "step"),
    ):
        axes.axhline(ours["real"]["frechet_distance"], color=_GREY, linestyle=":", linewidth=1)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, values in ((by_steps, [one.steps for one in unguided]), (by_time, list(ms.values()))):
        axes.set_xscale("log")
        axes.minorticks_off()
        ticks = [tick for tick in _TICKS if min(values) <= tick <= max(values)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    by_steps.set_ylabel("Frechet distance")
    by_steps.legend(frameon=False, fontsize=8)
    return figure
