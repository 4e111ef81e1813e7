"""Figures 8 to 10 of the expansion paper: which data, which settings, and sentences that follow the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaussmix.autoencoder.evaluate import ImageScores
from reproduction.expansion import fig8 as expansion_fig8
from reproduction.expansion import fig9 as expansion_fig9
from reproduction.expansion import fig10 as expansion_fig10
from reproduction.expansion.latents import StudyConfig, data_words


def scores(accuracy: float, frechet: float, seconds: float) -> ImageScores:
    return ImageScores(accuracy, 0.1, frechet, 0.9, 0.8, 1.0, 1.0, 0.05, seconds)


def three(accuracy: float, frechet: float, seconds: float, spread: float = 0.01) -> list[ImageScores]:
    return [scores(accuracy + e * spread, frechet + e * spread, seconds) for e in (-1, 0, 1)]


def test_data_follow_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GAUSSMIX_MNIST", "GAUSSMIX_FASHION_MNIST"):
        monkeypatch.delenv(name, raising=False)
    assert StudyConfig().sources == {"digits": "digits"}
    assert "set GAUSSMIX_MNIST" in data_words(StudyConfig())
    monkeypatch.setenv("GAUSSMIX_FASHION_MNIST", "/data/fashion")
    assert StudyConfig().sources == {"Fashion-MNIST": "/data/fashion"}
    monkeypatch.setenv("GAUSSMIX_MNIST", "/data/mnist")
    assert list(StudyConfig().sources) == ["MNIST", "Fashion-MNIST"]
    for module in (expansion_fig8, expansion_fig9, expansion_fig10):
        assert module.Config().quick().sources == {"digits": "digits"}  # a quick run reads no gigabytes


def test_recipes_are_the_presets_by_steps() -> None:
    config = StudyConfig(training_steps=70)
    assert config.recipe("digits", 3).latent_dim == 16
    large = config.recipe("/data/mnist", 3, latent_dim=64)
    assert (large.latent_dim, large.steps, large.minutes, large.seed) == (64, 70, None, 3)
    assert replace(config, training_steps=None).recipe("/data/mnist", 0).steps == 4000


def test_findings_of_figure_9_follow_the_numbers() -> None:
    rows = {"cluster-pca": three(0.97, 1.0, 1.0), "em": three(0.97, 2.0, 5.0), "independent": three(0.6, 9.0, 1.0)}
    first, second = expansion_fig9._findings("MNIST", rows)
    assert "depend on each other" in first
    assert "ours are nearer to real images than EM's images" in second
    assert "fitted 5 times as fast" in second
    rows["em"] = three(0.97, 1.0, 5.0, spread=-0.01)
    rows["independent"] = three(0.97, 9.0, 1.0, spread=-0.01)
    first, second = expansion_fig9._findings("MNIST", rows)
    assert "that is not told apart" in first
    assert "ours are not told apart from EM's images" in second


def test_claims_of_figure_9_follow_the_numbers() -> None:
    def of(eights: float, nines: float, sevens: float) -> list[dict[str, float]]:
        return [{"eights": eights + e, "nines": nines + e, "sevens": sevens + e} for e in (-1e-3, 0.0, 1e-3)]

    rivals = {"em": of(0.9, 0.05, 1.0), "sliced-wasserstein": of(0.8, 0.06, 0.9)}
    paper, ours = expansion_fig9._claim_findings(
        {**rivals, "independent": of(0.5, 0.2, 1.3), "cluster-pca": of(0.95, 0.01, 1.0)}
    )
    assert "clearer eights: no, the reverse; nines less like fours: no, the reverse; more varied sevens: yes." in paper
    assert "clearer eights: yes; nines less like fours: yes; more varied sevens: not shown." in ours
    assert expansion_fig9._claim_findings({}) == []


def test_the_sign_is_judged_by_the_discriminator() -> None:
    def runs(judged: float, error: float) -> list[dict[str, float]]:
        return [{"D(decoded)": judged + e, "error": error, "D(real)": 0.9} for e in (-0.01, 0.0, 0.01)]

    told = expansion_fig8._findings({}, {"working": runs(0.5, 0.01), "printed": runs(0.05, 0.014)})
    assert told[0].startswith("Eq. 10 as printed teaches the decoder to be recognised")
    equal = expansion_fig8._findings({}, {"working": runs(0.5, 0.01), "printed": runs(0.5, 0.014)})
    assert equal[0].startswith("That Eq. 10 as printed teaches the decoder to be recognised is not shown")
