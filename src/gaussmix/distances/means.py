"""The difference of two means, which D calls a Wasserstein distance.

    |E_a X - E_b X| <= W1(a, b) = int |F_a - F_b| dx,    equal where F_a - F_b keeps its sign    (Jensen)
    | sum_i (pi_i - pi'_i) A_i |,    A_i = int_M F_i dx                                              D Eq. 5, Eq. 6

pi, pi': weights on one basis; F_i: distribution function of component i; M: an interval [low, high]. Eq. 6 tends to the
difference of the means as the interval grows, since int_low^high F dx = E min(max(high - X, 0), high - low).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.exact import Pieces
from gaussmix.density.basis import GaussianBasis, check_range
from gaussmix.density.reflection import UNIFORM_FROM, finite_or_not, mirror_images
from gaussmix.distances._inputs import Law, Sample, Weights, as_law, continuous_share, shaped, weight_rows

Interval = tuple[float, float]

REACH = 10.0  # standard deviations beyond the outermost centres at which the interval of D Eq. 15 ends
_SQRT_3 = math.sqrt(3.0)


def mean_difference_bound(
    a: Any,
    b: Any,
    *,
    basis: GaussianBasis | None = None,
    support: Interval | None = None,
    a_weights: Weights = None,
    b_weights: Weights = None,
) -> float | FloatArray:
    """Return ``|E_a X - E_b X|``, a lower bound of the Wasserstein distance W1, in the units of the data.

    As the paper, D Eq. 5 and Eq. 6, with ``support``, their M. Differs from the paper in its name: D calls this W1. It
    is W1 only where one distribution function is nowhere below the other. Two normal laws with equal means and standard
    deviations 10 and 30 have W1 = 15.96, and this is 0.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions or samples. ValueError or TypeError for anything else.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    support : (float, float), optional
        A finite interval ``(low, high)``: the integral of F_a - F_b over it instead of over the whole line.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.
    """
    if support is not None:
        check_range(*support, name="support")
    if basis is None:
        laws = as_law(a, "a", a_weights), as_law(b, "b", b_weights)
        first, second = (_mean(law) if support is None else _integral_of_cdf(law, *support) for law in laws)
        return abs(first - second)
    first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
    values = cdf_integrals(basis, support)
    return shaped(np.abs((first - second) @ (values - values[0])), shape)


def whole_interval(basis: GaussianBasis) -> Interval:
    """(low, high): `REACH` deviations beyond the outermost centres, or the basis's bounds."""
    low, high = finite_or_not(basis.bounds)
    below, above = (float(f(basis.centers + side * REACH * basis.stds)) for f, side in ((np.min, -1), (np.max, 1)))
    return below if math.isinf(low) else low, above if math.isinf(high) else high


def cdf_integrals(basis: GaussianBasis, support: Interval | None) -> FloatArray:
    """A (n,) on the interval ``support``; without one, minus the components' means, up to a constant."""
    low, high = finite_or_not(basis.bounds)
    mean, std = basis.centers, basis.stds
    if math.isinf(low) and math.isinf(high):
        return -mean if support is None else _clipped_gaussians(mean, std, (low, high), *support)
    interval = support or whole_interval(basis)
    rows, mirrored = mirror_images(mean, std, low, high)
    owner = np.append(np.arange(mean.size), rows)
    parts = _clipped_gaussians(np.append(mean, mirrored), std[owner], (low, high), *interval)
    folded = np.bincount(owner, parts, mean.size).astype(np.float64)
    wide = std >= UNIFORM_FROM * (high - low)
    return np.where(wide, _clipped_uniform((low, high), *interval), folded) if wide.any() else folded


def _mean(law: Law) -> float:
    if isinstance(law, Sample):
        return float(law.values.mean() if law.masses is None else law.masses @ law.values)
    return law.mean()


def _integral_of_cdf(law: Law, low: float, high: float) -> float:
    """int_low^high F dx = E min(max(high - X, 0), high - low)."""
    if isinstance(law, Sample):
        clipped = np.clip(high - law.values, 0.0, high - low)
        return float(clipped.mean() if law.masses is None else law.masses @ clipped)
    at_atoms = float(law.atoms.masses @ np.clip(high - law.atoms.positions, 0.0, high - low))
    return at_atoms + continuous_share(law) * _of_pieces(law._pieces, low, high)


def _of_pieces(p: Pieces, low: float, high: float) -> float:
    total = float(p.weight @ _clipped_gaussians(p.mean, 1 / p.inverse_std, (p.low, p.high), low, high))
    if p.flat > 0:
        total += p.flat * (p.high - p.low) * _clipped_uniform((p.low, p.high), low, high)
    if p.guard_mass > 0:
        t = (np.array([low, high]) - p.guard_loc) / p.guard_scale
        below = stdtr(3, t)
        first_moment = -_SQRT_3 / math.pi / (1 + t**2 / 3)  # of t, up to here
        inside = (high - p.guard_loc) * (below[1] - below[0]) - p.guard_scale * (first_moment[1] - first_moment[0])
        total += p.guard_mass * float((high - low) * below[0] + inside)
    return total


def _clipped_uniform(ends: Interval, low: float, high: float) -> float:
    """E h(X) of a uniform law between the ``ends``, with h(x) = min(max(high - x, 0), high - low)."""
    start, end = (min(max(x, ends[0]), ends[1]) for x in (low, high))
    return ((high - low) * (start - ends[0]) + (end - start) * (high - 0.5 * (start + end))) / (ends[1] - ends[0])


def _clipped_gaussians(mean: FloatArray, std: FloatArray, ends: Interval, low: float, high: float) -> FloatArray:
    """int h(x) N(x; mean, std^2) dx between the ``ends``, (n,), with the same h.

    From a to b:  int (high - x) N dx = (high - mean) (Phi(beta) - Phi(alpha)) + std (phi(beta) - phi(alpha)).
    """
    cuts = np.clip([ends[0], low, high], *ends)
    z = (cuts[:, None] - mean) / std
    Phi, phi = ndtr(z), np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return (high - low) * (Phi[1] - Phi[0]) + (high - mean) * (Phi[2] - Phi[1]) + std * (phi[2] - phi[1])
