"""What commands share: types of flags, the defaults that ``--preset`` chooses, checks, and the nearest right word."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from gaussmix._guard import printable, shown

if TYPE_CHECKING:
    from gaussmix.training.loop import TrainResult

Config = TypeVar("Config")
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Names = Annotated[
    tuple[str, ...],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="A,B,...",
        instance_from_str=lambda words: split_names(words[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda names: [",".join(f'"{name}"' if "," in name else name for name in names)],
    ),
]
"""Names in one word, separated by commas; one that holds a comma stands in double quotes."""
Limits = Annotated[
    dict[str, float],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME=MOST,...",
        instance_from_str=lambda words: parse_limits(words[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda limits: [",".join(f"{name}={most:g}" for name, most in limits.items())],
    ),
]
"""The most that numbers may be, by name, in one word."""

_ARG = type(tyro.conf.arg())
_NO_STEP_LIMIT = 10_000_000
_MOST_SAID = 2000  # characters


class CommandError(Exception):
    """Ends a command: a line for standard error, and the exit status, 2 for wrong use."""

    def __init__(self, line: str, status: int = 2):
        super().__init__(line)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class TorchCommand:
    """A command that computes with torch and draws numbers."""

    seed: int = 0
    """The same seed gives the same result."""
    threads: int = 1
    """Threads of the CPU; 0 leaves torch's own choice."""

    def __post_init__(self):
        check_at_least(1, count=getattr(self, "count", None), steps=getattr(self, "steps", None))
        check_at_least(0, seed=self.seed, threads=self.threads)

    def set_threads(self) -> None:
        """Let torch use so many threads."""
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class _Limits:
    """The flags of a training run that other defaults depend on."""

    preset: str = ""
    data: str = ""
    steps: int | None = None
    minutes: float | None = None


def choose_preset(presets: Mapping[str, Config], usual: str, words: list[str]) -> tuple[str, Config]:
    """Return the preset that the words ``train --preset NAME`` name, or the usual one, and its settings.

    Where there is a preset "folder", it is the usual one for ``--data`` that no other preset has. Whoever names one
    limit, ``--steps`` or ``--minutes``, means that one: the preset's other limit is lifted.
    """
    given = words[1:] if words[:1] == ["train"] else []
    limits, _ = tyro.cli(_Limits, args=given, return_unknown_args=True, add_help=False)
    if limits.data and "folder" in presets:
        every: Mapping[str, Any] = presets
        known = {each.data: name for name, each in every.items()}
        usual = known.get(limits.data, "folder")
    preset = limits.preset if limits.preset in presets else usual  # a wrong name is said when all flags are read
    config: Any = presets[preset]
    if limits.steps is not None and limits.minutes is None:
        config = dataclasses.replace(config, minutes=None)
    if limits.minutes is not None and limits.steps is None:
        config = dataclasses.replace(config, steps=_NO_STEP_LIMIT)
    return preset, config


def run_training(train: Callable[[Any, Any], TrainResult], config: Any, dataset: Any) -> TrainResult:
    """Train; a `CommandError` says why a run ended early."""
    from gaussmix.training.loop import TrainingError

    try:
        result = train(config, dataset)
    except TrainingError as error:
        raise CommandError(f"gaussmix: {shown(str(error), _MOST_SAID)}", 1) from error
    if result.interrupted:
        raise CommandError(f"stopped after step {result.step}; continue with the same command and --resume", 130)
    return result


