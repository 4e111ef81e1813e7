"""Tables of counts, and survey weights
====================================

Left: databases and `value_counts` hand out tables, not rows. Integers as `sample_weight` are frequencies: the fit is,
bit for bit, that of the repeated rows, here forty million of them from a hundred lines. Right: floats are importance
weights. A survey asked the young three times as often as the old; weighted by the inverse, the density is that of the
population, and the bandwidths suit the effective number of answers (Kish's), not the number of rows.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from gaussmix import GMMExpansion
from gaussmix.plots import BARS, INK, LINE, draw_density

plt.style.use("gaussmix.plots.light")
POPULATION = 40_000_000
N_ASKED = 3000
SEED = 0

rng = np.random.default_rng(SEED)
figure = plt.figure(figsize=(10, 4.2))
left, right = figure.subplots(1, 2)

ages = np.arange(100)
expected = 1 / (1 + np.exp((ages - 78) / 6)) * (1 + 0.3 * np.cos((ages - 30) / 14))
frequencies = rng.poisson(POPULATION * expected / expected.sum())
model = GMMExpansion().fit(ages, sample_weight=frequencies)
draw_density(left, model.distribution_, model.counts_[0])
left.set(title=f"{len(ages)} lines of a table, {model.report_.n / 1e6:.1f} million people", xlabel="age")

grid = np.linspace(-1, 8, 900)
truth = 0.5 * stats.norm.pdf(grid, 2, 0.6) + 0.5 * stats.norm.pdf(grid, 4.5, 0.9)
young = rng.random(N_ASKED) < 0.75
income = np.where(young, rng.normal(2, 0.6, N_ASKED), rng.normal(4.5, 0.9, N_ASKED))
weights = np.where(young, 1.0, 3.0)
plain, weighted = GMMExpansion().fit(income), GMMExpansion().fit(income, sample_weight=weights)
right.hist(income, bins=60, density=True, color=BARS, label=f"the {N_ASKED} answers")
right.plot(grid, truth, color=INK, linestyle="--", linewidth=1, label="the population")
right.plot(grid, plain.distribution_.pdf(grid), color="C1", label="without weights")
label = f"weighted: as good as {weighted.counts_[0].size:.0f} answers"
right.plot(grid, weighted.distribution_.pdf(grid), color=LINE, linewidth=2, label=label)
right.set(title="a survey that asked the young more often", xlabel="log income", ylabel="density", ylim=(0, 0.75))
right.legend()
