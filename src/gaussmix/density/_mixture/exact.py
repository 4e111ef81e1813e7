"""Exact sums over the pieces of a one-dimensional mixture, a number at a time.

On [low, high] the density is  sum_i w_i N(x; m_i, s_i^2) + flat,  zero outside, plus on the whole line
guard_mass * t3((x - guard_loc) / guard_scale) / guard_scale, Student's t with 3 degrees of freedom.

Among the sums' Gaussians are the mirror images that matter (`gaussmix.density.reflection`); ``flat`` is the density of
the components so wide that theirs add up to a uniform one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba as nb
import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.reflection import NEGLIGIBLE, UNIFORM_FROM, mirror_images

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_SQRT_HALF, _SQRT_3 = math.sqrt(0.5), math.sqrt(3.0)
_LOG_T3 = math.log(2 / (math.pi * _SQRT_3))


class Pieces(NamedTuple):
    """What the sums run over. Arrays are (n,): images count as components."""

    mean: FloatArray
    inverse_std: FloatArray
    weight: FloatArray
    log_height: FloatArray  # log of w / (s sqrt(2 pi)), the component at its mean
    low: float
    high: float
    flat: float
    guard_mass: float
    guard_loc: float
    guard_scale: float


def expand(
    weights: FloatArray, means: FloatArray, stds: FloatArray, bounds: tuple[float, float], tail: tuple[float, ...]
) -> Pieces:
    """The pieces of Gaussians (n,), reflected at ``bounds``, that carry 1 - tail mass, and of the guard ``tail``."""
    low, high = bounds
    used = weights > 0
    w, m, s = weights[used] * (1 - tail[0]), means[used], stds[used]
    length = high - low
    flat = 0.0
    if math.isfinite(length):
        wide = s >= UNIFORM_FROM * length
        flat = float(w[wide].sum()) / length
        w, m, s = w[~wide], m[~wide], s[~wide]
    rows, mirrored = mirror_images(m, s, low, high)
    w, m, s = np.append(w, w[rows]), np.append(m, mirrored), np.append(s, s[rows])
    return Pieces(m, 1 / s, w, np.log(w) - np.log(s) - _LOG_SQRT_2PI, low, high, flat, *tail)


@nb.njit(cache=True, nogil=True)
def guard_log_density(away: float, p: Pieces) -> float:
    """log of the guard's density at guard_loc + away; -inf without a guard."""
    if p.guard_mass == 0:
        return -math.inf
    t = abs(away) / (p.guard_scale * _SQRT_3)
    growth = 2 * math.log(t) if t > 1e100 else math.log1p(t * t)
    return math.log(p.guard_mass / p.guard_scale) + _LOG_T3 - 2 * growth


@nb.njit(cache=True, nogil=True)
def log_density(x: float, p: Pieces) -> float:
    """log of the density at x."""
    guard = guard_log_density(x - p.guard_loc, p)
    if not p.low <= x <= p.high:
        return guard if x == x else math.nan
    flat = math.log(p.flat) if p.flat > 0 else -math.inf
    top = max(guard, flat)
    for i in range(p.mean.size):
        z = (x - p.mean[i]) * p.inverse_std[i]
        top = max(top, p.log_height[i] - 0.5 * z * z)
    if top == -math.inf:
        return top
    total = math.exp(guard - top) + math.exp(flat - top)
    for i in range(p.mean.size):
        z = (x - p.mean[i]) * p.inverse_std[i]
        share = p.log_height[i] - 0.5 * z * z - top
        if share > NEGLIGIBLE:
            total += math.exp(share)
    return top + math.log(total)


@nb.njit(cache=True, nogil=True)
def _gaussian_mass(a: float, b: float, p: Pieces) -> float:
    """Mass of the Gaussians between a <= b, relatively accurate far out on either side."""
    total = 0.0
    for i in range(p.mean.size):
        za = (a - p.mean[i]) * p.inverse_std[i] * _SQRT_HALF
        zb = (b - p.mean[i]) * p.inverse_std[i] * _SQRT_HALF
        if za > 0:
            total += 0.5 * p.weight[i] * (math.erfc(za) - math.erfc(zb))
        else:
            total += 0.5 * p.weight[i] * (math.erfc(-zb) - math.erfc(-za))
    return total


@nb.njit(cache=True, nogil=True)
def _guard_upper(t: float) -> float:
    """P(T > t) of Student's t with 3 degrees of freedom."""
    u = t / _SQRT_3
    if u < -30:
        return 1 - _guard_upper(-t)
    if u > 30:  # acot(u) - u / (1 + u^2) as a series: the difference would cancel
        v = 1 / (u * u)
        return (2 / 3 - v * (4 / 5 - v * (6 / 7 - v * (8 / 9 - v * 10 / 11)))) / (u * u * u) / math.pi
    return (math.atan2(1.0, u) - u / (1 + u * u)) / math.pi


