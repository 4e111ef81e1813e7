r"""A mixture of Gaussians by descending the sliced Wasserstein distance to rows of data.

Kolouri, Rohde and Hoffmann, Sliced Wasserstein Distance for Learning Gaussian Mixture Models, CVPR 2018: on a random
direction :math:`\theta` the mixture has the slice :math:`q = \sum_k w_k N(\theta \cdot m_k, s_k^2)` with
:math:`s_k = |A_k' \theta|`, and

.. math:: L = E_\theta W_2^2(q, \text{the projected rows}), \quad
    \frac{\partial W_2^2}{\partial q}(t) = \varphi(t), \quad \varphi'(t) = 2 (t - T(t)),

where :math:`T = F_\text{rows}^{-1} \circ F_q` moves the slice onto the rows. With :math:`t = \theta \cdot m_k + s_k u`
and :math:`u` standard normal, the chain rule gives

.. math:: \frac{\partial L}{\partial (\theta \cdot m_k)} = w_k E\, \varphi'(t), \quad
    \frac{\partial L}{\partial s_k} = w_k E\, u \varphi'(t), \quad \frac{\partial L}{\partial w_k} = E\, \varphi(t),

expectations by Gauss-Hermite quadrature. Each step has fresh directions and holds T fixed; RMSProp, from k-means.
Differs from the paper: a step moves the factors :math:`A_k` and the logarithms of the weights, so
that covariances stay positive and weights on the simplex without projecting them back; it looks at some of the rows;
the rate falls along a cosine.

Of MNIST's latents, 32 numbers a row, the descent from k-means leaves samples about as good as those of its start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, roots_hermitenorm, softmax
from sklearn.cluster import KMeans

Array = NDArray[np.float64]

NODES = 16
"""Of the quadrature over each component of a slice."""
ROWS = 1000
"""Seen in a step."""
RATE = 0.001
"""Of the first step, in units of the rows' standard deviation. At 0.01 the noise of the steps flattens covariances in
some directions: hardly a slice shows it, the density does."""
_MEMORY = 0.95  # of RMSProp
_TINY = 1e-12  # beside the root mean squares of gradients that are about 1


@dataclass
class Parameters:
    """``logits`` ``(K,)``: logs of the weights, plus a constant; ``means`` ``(K, D)``, ``factors`` ``(K, D, D)``."""

    logits: Array
    means: Array
    factors: Array

    @property
    def weights(self) -> Array:
        """``(K,)``."""
        return softmax(self.logits)


def fit_sliced_wasserstein(
    rows: Array, n_components: int, n_steps: int, n_projections: int, rng: np.random.RandomState
) -> Parameters:
    """The mixture for rows ``(N, D)``, N at least ``n_components``."""
    centre, scale = rows.mean(0), max(float(np.sqrt(rows.var(0).mean())), np.finfo(float).tiny)
    standard = (rows - centre) / scale
    found = _k_means(standard, n_components, rng)
    squares = Parameters(np.zeros_like(found.logits), np.zeros_like(found.means), np.zeros_like(found.factors))
    for step in range(n_steps):
        directions = rng.standard_normal((n_projections, rows.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        seen = standard if len(rows) <= ROWS else standard[rng.choice(len(rows), ROWS, replace=False)]
        _, gradient = sliced_loss(found, seen, directions)
        rate = RATE * (1 + np.cos(np.pi * step / n_steps)) / 2
        for name, slope in vars(gradient).items():
            square = getattr(squares, name)
            square += (1 - _MEMORY) * (slope**2 - square)
            unbiased = square / (1 - _MEMORY ** (step + 1))
            getattr(found, name)[...] -= rate * slope / (np.sqrt(unbiased) + _TINY)
    return Parameters(found.logits, centre + scale * found.means, scale * found.factors)


def sliced_loss(mixture: Parameters, rows: Array, directions: Array) -> tuple[float, Parameters]:
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
    gradient = Parameters(
        logits=weights * (to_weight - weights @ to_weight),
        means=to_mean.T @ directions / len(directions),
        factors=np.einsum("jk,jd,jke->kde", to_deviation / deviation, directions, sliced) / len(directions),
    )
    return float(((slope / 2) ** 2 @ share @ weights).mean()), gradient


def _moved(t: Array, weights: Array, means: Array, deviation: Array, ordered: Array) -> Array:
    """T(t) of t ``(J, K, nodes)`` for slices with means and deviations ``(J, K)`` and sorted rows ``(J, N)``."""
    standard = (t[..., None] - means[:, None, None]) / deviation[:, None, None]
    place = np.clip((ndtr(standard) @ weights) * ordered.shape[1] - 0.5, 0, ordered.shape[1] - 1).reshape(len(t), -1)
    below = np.minimum(place.astype(np.intp), max(ordered.shape[1] - 2, 0))
    low, high = (np.take_along_axis(ordered, np.minimum(i, ordered.shape[1] - 1), 1) for i in (below, below + 1))
    return (low + (place - below) * (high - low)).reshape(t.shape)


def _integral(t: Array, slope: Array) -> Array:
    """phi at t ``(J, K, nodes)``, up to a constant in each slice, by the trapezoid rule over all its nodes."""
    flat, values = t.reshape(len(t), -1), slope.reshape(len(t), -1)
    order = np.argsort(flat, axis=1)
    x, y = np.take_along_axis(flat, order, 1), np.take_along_axis(values, order, 1)
    steps = np.diff(x, axis=1) * (y[:, 1:] + y[:, :-1]) / 2
    phi = np.empty_like(flat)
    np.put_along_axis(phi, order, np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0))), 1)
    return phi.reshape(t.shape)


def _k_means(rows: Array, n_components: int, rng: np.random.RandomState) -> Parameters:
    """Shares, centres and spreads of clusters. Those with no more rows than dimensions take the spread of all."""
    cluster = KMeans(n_components, n_init=1, random_state=rng).fit_predict(rows)  # pyright: ignore[reportArgumentType]
    groups = [rows[cluster == k] for k in range(n_components)]
    centred = np.concatenate([own - own.mean(0) for own in groups])
    return Parameters(
        logits=np.log([len(own) / len(rows) for own in groups]),
        means=np.stack([own.mean(0) for own in groups]),
        factors=np.stack([_factor(own if len(own) > rows.shape[1] else centred) for own in groups]),
    )


def _factor(rows: Array) -> Array:
    """A with ``A A'`` the covariance of ``rows``."""
    variance, axes = np.linalg.eigh(np.atleast_2d(np.cov(rows.T, bias=True)))
    return axes * np.sqrt(np.maximum(variance, 0))
