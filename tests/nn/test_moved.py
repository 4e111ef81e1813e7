"""Bases that move row by row, guards, and bases that are learnt: against the NumPy mixture, SciPy, closed forms."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest, t
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.nn import Components, ExpansionDistribution, gaussian_mmd2, kl_divergence, wasserstein_distance

BASIS = GaussianBasis(-2.0, 0.6, 7, 1.2)
LOC, SCALE = torch.tensor([4.0, -30.0, 0.1]).double(), torch.tensor([2.0, 0.05, 1.0]).double()


def logits(seed: int, *shape: int) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def as_numpy(law: ExpansionDistribution, row: int) -> GaussianMixture1D:
    """One row of ``law``, with its guard, from what it says of itself."""
    loc, scale = law.loc[row].item(), law.scale[row].item()
    means, stds = (values.detach().numpy() for values in law.components)
    return GaussianMixture1D(law.weights[row].detach().numpy(), loc + scale * means, scale * stds)


@pytest.mark.parametrize("guard", [0.0, 0.002, 0.3])
@pytest.mark.parametrize("shared", [True, False])
def test_rows_are_moved_mixtures(guard: float, shared: bool) -> None:
    z = logits(0, *(() if shared else (3,)), 7)
    law = ExpansionDistribution(BASIS, logits=z, loc=LOC, scale=SCALE, guard=guard)
    assert law.batch_shape == (3,)
    assert law.probs.shape == (3, 7)
    torch.testing.assert_close(law.probs, z.softmax(-1).expand(3, 7))
    torch.testing.assert_close(law.weights.sum(-1), torch.ones(3).double())
    q = np.array([1e-30, 1e-4, 0.2, 0.5, 0.8, 0.9999, 1 - 1e-6])
    same = ExpansionDistribution(BASIS, probs=law.probs.detach(), loc=LOC, scale=SCALE, guard=guard)
    for row in range(3):
        mixture = as_numpy(law, row)
        x = np.asarray(mixture.ppf(q))
        values = torch.tensor(x)[:, None].expand(-1, 3)
        for ours in (law, same):
            found = ours.log_prob(values)[:, row].detach().numpy()
            np.testing.assert_allclose(found, mixture.logpdf(x), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(law.cdf(values)[:, row].detach(), mixture.cdf(x), rtol=1e-9)
        found = law.icdf(torch.tensor(q)[:, None])[:, row].detach().numpy()
        np.testing.assert_allclose(found, x, rtol=1e-7, atol=1e-9)
        assert law.mean[row].item() == pytest.approx(mixture.mean(), rel=1e-9)
        assert law.stddev[row].item() == pytest.approx(mixture.std(), rel=1e-9)
        assert law.entropy()[row].item() == pytest.approx(mixture.entropy(), rel=1e-6)


def test_numbers_in_place_of_tensors() -> None:
    law = ExpansionDistribution(BASIS, probs=torch.full((7,), 1 / 7), loc=3, scale=0.5)
    for method, value in (("icdf", 0.3), ("log_prob", 2), ("cdf", 2.5), ("crps", 2.5)):
        found = getattr(law, method)(value)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, getattr(law, method)(torch.tensor(float(value))))
    assert law.icdf(0.5).item() == pytest.approx(3 + 0.5 * (-2 + 3 * 0.6), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_an_outlier_costs(dtype: torch.dtype) -> None:
    """As the docstring says, beside log(width scale); and no more than 2.6 nats from the Student t."""
    basis = GaussianBasis.spanning(-4.0, 4.0, 33)
    width = math.sqrt(float(basis.stds[0] ** 2 + (basis.centers**2).mean()))
    z = torch.zeros(33, dtype=dtype)
    law, bare = (ExpansionDistribution(basis, logits=z, loc=1.0, scale=3.0, guard=g) for g in (0.002, 0.0))
    for distance, cost in ((1e3, 36), (1e6, 63), (1e9, 91)):
        y = 1 + 3 * width * distance * torch.tensor([-1.0, 1.0], dtype=dtype)
        assert (-law.log_prob(y) - math.log(3 * width) < cost).all()
    assert -ExpansionDistribution(basis, logits=z, guard=0.002).log_prob(50.0) < 21
    assert -bare.log_prob(torch.tensor(1 + 3 * 50.0)) > 1000
    u = np.geomspace(10, 1e9, 400)
    found = law.log_prob(torch.tensor(1 + 3 * width * u, dtype=dtype)).double().numpy()
    off = found - (t.logpdf(u, 3) + math.log(0.002) - math.log(3 * width))
    assert np.abs(off).max() < 2.6
    near = torch.linspace(-8, 10, 50, dtype=dtype)
    assert (bare.log_prob(near) - law.log_prob(near)).max() < 0.01  # where the data are it costs next to nothing


def test_draws_of_moved_and_guarded_rows() -> None:
    law = ExpansionDistribution(BASIS, logits=logits(1, 3, 7), loc=LOC, scale=SCALE, guard=0.6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = law.sample((4000,))
    for row in range(3):
        assert kstest(x[:, row].numpy(), as_numpy(law, row).cdf).pvalue > 0.01
    assert kstest(x[:, 0].numpy(), as_numpy(law, 1).cdf).pvalue < 1e-6
    assert ((x - LOC).abs() > 6 * SCALE).any(0).all()  # where the basis alone has 1e-8


@pytest.mark.parametrize("guard", [0.0, 0.1])
@pytest.mark.parametrize("method", ["log_prob", "cdf", "icdf", "crps", "mean", "variance", "entropy"])
def test_derivatives_by_all_parameters(method: str, guard: float) -> None:
    z, loc, scale = logits(2, 2, 4), logits(3, 2), logits(4, 2).detach().exp().requires_grad_()
    means = torch.tensor([-1.0, -0.2, 0.5, 1.4], dtype=torch.float64, requires_grad=True)
    stds = torch.tensor([0.3, 0.5, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    value = torch.tensor([0.1, 0.93], dtype=torch.float64, requires_grad=True)

    def call(*given: Tensor) -> Tensor:
        logs, mu, sigma, place, unit, v = given
        law = ExpansionDistribution(Components(mu, sigma), logits=logs, loc=place, scale=unit, guard=guard)
        found = getattr(law, method)
        if isinstance(found, Tensor):
            return found
        return found() if method == "entropy" else found(v)

    inputs = (z, means, stds, loc, scale, value)
    assert gradcheck(call, inputs)
    if method != "entropy":
        assert gradgradcheck(call, inputs, rtol=1e-3)


def test_pathwise_gradients_of_the_basis() -> None:
    """d E[x^2] / d mu_i = 2 w_i mu_i, / d sigma_i = 2 w_i sigma_i; by loc and scale 2 (m + E u), and so on."""
    n = 20_000
    w = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    mu, sigma = torch.tensor([-1.0, 0.5, 2.0]).double(), torch.tensor([0.5, 1.0, 0.3]).double()
    expected = torch.stack([2 * w * mu, 2 * w * sigma])
    parts = []
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(40):  # blocks of draws, whose means give the error
            means, stds = mu.clone().requires_grad_(), sigma.clone().requires_grad_()
            x = ExpansionDistribution(Components(means, stds), probs=w).rsample((n // 40,))
            parts.append(torch.stack(torch.autograd.grad(x.square().mean(), (means, stds))))
    found = torch.stack(parts)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - expected).abs() <= 4 * error).all()
    assert (expected.abs() > 8 * error).any()

    loc, scale = torch.tensor(1.5, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        x = ExpansionDistribution(BASIS, logits=torch.zeros(7), loc=loc, scale=scale).rsample((500,))
    for slope, each in zip(torch.autograd.grad(x.sum(), (loc, scale)), (torch.ones(()), (x - 1.5) / 2), strict=True):
        torch.testing.assert_close(slope, each.expand(500).sum().detach())


def test_distances_move_with_the_basis() -> None:
    p, q = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]).double().requires_grad_(), torch.tensor([0.4, 0.2, 0.4])
    means = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    stds = torch.tensor([0.4, 0.9, 0.5], dtype=torch.float64, requires_grad=True)

    def call(w: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
        return wasserstein_distance(w / w.sum(-1, keepdim=True), q.double(), Components(mu, sigma))

    assert gradcheck(call, (p, means, stds))
    assert gradgradcheck(call, (p, means, stds))
    for other in (lambda w, v, basis: gaussian_mmd2(w, v, basis, 0.5), kl_divergence):

        def moved(w: Tensor, mu: Tensor, sigma: Tensor, other: Any = other) -> Tensor:
            return other(w / w.sum(-1, keepdim=True), q.double(), Components(mu, sigma))

        assert gradcheck(moved, (p, means, stds))
    point = torch.eye(3, dtype=torch.float64)
    (slope,) = torch.autograd.grad(wasserstein_distance(point[2], point[0], Components(means, stds.detach())), means)
    torch.testing.assert_close(slope, torch.tensor([-1.0, 0.0, 1.0]).double())


def test_shapes_and_expand() -> None:
    law = ExpansionDistribution(BASIS, logits=torch.zeros(2, 1, 7), loc=torch.zeros(3), guard=0.01)
    assert law.batch_shape == (2, 3)
    assert law.rsample((5,)).shape == (5, 2, 3)
    assert law.crps(torch.zeros(5, 1, 1)).shape == (5, 2, 3)
    wide = law.expand((4, 2, 3))
    assert (wide.guard, wide.scale.shape, wide.icdf(0.5).shape) == (0.01, (4, 2, 3), (4, 2, 3))
    torch.testing.assert_close(wide.log_prob(7.0), law.log_prob(7.0).expand(4, 2, 3))
    again = pickle.loads(pickle.dumps(wide))
    torch.testing.assert_close(again.crps(7.0), wide.crps(7.0))
    assert "loc: torch.Size([2, 3])" in repr(law)


def test_a_guard_for_a_fitted_model() -> None:
    model = GMMExpansion(bounds=None).fit(np.random.default_rng(10).normal(size=4000))
    assert ExpansionDistribution.from_mixture(model).log_prob(50.0) < -1000
    assert ExpansionDistribution.from_mixture(model, guard=0.2 / 4000).log_prob(50.0) > -30


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinity_under_loc_and_scale(dtype: torch.dtype) -> None:
    scale = torch.tensor(1e-3, dtype=dtype, requires_grad=True)
    y = torch.tensor([torch.inf, torch.finfo(dtype).max, 1.0], dtype=dtype)
    found = ExpansionDistribution(BASIS, logits=torch.zeros(7, dtype=dtype), loc=1.0, scale=scale).log_prob(y)
    assert (found[:2] == -torch.inf).all()
    assert torch.autograd.grad(found.sum(), scale)[0].isfinite()


def test_bad_input() -> None:
    z = torch.zeros(7)
    for scale, seen in ((0.0, "0"), (-1.0, "-1"), (math.nan, "nan"), (torch.tensor([1.0, math.inf]), "inf")):
        with pytest.raises(ValueError, match=f"scale contains {seen}; it must be positive and finite"):
            ExpansionDistribution(BASIS, logits=z, scale=scale)
    with pytest.raises(ValueError, match="loc contains NaN or infinity"):
        ExpansionDistribution(BASIS, logits=z, loc=math.inf)
    for guard in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"guard is .*; give a mass of at least 0 and below 1"):
            ExpansionDistribution(BASIS, logits=z, guard=guard)
    with pytest.raises(TypeError, match="guard is None; give a mass"):
        ExpansionDistribution(BASIS, logits=z, guard=None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="y contains NaN or infinity"):
        ExpansionDistribution(BASIS, logits=z).crps(math.inf)
