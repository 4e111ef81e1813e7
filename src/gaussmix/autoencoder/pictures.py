"""Sheets of what an autoencoder does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.latents.expansion_sampler import ExpansionSampler
from gaussmix.pictures import contact_sheet, save_atomic

_PAIRS, _SAMPLES, _CLASSES, _SCALED = 4, 8, 12, 64


def draw_reconstructions(
    model: ClassConditionalAutoencoder, images: NDArray[np.uint8], labels: NDArray[np.int64], path: Path
) -> None:
    """The first images of each class ``(N, S, S, C)``, each beside its reconstruction; a row is a class."""
    rows = {name: np.flatnonzero(labels == k)[:_PAIRS] for k, name in enumerate(model.class_names[:_CLASSES])}
    rows = {name: np.resize(found, _PAIRS) for name, found in rows.items() if len(found)}
    chosen = images[np.concatenate(list(rows.values()))]
    pairs = np.stack([chosen, model.decode(model.encode(chosen))], axis=1).reshape(-1, *chosen.shape[1:])
    error = np.mean((pairs[::2] / 255.0 - pairs[1::2] / 255.0) ** 2)
    sheet = contact_sheet(
        as_rgb(pairs),
        columns=2 * _PAIRS,
        title="Images and their reconstructions",
        row_labels=list(rows),
        column_labels=["image", "decoded"] * _PAIRS,
        caption=f"d = {model.config['latent_dim']}; mean squared error of these pixels in [0, 1]: {error:.4f}",
        scale=max(1, round(_SCALED / chosen.shape[1])),
    )
    save_atomic(sheet, path)


def draw_samples(model: ClassConditionalAutoencoder, sampler: ExpansionSampler, path: Path, *, seed: int = 0) -> None:
    """New images of each class that ``sampler`` knows by its position in ``model.class_names``; a row is a class."""
    labels = np.repeat(np.arange(len(model.class_names))[:_CLASSES], _SAMPLES)
    images = model.decode(sampler.sample(len(labels), class_label=labels, random_state=seed))
    sheet = contact_sheet(
        as_rgb(images),
        columns=_SAMPLES,
        title="New images of each class",
        row_labels=list(model.class_names[:_CLASSES]),
        caption=f"Decoded latents from the distribution of each class ({sampler.coupling}), not chosen by hand.",
        scale=max(1, round(_SCALED / images.shape[1])),
    )
    save_atomic(sheet, path)


def as_rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``(N, S, S, 1 or 3)`` as ``(N, S, S, 3)``."""
    return np.broadcast_to(images, (*images.shape[:3], 3)) if images.shape[3] == 1 else images
