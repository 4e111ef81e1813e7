"""What a reproduction hands back: numbers beside the paper's, tables, what was read how, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Rows under column names; None is an empty cell."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Picture:
    """One figure, drawn when it is saved."""

    suffix: str
    """Added to the reproduction's name: "" or for example "-examples"."""
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Result:
    """One table or figure of a paper as we get it."""

    title: str
    about: str
    """One sentence: what is shown."""
    ours: dict[str, Any]
    """JSON-able numbers."""
    paper: dict[str, Any]
    """The paper's, under the same keys as far as it prints them."""
    tables: tuple[Table, ...]
    readings: tuple[str, ...]
    """How the paper was read where it leaves a choice, and what it does not say."""
    findings: tuple[str, ...]
    """What reproduces and what does not."""
    pictures: tuple[Picture, ...]
