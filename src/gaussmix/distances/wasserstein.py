"""Wasserstein distances on the line (D section 2.3).

    W_p(a, b) = ( int_0^1 |Q_a(u) - Q_b(u)|^p du )^(1/p)                                      D Eq. 2
    W_1(a, b) = int |F_a(x) - F_b(x)| dx;  on one basis int |sum_i (pi_i - pi'_i) F_i| dx     D Eq. 3, Eq. 4

F: cdfs, Q: quantiles. W_1 is integrated from antiderivatives on panels of one sign or zero (`_absolute`;
`_lattice.rows` for weights on one basis), between samples all are exact (`_samples`). W_p with a mixture is
integrated here, over u in the lower half and over 1 - u in the upper one, so that both tails are accurate; v is either.
On a panel [v_1, v_2] stands Lobatto's rule of 4 points inside Kronrod's of 7 (Gander and Gautschi 2000), in log v.
Panels start at the masses beyond `STARTS` of every component. They are halved where Q_a - Q_b changes sign, and until
the differences of the rules add up to `TOLERANCE` of the integral. Against a sample Q_b is a number between two sums of
its masses.

Guards: far out Q = loc -+ (K / v)^(1/3) with K = 6 m s^3 / (pi sqrt(3)) for a guard of mass m and scale s. Between
different K the p-th power of the difference is integrable for p < 3 only; with the same K the difference tends to that
of the locations. What lies beyond the first panel is added from there.

The difference of two means, which D calls a Wasserstein distance.

    |E_a X - E_b X| <= W1(a, b) = int |F_a - F_b| dx,    equal where F_a - F_b keeps its sign    (Jensen)
    | sum_i (pi_i - pi'_i) A_i |,    A_i = int_M F_i dx                                              D Eq. 5, Eq. 6

pi, pi': weights on one basis; F_i: distribution function of component i; M: an interval [low, high]. Eq. 6 tends to the
difference of the means as the interval grows, since int_low^high F dx = E min(max(high - X, 0), high - low).
"""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtr

from gaussmix._typing import FloatArray
from gaussmix.density._mixture.exact import Pieces
from gaussmix.density.basis import GaussianBasis, check_range
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.reflection import UNIFORM_FROM, finite_or_not, mirror_images
from gaussmix.distances._absolute import absolute_difference
from gaussmix.distances._inputs import (
    Law,
    Sample,
    Weights,
    as_law,
    continuous_share,
    hint_at_names,
    near_zero,
    shaped,
    weight_rows,
)
from gaussmix.distances._lattice.rows import row_distances
from gaussmix.distances._samples import distance_of_samples

LARGEST_ORDER = 100  # p of W_p with a mixture: quadrature is not trusted beyond
TOLERANCE = 1e-9  # of the integral, by the rules' differences, which are larger than the errors
_MOST_HALVINGS, _MOST_PANELS = 60, 4000
"""Where quantiles differ by little more than their rounding, halving further would not help."""
_FIRST, _FIRST_AFTER_ALL = 1e-22, 1e-300  # start of the first panel, and where what lies beyond it matters after all
_FIRST_EQUAL_GUARDS = 1e-30  # quantiles of guards alike differ by rounding alone beyond
QUANTILE_ERROR = 1e-13  # of quantiles by a mixture's table, in lengths of its middle two thirds
_CHUNK = 1 << 17
STARTS = np.array([-4.0, -1.5, 0.0, 1.5, 4.0])
"""Standard deviations from the means, between which no component hides from a panel's points."""
_NODES = np.array([-1, -math.sqrt(2 / 3), -math.sqrt(1 / 5), 0, math.sqrt(1 / 5), math.sqrt(2 / 3), 1])
_NODES[[0, -1]] *= 1 - 2.0**-36  # inside: quantiles may jump at the ends
_KRONROD = np.array([11 / 210, 72 / 245, 125 / 294, 16 / 35, 125 / 294, 72 / 245, 11 / 210])
_LOBATTO = np.array([1 / 6, 0, 5 / 6, 0, 5 / 6, 0, 1 / 6])
_ZERO = 1e-9  # of the largest difference on a panel: smaller ones have no sign


