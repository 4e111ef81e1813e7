"""The polynomials against the sums they stand for, on mixtures of very different scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import gaussian_sums
from oracles.mixtures import MIXTURES

from gaussmix.density._mixture import exact, table
from gaussmix.density.mixture import GaussianMixture1D

each = pytest.mark.parametrize("arguments", MIXTURES.values(), ids=MIXTURES)


def points(mixture: GaussianMixture1D) -> np.ndarray:
    """Where the mass is, in the tails, between the components and far outside: sorted (N,)."""
    q = np.concatenate([np.linspace(0.001, 0.999, 400), 10.0 ** -np.arange(3, 25)])
    edges = np.concatenate([mixture.means - 12 * mixture.stds, mixture.means + 12 * mixture.stds])
    around = (mixture.means + np.linspace(-9, 9, 41)[:, None] * mixture.stds).ravel()
    x = np.concatenate(
        [
            mixture.ppf(q),
            mixture.isf(q),
            np.random.default_rng(0).choice(around, 400),
            np.linspace(edges.min(), edges.max(), 101),
        ]
    )
    return np.unique(np.clip(x, *mixture.bounds))


def oracle_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    low, high = arguments.get("bounds", (None, None))
    return {**arguments, "bounds": (-np.inf if low is None else low, np.inf if high is None else high)}


@each
def test_log_densities_are_those_of_the_sums(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    x = points(mixture)
    expected = gaussian_sums.log_density(x, **oracle_arguments(arguments))
    scale = np.maximum(1, abs(expected))
    assert np.max(abs(mixture.logpdf(x) - expected) / scale) < 1e-10
    direct = exact.log_densities(x, mixture._pieces)
    assert np.max(abs(direct - expected) / scale) < 1e-12
    tabulated = table.log_densities(x, mixture._table, mixture._pieces)
    assert np.max(abs(tabulated - direct) / scale) < 5e-11


@each
def test_masses_are_those_of_the_sums_in_both_tails(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    x = points(mixture)
    expected = gaussian_sums.cdf(x, **oracle_arguments(arguments))
    tabulated = {upper: table.masses_outside(x, mixture._table, mixture._pieces, upper) for upper in (False, True)}
    assert np.max(abs(tabulated[False] - expected)) < 1e-12
    assert np.max(abs(tabulated[True] - (1 - expected))) < 1e-12
    for upper in (False, True):
        direct = exact.masses_outside(x, mixture._pieces, upper)
        reliable = direct > 1e-25 if np.isinf(mixture.bounds).all() else direct > 1e-5
        assert np.max(abs(tabulated[upper] - direct)[reliable] / direct[reliable]) < 1e-10


@each
def test_quantiles_invert_the_masses(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    q = np.concatenate([np.random.default_rng(1).random(2000), 10.0 ** -np.arange(1, 40), [0.5, 1e-300]])
    for quantiles, masses in ((mixture.ppf, mixture.cdf), (mixture.isf, mixture.sf)):
        x = quantiles(q)
        resolution = np.exp(mixture.logpdf(x)) * np.spacing(abs(x))  # the mass between neighbouring floats
        assert np.all(abs(masses(x) - q) <= 1e-12 * np.maximum(q, 1e-3) + 2 * resolution)


@each
def test_direct_quantiles_are_the_tabulated_ones(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    q = np.concatenate([[0.1, 0.3, 0.9, 0.999], 10.0 ** -np.arange(2, 30, 5)])
    for upper in (False, True):
        direct = exact.quantiles(q, mixture._pieces, upper)
        again = table.masses_outside(direct, mixture._table, mixture._pieces, upper)
        resolution = np.exp(mixture.logpdf(direct)) * np.spacing(abs(direct))
        back = exact.masses_outside(direct, mixture._pieces, upper)
        assert np.all(abs(back - q) <= 1e-12 * q + 2 * resolution)
        rounded = 0.0 if np.isinf(mixture.bounds).all() else 2e-16  # the polynomial of a cell at a bound
        assert np.all(abs(again - q) <= 1e-9 * q + 2 * resolution + rounded)


def test_the_number_of_cells_depends_on_the_shape_and_not_on_the_components():
    few = GaussianMixture1D([0.5, 0.5], [0.0, 4.0], [1.0, 1.0])
    means = np.repeat([0.0, 4.0], 500)
    many = GaussianMixture1D(np.full(1000, 1e-3), means, 1.0)
    assert abs(len(many._table.logs) - len(few._table.logs)) <= 0.05 * len(few._table.logs)


@pytest.mark.parametrize("power", [-980, 980])
def test_densities_that_underflow_need_few_cells(power: int):
    """In other units, by a power of two, a mixture has the same masses; its tails took hundreds of thousands."""
    weights, means, stds = np.array([0.2, 0.5, 0.3]), np.array([-3.0, 0.0, 9.0]), np.array([1.0, 0.1, 4.0])
    law, unit = GaussianMixture1D(weights, means, stds), 2.0**power
    other = GaussianMixture1D(weights, means * unit, stds * unit)
    assert len(other._table.logs) < 1000
    x = points(law)
    for upper in (False, True):
        expected = table.masses_outside(x, law._table, law._pieces, upper)
        found = table.masses_outside(x * unit, other._table, other._pieces, upper)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-300)


def test_standard_deviations_near_the_resolution_of_floats_lose_no_more_than_it():
    """Cells of some 1e5 floats: their middles are rounded, by less than half the distance between two floats."""
    mixture = GaussianMixture1D([0.5, 0.5], [1.0, 1.0 + 1e-8], [1e-9, 1e-10])
    x = 1 + np.linspace(-9e-9, 1.09e-8, 5001)
    spacing = np.spacing(1.0)
    tabulated = table.log_densities(x, mixture._table, mixture._pieces)
    steepest = 10 / 1e-10  # ten standard deviations out
    assert np.max(abs(tabulated - exact.log_densities(x, mixture._pieces))) < steepest * spacing
    tabulated = table.masses_outside(x, mixture._table, mixture._pieces, False)
    assert np.max(abs(tabulated - exact.masses_outside(x, mixture._pieces, False))) < mixture.pdf(1 + 1e-8) * spacing


def test_cells_narrower_than_floats_allow_are_summed():
    """1e6 standard deviations of 1e-14 beside 1: a cell there would hold a handful of numbers."""
    mixture = GaussianMixture1D([0.5, 0.5], [1.0, 1.0], [1e-14, 0.1])
    x = 1 + np.arange(-200, 201) * np.spacing(1.0)
    assert np.isinf(mixture._table.logs[:, 1]).any()
    np.testing.assert_allclose(
        table.log_densities(x, mixture._table, mixture._pieces), exact.log_densities(x, mixture._pieces), rtol=1e-10
    )
    q = 0.5 + np.linspace(-0.2, 0.2, 401)
    narrow = table.quantiles(q, mixture._table, mixture._pieces, False)
    np.testing.assert_allclose(narrow, exact.quantiles(q, mixture._pieces, False), rtol=3e-16)
    assert np.ptp(narrow) < 1e-13


def test_few_quantiles_are_found_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from 0, where neighbouring floats differ by more mass than is asked for."""
    calls = []
    masses = exact.masses_outside
    monkeypatch.setattr(exact, "masses_outside", lambda *given: calls.append(given) or masses(*given))
    for mean in (0.0, 100.0, 1e6):
        law = GaussianMixture1D([0.3, 0.7], [mean, mean + 1], [1.0, 0.5])
        q = np.linspace(0.01, 0.99, 50)
        calls.clear()
        x = law.ppf(q)
        assert law.cdf(x) == pytest.approx(q, abs=4 * np.spacing(mean + 1))
        assert len(calls) < 40
