"""The energy distance: Cramer's distance of the distribution functions, in the form of Szekely and Rizzo.

    D^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'| = 2 int (F_a - F_b)^2 dx

X, X' from a and Y, Y' from b, independent; F: distribution functions. The integral is taken, in which nothing cancels.
Between two samples it is a sum. Otherwise F_a - F_b = C + H, C smooth but for bounds and H a step function. On a panel
of half-width h, with middle level c_0 and t from -1 to 1, C is sum_k c_k P_k(t), Legendre's polynomials, and where H is
constant between two points

    int (C + H)^2 dx = h ( int (C - c_0)^2 dt + 2 (H + c_0) int (C - c_0) dt + (H + c_0)^2 int dt ),
    int P_k dt = (P_k+1 - P_k-1) / (2 k + 1),    int_-1^1 P_k^2 dt = 2 / (2 k + 1).

On a lattice of spacing r with bandwidth s / (r sqrt(2)), F_a - F_b = sum_i c_i kappa(x - i) in spacings, c the running
sums of the differences of weights and kappa a smoothed unit step, so that

    D^2 = 2 r sum_ij c_i c_j T_i-j,    T_d = E max(0, 1 - |d + s Z|),  Z standard normal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.polynomial.legendre import legint, legval
from scipy.linalg import matmul_toeplitz, toeplitz
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.quadrature import panels, rule
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._difference import TO_LEGENDRE, Difference
from gaussmix.distances._inputs import Law, Sample, Weights, as_law, hint_at_names, is_lattice, shaped, weight_rows
from gaussmix.distances._samples import difference_of_cdfs, in_order, running_sums
from gaussmix.distances.mmd import DENSE_UP_TO

WIDTH = 1.0  # of a panel, in standard deviations: there a polynomial of degree 15 is a distribution function to 1e-16
_ORDERS = np.arange(16)


@hint_at_names
def energy_distance(
    a: Any, b: Any, *, basis: GaussianBasis | None = None, a_weights: Weights = None, b_weights: Weights = None
) -> float | FloatArray:
    """Return the energy distance, the root of ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``; equal laws have exactly 0.0.

    Not in the papers. As `scipy.stats.energy_distance`, which is for samples alone. Its unit is the root of that of the
    data. It is a metric, and weighs the tails less than the Wasserstein distance does.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions or samples, taken as point masses. ValueError or TypeError for anything
        else.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.

    Returns
    -------
    float or array (...)
        Between two samples exact but for rounding. Otherwise to about 1e-12 of its value, but for differences of the
        distribution functions that are rounding, below 1e-15; between unbounded mixtures those count as well, if both
        have components of almost the same place, width and weight.
    """
    if basis is None:
        return _of_laws(as_law(a, "a", a_weights), as_law(b, "b", b_weights))
    first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
    if is_lattice(basis):
        return shaped(_on_lattice(first - second, basis.spacing, basis.bandwidth), shape)
    rows = zip(first, second, strict=True)
    return shaped(np.array([_of_laws(basis.mixture(p), basis.mixture(q)) for p, q in rows], float), shape)


def _of_laws(a: Law, b: Law) -> float:
    if isinstance(a, Sample) and isinstance(b, Sample):
        at, difference = difference_of_cdfs(*in_order(a, b))
        return 2 * math.sqrt(np.square(difference) @ np.diff(0.5 * at))  # whose halves do not overflow
    return math.sqrt(2 * max(0.0, _integral(Difference(a, b))))


def _integral(law: Difference) -> float:
    """int (F_a - F_b)^2 dx."""
    if not law.has_densities():
        return float(np.square(running_sums(law.mass)[:-1]) @ np.diff(law.at)) if law.mass.size else 0.0
    f = law.features(0.0, WIDTH)
    low, high = (float(extreme(np.append(ends, law.at))) for extreme, ends in ((np.min, f.low), (np.max, f.high)))
    f = f._replace(low=np.full(f.low.size, low), high=np.full(f.low.size, high))
    lower, upper = (np.sort(edges) for edges in panels(f))
    half, (x, _) = 0.5 * (upper - lower), rule(lower, upper)
    coefficients = law.cdf(x.ravel()).reshape(x.shape) @ TO_LEGENDRE.T
    smooth = float(half @ (np.square(coefficients[:, 1:]) @ (2 / (2 * _ORDERS[1:] + 1))))
    starts = np.sort(np.concatenate([lower, law.at]))
    own = np.searchsorted(lower, starts, "right") - 1
    level = np.append(0.0, running_sums(law.mass))[np.searchsorted(law.at, starts, "right")] + coefficients[own, 0]
    t = (starts - lower[own]) / half[own] - 1
    integrals = legint(coefficients * (_ORDERS > 0), lbnd=-1, axis=1)
    areas = legval(t, integrals[own].T, tensor=False)  # int (C - c_0) dt from -1
    areas[t == -1] = 0.0
    mixed = np.diff(np.append(areas, 0.0), append=0.0)[: t.size]
    return smooth + float((2 * half[own] * level) @ mixed + np.square(level) @ np.diff(starts, append=high))


def _on_lattice(delta: FloatArray, spacing: float, bandwidth: float) -> FloatArray:
    """For differences of weights (B, n) on an open, unwarped basis: (B,)."""
    c = np.cumsum(delta, axis=1)[:, :-1]  # the last one is 0 but for rounding
    if c.size == 0:
        return np.zeros(len(delta))
    row = _smoothed_triangle(c.shape[1], math.sqrt(2) * bandwidth)
    products = c @ toeplitz(row) if row.size <= DENSE_UP_TO else np.asarray(matmul_toeplitz(row, c.T)).T
    return np.sqrt(2 * spacing * np.maximum((c * products).sum(axis=1), 0.0))


def _smoothed_triangle(n: int, s: float) -> FloatArray:
    """T_d for d = 0..n-1: a second difference, or where that would cancel the density's integral."""
    d = np.arange(n)
    if s < 1:
        z = np.abs(np.arange(-1, n + 1)) / s
        tails = s * (np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) - z * ndtr(-z))  # E max(0, s Z - s z)
        return np.diff(tails, 2) + (d == 0)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    u = 0.5 * (1 + nodes)
    density = sum(np.exp(-0.5 * ((d[:, None] + side * u) / s) ** 2) for side in (-1, 1))
    return density @ (0.5 * weights * (1 - u)) / (s * math.sqrt(2 * math.pi))
