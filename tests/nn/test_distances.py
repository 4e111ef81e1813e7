"""Differentiable distances on one basis: quadrature, closed forms, gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gaussmix import distances
from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.nn import gaussian_mmd2, kl_divergence, wasserstein_distance

Distance = Callable[[Tensor, Tensor, GaussianBasis], Tensor]
BASES = {
    "smooth": GaussianBasis(-2.0, 0.7, 12, 2.0),
    "narrow": GaussianBasis(3.0, 0.5, 9, 0.2),
    "wide": GaussianBasis(0.0, 1.0, 8, 6.0),
    "warped": GaussianBasis(-2.0, 0.5, 9, 1.5, center=1.0, scale=0.3),
    "one": GaussianBasis(1.0, 1.0, 1),
}


def mmd2(p: Tensor, q: Tensor, basis: GaussianBasis) -> Tensor:
    return gaussian_mmd2(p, q, basis, 0.8 * float(basis.stds[0]))


DISTANCES: dict[str, Distance] = {"w1": wasserstein_distance, "kl": kl_divergence, "mmd2": mmd2}


def weights(seed: int, *shape: int, alpha: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.full(shape[-1], alpha), shape[:-1]))


def pair(seed: int, n: int) -> tuple[Tensor, Tensor]:
    rows = weights(seed, 2, n)
    return rows[0], rows[1]


def on_logits(distance: Distance, basis: GaussianBasis) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: distance(a.softmax(-1), b.softmax(-1), basis)


def logits(seed: int, *shape: int) -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(values, requires_grad=True)


def absolute_integral(delta: FloatArray, basis: GaussianBasis) -> float:
    """integral |sum delta_i Phi| by quad between the zeros that a fine grid and its lowest points show."""

    def difference(x: float) -> float:
        return float(delta @ ndtr((x - basis.centers) / basis.stds))

    ends = (basis.centers - 9 * basis.stds).min(), (basis.centers + 9 * basis.stds).max()
    grid = np.arange(*ends, basis.stds.min() / 10)
    values = np.array([difference(x) for x in grid])
    size = np.abs(values)
    lowest = np.flatnonzero((size[1:-1] < size[:-2]) & (size[1:-1] < size[2:])) + 1
    lowest = lowest[values[lowest - 1] * values[lowest + 1] > 0]
    places = [
        minimize_scalar(
            lambda x, i=i: np.sign(values[i]) * difference(x),
            bounds=(grid[i - 1], grid[i + 1]), method="bounded", options={"xatol": 1e-12},
        ).x  # pyright: ignore[reportAttributeAccessIssue]
        for i in lowest
    ]  # fmt: skip
    points = np.sort(np.concatenate([grid, places]))
    signed = np.array([difference(x) for x in points])
    changes = np.flatnonzero((signed[:-1] * signed[1:] < 0) & (np.abs(signed[:-1] - signed[1:]) > 1e-14))
    zeros = [brentq(difference, points[i], points[i + 1], xtol=1e-13) for i in changes]
    cuts = np.unique(np.concatenate([ends, basis.centers, np.array(zeros)]))
    return sum(abs(quad(difference, a, b, epsabs=1e-13, epsrel=1e-12)[0]) for a, b in pairwise(cuts))


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_w1_is_the_integral(name: str, seed: int) -> None:
    basis = BASES[name]
    p, q = pair(seed, basis.n_components)
    expected = absolute_integral((p - q).numpy(), basis)
    assert wasserstein_distance(p, q, basis).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_w1_sees_two_zeros_within_a_panel() -> None:
    """D dips 1e-7 below zero between two nodes: the panel's ends have one sign."""
    basis = GaussianBasis(0.0, 1.0, 7, 1.0)
    base, dent = np.array([0.2, 0, 0, -0.2, 0.3, 0, -0.3]), np.array([0.0, -1, 0, 1, 0, 0, 0])

    def lowest(size: float) -> float:
        delta = base + size * dent
        x = np.linspace(1, 4, 30001)
        return float((ndtr(x[:, None] - basis.centers) @ delta).min())

    delta = base + brentq(lambda size: lowest(size) + 1e-7, 0.0, 1.0, xtol=1e-12) * dent
    q = np.full(7, 1 / 7)
    scale = 0.9 * q.min() / np.abs(delta).max()
    w1 = wasserstein_distance(torch.tensor(q + scale * delta), torch.tensor(q), basis).item()
    exact = absolute_integral(scale * delta, basis)
    assert abs(float(-(delta @ basis.centers)) * scale - exact) > 1e-10 * exact  # the dip matters
    assert w1 == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("name", ["smooth", "narrow", "wide"])
