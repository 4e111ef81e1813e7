"""Editing: redraw a given picture with some attributes changed and all else kept.

A picture x_0 is read as attributes A and latents Z (`gaussmix.diffusion.encoder`). A' and Z' are what it shall have:
Z'_k is Z_k for what stays and is drawn anew for what comes. From noise down to the picture, with fresh noise eps at
every level t, and x0*(x, A, Z) the network's estimate of the picture behind x:

    x_t = sqrt(ab_t) e(x_0)     + sqrt(1-ab_t) eps       the picture, noised
    y_t = sqrt(ab_t) e(x_0 + d) + sqrt(1-ab_t) eps       its edit so far, under the same noise
    d   = m (x0*(y_t, A', Z') - x0*(x_t, A, Z))          what the change of attributes changes

and the result is x_0 + d, with e(x) what the network noises: the pixels, or the numbers of a codec. What a codec leaves
out of x_0 is never in d, so it stays. That is the sampler of D Eq. 10 run for both descriptions at once, where the one
that describes the picture is tied to it. If A' = A and Z' = Z then d = 0: nothing is lost by inverting the picture into
noise, because nothing is inverted. (Related: Huberman-Spiegelglas et al. 2024, edit-friendly DDPM inversion;
Kulikov et al. 2024, FlowEdit.) The mask m is 1 where the changed attributes act in the training data, and 0 where they
do not, so that the rest of the picture is kept exactly. Attributes that act nearly everywhere (the colour of hair) have
no such rest; where they act weakly, m drops what is too little to be meant, such as a tint of the background.

With guidance w, x0*(y, A', Z') is replaced by x0*(y, A, Z) + w (x0*(y, A', Z') - x0*(y, A, Z)): w = 1 is the plain
model, more exaggerates the change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gaussmix.diffusion.conditions import find_attributes, nearest_possible
from gaussmix.diffusion.encoder import AttributeEncoder
from gaussmix.diffusion.outputs import check_pictures, to_uint8
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import batch_size
from gaussmix.training.device import fast_autocast
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

FAR = 4.0
"""Strangeness above which a picture is none that the model knows."""
_OWN, _OWN_STEPS = 16, 5  # pictures of its own, and steps to draw them
_LEVELS = (0.15, 0.35, 0.6)  # angles, as shares of a right one
_LEAST_ERROR = 1e-6  # of x0* from -1 to 1: less is rounding

Description = tuple[NDArray[np.uint8], Tensor]  # A (M, K) and Z (M, T, N)


@dataclass(frozen=True, eq=False)
class EditResult:
    """Edited pictures ``images`` ``(M, S, S, 3)`` uint8, and how they were described before and after.

    A and A' are ``attributes_before`` and ``attributes_after`` ``(M, K)`` uint8, Z and Z' are
    ``attribute_latents_before`` and ``attribute_latents_after`` ``(M, T, N)``; ``masks`` ``(M, S, S)`` in [0, 1] is
    where a picture may change.
    """

    images: NDArray[np.uint8]
    attributes_before: NDArray[np.uint8]
    attributes_after: NDArray[np.uint8]
    attribute_latents_before: Tensor
    attribute_latents_after: Tensor
    masks: NDArray[np.float32]


def edit_images(
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
    comes (`gaussmix.diffusion.conditions`), with a warning if the data never show what was asked for together. A
    picture that already is as asked for comes back as it was.

    Parameters
    ----------
    pipeline, images : AttributeDiffusionPipeline, ndarray
        A model with an encoder, and ``(M, S, S, 3)`` uint8 of its size.
    present, absent : sequence of str
        Names of attributes to switch on and off.
    attributes : array_like, optional
        ``(M, K)`` of 0/1, what the pictures have; read off them if not given.
    components : mapping of str to int, optional
        Modes of attributes by name, ``{"Eyeglasses": 1}``. These attributes are switched on, and drawn anew where they
        are on already.
    seed : int
        Picture i takes its noise, and Z of what is new, from ``(seed, i)``.
    steps, guidance : int, float
        Levels of noise, evenly along the angle arccos sqrt(ab), 2 to 3 network evaluations each; and w.
    on_step : callable, optional
        Called after each step with the number of picture-steps done, ``M * steps`` in all, or less where ``steps`` are
        more than the angle can tell apart.

    Raises
    ------
    ValueError
        For a model without an encoder, pictures of another size, unknown names, a name on both sides, and for values
        out of range.
    """
    if not np.isfinite(guidance):
        raise ValueError(f"guidance is {guidance}; it must be a finite number")
    levels = _levels(pipeline, steps)
    before = _as_it_is(pipeline, images, attributes, seed)
    generators = [step_generator(seed, i, stream=0) for i in range(len(images))]
    after, changed = _as_asked_for(pipeline, before, present, absent, components or {}, generators)
    maps = find_encoder(pipeline).maps.float().cpu()[None]
    maps = torch.nn.functional.interpolate(maps, size=images.shape[1:3], mode="bilinear")[0]
    maps = (torch.from_numpy(changed)[:, :, None, None] * maps).amax(1)  # the highest of those that change, (M, S, S)
    edited, at_once = images.copy(), batch_size(images.shape[1], pipeline.network.device)
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)
        both = [(a[part], z[part]) for a, z in (before, after)]
        redrawing = _redraw(pipeline, images[part], both, maps[part], levels, guidance, generators[part])
        for done, redrawn in enumerate(redrawing, 1):
            edited[part] = redrawn
            if on_step is not None:
                on_step(start * len(levels) + done * len(redrawn))
    masks = _smooth_step(maps, _MASK_FROM, _MASK_TO).numpy()
    return EditResult(edited, before[0], after[0], before[1], after[1], masks)


