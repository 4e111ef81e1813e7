"""Where bins lie: rounding, point masses, heavy tails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from gaussmix.density.axis import Axis
from gaussmix.density.binning import (
    AXIS_BINS,
    LATTICE_BINS,
    SAMPLE,
    choose_axis,
    choose_basis,
    point_masses,
    rounding_step,
    take_sample,
)
from gaussmix.density.counts import BinnedCounts


def axis_of(x: ArrayLike, **options: Any) -> Axis:
    x = np.asarray(x, float)
    return choose_axis(take_sample(x), x.min(), x.max(), **options)[0]


def atoms_of(x: ArrayLike) -> list[float]:
    x = np.asarray(x, float)
    return choose_axis(take_sample(x), x.min(), x.max())[1].tolist()


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def test_continuous_data_get_a_linear_axis_over_their_range(rng) -> None:
    x = rng.normal(size=5000)
    axis = axis_of(x)
    assert axis.scale is None
    assert axis.n_bins == AXIS_BINS
    assert axis.low == x.min()
    assert x.max() < axis.high < x.max() + 1e-9
    assert atoms_of(x) == []


@pytest.mark.parametrize(("decimals", "offset"), [(1, 0.0), (2, 0.0), (0, 0.5), (-1, 7.0)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounded_data_get_bins_centred_on_their_values(rng, decimals: int, offset: float, dtype: type) -> None:
    step = 10.0**-decimals
    x = (np.round(rng.normal(scale=30 * step, size=4000), decimals) + offset).astype(dtype)
    axis = axis_of(x)
    assert axis.scale is None
    assert axis.width == pytest.approx(step, rel=1e-4)
    place = (np.unique(x).astype(float) - axis.low) / axis.width
    assert np.abs(place - np.floor(place) - 0.5).max() < 0.05


def test_single_precision_and_sorted_numbers_are_not_taken_for_rounded(rng) -> None:
    for x in (rng.normal(size=20_000).astype(np.float32), np.sort(rng.random(5000)), np.arange(5000.0) ** 1.5):
        values, repeats = np.unique(x.astype(float), return_counts=True)
        assert rounding_step(values, repeats) == 0.0


def test_far_outliers_bend_the_axis(rng) -> None:
    x = np.append(rng.normal(size=5000), 1e6)
    axis = axis_of(x)
    assert axis.scale is not None
    assert axis.high >= 1e6
    core = (axis.edges > -3) & (axis.edges < 3)
    assert core.sum() > 1000  # the core keeps its resolution
    assert axis_of(x, warp=None).scale is None
    assert axis_of(rng.normal(size=500), warp="asinh").scale is not None


def test_streams_bend_the_axis_before_outliers_come_but_keep_lattices(rng) -> None:
    assert axis_of(rng.normal(size=500), stream=True).scale is not None
    lattice = axis_of(rng.poisson(30, 2000), stream=True)
    assert lattice.width == 1.0
    assert lattice.low < 0
    assert lattice.high > 100


def test_prices_get_bins_of_whole_cents(rng) -> None:
    """With other bins some would hold two cents and some three, and the density would have spikes there."""
    x = np.round(rng.lognormal(3.0, 0.6, 20_000), 2)
    axis = axis_of(x)
    assert (x.max() - x.min()) / 0.01 > AXIS_BINS
    for column in (x, np.append(x, 1e9)):
        axis = axis_of(column)
        cents = axis.width / 0.01
        assert abs(cents - round(cents)) < 1e-6
        assert axis.n_bins <= LATTICE_BINS
        assert axis.low < x.min() < np.quantile(x, 0.999) < axis.high
        place = (axis.low - x.min()) / 0.01
        assert abs(place - np.floor(place) - 0.5) < 1e-3
    assert axis_of(np.append(x, 1e9)).high < 1e4


def test_a_given_span_is_kept_and_holds_its_upper_end(rng) -> None:
    axis = axis_of(rng.random(100), span=(0.0, 1.0))
    assert axis.low == 0.0
    assert 1.0 < axis.high < 1 + 1e-9


@pytest.mark.parametrize(
    ("make", "atoms"),
    [
        (lambda rng: np.where(rng.random(5000) < 0.3, 0.0, rng.exponential(size=5000)), [0.0]),
        (lambda rng: np.where(rng.random(5000) < 0.3, 0, 20 + rng.poisson(30, 5000)), [0.0]),
        (lambda rng: rng.integers(0, 2, 1000), [0.0, 1.0]),
        (lambda rng: rng.integers(1, 6, 100), [1.0, 2.0, 3.0, 4.0, 5.0]),
        (lambda _: np.full(30, 7.5), [7.5]),
        (lambda rng: rng.poisson(30, 5000), []),
        (lambda rng: np.round(rng.normal(size=5000), 1), []),
        (lambda rng: rng.geometric(0.3, 5000), []),
        (lambda rng: rng.normal(size=12), []),
    ],
)
def test_point_masses(rng, make, atoms: list[float]) -> None:
    assert atoms_of(make(rng)) == atoms


def test_the_most_frequent_atoms_are_kept() -> None:
    values = np.arange(100.0) ** 1.5
    repeats = np.ones(100, np.int64)
    repeats[30:50] = np.arange(200, 220)
    found = point_masses(values, repeats, 0.0)
    np.testing.assert_array_equal(found, values[34:50])


def test_large_samples_are_drawn_reproducibly_from_the_whole() -> None:
    x = np.arange(1_000_000.0)
    sample = take_sample(x)
    assert len(sample) == SAMPLE
    np.testing.assert_array_equal(sample, take_sample(x))
    np.testing.assert_allclose(np.quantile(sample, [0.25, 0.5, 0.75]), [250e3, 500e3, 750e3], rtol=0.02)


@pytest.mark.parametrize("n", [SAMPLE, SAMPLE + 1, 20_000, 70_001])
def test_no_place_is_drawn_twice(n: int) -> None:
    sample = take_sample(np.arange(float(n)))
    assert len(np.unique(sample)) == len(sample) == SAMPLE
    assert sample.max() < n


@pytest.mark.parametrize("n_values", [12, 17, 396, 4000, 4001, 65_535, 65_536])
def test_the_lattice_of_a_stream_has_every_value_in_a_bin_of_its_own(n_values: int) -> None:
    values = np.arange(float(n_values))
    sample = np.repeat(values if n_values < 4002 else values[-4001:], 3)
    axis, _, _ = choose_axis(sample, 0.0, n_values - 1.0, stream=True)
    assert axis.width == 1.0
    places = np.floor((values - axis.origin) / axis.width)
    assert (places.min() >= 0, places.max() < axis.n_bins) == (True, True)


def test_a_basis_leaves_far_outliers_out_and_ends_at_bounds(rng) -> None:
    x = np.sort(np.append(rng.exponential(size=5000), 1e6))
    basis, _ = choose_basis(x, x[0], x[-1], 50, 2.0, bounds=(0.0, None))
    assert basis.axis().low == pytest.approx(0, abs=1e-9)
    assert 5 < basis.axis().high < 50
    everything, _ = choose_basis(x, x[0], x[-1], 50, 2.0, warp="asinh")
    assert everything.axis().high >= 1e6


def test_numbers_too_large_for_bins() -> None:
    with pytest.raises(ValueError, match="divide them by a large number"):
        axis_of([-1.5e308, 0.0, 1.5e308])


def test_no_extreme_falls_out_of_a_basis(rng) -> None:
    for _ in range(300):
        x = rng.normal(size=5) * 10 ** rng.uniform(-3, 3) + rng.normal() * 10 ** rng.uniform(-3, 3)
        basis, _ = choose_basis(np.sort(x), x.min(), x.max(), int(rng.integers(1, 400)), 1.0)
        assert BinnedCounts(basis.axis()).add(x).counts.sum() == 5
