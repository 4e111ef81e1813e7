"""Bandwidths from counts, against KDEpy and closed forms, and by held-out likelihood on thinned counts."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from KDEpy import bw_selection as kdepy
from scipy.fft import dct

from gaussmix.density.auto.fast import isj_bandwidth, normal_scale_bandwidth
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.report import BASIS_RULES
from gaussmix.density.rules import choose_bandwidth, histogram_weights


def isj(counts: np.ndarray) -> float:
    h = isj_bandwidth(counts)
    assert h is not None
    return h


SAMPLES = {
    "normal": lambda rng: rng.normal(size=3000),
    "two scales": lambda rng: np.r_[rng.normal(-2, 0.2, 2000), rng.normal(1, 1, 2000)],
    "skewed": lambda rng: rng.gamma(3.0, size=5000),
}


def binned(x: np.ndarray, n_bins: int) -> tuple[np.ndarray, float]:
    """Counts over the range and half of it on either side, where the cosine transform meets no edge; bin width."""
    low, high = x.min() - np.ptp(x) / 2, x.max() + np.ptp(x) / 2
    counts, _ = np.histogram(x, n_bins, (low, high))
    return counts.astype(float), (high - low) / n_bins


@pytest.mark.parametrize("name", SAMPLES)
def test_isj_solves_the_same_equation_as_kdepy(name: str) -> None:
    """Of KDEpy its equation and root: its bandwidth then takes the data's range for the length of its longer grid."""
    x = SAMPLES[name](np.random.default_rng(3))
    counts, _ = binned(x, 4096)
    squares = np.arange(1, len(counts), dtype=float) ** 2
    cosines = np.asarray(dct(counts / counts.sum(), type=2))[1:]
    t = kdepy._root(kdepy._fixed_point, len(x), args=(len(x), squares, cosines**2))
    assert isj(counts) == pytest.approx(math.sqrt(t) * len(counts), rel=1e-4)


def test_isj_of_a_normal_is_near_the_best_for_it() -> None:
    counts, width = binned(np.random.default_rng(4).normal(size=100_000), 4096)
    assert isj(counts) * width == pytest.approx((4 / 3 / 100_000) ** 0.2, rel=0.05)


def test_isj_does_not_depend_on_how_fine_the_bins_are() -> None:
    x = np.random.default_rng(0).normal(size=20_000)
    (few, wide), (many, narrow) = binned(x, 2048), binned(x, 16_384)
    assert isj(few) * wide == pytest.approx(isj(many) * narrow, rel=0.01)


def test_isj_of_mirrored_and_of_doubled_counts() -> None:
    counts, _ = binned(np.random.default_rng(1).gamma(2.0, size=2000), 1024)
    h = isj(counts)
    assert isj(counts[::-1]) == pytest.approx(h, rel=1e-9)
    assert isj(2 * counts) < h


@pytest.mark.parametrize("counts", [np.array([5.0]), np.array([3.0, 0.0, 4.0]), np.ones(64)])
def test_isj_says_where_it_has_no_answer(counts: np.ndarray) -> None:
    assert isj_bandwidth(counts) is None


@pytest.mark.parametrize("n_bins", [16, 1000, 16_384])
@pytest.mark.parametrize("name", [*SAMPLES, "even", "ties"])
def test_isj_is_the_first_root_that_a_scan_meets(name: str, n_bins: int) -> None:
    """Even numbers in many bins make the stages underflow, where what they make of t rises no more."""
    others = {"even": np.arange(100.0), "ties": np.repeat(np.arange(40.0), 3)}
    x = SAMPLES[name](np.random.default_rng(5)) if name in SAMPLES else others[name]
    counts = np.histogram(x, n_bins)[0].astype(float)
    squares, n = np.arange(1.0, n_bins) ** 2, counts.sum()
    cosines = np.asarray(dct(counts / n, type=2))[1:] / 2

    def excess(t: float) -> float:
        def roughness(s: int, t: float) -> float:
            return float(2 * math.pi ** (2 * s) * (squares**s * cosines**2) @ np.exp(-(math.pi**2) * t * squares))

        norm = roughness(7, t)
        for s in range(6, 1, -1):
            odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2 * math.pi)
            if norm <= 0:
                return t
            norm = roughness(s, (2 * (1 + 0.5 ** (s + 0.5)) / 3 * odd / (n * norm)) ** (2 / (3 + 2 * s)))
        return t - (2 * n * math.sqrt(math.pi) * norm) ** -0.4 if norm > 0 else t

    grid = np.geomspace(1e-12, 0.1, 24)
    values = np.array([excess(t) for t in grid])
    crossings = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    h = isj_bandwidth(counts)
    if len(crossings) == 0:
        assert h is None
    else:
        low, high = grid[crossings[0] : crossings[0] + 2]
        assert h is not None
        assert low <= (h / n_bins) ** 2 * (1 + 1e-9)
        assert (h / n_bins) ** 2 <= high * (1 + 1e-9)


