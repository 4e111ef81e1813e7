"""The densities of the accuracy benchmark: what is drawn, its exact density, and 20 000 points to judge a fit at.

A target is a mixture of SciPy's distributions, sum_k w_k p_k(x). Its quantiles come from bisection between the least
and the greatest of its parts' quantiles, so that every target has exact `pdf`, `cdf`, `ppf` and a sampler. Some are
spoilt before a fit sees them: values rounded, one point thrown far out, a share of them set to exactly zero; they are
judged against what they were before the rounding or the throw, and a fit may answer the zeros with a point mass.

Six groups. `DESIGN`: looked at while the automatic rule was designed. `HELD_OUT`: kept back from its first design,
later known. `NEW`: chosen for this benchmark and not run with any rule of ours before the rules were final. `FRESH`:
likewise, before the rules for modes and ties were made. `ROUNDED`: columns as people write them down, fixed together
with `FRESH`. `CASES`: bad data. Two targets (`gmix8`, `ntu`) are drawn afresh for every seed, after the generator of
the paper's tables.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Sample = NDArray[np.float64]

N_POINTS = 20_000
BISECTIONS = 64


@dataclass(frozen=True)
class Target:
    """A mixture of frozen SciPy distributions `parts` with `weights` that sum to 1.

    rounding  samples are rounded to multiples of this (0: not)
    written   what becomes of a sample (n,) when somebody writes it down, with a generator at hand
    outlier   the last point of a sample is replaced by this value
    zeros     probability that a point is exactly 0 instead of a draw from the mixture
    stream    name of the random stream, where two targets share their draws; else the target's own
    """

    parts: tuple[Any, ...]
    weights: tuple[float, ...] = (1.0,)
    rounding: float = 0.0
    written: Callable[[Sample, np.random.Generator], Sample] | None = None
    outlier: float | None = None
    zeros: float = 0.0
    stream: str = ""

    def pdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Density of the continuous part, which integrates to 1 (so without `zeros`); the shape of `x`."""
        return sum((w * part.pdf(x) for w, part in zip(self.weights, self.parts, strict=True)), np.zeros_like(x))

    def cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distribution function of the continuous part; the shape of `x`."""
        return sum((w * part.cdf(x) for w, part in zip(self.weights, self.parts, strict=True)), np.zeros_like(x))

    def ppf(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantiles of the continuous part at `q` in (0, 1); the shape of `q`."""
        quantiles = np.array([part.ppf(q) for part in self.parts])
        low, high = quantiles.min(0), quantiles.max(0)
        if len(self.parts) == 1:
            return low
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.cdf(middle) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """`n` independent draws, spoilt as the target says: `(n,)`."""
        labels = rng.choice(len(self.weights), n, p=self.weights)
        x = np.empty(n)
        for k, part in enumerate(self.parts):
            mine = labels == k
            x[mine] = part.rvs(int(mine.sum()), random_state=rng)
        if self.rounding:
            x = np.round(x / self.rounding) * self.rounding
        if self.written:
            x = self.written(x, rng)
        if self.zeros:
            x[rng.random(n) < self.zeros] = 0.0
        if self.outlier is not None:
            x[-1] = self.outlier
        return x


def one(part: Any, **spoilt: Any) -> Target:
    return Target((part,), **spoilt)


def mixture(weights: Sequence[float], *parts: Any, **spoilt: Any) -> Target:
    return Target(parts, tuple(np.asarray(weights, float) / np.sum(weights)), **spoilt)


def normals(means: Sequence[float], stds: Sequence[float], weights: Sequence[float], **spoilt: Any) -> Target:
    return mixture(weights, *map(stats.norm, means, stds), **spoilt)


def random_normals(rng: np.random.Generator) -> Target:
    """8 normals: means U(0, 100), standard deviations U(5, 15), Dirichlet(1) weights."""
    return normals(rng.uniform(0, 100, 8).tolist(), rng.uniform(5, 15, 8).tolist(), rng.dirichlet(np.ones(8)).tolist())


def random_kinds(rng: np.random.Generator) -> Target:
    """8 parts, at least one each of normal, t (20-60 degrees of freedom) and uniform (widths 5-30)."""
    parts = []
    for kind in rng.permutation(np.r_[["n", "t", "u"], rng.choice(["n", "t", "u"], 5)]):
        centre = rng.uniform(0, 100)
        if kind == "n":
            parts.append(stats.norm(centre, rng.uniform(5, 15)))
        elif kind == "t":
            scale = rng.uniform(5, 15)
            parts.append(stats.t(int(rng.integers(20, 61)), centre, scale))
        else:
            width = rng.uniform(5, 30)
            parts.append(stats.uniform(centre - width / 2, width))
    return mixture(rng.dirichlet(np.ones(8)).tolist(), *parts)


