"""Squared MMD against double sums, double integrals and characteristic functions."""

from __future__ import annotations

import cmath
import math
from itertools import combinations, product
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import divergences as oracle
from oracles.mixtures import MIXTURES
from scipy.stats import norm
from scipy.stats import t as student

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances import _difference
from gaussmix.distances.mmd import gaussian_mmd2

WIDE: dict[str, Any] = {"weights": [0.3, 0.7], "means": [-1.0, 2.0], "stds": [4.0, 0.7]}
OPEN = {
    name: law for name, law in MIXTURES.items() if not law.keys() & {"bounds", "tail"} and len(law["weights"]) < 999
}


def ones(x: np.ndarray) -> np.ndarray:
    return np.full(x.size, 1 / x.size)


@pytest.mark.parametrize("shift", [0.0, 1e7])
@pytest.mark.parametrize("sigma", [1e-8, 0.02, 1.0, 300.0])
def test_samples_are_a_double_sum(sigma: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=80), rng.normal(1e4, 1, 10), [3e5, 3e5]]) + shift
    y, q = np.append(rng.normal(0.3, 2, 70), 3e5) + shift, rng.integers(0, 4, 71)
    found = gaussian_mmd2(x, y, sigma, b_weights=q)
    assert found == pytest.approx(oracle.mmd2_of_points(x, ones(x), y, q / q.sum(), sigma), rel=1e-9)
    assert found == gaussian_mmd2(rng.permutation(x), y, sigma, b_weights=q)


def test_a_long_cluster_runs_over_many_windows() -> None:
    rng = np.random.default_rng(0)
    x, y = 60 * rng.random(300), np.append(60 * rng.random(299), 61.0)
    sigma = 0.02  # twelve thousand nodes
    assert gaussian_mmd2(x, y, sigma) == pytest.approx(oracle.mmd2_of_points(x, ones(x), y, ones(y), sigma), rel=1e-12)


def test_close_samples_do_not_cancel() -> None:
    """Two points moved by e: 1 - exp(-e^2 / 2 sigma^2) and the like, far below the double sum's rounding."""
    for e in (1e-5, 1e-10):
        expected = 2 * -math.expm1(-(e**2) / 2)
        assert gaussian_mmd2(np.array([0.3]), np.array([0.3 + e]), 1.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", [1e-5, 0.3, 20.0])
@pytest.mark.parametrize("name", OPEN)
def test_mixtures_are_a_double_sum_over_components(name: str, sigma: float) -> None:
    a, b = GaussianMixture1D(**OPEN[name]), GaussianMixture1D(**WIDE)
    assert gaussian_mmd2(a, b, sigma) == pytest.approx(oracle.mmd2_of_normals(OPEN[name], WIDE, sigma), rel=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("name", ["one bound", "upper bound", "two bounds", "wide inside bounds"])
def test_bounded_mixtures_are_a_double_integral(name: str, sigma: float) -> None:
    other = {**WIDE, "bounds": (-3.0, 3.0)}
    found = gaussian_mmd2(GaussianMixture1D(**MIXTURES[name]), GaussianMixture1D(**other), sigma)
    assert found == pytest.approx(oracle.mmd2_of_densities(MIXTURES[name], other, sigma), rel=1e-9)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 100.0])
def test_guards_by_characteristic_functions(sigma: float) -> None:
    def with_guard(w: float) -> complex:
        t3 = (1 + math.sqrt(3) * 0.5 * abs(w)) * cmath.exp(2j * w - math.sqrt(3) * 0.5 * abs(w))
        return 0.7 * cmath.exp(-0.5 * w * w) + 0.3 * t3

    def without(w: float) -> complex:
        return cmath.exp(0.3j * w - 2 * w * w)

    a, b = GaussianMixture1D([1.0], [0.0], 1.0, tail=(0.3, 2.0, 0.5)), GaussianMixture1D([1.0], [0.3], 2.0)
    expected = oracle.mmd2_by_characteristic_functions(with_guard, without, sigma)
    assert gaussian_mmd2(a, b, sigma) == pytest.approx(expected, rel=1e-9)
    inverted = GaussianMixture1D([1.0], [0.0], 1.0, tail=(0.1, 2.0, 0.5))
    pure = oracle.mmd2_by_characteristic_functions(with_guard, lambda w: with_guard(w) + 0.2 * _t3_less(w), sigma)
    assert gaussian_mmd2(a, inverted, sigma) == pytest.approx(pure, rel=1e-9)


