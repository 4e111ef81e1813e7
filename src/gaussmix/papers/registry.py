"""What can be reproduced: a name -> its module, imported when asked for.

A module has `Config`, a frozen dataclass of JSON-able settings with `seed`, `n_steps` (how often `run` calls `on_step`)
and `quick()` (the same, shrunk to seconds), and `run(config, on_step) -> Result`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gaussmix.papers.result import Result

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
