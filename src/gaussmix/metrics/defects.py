"""Defects: pictures that are no pictures of this kind, whatever attributes a judge finds in them.

A judge of attributes was never shown a ragged blob, and manifolds of its features let many pass. So a second small
network learns to tell real pictures from ones that are spoilt in the ways that generators spoil them: blurred, patches
shuffled, outlines ragged, blobs in the picture's colours, two pictures in one. What it finds in generated pictures is
told beside what it finds in real ones, and beside its controls: held-out real pictures that are blurred, shuffled or
made blobs. A network that misses a control says nothing, and then nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from gaussmix.data.base import SPLITS, AttributeDataset, LabelledImages
from gaussmix.metrics.classifier import LabelClassifier, load_or_train_label_classifier

CAUGHT = 0.9
"""Share of each control that must be caught for a rate of defects to be told."""
_VERSION = 1  # part of the cache's key: raised when spoilt pictures change
_MOST = 2000  # pictures of a kind that the network learns from
Images = NDArray[np.uint8]


class DefectScores(NamedTuple):
    """Shares of pictures that count as defects.

    Parameters
    ----------
    generated, real : float
        Of the generated pictures, and of real ones.
    caught : dict of str to float
        Of the controls, by name.
    """

    generated: float
    real: float
    caught: dict[str, float]

    @property
    def missed(self) -> str | None:
        """The control that was not caught, in words, or None."""
        name, share = min(self.caught.items(), key=lambda each: each[1])
        return None if share >= CAUGHT else f"of {name} real pictures only {share:.0%} are recognised"


def _blur(image: Images, other: Images, rng: np.random.Generator) -> NDArray:
    """Gaussian, of a deviation from a thirtieth to a tenth of the size."""
    width = image.shape[0] * rng.uniform(1 / 30, 1 / 10)
    return gaussian_filter(image.astype(np.float32), (width, width, 0), mode="nearest")


def _shuffle(image: Images, other: Images, rng: np.random.Generator) -> NDArray:
    """Patches, 2 to 8 a side, in another order; what they leave of the rim stays."""
    spoilt, grid = image.copy(), int(rng.choice([2, 4, 8]))
    patch = image.shape[0] // grid
    places = [
        (slice(y, y + patch), slice(x, x + patch)) for y in patch * np.arange(grid) for x in patch * np.arange(grid)
    ]
    order = rng.permutation(len(places))
    if (order == np.arange(len(places))).all():
        order = order[::-1]
    for here, there in zip(places, order, strict=True):
        spoilt[here] = image[places[there]]
    return spoilt


def _waves(size: int, width: float, rng: np.random.Generator) -> NDArray:
    """Smooth noise ``(size, size)`` of variance 1."""
    field = gaussian_filter(rng.standard_normal((size, size)), width, mode="wrap")
    return (field - field.mean()) / field.std()


def _ragged(image: Images, other: Images, rng: np.random.Generator) -> NDArray:
    """Moved from place to place by smooth noise, a twentieth of the size or more."""
    size = image.shape[0]
    reach, width = size * rng.uniform(0.05, 0.1), size * rng.uniform(0.03, 0.1)
    places = np.mgrid[:size, :size] + reach * np.stack([_waves(size, width, rng), _waves(size, width, rng)])
    return np.stack([map_coordinates(image[..., c], places, order=1, mode="nearest") for c in range(3)], 2)


def _blobs(image: Images, other: Images, rng: np.random.Generator) -> NDArray:
    """Blobs of smooth noise in the middle, on a ground, in colours of the picture."""
    size = image.shape[0]
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    centre = rng.uniform(1, 3) - 12 * rng.uniform(0.5, 1.5) * (y**2 + x**2)
    inside = (_waves(size, size * rng.uniform(0.04, 0.15), rng) + centre)[..., None] > 0
    middle, rim = image[size // 4 : -(size // 4)].reshape(-1, 3), image[0]
    colour, ground = middle[rng.integers(len(middle))], rim[rng.integers(len(rim))]
    return np.where(inside, colour, ground).astype(np.float32)


def _double(image: Images, other: Images, rng: np.random.Generator) -> NDArray:
    """Two pictures in one."""
    share = rng.uniform(0.35, 0.65)
    return share * image.astype(np.float32) + (1 - share) * other


SPOILERS: dict[str, Callable[[Images, Images, np.random.Generator], NDArray]] = {
    "blurred": _blur,
    "shuffled": _shuffle,
    "ragged": _ragged,
    "blobs of": _blobs,
    "double": _double,
}
"""How pictures are spoilt, by name."""
CONTROLS = ("blurred", "shuffled", "blobs of")
"""What must be caught; two pictures in one may look like one, where pictures are alike."""


def spoil(images: Images, how: str, *, seed: int = 0) -> Images:
    """Return pictures that are spoilt in one of the ways of `SPOILERS`.

    Parameters
    ----------
    images : ndarray
        ``(N, S, S, 3)`` uint8.
    how : str
        A name of `SPOILERS`.
    seed : int
        Of all that is drawn.
    """
    rng = np.random.default_rng([seed, list(SPOILERS).index(how)])
    others = images[rng.permutation(len(images))]
    spoilt = [SPOILERS[how](image, other, rng) for image, other in zip(images, others, strict=True)]
    return np.clip(np.round(np.stack(spoilt)), 0, 255).astype(np.uint8)


def load_or_train_defects(
    dataset: AttributeDataset, *, cache: Path | None = None, progress: bool = True, **options: int
) -> LabelClassifier:
    """Return what tells real pictures of a data set from spoilt ones, trained once and kept in the cache.

    Parameters
    ----------
    dataset : AttributeDataset
        Its training split is learnt from.
    cache, progress, **options : path, bool, options
        As in `load_or_train_label_classifier`.
    """
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(dataset.indices("train"))[:_MOST])
    real = np.asarray(dataset.images[rows])
    spoilt = np.concatenate([spoil(real[k :: len(SPOILERS)], how) for k, how in enumerate(SPOILERS)])
    labels = np.repeat([0, 1], [len(real), len(spoilt)])
    split = np.where(rng.random(len(labels)) < 0.1, SPLITS.index("test"), SPLITS.index("train")).astype(np.uint8)
    split[[0, -1]] = SPLITS.index("test")
    images, key = np.concatenate([real, spoilt]), f"{dataset.key}-defects-{_VERSION}"
    both = LabelledImages(f"{dataset.name}, real and spoilt", images, labels, ("real", "defect"), split, key)
    return load_or_train_label_classifier(both, cache=cache, progress=progress, **options)[0]


def measure_defects(judge: LabelClassifier, generated: Images, real: Images, *, seed: int = 0) -> DefectScores:
    """Return the shares of defects among pictures.

    Parameters
    ----------
    judge : LabelClassifier
        From `load_or_train_defects`.
    generated, real : ndarray
        ``(M, S, S, 3)`` and ``(N, S, S, 3)`` uint8; the judge saw none of them.
    seed : int
        Of the controls.
    """

    def share(images: Images) -> float:
        return float(judge.predict(images).mean())

    caught = {how: share(spoil(real, how, seed=seed + 1)) for how in CONTROLS}
    return DefectScores(share(generated), share(real), caught)
