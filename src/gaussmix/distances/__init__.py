"""How far two one-dimensional distributions are apart: mixtures, fitted expansions, samples, in any pair.

    from gaussmix.distances import wasserstein_distance

    wasserstein_distance(a, b)                     # a, b: GaussianMixture1D, a fitted GMMExpansion, or numbers (N,)
    wasserstein_distance(A, B, basis=basis)        # weights (..., n) of mixtures on one basis: distances (...)

Paper: D is Lu et al., "Diffusion model conditioning on Gaussian mixture model and negative Gaussian mixture gradient".
"""

from gaussmix.distances.binned import binned_l1, density_information_loss
from gaussmix.distances.comparison import Comparison, compare
from gaussmix.distances.divergences import jensen_shannon_divergence, kl_divergence
from gaussmix.distances.means import mean_difference_bound
from gaussmix.distances.mmd import gaussian_mmd2
from gaussmix.distances.total_variation import total_variation_distance
from gaussmix.distances.wasserstein import wasserstein_distance

__all__ = [
    "Comparison",
    "binned_l1",
    "compare",
    "density_information_loss",
    "gaussian_mmd2",
    "jensen_shannon_divergence",
    "kl_divergence",
    "mean_difference_bound",
    "total_variation_distance",
    "wasserstein_distance",
]
