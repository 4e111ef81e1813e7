"""AttributeUNet: a diffusers U-Net that sees attributes as gated latent tokens (D Sec. 3.2).

Attribute ``k`` with latent ``Z_k`` becomes a token

    token_k = id_k + W_k [Z_k, r(Z_k)]

with a map ``W_k`` of its own and ``r`` the responsibilities of the mixture's components. Tokens enter in one of four
ways (``conditioning``):

- ``"gated"`` (default): ``null + sum_k A_k token_k``, through an MLP, added to the time embedding, which every block
  turns into a scale and a shift;
- ``"multi_hot"``: the same with ``token_k = id_k``, an embedding of the attributes without Z;
- ``"cross_attention"``: the tokens with ``A_k = 1`` and one learned null token are attended to by the U-Net;
- ``"concat"``, as the paper: all ``A_k Z_k`` in one long vector, through an MLP, added to the time embedding.

Differs from the paper: a map per attribute. With one map for all, the sum is symmetric in k, and the network cannot
tell whose latent it sees; the concatenation can, but tends to condition weakly.

An image whose condition is dropped (for classifier-free guidance) is left with the null token alone.

A classifier may sit on the bottleneck ``h``, what the mid block puts out (D Sec. 3.3, Fig. 8):

    logits = W2 silu(W1 m + b1) + b2,   m = mean over pixels of silu(normalise(h))

Whether it reads the image or the condition depends on what the blocks before it have seen (`classifier_leaks`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from diffusers import ModelMixin, UNet2DConditionModel, UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.outputs import BaseOutput
from torch import nn

from gaussmix.latents.attributes import AttributeLatents

Conditioning = Literal["gated", "cross_attention", "concat", "multi_hot"]
Injection = Literal["all", "mid_up", "up"]
ClassifierPass = Literal["same", "unconditioned"]
_ABSENT = -10_000.0  # added to the attention score of an absent token, as in diffusers


@dataclass
class AttributeUNetOutput(BaseOutput):
    """``sample``: ``(B, C, H, W)``, the predicted noise or velocity; ``logits``: ``(B, K)``, with a classifier."""

    sample: torch.Tensor
    logits: torch.Tensor | None = None


@dataclass(frozen=True)
class _Shown:
    """What a block is shown: the embedding ``(B, E)`` of the time, with or without the condition, and with
    cross-attention tokens ``(B, L, D)``, whose ``bias`` ``(B, 1, L)`` is far below zero where a token is absent."""

    embedding: torch.Tensor
    tokens: torch.Tensor | None = None
    bias: torch.Tensor | None = None


class AttributeUNet(ModelMixin, ConfigMixin):
    """The denoising network.

    Args:
        sample_size: height and width of the images, divisible by ``2 ** (len(block_out_channels) - 1)``.
        n_attributes, latent_dim, n_components, separation, base_token: the latents, as in `AttributeLatents`.
        conditioning: see the module's text.
        injection: which blocks see the condition: ``"all"``, the middle and the up blocks (``"mid_up"``), or the up
            blocks alone (``"up"``): then the bottleneck knows the image and not the request.
        block_out_channels: channels of each level; attention sits on the lowest.
        token_dim: numbers per token.
        scale_shift: the time embedding scales and shifts the feature maps instead of being added to them.
        classifier: put a classifier of the attributes on the bottleneck.
        classifier_pass: what the classifier is trained on, and a part of what `classifier_leaks` says: the bottleneck
            of the pass that denoises, or of one whose condition is dropped.
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
        classifier: bool = False,
        classifier_pass: ClassifierPass = "same",
    ):
        super().__init__()
        _check_choice("conditioning", conditioning, get_args(Conditioning))
        _check_choice("injection", injection, get_args(Injection))
        _check_choice("classifier_pass", classifier_pass, get_args(ClassifierPass))
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
            down = "CrossAttn" if injection == "all" else "Attn"
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
            if conditioning != "multi_hot":
                self.token_map = nn.Parameter(torch.randn(n_tokens, n_features, token_dim) / math.sqrt(n_features))
            self.null_token = nn.Parameter(torch.randn(token_dim))
        if conditioning != "cross_attention":
            self.condition_mlp = nn.Sequential(
                nn.Linear(in_dim, embedding_dim), nn.SiLU(), nn.Linear(embedding_dim, embedding_dim)
            )
        self.head: nn.Module | None = None
        if classifier:  # made last, so that one seed gives the other weights with and without it
            width = block_out_channels[-1]
            self.head = nn.Sequential(
                nn.GroupNorm(norm_num_groups, width),
                nn.SiLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(width, width),
                nn.SiLU(),
                nn.Linear(width, n_attributes),
            )

    @property
    def classifier_leaks(self) -> bool:
        """Whether the classifier was trained where the condition shows, so that it may read that and not the image."""
        return self.config["injection"] != "up" and self.config["classifier_pass"] == "same"

    def tokens(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents ``(B, T, N)`` to tokens ``(B, T, token_dim)``, ungated."""
        if self.config["conditioning"] == "multi_hot":
            return self.token_id.expand(len(latents), -1, -1)
        features = torch.cat([latents, self.latents.responsibilities(latents).flatten(2)], 2)
        return torch.einsum("btf,tfe->bte", features, self.token_map.to(features.dtype)) + self.token_id

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | int,
        latents: torch.Tensor,
        attributes: torch.Tensor,
        dropped: torch.Tensor | None = None,
        unconditioned_logits: bool = False,
        return_dict: bool = True,
    ) -> AttributeUNetOutput | tuple[torch.Tensor, ...]:
        """Predict the noise or velocity, and with a classifier the logits of the attributes.

        Args:
            sample: ``(B, C, H, W)`` noisy images.
            timestep: one step for all or ``(B,)``.
            latents: ``(B, T, N)`` Z; values of absent attributes are ignored, all values with ``"multi_hot"``.
            attributes: ``(B, K)`` of 0/1.
            dropped: ``(B,)`` bool, images that see the null token only.
            unconditioned_logits: classify the bottleneck of a second pass down, whose condition is dropped, unless the
                bottleneck sees no condition anyway.

        Returns ``(sample,)`` or, with a classifier, ``(sample, logits)`` if not ``return_dict``.
        """
        time = self._time(sample, timestep)
        shown = self._condition(time, latents, attributes, dropped)
        bottleneck, skips = self._way_down(sample, time, shown)
        logits = None
        if self.head is not None:
            if unconditioned_logits and self.config["injection"] != "up":
                logits = self.head(self._way_down(sample, time, self._dropped_condition(time))[0])
            else:
                logits = self.head(bottleneck)
        answer = self._way_up(bottleneck, skips, shown)
        if return_dict:
            return AttributeUNetOutput(sample=answer, logits=logits)
        return (answer,) if logits is None else (answer, logits)

    def classify(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | int,
        latents: torch.Tensor | None = None,
        attributes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits ``(B, K)`` for noisy images, of a pass with the condition if one is given; shapes as in `forward`.

        Raises ValueError without a classifier, and for half a condition.
        """
        if self.head is None:
            raise ValueError("the model has no classifier; train one with --classifier-weight 0.1")
        time = self._time(sample, timestep)
        if latents is not None and attributes is not None:
            shown = self._condition(time, latents, attributes)
        elif latents is None and attributes is None:
            shown = self._dropped_condition(time)
        else:
            raise ValueError("a condition has latents and attributes; give both or neither")
        return self.head(self._way_down(sample, time, shown)[0])

    # -- what the blocks are shown ---------------------------------------------------------------------------------

    def _condition(
        self, time: torch.Tensor, latents: torch.Tensor, attributes: torch.Tensor, dropped: torch.Tensor | None = None
    ) -> _Shown:
        gate = attributes.to(latents.dtype)
        if self.config["base_token"]:
            gate = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
        if dropped is not None:
            gate = gate * ~dropped[:, None]
        if self.config["conditioning"] == "concat":
            nothing = gate.sum(1, keepdim=True) == 0
            flat = (latents * gate[:, :, None]).flatten(1)
            return _Shown(time + self.condition_mlp(torch.where(nothing, self.null_latents, flat)))
        if self.config["conditioning"] == "cross_attention":
            null = self.null_token.expand(len(gate), 1, -1)
            kept = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
            return _Shown(time, torch.cat([self.tokens(latents), null], 1), (1 - kept[:, None]) * _ABSENT)
        summed = self.null_token + (gate[:, :, None] * self.tokens(latents)).sum(1)
        return _Shown(time + self.condition_mlp(summed))

    def _dropped_condition(self, time: torch.Tensor) -> _Shown:
        """What images see whose condition is dropped."""
        if self.config["conditioning"] == "cross_attention":
            return _Shown(time, self.null_token.expand(len(time), 1, -1))
        null = self.null_latents if self.config["conditioning"] == "concat" else self.null_token
        return _Shown(time + self.condition_mlp(null.expand(len(time), -1)))

    def _without_condition(self, time: torch.Tensor) -> _Shown:
        """What blocks see that `injection` leaves out: the time, and a constant token where they must attend."""
        return self._dropped_condition(time) if self.config["conditioning"] == "cross_attention" else _Shown(time)

    # -- the passes of diffusers' U-Nets, in two halves --------------------------------------------------------------

    def _time(self, sample: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        unet: Any = self.unet
        timestep = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        return unet.time_embedding(unet.time_proj(timestep).to(sample.dtype))

    def _way_down(
        self, sample: torch.Tensor, time: torch.Tensor, shown: _Shown
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The bottleneck ``(B, C', H', W')`` and the skips."""
        unet: Any = self.unet
        without = self._without_condition(time)
        state = unet.conv_in(sample)
        skips = (state,)
        for block in unet.down_blocks:
            state, states = _through(block, shown if self.config["injection"] == "all" else without, state)
            skips += states
        return _through(unet.mid_block, without if self.config["injection"] == "up" else shown, state), skips

    def _way_up(self, state: torch.Tensor, skips: tuple[torch.Tensor, ...], shown: _Shown) -> torch.Tensor:
        unet: Any = self.unet
        for block in unet.up_blocks:
            n_skips = len(block.resnets)
            state = _through(block, shown, state, res_hidden_states_tuple=skips[-n_skips:])
            skips = skips[:-n_skips]
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(state)))


def _through(block: Any, shown: _Shown, state: torch.Tensor, **skips: Any) -> Any:
    tokens = {}
    if shown.tokens is not None and getattr(block, "has_cross_attention", False):
        tokens = {"encoder_hidden_states": shown.tokens, "encoder_attention_mask": shown.bias}
    return block(hidden_states=state, temb=shown.embedding, **skips, **tokens)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")
