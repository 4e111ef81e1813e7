"""D Figure 6: what is drawn, scores that share their resamplings, pictures that are drawn once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.layouts import write_image_folder
from reproduction.diffusion.model import JudgedModel
from tiny import TINY, tiny_unet

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.metrics.classifier import AttributeClassifier
from reproduction.diffusion import fig6
from reproduction.diffusion.fig6 import KEPT, SHOWN, Config, Sampling, UnseenFaces, draw_pictures, score

NAMES = ["odd", "all"]
ASKED = np.array([[0, 1], [1, 1], [0, 0], [1, 0]], np.uint8)


def tiny_pipeline(data: str = "") -> AttributeDiffusionPipeline:
    return AttributeDiffusionPipeline(
        tiny_unet(**{**TINY, "n_attributes": 2}),
        make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction"),
        attribute_names=NAMES,
        training={"data": data},
    )


def test_steps_80_to_100_are_among_those_measured() -> None:
    assert {80, 85, 90, 95, 100} <= set(KEPT)
    assert set(SHOWN) <= set(KEPT)
    assert list(SHOWN) == np.linspace(1, 100, 11).round().tolist()


def test_nothing_is_drawn_twice() -> None:
    samplings = Config(samplers=("renoise 50", "dpm++ 10"), guidances=(1.0, 2.0)).samplings
    assert samplings[0] == Sampling("renoise 50", "renoise", 50, 1.0)
    assert [each.name for each in samplings] == ["renoise 50", "dpm++ 10", "dpm++ 10, guidance 2"]
    quick = Config().quick().samplings
    assert [each.name for each in quick] == [each.name for each in Config().samplings]
    assert max(each.steps for each in quick) == 5


def test_pictures_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, sampling = tiny_pipeline(), Sampling("renoise 5", "renoise", 5, 1.0)
    first = draw_pictures(pipeline, sampling, ASKED, 3, tmp_path, (2, 5))
    images, path = draw(pipeline, ASKED, seed=3, steps=5, guidance=1.0, trajectory=True)
    assert path is not None
    np.testing.assert_array_equal(first["images"], images)
    np.testing.assert_array_equal(first["estimates"], path[[1, 4]])
    assert first["seconds"] > 0

    calls: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(options["seed"])
        return iter(())

    monkeypatch.setattr(fig6, "draw_batches", counted)
    again = draw_pictures(pipeline, sampling, ASKED, 3, tmp_path, (2, 5))
    assert calls == []
    np.testing.assert_array_equal(again["estimates"], first["estimates"])
    assert again["seconds"] == first["seconds"]
    assert again["cost"] == first["cost"] >= first["seconds"] * len(ASKED)
    assert (first["kept"], again["kept"]) == (False, True)
    with torch.no_grad():
        pipeline.network.unet.conv_out.weight[0, 0, 0, 0] += 1
    with pytest.raises(IndexError):
        draw_pictures(pipeline, sampling, ASKED, 3, tmp_path, (2, 5))
    assert calls == [3], "other weights draw other pictures"


@pytest.fixture(scope="module")
def subject() -> JudgedModel:
    """A judge that has learnt nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = AttributeClassifier(("odd", "all"), 8).eval()
    nothing = np.zeros(0, np.int64)
    return JudgedModel(
        {}, tiny_pipeline(), np.zeros((0, 8, 8, 3), np.uint8), ASKED[:0], nothing, nothing, judge, [0, 1]
    )


@pytest.fixture(scope="module")
def faces(subject: JudgedModel) -> UnseenFaces:
    """Grey noise."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    images = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    asked = rng.integers(0, 2, (30, 2), dtype=np.uint8)
    return UnseenFaces(images, asked, subject.judge.features(grey))


def test_scores_tell_good_from_bad(subject: JudgedModel, faces: UnseenFaces) -> None:
    good = score(subject, faces, faces.images, 20)
    same = score(subject, faces, faces.images.copy(), 20)
    bad = score(subject, faces, faces.images // 2, 20)
    assert good.beyond(same) == {"mean": 0.0, "half": 0.0, "share": 0.0}, "resampled alike"
    excess, shortfall = bad.beyond(good), good.beyond(bad)
    assert excess["mean"] > 2.5 * excess["half"] > 0
    assert excess["share"] == excess["mean"] / good.numbers["frechet_distance"]
    assert (shortfall["mean"], shortfall["half"]) == (-excess["mean"], excess["half"])
    assert bad.numbers["kernel_distance"] > good.numbers["kernel_distance"] + 3 * good.numbers["kernel_error"]
    assert 0 < good.numbers["error"] < excess["mean"]
    assert good.numbers["half"] == 1.96 * good.numbers["error"]


def test_any_model_and_its_data(tmp_path: Path) -> None:
    """A model of an image folder: unseen faces are those that it was not trained on."""
    files = [f"{'train' if i < 30 else 'valid' if i < 45 else 'test'}/{i}.png" for i in range(60)]
    folder = write_image_folder(tmp_path / "data", files)
    tiny_pipeline(str(folder)).save_pretrained(tmp_path / "model")
    config = replace(Config().quick(), model=str(tmp_path / "model"), faces=None, reference=15)
    done: list[int] = []
    measured = fig6.measure(config, done.append)
    assert done == list(range(1, len(done) + 1))
    assert len(measured.ours["runs"]) == len(done) - 1
    assert list(measured.ours["estimates_by_step"]) == list(map(str, KEPT))
    assert str(tmp_path) not in str(measured)
    pipeline = tiny_pipeline()
    pipeline.register_to_config(training={})
    pipeline.save_pretrained(tmp_path / "unknown")
    with pytest.raises(ValueError, match="does not say what it was trained on; set GAUSSMIX_CELEBA"):
        fig6.measure(replace(config, model=str(tmp_path / "unknown")), done.append)
