"""All distances of two distributions at once, as numbers and as a table to read."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaussmix.density._mixture.picture import text_html
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import as_densities, hint_at_names
from gaussmix.distances.binned import binned_l1, density_information_loss
from gaussmix.distances.divergences import jensen_shannon_divergence, kl_divergence, total_variation_distance
from gaussmix.distances.mmd import gaussian_mmd2
from gaussmix.distances.wasserstein import mean_difference_bound, wasserstein_distance

CELLS, PARTS = 200, 4
_CENTRAL = 1e-3  # the cells reach from this quantile to its mirror image, of either distribution


@dataclass(frozen=True)
class Comparison:
    """Distances of a from b; ``print`` gives a table. Lengths are in the units of the data, divergences in nats.

    Parameters
    ----------
    wasserstein_1, wasserstein_1_error : float
        W1, and a certified bound of its error.
    wasserstein_2, mean_difference, total_variation, jensen_shannon : float
        W2, ``|E a - E b|``, the total variation distance and the Jensen-Shannon divergence.
    kl_a_b, kl_b_a : float
        KL(a || b) and KL(b || a).
    mmd2, mmd_sigma : float
        The squared MMD, and the standard deviation of its kernel: that of the two distributions pooled.
    binned_l1, density_information_loss : float
        E Eq. 9 over `CELLS` cells between the outer .1 % of both, and E Eq. 1 with `PARTS` parts in each of them.
    """

    wasserstein_1: float
    wasserstein_1_error: float
    wasserstein_2: float
    mean_difference: float
    total_variation: float
    jensen_shannon: float
    kl_a_b: float
    kl_b_a: float
    mmd2: float
    mmd_sigma: float
    binned_l1: float
    density_information_loss: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    _repr_html_ = text_html

    def __str__(self) -> str:
        error = self.wasserstein_1_error
        about_w1 = f"error of the integration below {error:.1g}" if error else "exact"
        rows = (
            ("Wasserstein distance W1", self.wasserstein_1, about_w1),
            ("Wasserstein distance W2", self.wasserstein_2, "weighs far moves more"),
            ("difference of the means", self.mean_difference, "at most W1"),
            ("total variation", self.total_variation, "0 equal, 1 nothing in common"),
            ("Jensen-Shannon divergence", self.jensen_shannon, f"nats, at most {math.log(2):.3f}"),
            ("KL divergence A from B", self.kl_a_b, _about_kl(self.kl_a_b, "A", "B")),
            ("KL divergence B from A", self.kl_b_a, _about_kl(self.kl_b_a, "B", "A")),
            ("squared MMD", self.mmd2, f"Gaussian kernel, sigma {self.mmd_sigma:.4g}"),
            ("binned L1", self.binned_l1, f"{CELLS} cells, 0 to 2"),
            ("density information loss", self.density_information_loss, f"{PARTS} parts a cell, 0 to 2"),
        )
        return "\n".join(f"{name:<27}{value:<11.6g} {about}" for name, value, about in rows)


@hint_at_names
def compare(a: Any, b: Any, *, a_weights: ArrayLike | None = None, b_weights: ArrayLike | None = None) -> Comparison:
    """Compute every distance of `gaussmix.distances` between two distributions.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions, or samples, which are learnt first so that all numbers speak of the same
        pair of densities (`wasserstein_distance` and `gaussian_mmd2` of the samples themselves need no density, and
        differ a little). ValueError or TypeError for anything else.
        Columns of integers are discrete, and compared as such with each other; with anything else, the smooth density
        behind one is compared.
    a_weights, b_weights : array_like (N,), optional
        Weights of a sample's numbers.

    Examples
    --------
    >>> from gaussmix import GaussianMixture1D
    >>> from gaussmix.distances import compare
    >>> found = compare(GaussianMixture1D([1], [0.0], [1.0]), GaussianMixture1D([1], [2.0], [1.0]))
    >>> round(found.wasserstein_1, 6), round(found.total_variation, 4)
    (2.0, 0.6827)
    """
    a, b = as_densities(a, b, a_weights, b_weights)
    w1, error = wasserstein_distance(a, b, return_error=True)
    sigma, cells = _pooled_std(a, b), _cells(a, b)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is infinite", RuntimeWarning)  # the table says it
        return Comparison(
            wasserstein_1=w1,
            wasserstein_1_error=error,
            wasserstein_2=wasserstein_distance(a, b, 2),
            mean_difference=float(mean_difference_bound(a, b)),
            total_variation=float(total_variation_distance(a, b)),
            jensen_shannon=float(jensen_shannon_divergence(a, b)),
            kl_a_b=float(kl_divergence(a, b)),
            kl_b_a=float(kl_divergence(b, a)),
            mmd2=float(gaussian_mmd2(a, b, sigma)),
            mmd_sigma=sigma,
            binned_l1=float(binned_l1(a, b, cells)),
            density_information_loss=float(density_information_loss(a, b, cells, parts=PARTS)),
        )


def _pooled_std(a: GaussianMixture1D, b: GaussianMixture1D) -> float:
    """Standard deviation of half of each; 1 where both are the same point."""
    with np.errstate(over="ignore"):
        within = math.hypot(a.std(), b.std()) * math.sqrt(0.5)
    pooled = math.hypot(within, a.mean() / 2 - b.mean() / 2)
    if not math.isfinite(pooled):
        raise ValueError("a and b spread too wide for double precision to square; divide both by one large number")
    return pooled or 1.0


def _cells(a: GaussianMixture1D, b: GaussianMixture1D) -> GaussianBasis:
    """`CELLS` between the outer quantiles of both; around them where both are one point, or all but one."""
    ends = np.concatenate([law.ppf([_CENTRAL, 1 - _CENTRAL]) for law in (a, b)])
    low, high = float(ends.min()), float(ends.max())
    least = 4 * CELLS * math.ulp(max(abs(low), abs(high)))
    if high - low < least:
        low, high = low - least, high + least
    return GaussianBasis.spanning(low, high, CELLS)


def _about_kl(value: float, first: str, second: str) -> str:
    return f"nats; {first} has mass where {second} has none" if math.isinf(value) else "nats"
