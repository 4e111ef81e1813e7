"""The terms of a joint density made of one-dimensional expansions; `gaussmix.latents.expansion` says of what.

    p(z) = sum_k w_k prod_r g_kr(a_kr . (z - m_k))

The covariance of a cluster of n rows with scatter C about its centre is shrunk towards that within all clusters,

    S_k = (C_k + s S) / (n_k - 1 + s),     S = sum_k C_k / sum_k (n_k - 1)

as if s rows of S had been seen with it (the mean of an inverse Wishart prior; Friedman 1989 for discriminants): its
axes are those of S_k. The variance along an axis is one number, which few rows tell: it is that of its own scores, with
`VARIANCE_ROWS` rows' worth of S_k's. All variances of S_k would spread what is drawn more than the rows are. The
expansions' shapes are its own from twice as many rows as dimensions on; smaller clusters take those of the scores of
all, in standard units.
Directions without variance hold a point: they are drawn as it, and a row off it has log-density minus infinity; the
density is that of the other directions.

For a file the mixtures of all terms become few arrays: all their Gaussians one after another, and how many each has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, ndtri

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.binning import HEAVY
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import histogram_weights
from gaussmix.density.standard_units import GUARD_POINTS

VARIANCE_ROWS = 4
OWN_SHAPES = 2  # a cluster has expansions of its own from this many rows a dimension
_FLAT = 1e-12  # share of the largest variance below which a direction holds a point
_QUANTILES = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995)  # as `gaussmix.density.binning.summarise`
_ROOM = 1e-12  # beyond the extremes, of the range: they lie in bins and not on edges
_OFF = 1e-6  # how far from the point, in units of the widest direction or of the values, a row is off it

# Arrays of a mixture: name -> what its elements are, or how many there are of each mixture.
_ELEMENTS = dict.fromkeys(("weights", "means", "stds"), "gaussians")
_ELEMENTS |= dict.fromkeys(("atom_positions", "atom_masses"), "atoms")
_SIZES = {"bounds": 2, "tail": 3}


@dataclass(frozen=True)
class Term:
    """One term of a class's density: ``weight``, ``mean`` ``(D,)``, ``axes`` ``(D, R)``, R ``marginals``."""

    weight: float
    mean: FloatArray
    axes: FloatArray
    marginals: tuple[GaussianMixture1D, ...]

    def logpdf(self, z: FloatArray) -> FloatArray:
        """``(M, D)`` to ``(M,)``, without the weight."""
        centred = z - self.mean
        scores = centred @ self.axes
        log = np.zeros(len(z))
        for marginal, column in zip(self.marginals, scores.T, strict=True):
            log += marginal.logpdf(column)
        if self.axes.shape[1] < len(self.mean):
            widest = max((float(marginal.std()) for marginal in self.marginals), default=0.0)
            scale = max(widest, float(np.abs(self.mean).max()))
            log[np.abs(centred - scores @ self.axes.T).max(1) > _OFF * scale] = -np.inf
        return log

    def draw(self, count: int, truncation: float | None, rng: np.random.RandomState) -> FloatArray:
        """``(count, D)``: without the tails that keep densities of far rows from being 0, and were never seen."""
        scores = np.empty((count, len(self.marginals)))
        for r, whole in enumerate(self.marginals):
            marginal = GaussianMixture1D(whole.weights, whole.means, whole.stds, bounds=whole.bounds, atoms=whole.atoms)
            if truncation is None:
                scores[:, r] = marginal.rvs(count, random_state=rng)
            else:
                scores[:, r] = marginal.ppf(0.5 + truncation * (rng.uniform(size=count) - 0.5))
        return self.mean + scores @ self.axes.T


class Terms(tuple[Term, ...]):
    """The density of a class, whose terms' weights have the sum 1."""

    def logpdf(self, z: FloatArray) -> FloatArray:
        """``(M, D)`` to ``(M,)``."""
        return np.asarray(logsumexp(np.stack([np.log(term.weight) + term.logpdf(z) for term in self], 1), axis=1))

    def draw(self, count: int, rng: np.random.RandomState, truncation: float | None = None) -> FloatArray:
        """``(count, D)``, of the central share ``truncation`` of each expansion."""
        drawn = np.empty((count, len(self[0].mean)))
        chosen = rng.choice(len(self), count, p=[term.weight for term in self])
        for k in np.unique(chosen):
            places = np.flatnonzero(chosen == k)
            drawn[places] = self[k].draw(len(places), truncation, rng)
        return drawn


