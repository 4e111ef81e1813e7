"""The folder of a run: whose checkpoints lie in it, and how a finished model is put into it.

What the settings of all trainers share: their JSON form and the checks of whole numbers. Loads no torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from gaussmix.training.checkpoints import Checkpoint, CheckpointStore


def json_fields(config: Any) -> dict[str, Any]:
    """The fields of a dataclass in their order; paths become text."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def flag(name: str) -> str:
    """A field's name as the command line has it."""
    return f"--{name.replace('_', '-')}"


def check_whole_numbers(config: Any, at_least_one: Iterable[str], not_negative: Iterable[str]) -> None:
    """Raises ValueError for the first named field that is too small."""
    for name in at_least_one:
        if getattr(config, name) < 1:
            raise ValueError(f"{flag(name)} is {getattr(config, name)}; it must be at least 1")
    for name in not_negative:
        if getattr(config, name) < 0:
            raise ValueError(f"{flag(name)} is {getattr(config, name)}; it must not be negative")


class RunSettings(Protocol):
    """The settings of a run that the shared parts go by."""

    @property
    def data(self) -> str: ...
    @property
    def out(self) -> Path: ...
    @property
    def resume(self) -> bool: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def minutes(self) -> float | None: ...
    @property
    def keep_checkpoints(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def sample_every(self) -> int: ...
    @property
    def log_every(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...


def open_run(
    config: RunSettings, defaults: RunSettings, data_key: str, may_change: Collection[str]
) -> tuple[CheckpointStore, Checkpoint | None]:
    """The checkpoints in ``config.out`` and the one to continue from, if there is one and ``config.resume`` is set.

    Args:
        defaults: what a checkpoint from before a field was added is taken to have had in it.
        data_key: names the content of the data.
        may_change: fields in which the resumed run may differ.

    Raises ValueError if the folder holds another run, other settings or other data than the checkpoint's included.
    """
    store = CheckpointStore(config.out / "checkpoints", config.keep_checkpoints)
    checkpoint = store.latest() if config.resume else None
    if not config.resume and store.paths():
        raise ValueError(f"{config.out} already holds a run; continue it with --resume or choose another --out")
    if checkpoint is None:
        return store, None
    now = json.loads(json.dumps(config.to_dict()))
    before = json.loads(json.dumps(defaults.to_dict())) | checkpoint.state["config"]
    changed = [name for name in now if name not in may_change and now[name] != before[name]]
    if changed:
        flags = ", ".join(f"{flag(name)} was {before[name]} and is {now[name]}" for name in changed)
        raise ValueError(f"cannot resume {config.out}: {flags}")
    if checkpoint.state["dataset"] != data_key:
        raise ValueError(f"cannot resume {config.out}: the data in {config.data} have changed since the checkpoint")
    return store, checkpoint


def save_whole_folder(folder: Path, write: Callable[[Path], object]) -> Path:
    """Have ``write`` fill a folder aside and put it in the place of ``folder``; an error leaves the old one."""
    aside = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder
