"""The components of a basis on the bins of its axis, as a matrix with few different rows.

With v = (u - start) / r, component k stands at v = k with standard deviation t, bin j of S a cell covers
[j/S - 1/2, (j+1)/S - 1/2), and

    A[j, k] = (probability of bin j under component k) / (width of the bin),   in 1/spacings,

depends on j only through its place in the cell. Reflection at bounds adds mirror images, so bins near a bound have rows
of their own. A component counts as zero beyond `REACH` standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.interior_point import BandedRows

REACH = 8.0  # exp(-REACH^2 / 2) = 1e-14 of the peak

Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def interval(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """P(a < Z <= b) of a standard normal Z, relatively accurate on either side."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    flip = a > 0
    return ndtr(np.where(flip, -a, b)) - ndtr(np.where(flip, -b, a))


def component_rows(basis: GaussianBasis, bins_per_cell: int) -> BandedRows:
    """A, with every component a Gaussian in u, the basis's own axis."""
    t, half = basis.bandwidth, 0.5 / bins_per_cell
    return _rows(basis, bins_per_cell, lambda v: interval((v - half) / t, (v + half) / t) * bins_per_cell, 1)


def moment_rows(basis: GaussianBasis, bins_per_cell: int) -> list[BandedRows]:
    """Matrices A_m, m = 0..4, with sum_d phi(x_d; mu_k, sigma) = sum_m (A_m^T M_m)_k / r by Taylor's series.

    M_m are the sums of ((v - bin centre) / bin width)^m over the points of each bin.
    """
    t = basis.bandwidth
    hermite = np.polynomial.hermite_e.HermiteE

    def derivative(m: int) -> Kernel:
        unit = (-1 / (bins_per_cell * t)) ** m / math.factorial(m) / (t * math.sqrt(2 * math.pi))
        return lambda v: unit * hermite.basis(m)(v / t) * np.exp(-((v / t) ** 2) / 2)

    return [_rows(basis, bins_per_cell, derivative(m), (-1) ** m) for m in range(5)]


def density_rows(basis: GaussianBasis, bins_per_cell: int) -> BandedRows:
    """A of the mixture as it is: on a warped basis a component is a Gaussian in x, and every row is full."""
    if basis.scale is None:
        return component_rows(basis, bins_per_cell)
    axis = basis.axis()
    n = basis.n_components
    edges = axis.edges[:: axis.n_bins // (n * bins_per_cell), None]
    total = np.zeros((edges.size - 1, n))
    for sign, shift in _images(basis.bounds, REACH * float(basis.stds.max())):
        ends = (sign * edges + shift - basis.centers) / basis.stds
        total += interval(np.minimum(ends[:-1], ends[1:]), np.maximum(ends[:-1], ends[1:]))
    return BandedRows(total * bins_per_cell, np.arange(len(total)), np.zeros(len(total), dtype=np.int64), n)


def _images(bounds: tuple[float | None, float | None], reach: float) -> list[tuple[int, float]]:
    """(sign, shift) of the places sign * v + shift that reflection at the bounds makes of v, as far as ``reach``."""
    low, high = bounds
    if low is None or high is None:
        ends = [end for end in bounds if end is not None]
        return [(1, 0.0), *((-1, 2 * end) for end in ends)]
    period = 2 * (high - low)
    most = math.ceil(reach / period) + 1
    return [(sign, k * period + (low + low if sign < 0 else 0.0)) for k in range(-most, most + 1) for sign in (1, -1)]


def _rows(basis: GaussianBasis, bins_per_cell: int, kernel: Kernel, parity: int) -> BandedRows:
    """Rows of kernel(v_j - k) and its mirror images (times ``parity``) for the bins with centres v_j."""
    n, S = basis.n_components, bins_per_cell
    axis = basis.axis()
    low, high = (
        None if end is None else (float(axis.transform(end)) - basis.start) / basis.spacing for end in basis.bounds
    )
    reach = REACH * basis.bandwidth + 0.5
    K = min(n - 1, math.ceil(reach))
    offsets = np.arange(-K, K + 1)
    place = (np.arange(S) + 0.5) / S - 0.5
    table = kernel(place[:, None] - offsets)
    cell, row = np.divmod(np.arange(n * S), S)
    if (low, high) != (None, None):
        v = cell + place[row]
        mirrored = [(s, shift) for s, shift in _images((low, high), reach) if (s, shift) != (1, 0.0)]
        near = np.zeros(n * S, dtype=bool)
        for sign, shift in mirrored:
            near |= (sign * v + shift > -reach) & (sign * v + shift < n - 1 + reach)
        own = table[row[near]]
        for sign, shift in mirrored:
            image = sign * v[near] + shift - cell[near]
            own = own + (parity if sign < 0 else 1) * kernel(image[:, None] - offsets)
        row[near] = S + np.arange(len(own))
        table = np.concatenate([table, own])
    return BandedRows(table, row, cell - K, n)