@torch.no_grad()
def strangeness(
    pipeline: AttributeDiffusionPipeline, images: NDArray[np.uint8], *, seed: int = 0
) -> NDArray[np.float64]:
    """Return how many times worse the network denoises pictures than ones that it drew itself, ``(M,)``.

    The mean over three levels of noise of the logarithm of the squared error of x0*, told A and Z as they are read,
    less the median of the same for 16 pictures of its own; exp of that. With the model in the package 99 of
    100 other avatars have up to 3, and photographs, drawings, noise, avatars upside down or in inverted colours 10 to
    150, single colours from 5 on; `FAR` lies between.

    Parameters
    ----------
    pipeline, images : AttributeDiffusionPipeline, ndarray
        A model with an encoder, and ``(M, S, S, 3)`` uint8 of its size.
    seed : int
        Of its own pictures and of the noise.

    Raises
    ------
    ValueError
        For a model without an encoder, and pictures of another size.
    """
    described = _as_it_is(pipeline, images, None, seed)
    rows = pipeline.known_rows()
    rows = rows[:_OWN] if len(rows) else np.zeros((_OWN, len(pipeline.attribute_names)), np.uint8)
    generators = [step_generator(seed, i, stream=0) for i in range(len(rows))]
    z = torch.cat([pipeline.draw_attribute_latents(1, generator) for generator in generators])
    pipeline.set_progress_bar_config(disable=True)
    steps = min(_OWN_STEPS, int(pipeline.scheduler.config["num_train_timesteps"]))
    own = pipeline(rows, z, steps, guidance_scale=1.0, generator=generators, output_type="uint8")
    pictures = np.asarray(own.images)
    usual = np.median(_log_errors(pipeline, pictures, (rows, z), seed), 0)
    return np.exp((_log_errors(pipeline, images, described, seed) - usual).mean(1))


def _log_errors(
    pipeline: AttributeDiffusionPipeline, images: NDArray[np.uint8], described: Description, seed: int
) -> NDArray[np.float64]:
    """Logarithms of squared errors of x0*, ``(M, levels)``."""
    network, (attributes, latents) = pipeline.network, described
    device, dtype = network.device, network.dtype
    told = latents.to(device, dtype), torch.from_numpy(attributes).to(device, dtype)
    picture = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1).to(device)
    angles = torch.arccos(pipeline.scheduler.alphas_cumprod.sqrt()).cpu()
    found = []
    for share in _LEVELS:
        level = int((angles - share * torch.pi / 2).abs().argmin())
        alpha_bar = pipeline.scheduler.alphas_cumprod[level].to(device)
        noise = torch.randn(network.state_shape, generator=step_generator(seed, level, stream=1)).to(device)
        noisy = alpha_bar.sqrt() * network.encode(picture) + (1 - alpha_bar).sqrt() * noise
        answer = network(noisy.to(dtype), level, *told).sample.float()
        error = (pipeline.clean_estimate(answer, level, noisy) - picture).square().mean((1, 2, 3))
        found.append(error.clamp(min=_LEAST_ERROR).log().double().cpu().numpy())
    return np.stack(found, 1)


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
    """Draw what A and Z say of each edited picture by themselves, ``(M, S, S, 3)`` uint8.

    An edit does not go through this; where it looks like the picture, much of the picture was read.

    Parameters
    ----------
    pipeline, result : AttributeDiffusionPipeline, EditResult
        The model, and what was read of the pictures.
    seed, steps : int
        Noise of picture i comes from ``(seed, i)``; levels of it.
    """
    pipeline.set_progress_bar_config(disable=True)
    at_once = batch_size(result.images.shape[1], pipeline.network.device)
    generators = [step_generator(seed, i, stream=0) for i in range(len(result.images))]
    pictures = []
    for start in range(0, len(generators), at_once):
        part = slice(start, start + at_once)
        a, z = result.attributes_before[part], result.attribute_latents_before[part]
        out = pipeline(a, z, steps, guidance_scale=1.0, generator=generators[part], output_type="uint8")
        pictures.append(np.asarray(out.images))
    return np.concatenate(pictures)


