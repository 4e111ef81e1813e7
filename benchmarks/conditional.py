"""ConditionalGMMExpansion beside the tools that people use for the distribution of y given x.

Every split of every set is a row of a file for each method; what is there is not done again. CPU seconds are those of
the process, on one thread.

    python benchmarks/conditional.py --data UCI_FOLDER          # everything: some days of CPU
    python benchmarks/conditional.py --data UCI_FOLDER --sets yacht boston --splits 3 --redo ours
    python benchmarks/conditional.py --report --docs docs       # from the rows, without running anything
    python benchmarks/conditional.py                            # without data: the truths alone
    python benchmarks/conditional.py --quick                    # a minute: a truth on 200 rows, figures mean little
    python benchmarks/conditional.py --cost                     # CPU seconds and memory of ours from 1 000 rows to 1e6
"""

from __future__ import annotations

import os

os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")})

import argparse
import json
import math
import multiprocessing
import platform
import resource
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from conditional_peers import METHODS, OURS, SPREADS, Law, Ours, has_density
from conditional_report import Row, append, read, report, write
from conditional_targets import TRUTHS, UCI, Split, load, splits_of
from threadpoolctl import threadpool_limits

from gaussmix.conditional import ConditionalGMMExpansion

ROWS = Path("runs/conditional.csv")
RESULTS = Path("results/conditional.json")
PACKAGES = (
    "gaussmix",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "quantile-forest",
    "lightgbm",
    "catboost",
    "ngboost",
    "treeffuser",
)
DIGITS_LOST = 1e-9  # a cell's mass below which a difference of two distribution functions says little
LEAST = math.log(1e-300)  # of a log-density
TRUTH_ROWS, CELLS, BEYOND = 200, 1500, 0.1
NEAR_ZERO = 0.05  # the positive part of `zeros` has less than 1e-12 of its mass below


