"""Training the autoencoder: its losses; it learns, resumes bit-identically, stops on Ctrl-C, refuses bad settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from autoencoder.digits import digits_dataset, tiny_config

from gaussmix.autoencoder.config import PRESETS, AutoencoderConfig
from gaussmix.autoencoder.model import ClassConditionalAutoencoder
from gaussmix.autoencoder.train import (
    AutoencoderTrainer,
    TrainingError,
    discriminator_loss,
    fit_sampler,
    generator_adversarial_loss,
    load_latents,
    mean_image,
    train,
)
from gaussmix.data.base import LabelledImages
from gaussmix.latents.expansion import ExpansionSampler
from gaussmix.training.checkpoints import CheckpointStore


def state_of(out: Path) -> dict[str, bytes]:
    """Weights and optimisers in the newest checkpoint."""
    checkpoint = CheckpointStore(out / "checkpoints").latest()
    assert checkpoint is not None
    assert set(checkpoint.tensors) == {"model", "optimizer", "discriminator_optimizer"}
    return {
        f"{checkpoint.step}.{group}.{name}": tensor.numpy().tobytes()
        for group, named in checkpoint.tensors.items()
        for name, tensor in named.items()
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train(tiny_config(out), digits_dataset(), progress=False)
    return out


def test_a_kill_and_the_rest_equal_an_uninterrupted_run(tmp_path, uninterrupted):
    code = f"""
    import os, signal
    from pathlib import Path
    from autoencoder.digits import digits_dataset, tiny_config
    from gaussmix.autoencoder import train
    from gaussmix.autoencoder import train as run
    steps = train.AutoencoderTrainer.steps
    def until_killed(self):
        for result in steps(self):
            yield result
            if self.step == 17:
                os.kill(os.getpid(), signal.SIGKILL)
    train.AutoencoderTrainer.steps = until_killed
    run.train(tiny_config(Path({str(tmp_path)!r})), digits_dataset())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert CheckpointStore(tmp_path / "checkpoints").paths()[-1].name == "step-00000015"
    train(tiny_config(tmp_path, resume=True), digits_dataset(), progress=False)
    assert state_of(tmp_path) == state_of(uninterrupted)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert list(rows[0])[1:6] == ["loss", "reconstruction", "adversarial", "classification", "discriminator"]


def test_ctrl_c_leaves_a_checkpoint(tmp_path, uninterrupted, monkeypatch):
    steps = AutoencoderTrainer.steps

    def interrupted(self):
        for result in steps(self):
            yield result
            if self.step == 12:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(AutoencoderTrainer, "steps", interrupted)
    result = train(tiny_config(tmp_path), digits_dataset(), progress=False)
    assert result.interrupted
    assert result.model is None
    assert not (tmp_path / "latents.safetensors").exists()
    assert CheckpointStore(tmp_path / "checkpoints").paths()[-1].name == f"step-{result.step:08d}"
    monkeypatch.undo()
    assert not train(tiny_config(tmp_path, resume=True), digits_dataset(), progress=False).interrupted
    assert state_of(tmp_path) == state_of(uninterrupted)


def test_pictures_on_the_way_change_nothing(tmp_path, uninterrupted):
    train(tiny_config(tmp_path, sample_every=10), digits_dataset(), progress=False)
    assert [p.name for p in sorted((tmp_path / "samples").iterdir())] == [
        f"step-{step:08d}.png" for step in (10, 20, 30)
    ]
    assert state_of(tmp_path) == state_of(uninterrupted)


def test_a_finished_run_left_everything(uninterrupted):
    names = {p.name for p in uninterrupted.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "model", "samples.png", "latents.safetensors"} <= names
    assert {"reconstructions.png", "sampler.safetensors"} <= names
    model, digits = ClassConditionalAutoencoder.load(uninterrupted), digits_dataset()
    assert model.class_names == digits.class_names
    assert model.config["training"]["steps"] == 30
    z, y = load_latents(uninterrupted)
    rows = digits.indices("train")
    assert np.array_equal(y, digits.labels[rows])
    assert z == pytest.approx(model.encode(digits.images[rows]), abs=1e-6)
    kept = ExpansionSampler.load(uninterrupted / "sampler.safetensors")
    drawn = kept.sample(5, class_label=7, random_state=0)
    assert np.array_equal(drawn, fit_sampler(z, y).sample(5, class_label=7, random_state=0))
    assert model.decode(drawn).shape == (5, 8, 8, 1)


