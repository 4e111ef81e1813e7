"""Checkpoints and models that are either whole or absent.

A checkpoint is a folder ``step-00001200`` of safetensors files, an optimiser's state among them, and a ``state.json``.
It is written under another name, flushed to the disk and then renamed, so that a power cut or a kill at any moment
leaves either the whole checkpoint or a leftover that nobody reads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

_NAME = re.compile(r"step-(\d{8})$")
_ASIDE = ".writing-"


def fsync(path: Path) -> None:
    """Flush a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_whole_folder(folder: Path, write: Callable[[Path], object]) -> Path:
    """Have ``write`` fill a folder aside and put it in the place of ``folder``; an error leaves the old one."""
    aside = folder.with_name(f"{_ASIDE}{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


@dataclass(frozen=True)
class Checkpoint:
    """What `CheckpointStore.save` wrote: ``tensors[group][name]`` on the CPU, and a JSON-able ``state``."""

    step: int
    path: Path
    tensors: dict[str, dict[str, torch.Tensor]]
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run in ``folder``; the newest ``keep`` are kept."""

    def __init__(self, folder: str | Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must be kept")
        self.folder, self.keep = Path(folder), keep

    def paths(self) -> list[Path]:
        """The folders of the complete checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name) and p.is_dir())

    def save(self, step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any]) -> Path:
        """Write groups of named tensors and a JSON-able ``state``, delete the oldest checkpoints, return the folder.

        Raises OSError, leaving nothing behind.
        """

        def write(aside: Path) -> None:
            aside.mkdir()
            for group, named in tensors.items():
                whole = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
                save_file(whole, aside / f"{group}.safetensors")
                fsync(aside / f"{group}.safetensors")
            (aside / "state.json").write_text(json.dumps({**state, "step": step, "groups": list(tensors)}, indent=1))
            fsync(aside / "state.json")
            fsync(aside)

        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{_ASIDE}*"):  # of a killed process
            shutil.rmtree(leftover, ignore_errors=True)
        final = save_whole_folder(self.folder / f"step-{step:08d}", write)
        fsync(self.folder)
        for old in self.paths()[: -self.keep]:
            shutil.rmtree(old)
        return final

    def latest(self) -> Checkpoint | None:
        """Load the newest checkpoint, None if there is none. Raises ValueError, naming the file, if it was damaged."""
        if not (paths := self.paths()):
            return None
        path = paths[-1]
        reading = path / "state.json"
        try:
            state = json.loads(reading.read_text())
            tensors = {}
            for group in state["groups"]:
                reading = path / f"{group}.safetensors"
                tensors[group] = load_file(reading)
        except Exception as error:
            raise ValueError(
                f"{reading} cannot be read ({error}); delete {path} to continue from the checkpoint before it"
            ) from error
        return Checkpoint(int(state["step"]), path, tensors, state)


def optimizer_tensors(optimizer: Any, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The moments of every parameter of the network that the optimiser moves, as ``name.field``."""
    names, moments = _parameter_names(optimizer, network), optimizer.state_dict()["state"]
    return {f"{names[i]}.{key}": torch.as_tensor(value) for i, held in moments.items() for key, value in held.items()}


def restore_optimizer(optimizer: Any, network: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put what `optimizer_tensors` returned back."""
    names, state = _parameter_names(optimizer, network), optimizer.state_dict()
    held: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        name, _, field = key.rpartition(".")
        held.setdefault(names.index(name), {})[field] = value
    optimizer.load_state_dict({**state, "state": held})


def _parameter_names(optimizer: Any, network: torch.nn.Module) -> list[str]:
    """In the optimiser's order."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
