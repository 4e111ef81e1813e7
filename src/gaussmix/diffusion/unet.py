"""AttributeUNet: a diffusers U-Net that sees attributes as gated latent tokens (D Sec. 3.2).

Attribute ``k`` with latent ``Z_k`` becomes a token

    token_k = id_k + W_k [Z_k, r(Z_k)]

with a map ``W_k`` of its own and ``r`` the responsibilities of the mixture's components. Tokens enter in one of three
ways (``conditioning``):

- ``"gated"`` (default): ``null + sum_k A_k token_k``, through an MLP, added to the time embedding, which every block
  turns into a scale and a shift;
- ``"cross_attention"``: the tokens with ``A_k = 1`` and one learned null token are attended to by the U-Net;
- ``"concat"``, as the paper: all ``A_k Z_k`` in one long vector, through an MLP, added to the time embedding.

Differs from the paper: a map per attribute. With one map for all, the sum is symmetric in k, and the network cannot
tell whose latent it sees; the concatenation can, but tends to condition weakly.

An image whose condition is dropped (for classifier-free guidance) is left with the null token alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import ModelMixin, UNet2DConditionModel, UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.outputs import BaseOutput
from torch import nn

from gaussmix.latents.attributes import AttributeLatents

Conditioning = Literal["gated", "cross_attention", "concat"]
Injection = Literal["all", "mid_up"]


@dataclass
class AttributeUNetOutput(BaseOutput):
    """``sample``: ``(B, C, H, W)``, the predicted noise or velocity."""

    sample: torch.Tensor


class AttributeUNet(ModelMixin, ConfigMixin):
    """The denoising network.

    Args:
        sample_size: height and width of the images, divisible by ``2 ** (len(block_out_channels) - 1)``.
        n_attributes, latent_dim, n_components, separation, base_token: the latents, as in `AttributeLatents`.
        conditioning: see the module's text.
        injection: ``"mid_up"`` shows the condition only to the middle and the up blocks, so that the bottleneck knows
            the image and not the request.
        block_out_channels: channels of each level; attention sits on the lowest.
        token_dim: numbers per token.
        scale_shift: the time embedding scales and shifts the feature maps instead of being added to them.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 3,
        n_attributes: int = 16,
        latent_dim: int = 8,
        n_components: int = 3,
        separation: float = 3.0,
        base_token: bool = True,
        conditioning: Conditioning = "gated",
        injection: Injection = "all",
        block_out_channels: tuple[int, ...] = (32, 64, 64),
        layers_per_block: int = 1,
        attention_head_dim: int = 32,
        norm_num_groups: int = 8,
        token_dim: int = 64,
        scale_shift: bool = True,
    ):
        super().__init__()
        if conditioning not in ("gated", "cross_attention", "concat"):
            raise ValueError(f"conditioning is {conditioning!r}; choose gated, cross_attention or concat")
        if injection not in ("all", "mid_up"):
            raise ValueError(f"injection is {injection!r}; choose all or mid_up")
        stride = 2 ** (len(block_out_channels) - 1)
        if sample_size % stride:
            raise ValueError(
                f"images of {sample_size} pixels cannot be halved {len(block_out_channels) - 1} times; "
                f"choose a multiple of {stride} or fewer levels"
            )
        self.latents = AttributeLatents(n_attributes, latent_dim, n_components, separation, base_token)
        n_tokens, n_features = self.latents.n_tokens, latent_dim * (1 + n_components)
        embedding_dim = 4 * block_out_channels[0]
        levels = len(block_out_channels)
        attends = [level == levels - 1 for level in range(levels)]
        common: dict[str, Any] = {
            "sample_size": sample_size,
            "in_channels": in_channels,
            "out_channels": in_channels,
            "block_out_channels": tuple(block_out_channels),
            "layers_per_block": layers_per_block,
            "norm_num_groups": norm_num_groups,
            "resnet_time_scale_shift": "scale_shift" if scale_shift else "default",
        }
        if conditioning == "cross_attention":
            down = "Attn" if injection == "mid_up" else "CrossAttn"
            heads: Any = tuple(max(1, c // attention_head_dim) for c in block_out_channels)
            self.unet = UNet2DConditionModel(
                down_block_types=tuple(f"{down}DownBlock2D" if a else "DownBlock2D" for a in attends),
                up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
                cross_attention_dim=token_dim,
                attention_head_dim=heads,  # misnamed in diffusers: the number of heads of each level
                **common,
            )
        else:
            self.unet = UNet2DModel(
                down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
                up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
                attention_head_dim=min(attention_head_dim, min(block_out_channels)),
                **common,
            )
        if conditioning == "concat":
            in_dim = n_tokens * latent_dim
            self.null_latents = nn.Parameter(torch.randn(in_dim))
        else:
            in_dim = token_dim
            self.token_id = nn.Parameter(torch.randn(n_tokens, token_dim))
            self.token_map = nn.Parameter(torch.randn(n_tokens, n_features, token_dim) / math.sqrt(n_features))
            self.null_token = nn.Parameter(torch.randn(token_dim))
        if conditioning != "cross_attention":
            self.condition_mlp = nn.Sequential(
                nn.Linear(in_dim, embedding_dim), nn.SiLU(), nn.Linear(embedding_dim, embedding_dim)
            )

    def tokens(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, T, N)`` to tokens ``(B, T, token_dim)``, ungated."""
        features = torch.cat([latents, self.latents.responsibilities(latents).flatten(2)], 2)
        return torch.einsum("btf,tfe->bte", features, self.token_map.to(features.dtype)) + self.token_id

    def _embedding(self, latents: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """The condition as one vector ``(B, embedding_dim)`` that is added to the time embedding."""
        if self.config["conditioning"] == "concat":
            dropped = gate.sum(1, keepdim=True) == 0
            flat = (latents * gate[:, :, None]).flatten(1)
            return self.condition_mlp(torch.where(dropped, self.null_latents, flat))
        summed = self.null_token + (gate[:, :, None] * self.tokens(latents)).sum(1)
        return self.condition_mlp(summed)

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | int,
        latents: torch.Tensor,
        attributes: torch.Tensor,
        dropped: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> AttributeUNetOutput | tuple[torch.Tensor]:
        """Predict the noise or velocity.

        Args:
            sample: ``(B, C, H, W)`` noisy images.
            timestep: one step for all or ``(B,)``.
            latents: ``(B, T, N)`` Z; values of absent attributes are ignored.
            attributes: ``(B, K)`` of 0/1.
            dropped: ``(B,)`` bool, images that see the null token only.
        """
        gate = attributes.to(latents.dtype)
        if self.config["base_token"]:
            gate = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
        if dropped is not None:
            gate = gate * ~dropped[:, None]
        timestep = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        if self.config["conditioning"] == "cross_attention":
            tokens = torch.cat([self.tokens(latents), self.null_token.expand(len(sample), 1, -1)], 1)
            mask = torch.cat([gate, gate.new_ones(len(gate), 1)], 1).bool()
            out = self.unet(sample, timestep, encoder_hidden_states=tokens, encoder_attention_mask=mask).sample
        else:
            out = self._run_blocks(sample, timestep, self._embedding(latents, gate))
        return AttributeUNetOutput(sample=out) if return_dict else (out,)

    def _run_blocks(self, sample: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """UNet2DModel's forward pass with separate embeddings for the way down and the way up."""
        unet: Any = self.unet
        time = unet.time_embedding(unet.time_proj(timestep).to(sample.dtype))
        with_condition = time + condition
        down_embedding = time if self.config["injection"] == "mid_up" else with_condition
        hidden = unet.conv_in(sample)
        skips = (hidden,)
        for block in unet.down_blocks:
            hidden, states = block(hidden_states=hidden, temb=down_embedding)
            skips += states
        hidden = unet.mid_block(hidden, with_condition)
        for block in unet.up_blocks:
            n_skips = len(block.resnets)
            hidden = block(hidden, skips[-n_skips:], with_condition)
            skips = skips[:-n_skips]
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
