"""Counting: the bins of exact arithmetic, and the same integers whatever the order, chunks, threads and types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from gaussmix.density.axis import Axis
from gaussmix.density.counts import BLOCK, BinnedCounts, add_columns

AXIS = Axis(-2.0, 0.125, 48)  # dyadic: float arithmetic is exact on its edges
NO_DEADLINE = settings(deadline=None)  # the first example compiles
ATOMS = (-2.5, 0.0, 0.0625, 1.0)

edges_and_odds = st.integers(-40, 72).map(lambda k: k / 16) | st.sampled_from(
    [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e300, 4.0, -2.0, math.nextafter(4.0, 0), math.nextafter(-2.0, -3)]
)
numbers = st.floats(-3, 5, width=32) | edges_and_odds
columns = st.lists(numbers, max_size=60).map(lambda values: np.array(values, dtype=np.float64))


def literal(x: NDArray[Any], axis: Axis = AXIS) -> dict[str, Any]:
    """Counts by a loop in exact arithmetic."""
    found = {"counts": [0] * axis.n_bins, "n_under": 0, "n_over": 0, "n_nan": 0}
    for v in x.astype(np.float64):
        if math.isnan(v):
            found["n_nan"] += 1
            continue
        k = math.floor((Fraction(v) - Fraction(axis.origin)) / Fraction(axis.width)) if math.isfinite(v) else v
        if k < 0:
            found["n_under"] += 1
        elif k >= axis.n_bins:
            found["n_over"] += 1
        else:
            found["counts"][k] += 1
    finite = [v for v in x.astype(np.float64) if math.isfinite(v)]
    return {**found, "minimum": min(finite, default=math.inf), "maximum": max(finite, default=-math.inf)}


def facts(counts: BinnedCounts) -> dict[str, Any]:
    """The same, of counts."""
    names = ("n_under", "n_over", "n_nan", "minimum", "maximum")
    return {"counts": counts.counts.tolist(), **{name: getattr(counts, name) for name in names}}


def random_column(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Normal numbers with NaN, infinities, repeated and far ones."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 1.5, n)
    places = rng.permutation(n)
    for i, odd in enumerate((math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0, -2.5, 1.0)):
        x[places[i::40]] = odd
    return x


# -- the bins


@NO_DEADLINE
@given(columns)
def test_counts_are_those_of_exact_arithmetic(x: NDArray[np.float64]) -> None:
    exact = [not math.isfinite(v) or Fraction(v) + 2 == Fraction(v + 2) for v in x]  # elsewhere x - origin rounds
    x = x[np.array(exact, dtype=bool)]
    counts = BinnedCounts(AXIS, atoms=ATOMS).add(x)
    expected = literal(x)
    assert facts(counts) == expected
    assert counts.atom_counts.tolist() == [int((x == atom).sum()) for atom in ATOMS]
    assert counts.n == len(x) - expected["n_nan"] == counts.size == counts.total_mass
    assert counts.mass.tolist() == expected["counts"]


def test_counts_off_the_dyadic_lattice_agree_away_from_edges() -> None:
    axis = Axis(-1.7, 0.0123, 300)
    x = random_column(20_000)
    place = (np.clip(x, -10, 10) - axis.origin) / axis.width
    x = x[~(np.abs(place - np.rint(place)) < 1e-9)]
    expected = literal(x, axis)
    assert sum(expected["counts"]) > 10_000
    assert facts(BinnedCounts(axis).add(x)) == expected


def test_an_asinh_axis_counts_between_its_edges() -> None:
    axis = Axis(-4.0, 0.25, 40, center=1.0, scale=0.3)
    x = random_column(20_000)
    x = np.sign(x) * np.minimum(np.abs(x), 1e100) ** 2
    edges = axis.edges
    near = np.isclose(x[:, None], edges, rtol=1e-9, atol=1e-9).any(axis=1)
    x = x[~near]
    counts = BinnedCounts(axis).add(x)
    index = np.searchsorted(edges, x[~np.isnan(x)], side="right")
    assert counts.counts.tolist() == np.bincount(index, minlength=42)[1:-1].tolist()
    assert counts.n_under == (x < edges[0]).sum() > 0
    assert counts.n_over == (x >= edges[-1]).sum() > 0
    assert counts.n_nan == np.isnan(x).sum() > 0
    assert counts.minimum == np.min(x[np.isfinite(x)])


def test_differences_that_overflow_count_as_outside() -> None:
    axis = Axis(-4e307, 1e306, 60)
    counts = BinnedCounts(axis).add([1.7e308, -1.7e308, 0.0, math.inf])
    assert (counts.n_under, counts.n_over, counts.counts.sum(), counts.maximum) == (1, 2, 1, 1.7e308)


@pytest.mark.parametrize("settings", [{}, {"grow": True}, {"atoms": [0.0]}])
def test_extremes_are_found_wherever_they_stand(settings: dict[str, Any]) -> None:
    rising = np.arange(-10_000.0, 10_000.0)
    for x in (rising, rising[::-1], np.append(rising, math.inf), -np.append(rising, math.inf)):
        finite = x[np.isfinite(x)]
        counts = BinnedCounts(AXIS, **settings).add(x)
        assert (counts.minimum, counts.maximum) == (finite.min(), finite.max())


# -- always the same integers


def all_ways(axis: Axis = AXIS, **settings: Any) -> list[Callable[[], BinnedCounts]]:
    return [lambda: BinnedCounts(axis, **settings), lambda: BinnedCounts(axis, atoms=ATOMS, **settings)]


@pytest.mark.parametrize("make", [*all_ways(), *all_ways(grow=True), *all_ways(Axis(-5.0, 0.125, 80, 1.0, 0.1))])
def test_chunks_order_threads_and_merging_do_not_matter(make: Callable[[], BinnedCounts]) -> None:
    x = random_column(3 * BLOCK + 17)
    whole = make().add(x)
    assert whole.n_nan > 0
    rng = np.random.default_rng(1)
    chunked = make()
    for chunk in np.split(rng.permutation(x), np.sort(rng.integers(0, len(x), 9))):
        chunked.add(chunk)
    assert chunked == whole
    assert make().add(x, n_jobs=3) == whole
    assert make().add(x[:1000]) + make().add(x[1000:]) == whole
    assert make().add(x[::-1]) == whole


@settings(NO_DEADLINE, max_examples=50)
@given(columns, columns, columns, st.booleans())
def test_merging_is_associative_and_commutative(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], grow: bool
) -> None:
    a, b, c = (BinnedCounts(AXIS, atoms=ATOMS, grow=grow, max_bins=64).add(each) for each in (x, y, z))
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + BinnedCounts(AXIS, atoms=ATOMS, grow=grow, max_bins=64) == a
    assert a + b == BinnedCounts(AXIS, atoms=ATOMS, grow=grow, max_bins=64).add(np.concatenate([x, y]))


@NO_DEADLINE
@given(columns)
def test_float32_counts_as_the_same_values_in_float64(x: NDArray[np.float64]) -> None:
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    make = all_ways()[1]
    assert make().add(single) == make().add(single.astype(np.float64))
    assert BinnedCounts(AXIS).add(single) == BinnedCounts(AXIS).add(single.astype(np.float64))


def test_layout_does_not_matter() -> None:
    x = random_column(3 * BLOCK)
    whole = BinnedCounts(AXIS).add(x)
    wide = np.empty((len(x), 3))
    wide[:, 1] = x
    for same in (
        x[:, None],
        wide[:, 1],
        wide[:, 1:2],
        np.asfortranarray(wide)[:, 1],
        x[::-1],
        x.astype(">f8"),
        list(x),
    ):
        assert BinnedCounts(AXIS).add(same) == whole
    read_only = x.copy()
    read_only.flags.writeable = False
    assert BinnedCounts(AXIS).add(read_only) == whole


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_columns_count_as_one_by_one(order: Any, n_jobs: int) -> None:
    x = np.stack([random_column(2 * BLOCK + 5, seed) for seed in range(3)], axis=1)
    w = np.random.default_rng(0).integers(0, 3, len(x))
    axes = [AXIS, Axis(0.0, 1.0, 5), Axis(-3.0, 0.5, 9, 1.0, 0.2)]
    for weights in (None, w):
        together = [BinnedCounts(axis) for axis in axes]
        add_columns(together, np.asarray(x, order=order), weights, n_jobs=n_jobs)
        assert together == [BinnedCounts(axis).add(x[:, j], weights) for j, axis in enumerate(axes)]


def test_tables_of_another_width_are_refused() -> None:
    for x in (np.zeros((5, 3)), np.zeros(5), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=r"for 2 counts it must be \(N, 2\)"):
            add_columns([BinnedCounts(AXIS), BinnedCounts(AXIS)], x)


# -- growing


@NO_DEADLINE
@given(columns, st.integers(48, 80))
def test_a_growing_axis_holds_all_but_the_farthest(x: NDArray[np.float64], max_bins: int) -> None:
    counts = BinnedCounts(AXIS, grow=True, max_bins=max_bins).add(x)
    near = x[np.abs(x) <= 2.0**1000]
    assert counts.counts.sum() == len(near)
    assert counts.n_over == (x > 2.0**1000).sum()
    assert counts.n_under == (x < -(2.0**1000)).sum()
    assert counts.axis.n_bins <= max_bins
    if len(near):
        assert counts.axis == AXIS.extended(near.min(), near.max(), max_bins)
    direct = BinnedCounts(counts.axis).add(x)
    assert direct.counts.tolist() == counts.counts.tolist()


def test_a_growing_asinh_axis() -> None:
    axis = Axis(-1.0, 0.125, 16, center=0.0, scale=1e-10)
    x = np.array([0.0, 1.0, -1e300, 1e-10, math.inf, 1.7e308])
    counts = BinnedCounts(axis, grow=True, max_bins=64).add(x)
    assert counts.counts.sum() == 3  # 1e300 lies more than 2^1000 scales away
    assert (counts.n_under, counts.n_over) == (1, 2)
    assert BinnedCounts(Axis(-1.0, 0.125, 16, scale=1.0), grow=True).add(x).n_over == 2
    assert BinnedCounts(counts.axis).add(x).counts.tolist() == counts.counts.tolist()


def test_a_growing_asinh_axis_holds_the_point_on_its_first_edge() -> None:
    """However u is rounded there: whether more of the axis is to come must not matter."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        x, center, scale = rng.gamma(2.0, size=3), rng.normal(), rng.gamma(2.0)
        counts = BinnedCounts(
            Axis(float(np.arcsinh((x.min() - center) / scale)), 1e-3, 100, center=center, scale=scale), grow=True
        )
        further = counts.copy().add([x.min() - 1]).add(x)
        assert counts.add(x).n_under == 0
        assert further == counts.add([x.min() - 1])


