"""Integrals over many pairs of mixtures on one lattice: the trapezoidal rule, halved until it has converged.

It converges exponentially for functions that are analytic around the line, as log-densities of Gaussian mixtures are:
once the step resolves their bends, the number of correct digits doubles when it is halved.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.exact import NEGLIGIBLE
from gaussmix.density.basis import GaussianBasis
from gaussmix.distances._mixtures.quadrature import REACH

Integrand = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

STEPS = 2  # in a standard deviation, at first
AGREEMENT = 1e-9
"""Difference of two steps, relative to the integral, at which the smaller has converged. It must hold for the integrand
times a cosine and a sine as well: errors that cancel by chance in one sum do not in three."""
MOST_HALVINGS = 3
_SPREAD = 300.0  # logarithm of the largest factor that a block of points leaves to its exponentials
_ROWS = 1024  # at a time, to bound the memory


def integrals(
    a: FloatArray, b: FloatArray, basis: GaussianBasis, integrand: Integrand
) -> tuple[FloatArray, NDArray[np.intp]]:
    """Of integrand(log p, log q) for weights a, b (B, n) on an open, unwarped basis: (B,); the rows not converged."""
    values, left = np.empty(len(a)), [np.empty(0, np.intp)]
    for first in range(0, len(a), _ROWS):
        rows = slice(first, first + _ROWS)
        values[rows], open_ones = _integrals(a[rows], b[rows], basis, integrand)
        left.append(first + open_ones)
    return values, np.concatenate(left)


def _integrals(
    a: FloatArray, b: FloatArray, basis: GaussianBasis, integrand: Integrand
) -> tuple[FloatArray, NDArray[np.intp]]:
    sigma = basis.bandwidth * basis.spacing
    low, high = basis.centers[0] - REACH * sigma, basis.centers[-1] + REACH * sigma
    steps = int(np.ceil(STEPS * (high - low) / sigma))
    step = (high - low) / steps

    def sums(x: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        values, _ = integrand(log_densities(a[rows], basis, x), log_densities(b[rows], basis, x))
        turns = x / (2 * sigma)
        return values @ np.stack([np.ones(x.size), np.cos(turns), np.sin(turns)], 1)

    active = np.arange(len(a))
    total = sums(low + step * np.arange(steps + 1), active)
    value = step * total
    for _ in range(MOST_HALVINGS):
        total[active] += sums(low + step * (np.arange(steps) + 0.5), active)
        step, steps = step / 2, 2 * steps
        before, value[active] = value[active], step * total[active]
        changed = np.abs(value[active] - before).max(1)
        active = active[changed > AGREEMENT * value[active, 0]]
        if not active.size:
            break
    return value[:, 0], active


def log_densities(weights: FloatArray, basis: GaussianBasis, x: FloatArray) -> FloatArray:
    """(B, N) at increasing, equally spaced x (N,), for weights (B, n) on an open, unwarped basis.

    Points are taken in blocks around a c. With z_i = (c - mu_i) / sigma, y_i = (x - mu_i) / sigma and top the largest
    log(w_i / sqrt(2 pi) / sigma) - z_i^2/2 =: l_i, log p(x) = top + log sum_i e^(l_i - top) e^(z_i^2/2 - y_i^2/2). The
    first factor is made once a block and row, the second is a matrix for all rows, and neither overflows. Components
    that are negligible in the whole block, for all rows, are left out.
    """
    mu, sigma = basis.centers, basis.bandwidth * basis.spacing
    with np.errstate(divide="ignore"):
        log_heights = np.log(weights) - math.log(math.sqrt(2 * math.pi) * sigma)
    widest = max(abs(x[0] - mu[-1]), abs(x[-1] - mu[0])) / sigma
    step = (x[-1] - x[0]) / max(x.size - 1, 1) / sigma
    size = 1 + int(2 * min(2.0, _SPREAD / widest) / step) if step > 0 else 1
    out = np.empty((len(weights), x.size))
    for first in range(0, x.size, size):
        block = x[first : first + size]
        c, half = 0.5 * (block[0] + block[-1]), 0.5 * (block[-1] - block[0])
        logs = log_heights - 0.5 * ((c - mu) / sigma) ** 2
        most = logs.argmax(1)
        top = np.take_along_axis(logs, most[:, None], 1)
        change = half * (np.abs(c - mu) + half) / sigma**2  # of a component's logarithm within the block, at most
        near = np.flatnonzero((logs - (top - change[most, None])).max(0, initial=-np.inf) + change > NEGLIGIBLE)
        some = slice(near[0], near[-1] + 1) if near.size else slice(0)
        lift = np.exp((block - c) * (2 * mu[some, None] - block - c) / (2 * sigma**2))
        out[:, first : first + size] = top + np.log(np.exp(logs[:, some] - top) @ lift)
    return out
