"""Editing: what changes, what stays, and the exact answer where it is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.utils.outputs import BaseOutput

from gaussmix.diffusion.edit import _levels, _masked, edit_images, find_encoder, reconstruct
from gaussmix.diffusion.encoder import AttributeEncoder
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.latents.attributes import AttributeLatents
from gaussmix.latents.matching import match_latents
from gaussmix.metrics.classifier import AttributeClassifier

NAMES = ("Bald", "Long_Hair", "Sunglasses")
MAPS = np.zeros((3, 8, 8), np.float32)
MAPS[0, :3], MAPS[1, 2:], MAPS[2, 6:] = 1, 0.5, 1


@pytest.fixture
def editor(pipeline, squares, monkeypatch) -> AttributeDiffusionPipeline:
    """The tiny pipeline with an encoder whose maps are three bands of rows."""
    rows = squares.indices("train")
    latents = AttributeLatents(3, base_token=True)
    matched = match_latents(squares.images[rows], squares.attributes[rows], latents, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = AttributeClassifier(NAMES, 8)
    pipeline.register_modules(encoder=AttributeEncoder.build(reader, matched.encoder, MAPS))
    pipeline.register_to_config(attribute_rows=[])
    pipeline.unet.unet.conv_out.weight.data *= 20  # an untrained network hardly reacts to what it is asked for
    monkeypatch.setattr("gaussmix.training.device.has_fast_bfloat16", lambda _: False)  # rounding would blur the tests
    return pipeline


def patterns() -> torch.Tensor:
    """A pattern for each attribute, ``(3, 3, 8, 8)``, small enough for sums to stay in [-1, 1]."""
    return 0.1 * torch.randn((3, 3, 8, 8), generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


@pytest.fixture
def known_world(editor, monkeypatch) -> AttributeDiffusionPipeline:
    """A network for a world in which a picture is the sum of its attributes' patterns, whatever the noise."""

    def forward(sample, timestep, latents, attributes, **_):
        clean = (attributes[:, :, None, None, None] * patterns()).sum(1)
        alpha_bar = editor.scheduler.alphas_cumprod[int(timestep)]
        return BaseOutput(sample=(alpha_bar.sqrt() * sample - clean) / (1 - alpha_bar).sqrt())

    monkeypatch.setattr(editor.unet, "forward", forward)
    return editor


def masked(d: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """What is taken over of a difference ``(8, 8, 3)`` where the map is ``(8, 8)``."""

    def step(values, low, high):
        share = np.clip((values - low) / (high - low), 0, 1)
        return share**2 * (3 - 2 * share)

    free = step(maps, 0.02, 0.08)
    d = d * free[:, :, None]
    doubt = step(free.mean(), 0.6, 0.9) * (1 - step(maps, 0.4, 0.8))
    return d * (1 - doubt * (1 - step(np.abs(d).max(2), 0.1, 0.3)))[:, :, None]


def to_float(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float64) / 127.5 - 1


@pytest.mark.parametrize("guidance", [1.0, 2.0, 0.5])
def test_edits_are_exact_where_the_network_is(known_world, squares, guidance):
    images = 100 + squares.images[:4] // 10  # far from black and white
    has = np.array([[0, 1, 0], [0, 0, 0], [0, 1, 1], [0, 0, 1]], np.uint8)
    result = edit_images(known_world, images, ["Bald"], ["Long_Hair"], attributes=has, steps=4, guidance=guidance)
    assert result.attributes_after.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1], [1, 0, 1]]
    change = np.einsum("bk,kchw->bhwc", result.attributes_after.astype(float) - has, patterns().numpy())
    for i in range(4):
        wanted = to_float(images[i]) + masked(guidance * change[i], MAPS[[0, 1] if has[i, 1] else [0]].max(0))
        assert np.abs(to_float(result.images[i]) - wanted).max() <= 0.51 / 127.5


def test_the_loop_is_the_sampler_of_eq_10_for_both_descriptions(editor, squares):
    """One picture, written out: y and x share their noise, and x0 + d is what goes on."""
    images, has = squares.images[:1], np.array([[1, 0, 0]], np.uint8)
    result = edit_images(editor, images, ["Long_Hair"], attributes=has, steps=3, seed=5)
    from gaussmix.training.schedule import step_generator

    generator = step_generator(5, 0, stream=0)
    editor.draw_attribute_latents(1, generator)
    x0 = torch.from_numpy(to_float(images)).float().permute(0, 3, 1, 2)
    d = torch.zeros_like(x0)
    alpha_bars = editor.scheduler.alphas_cumprod
    for level in _levels(editor, 3):
        a, b = alpha_bars[level].sqrt(), (1 - alpha_bars[level]).sqrt()
        eps = torch.randn(x0.shape, generator=generator)
        estimates = []
        for picture, z, row in (
            (x0, result.attribute_latents_before, result.attributes_before),
            (x0 + d, result.attribute_latents_after, result.attributes_after),
        ):
            x = a * picture + b * eps
            with torch.no_grad():
                v = editor.unet(x, level, z, torch.from_numpy(row).float()).sample
            estimates.append((a * x - b * v).clamp(-1, 1))
        difference = (estimates[1] - estimates[0])[0].permute(1, 2, 0).numpy()
        d = torch.from_numpy(masked(difference, MAPS[1])).float().permute(2, 0, 1)[None]
    wanted = (x0 + d).clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(to_float(result.images) - wanted).max() <= 0.51 / 127.5
    assert not np.array_equal(result.images, images)


