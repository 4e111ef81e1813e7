"""D Figures 8 and 9: whether a classifier on the bottleneck reads the image or the condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import NAMES, squares_dataset, tiny_unet

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from reproduction.diffusion import fig9
from reproduction.diffusion.fig9 import measure_leak


def pipeline_with(unet: torch.nn.Module, betas: np.ndarray) -> AttributeDiffusionPipeline:
    pipeline = AttributeDiffusionPipeline(
        tiny_unet(classifier=True), make_scheduler("ddim", betas, "v_prediction"), attribute_names=NAMES
    )
    pipeline.unet = unet  # pyright: ignore[reportAttributeAccessIssue]
    return pipeline


def stripes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(count, 8, 8, 3)`` and attributes ``(count, 3)``, each of which lights two columns."""
    rng = np.random.default_rng(1)
    attributes = rng.integers(0, 2, (count, 3)).astype(np.uint8)
    images = rng.integers(0, 60, (count, 8, 8, 3)).astype(np.uint8)
    for k in range(3):
        images[:, :, 2 * k : 2 * k + 2] += (attributes[:, k] * 150)[:, None, None, None]
    return images, attributes


class Reader(torch.nn.Module):
    """Stands in for a network: its classifier says what the image's stripes or the condition say."""

    def __init__(self, says: str):
        super().__init__()
        self.says, self.config = says, {"classifier_pass": "same"}

    def classify(self, sample: torch.Tensor, _timestep: int, _z: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        if self.says == "image":
            return sample.mean((1, 2))[:, [0, 2, 4]] + 0.2  # dark is below -.5, bright above .1
        if self.says == "condition":
            return shown - 0.5
        return torch.randn(len(sample), 3, generator=torch.Generator().manual_seed(len(sample)))


@pytest.mark.parametrize(("says", "image", "agreement"), [("image", 1, 1), ("condition", 0, 0), ("dice", 0.5, 1)])
def test_the_leak_control_tells_image_from_condition(says: str, image: float, agreement: float) -> None:
    images, attributes = stripes(600)
    found = measure_leak(pipeline_with(Reader(says), np.array([1e-6, 0.5])), images, attributes, 0)
    tolerance = 0.06 if says == "dice" else 1e-9
    assert found["image"] == pytest.approx(image, abs=tolerance)
    assert found["condition"] == pytest.approx(1 - image, abs=tolerance)
    assert found["agreement"] == pytest.approx(agreement, abs=1e-9)
    assert found["right"] == pytest.approx(1 if says != "dice" else 0.5, abs=tolerance)


def test_a_classifier_that_cannot_see_the_condition_does_not_heed_it() -> None:
    data, betas = squares_dataset(), make_betas("constant", 20, beta=0.3)
    ways: list[dict[str, Any]] = [{"injection": "up"}, {"classifier_pass": "unconditioned"}]
    for how in ways:
        pipeline = pipeline_with(tiny_unet(classifier=True, **how), betas)
        found = measure_leak(pipeline, data.images, data.attributes, 10)
        assert found["agreement"] == 1
        assert measure_leak(pipeline, data.images, data.attributes, 10) == found
    pipeline = pipeline_with(tiny_unet(classifier=True), betas)
    with pytest.raises(ValueError, match="no attribute of the 5 images differs"):
        measure_leak(pipeline, data.images[:5], np.ones((5, 3), np.uint8), 1)


def test_forms_differ_from_their_controls_in_the_classifier_alone() -> None:
    forms = fig9.variants(tuple(NAMES), 0.1)
    assert set(forms) == set(fig9.LABELS)
    for form, control in fig9.CONTROLS.items():
        own, other = forms[form].changes, forms[control].changes
        assert {key: value for key, value in own.items() if not key.startswith("classifier")} == other
        assert own["classifier_weight"] == 0.1
