"""What the runs of D Figure 7 say of D's first claim, in sentences that follow from the numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reproduction.diffusion.conditions import Measured
from reproduction.statistics import Interval, difference, interval

TOLD = {
    "nothing": "nothing",
    "category": "classes: one property",
    "clusters": "classes: groups",
    "multi_hot": "features, no Z",
    "one_gaussian": "features, one Gaussian",
    "features": "features, three Gaussians (D)",
    "fresh": "features, fresh Z",
    "matched": "features, matched Z",
}
CLASSES = ("category", "clusters")

Values = Mapping[str, Mapping[str, np.ndarray]]
"""By what was told, by measure: (n,) values, one a seed."""

_WORDS = {-1: "lower", 0: "not told apart", 1: "higher"}


def values_of(runs: Mapping[str, list[Measured]]) -> dict[str, dict[str, np.ndarray]]:
    """The runs' measures as arrays over the seeds."""
    return {
        key: {name: np.array([one.values[name] for one in measured]) for name in measured[0].values}
        for key, measured in runs.items()
    }


def findings(values: Values, real: Mapping[str, float]) -> tuple[str, ...]:
    """All sentences; ``real`` holds the measures of held-out real faces."""
    return (
        claim(values, real),
        equation_7(values),
        loss(values),
        what_z_adds(values),
        resolution(values),
    )


def gap(values: Values, measure: str, one: str, other: str) -> Interval:
    """``one`` minus ``other``, seed by seed."""
    return difference(values[one][measure], values[other][measure])


def claim(values: Values, real: Mapping[str, float]) -> str:
    """Does telling features make fewer defects than telling classes?"""
    gaps = {key: gap(values, "defect rate", "features", key) for key in CLASSES}
    signs = [each.sign for each in gaps.values()]
    if all(sign < 0 for sign in signs):
        verdict = "D's first claim holds here: told features, the network draws fewer defects than told classes"
    elif all(sign > 0 for sign in signs):
        verdict = "D's first claim is reversed here: told features, the network draws more defects than told classes"
    elif any(signs):
        verdict = "D's first claim holds against some classes at most"
    else:
        verdict = "D's first claim is not seen here: the defect rates of features and classes cannot be told apart"
    rates = ", ".join(f"{TOLD[key]} {_mean(values, 'defect rate', key)}" for key in ("features", *CLASSES, "nothing"))
    against = "; ".join(f"against {TOLD[key]} {each} ({_WORDS[each.sign]})" for key, each in gaps.items())
    return (
        f"{verdict}. Defect rate (1 - precision): {rates}; real faces {real['defect rate']:.3g}. Difference seed by "
        f"seed: {against}."
    )


def equation_7(values: Values) -> str:
    """D's inclusion bounds recall, Eq. 7 precision; both are measured."""
    recall = {key: gap(values, "recall", "features", key) for key in CLASSES}
    defects = {key: gap(values, "defect rate", "features", key) for key in CLASSES}
    wider = [key for key in CLASSES if recall[key].sign > 0]
    narrower = [key for key in CLASSES if recall[key].sign < 0]
    inclusion = _both(
        (f"The inclusion fails: recall with features is higher than with {_named(wider)}", wider),
        (f"the inclusion is borne out: recall with features is lower than with {_named(narrower)}", narrower),
        "The inclusion is neither borne out nor refuted: the recalls cannot be told apart",
    )
    more = [key for key in CLASSES if defects[key].sign > 0]
    fewer = [key for key in CLASSES if defects[key].sign < 0]
    equation = _both(
        (f"Eq. 7 fails: more defects than with {_named(more)}", more),
        (f"Eq. 7 agrees with the numbers: fewer defects than with {_named(fewer)}", fewer),
        "Eq. 7 is neither borne out nor refuted",
    )
    recalls = ", ".join(f"{TOLD[key]} {_mean(values, 'recall', key)}" for key in ("features", *CLASSES))
    return (
        "Eq. 7 does not follow from what D sets out from: if the good pictures of the features lie among the good ones "
        "of the classes, and both sets of pictures are equally large, then what is left over, the defects, is at least "
        "as large with features, not at most. The set argument also says nothing of how well a network learns each "
        "subset: finer ones leave it fewer pictures for each. It can be measured, the inclusion as recall: "
        f"{recalls}. {inclusion}. {equation}."
    )


def loss(values: Values) -> str:
    """D: the loss with classes is larger."""
    gaps = {key: gap(values, "held-out loss", "features", key) for key in (*CLASSES, "nothing")}
    lower = [key for key in CLASSES if gaps[key].sign < 0]
    if len(lower) == len(CLASSES):
        verdict = "As in D, the loss is lower with features than with classes"
    elif lower:
        verdict = f"The loss is lower with features than with {_named(lower)} only"
    else:
        verdict = "The loss is not lower with features than with classes"
    means = ", ".join(f"{TOLD[key]} {_mean(values, 'held-out loss', key)}" for key in ("features", *gaps))
    listed = "; ".join(f"against {TOLD[key]} {each} ({_WORDS[each.sign]})" for key, each in gaps.items())
    return (
        f"{verdict}. Held-out denoising loss, the same faces, noise levels and noise for all: {means}. Features: "
        f"{listed}. A condition that says more of a picture leaves less to predict; a lower loss alone does not make "
        "better pictures."
    )


def what_z_adds(values: Values) -> str:
    """Three Gaussians against one, none, fresh and matched Z."""
    sentences = []
    others, measures = ("multi_hot", "one_gaussian", "fresh", "matched"), ("defect rate", "recall", "FD", "accuracy")
    for other in others:
        told = []
        for measure in measures:
            each = gap(values, measure, other, "features")
            if each.sign:
                told.append(f"{measure} {_WORDS[each.sign]} by {abs(each.mean):.2g} ± {each.half:.2g}")
        sentences.append(f"{TOLD[other]}: {', '.join(told) or 'nothing that these seeds can tell'}")
    tests = len(others) * len(measures)
    return (
        f"What Z is good for, against {TOLD['features']}: {'; '.join(sentences)}. Of these {tests} comparisons at 95 % "
        f"about {by_chance(tests)} would be seen by chance alone."
    )


def by_chance(tests: int) -> str:
    """How many of so many true nulls an interval of 95 % calls a difference."""
    return f"{0.05 * tests:.1g}"


def resolution(values: Values) -> str:
    """The smallest difference that could have been seen."""
    if len(values["features"]["FD"]) < 2:
        return "One seed: no difference can be told from chance."
    halves = {m: [gap(values, m, "features", key).half for key in CLASSES] for m in ("defect rate", "recall", "FD")}
    listed = ", ".join(f"{measure} {np.max(each):.2g}" for measure, each in halves.items())
    return f"Smaller differences than these could not have been seen against the classes: {listed}."


def _both(first: tuple[str, list[str]], second: tuple[str, list[str]], neither: str) -> str:
    """The sentences whose lists are not empty."""
    said = "; ".join(sentence for sentence, keys in (first, second) if keys) or neither
    return said[0].upper() + said[1:]


def _mean(values: Values, measure: str, key: str) -> str:
    return str(interval(values[key][measure]))


def _named(keys: list[str]) -> str:
    return " and ".join(TOLD[key] for key in keys)
