"""D Figure 11: ten steps of Algorithm 1 from one law to another, and where it ends; with the variants that go further.

Algorithm 1, its fixed points and the default of `gaussmix.ngmg.learn_weights`: see there. L1 = sum |pi - target|.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.ngmg import WeightPath, learn_weights
from reproduction.diffusion.pairs import RANGE, STDS, draw_weights
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = {"claim": "after 10 steps the learnt weights are relatively close to the target"}
TEN = 10
MODES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "literal": ("Algorithm 1", "#1f5fa8", {"mode": "paper"}),
    "diagonal": ("with its diagonal", "#2f8f4e", {"mode": "paper", "diagonal": True}),
    "two_sided": ("both signs, no diagonal", "#999999", {"mode": "paper", "two_sided": True}),
    "both": ("both signs and diagonal", "#7b4ea3", {"mode": "paper", "two_sided": True, "diagonal": True}),
    "projected_wide": ("projected, sigma as above", "#d8902a", {"mode": "projected"}),
    "projected": ("projected, sigma = 1 r (default)", "#c2402a", {"mode": "projected", "sigma": None}),
}
COMB_SIGMAS = (1.0, 2.0, 3.0, 5.0, 10.0)
STEPS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # in spacings
Pair = tuple[FloatArray, FloatArray]
DRAWN_STEPS = (0, 1, 2, 3, 4, 6, 8, 10)


@dataclass(frozen=True)
class Config:
    """Settings of Figure 11."""

    seed: int = 0
    pairs: int = 20
    """Random pairs; the first is drawn."""
    n_components: int = 100
    sigma: float = 2.0
    """In spacings; the paper does not say."""
    limit: int = 5000
    """Steps after which a run counts as having come to its end."""

    @property
    def n_steps(self) -> int:
        return self.pairs

    def quick(self) -> Config:
        return replace(self, pairs=2)


def comb_l1(t: float) -> float:
    """Return L1 of the fixed point of Algorithm 1 for a flat target, sigma = t spacings (`gaussmix.ngmg.learn`)."""
    p = round(2 * t)
    phi = np.exp(-((np.arange(1, 50 * p + 1) / t) ** 2) / 2)
    return 2 / p * (1 - p * phi[p - 1 :: p].sum() / phi.sum())


def learn_all(start: FloatArray, goal: FloatArray, basis: GaussianBasis, limit: int) -> dict[str, WeightPath]:
    """Return the path of every mode of `MODES` from `start` towards `goal`."""
    common: dict[str, Any] = {
        "initial": start,
        "sigma": basis.bandwidth * basis.spacing,
        "n_steps": limit,
        "tolerance": 0.0,
    }
    return {name: learn_weights(goal, basis, **(common | options)) for name, (_, _, options) in MODES.items()}


def l1_at(path: WeightPath, steps: NDArray[np.int64]) -> FloatArray:
    """Return L1 after these steps: of the last one recorded by then."""
    return path.l1[np.searchsorted(path.steps, steps, side="right") - 1]


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return L1 of every mode by step, of the ends of Algorithm 1 by sigma, and after ten steps of other lengths."""
    basis = GaussianBasis.spanning(*RANGE, config.n_components, config.sigma)
    pairs, paths = [], []
    for k in range(config.pairs):
        rng = np.random.default_rng([config.seed, k])
        start, goal = draw_weights(basis, rng), draw_weights(basis, rng)
        pairs.append((start, goal))
        paths.append(learn_all(start, goal, basis, config.limit))
        on_step(k + 1)
    steps = np.array([0, TEN, 100, config.limit])
    at = {name: np.array([l1_at(path[name], steps) for path in paths]) for name in MODES}
    ends = {t: _ends(pairs[:5], replace(basis, bandwidth=t), n_steps=config.limit) for t in COMB_SIGMAS}
    tens = {step: _ends(pairs, basis, step=step * basis.spacing, n_steps=TEN) for step in STEPS}
    combs = {f"{t:g} r": [float(l1.min()), float(l1.max()), comb_l1(t)] for t, l1 in ends.items()}
    ours = {
        "L1": {
            name: {f"median_after_{k}": float(np.median(l1)) for k, l1 in zip(steps, values.T, strict=True)}
            | {"least_at_the_end": float(values[:, -1].min()), "most_at_the_end": float(values[:, -1].max())}
            for name, values in at.items()
        },
        "limit_by_sigma": combs,
        "L1_after_10_steps_by_step": {f"{step:g} r": np.median(ten) for step, ten in tens.items()},
        "share_worse_at_the_end_than_after_10": float((at["literal"][:, -1] > at["literal"][:, 1]).mean()),
    } | comb_error(combs, STDS[0] / basis.spacing)
    return Measured(ours, PAPER, {"basis": basis, "pair": pairs[0], "paths": paths})


