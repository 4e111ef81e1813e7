"""What the commands of columns and tables share: how they are read, learnt and written, and what is said of a model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gaussmix.density.files import ColumnSource
    from gaussmix.density.model import DensityModel
    from gaussmix.density.quantity import Quantity


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def open_source(files: Sequence[Path], column: str | None, missing: Sequence[str] = ()) -> ColumnSource:
    """Open a column of files for reading."""
    from gaussmix.density.files import open_column

    return open_column(files, column, missing=missing)


def first_quantity(source: ColumnSource) -> tuple[Quantity, Iterator[NDArray[Any]]]:
    """What the numbers of a column stand for, which its first chunk says; and all chunks, as numbers."""
    from gaussmix.density.quantity import Quantity

    chunks = iter(source)
    first = next(chunks)
    quantity = Quantity.of_values(first, source.quantity.zone)
    return quantity, (quantity.to_numbers(chunk) for chunk in chain([first], chunks))


def learn(model: DensityModel, source: ColumnSource, quantity: Quantity, chunks: Iterator[Any], label: str) -> None:
    """Learn a column, chunk by chunk."""
    from gaussmix._progress import progress_bar

    with progress_bar(f"reading {label}", source.total or None, show=sys.stderr.isatty()) as show:
        for chunk in chunks:
            with _learning(label):
                model.partial_fit(chunk)
            show(source.done)
    if not hasattr(model, "counts_"):
        raise ValueError(
            f"{label} holds missing values alone: no number has been counted yet, there is nothing to learn"
        )
    model.quantities_ = (quantity,)
    with _learning(label):
        _ = model.reports_  # of which each command speaks


@contextmanager
def _learning(label: str) -> Iterator[None]:
    """A ValueError names the column too."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error


def name_files(files: Sequence[Path]) -> str:
    """Of files, for what is printed."""
    first = "stdin" if str(files[0]) == "-" else files[0].name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def parse_ends(name: str, ends: tuple[str, str] | None, quantity: Quantity) -> tuple[float, float] | None:
    """Numbers of two words, which may be dates, or infinite."""
    if ends is None:
        return None
    try:
        low, high = (float(end) if end.lower().lstrip("+-") == "inf" else quantity.parse(end) for end in ends)
    except ValueError as error:
        raise ValueError(f"--{name}: {error}") from None
    return low, high


def moments(model: DensityModel) -> dict[str, float]:
    """Mean and standard deviation, by name."""
    return {"mean": float(model.distribution_.mean()), "std": float(model.distribution_.std())}


def say_moments(model: DensityModel) -> str:
    """Mean and standard deviation, in words."""
    quantity, found = model.quantities_[0], moments(model)
    mean = quantity.format(found["mean"], spread_of(model))
    return f"mean {mean}, standard deviation {quantity.format_length(found['std'])}"


def spread_of(model: DensityModel) -> float:
    """How far the values that are printed lie apart: what their digits have to tell."""
    low, high = (float(model.distribution_.ppf(q)) for q in (0.05, 0.95))
    return high - low or float(model.distribution_.std())


def as_json(quantity: Quantity, value: float | None) -> float | str | None:
    """A number as JSON holds it, dates as text."""
    return None if value is None else quantity.to_json(value)


def facts_of(model: DensityModel) -> dict[str, Any]:
    """Report, moments and quantiles with JSON's types; dates as text."""
    quantity, facts = model.quantities_[0], {**model.report_.to_dict(), **moments(model)}
    facts |= {name: as_json(quantity, facts[name]) for name in ("minimum", "maximum", "mean")}
    if quantity.kind == "datetime":
        facts["atoms"] = {str(quantity.to_json(float(place))): mass for place, mass in facts["atoms"].items()}
    facts["bounds"] = [as_json(quantity, bound) for bound in facts["bounds"]]
    facts["quantiles"] = {str(q): as_json(quantity, float(model.distribution_.ppf(q))) for q in QUANTILES}
    return facts


def summary(model: DensityModel, name: str) -> str:
    """What was learnt, in a few lines."""
    quantity, spread = model.quantities_[0], spread_of(model)
    quantiles = "   ".join(f"{q:.0%} {quantity.format(float(model.distribution_.ppf(q)), spread)}" for q in QUANTILES)
    return f"{name}: {model.report_}\n{say_moments(model)}\nquantiles: {quantiles}"


def load_model(path: Path) -> DensityModel:
    """The model of one column in a file. Raises ValueError for another."""
    from gaussmix.density.model import DensityModel

    model = DensityModel.load(path)
    if len(model.distributions_) != 1:
        raise ValueError(f"{path} holds {len(model.distributions_)} columns; these commands take models of one")
    return model


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
    from gaussmix.tables.rows import collect_rows

    label = name_files(files)
    wanted = None if columns is None else [*columns, *([] if target is None else [target])]
    with open_table(files, wanted, missing=missing) as source:
        names = list(source.columns)
        answer = None if target is None else names[-1] if wanted else _find(target, names, label)
        left_out = {_find(name, names, label) for name in ignore}
        if answer in left_out:
            raise ValueError(f"{target} is the target; it cannot be ignored")
        if answer is not None:
            _require_numbers(source.columns[answer], answer, label)
        with progress_bar(f"reading {label}", source.total or None, show=sys.stderr.isatty()) as show:
            kept = [name for name in names if name not in left_out]
            found, _ = collect_rows(source.watched(show), kept)
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
