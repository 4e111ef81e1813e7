"""The models that D's figures are judged on: one network trained in several ways, each to its end, and judged.

An *arm* is one way to train: what the network is told of a picture, and how Z is paired with it. Every page takes its
models from here, so that arms which two figures share are trained once. The networks of one seed share their pictures,
the order of batches, noise levels and noise, so that what differs is the arm (only fresh Z draw from the same random
numbers and so shift the noise); arms are compared seed by seed. All weigh the pixels alike.

Each is measured against the same faces, which no network has seen:

- *asked-for faces*: their attributes are the conditions of the pictures that are drawn; their pixels give the held-out
  denoising loss, and stand in the tables as what a perfect model would draw;
- *reference faces*: others, the real side of every distance. Features are those of the judge, a classifier of
  attributes trained on the training pictures.

What has been measured of a run is kept beside it as JSON: a study that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix._files import whole_file
from gaussmix.data.base import AttributeDataset
from gaussmix.data.cache import digest
from gaussmix.data.load import load_dataset
from gaussmix.diffusion.batches import TrainingBatches
from gaussmix.diffusion.codec import to_pixels
from gaussmix.diffusion.config import PRESETS, DiffusionConfig
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.schedulers import angle_weights
from gaussmix.metrics.classifier import STEPS, AttributeClassifier, balanced_accuracy, load_or_train_classifier
from gaussmix.metrics.detail import measure_detail
from gaussmix.metrics.distances import frechet_distance, kernel_distance
from gaussmix.metrics.manifolds import manifold_scores
from reproduction.diffusion import conditions
from reproduction.diffusion.conditions import Conditioning
from reproduction.runs import Curve, Rows, counted, kept_arrays, run_folder, runs_under, trained
from reproduction.statistics import Row

Images = NDArray[np.uint8]
SIZE = 32
LAST = 0.2
"""Share of the training steps, the last, that the training loss is averaged over."""
SHOWN = 48
"""Pictures of each run that are kept for the pages."""
_BATCH = 50


@dataclass(frozen=True)
class Arm:
    """One way to train: what the network is ``told``, and changes to the recipe."""

    told: str = "features"
    changes: dict[str, Any] = field(default_factory=dict)


_MATCHED = {"pairing": "matched", "redraw_details": 0.3}
ARMS: dict[str, Arm] = {
    "fixed": Arm(),  # D: features, three Gaussians, Z drawn once for each picture
    "matched": Arm(changes=_MATCHED),  # ours: Z that describes the picture
    "clusters": Arm("clusters"),
    "multi_hot": Arm(changes={"conditioning": "multi_hot"}),
    "fixed_1": Arm(changes={"n_components": 1}),  # one Gaussian of the same variance
    "matched_1": Arm(changes={**_MATCHED, "n_components": 1}),
    "seen_bce": Arm(changes={"classifier_weight": 0.1}),
    "blind_bce": Arm(changes={"classifier_weight": 0.1, "classifier_pass": "unconditioned"}),
    "category": Arm("category"),
    "nothing": Arm("nothing"),
    "fresh": Arm(changes={"pairing": "fresh"}),
    "seen_ngmg": Arm(changes={"classifier_weight": 0.1, "classifier_loss": "ngmg"}),
    "blind_ngmg": Arm(
        changes={"classifier_weight": 0.1, "classifier_loss": "ngmg", "classifier_pass": "unconditioned"}
    ),
    "matched_6": Arm(changes={**_MATCHED, "n_components": 6}),
}
"""In the order in which they are trained."""


@dataclass(frozen=True)
class StudyConfig:
    """Settings that all pages have: how the models are trained and judged."""

    arms: ClassVar[tuple[str, ...]] = ()
    """Those that the page is made of."""

    seed: int = 0
    """Of the faces; the runs take this seed and the next ones."""
    repetitions: int = 5
    """Runs of each arm."""
    train_missing: bool = True
    """Train what is not there; otherwise the page rests on the runs that are finished."""
    avatars: int = 4000
    """Built-in faces, four fifths of them for training."""
    training_steps: int = 2800
    batch_size: int = 32
    width: int = 128
    """Channels of the transformer."""
    pictures: int = 2000
    """Asked-for faces, and pictures drawn from each model."""
    reference: int = 2000
    """Reference faces."""
    rows: int = 32
    """Rows of attributes whose pictures are compared among themselves."""
    sampling_steps: int = 10
    """Of DPM-Solver++."""
    guidance: float = 1.0
    """1: none, as in the paper."""
    judge_steps: int = STEPS
    """Training steps of the judge."""
    runs: str = "runs/reproduce"
    """Folder of the runs: what is in it is not trained again. Empty: nothing is kept."""

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.seed + i for i in range(self.repetitions))

    @property
    def n_steps(self) -> int:
        """Runs."""
        return self.repetitions * len(self.arms)

    def quick(self) -> Self:
        """Seconds instead of hours."""
        return replace(
            self, repetitions=1, avatars=60, training_steps=4, batch_size=4, width=8, pictures=70, reference=80, rows=3,
            sampling_steps=2, judge_steps=4, runs="",
        )  # fmt: skip

    def recipe(self, seed: int, **changes: Any) -> DiffusionConfig:
        """The settings of one run: the preset of the transformer, with D's pairing and all pixels alike."""
        settings = {
            "size": SIZE, "seed": seed, "count": None, "steps": self.training_steps, "batch_size": self.batch_size,
            "width": self.width, "pairing": "fixed", "detail_weight": 0.0, "redraw_details": 0.0, "guidance": 1.0,
            "keep_checkpoints": 1, "log_every": 1, "sample_every": 0, "reader_steps": 0,
        }  # fmt: skip
        return replace(PRESETS["transformer"], **settings | changes)

    @property
    def judging(self) -> tuple[Any, ...]:
        """What decides the measures of a run, beside the run."""
        names = "seed", "avatars", "pictures", "reference", "rows", "sampling_steps", "guidance", "judge_steps"
        return tuple(getattr(self, name) for name in names)


