"""E Table 2: average loss of 20 experiments with 8 non-Gaussian random components, 5000 points."""

from __future__ import annotations

from collections.abc import Callable

from reproduction.expansion.tables import Config, run_loss_table
from reproduction.expansion.targets import mixed_target
from reproduction.page import Result

PAPER = {"algorithm1": (0.08912, 0.08738, 0.09432), "algorithm2": (0.08678, 0.08749, 0.09446)}

__all__ = ["PAPER", "Config", "run"]


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Table 2."""
    return run_loss_table(
        config,
        on_step,
        title="E Table 2: mixtures of 8 normal, t and uniform components",
        about=f"Mean density information loss of GMM expansions with {config.n_components} components, learnt from "
        f"{config.n_points} points of random mixtures of normal, t and uniform distributions.",
        make_target=mixed_target,
        paper=PAPER,
    )
