"""Where a run computes: the accelerator, its precision and its threads."""

from __future__ import annotations

from typing import Literal

import torch
from accelerate import Accelerator

from gaussmix.training.precision import has_fast_bfloat16


def make_accelerator(threads: int, mixed_precision: Literal["no", "bf16"] = "no", accumulate: int = 1) -> Accelerator:
    """The GPU if there is one; ``mixed_precision`` only where it saves time, ``threads`` (0: torch's own) of a CPU."""
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # several processes without a GPU need to be told
        mixed_precision=mixed_precision if has_fast_bfloat16(device) else "no",
        gradient_accumulation_steps=accumulate,
    )
    if threads and accelerator.device.type == "cpu":
        torch.set_num_threads(threads)
    return accelerator
