"""D Figures 8 and 9: does a classifier on the bottleneck lower the loss and steady the training?

    L = L_simple + weight * classification

Figure 9 shows one training run of each kind, and does not say which loss it plots. Here the denoising loss alone is
compared, on the same batches with the same noise and starting weights, several seeds each.

D's classifier (Figure 8) sits behind blocks that have seen the condition, and may read the answer back. The form that
cannot looks at a second pass, whose condition is dropped. And does a classifier read the image or the condition? Noisy
images x_t are shown with a wrong condition, the attributes and Z of another image, and only those entries (image,
attribute) count in which the two disagree. There a decision names either the image or the condition, so that with
balanced accuracies

    image accuracy + condition accuracy = 1.

An attribute is found where its probability exceeds its share among the images, the best rule for a balanced accuracy.
A classifier that reads the image has an image accuracy near its accuracy with the right condition; one that reads the
condition back has one near 0; 1/2 is a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gaussmix._typing import FloatArray
from gaussmix.diffusion.codec import to_pixels
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.metrics.classifier import balanced_accuracy
from reproduction.diffusion.study import Run, StudyConfig, judged, progress, study_of
from reproduction.page import Measured
from reproduction.runs import Curve
from reproduction.statistics import Row, Table, compare, interval, summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "fixed": "no classifier",
    "seen_bce": "D's classifier, cross-entropy",
    "seen_ngmg": "D's classifier, NGMG entropy",
    "blind_bce": "pass without the condition, cross-entropy",
    "blind_ngmg": "pass without the condition, NGMG entropy",
}
CONTROL = "fixed"
WITH = tuple(arm for arm in LABELS if arm != CONTROL)
LEVELS = (5, 30, 60)
"""Noise levels t of 100 at which the classifiers are shown wrong conditions."""
LEAK_SEED = 7
"""Of the noise, of the Z that are drawn, and of who gets whose condition."""
PAPER = {
    "claim": "the diffusion model with classifier has lower loss and converges faster; training is more stable",
    "steps": 200_000,
    "batch_size": 16,
}
_LINES = ("#8c8c8c", "#d9822b", "#c2402a", "#1f5fa8", "#4b9b5f")
_GREY = "#555555"
_BATCH = 64


class Config(StudyConfig):
    """Settings of Figure 9."""

    arms = tuple(LABELS)


def training(run: Run) -> Row:
    """Of a run: how fast and how steadily it went."""
    return curve_measures(run.model[1])


def leak(run: Run) -> dict[str, Row]:
    """Of a run with a classifier: what it names at each of `LEVELS`."""
    faces = run.study.faces
    return {str(level): measure_leak(run.pipeline, faces.asked, run.asked, level) for level in LEVELS}


MEASURES = {"judged": (Config.arms, judged), "training": (Config.arms, training), "leak": (WITH, leak)}


def claims(table: Table, leaks: Mapping[str, Mapping[int, Mapping[str, Row]]]) -> dict[str, Any]:
    """D's: with a classifier the loss is lower, falls faster, and training is steadier; NGMG beats cross-entropy."""
    signs = {"held-out loss": -1, "training loss": -1, "first half": -1, "step to step": -1, "gradient spread": -1}
    signs |= {"FD": -1, "accuracy": 1}
    read = {
        level: {arm: {seed: found[level] for seed, found in leaks[arm].items()} for arm in WITH}
        for level in map(str, LEVELS)
    }
    return {
        "with minus without": {
            arm: {name: compare(table, arm, CONTROL, name, sign) for name, sign in signs.items()} for arm in WITH
        },
        "NGMG minus BCE": {
            level: {form: compare(each, f"{form}_ngmg", f"{form}_bce", "right", 1) for form in ("seen", "blind")}
            for level, each in read.items()
        },
    }


def measure(config: Config, on_step: Callable[[int], None]) -> Measured:
    """Train all networks, and compare those with a classifier to those without, seed by seed."""
    with study_of(config) as study:
        table = study.table("judged", judged, config.arms, progress(config, on_step))
        for arm, rows in study.table("training", training, config.arms).items():
            table[arm] = {seed: {**table[arm][seed], **row} for seed, row in rows.items()}
        leaks = study.table("leak", leak, WITH)
        curves = {arm: [] for arm in config.arms}
        for arm, _, run in study.runs(config.arms):
            curves[arm].append(Curve.read(run.out))
    flat = {
        f"{arm}, {level}": {seed: each[str(level)] for seed, each in leaks[arm].items()}
        for arm in WITH
        for level in LEVELS
    }
    names = "right", "image", "condition", "agreement"
    ours = {"runs": summaries(table), "claims": claims(table, leaks), "leak": summaries(flat, names)}
    return Measured(ours, PAPER, {"curves": curves})


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
    network, generator = pipeline.network, torch.Generator().manual_seed(LEAK_SEED)
    with_condition = network.config["classifier_pass"] != "unconditioned"  # the pass that it was trained on
    latents = pipeline.draw_attribute_latents(len(attributes), generator)
    circle = np.random.default_rng(LEAK_SEED).permutation(len(attributes))
    other = np.empty_like(circle)
    other[circle] = np.roll(circle, 1)  # everyone gets the condition of somebody else

    alpha_bar = pipeline.scheduler.alphas_cumprod[timestep]
    share = torch.from_numpy(attributes.mean(0))
    right, wrong = [], []
    for start in range(0, len(images), _BATCH):
        rows = slice(start, start + _BATCH)
        clean = network.encode(to_pixels(np.ascontiguousarray(images[rows])))
        noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * torch.randn(clean.shape, generator=generator)
        for decisions, whose in ((right, np.arange(len(attributes))[rows]), (wrong, other[rows])):
            shown = latents[whose].to(noisy), torch.from_numpy(attributes[whose]).to(noisy)
            logits = network.classify(noisy, timestep, *(shown if with_condition else ()))
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

    curves = {name: each for name, each in curves.items() if each}
    steps = next(iter(curves.values()))[0].steps
    window = max(1, len(steps) // 20)
    losses = {name: smoothed(np.stack([one.denoising for one in each]), window) for name, each in curves.items()}
    centre = steps[: len(steps) - window + 1] + (window - 1) / 2
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, each in losses.items():
        color = _LINES[list(LABELS).index(name)]
        left.plot(centre, each.mean(0), color=color, linewidth=1.2, label=LABELS[name])
        left.fill_between(centre, each.min(0), each.max(0), color=color, alpha=0.15, linewidth=0)
        if name != CONTROL and CONTROL in losses:
            count = min(len(each), len(losses[CONTROL]))
            gap = each[:count] - losses[CONTROL][:count]
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
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=size)
    return figure


def smoothed(values: FloatArray, window: int) -> FloatArray:
    """Means ``(..., S - window + 1)`` over ``window`` neighbours of ``(..., S)``."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1]), values], -1), -1)
    return (sums[..., window:] - sums[..., :-window]) / window
