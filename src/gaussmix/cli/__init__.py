"""The command line: ``gaussmix GROUP COMMAND``.

A command is a frozen dataclass: its fields are the flags, its docstring is the help, and ``__call__`` runs it and
returns the exit status, None for 0. tyro makes the parser of them. Only the group that is asked for is imported, and
nothing heavy before a command runs, so that ``--help`` and a mistyped flag answer at once.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from gaussmix.cli._flags import CommandError, find_mistake, one_line
from gaussmix.cli.demo import RunDemo
from gaussmix.cli.studio import OpenStudio
from gaussmix.cli.warmup import CompileLoops

__all__ = ["GROUPS", "main", "parse"]

GROUPS = {
    "density": "Learn the distribution of a column of numbers: fit, info, quantiles, cdf, plot, sample, compare.",
    "table": "Learn every column of a table, by group too: fit, info, quantiles, plot, compare, sample, fidelity.",
    "conditional": "Learn the distribution of one column given the others: fit, predict, evaluate, plot.",
    "faces": "Draw pictures with chosen attributes: sample, edit, attributes, train, evaluate.",
    "autoencoder": "Draw and mix new images of classes: train, sample, mix, evaluate.",
    "style": "Render a picture in many variants of a style: transfer, fit.",
}
"""Modules of this package, which define ``commands``, and what they are for."""

_PACKAGE = Path(__file__).parents[1]
_EXTRAS = {"pyarrow": "parquet", "dask": "dask", "tensorboard": "tensorboard"}  # all others: diffusion, or style
_RULE = re.compile("[─╰╯-]+")
_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)


@dataclass(frozen=True)
class PrintCompletion:
    """Print what completes commands and flags in a shell; for bash: eval "$(gaussmix completion bash)"."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Whose language to print."""

    def __call__(self) -> None:
        _parse_with_tyro(_commands([], GROUPS), ["--tyro-print-completion", self.shell])


@dataclass(frozen=True)
class _Elsewhere:
    """Stands for a group that was not asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors are a line on standard error, with GAUSSMIX_DEBUG=1 a traceback.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``gaussmix``; those of the process if not given.

    Returns
    -------
    int
        The exit status: 0 done; 1 failed, by the system, the memory or a fault of gaussmix; 2 the words, or a file that
        they name, cannot be used; 3 a limit that the user set was exceeded; 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _said_on_stderr():
            status = _run(words)
        sys.stdout.flush()  # here, where a closed pipe is no error
        return status
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("gaussmix: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("GAUSSMIX_DEBUG", "0") not in ("", "0"):
            raise
        print(_said_of(error, words), file=sys.stderr)
        _drop_unwritten()
        return 2 if isinstance(error, ValueError | FileNotFoundError) else 1


def _said_of(error: Exception, words: Sequence[str]) -> str:
    """The line that ends a command."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in ("", "gaussmix"):
        return f"gaussmix: {one_line(error)}"
    extra = _EXTRAS.get(missing, "style" if words[0] == "style" else "diffusion")
    command, remedy = " ".join(words[:2]), f"pip install 'gaussmix[{extra}]'"
    return f"gaussmix {command} needs {missing}, which is not installed: {remedy}"


