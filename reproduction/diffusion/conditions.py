"""One small diffusion model trained in several ways, and everything measured of each (D Figures 5, 7 and 9).

The networks of one seed share their images, the order of batches, noise levels and noise, so that what differs is the
treatment (only `pairing="fresh"` draws its Z from the same random numbers and so gets other noise). Each is measured
against the same faces, which no network has seen:

- *asked-for faces*: their attributes are the conditions of the pictures that are drawn; their pixels give the held-out
  denoising loss, and stand in the tables as what a perfect model would draw;
- *reference faces*: others, the real side of every distance. Features are those of the judge, a classifier of
  attributes trained on the training pictures.

What a network is told of a picture is a rule (D Sec. 3.1, Eq. 7). D's features are K attributes that overlap,
``A`` in {0, 1}^K; its classes are M_1 sets that do not, one-hot rows of which exactly one entry is 1. Each rule turns
attribute rows ``(N, K)`` into rows of 0/1 ``(N, K')``; Z is gated by them in the same way for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from networkx import find_cliques, from_numpy_array
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from gaussmix._typing import FloatArray
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
from reproduction.runs import Curve, Rows, drawn, run_folder, trained
from reproduction.statistics import difference, interval

Images = NDArray[np.uint8]
Values = dict[str, dict[str, FloatArray]]
"""By variant, by measure: (n,) values, one a seed."""

OVERLAP = 0.01
"""Attributes count as mutually exclusive if fewer than this share of the pictures has both."""
SIZE = 32
LAST = 0.2
"""Share of the training steps, the last, that the training loss is averaged over."""
_BATCH = 50

# --- what a network is told


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
    """The sets of pairwise exclusive columns that cannot be enlarged: the maximal cliques of a graph."""
    together = rows.astype(np.float32).T @ rows.astype(np.float32) / len(rows)
    exclusive = (together < OVERLAP) & ~np.eye(len(together), dtype=bool)
    return [sorted(clique) for clique in find_cliques(from_numpy_array(exclusive))]


# --- training and measuring


@dataclass(frozen=True)
class SmallModelConfig:
    """Settings of the small models and of what is measured of them."""

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
        settings = {
            "size": SIZE, "seed": seed, "pairing": "fixed", "channels": self.channels, "batch_size": self.batch_size,
            "steps": self.training_steps, "keep_checkpoints": 1, "guidance": 1.0, "log_every": 1, "reader_steps": 0,
        }  # fmt: skip
        return DiffusionConfig(**settings | changes)


QUICK: dict[str, Any] = {
    "repetitions": 1, "avatars": 60, "training_steps": 4, "batch_size": 4, "channels": (8, 8, 8), "pictures": 70,
    "reference": 80, "sampling_steps": 2, "judge_steps": 4, "runs": "",
}  # fmt: skip
"""Seconds instead of hours."""


@dataclass(frozen=True)
class Variant:
    """One way to train: the conditioning, and changes to the recipe."""

    conditioning: Conditioning
    changes: dict[str, Any] = field(default_factory=dict)


class EvaluationFaces(NamedTuple):
    """Pictures to train on, the asked-for faces ``(M, H, W, 3)`` and their attributes ``(M, K)``, the judge, and its
    features of the reference faces ``(R, D)``."""

    dataset: AttributeDataset
    asked: Images
    attributes: Rows
    judge: AttributeClassifier
    features: NDArray[np.float32]


def avatar_faces(config: SmallModelConfig) -> EvaluationFaces:
    """Built-in faces; those measured against are of a seed that no run uses."""
    count = config.pictures + config.reference
    dataset = load_dataset("avatars", size=SIZE, count=config.avatars, seed=config.seed, progress=False)
    others = load_dataset("avatars", size=SIZE, count=count, seed=config.seed + 1000, progress=False)
    images, n = np.array(others.images), config.pictures
    return gather(dataset, images[:n], others.attributes[:n], images[n:], config.judge_steps)


def gather(
    dataset: AttributeDataset, asked: Images, attributes: Rows, reference: Images, judge_steps: int
) -> EvaluationFaces:
    """Train the judge on ``dataset``, or find it in the cache, and take the features of the ``reference`` faces."""
    judge, _ = load_or_train_classifier(dataset, steps=judge_steps, progress=False)
    return EvaluationFaces(dataset, asked, attributes, judge, judge.features(reference))


def quality(faces: EvaluationFaces, images: Images) -> dict[str, float]:
    """Measures of pictures ``(M, H, W, 3)`` for the asked-for conditions.

    The defect rate is 1 - precision; FD and KID are the Frechet and the kernel distance; the accuracy is balanced, a
    mean over the attributes asked for.
    """
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


class MeasuredRun(NamedTuple):
    """One run: its measures by name, its curve, and its pictures ``(M, H, W, 3)``, M = 0 if none were drawn."""

    values: dict[str, float]
    curve: Curve
    pictures: Images


@dataclass(frozen=True)
class SmallModelStudy:
    """The runs of one data set, which lie under ``folder``."""

    config: SmallModelConfig
    faces: EvaluationFaces
    folder: Path

    def train(self, variant: Variant, seed: int) -> tuple[AttributeDiffusionPipeline, Curve, DiffusionConfig, Path]:
        """Train, or read, one variant with one seed: the model, its curve, its settings and the folder of the run."""
        dataset = variant.conditioning.of(self.faces.dataset)
        settings = self.config.recipe(seed, **variant.changes)
        pipeline, curve = trained(settings, dataset, self.folder)
        return pipeline, curve, settings, run_folder(settings, dataset, self.folder)

    def measure(self, variant: Variant, seed: int, *, draws: bool = True) -> MeasuredRun:
        """Train one variant with one seed, or read it, and measure its losses and, if it ``draws``, its pictures.

        The training loss is the denoising loss, mean of the last fifth of the steps; the held-out loss is that of the
        asked-for faces, with the same noise for every run.
        """
        pipeline, curve, settings, out = self.train(variant, seed)
        config, asked = self.config, self.faces.asked
        conditions = variant.conditioning.apply(self.faces.attributes)
        images, values = asked[:0], {}
        if draws:
            steps, guidance = config.sampling_steps, config.guidance
            images = drawn(pipeline, conditions, out, seed=config.seed, steps=steps, guidance=guidance)
            values = quality(self.faces, images)
        dataset = variant.conditioning.of(self.faces.dataset)
        encoder = TrainingBatches(dataset, settings, out / "latents.safetensors", settings.batch_size).encoder
        latents = None  # drawn, as in training ...
        if encoder is not None:  # ... unless they were read off the pictures
            latents = torch.from_numpy(encoder.encode(asked, conditions, config.seed))
        last = max(1, round(LAST * len(curve.steps)))
        values["training loss"] = float(curve.denoising[-last:].mean())
        values["held-out loss"] = held_out_loss(pipeline, settings, asked, conditions, config.seed, latents)
        return MeasuredRun(values, curve, images)

    def measure_all(
        self, variants: Mapping[str, Variant], one_more: Callable[[], None], *, draws: bool = True
    ) -> dict[str, list[MeasuredRun]]:
        """All runs by variant, seed by seed so that an early look shows all variants."""
        runs: dict[str, list[MeasuredRun]] = {name: [] for name in variants}
        for seed in self.config.seeds:
            for name, variant in variants.items():
                runs[name].append(self.measure(variant, seed, draws=draws))
                one_more()
        return runs


@torch.no_grad()
def held_out_loss(
    pipeline: AttributeDiffusionPipeline,
    settings: DiffusionConfig,
    images: Images,
    conditions: Rows,
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
        answer = pipeline.network(noisy, levels[part], latents[part], given).sample
        total += float((answer - velocity).square().mean((1, 2, 3)).sum())
    return total / len(images)


# --- numbers for a page


def by_measure(
    runs: Mapping[str, Sequence[MeasuredRun]],
    measures: Callable[[MeasuredRun], Mapping[str, float]] = lambda run: run.values,
) -> Values:
    """The measures of each variant's runs as arrays over the seeds."""
    rows = {name: [measures(run) for run in each] for name, each in runs.items()}
    return {name: {key: np.array([row[key] for row in each]) for key in each[0]} for name, each in rows.items()}


def summaries(values: Values) -> dict[str, dict[str, dict[str, Any]]]:
    """By variant and measure: the mean over the seeds, half of its 95 % interval, and the value of each run."""
    return {
        name: {key: {**interval(each)._asdict(), "runs": each} for key, each in measures.items()}
        for name, measures in values.items()
    }


def differences(values: Values, controls: Mapping[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """By variant of ``controls`` and measure: the variant minus its control, seed by seed, mean and half interval."""
    return {
        name: {key: difference(each, values[control][key])._asdict() for key, each in values[name].items()}
        for name, control in controls.items()
    }
