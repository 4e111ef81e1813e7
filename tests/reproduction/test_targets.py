"""Random targets: their three views agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from reproduction.expansion.targets import Component, gaussian_target, mixed_target


@pytest.mark.parametrize("part", [
    Component("normal", 3.0, 2.0),
    Component("t", 3.0, 2.0, 5),
    Component("uniform", 3.0, 2.0),
])  # fmt: skip
def test_density_is_the_slope_of_the_cdf(part: Component) -> None:
    for a, b in ((-1.0, 1.5), (2.2, 3.1), (3.5, 9.0)):
        mass, _ = quad(lambda x: part.pdf(np.array([x]))[0], a, b, points=[2.0, 4.0], limit=200)
        ends = part.cdf(np.array([a, b]))
        assert ends[1] - ends[0] == pytest.approx(mass, abs=1e-7)


@pytest.mark.parametrize("make", [gaussian_target, mixed_target])
@pytest.mark.parametrize("seed", range(3))
def test_points_follow_the_cdf(make: object, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = make(rng)  # pyright: ignore[reportCallIssue]
    x = target.draw(20_000, rng)
    assert x.shape == (20_000,)
    assert kstest(x, target.cdf).statistic < 1.63 / np.sqrt(20_000)
    assert target.cdf(np.array([-1e6, 1e6])).tolist() == pytest.approx([0, 1])


def test_what_targets_are_made_of() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert {part.kind for part in gaussian_target(rng).components} == {"normal"}
        target = mixed_target(rng)
        assert len(target.components) == len(target.weights) == 8
        assert target.weights.sum() == pytest.approx(1)
        assert {part.kind for part in target.components} == {"normal", "t", "uniform"}
        for part in target.components:
            assert 0 <= part.center <= 100
            assert 5 <= part.scale <= (30 if part.kind == "uniform" else 15)
            assert (20 <= part.dof <= 60) == (part.kind == "t")


def test_same_seed_same_target() -> None:
    one, same = (mixed_target(np.random.default_rng(4)) for _ in range(2))
    assert one.components == same.components
    np.testing.assert_array_equal(one.weights, same.weights)
