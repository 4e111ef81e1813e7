"""Other people's mixtures
=======================

A mixture that was fitted elsewhere becomes a `GaussianMixture1D`, from its weights, means and standard deviations or by
`from_sklearn`, and has a distribution function, exact quantiles, intervals and samples in random order. Left: density,
components and sample. Right: the distribution function, read backwards: the value below which 95 % lie.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy import stats
from sklearn.mixture import GaussianMixture

from gaussmix import GaussianMixture1D
from gaussmix.plots import ATOM, BARS, INK, LINE

plt.style.use("gaussmix.plots.light")
N = 1000
N_SAMPLED = 20_000
SEED = 0

rng = np.random.default_rng(SEED)
heights = np.concatenate([rng.normal(162, 6.0, N // 2), rng.normal(179, 6.5, N - N // 2)])
theirs = GaussianMixture(2, random_state=SEED).fit(heights[:, None])
mixture = GaussianMixture1D.from_sklearn(theirs)

figure = plt.figure(figsize=(10, 4.2))
figure.suptitle("a scikit-learn mixture of two Gaussians, with all that a distribution has")
left, right = figure.subplots(1, 2)
x = np.linspace(mixture.ppf(0.0005), mixture.ppf(0.9995), 800)
sample = mixture.rvs(N_SAMPLED, random_state=SEED)
left.hist(sample, bins=60, density=True, color=BARS, label=f"rvs({N_SAMPLED})")
left.plot(x, mixture.pdf(x), color=LINE, linewidth=2, label="pdf")
for weight, mean, std in zip(mixture.weights, mixture.means, mixture.stds, strict=True):
    left.plot(x, weight * stats.norm.pdf(x, mean, std), color=LINE, linestyle=":")
low, high = mixture.interval(0.9)
left.axvspan(low, high, ymax=0.02, color=ATOM, label=f"interval(.9): {low:.0f} to {high:.0f}")
left.set(xlabel="height, cm", ylabel="density", ylim=(0, 1.3 * mixture.pdf(x).max()))

right.plot(x, mixture.cdf(x), color=LINE, linewidth=2, label="cdf")
for share in (0.05, 0.5, 0.95):
    value = mixture.ppf(share)
    right.plot([x[0], value, value], [share, share, -0.08], color=INK, linewidth=0.8)
    label = f"ppf({share:g}) = {value:.1f}"
    right.annotate(label, (value, share), (6, -12), textcoords="offset points", fontsize=9)
right.set(xlabel="height, cm", ylabel="share below", ylim=(-0.08, 1.03), xlim=(x[0], x[-1]))
left.legend()