def test_only_the_map_of_what_changes_is_touched(editor, squares):
    result = edit_images(editor, squares.images[:6], ["Sunglasses"], attributes=np.zeros((6, 3)), steps=3)
    same = result.images == squares.images[:6]
    assert same[:, :6].all()
    assert not same[:, 6:].all()
    assert np.array_equal(result.masks, np.broadcast_to(MAPS[2], (6, 8, 8)))


def test_small_changes_are_dropped_where_a_broad_map_is_low():
    difference = torch.full((1, 3, 8, 8), 0.08)
    difference[:, :, 4:] = 0.5
    broad, compact = torch.full((1, 1, 8, 8), 0.3), torch.zeros((1, 1, 8, 8))
    broad[..., :2], compact[..., :4] = 1, 0.3
    kept = _masked(difference, broad)
    assert (kept[:, :, :4, 2:] == 0).all()
    assert torch.equal(kept[:, :, 4:], difference[:, :, 4:])
    assert torch.equal(kept[..., :2], difference[..., :2])
    assert torch.equal(_masked(difference, compact)[..., :4], difference[..., :4])


def test_a_picture_that_is_as_asked_for_comes_back_bit_by_bit(editor, squares):
    result = edit_images(editor, squares.images, ["Bald"], attributes=np.tile([1, 0, 1], (40, 1)), steps=2)
    assert np.array_equal(result.images, squares.images)


def test_z_of_what_stays_is_kept_and_of_what_comes_is_drawn(editor, squares):
    has = np.tile(np.array([0, 1, 1], np.uint8), (3, 1))
    result = edit_images(editor, squares.images[:3], ["Bald"], ["Long_Hair"], attributes=has, steps=1, seed=2)
    changed = (result.attribute_latents_before != result.attribute_latents_after).any(2)
    assert changed.tolist() == [[True, False, False, False]] * 3
    assert torch.equal(result.attribute_latents_before, find_encoder(editor).encode(squares.images[:3], has, 2))


def test_a_component_is_switched_on_and_drawn_anew(editor, squares):
    has = np.array([[0, 0, 0], [0, 0, 1]], np.uint8)
    result = edit_images(editor, squares.images[:2], attributes=has, components={"sunglasses": 2}, steps=1)
    assert result.attributes_after.tolist() == [[0, 0, 1], [0, 0, 1]]
    latents = editor.latent_distribution
    low = latents.quantile(latents.band(2, 2)[0], latents.weights(2))
    assert (result.attribute_latents_after[:, 2, 0] >= low - 1e-6).all()
    assert (result.masks.max((1, 2)) == 1).all()


def test_a_picture_does_not_depend_on_those_beside_it(editor, squares, monkeypatch):
    has = np.zeros((5, 3), np.uint8)
    options = {"attributes": has, "steps": 3, "seed": 1, "guidance": 1.5}
    together = edit_images(editor, squares.images[:5], ["Bald"], **options).images
    monkeypatch.setattr("gaussmix.diffusion.edit.batch_size", lambda *_: 2)
    done = []
    apart = edit_images(editor, squares.images[:5], ["Bald"], **options, on_step=done.append).images
    assert np.abs(together.astype(int) - apart).max() <= 1
    assert done == [2, 4, 6, 8, 10, 12, 13, 14, 15]


def test_attributes_are_read_if_not_given(editor, squares):
    result = edit_images(editor, squares.images[:8], ["Bald"], steps=1)
    assert np.array_equal(result.attributes_before, find_encoder(editor).read_attributes(squares.images[:8]))


def test_the_data_say_what_changes_along(editor, squares):
    from gaussmix.diffusion.conditions import pack_rows

    editor.register_to_config(attribute_rows=pack_rows(np.repeat([[1, 0, 0], [0, 1, 0], [0, 1, 1]], 30, axis=0)))
    long_hair = np.array([[0, 1, 1]], np.uint8)
    assert edit_images(
        editor, squares.images[:1], ["Bald"], attributes=long_hair, steps=1
    ).attributes_after.tolist() == [
        [1, 0, 0]  # no row is Bald with Sunglasses either
    ]
    with pytest.warns(UserWarning, match="no training picture has Bald and Long Hair; the edit may mix"):
        both = edit_images(editor, squares.images[:1], ["Bald", "Long_Hair"], attributes=long_hair, steps=1)
    assert both.attributes_after.tolist() == [[1, 1, 1]]


