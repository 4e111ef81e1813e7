"""What a discrete distribution has beyond probabilities: its shape, other laws made of it, interchange, pictures."""

from __future__ import annotations

import doctest
import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from gaussmix import GaussianMixture1D, GMMExpansion, LatticeMixture1D
from gaussmix.density import discrete

NORMAL = GaussianMixture1D([1.0], [1.0], [2.0], tail=(1e-4, 1.0, 2.0))
SCORES = LatticeMixture1D(NORMAL, [0, 1, 2, 5, 6, 9], [0.2, 0.1, 0.25, 0.15, 0.15, 0.15])
TENTHS = LatticeMixture1D(NORMAL, np.arange(7) * 0.1 + 0.1, [0.05, 0.3, 0.1, 0.1, 0.25, 0.1, 0.1], 0.1)


@st.composite
def laws(draw: st.DrawFn) -> LatticeMixture1D:
    numbers = np.sort(draw(st.lists(st.integers(-8, 8), min_size=1, max_size=8, unique=True)))
    p = np.array(draw(st.lists(st.integers(1, 9), min_size=len(numbers), max_size=len(numbers))), float)
    step = draw(st.sampled_from([1.0, 2.0, 0.1, 1 / 3, 1e6]))
    return LatticeMixture1D(NORMAL, draw(st.sampled_from([0.0, 0.7, -1e5])) + step * numbers, p / p.sum(), step)


def consistent(law: LatticeMixture1D) -> bool:
    return bool(
        abs(law.pmf(law.values).sum() - 1) < 1e-12
        and (law.ppf(law.cdf(law.values)) == law.values).all()
        and np.isin(law.rvs(50, random_state=0), law.values).all()
    )


# --- its shape


def test_modes_are_values_above_their_neighbours() -> None:
    assert SCORES.mode() == 2.0
    assert SCORES.modes().tolist() == [0, 2, 5, 9]  # 5 and 6 are one flat top
    assert TENTHS.mode() == TENTHS.values[1]
    assert TENTHS.modes().tolist() == TENTHS.values[[1, 4]].tolist()
    assert LatticeMixture1D(NORMAL, [3], [1.0]).modes().tolist() == [3.0]


@given(law=laws(), mass=st.floats(0.01, 1))
@settings(deadline=None, max_examples=60)
def test_highest_probability_sets_are_the_fewest_values(law: LatticeMixture1D, mass: float) -> None:
    intervals = law.hdi(mass)
    inside = ((law.values >= intervals[:, :1]) & (law.values <= intervals[:, 1:])).any(0)
    assert law.probabilities[inside].sum() >= mass * (1 - 1e-9)
    if inside.sum() > 1:
        fewer = itertools.combinations(law.probabilities, int(inside.sum()) - 1)
        assert max(map(sum, fewer)) < mass
    gaps = intervals[1:, 0] - intervals[:-1, 1]
    assert (gaps > 1.5 * law.step).all()


def test_highest_probability_sets_of_known_laws() -> None:
    assert SCORES.hdi(0.25).tolist() == [[2, 2]]
    assert SCORES.hdi(0.6).tolist() == [[0, 0], [2, 2], [5, 5]]
    assert SCORES.hdi(1.0).tolist() == [[0, 2], [5, 6], [9, 9]]
    for mass in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match="it must lie in"):
            SCORES.hdi(mass)


def test_responsibilities_and_simplification_are_those_of_the_smooth_density() -> None:
    law = LatticeMixture1D(
        GaussianMixture1D([0.5, 0.5], [0.0, 4.0], [1.0, 1.0]), [0, 1, 2, 3, 4], [0.3, 0.2, 0.1, 0.2, 0.2]
    )
    assert np.array_equal(law.responsibilities([0, 2.5]), law.continuous.responsibilities([0, 2.5]))
    with pytest.raises(ValueError, match=r"simplify its smooth density, \.continuous"):
        law.simplify(1)
    assert len(law.continuous.simplify(1).mixture.weights) == 1


# --- other laws