def parts_of_clusters(
    rows: FloatArray, cluster: NDArray[np.intp], expansion: GMMExpansion, shrinkage: float
) -> Iterator[Term]:
    """Of rows ``(N, D)`` in clusters ``(N,)``; ``expansion`` is fitted anew to the scores of each.

    ``shrinkage``: s, above 0, also infinite.
    """
    clusters = Clusters(rows, cluster)
    small = clusters.sizes < (OWN_SHAPES * rows.shape[1] if len(clusters.sizes) > 1 else 0)
    scores, variances, axes = [], [], []
    for k, covariance in enumerate(clusters.covariances(shrinkage)):
        found, vectors = np.linalg.eigh(covariance)
        axes.append(np.ascontiguousarray(vectors[:, ::-1]))
        own, freedom = clusters.centred(k) @ axes[k], clusters.sizes[k] - 1
        variances.append(((own**2).sum(0) + VARIANCE_ROWS * found[::-1]) / (freedom + VARIANCE_ROWS))
        scores.append(own / np.sqrt(found[::-1]))
    shared = np.concatenate(scores)
    for k, size in enumerate(clusters.sizes):
        shape = shared if small[k] else scores[k]
        square = (shape**2).mean(0)
        normal = ndtri((np.arange(len(shape)) + 0.5) / len(shape))  # of an axis that no row has left its centre along
        shape = np.where(square > _FLAT, shape / np.sqrt(np.maximum(square, _FLAT)), normal[:, None])
        marginals = _expansions(shape * np.sqrt(variances[k]), expansion)
        yield Term(size / len(rows), clusters.centres[k], np.ascontiguousarray(clusters.wide @ axes[k]), marginals)


class Clusters:
    """Rows ``(N, D)`` in clusters ``(N,)``: ``sizes`` ``(K,)``, ``centres`` ``(K, D)``, what is within them.

    ``wide`` ``(D, R)`` is a basis of the directions with variance within clusters.
    """

    def __init__(self, rows: FloatArray, cluster: NDArray[np.intp]):
        names, self._place, self.sizes = np.unique(cluster, return_inverse=True, return_counts=True)
        self.centres = np.stack([rows[self._place == k].mean(0) for k in range(len(names))])
        rest = rows - self.centres[self._place]
        variance, axes = np.linalg.eigh(rest.T @ rest / len(rows))
        self.wide = axes[:, variance > _FLAT * max(float(variance[-1]), np.finfo(float).tiny)]
        self._rest = rest @ self.wide
        scatters = [self.centred(k).T @ self.centred(k) for k in range(len(names))]
        self._scatters = np.reshape(scatters, (len(names), self.wide.shape[1], self.wide.shape[1]))

    def centred(self, k: int) -> FloatArray:
        """Rows of cluster k about its centre, in the basis ``wide``: ``(n_k, R)``."""
        return self._rest[self._place == k]

    def covariances(self, shrinkage: float) -> FloatArray:
        """S_k ``(K, R, R)``."""
        within = self._scatters.sum(0) / max(1, int(self.sizes.sum()) - len(self.sizes))
        if np.isinf(shrinkage):
            return np.broadcast_to(within, self._scatters.shape)
        return (self._scatters + shrinkage * within) / (self.sizes - 1 + shrinkage)[:, None, None]

    def logpdf(self, rows: FloatArray, shrinkage: float) -> FloatArray:
        """Log-densities ``(M,)`` of rows ``(M, D)`` with Gaussians N(m_k, S_k) in place of expansions."""
        logs = np.empty((len(self.sizes), len(rows)))
        for k, covariance in enumerate(self.covariances(shrinkage)):
            factor = np.linalg.cholesky(covariance)
            standard = solve_triangular(factor, ((rows - self.centres[k]) @ self.wide).T, lower=True)
            logs[k] = np.log(self.sizes[k]) - np.log(np.diag(factor)).sum() - (standard**2).sum(0) / 2
        return np.asarray(logsumexp(logs, axis=0)) - np.log(self.sizes.sum())


