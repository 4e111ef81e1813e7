"""What latents decide, on made-up data where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from reproduction.diffusion.components import attributes_told, component_information, latent_correlations


def test_information_agrees_with_scikit_learn():
    rng = np.random.default_rng(2)
    components = rng.integers(0, 3, 400)
    kinds = np.array(["a", "b", "c", "d"])[np.where(rng.random(400) < 0.7, components, rng.integers(0, 4, 400))]
    assert component_information(components, kinds) == pytest.approx(normalized_mutual_info_score(kinds, components))
    assert component_information(components, 2 - components) == pytest.approx(1)


def test_a_single_label_tells_nothing():
    assert component_information([1, 1, 1], ["a", "a", "a"]) == 0
    assert component_information([0, 1, 2], ["a", "a", "a"]) == 0
    with pytest.raises(ValueError, match=r"\(2,\) and kinds \(3,\)"):
        component_information([0, 1], [0, 1, 2])


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
    with pytest.raises(ValueError, match="T = K or K"):
        latent_correlations(table, has[:, :1])
