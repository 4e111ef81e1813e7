from __future__ import annotations

import numpy as np
import pytest
from oracles import manifolds as oracle

from gaussmix.metrics import manifolds as _rows
from gaussmix.metrics import nearest_distances, pairwise_diversity


@pytest.mark.parametrize("tile", [4, 1024])
def test_against_loops_over_pairs(tile: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_rows, "_ROWS", tile)
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
