"""Two moons: a distribution of y for each x
=========================================

One number for y would lie between the moons, where nothing is, and so would the middle of a symmetric interval.
`ConditionalGMMExpansion` learns a mixture for each x. Left: the densest 50, 80 and 95 % of each, over the points.
Middle: the central 90 % interval, which has to span the gap, and a prediction of the mean. Right: the density at one x,
beside the true one.
"""

from typing import Literal

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from gaussmix import ConditionalGMMExpansion
from gaussmix.plots import BARS, INK, LINE, draw_fan

plt.style.use("gaussmix.plots.light")
N = 2000
RULE: Literal["auto", "fast"] = "auto"
SEED = 0
NOISE, SHOWN = 0.08, 0.5  # standard deviation of both coordinates; the x of the right panel
Numbers = NDArray[np.float64]


def arcs(t: Numbers) -> tuple[Numbers, Numbers]:
    """x and y of the upper and the lower moon at angles t (N,): (2, N) each."""
    return np.stack([np.cos(t), 1 - np.cos(t)]), np.stack([np.sin(t), 0.5 - np.sin(t)])


def moons(n: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """x and y (n,)."""
    x, y = arcs(rng.uniform(0, np.pi, n))
    which = rng.integers(0, 2, n), np.arange(n)
    return x[which] + rng.normal(0, NOISE, n), y[which] + rng.normal(0, NOISE, n)


def true_density(y: Numbers, x: float) -> Numbers:
    """p(y | x), by a sum over both arcs."""
    at_x, at_y = (each.ravel() for each in arcs(np.linspace(0, np.pi, 4001)))
    weights = np.exp(-0.5 * ((x - at_x) / NOISE) ** 2)
    bells = np.exp(-0.5 * ((y[:, None] - at_y) / NOISE) ** 2) / (NOISE * np.sqrt(2 * np.pi))
    return bells @ weights / weights.sum()


rng = np.random.default_rng(SEED)
x, y = moons(N, rng)
new_x, new_y = moons(2000, rng)
model = ConditionalGMMExpansion(RULE, random_state=SEED).fit(x[:, None], y)
law = model.predict_distribution(new_x[:, None])
places = np.linspace(-1.1, 2.1, 240)
laws = model.predict_distribution(places[:, None])

figure = plt.figure(figsize=(13, 4.2))
fan, band, cut = figure.subplots(1, 3)
draw_fan(fan, laws, places, (x, y), span=(-1.1, 1.6))
score = f"{-law.logpdf(new_y).mean():.2f} nats, CRPS {law.crps(new_y).mean():.3f} on new rows"
fan.set(title=f"densest sets\n{score}", xlabel="x", ylabel="y")

low, high = laws.interval(0.9).T
band.fill_between(places, low, high, color=BARS, linewidth=0, label="central 90 %")
band.plot(places, laws.mean(), color=LINE, linewidth=1.8, label="mean")
band.plot(x[:400], y[:400], ".", color=INK, markersize=2, label="observations")
covered = np.mean(np.abs(2 * law.pit(new_y) - 1) <= 0.9)
band.set(title=f"what one interval can say\nit covers {covered:.1%} of new rows", xlabel="x", ylabel="y")
band.set(xlim=(places[0], places[-1]), ylim=(-1.1, 1.6))

grid = np.linspace(-1.1, 1.6, 600)
cut.plot(grid, model.predict_distribution([[SHOWN]])[0].pdf(grid), color=LINE, linewidth=2, label="learnt")
cut.plot(grid, true_density(grid, SHOWN), color=INK, linestyle="--", linewidth=1, label="truth")
cut.set(title=f"y at x = {SHOWN}", xlabel="y", ylabel="density", ylim=(0, None))
fan.axvline(SHOWN, color=INK, linewidth=0.8, linestyle="--")
for axes in (band, cut):
    axes.legend()
