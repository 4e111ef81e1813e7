"""What a dataset is: images with K binary attributes, or each of one of K classes, and a split.

This module imports nothing of ours, so that every reader and `gaussmix.data.load` can use it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")  # codes 0, 1, 2, as in CelebA's list_eval_partition.txt


class DataError(ValueError):
    """Data that cannot be used; one line that names the file and row and says what to do."""


class _SplitImages:
    """What both kinds of dataset have: a name, images and their split."""

    name: str
    images: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the positions ``(M,)`` of the images of ``split``, ascending; DataError if there are none."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        found = np.flatnonzero(self.split == SPLITS.index(split))
        if not len(found):
            counts = np.bincount(self.split, minlength=len(SPLITS))
            filled = ", ".join(f"{n} in {name}" for name, n in zip(SPLITS, counts, strict=True) if n)
            raise DataError(f"{self.name}: split {split!r} is empty (images: {filled}); choose another or add some")
        return found


@dataclass(frozen=True, eq=False)
class AttributeDataset(_SplitImages):
    """N images with K binary attributes.

    Parameters
    ----------
    name : str
        "avatars", "celeba", "cifar10", or the folder's name.
    images : ndarray of uint8
        Of shape ``(N, H, W, 3)``, usually a read-only memory map.
    attributes : ndarray of uint8
        Of shape ``(N, K)``, 0 or 1.
    attribute_names : tuple of str
        K names.
    split : ndarray of uint8
        Of shape ``(N,)``, index into `SPLITS`.
    key : str
        Hex digest of the content; names whatever is derived from this data.
    skipped : int, default 0
        Images left out because they were missing or damaged (only with ``skip_bad``).
    parts : dict of str to ndarray, optional
        Of the avatars only: for each part of a face the ``(N,)`` sub-types drawn, as strings.
    """

    name: str
    images: np.ndarray
    attributes: np.ndarray
    attribute_names: tuple[str, ...]
    split: np.ndarray
    key: str
    skipped: int = 0
    parts: dict[str, np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class LabelledImages(_SplitImages):
    """N square images, each of one of K classes.

    Parameters
    ----------
    name : str
        "digits", or the folder's name.
    images : ndarray of uint8
        Of shape ``(N, S, S, C)``, C = 1 (grey) or 3 (RGB); of a class folder a read-only memory map.
    labels : ndarray of int64
        Of shape ``(N,)``, position in ``class_names``.
    class_names : tuple of str
        K names, each with at least one image to train on.
    split : ndarray of uint8
        Of shape ``(N,)``, index into `SPLITS`.
    key : str
        Hex digest of the content; names whatever is derived from this data.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    split: NDArray[np.uint8]
    key: str


def every_fifth_for_test(labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Split codes ``(N,)``: of the images of each label every fifth is for the test, the rest for training."""
    return np.where(ranks_within(labels) % 5 == 4, SPLITS.index("test"), SPLITS.index("train")).astype(np.uint8)


def ranks_within(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many earlier images are in each image's group, ``(N,)``."""
    ranks = np.empty(len(groups), np.int64)
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        ranks[mine] = np.arange(len(mine))
    return ranks


def images_digest(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """Hex digest of the pixels and the labels."""
    hasher = hashlib.blake2b(str(images.shape).encode(), digest_size=16)
    hasher.update(np.ascontiguousarray(images).data)
    hasher.update(labels.tobytes())
    return hasher.hexdigest()
