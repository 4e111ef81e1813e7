"""What the network sees of a condition, and what it must not see."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_unet

from gaussmix.diffusion.unet import AttributeUNet

CONDITIONINGS = ("gated", "cross_attention", "concat")


def inputs(batch: int = 4, tokens: int = 4):
    g = torch.Generator().manual_seed(0)
    sample = torch.randn((batch, 3, 8, 8), generator=g)
    timestep = torch.randint(0, 100, (batch,), generator=g)
    latents = torch.randn((batch, tokens, 8), generator=g)
    attributes = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).float()
    return sample, timestep, latents, attributes


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("injection", ["all", "mid_up"])
@torch.no_grad()
def test_latents_of_absent_attributes_change_nothing(conditioning, injection):
    unet = tiny_unet(conditioning=conditioning, injection=injection)
    sample, timestep, latents, attributes = inputs()
    gate = torch.cat([attributes, torch.ones(4, 1)], 1)[:, :, None]
    other = torch.where(gate == 1, latents, latents + 5)
    before = unet(sample, timestep, latents, attributes).sample
    assert torch.allclose(before, unet(sample, timestep, other, attributes).sample, atol=1e-6)
    changed = unet(sample, timestep, latents + 5, attributes).sample
    assert (before - changed).abs().amax((1, 2, 3)).min() > 1e-6  # a present one does change the picture


@torch.no_grad()
def test_multi_hot_sees_attributes_and_no_latents():
    unet = tiny_unet(conditioning="multi_hot")
    sample, timestep, latents, attributes = inputs()
    before = unet(sample, timestep, latents, attributes).sample
    assert torch.equal(before, unet(sample, timestep, latents + 5, attributes).sample)
    # By hand: an embedding of the attributes, as a gated network has it whose maps from Z are zero.
    gated = tiny_unet(conditioning="gated")
    gated.load_state_dict(unet.state_dict(), strict=False)
    gated.token_map.zero_()
    assert torch.allclose(before, gated(sample, timestep, latents, attributes).sample, atol=1e-6)
    flipped = attributes.clone()
    flipped[:, 1] = 1 - flipped[:, 1]
    assert (before - unet(sample, timestep, latents, flipped).sample).abs().amax((1, 2, 3)).min() > 1e-6


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@torch.no_grad()
def test_no_attributes_leave_the_null_token_alone(conditioning):
    """Without a base token, an image without attributes equals one whose condition was dropped."""
    unet = tiny_unet(conditioning=conditioning, base_token=False)
    sample, timestep, latents, attributes = inputs(tokens=3)
    everything_dropped = torch.ones(4, dtype=torch.bool)
    none = unet(sample, timestep, latents, torch.zeros(4, 3)).sample
    assert torch.allclose(none, unet(sample, timestep, latents, attributes, everything_dropped).sample, atol=1e-6)
    assert not torch.allclose(none, unet(sample, timestep, latents, attributes).sample, atol=1e-6)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@torch.no_grad()
def test_dropping_is_per_image(conditioning):
    unet = tiny_unet(conditioning=conditioning)
    sample, timestep, latents, attributes = inputs()
    mixed = unet(sample, timestep, latents, attributes, torch.tensor([True, False, False, True])).sample
    kept = unet(sample, timestep, latents, attributes).sample
    assert torch.allclose(mixed[1:3], kept[1:3], atol=1e-6)
    assert not torch.allclose(mixed[0], kept[0], atol=1e-6)


@pytest.mark.parametrize("conditioning", ["gated", "cross_attention"])
@torch.no_grad()
def test_renumbering_attributes_with_their_ids_changes_nothing(conditioning):
    unet = tiny_unet(conditioning=conditioning)
    sample, timestep, latents, attributes = inputs()
    before = unet(sample, timestep, latents, attributes).sample
    order = torch.tensor([2, 0, 1])
    with_base = torch.cat([order, torch.tensor([3])])
    unet.token_id.copy_(unet.token_id[with_base])
    unet.token_map.copy_(unet.token_map[with_base])
    after = unet(sample, timestep, latents[:, with_base], attributes[:, order]).sample
    assert torch.allclose(before, after, atol=1e-5)


@torch.no_grad()
def test_tokens_of_two_attributes_differ_for_the_same_latent():
    unet = tiny_unet()
    tokens = unet.tokens(torch.ones(1, 4, 8))
    assert (tokens[0, 0] - tokens[0, 1]).abs().max() > 0.1


@pytest.mark.parametrize("conditioning", [*CONDITIONINGS, "multi_hot"])
@pytest.mark.parametrize("injection", ["mid_up", "up"])
def test_injection_hides_the_condition_from_the_way_down(conditioning, injection):
    unet = tiny_unet(conditioning=conditioning, injection=injection)
    seen: list[torch.Tensor] = []
    last = {"mid_up": unet.unet.down_blocks[-1], "up": unet.unet.mid_block}[injection]
    assert last is not None
    handle = last.register_forward_hook(lambda _m, _i, out: seen.append(out if torch.is_tensor(out) else out[0]))
    sample, timestep, latents, attributes = inputs()
    with torch.no_grad():
        first = unet(sample, timestep, latents, attributes).sample
        second = unet(sample, timestep, latents, 1 - attributes).sample
    handle.remove()
    assert torch.equal(seen[0], seen[1])
    assert not torch.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("conditioning", [*CONDITIONINGS, "multi_hot"])
def test_every_parameter_gets_a_gradient(conditioning):
    unet = tiny_unet(conditioning=conditioning).train()
    sample, timestep, latents, attributes = inputs()
    dropped = torch.tensor([True, False, False, False])
    unet(sample, timestep, latents, attributes, dropped).sample.square().sum().backward()
    without = [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in without if "to_k.bias" not in name] == []


@torch.no_grad()
def test_saved_and_loaded_it_answers_the_same(tmp_path):
    unet = tiny_unet(conditioning="cross_attention", injection="mid_up")
    unet.save_pretrained(tmp_path)
    again = AttributeUNet.from_pretrained(tmp_path).eval()
    arguments = inputs()
    assert torch.equal(unet(*arguments).sample, again(*arguments).sample)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").exists()


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="conditioning is 'sum'; choose gated, cross_attention, concat or multi_hot"):
        tiny_unet(conditioning="sum")
    with pytest.raises(ValueError, match="injection is 'down'; choose all, mid_up or up"):
        tiny_unet(injection="down")
    with pytest.raises(ValueError, match="9 pixels cannot be halved 1 times; choose a multiple of 2"):
        tiny_unet(sample_size=9)
