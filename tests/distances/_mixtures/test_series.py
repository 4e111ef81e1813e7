"""Pieces as polynomials: they are within the bounds that they state; integrals of |polynomial|."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import polynomial
from scipy.special import ndtr
from scipy.stats import norm, t

from gaussmix.distances._mixtures import series
from gaussmix.distances._mixtures.series import DEGREE, N_TERMS

T = np.linspace(-1, 1, 401)
seeds = st.integers(0, 2**32 - 1)


@given(st.floats(-9, 9), st.floats(0.01, 1.9), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_gaussian_is_within_its_bound(z: float, eta: float, upper: bool, cumulative: bool):
    c, inverse_std, p = -0.7, 3.0, np.zeros(N_TERMS)
    _, slip = series.add_gaussian(p, c, z, eta, inverse_std, upper, cumulative)
    if cumulative:
        exact = -c * ndtr(-z - eta * T) if upper else c * ndtr(z + eta * T)
    else:
        exact = c * inverse_std * norm.pdf(z + eta * T)
    bound = abs(c) * np.exp(series.log_rest(eta, max(abs(z) - eta, 0.0), cumulative))
    off = np.abs(polynomial.polyval(T, p) - exact).max()
    assert off <= bound * (1 if cumulative else inverse_std) + slip + 1e-15


@given(st.floats(-30, 30), st.floats(0.01, 0.5), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_guard_is_within_its_bound(away: float, share: float, upper: bool, cumulative: bool):
    mass, scale, p = 0.3, 2.0, np.zeros(N_TERMS)
    half = share * np.hypot(away, scale)
    bound = series.guard_rest(away, half, mass, scale, cumulative)
    _, slip = series.add_guard(p, away, half, mass, scale, upper, cumulative)
    x = (away + half * T) / scale
    outside = -mass * t.sf(x, 3) if upper else mass * t.cdf(x, 3)
    exact = outside if cumulative else mass * t.pdf(x, 3) / scale
    assert np.abs(polynomial.polyval(T, p) - exact).max() <= bound + slip + 1e-15


def test_bounds_are_not_far_above_the_errors():
    p = np.zeros(N_TERMS)
    series.add_gaussian(p, 1.0, 0.3, 1.5, 1.0, False, True)
    off = np.abs(polynomial.polyval(T, p) - ndtr(0.3 + 1.5 * T)).max()
    assert off <= np.exp(series.log_rest(1.5, 0.0, True)) <= 100 * off


@given(seeds, st.floats(0.1, 1), st.floats(-0.9, 0.9))
@settings(max_examples=50, deadline=None)
def test_a_part_of_a_polynomial_is_that_polynomial(seed: int, scale: float, shift: float):
    p, out = np.random.default_rng(seed).normal(size=N_TERMS), np.empty(N_TERMS)
    series.restrict(p, scale, shift, out)
    np.testing.assert_allclose(
        polynomial.polyval(T, out), polynomial.polyval(shift + scale * T, p), atol=1e-9 * (1 + abs(shift)) ** DEGREE
    )


@pytest.mark.parametrize(
    ("roots", "small"),
    [
        ([0.3], 1e-12),
        ([-0.5, 0.25, 0.250001], 1e-12),
        ([-1.0, 0.0, 1.0], 1e-12),
        ([0.1, 0.1], 1e-3),
        ([0.1, 0.1, 0.7, 0.7, -0.6], 1e-2),
        ([0.1, 0.1, 0.7, 0.7, -0.6], 10.0),
        ([1.5, -1.0 - 1e-9], 1e-12),
    ],
)
def test_the_integral_of_the_absolute_polynomial(roots: list[float], small: float):
    p = np.zeros(N_TERMS)
    p[: len(roots) + 1] = polynomial.polyfromroots(roots)
    inside = np.unique([-1.0, 1.0, *(root for root in roots if abs(root) < 1)])
    exact = np.abs(np.diff(polynomial.polyval(inside, polynomial.polyint(p)))).sum()
    value, error = series.absolute_integral(p, 0.0, small, np.empty((60, N_TERMS)))
    assert abs(value - exact) <= error + 1e-14
    assert error <= 20 * small


def test_where_doubt_is_allowed_its_error_counts():
    """x^2 - 1/4 as a whole: |int| is 1/6, int || is 1/2."""
    p = np.zeros(N_TERMS)
    p[:3] = -0.25, 0, 1
    value, error = series.absolute_integral(p, 0.0, 10.0, np.empty((60, N_TERMS)))
    assert value == pytest.approx(1 / 6)
    assert error >= 1 / 2 - 1 / 6
    assert series.absolute_integral(p, 2.0, 1e-9, np.empty((60, N_TERMS))) == (value, error)
