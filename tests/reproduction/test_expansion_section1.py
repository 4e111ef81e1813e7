"""E section 1: the true conditional distribution against a simulation, and scores against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from reproduction.expansion import section1
from reproduction.expansion.section1 import GRID, STEP, inverse_problem, score, truth


@pytest.mark.parametrize("x", [0.1, 0.5, 0.62])
def test_the_truth_is_what_is_drawn(x: float) -> None:
    xs, ys = inverse_problem(2_000_000, np.random.default_rng(0))
    near = ys[np.abs(xs - x) < 0.004]
    cdf, pdf = truth(np.array([x]))
    assert pdf.sum() * STEP == pytest.approx(1)
    found: Any = stats.ks_1samp(near, lambda y: np.interp(y, GRID, cdf[0]))
    assert found.statistic < 1.63 / np.sqrt(len(near)) + 0.01


def test_scores_are_those_of_a_normal() -> None:
    rng = np.random.default_rng(1)
    mean = rng.uniform(0.2, 0.8, 300)
    y = rng.normal(mean, 0.1)
    rows = section1._normal_rows(mean[:, None], 0.1)
    shifted = section1._normal_rows(mean[:, None] + 0.03, 0.1)
    found = score(rows, shifted, y)
    z = (y - mean) / 0.1
    crps = 0.1 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert found["crps"] == pytest.approx(crps.mean(), abs=1e-4)
    assert found["nll"] == pytest.approx(-stats.norm.logpdf(y, mean, 0.1).mean(), abs=1e-3)
    assert found["w1"] == pytest.approx(0.03, abs=1e-4)
    assert found["l1"] == pytest.approx(2 * (2 * stats.norm.cdf(0.15) - 1), abs=1e-3)
    assert found["coverage"] == pytest.approx(np.mean(np.abs(z) <= stats.norm.ppf(0.95)))
