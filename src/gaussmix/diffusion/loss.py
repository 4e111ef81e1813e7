"""The loss of the attribute-conditioned diffusion model (D Sec. 3.2, 3.3), and that of a guess without a network.

    x_t = sqrt(ab_t) x_0 + sqrt(1-ab_t) eps,   eps ~ N(0, I)
    L_simple = E || target - f(x_t, t, Z, A) ||^2

with target eps (the paper) or v = sqrt(ab_t) eps - sqrt(1-ab_t) x_0 (default), and f of `gaussmix.diffusion.unet`.

With a classifier on the bottleneck (D Fig. 8) its loss for the attributes A of every image, dropped conditions or not,
is added, at all noise levels alike:

    L = L_simple + classifier_weight * classification

The classification's loss is an entropy (D Eq. 16) of the attributes' probabilities: binary cross-entropy (D Eq. 17, the
mean over images and attributes), or the paper's NGMG entropy as it prints it (D Eq. 18, `gaussmix.nn.NGMGEntropyLoss`).

The loss is held against that of a guess without a network (`gaussmix.training.watch`): the linear mean that a
transformer starts from, whose loss is 1 in its own weights, or for a U-Net on pixels the best linear guess of each
pixel from itself, x_t ~ N(sqrt(ab) m, ab s^2 + 1-ab), which leaves of v the variance s^2 / (ab s^2 + 1-ab), and of eps
ab times that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from gaussmix.diffusion.config import DiffusionConfig
from gaussmix.diffusion.schedulers import angle_weights, make_betas
from gaussmix.diffusion.transformer import AttributeTransformer
from gaussmix.diffusion.unet import AttributeUNet
from gaussmix.nn import NGMGEntropyLoss

Network = AttributeUNet | AttributeTransformer


def detail_weights(maps: NDArray[np.float32], strength: float, size: int) -> Tensor:
    """Weights ``(1, 1, size, size)`` of the pixels in the loss, of mean 1.

    ``1 + strength * (mean over k of w_k^2 / mean(w_k^2))``: with the maps ``w_k`` ``(K, H, W)`` of where attribute k
    acts, an attribute that shows in few pixels (a moustache) counts as much as one that shows in many (hair). The
    best answer of the network is the same for any weights; they only say where to spend its effort.
    """
    energy = maps**2
    shares = torch.from_numpy(energy / np.maximum(energy.mean((1, 2), keepdims=True), 1e-6)).mean(0)
    shares = nn.functional.interpolate(shares[None, None], size=(size, size), mode="bilinear")
    weights = 1 + strength * shares
    return weights / weights.mean()


class DiffusionLosses(NamedTuple):
    """Scalars: ``total = denoising + classifier_weight * classification``; the last is None without a classifier."""

    total: Tensor
    denoising: Tensor
    classification: Tensor | None = None

    @classmethod
    def mean(cls, parts: list[DiffusionLosses]) -> DiffusionLosses:
        """Of the accumulated batches of a step, without their graphs."""
        by_name: Any = zip(*parts, strict=True)
        return cls(*(each[0] if each[0] is None else torch.stack(each).detach().mean() for each in by_name))


class ForwardProcess:
    """``q(x_t | x_0)`` with constants on one device, and the loss.

    ``weights``: ``(1, 1, H, W)`` of the pixels in the loss, all equal if not given.
    """

    def __init__(self, config: DiffusionConfig, device: torch.device, weights: Tensor | None = None):
        self.config = config
        self.weights = None if weights is None else weights.to(device)
        betas = {name: getattr(config, name) for name in ("beta", "beta_start", "beta_end")}
        self.betas = make_betas(config.beta_schedule, config.timesteps, **betas)
        alpha_bar = torch.from_numpy(np.cumprod(1 - self.betas))
        self.signal = alpha_bar.sqrt().float().to(device)
        self.noise = (1 - alpha_bar).sqrt().float().to(device)
        chances = angle_weights(self.betas) if config.timestep_sampling == "angle" else np.ones(config.timesteps)
        self.timestep_weights = torch.from_numpy(chances).float().to(device)

    def loss(
        self,
        model: nn.Module,
        images: Tensor,
        attributes: Tensor,
        attribute_latents: Tensor,
        generator: Generator,
        network: Network | None = None,
    ) -> DiffusionLosses:
        """Mean squared error of the network's answer at random noise levels, and what the classifier adds.

        ``images`` are what is noised, ``(B, *state_shape)``; ``model`` may be wrapped around the ``network`` that knows
        the weights of its errors, all 1 if not given.
        """
        config, count, device = self.config, len(images), images.device
        timesteps = torch.multinomial(self.timestep_weights, count, replacement=True, generator=generator)
        noise = torch.randn(images.shape, generator=generator, device=device)
        dropped = torch.rand(count, generator=generator, device=device) < config.condition_dropout
        a, b = self.signal[timesteps].view(-1, 1, 1, 1), self.noise[timesteps].view(-1, 1, 1, 1)
        weights = torch.ones((), device=device) if self.weights is None else self.weights
        if network is not None:
            weights = weights * network.loss_weights(timesteps, dropped)
        target = noise if config.objective == "epsilon" else a * noise - b * images
        shown, second = (timesteps, attribute_latents, attributes, dropped), config.classifier_pass == "unconditioned"
        answer, *logits = model(a * images + b * noise, *shown, unconditioned_logits=second, return_dict=False)
        denoising = (weights * (answer.float() - target) ** 2).mean()
        if not config.classifier_weight:
            return DiffusionLosses(denoising, denoising)
        if config.classifier_loss == "bce":
            entropy = nn.functional.binary_cross_entropy_with_logits
        else:
            entropy = NGMGEntropyLoss(attributes.shape[1]).to(device)
        classification = entropy(logits[0].float(), attributes)
        return DiffusionLosses(denoising + config.classifier_weight * classification, denoising, classification)

    def guess_loss(self, variances: Tensor) -> float:
        """Return the loss of the best linear guess of each pixel from itself, for variances ``(C, H, W)``."""
        share = self.timestep_weights / self.timestep_weights.sum()
        variances, total = variances.to(share.device), 0.0
        weights = torch.ones((), device=share.device) if self.weights is None else self.weights[0]
        for a, b, chance in zip(self.signal, self.noise, share, strict=True):
            left = variances / (a**2 * variances + b**2)
            total += float(chance * (weights * (a**2 * left if self.config.objective == "epsilon" else left)).mean())
        return total
