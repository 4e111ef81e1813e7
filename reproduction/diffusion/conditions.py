"""One small diffusion model trained in several ways, and everything measured of each (for D Figures 7 and 9).

The networks of one seed share their images, the order of batches, noise levels and noise, so that what differs is the
treatment (only `pairing="fresh"` draws its Z from the same random numbers and so gets other noise). Each is measured
against the same faces, which no network has seen:

- *asked-for faces*: their attributes are the conditions of the pictures that are drawn; their pixels give the held-out
  denoising loss, and stand in the tables as what a perfect model would draw;
- *reference faces*: others, the real side of every distance. Features are those of the judge, a classifier of
  attributes trained on the training pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.data.load import AttributeDataset, load_dataset
from gaussmix.diffusion.config import TrainConfig
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import angle_weights, make_betas
from gaussmix.diffusion.train import TrainingBatches
from gaussmix.metrics.attributes import balanced_accuracy
from gaussmix.metrics.classifier import STEPS, AttributeClassifier, load_or_train_classifier
from gaussmix.metrics.distances import frechet_distance
from gaussmix.metrics.kernel_distance import kernel_distance
from gaussmix.metrics.manifolds import manifold_scores
from gaussmix.papers.conditionings import Conditioning
from reproduction.runs import Curve, drawn, run_folder, trained

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

    def recipe(self, seed: int, **changes: Any) -> TrainConfig:
        """The settings of one run; `pairing="fixed"`, the paper's, unless changed."""
        return TrainConfig(
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
) -> tuple[AttributeDiffusionPipeline, Curve, TrainConfig, Path]:
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
    settings: TrainConfig,
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
        latents = pipeline.draw_latents(len(images), generator)
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
