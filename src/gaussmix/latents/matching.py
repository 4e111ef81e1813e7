"""Matched latents: give every training image the Z that describes how its attributes look.

With Z paired to images at random (the paper's reading), the network learns to ignore it: Z decides less than one per
cent of the picture. Here ``Z_k`` of an image encodes what is left to say about attribute ``k`` once the attributes
themselves have spoken:

1. Residual ``R = X - [1 A] B`` by least squares. ``B_k`` shows where attribute k acts; its norm over the colour
   channels, scaled to a maximum of one, is the attribute's map ``w_k``.
2. Attributes are taken in descending order of excess variance: ``sum w_k^2 var(R | A_k=1) / sum w_k^2 var(R | A_k=0)``.
3. On the images that have attribute k: ``R w_k``, freed from what the other attributes still explain *among these
   images*; its first principal components, made equally wide whatever the other attributes; k-means with C clusters,
   ordered by their mean first component. The clusters are the attribute's modes, their shares ``pi_k``.
4. ``z_1`` puts the images, sorted by cluster and by first component within it, onto the mixture with weights ``pi_k``;
   ``z_2, z_3, ...`` are the mixture's quantiles of the ranks, within a cluster, of the further components; the rest
   of Z is noise.
   Where the components would tell of another attribute, images with and without it are ranked apart.
5. ``R`` is deflated by the components and clusters before the next attribute has its turn.
6. The base token holds the principal components of what nobody explained, as quantiles of ranks.

So each number is marginally distributed as Eq. 9 says (with weights ``pi_k``) and says nothing of the other attributes:
Z drawn independently does not contradict A. Without the care in steps 3 and 4 it does. On the avatars, ``Z`` of
Mouth_Open then tells Smiling (R^2 = .41); the network believes Z, and a request for a smile is lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.cluster import KMeans
from sklearn.utils.extmath import randomized_svd

from gaussmix.latents.attributes import AttributeLatents

N_SCORES = 4
"""Principal components kept per attribute."""
_MIN_IMAGES = 30  # an attribute with fewer images keeps random latents
_LEAK = 0.05  # share of another attribute's variance that Z may tell before it is ranked apart
_FIT_IMAGES = 8192  # principal axes and clusters are found on at most this many images, all are then projected


@dataclass(frozen=True)
class MatchedLatents:
    """Latents for a training set.

    ``table``: ``(M, T, N)`` float32, ungated, one row an image. ``latents``: the distribution to sample from, with the
    shares that were found. ``clusters``: ``(M, K)`` int8, the mode of each attribute in each image, -1 where absent.
    ``maps``: ``(K, H, W)`` float32, where each attribute acts, with maximum 1, at the images' size or 32 pixels.
    """

    table: NDArray[np.float32]
    latents: AttributeLatents
    clusters: NDArray[np.int8]
    maps: NDArray[np.float32]


def _ranks(values: NDArray) -> NDArray[np.float64]:
    """Ranks scaled into (0, 1): ``(rank + 1/2) / M``; equal values keep their order."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values)) + 0.5
    return ranks / len(values)