def test_it_learns(tmp_path):
    """Unseen digits come back far nearer than the mean image, and the class head names most of them."""
    digits = digits_dataset(count=1797)
    config = replace(PRESETS["digits"], output=tmp_path, steps=300)
    train(config, digits, progress=False)
    model = ClassConditionalAutoencoder.load(tmp_path)
    images, labels = digits.images[digits.indices("test")], digits.labels[digits.indices("test")]
    mean = digits.images[digits.indices("train")].mean(0)
    error = np.square(model.decode(model.encode(images)) / 255.0 - images / 255.0).mean()
    assert error < 0.4 * np.square((images - mean) / 255.0).mean()
    assert (model.classify(images).argmax(1) == labels).mean() > 0.8


def thin_drawings(count: int = 60, size: int = 16) -> LabelledImages:
    """Rings and crosses of one pixel's width on white, which a saturated sigmoid answers with white."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    images, labels = np.full((count, size, size, 3), 255, np.uint8), np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        (a, b), reach = rng.integers(6, 10, 2), int(rng.integers(3, 6))
        ring = abs(np.hypot(y - a, x - b) - reach) < 0.9
        cross = (abs(abs(y - a) - abs(x - b)) < 0.9) & (abs(y - a) <= reach)
        image[cross if label else ring] = rng.integers(0, 160, 3)
    split = np.where(np.arange(count) % 5 == 4, 2, 0).astype(np.uint8)
    return LabelledImages("thin", images, labels, ("ring", "cross"), split, "thin-1")


def test_thin_drawings_are_learnt(tmp_path):
    """At the usual rate the error falls far below the mean image's, at which it starts."""
    data = thin_drawings()
    config = AutoencoderConfig(output=tmp_path, steps=250, learning_rate=2e-3, batch_size=16)
    trainer = AutoencoderTrainer(config, data)
    images = data.images[data.indices("train")]
    mean, error = mean_image(images)
    assert mean == pytest.approx(images.mean(0) / 255, abs=1e-6)
    assert error == pytest.approx(((images / 255 - mean) ** 2).mean(), rel=1e-5)
    first = trainer.network.decode(np.zeros((1, 16)))[0]
    assert abs(first / 255 - mean).max() < 0.01
    assert trainer.guess == ("reconstruction", error, "the mean image", 0.97)
    trainer.run(progress=False, sheet=False)
    model = ClassConditionalAutoencoder.load(tmp_path)
    assert ((model.decode(model.encode(images)) / 255.0 - images / 255.0) ** 2).mean() < 0.5 * error


def test_a_run_that_learns_nothing_is_stopped(tmp_path):
    settings = {"steps": 400, "learning_rate": 3.0, "channels": (4, 8), "hidden": 16, "batch_size": 8}
    with pytest.raises(
        TrainingError, match=r"nothing is learnt: after 300 steps .* that of the mean image is 0\.\d+\. "
    ):
        train(AutoencoderConfig(output=tmp_path, **settings), thin_drawings(), progress=False)


