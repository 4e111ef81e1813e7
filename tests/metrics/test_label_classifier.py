"""The judge of classes learns, keeps to its contract and is kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from metrics.coloured_squares import draw_squares

from gaussmix.data.base import DataError, LabelledImages
from gaussmix.data.load import load_labelled
from gaussmix.metrics import classifier as module
from gaussmix.metrics.classifier import (
    LabelClassifier,
    load_or_train_label_classifier,
    train_label_classifier,
)


@pytest.fixture(scope="module")
def digits() -> LabelledImages:
    return load_labelled("digits")


@pytest.fixture(scope="module")
def trained(digits: LabelledImages) -> LabelClassifier:
    return train_label_classifier(digits, steps=120)


def test_it_learns_digits(trained: LabelClassifier, digits: LabelledImages) -> None:
    rows = digits.indices("test")
    assert (trained.predict(digits.images[rows]) == digits.labels[rows]).mean() > 0.95


def test_it_learns_colours() -> None:
    attributes = (np.random.default_rng(0).random((300, 4)) < 0.5).astype(np.uint8)
    attributes[:, 3] = 0
    split = np.where(np.arange(300) % 5 == 4, 2, 0).astype(np.uint8)
    images = draw_squares(attributes, np.full(300, 0.5))
    labels = attributes[:, 0].astype(np.int64)
    squares = LabelledImages("squares", images, labels, ("blue", "red"), split, "squares")
    judge, rows = train_label_classifier(squares, steps=30), squares.indices("test")
    assert (judge.predict(images[rows]) == labels[rows]).mean() > 0.95


def test_what_it_returns(trained: LabelClassifier, digits: LabelledImages) -> None:
    images = digits.images[:300]  # more than one batch
    probabilities, features = trained.probabilities(images), trained.features(images)
    assert (probabilities.shape, features.shape, features.dtype) == ((300, 10), (300, 64), np.float32)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    weight, bias = (parameter.detach().numpy() for parameter in (trained.head.weight, trained.head.bias))
    expected = np.exp(features @ weight.T + bias)
    np.testing.assert_allclose(probabilities, expected / expected.sum(1, keepdims=True), atol=1e-4)
    np.testing.assert_array_equal(trained.predict(images), probabilities.argmax(1))
    np.testing.assert_array_equal(trained.probabilities(images[..., 0]), probabilities)
    with pytest.raises(ValueError, match=r"\(N, 8, 8, 1\), got uint8 \(2, 16, 16, 1\)"):
        trained.predict(np.zeros((2, 16, 16, 1), np.uint8))
    with pytest.raises(ValueError, match="at least 8"):
        LabelClassifier(("a", "b"), 7, 1)


def test_one_seed_gives_one_network_and_global_randomness_stays(digits: LabelledImages) -> None:
    before = torch.random.get_rng_state()
    first, same, other = (train_label_classifier(digits, steps=2, seed=seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_trained_once_then_read(digits: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, accuracy = load_or_train_label_classifier(digits, steps=20, cache=tmp_path, progress=False)
    rows = digits.indices("test")
    assert accuracy == (first.predict(digits.images[rows]) == digits.labels[rows]).mean()
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_label_classifier", lambda *_, **__: pytest.fail("trained again"))
        again, same = load_or_train_label_classifier(digits, steps=20, cache=tmp_path, progress=False)
    assert same == accuracy
    np.testing.assert_array_equal(again.probabilities(digits.images), first.probabilities(digits.images))
    (weights,) = (tmp_path / "classifiers").iterdir()
    weights.write_bytes(weights.read_bytes()[:-5])  # damaged: made anew
    anew, same = load_or_train_label_classifier(digits, steps=20, cache=tmp_path, progress=False)
    assert same == accuracy
    np.testing.assert_array_equal(anew.probabilities(digits.images), first.probabilities(digits.images))


def test_what_cannot_be_trained(digits: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        train_label_classifier(digits, steps=0)
    all_train = dataclasses.replace(digits, split=np.zeros_like(digits.split))
    with pytest.raises(DataError, match="'test' is empty"):
        load_or_train_label_classifier(all_train, cache=tmp_path, progress=False)
