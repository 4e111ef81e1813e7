"""``gaussmix density fit | info | quantiles | cdf | plot | sample | compare``: the distribution of one column."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix.cli._flags import CommandError, Limits, Names, Output, check_at_least, check_limits, check_suffix
from gaussmix.cli._tables import (
    QUANTILES,
    as_json,
    facts_of,
    first_quantity,
    learn,
    load_model,
    moments,
    name_files,
    open_source,
    parse_ends,
    say_moments,
    spread_of,
    summary,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gaussmix.density.mixture import GaussianMixture1D
    from gaussmix.density.model import DensityModel
    from gaussmix.density.quantity import Quantity

_Ends = Annotated[tuple[str, str] | None, tyro.conf.arg(metavar="LOW HIGH")]

_PICTURES = (".png", ".svg", ".pdf")
_AT_ONCE = 1 << 20  # numbers that are drawn and written at a time


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name."""
    return {
        "fit": FitColumn,
        "info": ShowModel,
        "quantiles": ShowQuantiles,
        "cdf": ShowShares,
        "plot": PlotModel,
        "sample": SampleModel,
        "compare": CompareColumns,
    }


@dataclass(frozen=True)
class FitColumn:
    """Learn the distribution of a column of files in one pass; memory stays flat, whatever their size."""

    file: Positional[Path]
    """A .parquet, .csv, .tsv, .txt (also .gz, .zst), .jsonl, .feather or .npy file, a folder of them, a pattern in
    quotes, or - for text on the standard input."""
    more: Positional[tuple[Path, ...]] = ()
    """More files of the same table."""
    column: str | None = None
    """Name or 0-based number of the column; needed where there are several."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null, such as -999; several with commas between."""
    output: Output = Path("model.safetensors")
    """The model file to write."""
    rule: Literal["auto", "fast", "histogram", "algorithm1", "algorithm2", "kernel", "ml"] = "auto"
    """How the mixture is found: auto is the most accurate, fast a kernel estimate, the others use a fixed basis."""
    components: int = 200
    """Components of a fixed basis."""
    bandwidth: float | Literal["cv"] = 2.0
    """Standard deviation of a fixed basis's components in spacings, or cv to choose it by held-out likelihood."""
    range: _Ends = None
    """Where the bins lie: low and high, dates of a column of dates; found from the first rows if not given."""
    bounds: _Ends = None
    """Where the distribution ends by nature, such as 0 and inf for prices; looked for in the data if not given."""
    discrete: Literal["auto", "yes", "no"] = "auto"
    """Probabilities of values in place of a density: auto for columns of integers, yes also for decimals that lie on a
    lattice."""
    threads: int = 1
    """Threads that count."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        check_suffix(self.output, "model", ".safetensors")
        check_at_least(1, components=self.components)
        if self.bandwidth != "cv" and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"--bandwidth is {self.bandwidth:g}; it must be positive and finite, or cv")
        if self.threads == 0 or self.threads < -1:
            raise ValueError(f"--threads is {self.threads}; it must be at least 1, or -1 for all processors")

        from gaussmix.density.model import DensityModel

        started, files = time.perf_counter(), (self.file, *self.more)
        label = name_files(files)
        label = label if self.column is None else f"{label}, {self.column}"
        discrete: dict[str, bool | Literal["auto"]] = {"auto": "auto", "yes": True, "no": False}
        with open_source(files, self.column, self.missing) as source:
            quantity, chunks = first_quantity(source)
            span, bounds = (parse_ends(name, getattr(self, name), quantity) for name in ("range", "bounds"))
            basis: dict[str, Any] = {"n_components": self.components, "bandwidth": self.bandwidth}
            limits: dict[str, Any] = {"range": span, "bounds": bounds or "auto", "discrete": discrete[self.discrete]}
            model = DensityModel(self.rule, **basis, **limits, nan_policy="omit", n_jobs=self.threads)
            learn(model, source, quantity, chunks, label)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        model.save(self.output)
        if self.json:
            print(json.dumps({"model": str(self.output), "notes": source.notes, **facts_of(model)}, indent=2))
            return
        print(summary(model, label))
        for note in source.notes:
            print(note)
        print(f"model: {self.output} ({time.perf_counter() - started:.1f} s)")


@dataclass(frozen=True)
class ShowModel:
    """Say what a model has learnt and how well it fits."""

    model: Positional[Path]
    """A model file."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        model = load_model(self.model)
        print(json.dumps(facts_of(model), indent=2) if self.json else summary(model, self.model.name))