def test_point_weights_are_moved_by_their_distance(name: str) -> None:
    basis = BASES[name]
    points = torch.eye(basis.n_components, dtype=torch.float64)
    w1 = wasserstein_distance(points[:, None], points, basis)
    centers = torch.tensor(basis.centers)
    torch.testing.assert_close(w1, (centers[:, None] - centers).abs(), rtol=1e-13, atol=1e-13)
    kl = kl_divergence(points[:, None], points, basis)
    torch.testing.assert_close(kl, 0.5 * w1**2 / basis.stds[0] ** 2, rtol=1e-12, atol=1e-12)


def test_kl_far_apart_is_exact_and_has_a_gradient() -> None:
    """100 standard deviations apart: the density of q underflows where p lives."""
    basis = GaussianBasis(0.0, 1.0, 101, 1.0)
    for dtype in (torch.float64, torch.float32):
        p, q = torch.eye(101, dtype=dtype)[[0, -1]]
        q.requires_grad_()
        kl = kl_divergence(p, q, basis)
        assert kl.item() == pytest.approx(5000, rel=1e-12 if dtype == torch.float64 else 1e-5)
        (slope,) = torch.autograd.grad(kl, q)
        assert slope.isfinite().all()
        assert slope.argmin() < 50  # more of what lies near p

    z = torch.zeros(101, dtype=torch.float64)
    z[0] = 800.0  # its softmax is 1 at one place and underflows elsewhere
    z.requires_grad_()
    (slope,) = torch.autograd.grad(kl_divergence(torch.eye(101, dtype=torch.float64)[-1], z.softmax(-1), basis), z)
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", BASES)
def test_kl_is_the_integral(name: str) -> None:
    basis = BASES[name]
    p, q = pair(3, basis.n_components)
    f, g = basis.mixture(p.numpy()), basis.mixture(q.numpy())
    cuts = np.unique(np.concatenate([basis.centers + k * basis.stds for k in (-8, -3, 0, 3, 8)]))
    expected = sum(
        quad(lambda x: float(f.pdf(x) * (f.logpdf(x) - g.logpdf(x))), a, b, epsabs=1e-12)[0] for a, b in pairwise(cuts)
    )
    assert kl_divergence(p, q, basis).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", BASES)
def test_mmd2_is_the_double_integral(name: str) -> None:
    basis, sigma = BASES[name], 0.6
    p, q = pair(4, basis.n_components)
    step = min(sigma, basis.stds.min()) / 12
    x = np.arange((basis.centers - 9 * basis.stds).min(), (basis.centers + 9 * basis.stds).max(), step)
    if len(x) > 3000:
        pytest.skip("a double sum over this basis takes minutes")
    difference = basis.mixture(p.numpy()).pdf(x) - basis.mixture(q.numpy()).pdf(x)
    kernel = np.exp(-((x[:, None] - x) ** 2) / (2 * sigma**2))
    expected = difference @ kernel @ difference * step**2
    assert gaussian_mmd2(p, q, basis, sigma).item() == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("name", BASES)
def test_as_numpys(name: str) -> None:
    """The same numbers as `gaussmix.distances`."""
    basis = BASES[name]
    p, q = weights(5, 4, basis.n_components), weights(6, 4, basis.n_components)
    for ours, theirs in (
        (wasserstein_distance(p, q, basis), distances.wasserstein_distance(p.numpy(), q.numpy(), basis=basis)),
        (kl_divergence(p, q, basis), distances.kl_divergence(p.numpy(), q.numpy(), basis=basis)),
        (gaussian_mmd2(p, q, basis, 0.6), distances.gaussian_mmd2(p.numpy(), q.numpy(), 0.6, basis=basis)),
    ):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["smooth", "narrow", "warped"])
@pytest.mark.parametrize("which", DISTANCES)
def test_derivatives(which: str, name: str) -> None:
    basis = BASES[name]
    inputs = logits(1, 2, basis.n_components), logits(2, basis.n_components)
    function = on_logits(DISTANCES[which], basis)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), name=st.sampled_from(["smooth", "narrow", "wide", "warped"]), alpha=st.floats(0.05, 3)
)
def test_properties(seed: int, name: str, alpha: float) -> None:
    basis = BASES[name]
    p, q, r = weights(seed, 3, basis.n_components, alpha=alpha)
    d = {pair: wasserstein_distance(*pair, basis).item() for pair in ((p, q), (q, p), (q, r), (p, r))}
    assert d[p, q] == pytest.approx(d[q, p], rel=1e-12)
    assert d[p, r] <= d[p, q] + d[q, r] + 1e-12
    assert d[p, q] >= abs(float((p - q) @ torch.tensor(basis.centers))) - 1e-12
    assert kl_divergence(p, q, basis).item() >= 0
    assert mmd2(p, q, basis).item() >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", DISTANCES)
