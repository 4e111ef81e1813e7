"""D section 4: the laws that are drawn, and what Figures 10, 11 and Eq. 6, 15 come to, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import circulant
from scipy.stats import norm

from gaussmix.density.basis import GaussianBasis
from gaussmix.ngmg import learn_weights
from reproduction.diffusion import eq6 as diffusion_eq6
from reproduction.diffusion import eq15 as diffusion_eq15
from reproduction.diffusion import fig10 as diffusion_fig10
from reproduction.diffusion import fig11 as diffusion_fig11
from reproduction.diffusion.pairs import draw_weights, normal_weights


def test_normal_weights_make_normals() -> None:
    basis = GaussianBasis.spanning(-60, 60, 120, 2.0)
    law = basis.mixture(normal_weights(basis, [0.3, 0.7], [-10, 5], [1.0, 6.0]))
    x = np.linspace(-40, 40, 201)
    exact = 0.3 * norm.cdf(x, -10, np.sqrt(1 + 4)) + 0.7 * norm.cdf(x, 5, np.sqrt(36 + 4))
    np.testing.assert_allclose(law.cdf(x), exact, atol=1e-8)


def test_drawn_weights_are_smooth_laws() -> None:
    basis, rng = GaussianBasis.spanning(0, 100, 100), np.random.default_rng(0)
    drawn = np.array([draw_weights(basis, rng) for _ in range(50)])
    np.testing.assert_allclose(drawn.sum(1), 1)
    assert np.abs(np.diff(drawn)).max() < 0.16 * drawn.max()  # of a normal of deviation 4: .152
    assert 10 < (drawn @ basis.centers).min() < 40 < 60 < (drawn @ basis.centers).max() < 90


# --- Figure 10


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_claims_on_the_gradient(t: float) -> None:
    found = diffusion_fig10.check_claims(diffusion_fig10.Config(triples=60), t)
    assert found["within_bounds"] == found["zero_if_equal"] == found["positive_if_not"] == found["triangle"] == 1
    assert found["within_bounds_eq14"] == 0
    assert found["printed_equality"] < 0.1
    inner = 2 * norm.pdf(np.arange(1, 100), scale=t).sum()  # the sum of a row of M far from the ends, times r
    assert inner / 2 - 1e-12 <= found["norm_to_tv_least"] <= found["norm_to_tv_most"] <= inner + 1e-12
    assert found["norm_to_tv_most"] == pytest.approx(inner, rel=0.01)


def test_over_every_sigma() -> None:
    shares = ("within_bounds", "within_bounds_eq14", "zero_if_equal", "positive_if_not", "printed_equality", "triangle")
    rows = {
        name: dict.fromkeys(shares, share) | {"norm_to_tv_least": 0.5, "norm_to_tv_most": most}
        for name, share, most in (("a", 1.0, 0.6), ("b", 0.5, 0.75))
    }
    assert diffusion_fig10.over_all(rows) == dict.fromkeys(shares, 0.75) | {"norm_to_tv_spread": 1.5}


# --- Figure 11


@pytest.mark.parametrize("t", [1.0, 2.0, 3.0, 10.0])
def test_the_comb_is_a_fixed_point(t: float) -> None:
    """On a ring with a flat target: lacking h at every p-th place gives a pi that lacks just that."""
    p, n = round(2 * t), 60 * round(2 * t)
    distance = np.minimum(np.arange(n), n - np.arange(n))
    M = circulant(np.where(distance > 0, norm.pdf(distance, scale=t), 0))
    pull = M @ (np.arange(n) % p == 0)
    pi = pull / pull.mean()  # the target is 1 everywhere
    lack = np.maximum(1 - pi, 0)
    assert (lack > 1e-3).sum() == n // p
    step = pi + M @ lack
    np.testing.assert_allclose(step / step.mean(), pi, atol=2e-3)
    assert np.abs(1 - pi).mean() == pytest.approx(diffusion_fig11.comb_l1(t), abs=2e-3)


def test_what_each_variant_comes_to() -> None:
    basis = GaussianBasis.spanning(0, 100, 100)
    rng = np.random.default_rng(0)
    start, goal = draw_weights(basis, rng), draw_weights(basis, rng)
    paths = diffusion_fig11.learn_all(start, goal, basis, 3000)
    end = {name: path.l1[-1] for name, path in paths.items()}
    ten = {name: diffusion_fig11.l1_at(path, np.array([10]))[0] for name, path in paths.items()}
    assert ten["literal"] < 0.25 < 0.34 < end["literal"] < 0.37
    assert end["diagonal"] < 2e-3
    assert end["two_sided"] > 1
    assert end["both"] < end["diagonal"]
    assert end["projected"] < 1e-9
    assert ten["literal"] == learn_weights(goal, basis, initial=start, mode="paper", n_steps=10).l1[-1]


def test_the_comb_is_compared_where_it_should_hold() -> None:
    ends = {"1 r": [0.9, 1.0, 1.0], "2 r": [0.5, 0.52, 0.5], "3 r": [1, 1, 1], "5 r": [2, 3, 1], "10 r": [2, 3, 1]}
    assert diffusion_fig11.comb_error(ends, 4.0)["largest_error_of_comb"] == pytest.approx(0.1)
    assert diffusion_fig11.comb_error(ends, 5.0)["largest_error_of_comb"] == 2


# --- Eq. 6


def test_eq6_and_w1_of_the_chosen_pairs() -> None:
    basis = GaussianBasis.spanning(*diffusion_eq6.M, 400, 2.0)
    names, a, b = diffusion_eq6.chosen_pairs(basis)
    found = diffusion_eq6.compare(a, b, basis)
    x = np.linspace(-400, 400, 80_001)
    mixed = (norm.cdf(x, 0, 10) + norm.cdf(x, 0, 30)) / 2 - norm.cdf(x, 0, 500**0.5)
    apart = (norm.cdf(x, -40, 10) + norm.cdf(x, 40, 10)) / 2 - norm.cdf(x, 0, 10)
    wider = norm.cdf(x, 20, 30) - norm.cdf(x, 0, 10)
    numeric = [np.abs(difference).sum() * 0.01 for difference in (wider, mixed, apart)]
    assert len(names) == 6
    np.testing.assert_allclose(found["w1"][:5], [20, 20 * np.sqrt(2 / np.pi), *numeric], rtol=1e-5)
    np.testing.assert_allclose(found["eq6"], [20, 0, 20, 0, 0, 0], atol=1e-3)
    np.testing.assert_allclose(found["mean_difference"], [20, 0, 20, 0, 0, 0], atol=1e-3)
    assert found["w1"][5] > 0.1
    assert (found["atoms"] >= found["w1"] - found["error"]).all()
    np.testing.assert_allclose(found["atoms"][5], basis.spacing)


def test_a_moved_law_has_flat_ngmg_and_growing_w1() -> None:
    basis = GaussianBasis.spanning(*diffusion_eq6.M, 400, 2.0)
    found = diffusion_eq6.compare_moved([100.0, 200.0], basis)
    np.testing.assert_allclose(found["w1"], [100, 200], rtol=1e-6)
    np.testing.assert_allclose(found["eq6"], [100, 200], rtol=1e-6)
    np.testing.assert_allclose(found["ngmg"][1], found["ngmg"][0], rtol=1e-5)


# --- Eq. 15


def test_spectrum_of_the_kernel() -> None:
    """n = 3: eigenvalues of M of M in closed form; those of K are larger by phi(0)."""
    basis = GaussianBasis(0, 1, 3, 1.0)
    near, far = norm.pdf([1, 2])
    root = np.sqrt(far**2 + 8 * near**2)
    values = np.array([-far, (far + root) / 2, (far - root) / 2])
    for diagonal in (False, True):
        exact = np.abs(values + diagonal * norm.pdf(0))
        condition, positive, negative = diffusion_eq15.spectrum(basis, diagonal=diagonal)
        assert condition == pytest.approx(exact.max() / exact.min())
        assert (positive, negative) == ((3, 0) if diagonal else (1, 2))


def test_eq15_is_eq6_up_to_rounding_and_not_w1() -> None:
    row = diffusion_eq15.measure_basis(50, 2.0, diffusion_eq15.Config(pairs=10))
    assert row["positive"] + row["negative"] == 50
    assert row["error_to_eq6"] < 1e-11
    assert 1e-9 < row["error_single_precision"] < 1e-2
    assert row["least_of_w1"] < 0.99
    assert row["median_of_w1"] <= 1 + 1e-9


def test_over_all_bases() -> None:
    row = {"positive": 4.0, "least_of_w1": 0.5, "median_of_w1": 1.0}
    rows = {
        f"{n}, {t}": row
        | {
            "condition": n * t,
            "error_to_eq6": 1e-14 / (n * t),
            "condition_with_diagonal": 1e17 if t > 3 else 10.0,
            "error_single_precision": 1e-7 * (n * t) ** 2,
            "negative": 6.0 + n / 10,
        }
        for n in (10, 20)
        for t in diffusion_eq15.SIGMAS
    }
    found = diffusion_eq15.over_all(rows)
    assert (found["bases"], found["lost_with_diagonal"]) == (10, 2)
    np.testing.assert_allclose(found["condition"], [5, 100])
    np.testing.assert_allclose(found["growth_of_condition"], 2)
    np.testing.assert_allclose(found["share_negative"], [7 / 11, 8 / 12])
    assert found["power_single_precision"] == pytest.approx(2)
    assert found["rank_correlation"] == pytest.approx(-1)
    assert found["rank_correlation_single_precision"] == pytest.approx(1)
