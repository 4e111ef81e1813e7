"""``gaussmix conditional fit | predict | evaluate | plot``: the distribution of one column given the others."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from gaussmix.cli._flags import CommandError, Names, Output, check_at_least, check_suffix
from gaussmix.cli._tables import WholeTable, check_table_suffix, naming, read_rows, write_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gaussmix.conditional.distribution import ConditionalMixture
    from gaussmix.conditional.estimator import ConditionalGMMExpansion

_Target = Annotated[str, tyro.conf.arg(metavar="COLUMN")]
_Columns = Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN ...")]

_Ends = Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LOW HIGH")]

_PICTURES = (".png", ".svg", ".pdf")
_AT_ONCE = 1 << 13  # rows that are predicted and written at a time
_FAN = 240  # places along a feature


def commands(words: list[str]) -> dict[str, Any]:
    """Commands by name."""
    return {"fit": FitConditional, "predict": PredictRows, "evaluate": EvaluateConditional, "plot": PlotConditional}


@dataclass(frozen=True)
class FitConditional:
    """Learn the distribution of one column of a table given the others, and say how right it is out of fold.

    Columns may be numbers, dates, booleans and categories, and values may be missing; rows without a target are left
    out. The table is read whole.
    """

    file: Positional[Path]
    """A .parquet, .csv, .tsv, .txt (also .gz, .zst), .jsonl, .feather or .npy file, a folder of them, a pattern in
    quotes, or - for text on the standard input."""
    more: Positional[tuple[Path, ...]] = ()
    """More files of the same table."""
    target: _Target = field(kw_only=True)
    """Name or 0-based number of the column to predict."""
    ignore: _Columns = ()
    """Columns that are no features, such as a number of the row."""
    categories: _Columns = ()
    """Columns of numbers that are categories, such as codes; columns of text are anyway."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null, such as -999; several with commas between."""
    output: Output = Path("model.gmx")
    """The model file to write."""
    rule: Literal["auto", "fast", "network"] = "auto"
    """auto suits most tables, fast takes a third of its time, network twice it and is better on smooth problems."""
    discrete: Literal["auto", "yes", "no"] = "auto"
    """Probabilities of values in place of a density: auto where the target repeats on a lattice of few values."""
    bounds: _Ends = None
    """Where the target ends by nature, such as 0 inf for prices: nothing is said to lie outside."""
    seed: int = 0
    """The same seed learns the same model."""
    threads: int = 1
    """Threads; -1 for all processors. The model does not depend on it."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        check_suffix(self.output, "model", ".gmx", ".safetensors")
        check_at_least(0, seed=self.seed)
        if self.threads == 0 or self.threads < -1:
            raise ValueError(f"--threads is {self.threads}; it must be at least 1, or -1 for all processors")
        started, files = time.perf_counter(), (self.file, *self.more)
        rows = read_rows(files, self.target, ignore=self.ignore, missing=self.missing)
        columns, y, missing = rows.labelled()

        from gaussmix.conditional.estimator import ConditionalGMMExpansion

        discrete: Any = {"auto": "auto", "yes": True, "no": False}[self.discrete]
        with naming(f"{rows.label}, {rows.target_name}"):
            model = ConditionalGMMExpansion(
                self.rule,
                categorical_features=list(self.categories) or None,
                discrete=discrete,
                bounds=self.bounds,
                random_state=self.seed,
                n_jobs=self.threads,
                verbose=sys.stderr.isatty(),
            ).fit(columns, y)
        model.target_name_ = rows.target_name
        self.output.parent.mkdir(parents=True, exist_ok=True)
        model.save(self.output)
        facts = {"target": rows.target_name, "columns": list(columns), "n_without_target": missing}
        if self.json:
            facts |= {"model": str(self.output), "notes": rows.notes, **model.report_.to_dict()}
            print(json.dumps(facts, indent=2))
            return
        print(f"{rows.target_name} given {_counted(columns)}: {model.report_}")
        for note in [*rows.notes, *_left_out(missing, rows.target_name)]:
            print(note)
        print(f"model: {self.output} ({time.perf_counter() - started:.1f} s)")


@dataclass(frozen=True)
class PredictRows:
    """Write the distribution of the target in each row of a table: its mean, quantiles, an interval, draws.

    Columns are found by name; the target need not be among them.
    """

    model: Positional[Path]
    """A model file."""
    file: Positional[Path]
    """A table, as for `fit`."""
    more: Positional[tuple[Path, ...]] = ()
    """More files of the same table."""
    output: Output = Path("-")
    """The .csv or .parquet file to write, a row for each row; - prints CSV."""
    quantiles: Annotated[tuple[float, ...], tyro.conf.arg(metavar="SHARE ...")] = (0.05, 0.5, 0.95)
    """Quantiles to write."""
    interval: float | None = None
    """Also write the ends of the central interval of this level, such as 0.9."""
    conformal: bool = False
    """Make the interval as wide as has covered its level of the rows out of fold."""
    sample: int = 0
    """Also write so many draws a row."""
    seed: int = 0
    """The same seed draws the same numbers."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null; several with commas between."""

    def __call__(self) -> None:
        check_table_suffix(self.output)
        check_at_least(0, sample=self.sample, seed=self.seed)
        if wrong := [share for share in self.quantiles if not 0 <= share <= 1]:
            raise ValueError(f"--quantiles has {wrong[0]:g}, which is no share; give numbers from 0 to 1")
        if self.interval is not None and not 0 < self.interval < 1:
            raise ValueError(f"--interval is {self.interval:g}; it must lie between 0 and 1")
        if self.conformal and self.interval is None:
            raise ValueError("--conformal is about an interval: give --interval 0.9, say")
        model = _load(self.model)
        rows = read_rows((self.file, *self.more), columns=_names(model), missing=self.missing)
        write_rows(self.output, self._predicted(model, rows))
        if str(self.output) != "-":
            n = len(next(iter(rows.columns.values())))
            print(f"{_spaced(n)} rows: {self.output}")

    def _predicted(self, model: ConditionalGMMExpansion, rows: WholeTable) -> Iterator[dict[str, NDArray[Any]]]:
        """What is written, some rows at a time."""
        import numpy as np

        rng = np.random.default_rng(self.seed)
        for columns, law in _distributions(model, rows.columns, rows.label):
            whole = law.lattice is not None and law.lattice.origin % 1 == law.lattice.step % 1 == 0
            kind: Any = np.int64 if whole else np.float64
            found = {"mean": law.mean()}
            if self.quantiles:
                values = law.ppf(self.quantiles)
                found |= {f"q{q:g}": values[:, j].astype(kind) for j, q in enumerate(self.quantiles)}
            if self.interval is not None:
                ends = model.predict_interval(columns, self.interval, conformal=self.conformal)
                found |= {"low": ends[:, 0].astype(kind), "high": ends[:, 1].astype(kind)}
            if self.sample:
                draws = law.rvs(self.sample, random_state=rng)
                found |= {f"sample{j + 1}": draws[:, j].astype(kind) for j in range(self.sample)}
            yield found


