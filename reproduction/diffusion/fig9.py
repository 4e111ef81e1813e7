"""D Figures 8 and 9: does a classifier on the bottleneck lower the loss and steady the training?

    L = L_simple + weight * classification

Figure 9 shows one training run of each kind, and does not say which loss it plots. Here the denoising loss alone is
compared, on the same batches with the same noise and starting weights, several seeds each. D's classifier sits behind
blocks that have seen the condition and may read it back; the form that cannot, with the condition in the up blocks
only, is compared with a network of that form without a classifier.

What the runs of D Figure 9 say of D's second claim, in sentences that follow from the numbers.

Does the classifier on the bottleneck read the image, or the condition that it was shown?

D Fig. 8 puts the classifier behind blocks that have seen the condition. Its loss then says nothing: it can read the
answer back. The control: noisy images x_t are shown with a wrong condition, the attributes and Z of another image, and
only those entries (image, attribute) count in which the two disagree. There a decision names either the image or the
condition, so that with balanced accuracies

    image accuracy + condition accuracy = 1.

An attribute is found where its probability exceeds its share among the images, the best rule for a balanced accuracy.
A classifier that reads the image has an image accuracy near its accuracy with the right condition; one that reads the
condition back has one near 0; 1/2 is a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline, check_pictures
from gaussmix.metrics.classifier import balanced_accuracy
from reproduction.diffusion.conditions import (
    QUICK,
    Faces,
    Measured,
    StudyConfig,
    Values,
    Variant,
    avatar_faces,
    draw_curves,
    features,
    run_variant,
    trained_variant,
)
from reproduction.page import Cell, Picture, Result, Table
from reproduction.runs import Curve, counted, runs_under
from reproduction.statistics import Interval, difference, interval

FORMS = {
    "none": "no classifier",
    "seen_bce": "D's classifier, cross-entropy",
    "seen_ngmg": "D's classifier, NGMG entropy",
    "up": "condition in the up blocks, no classifier",
    "up_bce": "condition in the up blocks, classifier",
}
CONTROLS = {"seen_bce": "none", "seen_ngmg": "none", "up_bce": "up"}
"""With a classifier, and what it is compared with."""

_STEADY = ("step to step", "gradient spread")


class Leak(NamedTuple):
    """What one form's classifiers name at noise level `level`; means over attributes and seeds of `LeakReport`."""

    form: str
    level: int
    right: float
    image: float
    condition: float
    agreement: float


def curve_measures(curve: Curve) -> dict[str, float]:
    """How fast and how steadily a run went."""
    half = len(curve.steps) // 2
    late, norm = curve.denoising[half:], curve.gradient_norm[half:]
    return {
        "first half": float(curve.denoising[:half].mean()),
        "step to step": float(np.diff(late).std() / np.sqrt(2)),
        "gradient": float(norm.mean()),
        "gradient spread": float(norm.std() / norm.mean()),
    }


def values_of(runs: Mapping[str, list[Measured]]) -> dict[str, dict[str, np.ndarray]]:
    """All measures as arrays over the seeds."""
    rows = {name: [one.values | curve_measures(one.curve) for one in measured] for name, measured in runs.items()}
    return {name: {key: np.array([row[key] for row in each]) for key in each[0]} for name, each in rows.items()}


def findings(values: Values, leaks: Sequence[Leak]) -> tuple[str, ...]:
    """All sentences."""
    return claim(values), pace(values), steadiness(values), leak(leaks)


def _gap(values: Values, form: str, measure: str) -> Interval:
    return difference(values[form][measure], values[CONTROLS[form]][measure])


def _listed(values: Values, measure: str) -> str:
    parts = []
    for form, control in CONTROLS.items():
        with_it, without = interval(values[form][measure]), interval(values[control][measure])
        parts.append(f"{FORMS[form]} {with_it.mean:.4g} against {without.mean:.4g}, {_gap(values, form, measure)}")
    return "; ".join(parts)


