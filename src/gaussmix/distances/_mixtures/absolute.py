"""The integral of |g| over the line, g the difference of two laws' cdfs or densities, with a bound on its error.

The line is cut at the ends of the leaves of `cells`, at bounds and, between mixtures, at point masses. On each panel g
is a polynomial to a known error e: then |int |g| - int |p|| <= length * e. A panel on which the coefficients prove that
p has one sign, or one zero as p' has one sign, is integrated exactly; others are halved until they no longer matter.
Against a sample g is monotone between two numbers but for the error: at most one zero each.

The bound holds what interpolation leaves out, what stays in doubt at zeros, Gaussians beyond WINDOW, guards beyond
their cells, and rounding, as the sum of the bounds of its steps. It takes for granted that exp, ndtr and arctan2 are
accurate to 4 units in the last place. Weights are meant to be divided by their exact sum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import ndtr

from gaussmix._typing import FloatArray
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.distances._inputs import Law, Sample
from gaussmix.distances._mixtures.cells import FROM_VALUES, LEFT, N_TERMS, NODES, RIGHT, ROUNDING, Leaves, leaves
from gaussmix.distances._mixtures.signed import EPS, Part, difference, running_sums

ACCURACY = 1e-10  # largest error relative to the integral, unless rounding alone is more
_SURE = 0.1  # of the rounding: what may stay in doubt at zeros
_MOST_HALVINGS = 60
_NUMBERS = 1 << 14  # of a sample at a time
_ORDERS = np.arange(N_TERMS + 1)
_PRIMITIVE = chebyshev.chebint(np.eye(N_TERMS), lbnd=-1, axis=1)
_DERIVATIVE = np.pad(chebyshev.chebder(np.eye(N_TERMS), axis=1), [(0, 0), (0, 1)])
_CUT = EPS * (320 + 2 * _ORDERS[:-1] ** 2)  # rounding of a polynomial on a part of its leaf, for each coefficient
_SUMS = 32  # roundings of a sum by pairs


class Panels(NamedTuple):
    """(M,)"""

    low: FloatArray
    high: FloatArray
    upper: NDArray[np.bool_]  # above the center


def absolute_difference(a: GaussianMixture1D, b: Law, *, cumulative: bool) -> tuple[float, float]:
    """int |F_a - F_b| dx if ``cumulative``, else int |f_a - f_b| dx of the continuous parts; and a bound on the error.

    b may be a sample if ``cumulative``. The error is at most ACCURACY of the integral unless rounding is more.
    """
    d = difference(a, b, cumulative=cumulative)
    trees = [leaves(part, d.center, d.size, cumulative=cumulative) for part in d.parts]
    ends = [end for part in d.parts for end in (part.low, part.high) if math.isfinite(end)]
    ends = [d.center, *ends, *(d.step[[0, -1]] if isinstance(b, Sample) else d.step)]
    edges = np.unique(np.concatenate([ends, *(tree.low for tree in trees), *(tree.high for tree in trees)]))
    panels = Panels(edges[:-1], edges[1:], edges[:-1] >= d.center)
    half = 0.5 * (panels.high - panels.low)
    p, error = np.zeros((half.size, N_TERMS)), np.zeros(half.size)
    for part, tree in zip(d.parts, trees, strict=True):
        for whole, of_part in zip((p, error), _on_panels(part, tree, panels, cumulative), strict=True):
            whole += of_part
    (below, above), off = running_sums(d.height)
    passed = np.where(panels.upper, np.searchsorted(d.step, panels.low, "right"), np.searchsorted(d.step, panels.high))
    side = panels.upper.astype(int)
    if isinstance(b, Sample):
        value, doubt = _against_sample(p, panels, d.step, np.stack([below, -above]))
        error *= 3  # where p + level is smaller, it may have another sign, or one zero more
    else:
        p[:, 0] += np.stack([below, -above])[side, passed]
    error += off[side, passed] + EPS * (np.abs(p) @ (4 + 2 * N_TERMS * (_ORDERS[:-1] > 0)))
    rounding = d.error + sum(tree.missed for tree in trees) + 2 * float(half @ error)
    if not isinstance(b, Sample):
        value, doubt = absolute_integral(p, half, error, _SURE * rounding)
    return value, doubt + rounding + _SUMS * EPS * value


def _on_panels(part: Part, tree: Leaves, panels: Panels, cumulative: bool) -> tuple[FloatArray, FloatArray]:
    """A part of the difference as polynomials (M, N_TERMS), with their errors (M,)."""
    low, high, upper = panels
    p, error = np.zeros((low.size, N_TERMS)), np.zeros(low.size)
    inside = (low >= part.low) & (high <= part.high)
    if tree.low.size:
        at = (np.searchsorted(tree.low, low, "right") - 1).clip(0)
        here = np.flatnonzero(inside & (low >= tree.low[at]) & (high <= tree.high[at]))
        at = at[here]
        p[here], error[here] = tree.polynomial[at], tree.error[at]
        cut = (low[here] > tree.low[at]) | (high[here] < tree.high[at])
        at, here = at[cut], here[cut]
        error[here] += np.abs(p[here]) @ _CUT
        width, below, above = tree.high[at] - tree.low[at], low[here] - tree.low[at], tree.high[at] - high[here]
        t = ((below - above) + (high - low)[here] * NODES[:, None]) / width
        p[here] = chebyshev.chebval(t, p[here].T, tensor=False).T @ FROM_VALUES
    if not cumulative:
        p[inside, 0] += part.flat
        return p, error
    by_stop, by_start = np.argsort(tree.stop), np.argsort(tree.start)
    (passed, _), off = running_sums(tree.weight[by_stop])
    (_, ahead), _ = running_sums(tree.weight[by_start])
    after, before = np.searchsorted(tree.stop[by_stop], low, "right"), np.searchsorted(tree.start[by_start], high)
    p[:, 0] += inside * np.where(upper, -ahead[before], passed[after])
    error += inside * np.where(upper, off[1, before], off[0, after])
    size, middle, half = np.zeros(low.size), 0.5 * low + 0.5 * high, 0.5 * (high - low)
    for side, end in ((1, part.low), (-1, part.high)):
        if math.isfinite(end):
            here = inside & (upper == (side < 0))
            lost = part.coefficient * ndtr(side * (end - part.mean) * part.inverse_std)
            p[here, 0] += part.flat * (middle[here] - end) - side * lost.sum()
            p[here, 1] += part.flat * half[here]
            beyond = (side * high <= side * end if side > 0 else low >= end) & (upper == (side > 0))
            p[beyond, 0] = -side * part.mass
            size += here * (np.abs(lost).sum() + abs(part.flat) * np.abs(middle - end)) + beyond * abs(part.mass)
    return p, error + _SUMS * EPS * size


def _against_sample(p: FloatArray, panels: Panels, step: FloatArray, levels: FloatArray) -> tuple[float, float]:
    """int |p + level|, and a bound on its rounding; levels (2, N + 1) below and above the center hold between steps (N,).

    Between two of them p is monotone but for its error, so that it has one zero, or what a second one could hide is
    less than that error. Where p + level has one sign over many steps, its integral is that of p as a whole and a sum.
    """
    half = 0.5 * (panels.high - panels.low)
    first, last = np.searchsorted(step, panels.low, "right"), np.searchsorted(step, panels.high)
    counts = last - first + 1
    start = np.cumsum(counts) - counts
    panel = np.repeat(np.arange(counts.size), counts)
    passed = np.arange(panel.size) - start[panel] + first[panel]
    t = (step[passed - 1] - panels.low[panel]) / half[panel] - 1
    t[start] = -1.0
    level = levels[panels.upper.astype(int)[panel], passed]
    rows = np.ascontiguousarray(p.T)
    value = np.empty(t.size)
    for some in range(0, t.size, _NUMBERS):
        some = slice(some, some + _NUMBERS)
        value[some] = chebyshev.chebval(t[some], rows[:, panel[some]], tensor=False)
    end = np.append(start[1:] - 1, t.size - 1)
    stop, at_stop = np.append(t[1:], 1.0), np.append(value[1:], 0.0)
    stop[end], at_stop[end] = 1.0, p.sum(axis=1)
    value, at_stop = value + level, at_stop + level
    sign = np.sign(value + at_stop)
    cross = np.flatnonzero(value * at_stop < 0)
    sign[cross] = 0
    parts = half[panel] * (stop - t) * level
    doubt = _SUMS * EPS * float(np.abs(parts).sum())

    integral = p @ _PRIMITIVE
    before = np.append(0.0, sign[:-1])
    before[start] = 0
    turn = np.flatnonzero(sign != before)
    at_turn = _values(integral[panel[turn]], t[turn])
    total = float((sign * parts).sum() + half @ (sign[end] * integral.sum(axis=1)))
    total += float((half[panel[turn]] * (before - sign)[turn] * at_turn).sum())
    q = p[panel[cross]]
    q[:, 0] += level[cross]
    z, off = _zeros(q, t[cross], stop[cross])
    q = q @ _PRIMITIVE
    left, middle, right = (_values(q, at) for at in (t[cross], z, stop[cross]))
    total += float(half[panel[cross]] @ (np.abs(middle - left) + np.abs(right - middle)))
    noise = EPS * half * (np.abs(integral) @ (4 + 3 * _ORDERS))
    doubt += float(4 * noise[panel[turn]].sum() + half[panel[cross]] @ off)
    return total, doubt


def _values(p: FloatArray, t: FloatArray) -> FloatArray:
    """Of polynomials (Z, n) at t (Z,)."""
    return (p * np.cos(np.arccos(t)[:, None] * _ORDERS[: p.shape[1]])).sum(axis=1)


def _zeros(p: FloatArray, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of monotone polynomials (Z, N_TERMS) with two signs at low and high (Z,); what is off int |p| there."""
    slope, small = p @ _DERIVATIVE, 16 * EPS * np.abs(p).sum(axis=1)
    rising, t = _values(p, high) > 0, 0.5 * (low + high)
    for _ in range(100):
        value = _values(p, t)
        low, high = np.where((value > 0) == rising, (low, t), (t, high))
        off = np.abs(value) * (high - low)
        if (off <= small).all():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            new = t - value / _values(slope, t)
        t = np.where((low < new) & (new < high), new, 0.5 * (low + high))
    return t, 2 * off


