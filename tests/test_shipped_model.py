"""The model in the package: it loads, is small, is described, and draws what it is asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gaussmix.data.readers.avatars import ATTRIBUTES
from gaussmix.diffusion.config import BUILT_IN_MODEL
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw


@pytest.fixture(scope="module")
def pipe() -> AttributeDiffusionPipeline:
    return AttributeDiffusionPipeline.load()


def test_it_is_small_described_and_tells_no_paths():
    files = [path for path in BUILT_IN_MODEL.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}
    card = (BUILT_IN_MODEL / "README.md").read_text()
    steps = json.loads((BUILT_IN_MODEL / "model_index.json").read_text())["training"]["steps"]
    assert f"{steps:,}".replace(",", " ") in card
    told = json.loads((BUILT_IN_MODEL / "evaluation.json").read_text())
    for report in (told, told["new_faces"]):
        assert f"{report['mean']['generated']:.3f}".lstrip("0") in card
        assert f"{report['quality']['generated']['frechet_distance']:.2f}" in card
    for case in ("Eyeglasses", "Sunglasses", "Wearing Hat", "Mustache", "Beard", "Long Hair"):
        assert f"{told['kinds'][case]['value']:.2f}".lstrip("0") in card
    for path in BUILT_IN_MODEL.rglob("*.json"):
        assert "_name_or_path" not in path.read_text()


def test_it_knows_the_avatars(pipe):
    assert pipe.attribute_names == ATTRIBUTES
    assert pipe.network.config["sample_size"] == 32


def test_it_draws_what_it_is_asked_for(pipe):
    """Judged by plain colours, so that the test needs no classifier."""

    def faces(present: str, absent: str) -> np.ndarray:
        attributes = pipe.choose_attributes([present], [absent, "Sunglasses", "Beard"], count=8, seed=1)
        return draw(pipe, attributes, seed=3, steps=8)[0].astype(float)

    skin = (slice(None), slice(16, 22), slice(14, 18))  # the nose and beside it
    assert faces("Pale_Skin", "Dark_Skin")[skin].mean() > faces("Dark_Skin", "Pale_Skin")[skin].mean() + 50
    crown = (slice(None), slice(3, 7), slice(12, 20))
    red, black = faces("Red_Hair", "Bald")[crown], faces("Black_Hair", "Bald")[crown]
    assert (red[..., 0] - red[..., 2]).mean() > 60 > (black[..., 0] - black[..., 2]).mean()
