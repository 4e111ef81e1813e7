"""Kullback-Leibler and Jensen-Shannon divergences, in nats (D section 2.3).

    KL(a || b) = int p log(p / q)
    JS(a, b) = KL(a || m) / 2 + KL(b || m) / 2,   m = (a + b) / 2

p, q: densities of a and b with respect to length plus counting measure at the atoms of either. In logarithms
throughout; `_integrands` has the forms that are integrated.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix.density._mixture import exact as _direct
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances import _integrands
from gaussmix.distances._inputs import as_mixture
from gaussmix.distances._lattice.logs import Integrand, integrals
from gaussmix.distances._mixtures.quadrature import features, integral, panels
from gaussmix.distances._rows import is_lattice, shaped, weight_rows

Array = NDArray[np.float64]


def kl_divergence(
    a: Any,
    b: Any,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
) -> float | Array:
    """KL(a || b) in nats, at least 0; to a relative error of 1e-8, of which it usually has far less.

    a, b: a `GaussianMixture1D` or a fitted one-column `GMMExpansion`. A sample (N,), with `a_weights` or `b_weights`
    (N,), has no density: it is learnt first, by `GMMExpansion()`. With `basis`, weights (..., n) on it, which
    broadcast: the answer has their leading shape (...).

    Infinite where a has mass and b none: an atom that b does not have, or beyond b's bounds, if b has no guard. A
    RuntimeWarning says so, once a call. As the paper (D section 2.3). Raises ValueError and TypeError for what is no
    distribution.
    """
    if basis is not None:
        first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
        return shaped(_of_rows(first, second, basis, _integrands.kl), shape)
    p, q = as_mixture(a, "a", a_weights), as_mixture(b, "b", b_weights)
    beyond = _beyond(p, q)
    if beyond is not None:
        warnings.warn(f"the KL divergence is infinite: a has mass {beyond}, where b has none", RuntimeWarning, 2)
        return math.inf
    return _of_pair(p, q, _integrands.kl)


def jensen_shannon_divergence(
    a: Any,
    b: Any,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
) -> float | Array:
    """JS(a, b) in nats, from 0 to log 2, which it is for laws with disjoint supports; to a relative error of 1e-8.

    a, b, `basis` and weights as in `kl_divergence`. Its square root is a metric. As the paper (D section 2.3). Raises
    ValueError and TypeError for what is no distribution.
    """
    if basis is not None:
        first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
        values = _of_rows(first, second, basis, _integrands.jensen_shannon)
        far = values > math.log(2) / 2
        values[far] = math.log(2) - _of_rows(first[far], second[far], basis, _integrands.overlap)
        return shaped(values, shape)
    p, q = as_mixture(a, "a", a_weights), as_mixture(b, "b", b_weights)
    value = _of_pair(p, q, _integrands.jensen_shannon)
    return value if value < math.log(2) / 2 else math.log(2) - _of_pair(p, q, _integrands.overlap)


def _of_rows(a: Array, b: Array, basis: GaussianBasis, integrand: Integrand) -> Array:
    """For weights (B, n): (B,)."""
    values, left = np.empty(len(a)), np.arange(len(a))
    if is_lattice(basis):
        values, left = integrals(a, b, basis, integrand)
    for k in left:
        values[k] = _of_pair(basis.mixture(a[k]), basis.mixture(b[k]), integrand)
    return values


def _of_pair(a: GaussianMixture1D, b: GaussianMixture1D, integrand: Integrand) -> float:
    total = 0.0
    positions = np.union1d(a.atoms.positions, b.atoms.positions)
    if positions.size:
        values, _ = integrand(_log_masses(a, positions), _log_masses(b, positions))
        total += float(values.sum())
    shares = [_continuous(law) for law in (a, b)]
    pieces = [law._pieces for law, share in zip((a, b), shares, strict=True) if share > 0]
    if not pieces:
        return total

    def function(x: Array) -> tuple[Array, Array]:
        return integrand(*(_log_densities(law, share, x) for law, share in zip((a, b), shares, strict=True)))

    return total + integral(function, *panels(features(pieces)))


def _continuous(law: GaussianMixture1D) -> float:
    """The share of the law that has no atoms."""
    return max(0.0, 1 - float(law.atoms.masses.sum()))


def _log_densities(law: GaussianMixture1D, share: float, x: Array) -> Array:
    return _direct.log_densities(x, law._pieces) + math.log(share) if share > 0 else np.full(x.size, -math.inf)


def _log_masses(law: GaussianMixture1D, positions: Array) -> Array:
    masses = np.zeros(positions.size)
    masses[np.searchsorted(positions, law.atoms.positions)] = law.atoms.masses
    with np.errstate(divide="ignore"):
        return np.log(masses)


def _beyond(a: GaussianMixture1D, b: GaussianMixture1D) -> str | None:
    """Where a has mass and b none, in words."""
    strange = np.setdiff1d(a.atoms.positions, b.atoms.positions)
    if strange.size:
        return f"at the point {strange[0]:g}"
    if _continuous(a) == 0:
        return None
    if _continuous(b) == 0:
        return "between its atoms"
    (low, high), (least, most) = (_direct.ends(law._pieces) for law in (a, b))
    if low < least or high > most:
        return f"in [{low:g}, {high:g}], beyond b's bounds [{least:g}, {most:g}]"
    return None
