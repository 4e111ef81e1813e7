"""Torch pieces without an application: expansions as distributions, distances, scores and losses with gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.nn.components import Components as Components
    from gaussmix.nn.distances import gaussian_mmd2 as gaussian_mmd2
    from gaussmix.nn.distances import kl_divergence as kl_divergence
    from gaussmix.nn.distances import wasserstein_distance as wasserstein_distance
    from gaussmix.nn.expansion import ExpansionDistribution as ExpansionDistribution
    from gaussmix.nn.losses import KernelBrierLoss as KernelBrierLoss
    from gaussmix.nn.losses import KernelGradientLoss as KernelGradientLoss
    from gaussmix.nn.losses import NGMGEntropyLoss as NGMGEntropyLoss
    from gaussmix.nn.scores import crps as crps
    from gaussmix.nn.scores import soft_weights as soft_weights

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "components": ["Components"],
        "distances": ["gaussian_mmd2", "kl_divergence", "wasserstein_distance"],
        "expansion": ["ExpansionDistribution"],
        "losses": ["KernelBrierLoss", "KernelGradientLoss", "NGMGEntropyLoss"],
        "scores": ["crps", "soft_weights"],
    },
    extra="diffusion",
)
