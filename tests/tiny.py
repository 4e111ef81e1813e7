"""A network, a data set and a run small enough for a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.unet import AttributeUNet, ConditionConfig

TINY = {"sample_size": 8, "n_attributes": 3, "block_out_channels": (8, 16), "attention_head_dim": 8, "token_dim": 8}
_CONDITION = [field.name for field in dataclasses.fields(ConditionConfig)]
NAMES = ["Bald", "Long_Hair", "Sunglasses"]


def tiny_unet(seed: int = 0, **settings) -> AttributeUNet:
    """An `AttributeUNet` for 8 x 8 pictures with 3 attributes and a base token, in evaluation mode.

    ``settings`` are those of the network and of its `ConditionConfig`.
    """
    settings = {**TINY, **settings}
    condition = ConditionConfig(**{name: settings.pop(name) for name in _CONDITION if name in settings})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AttributeUNet(condition=condition, **settings).eval()


def squares_dataset() -> AttributeDataset:
    """40 pictures of 8 x 8 whose attributes are the brightness of three stripes; 32 train, 4 valid, 4 test."""
    rng = np.random.default_rng(0)
    attributes = rng.integers(0, 2, (40, 3)).astype(np.uint8)
    images = rng.integers(0, 60, (40, 8, 8, 3)).astype(np.uint8)
    for k in range(3):
        images[:, :, 2 * k : 2 * k + 2] += (attributes[:, k] * 150)[:, None, None, None]
    split = np.zeros(40, np.uint8)
    split[8::10], split[9::10] = 1, 2
    return AttributeDataset("squares", images, attributes, tuple(NAMES), split, key="squares-1")


def tiny_config(out: Path, **settings) -> DiffusionConfig:
    """60 quick steps on `squares_dataset`, a checkpoint every 5."""
    base = DiffusionConfig(
        output=out,
        size=8,
        channels=(8, 16),
        timesteps=20,
        beta_schedule="constant",
        beta=0.3,
        batch_size=5,
        steps=60,
        warmup_steps=5,
        checkpoint_every=5,
        mixed_precision="no",
        reader_steps=0,
    )
    return dataclasses.replace(base, **settings)
