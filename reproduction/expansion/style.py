"""What the pages of style share (E Figures 11-13): the network, the paintings, the styles' crops, renderings.

E takes Van Gogh's "The Starry Night" and "Sunflowers". The environment variable GAUSSMIX_ART names a folder with
starry_night.jpg and sunflowers.jpg, or another painting gogh_auvers.jpg in its place, and home.jpg, a photograph.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gaussmix.data.load import DataError
from gaussmix.style.crops import crop_grams
from gaussmix.style.images import fit_size, read_picture, resize
from gaussmix.style.transfer import StyleTransfer, Target
from gaussmix.style.vgg import VARIABLE, VGG19Features

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
