"""What the runs of D Figure 9 say of D's second claim, in sentences that follow from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gaussmix.papers.condition_findings import Values
from reproduction.diffusion.conditions import Measured
from reproduction.runs import Curve
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
