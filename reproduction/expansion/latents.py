"""Autoencoders of MNIST and of Fashion-MNIST, several seeds each, and what E Figures 8, 9 and 10 measure of them.

GAUSSMIX_MNIST and GAUSSMIX_FASHION_MNIST name the folders of the data; in a quick run scikit-learn's digits of 8 x 8
pixels stand in for both. Each has one judge, one reference half of its test images, and for each seed an autoencoder
with the latents of its training images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaussmix.autoencoder.config import PRESETS, AutoencoderConfig
from gaussmix.autoencoder.evaluate import Reference
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.autoencoder.train import train
from gaussmix.data.base import DataError
from gaussmix.data.load import load_labelled
from gaussmix.metrics.classifier import STEPS, load_or_train_label_classifier
from reproduction.diffusion.faces import FaceBlock, draw_faces
from reproduction.runs import finish, run_folder, runs_under
from reproduction.statistics import interval

DIGITS = "digits"


@dataclass(frozen=True)
class LatentPageConfig:
    """What the three figures have in common."""

    seed: int = 0
    """Of the first run and of all that is drawn; the other runs take the next ones."""
    repetitions: int = 3
    """Autoencoders of each data set."""
    mnist: str = "$GAUSSMIX_MNIST"
    """A folder with MNIST's files, or "digits" for scikit-learn's in their place."""
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
        """Data sets by name, with what `load_labelled` reads them from. Raises DataError for one that is not given."""
        found = {}
        for name, given in (("MNIST", self.mnist), ("Fashion-MNIST", self.fashion_mnist)):
            path = os.path.expandvars(given)
            if not path or "$" in path:
                hint = f"set it to the folder of {name}'s files, or to {DIGITS} to try the page out with small images"
                raise DataError(f"{given} is not set; {hint}")
            found[name] = str(Path(path).expanduser())
        return found

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.repetitions)

    @property
    def n_steps(self) -> int:
        """Autoencoders, one a seed of each data set."""
        return self.repetitions * len(self.sources)

    def recipe(self, source: str, seed: int, **changes: Any) -> AutoencoderConfig:
        """The settings of one run: the preset of the data, by steps and not by time."""
        preset = replace(PRESETS["digits" if source == DIGITS else "mnist"], data=source, seed=seed, minutes=None)
        steps = {} if self.training_steps is None else {"steps": self.training_steps}
        return replace(preset, threads=1, **{**steps, **changes})


QUICK: dict[str, Any] = {
    "repetitions": 1,
    "mnist": DIGITS,
    "fashion_mnist": DIGITS,
    "training_steps": 60,
    "judge_steps": 60,
    "pictures": 150,
    "runs": "",
}
"""What makes a page small enough for a test."""


class JudgedImages:
    """A data set with its judge, which is trained if the cache does not hold it; its runs lie under ``folder``."""

    def __init__(self, name: str, source: str, config: LatentPageConfig, folder: Path):
        torch.set_num_threads(1)
        self.name, self.source, self.config, self.folder = name, source, config, folder
        self.dataset = load_labelled(source, progress=False)
        self.judge, _ = load_or_train_label_classifier(self.dataset, steps=config.judge_steps, progress=False)

    @cached_property
    def reference(self) -> Reference:
        """The judge's view of test and training images."""
        return Reference(self.dataset, self.judge, count=self.config.pictures, seed=self.config.seed)

    def autoencoder(self, seed: int, **changes: Any) -> tuple[ClassConditionalAutoencoder, Path]:
        """Of one seed, trained now, trained further, or read, and its folder."""
        config = self.config.recipe(self.source, seed, **changes)
        out = run_folder(config, self.dataset, self.folder)
        config = replace(config, output=out, resume=True)
        finish(config, out / "sampler.safetensors", lambda: train(config, self.dataset, progress=False))
        return ClassConditionalAutoencoder.load(out), out


def data_sets(config: LatentPageConfig, sources: Mapping[str, str] | None = None) -> Iterator[JudgedImages]:
    """MNIST and Fashion-MNIST, or those of other ``sources``, one at a time: they fill memory."""
    with runs_under(config.runs) as folder:
        for name, source in (sources or config.sources).items():
            yield JudgedImages(name, source, config, folder)


def draw_blocks(title: str, blocks: Iterable[tuple[str, NDArray[np.uint8]]], rows: Sequence[str]) -> Figure:
    """Titled blocks of images ``(R, C, S, S, 3)`` side by side, their rows named at the first."""
    return draw_faces(title, *(FaceBlock(name, block, () if i else rows) for i, (name, block) in enumerate(blocks)))


def over_seeds(seeds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The mean and half the 95 % interval of each number that is measured, given those of each seed."""
    return {key: interval([one[key] for one in seeds])._asdict() for key, v in seeds[0].items() if v is not None}


def paired_differences(seeds: Sequence[Mapping[str, Any]], control: Sequence[Mapping[str, Any]]) -> Any:
    """The same of the differences, seed by seed."""
    pairs = zip(seeds, control, strict=True)
    return over_seeds([{key: v - other[key] for key, v in one.items() if v is not None} for one, other in pairs])
