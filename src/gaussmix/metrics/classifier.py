r"""An independent judge: a small convolutional network that reads attributes off an image.

It is trained on the real images of a data set and never sees the generator, so what it finds in a generated image is
evidence about the image alone.

Loss: the mean over attributes of the cross-entropy of :math:`(a_k, \sigma(\ell_k))`, with weight :math:`1/(2f_k)` for
images that have attribute :math:`k` and :math:`1/(2(1-f_k))` for those that have not, :math:`f_k` its frequency, so
that a rare attribute counts as much as a common one. Decision: :math:`\ell_k > \theta_k`, with :math:`\theta_k`
chosen on the valid split.

How well binary attributes are recognised.

With :math:`\hat a_{nk}` the decision and :math:`a_{nk}` the truth for attribute :math:`k` of image :math:`n`, the
balanced accuracy is the mean of the two shares of right decisions, one per class:

.. math:: \mathrm{bal}_k = \tfrac12 \bigl(P(\hat a_k = 1 \mid a_k = 1) + P(\hat a_k = 0 \mid a_k = 0)\bigr)

A guess is worth 1/2 however rare the attribute is; the plain accuracy of "nobody is bald" would be near 1.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from gaussmix.data.base import SPLITS, AttributeDataset
from gaussmix.data.cache import cache_dir
from gaussmix.metrics.features import BATCH_SIZE, ImageNetwork, descend, read_entry, write_entry
from gaussmix.metrics.features import augmented as _augmented
from gaussmix.metrics.features import placed as _placed
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.log import TrainingBar


def balanced_accuracy(predicted: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """Balanced accuracy of every attribute, ``(K,)`` float64.

    ``predicted`` and ``truth`` are ``(N, K)``, boolean or 0 and 1. An attribute that all ``N`` rows of ``truth`` have,
    or none, says nothing about one of the two classes: its entry is NaN.
    Raises ValueError if the shapes differ or are not two-dimensional.
    """
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            f"predicted and truth must have one shape (N, K), got {predicted.shape} and {truth.shape}; "
            "give one row per image and one column per attribute"
        )
    present, absent = truth.sum(0), (~truth).sum(0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the documented NaN
        hits = (predicted & truth).sum(0) / present
        rejections = (~predicted & ~truth).sum(0) / absent
    return (hits + rejections) / 2


VERSION = 1
"""Part of the cache key; raised whenever the network or its training changes."""

STEPS = 1000


class AttributeClassifier(ImageNetwork):
    """``K`` yes/no decisions about an image of ``S`` x ``S`` pixels, ``S`` at least 8.

    ``forward`` maps ``(B, 3, S, S)`` in [-1, 1] to logits ``(B, K)``. `logits`, `predict` and `features` take uint8
    images ``(N, S, S, 3)``, work through them in batches and return arrays.
    """

    name = "attribute classifier"
    thresholds: Tensor  # (K,), in logits

    def __init__(self, attribute_names: tuple[str, ...], image_size: int, num_features: int = 64):
        super().__init__(len(attribute_names), image_size, 3, (32, 64, 128), num_features)
        self.attribute_names = tuple(attribute_names)
        self.register_buffer("thresholds", torch.zeros(len(self.attribute_names)))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """``(N, K)`` bool for images ``(N, S, S, 3)`` uint8."""
        return self.logits(images) > self.thresholds.cpu().numpy()


def train_attribute_classifier(
    dataset: AttributeDataset,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int, float], None] | None = None,
) -> AttributeClassifier:
    """Train on the train split, choose the thresholds on the valid split, return the network in eval mode.

    AdamW on batches of 64, its rate rising over the first fifth of the steps and falling along a cosine. Every image is
    shifted by up to 1/16 of its size and made up to 5 % brighter or darker. It is not mirrored: a side may be what an
    attribute is about. Without a valid split the thresholds are 0. One seed gives one result on one machine; the
    global random state stays as it was.
    ``on_progress`` is called after every step with the number of steps done and the loss.
    Raises ValueError for less than one step, DataError (a ValueError) if the train split is empty.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    device = torch.device(device)
    rows = dataset.indices("train")
    truth = dataset.attributes[rows].astype(np.float32)
    frequency = torch.from_numpy(truth.mean(0)).clamp(0.02, 0.98).to(device)  # bounds the weight of a very rare one
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = AttributeClassifier(dataset.attribute_names, dataset.images.shape[1])
    _placed(classifier, device)

    def loss(picked: np.ndarray) -> Tensor:
        x = _augmented(dataset.images, rows[picked], rng, device)
        wanted = torch.from_numpy(truth[picked]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device)):
            logits = classifier(x)
        weight = torch.where(wanted > 0, 0.5 / frequency, 0.5 / (1 - frequency))
        return F.binary_cross_entropy_with_logits(logits.float(), wanted, weight)

    descend(classifier, loss, len(rows), steps=steps, seed=seed, on_progress=on_progress)
    classifier.eval()
    valid = np.flatnonzero(dataset.split == SPLITS.index("valid"))
    thresholds = _best_thresholds(classifier.logits(dataset.images[valid]), dataset.attributes[valid] > 0)
    classifier.thresholds.copy_(torch.from_numpy(thresholds))
    return classifier


