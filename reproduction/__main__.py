"""``python -m reproduction list | NAME... | all [--quick] [--output DIR] [--seed N] [--pages-only]``.

A module of ``reproduction`` stands behind each name. It has `Config`, a frozen dataclass of JSON-able settings with
``seed``, ``n_steps`` (how often ``on_step`` is called) and ``quick()`` (the same, shrunk to seconds);
``measure(config, on_step)``, which gives `Measured`; and ``draw(measured)``, a figure for each suffix of the page's
pictures. The page itself is written by hand (`reproduction.page`).
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import tyro

from reproduction.page import PAGES, Cost, write_page, write_pictures, write_results

QUICK_OUTPUT = Path("runs/reproduction-quick")

NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "expansion-section1": ("expansion.section1", {}),
    **{f"expansion-table{table}": ("expansion.tables", {"table": table}) for table in (1, 2, 3)},
    "expansion-fig1-2": ("expansion.fig1_2", {}),
    "expansion-fig3-7": ("expansion.fig3_7", {}),
    **{f"expansion-fig{n}": (f"expansion.fig{n}", {}) for n in range(8, 14)},
    **{f"diffusion-fig{n}": (f"diffusion.fig{n}", {}) for n in (1, 4, 5, 6, 7, 9, 10, 11, 12)},
    **{f"diffusion-fig{n}": ("diffusion.schematics", {"figure": n}) for n in (2, 3, 8)},
    **{f"diffusion-{name}": (f"diffusion.{name}", {}) for name in ("appendix", "components", "eq6", "eq15", "studies")},
}
"""Name of a page -> module, and the settings by which it differs from others of that module."""


@dataclass(frozen=True)
class Arguments:
    """Run tables and figures of the papers, and write our numbers beside the paper's.

    Writes results/NAME.json, docs/reproduction/NAME.md and its pictures. Data that may not be passed on stay outside:
    GAUSSMIX_CELEBA, GAUSSMIX_CIFAR10, GAUSSMIX_MNIST, GAUSSMIX_FASHION_MNIST and GAUSSMIX_VGG19 say where they lie.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="list|all|NAME...")] = ("list",)
    """What to run: names, 'all', or 'list' to see them."""
    quick: bool = False
    """Shrink it to seconds: shows that it runs, not what comes out."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The folder to write into; the current one if not given, runs/reproduction-quick with --quick."""
    seed: int | None = None
    """Another seed than the one that the pages in docs were made with."""
    pages_only: bool = False
    """Only write the pages anew, from the results that are there."""
    training: bool = True
    """Train the diffusion models that a page lacks; with --no-training it rests on those that are finished."""


def find(name: str) -> tuple[ModuleType, Any]:
    """Return the module and the settings of a page. Raises ValueError, with the nearest name, for an unknown one."""
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(NAMES)}"
        raise ValueError(f"nothing to reproduce is called {name!r}; {hint}")
    module, settings = NAMES[name]
    loaded = importlib.import_module(f"reproduction.{module}")
    return loaded, loaded.Config(**settings)


def title(name: str) -> str:
    """Return the title of a page."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def reproduce(
    name: str, out: Path, *, quick: bool = False, seed: int | None = None, training: bool = True
) -> list[Path]:
    """Measure, draw and write one page under ``out``; returns the paths, results first."""
    module, config = find(name)
    if "diffusers" in sys.modules:  # a page with networks: its own bar is enough
        from diffusers.utils.logging import disable_progress_bar

        disable_progress_bar()
    config = config.quick() if quick else config
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    if not training and hasattr(config, "train_missing"):
        config = dataclasses.replace(config, train_missing=False)
    out.mkdir(parents=True, exist_ok=True)  # a wrong folder is said before the work, not after

    from gaussmix._progress import progress_bar

    cpu, wall = time.process_time(), time.perf_counter()
    with progress_bar(name, config.n_steps, show=True) as show:
        measured = module.measure(config, show)
    cost = Cost(time.process_time() - cpu + measured.earlier_seconds, time.perf_counter() - wall)
    results = write_results(name, config, measured, cost, out, quick=quick)
    return [results, *write_pictures(name, module.draw(measured), out), write_page(name, out)]


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = tyro.cli(Arguments, prog="python -m reproduction", args=args, config=(tyro.conf.FlagCreatePairsOff,))
    if given.names == ("list",):
        width = max(map(len, NAMES))
        print("\n".join(f"{name:<{width}}  {title(name)}" for name in NAMES))
        return 0
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    out = given.output or (QUICK_OUTPUT if given.quick else Path())
    try:
        names = list(NAMES) if given.names == ("all",) else list(given.names)
        for name in names:  # a wrong name is said before the work
            if name not in NAMES:
                find(name)
        for name in names:
            paths = (
                [write_page(name, out)]
                if given.pages_only
                else reproduce(name, out, quick=given.quick, seed=given.seed, training=given.training)
            )
            print("\n".join(map(str, paths)))
    except (ValueError, OSError) as error:
        print(f"reproduction: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("reproduction: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
