"""D Figures 8 and 9: does a classifier on the bottleneck lower the loss and steady the training?

    L = L_simple + weight * classification

Figure 9 shows one training run of each kind, and does not say which loss it plots. Here the denoising loss alone is
compared, on the same batches with the same noise and starting weights, several seeds each.

D's classifier (Figure 8) sits behind blocks that have seen the condition, and may read the answer back. The form that
cannot, with the condition in the up blocks only, is compared with a network of that form without a classifier. And does
a classifier read the image or the condition? Noisy images x_t are shown with a wrong condition, the attributes and Z of
another image, and only those entries (image, attribute) count in which the two disagree. There a decision names either
the image or the condition, so that with balanced accuracies

    image accuracy + condition accuracy = 1.

An attribute is found where its probability exceeds its share among the images, the best rule for a balanced accuracy.
A classifier that reads the image has an image accuracy near its accuracy with the right condition; one that reads the
condition back has one near 0; 1/2 is a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.metrics.classifier import balanced_accuracy
from reproduction.diffusion import conditions
from reproduction.diffusion.conditions import SmallModelConfig, SmallModelStudy, Values, Variant
from reproduction.page import Measured
from reproduction.runs import Curve, counted, runs_under
from reproduction.statistics import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "none": "no classifier",
    "seen_bce": "D's classifier, cross-entropy",
    "seen_ngmg": "D's classifier, NGMG entropy",
    "up": "condition in the up blocks, no classifier",
    "up_bce": "condition in the up blocks, classifier",
}
CONTROLS = {"seen_bce": "none", "seen_ngmg": "none", "up_bce": "up"}
"""With a classifier, and what it is compared with."""
LEAK_SEED = 7
"""Of the noise, of the Z that are drawn, and of who gets whose condition."""
PAPER = {
    "claim": "the diffusion model with classifier has lower loss and converges faster; training is more stable",
    "steps": 200_000,
    "batch_size": 16,
}
_LINES = ("#d9822b", "#1f5fa8", "#4b9b5f", "#8c8c8c", "#8a5fa8")
_GREY = "#555555"
_BATCH = 64


@dataclass(frozen=True)
class Config(SmallModelConfig):
    """Settings of Figure 9."""

    weight: float = 0.1
    """Of the classification in the loss."""
    leak_levels: tuple[int, ...] = (0, 5, 20)
    """Noise levels at which the classifiers are shown wrong conditions."""

    @property
    def n_steps(self) -> int:
        """Runs."""
        return self.repetitions * len(LABELS)

    def quick(self) -> Config:
        return replace(self, **conditions.QUICK)


def variants(names: tuple[str, ...], weight: float) -> dict[str, Variant]:
    """How the networks are trained, by the names of `LABELS`; all are told features with fixed Z, as D."""
    changes: dict[str, dict[str, Any]] = {
        "none": {},
        "seen_bce": {"classifier_weight": weight},
        "seen_ngmg": {"classifier_weight": weight, "classifier_loss": "ngmg"},
        "up": {"injection": "up"},
        "up_bce": {"injection": "up", "classifier_weight": weight},
    }
    return {name: Variant(conditions.features(names), each) for name, each in changes.items()}


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Train all networks, and compare those with a classifier to those without, seed by seed."""
    faces = conditions.avatar_faces(config)
    forms = variants(faces.dataset.attribute_names, config.weight)
    with runs_under(config.runs) as folder:
        study = SmallModelStudy(config, faces, folder)
        runs = study.measure_all(forms, counted(on_step), draws=False)
        leaks = [
            {"form": name, "level": level, **_mean_leak(study, forms[name], level)}
            for name in CONTROLS
            for level in config.leak_levels
        ]
    values = conditions.by_measure(runs, lambda run: run.values | curve_measures(run.curve))
    curves = {name: [one.curve for one in each] for name, each in runs.items()}
    ours = {
        "runs": conditions.summaries(values),
        **derived(values),
        "leak": leaks,
        "training_cpu_seconds": round(sum(curve.cpu_seconds for each in curves.values() for curve in each), 1),
    }
    return Measured(ours, PAPER, {"curves": curves})


def derived(values: Values) -> dict[str, Any]:
    """With a classifier minus without, and the standard deviations of the held-out loss over the seeds."""
    return {
        "with_minus_without": conditions.differences(values, CONTROLS),
        "spread_of_held_out_loss": {name: _spread(each["held-out loss"]) for name, each in values.items()},
    }


