"""Autoencoders of labelled images, several seeds each, and everything measured of each (for E Figures 8, 9 and 10).

The data are MNIST and Fashion-MNIST where GAUSSMIX_MNIST and GAUSSMIX_FASHION_MNIST name their folders, otherwise
scikit-learn's digits of 8 x 8 pixels. Each has one judge, one reference half of its test images, and for each seed an
autoencoder with the latents of its training images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.autoencoder.config import PRESETS, AutoencoderConfig
from gaussmix.autoencoder.evaluate import Reference
from gaussmix.autoencoder.generate import LatentGenerator
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.autoencoder.train import fit_sampler, load_latents, train
from gaussmix.data.base import LabelledImages
from gaussmix.data.load import load_labelled
from gaussmix.metrics.label_classifier import STEPS, LabelClassifier, load_or_train_label_classifier
from reproduction.runs import cpu_seconds, finish, run_folder

DIGITS = "digits"


@dataclass(frozen=True)
class StudyConfig:
    """What the three figures have in common."""

    seed: int = 0
    """Of the first run and of all that is drawn; the other runs take the next ones."""
    repetitions: int = 3
    """Autoencoders of each data set."""
    mnist: str = "$GAUSSMIX_MNIST"
    """A folder with MNIST's files; left out where the variable is not set."""
    fashion_mnist: str = "$GAUSSMIX_FASHION_MNIST"
    """A folder with Fashion-MNIST's files, likewise."""
    training_steps: int | None = None
    """Of an autoencoder; those of the presets if not given."""
    judge_steps: int = STEPS
    """Of the classifier that judges."""
    pictures: int | None = None
    """Images in each row of a table; half of the test images if not given."""
    runs: str = "runs/reproduce"
    """Folder of the runs: what is in it is not trained again. Empty: nothing is kept."""

    @property
    def sources(self) -> dict[str, str]:
        """Data sets by name, with what `load_labelled` reads them from."""
        given = {
            name: os.path.expandvars(p) for name, p in (("MNIST", self.mnist), ("Fashion-MNIST", self.fashion_mnist))
        }
        found = {name: str(Path(path).expanduser()) for name, path in given.items() if path and "$" not in path}
        return found or {DIGITS: DIGITS}

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.seed + i for i in range(self.repetitions))

    def recipe(self, source: str, seed: int, **changes: Any) -> AutoencoderConfig:
        """The settings of one run: the preset of the data, by steps and not by time."""
        preset = replace(PRESETS["digits" if source == DIGITS else "mnist"], data=source, seed=seed, minutes=None)
        steps = {} if self.training_steps is None else {"steps": self.training_steps}
        return replace(preset, threads=1, **{**steps, **changes})


QUICK: dict[str, Any] = {
    "repetitions": 1,
    "mnist": "",
    "fashion_mnist": "",
    "training_steps": 60,
    "judge_steps": 60,
    "pictures": 150,
    "runs": "",
}
"""What makes a study small enough for a test."""


@dataclass
class Subject:
    """A data set with its judge."""

    name: str
    source: str
    dataset: LabelledImages
    judge: LabelClassifier
    config: StudyConfig = field(repr=False)

    @cached_property
    def reference(self) -> Reference:
        """The judge's view of test and training images."""
        return Reference(self.dataset, self.judge, count=self.config.pictures, seed=self.config.seed)

    def run(self, seed: int, folder: Path, **changes: Any) -> Run:
        """An autoencoder, trained now, trained further, or read."""
        config = self.config.recipe(self.source, seed, **changes)
        out = run_folder(config, self.dataset, folder)
        config = replace(config, output=out, resume=True)
        finish(config, out / "sampler.safetensors", lambda: train(config, self.dataset, progress=False))
        return Run(out)


@dataclass
class Run:
    """A finished run of an autoencoder."""

    out: Path

    @cached_property
    def model(self) -> ClassConditionalAutoencoder:
        return ClassConditionalAutoencoder.load(self.out)

    @cached_property
    def latents(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """z ``(N, d)`` and labels ``(N,)`` of the training images."""
        return load_latents(self.out)

    @cached_property
    def generator(self) -> LatentGenerator:
        """With the default distributions of the classes."""
        return LatentGenerator(self.model, fit_sampler(*self.latents))

    @property
    def cpu_seconds(self) -> float:
        """Of the training."""
        return cpu_seconds(self.out)


def subjects(config: StudyConfig) -> Iterator[Subject]:
    """The data sets that are given, one at a time: the larger ones fill memory."""
    torch.set_num_threads(1)
    for name, source in config.sources.items():
        dataset = load_labelled(source, progress=False)
        judge, _ = load_or_train_label_classifier(dataset, steps=config.judge_steps, progress=False)
        yield Subject(name, source, dataset, judge, config)


def data_words(config: StudyConfig) -> str:
    """Which data the page is of, and how to have others."""
    if DIGITS in config.sources:
        return (
            "Data: scikit-learn's 1797 digits of 8 x 8 pixels, a fifth of them for the test. For MNIST and "
            "Fashion-MNIST set GAUSSMIX_MNIST and GAUSSMIX_FASHION_MNIST to the folders of their files."
        )
    return f"Data: {' and '.join(config.sources)}, 60 000 images to train on and 10 000 to test."


def counted_runs(config: StudyConfig) -> int:
    """Runs of one kind over all data sets."""
    return config.repetitions * len(config.sources)


OnStep = Callable[[int], None]
