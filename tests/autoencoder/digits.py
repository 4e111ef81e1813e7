"""Labelled images small enough to train on in a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from sklearn.datasets import load_digits

from gaussmix.autoencoder.presets import AutoencoderConfig


def digits_dataset(key: str = "digits-1", count: int = 500) -> SimpleNamespace:
    """scikit-learn's digits, 8 x 8; of every five, four train and one is for the test."""
    images, labels = load_digits(return_X_y=True)
    split = np.where(np.arange(count) % 5 == 4, 2, 0)
    return SimpleNamespace(
        images=np.round(images[:count] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8),
        labels=labels[:count],
        class_names=tuple("0123456789"),
        key=key,
        indices=lambda name: np.flatnonzero(split == ("train", "valid", "test").index(name)),
    )


def tiny_config(out: Path, **settings) -> AutoencoderConfig:
    """30 quick steps, a checkpoint every 5."""
    base = AutoencoderConfig(
        out=out, channels=(4, 8), hidden=16, latent_dim=4, batch_size=8, steps=30, warmup_steps=5, checkpoint_every=5
    )
    return dataclasses.replace(base, **settings)
