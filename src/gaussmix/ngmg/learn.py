"""Learning the weights of an expansion by the negative Gaussian mixture gradient (D section 4.3.1, Algorithm 1).

pi the weights that move, pi2 the target, delta = pi - pi2, K_ij = phi(mu_i - mu_j; 0, sigma), M = K without diagonal.

    paper       pi <- (pi - s M min(delta, 0)) / sum            D Algorithm 1
    projected   pi <- P(pi - s K delta),  s = 1 / max_j sum_i K_ij

P projects onto the simplex: P(v) = max(v - c, 0) with the one c for which it sums to 1. Sorted in descending order, the
k largest v stay positive, k the last with v_k > (v_1 + ... + v_k - 1) / k, and that quotient is c (Held, Wolfe and
Crowder 1974, doi 10.1007/BF01580223). "projected" is gradient descent on F = 1/2 delta^T K delta, which is, but for a
factor, the squared MMD of the weights on the centres under the Gaussian kernel. K is positive definite and no
eigenvalue exceeds its largest row sum, so s <= 1 / lambda_max, and each step lowers F by at least |step|^2 / (2 s)
and shrinks |delta|_2 by a factor of at most 1 - s lambda_min: pi = pi2 is the only place where it stops.

How fast depends on sigma alone. On centres r apart the eigenvalues of K lie between those of an endless lattice,

    f(w) = (1/r) sum_m exp(-(sigma/r)^2 (w + 2 pi m)^2 / 2),   w in [0, pi],

so lambda_max / lambda_min < f(0) / f(pi) = 70 at sigma = r and 2e8 at sigma = 2 r. At sigma = r, the default, every
pair of weights, up to a million components, is learnt to L1 = |delta|_1 <= 1e-9 in at most 2 000 steps, smooth laws in
far fewer (docs/equations.md). A wider kernel is fast at first and then slow: it hardly sees what is finer than sigma.

The fixed points of "paper" are pi = pi2 and every pi proportional to M (pi2 - pi)^+, and it runs into one of these. M
is not positive definite: differences that alternate within sigma have negative eigenvalues, and grow. They end as a
comb: one centre in p, p about 2 sigma / r, lacks weight for ever, since its own lack does not reach it (the zero
diagonal) and the normalisation takes what its neighbours' gives it. Where the target is flat over a few sigma that is

    L1 = 2 h / p,   h = 1 - 2 p sum_{k >= 1} phi(k p) / (1 - phi(0)),   phi of standard deviation sigma / r,

whatever the target: .64, .36, .25 and .08 at sigma = 1 r, 2 r, 3 r and 10 r. With ``diagonal`` the comb goes and L1
falls like 1/k, as long as the target is no narrower than sigma; with ``two_sided`` but no diagonal it diverges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.rules import histogram_weights
from gaussmix.distances._inputs import Sample, as_law, weight_rows
from gaussmix.distances.mmd import kernel_product
from gaussmix.ngmg.gradient import basis_sigma, common_basis, smoothed, weights_of


def project_onto_simplex(v: ArrayLike) -> FloatArray:
    """Return the weights ``(n,)`` >= 0 of sum 1 that are nearest to v in the Euclidean sense: exact, in n log n.

    Parameters
    ----------
    v : array_like (n,)
        Finite numbers, at least one; ValueError for others.
    """
    vector = np.asarray(v, np.float64)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise ValueError(f"v has shape {vector.shape} or values that are not finite; give finite numbers (n,)")
    vector = vector - vector.max()  # the projection is the same, and large values do not cancel
    descending = np.sort(vector)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, vector.size + 1)
    return np.maximum(vector - excess[np.flatnonzero(descending > excess)[-1]], 0.0)


RECORD_ALL = 32  # the path keeps this many first steps, and then 4 steps for each doubling of their number


@dataclass(frozen=True)
class WeightPath:
    """Where `learn_weights` came to, and how.

    Parameters
    ----------
    weights : array (n,)
        The last.
    n_steps : int
        How many were taken.
    converged : bool
        Whether the L1 distance to the target came down to the tolerance.
    steps : array (k,) of int
        The steps that are recorded: 0 (the start), all up to `RECORD_ALL`, 4 for each doubling, the last.
    path : array (k, n)
        Weights after these steps.
    l1, losses : array (k,)
        ``sum |pi - target|`` after them, from 0 to 2, and F = 1/2 delta^T K delta in 1 / units, which "projected" never
        raises.
    """

    weights: FloatArray
    n_steps: int
    converged: bool
    steps: NDArray[np.int64]
    path: FloatArray
    l1: FloatArray
    losses: FloatArray


def learn_weights(
    target: ArrayLike | GMMExpansion,
    basis: GaussianBasis | None = None,
    *,
    initial: ArrayLike | GMMExpansion | None = None,
    mode: Literal["projected", "paper"] = "projected",
    sigma: float | None = None,
    step: float | None = None,
    n_steps: int = 5000,
    tolerance: float = 1e-9,
    diagonal: bool = False,
    two_sided: bool = False,
) -> WeightPath:
    """Move weights to a target on one basis (D Algorithm 1), and keep the path.

    As the paper: ``mode="paper"``, in the sign of Eq. 13 and with positions counted in spacings. Algorithm 1 has no
    step, which is a step of 1, and phi has the unit of 1/x: with a step of one spacing the result does not depend on
    the unit and ten steps look like D Fig. 11. A step of 1 (``step=1.0``) is that only where centres are 1 apart; it
    moves by 1 / spacing times as much, more than all weight at once on fine bases. Its limit is not the target but a
    comb. Differs from the paper: ``mode="projected"``. An interrupt leaves nothing behind.

    Parameters
    ----------
    target : array_like (n,) or GMMExpansion
        Weights on ``basis``, or an expansion fitted on one, whose tail components and guard are left aside. ValueError
        or TypeError as in `negative_gaussian_mixture_gradient`.
    basis : GaussianBasis, optional
        May be left out where expansions bring it.
    initial : array_like (n,) or GMMExpansion, optional
        Where to start; uniform if not given.
    mode : "projected" or "paper"
        Gradient descent on F, which converges for every pair, or D Algorithm 1. See the head of the module.
    sigma : float, optional
        Standard deviation of the kernel in the units of the data. If not given, one spacing for "projected", where
        every pair converges fast, and the basis's for "paper".
    step : float, optional
        Length of a step in the units of the data. If not given, 1 / max_j sum_i K_ij for "projected", where twice that
        need not descend and is refused, and one spacing for "paper", which a warped basis has not.
    n_steps : int
        The most steps taken.
    tolerance : float
        Stop once ``sum |pi - target|`` is no more than this.
    diagonal, two_sided : bool
        Variants of "paper", as in `negative_gaussian_mixture_gradient`; two-sided steps that lead below zero are cut
        off there. "projected" always has both.
    """
    basis = common_basis(basis, target=target, initial=initial)
    n = basis.n_components
    first = np.full(n, 1 / n) if initial is None else weights_of(initial)
    goals, starts, shape = weight_rows(weights_of(target), first, basis, names=("target", "initial"))
    if shape:
        raise ValueError(f"target and initial have the shape {(*shape, n)}; learn one vector of weights (n,) at a time")
    goal, start = goals[0], starts[0]
    if mode not in ("projected", "paper"):
        raise ValueError(f"mode is {mode!r}; use 'projected' or 'paper'")
    if sigma is None:
        sigma = basis_sigma(basis if mode == "paper" else replace(basis, bandwidth=1.0))
    length = _checked_step(step, mode, basis, sigma)

    def advance(pi: FloatArray) -> FloatArray:
        if mode == "projected":
            return project_onto_simplex(pi - length * kernel_product(pi - goal, basis, sigma, diagonal=True))
        moved = pi - length * smoothed(pi - goal, basis, sigma, diagonal=diagonal, two_sided=two_sided)
        moved = np.maximum(moved, 0.0)  # only two-sided ones can be below
        return moved / moved.sum()

    pi, taken, converged, steps, path, l1 = _walk(start, goal, advance, n_steps, tolerance)
    losses = [delta @ kernel_product(delta, basis, sigma, diagonal=True) / 2 for delta in path - goal]
    return WeightPath(pi, taken, converged, steps, path, l1, np.array(losses))


def _walk(
    start: FloatArray, goal: FloatArray, advance: Callable[[FloatArray], FloatArray], n_steps: int, tolerance: float
) -> tuple[FloatArray, int, bool, NDArray[np.int64], FloatArray, FloatArray]:
    """All of a `WeightPath` but the losses."""
    if not hasattr(n_steps, "__index__"):
        raise TypeError(f"n_steps is {n_steps!r}; give a whole number of steps")
    if n_steps < 0 or not tolerance >= 0:
        raise ValueError(f"n_steps is {n_steps} and tolerance {tolerance}; neither may be negative")

    def away(pi: FloatArray) -> float:
        return float(np.abs(pi - goal).sum())

    taken, pi, distance = 0, start, away(start)
    recorded = [(taken, pi, distance)]
    while distance > tolerance and taken < n_steps:
        moved = advance(pi)
        if np.array_equal(moved, pi):
            break  # and so it would remain
        taken, pi, distance = taken + 1, moved, away(moved)
        if taken <= RECORD_ALL or taken >= recorded[-1][0] * 2**0.25:
            recorded.append((taken, pi, distance))
    if recorded[-1][0] != taken:
        recorded.append((taken, pi, distance))
    steps, path, l1 = (np.array(column) for column in zip(*recorded, strict=True))
    return pi, taken, distance <= tolerance, steps, path, l1


def learn_weights_from_data(x: ArrayLike, basis: GaussianBasis, **options: Any) -> WeightPath:
    """Move weights to those of data: the share of the numbers nearest to each centre, as `rules.histogram_weights`.

    Parameters
    ----------
    x : array_like (N,)
        The data. ValueError or TypeError if they are no numbers, empty or not finite, or lie outside the cells of the
        basis, half a spacing beyond its outermost centres.
    basis : GaussianBasis
        The components.
    **options
        As in `learn_weights`.
    """
    sample = as_law(x, "x")
    basis = common_basis(basis)
    if not isinstance(sample, Sample):
        raise TypeError("x is a mixture or a fitted expansion; give data (N,), or the expansion to learn_weights")
    counts = BinnedCounts(basis.axis()).add(sample.values)
    if counts.n_under + counts.n_over:
        raise ValueError(
            f"{counts.n_under + counts.n_over} of {sample.values.size} numbers lie outside the cells of the basis, "
            f"{counts.axis.low:.6g} to {counts.axis.high:.6g}; take a wider basis or leave them out"
        )
    return learn_weights(histogram_weights(counts, basis), basis, **options)


def _checked_step(step: float | None, mode: str, basis: GaussianBasis, sigma: float) -> float:
    bound = float(kernel_product(np.ones(basis.n_components), basis, sigma, diagonal=True).max())
    if step is None and mode == "projected":
        return 1 / bound
    if step is None:
        if basis.scale is not None:
            raise ValueError(f"the basis is warped (scale={basis.scale}) and has no one spacing; give step=")
        return basis.spacing
    if not 0 < step < math.inf:
        raise ValueError(f"step is {step}; it must be positive and finite")
    if mode == "projected" and step >= 2 / bound:
        raise ValueError(f"step is {step}; it must be below {2 / bound:.6g}, beyond which steps need not descend")
    return step
