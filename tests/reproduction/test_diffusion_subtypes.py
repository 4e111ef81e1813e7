"""What latents decide: the judge of sub-types, and measures on made-up data where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from gaussmix.data.base import AttributeDataset
from reproduction.diffusion.subtypes import (
    attributes_told,
    component_information,
    latent_correlations,
    train_subtype_judge,
)


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


def test_information_agrees_with_scikit_learn():
    rng = np.random.default_rng(2)
    components = rng.integers(0, 3, 400)
    kinds = np.array(["a", "b", "c", "d"])[np.where(rng.random(400) < 0.7, components, rng.integers(0, 4, 400))]
    assert component_information(components, kinds) == pytest.approx(normalized_mutual_info_score(kinds, components))
    assert component_information(components, 2 - components) == pytest.approx(1)


def test_a_single_label_tells_nothing():
    assert component_information([1, 1, 1], ["a", "a", "a"]) == 0
    assert component_information([0, 1, 2], ["a", "a", "a"]) == 0


def made_up(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Z of three attributes and a base token; Z_1 follows Z_0 by half, and Z_2 tells attribute 0."""
    has = rng.integers(0, 2, (6000, 3))
    table = rng.normal(size=(6000, 4, 2))
    table[:, 1, 1] = np.sqrt(0.5) * table[:, 0, 0] + np.sqrt(0.5) * table[:, 1, 1]
    table[:, 2, 0] *= 1 + 2 * has[:, 0]
    return table, has


def test_correlations_are_found_among_the_images_that_have_both():
    table, has = made_up(np.random.default_rng(3))
    worst = latent_correlations(table, has)
    assert worst.shape == (4, 4)
    assert worst[0, 1] == worst[1, 0] == pytest.approx(np.sqrt(0.5), abs=0.03)
    both = (has[:, 0] & has[:, 1]) == 1
    assert worst[0, 1] == pytest.approx(np.corrcoef(table[both, 0, 0], table[both, 1, 1])[0, 1])
    assert np.isnan(np.diag(worst)).all()
    rest = [worst[0, 2], worst[0, 3], worst[1, 2], worst[1, 3], worst[2, 3]]
    assert max(rest) < 0.15


def test_told_attributes_are_found_also_when_only_the_spread_tells():
    table, has = made_up(np.random.default_rng(4))
    told = attributes_told(table, has)
    assert told[2, 0] > 0.1
    told[2, 0] = 0
    assert np.nanmax(told) < 0.02


def test_few_images_say_nothing():
    table, has = made_up(np.random.default_rng(5))
    assert np.isnan(latent_correlations(table[:50], has[:50])).all()
    assert np.isnan(attributes_told(table[:50], has[:50])).all()
