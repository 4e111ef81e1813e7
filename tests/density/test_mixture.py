"""The distribution: its methods against SciPy, quadrature and scikit-learn, its properties, and what it refuses."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles.mixtures import MIXTURES
from safetensors.numpy import save_file
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from gaussmix.density.mixture import GaussianMixture1D

MANY = 5000
"""Evaluations that go through the table."""
each = pytest.mark.parametrize("arguments", MIXTURES.values(), ids=MIXTURES)


def quadrature_grid(mixture: GaussianMixture1D) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and weights: 12 Gauss-Legendre points between any two of the places where the density turns."""
    steps = np.linspace(-9, 9, 37)
    knots = (mixture.means[:, None] + steps * mixture.stds[:, None]).ravel()
    if mixture.tail.mass:
        far = np.sinh(np.linspace(-40, 40, 801))
        knots = np.concatenate([knots, mixture.tail.loc + far * mixture.tail.scale])
        knots = np.concatenate([knots, [end for end in mixture.bounds if math.isfinite(end)]])
    else:
        ends = [end for end in mixture.bounds if math.isfinite(end)]
        knots = np.clip(np.concatenate([knots, ends]), *mixture.bounds)
    knots = np.unique(knots)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(knots)[:, None]
    return (knots[:-1, None] + half * (nodes + 1)).ravel(), (half * weights).ravel()


# ----------------------------------------------------------------------------------------------- against others


@pytest.mark.parametrize("size", [40, MANY], ids=["summed", "tabulated"])
def test_one_component_is_scipys_norm(size: int):
    ours = GaussianMixture1D([1.0], [2.0], [3.0])
    theirs: Any = norm(2.0, 3.0)
    x = np.linspace(-40, 44, size)
    np.testing.assert_allclose(ours.logpdf(x), theirs.logpdf(x), rtol=1e-10)
    np.testing.assert_allclose(ours.pdf(x), theirs.pdf(x), rtol=1e-10)
    np.testing.assert_allclose(ours.cdf(x), theirs.cdf(x), rtol=1e-10)
    np.testing.assert_allclose(ours.sf(x), theirs.sf(x), rtol=1e-10)
    q = np.concatenate([np.linspace(0, 1, size), [1e-300, 1e-20, 1 - 1e-10, -0.1, 1.1, np.nan]])
    np.testing.assert_allclose(ours.ppf(q), theirs.ppf(q), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours.isf(q), theirs.isf(q), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours.interval(0.9), theirs.interval(0.9), rtol=1e-12)
    for name in ("mean", "var", "std", "median", "entropy"):
        assert getattr(ours, name)() == pytest.approx(getattr(theirs, name)(), rel=1e-12)


@each
def test_mass_moments_and_entropy_agree_with_quadrature(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    x, weights = quadrature_grid(mixture)
    mass = mixture.pdf(x) * weights
    assert mass.sum() == pytest.approx(1, abs=1e-9)
    origin = mixture.means[0]  # far from 0, x itself is coarse
    shift = float(mass @ (x - origin))
    assert mixture.mean() - origin == pytest.approx(shift, rel=1e-9, abs=1e-9 * mixture.std() + np.spacing(abs(origin)))
    assert mixture.var() == pytest.approx(float(mass @ (x - origin - shift) ** 2), rel=2e-9)
    log_p = mixture.logpdf(x)
    assert mixture.entropy() == pytest.approx(-float(mass @ np.where(mass > 0, log_p, 0)), abs=1e-7)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_scikit_learns_mixtures_keep_their_densities(covariance_type: Any):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(5, 0.3, 200)])[:, None]
    theirs = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(x)
    np.testing.assert_allclose(
        GaussianMixture1D.from_sklearn(theirs).logpdf(x[:, 0]), theirs.score_samples(x), rtol=1e-10
    )


def test_scikit_learns_mixtures_must_be_fitted_and_one_dimensional():
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture1D.from_sklearn(GaussianMixture())
    plane = GaussianMixture().fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(ValueError, match="2 dimensions"):
        GaussianMixture1D.from_sklearn(plane)


# ---------------------------------------------------------------------------------------------------- properties

number = st.floats(-10, 10)
component = st.tuples(st.floats(0.01, 1), number, st.floats(-3, 2).map(lambda power: 10**power))


