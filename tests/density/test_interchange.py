"""A mixture elsewhere: in SciPy, pandas, notebooks and on matplotlib's axes."""

from __future__ import annotations

import doctest
import importlib
import math
import pickle
import re
import sys
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from oracles.mixtures import MIXTURES
from scipy import stats

from gaussmix.density.mixture import GaussianMixture1D

each = pytest.mark.parametrize("arguments", MIXTURES.values(), ids=MIXTURES)
RAIN = GaussianMixture1D([1.0], [3.0], [2.0], bounds=(0.0, None), tail=(1e-5, 3.0, 1.0), atoms=([0.0], [0.3]))


@pytest.mark.parametrize(
    "name", ["gaussmix.density.mixture", "gaussmix.density.truncated", "gaussmix.density._mixture.distribution"]
)
def test_the_examples_of_docstrings_hold(name: str):
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 2
    assert done.failed == 0


# ----------------------------------------------------------------------------------------------------------- SciPy


@each
def test_scipys_frozen_distribution_has_the_same_numbers(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments)
    theirs = mixture.to_scipy()
    q = np.linspace(0, 1, 41).reshape(41, 1)
    x = mixture.ppf(q)
    np.testing.assert_array_equal(theirs.ppf(q), x)
    np.testing.assert_array_equal(theirs.isf(q), mixture.isf(q))
    inside = np.nextafter(x[1:-1], mixture.median())
    for name in ("pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"):
        np.testing.assert_array_equal(getattr(theirs, name)(inside), getattr(mixture, name)(inside), err_msg=name)
    for name in ("mean", "var", "std", "median", "entropy"):
        assert getattr(theirs, name)() == pytest.approx(getattr(mixture, name)(), rel=1e-12)
    assert theirs.support() == mixture.support()
    moments = [mixture.mean(), mixture.var(), mixture.skewness(), mixture.kurtosis()]
    np.testing.assert_allclose(theirs.stats("mvsk"), moments, rtol=1e-12)
    numbers = theirs.rvs(size=(500, 4), random_state=np.random.default_rng(0))
    test: Any = stats.kstest(numbers.ravel(), theirs.cdf)
    assert test.pvalue > 1e-4


def test_scipys_frozen_distribution_outside_and_elsewhere():
    mixture = GaussianMixture1D(**MIXTURES["two bounds"])
    theirs = mixture.to_scipy()
    assert theirs.pdf([-0.1, 1.1]).tolist() == [0, 0]
    assert theirs.cdf([-0.1, 1.1]).tolist() == [0, 1]
    assert theirs.moment(5) == pytest.approx(mixture.moment(5), rel=1e-12)
    assert theirs.expect(np.cos) == pytest.approx(mixture.expect(np.cos), rel=1e-7)
    again = pickle.loads(pickle.dumps(theirs))
    assert again.cdf(0.4) == pytest.approx(theirs.cdf(0.4), rel=1e-12)
    np.testing.assert_array_equal(theirs.rvs(5, random_state=3), theirs.rvs(5, random_state=3))
    assert isinstance(theirs, type(stats.norm()))


def test_atoms_do_not_go_to_scipy():
    with pytest.raises(ValueError, match=r"1 point masses.*leave atoms out"):
        RAIN.to_scipy()


# ---------------------------------------------------------------------------------------------------------- pandas


def test_a_frame_of_the_components():
    mixture = GaussianMixture1D(**MIXTURES["claw"])
    frame = mixture.to_frame()
    assert list(frame.columns) == ["weight", "mean", "std"]
    assert GaussianMixture1D(*frame.to_numpy().T) == mixture


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        GaussianMixture1D(**MIXTURES["claw"]).to_frame()


# -------------------------------------------------------------------------------------------------------- notebooks


def parsed(mixture: GaussianMixture1D) -> ElementTree.Element:
    return ElementTree.fromstring(mixture._repr_html_())


@each
def test_the_notebooks_table_says_what_there_is(arguments: dict[str, Any]):
    mixture = GaussianMixture1D(**arguments, atoms=([0.25], [0.125]))
    root = parsed(mixture)
    facts = dict(zip((e.text for e in root.iter("th")), (e.text for e in root.iter("td")), strict=True))
    assert str(facts["components"]).replace(" ", "") == str(mixture.weights.size)
    assert float(str(facts["mean"])) == pytest.approx(mixture.mean(), rel=1e-4)
    assert float(str(facts["std"])) == pytest.approx(mixture.std(), rel=1e-4)
    assert facts["point masses"] == "12.50% at 0.25"
    assert ("bounds" in facts) == (mixture.bounds != (-math.inf, math.inf))
    assert "script" not in mixture._repr_html_()


def test_the_notebooks_drawing_is_the_density():
    mixture = GaussianMixture1D([0.5, 0.5], [0.0, 4.0], [1.0, 0.5])
    (svg,) = [e for e in parsed(mixture).iter() if e.tag.endswith("svg")]
    curve = next(e.get("d") for e in svg.iter() if e.get("fill-opacity"))
    x, y = np.array([[float(n) for n in pair.split(",")] for pair in re.findall(r"[\d.]+,[\d.]+", str(curve))]).T
    low, high = (float(str(e.text)) for e in svg.iter() if e.tag.endswith("text"))
    at = low + (high - low) * x[1:-1] / float(str(svg.get("width")))
    height = y[0] - y[1:-1]
    assert abs(np.corrcoef(height, mixture.pdf(at))[0, 1]) > 0.999
    assert len(mixture._repr_html_()) < 12_000


def test_point_masses_are_stems_in_the_drawing():
    points = GaussianMixture1D([1.0], [1.0], [1.0], tail=(0.5, 1.0, 1.0), atoms=([0.0, 1.0, 2.0], [0.2, 0.5, 0.299]))
    circles = [e for e in parsed(points).iter() if e.tag.endswith("circle")]
    heights = [-float(str(e.get("cy"))) for e in circles]
    assert len(circles) == 3
    assert np.argmax(heights) == 1
    assert not [e for e in parsed(points).iter() if e.get("fill-opacity")]


# ------------------------------------------------------------------------------------------------------- matplotlib


def test_plot_draws_the_density_on_given_axes():
    axes = Figure().add_subplot()
    mixture = GaussianMixture1D(**MIXTURES["claw"])
    assert mixture.plot(axes, color="red", label="claw", fill=True) is axes
    (line,) = axes.lines
    x, y = (np.asarray(values) for values in line.get_data())
    np.testing.assert_allclose(y, mixture.pdf(x))
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
    assert (line.get_color(), line.get_label(), len(axes.collections)) == ("red", "claw", 1)
    assert axes.get_ylabel() == "density"
    assert axes.get_title() == ""


def test_plot_draws_point_masses_at_the_right():
    figure = Figure()
    RAIN.plot(figure.add_subplot())
    axes, shares = figure.axes
    x, y = (np.asarray(values) for values in axes.lines[0].get_data())
    assert np.trapezoid(y, x) == pytest.approx(0.7, abs=0.01)
    assert np.all(y[x < 0] < 1e-4)  # a vertical fall at the bound
    assert shares.lines[0].get_xydata().tolist() == [[0.0, 0.3]]  # pyright: ignore[reportAttributeAccessIssue]
    assert "point mass" in shares.get_ylabel()


def test_plot_without_axes_takes_pyplots(monkeypatch: pytest.MonkeyPatch):
    from matplotlib import pyplot

    axes = Figure().add_subplot()
    monkeypatch.setattr(pyplot, "gca", lambda: axes)
    assert RAIN.plot() is axes
