"""Under autocast, heads give half precision: everything goes on in float32, as if they had given float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gaussmix import nn
from gaussmix.density.basis import GaussianBasis

BASIS = GaussianBasis.spanning(-4.0, 4.0, 24)
Y = torch.linspace(-3, 3, 16)
TARGET = nn.soft_weights(Y, BASIS)

Law = nn.ExpansionDistribution
CALLS: dict[str, Callable[[Law], Tensor]] = {
    "log_prob": lambda law: law.log_prob(Y),
    "cdf": lambda law: law.cdf(Y),
    "icdf": lambda law: law.icdf(0.3),
    "crps": lambda law: law.crps(Y),
    "mean": lambda law: law.mean,
    "variance": lambda law: law.variance,
    "entropy": lambda law: law.entropy(),
    "kl to a normal": lambda law: kl_divergence(law, Normal(0.0, 1.0)),
    "kl of a normal": lambda law: kl_divergence(Normal(torch.zeros(16), torch.ones(16)), law),
    "kl": lambda law: nn.kl_divergence(law.probs, TARGET, BASIS),
    "w1": lambda law: nn.wasserstein_distance(law.probs, TARGET, BASIS),
    "mmd2": lambda law: nn.gaussian_mmd2(law.probs, TARGET, BASIS, 0.5),
    "crps of weights": lambda law: nn.crps(law.probs, Y, BASIS),
}


def head(dtype: torch.dtype) -> tuple[torch.nn.Linear, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 26)
        x = torch.randn(16, 3)
    return layer, x.to(dtype).float()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CALLS)
def test_as_in_float32(name: str, dtype: torch.dtype) -> None:
    layer, x = head(dtype)
    with torch.autocast("cpu", dtype=dtype):
        out = layer(x)
        assert out.dtype == dtype
        scale = torch.nn.functional.softplus(out[:, 25])
        law = Law(BASIS, logits=out[:, :24], loc=out[:, 24], scale=scale, guard=0.002)
        found = CALLS[name](law)
    loss = found.sum()
    loss.backward()
    exact_out = out.detach().float().requires_grad_()
    same = Law(BASIS, logits=exact_out[:, :24], loc=exact_out[:, 24], scale=scale.detach().float(), guard=0.002)
    expected = CALLS[name](same)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-6, atol=1e-6)
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite().all()
    assert layer.weight.grad.abs().max() > 0


def test_training_under_autocast_goes_down() -> None:
    layer, x = head(torch.float32)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(x)
            law = Law(BASIS, logits=out[:, :24], loc=out[:, 24], scale=1.0, guard=0.002)
            loss = law.crps(Y).mean() - 0.1 * law.log_prob(Y.bfloat16()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_half_weights_are_refused() -> None:
    with pytest.raises(TypeError, match=r"the weights are torch.float16; give torch.float32 or torch.float64"):
        Law(BASIS, probs=torch.full((24,), 1 / 24, dtype=torch.float16))
