"""Scores of decoded images: what collapses, copies or mistakes classes is found out; the bounds; wrong use."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
from rich.console import Console

from gaussmix.autoencoder.evaluate import (
    REAL,
    RECONSTRUCTION,
    Evaluation,
    Reference,
    evaluate_samplers,
    held_out_error,
    samplers,
)
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.data.base import LabelledImages

K, N = 3, 900


@dataclass
class Reader:
    """A judge of images that are all of one grey level a pixel: the features are the pixels."""

    name: str = "reader"

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32) / 255

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        brightness = self.features(images).mean(1)
        logits = -80 * np.abs(brightness[:, None] - np.linspace(0.2, 0.8, K))
        p = np.exp(logits - logits.max(1, keepdims=True))
        return (p / p.sum(1, keepdims=True)).astype(np.float32)


def images_of(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """4 x 4 pixels around .2, .5 or .8 of white."""
    level = np.linspace(0.2, 0.8, K)[labels][:, None, None, None]
    return np.round(255 * np.clip(level + 0.08 * rng.standard_normal((len(labels), 4, 4, 1)), 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    rng = np.random.default_rng(0)
    labels = np.arange(N) % K
    split = np.where(np.arange(N) < 500, 0, 2).astype(np.uint8)
    return LabelledImages("levels", images_of(labels, rng), labels, ("dark", "grey", "light"), split, "levels")


@pytest.fixture(scope="module")
def reference(data: LabelledImages) -> Reference:
    return Reference(data, Reader(), seed=1)


def test_real_images_score_as_a_perfect_generator(reference: Reference) -> None:
    scores = reference.score(reference.images)
    assert len(reference) == 200
    assert scores.accuracy == 1
    assert scores.nearest == pytest.approx(1)
    assert scores.diversity == pytest.approx(1)
    assert scores.close == pytest.approx(0.05, abs=0.01)


def test_fresh_images_of_the_law_are_near_the_bounds(reference: Reference) -> None:
    scores = reference.score(images_of(reference.labels, np.random.default_rng(5)))
    real = reference.score(reference.images)
    assert scores.accuracy == 1
    assert scores.diversity == pytest.approx(1, abs=0.05)
    assert scores.nearest == pytest.approx(1, abs=0.05)
    assert scores.frechet < 1.5 * real.frechet


def test_collapse_shows_in_diversity_and_recall(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    middle = np.linspace(0.2, 0.8, K)[reference.labels][:, None, None, None]
    images = np.round(255 * (middle + 0.002 * rng.standard_normal((len(reference), 4, 4, 1)))).astype(np.uint8)
    scores = reference.score(images)
    assert scores.accuracy == 1
    assert scores.precision == 1
    assert scores.recall < 0.2
    assert scores.diversity < 0.2


def test_copies_of_training_images_are_found(data: LabelledImages, reference: Reference) -> None:
    train = data.indices("train")
    copies = np.stack([data.images[train[data.labels[train] == k][i]] for i, k in enumerate(reference.labels[:150])])
    copies = np.concatenate([copies, reference.images[150:]])
    scores = reference.score(copies)
    assert scores.nearest == 0
    assert scores.close == pytest.approx(0.75 + 0.25 * 0.05, abs=0.03)


def test_images_of_another_class_are_mistakes(reference: Reference) -> None:
    scores = reference.score(images_of((reference.labels + 1) % K, np.random.default_rng(5)))
    assert scores.accuracy == 0
    between = np.full_like(reference.images, round(255 * 0.35))
    assert reference.score(between).unsure == 1


def test_a_half_without_enough_of_a_class_is_refused(data: LabelledImages) -> None:
    rows = np.flatnonzero((data.split == 0) | (data.labels != 1))
    rows = np.append(rows, np.flatnonzero((data.split == 2) & (data.labels == 1))[0])
    few = replace(data, images=data.images[rows], labels=data.labels[rows], split=data.split[rows])
    with pytest.raises(ValueError, match=r"of a class only [01]: too few to measure"):
        Reference(few, Reader())


def test_every_sampler_gets_a_row_after_the_bounds(data: LabelledImages, reference: Reference) -> None:
    model = ClassConditionalAutoencoder(data.class_names, 4, 1, latent_dim=3, channels=(4,), hidden=8).eval()
    train = data.indices("train")
    latents = model.encode(data.images[train]), data.labels[train]
    seen: dict[str, np.ndarray] = {}
    some = {name: each for name, each in samplers(2).items() if name not in ("sliced-wasserstein",)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the printed Algorithm 2 warns of its negative weights: not here, row by row
        report = evaluate_samplers(model, latents, reference, some, on_row=seen.__setitem__)
    assert list(report.rows) == [REAL, RECONSTRUCTION, *some] == list(seen)
    assert all(images.shape == reference.images.shape for images in seen.values())
    assert report.rows[REAL].fit_seconds is None
    assert all((report.rows[name].fit_seconds or 0) > 0 for name in some)
    assert report.judge_accuracy == 1
    assert set(report.to_dict()["rows"]["em"]) == set(vars(report.rows["em"]))
    assert len(report.table().rows) == len(report.rows)


def test_held_out_error_is_1_for_the_mean_image_and_0_for_the_image(data: LabelledImages) -> None:
    model = ClassConditionalAutoencoder(data.class_names, 4, 1, latent_dim=3, channels=(4,), hidden=8).eval()
    test = data.images[data.indices("test")]
    mean = data.images[data.indices("train")].mean(0)
    answers = {"mean": np.broadcast_to(mean.round().astype(np.uint8), test.shape), "same": test}
    found = {}
    for name, answer in answers.items():
        model.decode = lambda latents, answer=answer: answer
        found[name] = held_out_error(model, data)
    assert found == {"mean": pytest.approx(1, abs=0.01), "same": 0}
    alone = replace(data, split=np.zeros_like(data.split))
    assert held_out_error(model, alone) is None


def test_no_number_is_cut_off_in_a_narrow_terminal(reference: Reference) -> None:
    scores = replace(reference.score(reference.images), frechet=10.1, fit_seconds=14.08)
    rows = {REAL: scores, RECONSTRUCTION: scores, **dict.fromkeys(samplers(), scores)}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(Evaluation(rows, "label classifier", 1.0, 177, 64).table())
    printed = console.export_text()
    assert "…" not in printed
    assert "sliced-wasserstein" in printed
    assert "177 images are few for 64 features" in " ".join(printed.split())
