"""One EM step on a finely split mixture: local corrections where a parametric fit is wrong in detail.

Component k of the fit p is split into Gaussians of alpha times its standard deviation,

    N(m_k, s_k^2) = sum_i h_i N(m_k + d_i s_k, (alpha s_k)^2),    h_i ~ exp(-d_i^2 / (2 (1 - alpha^2))),

with places d_i spaced by 5/4 alpha, which leaves p as it is to 1e-5, and then the weights of the pieces take one EM
step, the papers' one-iteration rule from a good start. With A_ij the probability of cell j under piece i, counts c_j,

    w_i <- w_i sum_j (c_j / N) A_ij / p_j,        p' = sum_i w_i A_i.

So p' is p times the data's ratio to p, smoothed over sqrt(2) alpha s_k: detail at the scale of whatever component is
at hand. Smoothing the ratio and not the data takes out most of a kernel estimate's bias, and weights stay positive.

Leaving out one point of cell j changes log p'_j, to first order, by

    l'_j = S_jj / (N p_j) + l_j - (S L)_jj,     S_jj' = sum_i w_i A_ij A_ij' / p_j,   l_j = L_jj,   L = J^T F^-1 J

with J_j = d log p_j / d theta and F their information: the smoother's own part, and the part of the fit below it that
the smoother does not repair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.auto.cells import Interval, cell_probabilities, reflect
from gaussmix.density.auto.scoring import Likelihood, Mixture, jacobian
from gaussmix.density.stacking import Prediction

FloatArray = NDArray[np.float64]

_REACH = 5.0  # standard deviations of a component that its pieces cover
_SPACING = 1.25  # of pieces, in their standard deviations
_OPTIMISM = 1.25  # leverages times this: components were also chosen with the same data
_LARGEST_LEVERAGE = 4.0


@dataclass(frozen=True)
class Influence:
    """What a point does to a fit at its maximum of likelihood, cell by cell."""

    p: FloatArray
    """(m,) probabilities of the cells."""
    slopes: FloatArray
    """J, (3 K, m)."""
    response: FloatArray
    """F^-1 J, (3 K, m)."""

    @property
    def leverage(self) -> FloatArray:
        """(m,) by how much leaving one point of a cell out lowers its log-probability."""
        return np.einsum("kj,kj->j", self.slopes, self.response)


def influence(likelihood: Likelihood, mixture: Mixture) -> Influence:
    """Of a mixture whose weights sum to 1."""
    p, slopes = jacobian(likelihood, mixture)
    slopes = slopes / np.maximum(p, np.finfo(float).tiny)
    slopes[: len(mixture)] -= mixture.weights[:, None]
    information = (slopes * likelihood.counts) @ slopes.T
    information[np.diag_indices_from(information)] += 1e-9 * (np.trace(information) / len(information) + 1)
    return Influence(p, slopes, np.asarray(np.linalg.solve(information, slopes), dtype=np.float64))


def predict(mixture: Mixture, found: Influence) -> Prediction:
    """The mixture as it is."""
    lever = np.clip(_OPTIMISM * found.leverage, 0, _LARGEST_LEVERAGE)
    return Prediction(mixture.weights, mixture.means, mixture.stds, found.p, found.p * np.exp(-lever))


def sharpened(likelihood: Likelihood, mixture: Mixture, found: Influence, alpha: float) -> Prediction:
    """The mixture after the step; its weights sum to 1."""
    w, means, stds = _split(mixture, alpha, likelihood.bounds)
    A = cell_probabilities(likelihood.edges, means, stds, likelihood.bounds)
    seen = likelihood.counts > 0
    p = np.maximum(found.p, np.finfo(float).tiny)
    moved = w * (A[:, seen] @ (likelihood.counts[seen] / likelihood.n / p[seen]))
    result = moved @ A + likelihood.background
    own = w @ (A * A) / (likelihood.n * p)
    smoothed_slopes = ((found.slopes @ A.T) * w) @ A / p
    repaired = np.einsum("kj,kj->j", smoothed_slopes, found.response)
    lever = np.maximum(_OPTIMISM * (found.leverage - repaired), 0) + own / np.maximum(result, np.finfo(float).tiny)
    without = result * np.exp(-np.clip(lever, 0, _LARGEST_LEVERAGE))
    return Prediction(moved / moved.sum(), means, stds, result, without)


def _split(mixture: Mixture, alpha: float, bounds: Interval) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and deviations of the pieces; means beyond a bound are reflected, which leaves the density."""
    rest = float(np.sqrt(1 - alpha * alpha))
    step = _SPACING * alpha
    half = math.ceil(_REACH * rest / step)
    place = step * np.arange(-half, half + 1)
    share: FloatArray = np.exp(-0.5 * np.square(place / rest))
    share /= share.sum()
    means = mixture.means[:, None] + place * mixture.stds[:, None]
    return (
        np.outer(mixture.weights, share).ravel(),
        reflect(means.ravel(), bounds),
        np.repeat(alpha * mixture.stds, len(place)),
    )
