"""A stream in chunks, and two machines
====================================

Left: `partial_fit` over a stream that drifts, so that later chunks lie outside the range of the first; the bins grow
with it, and every state is what a fit of everything so far would be. Right: two machines hold different halves of the
data (here: small and large values). Each counts on its own, from `empty_like` of one model that laid the bins, and
`merge` adds the counts. The title says how much the merged counts differ from those of one pass: integers, so not at
all.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from gaussmix import GMMExpansion
from gaussmix.plots import BARS, INK, LINE

plt.style.use("gaussmix.plots.light")
CHUNK = 1000
N_CHUNKS = 100
SEED = 0

rng = np.random.default_rng(SEED)
figure = plt.figure(figsize=(10, 4.3))
left, right = figure.subplots(1, 2)

drift = np.linspace(0, 6, N_CHUNKS)
model = GMMExpansion()
grid = np.linspace(-3, 12, 1001)
shown = sorted({1, max(N_CHUNKS // 4, 1), N_CHUNKS})
for number, center in enumerate(drift, start=1):
    model.partial_fit(rng.gamma(2.0, size=CHUNK) + center - 2)
    if number in shown:
        shade = {"color": LINE, "alpha": 0.35 + 0.65 * number / N_CHUNKS}
        left.plot(grid, model.distribution_.pdf(grid), label=f"after {number * CHUNK} numbers", **shade)
truth = np.mean([stats.gamma.pdf(grid, 2.0, loc=center - 2) for center in drift], axis=0)
left.plot(grid, truth, color=INK, linestyle="--", linewidth=1, label="truth of the whole stream")
left.set_title("a stream that drifts to the right")

n = CHUNK * N_CHUNKS // 2
x = rng.choice([-1.0, 1.5], n, p=[0.4, 0.6]) + rng.normal(0, 0.8, n)
start = GMMExpansion().partial_fit(rng.choice(x, CHUNK, replace=False))  # lays the bins
first, second = start.empty_like().partial_fit(x[x < 0]), start.empty_like().partial_fit(x[x >= 0])
grid = np.linspace(-4, 5, 1001)
for part, label, color in ((first, "machine 1", "#f0d9b5"), (second, "machine 2", BARS)):
    share = part.counts_[0].n / len(x)
    right.fill_between(grid, share * part.distribution_.pdf(grid), color=color, label=label)
merged = start.empty_like().merge(first).merge(second)
at_once = start.empty_like().partial_fit(x)
difference = int(np.abs(merged.counts_[0].counts - at_once.counts_[0].counts).max())
right.plot(grid, merged.distribution_.pdf(grid), color=LINE, linewidth=2, label="merged")
right.set_title(f"two machines: counts differ from one pass by {difference}")
for axes in (left, right):
    axes.set(xlabel="value", ylabel="density", ylim=(0, None))
    axes.legend()