def _as_it_is(
    pipeline: AttributeDiffusionPipeline, images: NDArray[np.uint8], attributes: ArrayLike | None, seed: int
) -> Description:
    """A and Z of pictures, once they are checked; A is read off them if not given."""
    encoder = find_encoder(pipeline)
    check_pictures(images, pipeline.network.config["sample_size"])
    if not len(images):
        raise ValueError("there are no pictures to edit; give at least one")
    given = encoder.read_attributes(images) if attributes is None else np.asarray(attributes)
    pipeline.latent_distribution.gate(given)  # checks the shape and the values
    if len(given) != len(images):
        raise ValueError(f"{len(given)} rows of attributes for {len(images)} pictures; give one each")
    attributes = given.astype(np.uint8)
    return attributes, encoder.encode(images, attributes, seed)


def _as_asked_for(
    pipeline: AttributeDiffusionPipeline,
    description: Description,
    present: Sequence[str],
    absent: Sequence[str],
    components: Mapping[str, int],
    generators: list[torch.Generator],
) -> tuple[Description, NDArray[np.bool_]]:
    """A' and Z', and where either changes, ``(M, K)``."""
    names, (before, latents) = pipeline.attribute_names, description
    on, off = find_attributes([*present, *components], names), find_attributes(absent, names)
    for k in sorted(set(on) & set(off)):
        raise ValueError(f"{names[k]} is asked for and ruled out at once")
    rows, after, unseen = pipeline.known_rows(), before.copy(), set()
    after[:, on], after[:, off] = 1, 0
    for i in np.flatnonzero((after != before).any(1)):  # what the data demand beside what was asked for
        after[i], never = nearest_possible(rows, after[i], [*on, *off])
        unseen |= set(never)
    if unseen:
        asked = " and ".join(("" if k in on else "no ") + names[k].replace("_", " ") for k in sorted(unseen))
        warnings.warn(f"no training picture has {asked}; the edit may mix pictures of either", stacklevel=3)
    new = (after == 1) & (before == 0)
    new[:, find_attributes(components, names)] = True
    drawn = torch.cat([pipeline.draw_attribute_latents(1, generator, components) for generator in generators])
    tokens = torch.zeros(latents.shape[:2], dtype=torch.bool)
    tokens[:, : len(names)] = torch.from_numpy(new)
    return (after, torch.where(tokens[:, :, None], drawn, latents)), (before != after) | new


def _masked(difference: Tensor, maps: Tensor) -> Tensor:
    """m times a difference ``(B, C, S, S)``; ``maps`` ``(B, 1, S, S)``."""
    free = _smooth_step(maps, _MASK_FROM, _MASK_TO)
    broad = _smooth_step(free.mean((1, 2, 3), keepdim=True), _BROAD_FROM, _BROAD_TO)
    doubt = broad * (1 - _smooth_step(maps, _SURE_FROM, _SURE_TO))
    difference = free * difference
    width = 2 * (difference.shape[-1] // 32) + 1
    size = difference.abs().amax(1, keepdim=True)
    size = torch.nn.functional.avg_pool2d(size, width, 1, width // 2, count_include_pad=False)
    return difference * (1 - doubt * (1 - _smooth_step(size, _CHANGE_FROM, _CHANGE_TO)))


def _smooth_step(values: Tensor, low: float, high: float) -> Tensor:
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
    descriptions: list[Description],
    maps: Tensor,
    levels: list[int],
    guidance: float,
    generators: list[torch.Generator],
) -> Iterator[NDArray[np.uint8]]:
    """x_0 + d after each level, from the descriptions before and after."""
    network = pipeline.network
    shown = [*descriptions, descriptions[0]] if guidance != 1 else descriptions
    latents = torch.cat([z for _, z in shown]).to(network.device, network.dtype)
    attributes = torch.cat([torch.from_numpy(a) for a, _ in shown]).to(network.device, network.dtype)
    maps = maps[:, None].to(network.device)
    picture = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1).to(network.device)
    difference = torch.zeros_like(picture)
    for level in levels:
        alpha_bar = pipeline.scheduler.alphas_cumprod[level].to(network.device)
        noise = torch.stack([torch.randn(network.state_shape, generator=g) for g in generators]).to(network.device)
        noise = (1 - alpha_bar).sqrt() * noise
        noisy = alpha_bar.sqrt() * network.encode(picture) + noise
        other = alpha_bar.sqrt() * network.encode(picture + difference) + noise
        sample = torch.cat([noisy, *[other] * (len(shown) - 1)])
        with fast_autocast(network.device, network.dtype):
            answer = network(sample.to(network.dtype), level, latents, attributes).sample
        estimates = pipeline.clean_estimate(answer.float(), level, sample).chunk(len(shown))
        goal = estimates[1]
        if guidance != 1:
            goal = (estimates[2] + guidance * (estimates[1] - estimates[2])).clamp(-1, 1)
        difference = _masked(goal - estimates[0], maps)
        yield to_uint8(picture + difference)
