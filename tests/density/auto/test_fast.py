"""The plain expansion against a kernel estimate summed point by point."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from gaussmix.density.auto.fast import expand_counts, predict
from gaussmix.density.auto.rule import make_cells
from gaussmix.density.axis import Axis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.standard_units import StandardCounts, read_counts

OPEN = (-math.inf, math.inf)


def standard(x: np.ndarray, n_bins: int = 4096, axis: Axis | None = None) -> StandardCounts:
    low, width = x.min(), np.ptp(x) / n_bins * (1 + 1e-12)
    return read_counts(BinnedCounts(axis or Axis(low, width, n_bins)).add(x))


@pytest.mark.parametrize("seed", [0, 1])
def test_is_a_kernel_estimate_with_its_bandwidth(seed: int) -> None:
    x = np.random.default_rng(seed).gamma(3, size=1000)
    data = standard(x)
    found = expand_counts(data, OPEN)
    at = np.linspace(0, 12, 200)
    means, stds = data.to_data(found.means), found.stds * data.unit
    ours = norm.pdf(at[:, None], means, stds) @ found.weights
    exact = norm.pdf(at[:, None], x, found.bandwidth).mean(1)
    np.testing.assert_allclose(ours, exact, atol=1e-2 * exact.max())
    spacing = np.diff(means).min()
    assert 0.25 < spacing / found.bandwidth <= 0.5
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert found.weights @ means == pytest.approx(x.mean(), abs=spacing)


def test_components_on_a_warped_axis_widen_with_it() -> None:
    x = np.random.default_rng(2).standard_cauchy(5000)
    u = np.arcsinh(x)
    axis = Axis(u.min(), np.ptp(u) / 4096 * (1 + 1e-12), 4096, center=0.0, scale=1.0)
    data = standard(x, axis=axis)
    found = expand_counts(data, OPEN)
    means, stds = data.to_data(found.means), found.stds * data.unit
    np.testing.assert_allclose(stds / np.hypot(1, means), stds.min() / np.hypot(1, means[np.argmin(stds)]), rtol=1e-9)


def test_leaving_one_out_is_exact() -> None:
    x = np.random.default_rng(3).normal(size=300)
    data = standard(x, 2048)
    likelihood, cell = make_cells(data, OPEN)
    found = expand_counts(data, OPEN)
    ours = predict(likelihood, data.counts, cell, found)
    alone = np.flatnonzero(data.counts == 1)[::29]  # bins of one point, and their cells hold no other
    alone = [b for b in alone if likelihood.counts[cell[b]] == 1]
    assert len(alone) >= 3
    for b in alone:
        weights = found.weights * data.n
        weights[found.component[b]] -= 1
        j = cell[b]
        inside = np.diff(norm.cdf(likelihood.edges[[j, j + 1], None], found.means, found.stds), axis=0)[0]
        exact = inside @ weights / (data.n - 1) + likelihood.background[j]
        assert ours.without[j] == pytest.approx(exact, rel=1e-9)
