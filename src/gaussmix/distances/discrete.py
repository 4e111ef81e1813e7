"""Divergences of probability vectors, component by component (D section 2.3).

    KL(a || b) = sum_i a_i log(a_i / b_i),   JS(a, b) = KL(a || m) / 2 + KL(b || m) / 2,   m = (a + b) / 2
    TV(a, b) = 1/2 sum_i |a_i - b_i|

Of weights on one basis they are bounds: the mixtures are no further apart than their weights, and nearer where
components overlap. Terms are those of `gaussmix.distances.divergences`, in which nothing cancels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gaussmix._typing import FloatArray
from gaussmix.distances._inputs import broadcast_rows, check_weight_rows, shaped
from gaussmix.distances.divergences import Integrand, js_integrand, kl_integrand, overlap_integrand


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
    p, q, shape = _checked(a, b)
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
    p, q, shape = _checked(a, b)
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
    p, q, shape = _checked(a, b)
    return shaped(np.minimum(0.5 * np.abs(p - q).sum(1), 1.0), shape)


def _checked(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Both as (B, n), and the shape before n."""
    p, q, shape = broadcast_rows(a, b, None, "give probabilities")
    return check_weight_rows(p, "a"), check_weight_rows(q, "b"), shape


def _sums(p: FloatArray, q: FloatArray, integrand: Integrand) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        values, _ = integrand(np.log(p), np.log(q))
    return np.where((p > 0) | (q > 0), values, 0.0).sum(1)
