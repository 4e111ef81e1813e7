"""Given that it is worse than: truncation and tails
=================================================

What is a claim like, given that it is above a threshold? `truncate` answers from the mixture itself, also where less
than one claim in a million lies; `expect` gives the mean excess.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import GMMExpansion
from gaussmix.plots import INK, LINE

plt.style.use("gaussmix.plots.light")
N = 20_000
SEED = 0

claims = np.random.default_rng(SEED).lognormal(1.0, 0.8, N)
law = GMMExpansion().fit(claims).distribution_

figure = plt.figure(figsize=(10, 4))
left, right = figure.subplots(1, 2)
x = np.linspace(0, 30, 900)
left.plot(x, law.pdf(x), color=INK, linewidth=1, linestyle="--", label="all claims")
for shade, low in enumerate((5.0, 10.0)):
    above = law.truncate(low=low)
    left.plot(x[x >= low], above.pdf(x[x >= low]), color=f"C{shade}", label=f"above {low:g}: mean {above.mean():.1f}")
left.set(title="a claim, and a claim above a threshold", xlabel="claim", ylabel="density")
left.legend()

thresholds = np.geomspace(1, 20, 25)
excess = [law.truncate(low=low).mean() - low for low in thresholds]
empirical = [np.mean(claims[claims > low]) - low for low in thresholds]
right.plot(thresholds, excess, color=LINE, label="of the mixture")
right.plot(thresholds, empirical, "o", color=INK, markersize=3, label="of the data")
right.set(title="mean excess over a threshold", xlabel="threshold", ylabel="mean excess")
right.legend()
