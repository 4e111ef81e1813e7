"""D Figure 7 and Eq. 7: are there fewer defects if the network is told features instead of classes?

    defect rate = 1 - precision = share of drawn pictures outside the manifold of real ones

D compares a model of CelebA, told features, with one of CIFAR-10, told classes: other pictures, another size, another
T, other parameters. Here one small network is trained on the same pictures in the same order with the same noise, and
only what it is told differs. Where the folders are given, the two data sets of D are compared as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix.data.load import load_dataset
from reproduction.diffusion.conditions import (
    LOSSES,
    QUALITY,
    QUICK,
    SIZE,
    TOLD,
    Faces,
    Measured,
    StudyConfig,
    Variant,
    avatar_faces,
    by_chance,
    categories,
    clusters,
    draw_faces,
    draw_measures,
    entropy,
    features,
    findings,
    gather,
    nothing,
    quality,
    run_variant,
    values_of,
)
from reproduction.page import Cell, Picture, Result, Table
from reproduction.runs import counted, runs_under
from reproduction.statistics import difference, interval

N_ELSEWHERE = {"celeba": 3, "cifar10": 1}
"""Variants trained on D's data sets."""

Runs = dict[str, list[Measured]]


@dataclass(frozen=True)
class Config(StudyConfig):
    """Settings of Figure 7."""

    celeba: str = "$GAUSSMIX_CELEBA"
    """A folder in CelebA's official layout; left out where the variable is not set."""
    cifar10: str = "$GAUSSMIX_CIFAR10"
    """A folder in CIFAR-10's layout, likewise."""

    @property
    def folders(self) -> dict[str, Path]:
        """The data sets of D that are given."""
        given = {name: os.path.expandvars(getattr(self, name)) for name in N_ELSEWHERE}
        return {name: Path(path).expanduser() for name, path in given.items() if path and "$" not in path}

    @property
    def n_steps(self) -> int:
        """Runs."""
        return self.repetitions * (len(TOLD) + sum(N_ELSEWHERE[name] for name in self.folders))

    def quick(self) -> Config:
        return replace(self, celeba="", cifar10="", **QUICK)


