"""D Section 3.1, the page of components: cases, information and its error, commonest kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from reproduction.diffusion import components
from reproduction.diffusion.components import CASES, Case, PictureKinds, information, largest


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
    attributes = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [0, 1]], np.uint8)
    mouth = np.array(["WINK_A", "B", "B", "WINK_A", "B"])
    of_components = np.array([[0, 1], [2, 1], [1, 0], [2, 1], [0, 2]])
    found = PictureKinds(("Smiling", "Mouth_Open"), attributes, of_components, {"mouth": mouth})
    case = Case("Mouth_Open", "mouth")
    seen, kinds = found.of(case)
    assert (seen.tolist(), kinds.tolist()) == ([1, 1, 1, 2], ["WINK_A", "B", "WINK_A", "B"])
    assert found.commonest(case, 1) == {"kind": "wink a", "share": 2 / 3}
    assert found.commonest(case, 0) == {"kind": None, "share": None}


def pairs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Components, and kinds that follow them in three of four pictures."""
    components = rng.integers(0, 3, count)
    kinds = np.array(["a", "b", "c"])[np.where(rng.random(count) < 0.75, components, rng.integers(0, 3, count))]
    return components, kinds


def test_information_beside_chance() -> None:
    components, kinds = pairs(np.random.default_rng(0), 300)
    found = information(components, kinds, seed=0)
    assert found["value"] == pytest.approx(normalized_mutual_info_score(kinds, components))
    assert found["pictures"] == 300
    unrelated = information(components, np.random.default_rng(1).permutation(kinds), seed=0)
    # of independent labels: (C - 1)(S - 1) / n / (H(C) + H(S))
    assert found["chance"] == pytest.approx(4 / 300 / (2 * np.log(3)), rel=0.3)
    assert unrelated["value"] < 4 * unrelated["chance"] < found["value"]
    few = information(components[:19], kinds[:19], seed=0)
    assert few == {"value": None, "error": None, "chance": None, "pictures": 19}


def test_error_of_information_is_its_spread() -> None:
    rng = np.random.default_rng(0)
    found = [information(*pairs(rng, 120), seed=0) for _ in range(40)]
    spread = np.std([each["value"] for each in found])
    assert np.mean([each["error"] for each in found]) == pytest.approx(spread, rel=0.35)


def test_largest() -> None:
    table = np.array([[np.nan, 0.2], [0.7, np.nan]])
    assert largest(table, ("x", "y")) == {"value": 0.7, "first": "y", "second": "x"}
    unknown = largest(np.full((2, 2), np.nan), ("x", "y"))
    assert unknown == {"value": None, "first": None, "second": None}


def test_other_faces_are_refused(tmp_path: Path) -> None:
    pipeline = AttributeDiffusionPipeline.load()
    pipeline.register_to_config(training={"data": "celeba"})
    pipeline.save_pretrained(tmp_path)
    config = components.Config(model=str(tmp_path)).quick()
    assert config.model == ""  # quick pages are of the model of the package
    with pytest.raises(ValueError, match="known of the built-in faces alone, and the model is of others"):
        components.measure(components.Config(model=str(tmp_path)), lambda _: None)
