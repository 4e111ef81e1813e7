"""Checkpoints and models that are either whole or absent.

A checkpoint is a folder ``step-00001200`` of safetensors files, an optimiser's state among them, a ``state.json`` and,
written last, a ``manifest.json`` with the size and the SHA-256 of each. What is read agrees with it; otherwise the
checkpoint before is read. (Checkpoints of the first months have no manifest, and are read without one.)

A folder is written under another name and flushed to the disk; then the old one is renamed aside, the new one renamed
in, and the old one removed:

    .writing-NAME     the new one; whole if it has a manifest
    .replaced-NAME    the old one, whole; NAME is missing for an instant
    .removing-NAME    no longer wanted

So a power cut or a kill at any moment leaves a whole folder under one of these names, and `mend` puts it in its place.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gaussmix._files import flush, naming, read_json

LOGGER = logging.getLogger("gaussmix")
_STEP = re.compile(r"step-(\d{8})")
_GROUP = re.compile(r"\w+")
_WRITING, _REPLACED, _REMOVING = ".writing-", ".replaced-", ".removing-"
_STATE, _MANIFEST = "state.json", "manifest.json"


def save_whole_folder(folder: Path, write: Callable[[Path], object]) -> Path:
    """Have ``write`` fill a folder aside and put it in the place of ``folder``; an error leaves the old one.

    Raises OSError, naming the folder, where it cannot be written.
    """
    mend(folder.parent)
    aside, old = (folder.with_name(f"{mark}{folder.name}") for mark in (_WRITING, _REPLACED))
    try:
        with naming(folder):
            write(aside)
        for path in sorted(aside.rglob("*"), reverse=True):  # a folder after what is in it
            flush(path)
        flush(aside)
        if folder.exists():
            os.rename(folder, old)
        os.rename(aside, folder)
        flush(folder.parent)
    except SafetensorError as error:  # what safetensors makes of a full disk
        mend(folder.parent, discard=True)
        raise OSError(f"cannot write {folder}: {error}") from error
    except BaseException:
        mend(folder.parent, discard=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return folder


def mend(parent: Path, *, discard: bool = False) -> None:
    """Bring what a killed process left in a folder to an end: whole folders to their places, remains away.

    For the one process that writes there. To ``discard`` is to take back what was just being written, too.
    """
    if not parent.is_dir():
        return
    for aside in parent.glob(f"{_WRITING}*"):
        place = parent / aside.name.removeprefix(_WRITING)
        if not discard and not place.exists() and (aside / _MANIFEST).is_file() and fault(aside) is None:
            os.rename(aside, place)
        else:
            shutil.rmtree(aside, ignore_errors=True)
    for old in parent.glob(f"{_REPLACED}*"):
        place = parent / old.name.removeprefix(_REPLACED)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, place)
    for gone in parent.glob(f"{_REMOVING}*"):
        shutil.rmtree(gone, ignore_errors=True)


def write_manifest(folder: Path) -> None:
    """Flush the files of a folder and write down their sizes and digests, last of all."""
    files = {}
    for path in sorted(folder.iterdir()):
        flush(path)
        files[path.name] = {"size": path.stat().st_size, "sha256": _digest(path)}
    (folder / _MANIFEST).write_text(json.dumps({"version": 1, "files": files}, indent=1), "utf-8")


def fault(folder: Path) -> str | None:
    """What in a folder disagrees with its manifest, with the file's path; None for nothing, and without a manifest."""
    path = folder / _MANIFEST
    if not path.exists():
        return None
    try:
        for name, told in dict(read_json(path)["files"]).items():
            file = folder / Path(name).name
            if not file.is_file():
                return f"{file} is missing"
            if file.stat().st_size != told["size"] or _digest(file) != told["sha256"]:
                return f"{file} is damaged"
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path} is damaged ({error!r})"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        """The folders of the complete checkpoints, oldest first; also one that a kill kept from its place."""
        if not self.folder.is_dir():
            return []
        found: dict[str, Path] = {}
        for mark in (_REPLACED, _WRITING, ""):  # of two for one step, the last
            for path in self.folder.glob(f"{mark}step-*"):
                name = path.name.removeprefix(mark)
                if _STEP.fullmatch(name) and path.is_dir() and (mark != _WRITING or (path / _MANIFEST).is_file()):
                    found[name] = path
        return [found[name] for name in sorted(found)]

    def save(self, step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]], state: Mapping[str, Any]) -> Path:
        """Write groups of named tensors and a JSON-able ``state``, delete the oldest checkpoints, return the folder.

        Raises OSError, leaving nothing behind.
        """

        def write(aside: Path) -> None:
            aside.mkdir()
            for group, named in tensors.items():
                whole = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
                save_file(whole, aside / f"{group}.safetensors")
            (aside / _STATE).write_text(json.dumps({**state, "step": step, "groups": list(tensors)}, indent=1), "utf-8")
            write_manifest(aside)

        self.folder.mkdir(parents=True, exist_ok=True)
        final = save_whole_folder(self.folder / f"step-{step:08d}", write)
        self.prune(step)
        return final

    def prune(self, step: int) -> None:
        """Delete all but the newest ``keep`` of those up to a step: a later one may be damaged, and does not count."""
        earlier = [path for path in self.paths() if path.name <= f"step-{step:08d}"]
        for old in earlier[: -self.keep]:
            gone = old.with_name(f"{_REMOVING}{old.name}")
            os.rename(old, gone)
            shutil.rmtree(gone, ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """Load the newest whole checkpoint; None if there is none at all.

        Of newer ones that are damaged the log has a line. Raises ValueError, naming the file, if all are damaged, and
        OSError for one that may not be read.
        """
        faults = []
        for path in reversed(self.paths()):
            try:
                checkpoint = _read(path)
            except ValueError as error:
                faults.append(str(error))
                continue
            if faults:
                LOGGER.warning("%s; going on from %s", faults[0], path)
            return checkpoint
        if faults:
            raise ValueError(f"{faults[0]}; no checkpoint in {self.folder} is whole: delete it to start anew")
        return None


def _read(path: Path) -> Checkpoint:
    """Raises ValueError, naming the file, for a checkpoint that is not whole."""
    wrong = fault(path)
    if wrong is not None:
        raise ValueError(wrong)
    reading = path / _STATE
    try:
        state = read_json(reading)
        step, groups = state.get("step"), state.get("groups")
        if type(step) is not int or not path.name.endswith(f"step-{step:08d}"):
            raise ValueError(f"its step is {step!r:.40}")
        if not isinstance(groups, list) or not all(isinstance(name, str) and _GROUP.fullmatch(name) for name in groups):
            raise ValueError(f"its groups are {groups!r:.40}")
        tensors = {}
        for group in groups:
            reading = path / f"{group}.safetensors"
            tensors[group] = load_file(reading)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{reading} cannot be read ({error})") from error
    return Checkpoint(step, path, tensors, state)


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