def test_normal_scale_of_a_normal() -> None:
    counts, width = binned(np.random.default_rng(2).normal(0, 3, 100_000), 4096)
    assert normal_scale_bandwidth(counts) * width == pytest.approx(1.06 * 3 * 100_000**-0.2, rel=0.02)


def test_normal_scale_is_not_fooled_by_an_outlier() -> None:
    counts = np.zeros(10_000)
    counts[:100] = 10
    h = normal_scale_bandwidth(counts)
    counts[-1] = 1
    assert normal_scale_bandwidth(counts) < 2 * h
    assert math.isfinite(normal_scale_bandwidth(np.array([3.0])))


# --- by held-out likelihood

BASIS = GaussianBasis.spanning(-6, 6, 100)


def normal_counts(n_points: int, seed: int = 0) -> BinnedCounts:
    return BinnedCounts(BASIS.axis()).add(np.random.default_rng(seed).standard_normal(n_points))


@pytest.mark.parametrize("rule", BASIS_RULES)
def test_every_rule(rule: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        best, tried, held_out = choose_bandwidth(normal_counts(500), BASIS, rule)
    assert np.isfinite(held_out).all()
    assert best == tried[np.argmax(held_out)]
    assert tried[0] < best < tried[-1]


def test_wins_on_fresh_data() -> None:
    """What it chooses loses at most .002 nats a point to the best bandwidth on 200 000 fresh points."""
    counts = normal_counts(2000)
    chosen, tried, held_out = choose_bandwidth(counts, BASIS, "histogram")
    fresh = np.random.default_rng(1).standard_normal(200_000)
    scores = []
    for t in tried:
        basis = replace(BASIS, bandwidth=t)
        scores.append(basis.mixture(histogram_weights(counts, basis), tail=(1e-4, 0, 1)).logpdf(fresh).mean())
    best = max(scores)
    assert scores[list(tried).index(chosen)] > best - 0.002
    assert best - min(scores) > 0.05
    truth = -0.5 * np.log(2 * np.pi) - 0.5
    assert held_out.max() == pytest.approx(truth, abs=0.05)


def test_more_points_want_less_smoothing() -> None:
    few, many = (
        np.median([choose_bandwidth(normal_counts(n, seed), BASIS, "kernel")[0] for seed in range(3)])
        for n in (100, 100_000)
    )
    assert few > 2 * many


def test_same_seed_same_split() -> None:
    counts = normal_counts(300)
    one, same, other = (choose_bandwidth(counts, BASIS, "kernel", rng=seed)[2] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    drawn = choose_bandwidth(counts, BASIS, "kernel", rng=np.random.default_rng(3))[2]
    np.testing.assert_array_equal(one, drawn)


def test_importance_weights_are_shared_with_their_points() -> None:
    """Weights all alike change nothing."""
    x = np.random.default_rng(0).standard_normal(400)
    plain, weighted = BinnedCounts(BASIS.axis()).add(x), BinnedCounts(BASIS.axis()).add(x, np.full(400, 0.3))
    one, other = (choose_bandwidth(counts, BASIS, "histogram")[2] for counts in (weighted, plain))
    np.testing.assert_allclose(one, other)


def test_an_outlier_costs_nats_not_infinity() -> None:
    counts = BinnedCounts(BASIS.axis()).add(np.r_[np.random.default_rng(0).normal(-4, 0.1, 300), 5.9])
    assert np.isfinite(choose_bandwidth(counts, BASIS, "histogram")[2]).all()


@pytest.mark.parametrize("basis", [
    GaussianBasis.spanning(0, 5, 60, bounds=(0, None)),
    GaussianBasis.spanning(-30, 30, 60, scale=1.0),
])  # fmt: skip
def test_bounds_and_warps(basis: GaussianBasis) -> None:
    counts = BinnedCounts(basis.axis()).add(np.random.default_rng(0).exponential(size=2000))
    best, tried, held_out = choose_bandwidth(counts, basis, "kernel")
    assert np.isfinite(held_out).all()
    assert tried[0] <= best < tried[-1]


def test_default_grid_fits_small_bases() -> None:
    basis = GaussianBasis.spanning(-6, 6, 3)
    counts = BinnedCounts(basis.axis()).add(np.random.default_rng(0).standard_normal(50))
    assert choose_bandwidth(counts, basis, "histogram")[1].max() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": normal_counts(1)}, "1 points cannot be split into 5 folds"),
        ({"basis": GaussianBasis.spanning(0, 1, 3)}, "the counts lie on"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    given = {"counts": normal_counts(50), "basis": BASIS, "rule": "kernel", **options}
    with pytest.raises(ValueError, match=message):
        choose_bandwidth(**given)  # pyright: ignore[reportArgumentType]
