"""``gaussmix table sample | fidelity``: rows drawn anew, and how real they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from gaussmix.cli._flags import check_at_least, check_suffix

if TYPE_CHECKING:
    from gaussmix.tables.estimator import TableDensity

_AT_ONCE = 100_000  # rows that are drawn and written


@dataclass(frozen=True)
class SampleRows:
    """Draw rows that look like those of a table and are nobody's; fit it with --dependence copula for columns that
    hang together."""

    model: Positional[Path]
    """A model file of `table fit`."""
    count: int = 10
    """How many."""
    where: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="COLUMN=VALUE")] = ()
    """What columns shall be, each with its own --where: country=FR, country=FR,DE, age=18..25, age=65..,
    day=2024-03-01; nothing for missing: income=."""
    seed: int = 0
    """The same seed draws the same rows."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A .csv or .parquet file; printed as csv if not given."""

    def __call__(self) -> None:
        check_at_least(1, count=self.count)
        check_at_least(0, seed=self.seed)
        if self.output is not None:
            check_suffix(self.output, "table", ".csv", ".parquet")
        table = load_table(self.model)
        where = dict(_condition(table, words) for words in self.where)
        integers = [name for name, column in table.columns_.items() if column.kind == "integer"]
        parquet = self.output is not None and self.output.suffix == ".parquet"

        import numpy as np

        from gaussmix.density.files import write_batches, write_csv
        from gaussmix.tables.reading import as_frame

        rng = np.random.default_rng(self.seed)

        def drawn() -> Iterator[dict[str, Any]]:
            for start in range(0, self.count, _AT_ONCE):
                rows = table.sample(min(_AT_ONCE, self.count - start), rng, where)
                if parquet:
                    found = as_frame("pyarrow", rows, integers)
                    yield dict(zip(found.column_names, found.columns, strict=True))
                else:
                    yield {name: _as_cells(values, name in integers) for name, values in rows.items()}

        if self.output is None:
            write_csv(sys.stdout, drawn())
            return
        self.output.parent.mkdir(parents=True, exist_ok=True)
        write_batches(self.output, drawn(), self.count)
        print(f"{self.count} rows: {self.output}")


@dataclass(frozen=True)
class MeasureFidelity:
    """Say how like the real rows synthetic ones are, and whether they give any away; each figure beside that of a
    second sample of real rows."""

    real: Positional[Path]
    """The rows that the model has learnt, in a file as `table fit` reads it."""
    synthetic: Positional[Path]
    """The rows of `table sample`, or of another generator."""
    second: Positional[Path]
    """Real rows that the model has not seen."""
    seed: int = 0
    """Chooses the rows that are compared where there are many."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        from gaussmix.tables.fidelity import measure_fidelity

        found = measure_fidelity(str(self.real), str(self.synthetic), str(self.second), random_state=self.seed)
        print(json.dumps(found.to_dict(), indent=2) if self.json else found)


def _condition(table: TableDensity, words: str) -> tuple[str, Any]:
    """A column's name and what it shall be."""
    name, equals, value = words.partition("=")
    if not equals or name not in table.columns_:
        raise ValueError(
            f"--where takes COLUMN=VALUE with one of the columns {', '.join(table.columns_)}; not {words!r}"
        )
    if not value:
        return name, None
    frequencies = table.columns_[name].frequencies
    if frequencies is not None:
        return name, value if value in frequencies else [part.strip() for part in value.split(",")]
    low, dots, high = value.partition("..")
    return name, (low or None, high or None) if dots else value


def _as_cells(values: Any, integers: bool) -> Any:
    """A column as it is written: nothing where it is missing, and integers without a point beside that."""
    import numpy as np

    from gaussmix.density.quantity import as_text

    if values.dtype.kind not in "fmM":
        return values
    gone = np.isnan(values)
    if not gone.any():
        return values
    out = np.array(as_text(np.where(gone, 0.0, values).astype(np.int64) if integers else values), object)
    out[gone] = None
    return out


def load_table(path: Path) -> TableDensity:
    """The table in a file. Raises ValueError, naming it."""
    from gaussmix.tables.estimator import TableDensity

    return TableDensity.load(path)
