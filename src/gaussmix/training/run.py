"""The folder of a run: whose checkpoints lie in it, and how a finished model is put into it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from gaussmix.training.checkpoints import Checkpoint, CheckpointStore
from gaussmix.training.settings import flag


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