@dataclass(frozen=True)
class ShowQuantiles:
    """Print quantiles of a model: the values below which given shares lie."""

    model: Positional[Path]
    """A model file."""
    shares: Positional[tuple[float, ...]] = QUANTILES
    """Shares from 0 to 1, such as 0.05 0.5 0.95."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        if wrong := [share for share in self.shares if not 0 <= share <= 1]:
            raise ValueError(f"{wrong[0]:g} is no share; give numbers from 0 to 1")
        model = load_model(self.model)
        quantity, spread = model.quantities_[0], spread_of(model)
        values = [float(model.distribution_.ppf(share)) for share in self.shares]
        if self.json:
            found = {str(q): as_json(quantity, value) for q, value in zip(self.shares, values, strict=True)}
            print(json.dumps(found, indent=2))
            return
        for share, value in zip(self.shares, values, strict=True):
            print(f"{share:g} {quantity.format(value, spread)}")


@dataclass(frozen=True)
class ShowShares:
    """Print the shares of a model's distribution that lie at or below given values."""

    model: Positional[Path]
    """A model file."""
    values: Positional[tuple[str, ...]]
    """Numbers, or dates such as 2024-03-01 and durations such as 3h where the model was learnt from them."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        if not self.values:
            raise ValueError("give at least one value")
        model = load_model(self.model)
        shares = [float(model.distribution_.cdf(model.quantities_[0].parse(value))) for value in self.values]
        if self.json:
            print(json.dumps(dict(zip(self.values, shares, strict=True)), indent=2))
            return
        for value, share in zip(self.values, shares, strict=True):
            print(f"{value} {share:.6g}")


@dataclass(frozen=True)
class PlotModel:
    """Draw a model's density over the histogram, with quantiles."""

    model: Positional[Path]
    """A model file."""
    output: Output = Path("density.png")
    """The picture to write."""
    title: str | None = None
    """Its title; the model's file name if not given."""
    log: bool = False
    """A logarithmic density axis, to see the tails."""

    def __call__(self) -> None:
        check_suffix(self.output, "picture", *_PICTURES)
        model = load_model(self.model)

        from gaussmix.plots import label_axis, plot_density, save_figure

        title = self.title or self.model.stem
        figure = plot_density(model.distribution_, model.counts_[0], title=title, log=self.log)
        label_axis(figure, model.distribution_, model.quantities_[0])
        save_figure(figure, self.output)
        print(f"picture: {self.output}")


@dataclass(frozen=True)
class SampleModel:
    """Draw numbers, or dates, from a model."""

    model: Positional[Path]
    """A model file."""
    count: int = 10
    """How many."""
    seed: int = 0
    """The same seed draws the same numbers."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A .npy, .csv or .parquet file; printed, one a line, if not given."""

    def __call__(self) -> None:
        check_at_least(1, count=self.count)
        check_at_least(0, seed=self.seed)
        if self.output is not None:
            check_suffix(self.output, "sample", ".npy", ".csv", ".parquet")
        model = load_model(self.model)
        law, quantity = model.distribution_, model.quantities_[0]

        from gaussmix.density.files import write_batches
        from gaussmix.density.quantity import as_text

        batches = self._drawn(law, quantity)
        if self.output is None:
            for values in batches:
                sys.stdout.writelines(f"{line}\n" for line in as_text(values))
        else:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            write_batches(self.output, ({"x": values} for values in batches), self.count)
            print(f"{self.count} {quantity}: {self.output}")

    def _drawn(self, law: GaussianMixture1D, quantity: Quantity) -> Iterator[NDArray[Any]]:
        """The numbers, or dates, so many at a time that memory stays flat."""
        import numpy as np

        rng = np.random.default_rng(self.seed)
        for start in range(0, self.count, _AT_ONCE):
            values = quantity.to_data(law.rvs(min(_AT_ONCE, self.count - start), random_state=rng))
            yield values.astype(int) if getattr(law, "whole", False) and values.dtype.kind == "f" else values


