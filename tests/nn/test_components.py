"""Panels fine enough for every component, and log-densities without under- or overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, ndtr

from gaussmix.density.basis import GaussianBasis
from gaussmix.nn.components import (
    PANEL,
    REACH,
    Components,
    components_of,
    log_mixture,
    normal_cdf,
    panel_edges,
    quadrature,
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), decades=st.floats(0, 5))
def test_panels_resolve_every_component(seed: int, n: int, decades: float) -> None:
    rng = np.random.default_rng(seed)
    mu, sigma = rng.normal(scale=10, size=n), 10 ** rng.uniform(-decades, 0, n)
    components = Components(torch.tensor(mu), torch.tensor(sigma))
    edges = panel_edges(components).numpy()
    left, right = edges[:-1, None], edges[1:, None]
    reached = np.minimum(right, mu + REACH * sigma) - np.maximum(left, mu - REACH * sigma) > 1e-9 * sigma
    assert (np.diff(edges) > 0).all()
    assert ((right - left <= PANEL * sigma * (1 + 1e-6)) | ~reached).all()
    assert edges[0] <= (mu - REACH * sigma).min()
    assert edges[-1] >= (mu + REACH * sigma).max() - 1e-12

    x, dx = quadrature(components)
    masses = components.log_densities(x).exp().T @ dx
    torch.testing.assert_close(masses, torch.ones(n, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_a_lattice_needs_no_more_panels_than_its_length() -> None:
    components = Components(torch.arange(200.0, dtype=torch.float64), torch.full((200,), 2.3, dtype=torch.float64))
    length = (199 + 2 * REACH * 2.3) / (PANEL * 2.3)
    assert len(panel_edges(components)) <= 1.2 * length


def test_log_mixture_far_out() -> None:
    rng = np.random.default_rng(0)
    weights, logs = rng.dirichlet(np.full(6, 0.3), 50), rng.normal(scale=800, size=(50, 6))
    weights[:, 2] = 0
    weights /= weights.sum(1, keepdims=True)
    expected = np.asarray(logsumexp(logs, axis=1, b=weights))
    np.testing.assert_allclose(log_mixture(torch.tensor(weights), torch.tensor(logs)), expected, rtol=1e-13)


def test_normal_cdf_is_relatively_accurate() -> None:
    u = np.linspace(-37, 9, 500)
    np.testing.assert_allclose(normal_cdf(torch.tensor(u)), ndtr(u), rtol=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_standard_deviations_are_positive(bad: float) -> None:
    with pytest.raises(ValueError, match=r"stds contains .*; standard deviations must be positive and finite"):
        Components(torch.zeros(2), torch.tensor([1.0, bad]))


def test_components_of_other_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"means have shape \(2,\) and stds \(3,\); both must be \(n,\)"):
        Components(torch.zeros(2), torch.ones(3))
    with pytest.raises(ValueError, match=r"both must be \(n,\)"):
        Components(torch.zeros(0), torch.ones(0))
    with pytest.raises(ValueError, match="means contain NaN or infinity"):
        Components(torch.full((1,), torch.nan), torch.ones(1))
    with pytest.raises(TypeError, match=r"stds is torch.int64; give a tensor of torch.float32 or torch.float64"):
        Components(torch.zeros(2), torch.ones(2, dtype=torch.long))
    with pytest.raises(TypeError, match="means is a list; give a tensor"):
        Components([0.0], torch.ones(1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"means are torch.float32 on cpu and stds torch.float64 on cpu"):
        Components(torch.zeros(1), torch.ones(1, dtype=torch.float64))


def test_a_basis_that_float32_cannot_hold_is_refused() -> None:
    narrow = GaussianBasis(0.0, 1e-60, 3)
    assert components_of(narrow, torch.zeros(3, dtype=torch.float64)).stds[0] == 2e-60
    with pytest.raises(ValueError, match=r"stds contains 0; .* in torch.float32"):
        components_of(narrow, torch.zeros(3))
