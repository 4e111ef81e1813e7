"""Fewer Gaussians for nearly the same mixture.

Pairs of Gaussians are merged, mean and variance kept, the cheapest pair first. A merger costs (Runnalls 2007)

    B_ij = [ (w_i + w_j) log s_ij^2 - w_i log s_i^2 - w_j log s_j^2 ] / 2,

a bound on what it adds to the Kullback-Leibler divergence, here times 1 + (s_ij / spread)^2, so that far tails, which
count for Wasserstein distances, are not merged first. Some steps of Fisher scoring (`auto.scoring`) then bring the
Gaussians that are left nearer to the original,

    max over w, m, s of  sum_j p_j log q_j,      p_j, q_j: probabilities of cells under the original and under them.

How far that is from the original is not hoped for but bounded: F and G rise, so that between x_j and x_(j+1)

    |F - G| <= max(F_(j+1) - G_j, G_(j+1) - F_j),    and    W1 = int |F - G| dx.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gaussmix._typing import FloatArray, IntArray
from gaussmix.density._mixture import exact
from gaussmix.density._mixture.distribution import Distribution1D
from gaussmix.density.reflection import reflect

if TYPE_CHECKING:
    from gaussmix.density.auto.scoring import Likelihood
    from gaussmix.density.mixture import GaussianMixture1D

MOST_PAIRED = 2048  # Gaussians of which all pairs are looked at; of more, neighbours are merged first
_SCORING_STEPS, _FEWEST_STEPS = 30, 3
_SCORING_WORK = 1e7  # cells times squared number of Gaussians, up to which all steps are taken
_CELLS = 1024
_MANY = 1e9  # points: steps end where they gain less than 1e-11 nats a point
_REFINED = 3  # searches for fewer once enough are known, and these are many
_FIRST, _POWER = 24, 2.5  # Gaussians that are tried first; distances fall about as the number to this power
_LEAST_WEIGHT = 1e-14
_BACKGROUND = 1e-20  # of the points, where there are no Gaussians yet
_LEAST_STD = 1e-3  # of what it was
_COARSE, _FINE = 1 << 15, 1 << 17  # panels of a certificate
_SMALLEST = 1e-75  # unit of data that are simplified as they are
_ROUNDING = 1e-12  # of values of distribution functions

SPREAD = 2 * 1.6448536269514722  # of a Gaussian, standard deviations between its quantiles .05 and .95
RELATIVE = 1e-3  # of the spread: the tolerance where none is given

Gaussians = tuple[FloatArray, FloatArray, FloatArray]  # weights with sum 1, means, variances (n,)


class Simplified(NamedTuple):
    """A mixture of fewer Gaussians, and an upper bound on its Wasserstein distance W1 to the original."""

    mixture: GaussianMixture1D
    distance: float


def cells_of(law: GaussianMixture1D) -> Likelihood:
    """A mixture without bounds as `_MANY` points in cells, half of them even, half of equal probability."""
    from gaussmix.density.auto.scoring import Likelihood

    even = np.linspace(*exact.extent(law._pieces), _CELLS // 2)
    edges = np.unique(np.concatenate([even, law.ppf(np.linspace(0, 1, _CELLS // 2)[1:-1])]))
    counts = _MANY * np.maximum(np.diff(law.cdf(edges)), 0.0)  # rounding may lead below
    return Likelihood(edges, counts, _BACKGROUND * counts, (-math.inf, math.inf))


def merge_order(g: Gaussians, spread: float) -> list[tuple[int, int]]:
    """Pairs (i, j) in the order in which j is merged into i, until one is left."""
    w, m, v = (each.copy() for each in g)
    n = w.size
    order = _merge_neighbours(w, m, v, spread) if n > MOST_PAIRED else []
    alive = np.setdiff1d(np.arange(n), [j for _, j in order])
    w, m, v, names = w[alive], m[alive], v[alive], alive
    n = names.size
    cost = np.full((n, n), math.inf)
    for i in range(n - 1):
        cost[i, i + 1 :] = cost[i + 1 :, i] = _cost(w, m, v, i, np.arange(i + 1, n), spread)
    partner = cost.argmin(1)
    least = cost[np.arange(n), partner]
    left = np.ones(n, bool)
    for _ in range(n - 1):
        i = int(least.argmin())
        j = int(partner[i])
        order.append((int(names[i]), int(names[j])))
        w[i], m[i], v[i] = _merged(w, m, v, i, j)
        left[j] = False
        cost[j], cost[:, j], least[j] = math.inf, math.inf, math.inf
        others = np.flatnonzero(left)
        others = others[others != i]
        new = _cost(w, m, v, i, others, spread)
        cost[i, others] = cost[others, i] = new
        nearer = new < least[others]
        stale = others[~nearer & ((partner[others] == i) | (partner[others] == j))]
        least[others[nearer]], partner[others[nearer]] = new[nearer], i
        stale = np.append(stale, i)
        partner[stale] = cost[stale].argmin(1)
        least[stale] = cost[stale, partner[stale]]
    return order


def _merge_neighbours(w: FloatArray, m: FloatArray, v: FloatArray, spread: float) -> list[tuple[int, int]]:
    """Merge neighbours, at most half of all at once, in place until `MOST_PAIRED` are left."""
    order: list[tuple[int, int]] = []
    alive = np.argsort(m)
    while alive.size > MOST_PAIRED:
        first, second = alive[:-1:2], alive[1::2]
        cheapest = np.argsort(_cost(w, m, v, first, second, spread))[
            : min(alive.size - MOST_PAIRED, first.size // 2 + 1)
        ]
        i, j = first[cheapest], second[cheapest]
        w[i], m[i], v[i] = _merged(w, m, v, i, j)
        order += list(zip(i.tolist(), j.tolist(), strict=True))
        alive = alive[~np.isin(alive, j)]
        alive = alive[np.argsort(m[alive])]
    return order


def _merged(w: FloatArray, m: FloatArray, v: FloatArray, i: IntArray | int, j: IntArray | int) -> Gaussians:
    total = w[i] + w[j]
    a, b = w[i] / total, w[j] / total
    return total, a * m[i] + b * m[j], a * v[i] + b * v[j] + a * b * (m[i] - m[j]) ** 2


def _cost(w: FloatArray, m: FloatArray, v: FloatArray, i: IntArray | int, j: IntArray, spread: float) -> FloatArray:
    total, _, variance = _merged(w, m, v, i, j)
    runnalls = 0.5 * (total * np.log(variance) - w[i] * np.log(v[i]) - w[j] * np.log(v[j]))
    return np.maximum(runnalls, 0.0) * (1 + variance / spread**2)


def merge(g: Gaussians, order: list[tuple[int, int]], k: int) -> Gaussians:
    """The k Gaussians that are left after the first n - k mergers."""
    w, m, v = g
    label = np.arange(w.size)
    for i, j in reversed(order[: w.size - k]):
        label[j] = label[i]
    _, label = np.unique(label, return_inverse=True)
    weight = np.bincount(label, w).astype(np.float64)
    mean = np.bincount(label, w * m) / weight
    return weight, mean, np.bincount(label, w * (v + (m - mean[label]) ** 2)) / weight


def polish(g: Gaussians, target: Likelihood) -> Gaussians:
    """Gaussians of a greater likelihood of the target's cells, by Fisher scoring."""
    from gaussmix.density.auto.scoring import Mixture, refine  # SciPy's linear algebra takes long to load

    w, m, v = g
    stds = np.sqrt(v)
    steps = _SCORING_STEPS * _SCORING_WORK / (target.counts.size * w.size**2)
    steps = round(min(max(steps, _FEWEST_STEPS), _SCORING_STEPS))
    found, _ = refine(target, Mixture(w, m, stds, _LEAST_STD * stds), steps)
    used = found.weights > _LEAST_WEIGHT
    return found.weights[used] / found.weights[used].sum(), found.means[used], found.stds[used] ** 2


