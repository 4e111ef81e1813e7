"""Sums of pieces as polynomials: they are within the bounds that they state, and so is what these take for granted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.special import stdtr
from scipy.stats import norm, t

from gaussmix._typing import FloatArray
from gaussmix.distances import _cells as cells
from gaussmix.distances._cells import Leaves, SignedPart, leaves

T = np.linspace(-1, 1, 41)[1:-1]
NONE = np.empty((0, 3))
seeds = st.integers(0, 2**32 - 1)


def part_of(c: FloatArray, m: FloatArray, s: FloatArray, guards: FloatArray = NONE) -> SignedPart:
    return SignedPart(-math.inf, math.inf, c, m, 1 / s, guards, 0.0, float(c.sum()))


def off(part: SignedPart, found: Leaves, cumulative: bool) -> tuple[float, float]:
    """The integral of the error, and its bound; the center is 0, and pieces end where they have no cells."""
    middle, half = 0.5 * (found.low + found.high), 0.5 * (found.high - found.low)
    x = middle[:, None] + half[:, None] * T
    exact = np.zeros(x.shape)
    laws: list[Any] = [norm(m, 1 / k) for m, k in zip(part.mean, part.inverse_std, strict=True)]
    laws += [t(3, loc, scale) for _, loc, scale in part.guards]
    for law, weight, start, stop in zip(laws, found.weight, found.start, found.stop, strict=True):
        values = np.where(x < 0, law.cdf(x), -law.sf(x)) if cumulative else law.pdf(x)
        exact += weight * values * (x > start) * (x < stop)
    error = np.abs(chebyshev.chebval(T, found.polynomial.T) - exact).max(axis=1)
    return float(2 * half @ error), float(2 * half @ found.error) + found.missed


@pytest.mark.parametrize("cumulative", [True, False], ids=["cdf", "density"])
@given(seed=seeds, width=st.floats(1, 12))
@settings(max_examples=60, deadline=None)
def test_sums_are_within_their_bound(cumulative: bool, seed: int, width: float):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    guards = np.array([[-0.3, rng.normal(), 0.7]])[: rng.integers(2)]
    part = part_of(rng.normal(size=n), rng.normal(0, 5, n), np.exp(rng.normal(-1, 2, n)), guards)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "WIDTH", width)
        patch.setattr(cells, "_GUARD_WIDTH", width)
        error, bound = off(part, leaves(part, 0.0, 10.0, cumulative=cumulative), cumulative)
    rounded = 4e-15 * part.inverse_std.max() + 1e-14 / part.inverse_std.min()  # places of the points, and what is exact
    assert error <= bound + rounded * np.abs(part.coefficient).sum()


def test_bounds_are_not_far_above_the_errors():
    part = part_of(np.ones(1), np.array([0.3]), np.ones(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "WIDTH", 6.0)
        error, bound = off(part, leaves(part, 0.0, 1.0, cumulative=False), False)
    assert 5e-14 < error <= bound <= 50 * error


def test_the_survival_of_a_guard():
    """It is taken for granted to 64 units in the last place: acot(u) - u / (1 + u^2), far out as a series."""
    u = np.linspace(-3, 3, 101)
    exact = (np.arctan2(1, u) - u / (1 + u * u)) / math.pi
    np.testing.assert_allclose(stdtr(3, -math.sqrt(3) * u), exact, rtol=64 * 2.0**-52)
    u = np.array([1e4, 1e6, 1e8])
    exact = (2 / 3 / u**3 - 4 / 5 / u**5) / math.pi
    np.testing.assert_allclose(stdtr(3, -math.sqrt(3) * u), exact, rtol=64 * 2.0**-52)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 100, 129, 4096, 1 << 14])
def test_numpy_adds_in_pairs(n: int):
    """As the bounds take for granted: one after the other would be off by more."""
    x = np.random.default_rng(n).random(n)
    bound = min(n - 1, n / 8 + 3, cells._PAIRWISE) * 2.0**-53 * math.fsum(x)
    assert abs(np.add.reduceat(np.append(x, 1.0), [0, n])[0] - math.fsum(x)) <= bound
