"""The transformer on numbers: what each of its layers promises without those above it; that it stands for a U-Net."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from tiny import NAMES, squares_dataset, tiny_config

from gaussmix.diffusion.codec import PatchCodec, lapped_matrix, to_pixels
from gaussmix.diffusion.edit import edit_images
from gaussmix.diffusion.pipeline import AttributeDiffusionPipeline
from gaussmix.diffusion.precondition import LinearPreconditioner
from gaussmix.diffusion.sampling import draw
from gaussmix.diffusion.schedulers import make_betas, make_scheduler, set_steps, switch_scheduler
from gaussmix.diffusion.train import DiffusionTrainer, train
from gaussmix.diffusion.transformer import AttributeTransformer
from gaussmix.diffusion.unet import AttributeUNet, ConditionConfig
from gaussmix.latents.attributes import AttributeLatents

SMALL = {"network": "transformer", "grid": 2, "numbers": 6, "width": 16, "depth": 1, "heads": 2}
SMALL |= {"beta_schedule": "cosine", "beta": None, "redraw_details": 0.3}


def pictures(count: int = 60, size: int = 16, seed: int = 0) -> np.ndarray:
    """Smooth pictures: their first components say nearly all."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, size)
    waves = [np.outer(np.cos(math.pi * i * grid), np.cos(math.pi * j * grid)) for i in range(3) for j in range(3)]
    values = np.einsum("nkc,khw->nhwc", rng.normal(size=(count, 9, 3)), waves)
    return np.clip(128 + 15 * values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("overlap", [0, 1, 3, 4])
def test_a_lapped_matrix_is_orthogonal_and_leaves_what_is_far_from_borders(overlap):
    matrix = lapped_matrix(24, 8, overlap)
    assert np.allclose(matrix @ matrix.T, np.eye(24))
    rows = np.arange(24)
    far = (np.minimum(rows % 8, 7 - rows % 8) >= overlap) | (rows < 8 - overlap) | (rows >= 16 + overlap)
    assert np.array_equal(matrix[far], np.eye(24)[far])
    with pytest.raises(ValueError, match="from 0 to 4, half a patch"):
        lapped_matrix(24, 8, 5)


def test_a_lapped_transform_needs_fewer_numbers():
    """Coding gain for a first-order process of correlation .95, in dB: 8.85 without, Malvar's 9.2 with overlap."""
    covariance = 0.95 ** abs(np.subtract.outer(np.arange(64), np.arange(64)))
    gains = []
    for overlap in (0, 4):
        matrix = lapped_matrix(64, 8, overlap)
        variances = np.linalg.eigvalsh((matrix @ covariance @ matrix.T)[24:32, 24:32])
        gains.append(10 * math.log10(variances.mean() / np.exp(np.log(variances).mean())))
    assert gains == pytest.approx([8.85, 9.24], abs=0.01)


@pytest.mark.parametrize("overlap", [0, 2])
def test_with_all_numbers_nothing_is_lost(overlap):
    images = pictures(size=8)
    codec = PatchCodec(8, 2, 48, overlap=overlap)
    codec.fit(images)
    decoded = codec.decode(codec.encode(to_pixels(images)))
    assert torch.allclose(decoded, to_pixels(images), atol=1e-4)


def test_numbers_are_a_projection_with_the_variances_that_power_says():
    images = pictures()
    variances = {}
    for power in (1.0, 0.5):
        codec = PatchCodec(16, 2, 27, power=power, overlap=2)
        codec.fit(images)
        numbers = codec.encode(to_pixels(images))
        variances[power] = numbers.var(0)
        assert numbers.shape == (60, *codec.shape) == (60, 27, 2, 2)
        assert torch.allclose(numbers.mean(0), torch.zeros(codec.shape), atol=1e-4)
        assert torch.allclose(codec.encode(codec.decode(numbers)), numbers, atol=1e-4)
    assert torch.allclose(variances[0.5], variances[1.0].sqrt(), rtol=0.02)
    lost = (codec.decode(numbers) - to_pixels(images)).square().mean() / to_pixels(images).var(0).mean()
    assert lost < 0.01


def test_sizes_of_a_codec_that_do_not_go_together():
    with pytest.raises(ValueError, match="3 patches do not divide 16 pixels"):
        PatchCodec(16, 3, 8)
    with pytest.raises(ValueError, match="13 numbers for a patch of 2 x 2 pixels, 12 values"):
        PatchCodec(8, 4, 13)


@pytest.mark.parametrize("overlap", [0, 2])
def test_weights_of_pixels_become_weights_of_numbers(overlap):
    codec = PatchCodec(16, 2, 8, overlap=overlap)
    codec.fit(pictures())
    assert torch.allclose(codec.weights(torch.ones(1, 1, 16, 16)), torch.ones(codec.shape), atol=1e-5)
    half = torch.zeros(1, 1, 16, 16)
    half[:, :, :, :8] = 2
    weights = codec.weights(half)
    assert (weights[:, :, 0] > 1.5).all()
    assert (weights[:, :, 1] < 0.5).all()
    assert float(weights.mean()) == pytest.approx(1, abs=0.1)


ANGLES = (0.2, 0.8, 1.4)


@pytest.fixture
def world() -> tuple[LinearPreconditioner, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers that are linear in the condition, and noise of standard deviation .5 around."""
    latents, generator = AttributeLatents(2, 2, 3, base_token=True), torch.Generator().manual_seed(0)
    a = torch.randint(0, 2, (4000, 2), generator=generator).float()
    z = latents.draw(4000, generator)
    known = LinearPreconditioner(latents, (3, 1, 1), len(ANGLES))
    slopes = torch.randn(3, 2, generator=generator)
    mean = a @ slopes.T + a[:, :1] * z[:, 0, :1] * torch.tensor([1.0, 0.0, -1.0])
    x = mean - mean.mean(0) + 0.5 * torch.randn(4000, 3, generator=generator)
    levels = torch.tensor([math.cos(angle) ** 2 for angle in ANGLES])
    known.fit(x.view(-1, 3, 1, 1), a, z, levels, effort=torch.ones(3), redraw=0.0, ridge=1.0)
    return known, x, a, z


def test_the_linear_mean_is_found(world):
    known, x, a, z = world
    assert torch.allclose(known.left.sqrt(), torch.full((3,), 0.5), atol=0.02)
    assert torch.allclose(known.total, x.var(0), rtol=1e-3)
    assert (x - known.mean(a, z).flatten(1)).std() == pytest.approx(0.5, abs=0.01)


def test_linear_denoising_is_the_best_there_is_for_gaussians(world):
    """x0 behind v with answer 0: regressing x0 on x_t and mu cannot do better, and ``spread`` says what is left."""
    known, x, a, z = world
    generator = torch.Generator().manual_seed(1)
    for step, angle in enumerate(ANGLES):
        cos, sin = math.cos(angle), math.sin(angle)
        noisy = cos * x + sin * torch.randn(x.shape, generator=generator)
        mean = known.mean(a, z)
        out = known(noisy.view(-1, 3, 1, 1), step, a, z)
        guess = cos * noisy - sin * out.velocity.flatten(1)  # x0 = cos x_t - sin v
        left = (sin * out.spread.flatten(1)).mean(0)
        assert torch.allclose((x - guess).std(0), left, rtol=0.05)
        for k in range(3):
            design = np.stack([noisy[:, k], mean[:, k, 0, 0], np.ones(len(x))], 1)
            best = np.linalg.lstsq(design, x[:, k].numpy(), rcond=None)[1][0] / len(x)
            assert (x - guess)[:, k].square().mean() <= best * 1.01
        assert torch.allclose(out.rest.flatten(1).std(0), torch.ones(3), rtol=0.06)
        assert torch.allclose(out.plain.flatten(1).std(0), torch.ones(3), rtol=0.06)


def test_dropped_conditions_have_no_mean_and_all_of_the_variance(world):
    known, x, a, z = world
    noisy, dropped = x[:4].view(-1, 3, 1, 1), torch.tensor([True, False, True, False])
    out, seen = known(noisy, 1, a[:4], z[:4], dropped), known(noisy, 1, a[:4], z[:4])
    cos, sin, total = math.cos(ANGLES[1]), math.sin(ANGLES[1]), known.total.view(3, 1, 1)
    assert torch.allclose(out.spread[0], (total / (cos**2 * total + sin**2)).sqrt())
    assert torch.allclose(out.velocity[::2], sin * cos * (1 - total) / (cos**2 * total + sin**2) * noisy[::2])
    assert torch.equal(out.velocity[1::2], seen.velocity[1::2])
    assert not torch.allclose(out.velocity[::2], seen.velocity[::2])


def small(seed: int = 0, **settings) -> AttributeTransformer:
    condition = ConditionConfig(n_attributes=3, token_dim=8)
    sizes = {"sample_size": 8, "grid": 2, "numbers": 6, "width": 16, "depth": 2, "heads": 2, "timesteps": 20}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AttributeTransformer(condition=condition, **{**sizes, **settings}).eval()
    data = squares_dataset()
    z = network.latent_distribution.draw(40, torch.Generator().manual_seed(0))
    alpha_bar = torch.from_numpy(np.cumprod(1 - make_betas("cosine", 20))).float()
    network.codec.fit(data.images)
    numbers, attributes = network.encode(to_pixels(data.images)), torch.from_numpy(data.attributes).float()
    effort = network.effort(numbers.flatten(1).var(0), torch.ones(1, 1, 8, 8))
    mean = settings.get("linear_mean", True)
    network.known.fit(numbers, attributes, z, alpha_bar, effort=effort, linear_mean=mean)
    return network


def awake(network: AttributeTransformer) -> AttributeTransformer:
    """With an answer that is not 0."""
    with torch.no_grad():
        for layer in (network.modulation, network.last_modulation, network.leave):
            torch.nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture
def shown() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    attributes = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    return torch.randn(3, 6, 2, 2, generator=generator), torch.randn(3, 4, 8, generator=generator), attributes


def test_it_begins_as_the_conditional_gaussian(shown):
    network = small()
    x, z, a = shown
    linear = network.known(x, 7, a, z)
    assert torch.equal(network(x, 7, z, a).sample, linear.velocity)
    assert not torch.equal(awake(network)(x, 7, z, a).sample, linear.velocity)


def test_absent_attributes_and_dropped_conditions_are_not_seen(shown):
    network, (x, z, a) = awake(small()), shown
    other = torch.where(torch.cat([a, torch.ones(3, 1)], 1)[:, :, None] == 0, torch.randn(z.shape), z)
    assert torch.equal(network(x, 3, z, a).sample, network(x, 3, other, a).sample)
    assert not torch.equal(network(x, 3, z, a).sample, network(x, 3, z + 1, a).sample)
    dropped = torch.tensor([True, False, True])
    out = network(x, 3, z, a, dropped).sample
    again = network(x, 3, z + 1, 1 - a, dropped).sample
    assert torch.equal(out[::2], again[::2])
    assert not torch.equal(out[1], again[1])


def test_loss_weights_are_those_of_the_answers_own_error(shown):
    network, (x, z, a) = awake(small()), shown
    steps, dropped = torch.tensor([0, 9, 19]), torch.tensor([True, False, False])
    weights = network.loss_weights(steps, dropped)
    spread, weight = network.known(x, steps, a, z, dropped).spread, network.known.weight
    assert torch.allclose(weights * spread**2, weight.view(1, 6, 2, 2).expand(3, -1, -1, -1), rtol=1e-4)
    assert float(weight.mean()) == pytest.approx(1, rel=1e-5)


def test_without_the_linear_mean_only_variances_are_known(shown):
    network, (x, z, a) = small(linear_mean=False), shown
    assert torch.equal(network.known.left, network.known.total)
    assert torch.equal(network(x, 3, z, a).sample, network(x, 3, z, 1 - a).sample)


def test_a_unet_begins_as_the_conditional_gaussian_too(tmp_path):
    config = tiny_config(tmp_path, steps=3, linear_mean=True, latent_dim=4, redraw_details=0.3, detail_weight=2.0)
    trainer = DiffusionTrainer(config, squares_dataset())
    network = trainer.network
    assert isinstance(network, AttributeUNet)
    assert network.known is not None
    generator = torch.Generator().manual_seed(0)
    x, z, a = torch.randn(3, 3, 8, 8, generator=generator), torch.randn(3, 4, 4, generator=generator), torch.eye(3)
    assert torch.equal(network(x, 7, z, a).sample, network.known(x, 7, a, z).velocity)
    assert torch.allclose(network.known.alpha_bar, torch.from_numpy(np.cumprod(1 - trainer.diffusion.betas)).float())
    losses = [float(each.total) for each, _ in trainer.steps()]
    assert all(map(math.isfinite, losses))
    assert not torch.equal(network(x, 7, z, a).sample, network.known(x, 7, a, z).velocity)
    trainer.pipeline().save_pretrained(tmp_path / "saved")
    again = AttributeDiffusionPipeline.load(tmp_path / "saved").network
    averaged = trainer.pipeline().network
    assert torch.allclose(again(x, 7, z, a).sample, averaged(x, 7, z, a).sample, atol=1e-5)
    for settings in ({"classifier_weight": 0.1}, {"objective": "epsilon"}):
        with pytest.raises(ValueError, match="--linear-mean needs"):
            tiny_config(tmp_path, linear_mean=True, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "3 heads do not divide 16 channels"),
        ({"condition": {"n_attributes": 3, "conditioning": "concat"}}, "gated or multi_hot, not concat; use a U-Net"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(ValueError, match=message):
        AttributeTransformer(**{"condition": ConditionConfig(n_attributes=3), "width": 16, "heads": 2, **settings})


def make_pipeline(network: AttributeTransformer) -> AttributeDiffusionPipeline:
    scheduler = make_scheduler("dpm++", make_betas("cosine", 20), "v_prediction", bounded=False)
    pipe = AttributeDiffusionPipeline(None, scheduler, attribute_names=NAMES, transformer=network)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_pipeline_has_one_network():
    scheduler = make_scheduler("dpm++", make_betas("cosine", 20), "v_prediction", bounded=False)
    with pytest.raises(ValueError, match="one network"):
        AttributeDiffusionPipeline(None, scheduler)


@pytest.mark.parametrize("name", ["dpm++", "ddim", "ddpm", "renoise"])
def test_every_sampler_draws_pictures(name):
    pipe = make_pipeline(awake(small()))
    pipe.scheduler = switch_scheduler(pipe.scheduler, name)
    assert not any(pipe.scheduler.config.get(clips) for clips in ("thresholding", "clip_sample"))
    wanted = np.array([[1, 0, 0], [0, 1, 1]], np.uint8)
    images, path = draw(pipe, wanted, steps=5, guidance=2.0, seed=3, trajectory=True)
    assert images.shape == (2, 8, 8, 3)
    assert path is not None
    assert path.shape == (5, 2, 8, 8, 3)
    assert np.array_equal(path[-1], images)  # the last estimate is the picture
    first, _ = draw(pipe, wanted[:1], steps=5, guidance=2.0, seed=3)
    assert abs(first.astype(int) - images[:1]).max() <= 1


def test_without_a_network_pictures_are_those_of_the_conditional_gaussian():
    """Many steps of an untrained network: mean and variance of the numbers are mu and what is left."""
    network = small()
    pipe = make_pipeline(network)
    z = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0)).expand(600, -1, -1)
    wanted = torch.tensor([[1, 0, 1]]).expand(600, -1)
    found = []
    network.decode = lambda state: found.append(state) or torch.zeros(len(state), 3, 8, 8)  # pyright: ignore
    pipe(wanted, z, num_inference_steps=20, guidance_scale=1.0, generator=torch.Generator().manual_seed(1))
    mean = network.known.mean(wanted[:1].float(), z[:1])[0]
    left = network.known.left.view(mean.shape)
    assert torch.allclose(found[-1].mean(0), mean, atol=4 * float(left.max().sqrt()) / 600**0.5)
    assert torch.allclose(found[-1].std(0), left.sqrt(), rtol=0.2)


def test_dpm_solver_goes_down_even_angles():
    scheduler = make_scheduler("dpm++", make_betas("cosine", 100), "v_prediction", bounded=False)
    for steps in (1, 2, 10, 16, 50, 100):
        set_steps(scheduler, steps)
        assert len(scheduler.timesteps) == steps
        assert int(scheduler.timesteps[0]) == 99
    set_steps(scheduler, 16)
    angles = torch.arccos(scheduler.alphas_cumprod[scheduler.timesteps].sqrt())
    gaps = -angles.diff()
    assert float(angles[-1]) == pytest.approx(0.04, abs=0.01)
    assert float(gaps.max() - gaps.min()) < 0.017  # a level is .0156


def test_saved_models_draw_the_same(tmp_path):
    pipe = make_pipeline(awake(small(overlap=2)))
    pipe.save_pretrained(tmp_path)
    again = AttributeDiffusionPipeline.load(tmp_path)
    assert isinstance(again.network, AttributeTransformer)
    assert again.unet is None
    again.set_progress_bar_config(disable=True)
    wanted = np.array([[1, 0, 0]], np.uint8)
    assert np.array_equal(draw(pipe, wanted, steps=3)[0], draw(again, wanted, steps=3)[0])


def test_a_compact_model_has_a_third_of_the_bytes_and_nearly_the_same_numbers(tmp_path):
    pipe = make_pipeline(awake(small(width=64)))
    pipe.save_pretrained(tmp_path / "whole")
    pipe.save_compact(tmp_path / "compact")
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / name).rglob("*.safetensors")) for name in ("whole", "compact")
    ]
    assert sizes[1] < sizes[0] / 3
    again = AttributeDiffusionPipeline.load(tmp_path / "compact")
    for name, right in pipe.network.state_dict().items():
        found = again.network.state_dict()[name]
        assert found.dtype == torch.float32
        limit = float(right.abs().max()) / 200
        assert torch.allclose(found, right, atol=limit), name


def test_scales_of_another_shape_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    make_pipeline(small()).save_compact(tmp_path)
    path = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(".int8_scale"))
    tensors[name] = torch.ones(3, dtype=torch.float16)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"\.int8_scale is \[3\], for numbers of"):
        AttributeDiffusionPipeline.load(tmp_path)


def test_a_model_without_a_network_is_refused(tmp_path):
    make_pipeline(small()).save_pretrained(tmp_path)
    index = (tmp_path / "model_index.json").read_text()
    (tmp_path / "model_index.json").write_text(index.replace('"AttributeTransformer"', '"Evil"'))
    with pytest.raises(ValueError, match=r"for its transformer; gaussmix loads AttributeTransformer"):
        AttributeDiffusionPipeline.load(tmp_path)


def test_training_resumes_bit_by_bit(tmp_path):
    config = tiny_config(tmp_path / "whole", steps=10, latent_dim=4, **SMALL)
    whole = DiffusionTrainer(config, squares_dataset())
    losses = [float(each.total) for each, _ in whole.steps()]
    assert losses[-1] != losses[0]
    half = dataclasses.replace(config, output=tmp_path / "parts")
    first = DiffusionTrainer(half, squares_dataset())
    for _ in first.steps():
        if first.step == 5:
            break
    first._save_checkpoint()
    second = DiffusionTrainer(dataclasses.replace(half, resume=True), squares_dataset())
    assert second.newest is not None
    second.restore(second.newest)
    for _ in second.steps():
        pass
    for (name, left), right in zip(
        whole.pipeline().network.state_dict().items(), second.pipeline().network.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right), name


def test_a_trained_model_is_edited_and_untouched_detail_stays(tmp_path):
    data = squares_dataset()
    config = tiny_config(tmp_path, steps=5, latent_dim=4, reader_steps=5, **SMALL)
    result = train(config, data, progress=False)
    assert result.model is not None
    pipe = AttributeDiffusionPipeline.load(result.model)
    has = np.tile(np.array([0, 1, 0], np.uint8), (4, 1))
    same = edit_images(pipe, data.images[:4], ["Long_Hair"], attributes=has, steps=2)
    assert np.array_equal(same.images, data.images[:4])  # what the codec drops too
    changed = edit_images(pipe, data.images[:4], ["Bald"], attributes=has, steps=2)
    assert changed.images.shape == data.images[:4].shape
    outside = np.broadcast_to(changed.masks[:, :, :, None] == 0, changed.images.shape)
    assert np.array_equal(changed.images[outside], data.images[:4][outside])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "epsilon"}, "--objective is epsilon; with --network transformer it is v_prediction"),
        ({"conditioning": "concat"}, "it is gated or multi_hot"),
        ({"grid": 3}, "--grid is 3; it must divide --size, which is 8"),
        ({"heads": 3}, "--heads is 3; it must divide --width, which is 16"),
        ({"power": 9.0}, "--power is 9.0; it must be from 0.1 to 2.0"),
        (
            {"pairing": "fresh", "detail_weight": 4.0},
            "--detail-weight is 4.0 and --redraw-details is 0.3; it must be 0",
        ),
    ],
)
def test_what_a_transformer_does_not_know_is_said_first(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(tmp_path, **{**SMALL, **settings})


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"size": 32}, (4, 32, 4)),
        ({"size": 64}, (8, 32, 4)),
        ({"size": 30}, (3, 32, 4)),
        ({"size": 8}, (1, 32, 4)),
        ({"size": 31}, (1, 32, 4)),
        ({"size": 32, "grid": 16}, (16, 12, 1)),
    ],
)
def test_patches_are_near_eight_pixels_and_the_rest_follows(tmp_path, settings, tokens):
    found = tiny_config(tmp_path, network="transformer", overlap=4, **settings).tokens
    assert tuple(found[name] for name in ("grid", "numbers", "overlap")) == tokens


def test_a_run_that_starts_from_a_model_keeps_its_codec_and_learns_its_own_mean(tmp_path):
    data = squares_dataset()
    first = train(tiny_config(tmp_path / "a", steps=3, latent_dim=4, **SMALL), data, progress=False, sheet=False)
    config = tiny_config(tmp_path / "b", steps=1, latent_dim=4, init=str(first.model), seed=1, **SMALL)
    with pytest.warns(UserWarning, match="Z is matched anew"):
        trainer = DiffusionTrainer(config, data)
    known = AttributeDiffusionPipeline.load(first.model).network
    fresh = DiffusionTrainer(dataclasses.replace(config, output=tmp_path / "c", init=""), data).network
    assert isinstance(trainer.network, AttributeTransformer)
    assert torch.equal(trainer.network.codec.axes, known.codec.axes)  # pyright: ignore
    assert torch.equal(trainer.network.enter.weight, known.enter.weight)  # pyright: ignore
    assert not torch.equal(trainer.network.known.coefficients, known.known.coefficients)  # pyright: ignore
    assert torch.allclose(trainer.network.known.left, fresh.known.left, rtol=1e-3)  # pyright: ignore
    larger = dataclasses.replace(config, output=tmp_path / "d", size=16, grid=2)
    doubled = dataclasses.replace(data, images=data.images.repeat(2, 1).repeat(2, 2))
    with pytest.raises(ValueError, match=r"is another network: .*sample_size 8 there and 16 here"):
        DiffusionTrainer(larger, doubled)


def test_pictures_that_are_all_the_same_are_refused(tmp_path):
    data = squares_dataset()
    plain = dataclasses.replace(data, images=np.full_like(data.images, 90))
    with pytest.raises(ValueError, match="all pictures are the same"):
        DiffusionTrainer(tiny_config(tmp_path, pairing="fixed", **{**SMALL, "redraw_details": 0.0}), plain)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("codec.axes", math.nan, "codec.axes holds numbers that are not finite"),
        ("known.left", 0.0, "variances or noise levels are out of range"),
        ("known.alpha_bar", 5.0, "variances or noise levels are out of range"),
    ],
)
def test_damaged_tables_are_named(tmp_path, name, value, says):
    from safetensors.torch import load_file, save_file

    make_pipeline(small()).save_pretrained(tmp_path)
    path = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors[name].fill_(value)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=says):
        AttributeDiffusionPipeline.load(tmp_path)