class Faces(NamedTuple):
    """Pictures to train on, the asked-for faces ``(M, H, W, 3)`` and their attributes ``(M, K)``, the reference faces
    ``(R, H, W, 3)``, the judge, and its features of these ``(R, D)``."""

    dataset: AttributeDataset
    asked: Images
    attributes: Rows
    reference: Images
    judge: AttributeClassifier
    features: NDArray[np.float32]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.dataset.attribute_names)

    @property
    def training(self) -> Rows:
        """Attributes of the training pictures."""
        return self.dataset.attributes[self.dataset.indices("train")]


def avatar_faces(config: StudyConfig) -> Faces:
    """Built-in faces; those measured against are of a seed that no run uses."""
    return _avatar_faces(config.seed, config.avatars, config.pictures, config.reference, config.judge_steps)


@lru_cache(maxsize=1)
def _avatar_faces(seed: int, avatars: int, pictures: int, reference: int, judge_steps: int) -> Faces:
    dataset = load_dataset("avatars", size=SIZE, count=avatars, seed=seed, progress=False)
    others = load_dataset("avatars", size=SIZE, count=pictures + reference, seed=seed + 1000, progress=False)
    images = np.array(others.images)
    return gather(dataset, images[:pictures], others.attributes[:pictures], images[pictures:], judge_steps)


def gather(dataset: AttributeDataset, asked: Images, attributes: Rows, reference: Images, judge_steps: int) -> Faces:
    """Train the judge on ``dataset``, or find it in the cache, and take the features of the ``reference`` faces."""
    judge, _ = load_or_train_classifier(dataset, steps=judge_steps, progress=False)
    return Faces(dataset, asked, attributes, reference, judge, judge.features(reference))


