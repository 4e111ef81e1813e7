"""What the density commands share: a column that is read and learnt, and what is said of a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def label_axis(figure: Any, model: DensityModel) -> None:
    """Write dates and durations along the axis of values."""
    quantity, spread = model.quantities_[0], spread_of(model)
    if quantity.kind != "number":
        coarse = 100 * spread if quantity.kind == "datetime" else spread
        for axes in figure.axes:
            axes.xaxis.set_major_formatter(lambda value, _: quantity.format(value, coarse))


def load_model(path: Path) -> DensityModel:
    """The model of one column in a file. Raises ValueError for another."""
    from gaussmix.density.model import DensityModel

    model = DensityModel.load(path)
    if len(model.distributions_) != 1:
        raise ValueError(f"{path} holds {len(model.distributions_)} columns; these commands take models of one")
    return model
