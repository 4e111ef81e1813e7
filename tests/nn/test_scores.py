"""The CRPS against its integral and draws, soft targets against SciPy, both where they are trained with."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.nn import Components, ExpansionDistribution, crps, soft_weights

BASIS = GaussianBasis(-2.0, 0.7, 6, 0.9)
WARPED = GaussianBasis(-2.0, 0.5, 9, 1.5, center=1.0, scale=0.3)


def weights(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


def squared_integral(mixture: GaussianMixture1D, y: float) -> float:
    """integral (F(x) - 1[x >= y])^2 dx by quad between the components' places."""
    steps = np.array([-10, -4, -2, -1, 0, 1, 2, 4, 10])
    cuts = np.unique(np.append((mixture.means[:, None] + mixture.stds[:, None] * steps).ravel(), y))
    total = 0.0
    for a, b in pairwise(cuts):
        f = mixture.cdf if b <= y else mixture.sf
        total += quad(lambda x, f=f: float(f(x)) ** 2, a, b, epsabs=1e-13)[0]
    return total


@pytest.mark.parametrize("basis", [BASIS, WARPED])
def test_crps_is_the_integral(basis: GaussianBasis) -> None:
    p = weights(0, basis.n_components)
    for y in (-7.0, -1.3, 0.2, 1.9, 12.0):
        expected = squared_integral(basis.mixture(p.numpy()), y)
        assert crps(p, torch.tensor(y, dtype=p.dtype), basis).item() == pytest.approx(expected, rel=1e-9)
        single = crps(p.float(), torch.tensor(y), basis)
        assert single.item() == pytest.approx(expected, rel=1e-5)


def test_crps_of_moved_and_guarded_rows() -> None:
    loc, scale = torch.tensor([3.0, -20.0]).double(), torch.tensor([0.2, 5.0]).double()
    law = ExpansionDistribution(BASIS, probs=weights(1, 2, 6), loc=loc, scale=scale, guard=0.02)
    y = torch.tensor([3.3, -60.0]).double()
    for row in range(2):
        means, stds = (values.numpy() for values in law.components)
        place, unit = loc[row].item(), scale[row].item()
        mixture = GaussianMixture1D(law.weights[row].numpy(), place + unit * means, unit * stds)
        assert law.crps(y)[row].item() == pytest.approx(squared_integral(mixture, y[row].item()), rel=1e-8)


def test_crps_of_draws() -> None:
    """E|X - y| - 1/2 E|X - X'| over draws."""
    law = ExpansionDistribution(BASIS, probs=weights(2, 6), loc=1.0, scale=3.0, guard=0.1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, other = law.sample((2, 200_000))
    terms = (x - 2.5).abs() - 0.5 * (x - other).abs()
    assert abs(terms.mean().item() - law.crps(2.5).item()) < 4 * terms.std().item() / math.sqrt(len(terms))


def test_crps_of_one_gaussian() -> None:
    """The textbook form, sigma (u (2 Phi(u) - 1) + 2 phi(u) - pi^-1/2), as far out as float32 goes."""
    one = Components(torch.zeros(1), torch.ones(1))
    y = torch.tensor([-1e30, -50.0, -2.0, 0.0, 0.7, 1e4])
    u = y.double().numpy()
    expected = u * (2 * norm.cdf(u) - 1) + 2 * norm.pdf(u) - 1 / math.sqrt(math.pi)
    y.requires_grad_()
    found = crps(torch.ones(1), y, one)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5)
    (slope,) = torch.autograd.grad(found.sum(), y)
    np.testing.assert_allclose(slope, 2 * norm.cdf(u) - 1, atol=1e-6)


