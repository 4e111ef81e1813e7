"""``gaussmix reproduce NAME [--quick] [--out DIR] [--seed N]``."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gaussmix.papers.registry import MODULES, find_reproduction

QUICK_OUT = Path("runs/reproduce-quick")


@dataclass(frozen=True)
class ReproduceConfig:
    """Run one table or figure of the papers and write its numbers beside the paper's.

    Writes results/NAME.json, docs/reproduction/NAME.md and pictures.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """What to reproduce; `gaussmix reproduce` alone lists the names."""
    quick: bool = False
    """Shrink it to seconds: shows that it runs, not what comes out."""
    out: Path | None = None
    """The folder to write into; the current one if not given, runs/reproduce-quick with --quick."""
    seed: int | None = None
    """Another seed than the one that the pages in docs were made with."""


def reproduce(args: list[str]) -> int:
    """Run one table or figure of the papers."""
    if not args:
        print("usage: gaussmix reproduce NAME [--quick] [--out DIR] [--seed N]\n")
        width = max(map(len, MODULES))
        print("\n".join(f"  {name:<{width}} {about}" for name, (_, about) in MODULES.items()))
        return 0
    given = tyro.cli(
        ReproduceConfig,
        prog="gaussmix reproduce",
        args=args,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
    )
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    reproduction = find_reproduction(given.name)
    if "diffusers" in sys.modules:  # a page with networks: its own bar is enough
        from diffusers.utils.logging import disable_progress_bar

        disable_progress_bar()
    config = reproduction.config.quick() if given.quick else reproduction.config
    if given.seed is not None:
        config = dataclasses.replace(config, seed=given.seed)
    out = given.out or (QUICK_OUT if given.quick else Path())
    out.mkdir(parents=True, exist_ok=True)  # a wrong folder is said before the work, not after

    from gaussmix._progress import progress_bar
    from reproduction.page import Cost, write_report

    cpu, wall = time.process_time(), time.perf_counter()
    with progress_bar(given.name, config.n_steps, show=True) as show:
        result = reproduction.run(config, show)
    cost = Cost(time.process_time() - cpu, time.perf_counter() - wall)
    written = write_report(given.name, config, result, cost, out, quick=given.quick)
    print("\n".join(["", *(f"- {text}" for text in result.findings), ""]))
    print("\n".join(str(path) for path in written))
    return 0
