"""A density in place of a histogram
=================================

Four shapes that defaults get wrong: a skewed one, one with peaks of different widths, one with hard edges and one with
heavy tails. A histogram (Freedman-Diaconis bins) is rough, a kernel estimate (SciPy's `gaussian_kde`) has one bandwidth
for peaks and tails and leaks over edges. `GMMExpansion()` has no parameter to set. The numbers in the legends are the
areas between each estimate and the density that the points were drawn from.
"""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from gaussmix import GaussianMixture1D, GMMExpansion
from gaussmix.plots import BARS, INK, LINE

plt.style.use("gaussmix.plots.light")
N = 2000
SEED = 2
SHAPES: dict[str, tuple[Any, tuple[float, float]]] = {
    "skewed: gamma, shape 2": (stats.gamma(2), (-0.7, 9.0)),
    "a wide and a narrow peak": (GaussianMixture1D([0.7, 0.3], [0.0, 3.0], [1.0, 0.1]), (-4.0, 5.0)),
    "hard edges: uniform": (stats.uniform(), (-0.25, 1.25)),
    "heavy tails: Student t, 2 degrees of freedom": (stats.t(2), (-9.0, 9.0)),
}


def area(difference: np.ndarray, grid: np.ndarray) -> str:
    return f"{np.trapezoid(np.abs(difference), grid):.3f}"


figure = plt.figure(figsize=(10, 6))
figure.suptitle(f"{N} numbers of four shapes; the area between estimate and truth in the legends")
for axes, (title, (truth, (low, high))) in zip(figure.subplots(2, 2).flat, SHAPES.items(), strict=True):
    x = truth.rvs(N, random_state=SEED)
    grid = np.linspace(low, high, 1501)
    density = truth.pdf(grid)

    edges = np.histogram_bin_edges(x, "fd")
    heights = np.histogram(x, edges, density=True)[0]
    bar = np.searchsorted(edges, grid, "right") - 1
    bars = np.where((bar >= 0) & (bar < len(heights)), heights[bar.clip(0, len(heights) - 1)], 0.0)
    kernel = stats.gaussian_kde(x)(grid)
    ours = GMMExpansion().fit(x).distribution_.pdf(grid)

    axes.stairs(heights, edges, fill=True, color=BARS, label=f"histogram {area(bars - density, grid)}")
    axes.plot(grid, density, color=INK, linewidth=1, linestyle="--", label="truth")
    label = f"gaussian_kde {area(kernel - density, grid)}"
    axes.plot(grid, kernel, color="C1", linewidth=1.3, label=label)
    axes.plot(grid, ours, color=LINE, linewidth=1.8, label=f"GMMExpansion {area(ours - density, grid)}")
    axes.set(title=title, xlim=(low, high), ylim=(0, 1.25 * density.max()), ylabel="density")
    axes.legend(fontsize=8, edgecolor="none")
