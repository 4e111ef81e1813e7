"""The modes of an attribute: clusters of scores, and of two sets of scores the one that falls apart more clearly.

k-means, from several starts, then a Gaussian mixture begun at its clusters: modes may be of unlike width and shape
(glasses with dark rims vary less than those with pale ones). Clearness is the mean silhouette of the k-means clusters.

Modes are looked for in two descriptors of a picture:

- colour: the pixels in [-1, 1], averaged down to at most 32 a side;
- edges: with the gradients ``g_x, g_y`` of the colours (each a vector over red, green and blue),
  ``(|g|, (|g_x|^2 - |g_y|^2) / |g|, 2 g_x.g_y / |g|)``: how strong an edge is and how it lies, doubled in angle so that
  dark on light is the same as light on dark; divided by the strength of the edges around it, so that a pale hat and a
  black one of one cut look alike; averaged over 2 x 2 pixels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from gaussmix._typing import FloatArray

_SILHOUETTE_ROWS = 1500  # its cost grows with the square
_RIDGE = 1e-3  # share of the scores' variance that is added to the Gaussians' variances
_NO_SPREAD = 1e-9  # variance below which scores are all the same
_LEAST_SHARE = 0.04  # a Gaussian with less has caught outliers and not a mode: k-means is kept


@dataclass(frozen=True)
class Modes:
    """Gaussians in the space of scores: ``means`` ``(C, D)``, ``covariances`` ``(C, D, D)``, ``weights`` ``(C,)``."""

    means: FloatArray
    covariances: FloatArray
    weights: FloatArray

    def labels(self, scores: NDArray) -> NDArray[np.intp]:
        """The likeliest mode of each row of ``(M, D)``."""
        gaussians = zip(self.weights, self.means, self.covariances, strict=True)
        logs = [np.log(weight) + multivariate_normal.logpdf(scores, *gaussian) for weight, *gaussian in gaussians]
        return np.reshape(logs, (len(logs), -1)).argmax(0)


def find_modes(scores: NDArray[np.float32], n_modes: int, rng: np.random.Generator) -> tuple[Modes, float]:
    """The modes of ``(M, D)`` scores, numbered by ascending mean of the first score, and how clear they are (-1 ... 1).

    Deterministic given ``rng``. Scores without spread have modes that are all alike, and clearness -1.
    """
    from sklearn.cluster import KMeans  # not needed to read modes off pictures
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import silhouette_score
    from sklearn.mixture import GaussianMixture

    spread = float(scores.var(0).mean())
    if spread < _NO_SPREAD:
        same = np.tile(np.eye(scores.shape[1]), (n_modes, 1, 1))
        return Modes(np.zeros((n_modes, scores.shape[1])), same, np.full(n_modes, 1 / n_modes)), -1.0
    unit = (scores / np.sqrt(spread)).astype(np.float64)
    seed = int(rng.integers(2**31))
    start = KMeans(n_modes, n_init=8, random_state=seed).fit(unit)  # pyright: ignore[reportArgumentType]
    labels = start.predict(unit)
    if len(np.unique(labels)) < 2:
        clear = -1.0
    else:
        clear = float(silhouette_score(unit, labels, sample_size=min(len(unit), _SILHOUETTE_ROWS), random_state=seed))
    modes = _gaussians_of(unit, labels, n_modes)
    mixture = GaussianMixture(
        n_modes,
        weights_init=modes.weights,
        means_init=modes.means,
        precisions_init=np.linalg.inv(modes.covariances),
        reg_covar=_RIDGE,
        max_iter=100,
        random_state=seed,
    )
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        mixture.fit(unit)  # the clusters at the last iteration are good enough
    found = np.bincount(mixture.predict(unit), minlength=n_modes) / len(unit)
    if found.min() >= _LEAST_SHARE:
        modes = Modes(*(np.asarray(a) for a in (mixture.means_, mixture.covariances_, mixture.weights_)))
    order = np.argsort(modes.means[:, 0], kind="stable")
    means, covariances = modes.means[order] * np.sqrt(spread), modes.covariances[order] * spread
    return Modes(means, covariances, modes.weights[order]), clear


def _gaussians_of(scores: FloatArray, labels: Any, n_modes: int) -> Modes:
    """Mean, covariance and share of each cluster; one that is empty is like the whole."""
    parts = [scores[labels == c] if (labels == c).any() else scores for c in range(n_modes)]
    ridge = _RIDGE * np.eye(scores.shape[1])
    covariances = [(part - part.mean(0)).T @ (part - part.mean(0)) / len(part) + ridge for part in parts]
    weights = np.array([len(part) for part in parts], float)
    return Modes(np.stack([part.mean(0) for part in parts]), np.stack(covariances), weights / weights.sum())


MAX_SIDE = 32  # largest side of the colour descriptor in pixels
EDGE_FLOOR = 0.1  # strength, in units of the colour descriptor, below which an edge is noise and not made stronger
_AROUND = 9  # pixels a side over which the strength of the edges is averaged


def side_of(images: NDArray[np.uint8]) -> int:
    """Height and width of the colour descriptor of images ``(M, H, H, 3)``. ValueError unless they are such uint8."""
    if images.dtype != np.uint8:
        raise ValueError(f"images hold {images.dtype}; give uint8 from 0 to 255")
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images have shape {images.shape}; expected squares (count, size, size, 3)")
    return images.shape[1] // -(-images.shape[1] // MAX_SIDE)


def descriptors_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows ``(M, Q)`` of images ``(M, H, H, 3)``: ``3 side^2`` numbers of colour, then ``3 (side // 2)^2`` of edges."""
    side, pool = side_of(images), torch.nn.functional.avg_pool2d
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    x = (pool(pixels, images.shape[1] // side) / 127.5 - 1).permute(0, 2, 3, 1)
    across, down = torch.zeros_like(x), torch.zeros_like(x)
    across[:, :, 1:-1] = x[:, :, 2:] - x[:, :, :-2]
    down[:, 1:-1] = x[:, 2:] - x[:, :-2]
    xx, yy, xy = (across**2).sum(3), (down**2).sum(3), (across * down).sum(3)
    strength = (xx + yy).sqrt()
    softened = (xx + yy + EDGE_FLOOR**2).sqrt()
    edges = torch.stack([strength, (xx - yy) / softened, 2 * xy / softened], 1)
    around = pool(strength[:, None], _AROUND, 1, _AROUND // 2, count_include_pad=False)
    edges = pool(edges / (around + EDGE_FLOOR), 2).permute(0, 2, 3, 1)
    return torch.cat([x.flatten(1), edges.flatten(1)], 1).numpy()
