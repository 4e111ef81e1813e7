"""D Figure 10: the negative Gaussian mixture gradient step by step, and what D section 4 says of it, checked.

    L = min(pi1 - pi2, 0)  ->  a Gaussian on each L_i  ->  their sum, a negative mixture  ->  NGMG at the centres

Its sum is |NGMG|_1 = sum_i w_i |L_i|, w_i = sum_{j != i} phi(mu_j; mu_i, sigma): but for the ends, where w_i is about
half, a multiple of TV = sum_i |L_i|, the total variation distance of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from gaussmix.density.basis import GaussianBasis
from gaussmix.distances.mmd import kernel_matrix
from gaussmix.ngmg import negative_gaussian_mixture_gradient
from reproduction.diffusion.pairs import RANGE, draw_weights
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGMAS = (0.5, 1.0, 2.0, 5.0)  # of the checks, in spacings
ROUNDING = 1e-12  # relative; what two sides of an equation may differ by

PAPER = {"claim": "-max phi <= NGMG <= 0; | ||NGMG(a, c)|| - ||NGMG(b, c)|| | = ||NGMG(a, b)|| <= Lipschitz * distance"}


@dataclass(frozen=True)
class Config:
    """Settings of Figure 10."""

    seed: int = 21
    n_components: int = 40
    sigma: float = 2.0
    """Of what is drawn, in spacings; the paper does not say."""
    triples: int = 1000
    """Random laws, three at a time, on which the claims are checked."""

    @property
    def n_steps(self) -> int:
        return len(SIGMAS)

    def quick(self) -> Config:
        return replace(self, triples=20)


def check_claims(config: Config, t: float) -> dict[str, float]:
    """Return what holds at sigma = t spacings, as shares of random triples, half of them smooth and half rough laws."""
    basis = GaussianBasis.spanning(*RANGE, config.n_components, t)
    rng = np.random.default_rng([config.seed, round(10 * t)])
    smooth = [[draw_weights(basis, rng) for _ in range(3)] for _ in range(config.triples // 2)]
    rough = rng.dirichlet(np.full(config.n_components, 0.3), (config.triples - len(smooth), 3))
    a, b, c = np.concatenate([smooth, rough]).swapaxes(0, 1)
    M = kernel_matrix(basis, basis.bandwidth * basis.spacing, diagonal=False)
    fields = {
        pair: negative_gaussian_mixture_gradient(x, y, basis)
        for pair, x, y in (("ac", a, c), ("bc", b, c), ("ab", a, b), ("ba", b, a))
    }
    norms = {pair: np.abs(field).sum(1) for pair, field in fields.items()}
    apart = np.abs(norms["ac"] - norms["bc"])
    lowest = -M.max()
    to_tv = norms["ac"] / (np.abs(a - c).sum(1) / 2) * basis.spacing
    return {
        "within_bounds": float(((fields["ac"] <= 0) & (fields["ac"] >= lowest)).all(1).mean()),
        "within_bounds_eq14": float(((-fields["ac"] <= 0) & (-fields["ac"] >= lowest)).all(1).mean()),
        "lowest_to_bound": float((fields["ac"].min(1) / lowest).max()),
        "zero_if_equal": float((negative_gaussian_mixture_gradient(a, a, basis) == 0).all(1).mean()),
        "positive_if_not": float((norms["ac"] > 0).mean()),
        "norm_to_tv_least": float(to_tv.min()),
        "norm_to_tv_most": float(to_tv.max()),
        "printed_equality": float((np.abs(apart - norms["ab"]) <= ROUNDING * norms["ab"]).mean()),
        "triangle": float((apart <= np.maximum(norms["ab"], norms["ba"]) * (1 + ROUNDING)).mean()),
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return what holds of the claims, by sigma and over all, and two laws to draw."""
    rows = {}
    for k, t in enumerate(SIGMAS):
        rows[f"sigma = {t:g} r"] = check_claims(config, t)
        on_step(k + 1)
    basis = GaussianBasis.spanning(*RANGE, config.n_components, config.sigma)
    rng = np.random.default_rng(config.seed)
    seen = {"basis": basis, "start": draw_weights(basis, rng), "goal": draw_weights(basis, rng)}
    return Measured(rows | {"all": over_all(rows)}, PAPER, seen)


def over_all(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return shares over every sigma, and the largest factor between two ratios of norm and TV at one sigma."""
    shares = "within_bounds within_bounds_eq14 zero_if_equal positive_if_not printed_equality triangle".split()
    return {name: float(np.mean([row[name] for row in rows.values()])) for name in shares} | {
        "norm_to_tv_spread": max(row["norm_to_tv_most"] / row["norm_to_tv_least"] for row in rows.values())
    }


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the steps from two laws to the gradient."""
    from matplotlib.figure import Figure

    basis, start, goal = (measured.seen[name] for name in ("basis", "start", "goal"))
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    mu, sigma = basis.centers, basis.bandwidth * basis.spacing
    difference = start - goal
    lack = np.minimum(difference, 0)
    x = np.linspace(mu[0] - 3 * sigma, mu[-1] + 3 * sigma, 1500)
    bells = lack[:, None] * norm.pdf(x, mu[:, None], sigma)
    ngmg = negative_gaussian_mixture_gradient(start, goal, basis)
    panels = figure.subplots(2, 2, sharex=True).ravel()
    up, down, line = "#d8902a", "#1f5fa8", "#333333"
    panels[0].bar(mu, difference, 0.8 * basis.spacing, color=np.where(difference < 0, down, up))
    panels[1].bar(mu, lack, 0.8 * basis.spacing, color=down)
    panels[1].set_ylim(panels[0].get_ylim())
    for bell in bells[lack < 0]:
        panels[2].plot(x, bell, color=down, linewidth=0.8)
    panels[3].plot(x, bells.sum(0), color=line, linewidth=1, label="negative mixture, sum L_i phi_i(x)")
    panels[3].plot(mu, ngmg, "o", color=down, markersize=3.5, label="NGMG, Eq. 13")
    panels[3].plot(mu, -ngmg, "o", color=up, markersize=3.5, fillstyle="none", label="Eq. 14 as printed, -M L")
    panels[3].legend(frameon=False, fontsize=8)
    titles = ("pi1 - pi2", "its negative part L", "a Gaussian on each L_i", "their sum, and NGMG at the centres")
    units = ("weight", "weight", "1 / x", "1 / x")
    for k, (axes, title, unit) in enumerate(zip(panels, titles, units, strict=True)):
        axes.set_title(f"({k + 1}) {title}", fontsize=10)
        axes.axhline(0, color=line, linewidth=0.6)
        axes.set_ylabel(unit)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[2:]:
        axes.set_xlabel("x")
    return {"": figure}
