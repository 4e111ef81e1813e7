"""Fits of different detail, each with what it predicts of a point left out, averaged in the shares that predict best.

**Sharpening.** One EM step on a finely split mixture corrects locally where a parametric fit is wrong in detail.
Component k of the fit p is split into Gaussians of alpha times its standard deviation,

    N(m_k, s_k^2) = sum_i h_i N(m_k + d_i s_k, (alpha s_k)^2),    h_i ~ exp(-d_i^2 / (2 (1 - alpha^2))),

with places d_i spaced by 5/4 alpha, which leaves p as it is to 1e-5, and then the weights of the pieces take one EM
step, the papers' one-iteration rule from a good start. With A_ij the probability of cell j under piece i, counts c_j,

    w_i <- w_i sum_j (c_j / N) A_ij / p_j,        p' = sum_i w_i A_i.

So p' is p times the data's ratio to p, smoothed over sqrt(2) alpha s_k: detail at the scale of whatever component is
at hand. Smoothing the ratio and not the data takes out most of a kernel estimate's bias, and weights stay positive.

**Leaving out** one point of cell j changes log p'_j, to first order, by

    l'_j = S_jj / (N p_j) + l_j - (S L)_jj,     S_jj' = sum_i w_i A_ij A_ij' / p_j,   l_j = L_jj,   L = J^T F^-1 J

with J_j = d log p_j / d theta and F their information: the smoother's own part, and the part of the fit below it that
the smoother does not repair.

**Stacking.** For fit a let p_aj be the probability of cell j, and q_aj that from all points but one of cell j. Its
effective number of parameters is dof_a = sum_j c_j log(p_aj / q_aj). The shares beta >= 0, sum 1, maximise the
leave-one-out likelihood

    sum_j c_j log sum_a beta_a q_aj exp(-sqrt(max(dof_a - dof_0, 0)) / N).

The exponent stands for the noise of that likelihood, which favours fits with many parameters by about the square root
of their number. Fit 0, the simplest, stays alone unless the shares gain at least (N / 500)^(1/3) nats over it: what
there is to gain grows faster where that fit is wrong, and does not grow where it is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.auto.scoring import Likelihood, Mixture, jacobian, sparse_probabilities
from gaussmix.density.interior_point import maximum_likelihood_weights
from gaussmix.density.reflection import reflect

_REACH = 5.0  # standard deviations of a component that its pieces cover
_SPACING = 1.25  # of pieces, in their standard deviations
_OPTIMISM = 1.25  # leverages times this: components were also chosen with the same data
_LARGEST_LEVERAGE = 4.0
_LEAST_SHARE = 0.02
_ONE_NAT_AT = 500
_TINY = 1e-150  # of a probability by which is divided, also twice


@dataclass(frozen=True)
class Prediction:
    """A fit: components (n,) and what they say about the cells (m,)."""

    weights: FloatArray
    means: FloatArray
    stds: FloatArray
    p: FloatArray  # probabilities of the cells
    without: FloatArray  # the same from all points but one of the cell


@dataclass(frozen=True)
class Influence:
    """What a point does to a fit at its maximum of likelihood, cell by cell."""

    p: FloatArray  # (m,) probabilities of the cells
    slopes: FloatArray  # J, (3 K, m)
    response: FloatArray  # F^-1 J, (3 K, m)

    @property
    def leverage(self) -> FloatArray:
        """(m,) by how much leaving one point of a cell out lowers its log-probability."""
        return np.einsum("kj,kj->j", self.slopes, self.response)


def influence(likelihood: Likelihood, mixture: Mixture) -> Influence:
    """Of a mixture whose weights sum to 1."""
    p, slopes = jacobian(likelihood, mixture)
    slopes = slopes / np.maximum(p, _TINY)
    slopes[: len(mixture)] -= mixture.weights[:, None]
    information = (slopes * likelihood.counts) @ slopes.T
    information[np.diag_indices_from(information)] += 1e-9 * (np.trace(information) / len(information) + 1)
    return Influence(p, slopes, np.asarray(np.linalg.solve(information, slopes), dtype=np.float64))


def predict(mixture: Mixture, found: Influence) -> Prediction:
    """The mixture as it is."""
    lever = np.clip(_OPTIMISM * found.leverage, 0, _LARGEST_LEVERAGE)
    return Prediction(mixture.weights, mixture.means, mixture.stds, found.p, found.p * np.exp(-lever))


def sharpen(likelihood: Likelihood, mixture: Mixture, found: Influence, alpha: float) -> Prediction:
    """The mixture after the EM step; its weights sum to 1."""
    w, means, stds = split(mixture, alpha)
    means = reflect(means, *likelihood.bounds)  # which leaves the density
    rows = sparse_probabilities(likelihood.edges, means, stds, likelihood.bounds)
    A = rows.toarray()
    p = np.maximum(found.p, _TINY)
    moved = w * (rows @ (likelihood.counts / likelihood.n / p))
    result = moved @ rows + likelihood.background
    own = w @ rows.power(2) / (likelihood.n * p)
    smoothed_slopes = ((found.slopes @ A.T) * w) @ A / p
    repaired = np.einsum("kj,kj->j", smoothed_slopes, found.response)
    lever = np.maximum(_OPTIMISM * (found.leverage - repaired), 0) + own / np.maximum(result, _TINY)
    without = result * np.exp(-np.clip(lever, 0, _LARGEST_LEVERAGE))
    total = moved.sum()  # 0 where every point is too far from all components to count
    return Prediction(moved / total if total > 0 else w, means, stds, result, without)


def split(mixture: Mixture, alpha: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and deviations of the pieces."""
    rest = float(np.sqrt(1 - alpha * alpha))
    step = _SPACING * alpha
    half = math.ceil(_REACH * rest / step)
    place = step * np.arange(-half, half + 1)
    share: FloatArray = np.exp(-0.5 * np.square(place / rest))
    share /= share.sum()
    means = mixture.means[:, None] + place * mixture.stds[:, None]
    return np.outer(mixture.weights, share).ravel(), means.ravel(), np.repeat(alpha * mixture.stds, len(place))


def stack(counts: FloatArray, predictions: Sequence[Prediction]) -> FloatArray:
    """The shares (A,) of the predictions, for counts (m,) in the cells."""
    seen = counts > 0
    c = counts[seen]
    n = c.sum()
    without = np.array([prediction.without[seen] for prediction in predictions])
    dof = np.array([c @ np.log(prediction.p[seen]) for prediction in predictions]) - np.log(without) @ c
    columns = without * np.exp(-np.sqrt(np.maximum(dof - dof[0], 0)) / n)[:, None]
    shares = maximum_likelihood_weights(columns.T, c).weights
    shares[shares < _LEAST_SHARE] = 0
    shares /= shares.sum()
    gain = c @ np.log(shares @ columns) - c @ np.log(columns[0])
    return shares if gain >= (n / _ONE_NAT_AT) ** (1 / 3) else np.eye(len(predictions))[0]
