from __future__ import annotations

import numpy as np
import pytest
from oracles import manifolds as oracle

from gaussmix.metrics import manifold_scores, manifolds, nearest_distances, nearest_pictures, pairwise_diversity


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("tile", [8, 1024])
@pytest.mark.parametrize("kind", ["normal", "whole numbers", "far from zero"])
def test_against_loops_over_pairs(kind: str, tile: int, k: int, monkeypatch: pytest.MonkeyPatch):
    """Whole numbers have rows that are equal and rows on the rim of a ball."""
    monkeypatch.setattr(manifolds, "_ROWS", tile)
    rng = np.random.default_rng(k)
    real, generated = rng.normal(size=(30, 3)) * 2, rng.normal(size=(22, 3)) * 2 + (1, 0, 0)
    if kind == "whole numbers":
        real, generated = real.round(), generated.round()
    if kind == "far from zero":
        real, generated = real + 1e6, generated + 1e6
    assert tuple(manifold_scores(real, generated, k=k)) == pytest.approx(
        oracle.manifold_scores(real, generated, k), abs=1e-12
    )


def test_the_same_pictures():
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    scores = manifold_scores(rows, rows)
    assert (scores.precision, scores.recall, scores.coverage, scores.defect_rate) == (1, 1, 1, 0)
    assert scores.density == pytest.approx(6 / 5)  # a row is in its own ball and, on average, in five others


def test_defects_and_missing_kinds_are_told_apart():
    rng = np.random.default_rng(1)
    two_kinds = np.repeat([[0.0, 0.0], [50.0, 0.0]], 200, axis=0) + rng.normal(size=(400, 2))
    one_kind = rng.normal(size=(300, 2))
    missing = manifold_scores(two_kinds, one_kind)
    assert missing.precision > 0.95
    assert missing.recall == pytest.approx(0.5, abs=0.03)
    assert missing.coverage < 0.52
    defects = manifold_scores(one_kind, two_kinds)
    assert defects.defect_rate == pytest.approx(0.5, abs=0.03)
    assert defects.recall > 0.95


def test_two_samples_of_one_law():
    a, b = np.random.default_rng(2).normal(size=(2, 800, 3))
    scores = manifold_scores(a, b)
    assert scores.density == pytest.approx(1, abs=0.1)
    assert scores.coverage == pytest.approx(1 - 0.5**5, abs=0.02)  # Naeem et al. 2020, section 3.3, at N = M


def test_constant_features_are_one_point():
    assert manifold_scores(np.full((9, 3), 0.1), np.full((8, 3), 0.1), k=2) == (1, 1, 9 / 2, 1)
    assert manifold_scores(np.full((9, 3), 0.1), np.full((8, 3), 0.2), k=2) == (0, 0, 0, 0)


def test_what_cannot_be_compared():
    rows = np.random.default_rng(3).normal(size=(6, 2))
    with pytest.raises(ValueError, match=r"^k is 0"):
        manifold_scores(rows, rows, k=0)
    manifold_scores(rows, rows, k=5)
    with pytest.raises(ValueError, match=r"^real has 6 row\(s\), and each needs k = 6 neighbours; give at least 7"):
        manifold_scores(rows, rows, k=6)
    with pytest.raises(ValueError, match=r"^generated has 5"):
        manifold_scores(rows, rows[:5], k=5)
    with pytest.raises(ValueError, match="compute both with one extractor"):
        manifold_scores(rows, rows[:, :1], k=1)


@pytest.mark.parametrize("tile", [4, 1024])
def test_distances_against_loops_over_pairs(tile: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manifolds, "_ROWS", tile)
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 1, (11, 3)), rng.normal(5, 2, (17, 3))
    assert pairwise_diversity(a) == pytest.approx(oracle.pairwise_diversity(a), rel=1e-12)
    assert nearest_distances(a, b) == pytest.approx(oracle.nearest_distances(a, b), rel=1e-12)


def test_a_copy_is_at_distance_zero():
    training = np.random.default_rng(1).normal(1e4, 1, (40, 20)).astype(np.float32)
    distances = nearest_distances(np.concatenate([training[[7]], training[[7]] + 0.01]), training)
    assert distances[0] == 0
    assert distances[1] == pytest.approx(np.sqrt(20) * 0.01, rel=0.1)  # single precision at 10 000 has steps of 0.001


def test_equal_pictures_have_no_diversity():
    assert pairwise_diversity(np.full((5, 3), 0.1)) == 0
    with pytest.raises(ValueError, match=r"^features has 1 row\(s\), and a pair needs two; give at least 2"):
        pairwise_diversity(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"^b has 0 row\(s\); give at least 1"):
        nearest_distances(np.zeros((1, 3)), np.zeros((0, 3)))


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)


def test_nearest_pictures_against_loops():
    images, training = noise(5, 0), noise(1030, 1)  # more than are compared at a time
    expected = [
        min(np.sqrt(((image.astype(float) - other) ** 2).mean()) for other in training.astype(float))
        for image in images
    ]
    assert nearest_pictures(images, training) == pytest.approx(expected)
    large, few = images.repeat(9, 1).repeat(9, 2), training[:20].repeat(9, 1).repeat(9, 2)  # 72 pixels: means of 2 x 2
    coarse = [min(((_means(image) - _means(other)) ** 2).mean() for other in few) ** 0.5 for image in large]
    assert nearest_pictures(large, few) == pytest.approx(coarse, rel=1e-5)
    with pytest.raises(ValueError, match=r"shapes \(5, 8, 8, 3\) and \(20, 72, 72, 3\); give some, of one size"):
        nearest_pictures(images, few)
    with pytest.raises(ValueError, match="give some"):
        nearest_pictures(images[:0], images)


def _means(image: np.ndarray) -> np.ndarray:
    return image.astype(float).reshape(36, 2, 36, 2, 3).mean((1, 3))