@nb.njit(cache=True, nogil=True)
def mass_outside(x: float, p: Pieces, upper: bool) -> float:
    """P(X > x) if ``upper``, else P(X < x)."""
    if x != x:
        return x
    inside = min(max(x, p.low), p.high)
    total = _gaussian_mass(inside, p.high, p) if upper else _gaussian_mass(p.low, inside, p)
    if p.flat > 0:
        total += p.flat * (p.high - inside if upper else inside - p.low)
    if p.guard_mass > 0:
        t = (x - p.guard_loc) / p.guard_scale
        total += p.guard_mass * _guard_upper(t if upper else -t)
    return total


@nb.njit(cache=True, nogil=True)
def ends(p: Pieces) -> tuple[float, float]:
    """Of the support: the guard has none."""
    return (-math.inf, math.inf) if p.guard_mass > 0 else (p.low, p.high)


@nb.njit(cache=True, nogil=True)
def quantile(mass: float, p: Pieces, upper: bool, near: float, step: float) -> float:
    """The x with ``mass`` > 0 outside it, on the side of ``near`` where less than that at ``near`` lies outside.

    Newton's method on the log of the mass, in a bracket that is found by doubling ``step``; bisection where it fails.
    """
    sign = 1.0 if upper else -1.0
    end = ends(p)[1 if upper else 0]
    inner, outer = near, near
    while mass_outside(outer, p, upper) > mass:
        inner = outer
        outer = min(outer + step, end) if upper else max(outer - step, end)
        step *= 2
        if outer == end:
            break
    if math.isinf(outer):
        return outer
    x = inner
    for _ in range(200):
        there = mass_outside(x, p, upper)
        if there == mass:
            break
        if there > mass:
            inner = x
        else:
            outer = x
        new = x
        if there > 0:
            slope = math.exp(log_density(x, p) - math.log(there))
            if slope > 0:
                new = x + sign * math.log(there / mass) / slope
        if not min(inner, outer) < new < max(inner, outer):
            new = 0.5 * inner + 0.5 * outer
        if new == x or abs(new - x) <= 1e-16 * abs(x):
            break
        x = new
    return x


@nb.njit(cache=True, nogil=True)
def log_densities(x: FloatArray, p: Pieces) -> FloatArray:
    """`log_density` of (N,) numbers."""
    out = np.empty(x.size)
    for j in range(x.size):
        out[j] = log_density(x[j], p)
    return out


@nb.njit(cache=True, nogil=True)
def masses_outside(x: FloatArray, p: Pieces, upper: bool) -> FloatArray:
    """`mass_outside` of (N,) numbers."""
    out = np.empty(x.size)
    for j in range(x.size):
        out[j] = mass_outside(x[j], p, upper)
    return out


@nb.njit(cache=True, nogil=True)
def middle(p: Pieces, x: float, step: float) -> float:
    """A point with at least a twentieth of the Gaussians' mass on either side: steps from ``x`` double, then halve."""
    below, above = p.low, p.high
    for _ in range(2000):
        lower = _gaussian_mass(p.low, x, p)
        upper = _gaussian_mass(x, p.high, p)
        if p.flat > 0:
            lower += p.flat * (x - p.low)
            upper += p.flat * (p.high - x)
        if min(lower, upper) >= 0.05 * (lower + upper):
            break
        if lower < upper:
            below = x
            x = min(x + step, 0.5 * x + 0.5 * above)
        else:
            above = x
            x = max(x - step, 0.5 * x + 0.5 * below)
        if math.isfinite(below) and math.isfinite(above):
            x = 0.5 * below + 0.5 * above
        step *= 2
    return x


@nb.njit(cache=True, nogil=True)
def quantiles(mass: FloatArray, p: Pieces, upper: bool, center: float, step: float) -> FloatArray:
    """The x with ``mass`` (N,) above them if ``upper``, else below; the support's ends at 0 and 1, NaN beyond."""
    low, high = ends(p)
    at_center = mass_outside(center, p, upper)
    out = np.empty(mass.size)
    for j in range(mass.size):
        q = mass[j]
        if not 0 <= q <= 1:
            out[j] = math.nan
        elif q == 0:
            out[j] = high if upper else low
        elif q == 1:
            out[j] = low if upper else high
        elif q <= at_center:
            out[j] = quantile(q, p, upper, center, step)
        else:
            out[j] = quantile(1 - q, p, not upper, center, step)
    return out