@hint_at_names
def wasserstein_distance(
    a: Any,
    b: Any,
    p: float = 1,
    *,
    basis: GaussianBasis | None = None,
    a_weights: Weights = None,
    b_weights: Weights = None,
    return_error: bool = False,
) -> Any:
    """Return the Wasserstein distance W_p(a, b) in the units of the data: itself, not its p-th power.

    Equal arguments have the distance 0.0. Differs from the paper: D section 2.3 computes ``|E a - E b|`` instead
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
        mass scale^3. The error for p = 1 is a bound, rounding included, also that of the weights (they count divided by
        their exact sum); at most 1e-10 of the distance unless rounding alone is more (on a basis of a bandwidth below
        .1 or above 10: up to 1e-5 of it). For p > 1 with a mixture it is an estimate, near 1e-9 of the distance,
        without the rounding of quantiles: between almost equal laws that can be more. Two samples are exact but for
        rounding: 0.
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
    return absolute_difference(a, b, cumulative=True) if p == 1 else _power_distance(a, b, p)


_Panels = FloatArray  # (4, M): where v starts and ends, 1 if it counts from the upper end, the sample's number there


def _power_distance(a: GaussianMixture1D, b: Law, p: float) -> tuple[float, float]:
    """(W_p, an estimate of its error), p > 1 and finite. Infinite, with a RuntimeWarning, where the guards make it."""
    reach = [_guard_reach(law) for law in (a, b)]
    alike = reach[0] == reach[1]
    if p >= 3 and not alike:
        warnings.warn(
            f"W_{p:g} is infinite: the guards (tail) differ, and a Student t with 3 degrees of freedom has no moments "
            "of order 3 or more; use p < 3, or mixtures without tail",
            RuntimeWarning,
            stacklevel=5,
        )
        return math.inf, 0.0
    order, last = p / 3, _FIRST_EQUAL_GUARDS if alike and reach[0] > 0 else _FIRST_AFTER_ALL
    for first in (_FIRST, last):
        differences = _Differences(a, b, p, first)
        panels = differences.panels()
        if differences.unit == 0:
            return 0.0, 0.0
        total, error = _integral(differences, panels)
        for upper in (False, True):
            outermost = panels[3, panels[2] == upper][:1]
            beyond = first * float(np.abs(differences(np.array([[first]]), upper, outermost)[0, 0])) ** p
            if alike:
                error += beyond
            else:  # the difference goes on with the power -1/3 of v
                total += beyond / (1 - order)
                error += beyond * order / (1 - order) * first ** (1 / 3)
        if error <= 2 * TOLERANCE * total:
            break
    root = differences.unit * total ** (1 / p)
    spread = sum(float(law.isf(1 / 6) - law.ppf(1 / 6)) for law in differences.laws)
    return root, root * error / (p * total) + QUANTILE_ERROR * spread


def _guard_reach(law: Law) -> float:
    """K^(1/3)."""
    if isinstance(law, Sample):
        return 0.0
    mass = law.tail.mass * continuous_share(law)
    return law.tail.scale * (mass * 6 / (math.pi * math.sqrt(3))) ** (1 / 3)


class _Differences:
    """Q_a - Q_b, in a ``unit`` of length in which p-th powers neither overflow nor vanish."""

    def __init__(self, a: GaussianMixture1D, b: Law, p: float, first: float):
        self.p, self.unit, self.first = p, 1.0, first
        self.laws = [law for law in (a, b) if isinstance(law, GaussianMixture1D)]
        self.sample = b if isinstance(b, Sample) else None
        self.ends = [(float(law.ppf(first)), float(law.isf(first))) for law in self.laws]

    def __call__(self, v: FloatArray, upper: bool, number: FloatArray) -> FloatArray:
        """At v (M, k) in M panels. By rounding, the quantile of a sum at an atom can be infinite: it is cut off."""
        places = [
            (law.isf if upper else law.ppf)(v.ravel()).reshape(v.shape).clip(*ends)
            for law, ends in zip(self.laws, self.ends, strict=True)
        ]
        return (places[0] - (number[:, None] if self.sample else places[1])) / self.unit

    def panels(self) -> _Panels:
        """Those to start with, from v = ``first`` to 1/2; sets the unit."""
        cuts = [np.append(self.first, 0.5 ** (1.0 + np.array([512, 256, 128, 64, 32, 16, 8, 4, 2, 1, 0])))]
        sides, sizes = [], [0.0]
        for upper in (False, True):
            sums, numbers = _from_end(self.sample, upper) if self.sample else (np.empty(0), np.zeros(1))
            turns = [_turns(law, upper) for law in self.laws]
            edges = np.unique(np.concatenate([*cuts, sums, *turns]).clip(self.first, 0.5))
            low, high = edges[:-1], edges[1:]
            own = np.searchsorted(sums, 0.5 * low + 0.5 * high).clip(max=numbers.size - 1)
            sides.append(np.stack([low, high, np.full(low.size, float(upper)), numbers[own]]))
            v = np.sqrt(low) * np.sqrt(high)
            sizes.append((np.abs(self(v[:, None], upper, numbers[own])[:, 0]) * v ** (1 / self.p)).max())
        self.unit = float(max(sizes))
        return np.concatenate(sides, axis=1)


def _integral(differences: _Differences, panels: _Panels) -> tuple[float, float]:
    """The sum over panels that are cut where it pays, and the sum of the rules' differences."""
    total, error = 0.0, 0.0
    for halving in range(_MOST_HALVINGS):
        values, errors = _rules(differences, panels)
        order = np.argsort(errors)
        spare = TOLERANCE * (total + float(values.sum()))
        n_done = int(np.searchsorted(np.cumsum(errors[order]), 0.1 * spare, "right"))
        hopeless = halving == _MOST_HALVINGS - 1 or (halving > 0 and order.size - n_done > _MOST_PANELS)
        if hopeless or error + errors.sum() <= spare:
            n_done = order.size
        done, left = order[:n_done], order[n_done:]
        total, error = total + float(values[done].sum()), error + float(errors[done].sum())
        if left.size == 0:
            break
        lower, upper = panels[:, left], panels[:, left].copy()
        lower[1] = upper[0] = np.sqrt(lower[0]) * np.sqrt(lower[1])
        panels = np.concatenate([lower, upper], axis=1)
    return total, error