def absolute_integral(p: FloatArray, half: FloatArray, blur: FloatArray, spare: float) -> tuple[float, float]:
    """The sum of half int_-1^1 |p| for polynomials (M, N_TERMS), and a bound on its error.

    Polynomials are halved until they, or their slopes, have one sign by their coefficients. What is left in doubt adds
    up to ``spare``, or is hidden by the uncertainty ``blur`` (M,).
    """
    total = doubt = 0.0
    for halving in range(_MOST_HALVINGS + 1):
        sizes = np.abs(p)
        rest = sizes[:, 1:].sum(axis=1)
        slope, integral = np.abs(p @ _DERIVATIVE), p @ _PRIMITIVE
        sure = rest <= sizes[:, 0]
        monotone = ~sure & (slope[:, 1:].sum(axis=1) <= slope[:, 0])
        whole = integral.sum(axis=1)
        cross = np.flatnonzero(monotone & (p.sum(axis=1) * (p @ (-1.0) ** _ORDERS[:-1]) < 0))
        z, off = _zeros(p[cross], np.full(cross.size, -1.0), np.ones(cross.size))
        at_zero = _values(integral[cross], z)
        value = np.abs(whole)
        value[cross] = np.abs(at_zero) + np.abs(whole[cross] - at_zero)
        doubt += float(half[cross] @ off)
        most = sizes[:, 0] + rest
        lost = np.where(sure | monotone, 0.0, half * (2 * most - value))
        done = lost == 0
        if lost.sum() <= spare or halving == _MOST_HALVINGS:
            done[:] = True
        done |= most <= blur
        total += float((half * value)[done].sum())
        doubt += float(lost[done].sum())
        if done.all():
            break
        p, half, blur = p[~done], 0.5 * half[~done], blur[~done]
        doubt += 4 * float(half @ (np.abs(p) @ ROUNDING))
        p, half, blur = np.concatenate([p @ LEFT, p @ RIGHT]), np.tile(half, 2), np.tile(blur, 2)
    return total, doubt