def variants(faces: Faces, seed: int) -> dict[str, Variant]:
    """What a network may be told of the built-in faces, by the names of `TOLD`; also trained for Figure 5."""
    rows = faces.dataset.attributes[faces.dataset.indices("train")]
    names = faces.dataset.attribute_names
    told = features(names)
    return {
        "nothing": Variant(TOLD["nothing"], nothing()),
        "category": Variant(TOLD["category"], categories(rows, names)),
        "clusters": Variant(TOLD["clusters"], clusters(rows, rows.shape[1], seed)),
        "multi_hot": Variant(TOLD["multi_hot"], told, {"conditioning": "multi_hot"}),
        "one_gaussian": Variant(TOLD["one_gaussian"], told, {"n_components": 1}),
        "features": Variant(TOLD["features"], told),
        "fresh": Variant(TOLD["fresh"], told, {"pairing": "fresh"}),
        "matched": Variant(TOLD["matched"], told, {"pairing": "matched"}),
    }


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 7."""
    one_more = counted(on_step)
    faces = avatar_faces(config)
    told = variants(faces, config.seed)
    with runs_under(config.runs) as folder:
        runs = _study(told, faces, config, folder, one_more)
        elsewhere = [_elsewhere(name, path, config, folder, one_more) for name, path in config.folders.items()]
    real = quality(faces, faces.asked)
    seconds = sum(
        one.curve.cpu_seconds
        for part in [runs, *(part for _, part, _ in elsewhere)]
        for m in part.values()
        for one in m
    )
    return Result(
        title="D Figure 7: conditioning on features against conditioning on classes",
        about="The same small network trained on the same faces, told their features, disjoint classes made from "
        "these, or nothing: defects, recall, distances to real faces, attributes and loss.",
        ours={
            "real": real,
            "runs": {key: _numbers(values) for key, values in values_of(runs).items()},
            "elsewhere": {
                name: {key: _numbers(values) for key, values in values_of(part).items()} for name, part, _ in elsewhere
            },
            "training_cpu_seconds": round(seconds, 1),
        },
        paper={
            "claim": "the model trained on Cifar clearly underperformed the model trained on CelebA; loss from "
            "Cifar10 is also larger",
            "celeba": {"size": 64, "parameters": 60e6, "steps": 400_000, "batch_size": 16, "T": 100},
            "cifar10": {"size": 32, "parameters": 70e6, "steps": 400_000, "batch_size": 16, "T": 1000},
        },
        tables=(
            _conditions(told, faces),
            _table("Measured", runs, TOLD, real),
            _paired(runs),
            *(_table(f"D's data: {name}", part, labels, None) for name, part, labels in elsewhere),
        ),
        readings=_how_read(config, told, seconds),
        findings=findings(values_of(runs), real),
        pictures=(
            Picture(
                "",
                "First row: held-out faces. Below, for each of them a picture from a network that was told what the "
                "row's name says of this face; the networks of the first seed.",
                lambda: draw_faces(faces, runs, TOLD),
            ),
            Picture(
                "-measures",
                "Left: precision (1 - defect rate) against recall, colours as on the right. Right: Frechet distance. "
                f"Means of {config.repetitions} networks with 95 % intervals (Student's t); grey: real faces.",
                lambda: draw_measures(values_of(runs), TOLD, real),
            ),
        ),
    )


def _study(told: dict[str, Variant], faces: Faces, config: Config, folder: Path, one_more: Callable[[], None]) -> Runs:
    """Seed by seed, so that an early look shows all variants."""
    runs: Runs = {key: [] for key in told}
    for seed in config.seeds:
        for key, variant in told.items():
            runs[key].append(run_variant(variant, faces, config, seed, folder))
            one_more()
    return runs


def _elsewhere(
    name: str, path: Path, config: Config, folder: Path, one_more: Callable[[], None]
) -> tuple[str, Runs, dict[str, str]]:
    """The study on one of D's data sets: its name, runs and labels."""
    dataset = load_dataset(path, size=SIZE, progress=False)
    train = dataset.indices("train")
    held = np.random.default_rng(config.seed).permutation(np.setdiff1d(np.arange(len(dataset)), train))
    asked, reference = np.split(held[: config.pictures + config.reference], [min(config.pictures, len(held) // 4)])
    faces = gather(dataset, dataset, asked, reference, config.judge_steps)
    all_of_them = features(dataset.attribute_names)
    told = {"features": Variant("features", all_of_them)}
    if name == "celeba":
        rows = dataset.attributes[train]
        told |= {
            "nothing": Variant(TOLD["nothing"], nothing()),
            "clusters": Variant("classes: groups", clusters(rows, rows.shape[1], config.seed)),
        }
    else:
        told = {"classes": Variant("its classes", all_of_them)}
    assert len(told) == N_ELSEWHERE[name]
    runs = _study(told, faces, config, folder, one_more)
    return name, runs, {key: variant.label for key, variant in told.items()}


def _numbers(values: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: {"mean": float(v.mean()), "runs": [float(x) for x in v]} for name, v in values.items()}


def _conditions(told: dict[str, Variant], faces: Faces) -> Table:
    rows = faces.dataset.attributes[faces.dataset.indices("train")]
    lines: list[tuple[Cell, ...]] = []
    for variant in told.values():
        given = variant.conditioning.apply(rows)
        distinct = float(len(np.unique(given, axis=0)))
        lines.append((variant.label, float(given.shape[1]), distinct, entropy(given)))
    return Table(
        "What the networks are told", ("told", "columns", "distinct conditions", "entropy, bits"), tuple(lines)
    )


def _table(title: str, runs: Runs, labels: dict[str, str], real: dict[str, float] | None) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (labels[key], *(str(interval(values[name])) for name in (*QUALITY, *LOSSES)))
        for key, values in values_of(runs).items()
    ]
    if real is not None:
        rows.append(("real faces", *(f"{real[name]:.3g}" if name in real else "" for name in (*QUALITY, *LOSSES))))
    return Table(f"{title}: mean ± 95 % interval", ("told", *QUALITY, *LOSSES), tuple(rows))


def _paired(runs: Runs) -> Table:
    values = values_of(runs)
    rows: list[tuple[Cell, ...]] = []
    for key in values:
        if key != "features":
            gaps = {name: difference(values[key][name], values["features"][name]) for name in (*QUALITY, *LOSSES)}
            rows.append((TOLD[key], *(f"**{gap}**" if gap.sign else str(gap) for gap in gaps.values())))
    tests = len(rows) * len((*QUALITY, *LOSSES))
    return Table(
        f"Difference to “{TOLD['features']}”, seed by seed: mean ± 95 % interval, bold if it leaves out 0 (about "
        f"{by_chance(tests)} of {tests} would by chance)",
        ("told", *QUALITY, *LOSSES),
        tuple(rows),
    )


def _how_read(config: Config, told: dict[str, Variant], seconds: float) -> tuple[str, ...]:
    category = ", ".join(told["category"].conditioning.names)
    others = sorted(set(N_ELSEWHERE) - set(config.folders))
    missing = (
        f" Not given: {', '.join(others)}; set GAUSSMIX_CELEBA or GAUSSMIX_CIFAR10 to a folder to have them here too."
        if others
        else ""
    )
    return (
        "D compares CelebA, told features, with CIFAR-10, told classes, so that the pictures differ as well. Here the "
        f"pictures are {config.avatars} built-in faces and only the condition differs; network, batches, noise levels "
        f"and noise are the same, seed by seed (fresh Z are drawn from the same random numbers and shift them)."
        + missing,
        f"Training: {config.training_steps} steps of {config.batch_size} pictures, channels "
        f"{', '.join(map(str, config.channels))}, T = 100, our working recipe (v-prediction, t by angle), not D's, "
        f"which does not follow its conditions at this budget. {config.repetitions} seeds. D trains 400 000 steps of "
        f"16: what is said here is said of short training. It took {seconds / 60:.0f} minutes of "
        "CPU time; the time below leaves it out where finished runs were read.",
        f"One property: the set of mutually exclusive attributes with the largest entropy: {category}. Groups: k-means "
        "of the attribute vectors, as many as there are attributes. In both, exactly one entry of the condition is 1 "
        "and has its Z, as for CIFAR-10 in D.",
        f"Drawn with DPM-Solver++ in {config.sampling_steps} steps, guidance {config.guidance:g}, for the conditions "
        f"of {config.pictures} held-out faces; the reference are {config.reference} others. Features: the 64 of a "
        "classifier of attributes, k = 5 neighbours. A network told classes is asked for the held-out face's class and "
        "judged by the face's attributes: of what the class does not say it can only guess.",
        "Held-out loss: Z is drawn at random, as in training. Matched Z are read off the held-out faces, as they were "
        "off the training faces: their network knows more of the picture.",
        "Intervals: Student's t over the seeds. They say how far another seed may lie, not another data set.",
    )