@pytest.mark.parametrize("far", [1e6, 1e30, 1e300])
def test_many_levels_at_once(far: float) -> None:
    axis = Axis(0.0, 1.0, 4096)
    x = np.append(np.random.default_rng(0).random(10_000) * 4096, far)
    step_by_step = BinnedCounts(axis, grow=True, max_bins=4096).add(x[:-1]).add(x[-1:])
    assert step_by_step == BinnedCounts(axis, grow=True, max_bins=4096).add(x[::-1])
    assert step_by_step.counts.tolist() == BinnedCounts(step_by_step.axis).add(x).counts.tolist()


def test_growth_carries_frequencies_and_importance() -> None:
    x, w = np.array([0.0, 100.0, -50.0, 0.1]), np.array([2.0, 0.5, 1.5, 3.0])
    counts = BinnedCounts(AXIS, grow=True, max_bins=64)
    for v, weight in zip(x, w, strict=True):
        counts.add([v], [weight])
    direct = BinnedCounts(counts.axis).add(x, w)
    assert counts.axis.level > 0
    assert counts.mass.tolist() == direct.mass.tolist()
    assert counts.counts.tolist() == direct.counts.tolist()
    ignored = BinnedCounts(AXIS, grow=True).add([0.0, 1e6, math.nan], [1, 0, 0])
    assert ignored == BinnedCounts(AXIS, grow=True).add([0.0])