def _t3_less(w: float) -> complex:
    """The normal component less the guard of `test_guards_by_characteristic_functions`."""
    t3 = (1 + math.sqrt(3) * 0.5 * abs(w)) * cmath.exp(2j * w - math.sqrt(3) * 0.5 * abs(w))
    return cmath.exp(-0.5 * w * w) - t3


def test_the_guard_as_normals() -> None:
    x = np.concatenate([np.linspace(0, 5, 30), np.geomspace(5, 1e4, 30)])
    stds, weights = _difference._GUARD_STDS, _difference._GUARD_WEIGHTS
    np.testing.assert_allclose(norm.pdf(x[:, None], 0, stds) @ weights, student.pdf(x, 3), rtol=1e-11, atol=1e-19)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 30.0])
def test_points_against_densities(sigma: float) -> None:
    x = np.random.default_rng(0).normal(0.5, 1, 60)
    law = GaussianMixture1D(**WIDE, atoms=([0.0, 0.2], [0.3, 0.1]))
    S2 = sigma**2 + np.square(WIDE["stds"])
    points, masses = np.append(x, [0.0, 0.2]), np.append(ones(x), [-0.3, -0.1])
    cross = (np.exp(-((points[:, None] - WIDE["means"]) ** 2) / (2 * S2)) * sigma / np.sqrt(S2)) @ WIDE["weights"]
    own = oracle.mmd2_of_normals(WIDE, {"weights": [], "means": [], "stds": []}, sigma)
    each = oracle.mmd2_of_points(x, ones(x), np.array([0.0, 0.2]), np.array([0.3, 0.1]), sigma)
    expected = each + 0.36 * own - 2 * 0.6 * masses @ cross
    assert gaussian_mmd2(x, law, sigma) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("n", "bandwidth", "sigma"),
    [
        (40, 0.1, 0.01),
        (40, 0.1, 10.0),
        (40, 1.0, 0.3),
        (40, 6.0, 0.01),
        (40, 6.0, 10.0),
        (300, 0.1, 0.3),
        (300, 1.0, 2.0),
    ],
)
def test_rows_are_a_double_sum(n: int, bandwidth: float, sigma: float) -> None:
    basis = GaussianBasis(-3.0, 10 / n, n, bandwidth)
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(n), size=(2, 1)), rng.dirichlet(np.ones(n), size=2)
    found = gaussian_mmd2(a, b, sigma, basis=basis)
    assert isinstance(found, np.ndarray)
    for i, j in np.ndindex(2, 2):
        p, q = ({"weights": row, "means": basis.centers, "stds": basis.stds} for row in (a[i, 0], b[j]))
        assert found[i, j] == pytest.approx(oracle.mmd2_of_normals(p, q, sigma), rel=1e-8, abs=1e-15)
    assert gaussian_mmd2(a[1, 0], b[0], sigma, basis=basis) == pytest.approx(found[1, 0], rel=1e-12)


@pytest.mark.parametrize(
    "basis",
    [GaussianBasis(-3.0, 0.25, 23, center=1.0, scale=0.5), GaussianBasis(0.1, 0.2, 15, bounds=(0.0, 3.0))],
    ids=["warped", "bounded"],
)
def test_rows_on_other_bases(basis: GaussianBasis) -> None:
    a, b = np.random.default_rng(0).dirichlet(np.ones(basis.n_components), size=(2, 2))
    expected = np.array([gaussian_mmd2(basis.mixture(p), basis.mixture(q), 0.7) for p, q in zip(a, b, strict=True)])
    np.testing.assert_allclose(gaussian_mmd2(a, b, 0.7, basis=basis), expected, rtol=1e-12)