@st.composite
def mixtures(draw: st.DrawFn) -> GaussianMixture1D:
    """Up to six components whose scales differ by up to 1e5, bounded or not, guarded or not."""
    weights, means, stds = np.array(draw(st.lists(component, min_size=1, max_size=6))).T
    low = draw(st.none() | st.floats(0, 3).map(lambda gap: means.min() - gap))
    high = draw(st.none() | st.floats(1e-2, 3).map(lambda gap: means.max() + gap))
    tail = draw(st.none() | st.tuples(st.floats(1e-9, 0.5), number, st.floats(0.1, 10)))
    note(f"{weights} {means} {stds} {low} {high} {tail}")
    return GaussianMixture1D(weights / weights.sum(), means, stds, bounds=(low, high), tail=tail)


@settings(max_examples=40, deadline=None)
@given(mixtures())
def test_the_density_integrates_to_one(mixture: GaussianMixture1D):
    x, weights = quadrature_grid(mixture)
    assert mixture.pdf(x) @ weights == pytest.approx(1, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(mixtures(), st.integers(0, 2**32 - 1))
def test_the_cdf_rises_and_quantiles_invert_it(mixture: GaussianMixture1D, seed: int):
    rng = np.random.default_rng(seed)
    q = np.sort(rng.random(MANY))
    for some in (slice(20), slice(None)):  # summed, tabulated
        x = mixture.ppf(q[some])
        resolution = mixture.pdf(x) * np.spacing(abs(x))
        assert np.all(abs(mixture.cdf(x) - q[some]) <= 1e-12 + resolution)
        assert np.all(np.diff(x) >= 0)
    around = np.sort(rng.choice(mixture.means, MANY) + rng.normal(0, 3, MANY) * rng.choice(mixture.stds, MANY))
    assert np.all(np.diff(mixture.cdf(around)) >= -2 * np.spacing(1.0))
    assert np.all(np.diff(mixture.sf(around)) <= 2 * np.spacing(1.0))
    np.testing.assert_allclose(mixture.cdf(around) + mixture.sf(around), 1, atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(mixtures(), st.floats(-3, 3).map(lambda power: 10**power), st.floats(-100, 100), st.booleans())
def test_scaling_and_shifting_the_components_scales_and_shifts_the_law(
    mixture: GaussianMixture1D, scale: float, shift: float, large: bool
):
    mass, loc, width = mixture.tail
    low, high = mixture.bounds
    moved = GaussianMixture1D(
        mixture.weights,
        scale * mixture.means + shift,
        scale * mixture.stds,
        bounds=(scale * low + shift, scale * high + shift),
        tail=(mass, scale * loc + shift, scale * width),
    )
    q = np.linspace(0.001, 0.999, MANY if large else 20)
    x = mixture.ppf(q)
    there = scale * x + shift
    rounding = 4 * np.spacing(abs(there) + abs(shift) + scale * abs(x)) / (scale * mixture.stds.min())
    np.testing.assert_array_less(abs(moved.cdf(there) - q), 1e-11 + rounding)
    slack = 1e-9 + 40 * rounding
    inside = (x - low > 1e-9 * abs(x)) & (high - x > 1e-9 * abs(x))  # rounding moves bounds
    difference = abs(moved.logpdf(there) + math.log(scale) - mixture.logpdf(x))
    np.testing.assert_array_less(difference[inside], slack[inside])
    assert moved.mean() == pytest.approx(scale * mixture.mean() + shift, rel=1e-9, abs=1e-9 * moved.std())
    assert moved.std() == pytest.approx(scale * mixture.std(), rel=1e-7)
    assert moved.entropy() == pytest.approx(mixture.entropy() + math.log(scale), abs=1e-7)


@each
def test_few_and_many_points_give_the_same_numbers(arguments: dict[str, Any]):
    summed, tabulated = GaussianMixture1D(**arguments), GaussianMixture1D(**arguments)
    q = np.random.default_rng(2).random(MANY)
    x = tabulated.ppf(q)
    few = slice(None, None, 200)
    assert "_table" in tabulated.__dict__
    np.testing.assert_allclose(summed.logpdf(x[few]), tabulated.logpdf(x)[few], atol=1e-10, rtol=1e-10)
    np.testing.assert_allclose(summed.cdf(x[few]), tabulated.cdf(x)[few], atol=1e-10, rtol=0)
    np.testing.assert_allclose(summed.sf(x[few]), tabulated.sf(x)[few], atol=1e-10, rtol=0)
    assert "_table" not in summed.__dict__


# ------------------------------------------------------------------------------------------------------- the ends


@pytest.mark.parametrize("n", [1, MANY])
def test_far_points_have_finite_log_densities(n: int):
    mixture = GaussianMixture1D([0.5, 0.5], [0.0, 1.0], [1.0, 0.01])
    x = np.full(n, 1e3)
    np.testing.assert_allclose(mixture.logpdf(x), math.log(0.5) + norm.logpdf(1e3), rtol=1e-14)
    np.testing.assert_allclose(mixture.logpdf(1e150 * x), -0.5e306, rtol=1e-14)
    assert np.all(mixture.logpdf(1e200 * x) == -np.inf)
    guarded = GaussianMixture1D([1.0], [0.0], [1.0], tail=(1e-7, 0.0, 1.0))
    np.testing.assert_allclose(
        guarded.logpdf(1e200 * x), math.log(1e-7 * 6 * math.sqrt(3) / math.pi) - 4 * 203 * math.log(10)
    )
    np.testing.assert_allclose(guarded.sf(1e3 * x), 1e-7 * 2 * math.sqrt(3) / math.pi * 1e-18, rtol=1e-9)


@pytest.mark.parametrize("n", [1, MANY])
def test_nan_and_infinity(n: int):
    mixture = GaussianMixture1D([1.0], [0.0], [1.0])
    for x, density, below, above in ((np.nan, np.nan, np.nan, np.nan), (np.inf, 0, 1, 0), (-np.inf, 0, 0, 1)):
        points = np.full(n, x)
        np.testing.assert_array_equal(mixture.pdf(points), np.full(n, density))
        np.testing.assert_array_equal(mixture.cdf(points), np.full(n, below))
        np.testing.assert_array_equal(mixture.sf(points), np.full(n, above))


@pytest.mark.parametrize("n", [1, MANY])
def test_the_density_is_zero_outside_the_bounds(n: int):
    mixture = GaussianMixture1D(**MIXTURES["two bounds"])
    assert np.all(mixture.pdf(np.full(n, -1e-12)) == 0)
    assert np.all(mixture.cdf(np.full(n, -5.0)) == 0)
    assert np.all(mixture.sf(np.full(n, 5.0)) == 0)
    assert np.all(mixture.ppf(np.full(n, 0.0)) == 0)
    assert np.all(mixture.ppf(np.full(n, 1.0)) == 1)
    unbounded = GaussianMixture1D(**MIXTURES["guard across bounds"])
    assert np.all(unbounded.ppf(np.full(n, 0.0)) == -np.inf)
    assert np.all(unbounded.pdf(np.full(n, -1.0)) > 0)


def test_reflection_doubles_the_density_at_a_bound_through_the_mean():
    half_normal = GaussianMixture1D([1.0], [0.0], [1.0], bounds=(0.0, None))
    assert half_normal.pdf(0.0) == pytest.approx(2 * norm.pdf(0))
    assert half_normal.mean() == pytest.approx(math.sqrt(2 / math.pi), rel=1e-14)
    assert half_normal.var() == pytest.approx(1 - 2 / math.pi, rel=1e-14)


# --------------------------------------------------------------------------------------------------------- atoms

ATOMS = ([0.0, 0.3], [0.2, 0.1])


@pytest.mark.parametrize("n", [1, MANY])
def test_atoms_are_steps_of_the_cdf(n: int):
    plain = GaussianMixture1D(**MIXTURES["two bounds"])
    mixture = GaussianMixture1D(**MIXTURES["two bounds"], atoms=ATOMS)
    for position, mass, before in ((0.0, 0.2, 0.0), (0.3, 0.1, 0.2)):
        x = np.full(n, position)
        np.testing.assert_allclose(mixture.pdf(x), mass)
        np.testing.assert_allclose(mixture.cdf(x), 0.7 * plain.cdf(x) + before + mass, atol=1e-12)
        np.testing.assert_allclose(mixture.sf(x), 1 - mixture.cdf(x), atol=1e-12)
        np.testing.assert_array_equal(mixture.ppf(mixture.cdf(x)), x)
        np.testing.assert_array_equal(mixture.isf(mixture.sf(x)), x)
    np.testing.assert_allclose(mixture.pdf(np.full(n, 0.5)), 0.7 * plain.pdf(0.5))
    np.testing.assert_array_equal(mixture.ppf([0, 1, np.nan, -1, 2]), [0, 1, np.nan, np.nan, np.nan])


@settings(max_examples=40, deadline=None)
@given(mixtures(), st.integers(0, 2**32 - 1))
def test_quantiles_of_steps_are_generalised_inverses(mixture: GaussianMixture1D, seed: int):
    rng = np.random.default_rng(seed)
    positions = np.unique(np.append(mixture.means, rng.choice(mixture.means) + 0.01 * rng.random()))
    positions = positions[(positions >= mixture.bounds[0]) & (positions <= mixture.bounds[1])]
    law = GaussianMixture1D(
        mixture.weights,
        mixture.means,
        mixture.stds,
        bounds=mixture.bounds,
        tail=mixture.tail,
        atoms=(positions, rng.dirichlet(np.ones(positions.size)) * 0.5),
    )
    q = np.sort(rng.random(300))
    x = law.ppf(q)
    assert np.all(law.cdf(x) >= q - 1e-12 - mixture.pdf(x) * np.spacing(abs(x)))
    assert np.all(law.cdf(np.nextafter(x, -np.inf)) <= q + 1e-12 + 2 * mixture.pdf(x) * np.spacing(abs(x)))
    assert np.all(np.diff(x) >= -1e-12 * abs(x[1:]))
    np.testing.assert_array_equal(law.ppf(law.cdf(positions)), positions)


def test_moments_and_entropy_count_the_atoms():
    mixture = GaussianMixture1D([1.0], [1.0], [2.0], atoms=([5.0, -1.0], [0.25, 0.25]))
    assert mixture.mean() == pytest.approx(0.5 * 1 + 0.25 * 5 - 0.25)
    second = 0.5 * (4 + 1) + 0.25 * 25 + 0.25
    assert mixture.var() == pytest.approx(second - mixture.mean() ** 2)
    assert mixture.entropy() == pytest.approx(0.5 * (norm.entropy(1, 2) - math.log(0.5)) - 0.5 * math.log(0.25))


def test_a_law_of_atoms_only():
    law = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([3.0, 1.0], [0.5, 0.5]))
    np.testing.assert_array_equal(law.ppf([0.0, 0.2, 0.5, 0.500001, 1.0]), [1, 1, 1, 3, 3])
    np.testing.assert_array_equal(law.pdf([1.0, 2.0, 3.0]), [0.5, 0, 0.5])
    assert law.mean() == 2
    assert law.entropy() == pytest.approx(math.log(2))
    assert set(law.rvs(100, 0)) == {1.0, 3.0}


# ------------------------------------------------------------------------------------------------- arrays in and out


def test_any_shape_and_type_of_numbers():
    mixture = GaussianMixture1D([0.5, 0.5], [0.0, 3.0], [1.0, 0.5])
    x = np.linspace(-3, 5, 24)
    expected = mixture.logpdf(x)
    np.testing.assert_array_equal(mixture.logpdf(x.reshape(2, 3, 4)), expected.reshape(2, 3, 4))
    np.testing.assert_array_equal(mixture.logpdf(x.tolist()), expected)
    np.testing.assert_array_equal(mixture.logpdf(np.repeat(x, 2)[::2]), expected)
    single = x.astype(np.float32)
    np.testing.assert_array_equal(mixture.logpdf(single), mixture.logpdf(single.astype(float)))
    np.testing.assert_array_equal(mixture.logpdf(np.arange(3)), mixture.logpdf(np.arange(3.0)))
    assert isinstance(mixture.logpdf(0.5), float)
    assert mixture.logpdf([]).shape == (0,)
    wrong: Any
    for wrong in ("a", [1j], [None], np.array(["2020"], "datetime64[D]")):
        with pytest.raises(TypeError, match="real numbers"):
            mixture.logpdf(wrong)


def test_a_mixture_is_frozen_and_a_value():
    arguments: dict[str, Any] = {**MIXTURES["guard across bounds"], "atoms": ATOMS}
    mixture = GaussianMixture1D(**arguments)
    with pytest.raises(AttributeError, match="frozen"):
        mixture.weights = np.ones(2)  # pyright: ignore[reportAttributeAccessIssue]
    for array in (mixture.weights, mixture.means, mixture.stds, mixture.atoms.positions, mixture.atoms.masses):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    mixture.logpdf(np.zeros(MANY))
    for twin in (GaussianMixture1D(**arguments), copy.deepcopy(mixture), pickle.loads(pickle.dumps(mixture))):
        assert twin == mixture
    others: dict[str, Any] = {
        "means": [0.3, 0.8],
        "bounds": (0.0, 2.0),
        "tail": (0.02, 0.5, 0.5),
        "atoms": ([0.0], [0.2]),
    }
    for name, value in others.items():
        assert GaussianMixture1D(**{**arguments, name: value}) != mixture
    assert mixture != "a mixture"
    assert repr(mixture) == (
        "GaussianMixture1D(2 components, 0.3 .. 0.9, bounds=(0.0, 1.0), tail=(0.01, 0.5, 0.5), 2 atoms)"
    )


def test_weights_are_normalised_exactly():
    mixture = GaussianMixture1D([0.3, 0.7 + 5e-7], [0, 1], 1)
    assert mixture.weights.sum() == 1
    assert mixture.stds.tolist() == [1, 1]


# -------------------------------------------------------------------------------------------------------- refusals

GOOD: dict[str, Any] = {"weights": [0.5, 0.5], "means": [0.0, 1.0], "stds": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": [0.5, 0.6]}, "sum to 1.1"),
        ({"weights": [1.5, -0.5]}, "-0.5; they must not be negative"),
        ({"weights": [0.5, np.nan]}, "weights contains nan"),
        ({"weights": [1.0]}, "1, 2 and 2 values"),
        ({"weights": [[0.5, 0.5]]}, "weights has shape"),
        ({"weights": [], "means": [], "stds": []}, "weights has shape"),
        ({"means": [0.0, np.inf]}, "means contains inf"),
        ({"stds": [1.0, 0.0]}, "must be positive"),
        ({"stds": -1.0}, "must be positive"),
        ({"stds": [1.0, 1.0, 1.0]}, "2, 2 and 3 values"),
        ({"bounds": (2.0, -1.0)}, "below the second"),
        ({"bounds": (0.0, 0.0)}, "below the second"),
        ({"bounds": (np.nan, None)}, "below the second"),
        ({"bounds": (0.5, None)}, "outside the bounds"),
        ({"bounds": (None, 0.9)}, "outside the bounds"),
        ({"tail": (1.0, 0.0, 1.0)}, "mass in"),
        ({"tail": (-0.1, 0.0, 1.0)}, "mass in"),
        ({"tail": (0.1, np.nan, 1.0)}, "mass in"),
        ({"tail": (0.1, 0.0, 0.0)}, "mass in"),
        ({"atoms": ([0.0], [0.1, 0.2])}, "shape"),
        ({"atoms": ([0.0, 0.0], [0.1, 0.2])}, "different"),
        ({"atoms": ([np.nan], [0.1])}, "finite"),
        ({"atoms": ([0.0], [0.0])}, "each must be positive"),
        ({"atoms": ([0.0, 1.0], [0.6, 0.6])}, "at most 1"),
    ],
)
def test_values_that_make_no_distribution_are_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        GaussianMixture1D(**{**GOOD, **wrong})


