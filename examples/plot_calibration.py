"""Is a predicted distribution right?
==================================

Reliability: the share of observations inside central intervals, over the share that they promise. Histogram of
transforms: flat where the model is right. Both of rows that the model did not see, with what chance leaves.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import ConditionalGMMExpansion
from gaussmix.conditional import pit_histogram, reliability
from gaussmix.plots import draw_pit_histogram, draw_reliability

plt.style.use("gaussmix.plots.light")
N = 1500
SEED = 0

rng = np.random.default_rng(SEED)
x = rng.uniform(0, 3, (N, 2))
y = np.sin(2 * x[:, 0]) + (0.1 + 0.3 * x[:, 1]) * rng.standard_t(4, N)
model = ConditionalGMMExpansion("fast", random_state=SEED).fit(x, y)

figure = plt.figure(figsize=(10, 4.4))
left, right = figure.subplots(1, 2)
draw_reliability(left, *reliability(model), N)
left.set_title("central intervals cover what they promise")
draw_pit_histogram(right, *pit_histogram(model), N)
right.set_title("transforms of what was observed")
