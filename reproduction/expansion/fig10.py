"""E Figure 10: random mixing of classes. Latents are merged from draws of two classes; what comes out?

E shows four examples, says that the images keep traits of the classes that went in, and that 0 and 4 gave an image
that resembles a 9. Here many mixes of each pair are decoded, and the judge says what it sees in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gaussmix.autoencoder.evaluate import SURE
from gaussmix.autoencoder.generate import LatentGenerator, MixMode
from gaussmix.autoencoder.sheets import as_rgb
from gaussmix.autoencoder.train import fit_sampler, load_latents
from gaussmix.metrics import manifold_scores
from reproduction.expansion import latents
from reproduction.page import Measured
from reproduction.runs import counted
from reproduction.statistics import interval

MODES: dict[MixMode, str] = {"dims": "each number from one of the two (E)", "lerp": "between the two draws"}
PAIRS = ((0, 3), (0, 4), (1, 7), (3, 8))
"""Classes whose mixes are shown: the first two pairs are those that E names; its picture has two more."""
_ALL_PAIRS = list(combinations(range(10), 2))
_SHOWN = 8
_FOR_PRECISION = 100  # mixes of each pair


@dataclass(frozen=True)
class Config(latents.LatentPageConfig):
    """Settings of Figure 10."""

    mixes: int = 500
    """Images of each pair of classes; all pairs are mixed."""

    def quick(self) -> Config:
        return replace(self, mixes=20, **latents.QUICK)


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Return what the judge sees in mixes of all pairs, by data set and way of mixing."""
    one_more = counted(on_step)
    ours: dict[str, Any] = {}
    shown: list[tuple[list[str], dict[str, NDArray[np.uint8]]]] = []
    for images in latents.data_sets(config):
        found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
        blocks: dict[str, NDArray[np.uint8]] = {}
        shown.append(([" + ".join(images.dataset.class_names[k] for k in pair) for pair in PAIRS], blocks))
        for seed in config.seeds:
            model, out = images.autoencoder(seed)
            generator = LatentGenerator(model, fit_sampler(*load_latents(out)))
            for mode in MODES:
                judged, pictures = _mix_all(images, generator, mode, seed, config.mixes)
                found[mode].append(judged)
                blocks.setdefault(MODES[mode], pictures)
            one_more()
        ours[images.name] = {mode: _numbers(seeds) for mode, seeds in found.items()}
        if images.name == "MNIST":  # E's example
            nines = [one["classes"][_ALL_PAIRS.index((0, 4))][9] for one in found["dims"]]
            ours["nines_of_0+4"] = interval(nines)._asdict()
    ours |= {"unsure_below": SURE, "mixes_for_precision": _FOR_PRECISION}
    claim = "generated images continue to retain input category attributes; 0 and 4 resembled 9"
    return Measured(ours, {"claim": claim}, {"mixes": shown})


def _mix_all(
    subject: latents.JudgedImages, generator: LatentGenerator, mode: MixMode, seed: int, n: int
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What the judge says of ``n`` mixes of each of P pairs, and pictures ``(4, _SHOWN, S, S, 3)`` of some.

    Of each pair ``classes``, how often each class is seen ``(P, K)``, and the shares ``either``, taken for one of the
    two, and ``unsure`` ``(P,)``; the ``precision`` of all pairs together.
    """
    classes = subject.dataset.class_names
    judged: dict[str, Any] = {"classes": [], "either": [], "unsure": []}
    kept, features = [], []
    for pair in _ALL_PAIRS:
        images = generator.mix([classes[k] for k in pair], mode=mode, n_samples=n, random_state=seed)
        probabilities = subject.judge.probabilities(images)
        found = probabilities.argmax(1)
        judged["classes"].append(np.bincount(found, minlength=len(classes)) / n)
        judged["either"].append(np.isin(found, pair).mean())
        judged["unsure"].append((probabilities.max(1) < SURE).mean())
        features.append(subject.judge.features(images[:_FOR_PRECISION]))
        if pair in PAIRS:
            kept.append(as_rgb(images[:_SHOWN]))
    judged["precision"] = manifold_scores(subject.reference.real, np.concatenate(features)).precision
    return judged, np.stack(kept)


def _numbers(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the pairs by seed and over the seeds; of each pair how often each class is seen."""
    classes, either, unsure = (np.stack([one[key] for one in seeds], 1) for key in ("classes", "either", "unsure"))
    precision = [one["precision"] for one in seeds]
    by_seed = {"either": either.mean(0), "other": 1 - either.mean(0), "unsure": unsure.mean(0), "precision": precision}
    every = {f"{a}+{b}": row for row, (a, b) in enumerate(_ALL_PAIRS)}
    return {
        **by_seed,
        "over_seeds": {name: interval(values)._asdict() for name, values in by_seed.items()},
        "pairs": {pair: classes[row].mean(0).round(4) for pair, row in every.items()},
        "unsure_of_pairs": {pair: interval(unsure[every[pair]])._asdict() for pair in (f"{a}+{b}" for a, b in PAIRS)},
    }


def draw(measured: Measured) -> dict[str, Figure]:
    """Return mixes of four pairs of each data set: a block for each way of mixing."""
    return {
        suffix: latents.draw_blocks("Mixes of two classes", blocks.items(), labels)
        for suffix, (labels, blocks) in zip(("", "-fashion-mnist"), measured.seen["mixes"], strict=True)
    }
