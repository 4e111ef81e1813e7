"""E Table 3: average loss by number of components, 20 000 and 50 000 points, Algorithm 2 with sigma = 3 r."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.rules import histogram_weights
from gaussmix.distances.binned import binned_l1
from reproduction.expansion.targets import ALGORITHM2, GENERATOR, LOSS, count, gaussian_target
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_COMPONENTS = (10, 30, 50, 100, 200, 500, 1000)
PAPER = {
    20_000: (0.710, 0.336, 0.200, 0.0778, 0.0295, 0.0326, 0.0378),
    50_000: (0.715, 0.364, 0.210, 0.065, 0.025, 0.0203, 0.0289),
}
PAPER_REPETITIONS = 30  # the headline of the table says 25, both of its halves 30
SIGMA = 3.0


@dataclass(frozen=True)
class Config:
    """Settings of Table 3."""

    seed: int = 0
    repetitions: int = 300
    """Random targets a data size; the paper took 25 or 30."""
    n_points: tuple[int, int] = (20_000, 50_000)

    @property
    def n_steps(self) -> int:
        return self.repetitions * len(self.n_points)

    def quick(self) -> Config:
        return replace(self, repetitions=2, n_points=(2_000, 5_000))


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Table 3."""
    losses = {"algorithm2": np.empty((len(config.n_points), config.repetitions, len(N_COMPONENTS)))}
    losses["auto"] = losses["algorithm2"].copy()
    step = 0
    for s, n_points in enumerate(config.n_points):
        for repetition in range(config.repetitions):
            rng = np.random.default_rng([config.seed, s, repetition])
            target = gaussian_target(rng)
            x = target.draw(n_points, rng)
            default = GMMExpansion().fit(x).distribution_
            for i, n in enumerate(N_COMPONENTS):
                counts, basis = count(x, n, SIGMA)
                model = basis.mixture(histogram_weights(counts, basis))
                losses["algorithm2"][s, repetition, i] = binned_l1(target, model, basis)
                losses["auto"][s, repetition, i] = binned_l1(target, default, basis)
            step += 1
            on_step(step)

    means = {name: values.mean(1) for name, values in losses.items()}
    spread = losses["algorithm2"].std(1, ddof=1)
    printed = np.array(list(PAPER.values()))
    ratios = means["algorithm2"] / printed
    reach = 2 * spread / np.sqrt(PAPER_REPETITIONS)
    rows = tuple(
        (
            f"{size:,}".replace(",", " "),
            str(n),
            float(printed[s, i]),
            float(means["algorithm2"][s, i]),
            float(ratios[s, i]),
            f"{means['algorithm2'][s, i] - reach[s, i]:.4f} to {means['algorithm2'][s, i] + reach[s, i]:.4f}",
            float(means["auto"][s, i]),
        )
        for s, size in enumerate(config.n_points)
        for i, n in enumerate(N_COMPONENTS)
    )
    title = "E Table 3: loss by number of components"
    return Result(
        title=title,
        about="Mean density information loss of GMM expansions of 10 to 1000 components (Algorithm 2, sigma = 3 r) "
        "learnt from 20 000 and 50 000 points of random mixtures of 8 normal distributions.",
        ours={
            "n_components": list(N_COMPONENTS),
            "mean": dict(zip(map(str, PAPER), means["algorithm2"].tolist(), strict=True)),
            "standard_error": dict(zip(map(str, PAPER), (spread / np.sqrt(config.repetitions)).tolist(), strict=True)),
            "default": dict(zip(map(str, PAPER), means["auto"].tolist(), strict=True)),
        },
        paper={"n_components": list(N_COMPONENTS), "mean": {str(size): list(row) for size, row in PAPER.items()}},
        tables=(
            Table(
                f"Mean loss L over {config.repetitions} random targets a data size",
                ("points", "n", "paper", "ours", "ours / paper", "30 repetitions give (95 %)", "default, same regions"),
                rows,
            ),
        ),
        readings=(
            ALGORITHM2,
            LOSS,
            GENERATOR,
            'Which targets: "identical to the experiments in Table 1 and Table 2". Those of Table 1 are taken; with '
            "those of Table 2, or both, losses at n = 100 to 500 would be 1.5 to 3 times the paper's.",
        ),
        findings=_findings(means, ratios),
        pictures=(
            Picture(
                "",
                "Mean loss L by number of components: the paper's (open) and ours (filled, with where the mean of 30 "
                "random targets falls 95 % of the time); dashed: the default on the same data and regions, whose model "
                "does not depend on n.",
                lambda: _draw(title, config.n_points, means, reach),
            ),
        ),
    )


def _findings(means: dict[str, NDArray[np.float64]], ratios: NDArray[np.float64]) -> tuple[str, ...]:
    worst = float(np.abs(ratios - 1).max())
    near = int((np.abs(ratios - 1) <= 0.1).sum())
    best = means["algorithm2"].argmin(1)
    fall = means["algorithm2"][0, -1] / means["algorithm2"][1, -1]
    gain = means["auto"][:, 4] / means["algorithm2"].min(1)
    return (
        f"{'Reproduces' if worst <= 0.25 else 'Is off'}: within {worst:.0%} of the paper everywhere, within 10 % at "
        f"{near} of {ratios.size} places; the best n are {N_COMPONENTS[best[0]]} at 20 000 and {N_COMPONENTS[best[1]]} "
        "at 50 000 points (the paper: 200 and 500).",
        "At n = 1000 the loss is nearly all sampling noise, which falls as one over the square root of the number of "
        f"points: ours by {fall:.1f} from 20 000 to 50 000 points, the paper's by 1.3, so both places cannot agree.",
        f"On the same data and the regions of n = 200 the default loses {means['auto'][0, 4]:.4f} and "
        f"{means['auto'][1, 4]:.4f}: {gain[0]:.2f} and {gain[1]:.2f} of Algorithm 2 at its best n.",
    )


def _draw(
    title: str, sizes: tuple[int, int], means: dict[str, NDArray[np.float64]], reach: NDArray[np.float64]
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for s, (size, color) in enumerate(zip(sizes, ("#1f5fa8", "#c2402a"), strict=True)):
        label = f"{size:,} points".replace(",", " ")
        axes.errorbar(
            N_COMPONENTS, means["algorithm2"][s], reach[s], fmt="o-", color=color, capsize=3, label=f"ours, {label}"
        )
        axes.plot(N_COMPONENTS, list(PAPER.values())[s], "D", mfc="none", mec=color, ms=9, label=f"paper, {label}")
        axes.plot(N_COMPONENTS, means["auto"][s], "--", color=color, linewidth=1.2, label=f"gaussmix, default, {label}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(N_COMPONENTS, list(map(str, N_COMPONENTS)))
    axes.minorticks_off()
    axes.set_xlabel("number of components n (sigma = 3 r)")
    axes.set_ylabel("mean loss L (E Eq. 9)")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure
