"""The two views of a picture in which matched latents look for modes: its colours and its shapes.

- colour: the pixels in [-1, 1], averaged down to at most 32 a side;
- shape: with the gradients ``g_x, g_y`` of the colour view (each a vector over red, green and blue),
  ``(|g|, (|g_x|^2 - |g_y|^2) / |g|, 2 g_x.g_y / |g|)``: how strong an edge is and how it lies, doubled in angle so that
  dark on light is the same as light on dark; divided by the strength of the edges around it, so that a pale hat and a
  black one of one cut look alike; averaged over 2 x 2 pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

MAX_SIZE = 32
"""Largest side of the colour view in pixels."""
EDGE_FLOOR = 0.1
"""Strength, in units of the colour view, below which an edge is taken for noise and not made stronger."""
_AROUND = 9  # pixels a side over which the strength of the edges is averaged


def colour_view(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images ``(M, H, W, 3)`` as rows ``(M, P)`` in [-1, 1], averaged down to at most `MAX_SIZE` pixels a side."""
    factor = -(-images.shape[1] // MAX_SIZE)
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    x = torch.nn.functional.avg_pool2d(x, factor) if factor > 1 else x
    return (x / 127.5 - 1).permute(0, 2, 3, 1).flatten(1).numpy()


def shape_view(colours: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """The colour view ``(M, P)`` of pictures of ``side`` x ``side`` pixels as ``(M, 3 * (side // 2) ** 2)``."""
    x = torch.from_numpy(colours).view(-1, side, side, 3)
    across, down = torch.zeros_like(x), torch.zeros_like(x)
    across[:, :, 1:-1] = x[:, :, 2:] - x[:, :, :-2]
    down[:, 1:-1] = x[:, 2:] - x[:, :-2]
    xx, yy, xy = (across**2).sum(3), (down**2).sum(3), (across * down).sum(3)
    strength = (xx + yy).sqrt()
    softened = (xx + yy + EDGE_FLOOR**2).sqrt()
    edges = torch.stack([strength, (xx - yy) / softened, 2 * xy / softened], 1)
    pool = torch.nn.functional.avg_pool2d
    around = pool(strength[:, None], _AROUND, 1, _AROUND // 2, count_include_pad=False)
    return pool(edges / (around + EDGE_FLOOR), 2).permute(0, 2, 3, 1).flatten(1).numpy()
