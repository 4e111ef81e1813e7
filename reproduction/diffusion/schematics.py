"""D Figures 2, 3 and 8: drawings in the paper, here with the numbers that they leave out.

Figure 2, the sets behind Eq. 7, is counted on the built-in faces: how many subsets classes and features name, how many
pictures each has to learn from, and how many requests name a subset without any. Figures 3 and 8 are the networks:
parameters by part, and what reaches the bottleneck classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix import load_dataset
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Red_Hair")
FEATURES = ("Smiling", "Eyeglasses", "Beard", "Wearing_Hat")
_BOX, _TOLD, _LINE = "#e8eef5", "#f7e3c8", "#333333"
PAPER = {
    2: {"claim": "features name finer subsets than classes, hence fewer defects (Eq. 7)"},
    3: {"claim": "Z in place of a language model's embedding controls the denoising"},
    8: {"claim": "a classifier after the encoder steadies the training (Fig. 9)"},
}


@dataclass(frozen=True)
class Config:
    """Settings of the three drawings."""

    figure: int = 2
    seed: int = 0
    count: int = 4000
    """Faces that are counted."""

    @property
    def n_steps(self) -> int:
        return 1

    def quick(self) -> Config:
        return replace(self, count=200)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the counts of subsets, or the parameters of networks."""
    found = count_subsets(config.count) if config.figure == 2 else count_parameters()
    on_step(1)
    return Measured(found, PAPER[config.figure], {"figure": config.figure, "ours": found})


def count_subsets(count: int) -> dict[str, Any]:
    """Return what classes and features name among the built-in faces."""
    faces = load_dataset("avatars", count=count, progress=False)
    train, test = (faces.attributes[faces.indices(part)].astype(bool) for part in ("train", "test"))
    place = {name: k for k, name in enumerate(faces.attribute_names)}
    by_class = train[:, [place[name] for name in CLASSES]]
    cells = train[:, [place[name] for name in FEATURES]] @ (1 << np.arange(len(FEATURES)))
    sizes = np.bincount(cells, minlength=1 << len(FEATURES))
    known = {row.tobytes() for row in train}
    return {
        "n_train": len(train),
        "class_sizes": dict(zip(CLASSES, by_class.sum(0).tolist(), strict=True)),
        "cells": len(sizes),
        "cells_seen": int((sizes > 0).sum()),
        "smallest_cell": int(sizes.min()),
        "median_cell": float(np.median(sizes)),
        "largest_cell": int(sizes.max()),
        "cell_sizes": sizes.tolist(),
        "n_attributes": train.shape[1],
        "combinations": len(known),
        "of_all": 2.0 ** train.shape[1],
        "alone": float(np.mean(np.unique(train, axis=0, return_counts=True)[1] == 1)),
        "requests_unseen": float(np.mean([row.tobytes() not in known for row in test])),
        "requests": len(test),
    }


