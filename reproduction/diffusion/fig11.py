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
from reproduction.diffusion.pairs import GENERATOR, RANGE, STDS, draw_weights
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        return replace(self, pairs=2, limit=200)


def comb_l1(t: float) -> float:
    """L1 of the fixed point of Algorithm 1 for a flat target, sigma = t spacings (`gaussmix.ngmg.learn`)."""
    p = round(2 * t)
    phi = np.exp(-((np.arange(1, 50 * p + 1) / t) ** 2) / 2)
    return 2 / p * (1 - p * phi[p - 1 :: p].sum() / phi.sum())


def learn_all(start: FloatArray, goal: FloatArray, basis: GaussianBasis, limit: int) -> dict[str, WeightPath]:
    """Every mode of `MODES` from `start` towards `goal`."""
    common = {"initial": start, "sigma": basis.bandwidth * basis.spacing, "n_steps": limit, "tolerance": 0.0}
    given: dict[str, dict[str, Any]] = {name: common | options for name, (_, _, options) in MODES.items()}
    return {name: learn_weights(goal, basis, **options) for name, options in given.items()}


def l1_at(path: WeightPath, steps: NDArray[np.int64]) -> FloatArray:
    """L1 after these steps, of the last one recorded by then."""
    return path.l1[np.searchsorted(path.steps, steps, side="right") - 1]


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 11."""
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
    combs = {t: _limits(pairs, replace(basis, bandwidth=t), config.limit) for t in COMB_SIGMAS}
    ours = {
        "L1": {
            name: {f"median_after_{k}": float(np.median(l1)) for k, l1 in zip(steps, values.T, strict=True)}
            | {"least_at_the_end": float(values[:, -1].min()), "most_at_the_end": float(values[:, -1].max())}
            for name, values in at.items()
        },
        "limit_by_sigma": {f"{t:g} r": [float(l1.min()), float(l1.max()), comb_l1(t)] for t, l1 in combs.items()},
        "L1_after_10_steps_by_step": {f"{step:g} r": _ten_steps(pairs, basis, step) for step in STEPS},
    }
    return Result(
        title="D Figure 11: learning a distribution with NGMG",
        about="Algorithm 1 moves the weights of one expansion to those of another: ten steps as in the figure, then "
        "to its end, over random pairs; beside it the variants that keep the diagonal, both signs of L, or both.",
        ours=ours,
        paper={"claim": "after 10 steps the learnt weights are relatively close to the target"},
        tables=_tables(config, steps, at, ours),
        readings=(
            "Sign of Eq. 13, pi - NGMG: weight grows around what is lacking. L is taken as learnt - target in every "
            "step. Algorithm 1 prints no step size, that is a step of 1. phi has the unit 1/x, so that this depends on "
            "the unit of x; here positions are counted in spacings, which is a step of r (Table 3).",
            f"The paper gives neither n nor sigma of its figure. Here n = {config.n_components} on (0, 100), so that "
            f"r = 1, and sigma = {config.sigma:g} r.",
            "Variants that use both signs of L can lead below zero; weights are cut off there before they are "
            "normalised.",
            GENERATOR,
        ),
        findings=_findings(config, at, ours),
        pictures=(
            Picture(
                "",
                "Algorithm 1 on the first pair: target (orange) and learnt weights (blue) after steps 0 to 10, as in "
                "Figure 11; L1 is the sum of the absolute differences.",
                lambda: _draw_steps(basis, pairs[0], paths[0]["literal"]),
            ),
            Picture(
                "-limit",
                f"Left: L1 by step, median of {config.pairs} pairs; the default's line ends where steps change nothing "
                "any more. Right: the end of Algorithm 1 on the first pair, a comb around the target; red: what it "
                "lacks, and will lack after any number of further steps.",
                lambda: _draw_limit(basis, pairs[0], paths),
            ),
        ),
    )


def _limits(pairs: list[tuple[FloatArray, FloatArray]], basis: GaussianBasis, limit: int) -> FloatArray:
    """(k,) L1 at the end of Algorithm 1 for a few of the pairs."""
    few = pairs[:5]
    ends = [learn_weights(goal, basis, initial=start, mode="paper", n_steps=limit).l1[-1] for start, goal in few]
    return np.array(ends)


def _ten_steps(pairs: list[tuple[FloatArray, FloatArray]], basis: GaussianBasis, step: float) -> float:
    """Median L1 after ten steps of Algorithm 1 of this length, in spacings."""
    options: dict[str, Any] = {"mode": "paper", "step": step * basis.spacing, "n_steps": TEN}
    return float(np.median([learn_weights(goal, basis, initial=start, **options).l1[-1] for start, goal in pairs]))


def _tables(
    config: Config, steps: NDArray[np.int64], at: dict[str, FloatArray], ours: dict[str, Any]
) -> tuple[Table, ...]:
    return (
        Table(
            f"1. L1 to the target, median of {config.pairs} pairs",
            ("variant", "start", *(f"after {k}" for k in steps[1:]), "least at the end", "most at the end"),
            tuple((MODES[name][0], *map(float, ours["L1"][name].values())) for name in at),
        ),
        Table(
            f"2. Where Algorithm 1 ends: L1 after {config.limit} steps, 5 pairs, and that of a comb on a flat target",
            ("sigma", "least", "most", "comb"),
            tuple((sigma, *values) for sigma, values in ours["limit_by_sigma"].items()),
        ),
        Table(
            "3. L1 after ten steps by the length of a step; a step of 1 is one of 1/r spacings",
            ("step", "r for which that is a step of 1", "median L1"),
            tuple((f"{step:g} r", 1 / step, ours["L1_after_10_steps_by_step"][f"{step:g} r"]) for step in STEPS),
        ),
    )


def _findings(config: Config, at: dict[str, FloatArray], ours: dict[str, Any]) -> tuple[str, ...]:
    median = {name: np.median(values, axis=0) for name, values in at.items()}
    literal, diagonal = at["literal"], median["diagonal"]
    worse = float((literal[:, -1] > literal[:, 1]).mean())
    wide, default = at["projected_wide"][:, -1], at["projected"][:, -1]
    ten = ours["L1_after_10_steps_by_step"]
    return (
        f"Figure 11 reproduces: after ten steps L1 is down from {median['literal'][0]:.2f} to "
        f"{median['literal'][1]:.2f} (median), and the steps become smaller.",
        f"Algorithm 1 does not converge to the target. It ends at L1 = {literal[:, -1].min():.2f} to "
        f"{literal[:, -1].max():.2f}; in {100 * worse:.0f} % of the pairs that is worse than after ten steps. The end "
        "is a spurious fixed point: any pi proportional to M (target - pi)^+ stays where it is. It is a comb with "
        "teeth about 2 sigma apart that lack weight for ever: with zeros on its diagonal M does not let a centre's own "
        "lack reach it, and the normalisation takes away what the neighbours' lack gives.",
        _by_sigma(config, ours),
        f"The diagonal cures that: L1 is {diagonal[2]:.3f} after 100 and {diagonal[3]:.1g} after {config.limit} steps, "
        "falling like 1/k.",
        f"Both signs without the diagonal diverge (L1 {median['two_sided'][-1]:.2f}): M is indefinite, and differences "
        f"that alternate grow. Both signs with the diagonal come to {median['both'][-1]:.1g}.",
        "The default of gaussmix, both signs, diagonal, projection onto the simplex, a step of 1 / (largest row sum of "
        f"the kernel) and sigma = 1 r, learns every pair to L1 <= {default.max():.0e}. With sigma = {config.sigma:g} r "
        f"it descends too, to {np.median(wide):.0e} in {config.limit} steps: a wide kernel hardly sees fine "
        "differences.",
        "A step of 1 is another algorithm in every unit of x (Table 3): where centres are 10 apart it crawls (L1 "
        f"{ten['0.1 r']:.2f} after ten steps), where they are 1/100 apart it overshoots ({ten['100 r']:.2f}).",
    )


def _by_sigma(config: Config, ours: dict[str, Any]) -> str:
    """Table 2 in words."""
    narrowest = STDS[0] * config.n_components / (RANGE[1] - RANGE[0])
    wide, narrow = [], []
    for t, (least, most, comb) in zip(COMB_SIGMAS, ours["limit_by_sigma"].values(), strict=True):
        wide += [max(abs(least / comb - 1), abs(most / comb - 1))] if t <= narrowest else []
        narrow += [f"{most:.2g} against {comb:.2g} at {t:g} r"] if t > narrowest else []
    return (
        f"Where no part of the target is narrower than sigma (sigma up to {narrowest:g} r), this L1 depends on sigma "
        f"and hardly on the target: it is that of a comb on a flat target to {100 * max(wide):.1f} % (Table 2). "
        f"Beyond, it depends on the target too, up to {', '.join(narrow)}."
    )


def _draw_steps(basis: GaussianBasis, pair: tuple[FloatArray, FloatArray], path: WeightPath) -> Figure:
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


def _draw_limit(
    basis: GaussianBasis, pair: tuple[FloatArray, FloatArray], paths: list[dict[str, WeightPath]]
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (label, color, _) in MODES.items():
        steps = max((path[name].steps for path in paths), key=len)
        median = np.median([l1_at(path[name], steps) for path in paths], axis=0)
        left.plot(steps[1:], median[1:], color=color, label=label, linewidth=1.6)
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_xlabel("step")
    left.set_ylabel("L1 to the target, median")
    left.set_title("how far each variant comes", fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="lower left")
    goal, limit = pair[1], paths[0]["literal"].weights
    lack = goal > limit
    right.plot(basis.centers, limit, "o-", color="#1f5fa8", markersize=2.5, linewidth=1, label="end of Algorithm 1")
    right.plot(basis.centers, goal, color="#d8902a", linewidth=2.2, label="target")
    right.vlines(basis.centers[lack], limit[lack], goal[lack], color="#c2402a", linewidth=2, label="lacks for ever")
    right.set_ylim(0, None)
    right.set_xlabel("centre")
    right.set_ylabel("weight")
    right.set_title("the spurious fixed point", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
