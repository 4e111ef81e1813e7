"""AttributeTransformer: a denoiser that works on few numbers of a picture instead of its pixels.

Three layers, each of which works without those above it:

1. `PatchCodec`: a picture is ``G x G`` tokens of n numbers (512 numbers for 3 072 values at 32 px);
2. `LinearPreconditioner`: the mean of the numbers given A and Z, linear denoising around it;
3. a transformer on the tokens, which answers with what is left, scaled to variance 1. It begins at 0: before the
   first step the model draws from a Gaussian around the linear mean.

The transformer is that of Peebles and Xie (2023): the sum of the embeddings of the angle and of the gated condition,

    c = MLP(null + sum_k A_k (id_k + W_k [Z_k, r(Z_k)])) + MLP(angle)

with r the probabilities of the components, scales and shifts what the blocks see (adaLN), from zero. Queries and keys
are normalised. All blocks share one map from c to their scales and shifts, to which each adds its own constants
(Chen et al. 2023): a third of the parameters, and of the file, goes.

It stands for `gaussmix.diffusion.unet.AttributeUNet` wherever that does: `forward` takes the same condition and
predicts the same v, of numbers ``(B, n, G, G)`` that `encode` makes of pictures and `decode` makes pictures of. It
wants pictures that are aligned, as faces are: the tokens of a place have means and axes of their own.

A classifier (D Sec. 3.3, Fig. 8) may look at what the first half of the blocks puts out, ``h``:

    logits = W2 silu(W1 m + b1) + b2,   m = mean over tokens of silu(normalise(h))

In the pass that denoises, the linear mean and the scales have told ``h`` the condition, which it may read back; a
second pass through that half, with the condition dropped, knows the picture alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils.outputs import BaseOutput
from torch import Tensor, nn
from torch.nn import functional

from gaussmix.diffusion.codec import PatchCodec
from gaussmix.diffusion.precondition import Known, LinearPreconditioner
from gaussmix.diffusion.unet import ClassifierPass, ConditionConfig, check_choice, checked_head

_FREQUENCIES, _HIGHEST = 32, 100.0  # of the embedding of the angle


@dataclass
class AttributeTransformerOutput(BaseOutput):
    """``sample``: ``(B, n, G, G)``, the predicted velocity; ``logits``: ``(B, K)``, with a classifier."""

    sample: Tensor
    logits: Tensor | None = None


class AttributeTransformer(ModelMixin, ConfigMixin):
    """The denoising network on tokens.

    Parameters
    ----------
    condition : ConditionConfig or mapping
        What it is told, or the fields of it; ``conditioning`` must be "gated" or "multi_hot".
    sample_size, in_channels : int
        S, height and width of the pictures, and their channels.
    grid, numbers, overlap, power : int, int, int, float
        The codec's: see `PatchCodec`.
    width, depth, heads, mlp_ratio : int, int, int, float
        Channels, blocks, heads of attention, and hidden units a channel of the blocks' MLPs.
    linear_mean : bool
        Precondition with the linear mean of the condition; otherwise with variances alone.
    timesteps : int
        T, noise levels that it is told.
    classifier : bool
        Put a classifier of the attributes behind the first half of the blocks.
    classifier_pass : {"same", "unconditioned"}
        What the classifier is trained on: the pass that denoises, or one whose condition is dropped.

    Raises
    ------
    ValueError
        For sizes that do not go together, and another conditioning.
    """

    @register_to_config
    def __init__(
        self,
        *,
        condition: ConditionConfig | Mapping[str, Any],
        sample_size: int = 32,
        in_channels: int = 3,
        grid: int = 4,
        numbers: int = 32,
        overlap: int = 0,
        power: float = 0.5,
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        linear_mean: bool = True,
        timesteps: int = 100,
        classifier: bool = False,
        classifier_pass: ClassifierPass = "same",
    ):
        super().__init__()
        check_choice("classifier_pass", classifier_pass, get_args(ClassifierPass))
        self.condition = condition if isinstance(condition, ConditionConfig) else ConditionConfig(**condition)
        self.register_to_config(condition=asdict(self.condition))
        if self.condition.conditioning not in ("gated", "multi_hot"):
            raise ValueError(
                f"a transformer takes its condition gated or multi_hot, not {self.condition.conditioning}; use a U-Net"
            )
        if width % heads:
            raise ValueError(f"{heads} heads do not divide {width} channels")
        self.latent_distribution = self.condition.latents()
        self.codec = PatchCodec(sample_size, grid, numbers, overlap=overlap, power=power, channels=in_channels)
        self.known = LinearPreconditioner(self.latent_distribution, self.codec.shape, timesteps)
        self.told = _Condition(self.condition, self.latent_distribution.n_tokens, width)
        self.enter = nn.Linear(2 * numbers, width)
        self.place = nn.Parameter(0.5 * torch.randn(grid**2, width))
        self.modulation = _zero(nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(_Block(width, heads, round(mlp_ratio * width)) for _ in range(depth))
        self.last_modulation = _zero(nn.Linear(width, 2 * width))
        self.leave = _zero(nn.Linear(width, numbers))
        self.bias = nn.Parameter(torch.zeros(grid**2, numbers))
        self.head: nn.Module | None = None
        if classifier:  # made last, so that one seed gives the other weights with and without it
            self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, self.condition.n_attributes))

    @property
    def classifier_leaks(self) -> bool:
        """Whether the classifier was trained where the condition shows, so that it may read that and not the image."""
        return self.config["classifier_pass"] == "same"

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """Of what is noised: the numbers of a picture, ``(n, G, G)``."""
        return self.codec.shape

    @property
    def bounded(self) -> bool:
        """Whether what is noised lies in [-1, 1]."""
        return False

    def effort(self, variances: Tensor, pixel_weights: Tensor) -> Tensor:
        """Return the weights ``(n G^2,)`` of the numbers in the loss, before the share that the linear mean leaves.

        Parameters
        ----------
        variances, pixel_weights : tensor
            Of the numbers, ``(n G^2,)``, and of the pixels, ``(1, 1, S, S)``.
        """
        # v^(1/2) in the variance of pixels, whatever power the numbers have
        return variances ** (0.5 / self.codec.power) * self.codec.weights(pixel_weights).flatten()

    def encode(self, pixels: Tensor) -> Tensor:
        """Return what is noised, ``(B, n, G, G)``, of pictures ``(B, C, S, S)`` in [-1, 1]."""
        return self.codec.encode(pixels)

    def decode(self, state: Tensor) -> Tensor:
        """Return pictures ``(B, C, S, S)``, not clipped, of numbers ``(B, n, G, G)``."""
        return self.codec.decode(state)

    def loss_weights(self, timestep: Tensor, dropped: Tensor) -> Tensor:
        """Return the weights ``(B, n, G, G)`` of squared errors of v: those of the answers' own errors.

        Parameters
        ----------
        timestep, dropped : tensor
            ``(B,)``, and ``(B,)`` bool, pictures that see no condition.
        """
        return self.known.loss_weights(timestep, dropped)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        attribute_latents: Tensor,
        attributes: Tensor,
        dropped: Tensor | None = None,
        unconditioned_logits: bool = False,
        return_dict: bool = True,
    ) -> AttributeTransformerOutput | tuple[Tensor, ...]:
        """Predict the velocity, and with a classifier the logits of the attributes.

        Parameters
        ----------
        sample, timestep : tensor, tensor or int
            Noisy numbers ``(B, n, G, G)``, and one step for all or ``(B,)``.
        attribute_latents, attributes : tensor
            Z ``(B, T, N)``, of which values of absent attributes are ignored, and A ``(B, K)``.
        dropped : tensor, optional
            ``(B,)`` bool, pictures that see no condition.
        unconditioned_logits : bool
            Classify a second pass through the first half of the blocks, whose condition is dropped.
        return_dict : bool
            Otherwise a tuple: ``(sample,)`` or, with a classifier, ``(sample, logits)``, logits ``(B, K)``.
        """
        known, state, told = self._first_half(sample, timestep, attribute_latents, attributes, dropped)
        logits = None
        if self.head is not None:
            logits = self.classify(sample, timestep) if unconditioned_logits else self._logits(state)
        modulation = self.modulation(told)
        for block in self.blocks[self._half :]:
            state = block(state, modulation)
        scale, shift = self.last_modulation(told)[:, None].chunk(2, -1)
        answer = self.leave(_normed(state) * (1 + scale) + shift) + self.bias
        answer = answer.transpose(1, 2).unflatten(2, self.state_shape[1:])
        velocity = known.velocity - known.spread * answer.to(sample.dtype)
        if return_dict:
            return AttributeTransformerOutput(sample=velocity, logits=logits)
        return (velocity,) if logits is None else (velocity, logits)

    def classify(
        self,
        sample: Tensor,
        timestep: Tensor | int,
        attribute_latents: Tensor | None = None,
        attributes: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``(B, K)`` for noisy numbers, of a pass with the condition if one is given.

        Parameters
        ----------
        sample, timestep, attribute_latents, attributes : tensor
            As in `forward`; the last two both or neither.

        Raises
        ------
        ValueError
            Without a classifier, and for half a condition.
        """
        checked_head(self.head, attribute_latents, attributes)
        dropped = None
        if attribute_latents is None or attributes is None:
            count, latents = len(sample), self.latent_distribution
            attribute_latents = sample.new_zeros(count, latents.n_tokens, latents.latent_dim)
            attributes = sample.new_zeros(count, latents.n_attributes)
            dropped = torch.ones(count, dtype=torch.bool, device=sample.device)
        return self._logits(self._first_half(sample, timestep, attribute_latents, attributes, dropped)[1])

    @property
    def _half(self) -> int:
        """How many blocks the classifier looks behind."""
        return max(1, len(self.blocks) // 2)

    def _first_half(
        self, sample: Tensor, timestep: Tensor | int, latents: Tensor, attributes: Tensor, dropped: Tensor | None
    ) -> tuple[Known, Tensor, Tensor]:
        """What is known, the tokens ``(B, G^2, width)`` after half of the blocks, and the condition ``(B, width)``."""
        known = self.known(sample, timestep, attributes, latents, dropped)
        seen = torch.cat([known.plain, known.rest], 1).flatten(2).transpose(1, 2)
        steps = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        angle = torch.arccos(self.known.alpha_bar[steps].sqrt())
        told = functional.silu(self.told(angle, attributes, latents, dropped))
        state, modulation = self.enter(seen) + self.place, self.modulation(told)
        for block in self.blocks[: self._half]:
            state = block(state, modulation)
        return known, state, told

    def _logits(self, state: Tensor) -> Tensor:
        """Of tokens ``(B, G^2, width)``."""
        assert self.head is not None
        return self.head(functional.silu(_normed(state)).mean(1))


class _Condition(nn.Module):
    """Angle and condition as one vector ``(B, width)``."""

    frequencies: Tensor

    def __init__(self, condition: ConditionConfig, n_tokens: int, width: int):
        super().__init__()
        self.condition, self.distribution, dim = condition, condition.latents(), condition.token_dim
        self.token_id = nn.Parameter(torch.randn(n_tokens, dim))
        if condition.conditioning == "gated":
            n_features = condition.latent_dim * (1 + condition.n_components)
            self.token_map = nn.Parameter(torch.randn(n_tokens, n_features, dim) / math.sqrt(n_features))
        self.null_token = nn.Parameter(torch.randn(dim))
        self.tokens = nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        powers = torch.linspace(0, math.log(_HIGHEST), _FREQUENCIES)
        self.register_buffer("frequencies", powers.exp())

    def forward(self, angle: Tensor, attributes: Tensor, latents: Tensor, dropped: Tensor | None) -> Tensor:
        gate = attributes.to(latents.dtype)
        if self.condition.base_token:
            gate = torch.cat([gate, gate.new_ones(len(gate), 1)], 1)
        if dropped is not None:
            gate = gate * ~dropped[:, None]
        tokens = self.token_id.expand(len(gate), -1, -1)
        if self.condition.conditioning == "gated":
            features = torch.cat([latents, self.distribution.responsibilities(latents).flatten(2)], 2)
            tokens = tokens + torch.einsum("btf,tfe->bte", features, self.token_map.to(features.dtype))
        # about 8 tokens of unit variance are there at once: a third keeps their sum near 1
        told = self.null_token + (gate[:, :, None] * tokens).sum(1) / 3
        phase = angle[:, None] * self.frequencies
        return self.tokens(told) + self.time(torch.cat([phase.sin(), phase.cos()], 1))


class _Block(nn.Module):
    """Attention and an MLP on tokens, each scaled and shifted by the condition."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query_norm, self.key_norm = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.own = nn.Parameter(torch.zeros(6 * width))

    def forward(self, state: Tensor, modulation: Tensor) -> Tensor:
        """Of tokens ``(B, P, width)``, with ``modulation`` ``(B, 6 width)``."""
        scale_1, shift_1, gain_1, scale_2, shift_2, gain_2 = (modulation + self.own)[:, None].chunk(6, -1)
        split = self.query_key_value(_normed(state) * (1 + scale_1) + shift_1).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(self.query_norm(query), self.key_norm(key), value)
        state = state + (1 + gain_1) * self.out(seen.transpose(1, 2).flatten(2))
        hidden = functional.gelu(self.widen(_normed(state) * (1 + scale_2) + shift_2), approximate="tanh")
        return state + (1 + gain_2) * self.narrow(hidden)


def _normed(state: Tensor) -> Tensor:
    return functional.layer_norm(state, state.shape[-1:])


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
