"""How good are draws of Gram matrices, and the pictures made to fit them.

    negative mass       sum |lambda_i < 0| / sum |lambda_i| of a matrix: what no features can have
    span share          |P (g - m)|^2 / |g - m|^2, P onto the differences of real crops: what crops do vary in
    realised blend      argmin_w |g - sum_s w_s m_s|^2 with sum_s w_s = 1: which mixture of the styles' means g is
    style loss          |g - T|^2, relative to the target T as in `gaussmix.style.objective`
    variety             mean distance of two pictures' features, in units of their size

g is a row and |.| the metric of `gaussmix.style.grams`, m the mean of a style's crops.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.grams import GramLayout, Rows
from gaussmix.style.images import to_tensor
from gaussmix.style.vgg import CONTENT_LAYERS, STYLE_LAYERS, VGG19Features, gram_matrix

_FLAT = 1e-6  # share of the largest variance below which a direction of crops is rounding
_AT_ONCE = 4  # pictures in one pass through the network


def negative_mass(grams: Mapping[str, NDArray[np.floating]]) -> float:
    """Of symmetric matrices ``{layer: (C, C)}``, mean over layers: 0 for valid ones, 1/2 for as much as positive."""
    shares = []
    for gram in grams.values():
        values = np.linalg.eigvalsh(gram)
        size = np.abs(values).sum()
        shares.append(-values[values < 0].sum() / size if size > 0 else 0.0)
    return float(np.mean(shares))


def span_share(rows: Rows, crops: Rows, layout: GramLayout) -> NDArray[np.float64]:
    """``(n,)`` for draws ``(n, E)`` and the rows ``(N, E)`` of real crops; NaN for a draw that is the crops' mean."""
    mean = crops.mean(0)
    scale = layout.scale(mean)
    known, drawn = (crops - mean) * scale, (rows - mean) * scale
    values, vectors = np.linalg.eigh((known @ known.T).astype(np.float64))
    wide = values > _FLAT * values[-1]
    inside = (drawn @ known.T).astype(np.float64) @ (vectors[:, wide] / np.sqrt(values[wide]))
    whole = (drawn.astype(np.float64) ** 2).sum(1)
    share: NDArray[np.float64] = np.divide((inside**2).sum(1), whole, out=np.full(len(rows), np.nan), where=whole > 0)
    return share


def realised_blend(rows: Rows, means: Rows, layout: GramLayout) -> NDArray[np.float64]:
    """Weights ``(n, S)`` of sum 1 for rows ``(n, E)``, by least squares on the styles' means ``(S, E)``; of any sign.

    Raises ValueError for fewer than 2 styles.
    """
    if len(means) < 2:
        raise ValueError(f"there are {len(means)} styles; a blend needs at least 2")
    scale = layout.scale(means.mean(0))
    first, others = means[0] * scale, (means[1:] - means[0]) * scale
    weights = np.linalg.lstsq(others.T.astype(np.float64), (rows * scale - first).T.astype(np.float64), rcond=None)[0].T
    return np.column_stack([1 - weights.sum(1), weights])


def style_losses(found: Mapping[str, Tensor], targets: list[dict[str, Tensor]]) -> NDArray[np.float64]:
    """``(K,)``: of Gram matrices ``{layer: (K, C, C)}``, each against its target; the mean over layers."""
    losses = [
        np.mean(
            [float((found[layer][k] - target[layer]).square().sum() / target[layer].square().sum()) for layer in target]
        )
        for k, target in enumerate(targets)
    ]
    return np.array(losses, np.float64)


@torch.inference_mode()
def picture_grams(images: NDArray[np.uint8], features: VGG19Features) -> dict[str, Tensor]:
    """Gram matrices ``{layer: (K, C, C)}`` of whole pictures ``(K, H, W, 3)``."""
    parts = [
        {layer: gram_matrix(found[layer]) for layer in STYLE_LAYERS}
        for i in range(0, len(images), _AT_ONCE)
        for found in [features(to_tensor(images[i : i + _AT_ONCE], features.mean.device))]
    ]
    return {layer: torch.cat([part[layer] for part in parts]).cpu() for layer in STYLE_LAYERS}


@torch.inference_mode()
def variety(images: NDArray[np.uint8], features: VGG19Features) -> float:
    """Mean over pairs of pictures ``(K, H, W, 3)`` of |F_a - F_b| / rms |F| at the content layers: 0 for copies.

    sqrt 2 for pictures that have nothing in common but their size. Raises ValueError for fewer than 2 pictures.
    """
    if len(images) < 2:
        raise ValueError(f"there are {len(images)} pictures; a distance needs at least 2")
    values = []
    for layer in CONTENT_LAYERS:
        rows = torch.cat(
            [features(to_tensor(images[i : i + 1], features.mean.device))[layer].flatten(1) for i in range(len(images))]
        )
        size = rows.square().sum(1).mean().sqrt()
        values.append(np.mean([float((rows[a] - rows[b]).norm() / size) for a, b in combinations(range(len(rows)), 2)]))
    return float(np.mean(values))