def find_mistake(commands: Any, words: Iterable[str], path: str = "gaussmix") -> str | None:
    """Return which of the words after ``path`` is mistyped, a command or a flag, with the nearest right one, if any.

    ``commands`` are groups by name, of commands by name; or a command's class, or an instance of it.
    """
    rest = list(words)
    while isinstance(commands, Mapping) and rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        if word not in commands:
            groups = {name: group for name, group in commands.items() if isinstance(group, Mapping)}
            inner = [(name, f"{group} {name}") for group in groups for name in groups[group]]
            return f"{path}: no command {word}{_nearest(word, [(name, name) for name in commands] + inner, path)}"
        commands, path = commands[word], f"{path} {word}"
    flags = ["--help"]
    if not isinstance(commands, Mapping):
        flags += _flags_of(commands if isinstance(commands, type) else type(commands))
    for word in rest[: rest.index("--") if "--" in rest else None]:
        flag = word.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in flags:
            return f"{path}: no flag {flag}{_nearest(flag, [(name, name) for name in flags], path)}"
    return None


def _nearest(word: str, known: list[tuple[str, str]], path: str) -> str:
    """What may have been meant, of words and how they are said."""
    names = [name for name, _ in known]
    near = [name for name in names if name.startswith(word)] or difflib.get_close_matches(word, names, n=1)
    said = " or ".join(full for name, full in known if name in near)
    return f"; did you mean {said}?" if said else f"; {path} --help lists all"


def _flags_of(command: type) -> Iterator[str]:
    """The flags that tyro makes of the fields of a dataclass, those of a dataclass in it included."""
    hints = get_type_hints(command, include_extras=True)
    for field, hint in ((each.name, hints[each.name]) for each in dataclasses.fields(command)):
        kind, extras = getattr(hint, "__origin__", hint), getattr(hint, "__metadata__", ())
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _flags_of(kind)
        elif tyro.conf.Positional not in extras:
            names = [extra.name for extra in extras if isinstance(extra, _ARG)]  # pyright: ignore
            name = next(filter(None, names), field).replace("_", "-")
            yield from (f"--{name}", f"--no-{name}") if kind is bool else (f"--{name}",)


def check_at_least(least: int, **flags: int | None) -> None:
    """Raises ValueError for a flag that was given and is below ``least``."""
    for name, value in flags.items():
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be at least {least}")


def check_finite(**flags: float | None) -> None:
    """Raises ValueError for a flag that was given and is NaN or infinite."""
    for name, value in flags.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be a finite number")


def split_names(word: str) -> tuple[str, ...]:
    """Names between commas, without blanks around them; one in double quotes may hold commas."""
    (names,) = csv.reader([word], skipinitialspace=True)
    return tuple(name for name in map(str.strip, names) if name)


def parse_limits(word: str) -> dict[str, float]:
    """The most that numbers may be, of NAME=MOST,... Raises ValueError for what is no limit."""
    limits: dict[str, float] = {}
    for part in filter(None, map(str.strip, word.split(","))):
        name, _, number = part.partition("=")
        try:
            most = float(number)
        except ValueError:
            most = math.nan
        if not 0 <= most < math.inf:
            raise ValueError(f"{part!r} is no limit; write NAME=MOST, where MOST is a finite number of at least 0")
        limits[name.strip().replace("-", "_")] = most
    return limits


def check_limits(limits: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """Return what of ``found`` is above its limit, or is no number, in words."""
    return [f"{name} is {found[name]:.6g}, above {most:g}" for name, most in limits.items() if not found[name] <= most]


def check_suffix(path: Path, what: str, *allowed: str) -> None:
    """Raises ValueError for a file that cannot be written with its suffix: before the work, not after it."""
    if path.suffix.lower() not in allowed:
        raise ValueError(f"cannot write the {what} as {path.name!r}: use {', '.join(allowed)}")


def one_line(error: BaseException) -> str:
    """What went wrong, as one line for standard error."""
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    text, name = shown(str(error), _MOST_SAID), type(error).__name__
    if isinstance(error, ValueError | OSError | ImportError) or name == "SafetensorError":  # of a full disk
        return text or name
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in text:  # torch's
        return text if "asks for" in text else "there is not enough memory for this"
    return f"{name}: {text} (a fault of gaussmix: GAUSSMIX_DEBUG=1 shows where)"