# -- weights


@NO_DEADLINE
@given(st.lists(st.tuples(numbers, st.integers(0, 3)), max_size=40), st.booleans())
def test_frequencies_are_repeated_rows(rows: list[tuple[float, int]], exact: bool) -> None:
    x = np.array([value for value, _ in rows], dtype=np.float64)
    w = np.array([times for _, times in rows], dtype=np.uint8)
    once, repeated = (BinnedCounts(AXIS, atoms=ATOMS, exact=exact) for _ in range(2))
    once.add(x, w)
    repeated.add(np.repeat(x, w))
    if exact:
        np.testing.assert_allclose(once.moments, repeated.moments, rtol=1e-12, atol=1e-15)
    else:
        assert once == repeated
    assert facts(once) == facts(repeated)


def test_importance_weights_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([random_column(3000), [math.nan]])
    w = np.append(np.where(rng.random(3000) < 0.2, 0.0, rng.gamma(0.5, size=3000)), 5.0)
    counts = BinnedCounts(AXIS, atoms=ATOMS).add(x, w)
    mass, squares = [0.0] * AXIS.n_bins, 0.0
    under = over = total = 0.0
    for v, weight in zip(x, w, strict=True):
        if math.isnan(v):
            continue
        total, squares = total + weight, squares + weight**2
        k = math.floor((v + 2.0) * 8.0) if abs(v) < 1e9 else v
        if k < 0:
            under += weight
        elif k >= AXIS.n_bins:
            over += weight
        else:
            mass[k] += weight
    np.testing.assert_allclose(counts.mass, mass, rtol=1e-12)
    np.testing.assert_allclose(
        [counts.under_mass, counts.over_mass, counts.total_mass], [under, over, total], rtol=1e-12
    )
    np.testing.assert_allclose(counts.atom_mass, [w[x == atom].sum() for atom in ATOMS], rtol=1e-12)
    assert counts.size == pytest.approx(total**2 / squares, rel=1e-12)
    plain = BinnedCounts(AXIS, atoms=ATOMS).add(x[w > 0])
    assert facts(counts) == facts(plain)
    assert counts.atom_counts.tolist() == plain.atom_counts.tolist()


