"""The papers' rules on one basis
==============================

A basis is n equally spaced Gaussians of one scale, t spacings wide. The papers' rules differ in how they turn the
counts around each centre into weights. Thin: t = 1, the least of the papers' tables, where every rule follows the
noise. Thick: `bandwidth="cv"`, chosen by held-out likelihood from the same counts. "algorithm2" as printed sets most
weights below zero, which are then clipped. Last panel: how far each rule's density is from the truth at every t.
"""

import warnings
from typing import Literal, get_args

import numpy as np
from matplotlib import pyplot as plt

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.plots import INK, LINE

plt.style.use("gaussmix.plots.light")
N = 5000
N_COMPONENTS = 200
N_BANDWIDTHS = 13
SEED = 6
Rule = Literal["histogram", "algorithm1", "algorithm2", "kernel", "ml"]
COLORS = dict(zip(get_args(Rule), ["C5", "C2", "C4", "C1", "C3"], strict=True))

rng = np.random.default_rng(SEED)
truth = GaussianMixture1D(rng.dirichlet(np.ones(8)), rng.uniform(0, 100, 8), rng.uniform(5, 15, 8))
x = truth.rvs(N, random_state=rng)
grid = np.linspace(x.min() - 10, x.max() + 10, 1200)
density = truth.pdf(grid)


def fit(rule: Rule, t: float | Literal["cv"]) -> tuple[np.ndarray, float, float]:
    """Density on the grid, the area between it and the truth, the bandwidth."""
    with warnings.catch_warnings():  # of "ml" at small t and of "algorithm2": what the picture is about
        warnings.simplefilter("ignore", UserWarning)
        model = GMMExpansion(rule, n_components=N_COMPONENTS, bandwidth=t).fit(x)
    fitted = model.distribution_.pdf(grid)
    return fitted, float(np.trapezoid(np.abs(fitted - density), grid)), model.report_.details["bandwidth"]


figure = plt.figure(figsize=(11, 6))
figure.suptitle(f"{N} numbers from 8 Gaussians, {N_COMPONENTS} components; dashed: truth; error: area between")
*panels, last = figure.subplots(2, 3).flat
bandwidths = np.geomspace(0.5, 32, N_BANDWIDTHS)
for axes, (rule, color) in zip(panels, COLORS.items(), strict=True):
    rough, rough_error, _ = fit(rule, 1.0)
    best, best_error, t = fit(rule, "cv")
    axes.plot(grid, rough, color=color, alpha=0.8, linewidth=0.9, label=f"t = 1, error {rough_error:.3f}")
    axes.plot(grid, best, color=LINE, linewidth=1.8, label=f"cv: t = {t:.3g}, error {best_error:.3f}")
    axes.plot(grid, density, color=INK, linestyle="--", linewidth=1)
    axes.set(title=f'"{rule}"', ylim=(0, 1.8 * density.max()), yticks=[])
    last.plot(
        bandwidths,
        [fit(rule, float(t))[1] for t in bandwidths],
        color=color,
        label=rule,
        ls="--" if rule == "kernel" else "-",
    )
last.set(title="error at every bandwidth", xlabel="t, in spacings", xscale="log", yscale="log", ylim=(0.025, 6))
last.set_xticks([0.5, 1, 2, 4, 8, 16, 32], ["1/2", "1", "2", "4", "8", "16", "32"])
for axes in panels:
    axes.legend(loc="upper left")
last.legend(loc="upper left", ncols=2)
