r"""An independent judge: a small convolutional network that says which of K classes an image is of.

It is trained on the real images of a data set and never sees the generator. Its loss is the cross-entropy
:math:`-\log \mathrm{softmax}(\ell)_y` of the right class :math:`y`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import softmax

from gaussmix._typing import IntArray
from gaussmix.data.base import LabelledImages
from gaussmix.metrics.features import ImageNetwork, OnProgress, load_or_train, train_network

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
        """Return the probability of each class, ``(N, K)``; each row has the sum 1."""
        return softmax(self.logits(images), axis=1)

    def predict(self, images: np.ndarray) -> IntArray:
        """Return the likeliest class of each image, ``(N,)``, as its position in ``class_names``."""
        return self.logits(images).argmax(1)


def train_label_classifier(
    dataset: LabelledImages, *, steps: int = STEPS, seed: int = 0, on_progress: OnProgress | None = None
) -> LabelClassifier:
    """Train on the train split and return the network in eval mode; images are shifted by up to 1/8 of their size.

    Raises ValueError for less than one step, DataError (a ValueError) if the train split is empty.
    """
    rows = dataset.indices("train")
    truth = torch.from_numpy(dataset.labels[rows])
    return train_network(
        lambda: _network_for(dataset),
        dataset.images,
        rows,
        lambda logits, picked: F.cross_entropy(logits, truth[picked]),
        steps=steps,
        seed=seed,
        shift=_SHIFT,
        on_progress=on_progress,
    )


def load_or_train_label_classifier(
    dataset: LabelledImages, *, steps: int = STEPS, cache: Path | None = None, progress: bool = True
) -> tuple[LabelClassifier, float]:
    """Return the judge for a data set, and the share of the real images of the test split that it names rightly.

    Both are kept in a file under ``cache`` (by default `cache_dir`); one that is damaged, or made in another number of
    steps, is made anew.
    Raises DataError (a ValueError) if the train or test split is empty.
    """
    held_out = dataset.indices("test")  # before the minute of training
    classifier, accuracy = load_or_train(
        lambda: _network_for(dataset),
        lambda report: train_label_classifier(dataset, steps=steps, on_progress=report),
        lambda judge: np.array([(judge.predict(dataset.images[held_out]) == dataset.labels[held_out]).mean()]),
        label=f"label classifier of {dataset.name}",
        entry=f"{dataset.key}-label-{VERSION}",
        facts={"class_names": list(dataset.class_names), "image_shape": list(dataset.images.shape[1:]), "steps": steps},
        cache=cache,
        device="cpu",
        progress=progress,
    )
    return classifier, float(accuracy[0])


def _network_for(dataset: LabelledImages) -> LabelClassifier:
    return LabelClassifier(dataset.class_names, dataset.images.shape[1], dataset.images.shape[3])
