"""E Figure 12: the Gram matrices of a style's crops as a data set, its distribution, draws from it.

E draws each entry of the matrices by itself. Beside that the two other couplings of `gaussmix.style.couplings`: how
much of a draw no features can have, how much of its variation real crops have, whether blends land where they were
asked to, how well a picture can be made to fit a draw, and how different such pictures are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaussmix.density.estimator import GMMExpansion
from gaussmix.style.expansion import COUPLINGS, GramExpansion
from gaussmix.style.grams import Rows
from reproduction.expansion.style import (
    QUICK,
    SOURCES,
    Studio,
    StyleConfig,
    Told,
    negative_mass,
    open_studio,
    picture_grams,
    realised_blend,
    span_share,
    style_losses,
    variety,
)
from reproduction.page import Picture, Result, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
"""Of style 2, in the blends."""
NAMES = {"entry": "entry (E)", "crop": "crop", "pca": "pca (default)"}
_MARGINALS = ((0, 0), (3, 3), (0, 1), (2, 7))  # entries of the first layer that are shown
_GRAMS = 3  # draws shown
_CHANNELS = 32  # of each matrix
_N_COMPONENTS, _BANDWIDTH = 100, 2.0


@dataclass(frozen=True)
class Config(StyleConfig):
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
        return replace(self, draws=2, variants=2, blended=1, **QUICK)


@dataclass(frozen=True)
class Measures:
    """Of one coupling; shares of 1. What is better: less, more, less, less, less, more."""

    negative: float
    in_span: float
    blend_gap: float
    """Mean over the blends asked for of the distance of the mean realised one, in drawn matrices."""
    picture_gap: float
    """The same in pictures."""
    loss: float
    variety: float


_BETTER = {"negative": -1, "in_span": 1, "blend_gap": -1, "picture_gap": -1, "loss": -1, "variety": 1}
_WORDS = {
    "negative": "negative-eigenvalue mass",
    "in_span": "variation in the span of crops",
    "blend_gap": "blend off by, matrices",
    "picture_gap": "blend off by, pictures",
    "loss": "style loss left",
    "variety": "distance of two pictures",
}


class _Study:
    """The crops of two styles, and what a picture of the mean matrices of each looks like to the network."""

    def __init__(self, config: Config, studio: Studio, told: Told):
        self.config, self.studio, self.told = config, studio, told
        self.crops = studio.crop_grams(config)
        base = GramExpansion().fit_grams(self.crops)
        self.layout = base.layout
        self.rows = {name: self.layout.rows(own) for name, own in self.crops.items()}
        self.means = np.stack([own.mean(0) for own in self.rows.values()])
        self.ends = self.seen(studio.render(config, base.targets(self.means), told))

    def seen(self, pictures: NDArray[np.uint8]) -> Rows:
        """Rows ``(K, E)`` of pictures."""
        found = picture_grams(pictures, self.studio.features)
        return self.layout.rows({layer: gram.numpy() for layer, gram in found.items()})

    def measure(self, expansion: GramExpansion) -> tuple[Measures, NDArray[np.uint8]]:
        """The numbers of one coupling, and its pictures of style 1."""
        config, (one, two) = self.config, self.crops
        raw = {name: expansion.sample_rows(config.draws, {name: 1.0}, config.seed) for name in self.crops}
        negative = [negative_mass(self.layout.grams(row)) for own in raw.values() for row in own]
        inside = [span_share(own, self.rows[name], self.layout) for name, own in raw.items()]

        targets = expansion.sample(config.variants, {one: 1.0}, config.seed)
        pictures = self.studio.render(config, targets, self.told)
        found = picture_grams(pictures, self.studio.features)

        drawn, seen = [], []
        for i, share in enumerate(SHARES):
            blends = expansion.sample(config.draws, {one: 1 - share, two: share}, config.seed + i)
            rows = self.layout.rows({layer: np.stack([b[layer].numpy() for b in blends]) for layer in blends[0]})
            drawn.append(realised_blend(rows, self.means, self.layout)[:, 1].mean())
            rendered = self.seen(self.studio.render(config, blends[: config.blended], self.told))
            seen.append(realised_blend(rendered, self.ends, self.layout)[:, 1].mean())
        gaps = [float(np.abs(np.array(realised) - SHARES).mean()) for realised in (drawn, seen)]
        return Measures(
            negative=float(np.mean(negative)),
            in_span=float(np.mean(inside)),
            blend_gap=gaps[0],
            picture_gap=gaps[1],
            loss=float(style_losses(found, targets).mean()),
            variety=variety(pictures, self.studio.features),
        ), pictures


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 12."""
    studio = open_studio(config)
    study = _Study(config, studio, Told(on_step))
    one = next(iter(study.crops))
    measures, sheet, shown = {}, [], []
    for coupling in COUPLINGS:
        expansion = GramExpansion(coupling, mixing="data" if coupling == "entry" else "grams").fit_grams(study.crops)
        measures[coupling], pictures = study.measure(expansion)
        sheet.append(pictures)
        targets = expansion.sample(_GRAMS, {one: 1.0}, config.seed)
        shown.append([next(iter(target.values())).numpy() for target in targets])
    layer, first = next(iter(study.crops[one].items()))
    title = "E Figure 12: Gram matrices of crops, and draws"
    return Result(
        title=title,
        about=f"Gram matrices of {config.crops} crops of {' and of '.join(study.crops)}, their distribution with three "
        "couplings of the entries, and pictures made to fit draws.",
        ours={coupling: asdict(each) for coupling, each in measures.items()},
        paper={"coupling": "entry", "claim": "sharing the same style but with substantially different attributes"},
        tables=(
            Table(
                f"{config.draws} draws of each style; {config.variants} pictures, and {config.blended} of each blend, "
                f"{config.steps} steps at {config.size} pixels",
                ("coupling", *_WORDS.values()),
                tuple((NAMES[coupling], *asdict(each).values()) for coupling, each in measures.items()),
            ),
        ),
        readings=(
            *SOURCES,
            f"Entry: each entry has a mixture of n = {_N_COMPONENTS} components, t = {_BANDWIDTH:g}, with the weights "
            "c / N (expansion-table1 says why), and blends mix the crops of both styles in one data set, as E says. "
            "The others combine one draw of each style.",
            "Negative-eigenvalue mass and span are of draws as they come; then all are repaired (no negative "
            "eigenvalues, the same trace), and the rest is of repaired ones.",
            f"Blends: {', '.join(f'{share:g}' for share in SHARES)} of style 2; realised ones, means over "
            "the draws, by least squares on the styles' means, of pictures on those of two pictures made to fit "
            "the means.",
        ),
        findings=findings(measures),
        pictures=(
            Picture(
                "",
                f"Pictures in the style {one}, each made to fit one draw. Rows: {', '.join(NAMES.values())}.",
                lambda: _draw_rows(title, sheet, list(NAMES.values())),
            ),
            Picture(
                "-marginals",
                f"Four entries of {layer} over the crops of {one}: what was counted, the mixture of the paper's rule, "
                "and the one that the default coupling has for scores (kernel estimate, Sheather and Jones).",
                lambda: _draw_marginals(first, layer),
            ),
            Picture(
                "-grams",
                f"Gram matrices of {layer} ({_CHANNELS} channels): three crops of {one} above, below draws as they are "
                "used (repaired). Square roots of the entries, one scale.",
                lambda: _draw_grams([list(first[:_GRAMS]), *shown], ["crops", *NAMES.values()]),
            ),
        ),
    )