def test_levels_run_from_noise_to_the_picture_evenly_in_angle(editor):
    levels = _levels(editor, 5)
    assert (levels[0], levels[-1]) == (19, 0)
    angles = torch.arccos(editor.scheduler.alphas_cumprod.sqrt())[levels]
    even = torch.linspace(float(angles[0]), float(angles[-1]), 5)
    gaps = torch.diff(torch.arccos(editor.scheduler.alphas_cumprod.sqrt()))
    assert (angles - even).abs().max() <= gaps.max() / 2 + 1e-6
    assert _levels(editor, 20) == sorted(set(_levels(editor, 20)), reverse=True)


def test_reconstruct_draws_from_a_and_z_alone(editor, squares):
    result = edit_images(editor, squares.images[:2], ["Bald"], attributes=np.zeros((2, 3)), steps=1)
    drawn = reconstruct(editor, result, seed=4, steps=3)
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert drawn.shape == (2, 8, 8, 3)
    assert np.array_equal(drawn, reconstruct(editor, result, seed=4, steps=3))
    other = editor(
        result.attributes_before, result.attribute_latents_before, 3, 1.0, generator=generators, output_type="uint8"
    )
    assert not np.array_equal(drawn, other.images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"present": ["Beard"]}, "unknown attribute 'Beard'"),
        ({"absent": ["Bald"]}, "Bald is asked for and ruled out at once"),
        ({"present": [], "absent": ["Bald"], "components": {"Bald": 1}}, "Bald is asked for and ruled out at once"),
        ({"components": {"Bald": 3}}, "component 3 does not exist"),
        ({"steps": 0}, "steps is 0; the model knows 20 levels of noise, choose 1 to 20"),
        ({"steps": 21}, "choose 1 to 20"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"attributes": [[1, 0]]}, r"attributes have shape \(1, 2\)"),
        ({"attributes": [[1, 0, 2]]}, "attributes must be 0 or 1"),
        ({"attributes": [[1, 0, 0]] * 2}, "2 rows of attributes for 1 pictures"),
        ({"attributes": [[1, 0, 0.5]]}, "attributes must be 0 or 1"),
        ({"images": np.zeros((1, 16, 16, 3), np.uint8)}, r"pictures are uint8 \(1, 16, 16, 3\); give uint8"),
        ({"images": np.zeros((1, 8, 8, 3)), "attributes": [[1, 0, 0]]}, "pictures are float64"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "there are no pictures to edit"),
    ],
)
def test_wrong_calls_are_refused(editor, squares, change, message):
    call = {"images": squares.images[:1], "present": ["Bald"], **change}
    with pytest.raises(ValueError, match=message):
        edit_images(editor, **call)


def test_a_model_without_encoder_says_what_to_do(pipeline, squares):
    with pytest.raises(ValueError, match=r"the model cannot read pictures.*train it again"):
        edit_images(pipeline, squares.images[:1], ["Bald"])


def test_strangeness_is_the_error_beside_that_of_its_own_pictures(monkeypatch):
    """With a network that answers white with another error, pictures of it are as strange as the errors say."""
    from gaussmix.diffusion import edit

    own = np.log(np.full((16, 3), 0.01))
    theirs = np.log(np.array([[0.02] * 3, [0.01, 0.1, 1.0]]))
    answers = [own, theirs]
    pipeline = SimpleNamespace(
        known_rows=lambda: np.zeros((0, 2), np.uint8), attribute_names=("A", "B"),
        draw_attribute_latents=lambda *_: torch.zeros(1, 3, 8), set_progress_bar_config=lambda **_: None,
        scheduler=SimpleNamespace(config={"num_train_timesteps": 20}),
    )  # fmt: skip

    class Pipeline(SimpleNamespace):
        def __call__(self, rows, *_args, **_options):
            return SimpleNamespace(images=np.zeros((len(rows), 8, 8, 3), np.uint8))

    monkeypatch.setattr(edit, "_as_it_is", lambda *_: (np.zeros((2, 2), np.uint8), torch.zeros(2, 3, 8)))
    monkeypatch.setattr(edit, "_log_errors", lambda *_: answers.pop(0))
    found = edit.strangeness(Pipeline(**vars(pipeline)), np.zeros((2, 8, 8, 3), np.uint8))  # pyright: ignore
    assert found == pytest.approx([2.0, 10.0])
