"""What a rendering asks for: files as styles with shares, for the whole picture or for regions of it.

A file is a picture, whose distribution is learnt, or what `GramExpansion.save` wrote. Masks are pictures, white where a
style is wanted; a style without one has what the others leave. `rough_target` is for a first look, before anything is
learnt: the Gram matrices of whole pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.expansion import GramExpansion, Seed
from gaussmix.style.grams import DEFAULT_CROP
from gaussmix.style.images import Picture, fit_size, is_grey, lightness, read_picture, resize, to_tensor
from gaussmix.style.vgg import STYLE_LAYERS, VGG19Features, gram_matrix

Mask = NDArray[np.uint8]  # (H, W)

_CROPS = 50
_FORWARD = 0.4  # what features alone take of a step's time


@dataclass(frozen=True, eq=False)
class StyleSource:
    """A style, its share of a region, and what it comes from: a ``picture`` or what was ``learnt``."""

    name: str
    share: float
    picture: Picture | None
    learnt: GramExpansion | None

    @property
    def grey(self) -> bool:
        """Whether there is no colour in it."""
        return is_grey(self.picture) if self.picture is not None else self.learnt is not None and self.learnt.grey


def read_sources(
    shares: Mapping[str, float], size: int, recolor: Callable[[Picture], Picture] | None = None
) -> list[StyleSource]:
    """Read the files of a region's styles, pictures with ``size`` pixels along their longer side, recoloured.

    Raises what `read_picture` and `GramExpansion.load` raise.
    """
    found = []
    for path, share in ((Path(file), share) for file, share in shares.items()):
        if path.suffix == ".safetensors":
            found.append(StyleSource(path.stem, share, None, GramExpansion.load(path)))
        else:
            picture = read_picture(path, size)
            found.append(StyleSource(path.stem, share, recolor(picture) if recolor else picture, None))
    return found


def learn(
    sources: Sequence[StyleSource], features: VGG19Features, random_state: Seed = None
) -> tuple[GramExpansion, dict[str, float]]:
    """Return the styles in one expansion, and their blend by name; of several in one file each has the same part."""
    expansions, blend = [], {}
    for source in sources:
        found = source.learnt
        if found is None:
            assert source.picture is not None
            found = GramExpansion().fit(
                {source.name: source.picture}, features, crops=_CROPS, random_state=random_state
            )
        expansions.append(found)
        blend |= dict.fromkeys(found.styles, source.share / len(found.styles))
    return GramExpansion.join(expansions), blend


@torch.inference_mode()
def rough_target(sources: Sequence[StyleSource], features: VGG19Features, shrink: float) -> dict[str, Tensor]:
    """Return ``{layer: (C, C)}``, the blend of the styles' mean matrices, pictures made ``shrink`` times smaller."""
    total: dict[str, Tensor] = {}
    for source in sources:
        if source.picture is None:
            assert source.learnt is not None
            own = source.learnt.targets(source.learnt.plane.means.mean(0, keepdims=True))[0]
        else:
            height, width = source.picture.shape[:2]
            sides = fit_size(height, width, max(height, width) / shrink)
            picture = resize(source.picture, *(max(features.stride, side) for side in sides))
            found = features(to_tensor(picture[None], features.mean.device))
            own = {layer: gram_matrix(found[layer])[0].cpu() for layer in STYLE_LAYERS}
        total = {layer: source.share * gram + total.get(layer, 0) for layer, gram in own.items()}
    return total


def learning_work(regions: Sequence[Sequence[StyleSource]]) -> int:
    """Return what `learn` costs, in pixels times steps of a descent."""
    pictures = [source.picture for region in regions for source in region if source.picture is not None]
    sides = [min(min(picture.shape[:2]) // 2, DEFAULT_CROP) for picture in pictures]
    return round(sum(_CROPS * side**2 for side in sides) * _FORWARD)


def stack_regions(targets: Sequence[Sequence[Mapping[str, Tensor]]]) -> list[dict[str, Tensor]]:
    """Return ``{layer: (R, C, C)}`` of each variant from the variants' ``{layer: (C, C)}`` of each of R regions."""
    return [
        {layer: torch.stack([region[layer] for region in variant]) for layer in variant[0]}
        for variant in zip(*targets, strict=True)
    ]


def read_mask(path: Path, height: int, width: int) -> Mask:
    """Read a mask ``(height, width)``, whatever the size of the picture: its lightness."""
    return resize(lightness(read_picture(path)), height, width)[..., 0]


def region_masks(own: Sequence[Mask | None], within: Sequence[Mask | None]) -> NDArray[np.uint8] | None:
    """Return masks ``(R, H, W)`` of regions of which one may have none: it has what the others leave.

    All are kept ``within`` further masks. None where there is nothing to keep to.
    """
    given = [mask for mask in own if mask is not None]
    limits = [mask for mask in within if mask is not None]
    if not given and not limits:
        return None
    rest = 255 - np.max(given, axis=0) if given else np.full_like(limits[0], 255)
    masks = np.stack([rest if mask is None else mask for mask in own]).astype(np.float64)
    for limit in limits:
        masks *= limit / 255
    return masks.round().astype(np.uint8)