def laws_in_place(at: float, unit: float) -> dict[str, Any]:
    """Laws of every kind, in units of `unit` and moved by `at` of them, exactly."""

    def moved(x: Any) -> Any:
        return (np.asarray(x) + at) * unit

    tail = (0.1, float(moved(0.0)), unit)
    return {
        "points": moved(np.arange(-3, 4.0)),
        "fewer points": moved([-1.0, 0.5]),
        "guard": GaussianMixture1D([0.4, 0.6], moved([0.0, 2.0]), np.array([1.0, 0.5]) * unit, tail=tail),
        "atoms": GaussianMixture1D([1.0], moved([1.0]), unit, atoms=(moved([1.0, 3.0]), [0.5, 0.25])),
        "bounds": GaussianMixture1D([1.0], moved([0.5]), 2 * unit, bounds=(float(moved(-1.0)), float(moved(4.0)))),
    }


@pytest.mark.parametrize(("at", "unit"), [(2.0**40, 1.0), (2.0**31, 1.0), (0.0, 2.0**500), (0.0, 2.0**-500)])
def test_neither_place_nor_unit_matters(at: float, unit: float) -> None:
    moved, here = laws_in_place(at, unit), laws_in_place(0.0, 1.0)
    for first, second in combinations(here, 2):
        expected = gaussian_mmd2(here[first], here[second], 1.0)
        assert gaussian_mmd2(moved[first], moved[second], unit) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e160, 1e200, 1e300])
def test_units_that_cannot_be_squared(unit: float) -> None:
    a, b = GaussianMixture1D([1.0], [0.0], unit), GaussianMixture1D([1.0], [unit], unit / 2)
    expected = 1 / math.sqrt(3) + 1 / math.sqrt(1.5) - 2 * math.exp(-0.5 / 2.25) / 1.5
    assert gaussian_mmd2(a, b, unit) == pytest.approx(expected, rel=1e-13)
    basis = GaussianBasis(-2 * unit, unit, 5, 1.0)
    p, q = np.eye(5)[[2, 3]]
    expected = 2 / math.sqrt(3) * -math.expm1(-1 / 6)
    assert gaussian_mmd2(p, q, unit, basis=basis) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("sigma", [1e-12, 1e-160, 1e-300])
def test_a_kernel_far_narrower_than_all_else(sigma: float) -> None:
    """Points are on their own, and densities are integrals of squares."""
    a, b = GaussianMixture1D([1.0], [0.0], 1.0), GaussianMixture1D([1.0], [1.0], 0.5)
    expected = sigma * (1 + 1 / 0.5 - 2 * math.sqrt(2 / 1.25) * math.exp(-0.5 / 1.25)) / math.sqrt(2)
    assert gaussian_mmd2(a, b, sigma) == pytest.approx(expected, rel=1e-13)
    assert gaussian_mmd2([0.0, 1.0, 2.0], [0.0, 1.5, 1e10], sigma) == pytest.approx(4 / 9, rel=1e-13)
    assert gaussian_mmd2([0.0, 1.0], a, sigma) == pytest.approx(0.5, abs=10 * sigma + 1e-15)


@pytest.mark.parametrize("sigma", [20.0, 22.0, 24.0, 1e3, 1e6, 1e100])
def test_rows_under_a_kernel_wider_than_their_basis(sigma: float) -> None:
    """Against the double sum in 300 digits, of weights that sum to 1 exactly: relatively, however small."""
    basis = GaussianBasis(-3.0, 1.0, 24, 1.5)
    numbers = np.random.default_rng(0).integers(1, 1000, (2, 24))
    p, q = numbers / numbers.sum(1, keepdims=True)
    with mpmath.workdps(300):
        S2 = mpmath.mpf(sigma) ** 2 + 2 * mpmath.mpf(1.5) ** 2
        delta = [mpmath.mpf(int(i)) / int(numbers[0].sum()) - mpmath.mpf(int(j)) / int(numbers[1].sum())
                 for i, j in numbers.T]  # fmt: skip
        terms = (delta[i] * delta[j] * mpmath.exp(-((i - j) ** 2) / (2 * S2)) for i, j in np.ndindex(24, 24))
        expected = float(mpmath.mpf(sigma) / mpmath.sqrt(S2) * mpmath.fsum(terms))
    assert gaussian_mmd2(p, q, sigma, basis=basis) == pytest.approx(expected, rel=1e-12)


