"""D Figure 7 and Eq. 7: are there fewer defects if the network is told features instead of classes?

    defect rate = 1 - precision = share of drawn pictures outside the manifold of real ones

D compares a model of CelebA, told features, with one of CIFAR-10, told classes: other pictures, another size, another
T, other parameters. Here one network is trained on the same pictures in the same order with the same noise, and only
what it is told differs. Where the folders are given, the two data sets of D are compared as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gaussmix.data.load import load_dataset
from reproduction.diffusion.conditions import entropy
from reproduction.diffusion.faces import FaceBlock, draw_faces
from reproduction.diffusion.study import (
    ARMS,
    SIZE,
    Faces,
    Study,
    StudyConfig,
    gather,
    judged,
    progress,
    real_quality,
    study_of,
)
from reproduction.page import Measured
from reproduction.runs import given_folder
from reproduction.statistics import Table, compare, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "nothing": "nothing",
    "category": "classes: one property",
    "clusters": "classes: groups",
    "multi_hot": "features, no Z",
    "fixed": "features, fixed Z (D)",
    "matched": "features, matched Z",
}
CLASSES = ("category", "clusters")
ELSEWHERE = {"celeba": ("nothing", "clusters", "fixed"), "cifar10": ("fixed",)}
"""What is told of D's data sets; CIFAR-10's features are its classes."""
PAPER = {
    "claim": "the model trained on Cifar clearly underperformed the model trained on CelebA; loss from Cifar10 is also "
    "larger",
    "celeba": {"size": 64, "parameters": 60e6, "steps": 400_000, "batch_size": 16, "T": 100},
    "cifar10": {"size": 32, "parameters": 70e6, "steps": 400_000, "batch_size": 16, "T": 1000},
}
_COLORS = ("#8c8c8c", "#d9822b", "#c2402a", "#7f9fc6", "#1f5fa8", "#1b1b1b")
_GREY = "#555555"
_COLUMNS = 8


@dataclass(frozen=True)
class Config(StudyConfig):
    """Settings of Figure 7."""

    arms = tuple(LABELS)

    celeba: str = "$GAUSSMIX_CELEBA"
    """A folder in CelebA's official layout; left out where the variable is not set."""
    cifar10: str = "$GAUSSMIX_CIFAR10"
    """A folder in CIFAR-10's layout, likewise."""

    @property
    def folders(self) -> dict[str, Path]:
        """The data sets of D that are given."""
        given = {name: given_folder(getattr(self, name)) for name in ELSEWHERE}
        return {name: path for name, path in given.items() if path is not None}

    def quick(self) -> Self:
        """Seconds instead of hours."""
        return replace(super().quick(), celeba="", cifar10="")


MEASURES = {"judged": (Config.arms, judged)}


def claims(table: Table) -> dict[str, Any]:
    """D's: with features there are fewer defects, no more of the real faces are reached, and the loss is lower."""
    signs = {"defect rate": -1, "recall": -1, "held-out loss": -1, "FD": -1, "accuracy": 1, "coverage": -1}
    ways = [
        (told, *pair) for told in ("fixed", "multi_hot", "matched") for pair in ((c,) for c in (*CLASSES, "nothing"))
    ]
    pairs = [*ways, ("fixed", "multi_hot"), ("matched", "multi_hot"), ("matched", "fixed")]
    return {
        f"{arm} minus {control}": {name: compare(table, arm, control, name, sign) for name, sign in signs.items()}
        for arm, control in pairs
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Train all networks, measure their pictures and losses, and compare features with classes, seed by seed."""
    with study_of(config) as study:
        table = study.table("judged", judged, config.arms, progress(config, on_step))
        ours = {
            "real": study.real("quality", real_quality),
            "told": {arm: _told(study, arm) for arm in config.arms},
            "classes": ", ".join(study.rules["category"].names),
            "runs": summaries(table),
            "claims": claims(table),
            "elsewhere": {
                name: summaries(
                    Study(config, _faces_of(path, config), study.folder).table("judged", judged, ELSEWHERE[name])
                )
                for name, path in config.folders.items()
            },
        }
        pictures = {
            LABELS[arm]: run.shown[:_COLUMNS] for arm, seed, run in study.runs(config.arms) if seed == config.seed
        }
        asked = study.faces.asked[:_COLUMNS]
    return Measured(ours, PAPER, {"pictures": {"unseen faces": asked, **pictures}})


def _told(study: Study, arm: str) -> dict[str, float]:
    """What a network of this arm is told of the training pictures."""
    rows = study.rules[ARMS[arm].told].apply(study.faces.training)
    return {"columns": rows.shape[1], "distinct": len(np.unique(rows, axis=0)), "entropy_bits": entropy(rows)}


def _faces_of(path: Path, config: Config) -> Faces:
    """Those of one of D's data sets: its held-out pictures are asked for and compared with."""
    dataset = load_dataset(path, size=SIZE, progress=False)
    held = np.setdiff1d(np.arange(len(dataset)), dataset.indices("train"))
    held = np.random.default_rng(config.seed).permutation(held)
    asked, reference = np.split(held[: config.pictures + config.reference], [min(config.pictures, len(held) // 4)])
    images = [np.asarray(dataset.images[rows]) for rows in (asked, reference)]
    return gather(dataset, images[0], dataset.attributes[asked], images[1], config.judge_steps)


def draw(measured: Measured) -> dict[str, Figure]:
    """Return faces by what the network was told, and the measures with their intervals."""
    rows = measured.seen["pictures"]
    block = FaceBlock("", np.stack(list(rows.values())), list(rows))
    return {
        "": draw_faces("The same faces asked for, by what the network was told", block),
        "-measures": _draw_measures(measured.ours["runs"], measured.ours["real"]),
    }


_DRAWN = "defect rate", "recall", "FD"


def _draw_measures(runs: Mapping[str, Any], real: Mapping[str, float]) -> Figure:
    """Precision against recall, and the Frechet distance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for i, (color, each) in enumerate(zip(_COLORS, runs.values(), strict=True)):
        if not each["seeds"]:
            continue
        defects, recall, distance = ({**each[name], "half": np.nan_to_num(each[name]["half"])} for name in _DRAWN)
        bars = {"color": color, "fmt": "o", "markersize": 5, "linewidth": 1, "capsize": 2}
        left.errorbar(recall["mean"], 1 - defects["mean"], defects["half"], recall["half"], **bars)
        right.errorbar(distance["mean"], -i, xerr=distance["half"], **bars)
    right.axvline(real["FD"], color=_GREY, linestyle=":", linewidth=1)
    right.text(real["FD"], 0.5, " real faces", color=_GREY, fontsize=8, va="center")
    right.set_yticks([-i for i in range(len(runs))], [LABELS[name] for name in runs], fontsize=8)
    right.set_ylim(0.5 - len(runs), 0.8)
    right.set_xlim(left=0)
    right.set_title("Frechet distance", fontsize=10)
    right.set_xlabel("Frechet distance of the judge's features")
    left.set_title("precision and recall", fontsize=10)
    left.set_xlabel("recall")
    left.set_ylabel("precision = 1 - defect rate")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    reference = f"real faces: recall {real['recall']:.3g}, precision {1 - real['defect rate']:.3g}"
    left.text(0.02, 0.98, reference, transform=left.transAxes, color=_GREY, fontsize=8, va="top")
    return figure
