"""A line for each group, as seaborn's kdeplot
===========================================

`gaussmix.plots.kdeplot` takes what seaborn's function of that name takes. Left: waiting times of two lines end at zero,
and so do their densities. Right: tips, many of them whole: those are stems of their shares, and the rest is a density.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix.plots import kdeplot

plt.style.use("gaussmix.plots.light")
N = 3000
SEED = 0

rng = np.random.default_rng(SEED)
line = np.where(rng.random(N) < 0.6, "a", "b")
waits = {"minutes": rng.exponential(np.where(line == "a", 3.0, 6.0)), "line": line}
meal = np.where(rng.random(N) < 0.4, "lunch", "dinner")
tip = rng.gamma(4, np.where(meal == "lunch", 0.6, 1.0))
tips = {"tip": np.where(rng.random(N) < 0.3, rng.integers(1, 5, N), tip), "meal": meal}

figure = plt.figure(figsize=(10, 4.2))
left, right = figure.subplots(1, 2)
kdeplot(waits, x="minutes", hue="line", fill=True, ax=left)
left.set(title="waiting times end at zero", xlim=(-1, 25))
kdeplot(tips, x="tip", hue="meal", ax=right)
right.set(title="whole tips are stems", xlim=(0, 12))
