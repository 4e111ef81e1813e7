"""``gaussmix density fit | info | plot | sample | compare``: the distribution of one column of a file."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix.cli._flags import Output, check_at_least, check_suffix

if TYPE_CHECKING:
    from gaussmix.density.model import DensityModel

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_PICTURES = (".png", ".svg", ".pdf")


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name."""
    return {"fit": FitColumn, "info": ShowModel, "plot": PlotModel, "sample": SampleModel, "compare": CompareColumns}


@dataclass(frozen=True)
class FitColumn:
    """Learn the distribution of a column of a file in one pass; memory stays flat, whatever the size of the file."""

    file: Positional[Path]
    """A .parquet, .csv (also .csv.gz) or .npy file."""
    column: str | None = None
    """Name or 0-based number of the column; needed where there are several."""
    output: Output = Path("model.safetensors")
    """The model file to write."""
    rule: Literal["auto", "fast", "histogram", "algorithm1", "algorithm2", "kernel", "ml"] = "auto"
    """How the mixture is found: auto is the most accurate, fast a kernel estimate, the others use a fixed basis."""
    components: int = 200
    """Components of a fixed basis."""
    bandwidth: float | Literal["cv"] = 2.0
    """Standard deviation of a fixed basis's components in spacings, or cv to choose it by held-out likelihood."""
    range: tuple[float, float] | None = None
    """Where the bins lie: low and high; found from the first rows if not given."""
    bounds: tuple[float, float] | None = None
    """Where the distribution ends by nature, such as 0 and inf for prices; looked for in the data if not given."""
    discrete: Literal["auto", "yes", "no"] = "auto"
    """Probabilities of values in place of a density: auto for columns of integers (of text nothing is known to be
    integers), yes also for decimals that lie on a lattice."""
    threads: int = 1
    """Threads that count."""

    def __call__(self) -> None:
        check_suffix(self.output, "model", ".safetensors")
        check_at_least(1, components=self.components)
        if self.bandwidth != "cv" and not self.bandwidth > 0:
            raise ValueError(f"--bandwidth is {self.bandwidth:g}; it must be positive, or cv")

        from gaussmix.density.model import DensityModel

        basis = {"n_components": self.components, "bandwidth": self.bandwidth}
        discrete: dict[str, bool | Literal["auto"]] = {"auto": "auto", "yes": True, "no": False}
        limits = {"range": self.range, "bounds": self.bounds or "auto", "discrete": discrete[self.discrete]}
        model = DensityModel(self.rule, **basis, **limits, nan_policy="omit", n_jobs=self.threads)
        started = time.perf_counter()
        _learn(model, self.file, self.column)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        model.save(self.output)
        print(_summary(model, self.file.name if self.column is None else f"{self.file.name}, {self.column}"))
        print(f"model: {self.output} ({time.perf_counter() - started:.1f} s)")


