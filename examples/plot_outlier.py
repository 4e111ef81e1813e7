"""One point at a million, and why nothing breaks.

5 000 standard normal numbers and a single wrong one. Whatever divides the range of the data by a number of bins, or
multiplies its standard deviation by a factor, now works at the scale of the outlier: a kernel estimate is a plateau,
and so is a mixture on the papers' grid from the least to the greatest number. `GMMExpansion()` takes bins on an asinh
axis and fits what it fitted before. Right: how much a point costs in a score, the further out the more. Without the far
point a kernel estimate, like the normal distribution itself, soon says "impossible"; the guard of a `GMMExpansion`, a
Student t that holds a fifth of a point, makes it some tens of nats.

python examples/plot_outlier.py --out outlier.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure
from scipy import stats

from gaussmix import BinnedCounts, GaussianBasis, GMMExpansion
from gaussmix.density.rules import histogram_weights
from gaussmix.plots import ATOM, BARS, INK, LINE, save_figure


def draw(n: int = 5000, far: float = 1e6, seed: int = 0) -> Figure:
    clean = np.random.default_rng(seed).normal(size=n)
    x = np.append(clean, far)
    model = GMMExpansion().fit(x).distribution_
    basis = GaussianBasis.as_paper(x.min(), x.max(), 200, bandwidth=3)
    on_papers_grid = basis.mixture(histogram_weights(BinnedCounts(basis.axis()).add(x), basis))

    figure = Figure(figsize=(10, 4.3), layout="constrained")
    figure.suptitle(f"{n} standard normal numbers and one at {far:g}")
    left, right = figure.subplots(1, 2)
    grid = np.linspace(-4.5, 4.5, 901)
    left.hist(clean, bins="fd", density=True, color=BARS, label=f"the {n}, without the far one")
    left.plot(grid, model.pdf(grid), color=LINE, linewidth=2, label="GMMExpansion")
    left.plot(grid, stats.gaussian_kde(x)(grid), color="#d98a2b", linewidth=2, label="gaussian_kde")
    left.plot(grid, on_papers_grid.pdf(grid), color=ATOM, linestyle="--", label="the papers' grid, n = 200")
    left.set(title="the middle", xlabel="value", ylabel="density", ylim=(-0.01, 0.62))

    distance = np.geomspace(1, 100 * far, 400)
    kernel = stats.gaussian_kde(clean).logpdf(distance)
    right.plot(distance, model.logpdf(distance), color=LINE, linewidth=2, label="GMMExpansion")
    right.plot(distance, kernel, color="#d98a2b", linewidth=2, label="gaussian_kde, without the far point")
    right.plot(
        distance, stats.norm.logpdf(distance), color=INK, linestyle="--", linewidth=1, label="normal distribution"
    )
    right.set(title="far out", xlabel="value", ylabel="log-density, nats", xscale="log", ylim=(-130, 5))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    return figure


def main(out: Path = Path("outlier.png"), n: int = 5000, far: float = 1e6, seed: int = 0) -> Path:
    save_figure(draw(n, far, seed), out, dpi=100)
    return out


if __name__ == "__main__":
    print(tyro.cli(main, description=__doc__))
