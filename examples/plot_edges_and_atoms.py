"""Edges, point masses, rounded numbers
====================================

Left: times between events cannot be negative. The kernel estimate does not know; the automatic rule finds the edge in
the counts. Middle: rain a day is exactly zero on a third of the days. That share is a point mass, with a stem of its
own; density and histogram describe the other days. Right: weights rounded to 2 kg. A kernel estimate of small bandwidth
sees the rounding and nothing else; bins on the lattice of the rounded values see the density.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from scipy import stats

from gaussmix import GMMExpansion
from gaussmix.plots import BARS, INK, LINE, draw_density

plt.style.use("gaussmix.plots.light")
N = 5000
SEED = 0


def compare(axes: Axes, x: np.ndarray, kernel: stats.gaussian_kde, truth: np.ndarray, grid: np.ndarray) -> None:
    model = GMMExpansion().fit(x)
    axes.plot(grid, truth, color=INK, linestyle="--", linewidth=1, label="truth")
    axes.plot(grid, kernel(grid), color="C1", linewidth=1.3, label="gaussian_kde")
    axes.plot(grid, model.distribution_.pdf(grid), color=LINE, linewidth=1.8, label="GMMExpansion")
    axes.set(ylim=(0, 1.3 * max(truth.max(), kernel(grid).max())), xlim=(grid[0], grid[-1]), ylabel="density")
    axes.legend()


rng = np.random.default_rng(SEED)
figure = plt.figure(figsize=(12, 4.2))
left, middle, right = figure.subplots(1, 3)

waits = rng.exponential(3.0, N)
grid = np.linspace(-1.5, 12, 1500)
compare(left, waits, stats.gaussian_kde(waits), stats.expon.pdf(grid, scale=3), grid)
left.set(title="a hard edge: time between events", xlabel="minutes")

rain = np.where(rng.random(N) < 1 / 3, 0.0, rng.gamma(1.5, 4.0, N))
model = GMMExpansion().fit(rain)
draw_density(middle, model.distribution_, model.counts_[0])
middle.set(title="a point mass: rain a day", xlabel="mm; ticks mark quantiles")

weights = 2 * np.round(rng.normal(71, 11, N) / 2)
values, repeats = np.unique(weights, return_counts=True)
grid = np.linspace(32, 112, 1500)
right.bar(values, repeats / N / 2, width=2.0, color=BARS, label="the data")
compare(right, weights, stats.gaussian_kde(weights, 0.05), stats.norm.pdf(grid, 71, 11), grid)
right.set(title="rounded numbers: body weight", xlabel="kg")
right.legend(loc="upper left")