def exactly(terms: list[tuple[Any, float, float]], sigma: float) -> float:
    """The double sum over signed weights, means and stds, in 100 digits."""
    with mpmath.workdps(100):
        rows = [[mpmath.mpf(value) for value in term] for term in terms]
        total = mpmath.mpf(0)
        for (w, m, s), (v, n, t) in product(rows, rows):
            S2 = s**2 + t**2 + mpmath.mpf(sigma) ** 2
            total += w * v * sigma / mpmath.sqrt(S2) * mpmath.exp(-((m - n) ** 2) / (2 * S2))
        return float(total)


CLOSE = {
    "moved": ([(1, 0, 1)], [(1, 1e-10, 1)]),
    "widened": ([(1, 0, 1)], [(1, 0, 1 + 1e-9)]),
    "both": ([(0.25, 0, 1), (0.5, 1.3, 0.7), (0.25, 5, 2)], [(0.25, 1e-10, 1), (0.5, 1.3, 0.7 - 1e-9), (0.25, 5, 2)]),
    "weights": ([(0.25, 0, 1), (0.75, 1.3, 0.7)], [(0.25 - 2**-40, 0, 1), (0.75 + 2**-40, 1.3, 0.7)]),
    "a step": ([(1, 0, 1)], [(1, 1, 1)]),
    "guards": ([(1, 0, 1)], [(1, 1e-10, 1)]),
}


@pytest.mark.parametrize("sigma", [0.01, 1.0, 30.0, 1e8])
@pytest.mark.parametrize("name", CLOSE)
def test_close_mixtures_and_wide_kernels_keep_all_digits(name: str, sigma: float) -> None:
    expected = exactly([*CLOSE[name][0], *((-w, m, s) for w, m, s in CLOSE[name][1])], sigma)
    tail = (0.25, 0.0, 2.0) if name == "guards" else None
    a, b = (GaussianMixture1D(*zip(*law, strict=True), tail=tail) for law in CLOSE[name])
    assert gaussian_mmd2(a, b, sigma) == pytest.approx(expected * (0.75**2 if tail else 1), rel=1e-13)


@pytest.mark.parametrize("sigma", [1.0, 1e4, 1e8])
def test_differences_that_cancel_in_turn(sigma: float) -> None:
    """Two components that lie symmetrically about the other law's: both are 1 / sigma away, which cancels."""
    a, b = GaussianMixture1D([0.5, 0.5], [-1.0, 1.0], 1.0), GaussianMixture1D([1.0], [0.0], 1.0)
    expected = exactly([(0.5, -1, 1), (0.5, 1, 1), (-1, 0, 1)], sigma)
    assert abs(math.sqrt(gaussian_mmd2(a, b, sigma)) - math.sqrt(expected)) < 1e-15 / sigma


@pytest.mark.parametrize("sigma", [8.0, 1e3, 1e8, 1e17])
def test_samples_under_a_wide_kernel(sigma: float) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 32)).clip(-3, 3)
    for first, second in ((x, y), (x, x + 1e-10), (x[:1], x[:1] + 1)):
        n = first.size
        expected = exactly([*((1 / n, v, 0) for v in first), *((-1 / n, v, 0) for v in second)], sigma)
        found = gaussian_mmd2(first, second, sigma)
        assert abs(math.sqrt(found) - math.sqrt(expected)) < 1e-15 * 6 / sigma
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", [0.02, 1.0])
def test_many_points_against_a_density_by_their_moments(sigma: float) -> None:
    """The sum over all of them, of a law that has a closed form with each."""
    x = np.append(np.random.default_rng(0).normal(0.5, 1, 20_000), [-70.0, 70.0])
    law = GaussianMixture1D(**WIDE, bounds=(-40.0, 40.0))  # as good as none
    S2 = sigma**2 + np.square(WIDE["stds"])
    cross = (np.exp(-((x[:, None] - WIDE["means"]) ** 2) / (2 * S2)) * sigma / np.sqrt(S2)) @ WIDE["weights"]
    own = oracle.mmd2_of_normals(WIDE, {"weights": [], "means": [], "stds": []}, sigma)
    among = gaussian_mmd2(x, [1e9], sigma) - 1
    assert gaussian_mmd2(x, law, sigma) == pytest.approx(among + own - 2 * cross.mean(), abs=3e-15)


