"""Sheets of what an autoencoder does: reconstructions, new images of each class, mixes."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gaussmix.autoencoder.generate import LatentGenerator
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.sheets import contact_sheet, save_atomic

_PAIRS, _SAMPLES, _CLASSES, _SCALED = 4, 8, 12, 48
_MIXED_PAIRS = 5
_PROPORTIONS = (1.0, 0.85, 0.7, 0.5, 0.3, 0.15, 0.0)


def draw_reconstructions(
    model: ClassConditionalAutoencoder, images: NDArray[np.uint8], labels: NDArray[np.int64], path: Path
) -> None:
    """The first images of each class ``(N, S, S, C)``, each beside its reconstruction; a row is a class."""
    rows = {name: np.flatnonzero(labels == k)[:_PAIRS] for k, name in enumerate(model.class_names[:_CLASSES])}
    rows = {name: np.resize(found, _PAIRS) for name, found in rows.items() if len(found)}
    chosen = images[np.concatenate(list(rows.values()))]
    pairs = np.stack([chosen, model.decode(model.encode(chosen))], axis=1).reshape(-1, *chosen.shape[1:])
    error = np.mean((pairs[::2] / 255.0 - pairs[1::2] / 255.0) ** 2)
    sheet = sheet_of(
        pairs,
        columns=2 * _PAIRS,
        title="Images and their reconstructions",
        row_labels=list(rows),
        column_labels=["image", "decoded"] * _PAIRS,
        caption=f"d = {model.config['latent_dim']}; mean squared error of these pixels in [0, 1]: {error:.4f}",
    )
    save_atomic(sheet, path)


def draw_samples(generator: LatentGenerator, path: Path, *, seed: int = 0) -> None:
    """New images of each class; a row is a class."""
    names = generator.class_names[:_CLASSES]
    images = [
        generator.sample(_SAMPLES, class_name=name, random_state=np.random.RandomState([seed, k]))
        for k, name in enumerate(names)
    ]
    sheet = sheet_of(
        np.concatenate(images),
        columns=_SAMPLES,
        title="New images of each class",
        row_labels=names,
        caption=f"Decoded latents from the distribution of each class ({generator.sampler.coupling}), not chosen by "
        "hand.",
    )
    save_atomic(sheet, path)


def draw_mixes(generator: LatentGenerator, path: Path, *, seed: int = 0) -> None:
    """Pairs of classes, from one to the other, in both modes; a row is one pair of draws."""
    pairs = list(combinations(generator.class_names, 2))
    pairs = pairs[:: -(-len(pairs) // _MIXED_PAIRS)]
    rows, labels = [], []
    for a, b in pairs:
        for mode in ("dims", "lerp"):
            labels.append(f"{a} + {b}, {mode}")
            rows += [
                generator.mix([a, b], mode=mode, proportions=[share, 1 - share], random_state=seed)
                for share in _PROPORTIONS
            ]
    sheet = sheet_of(
        np.concatenate(rows),
        columns=len(_PROPORTIONS),
        title="Mixes of two classes",
        row_labels=labels,
        column_labels=[f"{share:.0%}" for share in _PROPORTIONS],
        caption="Above: share of the first class. A row mixes one draw of each: dims takes each latent number from one "
        "of them, lerp their weighted mean.",
    )
    save_atomic(sheet, path)


def sheet_of(images: NDArray[np.uint8], **texts) -> Image.Image:
    """`contact_sheet` of images ``(N, S, S, 1 or 3)``; grey as they are."""
    sheet = contact_sheet(as_rgb(images), scale=max(1, round(_SCALED / images.shape[1])), **texts)
    return sheet.convert("L") if images.shape[3] == 1 else sheet


def as_rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``(N, S, S, 1 or 3)`` as ``(N, S, S, 3)``."""
    return np.broadcast_to(images, (*images.shape[:3], 3)) if images.shape[3] == 1 else images
