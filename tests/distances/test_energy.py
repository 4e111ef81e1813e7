"""`energy_distance`: SciPy's between samples, closed forms in many digits, quadrature, and the axioms of a metric."""

from __future__ import annotations

import math
from itertools import combinations, product
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import distances as oracle
from oracles.mixtures import MIXTURES
from scipy.stats import energy_distance as scipys

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances import energy_distance

Terms = list[tuple[float, float, float]]
STEPPED: dict[str, Any] = {
    "weights": [0.4, 0.6],
    "means": [-1.0, 1.0],
    "stds": [0.5, 2.0],
    "atoms": ([0.0, 0.25, 9.0], [0.1, 0.2, 0.05]),
}


def normals(terms: Terms) -> GaussianMixture1D:
    return GaussianMixture1D(*zip(*terms, strict=True))


def exactly(a: Terms, b: Terms) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| over weights, means and stds in 80 digits; a std of 0 is a point's."""

    def mean_size(mean: Any, variance: Any) -> Any:
        if abs(mean) >= 1e3 * mpmath.sqrt(variance):
            return abs(mean)
        z = mean / mpmath.sqrt(variance)
        return mpmath.sqrt(variance) * (2 * mpmath.npdf(z) + z * (2 * mpmath.ncdf(z) - 1))

    with mpmath.workdps(80):
        rows = [[mpmath.mpf(value) for value in term] for term in a]
        rows += [[-mpmath.mpf(w), mpmath.mpf(m), mpmath.mpf(s)] for w, m, s in b]
        total = sum(-w * v * mean_size(m - n, s * s + t * t) for (w, m, s), (v, n, t) in product(rows, rows))
        return float(mpmath.sqrt(total))


def by_quadrature(a: dict[str, Any], b: dict[str, Any]) -> float:
    """sqrt(2 int (F_a - F_b)^2 dx), by Gauss's rule between all knots."""
    cuts = np.unique(np.concatenate([oracle.knots(a), oracle.knots(b)]))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = 0.5 * np.diff(cuts)[:, None]
    x = cuts[:-1, None] + half * (1 + nodes)
    below = oracle.outside(a, x, upper=False) - oracle.outside(b, x, upper=False)
    return math.sqrt(2 * float((half * weights * below**2).sum()))


