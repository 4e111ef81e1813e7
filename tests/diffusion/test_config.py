"""Presets: the paper's sizes, and that their networks can be built."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gaussmix.diffusion.config import PRESETS, DiffusionConfig
from gaussmix.diffusion.schedulers import make_betas
from gaussmix.diffusion.unet import AttributeUNet, ConditionConfig

ATTRIBUTES = {"celeba": 40, "cifar10": 10}


def network(name: str) -> AttributeUNet:
    """Of a preset, without memory for its weights."""
    config = PRESETS[name]
    with torch.device("meta"):
        return AttributeUNet(
            condition=ConditionConfig(
                n_attributes=ATTRIBUTES[config.data],
                latent_dim=config.latent_dim,
                base_token=config.pairing == "matched",
                conditioning=config.conditioning,
            ),
            sample_size=config.size,
            block_out_channels=config.channels,
            layers_per_block=config.layers_per_block,
            scale_shift=config.scale_shift,
        )


def millions(name: str) -> float:
    return sum(parameter.numel() for parameter in network(name).parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "expected"),
    [("celeba64", 60), ("cifar10", 71.3), ("celeba64-small", 3.5), ("cifar10-small", 2.9)],
)
def test_number_of_parameters(name: str, expected: float) -> None:
    """D Fig. 7: 60 M and 70 M. The others are for one CPU."""
    assert millions(name) == pytest.approx(expected, rel=0.01)


def test_the_papers_settings() -> None:
    """D Fig. 7 and Sec. 3.2."""
    celeba, cifar = PRESETS["celeba64"], PRESETS["cifar10"]
    assert (celeba.size, celeba.timesteps, celeba.beta_schedule) == (64, 100, "constant")
    assert (cifar.size, cifar.timesteps, cifar.beta_schedule) == (32, 1000, "linear")
    for config in (celeba, cifar):
        assert (config.objective, config.timestep_sampling, config.pairing) == ("epsilon", "uniform", "fixed")
        assert (config.steps, config.batch_size, config.conditioning) == (400_000, 16, "concat")
        make_betas(config.beta_schedule, config.timesteps)  # warns if noise is left out


@pytest.mark.parametrize(("name", "expected"), [("celeba64", 71.1), ("cifar10", 22.6)])
def test_work_of_an_evaluation(name: str, expected: float) -> None:
    """GFLOP an image, as the documentation says; a training step takes three times as much."""
    unet = network(name)
    size, latents = unet.config["sample_size"], unet.latent_distribution
    inputs = {
        "sample": torch.zeros(1, 3, size, size, device="meta"),
        "timestep": torch.zeros(1, device="meta"),
        "attribute_latents": torch.zeros(1, latents.n_tokens, latents.latent_dim, device="meta"),
        "attributes": torch.ones(1, latents.n_attributes, device="meta"),
    }
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(**inputs)
    assert counter.get_total_flops() / 1e9 == pytest.approx(expected, rel=0.01)


def test_pictures_too_small_for_the_reader_are_refused_before_the_training() -> None:
    with pytest.raises(ValueError, match="--size is 4; reading needs at least 8 pixels, or --reader-steps 0"):
        DiffusionConfig(size=4)
    assert DiffusionConfig(size=4, reader_steps=0).size == DiffusionConfig(size=4, pairing="fixed").size == 4


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_its_own_folder(name: str) -> None:
    assert PRESETS[name].output.name == name
