"""What holds for every model of whatever data: mass one, monotone, inverse, order-free, moving with the data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaussmix import GaussianMixture1D, GMMExpansion

Column = NDArray[np.float64]
SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def columns(draw: st.DrawFn, least: int = 2) -> Column:
    """Numbers of many shapes: smooth, with edges, heavy tails, few values, rounded, far from zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([least, 7, 40, 300, 2000]))
    shape = draw(
        st.sampled_from(["normal", "uniform", "gamma", "cauchy", "two", "rounded", "inflated", "bimodal", "constant"])
    )
    x = {
        "normal": lambda: rng.normal(size=n),
        "uniform": lambda: rng.random(n),
        "gamma": lambda: rng.gamma(0.7, size=n),
        "cauchy": lambda: rng.standard_cauchy(n),
        "two": lambda: rng.integers(0, 2, n).astype(float),
        "rounded": lambda: np.round(rng.normal(size=n), 1),
        "inflated": lambda: np.where(rng.random(n) < 0.4, 0.0, rng.exponential(size=n)),
        "bimodal": lambda: np.where(rng.random(n) < 0.5, rng.normal(size=n), 50 + 0.1 * rng.normal(size=n)),
        "constant": lambda: np.full(n, rng.normal()),
    }[shape]()
    return x * 2.0 ** draw(st.integers(-20, 20))


def fitted(rule: Any, x: Column) -> GaussianMixture1D:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ml at a narrow bandwidth, algorithm2's clipping
        return GMMExpansion(rule, n_components=60).fit(x).distribution_


def integral(model: GaussianMixture1D) -> float:
    """Of the density without its point masses: between quantiles by Gauss-Legendre, beyond them from the tails."""
    q = np.concatenate([[1e-9, 1e-6, 1e-4], np.linspace(0.001, 0.999, 800), [1 - 1e-4, 1 - 1e-6, 1 - 1e-9]])
    cuts = [model.ppf(q), model.means, *(model.means + k * model.stds for k in (-6, -3, -1, 1, 3, 6))]
    edges = np.unique(np.clip(np.concatenate(cuts), *model.bounds))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    x = edges[:-1, None] + half * (1 + nodes)
    p = model.pdf(x)
    p[np.isin(x, model.atoms.positions)] = 0.0
    inside = float((half * p * weights).sum())
    masses = model.atoms.masses
    below = float(model.cdf(edges[0])) - masses[model.atoms.positions <= edges[0]].sum()
    above = float(model.sf(edges[-1])) - masses[model.atoms.positions > edges[-1]].sum()
    return inside + below + above + masses.sum()


@pytest.mark.parametrize("rule", ["auto", "fast", "histogram", "kernel", "ml"])
@SETTINGS
@given(x=columns())
def test_mass_is_one_and_the_cdf_rises(rule: Any, x: Column) -> None:
    model = fitted(rule, x)
    assert model.weights.sum() == pytest.approx(1, abs=1e-12)
    assert integral(model) == pytest.approx(1, abs=1e-6)
    spread = np.ptp(x) or max(abs(x[0]), 1.0)
    points = np.sort(np.concatenate([x, np.linspace(x.min() - spread, x.max() + spread, 500), [-np.inf, np.inf]]))
    cdf = model.cdf(points)
    assert np.all(np.diff(cdf) >= -1e-12)
    assert (cdf[0], cdf[-1]) == pytest.approx((0, 1), abs=1e-12)
    assert np.isfinite(model.logpdf(x)).all()


@pytest.mark.parametrize("rule", ["auto", "fast", "kernel"])
@SETTINGS
@given(x=columns())
def test_quantiles_invert_the_cdf(rule: Any, x: Column) -> None:
    model = fitted(rule, x)
    q = np.random.default_rng(0).random(200)
    reached = model.cdf(model.ppf(q))
    jumps = np.isin(model.ppf(q), model.atoms.positions)
    assert np.abs(reached - q)[~jumps].max(initial=0) < 1e-9
    assert np.all(reached[jumps] >= q[jumps] - 1e-9)


@SETTINGS
@given(x=columns(), cuts=st.lists(st.floats(0, 1), max_size=4), rule=st.sampled_from(["auto", "kernel"]))
def test_merging_in_any_order_is_counting_at_once(x: Column, cuts: list[float], rule: Any) -> None:
    first = GMMExpansion(rule).partial_fit(x)
    parts = [
        first.empty_like().partial_fit(p) for p in np.split(x * 1.5, sorted(int(c * len(x)) for c in cuts)) if len(p)
    ]
    whole = first.empty_like().partial_fit(x * 1.5)
    forward, backward = first.empty_like(), first.empty_like()
    for part in parts:
        forward.merge(part)
    for part in reversed(parts):
        backward.merge(part)
    assert forward.counts_ == backward.counts_ == whole.counts_
    if len(parts) > 2:
        a, b, c = (part.counts_[0] for part in parts[:3])
        assert (a + b) + c == a + (b + c)


@pytest.mark.parametrize("rule", ["auto", "fast", "kernel"])
@SETTINGS
@given(x=columns(least=40), power=st.integers(-30, 30), shift=st.integers(-8, 8))
def test_the_model_moves_with_the_data(rule: Any, x: Column, power: int, shift: int) -> None:
    scale = 2.0**power
    spread = np.ptp(x) or 1.0
    moved = fitted(rule, x * scale)
    original = fitted(rule, x)
    points = np.linspace(x.min() - spread / 3, x.max() + spread / 3, 101)
    np.testing.assert_allclose(moved.cdf(points * scale), original.cdf(points), atol=1e-9)
    if len(np.unique(x)) == len(x):  # shifted values are rounded; where they are equal or on a lattice, that can matter
        step = 2.0 ** np.ceil(np.log2(spread)) * shift
        shifted = fitted(rule, x + step)
        np.testing.assert_allclose(shifted.cdf(points + step), original.cdf(points), atol=2e-3)
