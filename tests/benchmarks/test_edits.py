"""The report on edits, with an edit and a judge whose answers are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import squares_dataset

from benchmarks import edits
from benchmarks.edits import measure_edits
from gaussmix.diffusion.edit import EditResult


class Judge:
    """Reads the attributes that a picture carries in its first pixels."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        return images[:, 0, :3, 0] > 0

    read_attributes = predict


NAMES = ("Bald", "Long_Hair", "Sunglasses")


@pytest.fixture
def world(monkeypatch):
    """Edits that obey except for Bald, and that lose Sunglasses whenever Long_Hair is switched on."""
    squares = squares_dataset()
    squares.images[:, 0, :3, 0] = squares.attributes

    def edit(pipeline, images, present, absent, **_):
        before = Judge().predict(images).astype(np.uint8)
        after = before.copy()
        names = list(pipeline.attribute_names)
        after[:, [names.index(name) for name in present]] = 1
        after[:, [names.index(name) for name in absent]] = 0
        shown = after.copy()
        shown[:, 0] = before[:, 0]
        if present == ["Long_Hair"]:
            shown[:, 2] = 0
        edited = images.copy()
        edited[:, 0, :3, 0] = shown
        masks = np.zeros((len(images), 8, 8), np.float32)
        masks[:, :2] = 1
        nothing = torch.zeros(len(images), 4, 8)
        return EditResult(edited, before, after, nothing, nothing, masks)

    monkeypatch.setattr(edits, "edit_images", edit)
    monkeypatch.setattr(edits, "find_encoder", lambda _: Judge())
    monkeypatch.setattr(edits, "load_or_train_classifier", lambda *_, **__: (Judge(), None))
    return SimpleNamespace(attribute_names=NAMES), squares


def test_each_column_is_the_share_it_says(world):
    pipeline, squares = world
    report = measure_edits(pipeline, squares, count=40, progress=False)
    truth = squares.attributes[squares.split == 2]
    assert report.count == len(truth) == 4
    assert np.nan_to_num(report.switched_on, nan=1).tolist() == [0, 1, 1]
    assert np.nan_to_num(report.switched_off, nan=1).tolist() == [0, 1, 1]
    lost = ((truth[:, 1] == 0) & (truth[:, 2] == 1)).sum()
    assert report.kept.tolist() == [1, 1 - lost / (2 * len(truth)), 1]
    assert report.kept_before.tolist() == [1, 1, 1]
    assert report.read.tolist() == [1, 1, 1]
    assert report.untouched == pytest.approx([0.75] * 3)


def test_the_table_has_a_row_for_each_attribute_and_the_mean(world):
    lines = measure_edits(*world, count=40, progress=False).markdown().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| Bald", "| Long Hair", "| Sunglasses", "| mean"]
    assert lines[2].split(" | ")[3].startswith("100")


def test_other_data_are_refused():
    pipeline: Any = SimpleNamespace(attribute_names=("Bald", "Long_Hair", "Beard"))
    with pytest.raises(ValueError, match="squares has other attributes than the model"):
        measure_edits(pipeline, squares_dataset())


def test_strange_pictures_have_a_row_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for k in range(3):
        Image.new("RGB", (20 + k, 30), (80 * k, 0, 0)).save(tmp_path / f"{k}.png")
    pictures = edits.other_pictures(tmp_path, 32, count=4)
    assert {name: len(images) for name, images in pictures.items()} == {
        "avatars": 200,
        "photographs": 3,
        **dict.fromkeys(("drawn shapes", "one colour", "noise", "inverted colours", "upside down"), 4),
    }
    assert all(images.shape[1:] == (32, 32, 3) and images.dtype == np.uint8 for images in pictures.values())
    assert (np.ptp(pictures["one colour"], axis=(1, 2)) == 0).all()
    assert (np.ptp(pictures["drawn shapes"], axis=(1, 2)) > 0).any(-1).all()

    model = SimpleNamespace(network=SimpleNamespace(config={"sample_size": 32}))
    monkeypatch.setattr(edits.AttributeDiffusionPipeline, "load", lambda _: model)
    monkeypatch.setattr(edits, "strangeness", lambda _, images: np.linspace(0, 8, len(images)))
    lines = edits.strange(tmp_path).splitlines()
    assert lines[3] == "| photographs | 3 | 0 | 4 | 7.92 | 8 | 33.3% |"
    assert len(lines) == 2 + len(pictures)
