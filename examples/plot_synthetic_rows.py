"""Rows drawn anew
===============

`TableDensity(dependence="copula")` keeps a density for each column and ties them by a Gaussian copula. Left: real rows,
right: drawn ones. Edges, whole numbers and the dependence are kept; no row is copied.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from gaussmix import TableDensity

plt.style.use("gaussmix.plots.light")
N = 2500
SEED = 0

rng = np.random.default_rng(SEED)
area = rng.gamma(6, 15, N)
rooms = np.clip(np.round(area / 28 + rng.normal(0, 0.6, N)), 1, None)
homes = pd.DataFrame({"area": area, "rooms": rooms, "rent": area * rng.lognormal(2.4, 0.25, N)})
drawn = TableDensity(dependence="copula").fit(homes).sample(N, random_state=SEED)

figure = plt.figure(figsize=(10, 4.4))
left, right = figure.subplots(1, 2, sharex=True, sharey=True)
for axes, title, rows in ((left, "real", homes), (right, "drawn", drawn)):
    dots = axes.scatter(rows["area"], rows["rent"], c=rows["rooms"], s=7, vmin=1, vmax=8)
    together = np.corrcoef(np.log(rows["area"]), np.log(rows["rent"]))[0, 1]
    axes.set(title=f"{title}: correlation of the logarithms {together:.2f}", xlabel="area, m²", xlim=(0, 250))
left.set(ylabel="rent", ylim=(0, 4000))
figure.colorbar(dots, ax=[left, right], label="rooms")
