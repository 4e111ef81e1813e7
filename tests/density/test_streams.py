"""Streams whose first chunks show little: sorted, of one value, of few values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gaussmix import GMMExpansion
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.model import DensityModel
from gaussmix.density.standard_units import settled

RNG = np.random.default_rng(0)
ROUNDED = {
    "whole floats": np.rint(RNG.normal(3, 2, 20_000)),
    "halves": np.rint(RNG.normal(3, 2, 5000) * 2) / 2,
    "endings": np.floor(RNG.exponential(5, 5000)) + 0.99,
    "fahrenheit": np.rint(RNG.lognormal(2, 0.8, 5000)) * 1.8 + 32,
    "two scales": np.where(RNG.random(20_000) < 0.5, 5.0, 1.0) * np.rint(RNG.normal(12, 3, 20_000)),
}
ZEROS = np.where(RNG.random(5000) < 0.3, 0, np.round(RNG.gamma(3, 2, 5000), 1))


def streamed(parts: list[NDArray[np.float64]]) -> DensityModel:
    model = GMMExpansion()
    for part in parts:
        model.partial_fit(part)
    return model


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("order", ["rising", "falling", "one first"])
def test_rounded_values_have_no_point_masses_in_whatever_order(name: str, order: str) -> None:
    x = ROUNDED[name]
    whole = GMMExpansion().fit(x).distribution_
    assert whole.atoms.masses.size == 0
    if order == "one first":
        model = streamed([x[:1], x[1:]])
    else:
        model = streamed(np.array_split(np.sort(x) if order == "rising" else -np.sort(-x), 20))
    q = np.linspace(0.005, 0.995, 100)
    assert model.report_.atoms == {}
    assert model.distribution_.atoms.masses.size == 0
    assert np.abs(model.distribution_.cdf(whole.ppf(q)) - q).max() < 0.01
    assert sum(model.counts_[0].atom_counts) > 0 or order == "falling"  # they were taken for such at first


@pytest.mark.parametrize("x", [ZEROS, np.where(ZEROS > 0, ZEROS + RNG.random(5000), 0)], ids=["rounded", "continuous"])
def test_point_masses_at_the_beginning_stay(x: NDArray[np.float64]) -> None:
    model = streamed(np.array_split(np.sort(x), 20))
    assert list(model.report_.atoms) == [0.0]
    assert model.distribution_.pdf(0.0) == pytest.approx(np.mean(x == 0), abs=0.005)


def test_a_single_value_seen_first_is_no_point_mass_in_the_end() -> None:
    x = np.random.default_rng(1).normal(size=5000)
    model = streamed([x[:1], x[1:]])
    assert model.counts_[0].atoms.tolist() == [x[0]]
    assert model.report_.atoms == {}
    assert model.distribution_.pdf(x[0]) < 1
    assert GMMExpansion().partial_fit(x[:1]).report_.atoms == {x[0]: 1.0}


def test_points_of_dropped_atoms_stay_in_their_bins() -> None:
    model = streamed(np.array_split(np.sort(ROUNDED["halves"]), 20))
    counts = model.counts_[0]
    fewer = settled(counts)
    assert isinstance(fewer, BinnedCounts)
    assert len(fewer.atoms) < len(counts.atoms)
    assert (fewer.n, fewer.minimum, fewer.maximum) == (counts.n, counts.minimum, counts.maximum)
    assert np.array_equal(fewer.counts, counts.counts)
    assert np.array_equal(fewer.without_atoms().counts, counts.counts)


@pytest.mark.parametrize("seed", range(4))
def test_a_first_chunk_of_a_few_booleans_lays_no_bins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    switches, waits = (
        (rng.random(300) < 0.4).astype(float),
        np.where(rng.random(300) < 0.6, 0, rng.exponential(size=300)),
    )
    for x in (switches, np.r_[0, 0, 0.5, waits]):
        model = GMMExpansion()
        for chunk in np.array_split(x, len(x) // 3):
            model.partial_fit(chunk)
        assert model.distribution_.mean() == pytest.approx(x.mean(), abs=0.02)
        assert model.distribution_.atoms.masses[0] == pytest.approx(np.mean(x == 0), abs=1e-9)
