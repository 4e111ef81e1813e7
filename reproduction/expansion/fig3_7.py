"""E Figures 3 to 7: two targets, the mixture before learning, trained mixtures, and six more examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import algorithm1_weights, histogram_weights
from gaussmix.distances.binned import binned_l1
from reproduction.expansion.targets import Target, count, gaussian_target, mixed_target
from reproduction.page import Measured

STYLES = {
    "target": ("target", "#2f8f4e"),
    "start": ("expansion", "#1f5fa8"),
    "algorithm1": ("Algorithm 1", "#d8902a"),
    "algorithm2": ("Algorithm 2", "#1f5fa8"),
    "auto": ("gaussmix, default", "#c2402a"),
}


@dataclass(frozen=True)
class Config:
    """Settings of Figures 3 to 7."""

    seed: int = 3
    n_points: int = 5000
    n_components: int = 200
    sigma: float = 2.0
    """In spacings; the paper does not say which of 1, 2, 3 it drew."""

    @property
    def n_steps(self) -> int:
        return 8

    def quick(self) -> Config:
        return replace(self, n_points=500)


@dataclass(frozen=True)
class Example:
    """One target and what was learnt from points of it."""

    name: str
    basis: GaussianBasis
    models: dict[str, Target | GaussianMixture1D]
    losses: dict[str, float]


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the loss of each rule on each target, and the means that the page compares."""
    makers = [gaussian_target, mixed_target, *[gaussian_target] * 3, *[mixed_target] * 3]
    names = ["Target distribution 1", "Target distribution 2", *(f"({k})" for k in range(1, 7))]
    examples = []
    for k, (name, make) in enumerate(zip(names, makers, strict=True)):
        rng = np.random.default_rng([config.seed, k])
        examples.append(_learn(name, make(rng), config, rng))
        on_step(k + 1)
    normal, mixed = (np.mean([e.losses["algorithm2"] for e in examples[i : i + 3]]) for i in (2, 5))
    ours: dict[str, Any] = {e.name: e.losses for e in examples}
    ours["half_l1_of_algorithms"] = np.mean([_half_l1(e) for e in examples[:2]])
    ours["figure_7"] = {"normal": normal, "mixed": mixed}
    claims = ["the two algorithms are hardly discernible", "mixtures of normals fit better than others"]
    return Measured(ours, {"claims": claims}, {"examples": examples})


def _learn(name: str, target: Target, config: Config, rng: np.random.Generator) -> Example:
    x = target.draw(config.n_points, rng)
    counts, basis = count(x, config.n_components, config.sigma)
    learnt = {
        "algorithm1": basis.mixture(algorithm1_weights(counts, basis)[0]),
        "algorithm2": basis.mixture(histogram_weights(counts, basis)),
        "auto": GMMExpansion().fit(x).distribution_,
    }
    losses = {rule: float(binned_l1(target, model, basis)) for rule, model in learnt.items()}
    start = basis.mixture(np.full(config.n_components, 1 / config.n_components))
    return Example(name, basis, {"target": target, "start": start, **learnt}, losses)


def _grid(example: Example) -> FloatArray:
    low, high = example.basis.centers[[0, -1]]
    margin = 0.08 * (high - low)
    return np.linspace(low - margin, high + margin, 2001)


def _half_l1(example: Example) -> float:
    """Half the L1 distance of the two algorithms' densities."""
    x = _grid(example)
    difference = np.abs(example.models["algorithm1"].pdf(x) - example.models["algorithm2"].pdf(x))
    return float(difference.sum() * (x[1] - x[0]) / 2)


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the targets before and after learning, and the further examples."""
    two, six = measured.seen["examples"][:2], measured.seen["examples"][2:]
    before = [(f"Figure 3: {e.name}", e, ["target"]) for e in two]
    before += [(f"Figure 4: before learning, {e.basis.n_components} equal weights", e, ["start"]) for e in two]
    learnt = [(f"Figure {k}: {e.name}", e, ["target", *e.losses]) for k, e in enumerate(two, 5)]
    more = [(f"Figure 7 {e.name}", e, ["target", "algorithm1", "algorithm2"]) for e in six]
    return {
        "": _draw((9, 6), 2, before),
        "-trained": _draw((9, 7.5), 1, learnt),
        "-examples": _draw((12, 6.5), 3, more),
    }


def _draw(size: tuple[float, float], columns: int, panels: Sequence[tuple[str, Example, Sequence[str]]]) -> Figure:
    """Densities, by title; their losses in a legend where there is room."""
    figure = Figure(figsize=size, layout="constrained")
    for k, (title, example, curves) in enumerate(panels):
        axes, x = figure.add_subplot(len(panels) // columns, columns, k + 1), _grid(example)
        for name in curves:
            text, color = STYLES[name]
            loss = f", L = {example.losses[name]:.3f}" if columns == 1 and name in example.losses else ""
            width = 2.2 if name == "target" else 1.1
            axes.plot(x, example.models[name].pdf(x), color=color, linewidth=width, label=text + loss)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(0, None)
        axes.set_xlabel("x")
        axes.spines[["top", "right"]].set_visible(False)
        if k % columns == 0:
            axes.set_ylabel("density")
        if k == 0 or columns < 3:
            axes.legend(frameon=False, fontsize=8)
    return figure
