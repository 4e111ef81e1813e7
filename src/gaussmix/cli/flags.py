"""Flags from the fields of a frozen dataclass, and errors as one line."""

from __future__ import annotations

from typing import Any

import tyro


def parse_flags(config: type, args: list[str], command: str, default: Any = None) -> Any:
    """An instance of `config` from the words after `gaussmix COMMAND`; `default` holds what no flag says."""
    extra = {} if default is None else {"default": default}
    return tyro.cli(
        config,
        prog=f"gaussmix {command}",
        args=args,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
        **extra,
    )


def check_at_least(least: int, **flags: int | None) -> None:
    """Raises ValueError for a flag that was given and is below ``least``."""
    for name, value in flags.items():
        if value is not None and value < least:
            raise ValueError(f"--{name} is {value}; it must be at least {least}")


def one_line(error: BaseException) -> str:
    """What went wrong, as one line for standard error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())
