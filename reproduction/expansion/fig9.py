"""E Figure 9: new images of each class, from distributions of latents that are learnt in different ways.

E shows its own images beside those of EM and of the sliced Wasserstein distance (Kolouri et al. 2018), marks those
that it finds hard to recognise, and says that its eights are clearer, its nines less like fours and its sevens more
varied. Here an independent judge counts, and the paper's way of sampling, each latent number by itself, is one row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaussmix.autoencoder.evaluate import REAL, SURE, evaluate_samplers, samplers
from gaussmix.autoencoder.sheets import as_rgb
from gaussmix.autoencoder.train import load_latents
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.metrics import pairwise_diversity
from reproduction.expansion import latents
from reproduction.page import Measured
from reproduction.runs import counted
from reproduction.statistics import interval

NAMES = {
    REAL: "real test images",
    "independent": "each number by itself (E)",
    "algorithm2": "the same with Algorithm 2 as printed",
    "pca": "principal axes",
    "cluster-pca": "k-means, principal axes (ours)",
    "cluster-pca-equal": "the same, as few parts as rivals",
    "gaussian": "one Gaussian",
    "em": "EM, full covariance",
    "sliced-wasserstein": "sliced Wasserstein",
}
PAPER, OURS, EQUAL, EM, SLICED = "independent", "cluster-pca", "cluster-pca-equal", "em", "sliced-wasserstein"
_SHOWN, _SHOWN_CLASSES = 5, (7, 8, 9)


@dataclass(frozen=True)
class Config(latents.LatentPageConfig):
    """Settings of Figure 9."""

    n_clusters: int = 20
    """Parts of a class, ours."""
    n_components: int = 10
    """Gaussians of a class, the rivals'; ours are measured with as many parts too."""
    more_dims: tuple[int, ...] = (64, 128)
    """Further numbers of latents, one autoencoder each, of MNIST."""

    @property
    def n_steps(self) -> int:
        """Autoencoders."""
        return super().n_steps + len(self.more_dims)

    def quick(self) -> Config:
        return replace(self, n_clusters=3, n_components=2, **latents.QUICK)


Rows = dict[str, list[dict[str, Any]]]
"""Scores (or the claims about digits) by what latents were drawn from, one a seed."""


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return scores by data set, by way of drawing latents and by seed, and what E says of its digits as numbers."""
    one_more = counted(on_step)
    scores: dict[str, Rows] = {}
    claims: Rows = {}
    shown: dict[str, dict[str, NDArray[np.uint8]]] = {}
    more: dict[str, dict[str, Any]] = {}
    for images in latents.data_sets(config):
        rows = scores[images.name] = {}
        for seed in config.seeds:
            found, drawn = _evaluate(images, seed, config)
            for way, each in found.items():
                rows.setdefault(way, []).append(each)
                if images.name == "MNIST":
                    claims.setdefault(way, []).append(_claims(images, drawn[way]))
            if seed == config.seed:
                shown[images.name] = {way: _few(drawn[way], images.reference.labels) for way in NAMES}
            one_more()
        for d in config.more_dims if images.name == "MNIST" else ():
            found, _ = _evaluate(images, config.seed, config, (OURS, EM), latent_dim=d)
            more[str(d)] = {**found, "times_as_fast": found[EM]["fit_seconds"] / found[OURS]["fit_seconds"]}
            one_more()
    return Measured(
        {
            "scores": scores,
            "over_seeds": {name: _means(rows) for name, rows in scores.items()},
            "differences": {name: _differences(rows) for name, rows in scores.items()},
            "claims": claims,
            "claims_over_seeds": _means(claims),
            "claims_above": {
                way: {rival: latents.paired_differences(claims[way], claims[rival]) for rival in (EM, SLICED)}
                for way in (PAPER, OURS)
            },
            "dims": more,
            "unsure_below": SURE,
        },
        {"claim": "8 more clear than SW-GMM and EM-GMM, 9 less confused with 4, more variety at 7"},
        {"images": shown},
    )


def _evaluate(
    subject: latents.JudgedImages, seed: int, config: Config, ways: Collection[str] = NAMES, **changes: Any
) -> tuple[dict[str, dict[str, Any]], dict[str, NDArray[np.uint8]]]:
    """Scores and images, by row: real ones, reconstructions, and draws in these ways in the order of `NAMES`."""
    ready = samplers(config.n_clusters, config.n_components, seed)
    ready[EQUAL] = ExpansionSampler(n_clusters=config.n_components, random_state=seed)
    compared = {way: ready[way] for way in NAMES if way in ready and way in ways}
    model, out = subject.autoencoder(seed, **changes)
    images: dict[str, NDArray[np.uint8]] = {}
    reference = subject.reference
    report = evaluate_samplers(model, load_latents(out), reference, compared, seed=seed, on_row=images.__setitem__)
    return {way: asdict(scores) for way, scores in report.rows.items()}, images


def _few(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """``(3, _SHOWN, S, S, 3)``: the first of three classes."""
    picked = [images[labels == k][np.arange(_SHOWN) % np.sum(labels == k)] for k in _SHOWN_CLASSES]
    return np.stack([as_rgb(each) for each in picked])


def _claims(subject: latents.JudgedImages, images: NDArray[np.uint8]) -> dict[str, float]:
    """What E says of eights, nines and sevens, as numbers."""
    labels, judge = subject.reference.labels, subject.judge
    found = judge.predict(images)
    sevens = [judge.features(each[labels == 7]) for each in (images, subject.reference.images)]
    return {
        "eights": float((found[labels == 8] == 8).mean()),
        "nines": float((found[labels == 9] == 4).mean()),
        "sevens": pairwise_diversity(sevens[0]) / pairwise_diversity(sevens[1]),
    }


def _means(rows: Rows) -> dict[str, Any]:
    return {way: latents.over_seeds(each) for way, each in rows.items()}


def _differences(rows: Rows) -> dict[str, Any]:
    """How far our scores lie above those of E's way and of EM, and how many times as fast the fit is as EM's."""
    quicker = [em["fit_seconds"] / ours["fit_seconds"] for ours, em in zip(rows[OURS], rows[EM], strict=True)]
    above = {way: latents.paired_differences(rows[OURS], rows[way]) for way in (PAPER, EM)}
    return {"above": above, "times_as_fast_as_em": interval(quicker)._asdict()}


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the images of each data set: a block for each class, a row in it for each way."""
    title = "New images, by what their latents were drawn from"
    figures = {}
    for suffix, images in zip(("", "-fashion-mnist"), measured.seen["images"].values(), strict=True):
        blocks = [("", block) for block in np.stack(list(images.values()), axis=1)]
        figures[suffix] = latents.draw_blocks(title, blocks, list(NAMES.values()))
    return figures