def test_importance_and_plain_points_mix() -> None:
    x = random_column(2000)
    w = np.random.default_rng(0).random(1000)
    mixed = BinnedCounts(AXIS).add(x[:1000]).add(x[1000:], w)
    together = BinnedCounts(AXIS).add(x, np.append(np.ones(1000), w))
    np.testing.assert_allclose(mixed.mass, together.mass, rtol=1e-12)
    assert mixed.size == pytest.approx(together.size, rel=1e-12)
    assert mixed.n == together.n
    assert BinnedCounts(AXIS).add(x[1000:], w) + BinnedCounts(AXIS).add(x[:1000]) == mixed


def test_effective_size_of_nothing() -> None:
    assert BinnedCounts(AXIS).size == 0
    assert BinnedCounts(AXIS).add([1.0], [0.0]).size == 0


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_bad_weights_name_the_row_and_change_nothing(bad: float) -> None:
    counts = BinnedCounts(AXIS)
    with pytest.raises(ValueError, match=rf"sample_weight\[1\] is {bad}; weights must be finite and not negative"):
        counts.add([1.0, 2.0], [1.0, bad])
    assert counts == BinnedCounts(AXIS)


def test_other_bad_weights() -> None:
    with pytest.raises(ValueError, match=r"sample_weight\[0\] is -1"):
        BinnedCounts(AXIS).add([1.0], [-1])
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\); it must be \(2,\)"):
        BinnedCounts(AXIS).add([1.0, 2.0], [1, 1, 1])
    with pytest.raises(TypeError, match="sample_weight holds <U1"):
        BinnedCounts(AXIS).add([1.0], ["a"])
    for weight in (2**63 - 1, 2**64 - 1):
        with pytest.raises(ValueError, match=r"2\^62"):
            BinnedCounts(AXIS).add([1.0], np.array([weight], dtype=np.uint64))
    counts = BinnedCounts(AXIS).add([1.0], [1 << 61])
    with pytest.raises(ValueError, match=r"would pass 2\^62"):
        counts.merge(counts.copy()).merge(counts)


