"""AttributeUNet: a diffusers U-Net that sees attributes as gated latent tokens (D Sec. 3.1, 3.2).

It is the NN of D Eq. 8, ``target = NN(calZ) + error``, for the calZ of D Eq. 9: features that can be combined, of which
the paper expects fewer defects than of classes (D Eq. 7). Attribute ``k`` with latent ``Z_k`` becomes a token

    token_k = id_k + W_k [Z_k, r(Z_k)]

with a map ``W_k`` of its own and ``r`` the responsibilities of the mixture's components. Tokens enter in one of four
ways (``conditioning``):

- ``"gated"`` (default): ``null + sum_k A_k token_k``, through an MLP, added to the time embedding, which every block
  turns into a scale and a shift;
- ``"multi_hot"``: the same with ``token_k = id_k``, an embedding of the attributes without Z;
- ``"cross_attention"``: the tokens with ``A_k = 1`` and one learned null token are attended to by the U-Net;
- ``"concat"``, as the paper: calZ of D Eq. 9, all ``A_k Z_k`` in one long vector, through an MLP, added to the time
  embedding.

Differs from the paper: a map per attribute. With one map for all, the sum is symmetric in k, and the network cannot
tell whose latent it sees; the concatenation can, but tends to condition weakly.

Which blocks see the condition is said by ``injection``: all, the middle and the up blocks (``"mid_up"``), or the up
blocks alone (``"up"``): then the bottleneck knows the image and not the request. An image whose condition is dropped
(for classifier-free guidance) is left with the null token alone.

A classifier may sit on the bottleneck ``h``, what the mid block puts out (D Sec. 3.3, Fig. 8):

    logits = W2 silu(W1 m + b1) + b2,   m = mean over pixels of silu(normalise(h))

Whether it reads the image or the condition depends on what the blocks before it have seen (`classifier_leaks`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import torch
from diffusers import ModelMixin, UNet2DConditionModel, UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.outputs import BaseOutput
from torch import Tensor, nn

from gaussmix.diffusion.precondition import LinearPreconditioner
from gaussmix.latents.attributes import AttributeLatents

Conditioning = Literal["gated", "cross_attention", "concat", "multi_hot"]
Injection = Literal["all", "mid_up", "up"]
ClassifierPass = Literal["same", "unconditioned"]
_ABSENT = -10_000.0  # added to the attention score of an absent token, as in diffusers


@dataclass(frozen=True)
class ConditionConfig:
    """How a network is told attributes and Z; kept as ``condition`` in the network's config.

    Parameters
    ----------
    n_attributes, latent_dim, n_components, separation, base_token : int, int, int, float, bool
        The latents, as in `AttributeLatents`.
    conditioning, injection : str
        How the tokens enter, and which blocks see them: see `gaussmix.diffusion.unet`.
    token_dim : int
        Numbers per token.
    """

    n_attributes: int
    latent_dim: int = 8
    n_components: int = 3
    separation: float = 3.0
    base_token: bool = True
    conditioning: Conditioning = "gated"
    injection: Injection = "all"
    token_dim: int = 64

    def __post_init__(self):
        check_choice("conditioning", self.conditioning, get_args(Conditioning))
        check_choice("injection", self.injection, get_args(Injection))

    def latents(self) -> AttributeLatents:
        """Return the distribution of Z, with equal shares of the components."""
        return AttributeLatents(self.n_attributes, self.latent_dim, self.n_components, self.separation, self.base_token)


@dataclass
class AttributeUNetOutput(BaseOutput):
    """``sample``: ``(B, C, H, W)``, the predicted noise or velocity; ``logits``: ``(B, K)``, with a classifier."""

    sample: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class _Shown:
    """What a block is shown: the embedding ``(B, E)`` of the time, with or without the condition, and with
    cross-attention tokens ``(B, L, D)``, whose ``bias`` ``(B, 1, L)`` is far below zero where a token is absent."""

    embedding: Tensor
    tokens: Tensor | None = None
    bias: Tensor | None = None


def checked_head(head: nn.Module | None, latents: Tensor | None, attributes: Tensor | None) -> nn.Module:
    """The classifier. Raises ValueError without one, and for half a condition."""
    if head is None:
        raise ValueError("the model has no classifier; train one with --classifier-weight 0.1")
    if (latents is None) != (attributes is None):
        raise ValueError("a condition has attribute_latents and attributes; give both or neither")
    return head


class AttributeUNet(ModelMixin, ConfigMixin):
    """The denoising network.

    Parameters
    ----------
    condition : ConditionConfig or mapping
        What it is told, or the fields of it.
    sample_size, in_channels : int
        Height and width of the images, divisible by ``2 ** (len(block_out_channels) - 1)``, and their channels.
    block_out_channels : tuple of int
        Channels of each level; attention sits on the lowest.
    layers_per_block, attention_head_dim, norm_num_groups : int
        Residual blocks a level, channels of an attention head, groups of channels that are normalised together.
    scale_shift : bool
        The time embedding scales and shifts the feature maps instead of being added to them.
    classifier : bool
        Put a classifier of the attributes on the bottleneck.
    classifier_pass : {"same", "unconditioned"}
        What the classifier is trained on, and a part of what `classifier_leaks` says: the bottleneck of the pass that
        denoises, or of one whose condition is dropped.
    linear_mean : bool
        Precondition with the linear mean of the pixels given A and Z (`gaussmix.diffusion.precondition`): the network
        sees two views of x_t and answers with the scaled remainder; it predicts v. Not with a classifier.
    timesteps : int
        T, noise levels, with a linear mean.

    Raises
    ------
    ValueError
        For an unknown choice, a size that the levels do not divide, and a classifier beside a linear mean.
    """

    @register_to_config
    def __init__(
        self,
        *,  # what is not named, diffusers takes for a default
        condition: ConditionConfig | Mapping[str, Any],
        sample_size: int = 32,
        in_channels: int = 3,
        block_out_channels: tuple[int, ...] = (32, 64, 64),
        layers_per_block: int = 1,
        attention_head_dim: int = 32,
        norm_num_groups: int = 8,
        scale_shift: bool = True,
        classifier: bool = False,
        classifier_pass: ClassifierPass = "same",
        linear_mean: bool = False,
        timesteps: int = 100,
    ):
        super().__init__()
        if linear_mean and classifier:
            raise ValueError("a classifier would see the linear mean of the condition; use one of the two")
        check_choice("classifier_pass", classifier_pass, get_args(ClassifierPass))
        stride = 2 ** (len(block_out_channels) - 1)
        if sample_size % stride:
            raise ValueError(
                f"images of {sample_size} pixels cannot be halved {len(block_out_channels) - 1} times; "
                f"choose a multiple of {stride} or fewer levels"
            )
        self.condition = condition if isinstance(condition, ConditionConfig) else ConditionConfig(**condition)
        self.register_to_config(condition=asdict(self.condition))
        self.latent_distribution = self.condition.latents()
        self.unet = self._diffusers_unet(
            tuple(block_out_channels),
            attention_head_dim,
            sample_size=sample_size,
            in_channels=2 * in_channels if linear_mean else in_channels,
            out_channels=in_channels,
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            resnet_time_scale_shift="scale_shift" if scale_shift else "default",
        )
        self._make_condition(4 * block_out_channels[0])
        self.known: LinearPreconditioner | None = None
        if linear_mean:
            shape = (in_channels, sample_size, sample_size)
            self.known = LinearPreconditioner(self.latent_distribution, shape, timesteps)
            nn.init.zeros_(self.unet.conv_out.weight)
            nn.init.zeros_(cast(Tensor, self.unet.conv_out.bias))
        self.head: nn.Module | None = None
        if classifier:  # made last, so that one seed gives the other weights with and without it
            width = block_out_channels[-1]
            pooled = nn.GroupNorm(norm_num_groups, width), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            logits = nn.Linear(width, width), nn.SiLU(), nn.Linear(width, self.condition.n_attributes)
            self.head = nn.Sequential(*pooled, *logits)

    def _diffusers_unet(
        self, channels: tuple[int, ...], head_dim: int, **common: Any
    ) -> UNet2DModel | UNet2DConditionModel:
        condition, common["block_out_channels"] = self.condition, channels
        cross, plain = condition.conditioning == "cross_attention", len(channels) - 1  # the lowest level attends
        down, up = ("CrossAttn" if cross and told else "Attn" for told in (condition.injection == "all", True))
        common["down_block_types"] = (*["DownBlock2D"] * plain, f"{down}DownBlock2D")
        common["up_block_types"] = (f"{up}UpBlock2D", *["UpBlock2D"] * plain)
        if cross:  # attention_head_dim is misnamed in diffusers: the number of heads of each level
            heads: Any = tuple(max(1, c // head_dim) for c in channels)
            return UNet2DConditionModel(cross_attention_dim=condition.token_dim, attention_head_dim=heads, **common)
        return UNet2DModel(attention_head_dim=min(head_dim, min(channels)), **common)

    def _make_condition(self, embedding_dim: int) -> None:
        """Parameters of the tokens and of what brings them to the size of the time embedding."""
        condition, n_tokens = self.condition, self.latent_distribution.n_tokens
        if condition.conditioning == "concat":
            in_dim = n_tokens * condition.latent_dim
            self.null_latents = nn.Parameter(torch.randn(in_dim))
        else:
            in_dim, n_features = condition.token_dim, condition.latent_dim * (1 + condition.n_components)
            self.token_id = nn.Parameter(torch.randn(n_tokens, in_dim))
            if condition.conditioning != "multi_hot":
                self.token_map = nn.Parameter(torch.randn(n_tokens, n_features, in_dim) / math.sqrt(n_features))
            self.null_token = nn.Parameter(torch.randn(in_dim))
        if condition.conditioning != "cross_attention":
            layers = nn.Linear(in_dim, embedding_dim), nn.SiLU(), nn.Linear(embedding_dim, embedding_dim)
            self.condition_mlp = nn.Sequential(*layers)

    @property
    def classifier_leaks(self) -> bool:
        """Whether the classifier was trained where the condition shows, so that it may read that and not the image."""
        return self.condition.injection != "up" and self.config["classifier_pass"] == "same"

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """Of what is noised: the pixels of a picture, ``(C, S, S)``."""
        size = self.config["sample_size"]
        return self.config["in_channels"], size, size

    @property
    def bounded(self) -> bool:
        """Whether what is noised lies in [-1, 1]."""
        return True

    def encode(self, pixels: Tensor) -> Tensor:
        """Return what is noised, of pictures ``(B, C, S, S)`` in [-1, 1]: themselves."""
        return pixels

    def decode(self, state: Tensor) -> Tensor:
        """Return pictures ``(B, C, S, S)`` of what is noised: itself."""
        return state

    def loss_weights(self, timestep: Tensor, dropped: Tensor) -> Tensor:
        """Return the weights of squared errors, those of the answers' own errors; 1 without a linear mean.

        Parameters
        ----------
        timestep, dropped : tensor
            ``(B,)``, and ``(B,)`` bool, pictures that see no condition.
        """
        if self.known is None:
            return torch.ones((), device=timestep.device)
        return self.known.loss_weights(timestep, dropped)

    def effort(self, variances: Tensor, pixel_weights: Tensor) -> Tensor:
        """Return the weights ``(C S^2,)`` of the pixels in the loss, before the share that a linear mean leaves.

        Parameters
        ----------
        variances, pixel_weights : tensor
            Of the pixels, ``(C S^2,)``, and ``(1, 1, S, S)``.
        """
        return variances.sqrt() * pixel_weights.expand(1, *self.state_shape).flatten()

    def tokens(self, attribute_latents: Tensor) -> Tensor:
        """Return the ungated tokens ``(B, T, token_dim)`` of Z ``(B, T, N)``."""
        if self.condition.conditioning == "multi_hot":
            return self.token_id.expand(len(attribute_latents), -1, -1)
        responsibilities = self.latent_distribution.responsibilities(attribute_latents)
        features = torch.cat([attribute_latents, responsibilities.flatten(2)], 2)
        return torch.einsum("btf,tfe->bte", features, self.token_map.to(features.dtype)) + self.token_id

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        attribute_latents: Tensor,
        attributes: Tensor,
        dropped: Tensor | None = None,
        unconditioned_logits: bool = False,
        return_dict: bool = True,
    ) -> AttributeUNetOutput | tuple[Tensor, ...]:
        """Predict the noise or velocity, and with a classifier the logits of the attributes.

        Parameters
        ----------
        sample, timestep : tensor, tensor or int
            Noisy images ``(B, C, H, W)``, and one step for all or ``(B,)``.
        attribute_latents, attributes : tensor
            Z ``(B, T, N)``, of which values of absent attributes are ignored, all with ``"multi_hot"``; A ``(B, K)``.
        dropped : tensor, optional
            ``(B,)`` bool, images that see the null token only.
        unconditioned_logits : bool
            Classify the bottleneck of a second pass down, whose condition is dropped, unless the bottleneck sees no
            condition anyway.
        return_dict : bool
            Otherwise a tuple: ``(sample,)`` or, with a classifier, ``(sample, logits)``, logits ``(B, K)``.
        """
        time = self._time(sample, timestep)
        shown = self._condition(time, attribute_latents, attributes, dropped)
        known = None
        if self.known is not None:
            known = self.known(sample, timestep, attributes, attribute_latents, dropped)
            sample = torch.cat([known.plain, known.rest], 1)
        bottleneck, skips = self._way_down(sample, time, shown)
        logits = None
        if self.head is not None:
            second = unconditioned_logits and self.condition.injection != "up"
            seen = self._way_down(sample, time, self._dropped_condition(time))[0] if second else bottleneck
            logits = self.head(seen)
        state, unet = bottleneck, cast(Any, self.unet)
        for block in unet.up_blocks:
            n_skips = len(block.resnets)
            state = _through(block, shown, state, res_hidden_states_tuple=skips[-n_skips:])
            skips = skips[:-n_skips]
        answer = unet.conv_out(unet.conv_act(unet.conv_norm_out(state)))
        if known is not None:
            answer = known.velocity - known.spread * answer.to(known.velocity.dtype)
        if return_dict:
            return AttributeUNetOutput(sample=answer, logits=logits)
        return (answer,) if logits is None else (answer, logits)

    def classify(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        attribute_latents: Tensor | None = None,
        attributes: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``(B, K)`` for noisy images, of a pass with the condition if one is given.

        Parameters
        ----------
        sample, timestep, attribute_latents, attributes : tensor
            As in `forward`; the last two both or neither.

        Raises
        ------
        ValueError
            Without a classifier, and for half a condition.
        """
        head, time = checked_head(self.head, attribute_latents, attributes), self._time(sample, timestep)
        if attribute_latents is None or attributes is None:
            shown = self._dropped_condition(time)
        else:
            shown = self._condition(time, attribute_latents, attributes)
        return head(self._way_down(sample, time, shown)[0])

    def _condition(self, time: Tensor, latents: Tensor, attributes: Tensor, dropped: Tensor | None = None) -> _Shown:
        gate = attributes.to(latents.dtype)
        if self.condition.base_token:
            gate = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
        if dropped is not None:
            gate = gate * ~dropped[:, None]
        if self.condition.conditioning == "concat":
            nothing = gate.sum(1, keepdim=True) == 0
            flat = (latents * gate[:, :, None]).flatten(1)
            return _Shown(time + self.condition_mlp(torch.where(nothing, self.null_latents, flat)))
        if self.condition.conditioning == "cross_attention":
            null = self.null_token.expand(len(gate), 1, -1)
            kept = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
            return _Shown(time, torch.cat([self.tokens(latents), null], 1), (1 - kept[:, None]) * _ABSENT)
        summed = self.null_token + (gate[:, :, None] * self.tokens(latents)).sum(1)
        return _Shown(time + self.condition_mlp(summed))

    def _dropped_condition(self, time: Tensor) -> _Shown:
        """What images see whose condition is dropped."""
        if self.condition.conditioning == "cross_attention":
            return _Shown(time, self.null_token.expand(len(time), 1, -1))
        null = self.null_latents if self.condition.conditioning == "concat" else self.null_token
        return _Shown(time + self.condition_mlp(null.expand(len(time), -1)))

    def _time(self, sample: Tensor, timestep: Tensor | int) -> Tensor:
        unet: Any = self.unet
        timestep = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        return unet.time_embedding(unet.time_proj(timestep).to(sample.dtype))

    def _way_down(self, sample: Tensor, time: Tensor, shown: _Shown) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The bottleneck ``(B, C', H', W')`` and the skips."""
        unet: Any = self.unet
        # What blocks see that ``injection`` leaves out: the time, and a constant token where they must attend.
        attends = self.condition.conditioning == "cross_attention"
        without = self._dropped_condition(time) if attends else _Shown(time)
        state = unet.conv_in(sample)
        skips = (state,)
        for block in unet.down_blocks:
            state, states = _through(block, shown if self.condition.injection == "all" else without, state)
            skips += states
        return _through(unet.mid_block, without if self.condition.injection == "up" else shown, state), skips


def _through(block: Any, shown: _Shown, state: Tensor, **skips: Any) -> Any:
    tokens = {}
    if shown.tokens is not None and getattr(block, "has_cross_attention", False):
        tokens = {"encoder_hidden_states": shown.tokens, "encoder_attention_mask": shown.bias}
    return block(hidden_states=state, temb=shown.embedding, **skips, **tokens)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")