@pytest.mark.parametrize("weighted", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("ties", [False, True])
def test_samples_agree_with_scipy(weighted: tuple[bool, bool], ties: bool) -> None:
    rng = np.random.default_rng(0)
    for n, m in ((1, 1), (40, 40), (300, 170)):
        x, y = rng.normal(size=n), rng.standard_cauchy(m)
        if ties:
            x, y = x.round(1), y.round(1)
        u, v = (rng.random(size) if weigh else None for size, weigh in zip((n, m), weighted, strict=True))
        assert energy_distance(x, y, a_weights=u, b_weights=v) == pytest.approx(scipys(x, y, u, v), rel=1e-13)


def test_samples_at_the_ends_of_double_precision() -> None:
    assert energy_distance([-1e308], [1e308]) == pytest.approx(2e154, rel=1e-13)
    assert energy_distance([0.0], [1e-300]) == pytest.approx(math.sqrt(2) * 1e-150, rel=1e-13)


CASES: dict[str, tuple[Terms, Terms]] = {
    "a step": ([(1, 0, 1)], [(1, 1, 1)]),
    "almost the same place": ([(1, 0, 1)], [(1, 1e-10, 1)]),
    "almost the same width": ([(1, 0, 1)], [(1, 0, 1 + 1e-9)]),
    "almost the same weights": ([(0.25, 0, 1), (0.75, 1.3, 0.7)], [(0.25 - 2**-40, 0, 1), (0.75 + 2**-40, 1.3, 0.7)]),
    "scales": ([(0.5, 0, 1), (0.5, 4, 1e-6)], [(0.25, 1, 2), (0.75, 300, 3)]),
    "far away": ([(1, 0, 1)], [(1, 1e9, 1)]),
    "as good as a point": ([(0.5, 0, 1e-200), (0.5, 1e6, 1)], [(1, 0.1, 1e-190)]),
}


@pytest.mark.parametrize("name", CASES)
def test_mixtures_are_a_closed_form(name: str) -> None:
    a, b = CASES[name]
    assert energy_distance(normals(a), normals(b)) == pytest.approx(exactly(a, b), rel=1e-13)
    points = [0.1, 0.3, 5.0]
    expected = exactly(a, [(1 / 3, x, 0) for x in points])
    assert energy_distance(points, normals(a)) == pytest.approx(expected, rel=1e-13)


def test_many_points_against_a_mixture() -> None:
    """Quantiles of the law itself, which a sample cannot be nearer to; a point lies far out."""
    a: Terms = [(0.5, -1, 0.5), (0.5, 1, 1)]
    x = normals(a).ppf((np.arange(512) + 0.5) / 512)
    assert energy_distance(x, normals(a)) == pytest.approx(exactly(a, [(2**-9, v, 0) for v in x]), rel=1e-9)
    x[-1] = 1e12
    assert energy_distance(x, normals(a)) == pytest.approx(exactly(a, [(2**-9, v, 0) for v in x]), rel=1e-12)


@pytest.mark.parametrize("name", [name for name, law in MIXTURES.items() if len(law["weights"]) < 999])
def test_every_kind_of_mixture_by_quadrature(name: str) -> None:
    a = MIXTURES[name]
    ours = energy_distance(GaussianMixture1D(**a), GaussianMixture1D(**STEPPED))
    assert ours == pytest.approx(by_quadrature(a, STEPPED), rel=1e-10)


def test_atoms_and_densities_alike_are_gone() -> None:
    a, b = (
        GaussianMixture1D([1.0], [0.0], 1.0, atoms=([0.0, 1.0], masses)) for masses in ([0.25, 0.25], [0.375, 0.125])
    )
    assert energy_distance(a, b) == pytest.approx(math.sqrt(2) * 0.125, rel=1e-13)


BASES = {
    "lattice": GaussianBasis(-3.0, 0.25, 23),
    "narrow": GaussianBasis(-3.0, 0.25, 23, 0.05),
    "wide": GaussianBasis(-3.0, 0.25, 23, 40.0),
    "one": GaussianBasis(-3.0, 0.25, 1),
    "many": GaussianBasis(-3.0, 0.25, 600),
    "warped": GaussianBasis(-3.0, 0.25, 23, center=1.0, scale=0.5),
    "bounded": GaussianBasis(0.1, 0.2, 15, bounds=(0.0, 3.0)),
}


@pytest.mark.parametrize("name", BASES)
def test_rows_are_pairs_of_mixtures(name: str) -> None:
    basis = BASES[name]
    a, b = np.random.default_rng(0).dirichlet(np.ones(basis.n_components), (2, 2))
    found = energy_distance(a[:, None], b, basis=basis)
    assert isinstance(found, np.ndarray)
    assert found.shape == (2, 2)
    for i, j in np.ndindex(2, 2):
        expected = energy_distance(basis.mixture(a[i]), basis.mixture(b[j]))
        assert found[i, j] == pytest.approx(expected, rel=1e-9)
    assert energy_distance(a[0], b[0], basis=basis) == pytest.approx(found[0, 0], rel=1e-13)
    assert not np.any(energy_distance(a, a, basis=basis))


def laws(seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        rng.normal(rng.normal(), 2, 20),
        GaussianMixture1D(rng.dirichlet([1, 1]), rng.normal(0, 2, 2), rng.uniform(0.1, 2, 2), tail=(0.1, 0.0, 1.0)),
        GaussianMixture1D([1.0], [0.25], 2.0, bounds=(0.0, None), atoms=([0.0], [0.25])),
    ]


@given(st.integers(0, 10**6), st.sampled_from([2.0**-300, 1.0, 2.0**300]), st.sampled_from([0.0, 2.0**30]))
@settings(max_examples=30, deadline=None)
def test_a_metric_whose_square_has_the_unit_of_the_data(seed: int, unit: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (laws(seed)[i] for i in rng.integers(0, 3, 3))
    ab = energy_distance(a, b)
    assert energy_distance(b, a) == pytest.approx(ab, rel=1e-9, abs=1e-14)
    assert energy_distance(a, c) <= ab + energy_distance(b, c) + 1e-12
    x, y = np.round(64 * rng.normal(size=(2, 15))) / 64
    law, other = (GaussianMixture1D([1.0], [(shift + m) * unit], s * unit) for m, s in ((0.0, 1.0), (0.5, 2.0)))
    here = GaussianMixture1D([1.0], [0.0], 1.0), GaussianMixture1D([1.0], [0.5], 2.0), x, y
    moved = law, other, (shift + x) * unit, (shift + y) * unit
    for (p, q), (near_p, near_q) in zip(combinations(moved, 2), combinations(here, 2), strict=True):
        assert energy_distance(p, q) == pytest.approx(math.sqrt(unit) * energy_distance(near_p, near_q), rel=1e-12)


@pytest.mark.parametrize("name", MIXTURES)
def test_equal_laws_are_at_zero(name: str) -> None:
    law, same = (GaussianMixture1D(**MIXTURES[name], atoms=([0.1, 0.7], [0.2, 0.1])) for _ in range(2))
    assert energy_distance(law, same) == 0
    x = law.rvs(50, random_state=0)
    assert energy_distance(x, x[::-1]) == 0


def test_a_fitted_expansion_is_its_mixture() -> None:
    model = GMMExpansion("fast").fit(np.random.default_rng(0).normal(size=200))
    assert energy_distance(model, [0.0, 1.0]) == energy_distance(model.distribution_, [0.0, 1.0])


def test_wrong_arguments_are_refused() -> None:
    basis, pi = GaussianBasis(0.0, 1.0, 3), np.full(3, 1 / 3)
    with pytest.raises(ValueError, match="b has weights that sum to 2; they must sum to 1"):
        energy_distance(pi, 2 * pi, basis=basis)
    with pytest.raises(ValueError, match="a contains nan"):
        energy_distance([math.nan], pi)
    with pytest.raises(TypeError, match="b_weights are for samples, but b is a mixture"):
        energy_distance(pi, normals([(1, 0, 1)]), b_weights=[1.0])


def test_a_point_so_far_from_bounds_that_they_are_one_number() -> None:
    law = GaussianMixture1D([1.0], [0.0], [1.0], bounds=(-1, 1))
    for pair in ((law, [1e17]), ([1e17], law)):
        assert energy_distance(*pair) == pytest.approx(math.sqrt(2e17), rel=1e-9)
