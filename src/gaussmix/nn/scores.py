"""What a regression is trained with besides the likelihood: the CRPS in closed form, and soft targets.

    CRPS(F, y) = integral (F(x) - 1[x >= y])^2 dx = E|X - y| - 1/2 E|X - X'|
               = sum_i w_i A(y - mu_i, sigma_i) - 1/2 sum_ij w_i w_j A(mu_i - mu_j, (sigma_i^2 + sigma_j^2)^(1/2))
    A(d, s)    = d (2 Phi(d / s) - 1) + 2 s phi(d / s),   E|d + s Z| of a standard normal Z

As Grimit, Gneiting, Berrocal and Johnson (2006). Not in the papers. Soft targets are those of Imani and White (2018),
HL-Gauss: the masses of a Gaussian around y in the cells around the centres.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaussmix.density.basis import GaussianBasis
from gaussmix.nn.components import Components, components_of, normal_cdf, normal_pdf, normalised, quadratic_form


def crps(p: Tensor, y: Tensor, basis: GaussianBasis | Components) -> Tensor:
    """Return the continuous ranked probability score of mixtures on ``basis`` at y, in the units of y; lower is better.

    Differentiable any number of times in all its arguments. `ExpansionDistribution.crps` has it for moved bases.

    Parameters
    ----------
    p : Tensor (..., n), float32 or float64
        Weights, at least 0 with sum 1; ValueError or TypeError for others.
    y : Tensor (...)
        What was observed, which broadcasts with what p has before n. ValueError for NaN and infinity.
    basis : GaussianBasis or Components
        The components, without bounds.
    """
    components = components_of(basis, p)
    return mixture_crps(normalised(p, len(components.means), "p"), finite(y.to(p)), components)


def mixture_crps(weights: Tensor, y: Tensor, components: Components) -> Tensor:
    """(...) CRPS of weights (..., n) at y (...)."""
    means, stds = components
    to_value = (weights * _mean_distance(y[..., None] - means, stds)).sum(-1)
    between = _mean_distance(means[:, None] - means, torch.hypot(stds[:, None], stds))
    return to_value - 0.5 * quadratic_form(weights, between)


def finite(y: Tensor) -> Tensor:
    """``y``, or ValueError where its CRPS would be infinite or NaN."""
    if not bool(y.detach().isfinite().all()):
        raise ValueError("y contains NaN or infinity, or a number beyond its dtype; leave those rows out")
    return y


def soft_weights(y: Tensor, basis: GaussianBasis | Components, width: float = 0.75) -> Tensor:
    """Return weights (..., n) that stand for y (...): targets of a cross-entropy, ``-(target * log_weights).sum(-1)``.

    w_i = Phi((i + 1/2 - t) / width) - Phi((i - 1/2 - t) / width), t the place of y among the centres 0..n-1, linear
    between two of them; the outermost cells have all that lies beyond, so that the sum is 1. The cross-entropy is least
    where the law's weights are E[w | x]; that law is smoother than the data by ``width`` spacings and by the
    components' own standard deviation.

    Parameters
    ----------
    y : Tensor (...)
        In the units of the basis: of a moved one ``(y - loc) / scale``. ValueError for NaN. Of float32 or float64;
        whatever else becomes torch's default dtype.
    basis : GaussianBasis or Components
        The components, without bounds, their means increasing; ValueError for others.
    width : float
        Standard deviation of the Gaussian around y, in spacings; .75 as Farebrother et al. (2024). At least .5 keeps
        the mean of an even basis within .002 spacings of y. ValueError unless positive and finite.
    """
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width is {width}; give a positive number of spacings, such as 0.75")
    y = y if y.dtype in (torch.float32, torch.float64) else y.to(torch.get_default_dtype())
    means = components_of(basis, y).means.detach()
    if bool(y.detach().isnan().any()):
        raise ValueError("y contains NaN; leave those rows out")
    if not bool((means.diff() > 0).all()):
        raise ValueError("the means of the basis do not increase, so that nothing lies between neighbours; sort them")
    if len(means) == 1:
        return torch.ones_like(y)[..., None]
    i = torch.searchsorted(means, y.detach().contiguous()).clamp(1, len(means) - 1) - 1
    place = i + (y - means[i]) / (means[i + 1] - means[i])
    edges = torch.arange(len(means) - 1, dtype=y.dtype, device=y.device) + 0.5
    u = (edges - place[..., None]) / width
    # Masses right of y from the upper tails: there 1 - Phi would lose its digits.
    ends = torch.ones_like(u[..., :1]), torch.zeros_like(u[..., :1])
    below, above = torch.cat([ends[1], normal_cdf(u), ends[0]], -1), torch.cat([ends[0], normal_cdf(-u), ends[1]], -1)
    return torch.where(torch.cat([u > 0, u[..., -1:] > 0], -1), -above.diff(), below.diff())


def _mean_distance(d: Tensor, s: Tensor) -> Tensor:
    """A(d, s) = E|d + s Z|."""
    u = d / s
    return d * torch.erf(u * math.sqrt(0.5)) + 2 * s * normal_pdf(u)
