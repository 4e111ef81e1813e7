"""What the settings of all trainers share: their JSON form and the checks of whole numbers. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any


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
