"""RunConfig: the settings that all training runs share, with their checks and their JSON form. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

OutputFolder = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
_ALLOWED: dict[str, Callable[[float], bool]] = {
    "at least 1": lambda value: 1 <= value < math.inf,
    "0 or more": lambda value: 0 <= value < math.inf,
    "above 0": lambda value: 0 < value < math.inf,
    "finite": math.isfinite,
    "from 0 to 1": lambda value: 0 <= value <= 1,
    "above 0, below 1": lambda value: 0 < value < 1,
    "0 or more, below 1": lambda value: 0 <= value < 1,
}


def flag(name: str) -> str:
    """A field's name as the command line has it."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class RunConfig:
    """Settings of a training run; the configs of the applications add their own, and every field is a flag.

    Raises
    ------
    ValueError
        For a value out of range, with its flag and what is allowed.
    """

    may_change: ClassVar[frozenset[str]] = frozenset(
        "output resume skip_bad steps minutes threads checkpoint_every keep_checkpoints sample_every log_every".split()
    )
    """Fields in which a resumed run may differ from what it was."""

    data: str = ""
    """What to train on."""
    output: OutputFolder = Path("runs/train")
    """Folder for checkpoints, logs, pictures and the model."""
    resume: bool = False
    """Continue from the newest checkpoint in --output, or start if there is none."""
    skip_bad: bool = False
    """Leave out missing and damaged images (they are counted) instead of stopping."""
    seed: int = 0
    """Of the weights, the batches, all noise, and the data where they are drawn."""

    batch_size: int = 8
    """Images a step and process."""
    learning_rate: float = 1.5e-3
    """The highest, after warm-up."""
    warmup_steps: int = 50
    """Steps in which learning rates rise; then a cosine down to 2 %."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """bf16 autocast, where the processor has instructions for it: pays from a few dozen channels on."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice. More than one can be far slower on a busy machine."""

    steps: int = 3000
    """Stop after this many steps ..."""
    minutes: float | None = None
    """... or so that all is done in so many minutes by the clock, from reading the data to the last picture, whichever
    comes first; the learning rate is fitted to it."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """How many to keep."""
    sample_every: int = 0
    """Steps between pictures of what has been learnt; 0 draws only the last one."""
    log_every: int = 10
    """Steps between lines in metrics.jsonl."""

    def __post_init__(self):
        self._check("at least 1", "batch_size", "steps", "checkpoint_every", "keep_checkpoints", "log_every")
        self._check("0 or more", "seed", "warmup_steps", "threads", "sample_every")
        self._check("above 0", "learning_rate", "max_grad_norm", "minutes")

    def _check(self, allowed: str, *names: str) -> None:
        """Raises ValueError for the first of the fields that is not as allowed; None always is, NaN never."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not _ALLOWED[allowed](value):
                raise ValueError(f"{flag(name)} is {value}; it must be {allowed}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in their order, ready for JSON: paths become text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
