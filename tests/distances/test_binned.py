"""E Eq. 9 and the density information loss, against the paper's sums as loops and the integral of |f - g|."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import expansion as oracle
from scipy.integrate import quad
from scipy.stats import norm, uniform

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances import binned
from gaussmix.distances.binned import binned_l1, density_information_loss

BASIS = GaussianBasis.as_paper(-3, 5, 23, 1.5)
WARPED = GaussianBasis.spanning(-50, 80, 30, center=1.0, scale=0.5)
MIXTURE = BASIS.mixture(np.random.default_rng(0).dirichlet(np.ones(23)))
WITH_ATOMS = GaussianMixture1D([1.0], [0.3], 1.2, tail=(0.01, 0.0, 1.0), atoms=([0.0, 1.5], [0.2, 0.1]))
SAMPLE = np.round(np.random.default_rng(1).normal(1, 2, 300), 1)  # many of them on the edges of the regions


def cdf_of(law: Any, x: float) -> float:
    return float(np.mean(law <= x)) if isinstance(law, np.ndarray) else float(law.cdf(x))


@pytest.mark.parametrize("half_width", [None, 0.5, 0.3, 0.01])
@pytest.mark.parametrize("b", [norm(), WITH_ATOMS, SAMPLE], ids=["scipy", "atoms", "sample"])
def test_loss_is_the_papers_sum(b: Any, half_width: float | None) -> None:
    basis = GaussianBasis(-3.0, 1.0, 9)
    d = 0.5 if half_width is None else half_width
    literal = oracle.information_loss(lambda x: cdf_of(MIXTURE, x), lambda x: cdf_of(b, x), basis.centers, d)
    assert binned_l1(MIXTURE, b, basis, half_width=half_width) == pytest.approx(literal, abs=1e-12)


def test_regions_of_a_warped_basis_lie_around_its_centres() -> None:
    u = WARPED.start + WARPED.spacing * np.arange(30)
    x = 1.0 + 0.5 * np.sinh(u + np.array([[-0.2], [0.2]]) * WARPED.spacing)
    f, g = norm(3, 9).cdf(x), WITH_ATOMS.cdf(x)
    outer = abs(f[0, 0] - g[0, 0]) + abs(f[1, -1] - g[1, -1])
    expected = outer + np.abs((f[1] - f[0]) - (g[1] - g[0])).sum()
    found = binned_l1(norm(3, 9), WITH_ATOMS, WARPED, half_width=0.2 * WARPED.spacing)
    assert found == pytest.approx(expected, abs=1e-12)


def test_regions_are_closed_above() -> None:
    basis = GaussianBasis(0.0, 1.0, 3)
    assert binned_l1(np.array([0.5]), np.array([0.4]), basis) == 0
    assert binned_l1(np.array([0.5]), np.array([0.6]), basis) == 2
    assert binned_l1(np.array([0.5]), GaussianMixture1D([1.0], [9.0], 1.0, atoms=([0.5], [1.0])), basis) == 0


def test_zero_for_the_same_and_two_for_disjoint() -> None:
    for law in (MIXTURE, SAMPLE, norm(), WITH_ATOMS):
        for half_width in (None, 0.1):
            assert binned_l1(law, law, BASIS, half_width=half_width) == 0
        assert density_information_loss(law, law, BASIS) == 0
    assert binned_l1(norm(-1, 1e-6), norm(1, 1e-6), BASIS) == pytest.approx(2)
    assert density_information_loss(norm(-1, 1e-6), norm(1, 1e-6), BASIS) == pytest.approx(2)


def test_weights_of_a_sample_are_repetitions() -> None:
    times = np.random.default_rng(2).integers(0, 4, SAMPLE.size)
    repeated = np.repeat(SAMPLE, times)
    for distance in (binned_l1, density_information_loss):
        found = distance(MIXTURE, SAMPLE, BASIS, b_weights=times)
        assert found == pytest.approx(distance(MIXTURE, repeated, BASIS), abs=1e-12)


def test_a_fitted_expansion_is_its_mixture() -> None:
    model = GMMExpansion("fast").fit(SAMPLE)
    assert binned_l1(model, MIXTURE, BASIS) == binned_l1(model.distribution_, MIXTURE, BASIS)


def test_information_loss_is_the_papers_sum() -> None:
    basis, f = GaussianBasis(-2.0, 0.5, 7), norm()
    total = 0.0
    for mu in basis.centers:
        cuts = np.linspace(mu - 0.25, mu + 0.25, 6)
        for low, high in pairwise(cuts):
            total += abs((f.cdf(high) - f.cdf(low)) - (MIXTURE.cdf(high) - MIXTURE.cdf(low)))
    assert density_information_loss(f, MIXTURE, basis, parts=5) == pytest.approx(total, abs=1e-12)


def test_information_loss_tends_to_the_integral() -> None:
    basis, g = GaussianBasis(-3.25, 0.5, 14), uniform(-1, 3)
    cuts = [-1.0, 2.0, *np.linspace(-3.5, 3.5, 15)]
    integral = quad(lambda x: abs(MIXTURE.pdf(x) - (-1 <= x <= 2) / 3), -3.5, 3.5, points=cuts, limit=500)[0]
    losses = [float(density_information_loss(MIXTURE, g, basis, parts=2**k)) for k in range(12)]
    assert np.all(np.diff(losses) >= -1e-15)
    assert losses[-1] == pytest.approx(integral, abs=1e-5)
    assert losses[-1] <= integral + 1e-9


@pytest.mark.parametrize(
    "basis",
    [
        GaussianBasis(-2.0, 0.4, 17, 1.3),
        GaussianBasis(-3.0, 0.4, 17, center=1.0, scale=0.5),
        GaussianBasis(0.1, 0.2, 17, bounds=(0.0, None)),
        GaussianBasis(-2.0, 0.25, 17, center=1.0, scale=0.5, bounds=(-3.0, math.inf)),
    ],
    ids=["lattice", "warped", "bounded", "warped and bounded"],
)
@pytest.mark.parametrize("cells", [BASIS, WARPED, GaussianBasis(0.5, 2.0, 1)], ids=["lattice", "warped", "one"])
def test_rows_are_pairs_of_mixtures(
    basis: GaussianBasis, cells: GaussianBasis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binned, "_NUMBERS", 4)  # a row at a time
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(17), (3, 1)), rng.dirichlet(np.ones(17), 2)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (binned_l1, {}),
        (binned_l1, {"half_width": 0.3 * cells.spacing}),
        (density_information_loss, {"parts": 3}),
    ]
    for distance, options in cases:
        found = distance(a, b, cells, basis=basis, **options)
        assert found.shape == (3, 2)
        for i, j in np.ndindex(3, 2):
            pair = distance(basis.mixture(a[i, 0]), basis.mixture(b[j]), cells, **options)
            assert found[i, j] == pytest.approx(pair, abs=1e-9)
        single = distance(a[0, 0], b[1], cells, basis=basis, **options)
        assert isinstance(single, float)
        assert single == pytest.approx(found[0, 1], abs=1e-14)
        assert np.all(distance(a, a, cells, basis=basis, **options) == 0)
        assert distance(a[:0], b[:1], cells, basis=basis, **options).shape == (0, 1)


@given(seed=st.integers(0, 10**6), parts=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_bounds_and_metric_properties(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = (GaussianMixture1D(rng.dirichlet(np.ones(3)), rng.normal(0, 2, 3), rng.uniform(0.1, 2, 3)) for _ in "ab")
    x = rng.normal(size=50)
    for loss in (lambda a, b: binned_l1(a, b, BASIS), lambda a, b: density_information_loss(a, b, BASIS, parts=parts)):
        assert 0 <= loss(p, q) <= 2
        assert loss(p, q) == loss(q, p)
        assert loss(p, x) <= loss(p, q) + loss(q, x) + 1e-12
    cuts = np.linspace(BASIS.start - BASIS.spacing / 2, BASIS.centers[-1] + BASIS.spacing / 2, 23 * parts + 1)
    tau = np.abs(np.diff(p.cdf(cuts)) - np.diff(q.cdf(cuts))).max()
    assert density_information_loss(p, q, BASIS, parts=parts) <= 23 * parts * tau + 1e-9
    edges = BASIS.axis().edges[::16]
    assert binned_l1(p, q, BASIS) >= 2 * np.abs(p.cdf(edges) - q.cdf(edges)).max() - 1e-12


def test_bad_input_is_refused() -> None:
    for half_width in (0.0, -1.0, 0.51, np.nan, np.inf):
        with pytest.raises(
            ValueError, match=r"half_width is .*; it must be positive and at most half the spacing, 0\.5"
        ):
            binned_l1(SAMPLE, SAMPLE, GaussianBasis(0.0, 1.0, 3), half_width=half_width)
    with pytest.raises(ValueError, match=r"half_width is 0\.2500001; .* at most half the spacing, 0\.25, or"):
        binned_l1(SAMPLE, SAMPLE, GaussianBasis(0.0, 0.5, 3), half_width=0.2500001)
    with pytest.raises(TypeError, match="half_width is 'a'; give a positive number of at most half the spacing"):
        binned_l1(SAMPLE, SAMPLE, BASIS, half_width="a")  # pyright: ignore[reportArgumentType]
    pi = np.full(23, 1 / 23)
    for distance in (binned_l1, density_information_loss):
        with pytest.raises(TypeError, match="cells is a int; give the GaussianBasis whose regions are compared"):
            distance(SAMPLE, SAMPLE, 20)  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="basis is a tuple; give the GaussianBasis that the weights belong to"):
            distance(pi, pi, BASIS, basis=(0, 1))  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="a_weights and b_weights are for samples"):
            distance(pi, pi, BASIS, basis=BASIS, b_weights=pi)
        with pytest.raises(ValueError, match=r"a has shape \(22,\), but the basis has 23 components"):
            distance(pi[1:], pi, BASIS, basis=BASIS)
        with pytest.raises(ValueError, match="b has weights that sum to 2; they must sum to 1"):
            distance(pi, 2 * pi, BASIS, basis=BASIS)
    for parts in (0, -1, 2.5):
        with pytest.raises(ValueError, match=f"parts is {parts}; it must be a whole number, at least 1"):
            density_information_loss(SAMPLE, SAMPLE, BASIS, parts=parts)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="b contains nan"):
        binned_l1(SAMPLE, [0.0, np.nan], BASIS)
    with pytest.raises(TypeError, match="a_weights are for samples"):
        binned_l1(norm(), SAMPLE, BASIS, a_weights=[1.0])
    with pytest.raises(ValueError, match=r"a\.cdf gave shape .* from -2 to 3; it must give a probability for each"):
        binned_l1(uniform_like(-2, 5), SAMPLE, BASIS)


class uniform_like:  # noqa: N801  # a stand-in for a distribution
    def __init__(self, low: float, spread: float):
        self.low, self.spread = low, spread

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return self.low + self.spread * np.linspace(0, 1, x.size)
