"""Wasserstein distances on the line (D section 2.3).

    W_p(a, b) = ( int_0^1 |Q_a(u) - Q_b(u)|^p du )^(1/p),    W_1(a, b) = int |F_a(x) - F_b(x)| dx

F: cdfs, Q: quantiles. W_1 is integrated from antiderivatives between certified zeros (`_absolute`; `_lattice` for
weights on one basis), W_p over quantiles (`_quantiles`), between samples both are exact (`_empirical`).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal, overload

from numpy.typing import ArrayLike

from gaussmix.density.basis import GaussianBasis
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, Sample, as_law, near_zero
from gaussmix.distances._lattice.pairs import of_rows
from gaussmix.distances._mixtures.absolute import absolute_difference
from gaussmix.distances._mixtures.quantiles import power_distance
from gaussmix.distances._samples import wasserstein as _empirical

LARGEST_ORDER = 100
"""p of W_p with a mixture: quadrature is not trusted beyond."""


@overload
def wasserstein_distance(
    a: Any,
    b: Any,
    p: float = 1,
    *,
    basis: None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    return_error: Literal[False] = False,
) -> float: ...
@overload
def wasserstein_distance(
    a: Any,
    b: Any,
    p: float = 1,
    *,
    basis: None = None,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    return_error: Literal[True],
) -> tuple[float, float]: ...
@overload
def wasserstein_distance(
    a: ArrayLike, b: ArrayLike, p: float = 1, *, basis: GaussianBasis, return_error: bool = False
) -> Any: ...
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
    """W_p(a, b) in the units of the data: the distance itself, not its p-th power.

    a, b: a `GaussianMixture1D`, a fitted one-column `GMMExpansion`, or a sample (N,), which is taken as point masses
    1/N or in proportion to `a_weights`, `b_weights` (N,). With `basis`, a and b are weights (..., n) on it, which
    broadcast; the answer has their leading shape, a float where that is ().

    p: at least 1 and finite; between two samples also infinite, the largest move of the sorted points.

    `return_error`: (distance, error) instead. For p = 1 the error is a bound, rounding included, and at most 1e-10 of
    the distance unless rounding alone is more (with `basis`, at bandwidths below .1 or above 10: up to 1e-5 of it). For
    p > 1 with a mixture it is an estimate, near 1e-9 of the distance, without the rounding of quantiles: between almost
    equal laws that can be more.
    Two samples are exact but for rounding: 0.

    W_p is infinite, with a RuntimeWarning, for p >= 3 where a guard (`tail`) meets none or one of other mass scale^3.

    Equal arguments have the distance 0.0. D section 2.3 computes |E a - E b| instead (`mean_difference_bound`), which
    is smaller where means agree and spreads do not. Raises ValueError and TypeError for what is no distribution or p.
    """
    order = _checked_order(p)
    if basis is not None:
        kind = "cdf" if order == 1 else None
        values, errors = of_rows(a, b, basis, (a_weights, b_weights), kind, partial(_of_pair, p=order))
        distance, error = (part if part.shape else float(part) for part in (values, errors))
    else:
        distance, error = _of_pair(as_law(a, "a", a_weights), as_law(b, "b", b_weights), order)
    return (distance, error) if return_error else distance


def _of_pair(a: Law, b: Law, p: float) -> tuple[float, float]:
    if isinstance(a, Sample):
        if isinstance(b, Sample):
            return _empirical.wasserstein(a, b, p), 0.0
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


def _checked_order(p: float) -> float:
    try:
        order = float(p)
    except (TypeError, ValueError):
        raise TypeError(f"p is {p!r}; give a number, at least 1") from None
    if not order >= 1:
        raise ValueError(f"p is {p}; it must be at least 1")
    return order