def test_derivatives_of_the_crps() -> None:
    p = weights(3, 2, 4).requires_grad_()
    means = torch.tensor([-1.0, -0.2, 0.5, 1.4], dtype=torch.float64, requires_grad=True)
    stds = torch.tensor([0.3, 0.5, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.1, 3.0], dtype=torch.float64, requires_grad=True)

    def call(w: Tensor, mu: Tensor, sigma: Tensor, v: Tensor) -> Tensor:
        return crps(w / w.sum(-1, keepdim=True), v, Components(mu, sigma))

    assert gradcheck(call, (p, means, stds, y))
    assert gradgradcheck(call, (p, means, stds, y))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_crps_is_proper(seed: int) -> None:
    """E over y of F is least for F itself; y and its weights are Gauss-Hermite nodes of F's components."""
    p, q = weights(seed, 2, 6)
    node, weight = (torch.tensor(values) for values in np.polynomial.hermite_e.hermegauss(60))
    y = (torch.tensor(BASIS.centers)[:, None] + torch.tensor(BASIS.stds)[:, None] * node).flatten()
    mass = (p[:, None] * weight / weight.sum()).flatten()
    assert mass @ crps(p, y, BASIS) < mass @ crps(q, y, BASIS)


def test_soft_weights_are_masses_of_cells() -> None:
    y = torch.tensor([-9.0, -2.0, -0.31, 0.0, 1.2, 40.0], dtype=torch.float64)
    middles = (BASIS.centers[1:] + BASIS.centers[:-1]) / 2
    edges = np.concatenate([[-np.inf], middles, [np.inf]])
    expected = np.diff(norm.cdf(edges, y.numpy()[:, None], 0.75 * 0.7), axis=1)
    found = soft_weights(y, BASIS)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(found.sum(-1), torch.ones(6).double())
    np.testing.assert_allclose(
        soft_weights(y, BASIS, width=2.0), np.diff(norm.cdf(edges, y.numpy()[:, None], 1.4), axis=1), atol=1e-15
    )
    far = soft_weights(torch.tensor([-2.0], dtype=torch.float64), BASIS)[0, -1].item()
    assert far == pytest.approx(norm.sf(4.5 / 0.75), rel=1e-12)  # the upper tail keeps its digits
    assert soft_weights(torch.tensor([torch.inf]), BASIS)[0, -1] == 1


def test_soft_weights_on_a_warped_basis() -> None:
    centers = WARPED.centers
    y = np.linspace(centers[0], centers[-1], 23)
    place = np.interp(y, centers, np.arange(9))
    edges = np.concatenate([[-np.inf], np.arange(8) + 0.5, [np.inf]])
    expected = np.diff(norm.cdf(edges, place[:, None], 0.75), axis=1)
    np.testing.assert_allclose(soft_weights(torch.tensor(y), WARPED), expected, atol=1e-13)


def test_soft_weights_keep_the_mean() -> None:
    basis = GaussianBasis(0.0, 1.0, 30)
    y = torch.linspace(10, 20, 101, dtype=torch.float64)
    off = {w: (soft_weights(y, basis, w) @ torch.tensor(basis.centers) - y).abs().max().item() for w in (0.5, 0.75)}
    assert off[0.5] < 0.003
    assert off[0.75] < 1e-5


def test_cross_entropy_finds_the_expected_weights() -> None:
    y = torch.from_numpy(np.random.default_rng(4).normal(size=300))
    target = soft_weights(y, BASIS)
    z = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([z], max_iter=100, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(z.expand(300, 6), target)
        value.backward()
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(z.softmax(-1).detach(), target.mean(0), atol=1e-4, rtol=0)


def test_dtypes_of_soft_weights() -> None:
    y = torch.tensor([0.25, -1.0])
    for half in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(soft_weights(y.to(half), BASIS), soft_weights(y, BASIS))
    assert soft_weights(torch.tensor([1, 2]), BASIS).dtype == torch.float32
    assert torch.equal(soft_weights(y, GaussianBasis(0.0, 1.0, 1)), torch.ones(2, 1))


def test_bad_input() -> None:
    y = torch.zeros(2)
    for width in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"width is .*; give a positive number of spacings"):
            soft_weights(y, BASIS, width)
    with pytest.raises(ValueError, match="y contains NaN"):
        soft_weights(y * torch.nan, BASIS)
    with pytest.raises(ValueError, match="means of the basis do not increase"):
        soft_weights(y, Components(torch.tensor([1.0, 0.0]), torch.ones(2)))
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="y contains NaN or infinity"):
            crps(weights(0, 6), torch.tensor(bad), BASIS)
    with pytest.raises(ValueError, match="p has weights whose sum is off 1"):
        crps(2 * weights(0, 6), y, BASIS)
