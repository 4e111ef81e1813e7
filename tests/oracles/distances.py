"""Laws written out with SciPy, and integrals over them by quadrature between located zeros: slow, plain, separate.

A law is a dict of the arguments of GaussianMixture1D, as in `oracles.mixtures`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import t

from gaussmix._typing import FloatArray

Arguments = dict[str, Any]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def _rows(law: Arguments) -> tuple[FloatArray, FloatArray, FloatArray, float, float, tuple[float, float, float]]:
    w, m = np.asarray(law["weights"], float), np.asarray(law["means"], float)
    low, high = law.get("bounds") or (None, None)
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    return w / w.sum(), m, np.broadcast_to(law["stds"], m.shape), low, high, law.get("tail") or (0.0, 0.0, 1.0)


def _images(m: float, s: float, low: float, high: float) -> list[float]:
    """Where a Gaussian and its mirror images have their means."""
    if math.isinf(low) and math.isinf(high):
        return [m]
    if math.isinf(low) or math.isinf(high):
        return [m, 2 * (low if math.isfinite(low) else high) - m]
    length = high - low
    turns = range(-math.ceil(6 * s / length) - 2, math.ceil(6 * s / length) + 3)
    return [image + 2 * k * length for k in turns for image in (m, 2 * low - m)]


def density(law: Arguments, x: FloatArray) -> FloatArray:
    """Of the continuous part, weighted with its mass."""
    weights, means, stds, low, high, (mass, loc, scale) = _rows(law)
    total = mass * t.pdf((x - loc) / scale, 3) / scale
    here = (x >= low) & (x <= high)
    for w, m, s in zip(weights, means, stds, strict=True):
        for image in _images(m, s, low, high):
            total = total + here * (1 - mass) * w * np.exp(-0.5 * ((x - image) / s) ** 2) / (s * math.sqrt(2 * math.pi))
    return (1 - _atoms(law)[1].sum()) * total


def outside(law: Arguments, x: FloatArray, *, upper: bool) -> FloatArray:
    """P(X > x) if `upper`, else P(X <= x)."""
    weights, means, stds, low, high, (mass, loc, scale) = _rows(law)
    total = mass * (t.sf if upper else t.cdf)((x - loc) / scale, 3)
    inside = np.clip(x, low, high)
    for w, m, s in zip(weights, means, stds, strict=True):
        for image in _images(m, s, low, high):
            if upper:
                part = ndtr((image - inside) / s) - ndtr((image - high) / s)
            else:
                part = ndtr((inside - image) / s) - ndtr((low - image) / s)
            total = total + (1 - mass) * w * part
    positions, masses = _atoms(law)
    total = (1 - masses.sum()) * total
    for y, h in zip(positions, masses, strict=True):
        total = total + h * ((x < y) if upper else (x >= y))
    return total


def knots(law: Arguments) -> FloatArray:
    """Places between which the law is smooth: every third of a standard deviation, atoms, bounds, far guards."""
    _, means, stds, low, high, (mass, loc, scale) = _rows(law)
    steps = np.linspace(-12, 12, 73)
    images = [(i, s) for m, s in zip(means, stds, strict=True) for i in _images(m, s, low, high)]
    places = [np.clip(i + s * steps, low, high) for i, s in images]
    places += [np.array([end for end in (low, high) if math.isfinite(end)]), _atoms(law)[0]]
    if mass:
        places.append(loc + scale * np.sinh(np.linspace(-21, 21, 421)))
    return np.unique(np.concatenate(places))


def absolute_integral(g: Callable[[FloatArray], FloatArray], edges: FloatArray) -> float:
    """int |g| from the first to the last edge: zeros by bisection, Gauss-Legendre between edges and zeros."""
    x = np.unique(np.concatenate([edges, 0.75 * edges[:-1] + 0.25 * edges[1:], 0.3 * edges[:-1] + 0.7 * edges[1:]]))
    inner, outer = np.nextafter(x[:-1], math.inf), np.nextafter(x[1:], -math.inf)  # g may jump at an edge
    signs = np.sign(g(inner)), np.sign(g(outer))
    crossing = (signs[0] * signs[1] < 0) & (inner < outer)
    low, high, rising = inner[crossing], outer[crossing], signs[0][crossing] < 0
    for _ in range(80):
        middle = 0.5 * low + 0.5 * high
        above = (g(middle) > 0) == rising
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    x = np.unique(np.concatenate([x, low]))
    half = 0.5 * np.diff(x)[:, None]
    values = g((x[:-1, None] + half * (_NODES + 1)).ravel()).reshape(half.size, -1)
    return float(np.abs((values * _WEIGHTS * half).sum(axis=1)).sum())


def wasserstein_1(a: Arguments, b: Arguments) -> float:
    """int |F_a - F_b|, in the upper half as a difference of survival functions."""
    center = float(np.median(np.concatenate([a["means"], b["means"]])))

    def g(x: FloatArray) -> FloatArray:
        lower = outside(a, x, upper=False) - outside(b, x, upper=False)
        return np.where(x < center, lower, outside(b, x, upper=True) - outside(a, x, upper=True))

    return absolute_integral(g, np.unique(np.concatenate([knots(a), knots(b), [center]])))


def total_variation(a: Arguments, b: Arguments) -> float:
    """Half of int |f_a - f_b| and of what the atoms differ by."""
    edges = np.unique(np.concatenate([knots(a), knots(b)]))
    continuous = absolute_integral(lambda x: density(a, x) - density(b, x), edges)
    heights: dict[float, float] = {}
    for sign, law in ((1, a), (-1, b)):
        for y, h in zip(*_atoms(law), strict=True):
            heights[y] = heights.get(y, 0.0) + sign * h
    return 0.5 * (continuous + sum(abs(h) for h in heights.values()))


def wasserstein_of_sample(law: Arguments, values: FloatArray, masses: FloatArray) -> float:
    """W1 between a law and point masses: int |F - F_N|."""
    order = np.argsort(values)
    values, masses = values[order], masses[order]
    below = np.append(0.0, np.cumsum(masses))
    above = np.append(np.cumsum(masses[::-1])[::-1], 0.0)
    center = float(np.median(law["means"]))

    def g(x: FloatArray) -> FloatArray:
        passed = np.searchsorted(values, x, "right")
        lower = outside(law, x, upper=False) - below[passed]
        return np.where(x < center, lower, above[passed] - outside(law, x, upper=True))

    return absolute_integral(g, np.unique(np.concatenate([knots(law), values, [center]])))


def quantile(law: Arguments, u: FloatArray, *, upper: bool) -> FloatArray:
    """The place with `u` of the mass outside it on one side, by bisection."""
    edges = knots(law)
    low, high = np.full(u.shape, edges[0]), np.full(u.shape, edges[-1])
    for _ in range(90):
        middle = 0.5 * low + 0.5 * high
        above = (outside(law, middle, upper=True) <= u) if upper else (outside(law, middle, upper=False) >= u)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high


def wasserstein_p(a: Arguments, b: Arguments, p: float) -> float:
    """W_p by Gauss-Legendre in log u on either side of 1/2, cut where a cdf jumps or has a knot."""
    total = 0.0
    for upper in (False, True):
        places = [outside(law, knots(law), upper=upper) for law in (a, b)]
        places += [outside(law, np.nextafter(knots(law), -math.inf), upper=upper) for law in (a, b)]
        edges = np.unique(np.concatenate([*places, 0.5 * 0.5 ** np.arange(60.0)]))
        s = np.log(edges[(edges >= 1e-18) & (edges <= 0.5)])
        half = 0.5 * np.diff(s)[:, None]
        u = np.exp(s[:-1, None] + half * (_NODES + 1))
        away = np.abs(quantile(a, u, upper=upper) - quantile(b, u, upper=upper))
        total += float((away**p * u * half * _WEIGHTS).sum())
    return total ** (1 / p)


def wasserstein_of_atoms(x: FloatArray, a: FloatArray, y: FloatArray, b: FloatArray, p: float) -> float:
    """W_p of point masses, as the north-west corner rule walks along both."""
    i, j = np.argsort(x), np.argsort(y)
    x, a, y, b = x[i], a[i].copy(), y[j], b[j].copy()
    total, m, n = 0.0, 0, 0
    while m < x.size and n < y.size:
        moved = min(a[m], b[n])
        total += moved * abs(x[m] - y[n]) ** p
        a[m], b[n] = a[m] - moved, b[n] - moved
        if a[m] <= b[n]:
            m += 1
        else:
            n += 1
    return total ** (1 / p)


def random_law(seed: int) -> Arguments:
    """A small mixture of widths from .01 to 3, now and then with bounds, atoms and a guard."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    law: Arguments = {
        "weights": rng.dirichlet(np.ones(n)),
        "means": rng.uniform(-5, 5, n),
        "stds": np.exp(rng.uniform(math.log(0.01), math.log(3), n)),
    }
    low, high = ((None, None), (-5.0, None), (None, 5.0), (-5.0, 6.0))[rng.integers(4)]
    law["bounds"] = (low, high)
    if rng.random() < 0.4:
        law["tail"] = (float(rng.uniform(1e-6, 0.3)), float(rng.uniform(-3, 3)), float(rng.uniform(0.3, 3)))
    if rng.random() < 0.4:
        law["atoms"] = (np.sort(rng.integers(-6, 6, 40))[[0, 13, 39]] + [0.0, 0.25, 0.5], rng.uniform(0.01, 0.3, 3))
    return law


def _atoms(law: Arguments) -> tuple[FloatArray, FloatArray]:
    positions, masses = law.get("atoms") or ((), ())
    return np.asarray(positions, float), np.asarray(masses, float)
