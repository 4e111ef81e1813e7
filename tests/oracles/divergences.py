"""KL, Jensen-Shannon and MMD^2 as they are defined: integrals over many short pieces of the line, double sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from oracles.gaussian_sums import images
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import t as student

from gaussmix._typing import FloatArray

_NOTHING = 1e-300
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(30)


def bounds(law: dict[str, Any]) -> tuple[float, float]:
    """Of a GaussianMixture1D's arguments, infinite where open."""
    low, high = law.get("bounds", (None, None))
    return -np.inf if low is None else low, np.inf if high is None else high


def log_density(x: FloatArray, law: dict[str, Any]) -> FloatArray:
    """At x (N,), for a GaussianMixture1D's arguments: every component and mirror image."""
    low, high = bounds(law)
    mirrored = images(law["weights"], law["means"], law["stds"], (low, high))
    w, m, s = (values.astype(float) for values in mirrored)
    mass, loc, scale = law.get("tail", (0.0, 0.0, 1.0))
    with np.errstate(divide="ignore"):
        parts = (-0.5 * ((part[:, None] - m) / s) ** 2 for part in np.array_split(x, 1 + x.size * m.size // 10**6))
        logs = np.concatenate([np.asarray(logsumexp(part, 1, w / (s * math.sqrt(2 * math.pi)))) for part in parts])
        logs[(x < low) | (x > high)] = -np.inf
        return np.logaddexp(math.log1p(-mass) + logs, np.log(mass) + student.logpdf(x, 3, loc, scale))


def nodes(*laws: dict[str, Any], sharp: tuple[float, ...] = ()) -> tuple[FloatArray, FloatArray]:
    """Points and weights of a rule on the line, fine around every component, bound and guard and the places `sharp`."""
    cuts: list[Any] = [np.add.outer([-1, 1] * 2.0 ** np.arange(-20, 4)[:, None], sharp)]
    for law in laws:
        means, stds = np.broadcast_arrays(law["means"], law["stds"])
        cuts.append(np.add.outer(np.linspace(-12, 12, 25), np.zeros(means.size)) * stds + means)
        cuts.append([end for end in bounds(law) if np.isfinite(end)])
        mass, loc, scale = law.get("tail", (0, 0, 1))
        if mass > 0:
            steps = scale * 2.0 ** np.arange(-3, 45)
            cuts += [loc - steps, loc + steps]
    edges = np.unique(np.concatenate([np.ravel(cut) for cut in cuts]))
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + _NODES)).ravel(), (half * _WEIGHTS).ravel()


def kl(a: dict[str, Any], b: dict[str, Any], sharp: tuple[float, ...] = ()) -> float:
    """int p log(p / q); `sharp`: where log q bends, between components far narrower than their distance."""
    x, w = nodes(a, b, sharp=sharp)
    log_p, log_q = log_density(x, a), log_density(x, b)
    p = np.exp(log_p)
    used = p > _NOTHING
    return math.fsum((w * p)[used] * (log_p[used] - log_q[used]))


def jensen_shannon(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Mean of the KL divergences from the average of both."""
    x, w = nodes(a, b)
    p, q = (np.exp(log_density(x, law)) for law in (a, b))
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > _NOTHING, p * np.log(p / m), 0) + np.where(q > _NOTHING, q * np.log(q / m), 0)
    return math.fsum(w * terms) / 2


def mmd2_of_points(x: FloatArray, p: FloatArray, y: FloatArray, q: FloatArray, sigma: float) -> float:
    """Points x, y with masses p, q: every pair."""
    points, masses = [*x, *y], [*p, *(-q)]
    return math.fsum(
        u * v * math.exp(-((s - t) ** 2) / (2 * sigma**2))
        for s, u in zip(points, masses, strict=True)
        for t, v in zip(points, masses, strict=True)
    )


def mmd2_of_normals(a: dict[str, Any], b: dict[str, Any], sigma: float) -> float:
    """Open mixtures without tails: every pair of components, E k = sigma / S exp(-(m - m')^2 / (2 S^2))."""
    weights = np.concatenate([a["weights"], -np.asarray(b["weights"])])
    means = np.concatenate([a["means"], b["means"]])
    stds = np.concatenate([np.broadcast_to(law["stds"], np.shape(law["means"])) for law in (a, b)])
    S2 = sigma**2 + stds[:, None] ** 2 + stds**2
    kernel = sigma / np.sqrt(S2) * np.exp(-((means[:, None] - means) ** 2) / (2 * S2))
    return math.fsum((np.outer(weights, weights) * kernel).ravel())


def mmd2_of_densities(a: dict[str, Any], b: dict[str, Any], sigma: float) -> float:
    """int int (p - q)(x) (p - q)(y) k(x, y) dx dy, for components not much narrower than sigma."""
    x, w = nodes(a, b)
    difference = w * np.subtract(*(np.exp(log_density(x, law)) for law in (a, b)))
    used = np.abs(difference) > 1e-18
    x, difference = x[used], difference[used]
    parts = np.array_split(np.arange(x.size), 1 + x.size // 500)
    rows = (difference[i] @ np.exp(-((x[i, None] - x) ** 2) / (2 * sigma**2)) @ difference for i in parts)
    return math.fsum(rows)


def mmd2_by_characteristic_functions(
    f: Callable[[float], complex], g: Callable[[float], complex], sigma: float
) -> float:
    """int |f - g|^2 times the normal density of standard deviation 1 / sigma."""

    def integrand(z: float) -> float:
        return abs(f(z / sigma) - g(z / sigma)) ** 2 * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

    cuts = np.concatenate([[0.0], np.geomspace(1e-9, 40, 60)])
    return 2 * math.fsum(quad(integrand, *ends, epsabs=1e-15, epsrel=1e-12)[0] for ends in pairwise(cuts))