def _verdict(gaps: Mapping[str, Interval], better: str, worse: str, same: str) -> str:
    lower = [form for form, gap in gaps.items() if gap.sign < 0]
    higher = [form for form, gap in gaps.items() if gap.sign > 0]
    if not lower and not higher:
        return same
    parts = [f"{better} with: {', '.join(FORMS[form] for form in lower)}"] if lower else []
    return "; ".join(parts + ([f"{worse} with: {', '.join(FORMS[form] for form in higher)}"] if higher else []))


def claim(values: Values) -> str:
    """Is the loss lower?"""
    held = {form: _gap(values, form, "held-out loss") for form in CONTROLS}
    training = {form: _gap(values, form, "training loss") for form in CONTROLS}
    lower = [form for form in CONTROLS if held[form].sign < 0]
    if len(lower) == len(CONTROLS):
        verdict = "D's second claim, a lower loss, holds here"
    elif lower:
        verdict = f"D's second claim, a lower loss, holds here only with: {', '.join(FORMS[form] for form in lower)}"
    elif any(held[form].sign > 0 for form in CONTROLS):
        verdict = "D's second claim, a lower loss, does not hold here"
    else:
        verdict = "D's second claim, a lower loss, is not seen here: no form changes it by more than chance"
    return (
        f"{verdict}. Held-out denoising loss: {_listed(values, 'held-out loss')}. On training batches, end of "
        f"training: {_listed(values, 'training loss')} "
        f"({_verdict(training, 'lower', 'higher', 'no difference beyond chance')})."
    )


def pace(values: Values) -> str:
    """Does it fall faster?"""
    gaps = {form: _gap(values, form, "first half") for form in CONTROLS}
    verdict = _verdict(gaps, "The loss falls faster", "The loss falls more slowly", "The loss falls no faster")
    return f"{verdict}. Mean over the first half of the steps: {_listed(values, 'first half')}."


def steadiness(values: Values) -> str:
    """Is training steadier?"""
    words = []
    for measure, name in zip(_STEADY, ("the loss from step to step", "the norm of the gradient"), strict=True):
        gaps = {form: _gap(values, form, measure) for form in CONTROLS}
        verdict = _verdict(gaps, "steadier", "less steady", "no steadier")
        words.append(f"{name}: {verdict} ({_listed(values, measure)})")
    spread = (
        ", ".join(f"{FORMS[form]} {np.std(values[form]['held-out loss'], ddof=1):.2g}" for form in values)
        if (len(values["none"]["held-out loss"]) > 1)
        else "one seed only"
    )
    return (
        f"Steadiness: {'; '.join(words)}. Standard deviation of the held-out loss over the seeds, too few to compare: "
        f"{spread}."
    )


def leak(leaks: Sequence[Leak]) -> str:
    """Which classifiers read the image?"""
    lowest = min(one.level for one in leaks)
    sentences = []
    for one in leaks:
        if one.level == lowest:
            who = "the image" if one.image > 0.6 else "the condition" if one.image < 0.4 else "neither clearly"
            sentences.append(
                f"{FORMS[one.form]}: {who} (image {one.image:.2f}, condition {one.condition:.2f}; with the right "
                f"condition {one.right:.2f})"
            )
    return f"Shown a wrong condition at noise level {lowest}, the classifier names: {'; '.join(sentences)}."


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


_BATCH = 64


@dataclass(frozen=True, eq=False)
class LeakReport:
    """What `measure_leak` found at one noise level; accuracies are balanced, and means over the K attributes.

    Attributes:
        timestep: the noise level, 0 ... T - 1.
        count: number of images.
        right_accuracy: of the classifier when the condition is the image's own, over all entries.
        image_accuracy: with the wrong condition, over the entries where image and condition differ, against the image.
        condition_accuracy: the same against the condition, ``1 - image_accuracy``.
        agreement: share of these entries that are decided as with the right condition; 1 if the condition is not seen.
        image_accuracies: ``(K,)``, behind `image_accuracy`; NaN for an attribute that differs in one direction only.
    """

    timestep: int
    count: int
    right_accuracy: float
    image_accuracy: float
    condition_accuracy: float
    agreement: float
    image_accuracies: NDArray[np.float64]


