"""E Table 1: average loss of 20 experiments with 8 random Gaussian components, 5000 points."""

from __future__ import annotations

from collections.abc import Callable

from reproduction.expansion.tables import Config, run_loss_table
from reproduction.expansion.targets import gaussian_target
from reproduction.page import Result

PAPER = {"algorithm1": (0.07099, 0.05091, 0.044296), "algorithm2": (0.06866, 0.05085, 0.04447)}

__all__ = ["PAPER", "Config", "run"]


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Table 1."""
    return run_loss_table(
        config,
        on_step,
        title="E Table 1: mixtures of 8 normal components",
        about=f"Mean density information loss of GMM expansions with {config.n_components} components, learnt from "
        f"{config.n_points} points of random mixtures of 8 normal distributions.",
        make_target=gaussian_target,
        paper=PAPER,
    )
