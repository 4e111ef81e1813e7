"""D Figures 8 and 9: does a classifier on the bottleneck lower the loss and steady the training?

    L = L_simple + weight * classification

Figure 9 shows one training run of each kind, and does not say which loss it plots. Here the denoising loss alone is
compared, on the same batches with the same noise and starting weights, several seeds each. D's classifier sits behind
blocks that have seen the condition and may read it back; the form that cannot, with the condition in the up blocks
only, is compared with a network of that form without a classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix.diffusion.leak import measure_leak
from gaussmix.papers.classifier_findings import CONTROLS, FORMS, Leak, findings, values_of
from gaussmix.papers.condition_pictures import draw_curves
from gaussmix.papers.conditionings import features
from gaussmix.papers.result import Cell, Picture, Result, Table
from reproduction.diffusion.conditions import (
    QUICK,
    Faces,
    Measured,
    StudyConfig,
    Variant,
    avatar_faces,
    run_variant,
    trained_variant,
)
from reproduction.runs import counted, runs_under
from reproduction.statistics import difference, interval

LEAK_SEED = 7
"""Of who gets whose condition."""


@dataclass(frozen=True)
class Config(StudyConfig):
    """Settings of Figure 9."""

    weight: float = 0.1
    """Of the classification in the loss."""
    leak_levels: tuple[int, ...] = (0, 5, 20)
    """Noise levels at which the classifiers are shown wrong conditions."""

    @property
    def n_steps(self) -> int:
        """Runs."""
        return self.repetitions * len(FORMS)

    def quick(self) -> Config:
        return replace(self, **QUICK)


def forms(faces: Faces, weight: float) -> dict[str, Variant]:
    """How the networks are trained, by the names of `FORMS`; all are told features with fixed Z, as D."""
    changes: dict[str, dict[str, Any]] = {
        "none": {},
        "seen_bce": {"classifier_weight": weight},
        "seen_ngmg": {"classifier_weight": weight, "classifier_loss": "ngmg"},
        "up": {"injection": "up"},
        "up_bce": {"injection": "up", "classifier_weight": weight},
    }
    told = features(faces.dataset.attribute_names)
    return {name: Variant(FORMS[name], told, each) for name, each in changes.items()}


def run(config: Config, on_step: Callable[[int], None]) -> Result:
    """Figure 9."""
    one_more = counted(on_step)
    faces = avatar_faces(config)
    variants = forms(faces, config.weight)
    runs: dict[str, list[Measured]] = {name: [] for name in variants}
    with runs_under(config.runs) as folder:
        for seed in config.seeds:
            for name, variant in variants.items():
                runs[name].append(run_variant(variant, faces, config, seed, folder, draws=False))
                one_more()
        leaks = [
            _leak(name, level, variants[name], faces, config, folder)
            for name in CONTROLS
            for level in config.leak_levels
        ]
    values = values_of(runs)
    seconds = sum(one.curve.cpu_seconds for measured in runs.values() for one in measured)
    return Result(
        title="D Figures 8 and 9: training with and without a classifier on the bottleneck",
        about="Denoising loss of the same small network with and without a classifier of the attributes on its "
        "bottleneck, and whether that classifier reads the image or the condition.",
        ours={
            "runs": {
                name: {key: {"mean": float(v.mean()), "runs": [float(x) for x in v]} for key, v in each.items()}
                for name, each in values.items()
            },
            "leak": [one._asdict() for one in leaks],
            "training_cpu_seconds": round(seconds, 1),
        },
        paper={
            "claim": "the diffusion model with classifier has lower loss and converges faster; training is more stable",
            "steps": 200_000,
            "batch_size": 16,
        },
        tables=(_measured(values), _paired(values), _leak_table(leaks)),
        readings=_how_read(config, seconds),
        findings=findings(values, leaks),
        pictures=(
            Picture(
                "",
                f"As Figure 9: denoising loss by training step (running mean), mean and range of {config.repetitions} "
                "networks. Right: with a classifier minus without, on the same batches and noise, mean and 95 % "
                "interval; below 0 the classifier helps.",
                lambda: draw_curves(runs, FORMS, CONTROLS),
            ),
        ),
    )


def _leak(name: str, level: int, variant: Variant, faces: Faces, config: Config, folder: Path) -> Leak:
    reports = []
    for seed in config.seeds:
        pipeline, *_ = trained_variant(variant, faces, config, seed, folder)
        reports.append(measure_leak(pipeline, faces.asked, faces.attributes, timestep=level, seed=LEAK_SEED))
    fields = ("right_accuracy", "image_accuracy", "condition_accuracy", "agreement")
    return Leak(name, level, *(float(np.mean([getattr(report, field) for report in reports])) for field in fields))


def _measured(values: dict[str, dict[str, np.ndarray]]) -> Table:
    names = list(values["none"])
    rows: list[tuple[Cell, ...]] = [
        (FORMS[name], *(str(interval(each[key])) for key in names)) for name, each in values.items()
    ]
    return Table("Measured: mean ± 95 % interval", ("network", *names), tuple(rows))


def _paired(values: dict[str, dict[str, np.ndarray]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, control in CONTROLS.items():
        gaps = [difference(values[name][key], values[control][key]) for key in values[name]]
        rows.append((FORMS[name], FORMS[control], *(f"**{gap}**" if gap.sign else str(gap) for gap in gaps)))
    return Table(
        "With a classifier minus without, seed by seed: mean ± 95 % interval, bold if it leaves out 0",
        ("with", "without", *values["none"]),
        tuple(rows),
    )


def _leak_table(leaks: list[Leak]) -> Table:
    rows = tuple((FORMS[one.form], float(one.level), *one[2:]) for one in leaks)
    return Table(
        "Shown the condition of another face: whom does the classifier name, where the two differ?",
        ("network", "noise level t", "accuracy, own condition", "names the image", "names the condition", "as before"),
        rows,
    )


def _how_read(config: Config, seconds: float) -> tuple[str, ...]:
    return (
        f"{config.avatars} built-in faces told by features, fixed Z, as D; network and recipe as for Figure 7 "
        f"({config.training_steps} steps of {config.batch_size} pictures, where D has 200 000 of 16). Batches, noise "
        "levels, noise and starting weights are the same, seed by seed, so that differences are due to the classifier "
        f"or the injection. {config.repetitions} seeds. Training took {seconds / 60:.0f} minutes of "
        "CPU time; the time below leaves it out where finished runs were read.",
        f"D gives neither the weight of the classification nor the loss that Figure 9 plots. Weight {config.weight:g}; "
        "the cross-entropy is averaged over the attributes, NGMG entropy summed over them, as printed. The denoising "
        "loss is compared, without the classification.",
        "First half: mean denoising loss of the first half of the steps, for how fast it falls. Step to step: standard "
        "deviation of the change of the denoising loss from one step to the next, over the second half, divided by the "
        "square root of 2. Gradient: mean norm before clipping, of the whole loss, over the second half; its spread is "
        "the standard deviation in units of that mean.",
        "Leak: noisy held-out faces are shown with the attributes and Z of another face. Only attributes count in "
        "which the two differ, so that naming the image and naming the condition add up to 1. Balanced accuracies, "
        "mean over attributes and seeds.",
        "Intervals: Student's t over the seeds.",
    )
