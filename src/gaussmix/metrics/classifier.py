r"""An independent judge: a small convolutional network that reads attributes off an image.

It is trained on the real images of a data set and never sees the generator, so what it finds in a generated image is
evidence about the image alone.

Loss: the mean over attributes of the cross-entropy of :math:`(a_k, \sigma(\ell_k))`, with weight :math:`1/(2f_k)` for
images that have attribute :math:`k` and :math:`1/(2(1-f_k))` for those that have not, :math:`f_k` its frequency, so
that a rare attribute counts as much as a common one. Decision: :math:`\ell_k > \theta_k`, with :math:`\theta_k`
chosen on the valid split.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from gaussmix.data.cache import cache_dir
from gaussmix.data.dataset import SPLITS, AttributeDataset
from gaussmix.metrics.attributes import balanced_accuracy
from gaussmix.training.log import TrainingBar
from gaussmix.training.precision import has_fast_bfloat16
from gaussmix.training.schedule import ShuffledBatches, warmup_cosine

VERSION = 1
"""Part of the cache key; raised whenever the network or its training changes."""

STEPS = 1000
BATCH_SIZE = 64
_INFERENCE_BATCH = 256
_WEIGHTS, _CARD = "classifier.safetensors", "classifier.json"


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class AttributeClassifier(nn.Module):
    """``K`` yes/no decisions about an image of ``S`` x ``S`` pixels, ``S`` at least 8.

    ``forward`` maps ``(B, 3, S, S)`` in [-1, 1] to logits ``(B, K)``. `logits`, `predict` and `features` take uint8
    images ``(N, S, S, 3)``, work through them in batches and return arrays. Larger images are halved by the first
    layers until they are below 64 pixels, so that they cost little more.
    """

    name = "attribute classifier"
    thresholds: Tensor  # (K,), in logits

    def __init__(self, attribute_names: tuple[str, ...], image_size: int, num_features: int = 64):
        super().__init__()
        if image_size < 8:
            raise ValueError(f"image_size is {image_size}; the classifier needs at least 8 pixels, load larger images")
        self.attribute_names = tuple(attribute_names)
        self.image_size = image_size
        halvings = int(math.log2(max(image_size, 32) / 32))
        self.trunk = nn.Sequential(
            _convolution(3, 32, 2 if halvings else 1),
            *(_convolution(32, 32, 2) for _ in range(halvings - 1)),
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
        """``(N, K)`` float32 for images ``(N, S, S, 3)`` uint8."""
        return self._in_batches(self.forward, images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """``(N, K)`` bool for images ``(N, S, S, 3)`` uint8."""
        return self.logits(images) > self.thresholds.cpu().numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """The layer before the logits, ``(N, num_features)`` float32 for images ``(N, S, S, 3)`` uint8."""
        return self._in_batches(self.trunk, images)

    @torch.no_grad()
    def _in_batches(self, function: Callable[[Tensor], Tensor], images: np.ndarray) -> np.ndarray:
        expected = (self.image_size, self.image_size, 3)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"the classifier knows uint8 images of shape (N, {', '.join(map(str, expected))}), got {images.dtype} "
                f"{images.shape}; bring them to the size it was trained on"
            )
        was_training = self.training
        self.eval()  # batch statistics would make an image's result depend on its neighbours
        device = self.thresholds.device
        starts = range(0, max(1, len(images)), _INFERENCE_BATCH)  # no images make one empty batch
        outputs = [function(_to_tensor(images[i : i + _INFERENCE_BATCH], device)).cpu().numpy() for i in starts]
        self.train(was_training)
        return np.concatenate(outputs)


def _to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 ``(B, H, W, 3)`` to float ``(B, 3, H, W)`` in [-1, 1], channels last in memory."""
    return torch.tensor(images, device=device).permute(0, 3, 1, 2).float() / 127.5 - 1


