"""Weights from counts, against the papers' rules point by point, and the components on the bins, against SciPy."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import expansion
from scipy.optimize import minimize
from scipy.stats import norm

from gaussmix._typing import FloatArray
from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.rules import (
    algorithm1_weights,
    algorithm2_weights,
    component_rows,
    density_rows,
    histogram_weights,
    interval,
    kernel_weights,
    ml_weights,
    moment_rows,
)

AGREE = 1e-10


def counted(basis: GaussianBasis, x: FloatArray, exact: bool = False) -> BinnedCounts:
    return BinnedCounts(basis.axis(), exact=exact).add(x)


def log_likelihood(counts: BinnedCounts, basis: GaussianBasis, weights: FloatArray) -> float:
    """Sum over the counted points of the log of the density averaged over a point's bin."""
    used = np.flatnonzero(counts.mass)
    return float(counts.mass[used] @ np.log(density_rows(basis, SUB_BINS)[used] @ weights / basis.spacing))


def two_bumps(basis: GaussianBasis, n_points: int, seed: int = 0) -> BinnedCounts:
    rng = np.random.default_rng(seed)
    return counted(basis, np.r_[rng.normal(-1, 0.3, n_points // 2), rng.normal(1, 0.6, n_points - n_points // 2)])


problems = st.builds(
    lambda n, t, start, r, seed, m: (
        GaussianBasis(start, r, n, t),
        t * r / 4,
        np.random.default_rng(seed),
        m,
    ),
    n=st.integers(1, 12),
    t=st.floats(0.3, 6),
    start=st.floats(-3, 3),
    r=st.floats(0.1, 10),
    seed=st.integers(0, 1000),
    m=st.integers(1, 30),
)


@settings(deadline=None, max_examples=40)
@given(problem=problems)
def test_closed_forms_are_the_loops(problem: tuple[GaussianBasis, float, np.random.Generator, int]) -> None:
    """Points in the middles of bins, where counting on bins loses nothing."""
    basis, d, rng, m = problem
    x = rng.choice(basis.axis().centers, m)
    counts = counted(basis, x)
    mu, r, sigma = basis.centers, basis.spacing, basis.bandwidth * basis.spacing
    np.testing.assert_allclose(
        histogram_weights(counts, basis), expansion.algorithm2(x, mu, r, sigma, d, step=1 / m), atol=AGREE
    )
    np.testing.assert_allclose(
        algorithm1_weights(counts, basis)[0],
        expansion.clipped(expansion.algorithm1(x, mu, r, sigma, d)),
        atol=AGREE,
    )
    literal = expansion.algorithm2(x, mu, r, sigma, d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights, clipped_mass = algorithm2_weights(counts, basis)
    np.testing.assert_allclose(weights, expansion.clipped(literal), atol=AGREE)
    assert clipped_mass == pytest.approx(-literal[literal < 0].sum(), abs=AGREE)


@settings(deadline=None, max_examples=40)
@given(problem=problems)
def test_one_iteration_rule_is_the_loop(problem: tuple[GaussianBasis, float, np.random.Generator, int]) -> None:
    """Points anywhere: four moments a bin, or points taken as spread over their bins."""
    basis, _, rng, m = problem
    axis = basis.axis()
    x = rng.uniform(axis.low, axis.high, m)
    literal = expansion.one_iteration(x, basis.centers, basis.bandwidth * basis.spacing)
    exact = kernel_weights(counted(basis, x, exact=True), basis)
    np.testing.assert_allclose(exact, literal, atol=1e-8 if basis.bandwidth >= 0.5 else 1e-6)
    binned = kernel_weights(counted(basis, x), basis)  # a point moves by up to 1/32 of a spacing
    np.testing.assert_allclose(binned, literal, atol=0.01 / min(basis.bandwidth, 1) ** 2)


def test_kernel_rule_on_a_million_points() -> None:
    basis = GaussianBasis.spanning(-6, 6, 200, 2.0)
    x = np.sort(np.random.default_rng(0).standard_normal(1_000_000))
    ends = np.searchsorted(x, basis.centers[:, None] + basis.stds[0] * np.array([-9, 9]))
    near = zip(ends, basis.centers, strict=True)
    literal = np.array([np.exp(-(((x[a:b] - mu) / basis.stds[0]) ** 2) / 2).sum() for (a, b), mu in near])
    literal /= literal.sum()
    assert np.abs(kernel_weights(counted(basis, x), basis) - literal).sum() < 1e-4
    assert np.abs(kernel_weights(counted(basis, x, exact=True), basis) - literal).sum() < 1e-8


@pytest.mark.parametrize("rule", [histogram_weights, kernel_weights])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_weights_are_a_distribution(rule: object, scale: float | None) -> None:
    basis = GaussianBasis.spanning(-3, 4, 50, 1.5, scale=scale)
    weights = rule(two_bumps(basis, 500), basis)  # pyright: ignore[reportCallIssue]
    assert weights.shape == (50,)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-13)


def test_counts_of_a_cell_are_those_nearest_to_its_centre() -> None:
    basis = GaussianBasis(0, 1, 4, 1.0)
    counts = counted(basis, np.array([-0.5, -0.49, 0.49, 0.51, 1.49, 3.49, 3.2, 7.0, -9.0]))
    np.testing.assert_allclose(histogram_weights(counts, basis), [3 / 7, 2 / 7, 0, 2 / 7])


def test_reflection_doubles_what_spills_over_a_bound() -> None:
    """The kernel rule with a bound is that on the data and their mirror images."""
    x = np.abs(np.random.default_rng(0).normal(0, 0.5, 400))
    x = x[x < 2]
    bounded = GaussianBasis.spanning(0, 2, 20, 2.0, bounds=(0, None))
    mirrored = GaussianBasis.spanning(-2, 2, 40, 2.0)
    both = kernel_weights(counted(mirrored, np.r_[x, -x], exact=True), mirrored)
    np.testing.assert_allclose(
        kernel_weights(counted(bounded, x, exact=True), bounded), 2 * both[20:], atol=1e-9, rtol=0
    )


def test_frequencies_and_importance_weights_agree() -> None:
    basis = GaussianBasis.spanning(-3, 4, 30, 2.0)
    rng = np.random.default_rng(0)
    x, times = rng.normal(size=200), rng.integers(1, 5, 200)
    repeated = counted(basis, x.repeat(times))
    weighted = BinnedCounts(basis.axis()).add(x, sample_weight=0.1 * times)
    np.testing.assert_allclose(histogram_weights(weighted, basis), histogram_weights(repeated, basis), atol=1e-14)
    np.testing.assert_allclose(kernel_weights(weighted, basis), kernel_weights(repeated, basis), atol=1e-14)
    one, other = ml_weights(repeated, basis), ml_weights(weighted, basis)
    assert other.gap <= 1e-8
    found = [log_likelihood(counts, basis, fit.weights) for counts, fit in ((weighted, other), (repeated, one))]
    assert found[0] == pytest.approx(0.1 * found[1], rel=1e-8)


# --- the literal Algorithm 2


def test_literal_algorithm2_says_what_it_clipped() -> None:
    basis = GaussianBasis.spanning(-3, 4, 200, 1.0)
    counts = two_bumps(basis, 5000)
    with pytest.warns(UserWarning, match=r"of 200 weights below zero, -\d+\.\d together where all sum to 1"):
        weights, clipped_mass = algorithm2_weights(counts, basis)
    assert weights.min() == 0
    assert weights.sum() == pytest.approx(1)
    assert clipped_mass > 10  # weights of -76 and 77 together: as printed the rule does not work
    c = histogram_weights(counts, basis) * 5000
    # E's dL with d = sigma/4 at t = 1: P(|z| < 1/4) - P(3/4 < z <= 1)
    dL = 0.19741265136584743 - (0.8413447460685429 - 0.7733726476231317)
    np.testing.assert_array_equal(weights == 0, c < (5000 * dL - 1) / (dL * 201))


# --- maximum likelihood


@pytest.mark.parametrize("n", [1, 2, 20, 200])
@pytest.mark.parametrize("t", [0.05, 0.5, 1.0, 3.0, 10.0, 30.0])
@pytest.mark.parametrize("n_points", [1, 5, 2000])
def test_ml_is_certified(n: int, t: float, n_points: int) -> None:
    basis = GaussianBasis.spanning(-3, 4, n, t)
    fit = ml_weights(two_bumps(basis, n_points), basis)
    assert fit.gap <= 1e-8
    assert fit.weights.shape == (n,)
    assert fit.weights.min() >= 0
    assert fit.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("basis", [
    GaussianBasis.spanning(-3, 4, 60, 1.0),
    GaussianBasis.spanning(-3, 4, 60, 1.0, bounds=(-3, 4)),
    GaussianBasis.spanning(-3, 4, 60, 1.0, scale=0.5),
])  # fmt: skip
def test_the_certificate_holds_for_the_mixture_itself(basis: GaussianBasis) -> None:
    """max_k sum_j w_j P_k(bin j) / P(bin j) <= 1 + gap with probabilities from the mixture's own cdf."""
    counts = two_bumps(basis, 3000)
    fit = ml_weights(counts, basis)
    edges, w = counts.axis.edges, counts.mass / counts.mass.sum()
    unit = np.eye(basis.n_components)
    P = np.array([np.diff(basis.mixture(one).cdf(edges)) for one in unit]).T
    p = np.diff(basis.mixture(fit.weights).cdf(edges))
    used = w > 0
    assert (P[used].T @ (w[used] / p[used])).max() == pytest.approx(1, abs=2e-8)
    density = p[used] / (basis.spacing / 16)
    expected = float(counts.mass[used] @ np.log(density))
    assert log_likelihood(counts, basis, fit.weights) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("t", [0.7, 1.5])
def test_ml_beats_two_thousand_steps_of_em(t: float) -> None:
    basis = GaussianBasis.spanning(-3, 4, 80, t)
    counts = two_bumps(basis, 1500)
    used = np.flatnonzero(counts.mass)
    A, w = density_rows(basis, 16)[used].toarray() / basis.spacing, counts.mass[used]
    em = expansion.em(A, w, 2000)
    assert log_likelihood(counts, basis, ml_weights(counts, basis).weights) > w @ np.log(A @ em)


def test_ml_agrees_with_a_general_optimiser() -> None:
    basis = GaussianBasis(-1, 1, 3, 0.8)
    counts = counted(basis, np.array([-1.2, -0.7, 0.3, 0.31, 1.1]))
    used = np.flatnonzero(counts.mass)
    A, w = density_rows(basis, 16)[used].toarray() / basis.spacing, counts.mass[used]

    def loss(free: FloatArray) -> float:
        pi = np.exp(free - free.max())
        return -float(w @ np.log(A @ (pi / pi.sum())))

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000})
    found = log_likelihood(counts, basis, ml_weights(counts, basis).weights)
    assert found == pytest.approx(-best.fun, abs=1e-7)


def test_ml_says_when_it_ran_out_of_steps() -> None:
    basis = GaussianBasis.spanning(-3, 4, 60, 1.0)
    with pytest.warns(UserWarning, match=r"ml stopped after 2 steps with an optimality gap of \d"):
        fit = ml_weights(two_bumps(basis, 100), basis, max_iter=2)
    assert fit.n_iter == 2
    assert fit.gap > 1e-8


# --- wrong use


@pytest.mark.parametrize(
    "rule", [histogram_weights, algorithm1_weights, algorithm2_weights, kernel_weights, ml_weights]
)
def test_counts_must_fit_the_basis(rule: object) -> None:
    basis = GaussianBasis.spanning(0, 1, 5)
    with pytest.raises(ValueError, match=r"count on basis\.axis\(\)"):
        rule(BinnedCounts(GaussianBasis.spanning(0, 2, 5).axis()).add(np.ones(3)), basis)  # pyright: ignore
    with pytest.raises(ValueError, match="no points were counted"):
        rule(BinnedCounts(basis.axis()).add(np.full(3, 7.0)), basis)  # pyright: ignore


# --- the components on the bins

BOUNDS = [(None, None), (-1.05, None), (None, 1.95), (-1.05, 1.95), (-0.95, 1.85)]
Bounds = tuple[float | None, float | None]


def images(x: FloatArray, bounds: Bounds) -> FloatArray:
    """(N, images) the points, their reflections at the bounds, the reflections of those, and once more."""
    found = [x]
    for _ in range(3):
        for end in bounds:
            if end is not None:
                found += [2 * end - y for y in found]
    return np.array([np.unique(row.round(9)) for row in np.array(found).T])


def test_interval_is_relatively_accurate_in_both_tails() -> None:
    for a in (-30.0, -5.0, -1.0, 0.0, 2.0, 20.0):
        b = a + 0.5
        expected = norm.cdf(b) - norm.cdf(a) if b <= 0 else norm.sf(a) - norm.sf(b)
        assert interval(a, b) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("scale", [None, 0.4])
def test_rows_are_bin_probabilities_of_the_mixture(bandwidth: float, bounds: Bounds, scale: float | None) -> None:
    """Bins that a bound cuts, or that lie outside, are not looked at."""
    basis = GaussianBasis.spanning(-1.05, 1.95, 12, bandwidth, bounds=bounds, center=0.2, scale=scale)
    edges = basis.axis().edges[::4]
    low, high = (-math.inf if bounds[0] is None else bounds[0]), (math.inf if bounds[1] is None else bounds[1])
    inside = (edges[:-1] > low - 1e-12) & (edges[1:] < high + 1e-12)
    assert inside.sum() > 30
    weights = np.random.default_rng(0).dirichlet(np.ones(12))
    probability = np.diff(basis.mixture(weights).cdf(np.clip(edges, low, high)))
    ours = density_rows(basis, 4) @ weights / 4
    np.testing.assert_allclose(ours[inside], probability[inside], atol=1e-12)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_moment_rows_sum_the_points(bounds: Bounds) -> None:
    basis = GaussianBasis.spanning(-1.05, 1.95, 12, 0.7, bounds=bounds)
    axis = basis.axis()
    x = np.random.default_rng(1).uniform(-0.7, 1.6, 40)
    place = (x - axis.low) / axis.width
    bins = place.astype(int)
    moments = [np.bincount(bins, (place - bins - 0.5) ** m, axis.n_bins).astype(np.float64) for m in range(5)]
    rows = moment_rows(basis, SUB_BINS)
    ours = sum(A.T @ m for A, m in zip(rows, moments, strict=True)) / basis.spacing
    expected = [sum(norm.pdf(images(x, bounds), mu, basis.stds[0]).sum(1)) for mu in basis.centers]
    np.testing.assert_allclose(ours, expected, rtol=1e-7)


def test_far_entries_are_zero() -> None:
    A = component_rows(GaussianBasis(0, 1, 100, 1.0), 2).toarray()
    full = norm.pdf(np.linspace(-0.25, 99.25, 200)[:, None] - np.arange(100))
    assert (A == 0).mean() > 0.7
    assert full[A == 0].max() < 1e-14