# MW: the numbered normal mixtures of Marron and Wand (1992).
DESIGN: dict[str, Target | Callable[[np.random.Generator], Target]] = {
    "normal": one(stats.norm()),
    "gmix8": random_normals,
    "ntu": random_kinds,
    "claw": normals([0, -1, -0.5, 0, 0.5, 1], [1] + [0.1] * 5, [0.5] + [0.1] * 5),  # MW 10
    "adclaw": normals(  # MW 13
        [-1, 1, -0.5, -1, -1.5, 0.5, 1, 1.5],
        [2 / 3] * 2 + [0.01] * 3 + [0.07] * 3,
        [0.46] * 2 + [1 / 300] * 3 + [7 / 300] * 3,
    ),
    "comb": normals(  # MW 14
        [(65 - 96 * 0.5**k) / 21 for k in range(6)],
        [32 / 63 * 0.5**k for k in range(6)],
        [2 ** (5 - k) / 63 for k in range(6)],
    ),
    "spikes": normals([0, 1000], [1, 1], [0.5, 0.5]),
    "uniform": one(stats.uniform()),
    "exponential": one(stats.expon()),
    "lognormal": one(stats.lognorm(1.0)),
    "t2": one(stats.t(2)),
    "cauchy": one(stats.cauchy()),
    "rounded normal": one(stats.norm(), rounding=0.1),
}

HELD_OUT: dict[str, Target] = {
    "skewed (MW 2)": normals([0, 0.5, 13 / 12], [1, 2 / 3, 5 / 9], [0.2, 0.2, 0.6]),
    "kurtotic (MW 4)": normals([0, 0], [1, 0.1], [2 / 3, 1 / 3]),
    "strong skew (MW 3)": normals(
        [3 * ((2 / 3) ** k - 1) for k in range(8)], [(2 / 3) ** k for k in range(8)], [1] * 8
    ),
    "laplace": one(stats.laplace()),
    "gamma 2": one(stats.gamma(2.0)),
    "beta(2, 5)": one(stats.beta(2, 5)),
    "arcsine": one(stats.beta(0.5, 0.5)),
    "pareto 1.5": one(stats.pareto(1.5)),
    "triangle": one(stats.triang(0.3)),
    "steps": mixture(
        [0.1, 0.5, 0.15, 0.25], stats.uniform(0, 1), stats.uniform(1, 1), stats.uniform(2, 2), stats.uniform(4, 1)
    ),
}

NEW: dict[str, Target] = {
    "weibull 1.5": one(stats.weibull_min(1.5)),
    "chi-square 1": one(stats.chi2(1)),
    "gumbel": one(stats.gumbel_r()),
    "skew-normal 5": one(stats.skewnorm(5)),
    "inverse gaussian": one(stats.invgauss(1.0)),
    "logit-normal": one(stats.johnsonsb(-0.5, 0.8)),
    "truncated normal": one(stats.truncnorm(-0.5, 2.0)),
    "two log-normals": mixture([0.6, 0.4], stats.lognorm(0.4), stats.lognorm(0.25, scale=6)),
    "98 : 2": normals([0, 5], [1, 0.1], [0.98, 0.02]),
    "double gamma": one(stats.dgamma(2.0)),
    "two triangles": mixture([0.5, 0.5], stats.triang(0.5, 0, 2), stats.triang(0.8, 1.5, 1)),
    "two t3": mixture([0.7, 0.3], stats.t(3), stats.t(3, 8, 0.5)),
    "half-cauchy": one(stats.halfcauchy()),
    "discrete comb (MW 15)": normals(
        [(12 * k - 15) / 7 for k in range(3)] + [2 * k / 7 for k in (8, 9, 10)],
        [2 / 7] * 3 + [1 / 21] * 3,
        [2 / 7] * 3 + [1 / 21] * 3,
    ),
    "gap": mixture([0.5, 0.5], stats.beta(2, 2), stats.beta(3, 3, 3, 0.5)),
    "rounded lognormal": one(stats.lognorm(0.6), rounding=0.05),
}

FRESH: dict[str, Target] = {
    "logistic": one(stats.logistic()),
    "beta(1.5, 4)": one(stats.beta(1.5, 4)),
    "rayleigh": one(stats.rayleigh()),
    "log-logistic 2": one(stats.fisk(2)),
    "t5": one(stats.t(5)),
    "generalised normal 3": one(stats.gennorm(3)),
    "trapezoid": one(stats.trapezoid(0.2, 0.7)),
    "bimodal (MW 6)": normals([-1, 1], [2 / 3, 2 / 3], [0.5, 0.5]),
    "trimodal (MW 9)": normals([-1.2, 1.2, 0], [0.6, 0.6, 0.25], [0.45, 0.45, 0.1]),
    "asymmetric bimodal (MW 8)": normals([0, 1.5], [1, 1 / 3], [0.75, 0.25]),
    "exponential and normal": mixture([0.6, 0.4], stats.expon(), stats.norm(5, 0.5)),
    "wide and narrow": normals([0, 3], [10, 0.3], [0.5, 0.5]),
    "power 3": one(stats.powerlaw(3)),
    "asymmetric laplace": one(stats.laplace_asymmetric(2)),
    "two uniforms": mixture([0.7, 0.3], stats.uniform(0, 1), stats.uniform(2, 0.5)),
    "generalised pareto .5": one(stats.genpareto(0.5)),
}


