"""Exact sums over the pieces of a one-dimensional mixture.

On [low, high] the density is  sum_i w_i N(x; m_i, s_i^2) + flat,  zero outside, plus on the whole line
guard_mass * t3((x - guard_loc) / guard_scale) / guard_scale, Student's t with 3 degrees of freedom.

Among the sums' Gaussians are the mirror images that matter (`gaussmix.density.reflection`); ``flat`` is the density of
the components so wide that theirs add up to a uniform one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import erfc, log_ndtr, ndtr, ndtri

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density.reflection import NEGLIGIBLE, UNIFORM_FROM, mirror_images

_OVER = 60.0  # standard deviations from the means, beyond which a guard is all that counts
REACH = 10.0  # standard deviations from the means, beyond which there is next to no mass
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_SQRT_3 = math.sqrt(3.0)
_LOG_T3 = math.log(2 / (math.pi * _SQRT_3))
_BLOCK = 1 << 15  # terms, points times components, that are held at once
_CLOSE = 0.05  # standard deviations between two points, times 1 + |z|, up to which a series gives the mass there
_NEAR_NODES, _NEAR_WEIGHTS = np.polynomial.legendre.leggauss(16)


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


def ends(p: Pieces) -> tuple[float, float]:
    """Of the support: the guard has none."""
    return (-math.inf, math.inf) if p.guard_mass > 0 else (p.low, p.high)


@np.errstate(over="ignore", divide="ignore")
def guard_log_density(away: Any, p: Pieces) -> Any:
    """log of the guard's density at guard_loc + away, an array; -inf without a guard."""
    if p.guard_mass == 0:
        return np.full(np.shape(away), -math.inf)
    t = np.abs(away) / (p.guard_scale * _SQRT_3)
    growth = np.where(t > 1e100, 2 * np.log(t), np.log1p(t * t))
    return math.log(p.guard_mass / p.guard_scale) + _LOG_T3 - 2 * growth


@np.errstate(all="ignore")
def guard_survival(t: Any) -> Any:
    """P(T > t) of Student's t with 3 degrees of freedom, relatively accurate far out."""
    u = np.abs(t) / _SQRT_3
    v = 1 / (u * u)
    near = np.arctan2(1.0, u) - u / (1 + u * u)  # far out this difference cancels: a series
    far = (2 / 3 - v * (4 / 5 - v * (6 / 7 - v * (8 / 9 - v * 10 / 11)))) / (u * u * u)
    beyond = np.where(u > 30, far, near) / math.pi
    return np.where(t < 0, 1 - beyond, beyond)


@np.errstate(all="ignore")
def _log_guard_survival(t: Any) -> Any:
    """log of `guard_survival`, also where that underflows."""
    u = np.maximum(t, 1.0) / _SQRT_3
    return np.where(
        t > 1e4, math.log(2 / (3 * math.pi)) - 3 * np.log(u) + np.log1p(-1.2 / u**2), np.log(guard_survival(t))
    )


@np.errstate(all="ignore")
def _guard_between(t: FloatArray, end: float) -> FloatArray:
    """P(T between t (N,) and ``end``) of Student's t with 3 degrees of freedom, relatively accurate also if close."""
    sign = np.where(t + end < 0, -1.0, 1.0)  # from the thinner tail
    a, b = np.sort([sign * t / _SQRT_3, sign * end / _SQRT_3], axis=0)
    apart = guard_survival(a * _SQRT_3) - guard_survival(b * _SQRT_3)
    half = 0.5 * (b - a)
    u = 0.5 * (a + b) + half * _NEAR_NODES[:, None]
    return np.where(half < 0.3 * (1 + np.abs(a)), 2 / math.pi * half * (_NEAR_WEIGHTS @ (1 + u * u) ** -2.0), apart)


