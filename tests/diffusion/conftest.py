"""A pipeline and a data set small enough to train on in a second."""

from __future__ import annotations

import pytest
from accelerate.state import AcceleratorState
from tiny import NAMES, squares_dataset, tiny_unet

from gaussmix.data.dataset import AttributeDataset
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.requests import pack_rows
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


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """accelerate keeps one state a process; every test may choose its own precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
