"""What the pages of style share (E Figures 11-13): the network, the paintings, the styles' crops, renderings.

E takes Van Gogh's "The Starry Night" and "Sunflowers". The environment variable GAUSSMIX_ART names a folder with
starry_night.jpg and sunflowers.jpg, or another painting gogh_auvers.jpg in its place, and home.jpg, a photograph.

How good are draws of Gram matrices, and the pictures made to fit them.

    negative mass       sum |lambda_i < 0| / sum |lambda_i| of a matrix: what no features can have
    span share          |P (g - m)|^2 / |g - m|^2, P onto the differences of real crops: what crops do vary in
    realised blend      argmin_w |g - sum_s w_s m_s|^2 with sum_s w_s = 1: which mixture of the styles' means g is
    style loss          |g - T|^2, relative to the target T as in `gaussmix.style.objective`
    variety             mean distance of two pictures' features, in units of their size

g is a row and |.| the metric of `gaussmix.style.grams`, m the mean of a style's crops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.data.base import DataError
from gaussmix.style.grams import GramLayout, Rows, crop_grams
from gaussmix.style.images import fit_size, read_picture, resize, to_tensor
from gaussmix.style.transfer import StyleTransfer, Target
from gaussmix.style.vgg import CONTENT_LAYERS, STYLE_LAYERS, VARIABLE, VGG19Features, gram_matrix

ART = "GAUSSMIX_ART"
RANDOM, DRAWN = "random", "drawn"
_STYLE_FILES = (("starry_night.jpg",), ("sunflowers.jpg", "gogh_auvers.jpg"))
_CONTENT_FILES = ("home.jpg", "starry_night.jpg")
_RANDOM_WIDTH = 8
_STYLE_SIZE = 2  # of the pictures that crops are taken from, in sizes of the results

QUICK: dict[str, Any] = {"weights": RANDOM, "art": DRAWN, "size": 64, "crops": 6, "steps": 2}
"""What all pages change to be quick."""

SOURCES = (
    'Pictures: E says that "The Starry Night" and "Sunflowers" are "the target and style images, respectively", and '
    "mixes two styles. Here they are the two styles (another Van Gogh stands in where the folder has no Sunflowers), "
    "and the content is a photograph, so that what is seen of a style came from its matrices.",
    "Gram matrices are those of E Eq. 11 divided by h w. Differs from the paper, which does not divide.",
)


@dataclass(frozen=True)
class StyleConfig:
    """Settings that all of these pages have."""

    seed: int = 0
    weights: str = f"${VARIABLE}"
    """File with VGG19's weights; by default where `VGG19Features.load` looks. "random" is for trying the page out."""
    art: str = f"${ART}"
    """Folder of the paintings; "drawn" stands for plain patterns."""
    size: int = 128
    """Pixels of the longer side of a result; styles are cropped from pictures of twice that."""
    crops: int = 50
    """Of each style."""
    steps: int = 100
    """Of descent, for each picture."""


Picture = NDArray[np.uint8]


class Studio(NamedTuple):
    """Network, content ``(H, W, 3)``, and the styles' pictures by name."""

    features: VGG19Features
    content: Picture
    styles: dict[str, Picture]

    def crop_grams(self, config: StyleConfig) -> dict[str, dict[str, NDArray[np.float32]]]:
        """``{style: {layer: (crops, C, C)}}``."""
        rng = np.random.default_rng(config.seed)
        return {
            name: crop_grams([picture], self.features, crops=config.crops, crop_size=None, rng=rng, name=name)
            for name, picture in self.styles.items()
        }

    def render(self, config: StyleConfig, targets: Sequence[Target], told: Callable[[int], None]) -> Picture:
        """``(K, H, W, 3)``, a picture for each target; `told` hears how many more are done."""
        transfer = StyleTransfer(self.features, size=config.size, steps=config.steps)
        pictures = []
        for target in targets:
            pictures.append(transfer.run(self.content, [target], seed=config.seed).images)
            told(1)
        return np.concatenate(pictures)


def open_studio(config: StyleConfig) -> Studio:
    """Raises `DataError` where weights or paintings are missing, with how to get them."""
    if config.weights == RANDOM:
        features = VGG19Features.random(config.seed, width=_RANDOM_WIDTH)
    else:
        features = VGG19Features.load(None if config.weights.startswith("$") else config.weights)
    if config.art == DRAWN:
        content, styles = _drawn(config.seed)
    else:
        folder = _art_folder(config.art)
        content = read_picture(_first(folder, _CONTENT_FILES))
        paths = [_first(folder, names) for names in _STYLE_FILES]
        styles = {path.stem: read_picture(path) for path in paths}
    size = _STYLE_SIZE * config.size
    resized = {name: resize(p, *fit_size(p.shape[0], p.shape[1], size)) for name, p in styles.items()}
    return Studio(features, content, resized)


class Told:
    """Adds up progress: how many are done in all goes to `on_step`."""

    def __init__(self, on_step: Callable[[int], None]):
        self.done, self.on_step = 0, on_step

    def __call__(self, more: int) -> None:
        self.done += more
        self.on_step(self.done)


def _art_folder(art: str) -> Path:
    named = os.environ.get(art.removeprefix("$")) if art.startswith("$") else art
    if not named or not Path(named).is_dir():
        found = f"{named} is no folder" if named else f"${ART} is not set"
        raise DataError(f"the paintings are not here: {found}; set ${ART} to a folder with {_wanted()}")
    return Path(named)


def _first(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} has no {' and no '.join(names)}; put {_wanted()} there")


def _wanted() -> str:
    return f"{', '.join(' or '.join(names) for names in _STYLE_FILES)} and {_CONTENT_FILES[0]}"


def _drawn(seed: int) -> tuple[Picture, dict[str, Picture]]:
    """Patterns of 96 pixels: a disk as content, stripes and dots as styles."""
    y, x = np.mgrid[:96, :96] / 96
    speckle = np.random.default_rng(seed).normal(0, 12, (3, 96, 96, 3))
    disk = np.hypot(x - 0.5, y - 0.5) < 0.3
    stripes = np.sin(40 * x + 6 * np.sin(7 * y))
    dots = np.cos(45 * x) * np.cos(45 * y)
    shades = [
        np.where(disk[..., None], [200, 180, 120], [90, 120, 160]),
        128 + 100 * stripes[..., None] * [0.3, 0.6, 1.0],
        128 + 100 * dots[..., None] * [1.0, 0.8, 0.2],
    ]
    content, first, second = (np.clip(s + n, 0, 255).astype(np.uint8) for s, n in zip(shades, speckle, strict=True))
    return content, {"stripes": first, "dots": second}


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
