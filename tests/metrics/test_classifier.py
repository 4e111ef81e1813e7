from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metrics.coloured_squares import SIZE, coloured_squares
from sklearn.metrics import balanced_accuracy_score

from gaussmix._files import read_tensors, write_tensors
from gaussmix.data.base import AttributeDataset, DataError
from gaussmix.metrics import (
    AttributeClassifier,
    balanced_accuracy,
    load_or_train_classifier,
    train_attribute_classifier,
)
from gaussmix.metrics import classifier as module


@pytest.fixture(scope="module")
def dataset() -> AttributeDataset:
    return coloured_squares()


@pytest.fixture(scope="module")
def trained(dataset: AttributeDataset) -> AttributeClassifier:
    return train_attribute_classifier(dataset, steps=30)


def test_it_learns_what_is_to_be_seen(trained: AttributeClassifier, dataset: AttributeDataset):
    rows = dataset.indices("test")
    found = balanced_accuracy(trained.predict(dataset.images[rows]), dataset.attributes[rows])
    assert (found[:3] >= 0.95).all(), found
    assert np.isnan(found[3])


def test_a_rare_attribute_that_cannot_be_seen_is_even_odds(dataset: AttributeDataset):
    attributes = (np.random.default_rng(0).random((len(dataset), 4)) < 0.06).astype(np.uint8)
    blind = dataclasses.replace(dataset, attributes=attributes)
    logits = train_attribute_classifier(blind, steps=30).logits(blind.images[blind.indices("test")])
    assert np.abs(logits.mean(0)).max() < 0.5, logits.mean(0)  # unweighted, they go to log(0.06 / 0.94) = -2.75


def test_progress_reports_every_step_and_a_falling_loss(dataset: AttributeDataset):
    reports: list[tuple[int, float]] = []
    train_attribute_classifier(dataset, steps=20, on_progress=lambda *report: reports.append(report))
    assert [step for step, _ in reports] == list(range(1, 21))
    assert np.mean([loss for _, loss in reports[-5:]]) < 0.7 * reports[0][1]


def test_one_seed_gives_one_network_and_global_randomness_stays(dataset: AttributeDataset):
    before = torch.random.get_rng_state()
    first, same, other = (train_attribute_classifier(dataset, steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name]), name
    assert not torch.equal(first.head.weight, other.head.weight)


def test_an_image_is_judged_by_itself(trained: AttributeClassifier, dataset: AttributeDataset):
    images = np.concatenate([dataset.images, dataset.images[:3]])  # more than one batch
    together = trained.train().logits(images)
    assert trained.training  # as it was
    trained.eval()
    alone = np.concatenate([trained.logits(image[None]) for image in images[-3:]])
    np.testing.assert_allclose(together[-3:], alone, atol=1e-4)
    assert together.shape == (len(images), 4)
    assert together.dtype == np.float32
    assert trained.predict(images[:0]).shape == (0, 4)


def test_features_are_the_layer_before_the_logits(trained: AttributeClassifier, dataset: AttributeDataset):
    features = trained.features(dataset.images[:9])
    weight, bias = (parameter.detach().numpy() for parameter in (trained.head.weight, trained.head.bias))
    np.testing.assert_allclose(features @ weight.T + bias, trained.logits(dataset.images[:9]), atol=1e-4)


def test_decisions_follow_the_thresholds(trained: AttributeClassifier, dataset: AttributeDataset):
    moved = AttributeClassifier(trained.attribute_names, SIZE)
    moved.load_state_dict(trained.state_dict())
    moved.thresholds.copy_(torch.tensor([1e9, -1e9, 1e9, -1e9]))
    assert moved.predict(dataset.images[:5]).tolist() == [[False, True, False, True]] * 5


@pytest.mark.parametrize("size", [8, 16, 33, 64, 178])
def test_any_image_size(size: int):
    classifier = AttributeClassifier(("A", "B"), size).eval()
    assert classifier.logits(np.zeros((2, size, size, 3), np.uint8)).shape == (2, 2)