def test_equal_weights(which: str, dtype: torch.dtype) -> None:
    """0, with finite gradients; of a distance with a minimum there, 0."""
    basis = BASES["smooth"]
    p = weights(7, 3, basis.n_components).to(dtype).requires_grad_()
    q = p.detach().clone().requires_grad_()
    distance = DISTANCES[which](p, q, basis)
    assert (distance == 0).all()
    for slope in torch.autograd.grad(distance.sum(), (p, q)):
        assert slope.abs().max() <= 10 * torch.finfo(dtype).eps


@pytest.mark.parametrize("which", DISTANCES)
def test_float32_and_batches(which: str) -> None:
    basis, distance = GaussianBasis(0.0, 1.0, 60, 2.0), DISTANCES[which]
    p, q = weights(8, 5, 1, 60), weights(9, 4, 60)
    exact = distance(p, q, basis)
    assert exact.shape == (5, 4)
    for i, j in ((0, 0), (4, 2)):
        assert distance(p[i, 0], q[j], basis).item() == pytest.approx(exact[i, j].item(), rel=1e-11)
    assert distance(p[:0, 0], q[:1], basis).shape == (0,)
    single = distance(p.float(), q.float(), basis)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=2e-4, atol=1e-6)


def test_descent_on_w1_finds_the_target() -> None:
    basis = BASES["smooth"]
    target = weights(10, basis.n_components)
    z = torch.zeros(basis.n_components, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=0.1)
    first = last = 0.0
    for step in range(100):
        optimizer.zero_grad()
        loss = wasserstein_distance(z.softmax(-1), target, basis)
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < 0.05 * first


@pytest.mark.parametrize("which", DISTANCES)
def test_bad_input(which: str) -> None:
    basis, distance = BASES["smooth"], DISTANCES[which]
    p, q = pair(11, 12)
    with pytest.raises(ValueError, match=r"q has shape \(11,\), but the basis has 12 components"):
        distance(p, q[:11], basis)
    with pytest.raises(ValueError, match=r"p has weights whose sum is off 1 by 1; .* use softmax"):
        distance(2 * p, q, basis)
    with pytest.raises(ValueError, match=r"p contains -0\.1; weights must be finite and not negative"):
        distance(torch.cat([p[:11] + 0.1, p[11:] * 0 - 0.1]), q, basis)
    with pytest.raises(ValueError, match="q contains nan"):
        distance(p, q * torch.nan, basis)
    with pytest.raises(ValueError, match=r"basis has bounds \(0.0, None\)"):
        distance(p, q, GaussianBasis(1.0, 1.0, 12, bounds=(0.0, None)))
    with pytest.raises(TypeError, match=r"p is torch.float64 and q is torch.float32"):
        distance(p, q.float(), basis)
    with pytest.raises(TypeError, match=r"torch.float16; give torch.float32 or torch.float64"):
        distance(p.half(), q.half(), basis)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_mmd_needs_a_width(sigma: float) -> None:
    with pytest.raises(ValueError, match=r"sigma is .*positive standard deviation"):
        gaussian_mmd2(*pair(0, 12), BASES["smooth"], sigma)


def test_mmd_needs_a_width_that_the_dtype_holds() -> None:
    p, q = pair(0, 12)
    for sigma in (1e-50, 1e50):
        with pytest.raises(ValueError, match=r"sigma is .*positive standard deviation"):
            gaussian_mmd2(p.float(), q.float(), BASES["smooth"], sigma)
    with pytest.raises(TypeError, match="sigma is None; give a positive standard deviation"):
        gaussian_mmd2(p, q, BASES["smooth"], None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("unit", [1e-160, 1e-300, 1e160, 1e200])
def test_mmd_has_no_unit(unit: float) -> None:
    p, q = pair(1, 12)
    found = gaussian_mmd2(p, q, GaussianBasis(0.0, unit, 12), unit).item()
    assert found == pytest.approx(gaussian_mmd2(p, q, GaussianBasis(0.0, 1.0, 12), 1.0).item(), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), log_size=st.floats(-17, -3), name=st.sampled_from(["smooth", "narrow", "wide"]))
def test_kl_of_nearly_equal_weights(seed: int, log_size: float, name: str) -> None:
    """From the difference itself, integral f (r - log(1 + r)) with r = (g - f) / f, and never below 0."""
    basis = BASES[name]
    p, direction = pair(seed, basis.n_components)
    q = p + 10**log_size * (direction - p)
    found = kl_divergence(p, q / q.sum(), basis).item()
    assert found >= 0
    if log_size > -9:
        x = np.linspace(-40, 60, 20_001)
        f, g = (basis.mixture(w.numpy()).pdf(x) for w in (p, direction))
        there = f > 1e-200
        r = 10**log_size * (g - f)[there] / f[there]
        terms = np.where(np.abs(r) < 1e-4, r**2 * (1 / 2 - r / 3 + r**2 / 4), r - np.log1p(r))
        assert found == pytest.approx(float(f[there] @ terms) * (x[1] - x[0]), rel=1e-4, abs=1e-22)
