"""What goes into the pipeline and comes out of it: pictures as arrays, tensors and images, requests as names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers.utils.outputs import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

OutputType = Literal["pil", "np", "pt", "uint8"]


@dataclass
class AttributePipelineOutput(BaseOutput):
    """``images``: a list of B PIL images, ``(B, H, W, 3)`` floats in [0, 1] or uint8, or a tensor ``(B, 3, H, W)``."""

    images: NDArray[np.float32] | NDArray[np.uint8] | list[Image.Image] | Tensor


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """``(B, C, H, W)`` in [-1, 1] to ``(B, H, W, C)`` in 0 ... 255."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def as_type(pixels: Tensor, output_type: OutputType) -> Any:
    """Pictures ``(B, 3, H, W)`` in [-1, 1] as they were asked for."""
    if output_type in ("pil", "uint8"):
        pictures = to_uint8(pixels)
        return pictures if output_type == "uint8" else [*map(Image.fromarray, pictures)]
    scaled = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return scaled if output_type == "pt" else scaled.permute(0, 2, 3, 1).cpu().numpy()


def are_names(request: Sequence[Any]) -> bool:
    """Whether a request is names, or a list of lists of names."""
    if request and all(isinstance(each, str) for each in request):
        return True
    lists = bool(request) and all(isinstance(each, list | tuple) for each in request)
    return lists and all(isinstance(name, str) for each in request for name in each)


def check_pictures(images: NDArray[np.uint8], size: int) -> None:
    """Raises ValueError unless ``images`` are ``(M, size, size, 3)`` uint8."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise ValueError(f"pictures are {images.dtype} {images.shape}; give uint8 (count, {size}, {size}, 3)")


def check_options(output_type: str, inputs: Sequence[str], known: Sequence[str], numbers: Mapping[str, float]) -> None:
    """Raises ValueError for an unknown type of pictures, tensors that a callback cannot have, and infinite numbers."""
    if output_type not in get_args(OutputType):
        raise ValueError(f"output_type is {output_type!r}; choose {', '.join(map(repr, get_args(OutputType)))}")
    for name in inputs:
        if name not in known:
            raise ValueError(f"callback_on_step_end_tensor_inputs names {name!r}; choose from {', '.join(known)}")
    for name, value in numbers.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}; it must be a finite number")