@given(law=laws(), scale=st.sampled_from([1.8, -1.0, 0.1, -1 / 3, 1e-6]), shift=st.sampled_from([0.0, 32.0, -1e3]))
@settings(deadline=None, max_examples=60)
def test_moved_laws(law: LatticeMixture1D, scale: float, shift: float) -> None:
    moved = law.affine(scale, shift)
    order = slice(None, None, 1 if scale > 0 else -1)
    assert moved.step == pytest.approx(abs(scale) * law.step)
    assert np.allclose(moved.values, (scale * law.values + shift)[order], rtol=1e-12, atol=1e-9)
    assert np.allclose(moved.probabilities, law.probabilities[order], rtol=1e-12)
    assert moved.continuous == law.continuous.affine(scale, shift)
    assert consistent(moved)
    assert moved.mean() == pytest.approx(scale * law.mean() + shift, rel=1e-9, abs=1e-9 * abs(scale) * law.step)
    for arguments in ((0.0, 1.0), (math.nan, 0.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="must be finite"):
            law.affine(*arguments)


BESIDE = st.builds(lambda whole, part: whole + part, st.integers(-10, 10), st.floats(0.15, 0.85))  # of all places


@given(law=laws(), ends=st.tuples(BESIDE, BESIDE).map(sorted), closed=st.booleans())
@settings(deadline=None, max_examples=100)
def test_truncated_laws(law: LatticeMixture1D, ends: list[float], closed: bool) -> None:
    low, high = (float(law.values[0] + law.step * (round(end) if closed else end)) for end in ends)
    inside = (law.values >= low - 1e-6 * law.step) & (law.values <= high + 1e-6 * law.step)
    if not inside.any():
        with pytest.raises(ValueError, match="holds none of the values"):
            law.truncate(low, high)
        return
    part = law.truncate(low, high)
    assert isinstance(part, LatticeMixture1D)
    assert np.array_equal(part.values, law.values[inside])
    assert np.allclose(part.probabilities, law.probabilities[inside] / law.probabilities[inside].sum())
    assert consistent(part)
    assert part.continuous.mean() == pytest.approx(part.mean(), abs=law.step)
    places = law.values[0] + law.step * np.arange(-20, 40)
    beyond = (places < low - 0.01 * law.step) | (places > high + 0.01 * law.step)
    assert np.isneginf(part.logpdf(places[beyond])).all()
    assert np.isfinite(part.logpdf(places[~beyond])).all()  # also where there is no value


def test_truncation_on_one_side_and_of_nothing() -> None:
    assert SCORES.truncate(low=5).values.tolist() == [5, 6, 9]
    assert SCORES.truncate(high=1.5).values.tolist() == [0, 1]
    assert SCORES.truncate() == LatticeMixture1D(SCORES.truncate().continuous, SCORES.values, SCORES.probabilities)
    assert SCORES.truncate(low=5).truncate(high=6).values.tolist() == [5, 6]
    assert TENTHS.truncate(0.3, 0.4).values.size == 2  # .1 + .2 is .30000000000000004
    assert math.isfinite(float(SCORES.truncate(low=5).logpdf(10)))
    part = SCORES.truncate(1, 6)
    assert pickle.loads(pickle.dumps(part)) == part
    with pytest.raises(ValueError, match="low must not be above high"):
        SCORES.truncate(3, 2)


# --- elsewhere


def test_scipys_frozen_distribution_has_the_same_numbers() -> None:
    frozen = SCORES.to_scipy()
    k = np.arange(-2, 12)
    q = [0.0001, 0.1, 0.3, 0.77, 1.0]
    assert np.allclose(frozen.pmf(k), SCORES.pmf(k))
    assert np.allclose(frozen.cdf(k), SCORES.cdf(k))
    assert np.array_equal(frozen.ppf(q), SCORES.ppf(q))
    assert np.allclose(frozen.stats("mvsk"), [SCORES.mean(), SCORES.var(), SCORES.skewness(), SCORES.kurtosis()])
    assert frozen.entropy() == pytest.approx(SCORES.entropy())
    assert frozen.support() == SCORES.support()
    assert np.isin(frozen.rvs(100, random_state=0), SCORES.values).all()
    with pytest.raises(ValueError, match="are no integers"):
        TENTHS.to_scipy()
    numbered = TENTHS.affine(1 / TENTHS.step, -TENTHS.values[0] / TENTHS.step)
    assert np.allclose(numbered.to_scipy().pmf(np.arange(7)), TENTHS.probabilities)


def test_a_frame_of_the_values() -> None:
    frame = SCORES.to_frame()
    assert list(frame.columns) == ["value", "probability"]
    assert np.array_equal(frame.to_numpy(), np.stack([SCORES.values, SCORES.probabilities], axis=1))


def test_the_notebooks_table() -> None:
    html = SCORES._repr_html_()
    assert "6 from 0 to 9, in steps of 1" in html
    assert "25.00% at 2" in html
    assert html.count("<circle") == 6
    assert "components" not in html


def test_plots_are_stems_and_do_not_cut_each_other() -> None:
    axes = Figure().subplots()
    assert SCORES.plot(axes, label="scores", color="k") is axes
    TENTHS.affine(20.0).plot(axes)
    stems: Any = axes.collections[0]
    assert [segment[1].tolist() for segment in stems.get_segments()] == np.stack(
        [SCORES.values, SCORES.probabilities], axis=1
    ).tolist()
    assert axes.get_ylabel() == "probability"
    assert axes.lines[0].get_label() == "scores"
    assert axes.lines[0].get_color() == "k"
    low, high = axes.get_ylim()
    assert low == 0
    assert high > 0.3
    GaussianMixture1D([1.0], [0.0], [1.0]).plot(axes := Figure().subplots())
    GaussianMixture1D([1.0], [0.0], [0.1]).plot(axes)
    assert axes.get_ylim()[1] > 3.9


def test_laws_of_columns() -> None:
    ages = np.random.default_rng(0).normal(40, 15, 5000).clip(0).astype(int)
    law = GMMExpansion().fit(ages).distribution_
    assert isinstance(law, LatticeMixture1D)
    assert abs(law.mode() - 40) < 5
    assert law.truncate(18, 65).support() == (18, 65)
    months = law.affine(12)
    assert isinstance(months, LatticeMixture1D)
    assert months.step == 12
    assert months.mean() == pytest.approx(12 * ages.mean(), rel=0.01)


def test_the_examples_of_docstrings_hold() -> None:
    assert doctest.testmod(discrete).failed == 0
    assert doctest.testmod(discrete).attempted > 0
