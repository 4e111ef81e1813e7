"""D Section 3.1, the page of components: cases, information, errors, and what is said of the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from reproduction.diffusion import components as diffusion_components
from reproduction.diffusion.components import (
    CASES,
    CLAIMED,
    Accuracy,
    Case,
    Information,
    Pair,
    commonest,
    findings,
    information,
    jackknife,
    largest,
)


def test_rows_of_a_case() -> None:
    names = ("Smiling", "Mouth_Open")
    attributes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    assert Case("Mouth_Open", "mouth").rows(attributes, names).tolist() == [False, True, False, True]
    smiling = Case("Mouth_Open", "mouth", ("Smiling", True))
    assert smiling.rows(attributes, names).tolist() == [False, False, False, True]
    assert smiling.label == "Mouth Open, with Smiling"
    grim = Case("Mouth_Open", "mouth", ("Smiling", False))
    assert grim.rows(attributes, names).tolist() == [False, True, False, False]
    assert grim.label == "Mouth Open, without Smiling"
    assert len({case.label for case in CASES}) == len(CASES)


def test_components_and_kinds_of_a_case() -> None:
    attributes = np.array([[1, 1], [0, 1], [1, 0]], np.uint8)
    mouth = np.array(["a", "b", "c"])
    kinds = diffusion_components.Kinds(attributes, np.array([[0, 1], [2, 2], [1, 0]]), {"mouth": mouth})
    components, seen = kinds.of(Case("Mouth_Open", "mouth"), ("Smiling", "Mouth_Open"))
    assert (components.tolist(), seen.tolist()) == ([1, 2], ["a", "b"])


def pairs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Components, and kinds that follow them in three of four pictures."""
    components = rng.integers(0, 3, count)
    kinds = np.array(["a", "b", "c"])[np.where(rng.random(count) < 0.75, components, rng.integers(0, 3, count))]
    return components, kinds


def test_information_beside_chance() -> None:
    components, kinds = pairs(np.random.default_rng(0), 300)
    found = information(components, kinds, seed=0)
    assert found is not None
    assert found.value == pytest.approx(normalized_mutual_info_score(kinds, components))
    assert found.pictures == 300
    unrelated = information(components, np.random.default_rng(1).permutation(kinds), seed=0)
    assert unrelated is not None
    # of independent labels: (C - 1)(S - 1) / n / (H(C) + H(S))
    assert found.chance == pytest.approx(4 / 300 / (2 * np.log(3)), rel=0.3)
    assert unrelated.value < 4 * unrelated.chance < found.value
    assert information(components[:19], kinds[:19], seed=0) is None


def test_error_of_information_is_its_spread() -> None:
    rng = np.random.default_rng(0)
    found = [information(*pairs(rng, 120), seed=0) for _ in range(40)]
    spread = np.std([each.value for each in found if each])
    assert np.mean([each.error for each in found if each]) == pytest.approx(spread, rel=0.35)


def test_jackknife_of_a_mean() -> None:
    """With groups of one it is the textbook's standard error."""
    x = np.random.default_rng(0).standard_normal(17)
    assert jackknife(lambda kept: float(x[kept].mean()), 17) == pytest.approx(x.std(ddof=1) / np.sqrt(17))
    large = np.random.default_rng(1).standard_normal(4000)
    assert jackknife(lambda kept: float(large[kept].mean()), 4000) == pytest.approx(1 / np.sqrt(4000), rel=0.4)


def test_commonest_and_largest() -> None:
    most = commonest(np.array(["WINK_A", "WINK_A", "B"]))
    assert str(most) == "wink a 67%"
    assert commonest(np.array([], str)) is None
    table = np.array([[np.nan, 0.2], [0.7, np.nan]])
    assert largest(table, ("x", "y")) == Pair(0.7, "y", "x")
    assert largest(np.full((2, 2), np.nan), ("x", "y")) is None


def test_sentences() -> None:
    strong, weak = Information(0.7, 0.05, 0.02, 100), Information(0.03, 0.02, 0.02, 100)
    ceiling = dict.fromkeys(CASES, 0.8)
    pair = Pair(0.3, "Red_Hair", "Bald")
    equal = Accuracy(0.97, 0.975, 0.01, 0.98)
    first, second, third = findings(dict.fromkeys(CASES, strong), ceiling, pair, pair, equal, 2.0)
    assert first.startswith("The component selects the kind, with an NMI of 0.5 or more, for 4 of 4: Eyeglasses 0.70")
    assert "More finely: Mouth Open, with Smiling 0.70" in first
    assert "Eyeglasses 0.70 ± 0.05 (in the clusters 0.80)" in first
    assert "It does not" not in first
    assert "Within two" not in first
    assert "chance" not in second
    assert third.startswith("Drawing each Z by itself is not shown to cost attributes, with guidance 2: ")
    assert "another: R² 0.30, Red Hair and Bald." in third

    mixed = {**dict.fromkeys(CASES, weak), CLAIMED[0]: strong, CLAIMED[1]: Information(0.45, 0.04, 0.02, 100)}
    first, second, third = findings(mixed, ceiling, None, None, Accuracy(0.90, 0.97, 0.01, 0.98), 1.0)
    assert "for 1 of 4: Eyeglasses 0.70" in first
    assert "It does not for Sunglasses 0.45" in first
    assert first.endswith("Within two standard errors of 0.5: Sunglasses.")
    assert "Not shown to differ from chance: Smiling; " in second
    assert third.startswith("Drawing each Z by itself costs attributes")
    assert "correlation" not in third
    assert "gains" in findings(mixed, ceiling, None, None, Accuracy(0.97, 0.90, 0.01, 0.98), 1.0)[2]

    nothing = findings(dict.fromkeys(CASES), ceiling, None, None, equal, 1.0)
    assert all(text.startswith("There are too few pictures") for text in nothing[:2])


def test_other_faces_are_refused(tmp_path: Path) -> None:
    pipeline = AttributeDiffusionPipeline.load()
    pipeline.register_to_config(training={"data": "celeba"})
    pipeline.save_pretrained(tmp_path)
    config = diffusion_components.Config(model=str(tmp_path)).quick()
    assert config.model == ""  # quick pages are of the model of the package
    with pytest.raises(ValueError, match="known of the built-in faces alone, and the model is of others"):
        diffusion_components.run(diffusion_components.Config(model=str(tmp_path)), lambda _: None)
