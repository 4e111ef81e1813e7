"""Overlapping tiles of a picture, so that a large one goes through a network piece by piece.

A place of a layer stands for `stride` pixels and sees `reach` pixels more on each side. A tile is a core and around it
a margin of at least that reach: the features of its core are those of the whole picture, and sums over the cores of
all tiles are exact. Tiles begin at multiples of the stride, so that pixels are pooled with the same neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

from torch import Tensor

Span = tuple[int, int]  # first and last + 1, in pixels


@dataclass(frozen=True)
class Tile:
    """A core and the core with its margin, each as spans along y and x."""

    core: tuple[Span, Span]
    outer: tuple[Span, Span]

    def cut(self, images: Tensor) -> Tensor:
        """The tile with its margin: a view ``(..., h, w)`` into ``(..., H, W)``."""
        (top, bottom), (left, right) = self.outer
        return images[..., top:bottom, left:right]

    def inside(self, features: Tensor, stride: int) -> Tensor:
        """Those of the core among features ``(..., h, w)`` of the tile with its margin, a place in `stride` pixels."""
        rows, columns = (
            slice((first - start) // stride, (last - start) // stride)
            for (first, last), (start, _) in zip(self.core, self.outer, strict=True)
        )
        return features[..., rows, columns]


def make_tiles(height: int, width: int, stride: int, reach: int, max_pixels: int) -> list[Tile]:
    """Tiles of at most `max_pixels` each, margins included, whose cores cover a picture; one if it is small enough.

    Raises ValueError where that leaves no core.
    """
    margin = -(-reach // stride) * stride
    if height * width > max_pixels < (2 * margin + 2 * stride) ** 2:
        least = (2 * margin + 2 * stride) ** 2
        raise ValueError(f"max_pixels is {max_pixels}; tiles of this network take at least {least}")

    def outer(core: tuple[int, int]) -> int:
        return min(height, core[0] + 2 * margin) * min(width, core[1] + 2 * margin)

    rows, columns = (range(-(-side // stride) * stride, 0, -stride) for side in (height, width))
    fitting = [core for core in product(rows, columns) if outer(core) <= max_pixels]
    chosen = min(fitting, key=lambda core: outer(core) * -(-height // core[0]) * -(-width // core[1]))  # least work
    spans = [
        [((a, b), (max(0, a - margin), min(side, b + margin))) for a, b in pairwise([*range(0, side, core), side])]
        for side, core in zip((height, width), chosen, strict=True)
    ]
    return [Tile((y, x), (outer_y, outer_x)) for (y, outer_y), (x, outer_x) in product(*spans)]
