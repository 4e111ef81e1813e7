"""E Figure 11: from a painting through five layers of VGG19 to five Gram matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix.style.images import to_tensor
from gaussmix.style.vgg import STYLE_LAYERS, gram_matrix
from reproduction.expansion.style import QUICK, SOURCES, StyleConfig, open_studio
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_CHANNELS = 64  # of a matrix: more are finer than the page


@dataclass(frozen=True)
class Config(StyleConfig):
    """Settings of Figure 11."""

    @property
    def n_steps(self) -> int:
        """Layers to look at."""
        return len(STYLE_LAYERS)

    def quick(self) -> Config:
        return replace(self, **QUICK)


class Layer(NamedTuple):
    """One layer's Gram matrix in numbers."""

    name: str
    channels: int
    places: int
    """h w, which the sum over k in E Eq. 11 runs over."""
    energy: float
    """Mean over the channels of G_ii: the mean square of a feature."""
    largest: float
    """Share of the trace that the largest eigenvalue has."""
    rank90: int
    """Eigenvalues that hold 90 % of the trace."""


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 11."""
    studio = open_studio(config)
    name, picture = next(iter(studio.styles.items()))
    with torch.inference_mode():
        found = studio.features(to_tensor(picture[None]))
        grams = {layer: gram_matrix(found[layer])[0].numpy() for layer in STYLE_LAYERS}
    maps = {layer: found[layer][0].mean(0).numpy() for layer in STYLE_LAYERS}
    layers = []
    for step, layer in enumerate(STYLE_LAYERS, 1):
        layers.append(describe(layer, grams[layer], maps[layer].size))
        on_step(step)
    title = "E Figure 11: from a painting to its Gram matrices"
    return Result(
        title=title,
        about=f"{name}, {picture.shape[1]} x {picture.shape[0]} pixels, through VGG19: the features of the first "
        "layer of each block and their Gram matrices (E Eq. 11).",
        ours={"layers": [layer._asdict() for layer in layers]},
        paper={"layers": len(STYLE_LAYERS), "claim": "5 output features, one from each block"},
        tables=(
            Table(
                "Gram matrices by layer",
                ("layer", "channels", "places", "mean G_ii", "largest eigenvalue / trace", "eigenvalues for 90 %"),
                tuple(tuple(layer) for layer in layers),
            ),
        ),
        readings=(
            *SOURCES,
            '"5 output features from each block": one of each of the five blocks, after the first convolution and ReLU '
            "of each, as in Gatys et al.",
        ),
        findings=(
            f"{sum(c * (c + 1) // 2 for c in (layer.channels for layer in layers)):,} different entries make a style; "
            f"{', '.join(f'{layer.rank90} of {layer.channels}' for layer in layers)} eigenvalues hold 90 % of a "
            "layer's energy: the entries are far from independent of each other.",
        ),
        pictures=(
            Picture(
                "",
                "Above: the painting, and the mean over the channels of each layer's features. Below: the Gram "
                f"matrices, the {_SHOWN_CHANNELS} channels of most energy in that order; square "
                "roots, each with its own scale.",
                lambda: _draw(title, picture, maps, grams),
            ),
        ),
    )


def describe(name: str, gram: NDArray[np.float32], places: int) -> Layer:
    """Numbers of a Gram matrix ``(C, C)`` of features at `places` places."""
    values = np.linalg.eigvalsh(gram.astype(np.float64))[::-1]
    held = np.cumsum(values) / values.sum()
    return Layer(
        name, len(gram), places, float(gram.trace() / len(gram)), float(held[0]), int(np.searchsorted(held, 0.9) + 1)
    )


def _draw(title: str, picture: NDArray[np.uint8], maps: dict[str, Any], grams: dict[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.3), layout="constrained")
    grid = figure.subplots(2, 1 + len(maps))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    grid[0, 0].imshow(picture)
    grid[0, 0].set_title("painting", fontsize=10)
    grid[0, 0].set_ylabel("mean of F")
    grid[1, 0].set_ylabel("G = F F^T / h w")
    for column, layer in enumerate(maps, 1):
        grid[0, column].imshow(maps[layer], cmap="gray")
        grid[0, column].set_title(layer, fontsize=10)
        strongest = np.argsort(-grams[layer].diagonal())[:_SHOWN_CHANNELS]
        grid[1, column].imshow(np.sqrt(np.abs(grams[layer][np.ix_(strongest, strongest)])), cmap="magma")
        grid[1, column].set_xlabel(f"{len(grams[layer])} channels", fontsize=9)
    figure.suptitle(title)
    return figure
