"""Modes: what they cost, which go, and what is left of the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gaussmix import GMMExpansion
from gaussmix.density.auto.modes import flatten, nats_per_mode, price_modes

masses = st.lists(st.integers(1, 40), min_size=3, max_size=25)


def pooled(levels: list[float], widths: list[float]) -> np.ndarray:
    """Rising regression by its definition: max over left ends of the min over right ends of weighted means."""
    y, w, k = np.array(levels), np.array(widths), range(len(levels))

    def mean(a: int, b: int) -> float:
        return float(np.average(y[a : b + 1], weights=w[a : b + 1]))

    return np.array([max(min(mean(a, b) for b in k[j:]) for a in k[: j + 1]) for j in k])


def test_the_price_of_a_mode_is_the_likelihood_lost_without_it() -> None:
    p, width = np.array([1.0, 4, 2, 6, 1]) / 14, np.ones(5)
    counts = 100 * p
    found = price_modes(p, width, counts)
    assert found.peaks.tolist() == [1, 3]
    assert found.costs[1] == math.inf
    rising = pooled((p / width)[:4].tolist(), width[:4].tolist())
    assert found.costs[0] == pytest.approx(counts[:4] @ np.log(p[:4] / rising))


@settings(max_examples=60, deadline=None)
@given(masses, st.data())
def test_flattening_keeps_mass_and_leaves_what_is_worth_it(numbers: list[int], data: st.DataObject) -> None:
    counts = np.array(numbers, float)
    widths = st.lists(st.sampled_from(data.draw(st.sampled_from([(0.5, 1.0, 3.0), (1e-90, 1.0, 1e90)]))))
    width = np.array((data.draw(widths) + [1.0] * len(counts))[: len(counts)])
    p = counts / counts.sum()
    threshold = data.draw(st.sampled_from([0.0, 0.5, 3.0, 1e9]))
    target, removed = flatten(p, width, counts, threshold)
    assert target.sum() == pytest.approx(1)
    left = price_modes(target, width, counts)
    assert (left.costs >= threshold).all()
    assert removed <= len(price_modes(p, width, counts).peaks)
    if threshold == 0.0:
        np.testing.assert_array_equal(target, p)
    if threshold == 1e9:  # rises to the only mode, then falls
        rise = np.diff(target / width)
        top = left.peaks[0]
        assert len(left.peaks) == 1
        assert (rise[:top] >= -1e-9).all()
        assert (rise[top:] <= 1e-9).all()


def test_a_ripple_of_rounding_stops_no_other_mode() -> None:
    """The run of ones has a dip of a few 1e-9, which nothing can level below its neighbours by more than rounding."""
    density = np.array([4, 1, 1 - 3e-9, 1, 1, 1, 1, 0.5, 0.5, 0.6, 0.45, 5])
    p, width = density / density.sum(), np.ones(len(density))
    counts = 100 * p
    target, removed = flatten(p, width, counts, 3.0)
    assert removed == 1
    left = price_modes(target, width, counts)
    assert (left.costs >= 3.0).all()
    assert left.peaks.tolist() == [0, 11]


def n_modes(x: np.ndarray, pdf, prominence: float = 0.01) -> int:
    """Maxima of a density between the ends of x that stand out."""
    from scipy.signal import find_peaks

    density = pdf(np.linspace(x.min(), x.max(), 4001))
    return len(find_peaks(np.pad(density, 1), prominence=prominence * density.max())[0])


@pytest.mark.parametrize("rule", ["auto", "fast"])
@pytest.mark.parametrize("target", [stats.gamma(2), stats.norm(), stats.uniform(), stats.gumbel_r()])
def test_smooth_densities_have_one_mode(rule, target) -> None:
    modes = []
    for seed in range(6):
        x = target.rvs(3000, random_state=seed)
        modes.append(n_modes(x, GMMExpansion(rule).fit(x).distribution_.pdf))
    assert np.mean(modes) <= 1.34  # without the rule: 4.9 and 7.6 on average over these


@pytest.mark.parametrize("rule", ["auto", "fast"])
def test_the_five_fingers_of_the_claw_stay(rule) -> None:
    rng = np.random.default_rng(1)
    centre, std = np.r_[0, np.linspace(-1, 1, 5)], np.r_[1, np.full(5, 0.1)]
    k = rng.choice(6, 20_000, p=[0.5] + [0.1] * 5)
    x = rng.normal(centre[k], std[k])
    model = GMMExpansion(rule).fit(x)
    assert n_modes(x, model.distribution_.pdf) == 5
    np.testing.assert_allclose([m.position for m in model.modes() if m.density > 0.2], np.linspace(-1, 1, 5), atol=0.1)


def test_smoothness_is_what_a_mode_must_be_worth() -> None:
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(0, 1, 500), rng.normal(3.8, 1, 300)]
    found = {s: GMMExpansion(smoothness=s).fit(x) for s in (0.0, "auto", "few_modes", 1e6)}
    evidence = min(mode.evidence for mode in found["auto"].modes())
    assert nats_per_mode("auto", len(x)) < evidence < 100
    assert [len(found[s].modes()) for s in ("auto", 1e6)] == [2, 1]
    assert n_modes(x, GMMExpansion(smoothness=evidence * 1.5).fit(x).distribution_.pdf) == 1
    first, second = found["auto"].modes()
    assert first.position == pytest.approx(0, abs=0.3)
    assert second.position == pytest.approx(3.8, abs=0.3)
    assert first.density == pytest.approx(float(found["auto"].distribution_.pdf(first.position)))
    for wrong in (-1, math.nan, "smooth"):
        with pytest.raises(ValueError, match="smoothness"):
            GMMExpansion(smoothness=wrong).fit(x)  # pyright: ignore[reportArgumentType]


def test_point_masses_have_no_modes() -> None:
    assert GMMExpansion().fit(np.repeat([0.0, 1.0], 50)).modes() == []
