"""Modes, and the smallest set that holds 90 %
===========================================

A central interval spans the valley between two peaks; the highest-density set leaves it out. `modes`, `hdi` and
`interval` are methods of every distribution that is learnt.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import GMMExpansion
from gaussmix.plots import ATOM, INK, LINE

plt.style.use("gaussmix.plots.light")
N = 4000
SEED = 0

rng = np.random.default_rng(SEED)
eruptions = np.where(rng.random(N) < 0.36, rng.normal(2.0, 0.25, N), rng.normal(4.3, 0.42, N))
law = GMMExpansion().fit(eruptions).distribution_

figure = plt.figure(figsize=(9, 4))
axes = figure.subplots()
x = np.linspace(0.8, 6, 800)
axes.plot(x, law.pdf(x), color=LINE)
for low, high in law.hdi(0.9):
    inside = (x >= low) & (x <= high)
    axes.fill_between(x[inside], law.pdf(x[inside]), color="C5", alpha=0.4, linewidth=0)
axes.fill_between([], [], color="C5", alpha=0.4, label="densest 90 %")
axes.plot(law.modes(), law.pdf(law.modes()), "o", color=ATOM, label="modes")
axes.plot(law.interval(0.9), [-0.02, -0.02], color=INK, linewidth=4, label="central 90 %")
axes.set(title="minutes of an eruption", xlabel="minutes", ylabel="density", ylim=(-0.05, None))
axes.legend()
