"""Logs of tails, moments, expectations, modes, highest-density sets and responsibilities, against SciPy and grids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.mixtures import MIXTURES, literal_density
from scipy import stats

from gaussmix.density._mixture import exact
from gaussmix.density.mixture import GaussianMixture1D

each = pytest.mark.parametrize("arguments", MIXTURES.values(), ids=MIXTURES)
ATOMS = ([0.0, 0.3], [0.2, 0.1])


# ------------------------------------------------------------------------------------------------- logs of tails


@each
def test_logs_of_tails_are_those_of_the_tails(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments, atoms=([float(arguments["means"][0])], [0.2]))
    x = mixture.ppf(np.linspace(1e-6, 1 - 1e-6, 60))
    np.testing.assert_allclose(np.exp(mixture.logcdf(x)), mixture.cdf(x), rtol=1e-12)
    np.testing.assert_allclose(np.exp(mixture.logsf(x)), mixture.sf(x), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("z", [5.0, 37.0, 60.0, 1e3, 1e8])
def test_far_tails_have_finite_logs(z: float):
    mixture = GaussianMixture1D([0.25, 0.75], [1.0, 1.0], [2.0, 0.1])
    expected = math.log(0.25) + stats.norm.logsf(z)
    assert mixture.logsf(1 + 2 * z) == pytest.approx(expected, rel=1e-13)
    assert mixture.logcdf(1 - 2 * z) == pytest.approx(expected, rel=1e-13)
    half = GaussianMixture1D([1.0], [0.0], [1.0], bounds=(0.0, None))
    assert half.logsf(z) == pytest.approx(math.log(2) + stats.norm.logsf(z), rel=1e-13)
    guarded = GaussianMixture1D([1.0], [0.0], [1.0], tail=(0.5, 0.0, 1.0))
    assert guarded.logsf(1e100 * z) == pytest.approx(
        math.log(0.5 * 2 * math.sqrt(3) / math.pi) - 3 * math.log(1e100 * z)
    )


def test_logs_of_a_tail_that_ends_at_a_bound():
    """A Gaussian a hundred deviations from a bound: the mass up to it, and almost up to it."""
    mixture = GaussianMixture1D([1.0], [0.0], [0.01], bounds=(None, 1.0))
    for x in (0.5, 0.999):
        expected = stats.norm.logsf(100 * x) + np.log1p(
            -np.exp(stats.norm.logsf(100 * (2 - x)) - stats.norm.logsf(100 * x))
        )
        assert mixture.logsf(x) == pytest.approx(expected, rel=1e-12)
    density_there = stats.norm.logpdf(1, 0, 0.01) + math.log(2)
    assert mixture.logsf(1 - 1e-9) == pytest.approx(density_there + math.log(1 - (1 - 1e-9)), rel=1e-13)


@pytest.mark.parametrize("atoms", [None, ATOMS])
def test_outside_the_support_logs_are_minus_infinity(atoms: Any):
    mixture = GaussianMixture1D(**MIXTURES["two bounds"], atoms=atoms)
    assert mixture.logcdf(-1e-9) == -math.inf
    assert mixture.logsf(1.0) == -math.inf
    assert mixture.logcdf(2.0) == mixture.logsf(-1.0) == 0
    assert math.isnan(mixture.logcdf(np.nan))
    assert mixture.support() == (0.0, 1.0)


def test_support_counts_atoms_and_guard():
    assert GaussianMixture1D([1.0], [0.0], [1.0]).support() == (-math.inf, math.inf)
    assert GaussianMixture1D(**MIXTURES["guard across bounds"]).support() == (-math.inf, math.inf)
    assert GaussianMixture1D([1.0], [0.5], [1.0], bounds=(0, 1), atoms=([-3.0], [0.1])).support() == (-3, 1)
    assert GaussianMixture1D([1.0], [0.0], [1.0], atoms=([3.0, 1.0], [0.5, 0.5])).support() == (1, 3)


def test_masses_between_near_and_far_points_are_relatively_accurate():
    pieces = exact.expand(np.ones(1), np.zeros(1), np.ones(1), (-math.inf, math.inf), (0.0, 0.0, 1.0))
    for x, end in ((8.0, 8.0 + 1e-9), (1.0, 1 + 1e-12), (-5.0, 7.0), (20.0, math.inf)):
        found = exact.masses_between(np.array([x]), end, pieces)[0]
        width = min(end - x, 50.0)
        nodes, weights = np.polynomial.legendre.leggauss(200)
        expected = 0.5 * width * weights @ stats.norm.pdf(x + 0.5 * width * (nodes + 1))
        assert found == pytest.approx(expected, rel=1e-9)
    t3: Any = stats.t(3)
    guard = exact.expand(np.ones(1), np.zeros(1), np.full(1, 1e-3), (-math.inf, math.inf), (0.5, 0.0, 1.0))
    for x, end in ((1e4, 1e4 + 1e-3), (-50.0, -40.0), (3.0, 300.0), (30.0, math.inf), (-2.0, -2.0 + 1e-8)):
        found = exact.masses_between(np.array([x]), end, guard)[0]
        expected = (end - x) * t3.pdf(0.5 * (x + end)) if end - x < 0.1 else abs(t3.sf(abs(x)) - t3.sf(abs(end)))
        assert found == pytest.approx(0.5 * expected, rel=1e-7)


# ------------------------------------------------------------------------------------------ moments, expectations


@each
def test_moments_agree_with_quadrature(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**{**arguments, "tail": None}, atoms=ATOMS)
    mean, std = mixture.mean(), mixture.std()
    scale = max(std, abs(mean))
    for order in range(6):
        away = mixture.expect(lambda x, k=order: (x / scale) ** k)
        assert mixture.moment(order) / scale**order == pytest.approx(away, rel=1e-9, abs=1e-9)
    for name, order, normal in (("skewness", 3, 0), ("kurtosis", 4, 3)):
        expected = mixture.expect(lambda x, k=order: ((x - mean) / std) ** k) - normal
        assert getattr(mixture, name)() == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_moments_of_one_gaussian_are_scipys():
    ours = GaussianMixture1D([1.0], [2.0], [3.0])
    theirs: Any = stats.norm(2, 3)
    assert [ours.moment(k) for k in range(9)] == pytest.approx([theirs.moment(k) for k in range(9)], rel=1e-12)
    half, theirs = GaussianMixture1D([1.0], [0.0], [1.0], bounds=(0.0, None)), stats.halfnorm
    assert half.skewness() == pytest.approx(float(theirs.stats(moments="s")), rel=1e-12)
    assert half.kurtosis() == pytest.approx(float(theirs.stats(moments="k")), rel=1e-12)
    uniform = GaussianMixture1D([1.0], [0.5], [50.0], bounds=(0.0, 1.0))
    assert (uniform.skewness(), uniform.kurtosis()) == pytest.approx((0, -1.2))


def test_the_guard_counts_up_to_order_two():
    plain = GaussianMixture1D([1.0], [1.0], [1.0])
    guarded = GaussianMixture1D([1.0], [1.0], [1.0], tail=(0.01, 5.0, 10.0))
    assert guarded.moment(2) == pytest.approx(0.99 * 2 + 0.01 * (25 + 300))
    assert guarded.moment(3) == plain.moment(3)
    assert guarded.skewness() == plain.skewness()
    assert guarded.kurtosis() == plain.kurtosis()
    with pytest.raises(ValueError, match=r"order is 1\.5"):
        plain.moment(1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="order is -1"):
        plain.moment(-1)


def test_a_point_has_no_skewness():
    point = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([2.0], [1.0]))
    assert math.isnan(point.skewness())
    assert point.moment(3) == 8


@each
def test_expectations_of_rough_functions(arguments: dict[str, Any]):
    """Steps, absolute values and single-number functions; quantiles and tails are another way to the same."""
    mixture = GaussianMixture1D(**arguments, atoms=ATOMS)
    at = float(mixture.ppf(0.37))
    rounding = float(mixture.pdf(at)) * np.spacing(abs(at))
    assert mixture.expect(lambda x: x > at) == pytest.approx(float(mixture.sf(at)), abs=1e-10 + rounding)
    assert mixture.expect(math.atan) == pytest.approx(mixture.expect(np.arctan), abs=1e-12)
    below = float(mixture.cdf(np.nextafter(at, -np.inf)))
    assert mixture.expect(lambda x: 1.0, lb=at) == pytest.approx(1 - below, abs=1e-10 + rounding)
    x = mixture.ppf((np.arange(200_000) + 0.5) / 200_000)
    assert mixture.expect(np.tanh, ub=at) == pytest.approx(float(np.mean(np.tanh(x) * (x <= at))), abs=1e-4)


def test_expectations_on_an_interval():
    mixture = GaussianMixture1D([1.0], [0.0], [1.0])
    assert mixture.expect(np.exp) == pytest.approx(math.exp(0.5), rel=1e-12)
    truncated: Any = stats.truncnorm(1, 2)
    assert mixture.expect(lambda x: x, 1, 2, True) == pytest.approx(truncated.mean(), rel=1e-12)
    assert mixture.expect(lambda x: x, 30, conditional=True) == pytest.approx(30.03325966743, rel=1e-11)
    with_atom = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([1.0], [0.5]))
    assert with_atom.expect(lambda x: 1, 1, 1) == 0.5
    with pytest.raises(ValueError, match="lb must not be above"):
        mixture.expect(np.exp, 2, 1)
    with pytest.raises(ValueError, match="no probability"):
        mixture.expect(np.exp, 60, 61, conditional=True)


def test_the_guard_counts_where_it_has_an_expectation():
    guarded = GaussianMixture1D([1.0], [0.0], [1.0], tail=(0.1, 0.0, 2.0))
    plain = GaussianMixture1D([1.0], [0.0], [1.0])
    theirs: Any = stats.t(3, 0, 2)
    expected = 0.9 * math.sqrt(2 / math.pi) + 0.1 * theirs.expect(np.abs)
    assert guarded.expect(np.abs) == pytest.approx(expected, rel=1e-8)
    assert guarded.expect(np.abs, lb=-1, ub=5) == pytest.approx(
        0.9 * plain.expect(np.abs, -1, 5) + 0.1 * theirs.expect(np.abs, lb=-1, ub=5), rel=1e-9
    )
    assert guarded.expect(lambda x: x**2) == pytest.approx(guarded.var(), rel=1e-9)
    for function in (np.exp, math.exp, lambda x: x**4, lambda x: np.abs(x) ** 3):
        assert guarded.expect(function) == plain.expect(function)


# ---------------------------------------------------------------------------------------------------------- modes


def brute_modes(mixture: GaussianMixture1D, n: int = 40_001) -> list[float]:
    """Peaks of the literal density on a fine grid, whatever rises by more than rounding on both sides."""
    low, high = mixture.ppf([1e-12, 1 - 1e-12])
    low, high = max(low, mixture.bounds[0]), min(high, mixture.bounds[1])
    x = np.linspace(low, high, n)
    with np.errstate(divide="ignore"):
        v = np.log(literal_density(mixture, x))
    found = []
    for i in np.flatnonzero((np.append(-np.inf, v[:-1]) < v) & (v >= np.append(v[1:], -np.inf))):
        sides = (v[:i][::-1], v[i + 1 :])
        drops = [v[i] - side[: int(np.argmax(side > v[i])) or None].min() if side.size else math.inf for side in sides]
        if min(drops) > 1e-8:
            found.append(float(x[i]))
    return found


@pytest.mark.parametrize(
    "name",
    ["one", "claw", "gap", "grid 200", "one bound", "upper bound", "two bounds", "far bounds", "guard", "heavy guard"],
)
def test_modes_are_all_peaks(name: str):
    mixture = GaussianMixture1D(**MIXTURES[name])
    modes, expected = mixture.modes(), brute_modes(mixture)
    assert modes == pytest.approx(expected, abs=2e-4 * float(np.ptp(mixture.ppf([1e-12, 1 - 1e-12]))))
    for mode in modes:
        width = 1e-6 * mixture.stds.min()
        around = literal_density(mixture, np.array([mode - width, mode, mode + width]))
        if mixture.bounds[0] < mode < mixture.bounds[1]:
            assert around[1] >= around.max() * (1 - 1e-15)
    assert literal_density(mixture, np.array([mixture.mode()]))[0] >= literal_density(mixture, modes).max() * (
        1 - 1e-14
    )


def test_many_components_and_their_peaks():
    mixture = GaussianMixture1D(**MIXTURES["grid 1000"])
    assert len(mixture.modes()) == len(brute_modes(mixture))


def test_modes_are_exact():
    """Two equal Gaussians that nearly merge: their peaks solve tanh(m x) = x / m."""
    m = 1.01
    mixture = GaussianMixture1D([0.5, 0.5], [-m, m], [1.0, 1.0])
    low, high = mixture.modes()
    assert high == pytest.approx(m * math.tanh(m * high), rel=1e-12)
    assert low == pytest.approx(-high, abs=1e-9)
    assert GaussianMixture1D([0.5, 0.5], [-0.99, 0.99], [1.0, 1.0]).modes() == pytest.approx([0.0], abs=1e-9)


def test_a_bound_where_the_density_is_highest_is_a_mode():
    assert GaussianMixture1D([1.0], [0.3], [1.0], bounds=(0.0, None)).modes().tolist() == [0.0]
    assert GaussianMixture1D([1.0], [-0.3], [1.0], bounds=(None, 0.0), tail=(1e-6, 0, 1)).modes().tolist() == [0.0]
    assert GaussianMixture1D([1.0], [2.0], [1.0], bounds=(0.0, None)).modes() == pytest.approx([2.0], abs=1e-2)
    uniform = GaussianMixture1D([1.0], [0.2], [50.0], bounds=(0.0, 1.0))
    assert uniform.modes().tolist() == [0.5]


def test_the_peak_of_a_thin_guard_in_a_gap_is_no_mode():
    apart: dict[str, Any] = {"weights": [0.5, 0.5], "means": [0.0, 100.0], "stds": [1.0, 1.0]}
    assert GaussianMixture1D(**apart, tail=(1e-5, 50.0, 2.0)).modes() == pytest.approx([0, 100], abs=1e-6)
    assert GaussianMixture1D(**apart, tail=(0.1, 50.0, 2.0)).modes() == pytest.approx([0, 50, 100], abs=1e-3)


def test_atoms_are_no_modes():
    mixture = GaussianMixture1D(**MIXTURES["claw"], atoms=([7.0], [0.6]))
    np.testing.assert_array_equal(mixture.modes(), GaussianMixture1D(**MIXTURES["claw"]).modes())
    points = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([3.0, 1.0], [0.5, 0.5]))
    assert points.modes().size == 0
    with pytest.raises(ValueError, match="only point masses"):
        points.mode()


# -------------------------------------------------------------------------------------------- highest-density sets


@each
@pytest.mark.parametrize("mass", [0.1, 0.5, 0.95])
def test_highest_density_sets_hold_the_mass_at_one_level(arguments: dict[str, Any], mass: float):
    mixture = GaussianMixture1D(**arguments)
    intervals = mixture.hdi(mass)
    assert np.all(np.diff(intervals.ravel()) > 0)
    held = float(np.diff(mixture.cdf(intervals)).sum())
    assert held >= mass - 1e-8
    if arguments is not MIXTURES["wide inside bounds"]:  # which is flat
        assert held == pytest.approx(mass, abs=1e-8)
    x = mixture.ppf((np.arange(5000) + 0.5) / 5000)
    inside = ((intervals[:, :1] <= x) & (x <= intervals[:, 1:])).any(0)
    density = mixture.logpdf(x)
    assert density[inside].min() >= density[~inside].max(initial=-math.inf) - 1e-6


def test_highest_density_sets_of_known_laws():
    normal: Any = stats.norm(1, 2)
    np.testing.assert_allclose(GaussianMixture1D([1.0], [1.0], [2.0]).hdi(0.9), [normal.interval(0.9)], rtol=1e-9)
    half: Any = stats.halfnorm
    np.testing.assert_allclose(
        GaussianMixture1D([1.0], [0.0], [1.0], bounds=(0, None)).hdi(0.8), [[0, half.ppf(0.8)]], rtol=1e-9
    )
    assert GaussianMixture1D([1.0], [0.5], [1.0], bounds=(0, 1)).hdi(1).tolist() == [[0, 1]]
    assert GaussianMixture1D(**MIXTURES["guard"]).hdi(1).tolist() == [[-math.inf, math.inf]]
    for mass in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match="mass is"):
            GaussianMixture1D([1.0], [0.5], [1.0]).hdi(mass)


def test_atoms_come_first():
    mixture = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([5.0, 0.1], [0.3, 0.2]))
    assert mixture.hdi(0.25).tolist() == [[5, 5]]
    assert mixture.hdi(0.5).tolist() == [[0.1, 0.1], [5, 5]]
    body, atom = mixture.hdi(0.9)
    np.testing.assert_allclose(body, stats.norm.interval(0.8), rtol=1e-9)
    assert atom.tolist() == [5, 5]
    points = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([3.0, 1.0], [0.6, 0.4]))
    assert points.hdi(0.6).tolist() == [[3, 3]]
    assert points.hdi(1.0).tolist() == [[1, 1], [3, 3]]


# ------------------------------------------------------------------------------------------------ responsibilities


@each
def test_responsibilities_are_bayes_rule(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    x = np.append(mixture.ppf(np.linspace(0.01, 0.99, 7)), mixture.isf(1e-9))
    found = mixture.responsibilities(x)
    assert found.shape == (8, mixture.weights.size)
    whole = literal_density(mixture, x)
    for i in range(0, mixture.weights.size, 1 + mixture.weights.size // 5):
        alone = GaussianMixture1D([1.0], mixture.means[[i]], mixture.stds[i], bounds=mixture.bounds)
        share = mixture.weights[i] * (1 - mixture.tail.mass) * literal_density(alone, x) / whole
        np.testing.assert_allclose(found[:, i], share, rtol=1e-7, atol=1e-12)
    if mixture.tail.mass == 0:
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)


def test_responsibilities_far_out_at_atoms_and_outside():
    mixture = GaussianMixture1D([0.0, 0.5, 0.5], [9.0, 0.0, 1.0], [1.0, 1.0, 2.0])
    np.testing.assert_array_equal(mixture.responsibilities(1e3), [0, 0, 1])
    guarded = GaussianMixture1D([1.0], [0.0], [1.0], tail=(0.1, 0, 1), atoms=([2.0], [0.5]))
    assert guarded.responsibilities([[1e3, 2.0]]).shape == (1, 2, 1)
    assert guarded.responsibilities([1e3, 2.0]).tolist() == [[0], [0]]
    bounded = GaussianMixture1D([1.0], [0.5], [1.0], bounds=(0, 1))
    assert bounded.responsibilities(0.2) == pytest.approx([1.0])
    assert np.isnan(bounded.responsibilities([2.0, np.nan])).all()


# ---------------------------------------------------------------------------------------------------------- affine


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(MIXTURES)),
    st.floats(-3, 3).map(lambda power: 10**power),
    st.booleans(),
    st.floats(-100, 100),
)
def test_moved_distributions(name: str, size: float, mirrored: bool, shift: float):
    scale = -size if mirrored else size
    mixture = GaussianMixture1D(**MIXTURES[name], atoms=([float(MIXTURES[name]["means"][0])], [0.25]))
    moved = mixture.affine(scale, shift)
    q = np.linspace(0.01, 0.99, 25)
    x = mixture.ppf(q)
    x = x[~np.isin(x, mixture.atoms.positions)]
    there = scale * x + shift
    rounding = 8 * np.spacing(np.abs(there) + abs(shift) + size * np.abs(x)) / (size * mixture.stds.min())
    share = moved.sf(there) if mirrored else moved.cdf(there)
    np.testing.assert_array_less(np.abs(share - mixture.cdf(x)), 1e-11 + rounding)
    assert moved.pdf(moved.atoms.positions).tolist() == [0.25]
    assert moved.mean() == pytest.approx(scale * mixture.mean() + shift, rel=1e-9, abs=1e-9 * moved.std())
    assert moved.std() == pytest.approx(size * mixture.std(), rel=1e-6)
    assert moved.support() == pytest.approx(sorted(scale * end + shift for end in mixture.support()))


@pytest.mark.parametrize("arguments", [(0.0,), (math.nan,), (math.inf,), (1.0, math.inf)])
def test_moves_that_make_no_distribution_are_refused(arguments: tuple[float, ...]):
    with pytest.raises(ValueError, match="must be finite"):
        GaussianMixture1D([1.0], [0.0], [1.0]).affine(*arguments)
