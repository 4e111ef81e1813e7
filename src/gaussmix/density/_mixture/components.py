"""The components of a mixture: what values they may have, which of them a point came from, and numbers drawn from them.

r_i(x) = (1 - g) pi_i N_fold(x; mu_i, sigma_i^2) / p(x),    the posterior probabilities of the components

The component of a random number is the first whose cumulative probability is above a uniform number; a guide to equally
spaced ones leads to it or just before. Gaussians are folded back at the bounds; an atom is a component of standard
deviation 0, which is not; the guard, if there is one, is a component of standard deviation NaN, whose numbers are drawn
last.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from gaussmix._compiled import kernel
from gaussmix._typing import FloatArray
from gaussmix.density._mixture.distribution import Atoms
from gaussmix.density._mixture.exact import Pieces, guard_log_density
from gaussmix.density.reflection import UNIFORM_FROM, Bounds, mirror_images

SUM_TOLERANCE = 1e-6
FARTHEST = 2.0**1010  # from 0: places and lengths; columns end at 2^1000
SHORTEST = 2.0**-1022  # standard deviation, whose reciprocal is finite
_BLOCK = 1 << 18  # points times components that are held at once


class Tail(NamedTuple):
    """Student t with 3 degrees of freedom: probability mass, location, scale (its variance is 3 scale^2)."""

    mass: float
    loc: float
    scale: float


def responsibilities(x: FloatArray, w: FloatArray, m: FloatArray, s: FloatArray, p: Pieces) -> FloatArray:
    """(N, n) probabilities that x (N,) came from the Gaussians (n,) that became the pieces p; NaN where p(x) is 0."""
    with np.errstate(divide="ignore"):
        log_weight = np.log(w * (1 - p.guard_mass))
    uniform = s >= UNIFORM_FROM * (p.high - p.low)
    rows, images = mirror_images(m[~uniform], s[~uniform], p.low, p.high)
    source = np.append(np.arange(m.size), np.flatnonzero(~uniform)[rows])
    mean, inverse = np.append(m, images), np.where(uniform, 0.0, 1 / s)[source]
    height = np.where(uniform, -math.log(p.high - p.low) if uniform.any() else 0.0, -np.log(s * math.sqrt(2 * math.pi)))
    log_height = (log_weight + height)[source]
    out = np.empty((x.size, m.size))
    for some in np.array_split(np.arange(x.size), 1 + x.size * mean.size // _BLOCK):
        with np.errstate(over="ignore", invalid="ignore"):
            terms = log_height - 0.5 * ((x[some, None] - mean) * inverse) ** 2
        terms[~((p.low <= x[some]) & (x[some] <= p.high))] = -math.inf
        guard = guard_log_density(x[some] - p.guard_loc, p)
        top = np.maximum(terms.max(1), guard)
        with np.errstate(invalid="ignore"):  # where all is 0 the share is NaN
            shares, guard = np.exp(terms - top[:, None]), np.exp(guard - top)
        folded = shares[:, : m.size].copy()
        np.add.at(folded.T, source[m.size :], shares[:, m.size :].T)
        out[some] = folded / (folded.sum(1) + guard)[:, None]
    out[np.isnan(x)] = math.nan
    return out


def frozen(values: FloatArray) -> FloatArray:
    """A copy that cannot be written to."""
    values = values.copy()
    values.flags.writeable = False
    return values


def checked_components(
    weights: ArrayLike, means: ArrayLike, stds: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights with sum 1, means and standard deviations (n,). Raises ValueError for what makes no mixture."""
    w, m = _vector("weights", weights), _vector("means", means)
    s = _vector("stds", np.full(m.shape, stds) if np.ndim(stds) == 0 else stds)
    if not w.shape == m.shape == s.shape:
        raise ValueError(
            f"weights, means and stds have {w.size}, {m.size} and {s.size} values; give as many of each "
            "(or one number as stds)"
        )
    if w.min() < 0:
        raise ValueError(f"weights contain {w.min():.6g}; they must not be negative")
    if not abs(w.sum() - 1) <= SUM_TOLERANCE:
        raise ValueError(f"weights sum to {w.sum():.9g}; they must sum to 1: divide them by their sum")
    if s.min() < SHORTEST:
        raise ValueError(f"stds contain {s.min():.6g}; standard deviations must be positive, at least 2^-1022")
    if max(s.max(), np.abs(m).max()) > FARTHEST:
        raise ValueError("means or stds lie beyond +-2^1010; divide the data by a large number")
    w = w if abs(w.sum() - 1) <= 4 * np.finfo(float).eps else w / w.sum()  # twice is once
    return frozen(w), frozen(m), frozen(s)


