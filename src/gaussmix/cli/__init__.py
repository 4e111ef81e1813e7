"""The command line: ``gaussmix COMMAND``, one function a command.

Flags are the fields of one frozen dataclass a command. Nothing heavy is imported before a command runs, so that
``--help`` and a mistyped flag answer at once.
"""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from gaussmix.cli import autoencoder, autoencoder_evaluate, density, editing, faces, style
from gaussmix.cli._flags import one_line
from reproduction.__main__ import reproduce

_PACKAGE = Path(__file__).parents[1]

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "density fit": density.fit,
    "density plot": density.plot,
    "density sample": density.sample,
    "density info": density.info,
    "density compare": density.compare,
    "train": faces.train,
    "sample": faces.sample,
    "edit": editing.edit,
    "attributes": faces.attributes,
    "evaluate": faces.evaluate,
    "autoencoder train": autoencoder.train,
    "autoencoder sample": autoencoder.sample,
    "autoencoder mix": autoencoder.mix,
    "autoencoder evaluate": autoencoder_evaluate.evaluate,
    "style fit": style.fit,
    "style transfer": style.transfer,
    "reproduce": reproduce,
}
_EXTRAS = {"pyarrow": "parquet", "dask": "dask", "tensorboard": "tensorboard"}  # all others: diffusion, or style


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 failed, 2 wrong use, 130 interrupted)."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args and args[0] in ("-V", "--version"):
        from gaussmix import __version__

        print(f"gaussmix {__version__}")
        return 0
    command = find_command(args)
    if command is None:
        words = [word for word in args[:2] if not word.startswith("-")]
        group = words[0] if words and any(name.startswith(f"{words[0]} ") for name in COMMANDS) else None
        if "-h" in args or "--help" in args:
            print(_usage(group))
            return 0
        if (group is None and words) or len(words) > 1:
            name = " ".join(words if group else words[:1])
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            print(f"gaussmix: no command {name!r}" + (f"; did you mean {near[0]}?" if near else ""), file=sys.stderr)
        print(_usage(group), file=sys.stderr)
        return 2
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("default", module="gaussmix")  # each text once, not for each of several rows
            show = warnings.showwarning
            warnings.showwarning = lambda text, category, file, *rest: (
                print(f"gaussmix: {text}", file=sys.stderr)
                if Path(file).is_relative_to(_PACKAGE)
                else show(text, category, file, *rest)
            )
            return COMMANDS[command](args[len(command.split()) :])
    except KeyboardInterrupt:
        print("gaussmix: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "gaussmix":
            raise
        usual = "style" if command.startswith("style ") else "diffusion"
        extra = f"pip install 'gaussmix[{_EXTRAS.get(missing, usual)}]'"
        print(f"gaussmix {command} needs {missing}, which is not installed: {extra}", file=sys.stderr)
        return 1
    except ImportError as error:  # our own: it names the extra
        print(f"gaussmix: {one_line(error)}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"gaussmix: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def find_command(args: list[str]) -> str | None:
    """The command that the first one or two words name."""
    return next((name for name in (" ".join(args[:2]), *args[:1]) if name in COMMANDS), None)


def _usage(group: str | None) -> str:
    shown = {name: run for name, run in COMMANDS.items() if group is None or name.startswith(f"{group} ")}
    lines = [f"usage: gaussmix {group or ''}{' ' if group else ''}COMMAND ...", ""]
    lines += [f"  {name:<22}{(run.__doc__ or '').splitlines()[0]}" for name, run in shown.items()]
    lines += ["", "gaussmix COMMAND --help lists a command's flags."]
    return "\n".join(lines)
