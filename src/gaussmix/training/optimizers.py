"""An optimiser's state as named tensors, as checkpoints hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def optimizer_tensors(optimizer: Any, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The moments of every parameter as ``name.field``; ``names`` are the parameters' in the optimiser's order."""
    moments = optimizer.state_dict()["state"]
    return {f"{names[i]}.{key}": torch.as_tensor(value) for i, held in moments.items() for key, value in held.items()}


def restore_optimizer(optimizer: Any, names: Sequence[str], tensors: Mapping[str, torch.Tensor]) -> None:
    """Put what `optimizer_tensors` returned back."""
    state = optimizer.state_dict()
    held: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, field = key.rpartition(".")
        held.setdefault(names.index(name), {})[field] = value
    optimizer.load_state_dict({**state, "state": held})
