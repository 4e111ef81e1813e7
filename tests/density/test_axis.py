"""Axes: where edges lie, and growth that does not depend on its order."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.density.axis import LARGEST_POINT, Axis

LINEAR = Axis(-3.0, 0.25, 24)
WARPED = Axis(-2.0, 0.125, 40, center=5.0, scale=0.5)


def test_edges_of_a_linear_axis() -> None:
    np.testing.assert_array_equal(LINEAR.edges, np.arange(-3.0, 3.01, 0.25))
    np.testing.assert_array_equal(LINEAR.centers, (LINEAR.edges[1:] + LINEAR.edges[:-1]) / 2)
    assert (LINEAR.low, LINEAR.high) == (-3.0, 3.0)


def test_a_warped_axis_is_equally_spaced_in_u() -> None:
    u = np.arcsinh((WARPED.edges - 5.0) / 0.5)
    np.testing.assert_allclose(u, np.linspace(-2.0, 3.0, 41), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(WARPED.transform(WARPED.centers), np.linspace(-2.0, 3.0, 41)[:-1] + 1 / 16, atol=1e-14)
    assert WARPED.low == pytest.approx(5 + 0.5 * math.sinh(-2))
    assert WARPED.high == pytest.approx(5 + 0.5 * math.sinh(3))


@pytest.mark.parametrize("axis", [LINEAR, WARPED])
def test_inverse_and_slope_agree_with_the_transform(axis: Axis) -> None:
    x = np.array([-1e3, -2.0, 0.0, 4.9, 5.0, 5.1, 7.0, 1e4])
    np.testing.assert_allclose(axis.inverse(axis.transform(x)), x, rtol=1e-12, atol=1e-12)
    step = 1e-5 * np.maximum(1, np.abs(x))
    numeric = (axis.transform(x + step) - axis.transform(x - step)) / (2 * step)
    np.testing.assert_allclose(axis.slope(x), numeric, rtol=1e-6)


def test_extended_appends_whole_bins_only_where_needed() -> None:
    grown = LINEAR.extended(-3.3, 2.0)
    assert (grown.origin, grown.width, grown.n_bins) == (-3.5, 0.25, 26)
    assert LINEAR.extended(-3.0, 2.9) == LINEAR
    assert LINEAR.extended(3.0, 3.0).high == 3.25  # a high edge belongs to the next bin


def test_extended_joins_pairs_on_the_base_lattice() -> None:
    grown = LINEAR.extended(-3.0, 10.0, max_bins=30)
    assert (grown.origin, grown.width, grown.n_bins, grown.level) == (-3.0, 0.5, 27, 1)
    assert set(LINEAR.edges[::2]) <= set(grown.edges)
    far = LINEAR.extended(-1e300, 1e300, max_bins=24)
    assert far.low <= -1e300
    assert far.high > 1e300
    assert far.n_bins <= 24


points = st.floats(-1e300, 1e300) | st.floats(-100, 100) | st.integers(-400, 400).map(lambda k: k / 4)


@given(st.sampled_from([LINEAR, WARPED]), st.lists(points, min_size=1, max_size=6), st.integers(40, 100), st.randoms())
def test_growth_does_not_depend_on_order(axis: Axis, x: list[float], max_bins: int, random) -> None:
    at_once = axis.extended(min(x), max(x), max_bins)
    one_by_one = axis
    for point in random.sample(x, len(x)):
        one_by_one = one_by_one.extended(point, point, max_bins)
    assert one_by_one == at_once
    half = len(x) // 2
    left, right = (axis.extended(min(part), max(part), max_bins) if part else axis for part in (x[:half], x[half:]))
    assert left.joined(right, max_bins) == right.joined(left, max_bins) == at_once


@given(st.lists(points, min_size=1, max_size=6), st.integers(24, 100))
def test_growth_is_the_least_that_holds_the_points(x: list[float], max_bins: int) -> None:
    grown = LINEAR.extended(min(x), max(x), max_bins)
    ends = (min(*x, -3.0) + 3, max(*x, 2.99) + 3)  # from the base lattice's start; dividing by 2^k / 4 is exact

    def numbers(level: int) -> tuple[int, int]:
        return math.floor(ends[0] / (0.25 * 2.0**level)), math.floor(ends[1] / (0.25 * 2.0**level))

    first, last = numbers(grown.level)
    assert (grown.first, grown.n_bins) == (first, last - first + 1)
    assert grown.n_bins <= max_bins
    if grown.level:  # one level less would not do
        first, last = numbers(grown.level - 1)
        assert last - first + 1 > max_bins


def test_axes_of_other_lattices_do_not_join() -> None:
    with pytest.raises(ValueError, match="different lattices"):
        LINEAR.joined(Axis(-3.0, 0.125, 24))


def test_extension_refuses_what_it_cannot_hold() -> None:
    for low, high in [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf), (-2 * LARGEST_POINT, 0.0)]:
        with pytest.raises(ValueError, match="cannot extend an axis"):
            LINEAR.extended(low, high)
    with pytest.raises(ValueError, match=r"max_bins is 10; the axis has 24 bins"):
        LINEAR.extended(0.0, 1.0, max_bins=10)


@pytest.mark.parametrize("axis", [LINEAR, WARPED, LINEAR.extended(-1e5, 0.1, 64)])
def test_json_round_trip(axis: Axis) -> None:
    assert Axis(**json.loads(json.dumps(asdict(axis)))) == axis


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"origin": math.nan}, "origin of an axis is nan"),
        ({"width": 0.0}, "width of an axis is 0.0"),
        ({"width": -1.0}, "width of an axis is -1.0"),
        ({"width": math.inf}, "width of an axis is inf"),
        ({"n_bins": 0}, "n_bins of an axis is 0"),
        ({"scale": 0.0}, "scale of an asinh axis is 0.0"),
        ({"center": math.inf}, "center of an axis is inf"),
        ({"origin": 1e308}, "edges must lie within"),
        ({"width": 1e307, "n_bins": 100}, "edges must lie within"),
    ],
)
def test_bad_axes_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Axis(**{"origin": 0.0, "width": 1.0, "n_bins": 3, **fields})  # type: ignore[arg-type]


def test_a_fractional_number_of_bins_is_refused() -> None:
    with pytest.raises(TypeError):
        Axis(0.0, 1.0, 2.5)  # type: ignore[arg-type]


def test_a_warped_axis_may_reach_beyond_what_a_float_holds() -> None:
    axis = Axis(700.0, 1.0, 20, scale=1.0)
    assert axis.edges[0] == pytest.approx(math.sinh(700))
    assert axis.high == math.inf
