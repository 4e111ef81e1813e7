"""New images from a trained autoencoder and the distribution of its latents: drawn, mixed, between two, around one.

With draws z_k of class k, proportions w_k, and ``c_r`` the class drawn for coordinate r:

    dims          z_r = z_{c_r, r},  P(c_r = k) = w_k                              (E Sec. 3.2.1, Fig. 10)
    lerp          z = sum_k w_k z_k
    between a, b  z(t) = (1 - t) z_a + t z_b
    around z_0    z = m + sqrt(1 - s^2) (z_0 - m) + s (z' - m),  m and z' of the cluster that z_0 falls into

A weighted mean of independent draws has ``sum_k w_k^2`` of their variance. Giving it back made mixes more varied but
less like images, and so did a path that keeps its distance from the means (docs/autoencoder.md), so both are straight.
Around one image, within one cluster, all is of one law, and the spread is kept.

How strange an image x is follows from the density of its latents and the error of its reconstruction:

    u = -log p(E(x)),   v = log mean (x - G(E(x)))^2,   score = max((u - med u) / s_u, (v - med v) / s_v)

with medians and spreads s (interquartile range / 1.349, a standard deviation for normal numbers) of known images that
took no part in the training. Either alone is fooled: an image of another kind can land where latents are dense, and an
empty one is decoded without error. So is their sum: it takes an empty image for the least strange of all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from gaussmix._files import read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix._typing import FloatArray
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.latents._parts import Term
from gaussmix.latents.expansion import ExpansionSampler

MixMode = Literal["dims", "lerp"]

SAMPLER_FILE, NOVELTY_FILE = "sampler.safetensors", "novelty.safetensors"

Images = NDArray[np.uint8]
Latents = FloatArray
ClassName = str | int
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
        with reading(path, "holds no scale of what is usual"):
            tensors, _ = read_tensors(path, _KIND)
            scale = cls(**tensors)
            if not scale.middle.shape == scale.spread.shape == (2,) or not scale.scores.ndim == 1 <= len(scale.scores):
                raise ValueError("arrays of other shapes")
            if not np.isfinite(scale.middle).all() or not (scale.spread > 0).all():
                raise ValueError("a median is not finite or a spread not positive")
            if not (np.diff(scale.scores) >= 0).all():
                raise ValueError("scores are not sorted")
        return scale


def measures(model: ClassConditionalAutoencoder, sampler: ExpansionSampler, images: NDArray[np.uint8]) -> FloatArray:
    """u and v of images ``(N, S, S, C)``, ``(N, 2)``; u is infinite where the density is 0."""
    z = model.encode(images)
    decoded = model.decode(z)
    error = np.square(decoded / 255.0 - np.reshape(images, decoded.shape) / 255.0).mean((1, 2, 3))
    return np.stack([-sampler.score_samples(z), np.log(error + _HALF_STEP)], 1)


class LatentGenerator:
    """Images ``(n, S, S, C)`` uint8 from latents ``(n, d)`` of a distribution.

    A class is given by its name or by its position in the model's ``class_names``.

    Parameters
    ----------
    model, sampler : ClassConditionalAutoencoder, ExpansionSampler
        What decodes latents, and what draws them: fitted with positions in ``model.class_names`` as labels.
    scale : NoveltyScale, optional
        What is usual, for `novelty`.

    Raises
    ------
    ValueError
        If the two do not fit.
    """

    def __init__(
        self, model: ClassConditionalAutoencoder, sampler: ExpansionSampler, scale: NoveltyScale | None = None
    ):
        dimensions = model.config["latent_dim"]
        if sampler.n_features_in_ != dimensions:
            raise ValueError(
                f"the sampler knows latents of {sampler.n_features_in_} numbers, the model has {dimensions}; "
                "fit it to the latents of this model"
            )
        if not set(sampler.classes_.tolist()) <= set(range(len(model.class_names))):
            raise ValueError(
                f"the sampler has the labels {', '.join(map(str, sampler.classes_.tolist()))}; "
                f"fit it to labels 0 to {len(model.class_names) - 1}, positions in class_names"
            )
        self.model, self.sampler, self.scale = model, sampler, scale

    @classmethod
    def load(cls, run: str | Path) -> LatentGenerator:
        """Load that of a finished training run; ValueError if its folder holds none."""
        model, path = ClassConditionalAutoencoder.load(run), Path(run) / SAMPLER_FILE
        if not path.is_file():
            raise ValueError(f"no {SAMPLER_FILE} in {run}; it is written when a training run ends: finish it first")
        scale = Path(run) / NOVELTY_FILE
        return cls(model, ExpansionSampler.load(path), NoveltyScale.load(scale) if scale.is_file() else None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that can be drawn."""
        return tuple(self.model.class_names[k] for k in self.sampler.classes_)

    def sample(
        self,
        n_samples: int = 1,
        *,
        class_name: ClassName | None = None,
        truncation: float | None = None,
        random_state: Any = None,
    ) -> Images:
        """Draw new images; ValueError for an unknown class, no image and a truncation outside (0, 1].

        Parameters
        ----------
        n_samples, class_name : int, str or int
            How many, of which class; if not given, all with their shares.
        truncation, random_state : float, int or RandomState, optional
            As in `ExpansionSampler.sample`.
        """
        label = None if class_name is None else self.label_of(class_name)
        return self.model.decode(self._draw(n_samples, label, truncation, random_state))

    def mix(self, classes: Sequence[ClassName], **how: Any) -> Images:
        """Draw images between classes.

        Parameters
        ----------
        classes, **how : sequence of str or int, options
            As in `mix_latents`, whose answer is decoded.
        """
        return self.model.decode(self.mix_latents(classes, **how))

    def mix_latents(
        self,
        classes: Sequence[ClassName],
        *,
        mode: MixMode = "dims",
        proportions: Sequence[float] | None = None,
        n_samples: int = 1,
        truncation: float | None = None,
        random_state: Any = None,
    ) -> Latents:
        """Merge one draw of each of two or more classes, ``n_samples`` times: latents ``(n_samples, d)``.

        Parameters
        ----------
        classes : sequence of str or int
            Two or more.
        mode : {"dims", "lerp"}
            "dims" takes each number from the draw of one of the classes (as the paper: "randomly merged"), "lerp" is
            their weighted mean.
        proportions : sequence of float, optional
            Of the classes, scaled to sum 1; equal ones if not given.
        n_samples, truncation, random_state : int, float, int or RandomState
            As in `sample`.

        Raises
        ------
        ValueError
            For fewer than two classes, one named twice, an unknown one, proportions that are not one a class, negative
            or all 0, an unknown mode, less than one sample and a truncation outside (0, 1].
        """
        labels = [self.label_of(name) for name in classes]
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ValueError(f"classes are {', '.join(map(str, classes)) or 'none'}; name two or more different ones")
        if mode not in get_args(MixMode):
            raise ValueError(f"mode is {mode!r}; choose from {', '.join(get_args(MixMode))}")
        shares = _shares(proportions, len(labels))
        rng = check_random_state(random_state)
        draws = np.stack([self._draw(n_samples, label, truncation, rng) for label in labels])
        if mode == "dims":
            chosen = rng.choice(len(labels), draws.shape[1:], p=shares)
            return np.take_along_axis(draws, chosen[None], axis=0)[0]
        return np.tensordot(shares, draws, axes=1)

    def interpolate(
        self, a: ClassName | Images, b: ClassName | Images, steps: int = 8, *, random_state: Any = None
    ) -> Images:
        """Return images from one to another; the ends are reconstructions, or draws.

        Raises ValueError for fewer than 2 steps, an unknown class and images of another shape.

        Parameters
        ----------
        a, b : ndarray or str or int
            An image ``(S, S, C)`` uint8, or a class, of which one is drawn.
        steps, random_state : int, int or RandomState
            How many images, and where draws come from.
        """
        if steps < 2:
            raise ValueError(f"steps is {steps}; give at least 2, for both ends")
        rng = check_random_state(random_state)
        start, end = (
            self._draw(1, self.label_of(x), None, rng)[0] if isinstance(x, str | int | np.integer) else self._encode(x)
            for x in (a, b)
        )
        t = np.linspace(0, 1, steps)[:, None]
        return self.model.decode((1 - t) * start + t * end)

    def more_like(
        self, image: Images, n_samples: int = 8, *, strength: float = 0.5, random_state: Any = None
    ) -> Images:
        """Draw images around one: the distance to the centre of its cluster and the spread are those of the cluster.

        Raises ValueError for a strength outside [0, 1], less than one image and an image of another shape.

        Parameters
        ----------
        image, n_samples : ndarray, int
            ``(S, S, C)`` uint8, and how many.
        strength, random_state : float, int or RandomState
            0 is its reconstruction, 1 a fresh draw of its cluster.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is {strength}; choose from 0 (the image) to 1 (any of its cluster)")
        _check_count(n_samples)
        z = self._encode(image)
        _, part = self._nearest(z)
        mean = _mean(part)
        drawn = part.draw(n_samples, None, check_random_state(random_state))
        return self.model.decode(mean + np.sqrt(1 - strength**2) * (z - mean) + strength * (drawn - mean))

    def class_of(self, image: Images) -> str:
        """Return the name of the class in whose distribution the latents of ``image`` ``(S, S, C)`` are densest."""
        return self.model.class_names[self._nearest(self._encode(image))[0]]

    def novelty(self, images: Images) -> Novelty:
        """Say how strange images ``(N, S, S, C)`` are, and which share of known images is as strange.

        Raises ValueError without a scale, and for images of another shape.
        """
        if self.scale is None:
            raise ValueError("nothing says what is usual; call calibrate with images of the known kind first")
        return self.scale.judge(measures(self.model, self.sampler, images))

    def calibrate(self, images: Images) -> NoveltyScale:
        """Take what is usual from known images ``(M, S, S, C)`` that took no part in the training; M at least 2."""
        self.scale = NoveltyScale.of(measures(self.model, self.sampler, images))
        return self.scale

    def label_of(self, name: ClassName) -> int:
        """Return the position of a class; ValueError for one that is unknown or that the sampler was not fitted to."""
        names = self.model.class_names
        known = self.sampler.classes_.tolist()
        label = names.index(name) if name in names else name
        if label not in known or isinstance(label, bool):
            raise ValueError(f"no class {name!r}; the model knows {', '.join(names[k] for k in known)}")
        return int(label)

    def _draw(self, n_samples: int, label: int | None, truncation: float | None, random_state: Any) -> Latents:
        _check_count(n_samples)
        return self.sampler.sample(n_samples, class_label=label, truncation=truncation, random_state=random_state)

    def _encode(self, image: Images) -> Latents:
        return self.model.encode(np.asarray(image)[None])[0].astype(float)

    def _nearest(self, z: Latents) -> tuple[int, Term]:
        """Label and part in which latents ``(d,)`` are densest; the nearest mean where no part reaches."""
        parts = [
            (int(label), share, part)
            for label, share, own in zip(self.sampler.classes_, self.sampler.shares_, self.sampler.parts_, strict=True)
            for part in own
        ]
        logs = np.array([np.log(share * part.weight) + part.logpdf(z[None])[0] for _, share, part in parts])
        if np.isneginf(logs).all():
            logs = np.array([-np.square(z - _mean(part)).sum() for _, _, part in parts])
        label, _, part = parts[int(logs.argmax())]
        return label, part


def _mean(part: Term) -> Latents:
    """``(d,)``; an expansion need not have its mean at 0."""
    return part.mean + part.axes @ np.array([float(marginal.mean()) for marginal in part.marginals])


def _check_count(n_samples: int) -> None:
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; give at least 1")


def _shares(proportions: Sequence[float] | None, n: int) -> FloatArray:
    """``(n,)``, sum 1."""
    given = np.ones(n) if proportions is None else np.asarray(proportions, float)
    if given.shape != (n,):
        raise ValueError(f"{given.size} proportions for {n} classes; give one a class")
    if not np.isfinite(given).all() or given.min() < 0 or not given.sum() > 0:
        raise ValueError(f"proportions are {', '.join(f'{p:g}' for p in given)}; give 0 or more, not all 0")
    return given / given.sum()
