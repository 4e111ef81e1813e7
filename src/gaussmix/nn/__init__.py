"""Torch pieces without an application: expansions as distributions, distances and losses with gradients."""

from gaussmix.nn.components import Components
from gaussmix.nn.distances import gaussian_mmd2, kl_divergence, wasserstein_distance
from gaussmix.nn.expansion import ExpansionDistribution
from gaussmix.nn.losses import KernelBrierLoss, KernelGradientLoss, NGMGEntropyLoss

__all__ = [
    "Components",
    "ExpansionDistribution",
    "KernelBrierLoss",
    "KernelGradientLoss",
    "NGMGEntropyLoss",
    "gaussian_mmd2",
    "kl_divergence",
    "wasserstein_distance",
]
