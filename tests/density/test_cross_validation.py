"""Choosing the bandwidth by held-out likelihood on thinned counts."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from gaussmix.density.bandwidth import Rule, choose_bandwidth
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.rules import histogram_weights

BASIS = GaussianBasis.spanning(-6, 6, 100)


def normal_counts(n_points: int, seed: int = 0) -> BinnedCounts:
    return BinnedCounts(BASIS.axis()).add(np.random.default_rng(seed).standard_normal(n_points))


@pytest.mark.parametrize("rule", get_args(Rule))
def test_every_rule(rule: Rule) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choice = choose_bandwidth(normal_counts(500), BASIS, rule)
    assert np.isfinite(choice.held_out).all()
    assert choice.bandwidth == choice.bandwidths[np.argmax(choice.held_out)]
    assert choice.bandwidths[0] < choice.bandwidth < choice.bandwidths[-1]


def test_wins_on_fresh_data() -> None:
    """What it chooses loses at most .002 nats a point to the best bandwidth on 200 000 fresh points."""
    counts = normal_counts(2000)
    choice = choose_bandwidth(counts, BASIS, "histogram")
    fresh = np.random.default_rng(1).standard_normal(200_000)
    scores = []
    for t in choice.bandwidths:
        basis = replace(BASIS, bandwidth=t)
        scores.append(basis.mixture(histogram_weights(counts, basis), tail=(1e-4, 0, 1)).logpdf(fresh).mean())
    best = max(scores)
    assert scores[list(choice.bandwidths).index(choice.bandwidth)] > best - 0.002
    assert best - min(scores) > 0.05
    truth = -0.5 * np.log(2 * np.pi) - 0.5
    assert choice.held_out.max() == pytest.approx(truth, abs=0.05)


def test_more_points_want_less_smoothing() -> None:
    few, many = (
        np.median([choose_bandwidth(normal_counts(n, seed), BASIS, "kernel").bandwidth for seed in range(3)])
        for n in (100, 100_000)
    )
    assert few > 2 * many


def test_same_seed_same_split() -> None:
    counts = normal_counts(300)
    one, same, other = (choose_bandwidth(counts, BASIS, "kernel", rng=seed).held_out for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    drawn = choose_bandwidth(counts, BASIS, "kernel", rng=np.random.default_rng(3)).held_out
    np.testing.assert_array_equal(one, drawn)


def test_importance_weights_are_shared_with_their_points() -> None:
    """Weights all alike change nothing."""
    x = np.random.default_rng(0).standard_normal(400)
    plain, weighted = BinnedCounts(BASIS.axis()).add(x), BinnedCounts(BASIS.axis()).add(x, np.full(400, 0.3))
    np.testing.assert_allclose(
        choose_bandwidth(weighted, BASIS, "histogram").held_out, choose_bandwidth(plain, BASIS, "histogram").held_out
    )


def test_an_outlier_costs_nats_not_infinity() -> None:
    counts = BinnedCounts(BASIS.axis()).add(np.r_[np.random.default_rng(0).normal(-4, 0.1, 300), 5.9])
    assert np.isfinite(choose_bandwidth(counts, BASIS, "histogram", [0.1, 0.5, 1.0]).held_out).all()


@pytest.mark.parametrize("basis", [
    GaussianBasis.spanning(0, 5, 60, bounds=(0, None)),
    GaussianBasis.spanning(-30, 30, 60, scale=1.0),
])  # fmt: skip
def test_bounds_and_warps(basis: GaussianBasis) -> None:
    counts = BinnedCounts(basis.axis()).add(np.random.default_rng(0).exponential(size=2000))
    choice = choose_bandwidth(counts, basis, "kernel")
    assert np.isfinite(choice.held_out).all()
    assert choice.bandwidths[0] <= choice.bandwidth < choice.bandwidths[-1]


def test_default_grid_fits_small_bases() -> None:
    basis = GaussianBasis.spanning(-6, 6, 3)
    counts = BinnedCounts(basis.axis()).add(np.random.default_rng(0).standard_normal(50))
    assert choose_bandwidth(counts, basis, "histogram").bandwidths.max() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "nearest"}, "rule is 'nearest'; it must be one of histogram, "),
        ({"n_folds": 1}, "n_folds is 1; at least 2"),
        ({"grid": []}, "grid is .*; it must list positive bandwidths"),
        ({"grid": [1.0, 0.0]}, "it must list positive bandwidths"),
        ({"grid": [np.nan]}, "it must list positive bandwidths"),
        ({"counts": normal_counts(1)}, "1 points cannot be split into 5 folds"),
        ({"basis": GaussianBasis.spanning(0, 1, 3)}, "the counts lie on"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    given = {"counts": normal_counts(50), "basis": BASIS, "rule": "kernel", **options}
    with pytest.raises(ValueError, match=message):
        choose_bandwidth(**given)  # pyright: ignore[reportArgumentType]
