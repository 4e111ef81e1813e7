from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torchmetrics.image.kid import KernelInceptionDistance

from gaussmix.data.load import load_dataset
from gaussmix.metrics import kernel_distance, train_attribute_classifier
from gaussmix.metrics import manifolds as _rows


class Features(torch.nn.Module):
    num_features = 6

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (sum(u * v for u, v in zip(x, y, strict=True)) / len(x) + 1) ** 3


def test_against_loops_over_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 3)), rng.normal(1, 1, size=(5, 3))
    within = sum(np.mean([kernel(x, y) for x, y in itertools.permutations(rows, 2)]) for rows in (a, b))
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b).value == pytest.approx(within - 2 * across, rel=1e-12)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all extracted features")
def test_against_torchmetrics():
    """With subsets as large as the samples, which must then be of one size."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(40, 6)), rng.normal(0.3, 1.2, size=(40, 6))
    oracle = KernelInceptionDistance(Features(), subsets=1, subset_size=40).set_dtype(torch.float64)
    oracle.update(torch.from_numpy(a), real=True)
    oracle.update(torch.from_numpy(b), real=False)
    assert kernel_distance(a, b).value == pytest.approx(oracle.compute()[0].item(), rel=1e-9)


def test_is_symmetric_and_does_not_depend_on_the_tiles(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(30, 4)), rng.normal(1, 1, size=(21, 4))
    whole = kernel_distance(a, b)
    assert kernel_distance(b, a) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(_rows, "_ROWS", 8)
    assert kernel_distance(a, b) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.95, 1.35), (0.3, 0.85, 1.15)])
def test_standard_error_is_the_spread_of_repetitions(shift: float, low: float, high: float):
    rng = np.random.default_rng(3)
    found = [kernel_distance(rng.normal(size=(60, 8)), rng.normal(size=(90, 8)) + shift) for _ in range(600)]
    values, errors = np.transpose(found)
    assert low < np.sqrt((errors**2).mean()) / values.std() < high
    if not shift:
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(600)


def test_splits_of_real_pictures_are_not_apart():
    """Unbiased on features of real avatars: the mean over random splits is 0 within two standard errors."""
    faces = load_dataset("avatars", count=120, progress=False)
    features = train_attribute_classifier(faces, steps=4).features(faces.images)
    rng, found, biased = np.random.default_rng(4), [], []
    for _ in range(60):
        order = rng.permutation(len(features))
        a, b = features[order[:50]], features[order[50:]]
        found.append(kernel_distance(a, b))
        biased.append(sum(f * polynomial_kernel(x, y).mean() for f, x, y in ((1, a, a), (1, b, b), (-2, a, b))))
    values = np.array([distance.value for distance in found])
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean()) < 2 * error
    assert np.mean(biased) > 5 * error  # the test can fail: a row's pair with itself, counted, would show
    assert np.mean([abs(d.value) < 3 * d.standard_error for d in found]) > 0.9


def test_constant_features():
    assert kernel_distance(np.full((9, 2), 3.0), np.full((8, 2), 3.0)) == (0, 0)


def test_what_cannot_be_compared():
    a = np.zeros((5, 3))
    with pytest.raises(ValueError, match=r"^b has 3 row\(s\), and a standard error needs four"):
        kernel_distance(a, a[:3])
    with pytest.raises(ValueError, match="compute both with one extractor"):
        kernel_distance(a, a[:, :2])
    with pytest.raises(ValueError, match="a: 5 of 5 rows hold NaN"):
        kernel_distance(a * np.nan, a)
