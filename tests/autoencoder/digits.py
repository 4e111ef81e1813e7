"""Labelled images small enough to train on in a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from gaussmix.autoencoder.config import AutoencoderConfig
from gaussmix.data.base import LabelledImages


def digits_dataset(key: str = "digits-1", count: int = 500) -> LabelledImages:
    """scikit-learn's digits, 8 x 8; of every five, four train and one is for the test."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.round(np.asarray(images[:count]) * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    split = np.where(np.arange(count) % 5 == 4, 2, 0).astype(np.uint8)
    return LabelledImages("digits", pixels, np.asarray(labels[:count], np.int64), tuple("0123456789"), split, key)


def tiny_config(out: Path, **settings) -> AutoencoderConfig:
    """30 quick steps, a checkpoint every 5."""
    base = AutoencoderConfig(
        output=out, channels=(4, 8), hidden=16, latent_dim=4, batch_size=8, steps=30, warmup_steps=5, checkpoint_every=5
    )
    return dataclasses.replace(base, **settings)
