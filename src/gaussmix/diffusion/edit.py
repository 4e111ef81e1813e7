"""Editing: redraw a given picture with some attributes changed and all else kept.

A picture x_0 is read as attributes A and latents Z (`gaussmix.diffusion.encoder`). A' and Z' are what it shall have:
Z'_k is Z_k for what stays and is drawn anew for what comes. From noise down to the picture, with fresh noise eps at
every level t, and x0*(x, A, Z) the network's estimate of the picture behind x:

    x_t = sqrt(ab_t)  x_0      + sqrt(1-ab_t) eps        the picture, noised
    y_t = sqrt(ab_t) (x_0 + d) + sqrt(1-ab_t) eps        its edit so far, under the same noise
    d   = m (x0*(y_t, A', Z') - x0*(x_t, A, Z))          what the change of attributes changes

and the result is x_0 + d. That is the sampler of D Eq. 10 run for both descriptions at once, where the one that
describes the picture is tied to it. If A' = A and Z' = Z then d = 0: nothing is lost by inverting the picture into
noise, because nothing is inverted. (Related: Huberman-Spiegelglas et al. 2024, edit-friendly DDPM inversion;
Kulikov et al. 2024, FlowEdit.) The mask m is 1 where the changed attributes act in the training data, and 0 where they
do not, so that the rest of the picture is kept exactly. Attributes that act nearly everywhere (the colour of hair) have
no such rest; where they act weakly, m drops what is too little to be meant, such as a tint of the background.

With guidance w, x0*(y, A', Z') is replaced by x0*(y, A, Z) + w (x0*(y, A', Z') - x0*(y, A, Z)): w = 1 is the plain
model, more exaggerates the change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gaussmix.diffusion.conditions import find_attributes, settle, unpack_rows
from gaussmix.diffusion.encoder import AttributeEncoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline, check_pictures, to_uint8
from gaussmix.diffusion.sampling import batch_size
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.schedule import step_generator

EDIT_STEPS = 10
_MASK_FROM, _MASK_TO = 0.02, 0.08
"""Where an attribute's map is below the first the picture is kept, above the second it is free."""
_CHANGE_FROM, _CHANGE_TO = 0.1, 0.3
"""Likewise the size of d, in the channel where it is largest, averaged over near pixels; pictures run from -1 to 1."""
_SURE_FROM, _SURE_TO = 0.4, 0.8
"""Where an attribute's map is this high, any change is meant."""
_BROAD_FROM, _BROAD_TO = 0.6, 0.9
"""Likewise if the share of the picture that is free is small."""


@dataclass(frozen=True, eq=False)
class EditResult:
    """Edited pictures and how they were described before and after.

    Attributes:
        images: ``(M, S, S, 3)`` uint8.
        attributes_before, attributes_after: A and A', ``(M, K)`` uint8.
        latents_before, latents_after: Z and Z', ``(M, T, N)``.
        masks: where the picture may change, ``(M, S, S)`` in [0, 1].
    """

    images: NDArray[np.uint8]
    attributes_before: NDArray[np.uint8]
    attributes_after: NDArray[np.uint8]
    latents_before: torch.Tensor
    latents_after: torch.Tensor
    masks: NDArray[np.float32]


