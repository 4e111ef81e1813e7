"""Pictures of what an autoencoder does: reconstructions, new images of each class, mixes; and of its latents.

Latents are drawn with matplotlib: single numbers with their densities, and a map in two dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from gaussmix._typing import IntArray
from gaussmix.autoencoder.generate import LatentGenerator
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.plots import BARS, LINE, PAIR, save_figure
from gaussmix.sheets import contact_sheet, save_atomic

_PAIRS, _SAMPLES, _CLASSES, _SCALED = 4, 8, 12, 96
_MIXED_PAIRS = 5
_MOST_ON_A_SHEET = 400
_COLUMNS = 11  # of a sheet of one class: a given picture and ten like it fill a row
_MIXES_A_ROW = 10
_PROPORTIONS = (1.0, 0.85, 0.7, 0.5, 0.3, 0.15, 0.0)


def draw_reconstructions(
    model: ClassConditionalAutoencoder, images: NDArray[np.uint8], labels: IntArray, path: Path
) -> None:
    """The first images of each class ``(N, S, S, C)``, each beside its reconstruction; a row is a class."""
    rows = {name: np.flatnonzero(labels == k)[:_PAIRS] for k, name in enumerate(model.class_names[:_CLASSES])}
    rows = {name: np.resize(found, _PAIRS) for name, found in rows.items() if len(found)}
    chosen = images[np.concatenate(list(rows.values()))]
    pairs = np.stack([chosen, model.decode(model.encode(chosen))], axis=1).reshape(-1, *chosen.shape[1:])
    error = np.mean((pairs[::2] / 255.0 - pairs[1::2] / 255.0) ** 2)
    caption = f"d = {model.config['latent_dim']}; mean squared error of these pixels in [0, 1]: {error:.4f}"
    title, above = "Images and their reconstructions", ["image", "decoded"] * _PAIRS
    sheet = sheet_of(pairs, title=title, row_labels=list(rows), column_labels=above, caption=caption)
    save_atomic(sheet, path)


def draw_samples(generator: LatentGenerator, path: Path, *, seed: int = 0) -> None:
    """New images of each class; a row is a class."""
    names = generator.class_names[:_CLASSES]
    images = [
        generator.sample(_SAMPLES, class_name=name, random_state=np.random.RandomState([seed, k]))
        for k, name in enumerate(names)
    ]
    coupling = generator.sampler.coupling
    caption = f"Decoded latents from the distribution of each class ({coupling}), not chosen by hand."
    sheet = sheet_of(np.concatenate(images), title="New images of each class", row_labels=names, caption=caption)
    save_atomic(sheet, path)


def draw_mixes(
    generator: LatentGenerator, images: NDArray[np.uint8], labels: IntArray, path: Path, *, seed: int = 0
) -> None:
    """Pairs of classes, from one to the other, in both modes; a row is one pair of draws, between two real images."""
    pairs = list(combinations(generator.class_names, 2))
    pairs = pairs[:: -(-len(pairs) // _MIXED_PAIRS)]
    rows, names = [], []
    for a, b in pairs:
        first, second = (images[labels == generator.label_of(name)] for name in (a, b))
        for k, mode in enumerate(("dims", "lerp")):
            names.append(f"{a} + {b}, {mode}")
            mixes = ({"mode": mode, "proportions": [share, 1 - share]} for share in _PROPORTIONS)
            drawn = [generator.mix([a, b], **how, random_state=seed) for how in mixes]
            rows += [first[k % len(first)][None], *drawn, second[k % len(second)][None]]
    title, above = "Mixes of two classes", ["real", *(f"{share:.0%}" for share in _PROPORTIONS), "real"]
    caption = (
        "Above: share of the first class. A row mixes one draw of each: dims takes each latent number from one of "
        "them, lerp their weighted mean. At the ends an image of the data of each."
    )
    sheet = sheet_of(np.concatenate(rows), title=title, row_labels=names, column_labels=above, caption=caption)
    save_atomic(sheet, path)


def class_sheet(drawn: Mapping[str, NDArray[np.uint8]], title: str, about: str) -> Image.Image:
    """Lay out images of classes, ``{name: (N, S, S, 1 or 3)}``, with ``about`` and how many there are as the caption.

    A row a class; of a single class, rows of eleven. As many as a sheet takes, the first of each.
    """
    count = len(next(iter(drawn.values())))
    shown = min(count, max(1, _MOST_ON_A_SHEET // len(drawn)))
    if shown < count:
        about += f"; the first {shown} of {count}"
    images = np.concatenate([images[:shown] for images in drawn.values()])
    labels, columns = (list(drawn), None) if len(drawn) > 1 else (None, min(_COLUMNS, shown))
    return sheet_of(images, columns=columns, title=title, row_labels=labels, caption=f"{about}.")


def mix_sheet(mixes: NDArray[np.uint8], real: Mapping[str, NDArray[np.uint8]], title: str, about: str) -> Image.Image:
    """Lay out mixes ``(N, S, S, 1 or 3)`` in rows of ten, below a row of images of each class that is mixed.

    ``real`` are these by name, at least ten each; without any there are the mixes alone.
    """
    shown = mixes[:_MOST_ON_A_SHEET]
    about += f"; the first {len(shown)} of {len(mixes)}" if len(shown) < len(mixes) else ""
    images = np.concatenate([*(images[:_MIXES_A_ROW] for images in real.values()), shown])
    labels = [*(f"{name}, real" for name in real), "mixes"] + [""] * ((len(shown) - 1) // _MIXES_A_ROW)
    columns = _MIXES_A_ROW if real else min(_MIXES_A_ROW, len(shown))
    return sheet_of(images, columns=columns, title=title, row_labels=labels, caption=f"{about}.")


def sheet_of(
    images: NDArray[np.uint8], *, row_labels: Sequence[str] | None, columns: int | None = None, **texts: Any
) -> Image.Image:
    """`contact_sheet` of images ``(N, S, S, 1 or 3)``, grey as they are, in so many columns."""
    columns = columns or (len(images) // len(row_labels) if row_labels else len(images))
    scale = max(1, round(_SCALED / images.shape[1]))
    sheet = contact_sheet(as_rgb(images), columns=columns, row_labels=row_labels, scale=scale, **texts)
    return sheet.convert("L") if images.shape[3] == 1 else sheet


def as_rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``(N, S, S, 1 or 3)`` as ``(N, S, S, 3)``."""
    return np.broadcast_to(images, (*images.shape[:3], 3)) if images.shape[3] == 1 else images


