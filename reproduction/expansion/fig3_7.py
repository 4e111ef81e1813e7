"""E Figures 3 to 7: two targets, the mixture before learning, trained mixtures, and six more examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.estimator import GMMExpansion
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.rules import algorithm1_weights, histogram_weights
from gaussmix.distances.binned import binned_l1
from reproduction.expansion.targets import (
    ALGORITHM1,
    ALGORITHM2,
    GENERATOR,
    LOSS,
    Target,
    count,
    gaussian_target,
    mixed_target,
)
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"target": "#2f8f4e", "algorithm1": "#d8902a", "algorithm2": "#1f5fa8", "auto": "#c2402a"}
LABELS = {"algorithm1": "Algorithm 1", "algorithm2": "Algorithm 2", "auto": "gaussmix, default"}


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
    target: Target
    basis: GaussianBasis
    models: dict[str, GaussianMixture1D]
    losses: dict[str, float]


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figures 3 to 7."""
    makers = [gaussian_target, mixed_target, *[gaussian_target] * 3, *[mixed_target] * 3]
    names = ["Target distribution 1", "Target distribution 2", *(f"({k})" for k in range(1, 7))]
    examples = []
    for k, (name, make) in enumerate(zip(names, makers, strict=True)):
        rng = np.random.default_rng([config.seed, k])
        examples.append(_learn(name, make(rng), config, rng))
        on_step(k + 1)
    rows = tuple(
        (e.name, "normal" if make is gaussian_target else "normal, t, uniform", *e.losses.values())
        for e, make in zip(examples, makers, strict=True)
    )
    bell, mixed = (np.mean([e.losses["algorithm2"] for e in examples[start:stop]]) for start, stop in ((2, 5), (5, 8)))
    gap = np.mean([_distance(e) for e in examples[:2]])
    return Result(
        title="E Figures 3 to 7: learnt mixtures",
        about=f"Two random targets, the expansion before learning and after learning from {config.n_points} points, "
        f"and six more examples; {config.n_components} components, sigma = {config.sigma:g} r.",
        ours={e.name: e.losses for e in examples},
        paper={"claims": ["the two algorithms are hardly discernible", "mixtures of normals fit better than others"]},
        tables=(Table("Loss L of what is drawn", ("target", "components", *LABELS.values()), rows),),
        readings=(
            f"The targets are ours: {GENERATOR}",
            f"The figures' sigma is not given; sigma = {config.sigma:g} r here.",
            ALGORITHM2,
            ALGORITHM1.replace(" Both were run.", " About the centre here."),
            LOSS,
        ),
        findings=(
            "Figure 4 reproduces: before learning the expansion is flat but for its two ends.",
            "Figures 5 and 6 reproduce in kind: both algorithms follow the targets, corners of uniform components are "
            f"rounded. They are not the same curve: half their L1 distance is {gap:.3f}, and Algorithm 1 is smoother.",
            f"Figure 7: mean loss of Algorithm 2 {bell:.4f} on the three normal mixtures, {mixed:.4f} on the others "
            "(single draws; Tables 1 and 2 have the averages).",
        ),
        pictures=(
            Picture(
                "",
                "Upper row: the targets (Fig. 3). Lower row: the expansion with equal weights, before learning "
                "(Fig. 4).",
                lambda: _draw_start(examples[:2]),
            ),
            Picture(
                "-trained",
                "Targets and expansions learnt by Algorithms 1 and 2 (Fig. 5 and 6), and what the default of gaussmix "
                "learns from the same points.",
                lambda: _draw_trained(examples[:2]),
            ),
            Picture(
                "-examples",
                "Six more targets: (1)-(3) of normal components, (4)-(6) of normal, t and uniform ones (Fig. 7).",
                lambda: _draw_examples(examples[2:]),
            ),
        ),
    )


def _learn(name: str, target: Target, config: Config, rng: np.random.Generator) -> Example:
    x = target.draw(config.n_points, rng)
    counts, basis = count(x, config.n_components, config.sigma)
    models = {
        "algorithm1": basis.mixture(algorithm1_weights(counts, basis)[0]),
        "algorithm2": basis.mixture(histogram_weights(counts, basis)),
        "auto": GMMExpansion().fit(x).distribution_,
    }
    losses = {rule: float(binned_l1(target, model, basis)) for rule, model in models.items()}
    return Example(name, target, basis, models, losses)


def _grid(example: Example) -> FloatArray:
    low, high = example.basis.centers[[0, -1]]
    margin = 0.08 * (high - low)
    return np.linspace(low - margin, high + margin, 2001)


def _distance(example: Example) -> float:
    """Half the L1 distance of the two algorithms' densities."""
    x = _grid(example)
    difference = np.abs(example.models["algorithm1"].pdf(x) - example.models["algorithm2"].pdf(x))
    return float(difference.sum() * (x[1] - x[0]) / 2)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_ylim(0, None)
    axes.set_xlabel("x")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_start(examples: list[Example]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for column, example in enumerate(examples):
        x, n = _grid(example), example.basis.n_components
        upper, lower = figure.add_subplot(2, 2, column + 1), figure.add_subplot(2, 2, column + 3)
        upper.plot(x, example.target.pdf(x), color=COLORS["target"], label="target")
        lower.plot(x, example.basis.mixture(np.full(n, 1 / n)).pdf(x), color=COLORS["algorithm2"], label="expansion")
        _finish(upper, f"Figure 3: {example.name}")
        _finish(lower, f"Figure 4: before learning, {n} equal weights")
        for axes in (upper, lower):
            axes.set_ylabel("density")
            axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_trained(examples: list[Example]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7.5), layout="constrained")
    for row, example in enumerate(examples):
        axes = figure.add_subplot(2, 1, row + 1)
        _draw_models(axes, example, tuple(LABELS))
        _finish(axes, f"Figure {5 + row}: {example.name}")
        axes.set_ylabel("density")
        axes.legend(frameon=False, fontsize=9)
    return figure


def _draw_examples(examples: list[Example]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    for k, example in enumerate(examples):
        axes = figure.add_subplot(2, 3, k + 1)
        _draw_models(axes, example, ("algorithm1", "algorithm2"))
        _finish(axes, f"Figure 7 {example.name}")
        if k % 3 == 0:
            axes.set_ylabel("density")
        if k == 0:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_models(axes: Axes, example: Example, rules: tuple[str, ...]) -> None:
    x = _grid(example)
    axes.plot(x, example.target.pdf(x), color=COLORS["target"], linewidth=2.2, label="target")
    for rule in rules:
        loss = example.losses[rule]
        label = f"{LABELS[rule]}, L = {loss:.3f}" if len(rules) > 2 else LABELS[rule]
        axes.plot(x, example.models[rule].pdf(x), color=COLORS[rule], linewidth=1.1, label=label)
