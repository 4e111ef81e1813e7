"""Flags from the fields of a frozen dataclass, and errors as one line."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

import tyro

_NO_STEP_LIMIT = 10_000_000


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


def parse_run_flags(config: type, presets: Mapping[str, Any], preset: str, args: list[str], command: str) -> Any:
    """As `parse_flags` for a training run: ``--preset`` chooses the defaults, ``preset`` if it is not given."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", choices=list(presets), default=preset)
    chosen, rest = first.parse_known_args(args)
    defaults = presets[chosen.preset]
    given = {arg.partition("=")[0] for arg in rest}
    if "--steps" in given and "--minutes" not in given:  # whoever names one limit means that one
        defaults = dataclasses.replace(defaults, minutes=None)
    if "--minutes" in given and "--steps" not in given:
        defaults = dataclasses.replace(defaults, steps=_NO_STEP_LIMIT)
    if "-h" in given or "--help" in given:
        print(f"--preset {{{','.join(presets)}}} chooses the defaults of all flags below; here: {chosen.preset}\n")
    return parse_flags(config, rest, command, defaults)


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