_MAP_CLASSES, _NUMBERS = 3, 4  # rows and columns of the marginals
_DRAWN = 20_000  # of each class
_POINTS = 200  # of each class on the map
_CELLS, _SMOOTH = 120, 2.5  # a side of the map's histogram, and the deviation that smooths it, in cells
_INSIDE = 0.5  # share of a class's draws inside its contour
_MARGIN = 0.08


def draw_marginals(
    generator: LatentGenerator, z: NDArray[np.float32], y: IntArray, path: Path, *, seed: int = 0
) -> None:
    """Histograms of the latent numbers that vary most, z ``(M, d)`` with labels y ``(M,)``; a row is a class.

    Over them the expansion fitted to the number alone, which is all that coupling "independent" knows, and the density
    of what the generator's sampler draws, fitted in the same way.
    """
    names = generator.class_names[:_MAP_CLASSES]
    numbers = np.sort(np.argsort(-z.var(0))[:_NUMBERS])
    figure = Figure(figsize=(2.4 * len(numbers), 1.9 * len(names) + 0.9), layout="constrained")
    panels = figure.subplots(len(names), len(numbers), squeeze=False)
    alone: Any = clone(generator.sampler)
    alone.set_params(coupling="independent")
    for row, name in zip(panels, names, strict=True):
        label = generator.label_of(name)
        own = z[y == label][:, numbers].astype(float)
        drawn = generator.sampler.sample(_DRAWN, class_label=label, random_state=seed)[:, numbers]
        fitted, drawn_law = (alone.fit(rows).parts_[0][0].marginals for rows in (own, drawn))
        for axes, r, values, law, other in zip(row, numbers, own.T, fitted, drawn_law, strict=True):
            low, high = values.min(), values.max()
            margin = _MARGIN * (high - low) or 1.0
            x = np.linspace(low - margin, high + margin, 400)
            axes.hist(values, bins=min(40, max(5, len(values) // 10)), density=True, color=BARS)
            axes.plot(x, law.pdf(x), color=LINE, linewidth=1.6, label="expansion of this number")
            axes.plot(x, other.pdf(x), color=PAIR[1], linewidth=1.2, linestyle="--", label="as drawn")
            axes.set(xlabel=f"$z_{{{r}}}$", yticks=[], xlim=(x[0], x[-1]))
            axes.spines[["top", "right", "left"]].set_visible(False)
        row[0].set_ylabel(f"{name}\n{len(own)} images")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("Latent numbers of a class: histogram, fitted density, and the density of draws")
    save_figure(figure, path, dpi=75)


def draw_map(generator: LatentGenerator, z: NDArray[np.float32], y: IntArray, path: Path, *, seed: int = 0) -> None:
    """Latents z ``(M, d)``, d above 1, of labels y ``(M,)``: dots; half of what is drawn of a class: its contour.

    The plane is the one in which classes lie furthest apart for their width (linear discriminants), or, of fewer than
    three classes or where their means lie on one line, in which latents vary most.
    """
    names, rng = generator.class_names, np.random.default_rng(seed)
    with np.errstate(invalid="ignore"):  # classes that lie on one spot
        plane = LinearDiscriminantAnalysis().fit(z, y) if len(names) > 2 else PCA(2).fit(z)
    discriminants = plane.transform(z[:1]).shape[1] >= 2  # fewer where the classes' means lie on a line
    if not discriminants:
        plane = PCA(2).fit(z)
    discriminants &= len(names) > 2
    flat = plane.transform(z.astype(float))[:, :2]
    low, high = np.quantile(flat, 0.002, axis=0), np.quantile(flat, 0.998, axis=0)
    margin = _MARGIN * (high - low)
    low, high = low - margin, high + margin
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.add_subplot()
    colors = colormaps["tab10" if len(names) <= 10 else "tab20"]
    for k, name in enumerate(names):
        own, color = flat[y == k], [colors(k % 20)]
        own = own[rng.permutation(len(own))[:_POINTS]]
        axes.scatter(*own.T, s=5, color=color, alpha=0.5, linewidths=0, label=name)
        drawn = plane.transform(generator.sampler.sample(_DRAWN, class_label=k, random_state=seed))[:, :2]
        counts, *edges = np.histogram2d(*drawn.T, bins=_CELLS, range=np.stack([low, high], 1).tolist())
        smooth = gaussian_filter(counts, _SMOOTH)
        falling = np.sort(smooth.ravel())[::-1]
        level = falling[np.searchsorted(np.cumsum(falling), _INSIDE * falling.sum())]
        if 0 < level < smooth.max():
            middles = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
            axes.contour(*middles, smooth.T, levels=[level], colors=color, linewidths=1.6)
            top = np.unravel_index(smooth.argmax(), smooth.shape)
            place = (float(middles[0][top[0]]), float(middles[1][top[1]]))
            axes.annotate(name, place, ha="center", va="center", fontsize=12, weight="bold", color=color[0])
    kind = "discriminant (in within-class standard deviations)" if discriminants else "principal axis of the latents"
    axes.set_title("Map of the latents: training images (dots), half of the draws of each class (lines)", fontsize=10)
    axes.set(xlabel=f"first {kind}", ylabel=f"second {kind}", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=75)
