"""A column of dates
=================

Dates are learnt as days or seconds and given back as dates. Orders of a year with a quiet summer and a busy December;
quantiles, a sample and the share before a day speak of dates, too.
"""

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import GMMExpansion
from gaussmix.plots import INK, kdeplot

plt.style.use("gaussmix.plots.light")
N = 8000
SEED = 0

rng = np.random.default_rng(SEED)
day = np.arange(366)
busy = 1 - 0.4 * np.exp(-(((day - 205) / 25) ** 2)) + 1.5 * np.exp(-(((day - 345) / 10) ** 2))
orders = np.datetime64("2024-01-01") + rng.choice(day, N, p=busy / busy.sum())

model = GMMExpansion().fit(orders)
quarters = model.quantiles([0.25, 0.5, 0.75]).ravel()

figure = plt.figure(figsize=(10, 4))
axes = figure.subplots()
kdeplot(orders, fill=True, ax=axes)
for date in quarters:
    axes.axvline(date, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(f" {date.astype('M8[D]')}", (date, 0.02), xycoords=("data", "axes fraction"), fontsize=9)
axes.set(title="orders of a year, and the days by which a quarter, half and three quarters had come", xlabel="day")
