"""Expansions as torch distributions: against the NumPy mixture, closed forms, finite differences."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, norm
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import kl_divergence

from gaussmix import LatticeMixture1D, nn
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.nn import Components, ExpansionDistribution, components
from gaussmix.nn.components import following

BASIS = GaussianBasis(-3.0, 0.8, 9, 1.3)
BASES = {"lattice": BASIS, "warped": GaussianBasis(-2.0, 0.5, 9, 1.5, center=1.0, scale=0.3)}


def weights(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


def logits(seed: int, *shape: int) -> Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def test_is_the_mixture() -> None:
    for basis in BASES.values():
        p = weights(0, 9)
        law, mixture = ExpansionDistribution(basis, probs=p), basis.mixture(p.numpy())
        x = torch.linspace(-60, 60, 301, dtype=torch.float64)
        np.testing.assert_allclose(law.log_prob(x), mixture.logpdf(x.numpy()), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(law.cdf(x), mixture.cdf(x.numpy()), rtol=1e-9, atol=1e-300)
        q = torch.tensor([1e-200, 1e-12, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9], dtype=torch.float64)
        np.testing.assert_allclose(law.icdf(q), mixture.ppf(q.numpy()), rtol=1e-9, atol=1e-9)
        assert law.mean.item() == pytest.approx(mixture.mean(), rel=1e-12)
        assert law.variance.item() == pytest.approx(mixture.var(), rel=1e-12)
        assert law.stddev.item() == pytest.approx(mixture.std(), rel=1e-12)
        assert law.entropy().item() == pytest.approx(mixture.entropy(), rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantiles_to_rounding(dtype: torch.dtype) -> None:
    law = ExpansionDistribution(BASIS, probs=weights(1, 4, 9).to(dtype))
    q = torch.linspace(0, 1, 1001, dtype=dtype)[1:-1, None]
    x = law.icdf(q)
    assert x.shape == (999, 4)
    assert (law.cdf(x) - q).abs().max() <= 8 * torch.finfo(dtype).eps
    assert (x.diff(dim=0) > 0).all()
    ends = law.icdf(torch.tensor([[0.0], [1.0], [-0.1], [1.1], [torch.nan]], dtype=dtype))
    assert (ends[0] == -torch.inf).all()
    assert (ends[1] == torch.inf).all()
    assert ends[2:].isnan().all()


@pytest.mark.parametrize("name", BASES)
def test_derivatives(name: str) -> None:
    x = torch.tensor([-4.0, 0.1, 2.5], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.003, 0.4, 0.98], dtype=torch.float64, requires_grad=True)
    z = logits(2, 3, 9)
    p = weights(3, 3, 9).requires_grad_()
    basis = BASES[name]

    def made(given: Tensor) -> ExpansionDistribution:
        if given.data_ptr() == z.data_ptr():
            return ExpansionDistribution(basis, logits=given)
        return ExpansionDistribution(basis, probs=given, validate_args=False)

    for given in (z, p):
        for function, value in (("log_prob", x), ("cdf", x), ("icdf", q)):
            call = lambda w, v, function=function: getattr(made(w), function)(v)  # noqa: E731
            assert gradcheck(call, (given, value))
            assert gradgradcheck(call, (given, value))
        for moment in ("mean", "variance"):
            assert gradcheck(lambda w, moment=moment: getattr(made(w), moment), (given,))
        assert gradcheck(lambda w: made(w).entropy(), (given,))


def test_draws_have_the_distribution() -> None:
    law = ExpansionDistribution(BASIS, probs=weights(4, 2, 9))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = law.sample((4000,))
    assert x.shape == (4000, 2)
    for j in range(2):
        single = BASIS.mixture(law.probs[j].numpy())
        assert kstest(x[:, j].numpy(), single.cdf).pvalue > 0.01
        assert kstest(x[:, j].numpy(), BASIS.mixture(law.probs[1 - j].numpy()).cdf).pvalue < 1e-6


def test_draws_follow_the_weights_along_the_cdf() -> None:
    """dx/dw at a draw is the derivative of the quantile with the same cdf, far into both tails."""
    z = logits(5, 9)
    law = ExpansionDistribution(BASIS, logits=z)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = law.rsample((300,))
    place = x.detach()
    slopes = torch.stack([torch.autograd.grad(part, z, retain_graph=True)[0] for part in x])
    step = 1e-6
    for i in range(9):
        moved = z.detach().clone()
        moved[i] += step
        cdf, density = ExpansionDistribution(BASIS, logits=moved).cdf(place), law.log_prob(place).exp().detach()
        moved[i] -= 2 * step
        difference = (cdf - ExpansionDistribution(BASIS, logits=moved).cdf(place)) / (2 * step)
        torch.testing.assert_close(slopes[:, i], -difference / density, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", ["square", "cosine"])
def test_pathwise_gradients_of_expectations(function: str) -> None:
    """d E[h(x)] / d logits in closed form lies within the error of the mean over draws."""
    z = logits(6, 9)
    mu, sigma = torch.tensor(BASIS.centers), torch.tensor(BASIS.stds)
    closed = {"square": mu**2 + sigma**2, "cosine": mu.cos() * (-0.5 * sigma**2).exp()}[function]
    (expected,) = torch.autograd.grad((z.softmax(-1) * closed).sum(), z)
    h = {"square": torch.square, "cosine": torch.cos}[function]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        copies = z.detach().expand(20_000, 9).clone().requires_grad_()  # one row of weights a draw: a gradient each
        values = h(ExpansionDistribution(BASIS, logits=copies).rsample())
    (slopes,) = torch.autograd.grad(values.sum(), copies)
    error = slopes.std(0) / math.sqrt(len(slopes))
    assert ((slopes.mean(0) - expected).abs() <= 4 * error).all()
    assert (expected.abs() > 8 * error).any()  # a gradient of 0 would not pass


def test_blocks_of_draws_are_all_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    p = weights(12, 2, 9).requires_grad_()
    q = torch.linspace(0.01, 0.99, 10, dtype=torch.float64).reshape(5, 2).requires_grad_()
    slopes = []
    for numbers in (10**6, 40, 1):  # all at once, two draws, one draw
        monkeypatch.setattr(components, "_NUMBERS", numbers)
        law = ExpansionDistribution(BASIS, probs=p, validate_args=False)
        first = torch.autograd.grad(law.icdf(q).sin().sum(), (p, q), create_graph=True)
        second = torch.autograd.grad([(slope**2).sum() for slope in first], (p, q))
        slopes.append([*first, *second])
    for blocks in slopes[1:]:
        for found, expected in zip(blocks, slopes[0], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinity_has_no_density(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    x = torch.tensor([-torch.inf, torch.inf, largest, -largest, 1.0], dtype=dtype, requires_grad=True)
    p = weights(13, 9).to(dtype).requires_grad_()
    for law in (ExpansionDistribution(BASIS, probs=p), ExpansionDistribution(BASIS, logits=p)):
        found = law.log_prob(x)
        assert (found[:4] == -torch.inf).all()
        assert found[4].isfinite()
        slopes = torch.autograd.grad(found[found.isfinite()].sum(), (x, p), retain_graph=True)
        assert all(slope.isfinite().all() for slope in slopes)
        for slope, alone in zip(torch.autograd.grad(found.sum(), (x, p)), slopes, strict=True):
            torch.testing.assert_close(slope, alone)
    assert ExpansionDistribution(BASIS, probs=p).log_prob(x.detach().sign() * largest**0.4).isfinite().all()


def test_upper_tail_keeps_its_digits_in_float32() -> None:
    z = logits(7, 9)
    far = torch.tensor([7.5], dtype=torch.float64)
    slopes = []
    for dtype in (torch.float64, torch.float32):
        w = z.detach().to(dtype).requires_grad_()
        law = ExpansionDistribution(BASIS, logits=w)
        x = following(far.to(dtype), law.probs, law.components)
        slopes.append(torch.autograd.grad(x.sum(), w)[0].double())
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-3, atol=1e-4)


def test_kl_between_expansions() -> None:
    p, q = weights(8, 3, 9), weights(9, 9)
    first, second = ExpansionDistribution(BASIS, probs=p), ExpansionDistribution(BASIS, probs=q)
    torch.testing.assert_close(kl_divergence(first, second), nn.kl_divergence(p, q, BASIS))
    one = ExpansionDistribution(Components(torch.tensor([1.0]), torch.tensor([0.5])), probs=torch.ones(1))
    other = ExpansionDistribution(Components(torch.tensor([3.0]), torch.tensor([2.0])), probs=torch.ones(1))
    expected = math.log(4) + (0.25 + 4) / 8 - 0.5
    assert kl_divergence(one, other).item() == pytest.approx(expected, rel=1e-5)


def test_kl_of_scales_side_by_side() -> None:
    """A narrow component beside a wide one on another set of components."""
    f = GaussianMixture1D([0.3, 0.7], [0.0, 0.2], [3.0, 0.01])
    g = GaussianMixture1D([0.5, 0.5], [-1.0, 0.5], [2.0, 1.0])
    ours = kl_divergence(ExpansionDistribution.from_mixture(f), ExpansionDistribution.from_mixture(g)).item()
    cuts = [-30, -10, -3, 0.1, 0.15, 0.18, 0.2, 0.22, 0.25, 0.3, 3, 10, 30]
    expected = sum(
        quad(lambda x: float(f.pdf(x) * (f.logpdf(x) - g.logpdf(x))), a, b, epsabs=1e-13)[0] for a, b in pairwise(cuts)
    )
    assert ours == pytest.approx(expected, rel=1e-9)


def test_weights_of_zero() -> None:
    p = torch.tensor([0.0, 1.0, 0, 0, 0, 0, 0, 0, 0], dtype=torch.float64, requires_grad=True)
    law = ExpansionDistribution(BASIS, probs=p)
    x = torch.tensor([-2.0, 3.0, 200.0], dtype=torch.float64)
    assert law.logits[0] == -torch.inf
    expected = norm.logpdf(x.numpy(), BASIS.centers[1], BASIS.stds[1])
    np.testing.assert_allclose(law.log_prob(x).detach(), expected, rtol=1e-12)
    (slope,) = torch.autograd.grad(law.log_prob(x).sum(), p)
    assert slope.isfinite().all()
    assert slope[-1] > 1e6  # x = 200 asks for the last component


def test_shapes() -> None:
    law = ExpansionDistribution(BASIS, logits=torch.zeros(2, 3, 9))
    assert (law.batch_shape, law.event_shape) == ((2, 3), ())
    assert law.sample().shape == (2, 3)
    assert law.rsample((5,)).shape == (5, 2, 3)
    assert law.rsample((0,)).shape == (0, 2, 3)
    assert law.log_prob(torch.zeros(5, 1, 1)).shape == (5, 2, 3)
    assert law.icdf(torch.tensor(0.5)).shape == (2, 3)
    assert law.entropy().shape == (2, 3)
    wide = law.expand((4, 2, 3))
    assert wide.batch_shape == (4, 2, 3)
    torch.testing.assert_close(wide.log_prob(torch.zeros(())), law.log_prob(torch.zeros(())).expand(4, 2, 3))
    assert kl_divergence(wide, law).shape == (4, 2, 3)
    assert law.sample().dtype == torch.float32


def test_from_fitted_models() -> None:
    x = np.random.default_rng(10).normal(size=4000)
    for model in (GMMExpansion(rule="histogram", n_components=40).fit(x), GMMExpansion(bounds=None).fit(x)):
        law = ExpansionDistribution.from_mixture(model)
        points = np.linspace(-2, 2, 9)
        np.testing.assert_allclose(law.log_prob(torch.tensor(points)), model.distribution_.logpdf(points), atol=1e-3)
        assert ExpansionDistribution.from_mixture(model.distribution_, dtype=torch.float32).probs.dtype == torch.float32
    counts = GMMExpansion(bounds=None).fit(np.random.default_rng(10).poisson(50, 4000)).distribution_
    assert isinstance(counts, LatticeMixture1D)
    law = ExpansionDistribution.from_mixture(counts)
    assert law.log_prob(torch.tensor(50.5)).item() == pytest.approx(counts.continuous.logpdf(50.5), abs=1e-3)


def test_bad_input() -> None:
    p = weights(11, 9)
    with pytest.raises(ValueError, match="neither of probs and logits are given"):
        ExpansionDistribution(BASIS)
    with pytest.raises(ValueError, match="both of probs and logits are given"):
        ExpansionDistribution(BASIS, p, p.log())
    with pytest.raises(ValueError, match=r"weights have shape \(8,\), but the basis has 9 components"):
        ExpansionDistribution(BASIS, p[:8])
    with pytest.raises(ValueError, match="probs has weights whose sum is off 1 by 1"):
        ExpansionDistribution(BASIS, 2 * p)
    with pytest.raises(ValueError, match="logits contain NaN or infinity"):
        ExpansionDistribution(BASIS, logits=p * torch.nan)
    with pytest.raises(ValueError, match=r"basis has bounds \(0.0, None\), which reflect its Gaussians"):
        ExpansionDistribution(GaussianBasis(1.0, 1.0, 9, bounds=(0.0, None)), p)
    with pytest.raises(TypeError, match="basis is a list"):
        ExpansionDistribution([1.0], p)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the mixture has bounds"):
        ExpansionDistribution.from_mixture(GaussianMixture1D([1.0], [1.0], 1.0, bounds=(0, None)))
    with pytest.raises(ValueError, match=r"point masses of 0.5, which have no density"):
        ExpansionDistribution.from_mixture(GaussianMixture1D([1.0], [1.0], 1.0, atoms=([0.0], [0.5])))
    with pytest.raises(ValueError, match=r"Student t of mass 0.2; at most 0.01 is left out"):
        ExpansionDistribution.from_mixture(GaussianMixture1D([1.0], [1.0], 1.0, tail=(0.2, 0, 1)))
