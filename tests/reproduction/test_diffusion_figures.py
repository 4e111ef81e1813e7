"""D Figures 1, 4, 5 and Appendix A: shares of variance, telling apart, variety, and what is said of the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import NAMES, squares_dataset, tiny_unet

from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler
from gaussmix.metrics.classifier import AttributeClassifier
from gaussmix.metrics.distances import KernelDistance
from gaussmix.metrics.manifolds import ManifoldScores, pairwise_diversity
from reproduction.diffusion import appendix as diffusion_appendix
from reproduction.diffusion import fig1 as diffusion_fig1
from reproduction.diffusion import fig1 as telling_apart
from reproduction.diffusion import fig4 as variety
from reproduction.diffusion.model import LISTS, Artist, PageConfig, Subject, draw_faces, load_subject, words
from reproduction.diffusion.model import Faces as Block


def tiny_pipeline(names: list[str] = NAMES) -> AttributeDiffusionPipeline:
    unet = tiny_unet(n_attributes=len(names))
    scheduler = make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction")
    rows = pack_rows(np.eye(len(names), dtype=np.uint8))
    return AttributeDiffusionPipeline(unet, scheduler, attribute_names=names, attribute_rows=rows)


def tiny_subject(names: list[str] = NAMES) -> Subject:
    squares = squares_dataset()
    attributes = squares.attributes[:, np.arange(len(names)) % 3]
    judge = AttributeClassifier(tuple(names), 8).eval()
    return Subject(
        label="a toy",
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
    same, shifted = telling_apart.tell_apart(a, b, 0), telling_apart.tell_apart(a, b + np.array([2, 0, 0]), 0)
    assert not same.apart
    assert abs(same.accuracy - 0.5) < 3 * same.error
    assert shifted.apart
    assert shifted.accuracy == pytest.approx(0.841, abs=0.03)  # Phi(1), the best there is


def test_the_error_of_telling_apart_covers_its_spread() -> None:
    """Within a fifth below, and not twice above; it does not tell it from the binomial error."""
    draws = [np.random.default_rng(i).standard_normal((2, 60, 3)) for i in range(40)]
    found = [telling_apart.tell_apart(a, b, 0) for a, b in draws]
    spread = np.std([one.accuracy for one in found])
    assert 0.8 * spread < np.mean([one.error for one in found]) < 2 * spread
    assert np.mean([one.apart for one in found]) < 0.15


def test_fine_detail_is_the_laplacian() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 18, 18, 3)).astype(np.uint8)
    found = telling_apart.fine_detail(images)
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
    found = [variety.diversity(variety.mean_distances(rows)) for rows in draws]
    assert found[0].value == pytest.approx(pairwise_diversity(draws[0]))
    assert np.mean([each.error for each in found]) == pytest.approx(np.std([each.value for each in found]), rel=0.2)


def test_the_error_of_a_difference_of_paired_sets() -> None:
    """Sets whose rows go together differ by less than two independent ones."""
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(200):
        rows = rng.standard_normal((30, 4))
        other = 1.1 * rows + 0.1 * rng.standard_normal((30, 4))
        gaps.append(variety.diversity(variety.mean_distances(other) - variety.mean_distances(rows)))
    assert np.mean([each.error for each in gaps]) == pytest.approx(np.std([each.value for each in gaps]), rel=0.25)
    assert np.mean([each.sign for each in gaps]) > 0.9


def test_component_effects_and_their_error() -> None:
    rng = np.random.default_rng(2)
    moved, redrawn = np.zeros((8, 2, 2, 50)), np.zeros((8, 2, 2, 50))
    moved[:, 1], redrawn[:, :, 1] = 3.0, 4.0
    both = variety.component_effect(moved + redrawn, 0.9)
    assert (both.component, both.noise, both.error, both.seen) == (3.0, 4.0, 0.0, 0.9)
    assert both.sign == -1
    signs = [variety.component_effect(rng.standard_normal((8, 3, 2, 20)), 1.0).sign for _ in range(100)]
    assert np.mean(np.abs(signs)) < 0.2


# -- model, data, drawing ----------------------------------------------------------------------------------------------


def test_z_and_noise_are_numbered() -> None:
    """Pictures of one number are equal, others are not, whatever is drawn beside them."""
    told: list[int] = []
    artist, pipeline = Artist(PageConfig(sampling_steps=2), told.append), tiny_pipeline()
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
    theirs = sorted({name for paper, _ in LISTS.values() for name in paper})
    assert tiny_subject(theirs).wanted("14") == LISTS["14"][0]
    ours = sorted({name for _, own in LISTS.values() for name in own})
    assert tiny_subject(ours).wanted("14") == LISTS["14"][1]
    neither = tiny_subject()
    for figure in LISTS:
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
    assert built_in.label.startswith("the model of the package, trained ")
    pipeline = built_in.pipeline
    pipeline.register_to_config(training={"data": "avatars", "steps": 7, "seed": 3})
    pipeline.save_pretrained(tmp_path / "model")
    monkeypatch.setenv("GAUSSMIX_MODEL", str(tmp_path))
    subject = load_subject(config)
    assert subject.label == "a model, trained 7 steps on the built-in faces at 32 pixels"
    assert (len(subject.training), len(subject.held_out)) == (48, 12)
    pipeline.register_to_config(training={})
    pipeline.save_pretrained(tmp_path / "model")
    monkeypatch.delenv("GAUSSMIX_CELEBA", raising=False)
    with pytest.raises(ValueError, match="does not say what it was trained on; set GAUSSMIX_CELEBA"):
        load_subject(config)


def test_faces_are_shown_pixel_by_pixel() -> None:
    faces = np.random.default_rng(0).integers(0, 64, (2, 3, 32, 32, 3)).astype(np.uint8) * 4
    figure = draw_faces("title", Block("left", faces, ["a", "b"]), Block("right", faces[:, :1], columns=["x"]))
    figure.set_dpi(110)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3]
    face = faces[1, 2].repeat(2, 0).repeat(2, 1)
    places = np.argwhere((shown[:-63, :-63] == face[0, 0]).all(-1))
    assert any((shown[i : i + 64, j : j + 64] == face).all() for i, j in places)


# -- pages -------------------------------------------------------------------------------------------------------------


def numbers(**changes) -> diffusion_fig1.Numbers:
    told = {"features": telling_apart.Told(0.5, 0.01), "fine detail": telling_apart.Told(0.62, 0.01)}
    base = diffusion_fig1.Numbers(
        accuracy=0.97,
        frechet=2.0,
        kernel=KernelDistance(0.001, 0.001),
        manifold=ManifoldScores(0.95, 0.9, 1.0, 0.98),
        diversity=10.0,
        told=told,
        near=diffusion_fig1.Nearness(20.0, 5.0, 0.05),
    )
    return base._replace(**changes)


def test_sentences_of_figure_1() -> None:
    real = numbers(accuracy=0.99)
    good = diffusion_fig1.findings(numbers(), real, 1000, ("Mouth_Open", 0.8))
    assert "0.970 in drawn faces and 0.990 in real ones; worst in drawn ones: Mouth Open, 0.800" in good[0]
    assert "not shown to be different from 0. 95.0% of the drawn" in good[1]
    assert "on features is not shown to tell" in good[2]
    assert "on fine detail tells" in good[2]
    assert "of real against real 0.500 ± 0.010, not told apart" in good[2]
    assert "of real against real 0.620 ± 0.010, told apart too, which can only be chance" in good[2]
    assert good[3].startswith("No sign of copies: 5.0%")
    bad = numbers(kernel=KernelDistance(0.1, 0.01), near=diffusion_fig1.Nearness(2.0, 0.0, 0.5))
    worse = diffusion_fig1.findings(bad, real, 1000, ("Bald", 0.5))
    assert "clearly different from 0" in worse[1]
    assert worse[3].startswith("Some training pictures are repeated: 50.0%")


def varied(drawn: float, latents: float, noise: float) -> variety.Varied:
    values = {"real": 10.0, "all": drawn, "latents": latents, "noise": noise, "neither": 5.0}
    shake = 0.5 * np.random.default_rng(0).standard_normal((len(values), 16))
    shake -= shake.mean(1, keepdims=True)
    sets = zip(values.items(), shake, strict=True)
    return {way: dict.fromkeys(("features", "pixels"), v + each) for (way, v), each in sets}


def test_sentences_of_figure_4() -> None:
    effect = variety.ComponentEffect
    strong, weak, unclear = effect(9.0, 3.0, 0.5, 1.0), effect(1.0, 3.0, 0.5, 1.0), effect(4.0, 3.0, 0.8, 1.0)
    alike, source, parts = variety.findings(varied(9.9, 9, 6), {"Wearing_Hat": strong, "Bald": weak, "Beard": unclear})
    assert alike.count("not shown to be more or less varied than real") == 2
    assert "mean distance 9.9 against 10, difference -0.1 ± " in alike
    assert source.startswith("More of the variety comes from Z: ")
    assert "for 1 of 3 attributes: Wearing Hat; less for 1; neither is shown for 1: Beard." in parts
    less, source, parts = variety.findings(varied(7.0, 6, 9), {"Bald": weak})
    assert less.count("less varied than real") == 2
    assert source.startswith("More of the variety comes from the noise")
    assert "for 0 of 1 attributes; less for 1; neither is shown for 0." in parts
    more, source, _ = variety.findings(varied(12.0, 6, 6.1), {"Bald": weak})
    assert "more varied than" in more
    assert source.startswith("That more of the variety comes from Z or from the noise is not shown")


def sheet(**changes) -> diffusion_appendix.Sheet:
    base = diffusion_appendix.Sheet(
        figure="13",
        wanted=("Bald",),
        pictures=np.zeros((25, 8, 8, 3), np.uint8),
        n_real=50,
        seen=0.99,
        seen_real=0.99,
        all_seen=0.97,
        all_seen_real=0.98,
        kernel=KernelDistance(0.01, 0.01),
        kernel_others=KernelDistance(1.0, 0.1),
    )
    return base._replace(**changes)


def test_sentences_of_the_appendix() -> None:
    fits, near = diffusion_appendix.findings([sheet(), sheet(figure="14", all_seen_real=None)])
    assert fits.startswith("The faces match their lists: ")
    assert fits.endswith("Figure 13 97% (98%); Figure 14 97%.")
    assert near.startswith("For 2 of 2 lists")
    assert "1.0% at most" in near
    misses, far = diffusion_appendix.findings([sheet(), sheet(all_seen=0.5, kernel=KernelDistance(0.5, 0.01))])
    assert misses.startswith("The faces do not all match")
    assert far.startswith("For 1 of 2 lists")
    none = [sheet(kernel=None, kernel_others=None)]
    assert diffusion_appendix.findings(none)[1] == "There are too few real faces with these lists for a distance."
