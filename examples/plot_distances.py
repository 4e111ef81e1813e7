"""What each distance sees
=======================

A normal distribution against one that moves away, and one that widens. Total variation and the Jensen-Shannon
divergence reach their limits once the two have little in common, and then no longer say how far apart they are; KL
grows with the square; Wasserstein's distance is the distance. The difference of the means, which D Eq. 6 computes and
calls W1, equals it on the left and stays at zero on the right.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import GaussianMixture1D
from gaussmix.distances import (
    gaussian_mmd2,
    jensen_shannon_divergence,
    kl_divergence,
    mean_difference_bound,
    total_variation_distance,
    wasserstein_distance,
)

plt.style.use("gaussmix.plots.light")
N_SHIFTS = 61
MOST = 6.0
CURVES = (
    ("Wasserstein W1", wasserstein_distance, "C0", "-"),
    ("difference of the means", mean_difference_bound, "C4", "--"),
    ("KL divergence", kl_divergence, "C3", "-"),
    ("total variation", total_variation_distance, "C1", "-"),
    ("Jensen-Shannon divergence", jensen_shannon_divergence, "C2", "-"),
    ("squared MMD, sigma 1", lambda a, b: gaussian_mmd2(a, b, 1.0), "C5", ":"),
)

figure = plt.figure(figsize=(10, 4.2))
left, right = figure.subplots(1, 2, sharey=True)
fixed = GaussianMixture1D([1.0], [0.0], [1.0])
for axes, x, others in (
    (left, np.linspace(0, MOST, N_SHIFTS), lambda s: GaussianMixture1D([1.0], [s], [1.0])),
    (right, np.linspace(1, 1 + MOST, N_SHIFTS), lambda s: GaussianMixture1D([1.0], [0.0], [s])),
):
    for name, distance, color, style in CURVES:
        axes.plot(x, [distance(fixed, others(s)) for s in x], style, color=color, linewidth=1.8, label=name)
    axes.set_xlim(x[0], x[-1])
left.set(title="N(0, 1) and N(s, 1)", xlabel="s", ylabel="distance", ylim=(0, 4))
right.set(title="N(0, 1) and N(0, s²)", xlabel="s")
right.legend()
