"""Wasserstein distances on the line (D section 2.3).

    W_p(a, b) = ( int_0^1 |Q_a(u) - Q_b(u)|^p du )^(1/p)                                      D Eq. 2
    W_1(a, b) = int |F_a(x) - F_b(x)| dx;  on one basis int |sum_i (pi_i - pi'_i) F_i| dx     D Eq. 3, Eq. 4

F: cdfs, Q: quantiles. W_1 is integrated from antiderivatives between certified zeros (`_mixtures.absolute`;
`_lattice.rows` for weights on one basis), W_p over quantiles (`_mixtures.quantiles`), between samples both are exact
(`_samples.wasserstein`).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, Sample, as_law, near_zero, shaped
from gaussmix.distances._lattice.rows import row_distances
from gaussmix.distances._mixtures.absolute import absolute_difference
from gaussmix.distances._mixtures.quantiles import power_distance
from gaussmix.distances._samples.wasserstein import distance_of_samples

LARGEST_ORDER = 100  # p of W_p with a mixture: quadrature is not trusted beyond


def wasserstein_distance(
    a: Any,
    b: Any,
    p: float = 1,
    *,
    basis: GaussianBasis | None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    return_error: bool = False,
) -> Any:
    """Return the Wasserstein distance W_p(a, b) in the units of the data: itself, not its p-th power.

    Equal arguments have the distance 0.0. Differs from the paper: D section 2.3 computes |E a - E b| instead
    (`mean_difference_bound`), which is smaller where means agree and spreads do not.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions or samples, taken as point masses. ValueError or TypeError for anything
        else.
    p : float
        At least 1, with a mixture at most 100; between samples also infinite: the largest move of the sorted points.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.
    return_error : bool
        Whether to return ``(distance, error)``.

    Returns
    -------
    float or array (...), or a pair of them
        The distance; infinite, with a RuntimeWarning, for p >= 3 where a guard (``tail``) meets none or one of other
        mass scale^3. The error for p = 1 is a bound, rounding included, at most 1e-10 of the distance unless rounding
        alone is more (on a basis of a bandwidth below .1 or above 10: up to 1e-5 of it). For p > 1 with a mixture it is
        an estimate, near 1e-9 of the distance, without the rounding of quantiles: between almost equal laws that can be
        more. Two samples are exact but for rounding: 0.
    """
    try:
        order = float(p)
    except (TypeError, ValueError):
        raise TypeError(f"p is {p!r}; give a number, at least 1") from None
    if not order >= 1:
        raise ValueError(f"p is {p}; it must be at least 1")
    if basis is not None:
        kind, of_pair = "cdf" if order == 1 else None, partial(_of_pair, p=order)
        values, errors, shape = row_distances(a, b, basis, (a_weights, b_weights), kind, of_pair)
        distance, error = shaped(values, shape), shaped(errors, shape)
    else:
        distance, error = _of_pair(as_law(a, "a", a_weights), as_law(b, "b", b_weights), order)
    return (distance, error) if return_error else distance


def _of_pair(a: Law, b: Law, p: float) -> tuple[float, float]:
    if isinstance(a, Sample):
        if isinstance(b, Sample):
            return distance_of_samples(a, b, p), 0.0
        a, b = b, a
    if math.isinf(p):
        raise ValueError("p is inf, which is for two samples; with a mixture give a finite p >= 1")
    if p > LARGEST_ORDER:
        raise ValueError(f"p is {p:g}; with a mixture it can be at most {LARGEST_ORDER}")
    if isinstance(b, GaussianMixture1D) and a == b:
        return 0.0, 0.0
    a, b = near_zero(a, b)
    assert isinstance(a, GaussianMixture1D)
    return absolute_difference(a, b, cumulative=True) if p == 1 else power_distance(a, b, p)