@dataclass(frozen=True)
class ShowModel:
    """Say what a model has learnt and how well it fits."""

    model: Positional[Path]
    """A model file."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        model = _load(self.model)
        if self.json:
            quantiles = {str(q): float(model.distribution_.ppf(q)) for q in _QUANTILES}
            print(json.dumps({**model.report_.to_dict(), **_moments(model), "quantiles": quantiles}, indent=2))
        else:
            print(_summary(model, self.model.name))


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
        model = _load(self.model)

        from gaussmix.plots import plot_density, save_figure

        title = self.title or self.model.stem
        save_figure(plot_density(model.distribution_, model.counts_[0], title=title, log=self.log), self.output)
        print(f"picture: {self.output}")


@dataclass(frozen=True)
class SampleModel:
    """Draw numbers from a model."""

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
        law = _load(self.model).distribution_
        numbers = law.rvs(self.count, random_state=self.seed)
        if getattr(law, "whole", False):
            numbers = numbers.astype(int)

        from gaussmix.density.files import write_column

        if self.output is None:
            sys.stdout.writelines(f"{x!r}\n" for x in numbers.tolist())
        else:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            write_column(self.output, numbers)
            print(f"{self.count} numbers: {self.output}")


@dataclass(frozen=True)
class CompareColumns:
    """Print every distance between two distributions and draw both.

    Each is a model, or a column of a file, which is learnt first: `density compare old.parquet new.parquet --column
    price`, or two columns of one file: `density compare sales.csv --columns price cost`.
    """

    a: Positional[Path]
    """A model, or a .parquet, .csv (also .csv.gz) or .npy file."""
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
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        check_suffix(self.output, "picture", *_PICTURES)
        files, columns = self._sources()
        models = [_model(file, column) for file, column in zip(files, columns, strict=True)]
        a, b = (model.distribution_ for model in models)
        names = _names(files, columns)

        from gaussmix.distances import compare
        from gaussmix.plots import plot_comparison, save_figure

        found = compare(a, b)
        title = self.title or " and ".join(names)
        save_figure(plot_comparison(a, b, names=names, title=title, log=self.log), self.output)
        about: list[dict[str, Any]] = [
            {"name": name, "n": model.report_.n, "n_missing": model.report_.n_missing, **_moments(model)}
            for name, model in zip(names, models, strict=True)
        ]
        if self.json:  # which has no infinity
            numbers = {name: value if math.isfinite(value) else str(value) for name, value in found.to_dict().items()}
            facts = {"a": about[0], "b": about[1], **numbers, "picture": str(self.output)}
            print(json.dumps(facts, indent=2))
            return
        for letter, facts in zip("AB", about, strict=True):
            counts = f"{facts['n']:_} numbers" + (f", {facts['n_missing']:_} missing" if facts["n_missing"] else "")
            print(f"{letter}: {facts['name']}, {counts.replace('_', ' ')}", end=", ")
            print(f"mean {facts['mean']:.6g}, standard deviation {facts['std']:.6g}")
        print(f"\n{found}\n\nof the densities that were learnt; picture: {self.output}")

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
        return _load(file)
    from gaussmix.density.model import DensityModel

    model = DensityModel(nan_policy="omit")
    _learn(model, file, column)
    return model


def _names(files: tuple[Path, Path], columns: tuple[str | None, str | None]) -> tuple[str, str]:
    """Of files and columns, as short as tells them apart."""
    named = [(file.stem if file.suffix == ".safetensors" else file.name) for file in files]
    if named[0] == named[1] and files[0] != files[1]:
        named = [str(file) for file in files]
    if columns[0] != columns[1]:
        named = [f"{name}, {column}" for name, column in zip(named, columns, strict=True)]
    return named[0], named[1]


def _learn(model: DensityModel, file: Path, column: str | None) -> None:
    """Read the column and learn it, chunk by chunk."""
    from gaussmix._progress import progress_bar
    from gaussmix.density.files import open_column

    source = open_column(file, column)
    with source, progress_bar(f"reading {file.name}", source.total, show=sys.stderr.isatty()) as show:
        for chunk in source:
            model.partial_fit(chunk)
            show(source.done)


def _moments(model: DensityModel) -> dict[str, float]:
    return {"mean": float(model.distribution_.mean()), "std": float(model.distribution_.std())}


def _summary(model: DensityModel, name: str) -> str:
    quantiles = "   ".join(f"{q:.0%} {model.distribution_.ppf(q):.6g}" for q in _QUANTILES)
    moments = "mean {mean:.6g}, standard deviation {std:.6g}".format(**_moments(model))
    return f"{name}: {model.report_}\n{moments}\nquantiles: {quantiles}"


def _load(path: Path) -> DensityModel:
    from gaussmix.density.model import DensityModel

    model = DensityModel.load(path)
    if len(model.distributions_) != 1:
        raise ValueError(f"{path} holds {len(model.distributions_)} columns; these commands take models of one")
    return model
