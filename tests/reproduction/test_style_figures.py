"""E Figures 11 to 13: what they need, and their measures against matrices, spans and blends that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gaussmix.data.base import DataError
from gaussmix.style.expansion import GramExpansion
from gaussmix.style.grams import GramLayout
from gaussmix.style.vgg import VGG19Features, gram_matrix
from reproduction.expansion import fig11, fig12, fig13
from reproduction.expansion.style import (
    DRAWN,
    RANDOM,
    StylePageConfig,
    StyleStudy,
    negative_mass,
    picture_grams,
    realised_blend,
    span_share,
    style_losses,
    variety,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"


def study(config: StylePageConfig) -> StyleStudy:
    return StyleStudy(config, lambda done: None)


# --- weights, paintings, pictures


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUSSMIX_VGG19", str(tmp_path / "vgg19.pth"))
    monkeypatch.delenv("GAUSSMIX_ART", raising=False)
    for page in (fig11, fig12, fig13):
        with pytest.raises(DataError, match=r"no file .*vgg19\.pth with VGG19's weights; give the file"):
            page.measure(page.Config(), lambda done: None)
    config = StylePageConfig(weights=RANDOM)
    with pytest.raises(DataError, match=r"\$GAUSSMIX_ART is not set; set \$GAUSSMIX_ART to a folder with starry_night"):
        study(config)
    monkeypatch.setenv("GAUSSMIX_ART", str(tmp_path / "none"))
    with pytest.raises(DataError, match="none is no folder"):
        study(config)
    with pytest.raises(DataError, match=r"has no home.jpg and no starry_night.jpg; put"):
        study(replace(config, art=str(tmp_path)))


def test_paintings_of_a_folder_and_their_size(tmp_path: Path) -> None:
    """Another painting stands in for the Sunflowers; styles are twice as large as the results."""
    for name in ("starry_night", "gogh_auvers", "home"):
        Image.effect_noise((80, 60), 40).convert("RGB").save(tmp_path / f"{name}.jpg")
    found = study(StylePageConfig(weights=RANDOM, art=str(tmp_path), size=48))
    assert {name: picture.shape for name, picture in found.styles.items()} == {
        "starry_night": (72, 96, 3), "gogh_auvers": (72, 96, 3),
    }  # fmt: skip
    assert found.content.shape == (60, 80, 3)
    Image.effect_noise((80, 60), 40).convert("RGB").save(tmp_path / "sunflowers.jpg")
    assert "sunflowers" in study(StylePageConfig(weights=RANDOM, art=str(tmp_path))).styles


def test_renderings_fit_their_targets_and_are_counted() -> None:
    config, counted = StylePageConfig(weights=RANDOM, art=DRAWN, size=32, crops=2, steps=15, runs=""), []
    own = StyleStudy(config, counted.append)
    sizes = {name: grams["relu1_1"].shape for name, grams in own.crops.items()}
    assert sizes == dict.fromkeys(("stripes", "dots"), (2, 8, 8))
    targets = GramExpansion("crop").fit_grams(own.crops).sample(2, {"dots": 1}, 0)
    pictures, last = own.made_of(targets)
    assert counted == [1, 2]
    assert pictures.shape == (2, 32, 32, 3)
    _, begun = study(replace(config, steps=1)).made_of(targets)
    assert last["loss"] < 0.5 * begun["loss"]
    assert last["variety"] == variety(pictures, own.features)


def test_pictures_are_kept_for_the_next_sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same target is not rendered twice; other targets, blends and settings are."""
    config = StylePageConfig(weights=RANDOM, art=DRAWN, size=32, crops=3, steps=2, runs=str(tmp_path))
    first = study(config)
    blend = {"stripes": 0.5, "dots": 0.5}
    targets = first.expansion.sample(2, blend, 0)
    made = first.render(targets, blend)
    assert first.earlier_seconds == 0
    again = study(config)
    with monkeypatch.context() as patch:
        patch.setattr("reproduction.expansion.style.StyleTransfer.run", None)
        np.testing.assert_array_equal(again.render(targets, blend), made)
    assert again.earlier_seconds > 0
    for other, asked, count in ((config, None, 4), (replace(config, steps=1), blend, 6)):
        study(other).render(targets, asked)
        assert len(list(tmp_path.rglob("*.npz"))) == count


def test_shares_of_style_2_at_the_ends_of_the_scale() -> None:
    own = study(StylePageConfig(weights=RANDOM, art=DRAWN, size=32, crops=3, steps=15, runs=""))
    means = np.stack([own.rows(grams).mean(0) for grams in own.crops.values()])
    drawn = [own.share_drawn([_tensors(own, (1 - w) * means[0] + w * means[1])]) for w in (0.0, 0.3, 1.0)]
    assert drawn == pytest.approx([0, 0.3, 1], abs=1e-3)
    ends = own.render(own.expansion.targets(means))
    assert [own.share_seen(ends[:1]), own.share_seen(ends[1:]), own.share_seen(ends)] == pytest.approx(
        [0, 1, 0.5], abs=1e-5
    )


def _tensors(own: StyleStudy, row: Any) -> dict[str, torch.Tensor]:
    return {layer: torch.from_numpy(gram) for layer, gram in own.expansion.layout.grams(row).items()}


