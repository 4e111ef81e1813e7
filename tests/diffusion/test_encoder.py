"""AttributeEncoder: what it reads, and that it travels with the pipeline."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from gaussmix.diffusion.encoder import READER_SEED, AttributeEncoder, train_encoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.matching import MatchedLatents, match_latents


@pytest.fixture(scope="module")
def matched(squares) -> MatchedLatents:
    rows = squares.indices("train")
    latents = AttributeLatents(3, base_token=True)
    return match_latents(squares.images[rows], squares.attributes[rows], latents, seed=0)


@pytest.fixture(scope="module")
def encoder(squares, matched) -> AttributeEncoder:
    return train_encoder(squares, matched.encoder, matched.maps, steps=40)


def test_it_reads_attributes_of_new_pictures(encoder, squares):
    held_out = squares.split > 0
    read = encoder.read_attributes(squares.images[held_out])
    assert read.dtype == np.uint8
    assert (read == squares.attributes[held_out]).mean() > 0.9


def test_it_reads_z_as_the_latent_encoder_does(encoder, squares, matched):
    read = encoder.encode(squares.images[:5], squares.attributes[:5], seed=3).numpy()
    for i in range(5):
        known = matched.encoder.encode(squares.images[i : i + 1], squares.attributes[i : i + 1], seed=3)
        assert np.abs(read[i] - known[0]).mean() < 0.02  # the tables of ranks are rounded
    assert not np.allclose(read[0], read[1])


def test_the_reader_is_not_the_judge():
    assert READER_SEED != 0


def test_progress_counts_the_readers_steps(squares, matched):
    seen = []
    train_encoder(squares, matched.encoder, matched.maps, steps=2, on_progress=lambda step, loss: seen.append(step))
    assert seen == [1, 2]


def test_it_is_saved_in_half_precision_and_reads_the_same_again(encoder, squares, pipeline, tmp_path):
    pipeline.register_modules(encoder=encoder)
    pipeline.save_pretrained(tmp_path)
    assert encoder.dtype == torch.float32  # saving a copy
    (file,) = (tmp_path / "encoder").glob("*.safetensors")
    assert file.stat().st_size < 1.1e6
    with safe_open(file, "pt") as kept:
        kinds = {kept.get_slice(name).get_dtype() for name in kept.keys()}  # noqa: SIM118, not a dict
    assert "F16" in kinds
    assert not kinds & {"F32", "F64"}

    again = AttributeDiffusionPipeline.load(tmp_path).encoder
    assert again is not None
    images = squares.images
    attributes = again.read_attributes(images)
    assert np.array_equal(attributes, encoder.read_attributes(images))
    assert (again.encode(images, attributes) - encoder.encode(images, attributes)).abs().mean() < 0.01
    assert torch.allclose(again.maps, encoder.maps, atol=1e-3)


def test_a_model_without_one_still_loads(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    del index["encoder"]  # as models were saved before there was one
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert AttributeDiffusionPipeline.load(tmp_path).encoder is None


def test_pictures_of_another_size_are_refused(encoder):
    with pytest.raises(ValueError, match=r"shape \(N, 8, 8, 3\), got uint8 \(1, 16, 16, 3\)"):
        encoder.read_attributes(np.zeros((1, 16, 16, 3), np.uint8))
