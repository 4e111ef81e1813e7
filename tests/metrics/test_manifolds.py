from __future__ import annotations

import numpy as np
import pytest
from oracles import manifolds as oracle

from gaussmix.metrics import manifold_scores
from gaussmix.metrics import manifolds as _rows


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("tile", [8, 1024])
@pytest.mark.parametrize("kind", ["normal", "whole numbers", "far from zero"])
def test_against_loops_over_pairs(kind: str, tile: int, k: int, monkeypatch: pytest.MonkeyPatch):
    """Whole numbers have rows that are equal and rows on the rim of a ball."""
    monkeypatch.setattr(_rows, "_ROWS", tile)
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
