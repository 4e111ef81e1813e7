"""Labelled images small enough to train on in a second."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from gaussmix.autoencoder.config import AutoencoderConfig


@dataclass
class Digits:
    """Labelled images as the trainer takes them; ``split`` is 0 for training, 2 for the test."""

    images: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    key: str
    class_names: tuple[str, ...] = tuple("0123456789")

    def indices(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.split == ("train", "valid", "test").index(split))


def digits_dataset(key: str = "digits-1", count: int = 500) -> Digits:
    """scikit-learn's digits, 8 x 8; of every five, four train and one is for the test."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.round(np.asarray(images[:count]) * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    return Digits(pixels, np.asarray(labels[:count]), np.where(np.arange(count) % 5 == 4, 2, 0), key)


def tiny_config(out: Path, **settings) -> AutoencoderConfig:
    """30 quick steps, a checkpoint every 5."""
    base = AutoencoderConfig(
        output=out, channels=(4, 8), hidden=16, latent_dim=4, batch_size=8, steps=30, warmup_steps=5, checkpoint_every=5
    )
    return dataclasses.replace(base, **settings)
