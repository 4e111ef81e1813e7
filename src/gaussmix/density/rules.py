"""Rules of the papers: from counts to the weights pi (n,), sum pi = 1, of an expansion on a fixed basis.

Every rule is a function of counts on the cells [mu_i - r/2, mu_i + r/2) of the basis, c_i points each, N in all;
mu_i = start + i r, sigma = t r. Counts come on 16 bins a cell, which the last two rules use.

    histogram    pi_i = c_i / N                                 E Algorithm 2 with the step that reproduces E's tables
    algorithm1   pi = 1/n + M c, normalised                     E Algorithm 1
    algorithm2   pi_i = 1/n + s c_i - s (N - c_i) / n, normalised   E Algorithm 2 as printed
    kernel       pi_i = l_i / sum l, l_i = sum_d phi(x_d; mu_i, sigma)   D section 2.2
    ml           the maximum of the likelihood                  certified (`gaussmix.density.interior_point`)

E looks for the pi that make a loss least (E Eq. 5, E Eq. 6), bounds it (E Eq. 3, E Eq. 4), and lets each point move pi
by the bound's derivative (E Eq. 7, E Eq. 8); M holds those derivatives, s is the one that Algorithm 2 keeps.

On a warped basis the first four work in u = asinh((x - center) / scale), where the centres are equally spaced. Points
outside the basis's axis are not seen here: counts hold them apart.

The bandwidth t by held-out likelihood: each bin's count is split at random into K parts, multinomial with probabilities
1/K: the parts are the counts of K random folds of the data, without a second pass over it. For every fold the weights
are fitted to the other folds and the mean log-density of the fold's points is taken; the bandwidth with the best mean
over folds wins. Of the density that judges a point, the share 0.2 / (points fitted) is uniform on the basis's axis, so
that a lone point far from all others costs some nats and not infinitely many.

The last two see the components of a basis on the bins of its axis as a banded matrix. With
v = (u - start) / r, component k stands at v = k with standard deviation t, bin j of S a cell covers
[j/S - 1/2, (j+1)/S - 1/2), and

    A[j, k] = (probability of bin j under component k) / (width of the bin),   in 1/spacings,

which depends on j - S k alone but for the mirror images that reflection at bounds adds. A component counts as zero
beyond `REACH` standard deviations.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.basis import SUB_BINS, GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.interior_point import MaximumLikelihood, maximum_likelihood_weights
from gaussmix.density.reflection import finite_or_not, reflections
from gaussmix.density.standard_units import GUARD_POINTS

N_FOLDS = 5
ML_TOLERANCE = 1e-5  # nats a point; differences between bandwidths are far larger
REACH = 8.0  # exp(-REACH^2 / 2) = 1e-14 of the peak
TAYLOR_FROM = 0.25  # least t at which a series of four moments a bin serves; to 1e-8 from t = 1/2

Kernel = Callable[[FloatArray], FloatArray]


def basis_weights(
    rule: str, counts: BinnedCounts, basis: GaussianBasis, tol: float = 1e-8
) -> tuple[FloatArray, dict[str, float]]:
    """The weights of a rule by its name, and what there is to say of them; ``tol`` is that of "ml".

    Raises ValueError for a rule that takes no basis, and as the rules do.
    """
    match rule:
        case "histogram":
            return histogram_weights(counts, basis), {}
        case "kernel":
            return kernel_weights(counts, basis), {}
        case "algorithm1" | "algorithm2":
            weights, clipped = (algorithm1_weights if rule == "algorithm1" else algorithm2_weights)(counts, basis)
            return weights, {"clipped_mass": clipped}
        case "ml":
            best = ml_weights(counts, basis, tol)
            return best.weights, {"optimality_gap": best.gap}
    raise ValueError(f"the rule {rule!r} takes no basis")


def histogram_weights(counts: BinnedCounts, basis: GaussianBasis) -> FloatArray:
    """pi_i = c_i / N, the share of the points nearest to mu_i.

    As the paper, in one reading: E Algorithm 2 with the step dL = 1/N gives exactly this after its normalisation, and
    it reproduces E's Tables 1-3. Its dL as printed does not (`algorithm2_weights`).
    Raises ValueError for counts on another axis or without points.
    """
    mass = bin_masses(counts, basis)
    return _cells(mass) / mass.sum()


def algorithm1_weights(counts: BinnedCounts, basis: GaussianBasis) -> tuple[FloatArray, float]:
    """E Algorithm 1 in closed form: (weights, clipped mass).

    Each point adds, to every weight k, the probability under component k of mid = (mu_i - d, mu_i + d] less the mean of
    those of side+ = (mu_i + r - d, mu_i + r] and side- = (mu_i - r, mu_i - r + d], where mu_i is its nearest centre
    (E Eq. 7, E Eq. 8), and d = sigma/4, E's first example.

    As the paper: mid of half-width d (E Eq. 7; E Eq. 3 and E Eq. 4 say d/2). Differs from the paper: E prints
    side- = (x_j - r, x_j - r + d], about the point and not about its centre as in Eq. 7 and in side+; here it is about
    mu_i, which makes the rule an exact function of the counts. Weights can come out slightly negative at t = 1; they
    are set to zero, the rest is normalised, and the clipped mass says how much that was (of a total of 1).
    """
    mass = bin_masses(counts, basis)
    n, t = basis.n_components, basis.bandwidth
    d = t / 4
    offset = np.arange(1 - n, n)  # mu_i - mu_k in spacings
    mid = interval((offset - d) / t, (offset + d) / t)
    sides = interval((offset + 1 - d) / t, (offset + 1) / t) + interval((offset - 1) / t, (offset - 1 + d) / t)
    pi = 1 / n + np.convolve(_cells(mass), (mid - sides / 2)[::-1])[n - 1 : 2 * n - 1]
    return clip(pi)


def algorithm2_weights(counts: BinnedCounts, basis: GaussianBasis) -> tuple[FloatArray, float]:
    """E Algorithm 2 in closed form, as printed: (weights, clipped mass).

    Each point adds dL to the weight of its nearest centre and takes dL / n from all others. dL is the paper's P(mid) -
    P(side) under the component itself (E Eq. 7), mid = (mu - d, mu + d] and side = (mu + r - d, mu + r], d = sigma/4.

    As the paper. With its own dL most weights are negative as soon as N dL is much above 1: those with
    c_i < (N dL - 1) / (dL (n + 1)). They are set to zero, the rest is normalised, and a UserWarning says so;
    `histogram_weights` is the reading that reproduces E's tables (dL = 1/N).
    """
    mass = bin_masses(counts, basis)
    c, t = _cells(mass), basis.bandwidth
    d = t / 4
    step = float(interval(-d / t, d / t) - interval((1 - d) / t, 1 / t))
    pi = 1 / c.size + step * c - step * (mass.sum() - c) / c.size
    pi /= pi.sum()
    weights, clipped = clip(pi)
    if clipped > 0:
        warnings.warn(
            f"algorithm2 as printed gave {np.count_nonzero(pi < 0)} of {pi.size} weights below zero, -{clipped:.3g} "
            "together where all sum to 1; they were set to zero: rule='histogram' is the reading that reproduces E",
            stacklevel=2,
        )
    return weights, clipped


def kernel_weights(counts: BinnedCounts, basis: GaussianBasis) -> FloatArray:
    """D's one-iteration rule (D section 2.2, steps 4-5): pi_i = l_i / sum l, l_i = sum_d phi(x_d; mu_i, sigma).

    As the paper, but for the bins: points count as spread evenly over theirs, 1/16 of a spacing wide; with counts that
    keep four moments (``exact=True``) and t >= 1/4 the sum is exact to about 1e-8. On a basis with bounds phi is the
    reflected component.
    """
    mass = bin_masses(counts, basis)
    if counts.exact and basis.bandwidth >= TAYLOR_FROM:
        sums = zip(moment_rows(basis, SUB_BINS), [mass, *counts.moments], strict=True)
        total = np.sum([A.T @ m for A, m in sums], axis=0)
    else:
        total = component_rows(basis, SUB_BINS).T @ mass
    return total / total.sum()


def ml_weights(counts: BinnedCounts, basis: GaussianBasis, tol: float = 1e-8, max_iter: int = 200) -> MaximumLikelihood:
    """The weights of maximum likelihood, with a certificate.

    The data are the counts on bins of at most sigma/16 (of r/16 where sigma < 2 r), and their likelihood is the exact
    one: the probability of each bin under the mixture. ``tol`` is the gap to reach, in nats a point; a UserWarning says
    if ``max_iter`` steps did not.

    Not in the papers, whose rules stop at or before one step of EM. Overfits below t = 5 or so, unless t was chosen by
    held-out likelihood (`choose_bandwidth`).
    """
    mass = bin_masses(counts, basis)
    bins_per_cell = SUB_BINS
    while bins_per_cell > 1 and basis.bandwidth * bins_per_cell >= 2 * SUB_BINS:
        bins_per_cell //= 2
    mass = mass.reshape(-1, SUB_BINS // bins_per_cell).sum(1)
    used = np.flatnonzero(mass)
    rows = density_rows(basis, bins_per_cell)[used]
    wide = 2 * np.diff(rows.indptr).max() > basis.n_components
    best = maximum_likelihood_weights(rows.toarray() if wide else rows, mass[used], tol=tol, max_iter=max_iter)
    if best.gap > tol:
        warnings.warn(
            f"ml stopped after {best.n_iter} steps with an optimality gap of {best.gap:.1e} nats a point, not {tol:g}",
            stacklevel=2,
        )
    return best


def choose_bandwidth(
    counts: BinnedCounts, basis: GaussianBasis, rule: str, *, rng: np.random.Generator | int = 0
) -> tuple[float, FloatArray, FloatArray]:
    """The bandwidth t of ``basis`` (sigma = t r) that predicts held-out points best under ``rule``.

    After it those that were tried, (T,): 1/2 to 32 in steps of sqrt(2), at most n/4; and the mean log-densities of
    held-out points, (T,), in nats a point per unit of the basis's axis. The counts lie on ``basis.axis()``; points
    outside the axis have no say. ``rng`` is a generator or a seed for the split.

    Raises ValueError for counts on another axis, and too few points to split.
    """
    grid = 2 ** np.arange(-1, 5.5, 0.5)
    grid = grid[grid <= max(1.0, basis.n_components / 4)]
    mass, number = bin_masses(counts, basis), counts.counts
    used = np.flatnonzero(number)
    parts = np.random.default_rng(rng).multinomial(number, np.full(N_FOLDS, 1 / N_FOLDS))[used].T
    centers, per_point = counts.axis.centers[used], mass[used] / number[used]  # importance weights go with the points
    folds: list[tuple[BinnedCounts, float, FloatArray]] = []
    for held in parts:
        fitted = number[used] - held
        if held.any() and fitted.any():
            others = BinnedCounts(counts.axis).add(centers, sample_weight=fitted * per_point)
            folds.append((others, GUARD_POINTS / (GUARD_POINTS + int(fitted.sum())), held * per_point))
    if not folds:
        raise ValueError(f"{counts.n} points cannot be split into {N_FOLDS} folds; give the bandwidth as a number")
    held_out = np.zeros(grid.size)
    for i, t in enumerate(grid):
        tried = dataclasses.replace(basis, bandwidth=float(t))
        rows = density_rows(tried, SUB_BINS)[used]
        for others, guard, held in folds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weights, _ = basis_weights(rule, others, tried, tol=ML_TOLERANCE)
            density = (1 - guard) * (rows @ weights) + guard / basis.n_components
            held_out[i] += float(held @ np.log(density / basis.spacing) / held.sum()) / len(folds)
    return float(grid[np.argmax(held_out)]), grid, held_out


def bin_masses(counts: BinnedCounts, basis: GaussianBasis) -> FloatArray:
    """(16 n,) weight in each bin. Raises ValueError for counts on another axis than the basis's, or without points."""
    axis = basis.axis()
    if counts.axis != axis:
        raise ValueError(f"the counts lie on {counts.axis} and the basis on {axis}; count on basis.axis()")
    mass = counts.mass
    if not mass.sum() > 0:
        raise ValueError("no points were counted on the axis of the basis; weights need at least one")
    return mass


