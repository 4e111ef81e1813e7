"""The pages of style (E Figures 11-13): what they need, what they measure, what they say."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gaussmix.data.base import DataError
from reproduction.expansion import fig11 as expansion_fig11
from reproduction.expansion import fig12 as expansion_fig12
from reproduction.expansion import fig13 as expansion_fig13
from reproduction.expansion.fig12 import Measures
from reproduction.expansion.fig13 import Numbers
from reproduction.expansion.style import DRAWN, RANDOM, StyleConfig, Told, open_studio


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUSSMIX_VGG19", str(tmp_path / "vgg19.pth"))
    monkeypatch.delenv("GAUSSMIX_ART", raising=False)
    for page in (expansion_fig11, expansion_fig12, expansion_fig13):
        with pytest.raises(DataError, match=r"no file .*vgg19\.pth with VGG19's weights; give the file"):
            page.run(page.Config(), lambda done: None)
    config = StyleConfig(weights=RANDOM)
    with pytest.raises(DataError, match=r"\$GAUSSMIX_ART is not set; set \$GAUSSMIX_ART to a folder with starry_night"):
        open_studio(config)
    monkeypatch.setenv("GAUSSMIX_ART", str(tmp_path / "none"))
    with pytest.raises(DataError, match="none is no folder"):
        open_studio(config)
    with pytest.raises(DataError, match=r"has no home.jpg and no starry_night.jpg; put"):
        open_studio(replace(config, art=str(tmp_path)))


def test_paintings_of_a_folder_and_their_size(tmp_path: Path) -> None:
    """Another painting stands in for the Sunflowers; styles are twice as large as the results."""
    for name in ("starry_night", "gogh_auvers", "home"):
        Image.effect_noise((80, 60), 40).convert("RGB").save(tmp_path / f"{name}.jpg")
    studio = open_studio(StyleConfig(weights=RANDOM, art=str(tmp_path), size=48))
    assert {name: picture.shape for name, picture in studio.styles.items()} == {
        "starry_night": (72, 96, 3), "gogh_auvers": (72, 96, 3),
    }  # fmt: skip
    assert studio.content.shape == (60, 80, 3)
    Image.effect_noise((80, 60), 40).convert("RGB").save(tmp_path / "sunflowers.jpg")
    assert "sunflowers" in open_studio(StyleConfig(weights=RANDOM, art=str(tmp_path))).styles


def test_renderings_fit_their_targets_and_are_told() -> None:
    config = StyleConfig(weights=RANDOM, art=DRAWN, size=32, crops=2, steps=15)
    studio, told = open_studio(config), []
    crops = studio.crop_grams(config)
    assert {name: own["relu1_1"].shape for name, own in crops.items()} == dict.fromkeys(("stripes", "dots"), (2, 8, 8))
    from gaussmix.style.expansion import GramExpansion
    from reproduction.expansion.style import picture_grams, style_losses

    targets = GramExpansion("crop").fit_grams(crops).sample(2, {"dots": 1}, 0)
    pictures = studio.render(config, targets, Told(told.append))
    assert told == [1, 2]
    assert pictures.shape == (2, 32, 32, 3)
    begun = studio.render(replace(config, steps=1), targets, lambda done: None)
    first, last = (style_losses(picture_grams(p, studio.features), targets).mean() for p in (begun, pictures))
    assert last < 0.5 * first


def test_numbers_of_a_layer() -> None:
    layer = expansion_fig11.describe("x", np.diag([6.0, 2.5, 1.0, 0.5]).astype(np.float32), 9)
    assert layer == ("x", 4, 9, 2.5, 0.6, 3)


def measures(**changes) -> Measures:
    base = {"negative": 0.3, "in_span": 0.02, "blend_gap": 0.1, "picture_gap": 0.2, "loss": 0.05, "variety": 0.1}
    return Measures(**{**base, **changes})


def test_sentences_of_figure_12() -> None:
    better = measures(negative=0.1, in_span=1.0, blend_gap=0.05, picture_gap=0.1, loss=0.01, variety=0.3)
    first, second = expansion_fig12.findings({"entry": measures(), "pca": better})
    assert first.startswith("The default is better than the paper's on 6 of 6 measures. Negative-eigenvalue mass 0.1 ")
    assert "2.0% is what crops vary in" in second
    less = replace(better, variety=0.05, loss=0.05)
    worse = expansion_fig12.findings({"entry": measures(), "pca": less})[0]
    assert "on 4 of 6 measures, not on: style loss left, distance of two pictures." in worse
    assert list(asdict(better)) == list(expansion_fig12._BETTER) == list(expansion_fig12._WORDS)


def test_sentences_of_figure_13() -> None:
    good = [Numbers(share, share + 0.02, share + 0.05, 0.1, 0.3 + share) for share in expansion_fig13.BLENDS]
    first, second = expansion_fig13.findings(good)
    assert first == "The blend tracks what is asked: by 0.02 on average in the drawn matrices, by 0.05 in the pictures."
    assert "lie 0.30 of their size apart or more; at most 0.10 of" in second
    off = [n._replace(seen=n.asked + 0.2) for n in good]
    assert expansion_fig13.findings(off)[0].startswith("The blend is off what is asked")
