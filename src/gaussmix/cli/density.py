"""``gaussmix density fit | plot | sample | info | compare``: the distribution of one column of a file."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gaussmix.cli._flags import parse_flags

if TYPE_CHECKING:
    from gaussmix.density.estimator import GMMExpansion

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class FitConfig:
    """Learn the distribution of a column in one pass; memory stays flat, whatever the size of the file."""

    file: Annotated[Path, tyro.conf.Positional]
    """A .parquet, .csv (also .csv.gz) or .npy file."""
    column: str | None = None
    """Name or 0-based number of the column; needed where there are several."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("model.safetensors")
    """The model file to write."""
    rule: Literal["auto", "fast", "histogram", "algorithm1", "algorithm2", "kernel", "ml"] = "auto"
    """How the mixture is found: auto is the most accurate, fast a kernel estimate, the others use a fixed basis."""
    components: int = 200
    """Components of a fixed basis."""
    bandwidth: str = "2"
    """Standard deviation of a fixed basis's components in spacings, or cv to choose it by held-out likelihood."""
    range: tuple[float, float] | None = None
    """Where the bins lie: low and high; found from the first rows if not given."""
    bounds: tuple[float, float] | None = None
    """Where the distribution ends by nature, such as 0 and inf for prices; looked for in the data if not given."""
    threads: int = 1
    """Threads that count."""


@dataclass(frozen=True)
class PlotConfig:
    """Draw the density over the histogram, with quantiles."""

    model: Annotated[Path, tyro.conf.Positional]
    """A model file."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("density.png")
    """The picture to write."""
    title: str | None = None
    """Its title; the model's file name if not given."""
    log: bool = False
    """A logarithmic density axis, to see the tails."""


@dataclass(frozen=True)
class SampleConfig:
    """Draw numbers from a model."""

    model: Annotated[Path, tyro.conf.Positional]
    """A model file."""
    count: int = 10
    """How many."""
    seed: int = 0
    """The same seed draws the same numbers."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A .npy, .csv or .parquet file; printed, one a line, if not given."""


@dataclass(frozen=True)
class InfoConfig:
    """Say what a model has learnt and how well it fits."""

    model: Annotated[Path, tyro.conf.Positional]
    """A model file."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class CompareConfig:
    """Print every distance between two distributions and draw both.

    Each is a model, or a column of a file, which is learnt first: `density compare old.parquet new.parquet --column
    price`, or two columns of one file: `density compare sales.csv --columns price cost`.
    """

    a: Annotated[Path, tyro.conf.Positional]
    """A model, or a .parquet, .csv (also .csv.gz) or .npy file."""
    b: Annotated[Path | None, tyro.conf.Positional] = None
    """Another; the same file if not given."""
    column: str | None = None
    """Name or 0-based number of the column in a file that has several."""
    columns: tuple[str, str] | None = None
    """The column of the first and that of the second, where they differ."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("compare.png")
    """The picture to write."""
    title: str | None = None
    """Its title; the two names if not given."""
    log: bool = False
    """A logarithmic density axis, to see the tails."""
    json: bool = False
    """Print JSON."""


def fit(args: list[str]) -> int:
    """Learn the distribution of a column of a file."""
    config: FitConfig = parse_flags(FitConfig, args, "density fit")
    bandwidth = _bandwidth(config.bandwidth)
    _check_suffix(config.out, (".safetensors",), "model")

    from gaussmix.density.estimator import GMMExpansion

    model = GMMExpansion(
        config.rule,
        n_components=config.components,
        bandwidth=bandwidth,
        range=config.range,
        bounds="auto" if config.bounds is None else config.bounds,
        nan_policy="omit",
        n_jobs=config.threads,
    )
    started = time.perf_counter()
    _learn(model, config.file, config.column)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    model.save(config.out)
    print(_summary(model, config.file.name if config.column is None else f"{config.file.name}, {config.column}"))
    print(f"model: {config.out} ({time.perf_counter() - started:.1f} s)")
    return 0


def plot(args: list[str]) -> int:
    """Draw a model's density, histogram and quantiles."""
    config: PlotConfig = parse_flags(PlotConfig, args, "density plot")
    _check_suffix(config.out, (".png", ".svg", ".pdf"), "picture")
    model = _load(config.model)

    from gaussmix.plots import plot_density, save_figure

    figure = plot_density(
        model.distribution_, model.counts_[0], title=config.title or config.model.stem, log=config.log
    )
    save_figure(figure, config.out)
    print(f"picture: {config.out}")
    return 0


def sample(args: list[str]) -> int:
    """Draw numbers from a model."""
    config: SampleConfig = parse_flags(SampleConfig, args, "density sample")
    if config.count < 1:
        raise ValueError(f"--count is {config.count}; it must be at least 1")
    if config.seed < 0:
        raise ValueError(f"--seed is {config.seed}; it must be 0 or more")
    if config.out is not None:
        _check_suffix(config.out, (".npy", ".csv", ".parquet"), "sample")
    model = _load(config.model)
    numbers = model.distribution_.rvs(config.count, random_state=config.seed)

    from gaussmix.density.files import write_column

    if config.out is None:
        sys.stdout.writelines(f"{x!r}\n" for x in numbers.tolist())
    else:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        write_column(config.out, numbers)
        print(f"{config.count} numbers: {config.out}")
    return 0


