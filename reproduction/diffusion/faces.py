"""Faces of a study's models for the pages of pictures: what is asked for, drawing with numbered Z and noise, sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import batch_size
from gaussmix.training.device import fast_autocast
from gaussmix.training.schedule import step_generator
from reproduction.diffusion.study import Faces, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = NDArray[np.uint8]

D_LISTS: dict[str, tuple[str, ...]] = {
    "1": ("Arched_Eyebrows", "Attractive", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Smiling", "Young"),
    "13": ("Bushy_Eyebrows", "Male", "Pointy_Nose", "Straight_Hair", "Young", "Attractive"),
    "14": ("5_o_Clock_Shadow", "Arched_Eyebrows", "Bags_Under_Eyes", "Male", "Black_Hair"),
    "15": ("Arched_Eyebrows", "Attractive", "Bangs", "Big_Lips", "Heavy_Makeup", "High_Cheekbones"),
    "16": ("Arched_Eyebrows", "Attractive", "Brown_Hair", "Heavy_Makeup", "Smiling", "Young"),
}
"""The attributes that D's figures print."""
OUR_LISTS: dict[str, tuple[str, ...]] = {
    "1": ("Brown_Hair", "Long_Hair", "Smiling"),
    "13": ("Mustache", "Brown_Hair"),
    "14": ("Beard", "Black_Hair"),
    "15": ("Long_Hair", "Mouth_Open", "Blond_Hair"),
    "16": ("Brown_Hair", "Smiling", "Eyeglasses"),
}
"""Those asked of a model of the built-in faces instead."""

_SHOWN = 128  # pixels that a small picture is enlarged to
_GAP = 8
_LEVELS = 4  # colours are rounded to multiples of this, which nobody sees and which makes files a third smaller
_DPI = 110  # of the report, so that sizes are in pixels
_LETTER, _LINE, _MARGIN = 16, 52, 28  # pixels


def with_attributes(faces: Faces, wanted: Sequence[str]) -> NDArray[np.int64]:
    """Positions of the asked-for faces that have all of these attributes."""
    return np.flatnonzero(faces.attributes[:, find_attributes(wanted, faces.names)].all(1))


def nearest_to(faces: Faces, wanted: Sequence[str], count: int) -> NDArray[np.int64]:
    """``count`` asked-for faces that lack the fewest of these."""
    lacking = (faces.attributes[:, find_attributes(wanted, faces.names)] == 0).sum(1)
    return np.argsort(lacking, kind="stable")[:count]


def numbered_latents(
    pipeline: AttributeDiffusionPipeline,
    numbers: Sequence[int],
    components: Sequence[Mapping[str, int]] | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Z of these numbers, ``(M, T, N)``, ungated, with the given ``components`` of some attributes."""
    chosen = zip(numbers, components or [{}] * len(numbers), strict=True)
    return torch.cat([pipeline.draw_attribute_latents(1, step_generator(seed, j, 0), c) for j, c in chosen])


def draw_numbered(
    run: Run,
    attributes: NDArray[np.uint8],
    *,
    latents: Sequence[int] | None = None,
    noises: Sequence[int] | None = None,
    components: Sequence[Mapping[str, int]] | None = None,
) -> Pictures:
    """Draw pictures ``(M, H, W, 3)`` for attributes ``(M, K)``.

    Picture i has Z number ``latents[i]``, with the given ``components`` of some attributes, and starts from noise
    number ``noises[i]``; each has its own by default. A number's Z and noise are the same wherever they are asked for.
    """
    pipeline, config, count = run.pipeline, run.study.config, len(attributes)
    network, own = pipeline.network, range(len(attributes))
    z = numbered_latents(pipeline, own if latents is None else latents, components, config.seed)
    shape, which = (1, *network.state_shape), own if noises is None else noises
    x = torch.cat([torch.randn(shape, generator=step_generator(config.seed, j, 1)) for j in which])
    at_once = batch_size(network.config["sample_size"], network.device)
    pipeline.set_progress_bar_config(disable=True)
    parts = []
    for start in range(0, count, at_once):
        part = slice(start, start + at_once)
        with fast_autocast(network.device, network.dtype):
            out = pipeline(
                attributes[part],
                z[part],
                num_inference_steps=config.sampling_steps,
                guidance_scale=config.guidance,
                latents=x[part],
                output_type="uint8",
            )
        parts.append(np.asarray(out.images))
    return np.concatenate(parts)


def words(names: Sequence[str]) -> str:
    """Return a list of attributes as D prints it."""
    return ", ".join(name.replace("_", " ") for name in names)


class FaceBlock(NamedTuple):
    """A block of a figure: pictures ``(R, C, H, W, 3)`` under a title, with a label for each row or column."""

    title: str
    pictures: Pictures
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


def draw_faces(title: str, *blocks: FaceBlock) -> Figure:
    """Return blocks of faces side by side, laid out in whole pixels: what is shown are the pixels of the faces."""
    from matplotlib.figure import Figure

    above = _LINE * (1 + any(block.title for block in blocks) + any(len(block.columns) for block in blocks))
    tiles = [_tile(block.pictures) for block in blocks]
    labels = [_LETTER * max(map(len, block.rows), default=0) + _MARGIN for block in blocks]
    width = sum(tile.shape[1] for tile in tiles) + sum(labels) + _MARGIN
    height = max(tile.shape[0] for tile in tiles) + above + _MARGIN
    figure = Figure(figsize=(max(width, _LETTER * len(title)) / _DPI, height / _DPI), dpi=_DPI)
    across, up = figure.get_size_inches() * _DPI
    left = 0
    for block, tile, label in zip(blocks, tiles, labels, strict=True):
        left += label
        low = up - above - tile.shape[0]
        axes = figure.add_axes((left / across, low / up, tile.shape[1] / across, tile.shape[0] / up))
        axes.imshow(tile, interpolation="nearest", aspect="auto")
        axes.set_title(block.title, fontsize=18, pad=32 if block.columns else 8)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=16, labeltop=True, labelbottom=False)
        rows, columns = block.pictures.shape[:2]
        axes.set_yticks([(r + 0.5) * tile.shape[0] / rows for r in range(len(block.rows))], block.rows)
        axes.set_xticks([(c + 0.5) * tile.shape[1] / columns for c in range(len(block.columns))], block.columns)
        left += tile.shape[1]
    figure.text(0.5, 1 - 0.5 * _LINE / up, title, ha="center", va="center", fontsize=22)
    return figure


def _tile(pictures: Pictures) -> Pictures:
    """``(R, C, H, W, 3)`` as one picture, each enlarged by a whole number, with white gaps."""
    scale = max(1, _SHOWN // pictures.shape[2])
    rounded = np.minimum((pictures.astype(np.int32) + _LEVELS // 2) // _LEVELS * _LEVELS, 255).astype(np.uint8)
    large = rounded.repeat(scale, 2).repeat(scale, 3)
    half = _GAP // 2
    framed = np.pad(large, ((0, 0), (0, 0), (half, half), (half, half), (0, 0)), constant_values=255)
    rows, columns, height, width, _ = framed.shape
    return framed.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
