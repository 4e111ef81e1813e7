from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gaussmix.data.base import AttributeDataset
from reproduction.diffusion.components import train_subtype_judge


def patterns(count: int = 500) -> AttributeDataset:
    """Grey pictures of 8 x 8 with a patch in one of three colours, at the left or the right; both are parts."""
    rng = np.random.default_rng(0)
    colour, side = rng.integers(0, 3, count), rng.integers(0, 2, count)
    images = rng.normal(128, 8, (count, 8, 8, 3))
    palette = np.array([[230, 60, 60], [60, 230, 60], [60, 60, 230]])
    for i in range(count):
        images[i, 2:6, 4 * side[i] : 4 * side[i] + 4] = palette[colour[i]]
    parts = {"colour": np.array(["red", "green", "blue"])[colour], "side": np.array(["left", "right"])[side]}
    split = (np.arange(count) % 10 == 9).astype(np.uint8) * 2
    attributes = side[:, None].astype(np.uint8)
    return AttributeDataset(
        "patterns", images.astype(np.uint8), attributes, ("Right",), split, "patterns-1", parts=parts
    )


@pytest.fixture(scope="module")
def dataset() -> AttributeDataset:
    return patterns()


def test_it_names_the_kind_of_each_part(dataset: AttributeDataset):
    before = torch.random.get_rng_state()
    losses: list[float] = []
    judge = train_subtype_judge(
        dataset, ("side", "colour"), steps=40, on_progress=lambda _step, loss: losses.append(loss)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(losses) == 40
    assert losses[0] == pytest.approx(np.log(2) + np.log(3), abs=0.5)  # the losses of both parts are added
    assert judge.kinds == {"side": ("left", "right"), "colour": ("blue", "green", "red")}
    rows = dataset.indices("test")
    found = judge.predict(dataset.images[rows])
    assert dataset.parts is not None
    for part in judge.kinds:
        assert (found[part] == dataset.parts[part][rows]).mean() > 0.95
    for part, kinds in judge.predict(dataset.images[:0]).items():
        assert kinds.shape == (0,), part


def test_parts_that_nobody_knows_and_no_steps_are_refused(dataset: AttributeDataset):
    with pytest.raises(ValueError, match="parts are hat, side; patterns knows colour, side"):
        train_subtype_judge(dataset, ("hat", "side"))
    with pytest.raises(ValueError, match="parts are none"):
        train_subtype_judge(dataset, ())
    with pytest.raises(ValueError, match="patterns knows none"):
        train_subtype_judge(dataclasses.replace(dataset, parts=None), ("side",))
    with pytest.raises(ValueError, match="steps is 0; it must be at least 1"):
        train_subtype_judge(dataset, ("side",), steps=0)
