"""How far two one-dimensional distributions are apart: mixtures, fitted expansions, samples, in any pair.

    from gaussmix.distances import wasserstein_distance

    wasserstein_distance(a, b)                     # a, b: GaussianMixture1D, a fitted GMMExpansion, or numbers (N,)
    wasserstein_distance(A, B, basis=basis)        # weights (..., n) of mixtures on one basis: distances (...)

Papers: E is Lu et al., "An efficient Gaussian mixture model and its application to neural network"; D theirs on
"Diffusion model conditioning on Gaussian mixture model and negative Gaussian mixture gradient".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.distances.binned import binned_l1 as binned_l1
    from gaussmix.distances.binned import density_information_loss as density_information_loss
    from gaussmix.distances.comparison import Comparison as Comparison
    from gaussmix.distances.comparison import compare as compare
    from gaussmix.distances.divergences import discrete_jensen_shannon_divergence as discrete_jensen_shannon_divergence
    from gaussmix.distances.divergences import discrete_kl_divergence as discrete_kl_divergence
    from gaussmix.distances.divergences import discrete_total_variation_distance as discrete_total_variation_distance
    from gaussmix.distances.divergences import jensen_shannon_divergence as jensen_shannon_divergence
    from gaussmix.distances.divergences import kl_divergence as kl_divergence
    from gaussmix.distances.divergences import total_variation_distance as total_variation_distance
    from gaussmix.distances.energy import energy_distance as energy_distance
    from gaussmix.distances.mmd import gaussian_mmd2 as gaussian_mmd2
    from gaussmix.distances.wasserstein import mean_difference_bound as mean_difference_bound
    from gaussmix.distances.wasserstein import wasserstein_distance as wasserstein_distance

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "binned": ["binned_l1", "density_information_loss"],
        "comparison": ["Comparison", "compare"],
        "divergences": [
            "discrete_jensen_shannon_divergence",
            "discrete_kl_divergence",
            "discrete_total_variation_distance",
            "jensen_shannon_divergence",
            "kl_divergence",
            "total_variation_distance",
        ],
        "energy": ["energy_distance"],
        "mmd": ["gaussian_mmd2"],
        "wasserstein": ["mean_difference_bound", "wasserstein_distance"],
    },
)
