from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from metrics.coloured_squares import coloured_squares
from PIL import Image

from gaussmix.metrics.classifier import train_attribute_classifier
from gaussmix.metrics.features import InceptionFeatures

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class SmallInception(torch.nn.Module):
    """Takes the place of InceptionV3: the mean of each colour over each of 5 x 5 fields."""

    def __init__(self, rows: bool = True):
        super().__init__()
        self.rows = rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 299, 299)
        fields = F.adaptive_avg_pool2d(x, 5)
        return fields.flatten(1) if self.rows else fields


def saved(path: Path, network: torch.nn.Module) -> Path:
    torch.jit.script(network).save(str(path))
    return path


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> InceptionFeatures:
    return InceptionFeatures(saved(tmp_path_factory.mktemp("net") / "small.pt", SmallInception()))


def pictures(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def test_features_are_the_networks(extractor: InceptionFeatures):
    images = pictures(35, 299)  # nothing to resize, and more than one batch
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    features = extractor.features(images)
    assert features.dtype == np.float32
    assert np.abs(features - SmallInception()(x).numpy()).max() < 1e-6
    assert extractor.features(images[:0]).shape == (0, 75)
    assert features.min() >= -1
    assert features.max() <= 1


@pytest.mark.parametrize("size", [32, 64, 400])
def test_pictures_are_resized_as_pillow_does_it(extractor: InceptionFeatures, size: int):
    """Pillow's bilinear filter has its pixel centres between the corners and smooths when it shrinks."""
    images = np.stack([np.kron(image, np.ones((size // 8, size // 8, 1))) for image in pictures(3, 8)]).astype(np.uint8)
    resized = [np.asarray(Image.fromarray(i).resize((299, 299), Image.Resampling.BILINEAR)) for i in images]
    assert extractor.features(images) == pytest.approx(extractor.features(np.stack(resized)), abs=0.5 / 127.5)


def test_fine_texture_is_smoothed_when_it_shrinks(extractor: InceptionFeatures):
    checks = np.indices((598, 598)).sum(0) % 2 * 255
    images = np.repeat(checks[None, :, :, None], 3, 3).astype(np.uint8)
    assert np.abs(extractor.features(images)).max() < 0.01  # grey; every second pixel alone would be black or white


def test_files_that_are_something_else(tmp_path: Path):
    with pytest.raises(ValueError, match=r"there is no file .*nothing\.pt .*give a file that torch\.jit\.save wrote"):
        InceptionFeatures(tmp_path / "nothing.pt")
    for content in (b"", b"PK but no more", b"weights"):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.pt is no TorchScript file .*; give"):
            InceptionFeatures(tmp_path / "x.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights\.pt is no TorchScript file .*; give"):
        InceptionFeatures(tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"maps\.pt turned 2 pictures into \(2, 3, 5, 5\); give"):
        InceptionFeatures(saved(tmp_path / "maps.pt", SmallInception(rows=False)))
    with pytest.raises(ValueError, match=r"linear\.pt cannot make features of pictures; give"):
        InceptionFeatures(saved(tmp_path / "linear.pt", torch.nn.Linear(4, 2)))


def test_pictures_that_do_not_fit(extractor: InceptionFeatures):
    for shape, kind in (((2, 8, 8, 3), float), ((8, 8, 3), np.uint8), ((2, 3, 8, 8), np.uint8)):
        images: Any = np.zeros(shape, kind)
        with pytest.raises(ValueError, match=r"^images are .*; give uint8 \(N, S, S, 3\)"):
            extractor.features(images)


def test_a_judge_that_has_learnt_stops():
    """What is easy takes fewer steps than are allowed, and the judge is no worse for it; what is noise takes all."""
    easy, steps = coloured_squares(), []
    judge = train_attribute_classifier(easy, steps=1000, on_progress=lambda step, _loss: steps.append(step))
    assert steps == list(range(1, len(steps) + 1))
    assert 50 < len(steps) < 700
    test = easy.indices("test")
    assert (judge.predict(easy.images[test]) == easy.attributes[test]).mean() > 0.97
    rng = np.random.default_rng(0)
    noise = dataclasses.replace(easy, attributes=rng.integers(0, 2, easy.attributes.shape).astype(np.uint8))
    steps.clear()
    train_attribute_classifier(noise, steps=60, on_progress=lambda step, _loss: steps.append(step))
    assert len(steps) == 60
