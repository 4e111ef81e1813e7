r"""Independent judges: small convolutional networks that read attributes, or the class, off an image.

They are trained on the real images of a data set and never see the generator, so what they find in a generated image is
evidence about the image alone. The judge of classes has the cross-entropy of the right class for its loss.

That of the judge of attributes is the mean over attributes of the cross-entropy of :math:`(a_k, \sigma(\ell_k))`, with
weight :math:`1/(2f_k)` for images that have attribute :math:`k` and :math:`1/(2(1-f_k))` for those that have not,
:math:`f_k` its frequency, so that a rare attribute counts as much as a common one. Decision:
:math:`\hat a_k = [\ell_k > \theta_k]`, with :math:`\theta_k` chosen on the valid split. Its balanced accuracy is the
mean of the two shares of right decisions, one per class:

.. math:: \mathrm{bal}_k = \tfrac12 \bigl(P(\hat a_k = 1 \mid a_k = 1) + P(\hat a_k = 0 \mid a_k = 0)\bigr)

A guess is worth 1/2 however rare the attribute is; the plain accuracy of "nobody is bald" would be near 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from torch import Tensor

from gaussmix._typing import FloatArray, IntArray
from gaussmix.data.base import SPLITS, AttributeDataset, LabelledImages
from gaussmix.metrics.features import ImageNetwork, OnProgress, load_or_train, train_network

VERSION = 2  # part of the cache key; raised whenever a network or its training changes
STEPS = 1000
_LABEL_WIDTHS = (16, 32, 64)  # enough for 99 % of MNIST, at a third of the cost of the attributes' judge
_LABEL_SHIFT = 1 / 8  # of the size; a pixel of the smallest images


def balanced_accuracy(predicted: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Return the balanced accuracy of every attribute, ``(K,)``.

    An attribute that all ``N`` rows of ``truth`` have, or none, says nothing about one of the two classes: its entry is
    NaN. Raises ValueError if the shapes differ or are not two-dimensional.

    Parameters
    ----------
    predicted, truth : array_like
        Of shape ``(N, K)``, boolean or 0 and 1.
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


class AttributeClassifier(ImageNetwork):
    """``K`` yes/no decisions about an image of ``S`` x ``S`` pixels.

    ``forward`` maps ``(B, 3, S, S)`` in [-1, 1] to logits ``(B, K)``. `logits`, `predict` and `features` take uint8
    images ``(N, S, S, 3)``, work through them in batches and return arrays.

    Parameters
    ----------
    attribute_names : tuple of str
        K names.
    image_size : int
        S, at least 8.
    num_features : int, default 64
        Numbers in the layer before the logits.
    """

    name = "attribute classifier"
    thresholds: Tensor  # (K,), in logits

    def __init__(self, attribute_names: tuple[str, ...], image_size: int, num_features: int = 64):
        super().__init__(len(attribute_names), image_size, 3, (32, 64, 128), num_features)
        self.attribute_names = tuple(attribute_names)
        self.register_buffer("thresholds", torch.zeros(len(self.attribute_names)))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return decisions ``(N, K)`` bool on images ``(N, S, S, 3)`` uint8."""
        return self.logits(images) > self.thresholds.cpu().numpy()


