"""``gaussmix table compare | sample | fidelity``: two tables, and rows drawn anew."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from gaussmix._guard import counted, printable
from gaussmix.cli._flags import CommandError, Names, check_at_least, check_suffix, split_names
from gaussmix.cli._tables import name_files, naming

if TYPE_CHECKING:
    from gaussmix.tables.estimator import TableDensity

_AT_ONCE = 100_000  # rows that are drawn and written


@dataclass(frozen=True)
class CompareTables:
    """Say which columns of a table moved, how far, and whether chance alone could have done it; models are compared as
    they are, files learnt first."""

    old: Positional[Path]
    """A model, or a file as `table fit` reads it, a folder or a pattern in quotes."""
    new: Positional[Path]
    """Another."""
    by: Names = ()
    """Columns whose values make groups, each of which is compared as well; several with commas between."""
    ignore: Names = ()
    """Columns to leave out, such as a date that moves by nature."""
    categories: Names = ()
    """Columns of numbers that are names, such as postcodes."""
    weights: str | None = None
    """A column with the weights of the rows: whole numbers say how often a row came."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null, such as -999; several with commas between."""
    html: Path | None = None
    """A page to write, with both densities of each column; it needs no other file."""
    fail_above: float | None = None
    """End with exit status 3 where a column, also of a group, moved more than that and than chance does (W1 / spread,
    total variation of categories, change of the missing share), is in one table only or changed its kind."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        if self.html is not None:
            check_suffix(self.html, "page", ".html", ".htm")
        if not 0 <= (self.fail_above or 0.0) < math.inf:
            raise ValueError(f"--fail-above is {self.fail_above}; it must be a finite number of at least 0")

        from gaussmix._files import whole_file
        from gaussmix.tables.drift import compare_tables
        from gaussmix.tables.estimator import TableDensity

        files = (self.old, self.new)
        known = {k: load_table(file) for k, file in enumerate(files) if file.suffix in (".gmx", ".safetensors")}
        given = TableDensity(categories=self.categories or None, weights=self.weights, missing=self.missing or None)
        options: dict[str, Any] = next(iter(known.values()), given).get_params() | {"by": self.by or None}
        tables = [known.get(k) or TableDensity(**options) for k in range(2)]
        for k in {0, 1} - known.keys():
            learn(tables[k], [files[k]])
        names = [file.name for file in files] if self.old.name != self.new.name else list(map(str, files))
        found = compare_tables(*tables, by=self.by, ignore=self.ignore, names=(names[0], names[1]))
        if self.html is not None:
            self.html.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.html) as path:
                path.write_text(found.to_html(), encoding="utf-8")
        said = f"{found}" if self.html is None else f"{found}\n\npage: {self.html}"
        print(json.dumps(found.to_dict(), indent=2) if self.json else said)
        if self.fail_above is not None and (above := found.above(self.fail_above)):
            above[20:] = [f"{len(above) - 20} more"] * (len(above) > 20)
            raise CommandError(f"gaussmix: {printable('; '.join(above))} (--fail-above)", 3)


def learn(table: TableDensity, files: Sequence[Path]) -> list[str]:
    """Learn files, and return what is to be said of them."""
    from gaussmix._progress import progress_bar
    from gaussmix.density.files import open_table

    label, shown, layout = name_files(files), sys.stderr.isatty(), table.layout()
    with (
        open_table(files, layout.wanted, missing=table.missing or (), codes=layout.categories) as source,
        naming(label),
        progress_bar(f"reading {label}", source.total or None, show=shown) as show,
    ):
        table.fit(source.watched(show))
    return source.notes


@dataclass(frozen=True)
class SampleRows:
    """Draw rows that look like those of a table and are nobody's; fit it with --dependence copula for columns that
    hang together."""

    model: Positional[Path]
    """A model file of `table fit`."""
    count: int = 10
    """How many."""
    where: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="COLUMN=VALUE")] = ()
    """What columns shall be, each with its own --where: country=FR, country=FR,DE, items=1,2,3, age=18..25,
    age=65.., day=2024-03-01; nothing for missing: income=."""
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
        integers, zones = table.written_as()
        parquet = self.output is not None and self.output.suffix == ".parquet"

        import numpy as np

        from gaussmix.density.files import write_batches, write_csv
        from gaussmix.tables.reading import as_frame

        rng = np.random.default_rng(self.seed)

        def drawn() -> Iterator[dict[str, Any]]:
            for start in range(0, self.count, _AT_ONCE):
                rows = table.sample(min(_AT_ONCE, self.count - start), rng, where)
                if parquet:
                    found = as_frame("pyarrow", rows, integers, zones)
                    yield dict(zip(found.column_names, found.columns, strict=True))
                else:
                    yield {name: _as_cells(values, name in integers, name in zones) for name, values in rows.items()}

        if self.output is None:
            write_csv(sys.stdout, drawn())
            return
        self.output.parent.mkdir(parents=True, exist_ok=True)
        write_batches(self.output, drawn(), self.count)
        print(f"{counted(self.count, 'row')}: {self.output}")


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
        print(json.dumps(found.to_dict(), indent=2) if self.json else "\n".join(map(printable, f"{found}".split("\n"))))


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
    if value in (frequencies or ()):
        return name, value
    low, dots, high = value.partition("..") if frequencies is None else (value, "", "")
    return name, (low or None, high or None) if dots else list(split_names(value))


def _as_cells(values: Any, integers: bool, zoned: bool) -> Any:
    """A column as it is written: nothing where it is missing, and integers without a point beside that; UTC as such."""
    import numpy as np

    from gaussmix.density.quantity import as_text

    if values.dtype.kind not in "fmM":
        return values
    gone = np.isnan(values)
    if not (gone.any() or zoned):
        return values
    out = np.array(as_text(np.where(gone, 0.0, values).astype(np.int64) if integers else values), object)
    out = out + "Z" if zoned else out
    out[gone] = None
    return out


def load_table(path: Path) -> TableDensity:
    """The table in a file. Raises ValueError, naming it."""
    from gaussmix.tables.estimator import TableDensity

    return TableDensity.load(path)
