"""The automatic rules from end to end: accuracy, invariances, and data that could break them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from gaussmix.density.auto.rule import AutomaticFit, find_edges, fit_automatic, fit_fast
from gaussmix.density.axis import Axis
from gaussmix.density.binning import choose_axis, take_sample
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.fit import fit_counts
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.reflection import Bounds
from gaussmix.density.report import Rule
from gaussmix.density.standard_units import read_counts

RULES: dict[Rule, Any] = {"auto": fit_automatic, "fast": fit_fast}
NOTHING_CONTINUOUS = ("constant", "zeros", "two values", "almost constant", "1 points")


def counted(x: np.ndarray, weights: np.ndarray | None = None) -> BinnedCounts:
    axis, atoms, tied = choose_axis(take_sample(x), float(x.min()), float(x.max()))
    return BinnedCounts(axis, atoms=atoms.tolist(), tied=tied).add(x, weights)


def fitted(rule: Rule, counts: BinnedCounts, bounds: Bounds | None = None) -> AutomaticFit:
    """A rule by itself, within bounds or the edges that are found."""
    data = read_counts(counts)
    return RULES[rule](data, find_edges(data) if bounds is None else bounds)


def density(x: np.ndarray, rule: Rule = "auto") -> GaussianMixture1D:
    return fit_counts(counted(x), rule).distribution


def l1_error(found: GaussianMixture1D, truth: Any) -> float:
    at = truth.ppf((np.arange(20_000) + 0.5) / 20_000)
    return float(2 * np.mean(np.maximum(1 - found.pdf(at) / truth.pdf(at), 0)))


def skewed(n: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3.0, size=n)


def assert_same(
    one: AutomaticFit, two: AutomaticFit, scale: float = 1.0, shift: float = 0.0, rtol: float = 0.0
) -> None:
    """That fit ``two`` is fit ``one`` of data moved by x -> scale x + shift."""
    close = {"rtol": rtol, "atol": rtol * np.abs(one.stds * scale).max()}
    np.testing.assert_allclose(two.weights, one.weights, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(two.means, one.means * scale + shift, **close)
    np.testing.assert_allclose(two.stds, one.stds * abs(scale), **close)


# accuracy

TARGETS = {
    "normal": (stats.norm(3, 2), 0.03, 0.01),
    "uniform": (stats.uniform(-1, 4), 0.03, 0.01),
    "exponential": (stats.expon(), 0.06, 0.02),
    "triangle": (stats.triang(0.3), 0.07, 0.018),
    "beta": (stats.beta(2, 5), 0.07, 0.022),
    "arcsine": (stats.beta(0.5, 0.5), 0.12, 0.06),
    "t2": (stats.t(2), 0.06, 0.02),
    "lognormal": (stats.lognorm(1.0), 0.10, 0.04),
}


@pytest.mark.parametrize("name", TARGETS)
def test_accuracy(name: str) -> None:
    truth, at_5000, at_100000 = TARGETS[name]
    for n, limit in ((5000, at_5000), (100_000, at_100000)):
        assert l1_error(density(truth.rvs(size=n, random_state=np.random.default_rng(1))), truth) < limit


def test_auto_beats_fast_on_peaks_of_different_width() -> None:
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(0, 1, 9000), rng.normal(2, 0.02, 1000)]
    at = np.r_[np.linspace(-4, 1.8, 2000), np.linspace(1.8, 2.2, 8000), np.linspace(2.2, 4, 2000)]
    truth = 0.9 * stats.norm.pdf(at) + 0.1 * stats.norm.pdf(at, 2, 0.02)
    error = {rule: integrate.trapezoid(np.abs(density(x, rule).pdf(at) - truth), at) for rule in RULES}
    assert error["auto"] < 0.05
    assert error["auto"] < 0.4 * error["fast"]


@pytest.mark.parametrize("rule", RULES)
def test_one_far_point_does_little_harm(rule: Rule) -> None:
    x = np.random.default_rng(2).normal(size=5000)
    clean, spoilt = density(x, rule), density(np.r_[x, 1e6], rule)
    assert l1_error(spoilt, stats.norm()) <= 1.5 * max(l1_error(clean, stats.norm()), 0.02)
    assert math.isfinite(spoilt.logpdf(1e6))


# what the data's unit, place and direction may not change


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("power", [-900, -3, 1, 900])
def test_powers_of_two_scale_exactly(rule: Rule, power: int) -> None:
    x, scale = skewed(), 2.0**power
    assert_same(fitted(rule, counted(x)), fitted(rule, counted(x * scale)), scale)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (1.0, 1.0), (0.1, -7.0)])
def test_units_and_origin_do_not_matter(rule: Rule, scale: float, shift: float) -> None:
    bins = np.histogram(skewed(), 2048)[0].astype(np.int64)
    axis = Axis(0.0, 10 / 2048, 2048)
    moved = Axis(shift, scale * 10 / 2048, 2048)
    one, two = (fitted(rule, BinnedCounts(a).add(a.centers, bins), (None, None)) for a in (axis, moved))
    assert_same(one, two, scale, shift, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_mirrored_data_have_the_mirrored_density(rule: Rule) -> None:
    x = np.rint(skewed() * 256) / 256 + 1 / 512  # never on the edge of a bin
    low, n_bins = 0.0, 256 * math.ceil(x.max())
    fits = []
    for y in (x, -x):
        axis = Axis(low if y is x else -n_bins / 256, 1 / 256, n_bins)
        fits.append(fit_counts(BinnedCounts(axis).add(y), rule).distribution)
    at = np.linspace(-1, 12, 300)
    np.testing.assert_allclose(fits[1].pdf(-at), fits[0].pdf(at), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_frequencies_are_repeated_rows(rule: Rule) -> None:
    x = skewed(1000)
    times = np.random.default_rng(3).integers(0, 5, 1000)
    axis = Axis(0.0, x.max() / 4096 * (1 + 1e-12), 4096)
    rows = fitted(rule, BinnedCounts(axis).add(np.repeat(x, times)))
    assert_same(rows, fitted(rule, BinnedCounts(axis).add(x, times)))


@pytest.mark.parametrize("rule", RULES)
def test_equal_importance_weights_change_nothing(rule: Rule) -> None:
    x = skewed(1000)
    plain, weighted = fitted(rule, counted(x)), fitted(rule, counted(x, np.full(1000, 0.37)))
    assert_same(plain, weighted, rtol=1e-6)


def test_importance_weights_reach_the_distribution_they_point_at() -> None:
    x = np.random.default_rng(4).normal(0, 2, 20_000)
    weights = stats.norm.pdf(x, 1, 1) / stats.norm.pdf(x, 0, 2)
    found = fit_counts(counted(x, weights), "auto").distribution
    assert l1_error(found, stats.norm(1, 1)) < 0.05


# awkward data

_RNG = np.random.default_rng(3)
_NORMAL = _RNG.normal(size=5000)
AWKWARD = {
    "constant": np.full(100, 3.0),
    "zeros": np.zeros(10),
    "two values": np.repeat([0.0, 1.0], 50),
    "almost constant": np.r_[np.full(999, 5.0), 5.0001],
    **{f"{n} points": _NORMAL[:n] for n in (1, 2, 3, 5, 7, 10, 29, 30, 31)},
    "ties": np.array([1.0, 1, 1, 2, 2]),
    "huge": _NORMAL * 1e300,
    "tiny": _NORMAL * 1e-300,
    "far from zero": 1e15 + _NORMAL,
    "poisson 3": _RNG.poisson(3, 5000).astype(float),
    "poisson 30": _RNG.poisson(30, 5000).astype(float),
    "ages": np.clip(np.round(40 + 15 * _NORMAL), 0, 100),
    "cauchy": _RNG.standard_cauchy(5000),
    "pareto": _RNG.pareto(0.5, 5000),
    "zero-inflated": np.where(_RNG.random(5000) < 0.3, 0.0, _RNG.exponential(size=5000)),
    "two outliers": np.r_[_NORMAL, 1e6, -1e9],
    "rounded": np.round(_NORMAL, 1),
    "prices": np.floor(_RNG.exponential(20, 5000)) + 0.99,
    "money": np.round(np.exp(_NORMAL + 5), 2),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", AWKWARD)
def test_any_data_give_a_valid_density(name: str, rule: Rule) -> None:
    x = AWKWARD[name]
    counts = counted(x)
    assert np.isfinite(fit_counts(counts, rule).distribution.logpdf(x)).all()
    if name in NOTHING_CONTINUOUS:
        return
    found = fitted(rule, counts)
    assert found.weights.sum() == pytest.approx(1, abs=1e-9)
    assert found.weights.min() >= 0
    assert found.stds.min() > 0
    assert np.isfinite(found.means).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["skewed", "uniform", "cauchy"])
def test_densities_integrate_to_one(name: str, rule: Rule) -> None:
    rng = np.random.default_rng(5)
    x = {"skewed": skewed(), "uniform": rng.uniform(size=4000), "cauchy": rng.standard_cauchy(4000)}[name]
    found = density(x, rule)
    reach = found.means[:, None] + np.arange(-8, 9) * found.stds[:, None]
    edges = np.unique(np.r_[np.clip(reach, *found.bounds).ravel(), x.min() - np.ptp(x), x.max() + np.ptp(x)])
    nodes, shares = np.polynomial.legendre.leggauss(8)
    half = np.diff(edges)[:, None] / 2
    at = edges[:-1, None] + half * (1 + nodes)
    assert (found.pdf(at) * shares * half).sum() == pytest.approx(1, abs=1e-4)


# edges and errors


@pytest.mark.parametrize("rule", RULES)
def test_edges_are_found_and_nothing_lies_beyond(rule: Rule) -> None:
    x = np.random.default_rng(6).uniform(2, 5, 3000)
    low, high = density(x, rule).bounds
    assert low == pytest.approx(2, abs=0.005)
    assert high == pytest.approx(5, abs=0.005)
    found = fitted(rule, counted(x))
    assert found.means.min() >= low
    assert found.means.max() <= high
    assert fit_counts(counted(x), rule, bounds=(None, None)).distribution.bounds == (-math.inf, math.inf)


@pytest.mark.parametrize("rule", RULES)
def test_given_bounds_are_kept_and_must_hold_the_data(rule: Rule) -> None:
    counts = counted(skewed())
    assert fit_counts(counts, rule, bounds=(0.0, None)).distribution.bounds == (0.0, math.inf)
    with pytest.raises(ValueError, match=r"bounds are \(1.0, None\) and data lie from 0"):
        fit_counts(counts, rule, bounds=(1.0, None))


def test_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="hold no points"):
        fit_counts(BinnedCounts(Axis(0.0, 0.1, 10)), "auto")


def test_fewer_than_thirty_points_take_the_plain_expansion() -> None:
    x = skewed(29)
    assert fitted("auto", counted(x)).details["expansion_share"] == 1
    assert_same(fitted("fast", counted(x)), fitted("auto", counted(x)))
    assert fitted("auto", counted(skewed(300))).details["n_active"] >= 1


def test_one_component_stays_where_far_points_empty_all() -> None:
    """All but two numbers lie 300 decades under the largest."""
    x = np.r_[0.0, 1e-3, np.geomspace(1e-307, 1e-300, 300)]
    law = fit_counts(counted(x), "auto").distribution
    assert law.ppf(0.5) == pytest.approx(np.median(x), rel=0.3)


@pytest.mark.parametrize("x", [5e-324 * np.arange(200), 1e-310 * np.arange(-50.0, 50.0), np.repeat([0, 5e-324], 50)])
def test_numbers_that_no_bin_can_tell_apart_are_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"lie within 2\^-1000; multiply them by a large number"):
        counted(x)
