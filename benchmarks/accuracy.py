"""How close our default densities come to the truth, beside four ways people use with no tuning.

For a target f and a fit g, at 20 000 points x_i = F^-1((i + .5) / 20 000):

    L1 = integral |f - g| = 2 E_f (1 - g/f)+        in [0, 2], as g integrates to 1
    KL = E_f log(f/g)                               in nats, at most 50 a point
    zeros: points where g < 1e-300, at which a held-out log-likelihood is minus infinity
    modes: maxima with a prominence of more than 2 % of the highest density at these points. Between two neighbouring
           valleys of f one is right; others are spurious, and where there is none one is missed

A peer that gives up (too many bins, no bandwidth) has L1 = 2, KL = 50 and 20 000 zeros. Every row is one fit:
target, n, seed, method; a run adds what its file lacks, so it can be stopped and taken up again, and files of several
runs can be put together. Time is CPU time of this process, on one thread.

    python benchmarks/accuracy.py --quick                              # seconds: few targets, N = 500
    python benchmarks/accuracy.py --sizes 500 5000 100000 1000000 --seeds 20           # hours, most of them `gmm`
    python benchmarks/accuracy.py --seeds 0 --report .      # runs nothing: docs/accuracy.*, results/accuracy.json
    python benchmarks/accuracy.py --methods fast auto --sizes 500 5000 100000 1000000 --seeds 20 \
        --kept results/accuracy.json --report .            # the peers as they were
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_peers import PEERS, Density
from accuracy_report import OURS, Row, collect, read, summary_page, write, write_report
from accuracy_targets import CASES, N_POINTS, ROUNDED, TARGETS, Question, draw, question
from numpy.typing import NDArray
from scipy.signal import find_peaks
from threadpoolctl import threadpool_limits

from gaussmix.density.estimator import GMMExpansion

ROWS = Path("runs/accuracy.csv")
CASE_SIZES = (5_000, 100_000)
FIRST_SEED = 1000
MOST_SEEDS = {1_000_000: 5}  # else as many as asked for
WORST_KL = 50.0
TINY = 1e-300
FAILED = (2.0, WORST_KL, N_POINTS, 0, 0)
PROMINENCE = 0.02
QUICK_TARGETS = ("normal", "claw", "exponential", "cauchy")


@dataclass(frozen=True)
class Fit:
    """What a method answers: a density, perhaps a point mass at 0; CPU seconds in all and those of counting alone."""

    density: Density
    zero_mass: float = 0.0
    cpu: float = 0.0
    counting: float = 0.0


def find_modes(density: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of the ascending points at whose densities (n,) there is a maximum that stands out."""
    finite = np.nan_to_num(density)
    peaks, _ = find_peaks(np.pad(finite, 1), prominence=PROMINENCE * finite.max())
    return peaks - 1


def compare_modes(truth: NDArray[np.float64], fitted: NDArray[np.float64]) -> tuple[int, int]:
    """Spurious modes of fitted densities (n,), and modes of the true ones that they miss."""
    true = find_modes(truth)
    valleys = [a + int(np.argmin(truth[a:b])) for a, b in itertools.pairwise(true.tolist())]
    found = np.bincount(np.searchsorted(valleys, find_modes(fitted)), minlength=len(true))
    return int(np.maximum(found - 1, 0).sum()), int((found == 0).sum())


def score(asked: Question, fit: Fit) -> tuple[float, float, int, int, int]:
    """(L1, KL, zeros, spurious modes, missed modes) of a fit.

    Point masses p at 0 in the target and a in the fit are part of the first two:

    L1 = |p - a| + integral |(1 - p) f - g|, where g integrates to 1 - a.
    """
    p, a = asked.target.zeros, fit.zero_mass
    fitted = fit.density(asked.points)
    ratio = fitted / ((1 - p) * asked.density)
    l1 = abs(p - a) + 2 * (1 - p) * np.mean(np.maximum(1 - ratio, 0)) + (p - a)
    with np.errstate(divide="ignore"):
        kl = (1 - p) * np.mean(np.minimum(-np.log(ratio), WORST_KL))
    if p:
        kl += p * (np.log(p / a) if a else WORST_KL)
    zeros = int(np.sum(ratio * asked.density < TINY))
    return float(l1), float(kl), zeros, *compare_modes(asked.density, fitted)


