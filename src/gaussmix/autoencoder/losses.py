"""The losses of the autoencoder as a generator and of its discriminator (E Eq. 10).

    J_G = alpha / 2 * E[-log D(G(z))] + mean (x - G(z))^2 + beta * E[-log c_y(G(z))]
    J_D = 1 / 2 * E[-log D(x)] + 1 / 2 * E[-log(1 - D(G(z)))] + E[-log c_y(x)]

with z = E(x), D the probability of "real", y the class of x and c_y the probability of that class.

Differs from the paper. E Eq. 10 prints ``-alpha / 2 * E[log(1 - D(G(z)))]`` in J_G. It falls as D(G(z)) falls: with D
the probability of "real", which the discriminator's own loss makes it, the generator would learn to be recognised as a
fake. With the sign turned it is the minimax loss of Goodfellow et al. 2014, whose gradient vanishes as long as the
discriminator is sure; ``-log D(G(z))``, their non-saturating form, has the same fixed point and does not stall. The
printed term is there with ``literal=True``. The squared error is a mean over pixels (E's text: "Mean Square Loss"), so
that alpha does not depend on the image size.
The term of the class (as in an auxiliary-classifier GAN) is not in E's equation; beta = 0 leaves it out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class AutoencoderLosses(NamedTuple):
    """Scalars of one step: ``total`` is J_G, then its parts without their weights, and J_D."""

    total: Tensor
    reconstruction: Tensor
    adversarial: Tensor
    classification: Tensor
    discriminator: Tensor

    def numbers(self) -> dict[str, float]:
        """For the log."""
        return {("loss" if name == "total" else name): float(value) for name, value in self._asdict().items()}


def reconstruction_loss(decoded: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of pixels."""
    return F.mse_loss(decoded, images)


def generator_adversarial_loss(fake_logits: Tensor, *, literal: bool = False) -> Tensor:
    """``E[-log D(G(z))] / 2`` from D's logits ``(B,)``; with ``literal``, as printed, ``-E[log(1 - D(G(z)))] / 2``."""
    return F.softplus(fake_logits if literal else -fake_logits).mean() / 2


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, class_logits: Tensor, labels: Tensor) -> Tensor:
    """J_D from D's logits ``(B,)`` of real and decoded images and the class logits ``(B, K)`` of the real ones."""
    adversarial = (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2
    return adversarial + F.cross_entropy(class_logits, labels)


def generator_loss(
    reconstruction: Tensor, adversarial: Tensor, classification: Tensor, alpha: float, beta: float
) -> Tensor:
    """J_G."""
    return reconstruction + alpha * adversarial + beta * classification
