"""The squared maximum mean discrepancy of a Gaussian kernel.

    MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),    k(x, y) = exp(-(x - y)^2 / (2 sigma^2))
          = sigma sqrt(2 pi) int (a * kappa - b * kappa)^2 dx

X, X' from a and Y, Y' from b, independent; a * kappa: the law a convolved with a normal law kappa of variance
tau^2 = sigma^2 / 2. The second form is integrated: it cannot come out negative, and with components in pairs
(`Difference`) nothing cancels where those of a are almost those of b.

Point masses are convolved on a lattice of step tau / sqrt(8), where the trapezoidal rule is exact to rounding for the
square of their difference. The points u of a cell, in tau from its middle, add to the node at y

    sum exp(-(y - u)^2 / 2) = exp(-y^2 / 2) sum_k y^k / k!  sum exp(-u^2 / 2) u^k.

Where all positions t, in sigma, lie within one kernel, its own series gives the squares,

    MMD^2 = sum_k (sum_i delta_i exp(-t_i^2 / 2) t_i^k)^2 / k!.

Between the centres of a basis stands the kernel that is a density,

    K_ij = phi(mu_i - mu_j; 0, sigma) = exp(-(mu_i - mu_j)^2 / (2 sigma^2)) / (sigma sqrt(2 pi)).

Where the mu_i are equally spaced K is Toeplitz, K_ij = k_|i-j|, and K v a convolution: with v padded by as many zeros
as k has lags that are not zero, a product of Fourier transforms. M(sigma) of D Eq. 14 is K with zeros on its diagonal.
"""

from __future__ import annotations

import math
import sys
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import toeplitz
from scipy.special import factorial

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.quadrature import panels, rule
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._difference import TO_LEGENDRE, Difference
from gaussmix.distances._inputs import (
    Law,
    Weights,
    as_law,
    check_finite,
    hint_at_names,
    is_lattice,
    shaped,
    weight_rows,
)

_FINE = math.sqrt(8.0)
"""Standard deviations of a Gaussian, in steps, from which on sums of its squares are integrals to exp(-8 pi^2)."""
_NORMAL_REACH = 8.5  # standard deviations at which a normal density ends on a lattice
_NUMBERS = 1 << 20  # at a time, to bound the memory
WIDTH = 2.0  # of a panel, in S: there 16 points integrate the square to 1e-15

_CELL = 2  # steps
_ORDERS = np.arange(19)  # of u: |u| <= 1 / sqrt(8), and of t: |t| <= 1/2
_AWAY = math.ceil(_NORMAL_REACH * _FINE / _CELL)  # cells
_NODES = (np.arange(-2 * _AWAY, 2 * _AWAY + 2) - 1) * (0.5 * _CELL / _FINE)  # of cells _AWAY to either side, in tau
_OF_NODES = np.exp(-0.5 * _NODES**2) * _NODES ** _ORDERS[:, None] / factorial(_ORDERS)[:, None]
_OF_NODES = _OF_NODES.reshape(_ORDERS.size, -1, 2).swapaxes(0, 1).copy()  # by cell
_ROUNDING = 1e-12  # masses that add up to less add up to 0