# -- moments


@pytest.mark.parametrize("axis", [AXIS, Axis(-3.0, 0.25, 30, center=1.0, scale=0.5)])
def test_moments_within_bins(axis: Axis) -> None:
    x = random_column(4000)
    x = np.append(x[np.isfinite(x) & (np.abs(x) < 1e9)], [math.nan, math.inf])
    w = np.random.default_rng(0).random(len(x))
    for weights in (None, w):
        counts = BinnedCounts(axis, exact=True).add(x, weights)
        place = (axis.transform(x[:-2]) - axis.origin) / axis.width
        d = place - np.floor(place) - 0.5
        inside = (place >= 0) & (place < axis.n_bins)
        k = np.floor(place[inside]).astype(int)
        for power in range(1, 5):
            terms = d[inside] ** power * (1.0 if weights is None else w[:-2][inside])
            expected = np.bincount(k, weights=terms, minlength=axis.n_bins)
            np.testing.assert_allclose(counts.moments[power - 1], expected, rtol=1e-9, atol=1e-11)
    halves = BinnedCounts(axis, exact=True).add(x[:900], w[:900]) + BinnedCounts(axis, exact=True).add(x[900:], w[900:])
    np.testing.assert_allclose(halves.moments, counts.moments, rtol=1e-9, atol=1e-12)


def test_moments_are_refused_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="exact=True"):
        _ = BinnedCounts(AXIS).moments
    with pytest.raises(ValueError, match="choose one"):
        BinnedCounts(AXIS, exact=True, grow=True)


# -- atoms


def test_atoms_can_be_taken_out_of_the_bins() -> None:
    x = np.where(np.random.default_rng(0).random(5000) < 0.3, 0.0, random_column(5000))
    for weights in (None, np.random.default_rng(1).random(5000)):
        counts = BinnedCounts(AXIS, atoms=ATOMS).add(x, weights)
        kept = ~np.isin(x, ATOMS)
        expected = BinnedCounts(AXIS).add(x[kept], None if weights is None else weights[kept])
        rest = counts.without_atoms()
        assert rest.counts.tolist() == expected.counts.tolist()
        assert (rest.n_under, rest.n_over) == (expected.n_under, expected.n_over)
        np.testing.assert_allclose(rest.mass, expected.mass, rtol=1e-10, atol=1e-12)


def test_bad_atoms() -> None:
    for atoms in ([0.0, 0.0], [math.nan], [math.inf], [0.0, -0.0]):
        with pytest.raises(ValueError, match="they must be finite and differ"):
            BinnedCounts(AXIS, atoms=atoms)


# -- numbers of all kinds


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64, np.float16, np.longdouble, np.bool_])
def test_other_real_numbers_count_as_float64(dtype: Any) -> None:
    x = (random_column(BLOCK + 100, seed=3) > 1).astype(dtype) + np.array(1, dtype)
    assert BinnedCounts(AXIS, atoms=[1.0]).add(x) == BinnedCounts(AXIS, atoms=[1.0]).add(x.astype(np.float64))
    assert BinnedCounts(AXIS).add(x).n == len(x)


def test_integers_near_the_end_of_their_type() -> None:
    ends = np.array([2**63 - 1, -(2**63), 2**62, 0], dtype=np.int64)
    counts = BinnedCounts(Axis(-(2.0**64), 2.0**62, 8)).add(ends)
    assert (counts.minimum, counts.maximum) == (-(2.0**63), 2.0**63)  # as float64 they are
    assert counts.counts.tolist() == [0, 0, 1, 0, 1, 1, 1, 0]
    assert BinnedCounts(AXIS).add(np.array([2**64 - 1], dtype=np.uint64)).n_over == 1


def test_numbers_beyond_float64_count_as_infinities() -> None:
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        counts = BinnedCounts(AXIS).add(np.array([1, -1], dtype=np.longdouble) * np.finfo(np.longdouble).max)
        assert (counts.n_under, counts.n_over, counts.minimum) == (1, 1, math.inf)