def _rules(differences: _Differences, panels: _Panels) -> tuple[FloatArray, FloatArray]:
    """(M,) integrals by Kronrod's rule, and how far Lobatto's is from it.

    Where the difference changes sign, the rules could agree and be wrong: there the error is the integral.
    """
    values, errors = np.empty((2, panels.shape[1]))
    for upper in (False, True):
        side = np.flatnonzero(panels[2] == upper)
        for start in range(0, side.size, _CHUNK):
            own = side[start : start + _CHUNK]
            low, high = panels[:2, own, None]
            half = 0.5 * np.log1p((high - low) / low)
            v = (high * np.exp(half * (_NODES - 1))).clip(np.nextafter(low, high), np.nextafter(high, low))
            away = differences(v, upper, panels[3, own])
            powers = np.abs(away) ** differences.p * (half * v)
            values[own] = powers @ _KRONROD
            sign = np.sign(away) * (np.abs(away) > _ZERO * np.abs(away).max(axis=1, keepdims=True))
            turning = sign.max(axis=1) > sign.min(axis=1) + 1
            errors[own] = np.where(turning, values[own], np.abs(values[own] - powers @ _LOBATTO))
    return values, errors


def _turns(law: GaussianMixture1D, upper: bool) -> FloatArray:
    """Masses from an end, between which the quantiles are smooth on the scale of a panel: beyond parts of components,
    beyond bounds, and where an atom begins and ends."""
    places = (law.means[:, None] + STARTS * law.stds[:, None]).clip(*law.bounds).ravel()
    places = np.append(places, [end for end in law.bounds if math.isfinite(end)])
    positions, masses = law.atoms
    beyond, at_atoms = (law.sf(x) if upper else law.cdf(x) for x in (places, positions))
    return np.concatenate([beyond, at_atoms, at_atoms + masses if upper else at_atoms - masses])


def _from_end(sample: Sample, upper: bool) -> tuple[FloatArray, FloatArray]:
    """Sums of the masses from an end, and the values in that order."""
    order = np.argsort(sample.values)[:: -1 if upper else 1]
    n = order.size
    sums = np.arange(1, n + 1) / n if sample.masses is None else np.cumsum(sample.masses[order])
    return sums, sample.values[order]


# -- the difference of means

Interval = tuple[float, float]

REACH = 10.0  # standard deviations beyond the outermost centres at which the interval of D Eq. 15 ends
_SQRT_3 = math.sqrt(3.0)


def mean_difference_bound(
    a: Any,
    b: Any,
    *,
    basis: GaussianBasis | None = None,
    support: Interval | None = None,
    a_weights: Weights = None,
    b_weights: Weights = None,
) -> float | FloatArray:
    """Return ``|E_a X - E_b X|``, a lower bound of the Wasserstein distance W1, in the units of the data.

    As the paper, D Eq. 5 and Eq. 6, with ``support``, their M. Differs from the paper in its name: D calls this W1. It
    is W1 only where one distribution function is nowhere below the other. Two normal laws with equal means and standard
    deviations 10 and 30 have W1 = 15.96, and this is 0.

    Parameters
    ----------
    a, b : GaussianMixture1D, GMMExpansion or array_like (N,)
        Mixtures, fitted one-column expansions or samples. ValueError or TypeError for anything else.
    basis : GaussianBasis, optional
        If given, ``a`` and ``b`` are weights ``(..., n)`` on it, which broadcast, and an array ``(...)`` is returned.
    support : (float, float), optional
        A finite interval ``(low, high)``: the integral of F_a - F_b over it instead of over the whole line.
    a_weights, b_weights : array_like (N,), optional
        Masses of a sample's numbers, in proportion; equal if not given.
    """
    if support is not None:
        check_range(*support, name="support")
    if basis is None:
        laws = as_law(a, "a", a_weights), as_law(b, "b", b_weights)
        first, second = (_mean(law) if support is None else _integral_of_cdf(law, *support) for law in laws)
        return abs(first - second)
    first, second, shape = weight_rows(a, b, basis, a_weights, b_weights)
    values = cdf_integrals(basis, support)
    return shaped(np.abs((first - second) @ (values - values[0])), shape)