def _best_thresholds(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A threshold of high balanced accuracy for every attribute, ``(K,)`` float32.

    ``logits`` and ``truth`` are ``(N, K)``. The nearest to zero of those within one standard error of the best: zero is
    where the balanced loss puts it, and a few images are no reason to leave it. Zero if a class is absent.
    """
    best = np.zeros(logits.shape[1], np.float32)
    for k in range(logits.shape[1]):
        order = np.argsort(logits[:, k])
        scores, present = logits[order, k].astype(np.float64), truth[order, k]
        n1, n0 = np.count_nonzero(present), np.count_nonzero(~present)
        if not (n1 and n0):
            continue
        candidates = np.append((scores[1:] + scores[:-1]) / 2, 0.0)
        below = np.searchsorted(scores, candidates, side="right")
        found = 1 - np.append(0, np.cumsum(present))[below] / n1
        rejected = np.append(0, np.cumsum(~present))[below] / n0
        balanced = (found + rejected) / 2
        error = np.sqrt(found * (1 - found) / n1 + rejected * (1 - rejected) / n0) / 2
        top = balanced.argmax()
        good = candidates[balanced >= balanced[top] - error[top]]
        best[k] = good[np.abs(good).argmin()]
    return best


def load_or_train_classifier(
    dataset: AttributeDataset,
    *,
    steps: int = STEPS,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
    progress: bool = True,
) -> tuple[AttributeClassifier, np.ndarray]:
    """The judge for a data set and its balanced accuracy on the held-out real images of the test split, ``(K,)``.

    Both are kept in ``classifiers/<key>-<version>`` under ``cache`` (by default `cache_dir`); an entry that is
    damaged, or made in another number of steps, is made anew.
    Raises DataError (a ValueError) if the train or test split is empty.
    """
    held_out = dataset.indices("test")  # before the minutes of training
    folder = (cache_dir() if cache is None else Path(cache)) / "classifiers" / f"{dataset.key}-{VERSION}"
    known = _read(folder, dataset, steps, device)
    if known is not None:
        return known
    folder.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to fails here, not at the end
    if progress:
        print(f"training the attribute classifier of {dataset.name} once; it is kept in {folder}", file=sys.stderr)
    with TrainingBar(0.0, disable=not progress) as bar:
        started = perf_counter()

        def report(step: int, loss: float) -> None:
            bar.update(step / steps, step, loss, step * BATCH_SIZE / (perf_counter() - started))

        classifier = train_attribute_classifier(dataset, steps=steps, device=device, on_progress=report)
    real = balanced_accuracy(classifier.predict(dataset.images[held_out]), dataset.attributes[held_out])
    facts = [None if math.isnan(value) else value for value in real]
    write_entry(
        folder,
        classifier,
        attribute_names=classifier.attribute_names,
        image_size=classifier.image_size,
        steps=steps,
        held_out_balanced_accuracy=facts,
    )
    return classifier, real


def _read(
    folder: Path, dataset: AttributeDataset, steps: int, device: str | torch.device
) -> tuple[AttributeClassifier, np.ndarray] | None:
    """An entry, or None if it is absent, damaged or made for something else."""
    names = list(dataset.attribute_names)
    found = read_entry(folder, attribute_names=names, image_size=dataset.images.shape[1], steps=steps)
    if found is None:
        return None
    weights, card = found
    try:
        real = np.array(card["held_out_balanced_accuracy"], float)  # null becomes NaN
    except (ValueError, KeyError, TypeError):
        return None
    if real.shape != (len(names),):
        return None
    with torch.device("meta"):  # initial weights would be drawn in vain, and from the global random state
        classifier = AttributeClassifier(dataset.attribute_names, dataset.images.shape[1])
    classifier.load_state_dict(weights, assign=True)
    return _placed(classifier, device).eval(), real