def test_images_that_are_not_meant(trained: AttributeClassifier):
    with pytest.raises(ValueError, match="at least 8"):
        AttributeClassifier(("A",), 7)
    for shape in [(2, 32, 32, 3), (16, 16, 3), (2, 3, 16, 16)]:
        with pytest.raises(ValueError, match=r"\(N, 16, 16, 3\), got uint8 \("):
            trained.predict(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="got float32"):
        trained.predict(np.zeros((2, 16, 16, 3), np.float32))


def test_thresholds_are_nearly_the_best_and_no_further_from_zero_than_needed():
    rng = np.random.default_rng(0)
    truth = rng.random((200, 3)) < 0.3
    logits = (rng.normal(0, 1, (200, 3)) + 2 * truth + (1.5, -4, -1)).astype(np.float32)  # the last is right at 0

    def score(k: int, threshold: float) -> float:
        return float(balanced_accuracy_score(truth[:, k], logits[:, k] > threshold))

    for k, threshold in enumerate(module._best_thresholds(logits, truth)):
        best = max(score(k, cut) for cut in logits[:, k])
        error = np.sqrt(best * (1 - best) * 4 / 200)  # generous: more than one standard error of the best
        assert best - error <= score(k, threshold)
        assert score(k, threshold) >= score(k, 0)
        if threshold:
            assert score(k, 0.9 * threshold) < score(k, threshold) + error
    shifted = module._best_thresholds(logits, truth)
    assert shifted[0] > 0.5
    assert shifted[1] < -1.5


def test_a_threshold_stays_at_zero_without_a_reason_to_move():
    logits = np.array([[-2.0], [-1.0], [3.0], [5.0]], np.float32)
    assert module._best_thresholds(logits, np.array([[0], [0], [1], [1]], bool)) == [0]
    assert module._best_thresholds(logits, np.ones((4, 1), bool)) == [0]
    assert module._best_thresholds(logits, np.array([[0], [1], [1], [1]], bool)) == [-1.5]


