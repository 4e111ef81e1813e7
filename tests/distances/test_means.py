"""The difference of means (D Eq. 5, Eq. 6) against integrals of the distribution functions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.mixtures import MIXTURES
from scipy.integrate import quad

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.wasserstein import mean_difference_bound

BASES = {
    "lattice": GaussianBasis(-3.0, 0.25, 23),
    "warped": GaussianBasis(-3.0, 0.25, 23, center=1.0, scale=0.5),
    "bounded": GaussianBasis(0.1, 0.2, 15, bounds=(0.0, 3.0)),
    "lower bound": GaussianBasis(0.1, 0.2, 15, bounds=(0.0, None)),
    "upper bound": GaussianBasis(-2.9, 0.2, 15, bounds=(None, 0.0)),
    "wide in bounds": GaussianBasis(-2.0, 0.25, 23, 20.0, center=1.0, scale=0.5, bounds=(-1.0, 9.4)),
}
SHAPES = {name: given for name, given in MIXTURES.items() if name not in ("scales", "far", "grid 1000", "individual")}


def rows(rng: np.random.Generator, n: int, *shape: int) -> np.ndarray:
    return rng.dirichlet(np.full(n, 0.5), size=shape) if shape else rng.dirichlet(np.full(n, 0.5))


def integral(law: Any, low: float, high: float) -> float:
    """int F dx by quadrature between many cuts, the components' means among them."""
    cuts = np.concatenate([np.linspace(low, high, 11), *(law.means + k * law.stds for k in (-8, -4, 0, 4, 8))])
    cuts = np.unique(np.concatenate([cuts, [law.tail.loc], law.atoms.positions, law.bounds]).clip(low, high))
    parts = [quad(law.cdf, *ends, epsabs=1e-12)[0] for ends in pairwise(cuts)]
    return math.fsum(parts)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("support", [(-2.0, 0.7), (0.3, 40.0), (-300.0, -250.0)])
def test_eq6_is_the_integral_of_the_difference(name: str, support: tuple[float, float]) -> None:
    a = GaussianMixture1D(**SHAPES[name])
    b = GaussianMixture1D([1.0], [0.5], 2.0, tail=(0.01, 1.0, 0.5), atoms=([-1.0, 0.4], [0.2, 0.1]))
    expected = abs(integral(a, *support) - integral(b, *support))
    assert mean_difference_bound(a, b, support=support) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("basis", BASES.values(), ids=BASES)
@pytest.mark.parametrize("support", [None, (-1.0, 1.3)])
def test_rows_are_pairs_of_mixtures(basis: GaussianBasis, support: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(0)
    n = basis.n_components
    a, b = rows(rng, n, 3, 1), rows(rng, n, 2)
    found = mean_difference_bound(a, b, basis=basis, support=support)
    assert isinstance(found, np.ndarray)
    assert found.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        pair = mean_difference_bound(basis.mixture(a[i, 0]), basis.mixture(b[j]), support=support)
        assert found[i, j] == pytest.approx(pair, abs=1e-11)
    single = mean_difference_bound(a[0, 0], b[1], basis=basis, support=support)
    assert isinstance(single, float)
    assert single == pytest.approx(found[0, 1], abs=1e-12)


def test_samples_and_expansions() -> None:
    rng = np.random.default_rng(0)
    x, y, times = rng.normal(size=40), rng.normal(3, 1, 30), rng.integers(0, 4, 30)
    assert mean_difference_bound(x, y, b_weights=times) == pytest.approx(abs(x.mean() - np.repeat(y, times).mean()))
    low, high = -0.5, 2.0
    empirical = quad(lambda t: (x <= t).mean() - (y <= t).mean(), low, high, points=np.sort(x), limit=400)[0]
    assert mean_difference_bound(x, y, support=(low, high)) == pytest.approx(abs(empirical), abs=1e-6)
    model = GMMExpansion("fast").fit(x)
    assert mean_difference_bound(model, y) == pytest.approx(abs(model.distribution_.mean() - y.mean()))


def test_equal_means_are_not_told_apart() -> None:
    """D calls this W1, which for N(0, 10^2) and N(0, 30^2) is 20 sqrt(2 / pi) = 15.96."""
    a, b = GaussianMixture1D([1.0], [0.0], 10.0), GaussianMixture1D([1.0], [0.0], 30.0)
    assert mean_difference_bound(a, b) == 0
    assert mean_difference_bound(a, b, support=(-200.0, 200.0)) == pytest.approx(0, abs=1e-9)


def test_it_is_w1_where_one_distribution_function_stays_below() -> None:
    basis = BASES["lattice"]
    pi = rows(np.random.default_rng(0), 20)
    a, b = np.pad(pi, (0, 3)), np.pad(pi, (3, 0))
    assert mean_difference_bound(a, b, basis=basis) == pytest.approx(3 * basis.spacing)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_identity_symmetry_triangle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis = BASES["bounded"]
    p, q, r = rows(rng, 15, 3)
    for support in (None, (0.2, 1.7)):
        d = {
            (i, j): mean_difference_bound(u, v, basis=basis, support=support)
            for i, u in enumerate((p, q, r))
            for j, v in enumerate((p, q, r))
        }
        assert d[0, 0] == 0
        assert d[0, 1] == d[1, 0]
        assert d[0, 2] <= d[0, 1] + d[1, 2] + 1e-14


def test_bad_input_is_refused() -> None:
    basis, pi = BASES["lattice"], np.full(23, 1 / 23)
    with pytest.raises(ValueError, match=r"support is 2\.0 to 1\.0; the low end must come first"):
        mean_difference_bound(pi, pi, basis=basis, support=(2.0, 1.0))
    with pytest.raises(ValueError, match=r"support is 0\.0 to inf; both ends must be finite"):
        mean_difference_bound([0.0], [1.0], support=(0.0, math.inf))
    with pytest.raises(ValueError, match=r"a has weights that sum to 2; they must sum to 1"):
        mean_difference_bound(2 * pi, pi, basis=basis)
    with pytest.raises(ValueError, match=r"b has shape \(22,\), but the basis has 23"):
        mean_difference_bound(pi, pi[1:], basis=basis)
    with pytest.raises(TypeError, match="a_weights and b_weights are for samples"):
        mean_difference_bound(pi, pi, basis=basis, a_weights=pi)
