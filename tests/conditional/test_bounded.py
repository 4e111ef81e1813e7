"""Rows that are cut off, against single truncated mixtures and quadrature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from gaussmix.conditional.bases import Basis
from gaussmix.conditional.bounded import BoundedMixture
from gaussmix.conditional.distribution import ConditionalMixture


@pytest.fixture(params=[(0.0, math.inf), (-math.inf, 2.5), (0.0, 2.5)])
def rows(request: pytest.FixtureRequest) -> BoundedMixture:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(6), 4) * 0.9
    moved = Basis(weights[:, :4], rng.normal(size=4), rng.uniform(0.1, 0.6, 4))
    still = Basis(weights[:, 4:], np.array([0.5, 1.5]), np.array([1.0, 0.4]))
    atoms = Basis(np.full((4, 2), 0.05), np.array([0.0, 1.0]), np.zeros(2))
    return BoundedMixture(
        ConditionalMixture(moved, still, rng.uniform(0, 2, 4), np.full(4, 0.8), atoms=atoms), request.param
    )


def test_rows_are_truncated_mixtures(rows: BoundedMixture) -> None:
    x = np.array([-0.3, 0.0, 0.2, 1.0, 1.7, 2.5, 3.0])
    levels = np.array([0.01, 0.05, 0.3, 0.7, 0.999])
    quantiles = rows.ppf(levels)
    for i, single in enumerate(rows):
        np.testing.assert_allclose([rows.cdf(each)[i] for each in x], single.cdf(x), atol=2e-6)
        for each in x[(x != 0) & (x != 1)]:
            assert rows.pdf(each)[i] == pytest.approx(single.pdf(each), rel=2e-5)
        np.testing.assert_allclose(quantiles[i], single.ppf(levels), atol=1e-4)
        assert rows.mean()[i] == pytest.approx(single.mean(), abs=1e-5)
        assert rows.var()[i] == pytest.approx(single.var(), abs=1e-5)


def test_all_mass_is_inside(rows: BoundedMixture) -> None:
    low, high = rows.bounds
    assert rows.ppf([0.0, 1.0])[:, 0].min() >= low
    assert rows.ppf([0.0, 1.0])[:, 1].max() <= high
    draws = rows.rvs(2000, random_state=0)
    assert low <= draws.min() <= draws.max() <= high
    np.testing.assert_allclose(draws.mean(1), rows.mean(), atol=0.08)
    if low == 0:
        assert (rows.cdf(-1e-9) == 0).all()
        assert (rows.cdf(0.0) > 0.05).all()  # the point mass there
        assert (rows.logpdf(-1e-9) == -math.inf).all()
    if high < math.inf:
        assert (rows.cdf(high) == 1).all()


@pytest.mark.parametrize("y", [0.0, 0.7, 2.4])
def test_scores_are_those_of_the_definition(rows: BoundedMixture, y: float) -> None:
    found = rows.crps(y)
    for i in range(len(rows)):
        one = rows[i : i + 1]
        ends = [max(rows.bounds[0], -6), 0.0, *sorted((y, 1.0)), min(rows.bounds[1], 12)]
        pieces = [
            quad(lambda x, one=one: float((one.cdf(x)[0] - (x >= y)) ** 2), a + 1e-12, b - 1e-12, limit=100)[0]
            for a, b in itertools.pairwise(ends)
            if b > a
        ]
        assert found[i] == pytest.approx(sum(pieces), abs=2e-5)
