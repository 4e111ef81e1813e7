"""E Tables 1 to 3: the loss of Eq. 9 over random targets, by algorithm, sigma and number of components.

Tables 1 and 2 have 5000 points and 200 components, and differ in the targets; Table 3 has 20 000 and 50 000 points, 10
to 1000 components, Algorithm 2 and sigma = 3 r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.counts import BinnedCounts
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.report import Rule
from gaussmix.density.rules import algorithm1_weights, histogram_weights
from gaussmix.distances.binned import binned_l1
from reproduction.expansion.targets import algorithm1_about_points, count, gaussian_target, mixed_target
from reproduction.page import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGMAS = (1, 2, 3)
N_COMPONENTS = (10, 30, 50, 100, 200, 500, 1000)
REPETITIONS = {1: 20, 2: 20, 3: 30}
"""The paper's, by table; the headline of Table 3 says 25, both of its halves 30."""

PAPER: dict[int, dict[str, Any]] = {
    1: {"algorithm1": [0.07099, 0.05091, 0.044296], "algorithm2": [0.06866, 0.05085, 0.04447]},
    2: {"algorithm1": [0.08912, 0.08738, 0.09432], "algorithm2": [0.08678, 0.08749, 0.09446]},
    3: {
        "n_components": list(N_COMPONENTS),
        "mean": {
            "20000": [0.710, 0.336, 0.200, 0.0778, 0.0295, 0.0326, 0.0378],
            "50000": [0.715, 0.364, 0.210, 0.065, 0.025, 0.0203, 0.0289],
        },
        "fall_at_1000": 0.0378 / 0.0289,
    },
}

RULES: dict[str, tuple[str, Callable[[BinnedCounts, GaussianBasis], FloatArray]]] = {
    "algorithm1": ("Algorithm 1, side- about the centre", lambda c, b: algorithm1_weights(c, b)[0]),
    "algorithm1_about_points": ("Algorithm 1, side- about the point", lambda c, b: algorithm1_about_points(c, b)[0]),
    "algorithm2": ("Algorithm 2", histogram_weights),
}
DEFAULTS: dict[Rule, str] = {"fast": 'gaussmix, "fast"', "auto": "gaussmix, default"}


@dataclass(frozen=True)
class Config:
    """Settings of a table."""

    table: Literal[1, 2, 3]
    seed: int = 0
    repetitions: int | None = None
    """Random targets (a data size); 500, in Table 3 300, if not given. The paper took 20, 20 and 30."""
    n_points: tuple[int, ...] = ()
    n_components: int = 200
    """Of Tables 1 and 2."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "repetitions", self.repetitions or (300 if self.table == 3 else 500))
        object.__setattr__(self, "n_points", self.n_points or ((20_000, 50_000) if self.table == 3 else (5000,)))

    @property
    def n_steps(self) -> int:
        assert self.repetitions is not None
        return self.repetitions * len(self.n_points)

    def quick(self) -> Config:
        return replace(self, repetitions=3, n_points=(2_000, 5_000) if self.table == 3 else (500,))


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return mean losses, their errors, and where the mean of as many targets as the paper's falls."""
    assert config.repetitions is not None
    if config.table == 3:
        return _by_number_of_components(config, config.repetitions, on_step)
    make_target = gaussian_target if config.table == 1 else mixed_target
    losses: dict[str, list[list[float]]] = {name: [] for name in (*RULES, *DEFAULTS)}
    for repetition in range(config.repetitions):
        rng = np.random.default_rng([config.seed, repetition])
        target = make_target(rng)
        x = target.draw(config.n_points[0], rng)
        counts, basis = count(x, config.n_components, 1.0)
        bases = [replace(basis, bandwidth=float(t)) for t in SIGMAS]
        for name, (_, weights) in RULES.items():
            models = [b.mixture(weights(counts, b)) for b in bases]
            losses[name].append([float(binned_l1(target, model, basis)) for model in models])
        for rule in DEFAULTS:
            losses[rule].append([float(binned_l1(target, GMMExpansion(rule).fit(x).distribution_, basis))])
        on_step(repetition + 1)
    paper = PAPER[config.table]
    ours = {}
    for name, values in losses.items():
        array = np.array(values)
        ours[name] = _summary(array, REPETITIONS[config.table])
        ours[name]["mean_of_first_20"] = array[:20].mean(0)
    best = min(paper["algorithm1"] + paper["algorithm2"])
    for name in ours:
        printed = np.array(paper.get(name.removesuffix("_about_points"), [best]))
        ours[name]["share_of_paper"] = ours[name]["mean"] / printed
        ours[name]["worst"] = np.abs(ours[name]["share_of_paper"] - 1).max()
    return Measured(ours, paper)


