"""Ties, heaps and point masses: what is known of rounded values."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from KDEpy import FFTKDE
from scipy import stats

from gaussmix import GMMExpansion
from gaussmix.density.ties import find_heaping, resolve, spread, without_heaps

# --- spreading


def layers_by_definition(counts: np.ndarray, n_layers: int = 400) -> np.ndarray:
    """Thin layers, one by one, without the rule for wide gaps."""
    out = np.zeros(len(counts))
    at = np.flatnonzero(counts)
    for i in at:
        for t in (np.arange(n_layers) + 0.5) / n_layers * counts[i]:
            left = [j for j in at if j < i and counts[j] > t / 2]
            right = [j for j in at if j > i and counts[j] > t / 2]
            low = (left[-1] + i + 1) / 2 if left else None
            high = (right[0] + i + 1) / 2 if right else None
            low = low if low is not None else 2 * (i + 0.5) - (high if high is not None else i + 1)
            high = high if high is not None else 2 * (i + 0.5) - low
            cover = np.clip(
                np.minimum(np.arange(1, len(counts) + 1), high) - np.maximum(np.arange(len(counts)), low), 0, 1
            )
            out += counts[i] / n_layers * cover / cover.sum()
    return out


def test_layers_follow_their_definition() -> None:
    counts = np.zeros(60)
    counts[3::3] = 5
    counts[3::12] = 30
    counts[[4, 20]] = 1
    ours, _ = spread(counts)
    assert np.abs(ours.counts - layers_by_definition(counts)).sum() < 0.1 * counts.sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(any), st.floats(1e-3, 1e3))
def test_spreading_keeps_the_mass_and_knows_no_scale(numbers: list[int], scale: float) -> None:
    counts = np.array(numbers, float)
    ours, moved = spread(counts)
    assert ours.counts.sum() == pytest.approx(counts.sum())
    assert (ours.counts >= 0).all()
    assert 0 <= moved <= 1
    assert ours.allowed[0] == 0
    assert ours.allowed[-1] == len(counts)
    mirrored, _ = spread(counts[::-1])
    np.testing.assert_allclose(mirrored.counts[::-1], ours.counts, atol=1e-9 * counts.sum())
    np.testing.assert_allclose(spread(counts * scale)[0].counts, ours.counts * scale, atol=1e-9 * scale * counts.sum())


def test_a_value_less_than_twice_as_frequent_as_its_siblings_fills_its_cell() -> None:
    """Endings .00, .49 and .95 of evenly spread prices, each with the hundredths that are nearest; one lone price."""
    counts = np.zeros(3000)
    counts[0::100], counts[49::100], counts[95::100], counts[2999] = 27.0, 47.5, 25.5, 1.0
    ours, _ = spread(counts)
    np.testing.assert_allclose(ours.counts[100:2800], 1.0, atol=1e-9)


def test_a_plain_lattice_stays_as_it_is() -> None:
    counts = np.asarray(np.round(1000 * stats.norm.pdf(np.linspace(-3, 3, 61))), np.float64)
    assert resolve(counts, True) is None


# --- heaps


@pytest.mark.parametrize("period", [2, 5, 10, 12])
def test_heaps_are_found_with_their_period_and_place(period: int) -> None:
    rng = np.random.default_rng(period)
    x = rng.gamma(9, 12, 20_000)
    x = np.where(rng.random(len(x)) < 0.4, np.round((x - 3) / period) * period + 3, np.round(x))
    counts = np.bincount(x.clip(0).astype(int)).astype(float)
    heaping = find_heaping(counts)
    assert heaping.period == period
    marks = heaping.marks(len(counts))[1:-1]
    assert (np.diff(marks) == period).all()
    middle = marks[0] + (period - 1) / 2
    assert abs((middle - 3 + period / 2) % period - period / 2) <= 0.5
    level = without_heaps(counts, heaping)
    assert level is not None
    true = stats.gamma(9, scale=12)
    k = np.arange(len(counts))
    assert np.abs(level / level.sum() - (true.cdf(k + 0.5) - true.cdf(k - 0.5))).sum() < 0.12  # .4 to .75 before


def test_heaps_in_a_sparse_tail_stay_there() -> None:
    rng = np.random.default_rng(1)
    x = rng.lognormal(2, 0.8, 5000)
    law = GMMExpansion().fit(np.where(rng.random(5000) < 0.5, np.rint(x * 2) / 2, np.round(x, 1))).distribution_
    assert law.mean() == pytest.approx(x.mean(), abs=0.05)
    assert law.ppf(0.999) == pytest.approx(np.quantile(x, 0.999), rel=0.1)


def test_no_heaps_where_there_are_none() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        narrow = rng.choice([0.0, 20.0, 40.0], 3000) + rng.normal(0, 4, 3000)
        for x in (rng.normal(100, 20, 3000), rng.gamma(2, 30, 3000), narrow + 30):
            assert find_heaping(np.bincount(np.round(x).clip(0).astype(int)).astype(float)).period == 1


# --- columns as people write them down


def columns(n: int = 20_000) -> dict[str, tuple[np.ndarray, object]]:
    r = np.random.default_rng(0)
    x, wide, age, u = r.normal(50, 10, n), r.lognormal(4, 1, n), r.gamma(9, 5, n), r.random(n)
    normal, heavy, ages = stats.norm(50, 10), stats.lognorm(1, scale=np.exp(4)), stats.gamma(9, scale=5)
    one_percent = np.where(np.arange(n) < n // 100, x, np.round(x, 1))
    digits = 10.0 ** (np.floor(np.log10(wide)) - 1)
    fives = np.where(u < 0.4, np.round(age / 5) * 5, np.round(age))
    integers = np.maximum(np.round(r.lognormal(6, 0.5, n)), 1)
    return {
        "1 % unrounded": (one_percent, normal),
        "two significant digits": (np.round(wide / digits) * digits, heavy),
        "inches to centimetres": (np.round(np.round(x / 2.54) * 2.54, 1), normal),
        "log of integers": (np.log(integers), stats.norm(6, 0.5)),
        "float16": (x.astype(np.float16).astype(float), normal),
        "half whole, half tenths": (np.where(u < 0.5, np.round(x), np.round(x, 1)), normal),
        "heaped at fives and tens": (np.where(u < 0.15, np.round(age / 10) * 10, fives), ages),
        "whole numbers": (np.round(x), normal),
    }


@pytest.mark.parametrize("name", columns(100))
def test_rounded_columns_are_as_good_as_others(name: str) -> None:
    x, truth = columns()[name]
    grid = np.linspace(x.min() - 1, x.max() + 1, 20_001)
    density = truth.pdf(grid)  # pyright: ignore[reportAttributeAccessIssue]

    def error(values: np.ndarray) -> float:
        return float(np.abs(values - density).sum() * (grid[1] - grid[0]))

    model = GMMExpansion().fit(x)
    rules: list[Any] = ["silverman", "ISJ"]
    peers = [np.interp(grid, *cast(Any, FFTKDE(bw=rule).fit(x).evaluate(2**14)), left=0, right=0) for rule in rules]
    assert error(model.distribution_.pdf(grid)) < 1.0 * min(map(error, peers))
    assert len(model.distribution_.atoms.positions) == 0
    assert sum(mode.density > 0.02 * density.max() for mode in model.modes()) == 1


POINT_MASSES = {
    "zeros among tenths": (lambda r, n: np.where(r.random(n) < 0.3, 0, np.round(r.gamma(2, 10, n), 1)), {0.0: 0.3}),
    "999 among integers": (
        lambda r, n: np.where(r.random(n) < 0.05, 999, np.round(r.normal(50, 10, n))),
        {999.0: 0.05},
    ),
    "a cap": (lambda r, n: np.minimum(np.round(r.normal(50, 10, n), 1), 65), {65.0: stats.norm(50, 10).sf(64.95)}),
    "exactly 18": (lambda r, n: np.where(r.random(n) < 0.05, 18, np.round(r.normal(40, 10, n), 1)), {18.0: 0.05}),
    "integers": (lambda r, n: r.poisson(20, n), {}),
    "heaps": (lambda r, n: np.where(r.random(n) < 0.5, np.round(r.normal(50, 15, n), -1), r.integers(20, 80, n)), {}),
}


@pytest.mark.parametrize("name", POINT_MASSES)
def test_point_masses_are_told_from_rounding(name: str) -> None:
    draw, expected = POINT_MASSES[name]
    found = GMMExpansion(discrete=False).fit(draw(np.random.default_rng(1), 20_000)).distribution_.atoms
    assert found.positions.tolist() == list(expected)
    np.testing.assert_allclose(found.masses, list(expected.values()), atol=0.01)


def test_chunks_files_and_merges_of_rounded_columns_are_one() -> None:
    x = columns()["half whole, half tenths"][0]
    whole = GMMExpansion(range=(0, 100)).fit(x)
    chunks = GMMExpansion(range=(0, 100))
    for part in np.array_split(x, 5):
        chunks.partial_fit(part)
    assert whole.counts_[0].tied
    assert chunks.counts_[0].tied
    np.testing.assert_array_equal(whole.weights_, chunks.weights_)
    other = whole.empty_like().partial_fit(x)
    assert other.counts_[0].tied
    np.testing.assert_array_equal(other.weights_, whole.weights_)


def test_a_bound_may_lie_on_the_end_value_of_a_rounded_column() -> None:
    x = np.round(np.random.default_rng(0).beta(2, 2, 20_000) * 100)
    found = GMMExpansion(bounds=(0, 100), discrete=False).fit(x).distribution_
    grid = np.linspace(0, 100, 10_001)
    assert np.abs(found.pdf(grid) - stats.beta.pdf(grid, 2, 2, 0, 100)).sum() * 0.01 < 0.04
    assert found.cdf(0) == 0
    assert found.sf(100) == 0


def test_the_report_knows_what_bins_may_hide() -> None:
    rng = np.random.default_rng(0)
    pair = np.r_[rng.normal(0, 1e-9, 3000), rng.normal(1, 1e-9, 3000)]  # each in a bin of its own
    hidden = GMMExpansion().fit(pair).report_
    assert hidden.ks < hidden.ks_chance
    assert hidden.ks_most > 0.4
    assert "in bins" in str(hidden)
    x = rng.normal(size=3000)
    seen = GMMExpansion().fit(x)
    exact = cast(Any, stats.ks_1samp(x, seen.distribution_.cdf)).statistic
    assert seen.report_.ks <= exact + 1e-12 <= seen.report_.ks_most + 2e-12
    assert seen.report_.ks_most < exact + 0.002