def _spread(values: FloatArray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


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


# --- the leak


def _mean_leak(study: SmallModelStudy, variant: Variant, level: int) -> dict[str, float]:
    """What a form's classifiers name at a noise level, means over the seeds."""
    pipelines, faces = [study.train(variant, seed)[0] for seed in study.config.seeds], study.faces
    leaks = [measure_leak(pipeline, faces.asked, faces.attributes, level) for pipeline in pipelines]
    return {key: float(np.mean([leak[key] for leak in leaks])) for key in leaks[0]}


@torch.no_grad()
def measure_leak(
    pipeline: AttributeDiffusionPipeline, images: NDArray[np.uint8], attributes: NDArray[np.uint8], timestep: int
) -> dict[str, float]:
    """Show the network of ``pipeline`` noisy images with a wrong condition and see what its classifier names.

    The ``images`` ``(M, H, W, 3)`` have ``attributes`` ``(M, K)``; their Z are drawn. The noise level ``timestep`` is 0
    (nearly clean) ... T - 1 (nearly noise). Returned are balanced accuracies, means over the attributes: ``right`` with
    the image's own condition, over all entries; ``image`` and ``condition`` with the wrong one, over the entries where
    image and condition differ, against either; and ``agreement``, the share of these entries that are decided as with
    the right condition, which is 1 if the condition is not seen. An attribute that differs in one direction only is
    left out. Raises ValueError if all are.
    """
    unet, generator = pipeline.network, torch.Generator().manual_seed(LEAK_SEED)
    with_condition = unet.config["classifier_pass"] != "unconditioned"  # the pass that it was trained on
    latents = pipeline.draw_attribute_latents(len(attributes), generator)
    circle = np.random.default_rng(LEAK_SEED).permutation(len(attributes))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)  # everyone gets the condition of somebody else

    alpha_bar = pipeline.scheduler.alphas_cumprod[timestep]
    share = torch.from_numpy(attributes.mean(0))
    right, wrong = [], []
    for start in range(0, len(images), _BATCH):
        rows = slice(start, start + _BATCH)
        clean = torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).float() / 127.5 - 1
        noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * torch.randn(clean.shape, generator=generator)
        for decisions, whose in ((right, np.arange(len(attributes))[rows]), (wrong, other[rows])):
            shown = latents[whose].to(noisy), torch.from_numpy(attributes[whose]).to(noisy)
            logits = unet.classify(noisy, timestep, *(shown if with_condition else ()))
            decisions.append((logits.sigmoid().double() > share).numpy())
    right, wrong = np.concatenate(right), np.concatenate(wrong)

    differ = attributes != attributes[other]
    per_attribute = np.array(
        [balanced_accuracy(wrong[rows, k : k + 1], attributes[rows, k : k + 1])[0] for k, rows in enumerate(differ.T)]
    )
    if np.isnan(per_attribute).all():
        raise ValueError(f"no attribute of the {len(images)} images differs both ways from that of another; give more")
    image = float(np.nanmean(per_attribute))
    return {
        "right": float(np.nanmean(balanced_accuracy(right, attributes))),
        "image": image,
        "condition": 1 - image,
        "agreement": float((right == wrong)[differ].mean()),
    }


# --- the picture


def draw(measured: Measured) -> dict[str, Figure]:
    """Return the denoising loss by step."""
    return {"": draw_curves(measured.seen["curves"])}


def draw_curves(curves: Mapping[str, list[Curve]]) -> Figure:
    """Denoising loss by step with the range of the seeds, and the difference to the control with its interval."""
    from matplotlib.figure import Figure

    steps = next(iter(curves.values()))[0].steps
    window = max(1, len(steps) // 20)
    losses = {name: smoothed(np.stack([one.denoising for one in each]), window) for name, each in curves.items()}
    centre = steps[: len(steps) - window + 1] + (window - 1) / 2
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for color, (name, each) in zip(_LINES, losses.items(), strict=True):
        left.plot(centre, each.mean(0), color=color, linewidth=1.2, label=LABELS[name])
        left.fill_between(centre, each.min(0), each.max(0), color=color, alpha=0.15, linewidth=0)
        if name in CONTROLS:
            gap = each - losses[CONTROLS[name]]
            middle, half = zip(*(interval(column) for column in gap.T), strict=True)
            right.plot(centre, middle, color=color, linewidth=1.2, label=LABELS[name])
            low, high = np.subtract(middle, half), np.add(middle, half)
            right.fill_between(centre, low, high, color=color, alpha=0.15, linewidth=0)
    right.axhline(0, color=_GREY, linestyle=":", linewidth=1)
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:.3g}")
    left.set_title(f"running mean over {window} steps", fontsize=10)
    left.set_ylabel("denoising loss")
    right.set_title("with a classifier minus without", fontsize=10)
    right.set_ylabel("difference of the denoising loss")
    for axes, size in ((left, 8), (right, 7)):
        axes.set_xlabel("training step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=size)
    return figure


def smoothed(values: FloatArray, window: int) -> FloatArray:
    """Means ``(..., S - window + 1)`` over ``window`` neighbours of ``(..., S)``."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1]), values], -1), -1)
    return (sums[..., window:] - sums[..., :-window]) / window
