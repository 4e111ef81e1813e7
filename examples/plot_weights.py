"""A table of values and how often they came, and a survey with weights.

Left: databases and `value_counts` hand out tables, not rows. Integers as `sample_weight` are frequencies: the fit is,
bit for bit, that of the repeated rows, here forty million of them from a hundred lines. Right: floats are importance
weights. A survey asked the young three times as often as the old; weighted by the inverse, the density is that of the
population, and the bandwidths suit the effective number of answers (Kish's), not the number of rows.

python examples/plot_weights.py --out weights.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure
from scipy import stats

from gaussmix import GMMExpansion
from gaussmix.plots import BARS, INK, LINE, draw_density, save_figure


def draw(population: int = 40_000_000, n_asked: int = 3000, seed: int = 0) -> Figure:
    rng = np.random.default_rng(seed)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)

    ages = np.arange(100)
    expected = 1 / (1 + np.exp((ages - 78) / 6)) * (1 + 0.3 * np.cos((ages - 30) / 14))
    frequencies = rng.poisson(population * expected / expected.sum())
    model = GMMExpansion().fit(ages, sample_weight=frequencies)
    draw_density(left, model.distribution_, model.counts_[0])
    left.set(title=f"{len(ages)} lines of a table, {model.report_.n / 1e6:.1f} million people", xlabel="age")

    grid = np.linspace(-1, 8, 900)
    truth = 0.5 * stats.norm.pdf(grid, 2, 0.6) + 0.5 * stats.norm.pdf(grid, 4.5, 0.9)
    young = rng.random(n_asked) < 0.75
    income = np.where(young, rng.normal(2, 0.6, n_asked), rng.normal(4.5, 0.9, n_asked))
    weights = np.where(young, 1.0, 3.0)
    plain, weighted = GMMExpansion().fit(income), GMMExpansion().fit(income, sample_weight=weights)
    right.hist(income, bins=60, density=True, color=BARS, label=f"the {n_asked} answers")
    right.plot(grid, truth, color=INK, linestyle="--", linewidth=1, label="the population")
    right.plot(grid, plain.distribution_.pdf(grid), color="#d98a2b", label="without weights")
    label = f"weighted: as good as {weighted.counts_[0].size:.0f} answers"
    right.plot(grid, weighted.distribution_.pdf(grid), color=LINE, linewidth=2, label=label)
    right.set(title="a survey that asked the young more often", xlabel="log income", ylabel="density", ylim=(0, 0.75))
    right.legend(frameon=False, fontsize=9)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def main(out: Path = Path("weights.png"), population: int = 40_000_000, n_asked: int = 3000, seed: int = 0) -> Path:
    save_figure(draw(population, n_asked, seed), out, dpi=100)
    return out


if __name__ == "__main__":
    print(tyro.cli(main, description=__doc__))
