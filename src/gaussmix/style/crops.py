"""Gram matrices of random crops of pictures: the data of a `gaussmix.style.expansion.GramExpansion` (E Figure 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.style.images import to_tensor
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features, gram_matrix

Picture = NDArray[np.uint8]
Styles = Picture | Sequence[Picture] | Mapping[str, Picture | Sequence[Picture]]

DEFAULT_CROP = 160
"""Pixels of a crop's side at most, unless another is asked for: 50 of them take a few seconds."""
_AT_ONCE = 4  # crops in one pass through the network


def named_styles(pictures: Styles) -> dict[str, list[Picture]]:
    """Pictures by the name of their style; "style" where there is none. Raises ValueError for no picture."""
    by_name = pictures if isinstance(pictures, Mapping) else {"style": pictures}
    named = {name: [own] if isinstance(own, np.ndarray) else list(own) for name, own in by_name.items()}
    empty = [name for name, own in named.items() if not own]
    if empty or not named:
        raise ValueError(f"there are no pictures{f' of {empty[0]}' if empty else ''}; give at least one of each style")
    return named


def crop_grams(
    pictures: Sequence[Picture],
    features: VGG19Features,
    *,
    crops: int,
    crop_size: int | None,
    rng: np.random.Generator,
    name: str = "style",
) -> dict[str, NDArray[np.float32]]:
    """Gram matrices ``{layer: (crops, C, C)}`` of square crops at even random places, the pictures taken in turn.

    By default a crop has half the shorter side of the smallest picture, at most `DEFAULT_CROP`. Raises ValueError as
    `GramExpansion.fit`; `name` is the style's.
    """
    if crops < 2:
        raise ValueError(f"crops is {crops}; a distribution needs at least 2 (50 are usual)")
    lacking = [layer for layer in STYLE_LAYERS if layer not in features.layers]
    if lacking:
        raise ValueError(f"the network gives {features.layers}; it needs {', '.join(lacking)}, too")
    for number, picture in enumerate(pictures):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise ValueError(f"picture {number} of {name} is {picture.dtype} {picture.shape}; give uint8 (H, W, 3)")
        if not np.ptp(picture, axis=(0, 1)).any():
            raise ValueError(f"picture {number} of {name} has one colour, {picture[0, 0].tolist()}; it has no texture")
    shorter = min(min(picture.shape[:2]) for picture in pictures)
    side = max(min(shorter // 2, DEFAULT_CROP), features.stride) if crop_size is None else crop_size
    if not features.stride <= side <= shorter:
        raise ValueError(
            f"crop_size is {side}, the shorter side of the smallest picture of {name} {shorter}; choose from "
            f"{features.stride} to that, or give a larger picture"
        )
    found: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in STYLE_LAYERS}
    for first in range(0, crops, _AT_ONCE):
        chosen = [pictures[i % len(pictures)] for i in range(first, min(first + _AT_ONCE, crops))]
        batch = np.stack([_random_crop(picture, side, rng) for picture in chosen])
        with torch.inference_mode():
            outputs = features(to_tensor(batch, features.mean.device))
            for layer in STYLE_LAYERS:
                found[layer].append(cast(NDArray[np.float32], gram_matrix(outputs[layer]).cpu().numpy()))
    return {layer: np.concatenate(parts) for layer, parts in found.items()}


def _random_crop(picture: Picture, side: int, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return picture[top : top + side, left : left + side]