@pytest.mark.parametrize("x", [[1j], ["a"], np.array([1, None]), np.array(["2020-01-01"], dtype="M8[D]"), [b"x"]])
def test_other_things_are_refused(x: Any) -> None:
    with pytest.raises(TypeError, match="real numbers are needed"):
        BinnedCounts(AXIS).add(x)


@pytest.mark.parametrize("shape", [(), (2, 2), (1, 5), (2, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"it must be \(N,\) or \(N, 1\)"):
        BinnedCounts(AXIS).add(np.zeros(shape))


def test_masked_numbers_are_missing() -> None:
    x = np.ma.masked_array([1, 2, 3], [False, True, False])
    assert BinnedCounts(AXIS).add(x) == BinnedCounts(AXIS).add([1.0, math.nan, 3.0])


def test_nothing_changes_nothing() -> None:
    for empty in ([], np.empty((0, 1)), np.empty(0, np.float32), np.empty(0, np.int8)):
        assert BinnedCounts(AXIS, atoms=ATOMS).add(empty) == BinnedCounts(AXIS, atoms=ATOMS)
    assert BinnedCounts(AXIS).add([], []).minimum == math.inf


def test_threads_must_be_some() -> None:
    with pytest.raises(ValueError, match="n_jobs is 0"):
        BinnedCounts(AXIS).add([1.0], n_jobs=0)


# -- merging, comparing, keeping


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (BinnedCounts(Axis(-2.0, 0.125, 47)), "axis"),
        (BinnedCounts(Axis(-2.0, 0.125, 48, 0.0, 1.0)), "axis"),
        (BinnedCounts(AXIS, atoms=[1.0]), "atoms"),
        (BinnedCounts(AXIS, exact=True), "exact"),
        (BinnedCounts(AXIS, grow=True), "grow"),
    ],
)
def test_counts_of_other_kinds_do_not_merge(other: BinnedCounts, named: str) -> None:
    with pytest.raises(ValueError, match=f"cannot merge counts whose {named} differ"):
        BinnedCounts(AXIS).merge(other)


def test_growing_counts_of_other_lattices_do_not_merge() -> None:
    with pytest.raises(ValueError, match="whose axis differ"):
        BinnedCounts(AXIS, grow=True).merge(BinnedCounts(Axis(-2.0, 0.25, 24), grow=True))
    with pytest.raises(ValueError, match="max_bins is 10; a growing axis of 48 bins"):
        BinnedCounts(AXIS, grow=True, max_bins=10)


def test_equality_sees_everything() -> None:
    counts = BinnedCounts(AXIS).add([1.0])
    assert counts == BinnedCounts(AXIS).add([1.0])
    for other in ([1.01], [math.nan], [1.0, math.inf], [1.5], []):
        assert counts != BinnedCounts(AXIS).add(other)
    assert counts != BinnedCounts(AXIS).add([1.0], [1.0])
    assert counts != "counts"


def test_copies_are_independent() -> None:
    counts = BinnedCounts(AXIS, atoms=ATOMS).add(random_column(100), np.ones(100))
    copy = counts.copy()
    assert copy == counts
    copy.add([1.0])
    assert copy != counts
    assert counts.empty_like().n == 0
    counts.counts[:] = 7
    assert counts.counts.max() < 100
    assert repr(BinnedCounts(AXIS).add([1.0, 9.0])) == "BinnedCounts(n=2, n_bins=48, [-2, 4), outside=1)"


