"""Readers that end in a sentence: whatever a file makes a library raise becomes an error that names the file.

A damaged file makes the libraries that read it raise nearly anything. What a reader finds wrong itself is a ValueError
that names the file already, and passes as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

MOST_SHOWN = 160  # characters of another library's message, or of a name in a file


class DamagedFileError(ValueError):
    """A file that cannot be read: a sentence that names it."""


@contextmanager
def reading(
    name: str | os.PathLike[str],
    what: str = "is damaged",
    advice: str = "",
    *,
    kind: type[ValueError] = DamagedFileError,
) -> Iterator[None]:
    """Around what reads the file ``name``: an error that does not name it becomes "``name`` ``what`` (why)``advice``".

    Parameters
    ----------
    name : str or path-like
        The file as the user gave it.
    what : str
        What is wrong with a file that cannot be read.
    advice : str
        What to do then.
    kind : type
        Of the error.

    Raises
    ------
    ValueError
        Of that kind. Errors of the system that name a file, ImportError, and ValueErrors that begin with ``name`` pass.
    MemoryError
        Naming the file, where it asks for more memory than there is.
    """
    name = os.fspath(name)
    try:
        yield
    except ImportError:
        raise
    except MemoryError as error:
        raise MemoryError(f"{name} asks for more memory than there is") from error
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        if isinstance(error, ValueError) and str(error).startswith(name):
            raise
        raise kind(f"{name} {what} ({cause_of(error)}){advice}") from error


def cause_of(error: BaseException) -> str:
    """What an error says, on one line and not too long; its type where that is not plain from the words."""
    text = shown(str(error))
    kind = type(error)
    if text and (kind.__module__ != "builtins" or isinstance(error, ValueError | OSError)):
        return text
    return f"{kind.__name__}: {text}" if text else kind.__name__


def shown(text: str, most: int = MOST_SHOWN) -> str:
    """Text out of a file as an error may hold it: one line, without control characters, cut where it is long."""
    text = printable(" ".join(text[: 4 * most].split()))
    return text if len(text) <= most else f"{text[:most]}..."


def printable(text: str) -> str:
    """Text whose control characters, which could command a terminal, are written out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def counted(count: float, noun: str, plural: str | None = None) -> str:
    """Return "1 step", "2 steps", "12,000 steps"; of weights of rows "2.5 rows".

    Parameters
    ----------
    count, noun : float, str
        How many, and of what, in the singular.
    plural : str, optional
        The plural, where it does not end in s alone.
    """
    number = f"{count:,.0f}" if count == round(count) else f"{count:.6g}"
    return f"{number} {noun if count == 1 else plural or noun + 's'}"
