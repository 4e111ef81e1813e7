"""Densities drawn from data: what is learnt, what lines, stems, labels and legends say, what is refused."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.dates import AutoDateFormatter, date2num
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaussmix.density.estimator import GMMExpansion
from gaussmix.plots import DensityDisplay, display, kde, kdeplot

N = 600
RNG = np.random.default_rng(0)
WAITS = pd.DataFrame(
    {
        "minutes": np.concatenate([RNG.exponential(4, N), RNG.gamma(9, 1, 2 * N)]),
        "line": ["U1"] * N + ["bus"] * 2 * N,
        "night": RNG.random(3 * N) < 0.3,
        "town": "Wien",
    }
)


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


def curves(axes: Axes) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]


def areas(axes: Axes) -> list[float]:
    return [float(np.trapezoid(y, x)) for x, y in curves(axes)]


def legend(axes: Axes) -> tuple[str, list[str]]:
    found = axes.get_legend()
    assert found is not None
    return found.get_title().get_text(), [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize("module", [kde, display])
def test_the_examples_of_docstrings_hold(module: Any):
    done = doctest.testmod(module)
    pyplot.close("all")
    assert done.attempted > 2
    assert done.failed == 0


# ------------------------------------------------------------------------------------------------------ one variable


def test_one_line_is_the_learnt_density(ax: Axes):
    x = WAITS["minutes"]
    assert kdeplot(x, ax=ax, linewidth=3, label="all") is ax
    ((at, density),) = curves(ax)
    np.testing.assert_allclose(density, GMMExpansion().fit(x).distribution_.pdf(at))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("minutes", "Density", "")
    assert ax.get_legend() is None
    assert (ax.lines[0].get_linewidth(), ax.lines[0].get_label()) == (3, "all")
    assert ax.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("data", "x"),
    [
        (WAITS, "minutes"),
        (pl.from_pandas(WAITS), "minutes"),
        (WAITS.to_dict("list"), "minutes"),
        (None, WAITS["minutes"]),
        (WAITS["minutes"].to_numpy(), None),
        (WAITS["minutes"].tolist(), None),
    ],
    ids=["pandas", "polars", "mapping", "series", "array", "list"],
)
def test_any_way_to_give_a_column(ax: Axes, data: Any, x: Any):
    kdeplot(data, x=x, ax=ax)
    expected = Figure().add_subplot()
    kdeplot(WAITS, x="minutes", ax=expected)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), expected.lines[0].get_xydata())  # pyright: ignore


def test_the_line_falls_vertically_at_an_edge(ax: Axes):
    kdeplot(RNG.exponential(1, 5000), ax=ax, fill=True)
    ((x, y),) = curves(ax)
    jump = np.argmax(np.abs(np.diff(y)))
    assert x[jump + 1] - x[jump] < 1e-12
    assert y[jump] < 1e-3 < 0.8 < y[jump + 1]
    assert len(ax.collections) == 1


def test_given_bounds_and_rules_are_those_of_the_estimator(ax: Axes):
    x = WAITS["minutes"].to_numpy()
    kdeplot(x, ax=ax, bounds=(0, None), rule="fast")
    ((at, density),) = curves(ax)
    np.testing.assert_allclose(density, GMMExpansion("fast", bounds=(0, None)).fit(x).distribution_.pdf(at))


def test_missing_numbers_are_left_out(ax: Axes):
    x = WAITS["minutes"].to_numpy()
    kdeplot(np.concatenate([x, [np.nan, np.inf]]), ax=ax)
    kdeplot(x, ax=ax)
    np.testing.assert_array_equal(*(line.get_xydata() for line in ax.lines))  # pyright: ignore[reportArgumentType]


def test_weights_repeat_numbers(ax: Axes):
    repeats = RNG.integers(0, 4, len(WAITS))
    kdeplot(WAITS.assign(times=repeats), x="minutes", weights="times", ax=ax)
    kdeplot(np.repeat(WAITS["minutes"], repeats), ax=ax)
    np.testing.assert_array_equal(*(line.get_xydata() for line in ax.lines))  # pyright: ignore[reportArgumentType]


def test_a_logarithmic_axis_shows_the_density_of_the_logarithms(ax: Axes):
    x = RNG.lognormal(1, 1, 2000)
    kdeplot(x, ax=ax, log_scale=True)
    ((at, density),) = curves(ax)
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(density, GMMExpansion().fit(np.log10(x)).distribution_.pdf(np.log10(at)), rtol=1e-6)
    other = Figure().add_subplot()
    kdeplot(x, ax=other, log_scale=2, bounds=(0.001, None))
    ((at, density),) = curves(other)
    assert np.trapezoid(density, np.log2(at)) == pytest.approx(1, abs=0.01)
    with pytest.raises(ValueError, match="2 of 3 numbers are not positive"):
        kdeplot([1.0, 0.0, -1.0], log_scale=True, ax=ax)


def test_distribution_functions_rise_to_one(ax: Axes):
    x = np.where(RNG.random(1000) < 0.4, 0.0, RNG.gamma(3, 1, 1000))
    kdeplot(x, ax=ax, cumulative=True)
    ((at, y),) = curves(ax)
    assert np.all(np.diff(y) >= -1e-12)
    assert y[-1] > 0.99
    assert y[at == 0][-1] - y[at < 0][-1] == pytest.approx(0.4, abs=0.06)  # a step
    assert ax.get_ylabel() == "Cumulative probability"
    assert len(ax.figure.axes) == 1


def test_point_masses_are_stems_on_an_axis_at_the_right(ax: Axes):
    x = np.where(RNG.random(1000) < 0.4, 0.0, RNG.gamma(3, 1, 1000))
    kdeplot(x, ax=ax)
    _, shares = ax.figure.axes
    ((at, y),) = curves(shares)
    assert at.tolist() == [0]
    assert y[0] == pytest.approx(np.mean(x == 0), abs=1e-3)
    assert areas(ax)[0] == pytest.approx(1 - y[0], abs=0.01)
    assert shares.get_ylabel() == "Share of a single value"


def test_columns_of_few_values_are_stems_alone(ax: Axes):
    kdeplot(RNG.integers(1, 4, 300), ax=ax)
    assert len(ax.figure.axes) == 1
    ((at, y),) = curves(ax)
    assert at.tolist() == [1, 2, 3]
    assert y.sum() == pytest.approx(1, abs=0.01)


# ------------------------------------------------------------------------------------------------------------ groups


def test_groups_share_the_area(ax: Axes):
    kdeplot(WAITS, x="minutes", hue="line", ax=ax)
    assert areas(ax) == pytest.approx([1 / 3, 2 / 3], rel=0.01)
    assert legend(ax) == ("line", ["U1", "bus"])
    other = Figure().add_subplot()
    kdeplot(WAITS, x="minutes", hue="line", ax=other, common_norm=False, legend=False)
    assert areas(other) == pytest.approx([1, 1], rel=0.01)
    assert other.get_legend() is None


def test_groups_have_the_cycles_colours_or_the_palettes(ax: Axes):
    kdeplot(WAITS, x="minutes", hue="line", ax=ax, hue_order=["bus", "U1"], fill=True)
    cycle = pyplot.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [to_hex(line.get_color()) for line in ax.lines] == [to_hex(color) for color in cycle[:2]]
    assert legend(ax)[1] == ["bus", "U1"]
    for palette in ({"U1": "red", "bus": "blue"}, ["red", "blue"]):
        other = Figure().add_subplot()
        kdeplot(WAITS, x="minutes", hue="line", palette=palette, ax=other)
        assert [line.get_color() for line in other.lines] == ["red", "blue"]
    many = Figure().add_subplot()
    kdeplot(None, x=RNG.normal(size=600), hue=np.arange(600) % 12, ax=many)
    assert len({to_hex(line.get_color()) for line in many.lines}) == 12
    with pytest.raises(ValueError, match="1 colours for 2 groups"):
        kdeplot(WAITS, x="minutes", hue="line", palette=["red"], ax=many)


def test_groups_come_in_the_order_of_categories_or_numbers(ax: Axes):
    categories = pd.Categorical(WAITS["line"], ["bus", "tram", "U1"])
    kdeplot(WAITS, x="minutes", hue=categories, ax=ax)
    kdeplot(WAITS.assign(line=categories), x="minutes", hue="line", ax=ax)
    assert legend(ax) == ("line", ["bus", "tram", "U1"])
    assert len(ax.lines) == 4  # no tram comes
    for kind in (pl.String, pl.Enum(["bus", "tram", "U1"])):
        other = Figure().add_subplot()
        kdeplot(pl.from_pandas(WAITS).with_columns(pl.col("line").cast(kind)), x="minutes", hue="line", ax=other)
        assert legend(other)[1] == (["U1", "bus"] if kind is pl.String else ["bus", "tram", "U1"])
    numbers = Figure().add_subplot()
    kdeplot(WAITS, x="minutes", hue=np.where(WAITS["night"], 2, 1), ax=numbers)
    assert legend(numbers) == ("", ["1", "2"])


def test_columns_without_a_name_are_a_line_each(ax: Axes):
    table = pd.DataFrame({"a": RNG.normal(size=500), "b": RNG.normal(5, 1, size=500), "c": ["text"] * 500})
    kdeplot(table, ax=ax)
    assert legend(ax) == ("", ["a", "b"])
    assert areas(ax) == pytest.approx([0.5, 0.5], rel=0.01)
    matrix = Figure().add_subplot()
    kdeplot(table[["a", "b"]].to_numpy(), ax=matrix)
    assert legend(matrix) == ("", ["0", "1"])


def test_axes_go_on(ax: Axes):
    ax.set_xlabel("mine")
    kdeplot(RNG.normal(size=500), ax=ax)
    kdeplot(RNG.normal(9, 0.1, size=500), ax=ax)
    assert len({line.get_color() for line in ax.lines}) == 2
    assert ax.get_ylim()[0] == 0 < 3 < ax.get_ylim()[1]
    assert ax.get_xlabel() == "mine"


def test_without_axes_pyplots_are_taken():
    figure = pyplot.figure()
    assert kdeplot(RNG.normal(size=100)) is figure.gca()
    pyplot.close(figure)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": "minutes", "bw_adjust": 0.5}, TypeError, "takes no bw_adjust: widths"),
        ({"x": "minutes", "y": "night"}, TypeError, "takes no y: it draws lines of one variable"),
        ({"x": "hours"}, ValueError, "x is 'hours', and there is no such column"),
        ({"x": "minutes", "hue": "colour"}, ValueError, "hue is 'colour'"),
        ({"x": "line"}, ValueError, "x is line; give numbers"),
        ({"x": "minutes", "hue": ["a"]}, ValueError, "1 entries for 1800 numbers"),
        ({"x": "minutes", "weights": [1, 2]}, ValueError, "2 entries for 1800 numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ax: Axes, arguments: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        kdeplot(WAITS, ax=ax, **arguments)


def test_tables_without_numbers_are_refused(ax: Axes):
    with pytest.raises(ValueError, match="holds numbers"):
        kdeplot({"a": ["x", "y"]}, ax=ax)
    with pytest.raises(ValueError, match="give a table as data"):
        kdeplot(None, x="minutes", ax=ax)
    with pytest.raises(ValueError, match="give numbers"):
        kdeplot(ax=ax)


# ----------------------------------------------------------------------------------------------------------- display


def test_a_display_draws_what_an_estimator_learnt(ax: Axes):
    model = GMMExpansion().fit(WAITS[["minutes", "night"]].astype(float))
    shown = DensityDisplay.from_estimator(model, column="minutes", ax=ax)
    assert (shown.ax_, shown.figure_) == (ax, ax.figure)
    assert shown.distribution is model.distributions_[0]
    assert ax.get_xlabel() == "minutes; ticks mark quantiles"
    assert any(str(patch.get_label()).startswith("histogram of 1 800") for patch in ax.patches)
    again = shown.plot(name="time")
    assert again is shown
    assert again.ax_ is not ax
    assert again.ax_.get_xlabel().startswith("time")
    pyplot.close(again.figure_)


def test_a_display_of_a_pipeline_and_of_data(ax: Axes):
    pipeline = make_pipeline(StandardScaler(), GMMExpansion()).fit(WAITS[["minutes"]].to_numpy())
    scaled = DensityDisplay.from_estimator(pipeline, ax=ax, histogram=False, name="deviations")
    assert scaled.distribution.mean() == pytest.approx(0, abs=0.01)
    assert not ax.patches
    other = Figure().add_subplot()
    shown = DensityDisplay.from_data(WAITS["minutes"], ax=other, log=True, bounds=(0, None))
    assert shown.distribution.bounds[0] == 0
    assert other.get_yscale() == "log"
    assert other.get_xlabel().startswith("minutes")


def test_displays_of_what_is_not_there_are_refused():
    with pytest.raises(ValueError, match="GMMExpansion has learnt no density"):
        DensityDisplay.from_estimator(GMMExpansion())
    with pytest.raises(ValueError, match="column is 'hours'"):
        DensityDisplay.from_estimator(GMMExpansion().fit(WAITS[["minutes"]]), column="hours")


def test_dates_and_masks_are_understood() -> None:
    days = np.datetime64("2024-01-01") + np.random.default_rng(0).integers(0, 300, 500)
    for dates in (days, days.astype("M8[s]") + np.timedelta64(1, "h"), pd.Series(days.astype("M8[ns]"))):
        axes = kdeplot({"day": dates}, x="day", ax=Figure().subplots())
        low, high = axes.get_xlim()
        assert date2num(days.min()) - 60 < low < high < date2num(days.max()) + 60
        assert isinstance(axes.xaxis.get_major_formatter(), AutoDateFormatter)
    x = np.ma.masked_equal(np.where(np.arange(500) % 5, np.random.default_rng(1).normal(size=500), -999), -999)
    axes = kdeplot(x=x, ax=Figure().subplots())
    assert axes.get_xlim()[0] > -10
    assert not isinstance(axes.xaxis.get_major_formatter(), AutoDateFormatter)
    holes = pd.array([1, 2, None, 4, 3, 2] * 20, dtype="Int64")
    assert kdeplot({"n": holes}, x="n", ax=Figure().subplots()).get_xlabel() == "n"


def test_a_mapping_of_columns_is_a_line_each(ax: Axes) -> None:
    kdeplot({"a": np.linspace(0, 1, 50), "b": np.linspace(2, 3, 60)}, ax=ax)
    assert legend(ax)[1] == ["a", "b"]