@pytest.mark.parametrize("settings", [{}, {"exact": True}, {"grow": True, "max_bins": 64}])
@pytest.mark.parametrize("weighted", [False, True])
def test_file_round_trip(tmp_path: Path, settings: dict[str, Any], weighted: bool) -> None:
    counts = BinnedCounts(AXIS, atoms=ATOMS, **settings)
    for part in np.split(random_column(900), 3):
        counts.add(part, np.linspace(0, 1, 300) if weighted else None)
    counts.save(tmp_path / "c.safetensors")
    loaded = BinnedCounts.load(str(tmp_path / "c.safetensors"))
    assert loaded == counts
    more = random_column(100, seed=5)
    assert loaded.add(more) == counts.add(more)


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    BinnedCounts(AXIS).add([1.0]).save(path)
    whole = path.read_bytes()
    for part in (b"", whole[:100], whole[:-1], b"not a model " * 50):
        path.write_bytes(part)
        with pytest.raises(ValueError, match=r"c\.safetensors"):
            BinnedCounts.load(path)
    save_file({"table": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"c\.safetensors"):
        BinnedCounts.load(path)


@pytest.mark.parametrize("damage", ["settings", "colour", "table", "extremes", "short", "type"])
def test_damaged_tensors_are_refused(damage: str) -> None:
    tensors = BinnedCounts(AXIS).add([1.0]).to_tensors()
    if damage == "short":
        tensors["table"] = tensors["table"][:1]
    elif damage == "type":
        tensors["table"] = tensors["table"].astype(np.float64)
    elif damage == "settings":
        tensors["settings"] = np.frombuffer(json.dumps({"axis": None}).encode(), np.uint8)
    elif damage == "colour":
        settings = {"axis": {**asdict(AXIS), "colour": "red"}}
        tensors["settings"] = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    else:
        del tensors[damage]
    with pytest.raises(ValueError, match="these arrays are not binned counts"):
        BinnedCounts.from_tensors(tensors)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    counts = BinnedCounts(AXIS).add([1.0])
    counts.save(path)

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            counts.copy().add([2.0]).save(path)
    assert BinnedCounts.load(path) == counts
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [16 / 16384, 1.0371e-4, 3.0])
def test_points_of_every_size_fall_into_the_bin_of_their_arcsinh(dtype: type, width: float) -> None:
    rng = np.random.default_rng(0)
    sizes = 10.0 ** np.r_[rng.uniform(-6, 3, 20_000), rng.uniform(-38, 38, 2_000)]
    x = np.r_[rng.choice([-1.0, 1.0], sizes.size) * sizes, 0.1, 0.0, -0.0].astype(dtype)
    axis = Axis(-40.3, width, 1 << 14 if width > 1e-4 else 1 << 20, center=0.1, scale=1.3)
    counts = BinnedCounts(axis).add(x)
    places = np.floor((np.arcsinh((x.astype(float) - axis.center) / axis.scale) - axis.origin) / axis.width)
    inside = (places >= 0) & (places < axis.n_bins)
    np.testing.assert_array_equal(counts.counts, np.bincount(places[inside].astype(int), minlength=axis.n_bins))
    assert (counts.n_under, counts.n_over) == ((places < 0).sum(), (places >= axis.n_bins).sum())


def test_numbers_beyond_single_precision_are_warped_in_double() -> None:
    axis = Axis(-710.0, 1.0, 1420, center=0.0, scale=1e-5)
    x = np.r_[-(10.0 ** np.arange(30, 300, 7)), 10.0 ** np.arange(30, 300, 7), np.inf, -np.inf, np.nan]
    counts = BinnedCounts(axis).add(x)
    places = np.floor(np.arcsinh(x[:-3] / axis.scale) + 710).astype(int)
    np.testing.assert_array_equal(counts.counts, np.bincount(places, minlength=axis.n_bins))
    assert (counts.n_under, counts.n_over, counts.n_nan) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_least_of_the_numbers_lies_on_an_asinh_axis_that_begins_with_it(seed: int) -> None:
    x = np.abs(np.random.default_rng(seed).standard_cauchy(500))
    low, high = np.arcsinh((np.array([x.min(), x.max()]) - 1.1) / 14.7)
    axis = Axis(low, (high - low) * (1 + 1e-12) / 4096, 4096, center=1.1, scale=14.7)
    assert BinnedCounts(axis).add(x).counts.sum() == 500


def test_a_point_just_below_an_edge_lies_on_the_grown_axis() -> None:
    axis = Axis(0.0, 0.25, 4, center=0.0, scale=1.0)
    x = np.nextafter(axis.high, 0)
    assert BinnedCounts(axis, grow=True).add([x]).n_over == 0
    one, two = (BinnedCounts(axis, grow=True).add([a]).add([b]) for a, b in ((x, 2 * x), (2 * x, x)))
    assert one == two