def test_a_confidence_outside_0_and_1_is_refused():
    with pytest.raises(ValueError, match="confidence is 1"):
        GaussianMixture1D(**GOOD).interval(1.5)


# --------------------------------------------------------------------------------------------------------- on disk


@each
def test_files_keep_everything(arguments: dict[str, Any], tmp_path: Path):
    mixture = GaussianMixture1D(**arguments)
    mixture.save(tmp_path / "m.safetensors")
    assert GaussianMixture1D.load(tmp_path / "m.safetensors") == mixture


def test_atoms_are_kept_too(tmp_path: Path):
    mixture = GaussianMixture1D(**GOOD, atoms=ATOMS)
    mixture.save(tmp_path / "m.safetensors")
    assert GaussianMixture1D.load(tmp_path / "m.safetensors") == mixture


def test_damaged_and_foreign_files_are_refused(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    mixture = GaussianMixture1D(**GOOD)
    mixture.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(ValueError, match=r"m\.safetensors"):
        GaussianMixture1D.load(path)
    save_file(mixture.to_tensors(), path)
    with pytest.raises(ValueError, match=r"m\.safetensors has the format none"):
        GaussianMixture1D.load(path)
    kind = {"format": "gaussmix.GaussianMixture1D", "version": "1"}
    for damage in ({"weights": np.array([0.5, 0.6])}, {"tail": np.zeros(2)}):
        save_file(mixture.to_tensors() | damage, path, metadata=kind)
        with pytest.raises(ValueError, match=r"m\.safetensors holds no usable GaussianMixture1D"):
            GaussianMixture1D.load(path)
    save_file({"weights": mixture.weights}, path, metadata=kind)
    with pytest.raises(ValueError, match=r"m\.safetensors holds no usable GaussianMixture1D"):
        GaussianMixture1D.load(path)


def test_atoms_may_lie_outside_the_bounds() -> None:
    """Zeros beside a density that begins at 1: the bounds are the Gaussians'."""
    model = GaussianMixture1D([1.0], [1.5], [2.0], bounds=(1.0, 5.0), atoms=([0.0, 9.0], [0.3, 0.1]))
    np.testing.assert_allclose(model.cdf([-1, 0, 0.9, 1, 5, 8, 9]), [0, 0.3, 0.3, 0.3, 0.9, 0.9, 1.0], atol=1e-12)
    np.testing.assert_allclose(model.ppf([0.1, 0.3, 0.95]), [0, 0, 9])
    drawn = model.rvs(20_000, random_state=0)
    assert (drawn == 0).mean() == pytest.approx(0.3, abs=0.015)
    assert (drawn == 9).mean() == pytest.approx(0.1, abs=0.01)
    rest = drawn[(drawn != 0) & (drawn != 9)]
    assert 1 <= rest.min() < rest.max() <= 5


def test_quantiles_beside_an_atom_stay_beside_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        positions = np.sort(rng.choice(12, 3, replace=False)) - 6.0
        law = GaussianMixture1D(
            [1.0], [rng.uniform(-5, 5)], [rng.uniform(0.01, 1)], atoms=(positions, rng.uniform(0.01, 0.3, 3))
        )
        for ends, quantile in ((law.cdf(positions), law.ppf), (law.sf(positions), law.isf)):
            near = np.concatenate([ends, np.nextafter(ends, 0), np.nextafter(ends, 1)])
            inside = near[(near > 1e-300) & (near < 1 - 1e-9)]
            assert np.isfinite(quantile(inside)).all()


def test_masked_points_are_refused() -> None:
    law = GaussianMixture1D([1.0], [0.0], [1.0])
    with pytest.raises(ValueError, match=r"x.compressed\(\)"):
        law.cdf(np.ma.masked_equal([0.0, -999.0], -999.0))
    assert law.cdf(np.ma.array([0.0])) == pytest.approx(0.5)


def test_scaling_merges_atoms_that_fall_together_and_keeps_deviations_above_nothing():
    law = GaussianMixture1D([1.0], [0.0], [1e-3], atoms=([-1e-200, 1e-200, 1.0], [0.2, 0.1, 0.3]))
    small = law.affine(2.0**-1020)
    assert small.atoms.positions.tolist() == [0.0, 2.0**-1020]
    assert small.atoms.masses.tolist() == pytest.approx([0.3, 0.3], rel=1e-15)
    assert small.stds.tolist() == [2.0**-1022]
    far = GaussianMixture1D([1.0], [0.0], [1e-280], atoms=([-1e-300, 1e-300, 1e280], [0.2, 0.1, 0.3]))
    assert far.mean() == pytest.approx(3e279, rel=1e-12)
    assert far.std() == pytest.approx(math.sqrt(0.21) * 1e280, rel=1e-12)
