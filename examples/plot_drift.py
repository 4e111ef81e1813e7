"""What moved between two tables
=============================

`compare_tables` says how far each column moved, beside what chance alone would do. Here prices rose by a fifth, and
nothing else changed; a bar that ends within the grey is chance.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from gaussmix.plots import ATOM, BARS, LINE, PAIR, kdeplot
from gaussmix.tables import compare_tables

plt.style.use("gaussmix.plots.light")
N = 8000
SEED = 0

rng = np.random.default_rng(SEED)
march = pd.DataFrame(
    {"price": rng.gamma(2, 10, N), "visits": rng.poisson(3, N).astype(float), "wait": rng.exponential(4, N)}
)
april = pd.DataFrame(
    {"price": rng.gamma(2, 12, N), "visits": rng.poisson(3, N).astype(float), "wait": rng.exponential(4, N)}
)
found = compare_tables(march, april, names=("march", "april"))

figure = plt.figure(figsize=(10, 4))
left, right = figure.subplots(1, 2)
kdeplot({"march": march["price"], "april": april["price"]}, palette=PAIR, ax=left)
left.set(title="price, the column that moved", xlabel="price", xlim=(0, 80))
for place, column in enumerate(found.columns):
    moved = column.share_of_spread > column.share_of_spread_floor
    right.barh(place, column.share_of_spread_floor, height=0.8, color=BARS, label="" if place else "chance, at most")
    right.barh(place, column.share_of_spread, height=0.3, color=ATOM if moved else LINE)
right.set_yticks(range(len(found.columns)), [column.name for column in found.columns])
right.set(title="how far each moved", xlabel="Wasserstein distance, in spreads")
right.legend()