def test_splits_that_are_missing(dataset: AttributeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without_valid = dataclasses.replace(dataset, split=np.where(dataset.split == 1, 0, dataset.split))
    assert not train_attribute_classifier(without_valid, steps=2).thresholds.any()
    monkeypatch.setattr(module, "train_attribute_classifier", _must_not_train)
    without_test = dataclasses.replace(dataset, split=np.where(dataset.split == 2, 0, dataset.split))
    with pytest.raises(DataError, match="'test' is empty"):
        load_or_train_classifier(without_test, cache=tmp_path, progress=False)
    with pytest.raises(ValueError, match="steps is 0"):
        train_attribute_classifier(dataset, steps=0)


# --- the cache -------------------------------------------------------------------------------------------------------


def _must_not_train(*_: object, **__: object) -> AttributeClassifier:
    raise AssertionError("trained again")


def _load(dataset: AttributeDataset, cache: Path | None, steps: int = 3, progress: bool = False):
    return load_or_train_classifier(dataset, steps=steps, cache=cache, progress=progress)


def _entry(cache: Path) -> Path:
    """The only file that the cache holds for classifiers."""
    (path,) = (cache / "classifiers").iterdir()
    return path


def test_trained_once_then_read(dataset: AttributeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, real = _load(dataset, tmp_path)
    assert _entry(tmp_path).name == f"sq1-{module.VERSION}.safetensors"
    rows = dataset.indices("test")
    np.testing.assert_array_equal(
        real, balanced_accuracy(first.predict(dataset.images[rows]), dataset.attributes[rows])
    )
    assert np.isnan(real[3])
    monkeypatch.setattr(module, "train_attribute_classifier", _must_not_train)
    before = torch.random.get_rng_state()
    again, same = _load(dataset, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(same, real)
    np.testing.assert_array_equal(again.logits(dataset.images), first.logits(dataset.images))
    assert not again.training


def test_the_environment_names_the_cache(
    dataset: AttributeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("GAUSSMIX_CACHE", str(tmp_path))
    _load(dataset, None)
    assert not any(capsys.readouterr())
    path = _entry(tmp_path)
    _load(dataclasses.replace(dataset, key="other"), None, progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert "attribute classifier of squares" in err
    assert "loss" in err
    assert path.exists()


def _edit(score: np.ndarray | None = None, **facts: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        tensors, metadata = read_tensors(path, "classifier")
        about = {**json.loads(metadata["about"]), **facts}
        tensors = {**tensors, "score": tensors["score"] if score is None else score}
        write_tensors(path, tensors, "classifier", {"about": json.dumps(about)})

    return edit


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "one bit of the weights": _flip_a_bit,
    "gone": lambda path: path.unlink(),
    "not safetensors": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "another format": lambda path: write_tensors(path, {"a": np.zeros(3)}, "sampler"),
    "another layout": lambda path: write_tensors(path, {"a": np.zeros(3)}, "classifier", {"about": "[]"}),
    "nothing said": lambda path: write_tensors(path, read_tensors(path, "classifier")[0], "classifier"),
    "accuracy of another number of attributes": _edit(score=np.array([0.5])),
    "other attributes": _edit(attribute_names=["Red", "Left", "Dot", "Dotted"]),
    "other size": _edit(image_size=32),
    "other steps": _edit(steps=4),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_is_built_again(damage: Callable[[Path], object], dataset: AttributeDataset, tmp_path: Path):
    first, real = _load(dataset, tmp_path, steps=1)
    before, facts = read_tensors(_entry(tmp_path), "classifier")
    damage(_entry(tmp_path))
    again, same = _load(dataset, tmp_path, steps=1)
    after, again_facts = read_tensors(_entry(tmp_path), "classifier")
    assert facts == again_facts
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    np.testing.assert_array_equal(same, real)
    np.testing.assert_array_equal(again.logits(dataset.images[:9]), first.logits(dataset.images[:9]))


def test_an_interrupted_write_leaves_nothing(
    dataset: AttributeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _load(dataset, tmp_path, steps=1)
    assert not list((tmp_path / "classifiers").iterdir())
    _load(dataset, tmp_path, steps=1)
    assert _entry(tmp_path).is_file()


def test_of_two_at_once_both_succeed(dataset: AttributeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train = train_attribute_classifier

    def train_while_another_does(*args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(module, "train_attribute_classifier", train)
            _load(dataset, tmp_path, steps=1)
        return train(*args, **kwargs)

    monkeypatch.setattr(module, "train_attribute_classifier", train_while_another_does)
    _load(dataset, tmp_path, steps=1)
    monkeypatch.setattr(module, "train_attribute_classifier", _must_not_train)
    _load(dataset, tmp_path, steps=1)
    assert _entry(tmp_path).is_file()


# --- balanced accuracy -----------------------------------------------------------------------------------------------

pairs = hnp.arrays(bool, st.tuples(st.just(2), st.integers(1, 30), st.integers(1, 5)))


@settings(deadline=None)
@given(pairs)
def test_agrees_with_scikit_learn(pair: np.ndarray):
    predicted, truth = pair
    ours = balanced_accuracy(predicted, truth)
    for k in range(truth.shape[1]):
        if truth[:, k].all() or not truth[:, k].any():
            assert np.isnan(ours[k])
        else:
            assert ours[k] == pytest.approx(balanced_accuracy_score(truth[:, k], predicted[:, k]))


@settings(deadline=None)
@given(pairs)
def test_the_opposite_decisions_have_the_rest(pair: np.ndarray):
    predicted, truth = pair
    np.testing.assert_allclose(balanced_accuracy(predicted, truth), 1 - balanced_accuracy(~predicted, truth))


def test_ignoring_a_rare_attribute_is_worth_a_half():
    truth = np.zeros((100, 1), np.uint8)
    truth[0] = 1
    assert balanced_accuracy(np.zeros((100, 1)), truth) == [0.5]


@pytest.mark.parametrize(("predicted", "truth"), [((4, 2), (4, 3)), ((4, 2), (5, 2)), ((4,), (4,))])
def test_shapes_that_do_not_fit_are_named(predicted: tuple[int, ...], truth: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"\(N, K\), got \(4"):
        balanced_accuracy(np.zeros(predicted), np.zeros(truth))