@hint_at_names
def gaussian_mmd2(
    a: Any,
    b: Any,
    sigma: float,
    *,
    basis: GaussianBasis | None = None,
    a_weights: Weights = None,
    b_weights: Weights = None,
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
        To about 1e-15, whatever the unit and place of the data; where two densities lie d apart, to 1e-17 d / sigma if
        that is more. Between two samples, two laws without atoms, or weights on one basis that holds for the root of
        the value, so that small values keep digits. Two cases keep more. For mixtures without bounds and atoms the root
        is right to 1e-15 of the weighted sum of the components' own roots, of a's to b's, both from the left: closeness
        costs nothing. For samples and lattice bases whose whole range is below sigma it is right to 1e-15 of
        range / sigma.
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
    difference, tau = Difference(a, b), sigma * math.sqrt(0.5)
    total = _of_points(difference.at, difference.mass, sigma)
    if difference.has_densities():
        x, w = rule(*(np.sort(ends) for ends in panels(difference.features(tau, WIDTH))))
        values = tau * difference.smoothed(x.ravel(), tau)
        total += 2 * math.sqrt(math.pi) * float(values @ (w.ravel() / tau * values))  # squares may underflow
        total += 2 * math.sqrt(2 * math.pi) * _at_points(difference, sigma)
    return min(max(0.0, float(total)), 2.0)


def _at_points(difference: Difference, sigma: float) -> float:
    """sigma sum mass `smoothed`(at): of many points by their moments on panels, to which the nodes' values are due.

    sum_p mass_p f(t_p) = sum_q f(t_q) w_q sum_k (k + 1/2) P_k(t_q) sum_p mass_p P_k(t_p) with Gauss's rule.
    """
    at, mass = difference.at, difference.mass
    lower, upper = (np.sort(ends) for ends in panels(difference.features(sigma, 0.5 * WIDTH)))
    x, _ = rule(lower, upper)
    if at.size <= x.size:
        return float(mass @ (sigma * difference.smoothed(at, sigma)))
    own = np.searchsorted(lower, at, "right") - 1
    inside = (own >= 0) & (at <= upper[own])
    own, at, mass = own[inside], at[inside], mass[inside]
    first = np.flatnonzero(np.diff(own, prepend=-1))
    t = (2 * at - lower[own] - upper[own]) / (upper - lower)[own]
    term, before, weight = np.ones_like(t), np.zeros_like(t), np.zeros(x.shape)
    for k, row in enumerate(TO_LEGENDRE):
        weight[own[first]] += np.add.reduceat(mass * term, first)[:, None] * row
        term, before = ((2 * k + 1) * t * term - k * before) / (k + 1), term
    return float(weight.ravel() @ (sigma * difference.smoothed(x.ravel(), sigma)))


def _of_points(at: FloatArray, mass: FloatArray, sigma: float) -> float:
    """The double sum of the kernel over signed masses (N,) at increasing positions."""
    if at.size == 0:
        return 0.0
    if at[-1] - at[0] <= sigma:
        return float(_within_one_kernel(mass, (at - 0.5 * at[0] - 0.5 * at[-1]) / sigma))
    width = sigma * math.sqrt(0.5) * (_CELL / _FINE)
    gap = np.concatenate([[True], np.diff(at) > (2 * _AWAY + 2) * width, [True]])  # what is so far apart does not meet
    alone = gap[:-1] & gap[1:]
    by_themselves, at, mass = float(np.square(mass[alone]).sum()), at[~alone], mass[~alone]
    if at.size == 0:
        return by_themselves
    apart = np.flatnonzero(gap[:-1][~alone])
    cluster = np.repeat(np.arange(apart.size), np.diff(np.append(apart, at.size)))
    steps = (at - at[apart][cluster]) / width
    own = np.floor(steps)
    lengths = own[np.append(apart[1:], at.size) - 1] + 2 * _AWAY + 2
    cell = (own + np.append(0.0, np.cumsum(lengths[:-1]))[cluster]).astype(np.int64)
    u = (steps - own - 0.5) * (_CELL / _FINE)
    first = np.flatnonzero(np.append(True, np.diff(cell) != 0))
    moments, term = np.empty((first.size, _ORDERS.size)), mass * np.exp(-0.5 * u * u)
    for k in range(_ORDERS.size):
        moments[:, k] = np.add.reduceat(term, first)  # more exact than np.bincount
        term *= u
    cell = cell[first] - cell[0]
    nodes = np.zeros((cell[-1] + 2 * _AWAY + 1, 2))
    for shift, of_nodes in enumerate(_OF_NODES):
        nodes[cell + shift] += moments @ of_nodes
    total = float(np.square(nodes).sum())
    return by_themselves + total / math.sqrt(8 * math.pi)


def _on_lattice(delta: FloatArray, basis: GaussianBasis, sigma: float) -> FloatArray:
    """For differences of weights (B, n) on an open, unwarped basis: (B,).

    sum_i delta_i N(x; mu_i, S^2), S^2 = s^2 + sigma^2 / 2, on a lattice that has the centres among its points.
    """
    S = math.hypot(basis.bandwidth * basis.spacing, sigma * math.sqrt(0.5))
    n = basis.n_components
    if n * basis.spacing < S:
        wide = math.hypot(sigma, math.sqrt(2) * basis.bandwidth * basis.spacing)
        return (
            sigma
            / wide
            * _within_one_kernel(delta, (np.arange(n, dtype=np.float64) - 0.5 * (n - 1)) * (basis.spacing / wide))
        )
    spread = S / basis.spacing
    between = math.ceil(_FINE / spread)
    beyond = math.ceil(_NORMAL_REACH * spread * between)
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


def _within_one_kernel(delta: FloatArray, t: FloatArray) -> FloatArray:
    """(...) sums of exp(-(t_i - t_j)^2 / 2) with signed masses delta (..., n), |t| <= 1/2."""
    whole, term = delta.sum(axis=-1), np.exp(-0.5 * t * t)
    total = (np.where(np.abs(whole) < _ROUNDING, 0.0, whole) + delta @ np.expm1(-0.5 * t * t)) ** 2
    for k in _ORDERS[1:]:
        term = term * t
        total += (delta @ term) ** 2 / math.factorial(k)
    return total


DENSE_UP_TO = 256  # components up to which the matrix is as fast as the transforms


def kernel_row(basis: GaussianBasis, sigma: float, *, diagonal: bool) -> FloatArray:
    """k (n,), in 1 / units: the normal density at the distances mu_j - mu_0; k_0 = 0 if not ``diagonal``.

    Raises ValueError for a warped basis, whose K is not Toeplitz, and for a sigma that is not positive and finite.
    """
    if basis.scale is not None:
        raise ValueError(
            f"the basis is warped (scale={basis.scale}), so that its centres are not equally spaced; use kernel_matrix"
        )
    row = _density(np.multiply(basis.spacing, np.arange(basis.n_components)), sigma)
    if not diagonal:
        row[0] = 0.0
    return row


def kernel_matrix(basis: GaussianBasis, sigma: float, *, diagonal: bool) -> FloatArray:
    """K (n, n) of the density between all centres, also of a warped basis; zeros on its diagonal if not ``diagonal``.

    As the paper without the diagonal (M of D Eq. 14). Raises ValueError for a sigma that is not positive and finite.
    """
    if basis.scale is None:
        return toeplitz(kernel_row(basis, sigma, diagonal=diagonal))
    matrix = _density(np.subtract.outer(basis.centers, basis.centers), sigma)
    if not diagonal:
        np.fill_diagonal(matrix, 0.0)
    return matrix


def kernel_product(v: ArrayLike, basis: GaussianBasis, sigma: float, *, diagonal: bool) -> FloatArray:
    """K v (..., n) of vectors v (..., n): by the matrix up to `DENSE_UP_TO` components and if warped, else by FFT.

    By FFT it costs n log n and rounds to about 1e-15 of the largest entry, in all entries alike: those that are far
    smaller can have either sign. Raises ValueError for another n, NaN or a wrong ``sigma``.
    """
    vectors = np.asarray(v, np.float64)
    n = basis.n_components
    if vectors.ndim == 0 or vectors.shape[-1] != n:
        raise ValueError(f"v has shape {vectors.shape}, but the basis has {n} components: give (..., {n})")
    check_finite(vectors, "v", "all must be finite")
    if n <= DENSE_UP_TO or basis.scale is not None:
        return vectors @ kernel_matrix(basis, sigma, diagonal=diagonal)
    row = kernel_row(basis, sigma, diagonal=diagonal)
    reach = int(np.flatnonzero(row).max(initial=0))
    length: Any = next_fast_len(n + reach, True)
    around = np.zeros(length)
    around[: reach + 1] = row[: reach + 1]
    around[length - reach :] = row[reach:0:-1]
    spectrum = np.asarray(rfft(around), np.complex128).real  # alone: the row is even
    transformed = np.asarray(rfft(vectors, length), np.complex128)
    return np.asarray(irfft(transformed * spectrum, length), np.float64)[..., :n]


def check_sigma(sigma: float) -> None:
    """Raises TypeError for what is no number, ValueError for one that is not positive and finite."""
    if not isinstance(sigma, Real):
        raise TypeError(f"sigma is {sigma!r}; give a positive number: a standard deviation in units of the data")
    if not sys.float_info.min <= sigma < math.inf:
        raise ValueError(f"sigma is {sigma}; it must be positive and finite: a standard deviation in units of the data")


def _density(distance: FloatArray, sigma: float) -> FloatArray:
    check_sigma(sigma)
    with np.errstate(over="ignore"):  # to infinity, whose density is zero
        return np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
