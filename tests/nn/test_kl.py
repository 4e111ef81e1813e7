"""KL of expansions to and from normal distributions, torch's mixtures and each other where they moved apart."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm
from torch import Tensor
from torch.autograd import gradcheck
from torch.distributions import Categorical, Distribution, Laplace, MixtureSameFamily, Normal, kl_divergence

from gaussmix.density.basis import GaussianBasis
from gaussmix.nn import Components, ExpansionDistribution, distances
from gaussmix.nn.distances import Rows, rows_kl

BASIS = GaussianBasis(-2.0, 0.6, 7, 1.2)


def double(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def weights(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]))


LAWS: dict[str, Distribution] = {
    "plain": ExpansionDistribution(BASIS, probs=weights(0, 2, 7)),
    "moved": ExpansionDistribution(BASIS, probs=weights(1, 2, 7), loc=double(1.0, -0.5), scale=double(0.1, 3.0)),
    "shared": ExpansionDistribution(BASIS, probs=weights(2, 7), loc=double(0.3, 2.0)),
    "guarded": ExpansionDistribution(BASIS, probs=weights(3, 2, 7), scale=double(0.5, 1.5), guard=0.05),
    "one normal": Normal(double(0.4)[0], double(0.7)[0]),
    "one mixture": MixtureSameFamily(
        Categorical(probs=weights(5, 3)), Normal(double(-1, 0.2, 2), double(0.3, 0.02, 1))
    ),
    "normal": Normal(double(0.4, -1.0), double(1.3, 0.05)),
    "mixture": MixtureSameFamily(
        Categorical(probs=weights(4, 2, 3)),
        Normal(double([-1, 0.2, 2], [0, 0.1, 5]), double([0.3, 1, 0.5], [0.01, 1, 2])),
    ),
}


def parts(law: Distribution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and standard deviations (2, k)."""
    if isinstance(law, Normal):
        means, stds = law.loc.expand(2)[:, None], law.scale.expand(2)[:, None]
        return np.ones((2, 1)), means.numpy(), stds.numpy()
    if isinstance(law, MixtureSameFamily):
        inner: Any = law.component_distribution
        values = law.mixture_distribution.probs, inner.loc, inner.scale
        weight, means, stds = (part.expand(2, -1).numpy() for part in values)
        return weight, means, stds
    assert isinstance(law, ExpansionDistribution)
    means, stds = law.components
    return (
        law.weights.numpy(),
        (law.loc[:, None] + law.scale[:, None] * means).numpy(),
        (law.scale[:, None] * stds).numpy(),
    )


def by_quad(p: Distribution, q: Distribution, row: int) -> float:
    """Integral f log(f / g) between the places of the components of both, by scipy."""
    (w, m, s), (v, n, r) = ([values[row] for values in parts(law)] for law in (p, q))

    def log_density(x: float, masses: np.ndarray, means: np.ndarray, stds: np.ndarray) -> float:
        return float(np.asarray(logsumexp(norm.logpdf(x, means, stds), b=masses)))

    def integrand(x: float) -> float:
        log_f = log_density(x, w, m, s)
        return np.exp(log_f) * (log_f - log_density(x, v, n, r))

    steps = np.array([-12, -6, -3, -1, 1, 3, 6, 12])
    cuts = np.unique(
        np.concatenate([(m[:, None] + s[:, None] * steps).ravel(), (n[:, None] + r[:, None] * steps).ravel()])
    )
    cuts = cuts[(cuts >= (m - 12 * s).min()) & (cuts <= (m + 12 * s).max())]
    return sum(quad(integrand, a, b, epsabs=1e-12, epsrel=1e-9)[0] for a, b in pairwise(cuts))


