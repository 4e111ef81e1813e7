"""Kullback-Leibler and Jensen-Shannon divergences, in nats, and the total variation distance (D section 2.3).

    KL(a || b) = int p log(p / q) = int q - p - p log(q / p) = int p (e^t - 1 - t),   t = log q - log p
    JS(a, b) = KL(a || m) / 2 + KL(b || m) / 2 = int p/2 log(p / m) + q/2 log(q / m),   m = (p + q) / 2
    log 2 - JS(a, b) = int p/2 log(1 + q / p) + q/2 log(1 + p / q)

p, q: densities of a and b with respect to length plus counting measure at the atoms of either. In logarithms
throughout. The last form of each line is integrated, in which nothing is negative and nothing cancels (q - p adds
nothing to KL, as both have mass 1). An integrand takes log p and log q of one shape and gives its values and how far
rounding of the logarithms can put them off.

The total variation distance, how much of the probability has to move, is

    TV(a, b) = 1/2 int |f_a - f_b| dx + 1/2 sum_j |a_j - b_j|  =  max over sets S of |P_a(S) - P_b(S)|,

f: densities of the continuous parts, a_j, b_j: masses of the atoms. The integral is that of the cdfs' differences, on
panels of one sign or zero (`_absolute`; `_lattice.rows` for weights on one basis).

Of probability vectors, component by component,

    KL(a || b) = sum_i a_i log(a_i / b_i),    TV(a, b) = 1/2 sum_i |a_i - b_i|.

Of weights on one basis those are bounds: the mixtures are no further apart than their weights, and nearer where
components overlap.

Pairs are integrated on panels. For rows of weights on one lattice there is the trapezoidal rule, halved until it has
converged: exponentially, for functions that are analytic around the line, as log-densities of Gaussian mixtures are.
Once the step resolves their bends, the number of correct digits doubles when it is halved.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.quadrature import REACH, features, integral, panels
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._absolute import absolute_difference, atom_difference
from gaussmix.distances._inputs import (
    Weights,
    as_densities,
    broadcast_rows,
    check_weight_rows,
    continuous_share,
    is_lattice,
    near_zero,
    shaped,
    weight_rows,
    with_values_of,
)
from gaussmix.distances._lattice.rows import row_distances

STEPS = 2  # of the trapezoidal rule in a standard deviation, at first
AGREEMENT = 1e-9
"""Difference of two steps, relative to the integral, at which the smaller has converged. It must hold for the integrand
times a cosine and a sine as well: errors that cancel by chance in one sum do not in three."""
MOST_HALVINGS = 3
_SPREAD = 300.0  # logarithm of the largest factor that a block of points leaves to its exponentials
_ROWS = 1024  # at a time, to bound the memory
_ULPS = 8 * float(np.finfo(float).eps)
_NEVER = -1e4  # t from which on e^t is zero

Integrand = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]


def kl_divergence(
    a: Any, b: Any, *, basis: GaussianBasis | None = None, a_weights: Weights = None, b_weights: Weights = None
) -> float | FloatArray:
    """Return the Kullback-Leibler divergence KL(a || b) in nats, at least 0.

    As the paper (D section 2.3). Infinite where a has mass and b none: an atom that b does not have, or beyond b's
    bounds, if b has no guard. A RuntimeWarning says so, once a call.

    Of a discrete law (`LatticeMixture1D`) beside one that is not, the smooth density behind it is compared, here and in
    the other divergences. Values that a has and a discrete b has not count in b as its `logpdf` says.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions, or samples, which have no density and are learnt first, by
        ``GMMExpansion()``. ValueError or TypeError for anything else.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Weights of a sample's numbers.

    Returns
    -------
    float or array (...)
        To a relative error of 1e-8, of which it usually has far less. Below 1e-14 nats the rounding of log-densities
        shows: there the relative error is at most 1e-15 divided by the root of the divergence.
    """
    if basis is not None:
        first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
        return shaped(_of_rows(first, second, basis, kl_integrand), shape)
    p, q = as_densities(a, b, a_weights, b_weights)
    if isinstance(q, LatticeMixture1D):
        q = with_values_of(q, p)
    beyond = _beyond(p, q)
    if beyond is not None:
        warnings.warn(f"the KL divergence is infinite: a has mass {beyond}, where b has none", RuntimeWarning, 2)
        return math.inf
    return _of_pair(p, q, kl_integrand)


def jensen_shannon_divergence(
    a: Any, b: Any, *, basis: GaussianBasis | None = None, a_weights: Weights = None, b_weights: Weights = None
) -> float | FloatArray:
    """Return the Jensen-Shannon divergence JS(a, b) in nats, from 0 to log 2 for laws with disjoint supports.

    As the paper (D section 2.3). Its square root is a metric.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        As in `kl_divergence`.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Weights of a sample's numbers.

    Returns
    -------
    float or array (...)
        To a relative error of 1e-8; below 1e-14 nats as `kl_divergence`.
    """
    if basis is not None:
        first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
        values = _of_rows(first, second, basis, js_integrand)
        far = values > math.log(2) / 2
        values[far] = math.log(2) - _of_rows(first[far], second[far], basis, overlap_integrand)
        return shaped(values, shape)
    p, q = as_densities(a, b, a_weights, b_weights)
    value = _of_pair(p, q, js_integrand)
    return value if value < math.log(2) / 2 else math.log(2) - _of_pair(p, q, overlap_integrand)


def total_variation_distance(
    a: Any, b: Any, *, basis: GaussianBasis | None = None, a_weights: Weights = None, b_weights: Weights = None
) -> float | FloatArray:
    """Return the total variation distance, from 0 for equal laws (exactly 0.0) to 1 for laws with nothing in common.

    As the paper (D section 2.3).

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions, or samples, which are learnt first, by ``GMMExpansion()``: as point
        masses they would have distance 1 from every density. ValueError or TypeError for anything else.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Weights of a sample's numbers.

    Returns
    -------
    float or array (...)
        To 1e-10 of its value (1e-8 with a ``basis`` whose bandwidth is below .1 or above 10).
    """
    if basis is not None:
        values, _, shape = row_distances(a, b, basis, (a_weights, b_weights), "density", _twice_total_variation)
        return shaped(np.minimum(0.5 * values, 1.0), shape)
    return min(0.5 * _twice_total_variation(*as_densities(a, b, a_weights, b_weights))[0], 1.0)


def discrete_kl_divergence(a: ArrayLike, b: ArrayLike) -> float | FloatArray:
    """Return sum_i a_i log(a_i / b_i) in nats; infinite where an a_i > 0 meets b_i = 0, and 0 log 0 is 0.

    As the paper (D section 2.3). At least the `kl_divergence` of mixtures that have these weights on one basis.

    Parameters
    ----------
    a, b : array_like (..., n)
        Probabilities, which broadcast; ValueError for negative ones and for another sum than 1.

    Returns
    -------
    float or array (...)
        Accurate as `kl_divergence` is.
    """
    p, q, shape = _probabilities(a, b)
    return shaped(_sums(p, q, kl_integrand), shape)


def discrete_jensen_shannon_divergence(a: ArrayLike, b: ArrayLike) -> float | FloatArray:
    """Return the Jensen-Shannon divergence of probabilities in nats, from 0 to log 2.

    As the paper (D section 2.3). Its square root is SciPy's ``jensenshannon``.

    Parameters
    ----------
    a, b : array_like (..., n)
        As in `discrete_kl_divergence`.

    Returns
    -------
    float or array (...)
        Accurate as `jensen_shannon_divergence` is.
    """
    p, q, shape = _probabilities(a, b)
    near = _sums(p, q, js_integrand)
    return shaped(np.where(near < math.log(2) / 2, near, math.log(2) - _sums(p, q, overlap_integrand)), shape)


def discrete_total_variation_distance(a: ArrayLike, b: ArrayLike) -> float | FloatArray:
    """Return half the sum of ``|a_i - b_i|``, from 0 to 1.

    As the paper (D section 2.3).

    Parameters
    ----------
    a, b : array_like (..., n)
        As in `discrete_kl_divergence`.
    """
    p, q, shape = _probabilities(a, b)
    return shaped(np.minimum(0.5 * np.abs(p - q).sum(1), 1.0), shape)


def _of_rows(a: FloatArray, b: FloatArray, basis: GaussianBasis, integrand: Integrand) -> FloatArray:
    """For weights (B, n): (B,)."""
    values = np.empty(len(a))
    for first in range(0, len(a), _ROWS):
        rows, left = slice(first, first + _ROWS), np.arange(len(a[first : first + _ROWS]))
        if is_lattice(basis):
            values[rows], left = lattice_integrals(a[rows], b[rows], basis, integrand)
        for k in first + left:
            values[k] = _of_pair(basis.mixture(a[k]), basis.mixture(b[k]), integrand)
    return values


def _of_pair(a: GaussianMixture1D, b: GaussianMixture1D, integrand: Integrand) -> float:
    total = 0.0
    positions = np.union1d(a.atoms.positions, b.atoms.positions)
    if positions.size:
        values, _ = integrand(_log_masses(a, positions), _log_masses(b, positions))
        total += float(values.sum())
    pieces = [law._pieces for law in (a, b) if continuous_share(law) > 0]
    if not pieces:
        return total
    edges = panels(features(pieces))
    return total + integral(lambda x: integrand(_log_densities(a, x), _log_densities(b, x)), *edges)


def _log_densities(law: GaussianMixture1D, x: FloatArray) -> FloatArray:
    share = continuous_share(law)
    return exact.log_densities(x, law._pieces) + math.log(share) if share > 0 else np.full(x.size, -math.inf)


def _log_masses(law: GaussianMixture1D, positions: FloatArray) -> FloatArray:
    masses = np.zeros(positions.size)
    masses[np.searchsorted(positions, law.atoms.positions)] = law.atoms.masses
    with np.errstate(divide="ignore"):
        return np.log(masses)


def _beyond(a: GaussianMixture1D, b: GaussianMixture1D) -> str | None:
    """Where a has mass and b none, in words."""
    strange = np.setdiff1d(a.atoms.positions, b.atoms.positions)
    if strange.size:
        return f"at the point {strange[0]:g}"
    if continuous_share(a) == 0:
        return None
    if continuous_share(b) == 0:
        return "between its atoms"
    (low, high), (least, most) = (exact.ends(law._pieces) for law in (a, b))
    if low < least or high > most:
        return f"in [{low:g}, {high:g}], beyond b's bounds [{least:g}, {most:g}]"
    return None


def lattice_integrals(
    a: FloatArray, b: FloatArray, basis: GaussianBasis, integrand: Integrand
) -> tuple[FloatArray, NDArray[np.intp]]:
    """Of integrand(log p, log q) for weights a, b (B, n) on an open, unwarped basis: (B,); the rows not converged."""
    sigma = basis.bandwidth * basis.spacing
    low, high = basis.centers[0] - REACH * sigma, basis.centers[-1] + REACH * sigma
    steps = int(np.ceil(STEPS * (high - low) / sigma))
    step = (high - low) / steps

    def sums(x: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        values, _ = integrand(log_densities_of_rows(a[rows], basis, x), log_densities_of_rows(b[rows], basis, x))
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


def log_densities_of_rows(weights: FloatArray, basis: GaussianBasis, x: FloatArray) -> FloatArray:
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
        near = np.flatnonzero((logs - (top - change[most, None])).max(0, initial=-np.inf) + change > exact.NEGLIGIBLE)
        some = slice(near[0], near[-1] + 1) if near.size else slice(0)
        lift = np.exp((block - c) * (2 * mu[some, None] - block - c) / (2 * sigma**2))
        out[:, first : first + size] = top + np.log(np.exp(logs[:, some] - top) @ lift)
    return out


def kl_integrand(log_p: FloatArray, log_q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Infinite where p > 0 = q."""
    with np.errstate(over="ignore", invalid="ignore"):  # unused branches of where
        p, q = np.exp(log_p), np.exp(log_q)
        t = np.where(p > 0, log_q - log_p, 0.0)
        value = np.where(np.abs(t) <= 1, p * (np.expm1(t) - t), q - p - p * t)
        size = 1 + np.abs(log_q) + np.where(p > 0, np.abs(log_p), 0.0)
        return np.where(p > 0, value, q), _ULPS * np.where(q > 0, np.abs(q - p) * size, p)


