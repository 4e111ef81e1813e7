"""D Figure 7 and Eq. 7: are there fewer defects if the network is told features instead of classes?

    defect rate = 1 - precision = share of drawn pictures outside the manifold of real ones

D compares a model of CelebA, told features, with one of CIFAR-10, told classes: other pictures, another size, another
T, other parameters. Here one small network is trained on the same pictures in the same order with the same noise, and
only what it is told differs. Where the folders are given, the two data sets of D are compared as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix.data.base import AttributeDataset
from gaussmix.data.load import load_dataset
from reproduction.diffusion import conditions
from reproduction.diffusion.conditions import EvaluationFaces, MeasuredRun, SmallModelStudy, Values, Variant
from reproduction.diffusion.model import FaceBlock, draw_faces
from reproduction.page import Measured
from reproduction.runs import counted, runs_under

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "nothing": "nothing",
    "category": "classes: one property",
    "clusters": "classes: groups",
    "multi_hot": "features, no Z",
    "one_gaussian": "features, one Gaussian",
    "features": "features, three Gaussians (D)",
    "fresh": "features, fresh Z",
    "matched": "features, matched Z",
}
ELSEWHERE = {"celeba": ("nothing", "clusters", "features"), "cifar10": ("features",)}
"""What is told of D's data sets; CIFAR-10's features are its classes."""
PAPER = {
    "claim": "the model trained on Cifar clearly underperformed the model trained on CelebA; loss from Cifar10 is also "
    "larger",
    "celeba": {"size": 64, "parameters": 60e6, "steps": 400_000, "batch_size": 16, "T": 100},
    "cifar10": {"size": 32, "parameters": 70e6, "steps": 400_000, "batch_size": 16, "T": 1000},
}
_COLORS = ("#8c8c8c", "#d9822b", "#c2402a", "#7f9fc6", "#4b9b5f", "#1f5fa8", "#8a5fa8", "#1b1b1b")
_GREY = "#555555"
_COLUMNS = 8


@dataclass(frozen=True)
class Config(conditions.SmallModelConfig):
    """Settings of Figure 7."""

    celeba: str = "$GAUSSMIX_CELEBA"
    """A folder in CelebA's official layout; left out where the variable is not set."""
    cifar10: str = "$GAUSSMIX_CIFAR10"
    """A folder in CIFAR-10's layout, likewise."""

    @property
    def folders(self) -> dict[str, Path]:
        """The data sets of D that are given."""
        given = {name: os.path.expandvars(getattr(self, name)) for name in ELSEWHERE}
        return {name: Path(path).expanduser() for name, path in given.items() if path and "$" not in path}

    @property
    def n_steps(self) -> int:
        """Runs."""
        return self.repetitions * (len(LABELS) + sum(len(ELSEWHERE[name]) for name in self.folders))

    def quick(self) -> Config:
        return replace(self, celeba="", cifar10="", **conditions.QUICK)


def variants(faces: EvaluationFaces, seed: int) -> dict[str, Variant]:
    """What a network may be told of the built-in faces, by the names of `LABELS`; also trained for Figure 5."""
    rows, names = _training_rows(faces.dataset), faces.dataset.attribute_names
    features = conditions.features(names)
    return {
        "nothing": Variant(conditions.nothing()),
        "category": Variant(conditions.categories(rows, names)),
        "clusters": Variant(conditions.clusters(rows, rows.shape[1], seed)),
        "multi_hot": Variant(features, {"conditioning": "multi_hot"}),
        "one_gaussian": Variant(features, {"n_components": 1}),
        "features": Variant(features),
        "fresh": Variant(features, {"pairing": "fresh"}),
        "matched": Variant(features, {"pairing": "matched"}),
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Train all networks, measure their pictures and losses, and compare them to D's, seed by seed."""
    one_more = counted(on_step)
    faces = conditions.avatar_faces(config)
    told = variants(faces, config.seed)
    with runs_under(config.runs) as folder:
        runs = SmallModelStudy(config, faces, folder).measure_all(told, one_more)
        elsewhere = {
            name: _measure_elsewhere(name, path, config, folder, one_more) for name, path in config.folders.items()
        }
    values = conditions.by_measure(runs)
    every = [one for part in (runs, *elsewhere.values()) for each in part.values() for one in each]
    ours = {
        "real": conditions.quality(faces, faces.asked),
        **derived(told, faces.dataset, values),
        "runs": conditions.summaries(values),
        "elsewhere": {name: conditions.summaries(conditions.by_measure(part)) for name, part in elsewhere.items()},
        "training_cpu_seconds": round(sum(one.curve.cpu_seconds for one in every), 1),
    }
    pictures = {name: each[0].pictures for name, each in runs.items()}
    return Measured(ours, PAPER, {"faces": faces.asked, "pictures": pictures})


def derived(told: Mapping[str, Variant], dataset: AttributeDataset, values: Values) -> dict[str, Any]:
    """What is told of the training pictures, and the measures of all minus those of D's features, seed by seed."""
    given = {name: variant.conditioning.apply(_training_rows(dataset)) for name, variant in told.items()}
    return {
        "told": {
            name: {
                "columns": rows.shape[1],
                "distinct": len(np.unique(rows, axis=0)),
                "entropy_bits": conditions.entropy(rows),
            }
            for name, rows in given.items()
        },
        "minus_features": conditions.differences(values, {name: "features" for name in told if name != "features"}),
    }


def _training_rows(dataset: AttributeDataset) -> conditions.Rows:
    return dataset.attributes[dataset.indices("train")]


def _measure_elsewhere(
    name: str, path: Path, config: Config, folder: Path, one_more: Callable[[], None]
) -> dict[str, list[MeasuredRun]]:
    """The study on one of D's data sets."""
    dataset = load_dataset(path, size=conditions.SIZE, progress=False)
    held = np.setdiff1d(np.arange(len(dataset)), dataset.indices("train"))
    held = np.random.default_rng(config.seed).permutation(held)
    asked, reference = np.split(held[: config.pictures + config.reference], [min(config.pictures, len(held) // 4)])
    images = [np.asarray(dataset.images[rows]) for rows in (asked, reference)]
    faces = conditions.gather(dataset, images[0], dataset.attributes[asked], images[1], config.judge_steps)
    told = variants(faces, config.seed)
    return SmallModelStudy(config, faces, folder).measure_all({key: told[key] for key in ELSEWHERE[name]}, one_more)


def draw(measured: Measured) -> dict[str, Figure]:
    """Return faces by what the network was told, and the measures with their intervals."""
    pictures = {LABELS[name]: images for name, images in measured.seen["pictures"].items()}
    rows = {"held-out faces": measured.seen["faces"], **pictures}
    shown = np.stack([images[:_COLUMNS] for images in rows.values()])
    return {
        "": draw_faces("The same faces asked for, by what the network was told", FaceBlock("", shown, list(rows))),
        "-measures": _draw_measures(measured.ours["runs"], measured.ours["real"]),
    }


def _draw_measures(runs: Mapping[str, Any], real: Mapping[str, float]) -> Figure:
    """Precision against recall, and the Frechet distance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    for i, (color, each) in enumerate(zip(_COLORS, runs.values(), strict=True)):
        defects, recall, distance = (each[name] for name in ("defect rate", "recall", "FD"))
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