def _principal_axes(rows: NDArray[np.float32], n_axes: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """First right singular vectors ``(P, n_axes)`` of centred rows ``(M, P)``, found on a subset, signs fixed."""
    if len(rows) > _FIT_IMAGES:
        rows = rows[rng.choice(len(rows), _FIT_IMAGES, replace=False)]
    axes = randomized_svd(rows, n_axes, random_state=int(rng.integers(2**31)))[2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return (axes * signs[:, None]).T.astype(np.float32)


def _pixels(images: NDArray[np.uint8], max_size: int = 32) -> NDArray[np.float32]:
    """Images ``(M, H, W, 3)`` as rows ``(M, P)`` in [-1, 1], averaged down to at most ``max_size`` pixels a side."""
    factor = -(-images.shape[1] // max_size)
    rows = []
    for start in range(0, len(images), 1024):
        x = torch.from_numpy(np.array(images[start : start + 1024])).permute(0, 3, 1, 2).float()
        x = torch.nn.functional.avg_pool2d(x, factor) if factor > 1 else x
        rows.append((x / 127.5 - 1).permute(0, 2, 3, 1).flatten(1).numpy())
    return np.concatenate(rows)


def match_latents(
    images: NDArray[np.uint8],
    attributes: NDArray[np.uint8],
    latents: AttributeLatents,
    *,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> MatchedLatents:
    """Find Z for every image.

    Args:
        images: ``(M, H, W, 3)`` uint8.
        attributes: ``(M, K)`` of 0/1.
        latents: the distribution to fit into; ``shares`` are replaced by those found.
        seed: for the noise in the numbers that stay free, k-means and the principal axes.
        on_progress: called with the number of attributes done.

    About 2 ms of CPU time an image at 32 px and 16 attributes; memory is one float32 copy of the images at 32 px.
    """
    if len(images) != len(attributes) or len(images) == 0:
        raise ValueError(f"{len(images)} images and {len(attributes)} attribute rows; both must be the same, above 0")
    if attributes.shape[1] != latents.n_attributes:
        raise ValueError(f"attributes have {attributes.shape[1]} columns; the latents expect {latents.n_attributes}")
    rng = np.random.default_rng(seed)
    n_images, n_attributes = attributes.shape
    n_components = latents.n_components
    has = attributes.astype(bool)

    residual = _pixels(images)
    design = np.column_stack([np.ones(n_images), attributes]).astype(np.float32)
    effect = np.linalg.lstsq(design, residual, rcond=None)[0]
    residual -= design @ effect
    pixel_maps = np.sqrt((effect[1:].reshape(n_attributes, -1, 3) ** 2).sum(2))
    pixel_maps = (pixel_maps / np.maximum(pixel_maps.max(1, keepdims=True), 1e-12)).astype(np.float32)
    maps = np.repeat(pixel_maps, 3, axis=1)

    table = latents.draw(n_images, torch.Generator().manual_seed(seed)).numpy()
    shares = np.full((latents.n_tokens, n_components), 1 / n_components)
    clusters = np.full((n_images, n_attributes), -1, np.int8)
    n_scores = min(N_SCORES, latents.latent_dim)
    for done, k in enumerate(_by_excess_variance(residual, has, maps)):
        members = np.flatnonzero(has[:, k])
        if len(members) >= max(_MIN_IMAGES, 2 * n_components):
            part = residual[members] * maps[k]
            part -= design[members] @ np.linalg.lstsq(design[members], part, rcond=None)[0]
            scores = part @ _principal_axes(part, n_scores, rng)
            scores = _even_spread(scores, design[members])
            labels = _ordered_clusters(scores, n_components, rng)
            shares[k] = np.bincount(labels, minlength=n_components) / len(labels)
            known = np.column_stack([scores, np.eye(n_components)[labels]])
            for stratum in _strata(known, attributes[members]):
                rows = members[stratum]
                order = np.lexsort((scores[stratum, 0], labels[stratum]))
                clusters[rows[order], k], table[rows[order], k, 0] = _mixture_sequence(len(rows), shares[k], latents)
                for c, d in product(range(n_components), range(1, n_scores)):
                    inside = clusters[rows, k] == c
                    table[rows[inside], k, d] = latents.quantile(_ranks(scores[stratum[inside], d]))
            explained = np.column_stack([scores, np.eye(n_components)[labels]]).astype(np.float32)
            block = residual[members]
            residual[members] = block - explained @ np.linalg.lstsq(explained, block, rcond=None)[0]
        if on_progress is not None:
            on_progress(done + 1)
    if latents.base_token:
        residual -= residual.mean(0)
        n_axes = min(latents.latent_dim, *residual.shape)
        scores = residual @ _principal_axes(residual, n_axes, rng)
        for d in range(n_axes):
            table[:, -1, d] = latents.quantile(_ranks(scores[:, d]))
    found = replace(latents, shares=tuple(tuple(row / row.sum()) for row in shares))
    side = math.isqrt(pixel_maps.shape[1])
    return MatchedLatents(
        np.ascontiguousarray(table, np.float32), found, clusters, pixel_maps.reshape(n_attributes, side, side)
    )


def _even_spread(scores: NDArray, design: NDArray) -> NDArray[np.float32]:
    """Scores ``(M, D)`` with the part of mean and log-spread removed that the design ``(M, 1 + K)`` explains."""
    logs = np.log(scores.astype(np.float64) ** 2 + 1e-6 * np.maximum(scores.var(0), 1e-12))
    fitted = design @ np.linalg.lstsq(design, logs, rcond=None)[0]
    even = scores * np.exp(0.5 * (fitted.mean(0) - fitted))
    even -= design @ np.linalg.lstsq(design, even, rcond=None)[0]
    return (even * scores.std(0) / np.maximum(even.std(0), 1e-12)).astype(np.float32)


def _strata(known: NDArray, attributes: NDArray) -> list[NDArray[np.intp]]:
    """Groups of rows within which the latents of one attribute are ranked.

    ``known`` ``(M, F)`` is what the latents would tell; the (at most two) attributes of ``(M, K)`` that it tells best
    make the groups, so that afterwards it tells nothing of them.
    """
    centred = known - known.mean(0)
    varying = [j for j in range(attributes.shape[1]) if 0 < attributes[:, j].sum() < len(attributes)]
    told = {}
    for j in varying:
        target = attributes[:, j] - attributes[:, j].mean()
        rest = target - centred @ np.linalg.lstsq(centred, target, rcond=None)[0]
        told[j] = 1 - rest.var() / target.var()
    group = np.zeros(len(known), np.intp)
    for j in sorted(varying, key=lambda j: -told[j])[:2]:
        finer = 2 * group + attributes[:, j]
        sizes = np.bincount(finer)
        if told[j] >= _LEAK and sizes[sizes > 0].min() >= _MIN_IMAGES:
            group = finer
    return [np.flatnonzero(group == g) for g in np.unique(group)]


def _mixture_sequence(count: int, shares: NDArray, latents: AttributeLatents) -> tuple[NDArray, NDArray]:
    """``count`` evenly spread values of the mixture with weights ``shares``, in ascending order of component and of
    value within it: the components ``(count,)`` and the values ``(count,)``."""
    ranks = (np.arange(count) + 0.5) / count
    upper = np.cumsum(shares)
    component = np.minimum(np.searchsorted(upper, ranks), len(shares) - 1)
    within = (ranks - (upper - shares)[component]) / shares[component]
    return component, latents.means[component] + latents.sigma * ndtri(np.clip(within, 0.5 / count, 1 - 0.5 / count))


def _by_excess_variance(residual: NDArray, has: NDArray[np.bool_], maps: NDArray) -> list[int]:
    """Attributes in descending order of how much more the picture varies, in the attribute's map, where it is on."""
    excess = np.zeros(len(maps))
    for k, weight in enumerate(maps):
        if 1 < has[:, k].sum() < len(has) - 1:
            on, off = residual[has[:, k]].var(0), residual[~has[:, k]].var(0)
            excess[k] = (on * weight**2).sum() / max((off * weight**2).sum(), 1e-12)
    return [int(k) for k in np.argsort(-excess, kind="stable")]


def _ordered_clusters(scores: NDArray, n_clusters: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """k-means labels of ``(M, D)`` scores, numbered by ascending mean of the first score."""
    seed = int(rng.integers(2**31))
    model = KMeans(n_clusters, n_init=5, random_state=seed)  # pyright: ignore[reportArgumentType]
    fit_on = scores if len(scores) <= _FIT_IMAGES else scores[rng.choice(len(scores), _FIT_IMAGES, replace=False)]
    labels = model.fit(fit_on).predict(scores)
    sizes = np.bincount(labels, minlength=n_clusters)
    means = [scores[labels == c, 0].mean() if sizes[c] else np.inf for c in range(n_clusters)]
    rank = np.empty(n_clusters, np.intp)
    rank[np.argsort(means)] = np.arange(n_clusters)
    return rank[labels]
