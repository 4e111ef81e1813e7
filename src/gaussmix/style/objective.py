"""What a picture in a style minimises: the losses of K pictures of one size, and the gradients to their pixels.

    F^l, G^l    features and Gram matrix of a picture at layer l (`gaussmix.style.vgg`); F0^l of the content; T^l target
    style       mean over the style layers of  mean_ij (G^l_ij - T^l_ij)^2 / mean_ij (T^l_ij)^2     (1 for no G)
    content     mean over the content layers of  mean (F^l - F0^l)^2 / mean (F0^l)^2
    variation   mean of the squared differences between neighbouring pixels, along y plus along x
    loss        style_weight style + content_weight content + tv_weight variation

Where regions have styles of their own (Gatys et al. 2017), each has its G^l, a mean over its places p with weights m_p:

    G^l         sum_p m_p F_p F_p^T / sum_p m_p      m_p the region's mask, averaged over the pixels of the place
    style       mean over the regions, weighed by their areas, so that a pixel's pull does not depend on its region's

Where a region is held at a blend of styles, its style has a term more, HOLD |P (G - sum_s w_s m_s)|^2
(`gaussmix.style.blending`): a distance of the same kind, along what the styles differ in alone.

Divided by the size of what they compare, a weight means the same at any layer, size of picture and scale of the
network. Differs from the paper, whose losses (those of Gatys et al. 2016) are not.

A picture of more than ``max_pixels`` goes through the network in overlapping tiles. Its loss depends on them through
sums of F F^T alone, so a first pass adds these up, which gives dloss/dG, and a second one has each tile's
<dloss/dG, F F^T> / (h w) passed back to its pixels: the gradient of the whole picture, in the memory of one tile.

A place of a layer stands for ``stride`` pixels and sees ``reach`` pixels more on each side. A tile is a core and around
it a margin of at least that reach: the features of its core are those of the whole picture, and sums over the cores of
all tiles are exact. Tiles begin at multiples of the stride, so that pixels are pooled with the same neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor

from gaussmix.style.blending import HeldBlend
from gaussmix.style.vgg import CONTENT_LAYERS, VGG19Features, gram_sum, layer_stride

HOLD = 15.0
"""Weight of the distance from a blend beside a style loss of 1: pictures keep to it, and the rest comes as well."""
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
        """Those of the core among features ``(..., h, w)`` of the whole tile, a place in ``stride`` pixels."""
        rows, columns = (
            slice((first - start) // stride, (last - start) // stride)
            for (first, last), (start, _) in zip(self.core, self.outer, strict=True)
        )
        return features[..., rows, columns]

    def core_of(self, places: Tensor, stride: int) -> Tensor:
        """Those of the core among places ``(..., h, w)`` of the whole picture."""
        (top, bottom), (left, right) = self.core
        return places[..., top // stride : bottom // stride, left // stride : right // stride]


def make_tiles(height: int, width: int, stride: int, reach: int, max_pixels: int) -> list[Tile]:
    """Return tiles of at most ``max_pixels``, margins included, whose cores cover a picture; one if it is small enough.

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


Grams = Mapping[str, Tensor]