@dataclass(frozen=True)
class Study:
    """The runs on some faces, which lie under ``folder``."""

    config: StudyConfig
    faces: Faces
    folder: Path

    @cached_property
    def rules(self) -> dict[str, Conditioning]:
        """What a network may be told."""
        rows, names, seed = self.faces.training, self.faces.names, self.config.seed
        return {
            "nothing": conditions.nothing(),
            "category": conditions.categories(rows, names),
            "clusters": conditions.clusters(rows, rows.shape[1], seed),
            "features": conditions.features(names),
        }

    @cached_property
    def asked_features(self) -> NDArray[np.float32]:
        """The judge's features of the asked-for faces."""
        return self.faces.judge.features(self.faces.asked)

    def run(self, arm: str, seed: int) -> Run:
        """One arm with one seed; trained, or read, when its model is asked for."""
        rule = self.rules[ARMS[arm].told]
        return Run(self, arm, rule, self.config.recipe(seed, **ARMS[arm].changes), rule.of(self.faces.dataset))

    def runs(self, arms: Sequence[str]) -> Iterator[tuple[str, int, Run]]:
        """All of some arms, seed by seed, so that an early look shows all arms; without ``train_missing`` those that
        are finished."""
        for seed in self.config.seeds:
            for arm in arms:
                run = self.run(arm, seed)
                if self.config.train_missing or run.finished:
                    yield arm, seed, run

    def first(self, *arms: str) -> Run:
        """The run of the first seed, of the first of these arms that there is. Raises ValueError if there is none, and
        none may be trained."""
        for arm in arms:
            for _, _, run in self.runs([arm]):
                return run
        raise ValueError(f"no run of {' or '.join(arms)} is finished under {self.folder}; leave out --no-training")

    def table(
        self, name: str, measure: Callable[[Run], Any], arms: Sequence[str], one_more: Callable[[], None] | None = None
    ) -> dict[str, dict[int, Any]]:
        """What `Run.kept` keeps under this name, of all runs of some arms."""
        found: dict[str, dict[int, Any]] = {arm: {} for arm in arms}
        for arm, seed, run in self.runs(arms):
            found[arm][seed] = run.kept(name, measure)
            if one_more is not None:
                one_more()
        return found

    def real(self, name: str, measure: Callable[[Study], Any]) -> Any:
        """The same of real faces, kept under the folder of the runs."""
        key = digest(name, self.faces.dataset.key, *self.config.judging)
        return kept_json(self.folder / "real" / f"{name}-{key[:16]}.json", lambda: measure(self))


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    study: Study
    arm: str
    rule: Conditioning
    settings: DiffusionConfig
    dataset: AttributeDataset

    @cached_property
    def out(self) -> Path:
        """Its folder."""
        return run_folder(self.settings, self.dataset, self.study.folder)

    @property
    def finished(self) -> bool:
        return (self.out / "model" / "model_index.json").is_file()

    @cached_property
    def model(self) -> tuple[AttributeDiffusionPipeline, Curve]:
        """The model and the curve of its training."""
        return trained(self.settings, self.dataset, self.study.folder)

    @property
    def pipeline(self) -> AttributeDiffusionPipeline:
        return self.model[0]

    @cached_property
    def batches(self) -> TrainingBatches:
        """What it was trained on, with the matched latents if there are any."""
        return TrainingBatches(self.dataset, self.settings, self.out / "latents.safetensors", self.settings.batch_size)

    @cached_property
    def asked(self) -> Rows:
        """The conditions ``(M, K')`` of the asked-for faces."""
        return self.rule.apply(self.study.faces.attributes)

    @cached_property
    def pictures(self) -> Images:
        """Those drawn for the asked-for faces, ``(M, H, W, 3)``; the same Z and noise whatever is asked beside it."""
        config = self.study.config
        steps, guidance = config.sampling_steps, config.guidance
        return draw(self.pipeline, self.asked, seed=config.seed, steps=steps, guidance=guidance)[0]

    @property
    def shown(self) -> Images:
        """The first of them."""
        file = self.file("shown", "npz")
        return kept_arrays(file, lambda: {"images": self.pictures[:SHOWN]})["images"]

    def kept(self, name: str, measure: Callable[[Run], Any]) -> Any:
        """``measure(self)``, JSON-able, kept under this name in the folder of the run."""
        if not self.finished:
            self.model  # noqa: B018, trains it: its folder must be a run's before anything else lies there
        return kept_json(self.file(name, "json"), lambda: measure(self))

    def file(self, name: str, suffix: str) -> Path:
        """Where something that was measured of it is kept."""
        return self.out / "measures" / f"{name}-{digest(name, *self.study.config.judging)[:12]}.{suffix}"