def _cells(mass: FloatArray) -> FloatArray:
    """(n,) weight nearest to each centre."""
    return mass.reshape(-1, SUB_BINS).sum(1)


def clip(pi: FloatArray) -> tuple[FloatArray, float]:
    """Weights >= 0 of sum 1 from weights of any sign, and how much was below zero where all sum to 1."""
    kept = np.maximum(pi, 0.0)
    return kept / kept.sum(), float((kept - pi).sum() / pi.sum())


# --- the components on the bins


def interval(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """P(a < Z <= b) of a standard normal Z, relatively accurate on either side."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    flip = a > 0
    return ndtr(np.where(flip, -a, b)) - ndtr(np.where(flip, -b, a))


def component_rows(basis: GaussianBasis, bins_per_cell: int) -> csr_array:
    """A, with every component a Gaussian in u, the basis's own axis."""
    t, half = basis.bandwidth, 0.5 / bins_per_cell
    return _rows(basis, bins_per_cell, lambda v: interval((v - half) / t, (v + half) / t) * bins_per_cell, 1)


def moment_rows(basis: GaussianBasis, bins_per_cell: int) -> list[csr_array]:
    """Matrices A_m, m = 0..4, with sum_d phi(x_d; mu_k, sigma) = sum_m (A_m^T M_m)_k / r by Taylor's series.

    M_m are the sums of ((v - bin centre) / bin width)^m over the points of each bin.
    """
    t = basis.bandwidth
    hermite = np.polynomial.hermite_e.HermiteE

    def derivative(m: int) -> Kernel:
        unit = (-1 / (bins_per_cell * t)) ** m / math.factorial(m) / (t * math.sqrt(2 * math.pi))
        return lambda v: unit * hermite.basis(m)(v / t) * np.exp(-((v / t) ** 2) / 2)

    return [_rows(basis, bins_per_cell, derivative(m), (-1) ** m) for m in range(5)]


def density_rows(basis: GaussianBasis, bins_per_cell: int) -> csr_array:
    """A of the mixture as it is: on a warped basis a component is a Gaussian in x, and every row is full."""
    if basis.scale is None:
        return component_rows(basis, bins_per_cell)
    axis = basis.axis()
    n = basis.n_components
    edges = axis.edges[:: axis.n_bins // (n * bins_per_cell), None]
    total = np.zeros((edges.size - 1, n))
    for sign, offset, shift, _ in reflections(*finite_or_not(basis.bounds), REACH * float(basis.stds.max())):
        ends = (sign * edges + (offset + shift) - basis.centers) / basis.stds
        total += interval(np.minimum(ends[:-1], ends[1:]), np.maximum(ends[:-1], ends[1:]))
    return csr_array(total * bins_per_cell)


def _rows(basis: GaussianBasis, bins_per_cell: int, kernel: Kernel, parity: int) -> csr_array:
    """Rows of kernel(v_j - k) and its mirror images (times ``parity``) for the bins with centres v_j."""
    n, S = basis.n_components, bins_per_cell
    reach = REACH * basis.bandwidth + 0.5
    K = min(n - 1, math.ceil(reach))
    cell, place = np.divmod(np.arange(n * S), S)
    offsets, v = np.arange(-K, K + 1), cell + (place + 0.5) / S - 0.5
    values = kernel(v[:S, None] - offsets)[place]
    axis = basis.axis()
    low, high = ((float(axis.transform(end)) - basis.start) / basis.spacing for end in finite_or_not(basis.bounds))
    for sign, offset, shift, _ in reflections(low, high, reach):
        image = sign * v + offset + shift
        near = np.flatnonzero((image > -reach) & (image < n - 1 + reach))
        if (sign, shift) != (1, 0):
            away = (image - cell)[near, None] - offsets
            values[near] += (parity if sign < 0 else 1) * kernel(away)
    columns = cell[:, None] + offsets
    inside = (columns >= 0) & (columns < n)
    ends = np.append(0, np.cumsum(inside.sum(axis=1)))
    return csr_array((values[inside], columns[inside], ends), shape=(n * S, n))