def _placed(classifier: AttributeClassifier, device: str | torch.device) -> AttributeClassifier:
    """On its device, in the memory layout that the convolutions are fastest in."""
    return classifier.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def train_attribute_classifier(
    dataset: AttributeDataset,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: str | torch.device = "cpu",
    on_progress: Callable[[int, float], None] | None = None,
) -> AttributeClassifier:
    """Train on the train split, choose the thresholds on the valid split, return the network in eval mode.

    AdamW on batches of 64, its rate rising over the first fifth of the steps and falling along a cosine. Every image is
    shifted by up to 1/16 of its size and made up to 5 % brighter or darker. It is not mirrored: a side may be what an
    attribute is about. Without a valid split the thresholds are 0. One seed gives one result on one machine; the
    global random state stays as it was.
    ``on_progress`` is called after every step with the number of steps done and the loss.
    Raises ValueError for less than one step, DataError (a ValueError) if the train split is empty.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    device = torch.device(device)
    rows = dataset.indices("train")
    truth = dataset.attributes[rows].astype(np.float32)
    frequency = torch.from_numpy(truth.mean(0)).clamp(0.02, 0.98).to(device)  # bounds the weight of a very rare one
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = AttributeClassifier(dataset.attribute_names, dataset.images.shape[1])
    _placed(classifier, device)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, s / steps, steps // 5))
    batches = ShuffledBatches(len(rows), BATCH_SIZE, seed)
    for step in range(steps):
        picked = batches[step]
        x = _augmented(dataset.images, rows[picked], rng, device)
        wanted = torch.from_numpy(truth[picked]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device)):
            logits = classifier(x)
        weight = torch.where(wanted > 0, 0.5 / frequency, 0.5 / (1 - frequency))
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress(step + 1, loss.item())
    classifier.eval()
    valid = np.flatnonzero(dataset.split == SPLITS.index("valid"))
    thresholds = _best_thresholds(classifier.logits(dataset.images[valid]), dataset.attributes[valid] > 0)
    classifier.thresholds.copy_(torch.from_numpy(thresholds))
    return classifier


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


def _best_thresholds(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A threshold of high balanced accuracy for every attribute, ``(K,)`` float32.

    ``logits`` and ``truth`` are ``(N, K)``. The nearest to zero of those within one standard error of the best: zero is
    where the balanced loss puts it, and a few images are no reason to leave it. Zero if a class is absent.
    """
    best = np.zeros(logits.shape[1], np.float32)
    for k in range(logits.shape[1]):
        order = np.argsort(logits[:, k])
        scores, present = logits[order, k].astype(np.float64), truth[order, k]
        n1, n0 = np.count_nonzero(present), np.count_nonzero(~present)
        if not (n1 and n0):
            continue
        candidates = np.append((scores[1:] + scores[:-1]) / 2, 0.0)
        below = np.searchsorted(scores, candidates, side="right")
        found = 1 - np.append(0, np.cumsum(present))[below] / n1
        rejected = np.append(0, np.cumsum(~present))[below] / n0
        balanced = (found + rejected) / 2
        error = np.sqrt(found * (1 - found) / n1 + rejected * (1 - rejected) / n0) / 2
        top = balanced.argmax()
        good = candidates[balanced >= balanced[top] - error[top]]
        best[k] = good[np.abs(good).argmin()]
    return best


def load_or_train_classifier(
    dataset: AttributeDataset,
    *,
    steps: int = STEPS,
    device: str | torch.device = "cpu",
    cache: Path | None = None,
    progress: bool = True,
) -> tuple[AttributeClassifier, np.ndarray]:
    """The judge for a data set and its balanced accuracy on the held-out real images of the test split, ``(K,)``.

    Both are kept in ``classifiers/<key>-<version>`` under ``cache`` (by default `cache_dir`); an entry that is
    damaged, or made in another number of steps, is made anew.
    Raises DataError (a ValueError) if the train or test split is empty.
    """
    held_out = dataset.indices("test")  # before the minutes of training
    folder = (cache_dir() if cache is None else Path(cache)) / "classifiers" / f"{dataset.key}-{VERSION}"
    known = _read(folder, dataset, steps, device)
    if known is not None:
        return known
    folder.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to fails here, not at the end
    if progress:
        print(f"training the attribute classifier of {dataset.name} once; it is kept in {folder}", file=sys.stderr)
    with TrainingBar(0.0, disable=not progress) as bar:
        started = perf_counter()

        def report(step: int, loss: float) -> None:
            bar.update(step / steps, step, loss, step * BATCH_SIZE / (perf_counter() - started))

        classifier = train_attribute_classifier(dataset, steps=steps, device=device, on_progress=report)
    real = balanced_accuracy(classifier.predict(dataset.images[held_out]), dataset.attributes[held_out])
    _write(folder, classifier, steps, real)
    return classifier, real


def _write(folder: Path, classifier: AttributeClassifier, steps: int, real: np.ndarray) -> None:
    """Write an entry beside its place and move it there, so that nobody sees half of one."""
    weights = save_tensors({name: tensor.contiguous().cpu() for name, tensor in classifier.state_dict().items()})
    card = {
        "attribute_names": classifier.attribute_names,
        "image_size": classifier.image_size,
        "steps": steps,
        "held_out_balanced_accuracy": [None if math.isnan(value) else value for value in real],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        entry = Path(aside) / "entry"
        entry.mkdir()
        (entry / _WEIGHTS).write_bytes(weights)
        (entry / _CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(Path(aside) / "replaced")  # damaged or outdated
        try:
            entry.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # another process was first; its entry is as good


def _read(
    folder: Path, dataset: AttributeDataset, steps: int, device: str | torch.device
) -> tuple[AttributeClassifier, np.ndarray] | None:
    """An entry, or None if it is absent, damaged or made for something else."""
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        weights = (folder / _WEIGHTS).read_bytes()
        expected = (list(dataset.attribute_names), dataset.images.shape[1], steps, hashlib.sha256(weights).hexdigest())
        if expected != tuple(card[key] for key in ("attribute_names", "image_size", "steps", "weights_sha256")):
            return None
        real = np.array(card["held_out_balanced_accuracy"], float)  # null becomes NaN
        if real.shape != (len(dataset.attribute_names),):
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    with torch.device("meta"):  # initial weights would be drawn in vain, and from the global random state
        classifier = AttributeClassifier(dataset.attribute_names, dataset.images.shape[1])
    classifier.load_state_dict(load_tensors(weights), assign=True)
    return _placed(classifier, device).eval(), real