class Objective:
    """Losses and gradients of K pictures ``(K, 3, H, W)``, each by itself.

    For ``content`` ``(1, 3, H, W)`` in [0, 1] and ``targets`` T^l ``(K, C, C)`` of each style layer, or with ``masks``
    of regions ``(R, H, W)`` in [0, 1] T^l ``(K, R, C, C)``; all compared layers are among those of ``features``. Gram
    matrices and losses are in single precision, whatever the network's. Raises ValueError for a target without energy,
    and content in which the network sees nothing.

    ``blends``, of each region, are what pictures are held at.
    """

    def __init__(
        self,
        features: VGG19Features,
        content: Tensor,
        targets: Grams,
        *,
        style_weight: float,
        content_weight: float,
        tv_weight: float,
        max_pixels: int,
        masks: Tensor | None = None,
        blends: Sequence[HeldBlend | None] = (),
    ):
        self.features, self.blends = features, blends
        self.style_weight, self.content_weight, self.tv_weight = style_weight, content_weight, tv_weight
        height, width = content.shape[2:]
        self.tiles = make_tiles(height, width, features.stride, features.reach, max_pixels)
        self.content = [self._content_of(tile, content) for tile in self.tiles] if content_weight else []  # F0
        places = {layer: (height // layer_stride(layer)) * (width // layer_stride(layer)) for layer in targets}
        self.masks = {} if masks is None else {layer: _pooled(masks, layer) for layer in targets}
        self.places = {layer: [float(n)] for layer, n in places.items()}
        self.areas = content.new_ones(1)
        if masks is not None:
            self.places = {layer: mask.sum((1, 2)).tolist() for layer, mask in self.masks.items()}
            self.areas = masks.mean((1, 2)) / masks.mean((1, 2)).sum()
            if min(map(min, self.places.values())) <= 0:
                raise ValueError("a region has no place at the deepest layers; give masks that are larger or fewer")
        self.content_energy = {
            layer: torch.stack([part[layer].square().sum() for part in self.content]).sum()
            for layer in (CONTENT_LAYERS if content_weight else ())
        }
        _check_energy("content", self.content_energy)
        self.aim(targets)

    def aim(self, targets: Grams) -> None:
        """Take other targets, of the same layers."""
        self.targets = {layer: target if target.ndim == 4 else target[:, None] for layer, target in targets.items()}
        self.target_energy = {layer: target.square().mean((-2, -1)) for layer, target in self.targets.items()}
        _check_energy("target", self.target_energy)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Losses ``(K,)`` and the gradients of their sum ``(K, 3, H, W)`` at images ``(K, 3, H, W)``."""
        images = images.detach().requires_grad_()
        along_y, along_x = (images.diff(dim=axis).square().mean((1, 2, 3)) for axis in (2, 3))
        variation = self.tv_weight * (along_y + along_x)
        if len(self.tiles) == 1:
            found = self._look(self.tiles[0], images)
            grams = self._grams(self.tiles[0], found)
            losses = variation + self._style_loss(grams) + self._content_loss(0, found)
            return losses.detach(), torch.autograd.grad(losses.sum(), images)[0]
        losses, gradient = variation.detach(), torch.autograd.grad(variation.sum(), images)[0]
        images = images.detach()
        slopes, style = self._slopes(images)
        losses += style
        for number, tile in enumerate(self.tiles):
            part = tile.cut(images).clone().requires_grad_()
            found = self._look(tile, part)
            content = self._content_loss(number, found)
            grams = self._grams(tile, found)
            passed = sum(((slopes[layer] * grams[layer]).sum() for layer in grams), content.sum())
            tile.cut(gradient).add_(torch.autograd.grad(passed, part)[0])
            losses += content.detach()
        return losses, gradient

    def _slopes(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """dloss/dG of each layer and the style losses ``(K,)``, from a pass over all tiles."""
        with torch.no_grad():
            parts = [self._grams(tile, self._look(tile, tile.cut(images))) for tile in self.tiles]
        grams = {layer: torch.stack([part[layer] for part in parts]).sum(0).requires_grad_() for layer in self.targets}
        losses = self._style_loss(grams)
        slopes = torch.autograd.grad(losses.sum(), list(grams.values()))
        return dict(zip(grams, slopes, strict=True)), losses.detach()

    @torch.no_grad()
    def _content_of(self, tile: Tile, content: Tensor) -> dict[str, Tensor]:
        found = self._look(tile, tile.cut(content))
        return {layer: found[layer].to(content.dtype).clone() for layer in CONTENT_LAYERS}  # without the margin

    def _look(self, tile: Tile, images: Tensor) -> dict[str, Tensor]:
        """The features in the core of a tile."""
        found = self.features(images)
        return {layer: tile.inside(found[layer], layer_stride(layer)) for layer in found}

    def _grams(self, tile: Tile, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a tile adds to the Gram matrices of the picture, ``(K, R, C, C)``."""
        grams = {}
        for layer in self.targets:
            if not self.masks:
                grams[layer] = gram_sum(found[layer])[:, None] / self.places[layer][0]
                continue
            masks = tile.core_of(self.masks[layer], layer_stride(layer))
            own = [gram_sum(found[layer], m) / n for m, n in zip(masks, self.places[layer], strict=True)]
            grams[layer] = torch.stack(own, 1)
        return grams

    def _style_loss(self, grams: dict[str, Tensor]) -> Tensor:
        losses = [
            (grams[layer] - target).square().mean((-2, -1)) / self.target_energy[layer]
            for layer, target in self.targets.items()
        ]
        total = torch.stack(losses).mean(0)  # (K, R)
        for region, blend in enumerate(self.blends):
            if blend is not None:
                total[:, region] += HOLD * blend.distance({layer: gram[:, region] for layer, gram in grams.items()})
        return self.style_weight * (total * self.areas).sum(1)

    def _content_loss(self, tile: int, found: dict[str, Tensor]) -> Tensor:
        """What tile number ``tile`` adds to the content loss, ``(K,)``."""
        total = self.areas.new_zeros(1)
        for layer, energy in self.content_energy.items():
            moved = found[layer].to(energy.dtype) - self.content[tile][layer]
            total = total + moved.square().sum((1, 2, 3)) / energy
        return self.content_weight * total / len(CONTENT_LAYERS)


def _pooled(masks: Tensor, layer: str) -> Tensor:
    """``(R, h, w)``: of masks ``(R, H, W)`` the means over the places of a layer."""
    stride = layer_stride(layer)
    return masks if stride == 1 else F.avg_pool2d(masks[:, None], stride)[:, 0]


def _check_energy(what: str, energies: Grams) -> None:
    for layer, energy in energies.items():
        if not (energy > 0).all():
            raise ValueError(f"the {what} is zero at layer {layer}; give a picture in which the network sees something")