def info(args: list[str]) -> int:
    """Say what a model has learnt and how well it fits."""
    config: InfoConfig = parse_flags(InfoConfig, args, "density info")
    model = _load(config.model)
    if config.json:
        distribution = model.distribution_
        facts = model.report_.to_dict() | {
            "mean": float(distribution.mean()),
            "std": float(distribution.std()),
            "quantiles": {str(q): float(distribution.ppf(q)) for q in _QUANTILES},
        }
        print(json.dumps(facts, indent=2))
    else:
        print(_summary(model, config.model.name))
    return 0


def compare(args: list[str]) -> int:
    """Print all distances between two models or columns."""
    config: CompareConfig = parse_flags(CompareConfig, args, "density compare")
    _check_suffix(config.out, (".png", ".svg", ".pdf"), "picture")
    if config.columns is not None and config.column is not None:
        raise ValueError("give --column for both, or --columns for each, but not both flags")
    if config.b is None and config.columns is None:
        raise ValueError("give a second model or file, or --columns with two columns of the one")
    files = (config.a, config.b or config.a)
    columns = config.columns or (config.column, config.column)
    are_models = [file.suffix == ".safetensors" for file in files]
    if any(are_models) if config.columns else config.column is not None and all(are_models):
        raise ValueError(f"{files[are_models.index(True)].name} is a model, which has no columns to choose from")
    models = (_model(files[0], columns[0]), _model(files[1], columns[1]))
    laws = (models[0].distribution_, models[1].distribution_)
    names = _names(files, columns)

    from gaussmix.distances import compare as compare_laws
    from gaussmix.plots import plot_comparison, save_figure

    found = compare_laws(*laws)
    figure = plot_comparison(*laws, names=names, title=config.title or f"{names[0]} and {names[1]}", log=config.log)
    save_figure(figure, config.out)
    if config.json:
        about = {
            letter: {
                "name": name,
                "n": model.report_.n,
                "n_missing": model.report_.n_missing,
                "mean": float(law.mean()),
                "std": float(law.std()),
            }
            for letter, name, model, law in zip("ab", names, models, laws, strict=True)
        }
        numbers = {name: value if math.isfinite(value) else str(value) for name, value in found.to_dict().items()}
        print(json.dumps({**about, **numbers, "picture": str(config.out)}, indent=2))  # JSON has no infinity
        return 0
    for letter, name, model, law in zip("AB", names, models, laws, strict=True):
        about = [f"{model.report_.n:,} numbers".replace(",", " ")]
        if model.report_.n_missing:
            about.append(f"{model.report_.n_missing:,} missing".replace(",", " "))
        about += [f"mean {law.mean():.6g}", f"standard deviation {law.std():.6g}"]
        print(f"{letter}: {', '.join([name, *about])}")
    print(f"\n{found}\n\nof the densities that were learnt; picture: {config.out}")
    return 0


def _model(file: Path, column: str | None) -> GMMExpansion:
    """The model in a file, or what is learnt of a column."""
    if file.suffix == ".safetensors":
        return _load(file)
    from gaussmix.density.estimator import GMMExpansion

    model = GMMExpansion(nan_policy="omit")
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


def _learn(model: GMMExpansion, file: Path, column: str | None) -> None:
    """Read the column and learn it, chunk by chunk."""
    from gaussmix._progress import progress_bar
    from gaussmix.density.files import open_column

    source = open_column(file, column)
    with source, progress_bar(f"reading {file.name}", source.total, show=sys.stderr.isatty()) as show:
        for chunk in source:
            model.partial_fit(chunk)
            show(source.done)


def _summary(model: GMMExpansion, name: str) -> str:
    distribution = model.distribution_
    quantiles = "   ".join(f"{q:.0%} {distribution.ppf(q):.6g}" for q in _QUANTILES)
    return "\n".join(
        [
            f"{name}: {model.report_}",
            f"mean {distribution.mean():.6g}, standard deviation {distribution.std():.6g}",
            f"quantiles: {quantiles}",
        ]
    )


def _load(path: Path) -> GMMExpansion:
    from gaussmix.density.estimator import GMMExpansion

    model = GMMExpansion.load(path)
    if len(model.distributions_) != 1:
        raise ValueError(f"{path} holds {len(model.distributions_)} columns; these commands take models of one")
    return model


def _bandwidth(text: str) -> float | Literal["cv"]:
    if text == "cv":
        return "cv"
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--bandwidth is {text!r}; use a number of spacings, such as 2, or cv") from None


def _check_suffix(path: Path, allowed: tuple[str, ...], what: str) -> None:
    """Before the work, not after it."""
    if path.suffix.lower() not in allowed:
        raise ValueError(f"cannot write the {what} as {path.name!r}: use {', '.join(allowed)}")