def comb_error(limit_by_sigma: dict[str, list[float]], narrowest: float) -> dict[str, float]:
    """Return the largest relative difference to the comb where sigma is at most ``narrowest`` spacings."""
    rows = zip(COMB_SIGMAS, limit_by_sigma.values(), strict=True)
    errors = [abs(end / comb - 1) for t, (*ends, comb) in rows if t <= narrowest for end in ends]
    return {"narrowest_of_target": narrowest, "largest_error_of_comb": max(errors)}


def _ends(pairs: list[Pair], basis: GaussianBasis, **options: Any) -> FloatArray:
    """L1 at the end of Algorithm 1, for each pair."""
    paths = [learn_weights(goal, basis, initial=start, mode="paper", **options) for start, goal in pairs]
    return np.array([path.l1[-1] for path in paths])


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the first steps of Algorithm 1 on one pair, and where it and the other modes end."""
    basis, pair, paths = (measured.seen[name] for name in ("basis", "pair", "paths"))
    return {"": _draw_steps(basis, pair, paths[0]["literal"]), "-limit": _draw_limit(basis, pair, paths)}


def _draw_steps(basis: GaussianBasis, pair: Pair, path: WeightPath) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(2, len(DRAWN_STEPS) // 2, sharex=True, sharey=True).ravel()
    for axes, step in zip(panels, DRAWN_STEPS, strict=True):
        axes.plot(basis.centers, pair[1], color="#d8902a", linewidth=2.2, label="target")
        axes.plot(basis.centers, path.path[step], color="#1f5fa8", linewidth=1.3, label="learnt")
        axes.set_title(f"step {step}: L1 = {path.l1[step]:.2f}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(DRAWN_STEPS) // 2 :]:
        axes.set_xlabel("centre")
    for axes in panels[:: len(DRAWN_STEPS) // 2]:
        axes.set_ylabel("weight")
    panels[0].set_ylim(0, None)
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def _draw_limit(basis: GaussianBasis, pair: Pair, paths: list[dict[str, WeightPath]]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (label, color, _) in MODES.items():
        steps = max((path[name].steps for path in paths), key=len)
        median = np.median([l1_at(path[name], steps) for path in paths], axis=0)
        left.plot(steps[1:], median[1:], color=color, label=label, linewidth=1.6)
    left.set(xlabel="step", ylabel="L1 to the target, median", xscale="log", yscale="log")
    left.set_title("how far each variant comes", fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="lower left")
    goal, limit = pair[1], paths[0]["literal"].weights
    lack = goal > limit
    right.plot(basis.centers, limit, "o-", color="#1f5fa8", markersize=2.5, linewidth=1, label="end of Algorithm 1")
    right.plot(basis.centers, goal, color="#d8902a", linewidth=2.2, label="target")
    right.vlines(basis.centers[lack], limit[lack], goal[lack], color="#c2402a", linewidth=2, label="lacks for ever")
    right.set(xlabel="centre", ylabel="weight", ylim=(0, None))
    right.set_title("the spurious fixed point", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
