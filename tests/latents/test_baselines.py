"""The rivals against scikit-learn, POT, finite differences and the distributions that they learnt from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import ot
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from gaussmix.latents import baselines
from gaussmix.latents.baselines import (
    EMSampler,
    FullMixture,
    SlicedWassersteinSampler,
    fit_sliced_wasserstein,
    sliced_loss,
)


def two_heaps(count: int, seed: int = 0) -> NDArray[np.float64]:
    """A quarter round (0, 0), tilted; three quarters round (5, 1), narrow."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((count, 2)) @ [[1.0, 0.8], [0.0, 0.5]]
    far = np.arange(count) % 4 > 0
    z[far] = rng.standard_normal((far.sum(), 2)) * 0.4 + [5.0, 1.0]
    return z


def test_em_is_scikit_learns() -> None:
    z = two_heaps(600)
    sampler = EMSampler(2, random_state=0).fit(z)
    model = GaussianMixture(2, random_state=np.random.RandomState(0)).fit(z)
    np.testing.assert_allclose(sampler.score_samples(z), model.score_samples(z), rtol=1e-9)


def test_one_component_is_the_gaussian() -> None:
    z = two_heaps(500)
    (part,) = EMSampler(1).fit(z).parts_
    np.testing.assert_allclose(part.means[0], z.mean(0))
    np.testing.assert_allclose(part.factors[0] @ part.factors[0].T, np.cov(z.T, bias=True) + 1e-6 * np.eye(2))


@pytest.mark.parametrize("kind", [EMSampler, SlicedWassersteinSampler])
def test_samples_have_the_moments_of_the_rows_and_classes_their_places(kind: Any) -> None:
    z = np.concatenate([two_heaps(800), two_heaps(400, 1) + 50])
    y = np.repeat(["near", "off"], [800, 400])
    sampler = kind(2, random_state=0).fit(z, y)
    drawn = sampler.sample(6000, class_label="off", random_state=0)
    np.testing.assert_allclose(drawn.mean(0), z[800:].mean(0), atol=0.15)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(z[800:].T), atol=0.3)
    assert np.mean(sampler.sample(3000, random_state=1)[:, 0] > 25) == pytest.approx(1 / 3, abs=0.03)
    assert (sampler.class_log_densities(z).argmax(1) == np.repeat([0, 1], [800, 400])).all()
    x = np.linspace(-6, 8, 281)
    grid = np.stack(np.meshgrid(x, x), -1).reshape(-1, 2)
    labels = np.full(len(grid), "near")
    assert np.exp(sampler.score_samples(grid, labels)).sum() * (x[1] - x[0]) ** 2 == pytest.approx(1, abs=5e-3)


def mixture() -> tuple[FullMixture, NDArray[np.float64], NDArray[np.float64]]:
    """A mixture away from the rows, the rows, directions."""
    rng = np.random.RandomState(0)
    rows = rng.standard_normal((3000, 3)) * [1.0, 2.0, 0.5]
    directions = rng.standard_normal((4, 3))
    start = FullMixture(rng.standard_normal(2), rng.standard_normal((2, 3)), 0.8 * rng.standard_normal((2, 3, 3)))
    return start, rows, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def literal_distance(found: FullMixture, rows: NDArray[np.float64], directions: NDArray[np.float64]) -> float:
    """Mean of W2 squared, by POT, of the rows' slices and 20 000 quantiles of the mixture's."""
    total = 0.0
    for direction in directions:
        mean = found.means @ direction
        deviation = np.sqrt([direction @ a @ a.T @ direction for a in found.factors])
        x = np.linspace((mean - 8 * deviation).min(), (mean + 8 * deviation).max(), 20_001)
        levels = norm.cdf((x[:, None] - mean) / deviation) @ found.weights
        quantiles = np.interp((np.arange(20_000) + 0.5) / 20_000, levels, x)
        distance: Any = ot.wasserstein_1d(quantiles, rows @ direction, p=2)
        total += float(distance)
    return total / len(directions)


def test_loss_and_gradient_are_those_of_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "NODES", 64)
    found, rows, directions = mixture()
    loss, gradient = sliced_loss(found, rows, directions)
    assert loss == pytest.approx(literal_distance(found, rows, directions), rel=0.03)

    def difference(name: str, place: tuple[int, ...]) -> float:
        sides = []
        for step in (1e-3, -1e-3):
            values = getattr(found, name).copy()
            values[place] += step
            sides.append(literal_distance(dataclasses.replace(found, **{name: values}), rows, directions))
        return (sides[0] - sides[1]) / 2e-3

    for name, slope in vars(gradient).items():
        places = list(np.ndindex(slope.shape))[:: max(1, slope.size // 3)]
        expected = [difference(name, place) for place in places]
        assert [slope[place] for place in places] == pytest.approx(expected, rel=0.1, abs=0.02), name


def test_descent_comes_nearer_than_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clusters of one wide slab: the shares and spreads of k-means leave a notch between them."""
    monkeypatch.setattr(baselines, "RATE", 0.01)
    z = np.random.default_rng(0).standard_normal((2000, 2)) * [2.0, 0.5]
    directions = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    start, end = (fit_sliced_wasserstein(z, 2, steps, 30, np.random.RandomState(0)) for steps in (0, 200))
    assert literal_distance(end, z, directions) < 0.5 * literal_distance(start, z, directions)


def test_one_seed_gives_one_mixture() -> None:
    z = two_heaps(200)
    first, same, other = (
        SlicedWassersteinSampler(2, n_steps=3, random_state=seed).fit(z).score_samples(z) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_constant_dimension_is_drawn_as_it_is() -> None:
    z = np.column_stack([two_heaps(200), np.full(200, 3.0)])
    for sampler in (EMSampler(2, random_state=0), SlicedWassersteinSampler(2, n_steps=5, random_state=0)):
        drawn = sampler.fit(z).sample(50, random_state=0)
        np.testing.assert_allclose(drawn[:, 2], 3.0, atol=0.05)


@pytest.mark.parametrize("kind", [EMSampler, SlicedWassersteinSampler])
def test_bad_input_is_named(kind: Any) -> None:
    z = two_heaps(20)
    for sampler, rows, labels, message in [
        (kind(0), z, None, "n_components is 0"),
        (kind(21), z, None, "20 rows; give at least 21"),
        (kind(2), z, np.arange(20) // 19, "class 1 has 1 row; give at least 2"),
        (kind(2), [[0.0, np.inf]], None, "1 of 1 rows are not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            sampler.fit(rows, labels)
    fitted = kind(1).fit(z)
    with pytest.raises(ValueError, match="fitted without labels"):
        fitted.sample(2, class_label=1)
    with pytest.raises(ValueError, match="rows have 3 numbers; the sampler knows 2"):
        fitted.score_samples(np.ones((1, 3)))
    with pytest.raises(ValueError, match="n_projections 0"):
        SlicedWassersteinSampler(n_projections=0).fit(z)
