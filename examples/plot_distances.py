"""What each distance sees: a normal distribution against one that moves away, and one that widens.

Total variation and the Jensen-Shannon divergence reach their limits once the two have little in common, and then no
longer say how far apart they are; KL grows with the square; Wasserstein's distance is the distance. The difference of
the means, which D Eq. 6 computes and calls W1, equals it on the left and stays at zero on the right.

python examples/plot_distances.py --out distances.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure

from gaussmix import GaussianMixture1D
from gaussmix.distances import (
    gaussian_mmd2,
    jensen_shannon_divergence,
    kl_divergence,
    mean_difference_bound,
    total_variation_distance,
    wasserstein_distance,
)
from gaussmix.plots import save_figure

CURVES = (
    ("Wasserstein W1", wasserstein_distance, "#1f5fa8", "-"),
    ("difference of the means", mean_difference_bound, "#c2402a", "--"),
    ("KL divergence", kl_divergence, "#7b4ea3", "-"),
    ("total variation", total_variation_distance, "#d98a2b", "-"),
    ("Jensen-Shannon divergence", jensen_shannon_divergence, "#5b8c3a", "-"),
    ("squared MMD, sigma 1", lambda a, b: gaussian_mmd2(a, b, 1.0), "#2a9d8f", ":"),
)


def draw(n_shifts: int = 61, most: float = 6.0) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    fixed = GaussianMixture1D([1.0], [0.0], [1.0])
    for axes, x, others in (
        (left, np.linspace(0, most, n_shifts), lambda s: GaussianMixture1D([1.0], [s], [1.0])),
        (right, np.linspace(1, 1 + most, n_shifts), lambda s: GaussianMixture1D([1.0], [0.0], [s])),
    ):
        for name, distance, color, style in CURVES:
            axes.plot(x, [distance(fixed, others(s)) for s in x], style, color=color, linewidth=1.8, label=name)
        axes.set_xlim(x[0], x[-1])
        axes.spines[["top", "right"]].set_visible(False)
    left.set(title="N(0, 1) and N(s, 1)", xlabel="s", ylabel="distance", ylim=(0, 4))
    right.set(title="N(0, 1) and N(0, s²)", xlabel="s")
    right.legend(frameon=False, fontsize=9)
    return figure


def main(out: Path = Path("distances.png"), n_shifts: int = 61, most: float = 6.0) -> Path:
    save_figure(draw(n_shifts, most), out, dpi=88)
    return out


if __name__ == "__main__":
    print(tyro.cli(main, description=__doc__))
