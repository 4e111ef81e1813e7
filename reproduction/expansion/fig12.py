"""E Figure 12: the Gram matrices of a style's crops as a data set, its distribution, draws from it.

E draws each entry of the matrices by itself. Beside that the two other couplings of `gaussmix.style.grams`: how
much of a draw no features can have, how much of its variation real crops have, whether blends land where they were
asked to, how well a picture can be made to fit a draw, and how different such pictures are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaussmix.density.estimator import GMMExpansion
from gaussmix.style.expansion import COUPLINGS, GramExpansion
from gaussmix.style.vgg import STYLE_LAYERS
from reproduction.expansion import style
from reproduction.page import Measured

SHARES = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
"""Of style 2, in the blends."""
NAMES = {"entry": "entry (E)", "crop": "crop", "pca": "pca (default)"}
_MARGINALS = ((0, 0), (3, 3), (0, 1), (2, 7))  # entries of the first layer that are shown
_GRAMS = 3  # draws shown
_CHANNELS = 32  # of each matrix
_N_COMPONENTS, _BANDWIDTH = 100, 2.0


@dataclass(frozen=True)
class Config(style.StylePageConfig):
    """Settings of Figure 12."""

    draws: int = 20
    """Of each coupling and style, for the measures that need no pictures."""
    variants: int = 4
    """Pictures of each coupling."""
    blended: int = 2
    """Pictures of each coupling and blend."""

    @property
    def n_steps(self) -> int:
        """Pictures to draw."""
        return 2 + len(COUPLINGS) * (self.variants + self.blended * len(SHARES))

    def quick(self) -> Config:
        return replace(self, draws=2, variants=2, blended=1, **style.QUICK)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return the six measures of each coupling; shares are of 1."""
    study = style.StyleStudy(config, on_step)
    one = next(iter(study.styles))
    measures, rows, drawn = {}, {}, {}
    for coupling in COUPLINGS:
        expansion = GramExpansion(coupling, mixing="data" if coupling == "entry" else "grams").fit_grams(study.crops)
        targets = expansion.sample(config.variants, {one: 1.0}, config.seed)
        rows[NAMES[coupling]], scores = study.made_of(targets)
        measures[coupling] = {**_of_matrices(config, expansion, study), **scores}
        shown = expansion.sample(_GRAMS, {one: 1.0}, config.seed)
        drawn[NAMES[coupling]] = [next(iter(target.values())).numpy() for target in shown]
    first = next(iter(study.crops[one].values()))
    return Measured(
        measures | {"asked": SHARES},
        {"coupling": "entry", "claim": "sharing the same style but with substantially different attributes"},
        {"rows": rows, "crops": first, "grams": {"crops": list(first[:_GRAMS])} | drawn},
        study.earlier_seconds,
    )


def _of_matrices(config: Config, expansion: GramExpansion, study: style.StyleStudy) -> dict[str, float]:
    """What no features can have and what crops do vary in, of draws as they come; how far blends are off.

    The latter is the mean distance from the blend asked for over `SHARES`, in drawn matrices and in pictures.
    """
    values: dict[str, list[float]] = {"negative": [], "in_span": [], "blend_gap": [], "picture_gap": []}
    for name, crops in study.crops.items():
        rows = expansion.sample_rows(config.draws, {name: 1.0}, config.seed)
        values["negative"] += [style.negative_mass(expansion.layout.grams(row)) for row in rows]
        values["in_span"] += style.span_share(rows, study.rows(crops), expansion.layout).tolist()
    one, two = study.styles
    for i, share in enumerate(SHARES):
        targets = expansion.sample(config.draws, {one: 1 - share, two: share}, config.seed + i)
        values["blend_gap"].append(abs(study.share_drawn(targets) - share))
        values["picture_gap"].append(abs(study.share_seen(study.render(targets[: config.blended])) - share))
    return {name: float(np.mean(each)) for name, each in values.items()}


def draw(measured: Measured) -> dict[str, Figure]:
    """Return pictures in style 1, some entries' distributions, and Gram matrices of crops and draws."""
    return {
        "": style.draw_rows("E Figure 12: Gram matrices of crops, and draws", measured.seen["rows"]),
        "-marginals": _draw_marginals(measured.seen["crops"]),
        "-grams": _draw_grams(measured.seen["grams"]),
    }


def _draw_marginals(grams: NDArray[np.float32]) -> Figure:
    figure = Figure(figsize=(8, 5), layout="constrained")
    for axes, (i, j) in zip(figure.subplots(2, 2).flat, _MARGINALS, strict=True):
        values = grams[:, i, j].astype(np.float64)
        axes.hist(values, 15, density=True, color="#d9d9d9", label=f"{len(values)} crops")
        if np.ptp(values) > 0:
            x = np.linspace(values.min() - 0.15 * np.ptp(values), values.max() + 0.15 * np.ptp(values), 400)
            paper = GMMExpansion("histogram", n_components=_N_COMPONENTS, bandwidth=_BANDWIDTH).fit(values)
            default = GMMExpansion("fast", bounds=None)
            axes.plot(x, paper.distribution_.pdf(x), color="#c2402a", linewidth=0.9, label="n = 100, t = 2 (E)")
            axes.plot(x, default.fit(values).distribution_.pdf(x), color="#1f5fa8", label="fast (pca's scores)")
        axes.set_title(f"entry {i + 1}, {j + 1}", fontsize=10)
        axes.set(xlabel="G", ylabel="density")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"Entries of the Gram matrices of {STYLE_LAYERS[0]}")
    return figure


def _draw_grams(rows: dict[str, list[NDArray[np.float32]]]) -> Figure:
    grams = np.stack(list(rows.values()))[..., :_CHANNELS, :_CHANNELS]
    roots = np.sqrt(np.maximum(grams, 0))  # features are positive, and so is G
    colors = colormaps["magma"](roots / roots.max(), bytes=True)[..., :3]
    return style.draw_rows("Gram matrices of crops and drawn ones", dict(zip(rows, colors, strict=True)))
