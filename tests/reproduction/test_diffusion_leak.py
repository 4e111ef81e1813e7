"""The control of D Fig. 9: whether a classifier on the bottleneck reads the image or the condition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusion.test_classifier_head import pipeline_with, stripes
from tiny import squares_dataset, tiny_unet

from gaussmix.diffusion.schedulers import make_scheduler
from reproduction.diffusion.fig9 import measure_leak


class Reader(torch.nn.Module):
    """Stands in for a network: its classifier says what the image's stripes or the condition say."""

    def __init__(self, says: str):
        super().__init__()
        self.says, self.head, self.device, self.dtype = says, object(), torch.device("cpu"), torch.float32
        self.config = {"classifier_pass": "same", "sample_size": 8}

    def classify(self, sample, _timestep, _latents=None, attributes=None):
        if self.says == "image":
            return sample.mean((1, 2))[:, [0, 2, 4]] + 0.2  # dark is below -.5, bright above .1
        if self.says == "condition":
            assert attributes is not None
            return attributes - 0.5
        return torch.randn(len(sample), 3, generator=torch.Generator().manual_seed(len(sample)))


@pytest.mark.parametrize(("says", "image", "agreement"), [("image", 1, 1), ("condition", 0, 0), ("dice", 0.5, 1)])
def test_the_leak_control_tells_image_from_condition(says, image, agreement):
    images, attributes = stripes(600)
    pipe = pipeline_with(tiny_unet(classifier=True))
    pipe.unet = Reader(says)  # pyright: ignore[reportAttributeAccessIssue]
    quiet = make_scheduler("ddim", np.array([1e-6, 0.5]), "v_prediction")
    pipe.scheduler = quiet
    report = measure_leak(pipe, images, attributes, timestep=0)
    tolerance = 0.06 if says == "dice" else 1e-9
    assert report.image_accuracy == pytest.approx(image, abs=tolerance)
    assert report.condition_accuracy == pytest.approx(1 - image, abs=tolerance)
    assert report.agreement == pytest.approx(agreement, abs=1e-9)
    assert report.right_accuracy == pytest.approx(1 if says != "dice" else 0.5, abs=tolerance)


@pytest.mark.parametrize("how", [{"injection": "up"}, {"classifier_pass": "unconditioned"}, {}])
def test_a_classifier_that_cannot_see_the_condition_does_not_heed_it(how):
    data = squares_dataset()
    pipe = pipeline_with(tiny_unet(classifier=True, **how))
    latents = pipe.draw_attribute_latents(40, torch.Generator().manual_seed(0))
    report = measure_leak(pipe, data.images, data.attributes, timestep=10, latents=latents)
    if how:
        assert report.agreement == 1
    assert (report.timestep, report.count) == (10, 40)
    again = measure_leak(pipe, data.images, data.attributes, timestep=10, latents=latents)
    assert np.array_equal(report.image_accuracies, again.image_accuracies)


def test_the_leak_control_refuses_what_says_nothing():
    data = squares_dataset()
    pipe = pipeline_with(tiny_unet(classifier=True))
    with pytest.raises(ValueError, match="timestep is 20; choose 0 to 19"):
        measure_leak(pipe, data.images, data.attributes, timestep=20)
    with pytest.raises(ValueError, match="got 3 images and 2 rows"):
        measure_leak(pipe, data.images[:3], data.attributes[:2], timestep=1)
    with pytest.raises(ValueError, match=r"pictures are uint8 \(40, 4, 4, 3\); give uint8 \(count, 8, 8, 3\)"):
        measure_leak(pipe, data.images[:, :4, :4], data.attributes, timestep=1)
    with pytest.raises(ValueError, match="no attribute of the 5 images differs"):
        measure_leak(pipe, data.images[:5], np.ones((5, 3), np.uint8), timestep=1)
    with pytest.raises(ValueError, match="no classifier"):
        measure_leak(pipeline_with(tiny_unet()), data.images, data.attributes, timestep=1)