def edit(
    pipeline: AttributeDiffusionPipeline,
    images: NDArray[np.uint8],
    present: Sequence[str] = (),
    absent: Sequence[str] = (),
    *,
    attributes: ArrayLike | None = None,
    components: Mapping[str, int] | None = None,
    seed: int = 0,
    steps: int = EDIT_STEPS,
    guidance: float = 1.0,
    on_step: Callable[[int], None] | None = None,
) -> EditResult:
    """Redraw pictures with some attributes switched on and others off.

    What was not asked for stays, unless the data never show it beside what was asked for: black hair goes when red hair
    comes (`gaussmix.diffusion.conditions`). A picture that already is as asked for comes back as it was.

    Args:
        images: ``(M, S, S, 3)`` uint8 of the model's size.
        present, absent: names of attributes to switch on and off.
        attributes: ``(M, K)`` of 0/1, what the pictures have; read off them if not given.
        components: modes of attributes by name, ``{"Eyeglasses": 1}``. These attributes are switched on, and drawn
            anew where they are on already.
        seed: picture i takes its noise, and Z of what is new, from ``(seed, i)``.
        steps: levels of noise, evenly spaced along the angle arccos sqrt(ab); 2 to 3 network evaluations each.
        guidance: w.
        on_step: called after each step with the number of picture-steps done, ``M * steps`` in all, or less where
            ``steps`` are more than the angle can tell apart.

    Warns if the data never show what was asked for together. Raises ValueError for a model without an encoder, pictures
    of another size, unknown names, a name on both sides, and for values out of range.
    """
    encoder, names = find_encoder(pipeline), pipeline.attribute_names
    on, off = find_attributes([*present, *(components or {})], names), find_attributes(absent, names)
    for k in sorted(set(on) & set(off)):
        raise ValueError(f"{names[k]} is asked for and ruled out at once")
    if not np.isfinite(guidance):
        raise ValueError(f"guidance is {guidance}; it must be a finite number")
    levels = _levels(pipeline, steps)
    check_pictures(images, pipeline.unet.config["sample_size"])
    if not len(images):
        raise ValueError("there are no pictures to edit; give at least one")
    given = encoder.read_attributes(images) if attributes is None else np.asarray(attributes)
    pipeline.attribute_latents.gate(given)  # checks the shape and the values
    before = given.astype(np.uint8)
    if len(before) != len(images):
        raise ValueError(f"{len(before)} rows of attributes for {len(images)} pictures; give one each")
    latents = encoder.encode(images, before, seed)
    after = _wanted(pipeline, before, on, off)
    new = (after == 1) & (before == 0)
    new[:, find_attributes(components or {}, names)] = True
    generators = [step_generator(seed, i, stream=0) for i in range(len(images))]
    drawn = torch.cat([pipeline.draw_latents(1, generator, components) for generator in generators])
    tokens = torch.zeros(latents.shape[:2], dtype=torch.bool)
    tokens[:, : len(names)] = torch.from_numpy(new)
    latents_after = torch.where(tokens[:, :, None], drawn, latents)
    maps = _maps(encoder, (before != after) | new)

    edited = images.copy()
    at_once = batch_size(images.shape[1], pipeline.unet.device)
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)

        def report(level: int, start: int = start, n: int = len(images[part])) -> None:
            if on_step is not None:
                on_step(start * len(levels) + level * n)

        conditions = [(latents[part], before[part]), (latents_after[part], after[part])]
        edited[part] = _redraw(
            pipeline, images[part], conditions, maps[part], levels, guidance, generators[part], report
        )
    masks = _smooth_step(maps, _MASK_FROM, _MASK_TO).numpy()
    return EditResult(edited, before, after, latents, latents_after, masks)


def find_encoder(pipeline: AttributeDiffusionPipeline) -> AttributeEncoder:
    """The model's encoder. Raises ValueError if it has none."""
    if pipeline.encoder is None:
        raise ValueError(
            "the model cannot read pictures: it was saved without an encoder; "
            "train it again with `gaussmix faces train --pairing matched`, which adds one"
        )
    return pipeline.encoder


def reconstruct(
    pipeline: AttributeDiffusionPipeline, result: EditResult, *, seed: int = 0, steps: int = EDIT_STEPS
) -> NDArray[np.uint8]:
    """What A and Z say of each picture by themselves: drawn from noise of ``(seed, i)``, ``(M, S, S, 3)`` uint8.

    An edit does not go through this; where it looks like the picture, much of the picture was read.
    """
    pipeline.set_progress_bar_config(disable=True)
    at_once = batch_size(result.images.shape[1], pipeline.unet.device)
    generators = [step_generator(seed, i, stream=0) for i in range(len(result.images))]
    parts = [slice(start, start + at_once) for start in range(0, len(generators), at_once)]
    pictures = [
        pipeline(
            result.attributes_before[part],
            result.latents_before[part],
            num_inference_steps=steps,
            guidance_scale=1.0,
            generator=generators[part],
            output_type="np",
        ).images
        for part in parts
    ]
    return np.concatenate([np.asarray(part) for part in pictures])


def _wanted(
    pipeline: AttributeDiffusionPipeline, before: NDArray[np.uint8], on: list[int], off: list[int]
) -> NDArray[np.uint8]:
    """A' ``(M, K)``: A with what was asked for, and what the data demand beside it."""
    names, packed = pipeline.attribute_names, pipeline.config["attribute_rows"]
    rows = unpack_rows(packed, len(names)) if packed else np.zeros((0, len(names)), np.uint8)
    after, unseen = before.copy(), set()
    after[:, on], after[:, off] = 1, 0
    for i in np.flatnonzero((after != before).any(1)):
        after[i], never = settle(rows, after[i], [*on, *off])
        unseen |= set(never)
    if unseen:
        asked = " and ".join(("" if k in on else "no ") + names[k].replace("_", " ") for k in sorted(unseen))
        warnings.warn(f"no training picture has {asked}; the edit may mix pictures of either", stacklevel=3)
    return after


