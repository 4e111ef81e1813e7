"""E Figure 11: from a painting through five layers of VGG19 to five Gram matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaussmix.style.images import to_tensor
from gaussmix.style.vgg import STYLE_LAYERS, gram_matrix
from reproduction.expansion.style import QUICK, StylePageConfig, StyleStudy
from reproduction.page import Measured

_SHOWN_CHANNELS = 64  # of a matrix: more are finer than the page


@dataclass(frozen=True)
class Config(StylePageConfig):
    """Settings of Figure 11."""

    @property
    def n_steps(self) -> int:
        """Layers to look at."""
        return len(STYLE_LAYERS)

    def quick(self) -> Config:
        return replace(self, **QUICK)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the Gram matrix of each layer in numbers."""
    study = StyleStudy(config, on_step)
    painting = next(iter(study.styles.values()))
    with torch.inference_mode():
        found = study.features(to_tensor(painting[None]))
        grams = {layer: gram_matrix(found[layer])[0].numpy() for layer in STYLE_LAYERS}
    maps = {layer: found[layer][0].mean(0).numpy() for layer in STYLE_LAYERS}
    layers = []
    for step, layer in enumerate(STYLE_LAYERS, 1):
        layers.append({"name": layer, **describe(grams[layer], maps[layer].size)})
        on_step(step)
    entries = sum(c * (c + 1) // 2 for c in (layer["channels"] for layer in layers))
    return Measured(
        {"layers": layers, "pixels": painting.shape[:2], "entries": entries},
        {"layers": len(STYLE_LAYERS), "claim": "5 output features, one from each block"},
        {"painting": painting, "maps": maps, "grams": grams},
    )


def describe(gram: NDArray[np.float32], places: int) -> dict[str, Any]:
    """Return numbers of a Gram matrix ``(C, C)`` of features at ``places`` places.

    ``places`` is h w, which the sum over k in E Eq. 11 runs over; ``energy`` the mean of G_ii, a feature's mean square;
    ``largest`` the share of the trace in the largest eigenvalue; ``rank90`` the eigenvalues that hold 90 % of it.
    """
    values = np.linalg.eigvalsh(gram.astype(np.float64))[::-1]
    held = np.cumsum(values) / values.sum()
    return {
        "channels": len(gram),
        "places": places,
        "energy": float(gram.trace() / len(gram)),
        "largest": float(held[0]),
        "rank90": int(np.searchsorted(held, 0.9) + 1),
    }


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the painting with each layer's mean feature above its Gram matrix."""
    maps, grams = measured.seen["maps"], measured.seen["grams"]
    figure = Figure(figsize=(8.4, 3.3), layout="constrained")
    grid = figure.subplots(2, 1 + len(maps))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    grid[0, 0].imshow(measured.seen["painting"])
    grid[0, 0].set_title("painting", fontsize=10)
    grid[0, 0].set_ylabel("mean of F")
    grid[1, 0].set_ylabel("G = F F^T / h w")
    for column, layer in enumerate(maps, 1):
        grid[0, column].imshow(maps[layer], cmap="gray")
        grid[0, column].set_title(layer, fontsize=10)
        strongest = np.argsort(-grams[layer].diagonal())[:_SHOWN_CHANNELS]
        grid[1, column].imshow(np.sqrt(np.abs(grams[layer][np.ix_(strongest, strongest)])), cmap="magma")
        grid[1, column].set_xlabel(f"{len(grams[layer])} channels", fontsize=9)
    figure.suptitle("E Figure 11: from a painting to its Gram matrices")
    return {"": figure}
