"""Where a run computes: the accelerator, its threads, and whether numbers of 16 bits are faster there than of 32.

Of CPUs only some have instructions for bfloat16; on the others it saves no time, it takes more.
"""

from __future__ import annotations

from typing import Literal

import torch
from accelerate import Accelerator


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 costs less time on this device."""
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def fast_autocast(device: torch.device, dtype: torch.dtype = torch.float32) -> torch.autocast:
    """A context in which a network with parameters of ``dtype`` computes in bfloat16 where that saves time.

    Parameters in half precision are computed with as they are.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device) and dtype == torch.float32)


def make_accelerator(threads: int, mixed_precision: Literal["no", "bf16"] = "no", accumulate: int = 1) -> Accelerator:
    """The GPU if there is one; ``mixed_precision`` only where it saves time, ``threads`` (0: torch's own) of a CPU.

    ``accumulate`` batches add up their gradients before a step.
    """
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # several processes without a GPU need to be told
        mixed_precision=mixed_precision if has_fast_bfloat16(device) else "no",
        gradient_accumulation_steps=accumulate,
    )
    if threads and accelerator.device.type == "cpu":
        torch.set_num_threads(threads)
    return accelerator
