"""What every kind of file with a table offers: names and quantities of its columns, and batches of some of them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from numpy.typing import NDArray

from gaussmix._guard import shown
from gaussmix.density.lattice import concatenated
from gaussmix.density.quantity import Quantity

LEAST_ROWS = 1 << 14  # of a batch, however wide the table

Batches = Generator[tuple[list[NDArray[Any]], int], None, None]  # columns, and how much of the total has been read


class EmptyFileError(ValueError):
    """A file without rows: an error where there is no other."""


class TableFile:
    """A file of columns; ``total`` is its length, in rows or in bytes, 0 where that is not known."""

    label: str
    names: list[str]
    total: int
    has_types = True  # whether the file says which numbers are integers

    def quantity(self, j: int) -> Quantity | None:
        """What the numbers of column j stand for; None of text."""
        raise NotImplementedError

    def batches(self, chosen: Sequence[int], batch_rows: int) -> Batches:
        """Columns by their numbers, of about ``batch_rows`` rows. Raises ValueError for damage and wrong cells."""
        raise NotImplementedError

    def note(self, j: int) -> str:
        """Which cell of column j is read as what, where that is not plain."""
        return ""

    def require_readable(self, j: int) -> None:
        """Raises ValueError, saying what stands there, where column j holds no numbers."""

    def choose(self, column: str | int | None) -> int:
        """Number of the column of that name or number; None where there is one. Raises ValueError for no such one."""
        names = self.names
        listed = ", ".join(shown(name, 60) for name in names[:20]) + (", ..." if len(names) > 20 else "")
        found = range(len(names)) if column is None else [j for j, name in enumerate(names) if name == column]
        if len(found) == 1:
            return found[0]
        if column is None:
            raise ValueError(f"{self.label} has {len(names)} columns, so say which one: {listed}")
        last = len(names) - 1
        if found:
            raise ValueError(f"{self.label} has several columns {column!r}: name one by its number, from 0 to {last}")
        if str(column).isdecimal() and int(column) < len(names):
            return int(column)
        raise ValueError(f"{self.label} has no column {column!r}; it has {listed} (or a number from 0 to {last})")


def gathered(batches: Iterable[tuple[list[NDArray[Any]], int]], least: int) -> Batches:
    """The same in batches of at least so many rows, but for the last; larger ones pass as they are."""
    waiting: list[list[NDArray[Any]]] = []
    rows, done = 0, 0
    for columns, done in batches:
        rows += len(columns[0])
        waiting.append(columns)
        if rows >= least:
            yield _joined(waiting), done
            waiting, rows = [], 0
    if rows:
        yield _joined(waiting), done


def _joined(parts: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
    return parts[0] if len(parts) == 1 else [concatenated(list(pieces)) for pieces in zip(*parts, strict=True)]