def js_integrand(log_p: FloatArray, log_q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The form that is accurate where p and q are close."""
    P, t, r = _larger_and_ratio(log_p, log_q)
    u = 0.5 * np.maximum(t, -1.0)
    s = np.sinh(u)
    close = P * np.exp(u) * (u * s - 0.5 * np.sqrt(1 + s * s) * np.log1p(s * s))
    apart = 0.5 * P * (r * t - (1 + r) * (np.log1p(r) - math.log(2)))
    return np.where(t > -1, close, apart), _noise(P, t, r)


def overlap_integrand(log_p: FloatArray, log_q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log 2 - JS: zero where p or q is."""
    P, t, r = _larger_and_ratio(log_p, log_q)
    return 0.5 * P * (np.log1p(r) + r * (np.log1p(r) - t)), _noise(P, t, r)


def _larger_and_ratio(log_p: FloatArray, log_q: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The larger density, t = -|log p - log q| and e^t; t is finite."""
    t = np.maximum(-np.abs(log_p - log_q), _NEVER)
    return np.exp(np.maximum(log_p, log_q)), t, np.exp(t)


def _noise(P: FloatArray, t: FloatArray, r: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(P > 0, 1 + np.abs(np.log(P)) - t, 0.0)
    return _ULPS * P * r * -t * size


def _probabilities(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Both as (B, n), and the shape before n."""
    p, q, shape = broadcast_rows(a, b, None, "give probabilities")
    return check_weight_rows(p, "a"), check_weight_rows(q, "b"), shape


def _sums(p: FloatArray, q: FloatArray, integrand: Integrand) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        values, _ = integrand(np.log(p), np.log(q))
    return np.where((p > 0) | (q > 0), values, 0.0).sum(1)


def _twice_total_variation(a: GaussianMixture1D, b: GaussianMixture1D) -> tuple[float, float]:
    """2 TV and a bound on its error."""
    if a == b:
        return 0.0, 0.0
    first, second = near_zero(a, b)
    assert isinstance(first, GaussianMixture1D)
    value, error = absolute_difference(first, second, cumulative=False)
    heights, _, _ = atom_difference([(1.0, a), (-1.0, b)])
    return value + float(np.abs(heights).sum()), error
