"""Does the classifier on the bottleneck read the image, or the condition that it was shown?

D Fig. 8 puts the classifier behind blocks that have seen the condition. Its loss then says nothing: it can read the
answer back. The control: noisy images x_t are shown with a wrong condition, the attributes and Z of another image, and
only those entries (image, attribute) count in which the two disagree. There a decision names either the image or the
condition, so that with balanced accuracies

    image accuracy + condition accuracy = 1.

An attribute is found where its probability exceeds its share among the images, the best rule for a balanced accuracy.
A classifier that reads the image has an image accuracy near its accuracy with the right condition; one that reads the
condition back has one near 0; 1/2 is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline, check_pictures
from gaussmix.metrics.attributes import balanced_accuracy

_BATCH = 64


@dataclass(frozen=True, eq=False)
class LeakReport:
    """What `measure_leak` found at one noise level; accuracies are balanced, and means over the K attributes.

    Attributes:
        timestep: the noise level, 0 ... T - 1.
        count: number of images.
        right_accuracy: of the classifier when the condition is the image's own, over all entries.
        image_accuracy: with the wrong condition, over the entries where image and condition differ, against the image.
        condition_accuracy: the same against the condition, ``1 - image_accuracy``.
        agreement: share of these entries that are decided as with the right condition; 1 if the condition is not seen.
        image_accuracies: ``(K,)``, behind `image_accuracy`; NaN for an attribute that differs in one direction only.
    """

    timestep: int
    count: int
    right_accuracy: float
    image_accuracy: float
    condition_accuracy: float
    agreement: float
    image_accuracies: NDArray[np.float64]


@torch.no_grad()
def measure_leak(
    pipeline: AttributeDiffusionPipeline,
    images: NDArray[np.uint8],
    attributes: ArrayLike,
    *,
    timestep: int,
    seed: int = 0,
    latents: torch.Tensor | None = None,
) -> LeakReport:
    """Show the network of ``pipeline`` noisy images with a wrong condition and see what its classifier names.

    Args:
        images: ``(M, H, W, 3)`` uint8, which the model need not have seen.
        attributes: ``(M, K)`` of 0/1.
        timestep: noise level, 0 (nearly clean) ... T - 1 (nearly noise).
        seed: of the noise, of the Z that are drawn, and of who gets whose condition.
        latents: ``(M, T, N)`` Z of each image, which go with its attributes; drawn from the model's distribution if
            not given.

    The classifier looks at the pass that it was trained on: with or without the condition.

    Raises ValueError for a model without a classifier, fewer than two images, shapes that do not fit, and for images
    whose attributes never differ both ways.
    """
    unet = pipeline.unet
    truth = np.asarray(attributes)
    pipeline.attribute_latents.gate(truth)  # checks the shape and the values
    if unet.head is None:
        raise ValueError("the model has no classifier; train one with --classifier-weight 0.1")
    if not 2 <= len(images) == len(truth):
        raise ValueError(f"got {len(images)} images and {len(truth)} rows of attributes; give two or more of both")
    check_pictures(images, unet.config["sample_size"])
    levels = pipeline.scheduler.alphas_cumprod
    if not 0 <= timestep < len(levels):
        raise ValueError(f"timestep is {timestep}; choose 0 to {len(levels) - 1}")
    generator = torch.Generator().manual_seed(seed)
    if latents is None:
        latents = pipeline.draw_latents(len(truth), generator)
    circle = np.random.default_rng(seed).permutation(len(truth))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)  # everyone gets the condition of somebody else

    alpha_bar = levels[timestep]
    share = torch.from_numpy(truth.mean(0))
    right, wrong = [], []
    for start in range(0, len(images), _BATCH):
        rows = slice(start, start + _BATCH)
        clean = torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
        noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * torch.randn(clean.shape, generator=generator)
        for decisions, whose in ((right, np.arange(len(truth))[rows]), (wrong, other[rows])):
            logits = _as_trained(pipeline, noisy, timestep, latents[whose], truth[whose])
            decisions.append((logits.sigmoid().double().cpu() > share).numpy())
    right, wrong = np.concatenate(right), np.concatenate(wrong)

    differ = truth != truth[other]
    per_attribute = np.array(
        [balanced_accuracy(wrong[rows, k : k + 1], truth[rows, k : k + 1])[0] for k, rows in enumerate(differ.T)]
    )
    if np.isnan(per_attribute).all():
        raise ValueError(f"no attribute of the {len(truth)} images differs both ways from that of another; give more")
    image_accuracy = float(np.nanmean(per_attribute))
    return LeakReport(
        timestep=timestep,
        count=len(truth),
        right_accuracy=float(np.nanmean(balanced_accuracy(right, truth))),
        image_accuracy=image_accuracy,
        condition_accuracy=1 - image_accuracy,
        agreement=float((right == wrong)[differ].mean()),
        image_accuracies=per_attribute,
    )


def _as_trained(
    pipeline: AttributeDiffusionPipeline,
    noisy: torch.Tensor,
    timestep: int,
    latents: torch.Tensor,
    attributes: NDArray[np.uint8],
) -> torch.Tensor:
    """Logits ``(B, K)`` of the pass that the classifier was trained on."""
    unet = pipeline.unet
    noisy = noisy.to(unet.device, unet.dtype)
    if unet.config["classifier_pass"] == "unconditioned":
        return unet.classify(noisy, timestep)
    condition = latents.to(noisy), torch.from_numpy(attributes).to(noisy)
    return unet.classify(noisy, timestep, *condition)
