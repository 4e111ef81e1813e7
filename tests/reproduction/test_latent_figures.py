"""E Figures 8 to 10: which data, which settings, and what is made of the numbers of several seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaussmix.data.base import DataError
from reproduction.expansion import fig8, fig9, fig10
from reproduction.expansion.latents import LatentPageConfig, over_seeds, paired_differences

RESULTS = Path(__file__).resolve().parents[2] / "results"


def recorded(figure: int) -> Any:
    return json.loads((RESULTS / f"expansion-fig{figure}.json").read_text())["ours"]


def sign(found: dict[str, float]) -> int:
    """-1 or 1 if the interval lies on one side of 0, else 0."""
    return int(np.sign(found["mean"])) if abs(found["mean"]) > found["half"] else 0


def test_data_follow_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GAUSSMIX_MNIST", "GAUSSMIX_FASHION_MNIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAUSSMIX_FASHION_MNIST", "/data/fashion")
    with pytest.raises(DataError, match=r"\$GAUSSMIX_MNIST is not set; set it to the folder of MNIST's files, or"):
        assert LatentPageConfig().sources
    monkeypatch.setenv("GAUSSMIX_MNIST", "digits")
    assert LatentPageConfig().sources == {"MNIST": "digits", "Fashion-MNIST": "/data/fashion"}
    for module in (fig8, fig9, fig10):
        quick = module.Config().quick().sources
        assert quick == {"MNIST": "digits", "Fashion-MNIST": "digits"}  # a quick run reads no gigabytes


def test_recipes_are_the_presets_by_steps() -> None:
    config = LatentPageConfig(training_steps=70)
    assert config.recipe("digits", 3).latent_dim == 16
    large = config.recipe("/data/mnist", 3, latent_dim=64)
    assert (large.latent_dim, large.steps, large.minutes, large.seed) == (64, 70, None, 3)
    assert replace(config, training_steps=None).recipe("/data/mnist", 0).steps == 4000


def test_intervals_over_seeds_and_of_paired_differences() -> None:
    seeds = [{"a": 1.0, "b": None}, {"a": 2.0, "b": None}, {"a": 3.0, "b": None}]
    found = over_seeds(seeds)
    assert found == {"a": {"mean": 2.0, "half": pytest.approx(4.302652730 / np.sqrt(3))}}
    assert paired_differences(seeds, [{"a": 0.5}, {"a": 1.5}, {"a": 2.5}]) == {"a": {"mean": 0.5, "half": 0.0}}


def three(accuracy: float, frechet: float, seconds: float, spread: float = 0.01) -> list[dict[str, float]]:
    return [
        {"accuracy": accuracy + e * spread, "frechet": frechet + e * spread, "fit_seconds": seconds} for e in (-1, 0, 1)
    ]


def test_differences_of_figure_9_are_told_from_chance() -> None:
    rows = {"cluster-pca": three(0.97, 1.0, 1.0), "em": three(0.97, 2.0, 5.0), "independent": three(0.6, 9.0, 1.0)}
    found = fig9._differences(rows)
    assert (sign(found["above"]["independent"]["accuracy"]), sign(found["above"]["em"]["frechet"])) == (1, -1)
    assert found["times_as_fast_as_em"] == {"mean": 5.0, "half": 0.0}
    rows["em"] = three(0.97, 1.0, 5.0, spread=-0.01)
    rows["independent"] = three(0.97, 9.0, 1.0, spread=-0.01)
    found = fig9._differences(rows)
    assert (sign(found["above"]["independent"]["accuracy"]), sign(found["above"]["em"]["frechet"])) == (0, 0)


def test_numbers_of_mixes_by_hand() -> None:
    """Two seeds: all mixes seen as the first of the two; half of them, half as the last class."""
    first = np.zeros((45, 10))
    first[np.arange(45), [a for a, _ in fig10._ALL_PAIRS]] = 1
    last = np.zeros((45, 10))
    last[:, 9] = 1
    seeds = [
        {"classes": first, "either": np.full(45, 1.0), "unsure": np.full(45, 0.2), "precision": 0.9},
        {"classes": (first + last) / 2, "either": np.full(45, 0.6), "unsure": np.full(45, 0.4), "precision": 0.7},
    ]
    found = fig10._numbers(seeds)
    np.testing.assert_allclose(found["either"], [1, 0.6])
    np.testing.assert_allclose(found["other"], [0, 0.4])
    assert found["over_seeds"]["precision"]["mean"] == pytest.approx(0.8)
    assert found["pairs"]["3+8"].tolist() == [0, 0, 0, 0.75, 0, 0, 0, 0, 0, 0.25]
    assert found["unsure_of_pairs"]["0+4"]["mean"] == pytest.approx(0.3)
    assert list(found["unsure_of_pairs"]) == ["0+3", "0+4", "1+7", "3+8"]


def test_what_the_pages_say_of_the_recorded_numbers() -> None:
    """The verdicts that were written by hand."""
    assert sign(recorded(8)["printed_less_working"]["D(decoded)"]) == -1  # the decoder learns to be recognised
    nine = recorded(9)
    for differences in nine["differences"].values():
        assert sign(differences["above"]["em"]["frechet"]) == 0  # not told apart from EM's
        assert sign(differences["above"]["independent"]["accuracy"]) == 1  # coordinates depend on each other
    signs = {
        way: {key: [sign(each[key]) for each in rivals.values()] for key in ("eights", "nines", "sevens")}
        for way, rivals in nine["claims_above"].items()
    }
    assert signs["independent"] == {"eights": [-1, -1], "nines": [1, 1], "sevens": [1, 1]}
    assert signs["cluster-pca"] == {"eights": [0, 0], "nines": [0, 0], "sevens": [0, 0]}


def test_the_recorded_intervals_are_those_of_the_recorded_seeds() -> None:
    eight, nine, ten = recorded(8), recorded(9), recorded(10)
    assert eight["reconstruction_over_seeds"]["MNIST"] == over_seeds(eight["reconstruction"]["MNIST"])
    assert nine["over_seeds"] == {name: fig9._means(rows) for name, rows in nine["scores"].items()}
    assert nine["differences"] == {name: fig9._differences(rows) for name, rows in nine["scores"].items()}
    mixes = ten["Fashion-MNIST"]["lerp"]
    by_seed = [{"unsure": value} for value in mixes["unsure"]]
    assert over_seeds(by_seed)["unsure"] == pytest.approx(mixes["over_seeds"]["unsure"])
