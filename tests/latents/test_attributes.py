"""AttributeLatents against its definition: moments, modes, gate, pairing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from gaussmix.latents.attributes import AttributeLatents


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("components", "separation"), [(3, 3.0), (3, 0.0), (1, 3.0), (2, 4.0), (5, 2.5)])
def test_every_mixture_has_mean_zero_and_unit_variance(components, separation):
    latents = AttributeLatents(2, n_components=components, separation=separation)
    assert latents.means.mean() == pytest.approx(0, abs=1e-12)
    assert (latents.means**2).mean() + latents.sigma**2 == pytest.approx(1)
    if components > 1:
        assert np.diff(latents.means) == pytest.approx(separation * latents.sigma)


def test_default_is_three_modes_of_sd_0378_with_nearest_mean_recovery_of_91_percent():
    latents = AttributeLatents(1)
    assert latents.sigma == pytest.approx(1 / np.sqrt(7))
    apart = (latents.means[1] - latents.means[0]) / latents.sigma
    assert apart == pytest.approx(3)
    assert 1 - (4 / 3) * stats.norm.sf(apart / 2) == pytest.approx(0.91, abs=0.002)


@pytest.mark.parametrize("weights", [None, (0.5, 0.3, 0.2), (0.8, 0.0, 0.2)])
def test_chosen_components_in_their_shares_make_the_mixture(weights):
    latents = AttributeLatents(2, shares=None if weights is None else ((1.0, 0.0, 0.0), weights))
    shares = latents.weights(1)
    drawn = [
        latents.draw(round(12_000 * share), generator(c), {1: c})[:, 1, 0] for c, share in enumerate(shares) if share
    ]
    for c, values in zip(np.flatnonzero(shares), drawn, strict=True):
        z = torch.zeros(len(values), 2, 8)
        z[:, 1, 0] = values
        assert (latents.components(z)[:, 1] == c).mean() > 0.999
    assert all(low.max() <= high.min() for low, high in itertools.pairwise(drawn))  # no value is in two components

    def cdf(x):
        return stats.norm.cdf((np.asarray(x)[:, None] - latents.means) / latents.sigma) @ shares

    assert stats.kstest(torch.cat(drawn).numpy(), cdf).pvalue > 1e-3
    for c, values in zip(np.flatnonzero(shares), drawn, strict=True):
        assert values.median().item() == pytest.approx(latents.means[c], abs=0.06)


def test_a_chosen_component_changes_nothing_else():
    latents = AttributeLatents(3, base_token=True)
    free, chosen = latents.draw(5, generator()), latents.draw(5, generator(), {1: 2})
    assert not torch.equal(free[:, 1, 0], chosen[:, 1, 0])
    chosen[:, 1, 0] = free[:, 1, 0]
    assert torch.equal(free, chosen)


def test_draws_follow_the_mixture():
    latents = AttributeLatents(1, latent_dim=1)
    drawn = latents.draw(20_000, generator()).flatten().numpy()

    def cdf(x):
        return stats.norm.cdf((np.asarray(x)[:, None] - latents.means) / latents.sigma).mean(1)

    assert stats.kstest(drawn, cdf).pvalue > 1e-3


def test_quantile_inverts_the_distribution_function():
    latents = AttributeLatents(1)
    q = np.linspace(0.001, 0.999, 301)
    for weights in (None, np.array([0.2, 0.7, 0.1])):
        x = latents.quantile(q, weights)
        shares = np.full(3, 1 / 3) if weights is None else weights
        assert stats.norm.cdf((x[:, None] - latents.means) / latents.sigma) @ shares == pytest.approx(q, abs=1e-5)


def test_sample_is_zero_exactly_where_an_attribute_is_absent():
    latents = AttributeLatents(3, base_token=True)
    attributes = torch.tensor([[1, 0, 1], [0, 0, 0]])
    z = latents.sample(attributes, generator())
    gate = latents.gate(attributes)
    assert gate.tolist() == [[1, 0, 1, 1], [0, 0, 0, 1]]
    assert ((z != 0).any(2) == gate.bool()).all()
    assert torch.equal(z, latents.draw(2, generator()) * gate[:, :, None])


def test_shares_steer_the_first_number_only():
    latents = AttributeLatents(1, latent_dim=2, shares=((0.0, 0.0, 1.0),))
    drawn = latents.draw(3000, generator())
    nearest = (drawn[:, 0, :, None] - torch.as_tensor(latents.means)).abs().argmin(2)
    assert (nearest[:, 0] == 2).float().mean() > 0.9
    assert (nearest[:, 1] == 2).float().mean() == pytest.approx(1 / 3, abs=0.05)


def test_fixed_pairing_depends_on_seed_and_index_alone():
    latents = AttributeLatents(2)
    together = latents.fixed([5, 9], seed=1)
    assert torch.equal(together[1], latents.fixed([9], seed=1)[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together, latents.fixed([5, 9], seed=2))


def test_responsibilities_are_the_posterior():
    latents = AttributeLatents(1)
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    expected = stats.norm.pdf(z.numpy()[:, None], latents.means, latents.sigma)
    expected /= expected.sum(1, keepdims=True)
    assert latents.responsibilities(z).numpy() == pytest.approx(expected)


def test_config_round_trip():
    latents = AttributeLatents(2, 4, 2, 2.5, True, ((0.5, 0.5), (1.0, 0.0), (0.25, 0.75)))
    assert AttributeLatents.from_config(latents.to_config()) == latents


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_attributes": 0}, "n_attributes is 0"),
        ({"n_attributes": 1, "latent_dim": 0}, "latent_dim is 0"),
        ({"n_attributes": 1, "separation": float("nan")}, "separation is nan"),
        (
            {"n_attributes": 2, "shares": ((1.0, 0.0, 0.0),)},
            r"shape \(1, 3\); expected \(tokens, components\) = \(2, 3\)",
        ),
        ({"n_attributes": 1, "shares": ((0.5, 0.5, 0.5),)}, "sum to 1"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttributeLatents(**arguments)


def test_wrong_attributes_and_components_are_refused():
    latents = AttributeLatents(2)
    with pytest.raises(ValueError, match=r"expected \(batch, 2\)"):
        latents.gate([[1, 0, 1]])
    with pytest.raises(ValueError, match="0 or 1"):
        latents.gate([[1, -1]])
    with pytest.raises(ValueError, match="component 3 does not exist"):
        latents.draw(1, generator(), {0: 3})
    with pytest.raises(ValueError, match="component 1 of token 0 has share 0"):
        AttributeLatents(1, shares=((0.5, 0.0, 0.5),)).draw(1, generator(), {0: 1})
