"""What counts as a defect: the controls and blobs of another make are caught, real pictures are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from metrics.coloured_squares import coloured_squares, draw_squares

from gaussmix.metrics.classifier import LabelClassifier
from gaussmix.metrics.defects import SPOILERS, DefectScores, load_or_train_defects, measure_defects, spoil


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("judge")


@pytest.fixture(scope="module")
def judge(cache) -> LabelClassifier:
    return load_or_train_defects(coloured_squares(1200), cache=cache, progress=False, steps=500)


def unseen(count: int = 256) -> np.ndarray:
    rng = np.random.default_rng(77)
    return draw_squares((rng.random((count, 4)) < (0.5, 0.4, 0.125, 0)).astype(np.uint8), rng.random(count))


def blobs(count: int = 256) -> np.ndarray:
    """Ragged discs in the squares' colours, made otherwise than the controls are."""
    rng, images = np.random.default_rng(3), unseen(count)
    y, x = np.mgrid[:16, :16]
    for image in images:
        ground = image[0, 0].copy()
        angle = np.arctan2(y - 7.5, x - 7.5)
        reach = rng.uniform(2.5, 5) * (
            1 + sum(rng.normal(0, 0.2) * np.cos(k * angle + 6 * rng.random()) for k in range(2, 7))
        )
        image[:] = ground
        image[np.hypot(y - 7.5, x - 7.5) < reach] = (220, 0, 0) if rng.random() < 0.5 else (0, 0, 220)
    return images


def test_real_pictures_pass_and_blobs_do_not(judge):
    found = measure_defects(judge, blobs(), unseen())
    assert found.real < 0.1
    assert found.generated > 0.9
    assert found.missed is None
    assert measure_defects(judge, unseen(), unseen()).generated == found.real


@pytest.mark.parametrize("how", ["blurred", "shuffled"])
def test_blurred_and_shuffled_pictures_are_called_what_they_are(judge, how):
    assert measure_defects(judge, spoil(unseen(), how, seed=9), unseen()).generated > 0.9


def test_it_is_learnt_once(judge, cache):
    again = load_or_train_defects(coloured_squares(1200), cache=cache, progress=False, steps=500)
    assert np.array_equal(again.logits(unseen(8)), judge.logits(unseen(8)))
    assert len(list((cache / "classifiers").iterdir())) == 1


@pytest.mark.parametrize("how", SPOILERS)
def test_spoilt_pictures_differ_and_come_again(how):
    images = unseen(40)
    spoilt = spoil(images, how)
    assert spoilt.shape == images.shape
    assert spoilt.dtype == np.uint8
    assert np.mean([(a != b).any() for a, b in zip(spoilt, images, strict=True)]) > 0.9
    assert np.array_equal(spoilt, spoil(images, how))
    assert not np.array_equal(spoilt, spoil(images, how, seed=1))


def test_a_judge_that_misses_a_control_says_so():
    assert DefectScores(0, 0, {"blurred": 0.95, "shuffled": 0.5}).missed == (
        "of shuffled real pictures only 50% are recognised"
    )
