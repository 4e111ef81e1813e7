"""The generator's and the discriminator's losses: their signs, their values against probabilities written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussmix.autoencoder.train import (
    AutoencoderLosses,
    discriminator_loss,
    generator_adversarial_loss,
    generator_loss,
    reconstruction_loss,
)


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


def test_the_squared_error_does_not_grow_with_the_image():
    x = torch.rand(3, 1, 8, 8)
    assert float(reconstruction_loss(x + 0.1, x)) == pytest.approx(0.01, rel=1e-4)
    large = x.repeat(1, 1, 4, 4)
    assert float(reconstruction_loss(large + 0.1, large)) == pytest.approx(0.01, rel=1e-4)


def test_weights_and_names_in_the_log():
    mse, adversarial, classification = (torch.tensor(v) for v in (0.5, 2.0, 3.0))
    total = generator_loss(mse, adversarial, classification, alpha=0.1, beta=0.01)
    assert float(total) == pytest.approx(0.5 + 0.2 + 0.03)
    numbers = AutoencoderLosses(total, mse, adversarial, classification, torch.tensor(0.25)).numbers()
    assert list(numbers) == ["loss", "reconstruction", "adversarial", "classification", "discriminator"]
    assert numbers["discriminator"] == 0.25
