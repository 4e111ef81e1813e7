"""Pictures of one content in K variants of a style: `StyleTransfer`.

    x_k = argmin_x  style_weight style(x, T_k) + content_weight content(x) + tv_weight variation(x),   x in [0, 1]

T_k are the Gram matrices that variant k shall have: those of one picture (Gatys et al. 2016), or a draw from the
distribution of a style (E Sec. 3.2.2); for regions with styles of their own, those of each. The losses are in
`gaussmix.style.objective`, the way down on the pixels in `gaussmix.style.descent`. It goes up a pyramid, its sizes
sqrt 2 apart: large forms settle where a step is cheap. Every next size begins with the picture so far, enlarged, plus
the detail that enlarging the content would lose. Where styles are blended, the loss holds the pictures at the shares
that were asked for (`gaussmix.style.blending`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaussmix.style.blending import HeldBlend
from gaussmix.style.descent import Descent, OptimizerName
from gaussmix.style.images import (
    MIN_SIDE,
    Picture,
    fit_size,
    resize,
    to_tensor,
    to_uint8,
    with_colors_of,
)
from gaussmix.style.objective import Objective
from gaussmix.style.scene import Masks, Scene, enlarge
from gaussmix.style.vgg import CONTENT_LAYERS, VGG19Features
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.schedule import step_generator

Target = Mapping[str, Tensor]  # {style layer: Gram matrix (C, C), or (R, C, C) of each region}
Colors = Literal["style", "content", "luminance"]
Plan = list[tuple[tuple[int, int], int]]  # heights and widths, and steps at each

PYRAMID_FROM = 128
"""Pixels of the longer side at which the pyramid begins."""
MAX_PIXELS = 1 << 20
"""In one pass through the network, by default."""
BYTES = {False: 2600, True: 1600}
"""That a pixel takes in a pass, in single precision and, True, in half."""
_PROCESS = 400_000_000
_HELD = 350  # bytes of a pixel in L-BFGS's history


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
    optimizer : {"lbfgs", "adam"}
        L-BFGS gets to a lower loss in the same time, and to cleaner pictures.
    steps : int
        At the pyramid's first size; at each further one half as many.
    learning_rate : float
        Of Adam, in units of the pixels' range; L-BFGS finds its own steps.
    style_weight, content_weight, tv_weight : float
        Weights of the losses; only their ratios matter.
    size : int
        Pixels of the longer side of the result.
    start : {"content", "noise"}
        What to begin with; ``seed`` chooses noise for each variant, whose pyramid begins at `MIN_SIDE`.
    colors : {"style", "content", "luminance"}
        Whose colours the result has: "content" takes only lightness from the picture that was made; "luminance" makes
        it in grey, for targets of grey pictures, and gives it the content's colours (Gatys et al. 2016b).
    max_pixels : int
        Most pixels in one pass through the network, at `BYTES` each: as many variants at once as this holds, and a
        larger picture in tiles.
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
        optimizer: OptimizerName = "lbfgs",
        steps: int = 50,
        learning_rate: float = 0.03,
        style_weight: float = 1.0,
        content_weight: float = 0.1,
        tv_weight: float = 0.5,
        size: int = 512,
        start: Literal["content", "noise"] = "content",
        colors: Colors = "style",
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
        choices = {"optimizer": (optimizer, "lbfgs adam"), "start": (start, "content noise")}
        choices["colors"] = colors, "style content luminance"
        for name, (value, allowed) in choices.items():
            if value not in allowed.split():
                raise ValueError(f"{name} is {value!r}; choose {' or '.join(allowed.split())}")
        for name, value, least in (("steps", steps, 1), ("size", size, MIN_SIDE)):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        if not 0 < learning_rate <= 1:
            raise ValueError(f"learning_rate is {learning_rate}; it must lie in (0, 1], the range of a pixel")
        self.features, self.weights = features, weights
        self.optimizer: OptimizerName = optimizer
        self.steps, self.learning_rate, self.size, self.start = steps, learning_rate, size, start
        self.colors: Colors = colors
        self.max_pixels = max_pixels
        self.device = features.mean.device
        half = has_fast_bfloat16(self.device) if half_precision is None else half_precision
        self._half = half
        self._network = features.in_half_precision() if half else features

    def run(
        self,
        content: Picture,
        targets: Sequence[Target],
        *,
        masks: Masks | None = None,
        blends: Sequence[HeldBlend | None] | None = None,
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
            T_k, ``{style layer: (C, C)}``, one mapping a variant, of E Eq. 11 divided by ``h w``; with masks
            ``(R, C, C)``, of each region.
        masks : ndarray of uint8, optional
            Regions ``(R, H, W)``, 255 where a region's style is wanted; where all are 0 the content stays.
        blends : sequence of HeldBlend or None, optional
            Of each region, from `GramExpansion.held`: pictures get just these shares of the styles.
        seed : int
            Variant k that starts from noise takes it from ``(seed, k)``.
        on_step : callable, optional
            Gets a `TransferStep` after each step.

        Raises
        ------
        ValueError
            For a picture of another type or too slender, for targets that do not fit the network, and for masks that
            do not fit content and targets.
        """
        plan, scene = self._plan(content), Scene.of(content, masks, self.colors == "luminance", self.device)
        stacked = self._stack(targets, masks)
        steps = sum(n for _, n in plan)
        work = len(targets) * self.work(content)
        height, width = plan[-1][0]
        at_once = max(1, self.max_pixels // (height * width))

        images, losses = [], np.full((len(targets), steps), np.nan, np.float32)
        done, interrupted = 0, False
        for first in range(0, len(targets), at_once):
            variants = range(first, min(first + at_once, len(targets)))
            part = {layer: target[variants.start : variants.stop] for layer, target in stacked.items()}
            pixels = None
            try:
                for step, (pixels, before) in enumerate(
                    self._descend(scene, part, blends or (), plan, self._start(scene, plan, variants, seed))
                ):
                    losses[variants.start : variants.stop, step] = before
                    done += pixels[:, 0].numel()
                    if on_step is not None:
                        on_step(TransferStep(step + 1, steps, done, work, variants, before, pixels))
            except KeyboardInterrupt:
                if pixels is None and not images:
                    raise
                interrupted = True
            if pixels is not None:
                images.append(self._finish(pixels, scene))
            if interrupted:
                break
        drawn = np.concatenate(images)
        return TransferResult(drawn, losses[: len(drawn)], interrupted)

    def follow(
        self,
        content: Picture,
        targets: Sequence[Target],
        first: Picture,
        *,
        masks: Masks | None = None,
        blends: Sequence[HeldBlend | None] | None = None,
        steps: int,
        lead: int = 0,
    ) -> Iterator[Picture]:
        """Render a film: a picture ``(H, W, 3)`` for each of several targets, each begun with the one before.

        It goes by Adam, whose memory does not mind that targets move.

        Parameters
        ----------
        content : ndarray of uint8
            As for `run`.
        targets : sequence of mapping of str to Tensor
            A path, such as `GramExpansion.walk` takes.
        first : ndarray of uint8
            ``(H, W, 3)`` of this size, a result of `run`, to begin with.
        masks, blends : ndarray of uint8, sequence of HeldBlend or None, optional
            As for `run`.
        steps : int
            For each picture; the optimizer's memory lasts from one to the next, so that nothing jumps.
        lead : int
            As many of the last targets are drawn first and left out, so that a film of a circle closes without a jump.
        """
        before = targets[max(0, len(targets) - lead) :]
        path = [*before, *targets]
        stacked, scene = self._stack(path, masks), Scene.of(content, masks, self.colors == "luminance", self.device)
        parts = [{layer: target[k : k + 1] for layer, target in stacked.items()} for k in range(len(path))]
        pixels = to_tensor(first[None], self.device)
        descent = self._begin(scene, parts[0], pixels, "adam", blends or ())
        for k, part in enumerate(parts):
            descent.objective.aim(part)
            for _ in range(steps):
                descent.step()
            if k >= len(before):
                yield self._finish(pixels, scene)[0]

    def work(self, content: Picture) -> int:
        """Return the pixels times steps of one variant in `run`."""
        return sum(height * width * steps for (height, width), steps in self._plan(content))

    def pixels(self, content: Picture) -> int:
        """Return the pixels of a result."""
        return int(np.prod(fit_size(content.shape[0], content.shape[1], self.size)))

    def memory(self, content: Picture, count: int) -> int:
        """Return the bytes that `run` takes, what Python and the network take included.

        Parameters
        ----------
        content, count : ndarray, int
            The picture, and how many variants of it.
        """
        pixels = self.pixels(content)
        at_once = min(count, max(1, self.max_pixels // pixels))
        held = at_once * pixels * (_HELD if self.optimizer == "lbfgs" else _HELD // 4)
        return _PROCESS + held + min(at_once * pixels, self.max_pixels) * BYTES[self._half]

    def _plan(self, content: Picture) -> Plan:
        """Heights and widths of the pyramid, the smallest first, and how many steps to make at each."""
        if content.ndim != 3 or content.shape[2] != 3 or content.dtype != np.uint8 or 0 in content.shape:
            raise ValueError(f"content is {content.dtype} {content.shape}; give uint8 (H, W, 3)")
        height, width = content.shape[:2]
        sizes, side = [fit_size(height, width, self.size)], self.size / 2**0.5
        if min(sizes[0]) < MIN_SIDE:
            thin = f"content of {width} x {height} pixels is {min(sizes[0])} pixels thin at size {self.size}"
            raise ValueError(f"{thin}; crop it, or ask for a size that leaves at least {MIN_SIDE}")
        first = PYRAMID_FROM if self.start == "content" else MIN_SIDE  # noise comes to forms where it is coarse
        while side >= first and min(fit_size(height, width, side)) >= MIN_SIDE:
            sizes.append(fit_size(height, width, side))
            side /= 2**0.5
        later = max(1, self.steps // 2)
        return [(size, later if level else self.steps) for level, size in enumerate(reversed(sizes))]

    def _stack(self, targets: Sequence[Target], masks: Masks | None) -> dict[str, Tensor]:
        """``{layer: (K, C, C) or (K, R, C, C)}`` on the device."""
        regions = () if masks is None else (len(masks),)
        if not targets:
            raise ValueError("there are no targets; give the Gram matrices of at least one variant")
        layers = set(targets[0])
        for k, target in enumerate(targets):
            if set(target) != layers or not layers or not layers <= set(self.features.layers):
                allowed = f"some of {self.features.layers}, for all variants the same"
                raise ValueError(f"target {k} has the layers {list(target)}; give {allowed}")
            for layer, gram in target.items():
                shape = (*regions, self.features.channels[layer], self.features.channels[layer])
                if gram.shape != shape or not bool(gram.isfinite().all()):
                    found = f"{tuple(gram.shape)}, {int(gram.isfinite().sum())} values finite"
                    raise ValueError(f"target {k} at {layer} is {found}; give finite {shape}")
        return {layer: torch.stack([t[layer] for t in targets]).float().to(self.device) for layer in targets[0]}

    def _start(self, scene: Scene, plan: Plan, variants: range, seed: int) -> Tensor:
        """What variants begin with, ``(K, 3, h, w)`` at the first size."""
        size = plan[0][0]
        if self.start == "content":
            return scene.content_at(*size).repeat(len(variants), 1, 1, 1)
        channels = 1 if scene.grey else 3
        generators = [step_generator(seed, variant, stream=0) for variant in variants]
        noise = [torch.rand((channels, *size), generator=g).expand(3, -1, -1) for g in generators]
        return torch.stack(noise).to(self.device)

    def _descend(
        self,
        scene: Scene,
        targets: dict[str, Tensor],
        blends: Sequence[HeldBlend | None],
        plan: Plan,
        pixels: Tensor,
    ) -> Iterator[tuple[Tensor, NDArray[np.float32]]]:
        """Up the pyramid: the pictures after each step, and their losses before it."""
        smaller = None
        for (height, width), steps in plan:
            larger = scene.content_at(height, width)
            pixels = enlarge(pixels, height, width)
            if smaller is not None:
                pixels = (pixels + larger - enlarge(smaller, height, width)).clamp_(0, 1)
            smaller = larger
            descent = self._begin(scene, targets, pixels, self.optimizer, blends)
            for left in reversed(range(steps)):
                losses = descent.step()
                if not left:
                    descent.settle()
                yield pixels, losses

    def _begin(
        self,
        scene: Scene,
        targets: dict[str, Tensor],
        pixels: Tensor,
        optimizer: OptimizerName,
        blends: Sequence[HeldBlend | None],
    ) -> Descent:
        """Descent on ``pixels``, at their size."""
        size = pixels.shape[2], pixels.shape[3]
        still, masks = scene.content_at(*size), scene.masks_at(*size)
        free = None if masks is None else (masks > 0).any(0).to(still.dtype)
        if free is not None:
            pixels.copy_(still + free * (pixels - still))
        limits = {"max_pixels": self.max_pixels, "masks": masks}
        objective = Objective(self._network, still, targets, **self.weights, **limits, blends=blends)
        return Descent(pixels, objective, optimizer, self.learning_rate, free, grey=scene.grey)

    def _finish(self, pixels: Tensor, scene: Scene) -> Picture:
        """``(K, H, W, 3)`` of the full size."""
        height, width = fit_size(scene.content.shape[0], scene.content.shape[1], self.size)
        images = to_uint8(enlarge(pixels, height, width))
        if self.colors != "style":
            colors = resize(scene.content, height, width)
            images = np.stack([with_colors_of(colors, image) for image in images])
        return scene.laid_over(images)
