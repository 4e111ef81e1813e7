"""What is rendered, at any size: a content and the regions of it that take on a style.

A mask is 255 where its region's style is wanted. Pixels outside of all regions do not move while a picture is made; at
the edges, where masks are in between, the result is laid over the content by their sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.images import Picture, lightness, resize, to_tensor

Masks = NDArray[np.uint8]  # (R, H, W)


@dataclass(frozen=True, eq=False)
class Scene:
    """A content ``(H, W, 3)``, rendered in ``grey`` or in colours, and perhaps masks of regions ``(R, H, W)``."""

    content: Picture
    masks: Masks | None
    grey: bool
    device: torch.device

    @classmethod
    def of(cls, content: Picture, masks: Masks | None, grey: bool, device: torch.device) -> Scene:
        """Raises ValueError for masks that do not fit the content, and for one that is black everywhere."""
        if masks is not None:
            if masks.shape[1:] != content.shape[:2] or masks.ndim != 3 or masks.dtype != np.uint8 or not len(masks):
                found, wanted = f"{masks.dtype} {masks.shape}", f"(R, {content.shape[0]}, {content.shape[1]})"
                raise ValueError(f"masks are {found}; give uint8 {wanted}, the size of the content")
            empty = [number for number, mask in enumerate(masks) if not mask.any()]
            if empty:
                raise ValueError(f"mask {empty[0]} is black everywhere; white is where its style is wanted")
        return cls(content, masks, grey, device)

    def content_at(self, height: int, width: int) -> Tensor:
        """``(1, 3, height, width)``."""
        resized = resize(self.content, height, width)
        return to_tensor((lightness(resized) if self.grey else resized)[None], self.device)

    def masks_at(self, height: int, width: int) -> Tensor | None:
        """``(R, height, width)`` in [0, 1]."""
        if self.masks is None:
            return None
        parts = [to_tensor(resize(mask, height, width)[None, ..., None], self.device)[0, 0] for mask in self.masks]
        return torch.stack(parts)

    def laid_over(self, images: Picture) -> Picture:
        """``images`` ``(K, h, w, 3)`` where there is a region, the content elsewhere."""
        height, width = images.shape[1:3]
        masks = self.masks_at(height, width)
        if masks is None:
            return images
        share = masks.sum(0).clamp(max=1).cpu().numpy()[..., None]
        still = resize(self.content, height, width)
        return (still + share * (images.astype(np.float32) - still)).round().astype(np.uint8)


def enlarge(pixels: Tensor, height: int, width: int) -> Tensor:
    """A copy of pictures ``(K, 3, h, w)`` as ``(K, 3, height, width)``, values still in [0, 1]."""
    if pixels.shape[2:] == (height, width):
        return pixels.clone()
    return F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True).clamp_(0, 1)
