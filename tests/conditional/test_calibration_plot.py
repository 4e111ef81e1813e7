"""Reliability, histograms of transforms and fans: their numbers against plain counting, and what the pictures show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from scipy import stats

from gaussmix.conditional import calibration_plot, pit_histogram, reliability
from gaussmix.conditional.bases import Basis
from gaussmix.conditional.distribution import ConditionalMixture
from gaussmix.plots import draw_fan


def normal_rows(loc: np.ndarray, scale: float, *, atoms: Basis | None = None, share: float = 1.0) -> ConditionalMixture:
    """N(loc_i, scale^2) each, with ``share`` of the mass."""
    n = len(loc)
    one = Basis(np.full((n, 1), share), np.zeros(1), np.ones(1))
    none = Basis(np.empty((n, 0)), np.empty(0), np.empty(0))
    return ConditionalMixture(one, none, loc, np.full(n, scale), atoms=atoms)


def test_reliability_counts_what_lies_in_central_intervals() -> None:
    rng = np.random.default_rng(0)
    loc, y = rng.normal(size=500), rng.normal(size=500)
    law = normal_rows(loc, 1.3)
    levels, shares = reliability((law, y), [0.0, 0.5, 0.9, 1.0])
    for level, share in zip(levels, shares, strict=True):
        low, high = stats.norm.interval(level, loc, 1.3)
        assert share == pytest.approx(np.mean((low <= y) & (y <= high)))
    assert reliability(SimpleNamespace(pit_=law.pit(y)))[1][50] == shares[1]


def test_right_distributions_are_on_the_diagonal_and_wrong_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    loc = rng.normal(size=4000)
    y = loc + rng.normal(size=4000)
    off = {}
    for scale in (0.5, 1.0, 2.0):
        levels, shares = reliability((normal_rows(loc, scale), y))
        off[scale] = float(np.mean(shares - levels))
        heights, edges = pit_histogram((normal_rows(loc, scale), y), 10)
        assert heights @ np.diff(edges) == pytest.approx(1)
        assert (abs(heights - 1).max() < 0.25) == (scale == 1.0)
    assert off[0.5] < -0.1
    assert abs(off[1.0]) < 0.02
    assert off[2.0] > 0.1


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(TypeError, match="source is list; give a fitted model, a pair"):
        reliability([0.1, 0.2])
    with pytest.raises(ValueError, match=r"transforms must be numbers in \[0, 1\]"):
        pit_histogram(np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="bins is 0"):
        pit_histogram(np.array([0.5]), 0)


def test_plot_draws_the_numbers() -> None:
    pit = np.random.default_rng(0).random(1000) ** 1.5
    figure = Figure()
    left, right = calibration_plot(pit, ax=figure.subplots(1, 2))
    _, curve = left.lines
    assert np.array_equal(np.asarray(curve.get_ydata()), reliability(pit)[1])
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["chance, 95 %", "1 000 observations"]
    heights, edges, _ = right.patches[0].get_data()
    assert np.array_equal(heights, pit_histogram(pit)[0])
    assert (edges[0], edges[-1]) == (0, 1)


def test_plot_makes_its_own_figure_or_takes_one_panel() -> None:
    pit = np.random.default_rng(0).random(100)
    axes = calibration_plot(pit)
    assert len(axes) == 2
    pyplot.close(axes[0].figure)
    panel = Figure().subplots()
    assert calibration_plot(pit, ax=panel) is panel
    assert panel.get_xlabel() == "level of the central interval"


def shaded(law: ConditionalMixture, x: np.ndarray, **options: Any) -> Any:
    axes = Figure().subplots()
    draw_fan(axes, law, x, **options)
    return axes


def test_fan_shades_the_densest_set() -> None:
    x = np.linspace(0, 1, 30)
    axes = shaded(normal_rows(2 * x, 0.5), x, points=([0.5], [1.0]))
    (fan,) = [each for each in axes.collections if hasattr(each, "levels")]
    for path, share in zip(fan.get_paths(), (0.5, 0.8, 0.95), strict=True):
        at = path.vertices[np.isclose(path.vertices[:, 0], x[15])]
        half = stats.norm.ppf((1 + share) / 2) * 0.5
        assert at[:, 1].max() == pytest.approx(2 * x[15] + half, abs=0.03)
        assert at[:, 1].min() == pytest.approx(2 * x[15] - half, abs=0.03)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["densest 50 %", "densest 80 %", "densest 95 %", "observations"]


def test_fan_shows_point_masses_by_their_area() -> None:
    x = np.linspace(0, 1, 30)
    atoms = Basis(np.full((30, 1), 0.25), np.zeros(1), np.zeros(1))
    axes = shaded(normal_rows(3 + x, 0.5, atoms=atoms, share=0.75), x)
    dots = [each for each in axes.collections if len(each.get_offsets()) == 30]
    assert len(dots) == 1
    assert np.allclose(dots[0].get_sizes(), 30 * 0.25)
    (fan,) = [each for each in axes.collections if hasattr(each, "levels")]
    assert min(path.vertices[:, 1].min() for path in fan.get_paths()) > 1.5