# --- measures


LAYOUT = GramLayout({"a": 3, "b": 2})


def test_negative_mass_by_hand() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    matrix = (turn * [3.0, 2.0, -1.0]) @ turn.T
    assert negative_mass({"a": matrix}) == pytest.approx(1 / 6)
    assert negative_mass({"a": matrix, "b": np.eye(2)}) == pytest.approx(1 / 12)
    assert negative_mass({"a": np.zeros((2, 2))}) == 0


def test_span_share_of_crops_and_of_what_is_across() -> None:
    rng = np.random.default_rng(0)
    crops = rng.random((4, LAYOUT.size)).astype(np.float32) + 1
    mean = crops.mean(0)
    inside = (mean + 2 * (crops[0] - mean) - (crops[2] - mean))[None]
    np.testing.assert_allclose(span_share(inside, crops, LAYOUT), 1, atol=1e-4)
    scale = LAYOUT.scale(mean)
    known = (crops - mean) * scale
    across = np.linalg.svd(known)[2][-1]  # orthogonal to all differences
    half = mean + (across + known[0] / np.linalg.norm(known[0])) / scale
    np.testing.assert_allclose(span_share(half[None].astype(np.float32), crops, LAYOUT), 0.5, atol=1e-3)
    assert np.isnan(span_share(mean[None], crops, LAYOUT)).all()


def test_realised_blend_of_known_blends() -> None:
    means = np.random.default_rng(1).random((3, LAYOUT.size)).astype(np.float32) + 1
    blends = np.array([[1, 0, 0], [0.2, 0.5, 0.3], [-0.1, 0.6, 0.5]])
    np.testing.assert_allclose(realised_blend((blends @ means).astype(np.float32), means, LAYOUT), blends, atol=1e-3)
    with pytest.raises(ValueError, match="there are 1 styles"):
        realised_blend(means, means[:1], LAYOUT)


def test_realised_blend_of_something_else_is_the_nearest() -> None:
    rng = np.random.default_rng(2)
    means, row = rng.random((2, LAYOUT.size)).astype(np.float32), rng.random((1, LAYOUT.size)).astype(np.float32)
    found = realised_blend(row, means, LAYOUT)[0, 1]
    scale = LAYOUT.scale(means.mean(0))
    shares = np.linspace(found - 1, found + 1, 2001)
    gaps = [(((1 - w) * means[0] + w * means[1] - row[0]) * scale) ** 2 for w in shares]
    assert shares[np.argmin([gap.sum() for gap in gaps])] == pytest.approx(found, abs=2e-3)


def test_style_losses() -> None:
    target = {"a": torch.eye(2), "b": 2 * torch.ones(2, 2)}
    found = {"a": torch.stack([torch.eye(2), torch.zeros(2, 2)]), "b": torch.stack([target["b"], 3 * torch.ones(2, 2)])}
    np.testing.assert_allclose(style_losses(found, [target, target]), [0, (1 + 0.25) / 2])


def test_pictures_and_their_variety() -> None:
    features = VGG19Features.random(width=2)
    images = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    whole = features(torch.tensor(images).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(picture_grams(images, features)["relu3_1"], gram_matrix(whole["relu3_1"]))
    rows = whole["relu4_2"].flatten(1).numpy()
    gaps = [np.linalg.norm(rows[a] - rows[b]) for a in range(5) for b in range(a)]
    assert variety(images, features) == pytest.approx(np.mean(gaps) / np.sqrt((rows**2).sum(1).mean()), rel=1e-4)
    assert variety(images[[0, 0]], features) == 0
    with pytest.raises(ValueError, match="there are 1 pictures"):
        variety(images[:1], features)


def test_numbers_of_a_layer() -> None:
    layer = fig11.describe(np.diag([6.0, 2.5, 1.0, 0.5]).astype(np.float32), 9)
    assert layer == {"channels": 4, "places": 9, "energy": 2.5, "largest": 0.6, "rank90": 3}


def test_what_the_pages_say_of_the_recorded_numbers() -> None:
    """The verdicts that were written by hand: Figure 12's default is best, Figure 13's blends are not off."""

    def recorded(figure: int) -> Any:
        return json.loads((RESULTS / f"expansion-fig{figure}.json").read_text())["ours"]

    entry, crop, pca = (recorded(12)[coupling] for coupling in ("entry", "crop", "pca"))
    better = {"negative": -1, "in_span": 1, "blend_gap": -1, "picture_gap": -1, "loss": -1, "variety": 1}
    assert list(entry) == list(better)
    assert all(sign * (pca[name] - entry[name]) > 0 for name, sign in better.items())
    assert [name for name, sign in better.items() if sign * (crop[name] - pca[name]) < 0] == ["in_span", "variety"]
    blends = recorded(13)
    assert all(each["drawn_gap"] < 0.05 for each in blends["blends"])
    assert all(each["seen_gap"] < 0.05 for each in blends["blends"])
    assert blends["mean_gap"]["seen"] == pytest.approx(
        np.mean([abs(each["seen"] - each["asked"]) for each in blends["blends"]])
    )
