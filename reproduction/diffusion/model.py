"""What the pages of pictures share (D Figures 1, 4, 5 and Appendix A): a trained model, its data, its judge.

The model is the one in the package, or the one in the folder that the environment variable GAUSSMIX_MODEL names, with
its data in that of GAUSSMIX_CELEBA. Real faces are held-out ones, of the valid and test splits of what the model was
trained on; features and attributes are read by an independent classifier, the judge.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.data.load import load_dataset
from gaussmix.diffusion.conditions import find_attributes
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import batch_size, sheet_requests
from gaussmix.metrics.classifier import STEPS, AttributeClassifier, load_or_train_classifier
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.schedule import step_generator

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

_SHOWN = 64  # pixels that a small picture is enlarged to
_GAP = 4
_LEVELS = 4  # colours are rounded to multiples of this, which nobody sees and which makes files a third smaller
_DPI = 110  # of the report, so that sizes are in pixels
_LETTER, _LINE, _MARGIN = 8, 26, 14  # pixels


@dataclass(frozen=True)
class PageConfig:
    """Settings that all of these pages have."""

    seed: int = 0
    model: str = "$GAUSSMIX_MODEL"
    """Folder of a model or of a training run; the model in the package where the variable is not set."""
    data: str = "$GAUSSMIX_CELEBA"
    """Folder of the faces, for a model of other faces than the built-in ones; else where the model says they were."""
    faces: int | None = None
    """Load this many of the model's faces instead of all."""
    sampling_steps: int = 10
    """Of DPM-Solver++."""
    guidance: float = 1.0
    """1: none, as in the paper."""
    judge_steps: int = STEPS
    """Training steps of the judge."""


QUICK: dict[str, Any] = {"model": "", "faces": 200, "sampling_steps": 2, "judge_steps": 4}
"""What all pages change to be quick."""