@np.errstate(over="ignore", divide="ignore")
def log_densities(x: FloatArray, p: Pieces) -> FloatArray:
    """log of the density at x (N,)."""
    out = guard_log_density(x - p.guard_loc, p)
    out[np.isnan(x)] = math.nan
    low, high = extent(p, _OVER) if p.guard_mass > 0 else (p.low, p.high)
    for rows in blocks(np.flatnonzero((low <= x) & (x <= high)), p):
        terms = np.subtract.outer(x[rows], p.mean)
        terms *= p.inverse_std * math.sqrt(0.5)
        np.subtract(p.log_height, np.square(terms, out=terms), out=terms)
        rest = np.logaddexp(out[rows], math.log(p.flat) if p.flat > 0 else -math.inf)
        top = np.maximum(rest, terms.max(1, initial=-math.inf))
        shift = np.where(np.isinf(top), 0.0, top)
        np.maximum(np.subtract(terms, shift[:, None], out=terms), NEGLIGIBLE, out=terms)  # exp is slow far below
        out[rows] = top + np.log(np.exp(terms, out=terms).sum(1) + np.exp(rest - shift))
    return out


def masses_outside(x: FloatArray, p: Pieces, upper: bool) -> FloatArray:
    """P(X > x) if ``upper``, else P(X < x), at x (N,)."""
    total = _masses_between(np.clip(x, p.low, p.high), p.high if upper else p.low, p)
    if p.guard_mass > 0:
        t = (x - p.guard_loc) / p.guard_scale
        total += p.guard_mass * guard_survival(t if upper else -t)
    return total


def masses_between(x: FloatArray, end: float, p: Pieces) -> FloatArray:
    """Mass between x (N,) and ``end``, relatively accurate also where both are far out or close to each other."""
    total = _masses_between(np.clip(x, p.low, p.high), min(max(end, p.low), p.high), p)
    if p.guard_mass > 0:
        total += p.guard_mass * _guard_between((x - p.guard_loc) / p.guard_scale, (end - p.guard_loc) / p.guard_scale)
    return total


@np.errstate(all="ignore")
def log_masses_outside(x: FloatArray, p: Pieces, upper: bool) -> FloatArray:
    """log of P(X > x) if ``upper``, else of P(X < x), at x (N,), also where the probability underflows."""
    sign, end = (1, p.high) if upper else (-1, p.low)
    out = np.full(x.size, -math.inf)
    if p.guard_mass > 0:
        out = math.log(p.guard_mass) + _log_guard_survival(sign * (x - p.guard_loc) / p.guard_scale)
    x = np.clip(x, p.low, p.high)
    if p.flat > 0:
        out = np.logaddexp(out, np.log(p.flat * np.abs(end - x)))
    z_end = sign * (end - p.mean) * p.inverse_std
    for rows in blocks(np.arange(x.size), p):
        z = sign * (x[rows, None] - p.mean) * p.inverse_std
        left = z + z_end < 0
        near, far = np.where(left, -z_end, z), np.where(left, -z, z_end)
        terms, beyond = log_ndtr(-near), log_ndtr(-far)
        terms += np.log(-np.expm1(beyond - terms))
        middle, half = 0.5 * near + 0.5 * far, 0.5 * np.abs(end - x[rows, None]) * p.inverse_std
        close = half * (1 + np.abs(middle)) < _CLOSE
        terms[close] = np.log(2 * half[close]) - 0.5 * middle[close] ** 2 - _LOG_SQRT_2PI
        terms[close] += np.log(_series(middle[close], half[close]))
        terms += np.log(p.weight)
        top = terms.max(1, initial=-math.inf)
        shift = np.where(np.isinf(top), 0.0, top)
        out[rows] = np.logaddexp(out[rows], shift + np.log(np.exp(terms - shift[:, None]).sum(1)))
    return out


def _series(middle: FloatArray, half: FloatArray) -> FloatArray:
    """Mass of a normal within ``half`` of ``middle``, over 2 half phi(middle)."""
    a, b = middle**2, half**2
    return 1 + b * ((a - 1) / 6 + b * ((a * a - 6 * a + 3) / 120 + b * (((a - 15) * a + 45) * a - 15) / 5040))