def test_shifts_move_pictures_and_a_resumed_run_draws_the_same(tmp_path):
    data = thin_drawings()
    moved = AutoencoderTrainer(tiny_config(tmp_path / "a", shift=0.07), data)
    (images, _), (again, _), (other, _) = (moved._batch(step) for step in (4, 4, 5))
    plain, _ = AutoencoderTrainer(tiny_config(tmp_path / "b"), data)._batch(4)
    assert torch.equal(images, again)
    assert not torch.equal(images, plain)
    assert not torch.equal(images, other)
    still_mean, still_error = mean_image(moved.images)
    around: Any = moved.network.decoder[-2]
    mean = torch.sigmoid(around.logits).permute(1, 2, 0).numpy(force=True)
    assert moved.guess is not None
    assert moved.guess.loss > 1.01 * still_error  # what is known of pictures that move is less
    assert np.abs(mean - still_mean).max() > 0.01
    for image, still in zip(images, plain, strict=True):  # by up to 1 pixel of 16
        assert any(torch.equal(image, still.roll((dy, dx), (1, 2))) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def test_too_few_steps_are_said_to_be_too_few(tmp_path, caplog):
    train(
        tiny_config(tmp_path, steps=2, batch_size=48, learning_rate=1e-9), thin_drawings(), progress=False, sheet=False
    )
    assert "too few steps to learn from: after 2 steps the reconstruction loss is" in caplog.text


@pytest.mark.parametrize(("size", "levels"), [(8, 2), (28, 2), (32, 2), (64, 3), (128, 4), (40, 3), (44, 2)])
def test_levels_go_down_to_few_pixels(size, levels):
    found = AutoencoderConfig().levels(size)
    assert found == [32, *[64] * (levels - 1)]
    assert size % 2 ** len(found) == 0
    assert AutoencoderConfig(channels=(4,)).levels(size) == [4]


def test_the_two_steps_move_what_they_should(tmp_path):
    """The discriminator's step leaves encoder and decoder alone and the other way round; each lowers its own loss."""
    trainer = AutoencoderTrainer(tiny_config(tmp_path, batch_size=64, adversarial_weight=1.0), digits_dataset())
    model = trainer.network
    images, labels = trainer._batch(0)

    def weights(*parts: torch.nn.Module) -> torch.Tensor:
        return torch.cat([p.detach().flatten().clone() for part in parts for p in part.parameters()])

    own, judge = weights(model.encoder, model.decoder), weights(model.discriminator)
    decoded = model.decoder(model.encoder(images))
    first, _ = trainer._judge_step(images, decoded.detach(), labels)
    assert torch.equal(own, weights(model.encoder, model.decoder))
    assert not torch.equal(judge, weights(model.discriminator))
    judge = weights(model.discriminator)
    losses, _ = trainer._generator_step(images, decoded, labels, first)
    assert torch.equal(judge, weights(model.discriminator))
    assert not torch.equal(own, weights(model.encoder, model.decoder))
    decoded = model.decoder(model.encoder(images))
    again, _ = trainer._generator_step(images, decoded, labels, first)
    assert again.total < losses.total
    assert trainer._judge_step(images, decoded.detach(), labels)[0] < first


def test_nan_stops_the_run(tmp_path, monkeypatch):
    steps = AutoencoderTrainer.steps

    def poisoned(self):
        for losses, norm in steps(self):
            yield losses, torch.tensor(float("nan")) if self.step == 8 else norm

    monkeypatch.setattr(AutoencoderTrainer, "steps", poisoned)
    with pytest.raises(TrainingError, match=r"at step 8; the last good checkpoint is .*step-00000005"):
        train(tiny_config(tmp_path), digits_dataset(), progress=False)


def test_another_run_is_not_continued_or_overwritten(uninterrupted):
    with pytest.raises(ValueError, match="already holds a run; continue it with --resume or choose another --output"):
        train(tiny_config(uninterrupted), digits_dataset(), progress=False)
    with pytest.raises(ValueError, match=r"cannot resume .*: --latent-dim was 4 and is 5"):
        train(tiny_config(uninterrupted, resume=True, latent_dim=5), digits_dataset(), progress=False)
    with pytest.raises(ValueError, match=r"cannot resume .*: the data in digits have changed"):
        train(tiny_config(uninterrupted, resume=True), digits_dataset("other"), progress=False)


def test_wrong_data_are_refused(tmp_path):
    digits = digits_dataset()
    with pytest.raises(ValueError, match="labels are 1 to 10, but there are 10 class names"):
        train(tiny_config(tmp_path), replace(digits, labels=digits.labels + 1))
    with pytest.raises(ValueError, match=r"images are \(\d+, 6, 8, 1\); expected .* square"):
        train(tiny_config(tmp_path), replace(digits, images=digits.images[:, :6]))
    labels = np.where(digits.labels == 3, 4, digits.labels)
    labels[0] = 3
    with pytest.raises(ValueError, match="class '3' has 1 images to train on; give at least 2, or leave it out"):
        train(tiny_config(tmp_path), replace(digits, labels=labels))
    with pytest.raises(ValueError, match="it is written when a run ends"):
        load_latents(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 0}, "--latent-dim is 0; it must be at least 1"),
        ({"channels": ()}, r"--channels is \(\); give at least one level"),
        ({"channels": (8, 0)}, r"--channels is \(8, 0\)"),
        ({"adversarial_weight": -1}, "--adversarial-weight is -1; it must be 0 or more"),
        ({"class_weight": float("nan")}, "--class-weight is nan; it must be 0 or more"),
        ({"learning_rate": 0}, "--learning-rate is 0; it must be above 0"),
        ({"minutes": 0}, "--minutes is 0; it must be above 0"),
        ({"seed": -1}, "--seed is -1; it must be 0 or more"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**settings)


# -- losses: their signs, their values against probabilities written out


