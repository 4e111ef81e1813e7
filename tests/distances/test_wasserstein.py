"""`wasserstein_distance`: closed forms, quadrature, SciPy and POT, the axioms of a metric, and what it refuses."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import ot
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import distances as oracle
from scipy.stats import norm
from scipy.stats import wasserstein_distance as scipys

from gaussmix import GaussianBasis, GaussianMixture1D, GMMExpansion
from gaussmix.distances.divergences import total_variation_distance
from gaussmix.distances.wasserstein import wasserstein_distance

seeds = st.integers(0, 2**32 - 1)
orders = st.sampled_from([1, 1.5, 2, 2.9])
BASES = {
    "lattice": GaussianBasis.spanning(-3, 3, 30),
    "warped": GaussianBasis.spanning(-50, 50, 30, scale=1.0),
    "bounded": GaussianBasis.spanning(0, 3, 30, bounds=(0.0, None)),
}


def law(seed: int) -> GaussianMixture1D:
    return GaussianMixture1D(**oracle.random_law(seed))


def normal(mean: float, std: float, **more: Any) -> GaussianMixture1D:
    return GaussianMixture1D([1.0], [mean], [std], **more)


def moved(mixture: GaussianMixture1D, scale: float, shift: float) -> GaussianMixture1D:
    """The law of shift + scale x; scale < 0 mirrors it."""
    low, high = sorted(shift + scale * end for end in mixture.bounds)
    mass, loc, width = mixture.tail
    return GaussianMixture1D(
        mixture.weights,
        shift + scale * mixture.means,
        abs(scale) * mixture.stds,
        bounds=(low, high),
        tail=(mass, shift + scale * loc, abs(scale) * width),
        atoms=(shift + scale * mixture.atoms.positions, mixture.atoms.masses),
    )


# ------------------------------------------------------------------------------------------------- against others


def test_equal_means_and_other_spreads_are_apart():
    """FACTS: N(0, 10^2) and N(0, 30^2) have equal means, and W1 = 20 E|Z|, W2 = 20."""
    a, b = normal(0, 10), normal(0, 30)
    distance, error = wasserstein_distance(a, b, return_error=True)
    assert abs(distance - 20 * math.sqrt(2 / math.pi)) <= error <= 1e-12
    assert wasserstein_distance(a, b, 2) == pytest.approx(20, rel=1e-9)


@pytest.mark.parametrize("p", [1, 1.2, 2, 3, 7.5, 40])
def test_two_normals(p: float):
    """Q_a - Q_b = (sigma_a - sigma_b) z + mu_a - mu_b: equal means, then equal spreads, then p = 2 of both."""
    a = normal(1, 2)
    of_z = (2 ** (p / 2) * math.gamma((p + 1) / 2) / math.sqrt(math.pi)) ** (1 / p)
    assert wasserstein_distance(a, normal(1, 0.5), p) == pytest.approx(1.5 * of_z, rel=1e-8)
    assert wasserstein_distance(a, normal(-3, 2), p) == pytest.approx(4, rel=1e-9)
    assert wasserstein_distance(a, normal(4, 6), 2) == pytest.approx(5, rel=1e-9)


@pytest.mark.parametrize("p", [1.3, 2, 5])
def test_quantiles_of_mixtures_agree_with_quadrature(p: float):
    """With a gap, a bound, atoms; without guards."""
    laws: list[dict[str, Any]] = [
        {"weights": [0.5, 0.5], "means": [0.0, 40.0], "stds": [1.0, 0.5]},
        {"weights": [0.3, 0.7], "means": [0.2, 2.0], "stds": [0.5, 1.0], "bounds": (0.0, None)},
        {"weights": [1.0], "means": [1.0], "stds": [2.0], "atoms": ([-1.0, 3.0], [0.2, 0.3])},
    ]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        ours, error = wasserstein_distance(
            GaussianMixture1D(**laws[a]), GaussianMixture1D(**laws[b]), p, return_error=True
        )
        assert ours == pytest.approx(oracle.wasserstein_p(laws[a], laws[b], p), rel=1e-7)
        assert 0 < error <= 2e-9 * ours


@given(seeds, seeds)
@example(1, 180)  # a sign change so near the end of a panel that its rules agree
@example(0, 1297750)  # an infinite quantile, by rounding, where an atom ends
@settings(max_examples=20, deadline=None)
def test_quantiles_and_cdfs_give_the_same_distance(first: int, second: int):
    a, b = law(first), law(second)
    exact = wasserstein_distance(a, b)
    almost, error = wasserstein_distance(a, b, 1 + 1e-12, return_error=True)
    assert abs(almost - exact) <= 2 * error + 1e-9 * exact


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_quantiles_and_cdfs_give_the_same_distance_to_a_sample(seed: int):
    a, values = law(seed), np.random.default_rng(seed).normal(size=30).round(1)
    exact = wasserstein_distance(a, values)
    almost, error = wasserstein_distance(values, a, 1 + 1e-12, return_error=True)
    assert abs(almost - exact) <= 2 * error + 1e-9 * exact


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_a_sample_against_a_mixture_is_the_limit_of_two_samples(p: float):
    """A mixture as its own quantiles, at the middles of equal masses."""
    rng = np.random.default_rng(0)
    a = GaussianMixture1D([0.5, 0.5], [-1, 1], [0.3, 0.5])
    values, weights = rng.normal(size=50), rng.dirichlet(np.ones(50))
    points = a.ppf((np.arange(200_000) + 0.5) / 200_000)
    expected = oracle.wasserstein_of_atoms(points, np.full(200_000, 5e-6), values, weights, p)
    assert wasserstein_distance(a, values, p, b_weights=weights) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("p", [1, 1.5, 2, 4])
def test_samples_agree_with_scipy_and_pot(p: float):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=60), rng.normal(1, 2, 45).round(1)
    a, b = rng.dirichlet(np.ones(60)), rng.dirichlet(np.ones(45))
    expected = oracle.wasserstein_of_atoms(x, a, y, b, p)
    assert wasserstein_distance(x, y, p, a_weights=a, b_weights=b) == pytest.approx(expected, rel=1e-12)
    pots: Any = ot.wasserstein_1d
    assert pots(x, y, a, b, p=p) ** (1 / p) == pytest.approx(expected, rel=1e-12)
    if p == 1:
        assert scipys(x, y, a, b) == pytest.approx(expected, rel=1e-12)
    assert wasserstein_distance(x[:45], y, p) == pytest.approx(
        np.mean(np.abs(np.sort(x[:45]) - np.sort(y)) ** p) ** (1 / p), rel=1e-12
    )


def test_the_largest_move_between_samples():
    assert wasserstein_distance([0.0, 1.0, 5.0], [1.0, 0.0, 8.5], math.inf) == 3.5


def test_a_fitted_expansion_is_its_mixture():
    fitted = GMMExpansion().fit(np.random.default_rng(2).normal(size=500))
    other = normal(0, 1)
    assert wasserstein_distance(fitted, other) == wasserstein_distance(fitted.distribution_, other)
    assert wasserstein_distance(other, fitted) == pytest.approx(wasserstein_distance(fitted, other), rel=1e-12)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("p", [1, 2])
def test_rows_of_weights_are_pairs_of_mixtures(name: str, p: float):
    rng, basis = np.random.default_rng(3), BASES[name]
    a, b = rng.dirichlet(np.ones(30), (2, 1)), rng.dirichlet(np.ones(30), 3)
    values, errors = wasserstein_distance(a, b, p, basis=basis, return_error=True)
    assert values.shape == errors.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        expected = wasserstein_distance(basis.mixture(a[i, 0]), basis.mixture(b[j]), p)
        assert values[i, j] == pytest.approx(expected, rel=1e-9)
    one = wasserstein_distance(a[0, 0], b[0], p, basis=basis)
    assert isinstance(one, float)
    assert one == pytest.approx(values[0, 0], rel=1e-12)


# ------------------------------------------------------------------------------------------------- properties


@given(seeds, orders)
@settings(max_examples=30, deadline=None)
def test_equal_laws_are_at_distance_zero(seed: int, p: float):
    assert wasserstein_distance(law(seed), law(seed), p, return_error=True) == (0.0, 0.0)
    values = np.random.default_rng(seed).normal(size=20)
    assert wasserstein_distance(values, values[::-1], p) == 0.0
    weights = np.random.default_rng(seed).dirichlet(np.ones(30), 2)
    for basis in BASES.values():
        assert (wasserstein_distance(weights, weights, p, basis=basis) == 0).all()


def test_the_order_of_components_does_not_matter():
    a = GaussianMixture1D([0.2, 0.8], [0.0, 1.0], [1.0, 2.0])
    assert wasserstein_distance(a, GaussianMixture1D([0.8, 0.2], [1.0, 0.0], [2.0, 1.0])) == 0.0


@given(seeds, seeds, orders)
@settings(max_examples=30, deadline=None)
def test_the_distance_is_symmetric(first: int, second: int, p: float):
    forth, error = wasserstein_distance(law(first), law(second), p, return_error=True)
    assert wasserstein_distance(law(second), law(first), p) == pytest.approx(forth, abs=2 * error)


@given(seeds, seeds, seeds, orders)
@settings(max_examples=30, deadline=None)
def test_the_triangle_inequality_holds(first: int, second: int, third: int, p: float):
    a, b, c = law(first), law(second), law(third)
    through = wasserstein_distance(a, b, p) + wasserstein_distance(b, c, p)
    assert wasserstein_distance(a, c, p) <= through * (1 + 1e-8)


@given(seeds, orders, st.floats(0.1, 1e3) | st.floats(-1e3, -0.1) | st.just(0.0))
@settings(max_examples=30, deadline=None)
def test_a_translation_by_s_is_s_away(seed: int, p: float, s: float):
    a = law(seed)
    b = moved(a, 1.0, s)
    distance, error = wasserstein_distance(a, b, p, return_error=True)
    assert abs(distance - abs(s)) <= error + 1e-8 * abs(s) + 1e-12


@given(seeds, seeds, orders, st.sampled_from([-3.0, 1e-6, 1e6]), st.floats(-10, 10))
@settings(max_examples=30, deadline=None)
def test_units_and_origin_do_not_matter(first: int, second: int, p: float, scale: float, shift: float):
    a, b = law(first), law(second)
    expected = abs(scale) * wasserstein_distance(a, b, p)
    assert wasserstein_distance(moved(a, scale, shift), moved(b, scale, shift), p) == pytest.approx(expected, rel=1e-7)


@given(seeds, seeds)
@settings(max_examples=20, deadline=None)
def test_the_distance_grows_with_p_and_is_at_least_that_of_the_means(first: int, second: int):
    a, b = law(first), law(second)
    distances = [abs(a.mean() - b.mean())] + [wasserstein_distance(a, b, p) for p in (1, 1.5, 2, 2.9)]
    assert (np.diff(distances) >= -1e-8 * distances[-1]).all()


# ------------------------------------------------------------------------------------------------- guards


def test_guards_of_one_reach_leave_every_order_finite():
    """Mass 0.1 and 0.8 at scales 2 and 1: mass * scale^3 is the same."""
    a, b = normal(0, 1, tail=(0.1, 0.0, 2.0)), normal(0, 1, tail=(0.8, 0.5, 1.0))
    assert wasserstein_distance(a, a, 4) == 0
    shifted = wasserstein_distance(a, moved(a, 1.0, 0.5), 4)
    assert shifted == pytest.approx(0.5, rel=1e-8)
    assert math.isfinite(wasserstein_distance(a, b, 4))


@pytest.mark.parametrize("other", [normal(0, 1), normal(0, 1, tail=(0.1, 0.0, 1.5)), np.arange(3.0)])
def test_guards_that_differ_have_no_third_moment(other: Any):
    a = normal(0, 1, tail=(0.1, 0.0, 1.0))
    with pytest.warns(RuntimeWarning, match=r"W_3 is infinite: the guards .* p < 3") as caught:
        assert wasserstein_distance(a, other, 3) == math.inf
    assert len(caught) == 1
    assert caught[0].filename == __file__
    finite = wasserstein_distance(a, other, 2.9)
    assert wasserstein_distance(a, other, 2) < finite < math.inf


def test_far_guards_dominate_as_their_quantiles_do():
    """Pure scaling: W_p of X and 2 X is the p-th moment, E|T|^p of Student's t with 3 degrees of freedom for the guard;
    p = 2.5 has half of its integral beyond masses of 1e-3."""
    p = 2.5
    a = GaussianMixture1D([1.0], [0.0], [1.0], tail=(0.5, 0.0, 1.0))
    of_normal = float(norm.expect(lambda x: abs(x) ** p))
    of_guard = 3 ** (p / 2) * math.gamma((p + 1) / 2) * math.gamma((3 - p) / 2) / math.sqrt(math.pi) / math.gamma(1.5)
    expected = (0.5 * of_normal + 0.5 * of_guard) ** (1 / p)
    assert wasserstein_distance(a, moved(a, 2.0, 0.0), p) == pytest.approx(expected, rel=1e-8)


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("p", "error", "words"),
    [
        (0.5, ValueError, "p is 0.5; it must be at least 1"),
        (math.nan, ValueError, "p is nan"),
        ("two", TypeError, "p is 'two'; give a number"),
        (math.inf, ValueError, "p is inf, which is for two samples; with a mixture give a finite p"),
    ],
)
def test_a_wrong_order_is_refused(p: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        wasserstein_distance(normal(0, 1), [0.0, 1.0], p)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.full(30, 0.1), "sum to 3; they must sum to 1"),
        (np.append(np.full(29, 1.1 / 29), -0.1), "contains -0.1; weights must not be negative"),
        (np.append(np.full(29, 1 / 29), math.nan), "contains nan"),
        (np.full(20, 0.05), r"has shape \(20,\), but the basis has 30 components"),
    ],
)
def test_wrong_weights_are_refused(name: str, weights: oracle.FloatArray, words: str):
    right = np.full(30, 1 / 30)
    for p in (1, 2):
        with pytest.raises(ValueError, match=f"b.* {words}"):
            wasserstein_distance(right, weights, p, basis=BASES[name])


def test_weights_of_points_are_for_samples():
    right, distance = np.full(30, 1 / 30), cast(Any, wasserstein_distance)
    with pytest.raises(TypeError, match="a_weights and b_weights are for samples; with basis="):
        distance(right, right, basis=BASES["lattice"], a_weights=right)
    with pytest.raises(TypeError, match="a_weights are for samples, but a is a mixture"):
        wasserstein_distance(normal(0, 1), [1.0], a_weights=[1.0])


@pytest.mark.parametrize("shift", [1.7e9, -1.7e9, 2.0**50])
def test_far_from_zero_nothing_is_lost(shift: float) -> None:
    guard, atoms = (0.125, 0.5, 1.0), np.array([0.25, 1.0])
    means = np.array([-1.0, 2.0])
    a = GaussianMixture1D([0.4, 0.6], means, [1.0, 0.5], bounds=(-4.0, None), atoms=(atoms, [0.1, 0.2]))
    b = GaussianMixture1D([1.0], [0.5], [2.0], tail=guard)
    a_far = GaussianMixture1D(
        [0.4, 0.6], means + shift, [1.0, 0.5], bounds=(shift - 4, None), atoms=(atoms + shift, [0.1, 0.2])
    )
    b_far = GaussianMixture1D([1.0], [0.5 + shift], [2.0], tail=(0.125, 0.5 + shift, 1.0))
    x = np.round(np.random.default_rng(0).normal(size=500) * 4) / 4
    for p in (1, 2):
        for near, far in ((b, b_far), (x, x + shift)):
            expected = wasserstein_distance(a, near, p)
            assert wasserstein_distance(a_far, far, p) == pytest.approx(expected, rel=1e-9)
    assert total_variation_distance(a_far, b_far) == pytest.approx(total_variation_distance(a, b), rel=1e-9)


@pytest.mark.parametrize("bandwidth", [1e-4, 0.009, 0.011, 99.0, 101.0, 1e4])
def test_any_bandwidth_of_a_basis(bandwidth: float) -> None:
    basis = GaussianBasis(0.0, 0.5, 7, bandwidth)
    a, b = np.random.default_rng(0).dirichlet(np.ones(7), (2, 2))
    for i, value in enumerate(wasserstein_distance(a, b, basis=basis)):
        assert value == pytest.approx(wasserstein_distance(basis.mixture(a[i]), basis.mixture(b[i])), rel=1e-7)