@torch.no_grad()
def measure_leak(
    pipeline: AttributeDiffusionPipeline,
    images: NDArray[np.uint8],
    attributes: ArrayLike,
    *,
    timestep: int,
    seed: int = 0,
    latents: torch.Tensor | None = None,
) -> LeakReport:
    """Show the network of ``pipeline`` noisy images with a wrong condition and see what its classifier names.

    Args:
        images: ``(M, H, W, 3)`` uint8, which the model need not have seen.
        attributes: ``(M, K)`` of 0/1.
        timestep: noise level, 0 (nearly clean) ... T - 1 (nearly noise).
        seed: of the noise, of the Z that are drawn, and of who gets whose condition.
        latents: ``(M, T, N)`` Z of each image, which go with its attributes; drawn from the model's distribution if
            not given.

    The classifier looks at the pass that it was trained on: with or without the condition.

    Raises ValueError for a model without a classifier, fewer than two images, shapes that do not fit, and for images
    whose attributes never differ both ways.
    """
    unet = pipeline.unet
    truth = np.asarray(attributes)
    pipeline.latent_distribution.gate(truth)  # checks the shape and the values
    if unet.head is None:
        raise ValueError("the model has no classifier; train one with --classifier-weight 0.1")
    if not 2 <= len(images) == len(truth):
        raise ValueError(f"got {len(images)} images and {len(truth)} rows of attributes; give two or more of both")
    check_pictures(images, unet.config["sample_size"])
    levels = pipeline.scheduler.alphas_cumprod
    if not 0 <= timestep < len(levels):
        raise ValueError(f"timestep is {timestep}; choose 0 to {len(levels) - 1}")
    generator = torch.Generator().manual_seed(seed)
    if latents is None:
        latents = pipeline.draw_attribute_latents(len(truth), generator)
    circle = np.random.default_rng(seed).permutation(len(truth))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)  # everyone gets the condition of somebody else

    alpha_bar = levels[timestep]
    share = torch.from_numpy(truth.mean(0))
    right, wrong = [], []
    for start in range(0, len(images), _BATCH):
        rows = slice(start, start + _BATCH)
        clean = torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
        noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * torch.randn(clean.shape, generator=generator)
        for decisions, whose in ((right, np.arange(len(truth))[rows]), (wrong, other[rows])):
            logits = _as_trained(pipeline, noisy, timestep, latents[whose], truth[whose])
            decisions.append((logits.sigmoid().double().cpu() > share).numpy())
    right, wrong = np.concatenate(right), np.concatenate(wrong)

    differ = truth != truth[other]
    per_attribute = np.array(
        [balanced_accuracy(wrong[rows, k : k + 1], truth[rows, k : k + 1])[0] for k, rows in enumerate(differ.T)]
    )
    if np.isnan(per_attribute).all():
        raise ValueError(f"no attribute of the {len(truth)} images differs both ways from that of another; give more")
    image_accuracy = float(np.nanmean(per_attribute))
    return LeakReport(
        timestep=timestep,
        count=len(truth),
        right_accuracy=float(np.nanmean(balanced_accuracy(right, truth))),
        image_accuracy=image_accuracy,
        condition_accuracy=1 - image_accuracy,
        agreement=float((right == wrong)[differ].mean()),
        image_accuracies=per_attribute,
    )


def _as_trained(
    pipeline: AttributeDiffusionPipeline,
    noisy: torch.Tensor,
    timestep: int,
    latents: torch.Tensor,
    attributes: NDArray[np.uint8],
) -> torch.Tensor:
    """Logits ``(B, K)`` of the pass that the classifier was trained on."""
    unet = pipeline.unet
    noisy = noisy.to(unet.device, unet.dtype)
    if unet.config["classifier_pass"] == "unconditioned":
        return unet.classify(noisy, timestep)
    condition = latents.to(noisy), torch.from_numpy(attributes).to(noisy)
    return unet.classify(noisy, timestep, *condition)