def _drop_unwritten() -> None:
    """Where standard output cannot be written to, as on a full disk, that is said once."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: Sequence[str]) -> int:
    try:
        return parse(words)() or 0
    except SystemExit as stop:  # something was printed that is not a command's
        return int(stop.code or 0)


class _Line(logging.Handler):
    """A line on standard error, as it is when the line comes: a progress bar may have taken it over."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"gaussmix: {record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def _said_on_stderr() -> Iterator[None]:
    """Warnings and messages of ours as single lines."""
    logger, line = logging.getLogger("gaussmix"), _Line()
    level = logger.level
    logger.addHandler(line)
    logger.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.filterwarnings("default", module="gaussmix")  # each text once, not for each of several rows
        warnings.filterwarnings("ignore", module="PIL")  # of pictures that it reads all the same
        show = warnings.showwarning
        warnings.showwarning = lambda text, category, file, *rest: (
            print(f"gaussmix: {text}", file=sys.stderr)
            if Path(file).is_relative_to(_PACKAGE)
            else show(text, category, file, *rest)
        )
        try:
            yield
        finally:
            logger.removeHandler(line)
            logger.setLevel(level)


def parse(words: Sequence[str]) -> Callable[[], int | None]:
    """Return the command of a command line, ready to run.

    Parameters
    ----------
    words : sequence of str
        Those after ``gaussmix``.

    Raises
    ------
    CommandError
        For what is wrong with the words.
    SystemExit
        Once help or the version is printed.
    """
    words = list(words)
    if words[:1] in (["-V"], ["--version"]):
        from gaussmix import __version__

        print(f"gaussmix {__version__}")
        raise SystemExit(0)
    if not words or (words[0] in GROUPS and len(words) == 1):
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
            parse([*words, "--help"])
        raise SystemExit(2)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            unknown = words[0] not in GROUPS and not words[0].startswith("-")  # it may be a command of any group
            commands = _commands(words[1:], GROUPS if unknown else words[:1])
            mistake = find_mistake(commands, words)
            if mistake is not None:
                raise CommandError(mistake)
            return _parse_with_tyro(commands, words)
    except SystemExit as stop:
        if not stop.code:
            raise
        path = " ".join(takewhile(lambda word: not word.startswith("-"), words[:2]))
        raise CommandError(f"gaussmix {path}: {_first_section(said.getvalue())}") from None


def _commands(words: list[str], groups: Collection[str]) -> dict[str, Any]:
    """Groups by name, of commands by name, loaded if they are among ``groups``; ``words`` may choose a preset."""
    loaded = {
        group: importlib.import_module(f"gaussmix.cli.{group}").commands(words) if group in groups else _Elsewhere
        for group in GROUPS
    }
    return {**loaded, "studio": OpenStudio, "demo": RunDemo, "warmup": CompileLoops, "completion": PrintCompletion}


def _parse_with_tyro(commands: Mapping[str, Any], words: list[str]) -> Any:
    """A command's instance. Raises SystemExit: 0 where something was printed, 2 for wrong words."""
    about = (
        "Gaussian mixtures as a language for distributions. gaussmix GROUP COMMAND --help lists a command's flags. "
        "Exit status: 0 done, 1 failed, 2 words or files that cannot be used, 3 a limit that you set was exceeded, 130 "
        "interrupted."
    )
    return tyro.cli(_subcommands(commands, words), prog="gaussmix", description=about, args=words, config=_MARKERS)


def _subcommands(commands: Mapping[str, Any], words: list[str]) -> Any:
    """The type that tyro makes subcommands of."""
    branches = []
    for name, command in commands.items():
        if isinstance(command, Mapping):
            inner = _subcommands(command, words[1:])
            branch = tyro.conf.subcommand(name, description=GROUPS[name], constructor_factory=lambda inner=inner: inner)
            branches.append(Annotated[Any, branch])
            continue
        kind = command if isinstance(command, type) else type(command)
        default = {} if isinstance(command, type) else {"default": command}
        about = GROUPS.get(name) or inspect.getdoc(kind) or ""
        shown = about if words[:1] == [name] else about.partition("\n")[0]  # in a list, one sentence a command
        branches.append(Annotated[kind, tyro.conf.subcommand(name, description=shown, **default)])
    return Union[tuple(branches)]  # noqa: UP007


def _first_section(box: str) -> str:
    """What tyro says in a box, below its title and up to its next rule, as one line."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", box)
    lines = [line.strip("│ ") for line in plain.splitlines()[1:]]
    said = dropwhile(_RULE.fullmatch, lines)
    text = " ".join(takewhile(lambda line: not _RULE.fullmatch(line), said))
    return re.sub(r"^Error parsing (?!--)[\w.-]+: ", "", text)  # a check of a whole command names the flag itself
