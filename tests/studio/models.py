"""Models and weights small enough for a page in a test: of faces, of digits, and of styles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from autoencoder.test_model import tiny_model
from safetensors.torch import save_file
from tiny import squares_dataset, tiny_unet

from gaussmix.autoencoder.generate import NOVELTY_FILE, SAMPLER_FILE, LatentGenerator
from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.encoder import AttributeEncoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.latents.matching import match_latents
from gaussmix.metrics.classifier import AttributeClassifier
from gaussmix.style.vgg import VGG19Features

NAMES = ("<b>Bald</b>", "Long_Hair", "Smiling")
ROWS = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 1]] * 20, np.uint8)


def faces(folder: Path) -> Path:
    """Write a model of 8 x 8 pictures with three attributes, of which two never meet, and an encoder."""
    squares = squares_dataset()
    rows = squares.indices("train")
    matched = match_latents(
        squares.images[rows], squares.attributes[rows], AttributeLatents(3, base_token=True), seed=0
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = AttributeClassifier(NAMES, 8)
    maps = np.ones((3, 8, 8), np.float32)
    pipeline = AttributeDiffusionPipeline(
        tiny_unet(base_token=True),
        make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction"),
        attribute_names=list(NAMES),
        attribute_rows=pack_rows(ROWS),
        encoder=AttributeEncoder.build(reader, matched.encoder, maps),
    )
    pipeline.save_pretrained(folder)
    return folder


def digits(folder: Path, names: str = "12358") -> Path:
    """Write a run of an autoencoder of 8 x 8 pictures, whose latents lie far apart by class."""
    model = tiny_model(class_names=list(names))
    labels = np.repeat(np.arange(len(names)), 60)
    latents = 20.0 * labels[:, None] + np.random.default_rng(0).standard_normal((len(labels), 5))
    generator = LatentGenerator(model, ExpansionSampler("pca").fit(latents.astype(np.float32), labels))
    model.save_pretrained(folder / "model")
    generator.sampler.save(folder / SAMPLER_FILE)
    generator.calibrate(generator.sample(100, random_state=0)).save(folder / NOVELTY_FILE)
    return folder


def weights(path: Path) -> Path:
    """Write weights of a narrow network in place of VGG19's."""
    network = VGG19Features.random(width=4)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return path
