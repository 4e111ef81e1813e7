"""What the conditional commands share: tables that are read whole, targets, and tables that are written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussmix.cli._column import name_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WRITTEN = (".csv", ".parquet", ".pq")


@dataclass(frozen=True)
class WholeTable:
    """Columns (N,) by name; the target (N,), if there is one, NaN where it is missing; and what was read how."""

    columns: dict[str, NDArray[Any]]
    target: NDArray[Any] | None
    target_name: str
    notes: list[str]
    label: str

    def labelled(self) -> tuple[dict[str, NDArray[Any]], NDArray[Any], int]:
        """The columns and the target of the rows that have one, and how many have none. Raises ValueError for none."""
        import numpy as np

        assert self.target is not None
        known = ~np.isnan(self.target)
        if not known.any():
            raise ValueError(f"{self.label} has no row with a target: all of them are missing")
        missing = len(known) - int(known.sum())
        columns = self.columns if not missing else {name: values[known] for name, values in self.columns.items()}
        return columns, self.target[known] if missing else self.target, missing


def read_rows(
    files: Sequence[Path],
    target: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> WholeTable:
    """Read a table whole: the ``columns``, all that are not to be ignored if not given, and the target.

    Raises ValueError, naming the file: unknown columns, damage, a target that is no number.
    """
    import numpy as np

    from gaussmix._progress import progress_bar
    from gaussmix.density.files import open_table
    from gaussmix.density.quantity import concatenated

    label = name_files(files)
    wanted = None if columns is None else [*columns, *([] if target is None else [target])]
    parts: dict[str, list[NDArray[Any]]] = {}
    with open_table(files, wanted, missing=missing) as source:
        names = list(source.columns)
        answer = None if target is None else names[-1] if wanted else _find(target, names, label)
        left_out = {_find(name, names, label) for name in ignore}
        if answer in left_out:
            raise ValueError(f"{target} is the target; it cannot be ignored")
        if answer is not None:
            _require_numbers(source.columns[answer], answer, label)
        with progress_bar(f"reading {label}", source.total or None, show=sys.stderr.isatty()) as show:
            for batch in source:
                for name in batch.keys() - left_out:
                    parts.setdefault(name, []).append(batch[name])
                show(source.done)
    found = {name: concatenated(parts.pop(name)) for name in names if name in parts}
    values = None if answer is None else np.asarray(found.pop(answer), np.float64)
    if not found:
        raise ValueError(f"{label} has no column but the target and those to ignore: there is nothing to learn from")
    for name, column in found.items():
        _require_cells(column, name, label)
    said = [note for note in source.notes if note.partition(":")[0] not in left_out]
    return WholeTable(found, values, answer or "", said, label)


@contextmanager
def naming(label: str) -> Iterator[None]:
    """A ValueError or TypeError of the model's names the table too."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{label}: {error}") from error


def check_table_suffix(path: Path) -> None:
    """Raises ValueError for a table that cannot be written with its suffix; - is the standard output."""
    if str(path) != "-" and path.suffix.lower() not in _WRITTEN:
        raise ValueError(f"cannot write the table as {path.name!r}: use {', '.join(_WRITTEN[:2])}, or - to print it")


def write_rows(path: Path, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write columns, batch by batch, as CSV or Parquet by the suffix; ``-`` prints CSV."""
    from gaussmix.density.files import write_batches, write_csv

    if str(path) == "-":
        write_csv(sys.stdout, batches)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_batches(path, batches)


def _find(name: str, names: Sequence[str], label: str) -> str:
    """The column of that name, or 0-based number."""
    if name in names:
        return name
    if name.isdecimal() and int(name) < len(names):
        return names[int(name)]
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise ValueError(f"{label} has no column {name!r}; it has {listed} (or a number from 0 to {len(names) - 1})")


def _require_numbers(quantity: Any, name: str, label: str) -> None:
    if quantity is None or quantity.kind != "number":
        raise ValueError(f"{label}, column {name} holds {quantity or 'text'}; a target must be numbers")


def _require_cells(column: NDArray[Any], name: str, label: str) -> None:
    """Raises ValueError for lists and tables in cells."""
    if column.dtype == object:
        kinds = {type(value) for value in column.tolist()} & {list, dict, tuple}
        if kinds:
            raise ValueError(
                f"{label}, column {name} holds a {kinds.pop().__name__} a row; leave it out: --ignore {name}"
            )
