"""The pipeline has diffusers' manners, with either network: equal to its own pipelines, its outputs and callbacks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from tiny import NAMES, tiny_unet

from gaussmix.diffusion.conditions import pack_rows
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.schedulers import make_betas, make_scheduler, switch_scheduler
from gaussmix.diffusion.transformer import AttributeTransformer
from gaussmix.diffusion.unet import ConditionConfig

ROWS = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)


def make(kind: str) -> AttributeDiffusionPipeline:
    if kind == "unet":
        unet, transformer = tiny_unet(), None
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            condition = ConditionConfig(n_attributes=3)
            transformer = AttributeTransformer(
                condition=condition, sample_size=8, grid=2, numbers=6, width=16, depth=1, heads=2, timesteps=20
            ).eval()
            transformer.codec.fit(np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype(np.uint8))
            torch.nn.init.normal_(transformer.leave.weight, std=0.1)
        unet = None
    bounded = kind == "unet"
    scheduler = make_scheduler("dpm++", make_betas("constant", 20, beta=0.3), "v_prediction", bounded=bounded)
    pipeline = AttributeDiffusionPipeline(
        unet, scheduler, NAMES, attribute_rows=pack_rows(np.tile(ROWS, (20, 1))), transformer=transformer
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(params=["unet", "transformer"])
def pipeline(request) -> AttributeDiffusionPipeline:
    return make(request.param)


def draw(pipeline: AttributeDiffusionPipeline, **options):
    told = {"num_inference_steps": 4, "guidance_scale": 1.0, "output_type": "np", **options}
    return pipeline(ROWS, generator=torch.Generator().manual_seed(3), **told)


@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_step_by_step_as_diffusers_own_pipeline(pipeline, name):
    """DDIMPipeline and DDPMPipeline around the same network, condition and scheduler see the same x_t at every step."""
    pipeline.scheduler = switch_scheduler(pipeline.scheduler, name)
    network = pipeline.network
    z = pipeline.draw_attribute_latents(2, torch.Generator().manual_seed(1))
    told, asked = [z, torch.from_numpy(ROWS).float()], []

    class Stub(torch.nn.Module):
        config = SimpleNamespace(in_channels=network.state_shape[0], sample_size=network.state_shape[1])
        dtype = torch.float32

        def forward(self, x, timestep, **_options):
            asked.append(x.clone())
            return SimpleNamespace(sample=network(x, int(timestep), *told).sample)

    class Theirs({"ddim": diffusers.DDIMPipeline, "ddpm": diffusers.DDPMPipeline}[name]):
        device = _execution_device = torch.device("cpu")
        components = {}  # noqa: RUF012
        maybe_free_model_hooks = staticmethod(list)
        unet, scheduler = Stub(), switch_scheduler(pipeline.scheduler, name)

        def __init__(self):
            """The network is no component that diffusers could save."""

    theirs: Any = Theirs()
    theirs.set_progress_bar_config(disable=True)
    steps = 5 if name == "ddim" else 20
    with torch.no_grad():
        image = theirs(
            2, generator=torch.Generator().manual_seed(7), num_inference_steps=steps, output_type="np"
        ).images

    ours, forward = [], network.forward
    network.forward = lambda x, *rest, **options: ours.append(x.clone()) or forward(x, *rest, **options)
    made = pipeline(
        ROWS, z, steps, guidance_scale=1.0, generator=torch.Generator().manual_seed(7), output_type="np"
    ).images  # fmt: skip
    assert len(ours) == len(asked) == steps
    for a, b in zip(ours, asked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    if pipeline.unet is not None:  # theirs knows no codec
        np.testing.assert_allclose(made, image, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler",
     "PNDMScheduler", "LMSDiscreteScheduler", "DEISMultistepScheduler", "KDPM2DiscreteScheduler"],
)  # fmt: skip
def test_schedulers_that_do_not_fit_are_refused_by_name(pipeline, name):
    known = {"trained_betas": list(make_betas("constant", 20, beta=0.3)), "prediction_type": "v_prediction"}
    pipeline.scheduler = getattr(diffusers, name)(num_train_timesteps=20, **known)
    with pytest.raises(ValueError, match=rf"{name} does not fit .*; DDPMScheduler, DDIMScheduler, DPMSolverMultistep"):
        draw(pipeline)


def test_a_scheduler_of_other_levels_predictions_or_bounds_is_refused(pipeline):
    pipeline.scheduler = diffusers.DDIMScheduler()
    with pytest.raises(
        ValueError, match=r"1000 levels of noise that are not the model's; make it with DDIMScheduler.from"
    ):
        draw(pipeline)
    first = make("unet").scheduler
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(first.config, prediction_type="epsilon")
    with pytest.raises(ValueError, match="predicts epsilon, the model v_prediction"):
        draw(pipeline)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(first.config, clip_sample=True, thresholding=False)
    if pipeline.network.bounded:
        draw(pipeline)
    else:
        with pytest.raises(ValueError, match=r"clips to \[-1, 1\], and what this model noises is not bounded"):
            draw(pipeline)


@pytest.mark.parametrize("algorithm", ["ddim", "ddpm", "sde-dpmsolver++"])
def test_statistics_are_those_of_the_default(pipeline, algorithm):
    """DDIM, DDPM and the stochastic DPM-Solver++ from diffusers: means and spreads of the pictures as those usual."""
    rows = np.tile(ROWS[:1], (96, 1))
    z = pipeline.draw_attribute_latents(1, torch.Generator().manual_seed(1)).expand(96, -1, -1)
    found = []
    own = pipeline.scheduler
    plain = {"clip_sample": False} if not pipeline.network.bounded else {}
    for scheduler in (
        own,
        diffusers.DPMSolverMultistepScheduler.from_config(own.config, algorithm_type=algorithm)
        if "sde" in algorithm
        else {"ddim": diffusers.DDIMScheduler, "ddpm": diffusers.DDPMScheduler}[algorithm].from_config(
            own.config, thresholding=False, **plain
        ),
    ):
        pipeline.scheduler = scheduler
        generator = torch.Generator().manual_seed(5)
        images = pipeline(rows, z, 20, guidance_scale=1.0, generator=generator, output_type="np").images
        found.append((images.mean(), images.mean((1, 2, 3)).std(), images.std()))
    assert found[1][0] == pytest.approx(found[0][0], abs=0.03)
    assert found[1][2] == pytest.approx(found[0][2], rel=0.2)


def test_what_comes_out(pipeline):
    floats = draw(pipeline).images
    assert floats.dtype == np.float32
    assert floats.shape == (2, 8, 8, 3)
    assert 0 <= floats.min() < floats.max() <= 1
    whole = draw(pipeline, output_type="uint8").images
    assert np.array_equal(whole, np.round(255 * floats))
    tensor = draw(pipeline, output_type="pt").images
    assert np.array_equal(tensor.permute(0, 2, 3, 1).numpy(), floats)
    assert np.array_equal(np.stack([np.asarray(each) for each in draw(pipeline, output_type="pil").images]), whole)
    (again,) = draw(pipeline, return_dict=False)
    assert np.array_equal(again, floats)


def test_callbacks_see_and_change(pipeline):
    seen = []

    def look(pipe, step, timestep, tensors):
        assert pipe is pipeline
        seen.append((step, timestep, sorted(tensors)))
        return {"latents": torch.zeros_like(tensors["latents"])} if step == 3 else None

    inputs = ["latents", "attributes"]
    images = draw(pipeline, callback_on_step_end=look, callback_on_step_end_tensor_inputs=inputs).images
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    assert [timestep for _, timestep, _ in seen] == pipeline.scheduler.timesteps.tolist()
    assert all(names == ["attributes", "latents"] for _, _, names in seen)
    nothing = pipeline.network.decode(torch.zeros(1, *pipeline.network.state_shape)) / 2 + 0.5
    assert images == pytest.approx(nothing.clamp(0, 1).permute(0, 2, 3, 1).detach().numpy().repeat(2, 0), abs=1e-6)
    with pytest.raises(ValueError, match="names 'noise'; choose from latents, attribute_latents, attributes"):
        draw(pipeline, callback_on_step_end_tensor_inputs=["noise"])


def test_names_are_a_request(pipeline):
    def ask(request):
        generator = torch.Generator().manual_seed(2)
        return pipeline(request, num_inference_steps=2, generator=generator, output_type="np").images

    assert ask(["Bald", "sunglasses"]).shape == (1, 8, 8, 3)
    assert ask([["Bald"], ["Long_Hair"], []]).shape == (3, 8, 8, 3)
    with pytest.raises(ValueError, match="unknown attribute 'Bold'; did you mean Bald"):
        ask(["Bold"])


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 3)), torch.zeros(0, 3)])
def test_zero_rows_are_refused_in_a_sentence(pipeline, nothing):
    with pytest.raises(ValueError, match="there are no rows of attributes; give at least one"):
        pipeline(nothing)


def test_diffusers_loads_a_saved_folder(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert isinstance(again, AttributeDiffusionPipeline)
    again.set_progress_bar_config(disable=True)
    assert np.array_equal(draw(again).images, draw(pipeline).images)
