"""Images drawn, mixed, between two and around one; how strange an image is; wrong input."""

from __future__ import annotations

import numpy as np
import pytest
from autoencoder.test_model import pictures, tiny_model

from gaussmix.autoencoder.generate import LatentGenerator, NoveltyScale
from gaussmix.autoencoder.sheets import draw_map, draw_marginals, draw_mixes, mix_sheet
from gaussmix.latents.expansion import ExpansionSampler

CENTRES = np.array([[-40.0] * 5, [0.0] * 5, [40.0] * 5])


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Latents of three classes with the sd 1, 2 and 3, far apart."""
    y = np.repeat([0, 1, 2], 400)
    z = CENTRES[y] + np.random.default_rng(seed).standard_normal((1200, 5)) * (y[:, None] + 1)
    return z.astype(np.float32), y


@pytest.fixture(scope="module")
def generator() -> LatentGenerator:
    return LatentGenerator(tiny_model(), ExpansionSampler("pca").fit(*rows()))


def test_samples_are_decoded_draws(generator):
    drawn = generator.sampler.sample(6, class_label=1, truncation=0.5, random_state=3)
    images = generator.sample(6, class_name="b", truncation=0.5, random_state=3)
    assert np.array_equal(images, generator.model.decode(drawn))
    assert np.array_equal(images, generator.sample(6, class_name=1, truncation=0.5, random_state=3))
    assert generator.sample(4, random_state=0).shape == (4, 8, 8, 1)


def test_dims_takes_each_number_from_one_class_in_the_proportions(generator):
    z = generator.mix_latents(["a", "c"], proportions=[1, 3], n_samples=4000, random_state=0)
    first = np.abs(z - CENTRES[0, 0]) < 20
    assert (first | (np.abs(z - CENTRES[2, 0]) < 20)).mean() > 0.999  # the guard of a marginal draws far ones
    assert first.mean() == pytest.approx(0.25, abs=0.015)
    assert np.abs(np.corrcoef(first.T) - np.eye(5)).max() < 0.06  # the numbers choose for themselves
    assert z[first].std() == pytest.approx(1, rel=0.05)
    assert z[~first].std() == pytest.approx(3, rel=0.05)


def test_lerp_is_the_weighted_mean_of_independent_draws(generator):
    z = generator.mix_latents(["a", "b", "c"], mode="lerp", proportions=[2, 1, 1], n_samples=4000, random_state=0)
    assert z.mean(0) == pytest.approx(0.5 * CENTRES[0] + 0.25 * CENTRES[2], abs=0.1)
    assert z.std() == pytest.approx(np.sqrt(0.25 * 1 + (4 + 9) / 16), rel=0.05)


def test_a_truncated_mix_merges_truncated_draws(generator):
    wide, narrow = (
        generator.mix_latents(["a", "c"], n_samples=2000, truncation=truncation, random_state=0)
        for truncation in (None, 0.2)
    )
    assert narrow[narrow > 0].std() < 0.5 * wide[wide > 0].std()
    with pytest.raises(ValueError, match="truncation is 2"):
        generator.mix_latents(["a", "c"], truncation=2)


def test_the_whole_of_one_class_is_a_draw_of_it(generator):
    for mode in ("dims", "lerp"):
        z = generator.mix_latents(["a", "c"], mode=mode, proportions=[0, 2], n_samples=50, random_state=0)
        assert (np.abs(z - CENTRES[2]) < 20).all()


def test_a_path_leads_from_one_to_the_other(generator):
    a, b = pictures(2)
    path = generator.interpolate(a, b, 5)
    z = generator.model.encode(np.stack([a, b]))
    assert np.array_equal(path[[0, 4]], generator.model.decode(z))
    assert np.array_equal(path[2], generator.model.decode(z.mean(0, keepdims=True))[0])
    drawn = generator.interpolate("a", "c", 2, random_state=0)
    assert not np.array_equal(drawn[0], drawn[1])


def test_neighbours_keep_the_spread_of_the_cluster(generator, monkeypatch):
    z0 = CENTRES[1] + [2, -2, 0, 0, 0]
    monkeypatch.setattr(generator, "_encode", lambda image: z0)
    kept = []
    monkeypatch.setattr(generator.model, "decode", kept.append)
    for strength in (0, 0.6, 1):
        generator.more_like(pictures(1)[0], 4000, strength=strength, random_state=0)
    assert kept[0] == pytest.approx(np.tile(z0, (4000, 1)))
    assert kept[1].std(0) == pytest.approx(np.full(5, 0.6 * 2), rel=0.1)
    assert kept[1].mean(0) == pytest.approx(0.8 * z0, abs=0.15)  # around a class mean of 0
    assert kept[2].std(0) == pytest.approx(np.full(5, 2), rel=0.1)
    assert generator.class_of(pictures(1)[0]) == "b"


def test_an_image_that_no_density_reaches_goes_to_the_nearest_mean():
    z, y = rows()
    z[:, 0] = 1.0  # constant in all classes
    generator = LatentGenerator(tiny_model(), ExpansionSampler("pca").fit(z, y))
    assert generator._nearest(np.full(5, 39.0))[0] == 2
    assert generator.sample(3, random_state=0).shape == (3, 8, 8, 1)


def test_either_kind_of_strangeness_shows():
    """Unlikely latents or a large error alone are enough; an error of 0 does not hide unlikely latents."""
    known = np.random.default_rng(0).standard_normal((999, 2)) * [3, 2] + [50, -6]
    scale = NoveltyScale.of(known)
    found = scale.judge(np.array([[50, -6], [80, -6], [50, 6], [80, -100], [np.inf, -6]]))
    assert found.score[0] == pytest.approx(0, abs=0.2)
    assert found.score[1] == pytest.approx(10, rel=0.1)
    assert found.share[1:].tolist() == [0.001] * 4
    again = scale.judge(np.random.default_rng(1).standard_normal((4000, 2)) * [3, 2] + [50, -6])
    for share in (0.05, 0.5):
        assert (again.share <= share).mean() == pytest.approx(share, abs=0.035)


def test_a_density_that_tells_nothing_is_left_out():
    known = np.stack([np.full(100, np.inf), np.linspace(-9, -5, 100)], 1)
    found = NoveltyScale.of(known).judge(np.array([[np.inf, -9.5], [np.inf, -4.0]]))
    assert found.share == pytest.approx([1, 1 / 101])


def test_novelty_needs_known_images_and_is_kept(generator, tmp_path):
    fresh = LatentGenerator(generator.model, generator.sampler)
    with pytest.raises(ValueError, match="call calibrate with images of the known kind"):
        fresh.novelty(pictures(3))
    with pytest.raises(ValueError, match="1 known image; give at least 2"):
        fresh.calibrate(pictures(1))
    fresh.calibrate(pictures(50)).save(tmp_path / "novelty.safetensors")
    fresh.model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no sampler\.safetensors in .*finish it first"):
        LatentGenerator.load(tmp_path)
    fresh.sampler.save(tmp_path / "sampler.safetensors")
    again, found = LatentGenerator.load(tmp_path), fresh.novelty(pictures(9))
    assert np.array_equal(again.novelty(pictures(9)).score, found.score)
    assert again.novelty(pictures(9)[..., 0]).score == pytest.approx(found.score, rel=1e-4)


def test_pictures(generator, tmp_path):
    z, y = rows()
    z[:, 4] = 0.0  # a number that is constant
    draw_mixes(generator, pictures(len(y)), y, tmp_path / "mixes.png")
    draw_marginals(generator, z, y, tmp_path / "marginals.png")
    draw_map(generator, z, y, tmp_path / "map.png")
    draw_map(generator, z[[0, 1] * 60], np.repeat([0, 1, 2], 40), tmp_path / "map.png")  # classes that are alike
    assert {path.name for path in tmp_path.glob("*.png")} == {"mixes.png", "marginals.png", "map.png"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.sample(0), "n_samples is 0; give at least 1"),
        (lambda g: g.sample(1, class_name="d"), "no class 'd'; the model knows a, b, c"),
        (lambda g: g.sample(1, class_name=3), "no class 3; the model knows a, b, c"),
        (lambda g: g.sample(1, truncation=2), "truncation is 2"),
        (lambda g: g.mix(["a"]), "classes are a; name two or more different ones"),
        (lambda g: g.mix(["a", "a"]), "classes are a, a; name two or more different ones"),
        (lambda g: g.mix([]), "classes are none; name two or more"),
        (lambda g: g.mix(["a", "x"]), "no class 'x'"),
        (lambda g: g.mix(["a", "b"], mode="sum"), "mode is 'sum'; choose from dims, lerp"),
        (lambda g: g.mix(["a", "b"], proportions=[1]), "1 proportions for 2 classes; give one a class"),
        (lambda g: g.mix(["a", "b"], proportions=[-1, 2]), "proportions are -1, 2; give 0 or more, not all 0"),
        (lambda g: g.mix(["a", "b"], proportions=[0, 0]), "proportions are 0, 0"),
        (lambda g: g.mix(["a", "b"], proportions=[np.nan, 1]), "proportions are nan, 1"),
        (lambda g: g.interpolate("a", "b", 1), "steps is 1; give at least 2"),
        (lambda g: g.more_like(pictures(1)[0], strength=1.5), "strength is 1.5; choose from 0"),
        (lambda g: g.more_like(pictures(1, 4)[0]), r"images are \(1, 4, 4, 1\)"),
        (lambda g: LatentGenerator(tiny_model(latent_dim=4), g.sampler), "knows latents of 5 numbers, the model has 4"),
        (
            lambda g: LatentGenerator(g.model, ExpansionSampler("pca").fit(*(rows()[0], rows()[1] + 5))),
            "the sampler has the labels 5, 6, 7; fit it to labels 0 to 2",
        ),
    ],
)
def test_wrong_requests(generator, call, message):
    with pytest.raises(ValueError, match=message):
        call(generator)


def test_mixes_stand_beside_real_images(generator):
    real = {name: np.full((10, 8, 8, 1), level, np.uint8) for name, level in (("a", 40), ("c", 200))}
    mixes = generator.mix(["a", "c"], n_samples=23, random_state=0)
    sheet, alone = mix_sheet(mixes, real, "a + c", "seed 0"), mix_sheet(mixes, {}, "a + c", "seed 0")
    assert sheet.height > alone.height
    for level in (40, 200):
        assert np.count_nonzero(np.asarray(sheet) == level) >= 10 * 48**2
