"""``gaussmix reproduce NAME [--quick] [--out DIR] [--seed N]``.

What can be reproduced: a name -> its module, imported when asked for.

A module has `Config`, a frozen dataclass of JSON-able settings with `seed`, `n_steps` (how often `run` calls `on_step`)
and `quick()` (the same, shrunk to seconds), and `run(config, on_step) -> Result`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from reproduction.page import Result

MODULES = {
    "expansion-table1": ("expansion_table1", "E Table 1: loss on mixtures of 8 normals, 5000 points"),
    "expansion-table2": ("expansion_table2", "E Table 2: loss on mixtures with t and uniform components, 5000 points"),
    "expansion-table3": ("expansion_table3", "E Table 3: loss by number of components, 20 000 and 50 000 points"),
    "expansion-fig1-2": ("expansion_fig1_2", "E Figures 1-2: target and mixture inside one region; conditions, bounds"),
    "expansion-fig3-7": ("expansion_fig3_7", "E Figures 3-7: targets, the initial mixture, trained mixtures"),
    "expansion-fig8": ("expansion_fig8", "E Figure 8, Eq. 10: the autoencoder, its reconstructions, the loss's sign"),
    "expansion-fig9": ("expansion_fig9", "E Figure 9: new digits from latents learnt in different ways, judged"),
    "expansion-fig10": ("expansion_fig10", "E Figure 10: random mixing of classes"),
    "expansion-fig11": ("expansion_fig11", "E Figure 11: from a painting to the Gram matrices of five layers"),
    "expansion-fig12": ("expansion_fig12", "E Figure 12: Gram matrices of crops as a distribution; three couplings"),
    "expansion-fig13": ("expansion_fig13", "E Figure 13: two styles blended at 0, 10, 20 and 80 %, ten pictures each"),
    "diffusion-fig1": ("diffusion_fig1", "D Figure 1: real faces beside drawn ones, and numbers on how alike they are"),
    "diffusion-fig4": ("diffusion_fig4", "D Figure 4: faces of one set of features, a Z of its own each"),
    "diffusion-components": (
        "diffusion_components",
        "D Sec. 3.1: which kinds of hats, glasses and mouths the components of Z select",
    ),
    "diffusion-fig5": ("diffusion_fig5", "D Figure 5: one Z, many noises; how much of the picture Z decides"),
    "diffusion-fig6": ("diffusion_fig6", "D Figure 6: x0* at each step of Eq. 10; quality by number of steps"),
    "diffusion-fig7": ("diffusion_fig7", "D Figure 7, Eq. 7: features against classes, on the same images"),
    "diffusion-fig9": ("diffusion_fig9", "D Figures 8-9: training with and without a bottleneck classifier"),
    "diffusion-appendix": ("diffusion_appendix", "D Appendix A: random samples for four lists of attributes"),
    "diffusion-fig10": ("diffusion_fig10", "D Figure 10: the negative Gaussian mixture gradient step by step"),
    "diffusion-fig11": ("diffusion_fig11", "D Figure 11: ten steps of Algorithm 1, its limit, and what cures it"),
    "diffusion-fig12": ("diffusion_fig12", "D Figure 12: NGMG entropy against the binary cross-entropy"),
    "diffusion-eq6": ("diffusion_eq6", "D Eq. 6 beside the Wasserstein distance that it is said to be"),
    "diffusion-eq15": ("diffusion_eq15", "D Eq. 15: the same through the inverse of NGMG, and its condition"),
}


@dataclass(frozen=True)
class Reproduction:
    """One table or figure."""

    name: str
    about: str
    config: Any
    run: Callable[[Any, Callable[[int], None]], Result]


def find_reproduction(name: str) -> Reproduction:
    """The reproduction of that name. Raises ValueError, with the nearest name, for an unknown one."""
    if name not in MODULES:
        near = difflib.get_close_matches(name, MODULES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(MODULES)}"
        raise ValueError(f"nothing to reproduce is called {name!r}; {hint}")
    module, about = MODULES[name]
    loaded = importlib.import_module(f"gaussmix.papers.{module}")
    return Reproduction(name, about, loaded.Config(), loaded.run)


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
