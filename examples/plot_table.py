"""Every column of a table, by group
=================================

`TableDensity` learns numbers, whole numbers, dates and categories in one pass, and each group as well. Upper row: the
columns of all rows. Lower row: the same of one country, from the same pass.
"""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from gaussmix import TableDensity
from gaussmix.plots import draw_density

plt.style.use("gaussmix.plots.light")
N = 6000
SEED = 0

rng = np.random.default_rng(SEED)
country = rng.choice(["FR", "DE", "IT"], N, p=[0.5, 0.3, 0.2])
sales = pd.DataFrame(
    {
        "price": rng.lognormal(np.where(country == "IT", 3.4, 3.0), 0.5),
        "items": rng.poisson(np.where(country == "IT", 5, 2)),
        "discount": np.where(rng.random(N) < 0.6, 0.0, rng.beta(2, 6, N)),
        "country": country,
    }
)
table = TableDensity(by="country").fit(sales)

figure = plt.figure(figsize=(11, 5.4))
rows = figure.subplots(2, 3)
for panels, (who, columns) in zip(rows, (("all", table.columns_), ("IT", table.groups_["IT"])), strict=True):
    for axes, name in zip(panels, ("price", "items", "discount"), strict=True):
        column = columns[name]
        assert column.density is not None
        draw_density(axes, column.density, column.counts)
        axes.set(title=f"{name}, {who}", xlabel="")