@pytest.mark.parametrize("name", MIXTURES)
def test_equal_laws_are_at_zero(name: str) -> None:
    law = GaussianMixture1D(**MIXTURES[name], atoms=([0.1, 0.7], [0.2, 0.1]))
    same = GaussianMixture1D(**MIXTURES[name], atoms=([0.1, 0.7], [0.2, 0.1]))
    assert gaussian_mmd2(law, same, 0.3) == 0
    x = law.rvs(50, random_state=0)
    assert gaussian_mmd2(x, x[::-1], 0.3) == 0


def test_equal_rows_are_at_zero_and_close_ones_do_not_cancel() -> None:
    basis = GaussianBasis(0.0, 1.0, 300)
    a = np.random.default_rng(0).dirichlet(np.ones(300), size=4)
    assert np.all(gaussian_mmd2(a, a, 1.0, basis=basis) == 0)
    moved = np.zeros(300)
    moved[[100, 101]] = 1e-9, -1e-9
    S2 = 1 + 2 * 4
    expected = 1e-18 * 2 * -math.expm1(-1 / (2 * S2)) / math.sqrt(S2)
    base = np.full(300, 1 / 300)
    assert gaussian_mmd2(base + moved, base, 1.0, basis=basis) == pytest.approx(expected, rel=1e-5)


@given(seed=st.integers(0, 10**6), sigma=st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_a_metric_that_does_not_depend_on_units(seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    makers = (
        lambda: rng.normal(rng.normal(), 2, 20),
        lambda: GaussianMixture1D(rng.dirichlet([1, 1]), rng.normal(0, 2, 2), rng.uniform(0.1, 2, 2), tail=(0.1, 0, 1)),
        lambda: GaussianMixture1D([1.0], [0.2], 2.0, bounds=(0.0, None), atoms=([0.0], [0.3])),
    )
    a, b, c = (makers[i]() for i in rng.integers(0, 3, 3))
    d = {
        pair: gaussian_mmd2(*pair_laws, sigma) for pair, pair_laws in {"ab": (a, b), "bc": (b, c), "ac": (a, c)}.items()
    }
    assert all(0 <= value <= 2 for value in d.values())
    assert d["ab"] == pytest.approx(gaussian_mmd2(b, a, sigma), rel=1e-9, abs=1e-14)
    assert math.sqrt(d["ac"]) <= math.sqrt(d["ab"]) + math.sqrt(d["bc"]) + 1e-7
    x, y = rng.normal(size=(2, 15))
    moved = gaussian_mmd2(1000 * x + 5, 1000 * y + 5, 1000 * sigma)
    assert moved == pytest.approx(gaussian_mmd2(x, y, sigma), rel=1e-8)


def test_a_fitted_expansion_is_its_mixture() -> None:
    x = np.random.default_rng(0).normal(size=200)
    model = GMMExpansion("fast").fit(x)
    assert gaussian_mmd2(model, x, 0.5) == gaussian_mmd2(model.distribution_, x, 0.5)


def test_bad_input_is_refused() -> None:
    basis, pi = GaussianBasis(0.0, 1.0, 3), np.full(3, 1 / 3)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"sigma is {sigma}; it must be positive and finite"):
            gaussian_mmd2(pi, pi, sigma)
    for wrong in (None, "a"):
        with pytest.raises(TypeError, match=f"sigma is {wrong!r}; give a positive number"):
            gaussian_mmd2(pi, pi, wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="b has weights that sum to 2; they must sum to 1"):
        gaussian_mmd2(pi, 2 * pi, 1.0, basis=basis)
    with pytest.raises(ValueError, match=r"a has shape \(2,\), but the basis has 3 components"):
        gaussian_mmd2(pi[1:], pi, 1.0, basis=basis)
    with pytest.raises(ValueError, match="a contains nan"):
        gaussian_mmd2([math.nan], pi, 1.0)
    with pytest.raises(ValueError, match=r"a_weights has shape \(2,\); give one weight for each of the 3 numbers"):
        gaussian_mmd2(pi, pi, 1.0, a_weights=[1.0, 2.0])


@pytest.mark.parametrize("away", [1e6, 1e12, 1e17, 1e30])
def test_a_point_far_from_a_density(away: float) -> None:
    law = GaussianMixture1D([1.0], [0.0], [1.0])
    for pair in ((law, [away]), ([away], law)):
        assert gaussian_mmd2(*pair, 1.0) == pytest.approx(1 + 1 / math.sqrt(3), rel=1e-13)
