"""Rows of mixtures against the mixtures themselves, and against quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from gaussmix import GaussianMixture1D, LatticeMixture1D
from gaussmix.conditional.bases import Basis, Lattice
from gaussmix.conditional.distribution import ConditionalMixture

N = 30


def rows(atoms: bool = False, lattice: Lattice | None = None) -> ConditionalMixture:
    rng = np.random.default_rng(0)
    moved, fixed = 0.6 * rng.dirichlet(np.full(12, 0.2), N), 0.4 * rng.dirichlet(np.full(8, 0.2), N)
    masses = None
    if atoms:
        p = rng.dirichlet([1, 1, 3], N)
        masses = Basis(p[:, :2], np.array([0.0, 1.5]), np.zeros(2))
        moved, fixed = moved * p[:, 2:], fixed * p[:, 2:]
    return ConditionalMixture(
        Basis(moved, rng.normal(size=12), rng.uniform(0.05, 0.5, 12)),
        Basis(fixed, rng.normal(size=8), rng.uniform(0.01, 0.5, 8)),
        rng.normal(size=N),
        rng.uniform(0.1, 2, N),
        atoms=masses,
        lattice=lattice,
    )


LATTICE = Lattice(-3.0, 0.25, 25)
KINDS = {"densities": rows(), "with atoms": rows(atoms=True), "on a lattice": rows(lattice=LATTICE)}
kinds = pytest.mark.parametrize("law", KINDS.values(), ids=KINDS)


@kinds
def test_every_row_is_the_mixture_that_it_is_written_out_as(law: ConditionalMixture) -> None:
    y = np.random.default_rng(1).normal(size=N)
    if law.lattice is not None:
        y = LATTICE.origin + LATTICE.step * np.rint((y - LATTICE.origin) / LATTICE.step)
    singles = [law[i] for i in range(N)]
    assert all(isinstance(each, LatticeMixture1D if law.lattice else GaussianMixture1D) for each in singles)

    def each(name: str, *arguments: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([getattr(one, name)(*(a[i] for a in arguments)) for i, one in enumerate(singles)])

    np.testing.assert_allclose(law.cdf(y), each("cdf", y), atol=2e-5)
    np.testing.assert_allclose(law.pdf(y), each("pdf", y), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(law.mean(), each("mean"), atol=2e-5)
    np.testing.assert_allclose(law.var(), each("var"), rtol=1e-3, atol=1e-4)
    for q in (0.01, 0.3, 0.5, 0.99):
        np.testing.assert_allclose(law.ppf(q), [one.ppf(q) for one in singles], atol=1e-4)
    np.testing.assert_array_equal(law.ppf([0.3, 0.5])[:, 1], law.ppf(0.5))
    assert law.interval(0.8).shape == (N, 2)


@kinds
def test_crps_is_the_integral_of_squared_differences(law: ConditionalMixture) -> None:
    y = np.random.default_rng(1).normal(size=N)
    grid = np.linspace(-9, 9, 60_001)
    middles = (grid[1:] + grid[:-1]) / 2
    expected = [((law[i].cdf(middles) - (middles >= y[i])) ** 2).sum() * (grid[1] - grid[0]) for i in range(N)]
    np.testing.assert_allclose(law.crps(y), expected, atol=4e-4)


def test_quantiles_invert_the_distribution_function() -> None:
    law = rows()
    for q in (1e-9, 0.001, 0.2, 0.5, 0.9, 1 - 1e-9):
        np.testing.assert_allclose(law.cdf(law.ppf(q)), q, rtol=1e-6)
    assert np.isneginf(law.ppf(0)).all()
    assert np.isposinf(law.ppf(1)).all()


def test_quantiles_at_atoms_are_the_atoms() -> None:
    law = rows(atoms=True)
    assert law.atoms is not None
    below = law.cdf(np.nextafter(0.0, -1))
    inside = below + 0.5 * law.atoms.weights[:, 0]
    np.testing.assert_array_equal([law[np.array([i])].ppf(inside[i])[0] for i in range(N)], 0.0)


@kinds
def test_draws_have_the_distribution(law: ConditionalMixture) -> None:
    drawn = law.rvs(4000, random_state=0)
    assert drawn.shape == (N, 4000)
    np.testing.assert_array_equal(drawn, law.rvs(4000, random_state=0))
    np.testing.assert_allclose(drawn.mean(1), law.mean(), atol=5 * law.std().max() / np.sqrt(4000))
    transformed = [law[np.full(4000, i)].pit(drawn[i], random_state=100 + i) for i in range(3)]
    assert min(kstest(each, "uniform").pvalue for each in transformed) > 1e-3
    if law.lattice is not None:
        assert np.isin(drawn, LATTICE.values).all()


def test_the_lattice_has_all_probability_and_knows_what_is_beside_it() -> None:
    law = rows(lattice=LATTICE)
    np.testing.assert_allclose(law.pmf().sum(1), 1)
    each = np.array([law.logpdf(value) for value in LATTICE.values]).T
    np.testing.assert_allclose(np.exp(each), law.pmf(), atol=2e-5)
    beside = law.continuous
    np.testing.assert_allclose(law.pdf(0.1), beside.cdf(0.225) - beside.cdf(-0.025), atol=2e-5)
    assert np.isfinite(law.logpdf(50.0)).all()
    np.testing.assert_array_equal(law.cdf(-3.1), 0)
    np.testing.assert_array_equal(law.cdf(3.0), 1)
    assert law.continuous.lattice is None
    assert law.support == (-3.0, 3.0)


def test_rows_are_taken_joined_and_refused() -> None:
    law = rows()
    assert len(law[3:7]) == 4
    np.testing.assert_array_equal(law[3:7].loc, law.loc[3:7])
    both = law.joined(law[:5])
    np.testing.assert_array_equal(both.mean()[N:], law.mean()[:5])
    assert [type(each) for each in law[:2]] == [GaussianMixture1D] * 2
    with pytest.raises(IndexError, match="row 30 of 30"):
        law[30]
    with pytest.raises(ValueError, match="y has shape"):
        law.pdf(np.zeros(3))
    with pytest.raises(ValueError, match="q must be"):
        law.ppf(1.2)
    with pytest.raises(ValueError, match="level is 1"):
        law.interval(1.0)
    with pytest.raises(ValueError, match="on no lattice"):
        law.pmf()


def test_variances_far_from_zero_keep_their_digits() -> None:
    law, far = rows(), rows()
    far.loc, far.fixed = law.loc + 1e9, Basis(law.fixed.weights, law.fixed.means + 1e9, law.fixed.stds)
    np.testing.assert_allclose(far.var(), law.var(), rtol=1e-5)
    moved = rows(lattice=Lattice(1e9, 0.25, 25))
    assert (moved.var() >= 0).all()
    assert law[:0].ppf([0.1, 0.5]).shape == (0, 2)
