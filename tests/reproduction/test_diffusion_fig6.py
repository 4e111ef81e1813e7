"""D Figure 6: what is kept along the way, scores that share their resamplings, pictures that are drawn once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.layouts import write_image_folder
from tiny import TINY, tiny_unet

from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.metrics.classifier import AttributeClassifier
from reproduction.diffusion import fig6 as diffusion_fig6
from reproduction.diffusion import fig6 as sampling_study
from reproduction.diffusion.fig6 import Config, Faces, Run, Study, draw_run, kept_steps, measure, shown_steps

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
    assert {80, 85, 90, 95, 100} <= set(kept_steps(100))
    assert kept_steps(100)[0] == 1
    for steps in (1, 4, 20, 100, 1000):
        assert shown_steps(steps) <= set(kept_steps(steps))
        assert max(kept_steps(steps)) == steps


def test_the_plan_draws_nothing_twice() -> None:
    plan = Config(samplers=("renoise 50", "dpm++ 20"), guidances=(1.0, 2.0)).plan(100)
    assert plan[0] == Run("renoise", 50, 1.0)
    assert len(set(plan)) == len(plan)
    assert {run.guidance for run in plan} == {1.0, 2.0}
    assert [run.evaluations for run in plan] == [run.steps * round(run.guidance) for run in plan]


def test_pictures_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, run = tiny_pipeline(), Run("renoise", 5, 1.0)
    first = draw_run(pipeline, run, ASKED, seed=3, folder=tmp_path, kept_steps=(2, 5))
    images, path = draw(pipeline, ASKED, seed=3, steps=5, guidance=1.0, trajectory=True)
    assert path is not None
    np.testing.assert_array_equal(first.images, images)
    np.testing.assert_array_equal(first.estimates, path[[1, 4]])
    assert first.seconds > 0

    calls: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(options["seed"])
        return iter(())

    monkeypatch.setattr(sampling_study, "draw_batches", counted)
    again = draw_run(pipeline, run, ASKED, seed=3, folder=tmp_path, kept_steps=(2, 5))
    assert calls == []
    np.testing.assert_array_equal(again.estimates, first.estimates)
    assert again.seconds == first.seconds
    assert again.cost == first.cost >= first.seconds * len(ASKED)
    assert (first.kept, again.kept) == (False, True)
    with torch.no_grad():
        pipeline.unet.unet.conv_out.weight[0, 0, 0, 0] += 1
    with pytest.raises(IndexError):
        draw_run(pipeline, run, ASKED, seed=3, folder=tmp_path, kept_steps=(2, 5))
    assert calls == [3], "other weights draw other pictures"


@pytest.fixture(scope="module")
def faces() -> Faces:
    """A judge that has learnt nothing; faces are grey noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = AttributeClassifier(("odd", "all"), 8).eval()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    control = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    asked = rng.integers(0, 2, (30, 2), dtype=np.uint8)
    return Faces("noise", judge, judge.features(grey), control, asked, [0, 1])


def test_scores_tell_good_from_bad(faces: Faces) -> None:
    good = measure(faces, faces.control, faces.asked, 20)
    same = measure(faces, faces.control.copy(), faces.asked, 20)
    bad = measure(faces, faces.control // 2, faces.asked, 20)
    assert good.beyond(same) == (0.0, 0.0), "resampled alike"
    assert good.beyond(same).sign == 0
    excess = bad.beyond(good)
    assert excess.value > 2.5 * excess.half > 0
    assert (excess.sign, good.beyond(bad).sign) == (1, -1)
    assert str(excess) == f"+{excess.value:.3f} ± {excess.half:.3f}"
    assert bad.kernel > good.kernel + 3 * good.kernel_error
    assert 0 < good.error < excess.value


def test_ties_and_the_claim_in_words(faces: Faces) -> None:
    paper, other, third = Run("renoise", 100, 1.0), Run("dpm++", 20, 1.0), Run("dpm++", 5, 1.0)
    good = measure(faces, faces.control, faces.asked, 20)
    bad = measure(faces, faces.control // 2, faces.asked, 20)

    def said(**scores: Any) -> str:
        by_run = dict(zip((paper, other, third), scores.values(), strict=True))
        study = Study(by_run, dict.fromkeys(by_run, 1.0), (100,), [good], good)
        return " ".join(diffusion_fig6._findings(study))

    tied = said(paper=good, other=good, third=good)
    assert "20 steps +0.000 ± 0.000 (+0.0 %, not told apart) in 1.00 of the time" in tied
    assert "That they are at or below it is not shown; nor that any is above." in tied
    assert "Not all are at or below it." in said(paper=good, other=good, third=bad)
    assert "All are below it." in said(paper=bad, other=good, third=good)
    assert "a tie: none of the other 2 can be told from it. The fastest of these: dpm++ 5," in tied
    worse = said(paper=good, other=good, third=bad)
    assert "not told from it: dpm++ 20. The fastest of these: dpm++ 20," in worse
    assert ", higher) in 1.00 of the time" in worse
    assert "renoise 100, " in said(paper=good, other=bad, third=bad).split("Least: ")[1]
    assert "all others are higher." in said(paper=good, other=bad, third=bad)


def test_any_model_and_its_data(tmp_path: Path) -> None:
    """A model of an image folder: unseen faces are its test split, as many real ones the valid split."""
    files = [f"{'train' if i < 30 else 'valid' if i < 45 else 'test'}/{i}.png" for i in range(60)]
    folder = write_image_folder(tmp_path / "data", files)
    tiny_pipeline(str(folder)).save_pretrained(tmp_path / "model")
    config = replace(Config().quick(), model=str(tmp_path / "model"), samplers=("renoise 4", "dpm++ 2"))
    done: list[int] = []
    result = diffusion_fig6.run(config, done.append)
    assert done == list(range(1, len(done) + 1))
    assert len(result.ours["runs"]) == len(result.tables[0].rows) - 1 == len(done) - 1
    assert len(result.ours["estimates_by_step"]) == len(kept_steps(4))
    assert str(tmp_path) not in str(result)
    pipeline = tiny_pipeline()
    pipeline.register_to_config(training={})
    pipeline.save_pretrained(tmp_path / "unknown")
    with pytest.raises(ValueError, match="does not say what it was trained on; set GAUSSMIX_CELEBA"):
        diffusion_fig6.run(replace(config, model=str(tmp_path / "unknown")), done.append)
