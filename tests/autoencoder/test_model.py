"""The network: shapes, batches that do not matter, saving and loading, wrong input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gaussmix.autoencoder.config import PRESETS
from gaussmix.autoencoder.model import ClassConditionalAutoencoder


def tiny_model(**settings) -> ClassConditionalAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        base = {"class_names": ["a", "b", "c"], "image_size": 8, "latent_dim": 5, "channels": [4, 6], "hidden": 10}
        return ClassConditionalAutoencoder(**{**base, **settings}).eval()


def pictures(count: int, size: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "channels", "levels"), [(8, 1, [4, 6]), (28, 1, [4, 6]), (8, 3, [4]), (24, 3, [2, 3, 4])]
)
def test_images_to_latents_and_back(size, channels, levels):
    model = tiny_model(image_size=size, in_channels=channels, channels=levels)
    images = pictures(7, size, channels)
    z = model.encode(images)
    assert z.shape == (7, 5)
    assert z.dtype == np.float32
    decoded = model.decode(z)
    assert decoded.shape == images.shape
    assert decoded.dtype == np.uint8
    probabilities = model.classify(images)
    assert probabilities.shape == (7, 3)
    assert probabilities.sum(1) == pytest.approx(np.ones(7), abs=1e-5)


def test_an_image_s_latents_do_not_depend_on_its_batch():
    model, images = tiny_model(), pictures(600)
    z = model.encode(images)
    assert z[550:553] == pytest.approx(model.encode(images[550:553]), abs=1e-5)
    assert z == pytest.approx(model.encode(images[..., 0]), abs=1e-6)  # grey images need no axis of channels
    assert np.std(z, axis=0).min() > 1e-4


def test_pixels_are_rounded_from_the_unit_interval():
    model = tiny_model()
    with torch.no_grad():
        pixels = model.decoder(torch.ones(1, 5))
        assert float(pixels.min()) >= 0
        assert float(pixels.max()) <= 1
    assert np.abs(model.decode(np.ones((1, 5)))[0, ..., 0] / 255 - pixels[0, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_saved_and_loaded(tmp_path):
    model = tiny_model(training={"steps": 3})
    model.save_pretrained(tmp_path / "model")
    for folder in (tmp_path, tmp_path / "model"):  # a run, or the model itself
        again = ClassConditionalAutoencoder.load(folder)
        assert again.class_names == ("a", "b", "c")
        assert again.config["training"] == {"steps": 3}
        assert not again.training
        assert np.array_equal(again.encode(pictures(3)), model.encode(pictures(3)))


def test_wrong_input_is_refused(tmp_path):
    model = tiny_model()
    with pytest.raises(ValueError, match=r"images are \(2, 9, 9\) uint8; expected at least one of \(8, 8, 1\) uint8"):
        model.encode(np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(ValueError, match=r"images are \(2, 8, 8\) float64"):
        model.classify(np.zeros((2, 8, 8)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"images are \(0, 8, 8\)"):
        model.encode(np.zeros((0, 8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"images are \(8,\)"):
        model.encode(np.zeros(8, np.uint8))
    with pytest.raises(ValueError, match=r"latents have shape \(3,\); expected \(N, 5\), N > 0"):
        model.decode(np.zeros(3))
    with pytest.raises(ValueError, match=r"latents have shape \(0, 5\); expected \(N, 5\), N > 0"):
        model.decode(np.zeros((0, 5)))
    with pytest.raises(ValueError, match="not finite"):
        model.decode(np.full((1, 5), np.nan))
    with pytest.raises(ValueError, match=r"images are 10 pixels high and wide, but 2 levels .* multiple of 4"):
        tiny_model(image_size=10)
    with pytest.raises(ValueError, match="class_names is empty"):
        tiny_model(class_names=[])
    with pytest.raises(ValueError, match=r"no model in .*nowhere"):
        ClassConditionalAutoencoder.load(tmp_path / "nowhere")


def test_parameters_are_as_many_as_the_guide_says() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "autoencoder.md").read_text()
    for preset, size, channels, classes in (
        ("digits", 8, 1, 10), ("mnist", 28, 1, 10), ("folder", 32, 3, 2), ("folder", 64, 3, 2), ("folder", 128, 3, 2),
    ):  # fmt: skip
        config = PRESETS[preset]
        with torch.device("meta"):
            model = ClassConditionalAutoencoder(
                [str(k) for k in range(classes)], size, channels, config.latent_dim,
                channels=config.levels(size), hidden=config.hidden, around_mean=True,
            )  # fmt: skip
        for part in (model.encoder, model.decoder, model.discriminator):
            assert f"{sum(each.numel() for each in part.parameters()):,}" in guide
