"""A pipeline and a data set small enough to train on in a second."""

from __future__ import annotations

import pytest
from tiny import NAMES, squares_dataset, tiny_unet

from gaussmix.data.base import AttributeDataset
from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler


@pytest.fixture
def pipeline() -> AttributeDiffusionPipeline:
    betas = make_betas("constant", 20, beta=0.3)
    rows = pack_rows([[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    pipe = AttributeDiffusionPipeline(
        tiny_unet(), make_scheduler("dpm++", betas, "v_prediction"), attribute_names=NAMES, attribute_rows=rows
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def squares() -> AttributeDataset:
    return squares_dataset()