@dataclass(frozen=True)
class EvaluateConditional:
    """Score a model on rows whose target is known: likelihood, CRPS, coverage, calibration.

    A limit that is exceeded makes the exit status 3.
    """

    model: Positional[Path]
    """A model file."""
    file: Positional[Path]
    """A table, as for `fit`, with the target."""
    more: Positional[tuple[Path, ...]] = ()
    """More files of the same table."""
    target: _Target = ""
    """Name or 0-based number of the column that was predicted; that of `fit` if not given."""
    max_nll: float | None = None
    """The most that the negative log-likelihood a row may be, in nats."""
    max_crps: float | None = None
    """The most that the CRPS may be, in units of the target."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null; several with commas between."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> None:
        model = _load(self.model)
        rows = read_rows(
            (self.file, *self.more), _target(model, self.target), columns=_names(model), missing=self.missing
        )
        columns, y, missing = rows.labelled()
        facts = {"model": str(self.model), "n_without_target": missing, **_scores(model, columns, y, rows.label)}
        if self.json:
            print(json.dumps({name: _plain(value) for name, value in facts.items()}, indent=2))
        else:
            _say_scores(facts, rows.label, rows.target_name, discrete=model.report_.discrete)
        for name, most in (("nll", self.max_nll), ("crps", self.max_crps)):
            if most is not None and not facts[name] <= most:
                raise CommandError(
                    f"gaussmix: {rows.label}: {name} is {facts[name]:.6g}, above --max-{name} {most:g}", 3
                )


@dataclass(frozen=True)
class PlotConditional:
    """Draw how well a model is calibrated, on rows that it did not learn from; with one feature also a fan.

    Without a table the rows are the model's own out of fold. A fan shows the densest 50, 80 and 95 % of the target
    along the feature.
    """

    model: Positional[Path]
    """A model file."""
    files: Positional[tuple[Path, ...]] = ()
    """A table, as for `fit`, with the target."""
    target: _Target = ""
    """Name or 0-based number of the column that was predicted; that of `fit` if not given."""
    output: Output = Path("calibration.png")
    """The picture to write."""
    title: str | None = None
    """Its title; the names of the files if not given."""
    missing: Names = ()
    """What stands for a missing value beside nothing, NA, NaN and null; several with commas between."""

    def __call__(self) -> None:
        check_suffix(self.output, "picture", *_PICTURES)
        model = _load(self.model)
        rows = None
        if self.files:
            rows = read_rows(self.files, _target(model, self.target), columns=_names(model), missing=self.missing)
        pit, fan, about, ylabel = model.pit_, None, "rows out of fold", ""
        if rows is not None:
            columns, y, _ = rows.labelled()
            pit, about = _transforms(model, columns, y, rows.label), rows.label
            fan, ylabel = _along(columns, y), rows.target_name

        from matplotlib.figure import Figure

        from gaussmix.conditional.calibration import calibration_plot
        from gaussmix.plots import draw_fan, save_figure

        panels = 2 if fan is None else 3
        figure = Figure(figsize=(4.5 * panels, 4.2), layout="constrained")
        axes = figure.subplots(1, panels)
        calibration_plot(pit, ax=axes[:2])
        if fan is not None:
            places, x, y = fan
            law = model.predict_distribution(dict.fromkeys(_names(model), places))
            draw_fan(axes[2], law, places, (x, y))
            axes[2].set(xlabel=_names(model)[0], ylabel=ylabel)
        figure.suptitle(self.title or f"{self.model.name}, {about}")
        save_figure(figure, self.output)
        print(f"picture: {self.output}")


def _load(path: Path) -> ConditionalGMMExpansion:
    from gaussmix.conditional.estimator import ConditionalGMMExpansion

    return ConditionalGMMExpansion.load(path)


def _target(model: ConditionalGMMExpansion, given: str) -> str:
    """The column that was predicted: the one that is given, or that of the fit."""
    name = given or model.target_name_
    if not name:
        raise ValueError("the model does not know its target's name; say which column it is: --target COLUMN")
    return name


def _names(model: ConditionalGMMExpansion) -> list[str]:
    """Of the columns that it needs; numbers of one that learnt from an array."""
    return [str(name) for name in getattr(model, "feature_names_in_", range(model.n_features_in_))]


def _distributions(
    model: ConditionalGMMExpansion, columns: dict[str, NDArray[Any]], label: str
) -> Iterator[tuple[dict[str, NDArray[Any]], ConditionalMixture]]:
    """Some rows at a time, and the distributions of the target in them."""
    from gaussmix._progress import progress_bar

    n = len(next(iter(columns.values())))
    with progress_bar("predicting", n, show=sys.stderr.isatty() and n > _AT_ONCE) as show, naming(label):
        for start in range(0, n, _AT_ONCE):
            some = {name: values[start : start + _AT_ONCE] for name, values in columns.items()}
            yield some, model.predict_distribution(some)
            show(min(start + _AT_ONCE, n))


def _transforms(
    model: ConditionalGMMExpansion, columns: dict[str, NDArray[Any]], y: NDArray[Any], label: str
) -> NDArray[Any]:
    """Probability integral transforms of rows (N,)."""
    import numpy as np

    rng, pits, done = np.random.default_rng(0), [], 0
    for _, law in _distributions(model, columns, label):
        pits.append(law.pit(y[done : done + len(law)], rng))
        done += len(law)
    return np.concatenate(pits)


def _scores(
    model: ConditionalGMMExpansion, columns: dict[str, NDArray[Any]], y: NDArray[Any], label: str
) -> dict[str, Any]:
    """Means over rows (N,), coverage by level, and how far the transforms are from uniform."""
    import numpy as np

    from gaussmix.conditional.calibration import coverage, ks_uniform

    rng, done, sums, pits = np.random.default_rng(0), 0, np.zeros(3), []
    for _, law in _distributions(model, columns, label):
        seen = y[done : done + len(law)]
        sums += [-law.logpdf(seen).sum(), law.crps(seen).sum(), ((law.mean() - seen) ** 2).sum()]
        pits.append(law.pit(seen, rng))
        done += len(law)
    pit, (nll, crps, squares) = np.concatenate(pits), (sums / done).tolist()
    return {
        "n": done,
        "nll": nll,
        "crps": crps,
        "rmse": math.sqrt(squares),
        "coverage": {str(level): share for level, share in coverage(pit).items()},
        "pit_ks": ks_uniform(pit),
        "pit_chance": min(1.36 / math.sqrt(done), 1.0),
    }


def _say_scores(facts: dict[str, Any], label: str, target: str, *, discrete: bool) -> None:
    covered = ", ".join(f"{100 * float(level):g} %: {share:.1%}" for level, share in facts["coverage"].items())
    print(f"{label}: {_spaced(facts['n'])} rows")
    for note in _left_out(facts["n_without_target"], target):
        print(note)
    kind = "log-probability" if discrete else "log-density"
    print(f"negative {kind} {facts['nll']:.6g} nats a row, CRPS {facts['crps']:.6g}, RMSE {facts['rmse']:.6g}")
    print(f"central intervals cover, at {covered.replace('%,', ' %,').rstrip('%')} %")
    print(f"PIT differs from uniform by {facts['pit_ks']:.3f} (chance alone {facts['pit_chance']:.3f})")


def _spaced(n: int) -> str:
    return f"{n:_}".replace("_", " ")


def _left_out(missing: int, target: str) -> list[str]:
    return [f"{_spaced(missing)} rows without {target} left out"] if missing else []


def _counted(columns: dict[str, NDArray[Any]]) -> str:
    """How many columns of which kind."""
    kinds = [{"O": "categories", "M": "dates", "m": "durations"}.get(c.dtype.kind, "numbers") for c in columns.values()]
    return ", ".join(f"{kinds.count(kind)} of {kind}" for kind in dict.fromkeys(kinds))


def _along(columns: dict[str, NDArray[Any]], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """Of one feature of numbers: places along it, its values and the target; None of others."""
    import numpy as np

    first, *rest = columns.values()
    if rest or first.dtype.kind not in "fiub":
        return None
    x = np.asarray(first, np.float64)
    known = ~np.isnan(x)
    if len(np.unique(x[known])) < 2:
        return None
    return np.linspace(x[known].min(), x[known].max(), _FAN), x[known], y[known]


def _plain(value: Any) -> Any:
    """As JSON holds it, which has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
