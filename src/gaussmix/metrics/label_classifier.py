r"""An independent judge: a small convolutional network that says which of K classes an image is of.

It is trained on the real images of a data set and never sees the generator. Its loss is the cross-entropy
:math:`-\log \mathrm{softmax}(\ell)_y` of the right class :math:`y`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from gaussmix.data.base import LabelledImages
from gaussmix.data.cache import cache_dir
from gaussmix.metrics.features import (
    BATCH_SIZE,
    ImageNetwork,
    augmented,
    descend,
    placed,
    read_entry,
    write_entry,
)
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.log import TrainingBar

VERSION = 1
"""Part of the cache key; raised whenever the network or its training changes."""

STEPS = 1000
_WIDTHS = (16, 32, 64)  # enough for 99 % of MNIST, at a third of the cost of the attributes' judge
_SHIFT = 1 / 8  # of the size; a pixel of the smallest images


class LabelClassifier(ImageNetwork):
    """Which of K classes an image of ``S`` x ``S`` pixels shows, ``S`` at least 8, grey (C = 1) or RGB (C = 3).

    ``forward`` maps ``(B, C, S, S)`` in [-1, 1] to logits ``(B, K)``. `probabilities`, `predict` and `features` take
    uint8 images ``(N, S, S, C)``, grey ones also as ``(N, S, S)``, and raise ValueError for others.
    """

    name = "label classifier"

    def __init__(self, class_names: tuple[str, ...], image_size: int, in_channels: int, num_features: int = 64):
        super().__init__(len(class_names), image_size, in_channels, _WIDTHS, num_features)
        self.class_names = tuple(class_names)

    def probabilities(self, images: np.ndarray) -> NDArray[np.float32]:
        """``(N, K)``, each row with the sum 1."""
        return softmax(self.logits(images), axis=1)

    def predict(self, images: np.ndarray) -> NDArray[np.int64]:
        """The likeliest class, ``(N,)``, position in ``class_names``."""
        return self.logits(images).argmax(1)


def train_label_classifier(
    dataset: LabelledImages, *, steps: int = STEPS, seed: int = 0, progress: bool = False
) -> LabelClassifier:
    """Train on the train split and return the network in eval mode.

    AdamW on batches of 64, its rate rising over the first fifth of the steps and falling along a cosine. Every image is
    shifted by up to 1/8 of its size and made up to 5 % brighter or darker. One seed gives one result on one machine;
    the global random state stays as it was.
    Raises ValueError for less than one step, DataError (a ValueError) if the train split is empty.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    rows, device = dataset.indices("train"), torch.device("cpu")
    truth = torch.from_numpy(dataset.labels[rows])
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = placed(_network_for(dataset), device)

    def loss(picked: np.ndarray) -> Tensor:
        x = augmented(dataset.images, rows[picked], rng, device, _SHIFT)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device)):
            logits = classifier(x)
        return F.cross_entropy(logits.float(), truth[picked])

    with TrainingBar(0.0, disable=not progress) as bar:
        started = perf_counter()

        def report(step: int, found: float) -> None:
            bar.update(step / steps, step, found, step * BATCH_SIZE / (perf_counter() - started))

        descend(classifier, loss, len(rows), steps=steps, seed=seed, on_progress=report)
    return classifier.eval()


def load_or_train_label_classifier(
    dataset: LabelledImages, *, steps: int = STEPS, cache: Path | None = None, progress: bool = True
) -> tuple[LabelClassifier, float]:
    """The judge for a data set, and the share of the real images of the test split that it names rightly.

    Both are kept in ``classifiers/<key>-label-<version>`` under ``cache`` (by default `cache_dir`); an entry that is
    damaged, or made in another number of steps, is made anew.
    Raises DataError (a ValueError) if the train or test split is empty.
    """
    held_out = dataset.indices("test")  # before the minute of training
    folder = (cache_dir() if cache is None else Path(cache)) / "classifiers" / f"{dataset.key}-label-{VERSION}"
    facts = {"class_names": list(dataset.class_names), "image_shape": list(dataset.images.shape[1:]), "steps": steps}
    known = read_entry(folder, **facts)
    if known is not None and isinstance(accuracy := known[1].get("held_out_accuracy"), float):
        with torch.device("meta"):  # initial weights would be drawn in vain, and from the global random state
            classifier = _network_for(dataset)
        classifier.load_state_dict(known[0], assign=True)
        return placed(classifier, "cpu").eval(), accuracy
    folder.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to fails here, not at the end
    if progress:
        print(f"training the classifier of {dataset.name} once; it is kept in {folder}", file=sys.stderr)
    classifier = train_label_classifier(dataset, steps=steps, progress=progress)
    accuracy = float((classifier.predict(dataset.images[held_out]) == dataset.labels[held_out]).mean())
    write_entry(folder, classifier, **facts, held_out_accuracy=accuracy)
    return classifier, accuracy


def _network_for(dataset: LabelledImages) -> LabelClassifier:
    return LabelClassifier(dataset.class_names, dataset.images.shape[1], dataset.images.shape[3])
