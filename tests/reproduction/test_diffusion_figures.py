"""D Figures 1, 4 and Appendix A: telling apart, variety, and what drawing shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reproduction.diffusion.model import (
    D_LISTS,
    OUR_LISTS,
    FaceBlock,
    FaceSampler,
    JudgedModel,
    PageConfig,
    draw_faces,
    load_subject,
    words,
)
from tiny import NAMES, squares_dataset, tiny_unet

from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.metrics.classifier import AttributeClassifier
from gaussmix.metrics.manifolds import pairwise_diversity
from reproduction.diffusion import appendix as diffusion_appendix
from reproduction.diffusion import fig1 as diffusion_fig1
from reproduction.diffusion import fig4 as diffusion_fig4


def tiny_pipeline(names: list[str] = NAMES) -> AttributeDiffusionPipeline:
    unet = tiny_unet(n_attributes=len(names))
    scheduler = make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction")
    rows = pack_rows(np.eye(len(names), dtype=np.uint8))
    return AttributeDiffusionPipeline(unet, scheduler, attribute_names=names, attribute_rows=rows)


def tiny_subject(names: list[str] = NAMES) -> JudgedModel:
    squares = squares_dataset()
    attributes = squares.attributes[:, np.arange(len(names)) % 3]
    judge = AttributeClassifier(tuple(names), 8).eval()
    return JudgedModel(
        facts={"data": "squares"},
        pipeline=tiny_pipeline(names),
        images=squares.images,
        attributes=attributes,
        training=squares.indices("train"),
        held_out=np.flatnonzero(squares.split != 0),
        judge=judge,
        columns=list(range(len(names))),
    )


# -- telling apart, variety --------------------------------------------------------------------------------------------


def test_laws_are_told_apart_only_if_they_differ() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 400, 3))
    same, shifted = diffusion_fig1.tell_apart(a, b, 0), diffusion_fig1.tell_apart(a, b + np.array([2, 0, 0]), 0)
    assert abs(same.accuracy - 0.5) < 2 * same.error
    assert shifted.accuracy > 0.5 + 2 * shifted.error
    assert shifted.accuracy == pytest.approx(0.841, abs=0.03)  # Phi(1), the best there is


def test_the_error_of_telling_apart_covers_its_spread() -> None:
    """Within a fifth below, and not twice above; it does not tell it from the binomial error."""
    draws = [np.random.default_rng(i).standard_normal((2, 60, 3)) for i in range(40)]
    found = [diffusion_fig1.tell_apart(a, b, 0) for a, b in draws]
    spread = np.std([one.accuracy for one in found])
    assert 0.8 * spread < np.mean([one.error for one in found]) < 2 * spread
    assert np.mean([one.accuracy > 0.5 + 2 * one.error for one in found]) < 0.15


def test_fine_detail_is_the_laplacian() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 18, 18, 3)).astype(np.uint8)
    found = diffusion_fig1.fine_detail(images)
    grey = images.astype(float).mean(-1)
    expected = []
    for i, j in ((3, 5), (4, 5), (3, 6), (4, 6)):  # the inner pixels of one square
        near = grey[1, i - 1, j] + grey[1, i + 1, j] + grey[1, i, j - 1] + grey[1, i, j + 1]
        expected.append(abs(4 * grey[1, i, j] - near))
    assert found.shape == (2, 64)
    assert found[1, 8 * 1 + 2] == pytest.approx(np.mean(expected))


def test_diversity_and_its_error() -> None:
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((200, 30, 4))
    found = [diffusion_fig4.diversity(diffusion_fig4.mean_distances(rows)) for rows in draws]
    assert found[0].value == pytest.approx(pairwise_diversity(draws[0]))
    assert np.mean([each.error for each in found]) == pytest.approx(np.std([each.value for each in found]), rel=0.2)


def test_the_error_of_a_difference_of_paired_sets() -> None:
    """Sets whose rows go together differ by less than two independent ones."""
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(200):
        rows = rng.standard_normal((30, 4))
        other = 1.1 * rows + 0.1 * rng.standard_normal((30, 4))
        gaps.append(
            diffusion_fig4.diversity(diffusion_fig4.mean_distances(other) - diffusion_fig4.mean_distances(rows))
        )
    assert np.mean([each.error for each in gaps]) == pytest.approx(np.std([each.value for each in gaps]), rel=0.25)
    assert np.mean([each.value > 2 * each.error for each in gaps]) > 0.9


def test_component_effects_and_their_error() -> None:
    rng = np.random.default_rng(2)
    moved, redrawn = np.zeros((8, 2, 2, 50)), np.zeros((8, 2, 2, 50))
    moved[:, 1], redrawn[:, :, 1] = 3.0, 4.0
    both = diffusion_fig4.component_effect(moved + redrawn)
    assert both == (3.0, 4.0, -1.0, 0.0)
    assert both.sign == -1
    signs = [diffusion_fig4.component_effect(rng.standard_normal((8, 3, 2, 20))).sign for _ in range(100)]
    assert np.mean(np.abs(signs)) < 0.2


def test_attributes_by_what_their_components_change() -> None:
    effect = diffusion_fig4.ComponentEffect
    strong, weak, unclear = effect(9.0, 3.0, 6.0, 0.5), effect(1.0, 3.0, -2.0, 0.5), effect(4.0, 3.0, 1.0, 0.8)
    found = diffusion_fig4.over_attributes({"Wearing_Hat": strong, "Bald": weak, "Beard": unclear})
    assert (found["count"], found["component"], found["noise"]) == (3, 4.0, 3.0)
    assert found["more"] == {"count": 1, "names": "Wearing Hat"}
    assert found["less"] == {"count": 1, "names": "Bald"}
    assert found["neither"] == {"count": 1, "names": "Beard"}
    assert diffusion_fig4.over_attributes({"Bald": weak})["more"] == {"count": 0, "names": ""}


# -- model, data, drawing ----------------------------------------------------------------------------------------------


def test_z_and_noise_are_numbered() -> None:
    """Pictures of one number are equal, others are not, whatever is drawn beside them."""
    told: list[int] = []
    artist, pipeline = FaceSampler(PageConfig(sampling_steps=2), told.append), tiny_pipeline()
    row = np.ones((1, 3), np.uint8)
    all_of = artist.draw(pipeline, row.repeat(5, 0), latents=[0, 0, 1, 1, 0], noises=[0, 1, 0, 1, 0])
    assert told == [5]
    np.testing.assert_array_equal(all_of[0], all_of[4])
    assert len(np.unique(all_of.reshape(5, -1), axis=0)) == 4
    alone = artist.draw(pipeline, row, latents=[1], noises=[1])
    np.testing.assert_allclose(alone[0].astype(int), all_of[3], atol=2)
    assert told == [5, 6]
    moved = artist.draw(
        pipeline, row.repeat(3, 0), latents=[0] * 3, noises=[0] * 3, components=[{"Bald": c} for c in range(3)]
    )
    assert len(np.unique(moved.reshape(3, -1), axis=0)) == 3
    gaps = np.abs(moved.astype(int) - all_of[0]).max((1, 2, 3))
    assert gaps.min() <= 2  # the component that number 0 has anyway


def test_the_papers_lists_where_the_model_knows_them() -> None:
    theirs = sorted({name for names in D_LISTS.values() for name in names})
    assert tiny_subject(theirs).wanted("14") == D_LISTS["14"]
    ours = sorted({name for names in OUR_LISTS.values() for name in names})
    assert tiny_subject(ours).wanted("14") == OUR_LISTS["14"]
    assert D_LISTS.keys() == OUR_LISTS.keys()
    neither = tiny_subject()
    for figure in D_LISTS:
        assert set(neither.wanted(figure)) <= set(NAMES)
    assert words(["5_o_Clock_Shadow", "Male"]) == "5 o Clock Shadow, Male"


def test_real_faces_with_a_list() -> None:
    subject = tiny_subject()
    has = subject.attributes[subject.held_out][:, [0, 2]].sum(1)
    np.testing.assert_array_equal(subject.with_attributes(["Bald", "Sunglasses"]), subject.held_out[has == 2])
    nearest = subject.nearest_to(["Bald", "Sunglasses"], len(has), seed=1)
    found = subject.attributes[nearest][:, [0, 2]].sum(1)
    assert found.tolist() == sorted(has, reverse=True)
    assert set(nearest) == set(subject.held_out)


def test_another_model_and_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUSSMIX_MODEL", raising=False)
    config = PageConfig(faces=60, judge_steps=2)
    built_in = load_subject(config)
    assert built_in.facts["shipped"]
    assert built_in.facts["steps"] > 1000
    pipeline = built_in.pipeline
    pipeline.register_to_config(training={"data": "avatars", "steps": 7, "seed": 3})
    pipeline.save_pretrained(tmp_path / "model")
    monkeypatch.setenv("GAUSSMIX_MODEL", str(tmp_path))
    subject = load_subject(config)
    assert subject.facts == {"shipped": False, "data": "avatars", "steps": 7, "size": 32}
    assert (len(subject.training), len(subject.held_out)) == (48, 12)
    pipeline.register_to_config(training={})
    pipeline.save_pretrained(tmp_path / "model")
    monkeypatch.delenv("GAUSSMIX_CELEBA", raising=False)
    with pytest.raises(ValueError, match="does not say what it was trained on; set GAUSSMIX_CELEBA"):
        load_subject(config)


def test_faces_are_shown_pixel_by_pixel() -> None:
    faces = np.random.default_rng(0).integers(0, 64, (2, 3, 32, 32, 3)).astype(np.uint8) * 4
    figure = draw_faces("title", FaceBlock("left", faces, ["a", "b"]), FaceBlock("right", faces[:, :1], columns=["x"]))
    figure.set_dpi(110)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3]
    face = faces[1, 2].repeat(2, 0).repeat(2, 1)
    places = np.argwhere((shown[:-63, :-63] == face[0, 0]).all(-1))
    assert any((shown[i : i + 64, j : j + 64] == face).all() for i, j in places)


# -- pages -------------------------------------------------------------------------------------------------------------


def test_kernel_distances_of_the_appendix_beside_those_of_other_faces() -> None:
    def row(value: float | None, others: float | None) -> dict:
        return {"kernel": {"value": value, "standard_error": 0.01}, "kernel_others": {"value": others}}

    rows = {"13": row(0.01, 1.0), "14": row(0.5, 2.0), "15": row(-0.01, 1.0), "16": row(None, None)}
    assert diffusion_appendix.over_all(rows) == {"within_two_errors": 2, "largest_share_of_others": 0.25}
    nothing = diffusion_appendix.over_all({"13": row(None, None)})
    assert nothing == {"within_two_errors": 0, "largest_share_of_others": None}