def findings(measures: dict[str, Measures]) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    entry, ours = asdict(measures["entry"]), asdict(measures["pca"])
    lost = [_WORDS[name] for name, sign in _BETTER.items() if sign * (ours[name] - entry[name]) <= 0]
    won = len(_BETTER) - len(lost)
    missed = f", not on: {', '.join(lost)}" if lost else ""
    numbers = "; ".join(f"{_WORDS[name]} {ours[name]:.3g} against {entry[name]:.3g}" for name in _BETTER)
    return (
        f"The default is better than the paper's on {won} of {len(_BETTER)} measures"
        f"{missed}. {numbers[0].upper()}{numbers[1:]}.",
        f"Of what the paper's draws vary in, {entry['in_span']:.1%} is what crops vary in: entries drawn apart average "
        "out over a matrix, and what is left is noise.",
    )


def _draw_rows(title: str, sheet: Sequence[NDArray[Any]], names: Sequence[str], size: float = 1.1) -> Figure:
    from matplotlib.figure import Figure

    rows, columns = len(sheet), len(sheet[0])
    height, width = sheet[0][0].shape[:2]
    figure = Figure(figsize=(0.6 + size * columns, 0.5 + size * height / width * rows), layout="constrained")
    for row, name, pictures in zip(figure.subplots(rows, columns, squeeze=False), names, sheet, strict=True):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(name)
    figure.suptitle(title)
    return figure


def _draw_marginals(grams: NDArray[np.float32], layer: str) -> Figure:
    from matplotlib.figure import Figure

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
    figure.suptitle(f"Entries of the Gram matrices of {layer}")
    return figure


def _draw_grams(rows: Sequence[Sequence[NDArray[np.float32]]], names: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 1.4 * len(rows)), layout="constrained")
    most = float(np.sqrt(max(gram.max() for row in rows for gram in row)))
    image = None
    for line, name, grams in zip(figure.subplots(len(rows), len(rows[0]), squeeze=False), names, rows, strict=True):
        for axes, gram in zip(line, grams, strict=True):
            roots = np.sqrt(np.maximum(gram[:_CHANNELS, :_CHANNELS], 0))  # features are positive, and so is G
            image = axes.imshow(roots, cmap="magma", vmin=0, vmax=most)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    assert image is not None
    figure.colorbar(image, ax=figure.axes, shrink=0.5, label="square root of G")
    figure.suptitle("Gram matrices of crops and drawn ones")
    return figure