def count_parameters() -> dict[str, Any]:
    """Return the parameters of each preset's network by part, of 16 attributes, or those of the paper's data."""
    import torch

    from gaussmix.diffusion.config import PRESETS
    from gaussmix.diffusion.transformer import AttributeTransformer
    from gaussmix.diffusion.unet import AttributeUNet, ConditionConfig

    found: dict[str, Any] = {}
    for name, attributes in {"transformer": 16, "unet": 16, "celeba64": 40, "cifar10": 10}.items():
        preset = PRESETS[name]
        condition = ConditionConfig(
            n_attributes=attributes, latent_dim=preset.latent_dim, n_components=preset.n_components,
            base_token=preset.pairing == "matched", conditioning=preset.conditioning,
        )  # fmt: skip
        for classifier in (False, True):
            with torch.device("meta"):
                if preset.network == "unet":
                    network: torch.nn.Module = AttributeUNet(
                        condition=condition, sample_size=preset.size, block_out_channels=preset.channels,
                        layers_per_block=preset.layers_per_block, scale_shift=preset.scale_shift, classifier=classifier,
                    )  # fmt: skip
                else:
                    own: dict[str, Any] = {"sample_size": preset.size, **preset.tokens}
                    own |= {key: getattr(preset, key) for key in ("width", "depth", "heads", "power", "timesteps")}
                    network = AttributeTransformer(condition=condition, **own)
            sizes = {key: value.numel() for key, value in network.named_parameters()}
            told = ("token_id", "token_map", "null_token", "null_latents", "condition_mlp", "told.")
            if classifier:
                found[name]["classifier"] = sum(sizes.values()) - found[name]["all"]
                continue
            shares = {"told": sum(size for key, size in sizes.items() if key.startswith(told))}
            tables = sum(buffer.numel() for buffer in network.buffers())
            numbers = attributes + int(condition.base_token)
            found[name] = {
                "all": sum(sizes.values()), **shares, "denoiser": sum(sizes.values()) - shares["told"],
                "closed_form": tables, "attributes": attributes, "tokens": numbers,
                "numbers_of_z": numbers * preset.latent_dim, "pixels": 3 * preset.size**2,
            }  # fmt: skip
    return found


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the drawing."""
    from matplotlib.figure import Figure

    which = measured.seen["figure"]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    if which == 2:
        _draw_subsets(figure, measured.seen["ours"])
    else:
        _draw_network(figure.subplots(), classifier=which == 8)
    return {"": figure}


def _draw_subsets(figure: Figure, ours: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    sizes = list(ours["class_sizes"].values())
    left.bar(range(len(sizes)), sizes, color="#d8902a")
    left.set_xticks(range(len(sizes)), [name.split("_")[0] for name in ours["class_sizes"]])
    left.set_title("four classes: hair")
    left.set_ylabel("training pictures")
    cells = sorted(ours["cell_sizes"], reverse=True)
    right.bar(range(len(cells)), np.maximum(cells, 0.5), color="#1f5fa8")
    right.set_yscale("log")
    right.minorticks_off()
    right.set_yticks([20, 50, 100, 200, 500], ["20", "50", "100", "200", "500"])
    right.set_title("four features: smile, glasses, beard, hat")
    right.set_xlabel("each of the 16 combinations, the most frequent first")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)


def _draw_network(axes: Axes, *, classifier: bool) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 5)
    boxes = {
        "A, features": (0.2, 3.4, 1.5, 0.9, _TOLD), "Z ~ GMM": (0.2, 2.0, 1.5, 0.9, _TOLD),
        "Z_k A_k": (2.3, 2.7, 1.4, 0.9, _TOLD), "x_t, t": (0.2, 0.4, 1.5, 0.9, _BOX),
        "encoder": (4.3, 0.4, 1.4, 0.9, _BOX), "bottleneck": (6.2, 0.4, 1.5, 0.9, _BOX),
        "decoder": (8.2, 0.4, 1.5, 0.9, _BOX),
    }  # fmt: skip
    arrows = [("A, features", "Z_k A_k"), ("Z ~ GMM", "Z_k A_k"), ("Z_k A_k", "encoder"), ("x_t, t", "encoder")]
    arrows += [("encoder", "bottleneck"), ("bottleneck", "decoder"), ("Z_k A_k", "decoder")]
    if classifier:
        boxes["classifier"] = (6.2, 3.4, 1.5, 0.9, "#dcead9")
        arrows.append(("bottleneck", "classifier"))
    for name, (x, y, width, height, colour) in boxes.items():
        axes.add_patch(_patch(x, y, width, height, colour))
        axes.text(x + width / 2, y + height / 2, name, ha="center", va="center", fontsize=10)
    for start, end in arrows:
        (x0, y0, w0, h0, _), (x1, y1, w1, h1, _) = boxes[start], boxes[end]
        up = abs(x0 - x1) < 0.1
        tail = (x0 + w0 / 2, y0 + h0) if up else (x0 + w0, y0 + h0 / 2)
        above = start == "Z_k A_k"
        head = (x1 + w1 / 2, y1) if up else (x1 + w1 / 2, y1 + h1) if above else (x1, y1 + h1 / 2)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": _LINE})
    axes.text(9.0, 0.15, "noise or velocity", ha="center", va="top", fontsize=9, color=_LINE)
    if classifier:
        axes.text(7.8, 3.85, "P(A_k | x_t), and, where Z_k A_k\nreaches the encoder, A itself", va="center", fontsize=9)


def _patch(x: float, y: float, width: float, height: float, colour: str) -> Any:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0.02,rounding_size=0.08"
    return FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor=_LINE, linewidth=0.8)