def fit_ours(rule: Any, x: NDArray[np.float64]) -> Fit:
    """`GMMExpansion` with its defaults but for the rule."""
    started = time.process_time()
    model = GMMExpansion(rule).fit(x)
    fitted = time.process_time()
    model.counts_[0].empty_like().add(x)
    counting = time.process_time() - fitted
    mixture = model.distribution_
    zero_mass = float(mixture.atoms.masses[mixture.atoms.positions == 0].sum())
    return Fit(mixture.pdf, zero_mass, fitted - started, counting)


def fit_peer(method: str, x: NDArray[np.float64]) -> Fit:
    """Raises ValueError where the method gives up."""
    started = time.process_time()
    density = PEERS[method](x)
    return Fit(density, cpu=time.process_time() - started)


def measure(name: str, n: int, seed: int, method: str, x: NDArray[np.float64]) -> Row:
    """Fits `x` and judges the answer. A peer may give up; ours may not."""
    if method in OURS:
        answer = fit_ours(method, x)
    else:
        try:
            answer = fit_peer(method, x)
        except ValueError:
            return Row(name, n, seed, method, *FAILED, 0.0, 0.0)
    return Row(name, n, seed, method, *score(question(name, seed), answer), answer.cpu, answer.counting)


def cells(names: Sequence[str], sizes: Sequence[int], seeds: int) -> Iterator[tuple[str, int, int]]:
    """(target, n, seed), every target and size with its first seed before any has its second."""
    for seed in range(seeds):
        for n in sizes:
            for name in names:
                if seed < MOST_SEEDS.get(n, seeds) and (name not in CASES | ROUNDED or n in CASE_SIZES):
                    yield name, n, FIRST_SEED + seed


def warm_up(names: Sequence[str], methods: Sequence[str]) -> None:
    """Compiles and loads what the first fits would otherwise be charged for."""
    for name in names:
        x = draw(name, 500, 0)
        for rule in methods:
            if rule in OURS:
                fit_ours(rule, x)


def run(out: Path, names: Sequence[str], sizes: Sequence[int], seeds: int, methods: Sequence[str]) -> list[Row]:
    """Adds to the file `out` what it lacks, row by row; all its rows."""
    rows = read(out)
    write(out, rows)
    done = {row.key for row in rows}
    todo = [
        (*cell, missing)
        for cell in cells(names, sizes, seeds)
        if (missing := [method for method in methods if (*cell, method) not in done])
    ]
    warm_up(names if todo else (), methods)
    with threadpool_limits(1), out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for count, (name, n, seed, missing) in enumerate(todo, 1):
            x = draw(name, n, seed)
            for method in missing:
                rows.append(measure(name, n, seed, method, x))
                writer.writerow(astuple(rows[-1]))
            file.flush()
            print(f"{count}/{len(todo)} {name} n={n} seed={seed}: " + " ".join(missing), flush=True)
    return rows


def main(
    out: Path = ROWS,
    report: Path | None = None,
    targets: Sequence[str] = tuple(TARGETS),
    sizes: Sequence[int] = (500, 5_000),
    seeds: int = 1,
    methods: Sequence[str] = (*PEERS, *OURS),
    quick: bool = False,
    kept: Path | None = None,
) -> list[Row]:
    """Runs what is missing, prints the summary and, with `report`, writes page, picture and JSON under that folder.

    Methods without rows come from the JSON file `kept` of an earlier report.
    """
    if quick:
        targets, sizes, seeds = QUICK_TARGETS, (500,), 1
    rows = run(out, targets, sizes, seeds, methods)
    print(summary_page(collect(rows, kept)))
    if report is not None:
        write_report(rows, report, kept)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROWS, help="rows, one a fit (CSV)")
    parser.add_argument("--report", type=Path, help="folder with docs/ and results/ to write the page to")
    parser.add_argument("--kept", type=Path, help="JSON file of an earlier report, for methods without rows")
    parser.add_argument("--targets", nargs="+", choices=tuple(TARGETS), default=tuple(TARGETS))
    parser.add_argument("--sizes", nargs="+", type=int, default=(500, 5_000))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=(*PEERS, *OURS), default=(*PEERS, *OURS))
    parser.add_argument("--quick", action="store_true", help="few targets, N = 500, one seed")
    main(**vars(parser.parse_args()))
