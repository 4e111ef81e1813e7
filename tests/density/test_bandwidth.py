"""Bandwidths from counts, against KDEpy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from KDEpy import bw_selection as kdepy
from scipy.fft import dct

from gaussmix.density.bandwidth import isj_bandwidth, normal_scale_bandwidth


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
