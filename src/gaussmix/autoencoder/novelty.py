"""How strange is an image to an autoencoder? From the density of its latents and the error of its reconstruction.

    u = -log p(E(x)),   v = log mean (x - G(E(x)))^2,   score = max((u - med u) / s_u, (v - med v) / s_v)

with medians and spreads s (interquartile range / 1.349, a standard deviation for normal numbers) of known images that
took no part in the training. Either alone is fooled: an image of another kind can land where latents are dense, and an
empty one is decoded without error. So is their sum: it takes an empty image for the least strange of all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix._files import read_tensors, write_tensors
from gaussmix._typing import FloatArray
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.latents.expansion import ExpansionSampler

_KIND = "autoencoder_novelty"
_SD_OF_IQR = 1.349
_HALF_STEP = (0.5 / 255) ** 2 / 3
"""Mean squared error of rounding to whole pixels: a smaller one cannot be told from none."""


class Novelty(NamedTuple):
    """``score`` ``(N,)``, higher is stranger; ``share`` ``(N,)`` in (0, 1], of known images at least as strange."""

    score: FloatArray
    share: FloatArray


@dataclass(frozen=True)
class NoveltyScale:
    """What is usual: medians and spreads ``(2,)`` of u and v, and the sorted scores of the known images.

    Where the density tells nothing, because a quarter of the known images or more have none (too few to fit it) or half
    have the same, the score is that of the error alone.
    """

    middle: FloatArray
    spread: FloatArray
    scores: FloatArray

    @classmethod
    def of(cls, known: FloatArray) -> NoveltyScale:
        """Of u and v ``(M, 2)`` of known images, from `measures`. Raises ValueError for fewer than 2."""
        if len(known) < 2:
            raise ValueError(f"{len(known)} known image; give at least 2 to compare with")
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
        with np.errstate(invalid="ignore"):
            spread = (high - low) / _SD_OF_IQR
        silent = ~(np.isfinite(spread) & (spread > 0))
        scale = cls(np.where(silent, 0.0, middle), np.where(silent, np.inf, spread), np.empty(0))
        return cls(scale.middle, scale.spread, np.sort(scale.score(known)))

    def score(self, found: FloatArray) -> FloatArray:
        """``(N,)`` of u and v ``(N, 2)``."""
        used = np.isfinite(self.spread)
        return ((found[:, used] - self.middle[used]) / self.spread[used]).max(1, initial=-np.inf)

    def judge(self, found: FloatArray) -> Novelty:
        """Scores of u and v ``(N, 2)``, and the shares (1 + number of known images at least as strange) / (1 + M)."""
        score, known = self.score(found), len(self.scores)
        return Novelty(score, (1 + known - np.searchsorted(self.scores, score)) / (1 + known))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file."""
        write_tensors(path, {"middle": self.middle, "spread": self.spread, "scores": self.scores}, _KIND)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NoveltyScale:
        """Read what `save` wrote. Raises ValueError for another or a damaged file."""
        tensors, _ = read_tensors(path, _KIND)
        return cls(**tensors)


def measures(model: ClassConditionalAutoencoder, sampler: ExpansionSampler, images: NDArray[np.uint8]) -> FloatArray:
    """u and v of images ``(N, S, S, C)``, ``(N, 2)``; u is infinite where the density is 0."""
    z = model.encode(images)
    decoded = model.decode(z)
    error = np.square(decoded / 255.0 - np.reshape(images, decoded.shape) / 255.0).mean((1, 2, 3))
    return np.stack([-sampler.score_samples(z), np.log(error + _HALF_STEP)], 1)
