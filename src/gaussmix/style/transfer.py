"""Pictures of one content in K variants of a style: `StyleTransfer`.

    x_k = argmin_x  style_weight style(x, T_k) + content_weight content(x) + tv_weight variation(x),   x in [0, 1]

T_k are the Gram matrices that variant k shall have: those of one picture (Gatys et al. 2016), or a draw from the
distribution of a style (E Sec. 3.2.2). The losses are in `gaussmix.style.objective`; Adam, or for one picture at a time
L-BFGS, goes down on the pixels, which are clamped to [0, 1] after each step. The way goes up a pyramid, its sizes
sqrt 2 apart: large forms settle where a step is cheap. Every next size begins with the picture so far, enlarged, plus
the detail that enlarging the content would lose; without detail Adam's first steps, which are equally large in all
pixels, leave blotches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.images import MIN_SIDE, Picture, fit_size, resize, to_tensor, to_uint8, with_colors_of
from gaussmix.style.objective import Objective
from gaussmix.style.vgg import CONTENT_LAYERS, VGG19Features
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.schedule import step_generator

OptimizerName = Literal["adam", "lbfgs"]
Target = Mapping[str, Tensor]  # {style layer: Gram matrix (C, C)}
Plan = list[tuple[tuple[int, int], int]]  # heights and widths, and steps at each

PYRAMID_FROM = 128
"""Pixels of the longer side at which the pyramid begins."""
MAX_PIXELS = 1 << 20
"""In one pass through the network, by default."""
_BETAS = (0.9, 0.99)
_LBFGS_HISTORY = 20


class Descent:
    """Moves ``pixels`` ``(K, 3, H, W)`` in place, downhill on an objective; K is 1 for "lbfgs"."""

    def __init__(self, pixels: Tensor, objective: Objective, optimizer: OptimizerName, learning_rate: float):
        self.pixels, self.objective = pixels, objective
        self.losses = pixels.new_zeros(len(pixels))
        if optimizer == "adam":
            self.optimizer = torch.optim.Adam([pixels], lr=learning_rate, betas=_BETAS)
        else:
            assert len(pixels) == 1  # its line of search is one for all that it moves
            self.optimizer = torch.optim.LBFGS([pixels], max_iter=1, history_size=_LBFGS_HISTORY)

    def step(self) -> NDArray[np.float32]:
        """Make one step and return the losses before it, ``(K,)``. Raises ValueError where they are not finite."""
        self.optimizer.step(self._evaluate)
        self.pixels.clamp_(0, 1)
        losses = self.losses.float().cpu().numpy()
        if not np.isfinite(losses).all():
            raise ValueError(f"the descent diverged, losses {losses}; use adam, or a lower learning_rate")
        return losses

    def _evaluate(self) -> float:
        self.losses, gradient = self.objective(self.pixels)
        # The floors of both optimizers are absolute (Adam's eps, the tolerances of L-BFGS), and the slope by one pixel
        # fades as pixels become more: take the loss per pixel instead of per picture.
        scale = self.pixels.shape[2] * self.pixels.shape[3]
        self.pixels.grad = (gradient * scale).contiguous()
        return float(self.losses.sum()) * scale


def enlarge(pixels: Tensor, height: int, width: int) -> Tensor:
    """A copy of pictures ``(K, 3, h, w)`` as ``(K, 3, height, width)``, values still in [0, 1]."""
    if pixels.shape[2:] == (height, width):
        return pixels.clone()
    return F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True).clamp_(0, 1)


@dataclass(frozen=True, eq=False)
class TransferStep:
    """Where a run stands after a step.

    ``step`` of ``steps`` of this group of variants is made, and ``done`` of the ``total`` work of the whole run, in
    pixels times steps. The group holds ``variants``, with ``losses`` ``(len(variants),)`` before the step and
    ``pixels`` ``(len(variants), 3, h, w)`` in [0, 1], of the pyramid's present size; the next step changes them.
    """

    step: int
    steps: int
    done: int
    total: int
    variants: range
    losses: NDArray[np.float32]
    pixels: Tensor

    @property
    def images(self) -> Picture:
        """The pictures ``(len(variants), h, w, 3)``."""
        return to_uint8(self.pixels)


@dataclass(frozen=True, eq=False)
class TransferResult:
    """Pictures ``(K, H, W, 3)`` and how the loss fell, ``(K, steps)`` before each step, NaN where none was made.

    Where Ctrl-C ``interrupted`` the run, K counts the variants that were begun.
    """

    images: Picture
    losses: NDArray[np.float32]
    interrupted: bool


class StyleTransfer:
    """Renders a content picture in variants of a style.

    Parameters
    ----------
    features : VGG19Features
        The network, on the device to compute on.
    optimizer : {"adam", "lbfgs"}
        L-BFGS takes one variant at a time and gets to a lower loss.
    steps : int
        At the pyramid's first size; at each further one half as many.
    learning_rate : float
        Of Adam, in units of the pixels' range; L-BFGS finds its own steps.
    style_weight, content_weight, tv_weight : float
        Weights of the losses; only their ratios matter.
    size : int
        Pixels of the longer side of the result.
    start : {"content", "noise"}
        What to begin with; ``seed`` chooses noise for each variant.
    original_colors : bool
        Keep the colours of the content and take only lightness from the result.
    max_pixels : int
        Most pixels in one pass through the network, at about 3 kB each in single precision: as many variants at once
        as this holds, and a larger picture in tiles.
    half_precision : bool, optional
        Compute the network in bfloat16; if not given, where that saves time.

    Raises
    ------
    ValueError
        For values out of range.
    """

    def __init__(
        self,
        features: VGG19Features,
        *,
        optimizer: OptimizerName = "adam",
        steps: int = 200,
        learning_rate: float = 0.03,
        style_weight: float = 1.0,
        content_weight: float = 0.1,
        tv_weight: float = 0.5,
        size: int = 512,
        start: Literal["content", "noise"] = "content",
        original_colors: bool = False,
        max_pixels: int = MAX_PIXELS,
        half_precision: bool | None = None,
    ):
        weights = {"style_weight": style_weight, "content_weight": content_weight, "tv_weight": tv_weight}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{name} is {weight}; it must be finite and not negative")
        if not (style_weight or content_weight):
            raise ValueError("style_weight and content_weight are both 0; nothing is left to draw")
        if content_weight and not set(CONTENT_LAYERS) <= set(features.layers):
            raise ValueError(f"the network gives {features.layers}; the content needs {CONTENT_LAYERS}, too")
        if optimizer not in ("adam", "lbfgs"):
            raise ValueError(f"optimizer is {optimizer!r}; choose adam or lbfgs")
        if start not in ("content", "noise"):
            raise ValueError(f"start is {start!r}; choose content or noise")
        for name, value, least in (("steps", steps, 1), ("size", size, MIN_SIDE)):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        if not 0 < learning_rate <= 1:
            raise ValueError(f"learning_rate is {learning_rate}; it must lie in (0, 1], the range of a pixel")
        self.features, self.weights = features, weights
        self.optimizer: OptimizerName = optimizer
        self.steps, self.learning_rate, self.size, self.start = steps, learning_rate, size, start
        self.original_colors, self.max_pixels = original_colors, max_pixels
        self.device = features.mean.device
        self.half_precision = has_fast_bfloat16(self.device) if half_precision is None else half_precision

    def run(
        self,
        content: Picture,
        targets: Sequence[Target],
        *,
        seed: int = 0,
        on_step: Callable[[TransferStep], None] | None = None,
    ) -> TransferResult:
        """Render one variant for each of several targets: a `TransferResult`.

        The same seed, device, number of threads and ``max_pixels`` give the same pictures. Ctrl-C ends the run with
        what it has so far; before the first step it is raised.

        Parameters
        ----------
        content : ndarray of uint8
            ``(H, W, 3)``, of any size.
        targets : sequence of mapping of str to Tensor
            T_k, ``{style layer: (C, C)}``, one mapping a variant, of E Eq. 11 divided by ``h w``.
        seed : int
            Variant k that starts from noise takes it from ``(seed, k)``.
        on_step : callable, optional
            Gets a `TransferStep` after each step.

        Raises
        ------
        ValueError
            For a picture of another type or too slender, and for targets that do not fit the network.
        """
        plan = self._plan(content)
        stacked = self._stack(targets)
        steps = sum(n for _, n in plan)
        work = len(targets) * self.work(content)
        height, width = plan[-1][0]
        at_once = 1 if self.optimizer == "lbfgs" else max(1, self.max_pixels // (height * width))

        images, losses = [], np.full((len(targets), steps), np.nan, np.float32)
        done, interrupted = 0, False
        for first in range(0, len(targets), at_once):
            variants = range(first, min(first + at_once, len(targets)))
            part = {layer: target[variants.start : variants.stop] for layer, target in stacked.items()}
            pixels = None
            try:
                for step, (pixels, before) in enumerate(self._descend(content, part, plan, variants, seed)):
                    losses[variants.start : variants.stop, step] = before
                    done += pixels[:, 0].numel()
                    if on_step is not None:
                        on_step(TransferStep(step + 1, steps, done, work, variants, before, pixels))
            except KeyboardInterrupt:
                if pixels is None and not images:
                    raise
                interrupted = True
            if pixels is not None:
                images.append(self._finish(pixels, content))
            if interrupted:
                break
        drawn = np.concatenate(images)
        return TransferResult(drawn, losses[: len(drawn)], interrupted)

    def follow(
        self, content: Picture, targets: Sequence[Target], first: Picture, *, steps: int, lead: int = 0
    ) -> Iterator[Picture]:
        """Render a film: a picture ``(H, W, 3)`` for each of several targets, each begun with the one before.

        Parameters
        ----------
        content : ndarray of uint8
            As for `run`.
        targets : sequence of mapping of str to Tensor
            A path, such as `GramExpansion.walk` takes.
        first : ndarray of uint8
            ``(H, W, 3)`` of this size, a result of `run`, to begin with.
        steps : int
            For each picture; the optimizer's memory lasts from one to the next, so that nothing jumps.
        lead : int
            As many of the last targets are drawn first and left out, so that a film of a circle closes without a jump.
        """
        before = targets[max(0, len(targets) - lead) :]
        path = [*before, *targets]
        stacked = self._stack(path)
        parts = [{layer: target[k : k + 1] for layer, target in stacked.items()} for k in range(len(path))]
        pixels = to_tensor(first[None], self.device)
        descent = self._begin(content, parts[0], pixels)
        for k, part in enumerate(parts):
            descent.objective.aim(part)
            for _ in range(steps):
                descent.step()
            if k >= len(before):
                yield self._finish(pixels, content)[0]

    def work(self, content: Picture) -> int:
        """Return the pixels times steps of one variant in `run`."""
        return sum(height * width * steps for (height, width), steps in self._plan(content))

    def _plan(self, content: Picture) -> Plan:
        """Heights and widths of the pyramid, the smallest first, and how many steps to make at each."""
        if content.ndim != 3 or content.shape[2] != 3 or content.dtype != np.uint8 or 0 in content.shape:
            raise ValueError(f"content is {content.dtype} {content.shape}; give uint8 (H, W, 3)")
        height, width = content.shape[:2]
        sizes, side = [fit_size(height, width, self.size)], self.size / 2**0.5
        if min(sizes[0]) < MIN_SIDE:
            raise ValueError(
                f"content of {width} x {height} pixels is {min(sizes[0])} pixels thin at size {self.size}; "
                f"crop it, or ask for a size that leaves at least {MIN_SIDE}"
            )
        while side >= PYRAMID_FROM and min(fit_size(height, width, side)) >= MIN_SIDE:
            sizes.append(fit_size(height, width, side))
            side /= 2**0.5
        later = max(1, self.steps // 2)
        return [(size, later if level else self.steps) for level, size in enumerate(reversed(sizes))]

    def _stack(self, targets: Sequence[Target]) -> dict[str, Tensor]:
        """``{layer: (K, C, C)}`` on the device."""
        if not targets:
            raise ValueError("there are no targets; give the Gram matrices of at least one variant")
        layers = set(targets[0])
        for k, target in enumerate(targets):
            if set(target) != layers or not layers or not layers <= set(self.features.layers):
                allowed = f"some of {self.features.layers}, for all variants the same"
                raise ValueError(f"target {k} has the layers {list(target)}; give {allowed}")
            for layer, gram in target.items():
                channels = self.features.channels[layer]
                if gram.shape != (channels, channels) or not bool(gram.isfinite().all()):
                    found = f"{tuple(gram.shape)}, {int(gram.isfinite().sum())} values finite"
                    raise ValueError(f"target {k} at {layer} is {found}; give finite ({channels}, {channels})")
        return {layer: torch.stack([t[layer] for t in targets]).float().to(self.device) for layer in targets[0]}

    def _descend(
        self, content: Picture, targets: dict[str, Tensor], plan: Plan, variants: range, seed: int
    ) -> Iterator[tuple[Tensor, NDArray[np.float32]]]:
        """Up the pyramid: the pictures after each step, and their losses before it."""
        size = plan[0][0]
        if self.start == "content":
            pixels = to_tensor(resize(content, *size)[None], self.device).repeat(len(variants), 1, 1, 1)
        else:
            generators = [step_generator(seed, variant, stream=0) for variant in variants]
            pixels = torch.stack([torch.rand((3, *size), generator=g) for g in generators]).to(self.device)
        smaller = None
        for (height, width), steps in plan:
            larger = to_tensor(resize(content, height, width)[None], self.device)
            pixels = enlarge(pixels, height, width)
            if smaller is not None:
                pixels = (pixels + larger - enlarge(smaller, height, width)).clamp_(0, 1)
            smaller = larger
            descent = self._begin(content, targets, pixels)
            for _ in range(steps):
                losses = descent.step()
                yield pixels, losses

    def _begin(self, content: Picture, targets: dict[str, Tensor], pixels: Tensor) -> Descent:
        """Descent on ``pixels``, at their size."""
        sized = to_tensor(resize(content, *pixels.shape[2:])[None], self.device)
        limits = {"max_pixels": self.max_pixels, "half_precision": self.half_precision}
        objective = Objective(self.features, sized, targets, **self.weights, **limits)
        return Descent(pixels, objective, self.optimizer, self.learning_rate)

    def _finish(self, pixels: Tensor, content: Picture) -> Picture:
        """``(K, H, W, 3)`` of the full size."""
        height, width = fit_size(content.shape[0], content.shape[1], self.size)
        images = to_uint8(enlarge(pixels, height, width))
        if not self.original_colors:
            return images
        colors = resize(content, height, width)
        return np.stack([with_colors_of(colors, image) for image in images])