def _vector(name: str, values: ArrayLike) -> FloatArray:
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"{name} has shape {vector.shape}; give a non-empty list of numbers")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} contains {vector[~np.isfinite(vector)][0]}; all must be finite")
    return vector


def checked_bounds(bounds: Bounds, means: FloatArray) -> tuple[float, float]:
    """Bounds as numbers, infinite where open. Raises ValueError where means lie outside."""
    low = -math.inf if bounds[0] is None else float(bounds[0])
    high = math.inf if bounds[1] is None else float(bounds[1])
    if not low < high or low == math.inf or high == -math.inf:
        raise ValueError(f"bounds are {bounds}; the first must be below the second")
    slack = 1e-9 * max(np.ptp(means), *(abs(end) for end in (low, high) if math.isfinite(end)), 0.0)
    if means.min() < low - slack or means.max() > high + slack:
        raise ValueError(
            f"means run from {means.min():.6g} to {means.max():.6g}, outside the bounds ({low:.6g}, {high:.6g}); "
            "reflection needs components that lie inside"
        )
    return low, high


def checked_tail(tail: tuple[float, float, float] | None) -> Tail:
    """The guard; mass 0 for None."""
    mass, loc, scale = (0.0, 0.0, 1.0) if tail is None else (float(value) for value in tail)
    if not (0 <= mass < 1 and abs(loc) <= FARTHEST and SHORTEST <= scale <= FARTHEST):
        raise ValueError(f"tail is {tail}; it must be (mass in [0, 1), finite location, positive scale)")
    return Tail(mass, loc, scale)


def checked_atoms(atoms: tuple[ArrayLike, ArrayLike] | None) -> Atoms:
    """Point masses in increasing order, none for None."""
    positions, masses = (np.asarray(values, np.float64) for values in (((), ()) if atoms is None else atoms))
    if positions.ndim != 1 or positions.shape != masses.shape:
        raise ValueError(f"atoms have positions of shape {positions.shape} and masses of shape {masses.shape}")
    order = np.argsort(positions)
    positions, masses = positions[order], masses[order]
    if not (np.abs(positions) <= FARTHEST).all() or (np.diff(positions) == 0).any():
        raise ValueError(f"atoms lie at {positions}; positions must be finite and different")
    if not (masses > 0).all() or masses.sum() > 1 + SUM_TOLERANCE:
        raise ValueError(f"atoms have masses {masses}; each must be positive, their sum {masses.sum():.6g} at most 1")
    return Atoms(frozen(positions), frozen(masses / max(masses.sum(), 1.0)))


Chooser = tuple[FloatArray, NDArray[np.int32], FloatArray, FloatArray]


def chooser(probability: FloatArray, mean: FloatArray, std: FloatArray) -> Chooser:
    """The (K,) components of positive probability: cumulative probabilities, guide (G,), means, standard deviations.

    Entry k of the guide is the first component whose cumulative probability is above k / G.
    """
    used = probability > 0
    cumulative = np.cumsum(probability[used])
    cumulative /= cumulative[-1]
    size = max(4096, 1 << (8 * cumulative.size).bit_length())
    guide = np.searchsorted(cumulative, np.arange(size) / size, side="right")
    return cumulative, guide.astype(np.int32), mean[used], std[used]


@kernel
def place_numbers(cumulative, guide, mean, std, low, high, rng, out):
    """Fill ``out`` with independent numbers, NaN for the guard's."""
    period = 2 * (high - low)
    for k in range(out.size):
        u = rng.random()
        i = guide[int(u * guide.size)]
        while cumulative[i] <= u:
            i += 1
        x = mean[i] + std[i] * rng.standard_normal()
        if not low <= x <= high and std[i] > 0:
            below = x < low
            away = (low - x if below else x - high) % period
            away = min(away, period - away)
            x = min(low + away, high) if below else max(high - away, low)
        out[k] = x


def draw(size: int, c: Chooser, bounds: tuple[float, float], tail: tuple[float, ...], rng: Generator) -> FloatArray:
    """``size`` independent numbers; ``tail``: the guard's mass, location and scale."""
    out = np.empty(size)
    with rng.bit_generator.lock:
        place_numbers(*c, *bounds, rng, out)
    if tail[0] > 0:
        guarded = np.flatnonzero(np.isnan(out))
        out[guarded] = tail[1] + tail[2] * rng.standard_t(3, guarded.size)
    return out