def _expansions(scores: FloatArray, expansion: GMMExpansion) -> tuple[GaussianMixture1D, ...]:
    """Of each column of ``(N, R)``.

    What ``expansion.fit`` looks for before it counts, ties and values far out, is looked for in all columns at once;
    where there is none, counting is all that is left to do, and takes a seventh of the time.
    """
    ordered = np.sort(scores, axis=0)
    low, q5, q25, median, q75, q95, high = np.quantile(ordered, _QUANTILES, axis=0)
    ties = (np.diff(ordered, axis=0) == 0).mean(0) if len(ordered) > 1 else np.ones(scores.shape[1])
    plain = (ties == 0) & (ordered[-1] - ordered[0] <= HEAVY * (high - low))
    bandwidth = 0.0 if isinstance(expansion.bandwidth, str) else expansion.bandwidth
    if expansion.rule != "histogram" or not bandwidth:
        plain[:] = False
    fitted = iter(expansion.fit(scores[:, ~plain]).distributions_ if not plain.all() else ())
    scale = np.maximum(np.maximum(q75 - q25, (q95 - q5) / 3), (high - low) / 8)
    guard = GUARD_POINTS / max(len(scores), 2 * GUARD_POINTS)
    return tuple(
        _counted(column, expansion.n_components, bandwidth, (guard, float(median[r]), float(scale[r])))
        if plain[r]
        else next(fitted)
        for r, column in enumerate(ordered.T)
    )


def _counted(
    column: FloatArray, n_components: int, bandwidth: float, tail: tuple[float, float, float]
) -> GaussianMixture1D:
    """Histogram weights of a column ``(N,)`` in ascending order, without ties or values far out."""
    room = _ROOM * (column[-1] - column[0])
    low, high = float(column[0] - room), float(column[-1] + room)
    basis = GaussianBasis.spanning(low, high, n_components, bandwidth)
    counts = BinnedCounts(basis.axis()).add(column)
    return basis.mixture(histogram_weights(counts, basis), tail=tail)


def parts_to_tensors(parts: Sequence[Term]) -> dict[str, NDArray[Any]]:
    """Arrays for `parts_from_tensors`."""
    return {
        "part_weights": np.array([part.weight for part in parts]),
        "part_means": np.stack([part.mean for part in parts]),
        "part_axes": np.concatenate([part.axes.T for part in parts]),
        "n_marginals": np.array([len(part.marginals) for part in parts]),
        **mixtures_to_tensors([marginal for part in parts for marginal in part.marginals]),
    }


def parts_from_tensors(tensors: Mapping[str, NDArray[Any]]) -> list[Term]:
    """The parts of `parts_to_tensors`. Raises KeyError for a missing array, ValueError for wrong values."""
    marginals, sizes = mixtures_from_tensors(tensors), tensors["n_marginals"]
    ends = np.cumsum(sizes)
    if len(sizes) and (sizes.min() < 0 or ends[-1] != len(marginals)):
        raise ValueError(f"{len(marginals)} expansions do not fit parts of {sizes.tolist()}")
    return [
        Term(float(weight), mean, np.ascontiguousarray(tensors["part_axes"][rows].T), marginals[rows])
        for weight, mean, rows in zip(
            tensors["part_weights"], tensors["part_means"], map(slice, ends - sizes, ends), strict=True
        )
    ]


def mixtures_to_tensors(mixtures: Sequence[GaussianMixture1D]) -> dict[str, NDArray[Any]]:
    """Arrays for `mixtures_from_tensors`; none of their names starts with "part"."""
    each = [mixture.to_tensors() for mixture in mixtures]
    return {
        **{name: np.concatenate([own[name] for own in each] or [np.empty(0)]) for name in _ELEMENTS},
        **{name: np.reshape([own[name] for own in each], (-1, size)) for name, size in _SIZES.items()},
        "n_gaussians": np.array([len(own["weights"]) for own in each], np.int64),
        "n_atoms": np.array([len(own["atom_masses"]) for own in each], np.int64),
    }


def mixtures_from_tensors(tensors: Mapping[str, NDArray[Any]]) -> tuple[GaussianMixture1D, ...]:
    """The mixtures of `mixtures_to_tensors`. Raises KeyError for a missing array, ValueError for wrong values."""
    own = {name: np.split(tensors[name], np.cumsum(tensors[f"n_{kind}"])[:-1]) for name, kind in _ELEMENTS.items()} | {
        name: tensors[name] for name in _SIZES
    }
    return tuple(
        GaussianMixture1D.from_tensors({name: arrays[i] for name, arrays in own.items()})
        for i in range(len(tensors["n_gaussians"]))
    )
