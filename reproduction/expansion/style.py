"""What the pages of style share (E Figures 11 to 13): the network, the paintings, their crops, renderings, measures.

GAUSSMIX_ART names a folder with starry_night.jpg and sunflowers.jpg, or another painting gogh_auvers.jpg in its place,
and home.jpg, a photograph. How good draws of Gram matrices are, and the pictures made to fit them:

    negative mass       sum |lambda_i < 0| / sum |lambda_i| of a matrix: what no features can have
    span share          |P (g - m)|^2 / |g - m|^2, P onto the differences of real crops: what crops do vary in
    realised blend      argmin_w |g - sum_s w_s m_s|^2 with sum_s w_s = 1: which mixture of the styles' means g is
    style loss          |g - T|^2, relative to the target T as in `gaussmix.style.objective`
    variety             mean distance of two pictures' features, in units of their size

g is a row and |.| the metric of `gaussmix.style.grams`, m the mean of a style's crops.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

import gaussmix.style.transfer
from gaussmix.data.base import DataError
from gaussmix.data.cache import digest
from gaussmix.style.blending import HeldBlend
from gaussmix.style.expansion import GramExpansion
from gaussmix.style.grams import GramLayout, Rows, crop_grams
from gaussmix.style.images import fit_size, read_picture, resize, to_tensor
from gaussmix.style.transfer import StyleTransfer, Target
from gaussmix.style.vgg import CONTENT_LAYERS, STYLE_LAYERS, VARIABLE, VGG19Features, gram_matrix
from reproduction.diffusion.faces import FaceBlock, draw_faces
from reproduction.runs import counted, kept_arrays

Picture = NDArray[np.uint8]

ART = "GAUSSMIX_ART"
RANDOM, DRAWN = "random", "drawn"
_STYLE_FILES = (("starry_night.jpg",), ("sunflowers.jpg", "gogh_auvers.jpg"))
_CONTENT_FILES = ("home.jpg", "starry_night.jpg")
_RANDOM_WIDTH = 8
_STYLE_SIZE = 2  # of the pictures that crops are taken from, in sizes of the results
_FLAT = 1e-6  # share of the largest variance below which a direction of crops is rounding
_AT_ONCE = 4  # pictures in one pass through the network

QUICK: dict[str, Any] = {"weights": RANDOM, "art": DRAWN, "size": 64, "crops": 6, "steps": 2, "runs": ""}
"""What all pages change to be quick."""


@dataclass(frozen=True)
class StylePageConfig:
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
    runs: str = "runs/reproduce"
    """Where pictures are kept, so that a page goes on where it was stopped; nowhere if empty."""


class StyleStudy:
    """A network, a content and two styles; pictures made of targets, and where blends lie between the styles.

    ``features``, ``content`` ``(H, W, 3)`` and ``styles``, the pictures by name. ``on_step`` is told the number of
    pictures made so far; ``earlier_seconds`` of CPU time went into those that earlier sittings kept. Raises `DataError`
    where weights or paintings are missing, with how to get them.
    """

    def __init__(self, config: StylePageConfig, on_step: Callable[[int], None]):
        self.config, self._one_more = config, counted(on_step)
        self.earlier_seconds = 0.0
        if config.weights == RANDOM:
            self.features = VGG19Features.random(config.seed, width=_RANDOM_WIDTH)
        else:
            self.features = VGG19Features.load(None if config.weights.startswith("$") else config.weights)
        self.content, styles = _drawn(config.seed) if config.art == DRAWN else _read(config.art)
        size = _STYLE_SIZE * config.size
        self.styles = {name: resize(p, *fit_size(p.shape[0], p.shape[1], size)) for name, p in styles.items()}

    @cached_property
    def crops(self) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Gram matrices ``{style: {layer: (crops, C, C)}}``."""
        rng, n = np.random.default_rng(self.config.seed), self.config.crops
        return {
            name: crop_grams([picture], self.features, crops=n, crop_size=None, rng=rng, name=name)
            for name, picture in self.styles.items()
        }

    @cached_property
    def expansion(self) -> GramExpansion:
        """The default distribution of the crops."""
        return GramExpansion().fit_grams(self.crops)

    def rows(self, grams: Mapping[str, Any]) -> Rows:
        """``(n, E)`` of matrices ``{layer: (n, C, C)}``."""
        return self.expansion.layout.rows({layer: np.asarray(gram) for layer, gram in grams.items()})

    def render(self, targets: Sequence[Target], blend: Mapping[str, float] | None = None) -> Picture:
        """``(K, H, W, 3)``, a picture for each target, kept at the shares of a ``blend``, if there is one."""
        held = None if blend is None else self.expansion.held(blend)
        pictures = []
        for target in targets:
            pictures.append(self._picture(target, held))
            self._one_more()
        return np.concatenate(pictures)

    def _picture(self, target: Target, held: HeldBlend | None) -> Picture:
        """``(1, H, W, 3)``, made now or kept from an earlier sitting."""
        transfer = StyleTransfer(self.features, size=self.config.size, steps=self.config.steps)

        def make() -> dict[str, Any]:
            started = time.process_time()
            images = transfer.run(self.content, [target], blends=[held], seed=self.config.seed).images
            return {"images": images, "cpu_seconds": time.process_time() - started}

        if not self.config.runs:
            return make()["images"]
        file = self._file(target, held)
        there = file.is_file()
        found = kept_arrays(file, make)
        self.earlier_seconds += float(found["cpu_seconds"]) if there else 0.0
        return found["images"]

    @cached_property
    def _made_with(self) -> str:
        """Digest of what all pictures of this study depend on: the code, the network, the photograph, the settings."""
        known = hashlib.blake2b(self.content.tobytes(), digest_size=16)
        for file in sorted(Path(gaussmix.style.transfer.__file__).parent.glob("*.py")):
            known.update(file.read_bytes())
        for name, value in self.features.state_dict().items():
            known.update(name.encode() + value.numpy(force=True).tobytes())
        return digest(known.hexdigest(), self.config.size, self.config.steps, self.config.seed)

    def _file(self, target: Target, held: HeldBlend | None) -> Path:
        """Where the picture of a target is kept."""
        known = hashlib.blake2b(digest_size=16)
        for layer, gram in target.items():
            known.update(layer.encode() + gram.numpy(force=True).tobytes())
        blend = None if held is None else held.asked.tolist()
        return Path(self.config.runs) / "style" / f"{digest(self._made_with, known.hexdigest(), blend)}.npz"

    @cached_property
    def _means(self) -> Rows:
        """Of the crops' matrices, by style ``(2, E)``."""
        return np.stack([self.rows(own).mean(0) for own in self.crops.values()])

    @cached_property
    def _ends(self) -> Rows:
        """Of two pictures made to fit the means: between them lie pictures, whatever the content adds."""
        return self.rows(picture_grams(self.render(self.expansion.targets(self._means)), self.features))

    def made_of(
        self, targets: Sequence[Target], blend: Mapping[str, float] | None = None
    ) -> tuple[Picture, dict[str, float]]:
        """Pictures of targets, the style loss that they leave, and how they differ."""
        pictures = self.render(targets, blend)
        loss = float(style_losses(picture_grams(pictures, self.features), targets).mean())
        return pictures, {"loss": loss, "variety": variety(pictures, self.features)}

    def share_drawn(self, targets: Sequence[Target]) -> float:
        """The mean share of style 2 in drawn matrices."""
        rows = self.rows({layer: torch.stack([target[layer] for target in targets]) for layer in targets[0]})
        return float(realised_blend(rows, self._means, self.expansion.layout)[:, 1].mean())

    def share_seen(self, pictures: Picture) -> float:
        """The mean share of style 2 in pictures ``(K, H, W, 3)``, between two pictures made of the styles' means."""
        rows = self.rows(picture_grams(pictures, self.features))
        return float(realised_blend(rows, self._ends, self.expansion.layout)[:, 1].mean())

    def share_of(self, pictures: Picture) -> float:
        """The mean share of style 2 in the matrices of pictures ``(K, H, W, 3)``, between the styles' means."""
        rows = self.rows(picture_grams(pictures, self.features))
        return float(realised_blend(rows, self._means, self.expansion.layout)[:, 1].mean())


