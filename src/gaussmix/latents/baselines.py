r"""Rivals of `ExpansionSampler`: a mixture of Gaussians with full covariances in each class.

    p(z | y) = sum_k w_k N(z; m_k, S_k),  S_k = A_k A_k'

- `EMSampler`: by expectation maximisation, scikit-learn's `GaussianMixture`; with one component the Gaussian.
- `SlicedWassersteinSampler`: by descending the sliced Wasserstein distance to the rows (Kolouri, Rohde and Hoffmann,
  Sliced Wasserstein Distance for Learning Gaussian Mixture Models, CVPR 2018; E's "SW-GMM"),
  `gaussmix.latents.sliced_wasserstein`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state

from gaussmix.latents._base import ClassSampler, checked_rows
from gaussmix.latents.sliced_wasserstein import fit_sliced_wasserstein

REG_COVAR = 1e-6
"""Added to the variances, as scikit-learn does; in units of the rows, squared."""


@dataclass(frozen=True)
class FullMixture:
    """``weights`` ``(K,)``, ``means`` ``(K, D)``, ``factors`` ``(K, D, D)``: lower triangles A_k."""

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    factors: NDArray[np.float64]

    @classmethod
    def of_covariances(
        cls, weights: NDArray[np.float64], means: NDArray[np.float64], covariances: NDArray[np.float64]
    ) -> FullMixture:
        """Covariances are ``(K, D, D)``, positive definite."""
        return cls(weights, means, np.asarray(np.linalg.cholesky(covariances), float))

    def logpdf(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(M, D)`` to ``(M,)``."""
        logs = np.empty((len(z), len(self.weights)))
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            standard = solve_triangular(factor, (z - mean).T, lower=True)
            log_det = np.log(2 * np.pi) * len(mean) / 2 + np.log(np.diag(factor)).sum()
            logs[:, k] = np.log(self.weights[k]) - log_det - (standard**2).sum(0) / 2
        return np.asarray(logsumexp(logs, axis=1))

    def draw(self, count: int, rng: np.random.RandomState) -> NDArray[np.float64]:
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

    def fit(self, z: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn from rows ``(N, D)`` and labels ``(N,)``, if there are any.

        Raises ValueError for what is not finite, shapes that do not fit, a class with one row or with fewer rows than
        components.
        """
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components}; give at least 1")
        rng = check_random_state(self.random_state)
        by_class = self._rows_by_class(*checked_rows(z, y), at_least=max(2, self.n_components))
        self.parts_ = [self._fit_class(own, rng) for own in by_class]
        return self

    @abstractmethod
    def _fit_class(self, rows: NDArray[np.float64], rng: np.random.RandomState) -> FullMixture: ...

    def _draw(self, part: FullMixture, count: int, rng: np.random.RandomState) -> NDArray[np.float64]:
        return part.draw(count, rng)

    def _log_density(self, part: FullMixture, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return part.logpdf(rows)


class EMSampler(_MixtureSampler):
    """Maximum likelihood by expectation maximisation from k-means, `sklearn.mixture.GaussianMixture`.

    Parameters
    ----------
    n_components : of each class; 1 is the Gaussian with the rows' mean and covariance.
    random_state : of k-means.

    Attributes
    ----------
    classes_, shares_, n_features_in_ : as of `ExpansionSampler`.
    parts_ : by class, a `FullMixture`.
    """

    def __init__(self, n_components: int = 10, *, random_state: Any = None):
        self.n_components = n_components
        self.random_state = random_state

    def _fit_class(self, rows: NDArray[np.float64], rng: np.random.RandomState) -> FullMixture:
        model = GaussianMixture(self.n_components, reg_covar=REG_COVAR, random_state=rng).fit(rows)
        found = np.asarray(model.weights_), np.asarray(model.means_), np.asarray(model.covariances_)
        return FullMixture.of_covariances(*found)


class SlicedWassersteinSampler(_MixtureSampler):
    """Least sliced Wasserstein distance to the rows, from k-means; see `gaussmix.latents.sliced_wasserstein`.

    Parameters
    ----------
    n_components : of each class.
    n_steps : of descent.
    n_projections : fresh directions a step.
    random_state : of k-means, the directions and the rows of each step.

    Attributes
    ----------
    classes_, shares_, n_features_in_ : as of `ExpansionSampler`.
    parts_ : by class, a `FullMixture`.
    """

    def __init__(
        self, n_components: int = 10, *, n_steps: int = 300, n_projections: int = 50, random_state: Any = None
    ):
        self.n_components = n_components
        self.n_steps = n_steps
        self.n_projections = n_projections
        self.random_state = random_state

    def _fit_class(self, rows: NDArray[np.float64], rng: np.random.RandomState) -> FullMixture:
        if self.n_steps < 0 or self.n_projections < 1:
            raise ValueError(
                f"n_steps is {self.n_steps} and n_projections {self.n_projections}; give at least 0 and at least 1"
            )
        found = fit_sliced_wasserstein(rows, self.n_components, self.n_steps, self.n_projections, rng)
        covariances = found.factors @ found.factors.swapaxes(1, 2) + REG_COVAR * np.eye(rows.shape[1])
        return FullMixture.of_covariances(found.weights, found.means, covariances)
