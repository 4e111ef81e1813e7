"""How varied faces are, and what decides it: the numbers of D Figure 4's page, and what is said of them.

Mean distance of two faces, d = mean_{i != j} |f_i - f_j|, in features of the judge and in pixels: of real faces, of
faces drawn for their attributes, and of faces drawn so with Z or the noise held fixed. Face i of every set has the same
attributes, so sets are compared face by face: with h_i the mean distance of face i to the others, d is the mean of h,
and half of the variance of a mean over pairs comes from either face (Hoeffding 1948):

    error = 2 sd(h) / sqrt(N),            with h' - h of two sets in place of h for their difference.

Of a difference within two errors nothing is said but that.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from gaussmix.papers.component_kinds import jackknife
from reproduction.diffusion.model import words

WAYS = {
    "real": "real, held out",
    "all": "drawn, own Z and noise",
    "latents": "drawn, own Z, one noise",
    "noise": "drawn, one Z, own noise",
    "neither": "drawn, one Z, one noise",
}
"""The sets of faces."""

Varied = dict[str, dict[str, NDArray[np.float64]]]
"""Mean distances of each face ``(N,)``, by the keys of `WAYS`, by "features" and "pixels"."""


class Diversity(NamedTuple):
    """Mean distance of two faces, or a difference of two of these, and its standard error."""

    value: float
    error: float

    @property
    def sign(self) -> int:
        """-1 or 1 if that is below or above 0 by more than two errors, else 0."""
        return _sign(self.value, self.error)


class ComponentEffect(NamedTuple):
    """Root mean square differences in levels of 255, of two faces that differ in one thing only."""

    component: float
    noise: float
    error: float
    """Standard error of the first minus the second: jackknife over rows of attributes."""
    seen: float
    """Share of these faces in which the judge sees the attribute."""

    @property
    def sign(self) -> int:
        """1 if the component changes more than the noise by over two errors, -1 if less, else 0."""
        return _sign(self.component - self.noise, self.error)


def _sign(value: float, error: float) -> int:
    return int(np.sign(value)) if abs(value) > 2 * error else 0


def mean_distances(rows: NDArray) -> NDArray[np.float64]:
    """Mean Euclidean distance of each row ``(N, D)`` to the others, ``(N,)``; N at least 3."""
    return squareform(pdist(rows)).sum(1) / (len(rows) - 1)


def diversity(means: NDArray[np.float64]) -> Diversity:
    """Of the `mean_distances` of a set of faces, or of those of one set minus those of another, ``(N,)``."""
    return Diversity(float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(means))))


def component_effect(grid: NDArray[np.float64], seen: float) -> ComponentEffect:
    """Of pictures ``(rows, components, 2 noises, D)``, at least two rows; ``seen`` is passed on."""
    pairs = itertools.combinations(range(grid.shape[1]), 2)
    moved = np.mean([np.square(grid[:, a] - grid[:, b]).mean((1, 2)) for a, b in pairs] or [np.zeros(len(grid))], 0)
    redrawn = np.square(grid[:, :, 0] - grid[:, :, 1]).mean((1, 2))

    def beyond(kept: NDArray[np.int64]) -> float:
        return float(np.sqrt(moved[kept].mean()) - np.sqrt(redrawn[kept].mean()))

    component, noise = (float(np.sqrt(each.mean())) for each in (moved, redrawn))
    return ComponentEffect(component, noise, jackknife(beyond, len(grid)), seen)


def findings(varied: Varied, effects: dict[str, ComponentEffect]) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    more, less, neither = ([name for name, one in effects.items() if one.sign == sign] for sign in (1, -1, 0))
    medians = [
        float(np.median([getattr(effect, part) for effect in effects.values()])) for part in ("component", "noise")
    ]
    return (
        " ".join(
            _variety_sentence(kind, {way: both[kind] for way, both in varied.items()})
            for kind in ("features", "pixels")
        ),
        _source_sentence({way: both["pixels"] for way, both in varied.items()}),
        f"Another component of an attribute changes the picture by {medians[0]:.3g} levels (median over attributes), "
        f"another noise by {medians[1]:.3g}. Components change more than noise, by over two standard errors, for "
        f"{len(more)} of {len(effects)} attributes{': ' + words(more) if more else ''}; less for {len(less)}; neither "
        f"is shown for {len(neither)}{': ' + words(neither) if neither else ''}.",
    )


def _variety_sentence(kind: str, of: dict[str, NDArray[np.float64]]) -> str:
    drawn, real, gap = diversity(of["all"]), diversity(of["real"]), diversity(of["all"] - of["real"])
    verdict = {1: "more varied than", -1: "less varied than", 0: "not shown to be more or less varied than"}[gap.sign]
    return (
        f"In {kind}, drawn faces are {verdict} real ones with the same attributes: mean distance {drawn.value:.3g} "
        f"against {real.value:.3g}, difference {gap.value:+.2g} ± {gap.error:.2g}."
    )


def _source_sentence(of: dict[str, NDArray[np.float64]]) -> str:
    value = {way: float(means.mean()) for way, means in of.items()}
    gap = diversity(of["latents"] - of["noise"])
    verdict = {1: "More of the variety comes from Z", -1: "More of the variety comes from the noise"}
    return (
        f"{verdict.get(gap.sign, 'That more of the variety comes from Z or from the noise is not shown')}: with one Z "
        f"and one noise for all, only the attributes differ, and two faces are {value['neither']:.3g} levels apart; "
        f"with Z of their own {value['latents']:.3g}, with noise of their own {value['noise']:.3g} (difference "
        f"{gap.value:+.2g} ± {gap.error:.2g}), with both {value['all']:.3g}."
    )
