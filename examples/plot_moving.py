"""Weights that move to a target
=============================

D Algorithm 1, and the default of `learn_weights`. Both start from one peak and shall become two. The paper's rule only
fills what is missing, from what surrounds it: after ten steps it looks right, then it settles beside its target.
Projected gradient, with the same kernel, both signs and the centre's own error, arrives. Right: how far each is from
the target, by step.
"""

from typing import Literal

import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import norm

from gaussmix import GaussianBasis
from gaussmix.ngmg import learn_weights
from gaussmix.plots import ATOM, BARS, INK, LINE

plt.style.use("gaussmix.plots.light")
N_COMPONENTS = 120
N_STEPS = 2000
MODES: tuple[tuple[Literal["paper", "projected"], str, str], ...] = (
    ("paper", "the paper's algorithm", ATOM),
    ("projected", "projected gradient, the default", LINE),
)
SHOWN = (1, 10, 100)

basis = GaussianBasis.spanning(-6.0, 6.0, N_COMPONENTS)
start = norm.pdf(basis.centers, -2.5, 0.8)
target = 0.6 * norm.pdf(basis.centers, 2.5, 0.7) + 0.4 * norm.pdf(basis.centers, -0.5, 0.6)
start, target = start / start.sum(), target / target.sum()
figure = plt.figure(figsize=(11, 5.2))
grid = figure.add_gridspec(2, 5)
curve = figure.add_subplot(grid[:, 3:])
for row, (mode, about, color) in enumerate(MODES):
    found = learn_weights(target, basis, initial=start, mode=mode, n_steps=N_STEPS, tolerance=1e-9)
    for column, step in enumerate(SHOWN):
        axes = figure.add_subplot(grid[row, column])
        weights = found.path[np.searchsorted(found.steps, step).clip(max=len(found.steps) - 1)]
        axes.fill_between(basis.centers, target, color=BARS, linewidth=0)
        axes.plot(basis.centers, start, color=INK, linewidth=0.8, linestyle=":")
        axes.plot(basis.centers, weights, color=color, linewidth=1.6)
        axes.set(
            title=f"{step} step{'s' * (step > 1)}",
            xlabel="x" if row else "",
            yticks=[],
            ylim=(0, 1.3 * start.max()),
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        if column == 0:
            axes.set_ylabel(about)
    curve.plot(found.steps[1:], found.l1[1:], color=color, label=about)
curve.set(title="distance from the target", xlabel="step", ylabel="L1 of the weights", xscale="log", yscale="log")
curve.legend()
figure.suptitle("Shaded: target. Dotted: start.", fontsize=10)
