"""Pictures of densities: what lines, bars, stems and labels say."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from matplotlib import rcParams, style
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from gaussmix.density.axis import Axis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances.wasserstein import wasserstein_distance
from gaussmix.plots import ATOM, histogram_bars, plot_comparison, plot_density, save_figure
from gaussmix.plots.look import DARK, LIGHT

NORMAL = GaussianMixture1D([1.0], [10.0], [2.0])
BINS = Axis(-10.0, 0.01, 4000)


def counts_of(x: np.ndarray, atoms: tuple[float, ...] = (), axis: Axis = BINS) -> BinnedCounts:
    return BinnedCounts(axis, atoms=atoms).add(x)


def density_line(axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    (line,) = [each for each in axes.lines if str(each.get_label()).startswith("density")]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def normal_figure(**options: bool) -> Figure:
    x = np.random.default_rng(0).normal(10, 2, 8000)
    return plot_density(NORMAL, counts_of(x), title="heights", **options)


def test_line_is_the_density_over_the_central_part() -> None:
    (axes,) = normal_figure().axes
    x, y = density_line(axes)
    assert np.allclose(y, stats.norm.pdf(x, 10, 2))
    low, high = axes.get_xlim()
    assert low < stats.norm.ppf(0.001, 10, 2) < stats.norm.ppf(0.999, 10, 2) < high
    assert high - low < 9 * 2
    assert np.all(np.diff(x) > 0)
    assert x[0] == pytest.approx(low)
    assert x[-1] == pytest.approx(high)


def test_titles_labels_and_legend() -> None:
    (axes,) = normal_figure().axes
    assert axes.get_title("left") == "heights"
    assert axes.get_xlabel() == "value; ticks mark quantiles"
    assert axes.get_ylabel() == "density"
    assert legend(axes) == ["histogram of 8 000 numbers", "density, 1 Gaussian"]


def test_quantiles_are_marked_where_they_are() -> None:
    (axes,) = normal_figure().axes
    (ticks,) = [each for each in axes.lines if each.get_marker() == "|"]
    assert np.allclose(np.asarray(ticks.get_xdata()), stats.norm.ppf([0.05, 0.25, 0.5, 0.75, 0.95], 10, 2))
    assert [text.get_text() for text in axes.texts] == ["5%", "25%", "50%", "75%", "95%"]


def test_without_counts_there_is_no_histogram() -> None:
    (axes,) = plot_density(NORMAL).axes
    assert legend(axes) == ["density, 1 Gaussian"]
    assert not axes.patches


# --- the histogram


def test_bars_hold_the_share_of_points_inside() -> None:
    x = np.random.default_rng(1).normal(10, 2, 5000)
    bars = histogram_bars(counts_of(x), 5.0, 14.0)
    assert bars is not None
    heights, edges = bars
    inside = np.mean((x >= edges[0]) & (x < edges[-1]))
    assert np.sum(heights * np.diff(edges)) == pytest.approx(inside, abs=1e-12)
    assert edges[0] == pytest.approx(5, abs=0.011)
    assert edges[-1] == pytest.approx(14, abs=0.011)
    expected = np.histogram(x, edges)[0] / len(x) / np.diff(edges)
    assert np.allclose(heights, expected, atol=1 / len(x) / 0.1)  # a point on an edge may fall on either side


def test_bars_are_few_for_few_points_and_never_more_than_asked_for() -> None:
    rng = np.random.default_rng(2)
    numbers = [histogram_bars(counts_of(rng.normal(10, 2, n)), 4.0, 16.0, bins=50) for n in (6, 1000, 100_000)]
    lengths = [len(bars[0]) for bars in numbers if bars is not None]
    assert lengths == [5, 30, 50]


def test_bars_on_a_lattice_are_whole_values() -> None:
    ages = np.random.default_rng(3).integers(0, 40, 5000).astype(float)
    bars = histogram_bars(counts_of(ages, axis=Axis(-0.5, 1.0, 40)), -1.0, 40.0)
    assert bars is not None
    heights, edges = bars
    assert np.array_equal(edges, np.arange(41) - 0.5)
    assert np.allclose(heights, np.bincount(ages.astype(int)) / 5000)


def test_bars_of_an_asinh_axis_are_about_equally_wide() -> None:
    x = np.random.default_rng(4).normal(size=5000)
    bars = histogram_bars(counts_of(x, axis=Axis(-15.0, 0.002, 15_000, center=0.0, scale=1.0)), -4.0, 4.0)
    assert bars is not None
    heights, edges = bars
    assert np.ptp(np.diff(edges)) < 0.2 * np.diff(edges).mean()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("points", [[], [100.0], [3.0, 3.0, 3.0]])
def test_no_bars_where_nothing_is_to_be_shown(points: list[float]) -> None:
    assert histogram_bars(counts_of(np.array(points), atoms=(3.0,)), 0.0, 10.0) is None


# --- point masses

RAIN = GaussianMixture1D([1.0], [10.0], [2.0], atoms=([0.0], [0.3]))


def rain_counts() -> BinnedCounts:
    rng = np.random.default_rng(5)
    return counts_of(np.where(rng.random(5000) < 0.3, 0.0, rng.normal(10, 2, 5000)), atoms=(0.0,))


def stems(axes: Axes) -> tuple[list[float], list[float]]:
    (line,) = [each for each in axes.lines if each.get_marker() == "o" and len(np.asarray(each.get_xdata()))]
    return list(np.asarray(line.get_xdata())), list(np.asarray(line.get_ydata()))


def test_stems_stand_in_shares_on_an_axis_of_their_own() -> None:
    axes, shares = plot_density(RAIN, rain_counts()).axes
    assert stems(shares) == ([0.0], [0.3])
    assert [text.get_text() for text in shares.texts] == ["30.0%"]
    assert shares.get_ylabel() == "share of a point mass"
    assert legend(axes) == ["histogram of 5 000 numbers", "density, 1 Gaussian", "point mass"]


def test_line_and_bars_leave_the_point_mass_out() -> None:
    axes, _ = plot_density(RAIN, rain_counts()).axes
    x, y = density_line(axes)
    assert 0.0 not in x
    assert np.trapezoid(y, x) == pytest.approx(0.7, abs=0.005)
    low, high = axes.get_xlim()
    bars = histogram_bars(rain_counts(), low, high)
    assert bars is not None
    assert np.sum(bars[0] * np.diff(bars[1])) == pytest.approx(0.7, abs=0.02)


def test_quantiles_in_one_place_share_a_label_and_no_labels_touch() -> None:
    figure = plot_density(RAIN, rain_counts())
    axes, _ = figure.axes
    assert [text.get_text() for text in axes.texts] == ["5–25%", "50%", "75%", "95%"]
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert boxes[0].x0 > axes.transData.transform((0, 0))[0]  # beside the stem at 0


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[3.0], [0.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
def test_discrete_columns_are_stems_alone(values: list[float], log: bool) -> None:
    n = len(values)
    distribution = GaussianMixture1D([1.0], [values[0]], [1.0], atoms=(values, np.full(n, 0.996 / n)))
    counts = counts_of(np.repeat(values, 50), atoms=tuple(values))
    (axes,) = plot_density(distribution, counts, log=log).axes
    assert legend(axes) == ["point mass"]
    assert stems(axes) == (values, pytest.approx([0.996 / n] * n))
    low, high = axes.get_xlim()
    assert low < values[0] <= values[-1] < high
    assert all(line.get_color() == ATOM for line in axes.lines if line.get_marker() == "o")


# --- edges, tails, peaks


def test_the_line_falls_straight_down_at_a_bound() -> None:
    folded = GaussianMixture1D([1.0], [0.0], [1.0], bounds=(0.0, None))
    (axes,) = plot_density(folded).axes
    x, y = density_line(axes)
    assert axes.get_xlim()[0] < 0
    assert np.all(y[x < 0] == 0)
    assert y[x >= 0][0] == pytest.approx(2 * stats.norm.pdf(0))
    assert np.diff(x)[np.searchsorted(x, 0.0) - 1] < 1e-12


def test_long_tails_are_cut_and_the_axis_says_what_is_left_out() -> None:
    heavy = GaussianMixture1D([0.95, 0.05], [0.0, 0.0], [1.0, 200.0])
    (axes,) = plot_density(heavy).axes
    low, high = axes.get_xlim()
    assert high - low < 40
    outside = 1 - (heavy.cdf(high) - heavy.cdf(low))
    assert axes.get_xlabel() == f"value; ticks mark quantiles; {outside:.1%} lie outside"
    (axes,) = plot_density(heavy, log=True).axes
    assert axes.get_xlim()[1] > 2 * high


def test_log_picture_shows_the_tails() -> None:
    (axes,) = normal_figure(log=True).axes
    assert axes.get_yscale() == "log"
    assert axes.get_xlim()[0] < stats.norm.ppf(1e-4, 10, 2)
    bottom, top = axes.get_ylim()
    assert bottom < 1e-3 < 1.5 * NORMAL.pdf(10.0) < top


def test_a_narrow_peak_is_drawn_and_a_cut_one_is_announced() -> None:
    peak = GaussianMixture1D([0.7, 0.3], [10.0, 12.0], [2.0, 0.01])
    (axes,) = plot_density(peak).axes
    assert density_line(axes)[1].max() > 0.9 * peak.pdf(12.0)
    assert axes.get_ylabel() == "density"
    x = np.random.default_rng(6).normal(10, 2, 5000)
    (axes,) = plot_density(peak, counts_of(x)).axes
    assert axes.get_ylabel().startswith("density; its peak, 12.1, is cut off")
    assert axes.get_ylim()[1] < 2


# --- files


def test_save_makes_folders_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.png"
    save_figure(normal_figure(), path, dpi=50)
    assert Image.open(path).size == (400, 225)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_keeps_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.nonsense"
    path.write_text("old")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(normal_figure(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_comparison_shades_what_lies_between() -> None:
    other = GaussianMixture1D([0.5, 0.5], [8.0, 14.0], [1.0, 2.0])
    figure = plot_comparison(NORMAL, other, names=("first", "second"), title="both")
    upper, lower = figure.axes
    assert legend(upper) == ["first", "second"]
    assert upper.get_title("left") == "both"
    for axes, curves in ((upper, (NORMAL.pdf, other.pdf)), (lower, (NORMAL.cdf, other.cdf))):
        for line, curve in zip(axes.lines, curves, strict=True):
            assert np.allclose(line.get_ydata(), curve(line.get_xdata()))
    x, first = (np.asarray(values) for values in lower.lines[0].get_data())
    drawn = np.trapezoid(np.abs(first - np.asarray(lower.lines[1].get_ydata())), x)
    assert drawn == pytest.approx(wasserstein_distance(NORMAL, other), rel=0.01)


def test_comparison_draws_point_masses_as_steps() -> None:
    half = GaussianMixture1D([1.0], [0.0], [1.0], atoms=([0.5], [0.5]))
    upper, lower = plot_comparison(NORMAL, half, log=True).axes
    x, y = (np.asarray(values) for values in lower.lines[1].get_data())
    assert np.diff(y[np.searchsorted(x, [0.5 - 1e-12, 0.5])]).item() == pytest.approx(0.5)
    assert "point masses" in upper.get_ylabel()
    assert upper.get_yscale() == "log"
    assert max(np.max(np.asarray(line.get_ydata())) for line in upper.lines) < 0.5  # no peak of height one half


# --- discrete distributions


def test_stems_are_probabilities_and_bars_the_counted_shares() -> None:
    x = np.array([1, 1, 2, 2, 2, 4])
    law = LatticeMixture1D(NORMAL, [1, 2, 3, 4], [0.3, 0.4, 0.1, 0.2])
    (axes,) = plot_density(law, BinnedCounts(Axis(0.5, 1.0, 4)).add(x)).axes
    stems = cast(Any, axes.collections[0])
    assert [segment[1].tolist() for segment in stems.get_segments()] == [[1, 0.3], [2, 0.4], [3, 0.1], [4, 0.2]]
    bars = cast(list[Any], axes.patches)
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in bars}
    assert heights == pytest.approx({1: 2 / 6, 2: 3 / 6, 4: 1 / 6})
    assert axes.get_ylabel() == "probability"
    assert legend(axes) == ["smooth density, times the step", "probabilities of 4 values", "shares of 6 numbers"]
    (log,) = plot_density(law, log=True).axes
    assert log.get_yscale() == "log"


def test_comparison_of_discrete_ones_shows_smooth_densities_and_steps() -> None:
    law = LatticeMixture1D(NORMAL, [8, 10], [0.5, 0.5])
    upper, lower = plot_comparison(law, NORMAL).axes
    for line in upper.lines:
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert np.allclose(y, stats.norm.pdf(x, 10, 2))
    x, y = (np.asarray(values) for values in lower.lines[0].get_data())
    assert set(np.round(y, 12)) == {0.0, 0.5, 1.0}
    assert np.all(y[(x >= 8) & (x < 10)] == 0.5)


# --- how pictures look

BLIND = {  # Machado, Oliveira and Fernandes 2009: what is left of linear red, green and blue
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(color: Any, kind: str) -> np.ndarray:
    """CIELAB of a colour as who is blind to one primary sees it."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(BLIND[kind]) @ linear, 0, 1) / TO_XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_difference(colors: list[Any], kind: str) -> float:
    return min(float(np.linalg.norm(seen(a, kind) - seen(b, kind))) for a, b in combinations(colors, 2))


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("variant", ["light", "dark"])
def test_colours_are_told_apart_and_show(variant: str, kind: str) -> None:
    with style.context(f"gaussmix.plots.{variant}"):
        cycle = rcParams["axes.prop_cycle"].by_key()["color"]
        paper = rcParams["axes.facecolor"]
    assert least_difference(cycle, kind) > 15
    assert all(abs(seen(color, kind) - seen(paper, kind))[0] > 20 for color in cycle)
    assert least_difference([*(LIGHT if variant == "light" else DARK).pair], kind) > 30


def test_the_colour_test_can_fail() -> None:
    assert least_difference(["#2a9d8f", "#7a7a7a"], "green") < 15 < least_difference(["#2a9d8f", "#7a7a7a"], "none")


def test_figures_are_dark_where_figures_are() -> None:
    light = plot_density(NORMAL)
    with style.context("gaussmix.plots.dark"):
        dark = plot_density(NORMAL)
    for figure, inks in ((light, LIGHT), (dark, DARK)):
        (axes,) = figure.axes
        assert to_hex(density_line_color(axes)) == inks.line
        assert to_hex(axes.xaxis.label.get_color()) == inks.ink
        assert not axes.spines["top"].get_visible()
    assert light.get_facecolor() == (1, 1, 1, 1)
    assert max(to_rgb(dark.get_facecolor())) < 0.2
    assert rcParams["axes.spines.top"]  # what the user has set is as it was


def density_line_color(axes: Axes) -> Any:
    (line,) = [each for each in axes.lines if str(each.get_label()).startswith("density")]
    return line.get_color()
