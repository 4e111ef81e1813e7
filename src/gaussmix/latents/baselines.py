r"""Rivals of `ExpansionSampler`: a mixture of Gaussians with full covariances in each class.

    p(z | y) = sum_k w_k N(z; m_k, S_k),  S_k = A_k A_k'

`EMSampler` fits it by expectation maximisation, with scikit-learn's `GaussianMixture`; with one component it is the
Gaussian. `SlicedWassersteinSampler` descends the sliced Wasserstein distance to the rows (Kolouri, Rohde and Hoffmann,
Sliced Wasserstein Distance for Learning Gaussian Mixture Models, CVPR 2018; E's "SW-GMM"): on a random direction
:math:`\theta` the mixture has the slice :math:`q = \sum_k w_k N(\theta \cdot m_k, s_k^2)` with
:math:`s_k = |A_k' \theta|`, and

.. math:: L = E_\theta W_2^2(q, \text{the projected rows}), \quad
    \frac{\partial W_2^2}{\partial q}(t) = \varphi(t), \quad \varphi'(t) = 2 (t - T(t)),

where :math:`T = F_\text{rows}^{-1} \circ F_q` moves the slice onto the rows. With :math:`t = \theta \cdot m_k + s_k u`
and :math:`u` standard normal, the chain rule gives

.. math:: \frac{\partial L}{\partial (\theta \cdot m_k)} = w_k E\, \varphi'(t), \quad
    \frac{\partial L}{\partial s_k} = w_k E\, u \varphi'(t), \quad \frac{\partial L}{\partial w_k} = E\, \varphi(t),

expectations by Gauss-Hermite quadrature. Each step has fresh directions and holds T fixed; RMSProp, from k-means.
Differs from the paper: a step moves the factors :math:`A_k` and the logarithms of the weights, so that covariances stay
positive and weights on the simplex without projecting them back; it looks at some of the rows; the rate falls along a
cosine. Of MNIST's latents, 32 numbers a row, the descent from k-means leaves samples about as good as those of its
start.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid
from scipy.linalg import solve_triangular
from scipy.special import log_softmax, logsumexp, ndtr, roots_hermitenorm, softmax
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state

from gaussmix._typing import FloatArray
from gaussmix.latents._base import ClassSampler

NODES = 16  # of the quadrature over each component of a slice
ROWS = 1000  # seen in a step
RATE = 0.001
"""Of the first step, in units of the rows' standard deviation. At 0.01 the noise of the steps flattens covariances in
some directions: hardly a slice shows it, the density does."""
_MEMORY = 0.95  # of RMSProp
_TINY = 1e-12  # beside the root mean squares of gradients that are about 1
REG_COVAR = 1e-6  # added to the variances, as scikit-learn does; in units of the rows, squared


@dataclass
class FullMixture:
    """``logits`` ``(K,)``: logs of weights, plus a constant; ``means`` ``(K, D)``, ``factors`` ``(K, D, D)``: A_k."""

    logits: FloatArray
    means: FloatArray
    factors: FloatArray

    @property
    def weights(self) -> FloatArray:
        """``(K,)``."""
        return softmax(self.logits)

    def logpdf(self, z: FloatArray) -> FloatArray:
        """``(M, D)`` to ``(M,)``, if the factors are lower triangles."""
        logs = np.tile(log_softmax(self.logits), (len(z), 1))
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            standard = solve_triangular(factor, (z - mean).T, lower=True)
            log_det = np.log(2 * np.pi) * len(mean) / 2 + np.log(np.diag(factor)).sum()
            logs[:, k] -= log_det + (standard**2).sum(0) / 2
        return np.asarray(logsumexp(logs, axis=1))

    def draw(self, count: int, rng: np.random.RandomState) -> FloatArray:
        """``(count, D)``."""
        terms = rng.choice(len(self.weights), count, p=self.weights)
        drawn = rng.standard_normal((count, self.means.shape[1]))
        for k in np.unique(terms):
            drawn[terms == k] = self.means[k] + drawn[terms == k] @ self.factors[k].T
        return drawn


class _MixtureSampler(ClassSampler):
    """``parts_`` are one `FullMixture` a class."""

    parts_: list[FullMixture]
    n_components: int
    random_state: Any

    def _check_settings(self) -> int:
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components}; give at least 1")
        return max(2, self.n_components)

    def _fit_classes(self, by_class: list[FloatArray]) -> list[FullMixture]:
        rng = check_random_state(self.random_state)
        return [self._fit_class(own, rng) for own in by_class]

    @abstractmethod
    def _fit_class(self, rows: FloatArray, rng: np.random.RandomState) -> FullMixture: ...


class EMSampler(_MixtureSampler):
    """Maximum likelihood by expectation maximisation from k-means, `sklearn.mixture.GaussianMixture`.

    Parameters
    ----------
    n_components : int, default 10
        Of each class; 1 is the Gaussian with the rows' mean and covariance.
    random_state : int, RandomState or None
        Of k-means.

    Attributes
    ----------
    classes_, shares_, parts_, n_features_in_
        As of `ExpansionSampler`; a part is one mixture.
    """

    def __init__(self, n_components: int = 10, *, random_state: Any = None):
        self.n_components = n_components
        self.random_state = random_state

    def _fit_class(self, rows: FloatArray, rng: np.random.RandomState) -> FullMixture:
        model = GaussianMixture(self.n_components, reg_covar=REG_COVAR, random_state=rng).fit(rows)
        factors = np.asarray(np.linalg.cholesky(np.asarray(model.covariances_)), float)
        return FullMixture(np.log(np.asarray(model.weights_)), np.asarray(model.means_), factors)


class SlicedWassersteinSampler(_MixtureSampler):
    """Least sliced Wasserstein distance to the rows, from k-means; see `gaussmix.latents.baselines`.

    Parameters
    ----------
    n_components : int, default 10
        Of each class.
    n_steps : int, default 300
        Of descent.
    n_projections : int, default 50
        Fresh directions in each step.
    random_state : int, RandomState or None
        Of k-means, the directions and the rows of each step.

    Attributes
    ----------
    classes_, shares_, parts_, n_features_in_
        As of `ExpansionSampler`; a part is one mixture.
    """

    def __init__(
        self, n_components: int = 10, *, n_steps: int = 300, n_projections: int = 50, random_state: Any = None
    ):
        self.n_components = n_components
        self.n_steps = n_steps
        self.n_projections = n_projections
        self.random_state = random_state

    def _check_settings(self) -> int:
        if self.n_steps < 0 or self.n_projections < 1:
            raise ValueError(f"n_steps is {self.n_steps} and n_projections {self.n_projections}; give at least 0 and 1")
        return super()._check_settings()

    def _fit_class(self, rows: FloatArray, rng: np.random.RandomState) -> FullMixture:
        found = fit_sliced_wasserstein(rows, self.n_components, self.n_steps, self.n_projections, rng)
        covariances = found.factors @ found.factors.swapaxes(1, 2) + REG_COVAR * np.eye(rows.shape[1])
        return replace(found, factors=np.linalg.cholesky(covariances))


def fit_sliced_wasserstein(
    rows: FloatArray, n_components: int, n_steps: int, n_projections: int, rng: np.random.RandomState
) -> FullMixture:
    """The mixture for rows ``(N, D)``, N at least ``n_components``."""
    centre, scale = rows.mean(0), max(float(np.sqrt(rows.var(0).mean())), np.finfo(float).tiny)
    standard = (rows - centre) / scale
    found = _k_means(standard, n_components, rng)
    squares = {name: np.zeros_like(value) for name, value in vars(found).items()}
    for step in range(n_steps):
        directions = rng.standard_normal((n_projections, rows.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        seen = standard if len(rows) <= ROWS else standard[rng.choice(len(rows), ROWS, replace=False)]
        _, gradient = sliced_loss(found, seen, directions)
        rate = RATE * (1 + np.cos(np.pi * step / n_steps)) / 2
        for name, slope in vars(gradient).items():
            squares[name] += (1 - _MEMORY) * (slope**2 - squares[name])
            unbiased = squares[name] / (1 - _MEMORY ** (step + 1))
            getattr(found, name)[...] -= rate * slope / (np.sqrt(unbiased) + _TINY)
    return FullMixture(found.logits, centre + scale * found.means, scale * found.factors)


def sliced_loss(mixture: FullMixture, rows: FloatArray, directions: FloatArray) -> tuple[float, FullMixture]:
    """L, its mean over ``directions`` ``(J, D)`` of length 1, and its gradient, for rows ``(N, D)``."""
    u, share = roots_hermitenorm(NODES)
    share = share / share.sum()
    weights = mixture.weights
    sliced = np.einsum("jd,kde->jke", directions, mixture.factors)
    deviation = np.maximum(np.linalg.norm(sliced, axis=2), np.finfo(float).tiny)  # (J, K)
    t = (directions @ mixture.means.T)[:, :, None] + deviation[:, :, None] * u  # (J, K, nodes)
    slope = 2 * (t - _moved(t, weights, directions @ mixture.means.T, deviation, np.sort(directions @ rows.T, axis=1)))
    potential = _integral(t, slope)
    to_mean = weights * (slope @ share)  # (J, K)
    to_deviation = weights * (slope @ (share * u))
    to_weight = (potential @ share).mean(0)
    gradient = FullMixture(
        logits=weights * (to_weight - weights @ to_weight),
        means=to_mean.T @ directions / len(directions),
        factors=np.einsum("jk,jd,jke->kde", to_deviation / deviation, directions, sliced) / len(directions),
    )
    return float(((slope / 2) ** 2 @ share @ weights).mean()), gradient


def _moved(
    t: FloatArray, weights: FloatArray, means: FloatArray, deviation: FloatArray, ordered: FloatArray
) -> FloatArray:
    """T(t) of t ``(J, K, nodes)`` for slices with means and deviations ``(J, K)`` and sorted rows ``(J, N)``."""
    standard = (t[..., None] - means[:, None, None]) / deviation[:, None, None]
    places = ndtr(standard) @ weights * ordered.shape[1] - 0.5
    ranks = np.arange(ordered.shape[1])
    return np.stack([np.interp(place, ranks, row) for place, row in zip(places, ordered, strict=True)])


def _integral(t: FloatArray, slope: FloatArray) -> FloatArray:
    """phi at t ``(J, K, nodes)``, up to a constant in each slice, by the trapezoid rule over all its nodes."""
    flat, values = t.reshape(len(t), -1), slope.reshape(len(t), -1)
    order = np.argsort(flat, axis=1)
    x, y = np.take_along_axis(flat, order, 1), np.take_along_axis(values, order, 1)
    phi = np.empty_like(flat)
    np.put_along_axis(phi, order, cumulative_trapezoid(y, x, axis=1, initial=0), 1)
    return phi.reshape(t.shape)


def _k_means(rows: FloatArray, n_components: int, rng: np.random.RandomState) -> FullMixture:
    """Shares, centres and spreads of clusters. Those with no more rows than dimensions take the spread of all."""
    cluster = KMeans(n_components, n_init=1, random_state=rng).fit_predict(rows)  # pyright: ignore[reportArgumentType]
    groups = [rows[cluster == k] for k in range(n_components)]
    centred = np.concatenate([own - own.mean(0) for own in groups])
    return FullMixture(
        logits=np.log([len(own) / len(rows) for own in groups]),
        means=np.stack([own.mean(0) for own in groups]),
        factors=np.stack([_factor(own if len(own) > rows.shape[1] else centred) for own in groups]),
    )


def _factor(rows: FloatArray) -> FloatArray:
    """A with ``A A'`` the covariance of ``rows``."""
    variance, axes = np.linalg.eigh(np.atleast_2d(np.cov(rows.T, bias=True)))
    return axes * np.sqrt(np.maximum(variance, 0))
