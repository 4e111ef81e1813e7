"""The pipeline: determinism, guidance, saving, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gaussmix.diffusion.outputs import to_uint8
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import SCHEDULER_NAMES, switch_scheduler

ATTRIBUTES = np.array([[1, 0, 0], [0, 1, 1]], np.uint8)


def draw(pipe, seed=0, **settings):
    settings = {"num_inference_steps": 4, "output_type": "uint8", **settings}
    images: Any = pipe(ATTRIBUTES, generator=torch.Generator().manual_seed(seed), **settings).images
    return images


def test_same_generator_same_pictures(pipeline):
    first = draw(pipeline)
    assert first.shape == (2, 8, 8, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, draw(pipeline))
    assert not np.array_equal(first, draw(pipeline, seed=1))


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_every_scheduler_draws_and_reloads(pipeline, tmp_path, name):
    pipeline.scheduler = switch_scheduler(pipeline.scheduler, name)
    before = draw(pipeline)
    pipeline.save_pretrained(tmp_path)
    again = AttributeDiffusionPipeline.load(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert type(again.scheduler) is type(pipeline.scheduler)
    assert np.array_equal(before, draw(again))


def test_a_reloaded_pipeline_knows_its_attributes_and_latents(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "model")
    again = AttributeDiffusionPipeline.load(tmp_path)  # a run's folder
    assert again.attribute_names == ("Bald", "Long_Hair", "Sunglasses")
    assert again.latent_distribution == pipeline.latent_distribution
    assert np.array_equal(again.choose_attributes(["bald"], count=3), pipeline.choose_attributes(["bald"], count=3))


def test_guidance_one_is_the_plain_network_and_zero_ignores_the_request(pipeline):
    noise = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    latents = pipeline.draw_attribute_latents(2, torch.Generator().manual_seed(2))
    fixed = {"num_inference_steps": 4, "output_type": "uint8", "latents": noise, "attribute_latents": latents}
    plain = pipeline(ATTRIBUTES, guidance_scale=1.0, **fixed).images
    almost = pipeline(ATTRIBUTES, guidance_scale=1.0 + 1e-6, **fixed).images
    assert np.abs(plain.astype(int) - almost).max() <= 1
    unguided = pipeline(ATTRIBUTES, guidance_scale=0.0, **fixed).images
    assert np.array_equal(unguided, np.asarray(pipeline(1 - ATTRIBUTES, guidance_scale=0.0, **fixed).images))
    assert not np.array_equal(plain, pipeline(1 - ATTRIBUTES, guidance_scale=1.0, **fixed).images)


def test_a_generator_a_picture_makes_pictures_independent_of_the_batch(pipeline):
    def generators():
        return [torch.Generator().manual_seed(s) for s in (5, 6)]

    pipeline.scheduler = switch_scheduler(pipeline.scheduler, "renoise")
    together = pipeline(ATTRIBUTES, generator=generators(), num_inference_steps=4, output_type="uint8").images
    second = pipeline(ATTRIBUTES[1:], generator=generators()[1:], num_inference_steps=4, output_type="uint8").images
    assert np.abs(together[1].astype(int) - second[0]).max() <= 1


def test_callback_sees_every_step_and_ends_at_the_picture(pipeline):
    seen, path = [], []

    def callback(step, t, x0):
        seen.append((step, t, tuple(x0.shape)))
        path.append(to_uint8(x0))

    pipeline.scheduler = switch_scheduler(pipeline.scheduler, "renoise")
    out = pipeline(
        ATTRIBUTES,
        generator=torch.Generator().manual_seed(0),
        num_inference_steps=5,
        output_type="uint8",
        callback=callback,
    )
    assert [s for s, _, _ in seen] == [0, 1, 2, 3, 4]
    assert [t for _, t, _ in seen] == sorted((t for _, t, _ in seen), reverse=True)
    assert {shape for _, _, shape in seen} == {(2, 3, 8, 8)}
    assert np.array_equal(path[-1], out.images)  # the last renoise step returns x0* itself


def test_pil_output(pipeline):
    images = draw(pipeline, output_type="pil")
    assert [image.size for image in images] == [(8, 8), (8, 8)]


def test_to_uint8_rounds_and_clamps():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5)
    assert to_uint8(values).flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attributes": [[1, 0]]}, r"expected \(batch, 3\)"),
        ({"attributes": [[2, 0, 0]]}, "0 or 1"),
        ({"num_inference_steps": 21}, "choose 1 to 20"),
        ({"num_inference_steps": 0}, "choose 1 to 20"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
        (
            {"attribute_latents": torch.zeros(1, 2, 8)},
            r"^attribute_latents have shape \(1, 2, 8\); expected \(1, 4, 8\)",
        ),
        ({"latents": torch.zeros(1, 3, 4, 4)}, r"^latents have shape \(1, 3, 4, 4\); expected \(1, 3, 8, 8\)"),
        ({"output_type": "jpeg"}, "output_type is 'jpeg'"),
        ({"generator": [torch.Generator(), torch.Generator()]}, "2 generators for 1 pictures"),
    ],
)
def test_wrong_calls_are_refused(pipeline, change, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**{"attributes": [[1, 0, 0]], **change})


def test_wrong_requests_are_refused(pipeline):
    with pytest.raises(ValueError, match="did you mean Sunglasses"):
        pipeline.choose_attributes(["Sunglass"], count=1)
    with pytest.raises(ValueError, match="Bald is asked for and ruled out at once"):
        pipeline.choose_attributes(["Bald"], ["bald"], count=1)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no model in .*: expected a folder with model_index\.json"):
        AttributeDiffusionPipeline.load(tmp_path)


def test_a_damaged_model_is_named(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"the model in .* cannot be loaded"):
        AttributeDiffusionPipeline.load(tmp_path)