def _read(art: str) -> tuple[Picture, dict[str, Picture]]:
    """The photograph, and the paintings by name, of a folder."""
    named = os.path.expandvars(art)
    wanted = f"{', '.join(' or '.join(names) for names in _STYLE_FILES)} and {_CONTENT_FILES[0]}"
    if not named or not (folder := Path(named)).is_dir():
        found = f"{named} is no folder" if named and "$" not in named else f"${ART} is not set"
        raise DataError(f"the paintings are not here: {found}; set ${ART} to a folder with {wanted}")
    paths = []
    for names in (_CONTENT_FILES, *_STYLE_FILES):
        there = [folder / name for name in names if (folder / name).is_file()]
        if not there:
            raise DataError(f"{folder} has no {' and no '.join(names)}; put {wanted} there")
        paths.append(there[0])
    content, *styles = paths
    return read_picture(content), {path.stem: read_picture(path) for path in styles}


def _drawn(seed: int) -> tuple[Picture, dict[str, Picture]]:
    """Patterns of 96 pixels: a disk as content, stripes and dots as styles."""
    y, x = np.mgrid[:96, :96, :1][:2] / 96
    shades = [
        np.where(np.hypot(x - 0.5, y - 0.5) < 0.3, [200, 180, 120], [90, 120, 160]),
        128 + 100 * np.sin(40 * x + 6 * np.sin(7 * y)) * [0.3, 0.6, 1.0],
        128 + 100 * (np.cos(45 * x) * np.cos(45 * y)) * [1.0, 0.8, 0.2],
    ]
    speckled = shades + np.random.default_rng(seed).normal(0, 12, (3, 96, 96, 3))
    content, stripes, dots = np.clip(speckled, 0, 255).astype(np.uint8)
    return content, {"stripes": stripes, "dots": dots}


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
    return np.divide((inside**2).sum(1), whole, out=np.full(len(rows), np.nan), where=whole > 0)


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


def style_losses(found: Mapping[str, Tensor], targets: Sequence[Target]) -> NDArray[np.float64]:
    """``(K,)``: of Gram matrices ``{layer: (K, C, C)}``, each against its target; the mean over layers."""
    losses = [
        [float((found[layer][k] - own).square().sum() / own.square().sum()) for layer, own in target.items()]
        for k, target in enumerate(targets)
    ]
    return np.mean(losses, axis=1)


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
        found = [features(to_tensor(image[None], features.mean.device))[layer] for image in images]
        rows = torch.cat(found).flatten(1)
        size = rows.square().sum(1).mean().sqrt()
        values.append(np.mean([float((rows[a] - rows[b]).norm() / size) for a, b in combinations(range(len(rows)), 2)]))
    return float(np.mean(values))


def draw_rows(title: str, rows: Mapping[str, Picture]) -> Figure:
    """Pictures ``(K, H, W, 3)`` a row, behind the row's name."""
    return draw_faces(title, FaceBlock("", np.stack(list(rows.values())), list(rows)))