def whole_interval(basis: GaussianBasis) -> Interval:
    """(low, high): `REACH` deviations beyond the outermost centres, or the basis's bounds."""
    low, high = finite_or_not(basis.bounds)
    below, above = (float(f(basis.centers + side * REACH * basis.stds)) for f, side in ((np.min, -1), (np.max, 1)))
    return below if math.isinf(low) else low, above if math.isinf(high) else high


def cdf_integrals(basis: GaussianBasis, support: Interval | None) -> FloatArray:
    """A (n,) on the interval ``support``; without one, minus the components' means, up to a constant."""
    low, high = finite_or_not(basis.bounds)
    mean, std = basis.centers, basis.stds
    if math.isinf(low) and math.isinf(high):
        return -mean if support is None else _clipped_gaussians(mean, std, (low, high), *support)
    interval = support or whole_interval(basis)
    rows, mirrored = mirror_images(mean, std, low, high)
    owner = np.append(np.arange(mean.size), rows)
    parts = _clipped_gaussians(np.append(mean, mirrored), std[owner], (low, high), *interval)
    folded = np.bincount(owner, parts, mean.size).astype(np.float64)
    wide = std >= UNIFORM_FROM * (high - low)
    return np.where(wide, _clipped_uniform((low, high), *interval), folded) if wide.any() else folded


def _mean(law: Law) -> float:
    if isinstance(law, Sample):
        return float(law.values.mean() if law.masses is None else law.masses @ law.values)
    return law.mean()


def _integral_of_cdf(law: Law, low: float, high: float) -> float:
    """int_low^high F dx = E min(max(high - X, 0), high - low)."""
    if isinstance(law, Sample):
        clipped = np.clip(high - law.values, 0.0, high - low)
        return float(clipped.mean() if law.masses is None else law.masses @ clipped)
    at_atoms = float(law.atoms.masses @ np.clip(high - law.atoms.positions, 0.0, high - low))
    return at_atoms + continuous_share(law) * _of_pieces(law._pieces, low, high)


def _of_pieces(p: Pieces, low: float, high: float) -> float:
    total = float(p.weight @ _clipped_gaussians(p.mean, 1 / p.inverse_std, (p.low, p.high), low, high))
    if p.flat > 0:
        total += p.flat * (p.high - p.low) * _clipped_uniform((p.low, p.high), low, high)
    if p.guard_mass > 0:
        t = (np.array([low, high]) - p.guard_loc) / p.guard_scale
        below = stdtr(3, t)
        first_moment = -_SQRT_3 / math.pi / (1 + t**2 / 3)  # of t, up to here
        inside = (high - p.guard_loc) * (below[1] - below[0]) - p.guard_scale * (first_moment[1] - first_moment[0])
        total += p.guard_mass * float((high - low) * below[0] + inside)
    return total


def _clipped_uniform(ends: Interval, low: float, high: float) -> float:
    """E h(X) of a uniform law between the ``ends``, with h(x) = min(max(high - x, 0), high - low)."""
    start, end = (min(max(x, ends[0]), ends[1]) for x in (low, high))
    return ((high - low) * (start - ends[0]) + (end - start) * (high - 0.5 * (start + end))) / (ends[1] - ends[0])


def _clipped_gaussians(mean: FloatArray, std: FloatArray, ends: Interval, low: float, high: float) -> FloatArray:
    """int h(x) N(x; mean, std^2) dx between the ``ends``, (n,), with the same h.

    From a to b:  int (high - x) N dx = (high - mean) (Phi(beta) - Phi(alpha)) + std (phi(beta) - phi(alpha)).
    """
    cuts = np.clip([ends[0], low, high], *ends)
    z = (cuts[:, None] - mean) / std
    Phi, phi = ndtr(z), np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return (high - low) * (Phi[1] - Phi[0]) + (high - mean) * (Phi[2] - Phi[1]) + std * (phi[2] - phi[1])
