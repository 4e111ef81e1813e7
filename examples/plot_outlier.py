"""One point at a million
======================

5 000 standard normal numbers and a single wrong one. Whatever divides the range of the data by a number of bins, or
multiplies its standard deviation by a factor, now works at the scale of the outlier: a kernel estimate is a plateau,
and so is a mixture on the papers' grid from the least to the greatest number. `GMMExpansion()` takes bins on an asinh
axis and fits what it fitted before. Right: how much a point costs in a score, the further out the more. Without the far
point a kernel estimate, like the normal distribution itself, soon says "impossible"; the guard of a `GMMExpansion`, a
Student t that holds a fifth of a point, makes it some tens of nats.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from gaussmix import BinnedCounts, GaussianBasis, GMMExpansion
from gaussmix.density.rules import histogram_weights
from gaussmix.plots import ATOM, BARS, INK, LINE

plt.style.use("gaussmix.plots.light")
N = 5000
FAR = 1e6
SEED = 0

clean = np.random.default_rng(SEED).normal(size=N)
x = np.append(clean, FAR)
model = GMMExpansion().fit(x).distribution_
basis = GaussianBasis.as_paper(x.min(), x.max(), 200, bandwidth=3)
on_papers_grid = basis.mixture(histogram_weights(BinnedCounts(basis.axis()).add(x), basis))

figure = plt.figure(figsize=(10, 4.3))
figure.suptitle(f"{N} standard normal numbers and one at {FAR:g}")
left, right = figure.subplots(1, 2)
grid = np.linspace(-4.5, 4.5, 901)
left.hist(clean, bins="fd", density=True, color=BARS, label=f"the {N}, without the far one")
left.plot(grid, model.pdf(grid), color=LINE, linewidth=2, label="GMMExpansion")
left.plot(grid, stats.gaussian_kde(x)(grid), color="C1", linewidth=2, label="gaussian_kde")
left.plot(grid, on_papers_grid.pdf(grid), color=ATOM, linestyle="--", label="the papers' grid, n = 200")
left.set(title="the middle", xlabel="value", ylabel="density", ylim=(-0.01, 0.62))

distance = np.geomspace(1, 100 * FAR, 400)
kernel = stats.gaussian_kde(clean).logpdf(distance)
right.plot(distance, model.logpdf(distance), color=LINE, linewidth=2, label="GMMExpansion")
right.plot(distance, kernel, color="C1", linewidth=2, label="gaussian_kde, without the far point")
right.plot(distance, stats.norm.logpdf(distance), color=INK, linestyle="--", linewidth=1, label="normal distribution")
right.set(title="far out", xlabel="value", ylabel="log-density, nats", xscale="log", ylim=(-130, 5))
for axes in (left, right):
    axes.legend()