def _maps(encoder: AttributeEncoder, changed: NDArray[np.bool_]) -> torch.Tensor:
    """The highest of the maps of the attributes that change, ``(M, S, S)``, for ``changed`` ``(M, K)``."""
    maps, size = encoder.maps.float().cpu(), encoder.config["image_size"]
    maps = torch.nn.functional.interpolate(maps[None], size=(size, size), mode="bilinear")[0]
    return (torch.from_numpy(changed)[:, :, None, None] * maps).amax(1)


def _masked(difference: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """m times a difference ``(B, C, S, S)``; ``maps`` ``(B, 1, S, S)``."""
    free = _smooth_step(maps, _MASK_FROM, _MASK_TO)
    broad = _smooth_step(free.mean((1, 2, 3), keepdim=True), _BROAD_FROM, _BROAD_TO)
    doubt = broad * (1 - _smooth_step(maps, _SURE_FROM, _SURE_TO))
    difference = free * difference
    width = 2 * (difference.shape[-1] // 32) + 1
    size = difference.abs().amax(1, keepdim=True)
    size = torch.nn.functional.avg_pool2d(size, width, 1, width // 2, count_include_pad=False)
    return difference * (1 - doubt * (1 - _smooth_step(size, _CHANGE_FROM, _CHANGE_TO)))


def _smooth_step(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """From 0 up to ``low`` to 1 from ``high`` on."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share**2 * (3 - 2 * share)


def _levels(pipeline: AttributeDiffusionPipeline, steps: int) -> list[int]:
    """Timesteps (from 0) from the last to the first, at most ``steps``, evenly along the angle arccos sqrt(ab)."""
    angles = torch.arccos(pipeline.scheduler.alphas_cumprod.sqrt()).double().cpu()
    if not 1 <= steps <= len(angles):
        raise ValueError(f"steps is {steps}; the model knows {len(angles)} levels of noise, choose 1 to {len(angles)}")
    wanted = torch.linspace(float(angles[-1]), float(angles[0]), steps, dtype=torch.float64)
    nearest = (angles - wanted[:, None]).abs().argmin(1)
    return sorted(set(nearest.tolist()), reverse=True)


@torch.no_grad()
def _redraw(
    pipeline: AttributeDiffusionPipeline,
    images: NDArray[np.uint8],
    conditions: list[tuple[torch.Tensor, NDArray[np.uint8]]],
    maps: torch.Tensor,
    levels: list[int],
    guidance: float,
    generators: list[torch.Generator],
    report: Callable[[int], None],
) -> NDArray[np.uint8]:
    """x_0 + d; ``conditions``: (Z, A) and (Z', A')."""
    unet = pipeline.unet
    shown = [*conditions, conditions[0]] if guidance != 1 else conditions
    latents = torch.cat([z for z, _ in shown]).to(unet.device, unet.dtype)
    attributes = torch.cat([torch.from_numpy(a) for _, a in shown]).to(unet.device, unet.dtype)
    maps = maps[:, None].to(unet.device)
    picture = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1).to(unet.device)
    difference = torch.zeros_like(picture)
    fast = has_fast_bfloat16(unet.device) and unet.dtype == torch.float32
    for done, level in enumerate(levels, 1):
        alpha_bar = pipeline.scheduler.alphas_cumprod[level].to(unet.device)
        noise = torch.stack([torch.randn(picture.shape[1:], generator=g) for g in generators]).to(unet.device)
        noisy = alpha_bar.sqrt() * picture + (1 - alpha_bar).sqrt() * noise
        other = noisy + alpha_bar.sqrt() * difference
        sample = torch.cat([noisy, *[other] * (len(shown) - 1)])
        with torch.autocast(unet.device.type, torch.bfloat16, enabled=fast):
            answer = unet(sample.to(unet.dtype), level, latents, attributes).sample
        estimates = pipeline.clean_estimate(answer.float(), level, sample).chunk(len(shown))
        goal = estimates[1]
        if guidance != 1:
            goal = (estimates[2] + guidance * (estimates[1] - estimates[2])).clamp(-1, 1)
        difference = _masked(goal - estimates[0], maps)
        report(done)
    return to_uint8(picture + difference)