PAIRS = [
    *[(name, other) for name in ("plain", "moved", "shared", "guarded") for other in ("normal", "mixture")],
    *[(other, name) for name in ("plain", "moved", "guarded") for other in ("normal", "mixture")],
    ("plain", "one normal"), ("one normal", "plain"), ("plain", "one mixture"), ("one mixture", "plain"),
    ("one mixture", "guarded"),
    ("plain", "moved"), ("moved", "plain"), ("shared", "moved"), ("guarded", "shared"), ("moved", "guarded"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")  # of widths 4^15: rounding, seen in the tails
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_is_the_integral(first: str, second: str) -> None:
    p, q = LAWS[first], LAWS[second]
    found = kl_divergence(p, q)
    assert found.shape == (2,)
    for row in range(2):
        assert found[row].item() == pytest.approx(by_quad(p, q, row), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(("first", "second"), [("moved", "normal"), ("normal", "moved"), ("moved", "mixture")])
def test_float32(first: str, second: str) -> None:
    def single(law: Distribution) -> Distribution:
        if isinstance(law, Normal):
            return Normal(law.loc.float(), law.scale.float())
        if isinstance(law, MixtureSameFamily):
            inner: Any = law.component_distribution
            return MixtureSameFamily(
                Categorical(probs=law.mixture_distribution.probs.float()),
                Normal(inner.loc.float(), inner.scale.float()),
            )
        assert isinstance(law, ExpansionDistribution)
        return ExpansionDistribution(BASIS, probs=law.probs.float(), loc=law.loc.float(), scale=law.scale.float())

    exact, found = (kl_divergence(*map(kind, (LAWS[first], LAWS[second]))) for kind in (lambda law: law, single))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_normals_among_themselves() -> None:
    one = Components(double(0.0), double(1.0))
    p, q = Normal(double(0.3, -40.0), double(0.2, 3.0)), Normal(double(1.0, 5.0), double(0.7, 0.5))
    ours = [ExpansionDistribution(one, probs=double(1.0), loc=law.loc, scale=law.scale) for law in (p, q)]
    expected = kl_divergence(p, q)
    for first, second in ((ours[0], q), (p, ours[1]), (ours[0], ours[1])):
        torch.testing.assert_close(kl_divergence(first, second), expected, rtol=1e-9, atol=1e-12)
    near = ExpansionDistribution(one, probs=double(1.0), loc=p.loc + 1e-6, scale=p.scale)
    torch.testing.assert_close(kl_divergence(p, near), 0.5 * (1e-6 / p.scale) ** 2, rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("kind", ["to_normal", "from_normal", "to_mixture", "from_mixture", "moved"])
def test_derivatives(kind: str) -> None:
    z, loc, scale, a, b, v = (
        values.requires_grad_()
        for values in (
            double([0.1, 0.5, -1.0], [0.3, 0.0, 0.2]), double(0.3, -0.4), double(0.8, 1.5),
            double([0.2, 1.0], [-0.5, 0.4]), double([0.7, 0.4], [1.2, 0.6]), double([0.1, 0.4], [0.0, 0.3]),
        )
    )  # fmt: skip
    means, stds = double(-1.0, 0.2, 1.1).requires_grad_(), double(0.5, 0.4, 0.8).requires_grad_()

    def call(*given: Tensor) -> Tensor:
        logs, m, s, mu, sigma, place, unit, mixed = given
        law = ExpansionDistribution(Components(mu, sigma), logits=logs, loc=m, scale=s)
        if kind == "moved":
            return kl_divergence(law, ExpansionDistribution(BASIS, probs=weights(5, 7), loc=place[:, 0]))
        other: Distribution = Normal(place[:, 0], unit[:, 0])
        if kind.endswith("mixture"):
            other = MixtureSameFamily(Categorical(logits=mixed), Normal(place, unit))
        return kl_divergence(law, other) if kind.startswith("to") else kl_divergence(other, law)

    assert gradcheck(call, (z, loc, scale, means, stds, a, b, v))


def test_moved_alike_is_not_moved() -> None:
    loc, scale = double(5.0, -3.0), double(0.1, 4.0)
    p, q = (ExpansionDistribution(BASIS, probs=weights(seed, 2, 7), loc=loc, scale=scale) for seed in (6, 7))
    still = [ExpansionDistribution(BASIS, probs=law.probs) for law in (p, q)]
    torch.testing.assert_close(kl_divergence(p, q), kl_divergence(*still))
    other = ExpansionDistribution(BASIS, probs=q.probs, loc=loc.clone(), scale=scale.clone())
    torch.testing.assert_close(kl_divergence(p, other), kl_divergence(p, q), rtol=1e-9, atol=1e-12)


def test_blocks_of_rows_are_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    w, v = weights(8, 5, 7).requires_grad_(), weights(9, 5, 3)
    one = Components(double(-1.0, 0.0, 2.0), double(0.5, 1.0, 0.3))
    loc = torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_()
    found = []
    for numbers in (1 << 30, 1):
        monkeypatch.setattr(distances, "_NUMBERS", numbers)
        basis = Components(torch.tensor(BASIS.centers), torch.tensor(BASIS.stds))
        rows = Rows.moved(w, basis, torch.zeros_like(loc), torch.ones_like(loc))
        value = rows_kl(rows, Rows.moved(v, one, loc, torch.ones_like(loc)))
        found.append((value, *torch.autograd.grad(value.sum(), (w, loc))))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)


def test_shapes_and_refusals() -> None:
    law = ExpansionDistribution(BASIS, probs=weights(10, 7))
    assert kl_divergence(law, Normal(torch.zeros(4, 2), 1.0)).shape == (4, 2)
    assert kl_divergence(Normal(torch.zeros(4, 2), 1.0), law).shape == (4, 2)
    assert kl_divergence(Normal(torch.zeros(0), torch.ones(0)), law).shape == (0,)
    assert kl_divergence(Normal(0.0, 1.0), law).shape == ()
    laplace = MixtureSameFamily(Categorical(torch.ones(2)), Laplace(torch.zeros(2), torch.ones(2)))
    for pair in ((law, laplace), (laplace, law)):
        with pytest.raises(NotImplementedError, match=r"the mixture has components Laplace; .* knows Normal alone"):
            kl_divergence(*pair)