@dataclass(frozen=True)
class CompareColumns:
    """Print every distance between two distributions and draw both.

    Each is a model, or a column of a file, which is learnt first: `density compare old.parquet new.parquet --column
    price`, or two columns of one file: `density compare sales.csv --columns price cost`.
    """

    a: Positional[Path]
    """A model, or a file as `density fit` reads it."""
    b: Positional[Path | None] = None
    """Another; the same file if not given."""
    column: str | None = None
    """Name or 0-based number of the column in a file that has several."""
    columns: tuple[str, str] | None = None
    """The column of the first and that of the second, where they differ."""
    output: Output = Path("compare.png")
    """The picture to write."""
    title: str | None = None
    """Its title; the two names if not given."""
    log: bool = False
    """A logarithmic density axis, to see the tails."""
    fail_above: Limits = field(default_factory=dict)
    """End with exit status 3 where a distance is above its limit, such as total_variation=0.1,wasserstein_1=5 (the
    names of --json): a check for drift."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        check_suffix(self.output, "picture", *_PICTURES)
        files, columns = self._sources()
        self._check_limits()
        models = [_model(file, column) for file, column in zip(files, columns, strict=True)]
        a, b = (model.distribution_ for model in models)
        names = _names(files, columns)
        (first, second), (quantity, other) = names, (model.quantities_[0] for model in models)
        if not quantity.fits(other) or quantity.unit != other.unit:
            raise ValueError(f"{first} holds {quantity} and {second} {other}: compare like with like")

        from gaussmix.distances import compare
        from gaussmix.plots import label_axis, plot_comparison, save_figure

        found = compare(a, b)
        title = self.title or " and ".join(names)
        figure = plot_comparison(a, b, names=names, title=title, log=self.log)
        label_axis(figure, a, quantity)
        save_figure(figure, self.output)
        self._print(found.to_dict(), str(found), names, models)
        if above := check_limits(self.fail_above, found.to_dict()):
            raise CommandError(f"gaussmix: {'; '.join(above)} (--fail-above)", 3)

    def _print(self, found: dict[str, float], table: str, names: tuple[str, str], models: list[DensityModel]) -> None:
        about: list[dict[str, Any]] = [
            {"name": name, "n": model.report_.n, "n_missing": model.report_.n_missing, **moments(model)}
            for name, model in zip(names, models, strict=True)
        ]
        if self.json:  # which has no infinity
            numbers = {name: value if math.isfinite(value) else str(value) for name, value in found.items()}
            facts = {"a": about[0], "b": about[1], **numbers, "picture": str(self.output)}
            print(json.dumps(facts, indent=2))
            return
        quantity = models[0].quantities_[0]
        for letter, facts, model in zip("AB", about, models, strict=True):
            counts = f"{facts['n']:_} {quantity}" + (f", {facts['n_missing']:_} missing" if facts["n_missing"] else "")
            print(f"{letter}: {facts['name']}, {counts.replace('_', ' ')}, {say_moments(model)}")
        unit = {"D": "in days, ", "s": "in seconds, "}.get(quantity.unit, "")
        print(f"\n{table}\n\n{unit}of the densities that were learnt; picture: {self.output}")

    def _check_limits(self) -> None:
        """Raises ValueError for limits of what is not measured: before the work, not after it."""
        if not self.fail_above:
            return
        from gaussmix.distances.comparison import Comparison

        known = [each.name for each in fields(Comparison) if each.name not in ("wasserstein_1_error", "mmd_sigma")]
        if unknown := [name for name in self.fail_above if name not in known]:
            raise ValueError(f"--fail-above: no distance {unknown[0]!r}; there are {', '.join(known)}")

    def _sources(self) -> tuple[tuple[Path, Path], tuple[str | None, str | None]]:
        """Two files and two columns. Raises ValueError for flags that do not fit each other."""
        if self.columns is not None and self.column is not None:
            raise ValueError("give --column for both, or --columns for each, but not both flags")
        if self.b is None and self.columns is None:
            raise ValueError("give a second model or file, or --columns with two columns of the one")
        files = (self.a, self.b or self.a)
        are_models = [file.suffix == ".safetensors" for file in files]
        if any(are_models) if self.columns else self.column is not None and all(are_models):
            raise ValueError(f"{files[are_models.index(True)].name} is a model, which has no columns to choose from")
        return files, self.columns or (self.column, self.column)


def _model(file: Path, column: str | None) -> DensityModel:
    """The model in a file, or what is learnt of a column."""
    if file.suffix == ".safetensors":
        return load_model(file)
    from gaussmix.density.model import DensityModel

    model = DensityModel(nan_policy="omit")
    with open_source([file], column) as source:
        learn(model, source, *first_quantity(source), str(file) if column is None else f"{file}, {column}")
    return model


def _names(files: tuple[Path, Path], columns: tuple[str | None, str | None]) -> tuple[str, str]:
    """Of files and columns, as short as tells them apart."""
    named = [(file.stem if file.suffix == ".safetensors" else file.name) for file in files]
    if named[0] == named[1] and files[0] != files[1]:
        named = [str(file) for file in files]
    if columns[0] != columns[1]:
        named = [f"{name}, {column}" for name, column in zip(named, columns, strict=True)]
    return named[0], named[1]