def printed_adversarial_loss(fake_logits: torch.Tensor) -> torch.Tensor:
    return generator_adversarial_loss(fake_logits, literal=True)


def confidence_of_fake_after_a_step(loss) -> tuple[float, float]:
    """P(fake) that a fixed judge sees in a generator's picture, before and after a descent step on ``loss``."""
    rng = torch.Generator().manual_seed(0)
    judge = torch.randn(6, generator=rng)
    picture = torch.randn(20, 6, generator=rng).requires_grad_()
    before = picture @ judge
    (gradient,) = torch.autograd.grad(loss(before), picture)
    after = (picture - 5.0 * gradient) @ judge
    return float((-before).detach().sigmoid().mean()), float((-after).detach().sigmoid().mean())


def test_a_step_of_the_generator_makes_its_pictures_look_less_fake():
    before, after = confidence_of_fake_after_a_step(generator_adversarial_loss)
    assert after < before - 0.01


def test_the_printed_sign_makes_them_look_more_fake():
    before, after = confidence_of_fake_after_a_step(printed_adversarial_loss)
    assert after > before + 0.01


def test_the_printed_term_is_the_equation_written_out():
    logits = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)
    expected = -torch.log(1 - logits.sigmoid()).mean() / 2
    assert float(printed_adversarial_loss(logits)) == pytest.approx(float(expected), rel=1e-12)


def test_the_gradient_does_not_vanish_when_the_discriminator_is_sure():
    logits = torch.full((4,), -12.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(generator_adversarial_loss(logits), logits)
    assert float(gradient.sum()) == pytest.approx(-0.5, abs=1e-4)


def test_losses_are_the_cross_entropies_of_the_docstring():
    rng = np.random.default_rng(0)
    real, fake, classes = rng.normal(size=5), rng.normal(size=5), rng.normal(size=(5, 3))
    labels = rng.integers(0, 3, 5)
    p = np.exp(classes) / np.exp(classes).sum(1, keepdims=True)
    expected = (
        -0.5 * np.log(1 / (1 + np.exp(-real))).mean()
        - 0.5 * np.log(1 - 1 / (1 + np.exp(-fake))).mean()
        - np.log(p[np.arange(5), labels]).mean()
    )
    real_logits, fake_logits, class_logits, y = (torch.from_numpy(a) for a in (real, fake, classes, labels))
    assert float(discriminator_loss(real_logits, fake_logits, class_logits, y)) == pytest.approx(expected)
    assert float(generator_adversarial_loss(fake_logits)) == pytest.approx(
        -0.5 * np.log(1 / (1 + np.exp(-fake))).mean()
    )


def test_the_generators_loss_is_the_weighted_sum_of_means(tmp_path):
    """Means over the pixels: alpha does not depend on the image size."""
    config = tiny_config(tmp_path, adversarial_weight=0.1, class_weight=0.01)
    trainer = AutoencoderTrainer(config, digits_dataset())
    images, labels = trainer._batch(0)
    decoded = trainer.decoder(trainer.encoder(images))
    losses, _ = trainer._generator_step(images, decoded, labels, torch.tensor(0.25))
    parts = losses.reconstruction + 0.1 * losses.adversarial + 0.01 * losses.classification
    assert float(losses.total) == pytest.approx(float(parts))
    assert float(losses.reconstruction) == pytest.approx(float((images - decoded.detach()).square().mean()))
    assert losses.discriminator == 0.25


def test_thin_lines_weigh_as_much_as_digits(tmp_path):
    """Their mean image is nearly right, so their squared error is small beside the discriminator's terms."""
    faint = digits_dataset()
    faint = replace(faint, images=(faint.images // 8).astype(np.uint8))
    usual = AutoencoderTrainer(tiny_config(tmp_path / "usual"), digits_dataset())
    trainer = AutoencoderTrainer(tiny_config(tmp_path / "faint", adversarial_weight=0.1, class_weight=0.01), faint)
    images, labels = trainer._batch(0)
    losses, _ = trainer._generator_step(images, trainer.decoder(trainer.encoder(images)), labels, torch.tensor(0.0))
    judged = 0.1 * losses.adversarial + 0.01 * losses.classification
    assert trainer.guess is not None
    assert usual.guess is not None
    error = trainer.guess.loss
    assert usual.guess.loss > 0.05 > 10 * error
    assert float(losses.total) == pytest.approx(float(losses.reconstruction) * 0.05 / error + float(judged), rel=1e-5)
