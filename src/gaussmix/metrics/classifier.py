r"""An independent judge: a small convolutional network that reads attributes off an image.

It is trained on the real images of a data set and never sees the generator, so what it finds in a generated image is
evidence about the image alone.

Loss: :math:`\sum_k` cross-entropy of :math:`(a_k, \sigma(\ell_k))` with weights :math:`1/(2f_k)` for images that have
attribute :math:`k` and :math:`1/(2(1-f_k))` for those that have not, :math:`f_k` its frequency, so that a rare
attribute counts as much as a common one. Decision: :math:`\ell_k > \theta_k`, with :math:`\theta_k` chosen on the
validation split for the best balanced accuracy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from gaussmix.data.cache import cache_dir
from gaussmix.data.dataset import AttributeDataset, DataError
from gaussmix.metrics.attributes import balanced_accuracy

VERSION = 1
"""Part of the cache key; raised whenever the network or its training changes."""

STEPS = 1500
BATCH_SIZE = 64
_INFERENCE_BATCH = 256
_WEIGHTS, _CARD = "classifier.safetensors", "classifier.json"


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class AttributeClassifier(nn.Module):
    """``K`` yes/no decisions about an image of at least 16 x 16 pixels.

    ``forward`` maps ``(B, 3, H, W)`` in [-1, 1] to logits ``(B, K)``. `logits`, `predict` and `features` take uint8
    images ``(N, H, W, 3)``, work through them in batches and return arrays. A trained network knows faces of one
    size: give it images of the size it was trained on.
    """

    thresholds: Tensor  # (K,), in logits

    def __init__(self, attribute_names: tuple[str, ...], num_features: int = 64):
        super().__init__()
        self.attribute_names = tuple(attribute_names)
        self.trunk = nn.Sequential(
            _convolution(3, 32, 1),
            _convolution(32, 64, 2),
            _convolution(64, 64, 1),
            _convolution(64, 128, 2),
            _convolution(128, 128, 1),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128 * 16, num_features, bias=False),
            nn.BatchNorm1d(num_features),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(num_features, len(self.attribute_names))
        self.register_buffer("thresholds", torch.zeros(len(self.attribute_names)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """``(N, K)`` float32 for images ``(N, H, W, 3)`` uint8."""
        return self._in_batches(self.forward, images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """``(N, K)`` bool for images ``(N, H, W, 3)`` uint8."""
        return self.logits(images) > self.thresholds.cpu().numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """The layer before the logits, ``(N, num_features)`` float32 for images ``(N, H, W, 3)`` uint8."""
        return self._in_batches(self.trunk, images)

    @torch.no_grad()
    def _in_batches(self, function: Callable[[Tensor], Tensor], images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < 16:
            raise ValueError(
                f"images must be uint8 (N, H, W, 3) with H and W at least 16, got {images.dtype} {images.shape}"
            )
        was_training = self.training
        self.eval()  # batch statistics would let the images of one batch speak about each other
        batches = [images[i : i + _INFERENCE_BATCH] for i in range(0, max(len(images), 1), _INFERENCE_BATCH)]
        device = self.thresholds.device
        outputs = [function(_to_tensor(batch, device)).cpu().numpy() for batch in batches]
        self.train(was_training)
        return np.concatenate(outputs)


def _to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 ``(B, H, W, 3)`` to float ``(B, 3, H, W)`` in [-1, 1], channels last in memory."""
    return torch.tensor(images, device=device).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_attribute_classifier(
    dataset: AttributeDataset,
    *,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int, float], None] | None = None,
) -> AttributeClassifier:
    """Train on the train split, choose the thresholds on the valid split, return the network in eval mode.

    AdamW with a one-cycle rate; every image is shifted by up to 1/16 of its size, and made a little brighter or
    darker. Images are not mirrored: a side may be what an attribute is about. One seed on one machine and device
    gives one result. ``on_progress`` is called after every step with the number of steps done and the loss.
    """
    device = torch.device(device)
    rows = dataset.indices("train")
    truth = dataset.attributes[rows].astype(np.float32)
    frequency = torch.from_numpy(truth.mean(0)).clamp(0.02, 0.98).to(device)  # bounds the weight of a very rare one
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = AttributeClassifier(dataset.attribute_names)
    classifier.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.2)
    shuffled = _shuffled(len(rows), batch_size, rng)
    for step in range(1, steps + 1):
        picked = next(shuffled)
        x = _augmented(dataset.images, rows[picked], rng, device)
        wanted = torch.from_numpy(truth[picked]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=_has_fast_bfloat16(device)):
            logits = classifier(x)
        weight = torch.where(wanted > 0, 0.5 / frequency, 0.5 / (1 - frequency))
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress(step, loss.item())
    classifier.eval()
    valid = dataset.indices("valid")
    thresholds = _best_thresholds(classifier.logits(dataset.images[valid]), dataset.attributes[valid] > 0)
    classifier.thresholds.copy_(torch.from_numpy(thresholds))
    return classifier


def _shuffled(count: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of positions below ``count`` without end; every position comes once before any comes again."""
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def _augmented(images: np.ndarray, rows: np.ndarray, rng: np.random.Generator, device: torch.device) -> Tensor:
    """The images of ``rows``, each shifted with its edge repeated and scaled in brightness, ``(B, 3, H, W)``."""
    height, width = images.shape[1:3]

    def shifted(size: int) -> np.ndarray:  # (B, size): where each pixel of the shifted image comes from
        reach = size // 16
        offset = rng.integers(-reach, reach + 1, (len(rows), 1))
        return np.clip(np.arange(size) + offset, 0, size - 1)

    picked = images[rows[:, None, None], shifted(height)[:, :, None], shifted(width)[:, None, :]]
    brightness = torch.from_numpy(rng.uniform(0.95, 1.05, (len(rows), 1, 1, 1)).astype(np.float32))
    x = (_to_tensor(picked, device) + 1) * brightness.to(device) - 1
    return x.clamp(-1, 1)


def _has_fast_bfloat16(device: torch.device) -> bool:
    """Whether half of the bits cost less time here; without the instructions they cost more."""
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _best_thresholds(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The threshold of best balanced accuracy for every attribute, ``(K,)`` float32.

    ``logits`` and ``truth`` are ``(N, K)``. Among equally good ones the nearest to zero is taken; zero, where the
    balanced loss puts it, if a class is absent.
    """
    best = np.zeros(logits.shape[1], np.float32)
    for k in range(logits.shape[1]):
        order = np.argsort(logits[:, k])
        scores, present = logits[order, k].astype(np.float64), truth[order, k]
        if present.all() or not present.any():
            continue
        candidates = np.append((scores[1:] + scores[:-1]) / 2, 0.0)
        below = np.searchsorted(scores, candidates, side="right")
        missed = np.append(0, np.cumsum(present))[below] / present.sum()
        rejected = np.append(0, np.cumsum(~present))[below] / (~present).sum()
        gain = rejected - missed
        tied = candidates[gain >= gain.max() - 1e-12]
        best[k] = tied[np.abs(tied).argmin()]
    return best