def to_steps(*steps: float, shares: Sequence[float] = ()) -> Callable[[Sample, np.random.Generator], Sample]:
    """Each number is rounded to one of the steps, drawn with the shares; step 0 leaves it as it is."""

    def write(x: Sample, rng: np.random.Generator) -> Sample:
        step = rng.choice(steps, len(x), p=shares or None)
        return np.where(step > 0, np.round(x / np.where(step > 0, step, 1)) * step, x)

    return write


def two_digits(x: Sample, rng: np.random.Generator) -> Sample:
    """Two significant digits."""
    unit = 10.0 ** (np.floor(np.log10(np.abs(x))) - 1)
    return np.round(x / unit) * unit


def to_endings(x: Sample, rng: np.random.Generator) -> Sample:
    """The nearest price that ends in .00, .49, .95 or .99."""
    prices = np.add.outer(np.floor(x), [-0.01, 0, 0.49, 0.95, 0.99, 1.0])
    nearest = np.abs(prices - x[:, None]).argmin(1)[:, None]
    return np.asarray(np.round(np.take_along_axis(prices, nearest, 1)[:, 0], 2), np.float64)


ROUNDED: dict[str, Target] = {
    "whole years": one(stats.norm(38, 11), rounding=1.0),
    "small counts": one(stats.gamma(2.2, scale=1.8), rounding=1.0),
    "ages heaped at 5 and 10": one(stats.gamma(9, scale=5), written=to_steps(1, 5, 10, shares=(0.6, 0.25, 0.15))),
    "minutes heaped at 5, 15, 30": one(
        stats.lognorm(0.7, scale=45), written=to_steps(1, 5, 15, 30, shares=(0.3, 0.3, 0.25, 0.15))
    ),
    "two digits": one(stats.gamma(1.7, scale=300), written=two_digits),
    "2 % unrounded": one(stats.logistic(20, 3), written=to_steps(0.25, 0, shares=(0.98, 0.02))),
    "quarters and hundredths": normals([2, 5], [0.7, 1], [0.5, 0.5], written=to_steps(0.25, 0.01, shares=(0.5, 0.5))),
    "pounds to kilograms": one(
        stats.skewnorm(4, 55, 20), written=lambda x, rng: np.round(np.round(x / 0.45359237) * 0.45359237, 1)
    ),
    "fahrenheit to celsius": normals(
        [8, 21], [4, 5], [0.4, 0.6], written=lambda x, rng: np.round((np.round(x * 1.8 + 32) - 32) / 1.8, 1)
    ),
    "float16": one(stats.gumbel_r(300, 60), written=lambda x, rng: x.astype(np.float16).astype(np.float64)),
    "log10 of integers": one(stats.norm(2.2, 0.4), written=lambda x, rng: np.log10(np.maximum(np.round(10**x), 1))),
    "price endings": one(stats.lognorm(0.6, scale=12), written=to_endings),
}

CASES: dict[str, Target] = {
    "no outlier": one(stats.norm(), stream="outlier"),
    "outlier": one(stats.norm(), outlier=1e6, stream="outlier"),
    "30 % zeros": one(stats.gamma(2.0), zeros=0.3),
    "rounded prices": one(stats.lognorm(0.5, scale=20), rounding=0.05),
}

GROUPS = {
    "design": DESIGN,
    "held out": HELD_OUT,
    "new": NEW,
    "fresh": FRESH,
    "rounded": ROUNDED,
    "cases": CASES,
}
TARGETS = {name: target for group in GROUPS.values() for name, target in group.items()}


@dataclass(frozen=True)
class Question:
    """A target as one seed sees it, with the points at its quantiles (i + .5) / 20 000 and its density there."""

    target: Target
    points: NDArray[np.float64]
    density: NDArray[np.float64]


@cache
def target_of(name: str, seed: int) -> Target:
    """The target `name`; `seed` matters only for those that are drawn afresh."""
    entry = TARGETS[name]
    return entry if isinstance(entry, Target) else entry(np.random.default_rng(1000 + seed))


@cache
def question(name: str, seed: int) -> Question:
    """A target and its points."""
    if isinstance(TARGETS[name], Target) and seed:
        return question(name, 0)
    target = target_of(name, seed)
    points = target.ppf((np.arange(N_POINTS) + 0.5) / N_POINTS)
    return Question(target, points, target.pdf(points))


def draw(name: str, n: int, seed: int) -> NDArray[np.float64]:
    """The sample of `n` points that every method is given for (`name`, `n`, `seed`): `(n,)`."""
    target = target_of(name, seed)
    rng = np.random.default_rng([seed, n, zlib.crc32((target.stream or name).encode())])
    return target.sample(n, rng)