@np.errstate(over="ignore", invalid="ignore")
def _masses_between(x: FloatArray, end: float, p: Pieces) -> FloatArray:
    """Mass of all but the guard between x (N,) and ``end``, relatively accurate far out on either side."""
    out = p.flat * np.abs(end - x) if p.flat > 0 else np.zeros(x.size)
    z_end = (end - p.mean) * p.inverse_std
    beyond_end = 0.5 * erfc(math.sqrt(0.5) * np.stack([z_end, -z_end]))
    for rows in blocks(np.arange(x.size), p):
        z = (x[rows, None] - p.mean) * p.inverse_std
        middle = 0.5 * z + 0.5 * z_end
        right = middle > 0
        masses = np.abs(0.5 * erfc(np.where(right, z, -z) * math.sqrt(0.5)) - np.where(right, *beyond_end))
        if math.isfinite(end):
            half = 0.5 * np.abs(end - x[rows, None]) * p.inverse_std
            close = half * (1 + np.abs(middle)) < _CLOSE  # there the difference cancels
            height = np.exp(-0.5 * middle[close] ** 2 - _LOG_SQRT_2PI)
            masses[close] = 2 * half[close] * height * _series(middle[close], half[close])
        out[rows] += masses @ p.weight
    return out


def extent(p: Pieces, stds: float = REACH) -> tuple[float, float]:
    """The bounds, or so many standard deviations beyond the means."""
    reach = stds / p.inverse_std
    low = (p.mean - reach).min(initial=p.low if p.flat else math.inf)
    high = (p.mean + reach).max(initial=p.high if p.flat else -math.inf)
    return max(p.low, low), min(p.high, high)


def center(p: Pieces) -> float:
    """A point with at least a quarter of the mass of all but the guard on either side: the median of their medians."""
    below, above = (ndtr((end - p.mean) * p.inverse_std) for end in (p.low, p.high))
    medians, weight = p.mean + ndtri(0.5 * below + 0.5 * above) / p.inverse_std, p.weight * (above - below)
    if p.flat > 0:
        medians, weight = np.append(medians, 0.5 * (p.low + p.high)), np.append(weight, p.flat * (p.high - p.low))
    order = np.argsort(medians)
    share = np.cumsum(weight[order])
    return float(np.clip(medians[order[np.searchsorted(share, 0.5 * share[-1])]], p.low, p.high))


def quantiles(mass: FloatArray, p: Pieces, upper: bool) -> FloatArray:
    """The x with ``mass`` (N,) above them if ``upper``, else below; the support's ends at 0 and 1, NaN beyond."""
    here, there = reversed(ends(p)) if upper else ends(p)
    out = np.select([mass == 0, mass == 1], [here, there], math.nan)
    c = center(p)
    near = mass <= masses_outside(np.array([c]), p, upper)
    for rows, q, side in ((near, mass, upper), (~near, 1 - mass, not upper)):
        rows = np.flatnonzero(rows & (mass > 0) & (mass < 1))
        if rows.size:
            out[rows] = _far_quantiles(q[rows], p, side, c)
    return out


@np.errstate(all="ignore")
def _far_quantiles(mass: FloatArray, p: Pieces, upper: bool, c: float) -> FloatArray:
    """The x with ``mass`` (N,) > 0 outside, at most that at c: Newton's method on its log, bisection where it fails."""
    sign = 1 if upper else -1
    away = abs(extent(p)[upper] - c) * 2.0 ** np.arange(-40, 401, 8)
    edges = np.clip(np.append(c, c + sign * away), *ends(p))
    found = np.searchsorted(-masses_outside(edges, p, upper), -mass).clip(1, edges.size - 1)
    inner, outer = edges[found - 1], edges[found]
    x = inner
    for _ in range(1100):  # halvings to the least number
        there = masses_outside(x, p, upper)
        excess = np.log(there / mass)
        inner, outer = np.where(excess > 0, x, inner), np.where(excess > 0, outer, x)
        low, high = np.minimum(inner, outer), np.maximum(inner, outer)
        new = x + sign * excess * np.exp(np.log(there) - log_densities(x, p))
        step = np.spacing(np.abs(x))
        arrived = np.abs(new - x) <= step
        new = np.where(((low < new) & (new < high)) | arrived, new, 0.5 * low + 0.5 * high)
        moves = (np.abs(excess) > 1e-15) & ~arrived & (high - low > step)  # else no number lies between
        x = np.where(np.abs(excess) > 1e-15, new, x)
        if not moves.any():
            break
    return x


def blocks(rows: IntArray, p: Pieces) -> list[IntArray]:
    """The ``rows`` in parts that keep points times components near `_BLOCK`."""
    return np.array_split(rows, 1 + rows.size * p.mean.size // _BLOCK)