def kept_json(file: Path, make: Callable[[], Any]) -> Any:
    """What is in ``file``, which is made now if it is not there."""
    if not file.is_file():
        found = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as aside:
            aside.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


@contextmanager
def study_of(config: StudyConfig) -> Iterator[Study]:
    """The study of the built-in faces."""
    with runs_under(config.runs) as folder:
        yield Study(config, avatar_faces(config), folder)


# --- judging


def quality(faces: Faces, images: Images) -> Row:
    """Measures of pictures ``(M, H, W, 3)`` for the asked-for conditions.

    The defect rate is 1 - precision; FD and KID are the Frechet and the kernel distance; the accuracy is balanced, a
    mean over the attributes asked for, and ``worst`` that of the worst of them.
    """
    features = faces.judge.features(images)
    scores = manifold_scores(faces.features, features)
    accuracy = balanced_accuracy(faces.judge.predict(images), faces.attributes)
    detail = measure_detail(images, faces.reference)
    return {
        "accuracy": float(np.nanmean(accuracy)),
        "worst": float(np.nanmin(accuracy)),
        "defect rate": scores.defect_rate,
        "recall": scores.recall,
        "density": scores.density,
        "coverage": scores.coverage,
        "FD": frechet_distance(faces.features, features),
        "KID": kernel_distance(faces.features, features).value,
        "detail": detail.detail,
        "seams": detail.seams,
    }


def judged(run: Run) -> Row:
    """Of a run: the quality of its pictures, its losses and its cost.

    The training loss is the denoising loss, mean of the last fifth of the steps, weighted as in training: it compares
    arms of one pairing. The held-out loss is `held_out_loss` of the asked-for faces.
    """
    curve = run.model[1]
    last = max(1, round(LAST * len(curve.steps)))
    return {
        **quality(run.study.faces, run.pictures),
        "training loss": float(curve.denoising[-last:].mean()),
        "held-out loss": held_out_loss(run),
        "CPU minutes": curve.cpu_seconds / 60,
    }


def real_quality(study: Study) -> Row:
    """Of the asked-for faces themselves: what a perfect model would draw."""
    return quality(study.faces, study.faces.asked)


@torch.no_grad()
def held_out_loss(run: Run) -> float:
    """Mean squared error of v of the averaged weights on the asked-for faces, in pixels of [-1, 1], weighted alike.

    What the codec leaves out is not in it. Noise levels and noise follow from the seed alone: two models see the same.
    Z are drawn as for sampling, but matched ones are read off the faces: that network knows more of the picture.
    """
    pipeline, images, seed = run.pipeline, run.study.faces.asked, run.study.config.seed
    network, alpha_bar = pipeline.network, pipeline.scheduler.alphas_cumprod.float()
    generator, count = torch.Generator().manual_seed(seed), len(images)
    chances = torch.from_numpy(angle_weights(pipeline.scheduler.betas.numpy())).float()
    levels = torch.multinomial(chances, count, True, generator=generator)
    noise = torch.randn((count, *network.state_shape), generator=generator)
    encoder = run.batches.encoder if run.settings.pairing == "matched" else None
    latents = pipeline.draw_attribute_latents(count, generator)
    if encoder is not None:
        latents = torch.from_numpy(encoder.encode(images, run.asked, seed))
    total, nothing = 0.0, network.decode(torch.zeros(1, *network.state_shape))
    for start in range(0, count, _BATCH):
        part = slice(start, start + _BATCH)
        x, eps = network.encode(to_pixels(np.array(images[part]))), noise[part]
        ab = alpha_bar[levels[part]].view(-1, 1, 1, 1)
        noisy, velocity = ab.sqrt() * x + (1 - ab).sqrt() * eps, ab.sqrt() * eps - (1 - ab).sqrt() * x
        given = torch.from_numpy(run.asked[part].astype(np.float32))
        wrong = network(noisy, levels[part], latents[part], given).sample - velocity
        total += float((network.decode(wrong) - nothing).square().mean((1, 2, 3)).sum())
    return total / count


def progress(config: StudyConfig, on_step: Callable[[int], None]) -> Callable[[], None]:
    """To be called after each run; the bar of a page never goes beyond its end."""
    return counted(lambda done: on_step(min(done, config.n_steps)))