def _by_number_of_components(config: Config, repetitions: int, on_step: Callable[[int], None]) -> Measured:
    losses = {name: np.empty((len(config.n_points), repetitions, len(N_COMPONENTS))) for name in ("paper", "auto")}
    for s, n_points in enumerate(config.n_points):
        for repetition in range(repetitions):
            rng = np.random.default_rng([config.seed, s, repetition])
            target = gaussian_target(rng)
            x = target.draw(n_points, rng)
            default = GMMExpansion().fit(x).distribution_
            for i, n in enumerate(N_COMPONENTS):
                counts, basis = count(x, n, 3.0)
                model = basis.mixture(histogram_weights(counts, basis))
                losses["paper"][s, repetition, i] = binned_l1(target, model, basis)
                losses["auto"][s, repetition, i] = binned_l1(target, default, basis)
            on_step(s * repetitions + repetition + 1)
    paper = PAPER[3]
    ours: dict[str, Any] = {"n_components": list(N_COMPONENTS)}
    for s, (size, printed) in enumerate(paper["mean"].items()):
        found = _summary(losses["paper"][s], REPETITIONS[3]) | {"default": losses["auto"][s].mean(0)}
        found["share_of_paper"] = found["mean"] / np.array(printed)
        found["best_n"] = N_COMPONENTS[int(found["mean"].argmin())]
        found["default_share_of_best"] = found["default"][4] / found["mean"].min()
        for key, value in found.items():
            ours.setdefault(key, {})[size] = value
    shares = np.array(list(ours["share_of_paper"].values()))
    few, many = ours["mean"].values()
    return Measured(
        ours
        | {
            "worst": np.abs(shares - 1).max(),
            "within_a_tenth": int((np.abs(shares - 1) <= 0.1).sum()),
            "fall_at_1000": few[-1] / many[-1],
        },
        paper,
    )


def _summary(losses: FloatArray, repetitions: int) -> dict[str, Any]:
    """Of losses ``(R, M)``: mean, standard error, and where the mean of ``repetitions`` of them falls (95 %)."""
    mean, spread = losses.mean(0), losses.std(0, ddof=1)
    reach = 2 * spread / np.sqrt(repetitions)
    return {"mean": mean, "standard_error": spread / np.sqrt(len(losses)), "low": mean - reach, "high": mean + reach}


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the losses beside the paper's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    if "n_components" in measured.ours:
        _draw_by_number(axes, measured)
    else:
        _draw_by_sigma(axes, measured)
    axes.set_ylabel("mean loss L (E Eq. 9)")
    axes.spines[["top", "right"]].set_visible(False)
    return {"": figure}


def _draw_by_sigma(axes: Any, measured: Measured) -> None:
    ours, paper = measured.ours, measured.paper
    colors = {"algorithm1": "#c2402a", "algorithm1_about_points": "#d8902a", "algorithm2": "#1f5fa8"}
    for shift, (name, (label, _)) in zip((-0.06, 0.0, 0.06), RULES.items(), strict=True):
        mean, places = ours[name]["mean"], np.array(SIGMAS) + shift
        reach = ours[name]["high"] - mean
        axes.errorbar(places, mean, reach, fmt="o-", color=colors[name], capsize=3, label=f"ours, {label}")
        if name in paper:
            about = f"paper, {label.split(',')[0]}"
            axes.plot(places, paper[name], "D", mfc="none", mec=colors[name], ms=9, label=about)
    for (name, label), style in zip(DEFAULTS.items(), ("--", "-"), strict=True):
        axes.axhline(ours[name]["mean"][0], color="#333333", linestyle=style, linewidth=1.2, label=label)
    axes.set_xticks(SIGMAS, [f"{t} r" for t in SIGMAS])
    axes.set_xlabel("sigma of the components, in spacings r")
    axes.set_ylim(0, None)
    axes.set_title("Mean loss over random targets, 5000 points, 200 components")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")


def _draw_by_number(axes: Any, measured: Measured) -> None:
    ours, paper = measured.ours, measured.paper
    for size, color in zip(ours["mean"], ("#1f5fa8", "#c2402a"), strict=True):
        label = f"{int(size):,} points".replace(",", " ")
        mean = ours["mean"][size]
        reach = ours["high"][size] - mean
        axes.errorbar(N_COMPONENTS, mean, reach, fmt="o-", color=color, capsize=3, label=f"ours, {label}")
        axes.plot(N_COMPONENTS, paper["mean"][size], "D", mfc="none", mec=color, ms=9, label=f"paper, {label}")
        default = ours["default"][size]
        axes.plot(N_COMPONENTS, default, "--", color=color, linewidth=1.2, label=f"gaussmix, default, {label}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(N_COMPONENTS, list(map(str, N_COMPONENTS)))
    axes.minorticks_off()
    axes.set_xlabel("number of components n (sigma = 3 r)")
    axes.set_title("Mean loss over random targets by number of components")
    axes.legend(frameon=False, fontsize=8)