def train_attribute_classifier(
    dataset: AttributeDataset,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: OnProgress | None = None,
) -> AttributeClassifier:
    """Train on the train split, choose the thresholds on the valid split, return the network in eval mode.

    Images are shifted by up to 1/16 of their size and made up to 5 % brighter or darker. They are not mirrored: a side
    may be what an attribute is about. Without a valid split the thresholds are 0.
    Raises ValueError for less than one step, DataError (a ValueError) if the train split is empty.

    Parameters
    ----------
    dataset : AttributeDataset
        Real images.
    steps : int, default 1000
        Batches to train on, at least one.
    seed : int, default 0
        Of weights and batches. One seed gives one result on one machine; the global random state stays as it was.
    device : str or torch.device, default "cpu"
        Where the network is trained and stays.
    on_progress : callable, optional
        Called after every step with the number of steps done and the loss.
    """
    rows = dataset.indices("train")
    has = dataset.attributes[rows].astype(np.float32)
    frequency = torch.from_numpy(has.mean(0)).clamp(0.02, 0.98).to(device)  # bounds the weight of a very rare one
    truth = torch.from_numpy(has).to(device)

    def loss(logits: Tensor, picked: np.ndarray) -> Tensor:
        wanted = truth[picked]
        weight = torch.where(wanted > 0, 0.5 / frequency, 0.5 / (1 - frequency))
        return F.binary_cross_entropy_with_logits(logits, wanted, weight)

    classifier = train_network(
        _network_for, dataset, rows, loss, steps=steps, seed=seed, device=device, on_progress=on_progress
    )
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
        scores = np.sort(logits[:, k].astype(np.float64))
        on, off = (np.sort(logits[truth[:, k] == has, k]) for has in (True, False))
        if not (len(on) and len(off)):
            continue
        candidates = np.append((scores[1:] + scores[:-1]) / 2, 0.0)
        found = 1 - np.searchsorted(on, candidates, side="right") / len(on)
        rejected = np.searchsorted(off, candidates, side="right") / len(off)
        balanced = (found + rejected) / 2
        error = np.sqrt(found * (1 - found) / len(on) + rejected * (1 - rejected) / len(off)) / 2
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
) -> tuple[AttributeClassifier, FloatArray]:
    """Return the judge for a data set, trained once, and how well it judges held-out real images.

    Both are kept in a file under ``cache``; one that is damaged, or made in another number of steps, is made anew.
    Raises DataError (a ValueError) if the train or test split is empty.

    Parameters
    ----------
    dataset : AttributeDataset
        Real images, with a test split.
    steps : int, default 1000
        Batches to train on.
    device : str or torch.device, default "cpu"
        Where the network is trained and stays.
    cache : Path, optional
        Root of the cache; `gaussmix.data.cache_dir` if not given.
    progress : bool, default True
        Show on standard error what is trained, and how far it is.

    Returns
    -------
    classifier : AttributeClassifier
        The judge, in eval mode.
    accuracy : ndarray of float64
        Of shape ``(K,)``, its `balanced_accuracy` on the test split.
    """
    held_out = dataset.indices("test")  # before the minutes of training
    return load_or_train(
        lambda: _network_for(dataset),
        lambda report: train_attribute_classifier(dataset, steps=steps, device=device, on_progress=report),
        lambda judge: balanced_accuracy(judge.predict(dataset.images[held_out]), dataset.attributes[held_out]),
        label=f"attribute classifier of {dataset.name}",
        entry=f"{dataset.key}-{VERSION}",
        facts={"attribute_names": list(dataset.attribute_names), "image_size": dataset.images.shape[1], "steps": steps},
        cache=cache,
        device=device,
        progress=progress,
    )


def _network_for(dataset: AttributeDataset) -> AttributeClassifier:
    return AttributeClassifier(dataset.attribute_names, dataset.images.shape[1])


class LabelClassifier(ImageNetwork):
    """Which of K classes an image of ``S`` x ``S`` pixels shows, ``S`` at least 8, grey (C = 1) or RGB (C = 3).

    ``forward`` maps ``(B, C, S, S)`` in [-1, 1] to logits ``(B, K)``. `probabilities`, `predict` and `features` take
    uint8 images ``(N, S, S, C)``, grey ones also as ``(N, S, S)``, and raise ValueError for others.
    """

    name = "label classifier"

    def __init__(self, class_names: tuple[str, ...], image_size: int, in_channels: int, num_features: int = 64):
        super().__init__(len(class_names), image_size, in_channels, _LABEL_WIDTHS, num_features)
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

    def loss(logits: Tensor, picked: np.ndarray) -> Tensor:
        return F.cross_entropy(logits, truth[picked])

    return train_network(
        _label_network, dataset, rows, loss, steps=steps, seed=seed, shift=_LABEL_SHIFT, on_progress=on_progress
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
        lambda: _label_network(dataset),
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


def _label_network(dataset: LabelledImages) -> LabelClassifier:
    return LabelClassifier(dataset.class_names, dataset.images.shape[1], dataset.images.shape[3])
