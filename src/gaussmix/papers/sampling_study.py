"""Pictures of one trained model by several samplers and numbers of steps, and how good they are (for D Figure 6).

All runs answer the same requests, the attributes of N faces that the model has not seen, with the same Z and the same
starting noise, picture by picture. They are measured against M other unseen faces, on the features of the judge; so
are the N faces themselves, which a perfect model would draw.

    d(run) = Frechet distance of the features of N pictures and of M unseen faces
    error  = standard deviation of d over resamplings of the N pictures, the same rows for every run

The M faces are the same throughout: an error says how far d would move with other pictures, not with other faces.
Close to the real faces the distance has hardly a first-order term, and resampling then overstates its error, 1.5 to 1.8
times in simulations of Gaussian features: two runs that are not told apart may still differ.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.data.cache import digest
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw_batches
from gaussmix.diffusion.schedulers import SchedulerName, switch_scheduler
from gaussmix.metrics.attributes import balanced_accuracy
from gaussmix.metrics.classifier import AttributeClassifier, load_or_train_classifier
from gaussmix.metrics.distances import frechet_distance
from gaussmix.metrics.kernel_distance import kernel_distance
from gaussmix.metrics.manifolds import manifold_scores
from gaussmix.whole_file import whole_file
from reproduction.diffusion.model import source_of

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