def bound_distance(first: Distribution1D, second: Distribution1D, ends: tuple[float, float], panels: int) -> float:
    """An upper bound on the Wasserstein distance W1 of two distributions next to all of which lies within ``ends``.

    Panels are narrow where both have much mass: their number for a given error is then least.
    """
    q05, centre, q95 = first.ppf([0.05, 0.5, 0.95])
    spread = (q95 - q05) / SPREAD
    first_end, last_end = np.arcsinh((np.array(ends) - centre) / spread).tolist()
    even = centre + spread * np.sinh(np.linspace(first_end, last_end, panels // 16))
    q = np.linspace(0, 1, panels // 16)[1:-1]
    x = np.unique(np.clip(np.concatenate([even, first.ppf(q), second.ppf(q), ends]), *ends))
    slack = np.sqrt(np.maximum(np.diff(x) * (np.diff(first.cdf(x)) + np.diff(second.cdf(x))), 0.0))
    parts = np.ceil(slack * panels / slack.sum()).astype(np.int64).clip(1)
    within = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    x = np.append(np.repeat(x[:-1], parts) + within * np.repeat(np.diff(x) / parts, parts), x[-1])
    F, G = first.cdf(x), second.cdf(x)
    most = np.maximum(F[1:] - G[:-1], G[1:] - F[:-1]) + _ROUNDING
    return float(np.diff(x) @ np.maximum(most, 0.0))


def simplify(law: GaussianMixture1D, k: int | None, tolerance: float | None) -> Simplified:
    """A mixture of ``k`` Gaussians, or of the fewest found within ``tolerance``, and a bound on its distance W1."""
    if k is not None and tolerance is not None:
        raise ValueError("k and tolerance are given; give only one")
    if k is not None and not (k == int(k) and k >= 1):
        raise ValueError(f"k is {k}; it must be a whole number, at least 1")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must be at least 0")
    unit = 2.0 ** round(math.log2(float(law.stds.max())))
    if not _SMALLEST < unit < 1 / _SMALLEST:  # squares would not be numbers
        there = None if tolerance is None else tolerance / unit
        fewer = simplify(law.affine(1 / unit), k, there)
        return Simplified(fewer.mixture.affine(unit), fewer.distance * unit)
    used = law.weights > 0
    w, m, v = law.weights[used], law.means[used], law.stds[used] ** 2
    make, n = type(law), w.size
    original, unfolded = make(w, m, np.sqrt(v), bounds=law.bounds), make(w, m, np.sqrt(v))
    spread = float(np.subtract(*unfolded.ppf([0.95, 0.05]))) / SPREAD
    order, target = merge_order((w, m, v), spread), cells_of(unfolded)

    def candidate(k: int) -> GaussianMixture1D:
        weights, means, variances = polish(merge((w, m, v), order, k), target)
        centre = weights @ means
        scale = math.sqrt(unfolded.var() / (weights @ (variances + (means - centre) ** 2)))
        means, stds = unfolded.mean() + scale * (means - centre), scale * np.sqrt(variances)
        if law.bounds != (-math.inf, math.inf):
            means = reflect(means, *law.bounds)
            alone = [make([1.0], [mean], std, bounds=law.bounds) for mean, std in zip(means, stds, strict=True)]
            weights = _with_moments(weights, alone, original)
        return make(weights, means, stds, bounds=law.bounds, tail=law.tail, atoms=law.atoms)

    def distance(found: GaussianMixture1D, panels: int) -> float:
        plain = make(found.weights, found.means, found.stds, bounds=law.bounds)
        ends = np.array([exact.extent(each._pieces) for each in (original, plain)])
        ends = float(ends[:, 0].min()), float(ends[:, 1].max())
        return law._rest * (1 - law.tail.mass) * bound_distance(original, plain, ends, panels)

    if k is not None:
        found = candidate(k) if k < n else law
    else:
        allowed = RELATIVE * spread if tolerance is None else tolerance
        found = _fewest(candidate, lambda each: distance(each, _COARSE), allowed, n) or law
    return Simplified(found, 0.0 if found is law else distance(found, _FINE))


def _fewest(
    candidate: Callable[[int], GaussianMixture1D],
    distance: Callable[[GaussianMixture1D], float],
    allowed: float,
    n: int,
) -> GaussianMixture1D | None:
    """A mixture within the ``allowed`` distance of about as few Gaussians as there is one, None for n or more.

    The next number is where a power law through the last distance says, but between those known to be too few and
    enough; the search ends when these are near to each other.
    """
    few, enough, best = 0, n, None
    k = min(_FIRST, n - 1)
    refined = 0
    while few < k < enough and (refined <= _REFINED or enough <= _FIRST):
        found = candidate(k)
        there = distance(found)
        if there <= allowed:
            enough, best = k, found
        else:
            few = k
        aim = k * (there / max(0.8 * allowed, 1e-300)) ** (1 / _POWER)
        if best is None:
            k = int(min(max(aim, 1.25 * k + 1), 4 * k, n - 1))
        else:
            refined += 1
            if enough - few <= 1 + enough // 8:
                break
            margin = (enough - few) // 8
            k = int(min(max(aim, few + 1 + margin), enough - 1 - margin))
    return best


def _with_moments(weights: FloatArray, each: list[GaussianMixture1D], original: GaussianMixture1D) -> FloatArray:
    """Weights changed so that mean and variance are the original's; unchanged where none do so."""
    mean, std = original.mean(), original.std()
    away = (np.array([law.mean() for law in each]) - mean) / std
    second = (np.array([law.std() for law in each]) / std) ** 2 + away**2
    powers, wanted = np.stack([np.ones(weights.size), away, second - 1]), np.array([1.0, 0.0, 0.0])
    new = weights * (np.linalg.lstsq((powers * weights) @ powers.T, wanted, rcond=None)[0] @ powers)
    return new if new.min() > 0 and np.abs(powers @ new - wanted).max() < 1e-9 else weights