def log_cells(law: Law, y: np.ndarray, width: float) -> np.ndarray:
    """log(mass of the cell of ``width`` around y / width), (N,); the density where the mass has lost its digits.

    On a lattice the mass is the probability of the value.
    """
    known = has_density(law)
    assert known is not None
    if isinstance(law, Ours) and law.law.lattice is not None:
        return np.maximum(law.law.logpdf(y) - math.log(width), LEAST)
    mass = known.cdf(y + width / 2) - known.cdf(y - width / 2)
    density = known.logpdf(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(np.where(mass > DIGITS_LOST, np.log(mass / width), density), LEAST)


def distance(law: Law, split: Split) -> float:
    """Mean L1 distance to the true conditional distribution of the first test rows, over 1 500 cells, at most 2.

    A kernel estimate has the bandwidth that is best here, which nobody could know.
    """
    assert split.cdf is not None
    values = np.append(split.y, split.y_test)
    beyond = BEYOND * float(np.ptp(values))
    edges = np.linspace(values.min() - beyond, values.max() + beyond, CELLS + 1)
    true = np.diff(split.cdf(split.X_test[: len(law.mean())], edges))

    def l1(spread: float) -> float:
        said = law.cells(edges, spread)
        outside = abs((1 - true.sum(1)) - (1 - said.sum(1)))
        return float(np.mean(abs(true - said).sum(1) + outside))

    return min(l1(spread) for spread in (SPREADS if has_density(law) is None else SPREADS[:1]))


def judge(law: Law, split: Split) -> dict[str, float]:
    """The measures of a law at the test rows; those that it does not have are left out."""
    y = split.y_test
    low, high = law.interval().T
    found = {
        "crps": float(law.crps(y).mean()),
        "coverage90": float(np.mean((low <= y) & (y <= high))),
        "rmse": float(np.sqrt(np.mean((law.mean() - y) ** 2))),
    }
    known = has_density(law)
    if known is not None:
        found["nll"] = -float(np.maximum(known.logpdf(y), LEAST).mean())
        found["nll_cell"] = -float(log_cells(law, y, split.width).mean())
    if split.zero is not None:
        p = law.cells(np.array([-NEAR_ZERO, NEAR_ZERO]), SPREADS[-1])[:, 0]
        found["zero_error"] = float(np.mean(abs(p - split.zero(split.X_test))))
    return found


def measure(name: str, k: int, method: str, split: Split) -> Row:
    started = time.process_time()
    predict = METHODS[method](split.X, split.y)
    fitted = time.process_time()
    law = predict(split.X_test)
    law.interval()
    predicted = time.process_time()
    found = judge(law, split)
    if split.cdf is not None:
        found["l1"] = distance(predict(split.X_test[:TRUTH_ROWS]), split)
    return Row(name, k, method, len(split.y), fitted - started, predicted - fitted, **found)


def warm_up(methods: Sequence[str]) -> list[str]:
    """Compiles and loads what the first fit would otherwise be charged for; the methods that are installed."""
    split, there = load("modes", 0, None, 60), []
    for method in methods:
        try:
            judge(METHODS[method](split.X, split.y)(split.X_test[:10]), Split(split.X, split.y, *_few(split)))
            there.append(method)
        except ModuleNotFoundError as missing:
            print(f"{method} is skipped: {missing.name} is not installed", flush=True)
    return there


def _few(split: Split) -> tuple[np.ndarray, np.ndarray]:
    return split.X_test[:10], split.y_test[:10]


def run(
    path: Path,
    rows: list[Row],
    data: Path | None,
    sets: Sequence[str],
    splits: Sequence[int],
    methods: Sequence[str],
    most_rows: int | None,
) -> list[Row]:
    """Adds to the file what it lacks, one row a method and split; all rows."""
    done = {row.key for row in rows}
    methods = warm_up(methods)
    for k in splits:
        for name in sets:
            if k >= splits_of(name):
                continue
            split = load(name, k, data, most_rows)
            for method in methods:
                if (name, k, method, len(split.y)) in done:
                    continue
                try:
                    row = measure(name, k, method, split)
                except Exception as problem:
                    if method in OURS:
                        raise
                    print(f"{name} {k} {method} failed: {type(problem).__name__}: {problem}"[:300], flush=True)
                    continue
                append(path, row)
                rows.append(row)
                print(row.line(), flush=True)
    return rows


COSTS = (*(("auto", 10**k) for k in (3, 4, 5)), *(("fast", 10**k) for k in (3, 4, 5, 6)))
COST_ROWS, COST_COLUMNS = 100_000, 10


def cost(rule: str, n: int, predicted: int = COST_ROWS) -> tuple[float, float, float]:
    """CPU seconds of a fit of n rows and of three quantiles of each of others; the process's largest memory in GB."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        X = rng.normal(size=(n, COST_COLUMNS))
        return X, np.sin(2 * X[:, 0]) + X[:, 1] / 2 + (0.2 + 0.3 * np.abs(X[:, 2])) * rng.normal(size=n)

    ConditionalGMMExpansion(rule, random_state=0).fit(*draw(100)).predict_quantiles(np.zeros((1, COST_COLUMNS)), 0.5)
    X, y = draw(n)
    started = time.process_time()
    with threadpool_limits(1):
        model = ConditionalGMMExpansion(rule, random_state=0).fit(X, y)
        fitted = time.process_time()
        X = rng.normal(size=(predicted, COST_COLUMNS))
        model.predict_quantiles(X, [0.1, 0.5, 0.9])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return fitted - started, time.process_time() - fitted, memory


def costs(settings: Sequence[tuple[str, int]] = COSTS) -> str:
    """The table, each row from a process of its own."""
    heads = f"| rule | rows of {COST_COLUMNS} numbers | fit, CPU s | {COST_ROWS:,} rows predicted | most memory, GB |"
    lines = [heads.replace(",000", " 000"), "| --- | ---: | ---: | ---: | ---: |"]
    for rule, n in settings:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            fit, predict, memory = pool.apply(cost, (rule, n))
        lines.append(f"| `{rule}` | {n:,} | {fit:.1f} | {predict:.1f} | {memory:.2f} |".replace(",", " "))
        print(lines[-1], flush=True)
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Of Python and the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(
    data: Path | None = None,
    sets: Sequence[str] | None = None,
    splits: int = 20,
    first: int = 0,
    methods: Sequence[str] = tuple(METHODS),
    rows: int | None = None,
    redo: Sequence[str] = (),
    file: Path = ROWS,
    out: Path = RESULTS,
    docs: Path | None = None,
    only_report: bool = False,
    quick: bool = False,
) -> list[Row]:
    """Runs what is asked for and lacks, and writes the JSON and, with `docs`, the page.

    A file that is not there begins with the rows of the JSON.
    """
    if quick:
        sets, splits, rows = sets or ("modes", "zeros"), 1, rows or 200
    sets = tuple(sets or ((*UCI, *TRUTHS) if data else TRUTHS))
    found = read(file if file.exists() else out)
    if not only_report:
        wanted = {(name, k) for name in sets for k in range(first, splits)}
        found = [row for row in found if not (row.method in redo and (row.dataset, row.split) in wanted)]
        write(file, found)
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peers say of libraries newer than they are
            found = run(file, found, data, sets, range(first, splits), methods, rows)
    before = json.loads(out.read_text())["versions"] if out.exists() else {}  # of what ran where this is not installed
    report(found, out, docs, before | versions())
    return found


def arguments() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the UCI sets (benchmarks/conditional_targets.py says how)")
    parser.add_argument("--sets", nargs="+", choices=(*UCI, *TRUTHS))
    parser.add_argument("--splits", type=int, default=20, help="up to this one")
    parser.add_argument("--first", type=int, default=0, help="from this one")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=tuple(METHODS))
    parser.add_argument("--rows", type=int, help="cap the training rows")
    parser.add_argument("--redo", nargs="+", choices=tuple(METHODS), default=(), help="run again though rows are there")
    parser.add_argument("--file", type=Path, default=ROWS, help="a row for each split and method (CSV)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the same rows, and what is made of them (JSON)")
    parser.add_argument("--docs", type=Path, help="folder for conditional-benchmark.md")
    parser.add_argument("--report", action="store_true", dest="only_report", help="run nothing")
    parser.add_argument("--quick", action="store_true", help="small sizes, one split of two truths")
    parser.add_argument("--cost", action="store_true", help="only what ours costs")
    return vars(parser.parse_args())


if __name__ == "__main__":
    chosen = arguments()
    if chosen.pop("cost"):
        costs()
    else:
        main(**chosen)
