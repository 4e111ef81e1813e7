"""KL and Jensen-Shannon against quadrature of their definitions, closed forms and their properties."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import divergences as oracle
from oracles.mixtures import MIXTURES

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances import divergences
from gaussmix.distances.divergences import jensen_shannon_divergence, kl_divergence, kl_integrand

BASIS = GaussianBasis(-3.0, 0.25, 40)
OTHER_BASES = {
    "warped": GaussianBasis(-3.0, 0.25, 23, center=1.0, scale=0.5),
    "bounded": GaussianBasis(0.1, 0.2, 15, bounds=(0.0, 3.0)),
}
WIDE: dict[str, Any] = {"weights": [0.3, 0.7], "means": [-1.0, 2.0], "stds": [4.0, 0.7]}
HEAVY: dict[str, Any] = {"weights": [1.0], "means": [0.3], "stds": [0.5], "tail": (0.2, 1.0, 0.3)}
NARROW: dict[str, Any] = {"weights": [0.5, 0.5], "means": [-1.0, 1.0], "stds": [0.01, 0.02]}
BENDS = (-1 / 3, -3.0, 1000 / 3, -1000.0)  # of the log-densities of NARROW and "gap", between their components
SMALL = {name: law for name, law in MIXTURES.items() if len(law["weights"]) <= 6 and name != "far"}


def normal(mean: float, std: float) -> GaussianMixture1D:
    return GaussianMixture1D([1.0], [mean], std)


def rows(rng: np.random.Generator, n: int, *shape: int, concentration: float = 0.5) -> np.ndarray:
    return rng.dirichlet(np.full(n, concentration), size=shape)


@pytest.mark.parametrize("other", [WIDE, HEAVY, NARROW], ids=["wide", "heavy", "narrow"])
@pytest.mark.parametrize("name", [name for name in SMALL if name != "wide inside bounds"])
def test_pairs_against_quadrature(name: str, other: dict[str, Any]) -> None:
    a, b = GaussianMixture1D(**SMALL[name]), GaussianMixture1D(**other)
    assert jensen_shannon_divergence(a, b) == pytest.approx(oracle.jensen_shannon(SMALL[name], other), rel=1e-9)
    if "tail" in other or "tail" not in SMALL[name]:
        assert kl_divergence(a, b) == pytest.approx(oracle.kl(SMALL[name], other, BENDS), rel=1e-9)
    if "tail" in SMALL[name] or not {"bounds"} & SMALL[name].keys():
        assert kl_divergence(b, a) == pytest.approx(oracle.kl(other, SMALL[name], BENDS), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [("two bounds", "wide inside bounds"), ("heavy guard", "guard"), ("guard", "guard across bounds")],
)
def test_pairs_with_equal_bounds_or_guards(a: str, b: str) -> None:
    first, second = GaussianMixture1D(**SMALL[a]), GaussianMixture1D(**SMALL[b])
    assert kl_divergence(first, second) == pytest.approx(oracle.kl(SMALL[a], SMALL[b]), rel=1e-9)


def test_bends_that_lie_outside_of_all_components() -> None:
    """The density of b's narrow component is 1e-136 where the wide one takes over, and a's is large there."""
    a: dict[str, Any] = {"weights": [1.0], "means": [0.0], "stds": [35.0]}
    b: dict[str, Any] = {"weights": [0.5, 0.5], "means": [-82.0, -61.0], "stds": [0.002, 0.8]}
    bends = (-81.8475 / 0.9975, -82.1525 / 1.0025)  # where (x + 82) / 0.002 = +-(x + 61) / 0.8
    found = kl_divergence(GaussianMixture1D(**a), GaussianMixture1D(**b))
    assert found == pytest.approx(oracle.kl(a, b, bends), rel=1e-9)


def test_a_guard_against_a_normal_law() -> None:
    """E x^2 of the guard is finite, but falls as 1/x only: log q in closed form on all of the line."""
    a = GaussianMixture1D([1.0], [0.3], 0.5, tail=(0.2, 1.0, 0.3))
    cross = 0.5 * math.log(2 * math.pi * 4) + (a.var() + a.mean() ** 2) / 8
    assert kl_divergence(a, normal(0, 2)) == pytest.approx(cross - a.entropy(), rel=1e-8)


def test_normal_laws_have_closed_forms() -> None:
    assert kl_divergence(normal(0, 1), normal(100, 1)) == pytest.approx(5000, rel=1e-12)
    assert kl_divergence(normal(1e6, 1e-3), normal(1e6, 1e3)) == pytest.approx(math.log(1e6) + 5e-13 - 0.5, rel=1e-9)
    assert kl_divergence(normal(1, 30), normal(0, 0.5)) == pytest.approx(-math.log(60) + 901 / 0.5 - 0.5, rel=1e-12)
    for shift in (1e-3, 1e-6):  # tiny, and still relatively accurate
        assert kl_divergence(normal(0, 1), normal(shift, 1)) == pytest.approx(shift**2 / 2, rel=1e-7)
    assert jensen_shannon_divergence(normal(0, 1), normal(1e-4, 1)) == pytest.approx(1e-8 / 8, rel=1e-7)


@pytest.mark.parametrize("shift", [1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10])
@pytest.mark.parametrize("place", [0.0, 1e6])
def test_almost_equal_laws_are_as_accurate_as_is_said(place: float, shift: float) -> None:
    a, b = normal(place, 1), normal(place + shift, 1)
    exact = float(b.means[0] - place) ** 2 / 2
    assert kl_divergence(a, b) == pytest.approx(exact, rel=max(1e-8, 1e-15 / math.sqrt(exact)))
    assert jensen_shannon_divergence(a, b) == pytest.approx(exact / 4, rel=max(1e-8, 1e-15 / math.sqrt(exact / 4)))
    rng = np.random.default_rng(0)
    w, basis = rng.dirichlet(np.full(40, 5.0)), GaussianBasis(place, 1.0, 40)
    changed = w * (1 + shift * rng.normal(size=40))
    changed /= changed.sum()
    x = place + np.linspace(-30, 70, 20_001)
    components = np.exp(-0.5 * ((x[:, None] - basis.centers) / 2) ** 2) / (2 * math.sqrt(2 * math.pi))
    p = components @ w
    t = np.divide(components @ (changed - w), p, where=p > 0, out=np.zeros(x.size))
    exact = float(np.sum(p * t**2 * (1 / 2 - t / 3 + t**2 / 4)) * (x[1] - x[0]))
    found = [kl_divergence(w, changed, basis=basis), kl_divergence(basis.mixture(w), basis.mixture(changed))]
    assert found == pytest.approx([exact, exact], rel=max(1e-8, 1e-15 / math.sqrt(exact)))


def test_far_apart_is_log_2_and_never_more() -> None:
    assert jensen_shannon_divergence(normal(0, 1), normal(1000, 1)) == math.log(2)
    left, right = (GaussianMixture1D([1.0], [m], 1.0, bounds=(m - 1, m + 1)) for m in (0, 2.5))
    assert jensen_shannon_divergence(left, right) == math.log(2)
    for shift in (1, 5, 8, 10, 20):
        assert jensen_shannon_divergence(normal(0, 1), normal(shift, 1)) <= math.log(2)
    points = [GaussianMixture1D([1.0], [0.0], 1.0, atoms=([x], [1.0])) for x in (0.0, 1.0)]
    assert jensen_shannon_divergence(*points) == math.log(2)


def test_atoms_count_with_the_mass_that_both_laws_give_them() -> None:
    a = GaussianMixture1D(**WIDE, atoms=([0.0, 1.0], [0.2, 0.1]))
    b = GaussianMixture1D(**HEAVY, atoms=([0.0, 0.5, 1.0], [0.1, 0.3, 0.2]))
    continuous = 0.7 * (oracle.kl(WIDE, HEAVY) + math.log(0.7 / 0.4))
    expected = continuous + 0.2 * math.log(0.2 / 0.1) + 0.1 * math.log(0.1 / 0.2)
    assert kl_divergence(a, b) == pytest.approx(expected, rel=1e-9)
    points = [GaussianMixture1D([1.0], [0.0], 1.0, atoms=([2.0, 3.0], masses)) for masses in ([0.3, 0.7], [0.6, 0.4])]
    assert kl_divergence(*points) == pytest.approx(0.3 * math.log(0.5) + 0.7 * math.log(7 / 4))


@pytest.mark.parametrize(
    ("a", "b", "where"),
    [
        ({}, {"bounds": (-1.0, None)}, r"in \[-inf, inf\], beyond b's bounds \[-1, inf\]"),
        ({"bounds": (-2.0, 1.0)}, {"bounds": (-1.0, 1.0)}, r"in \[-2, 1\], beyond b's bounds \[-1, 1\]"),
        ({"bounds": (-1.0, 1.0), "tail": (1e-9, 0.0, 1.0)}, {"bounds": (-1.0, 1.0)}, "beyond b's bounds"),
        ({"atoms": ([0.5], [0.1])}, {}, "at the point 0.5"),
        ({"atoms": ([0.5], [0.1])}, {"atoms": ([0.5], [1.0])}, "between its atoms"),
        ({"bounds": (-1.0, 1.0)}, {"bounds": (2.0, 3.0)}, "beyond b's bounds"),
    ],
)
def test_kl_is_infinite_where_b_has_no_mass_and_says_so_once(a: Any, b: Any, where: str) -> None:
    def law(extra: Any) -> GaussianMixture1D:
        return GaussianMixture1D([1.0], [2.5 if extra.get("bounds") == (2.0, 3.0) else 0.0], 1.0, **extra)

    with pytest.warns(RuntimeWarning, match=f"KL divergence is infinite: a has mass .*{where}") as caught:
        assert kl_divergence(law(a), law(b)) == math.inf
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isfinite(jensen_shannon_divergence(law(a), law(b)))


def test_a_narrower_support_is_no_infinity() -> None:
    inside = {**WIDE, "bounds": (-2.0, 3.0)}
    outside = {**WIDE, "bounds": (-2.0, 4.0)}
    found = kl_divergence(GaussianMixture1D(**inside), GaussianMixture1D(**outside))
    assert found == pytest.approx(oracle.kl(inside, outside), rel=1e-9)


@pytest.mark.parametrize("concentration", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 2.0, 7.0])
def test_rows_are_pairs_of_mixtures(bandwidth: float, concentration: float) -> None:
    basis = GaussianBasis(-3.0, 0.25, 40, bandwidth)
    rng = np.random.default_rng(0)
    a, b = rows(rng, 40, 2, 1, concentration=concentration), rows(rng, 40, 3, concentration=concentration)
    for divergence in (kl_divergence, jensen_shannon_divergence):
        found = divergence(a, b, basis=basis)
        assert isinstance(found, np.ndarray)
        expected = np.array([[divergence(basis.mixture(p), basis.mixture(q)) for q in b] for p in a[:, 0]])
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        single = divergence(a[0, 0], b[1], basis=basis)
        assert isinstance(single, float)
        assert single == pytest.approx(found[0, 1], rel=1e-8)


@pytest.mark.parametrize("basis", OTHER_BASES.values(), ids=OTHER_BASES)
def test_rows_on_other_bases(basis: GaussianBasis) -> None:
    a, b = rows(np.random.default_rng(0), basis.n_components, 2, 2)
    for divergence in (kl_divergence, jensen_shannon_divergence):
        expected = np.array([divergence(basis.mixture(p), basis.mixture(q)) for p, q in zip(a, b, strict=True)])
        np.testing.assert_allclose(divergence(a, b, basis=basis), expected, rtol=1e-12)


def test_disjoint_weights_are_far_apart_and_finite() -> None:
    """Single components 80 and 800 standard deviations apart, where the densities themselves are zero."""
    for n, bandwidth in ((41, 0.5), (1601, 2.0)):
        basis = GaussianBasis(0.0, 1.0, n, bandwidth)
        a, b = np.eye(n)[[0, -1]]
        expected = ((n - 1) / bandwidth) ** 2 / 2
        assert kl_divergence(a, b, basis=basis) == pytest.approx(expected, rel=1e-9)
        assert jensen_shannon_divergence(a, b, basis=basis) == math.log(2)


def test_rows_that_do_not_converge_are_done_by_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = rows(np.random.default_rng(0), 40, 2, 5, concentration=0.02)
    expected = kl_divergence(a, b, basis=BASIS)
    monkeypatch.setattr(divergences, "AGREEMENT", 0.0)
    _, left = divergences.lattice_integrals(a, b, BASIS, kl_integrand)
    assert left.size > 0
    np.testing.assert_allclose(kl_divergence(a, b, basis=BASIS), expected, rtol=1e-8)


def test_log_densities_on_the_lattice_where_densities_are_zero() -> None:
    basis = GaussianBasis(0.0, 1.0, 3000, 1.5)
    weights = np.zeros((2, 3000))
    weights[0, [0, 2999]] = 0.5
    weights[1, :10] = 0.1
    x = np.linspace(-20, 3020, 777)
    expected = [basis.mixture(row).logpdf(x) for row in weights]
    np.testing.assert_allclose(divergences.log_densities_of_rows(weights, basis, x), expected, rtol=1e-12)


def test_samples_are_learnt_first() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=300), rng.random(300)
    model = GMMExpansion().fit(x, sample_weight=weights)
    target = GaussianMixture1D([1.0], [0.0], 1.0, tail=(0.01, 0.0, 1.0))
    assert kl_divergence(x, target, a_weights=weights) == pytest.approx(
        kl_divergence(model.distribution_, target), rel=1e-6
    )
    assert kl_divergence(model, target) == kl_divergence(model.distribution_, target)


@st.composite
def laws(draw: st.DrawFn) -> GaussianMixture1D:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n = draw(st.integers(1, 5))
    stds = np.exp(rng.normal(0, draw(st.sampled_from([0.1, 2.0])), n))
    tail = (rng.uniform(0.001, 0.3), rng.normal(), np.exp(rng.normal())) if draw(st.booleans()) else None
    atoms = ([0.0, 1.0], rng.dirichlet([1, 1, 3])[:2]) if draw(st.booleans()) else None
    return GaussianMixture1D(rng.dirichlet(np.ones(n)), rng.normal(0, 3, n), stds, tail=tail, atoms=atoms)


@given(a=laws(), b=laws(), c=laws())
@settings(max_examples=40, deadline=None)
def test_properties(a: GaussianMixture1D, b: GaussianMixture1D, c: GaussianMixture1D) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # atoms that only one of them has
        assert kl_divergence(a, a) == 0
        assert kl_divergence(a, b) > 0 or a == b
    js = jensen_shannon_divergence(a, b)
    assert jensen_shannon_divergence(a, a) == 0
    assert 0 <= js <= math.log(2)
    assert js == pytest.approx(jensen_shannon_divergence(b, a), rel=1e-10, abs=1e-15)
    legs = jensen_shannon_divergence(a, c), jensen_shannon_divergence(c, b)
    assert math.sqrt(js) <= math.sqrt(legs[0]) + math.sqrt(legs[1]) + 1e-9


@given(shift=st.floats(-1e6, 1e6), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_units_do_not_matter(shift: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, m, s = rng.dirichlet(np.ones(3), size=2), rng.normal(size=(2, 3)), rng.uniform(0.1, 2, (2, 3))
    a, b = (GaussianMixture1D(w[i], m[i], s[i]) for i in (0, 1))
    moved = (GaussianMixture1D(w[i], scale * (shift + m[i]), scale * s[i]) for i in (0, 1))
    assert kl_divergence(*moved) == pytest.approx(kl_divergence(a, b), rel=1e-7)


def test_the_same_rows_are_at_zero() -> None:
    a = rows(np.random.default_rng(0), 40, 5)
    for basis in (BASIS, GaussianBasis(-3.0, 0.25, 40, bounds=(-4.0, None))):
        assert np.all(kl_divergence(a, a, basis=basis) == 0)
        assert np.all(jensen_shannon_divergence(a, a, basis=basis) == 0)
    assert np.shape(kl_divergence(np.empty((0, 40)), a[0], basis=BASIS)) == (0,)


def test_bad_input_is_refused() -> None:
    pi = np.full(40, 1 / 40)
    for divergence in (kl_divergence, jensen_shannon_divergence):
        with pytest.raises(ValueError, match="a has weights that sum to 2; they must sum to 1"):
            divergence(2 * pi, pi, basis=BASIS)
        with pytest.raises(ValueError, match=r"b contains -0\.5; weights must not be negative"):
            divergence(pi, np.r_[1.5, -0.5, np.zeros(38)], basis=BASIS)
        with pytest.raises(ValueError, match="a contains nan"):
            divergence(np.full(40, np.nan), pi, basis=BASIS)
        with pytest.raises(ValueError, match=r"b has shape \(39,\), but the basis has 40 components"):
            divergence(pi, pi[1:], basis=BASIS)
        with pytest.raises(TypeError, match="a_weights and b_weights are for samples"):
            divergence(pi, pi, basis=BASIS, b_weights=pi)
        with pytest.raises(TypeError, match="b is a str"):
            divergence(normal(0, 1), "b")
