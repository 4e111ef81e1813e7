"""The Gaussian kernel between the centres of a basis.

    K_ij = phi(mu_i - mu_j; 0, sigma) = exp(-(mu_i - mu_j)^2 / (2 sigma^2)) / (sigma sqrt(2 pi))

sigma: standard deviation, in the units of the data. Where the mu_i are equally spaced K is Toeplitz, K_ij = k_|i-j|,
and K v is a convolution: with v padded by as many zeros as k has lags that are not zero, a product of Fourier
transforms. M(sigma) of D Eq. 14 is K with zeros on its diagonal.
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

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._inputs import check_finite

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