@dataclass(frozen=True, eq=False)
class JudgedModel:
    """A model, the faces it was trained on, and a judge of faces."""

    facts: dict[str, Any]
    """Whether it is the one in the package ("shipped"), its "data", "steps" of training and "size" in pixels."""
    pipeline: AttributeDiffusionPipeline
    images: Pictures
    """All faces ``(N, H, W, 3)``."""
    attributes: NDArray[np.uint8]
    """Theirs ``(N, K)``, in the order of the model."""
    training: NDArray[np.int64]
    """Positions of the train split."""
    held_out: NDArray[np.int64]
    """Positions of the valid and test splits."""
    judge: AttributeClassifier
    """Trained on the train split."""
    columns: list[int]
    """The model's attributes among the judge's."""

    @property
    def names(self) -> tuple[str, ...]:
        """The K attributes."""
        return self.pipeline.attribute_names

    def predict(self, images: Pictures) -> NDArray[np.bool_]:
        """Return the attributes that the judge sees, ``(M, K)``."""
        return self.judge.predict(images)[:, self.columns]

    def with_attributes(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of the held-out faces that have all of these attributes."""
        has = self.attributes[self.held_out][:, find_attributes(wanted, self.names)]
        return self.held_out[has.all(1)]

    def nearest_to(self, wanted: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
        """Return ``count`` held-out faces that lack the fewest of these, in random order among equals."""
        order = np.random.default_rng(seed).permutation(self.held_out)
        lacking = (self.attributes[order][:, find_attributes(wanted, self.names)] == 0).sum(1)
        return order[np.argsort(lacking, kind="stable")[:count]]

    def wanted(self, figure: str) -> tuple[str, ...]:
        """Return what to ask for: D's list if the model knows it, else ours, else attributes of the model's own."""
        for names in (D_LISTS[figure], OUR_LISTS[figure]):
            if set(names) <= set(self.names):
                return names
        own = sheet_requests(self.pipeline)
        return tuple(own[list(D_LISTS).index(figure) % len(own)])


def load_subject(config: PageConfig) -> JudgedModel:
    """Load the model, its faces, and the judge, which is trained if the cache does not hold it.

    Raises ValueError if there is no model, if its faces are not to be found, or if these lack its attributes.
    """
    folder = given_folder(config.model)
    pipeline = AttributeDiffusionPipeline.load(folder)
    trained = pipeline.training
    source = source_of(pipeline, config.data)
    size = pipeline.network.config["sample_size"]
    count = config.faces or trained.get("count")
    dataset = load_dataset(source, size=size, count=count, seed=trained.get("seed", 0), progress=False)
    columns = find_attributes(pipeline.attribute_names, dataset.attribute_names)
    judge, _ = load_or_train_classifier(dataset, steps=config.judge_steps, progress=False)
    return JudgedModel(
        facts={"shipped": folder is None, "data": dataset.name, "steps": trained.get("steps", 0), "size": size},
        pipeline=pipeline,
        images=dataset.images,
        attributes=dataset.attributes[:, columns],
        training=dataset.indices("train"),
        held_out=np.setdiff1d(np.arange(len(dataset)), dataset.indices("train")),
        judge=judge,
        columns=columns,
    )


def source_of(pipeline: AttributeDiffusionPipeline, data: str) -> str | Path:
    """Return what the model was trained on: "avatars", or the folder of ``data``, else the one that the model names.

    Raises ValueError if none is known.
    """
    source = pipeline.training.get("data")
    found = source if source == "avatars" else given_folder(data) or source
    if found is None:
        raise ValueError("the model does not say what it was trained on; set GAUSSMIX_CELEBA to the folder of its data")
    return found


def given_folder(path: str) -> Path | None:
    """Return the folder of a setting that may name an environment variable; None if that is not set."""
    expanded = os.path.expandvars(path)
    return Path(expanded).expanduser() if expanded and "$" not in expanded else None


class FaceSampler:
    """Draws with models: Z number j and noise number j of one are the same wherever they are asked for.

    ``on_step`` is told the number of pictures drawn so far.
    """

    def __init__(self, config: PageConfig, on_step: Callable[[int], None]):
        self.config, self.on_step = config, on_step
        self.done = 0

    def draw(
        self,
        pipeline: AttributeDiffusionPipeline,
        attributes: NDArray[np.uint8],
        *,
        latents: Sequence[int] | None = None,
        noises: Sequence[int] | None = None,
        components: Sequence[Mapping[str, int]] | None = None,
    ) -> Pictures:
        """Draw pictures ``(M, H, W, 3)`` for attributes ``(M, K)``.

        Picture i has Z number ``latents[i]``, with the given ``components`` of some attributes, and starts from noise
        number ``noises[i]``; each has its own by default.
        """
        numbers = latents or range(len(attributes))
        return self.draw_with(pipeline, attributes, self.latents(pipeline, numbers, components), noises)

    def latents(
        self,
        pipeline: AttributeDiffusionPipeline,
        numbers: Sequence[int],
        components: Sequence[Mapping[str, int]] | None = None,
    ) -> torch.Tensor:
        """Return Z of these numbers, ``(M, T, N)``, ungated, with the given ``components`` of some attributes."""
        chosen = zip(numbers, components or [{}] * len(numbers), strict=True)
        return torch.cat(
            [pipeline.draw_attribute_latents(1, step_generator(self.config.seed, j, 0), c) for j, c in chosen]
        )

    def draw_with(
        self,
        pipeline: AttributeDiffusionPipeline,
        attributes: NDArray[np.uint8],
        z: torch.Tensor,
        noises: Sequence[int] | None = None,
    ) -> Pictures:
        """Draw as `draw` does, with a given Z ``(M, T, N)``."""
        count, unet, seed = len(attributes), pipeline.network, self.config.seed
        shape = (1, unet.config["in_channels"], unet.config["sample_size"], unet.config["sample_size"])
        x = torch.cat([torch.randn(shape, generator=step_generator(seed, j, 1)) for j in noises or range(count)])
        at_once = batch_size(shape[-1], unet.device)
        fast = has_fast_bfloat16(unet.device) and unet.dtype == torch.float32
        pipeline.set_progress_bar_config(disable=True)
        parts = []
        for start in range(0, count, at_once):
            part = slice(start, start + at_once)
            with torch.autocast(unet.device.type, torch.bfloat16, enabled=fast):
                out = pipeline(
                    attributes[part],
                    z[part],
                    num_inference_steps=self.config.sampling_steps,
                    guidance_scale=self.config.guidance,
                    latents=x[part],
                    output_type="uint8",
                )
            parts.append(np.asarray(out.images))
            self.done += len(parts[-1])
            self.on_step(self.done)
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
        axes.set_title(block.title, fontsize=9, pad=16 if block.columns else 4)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=8, labeltop=True, labelbottom=False)
        rows, columns = block.pictures.shape[:2]
        axes.set_yticks([(r + 0.5) * tile.shape[0] / rows for r in range(len(block.rows))], block.rows)
        axes.set_xticks([(c + 0.5) * tile.shape[1] / columns for c in range(len(block.columns))], block.columns)
        left += tile.shape[1]
    figure.text(0.5, 1 - 0.5 * _LINE / up, title, ha="center", va="center", fontsize=11)
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
