"""The squared maximum mean discrepancy of a Gaussian kernel.

    MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),    k(x, y) = exp(-(x - y)^2 / (2 sigma^2))
          = sigma sqrt(2 pi) int (a * kappa - b * kappa)^2 dx

X, X' from a and Y, Y' from b, independent; a * kappa: the law a convolved with a normal law kappa of variance
sigma^2 / 2. The second form is integrated: it cannot come out negative, and nothing cancels where the laws are close.
All positions are taken from where a lies: only differences matter, and far from zero those would lose their digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._inputs import Law, Sample, as_law, is_lattice, shaped, weight_rows
from gaussmix.distances._mixtures import smoothed
from gaussmix.distances._mixtures.quadrature import panels, rule
from gaussmix.distances.toeplitz import check_sigma, kernel_product

_FINE = math.sqrt(8.0)
"""Standard deviations of a Gaussian, in steps, from which on sums of its squares are integrals to exp(-8 pi^2)."""
_REACH = 8.5
_NUMBERS = 1 << 20  # at a time, to bound the memory


def gaussian_mmd2(
    a: Any,
    b: Any,
    sigma: float,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
) -> float | FloatArray:
    """Return the squared maximum mean discrepancy of a Gaussian kernel: from 0 to 2.

    Not in the papers. With both signs and the diagonal, NGMG (D Eq. 13) is the gradient of one in the weights.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions, or samples, taken as point masses (the V-statistic): two samples of N
        and M points from one law differ by about 1/N + 1/M. ValueError or TypeError for anything else.
    sigma : float
        Standard deviation of the kernel exp(-(x - y)^2 / (2 sigma^2)), in the units of the data; positive.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.

    Returns
    -------
    float or array (...)
        To about 1e-15, whatever the unit and place of the data: relatively, however close the laws, between two
        samples, two laws without atoms and weights on one basis; absolutely between points and densities. A sigma far
        wider than the laws costs digits in proportion, but not on a lattice basis.
    """
    check_sigma(sigma)
    if basis is None:
        return _of_laws(as_law(a, "a", a_weights), as_law(b, "b", b_weights), sigma)
    first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
    if is_lattice(basis):
        return shaped(_on_lattice(first - second, basis, sigma), shape)
    pairs = zip(first, second, strict=True)
    return shaped(np.array([_of_laws(basis.mixture(p), basis.mixture(q), sigma) for p, q in pairs]), shape)


def _of_laws(a: Law, b: Law, sigma: float) -> float:
    tau, origin = sigma * math.sqrt(0.5), _location(a)
    densities = smoothed.smoothed_difference(a, b, tau, origin)
    (x, x_mass), (y, y_mass) = _points(a), _points(b)
    total = smoothed.integral_of_points(x - origin, x_mass, y - origin, y_mass, tau, densities)
    if densities.mean.size:
        at, w = rule(*panels(smoothed.features(densities, tau)))
        values = smoothed.values(at.ravel(), densities)
        total += 2 * math.sqrt(math.pi) * tau * float(values @ (w.ravel() * values))  # w first: squares may underflow
    return max(0.0, total)


def _location(law: Law) -> float:
    """A place where the law has much of its mass."""
    if isinstance(law, Sample):
        return float(np.median(law.values))
    if law.atoms.masses.sum() > 0.5:
        return float(law.atoms.positions[law.atoms.masses.argmax()])
    return float(law.means[law.weights.argmax()])


def _points(law: Law) -> tuple[FloatArray, FloatArray]:
    """Positions in order and masses: of a sample, or of a mixture's atoms."""
    if not isinstance(law, Sample):
        return law.atoms.positions, law.atoms.masses.copy()  # writeable, for which the sums are compiled
    masses = np.full(law.values.size, 1 / law.values.size) if law.masses is None else law.masses
    order = np.argsort(law.values)
    return law.values[order], masses[order]


def _on_lattice(delta: FloatArray, basis: GaussianBasis, sigma: float) -> FloatArray:
    """For differences of weights (B, n) on an open, unwarped basis: (B,).

    sum_i delta_i N(x; mu_i, S^2), S^2 = s^2 + sigma^2 / 2, on a lattice that has the centres among its points.
    """
    S = math.hypot(basis.bandwidth * basis.spacing, sigma * math.sqrt(0.5))
    if basis.n_components * basis.spacing < S:
        return _within_one_kernel(delta, basis, sigma, S)
    spread = S / basis.spacing
    between = math.ceil(_FINE / spread)
    beyond = math.ceil(_REACH * spread * between)
    n = basis.n_components
    size = (n - 1) * between + 1 + 2 * beyond
    lattice = GaussianBasis(0.0, 1 / between, size)  # in spacings
    out = np.empty(len(delta))
    rows = max(1, _NUMBERS // size)
    for k in range(0, len(delta), rows):
        part = delta[k : k + rows]
        masses = np.zeros((len(part), size))
        masses[:, beyond : size - beyond : between] = part
        g = kernel_product(masses, lattice, spread, diagonal=True)
        out[k : k + rows] = np.einsum("bi,bi->b", g, g)
    return sigma / basis.spacing * math.sqrt(2 * math.pi) / between * out


def _within_one_kernel(delta: FloatArray, basis: GaussianBasis, sigma: float, S: float) -> FloatArray:
    """The same where all centres lie within S, by differences from the normal density in their middle.

    sum_i delta_i exp(-(x - t_i)^2 / 2) = exp(-x^2 / 2) sum_i delta_i expm1(x t_i - t_i^2 / 2),
    t_i = (mu_i - middle) / S, as the delta_i add up to 0.
    """
    n = basis.n_components
    t = (np.arange(n) - 0.5 * (n - 1)) * (basis.spacing / S)
    nodes = round((_REACH + 0.5) * _FINE)
    x = np.arange(-nodes, nodes + 1)[:, None] / _FINE
    g = delta @ (np.exp(-0.5 * x**2) * np.expm1(x * t - 0.5 * t**2)).T
    return sigma / S / (_FINE * math.sqrt(2 * math.pi)) * np.einsum("bi,bi->b", g, g)
