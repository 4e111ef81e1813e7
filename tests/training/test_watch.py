"""A run that learns nothing is named, and one that learns is left alone."""

from __future__ import annotations

import pytest

from gaussmix.training.watch import LATEST, LEAST, Guess, LossWatch

GUESS = Guess("reconstruction", 2.0, "the mean image", 0.97)


def watch(loss: float, count: int = 100, guess: Guess | None = GUESS) -> LossWatch:
    seen = LossWatch(guess)
    for _ in range(count):
        seen.see(loss)
    return seen


@pytest.mark.parametrize("loss", [1.95, 2.0, 50.0])
def test_a_loss_that_stays_above_is_named(loss):
    assert watch(loss).complaint(LEAST, 0.3) == (
        f"after 300 steps the reconstruction loss is {loss:.4g}, and that of the mean image is 2"
    )
    assert watch(loss).complaint(LATEST, 0.001) is not None


def test_what_is_no_reason_to_stop():
    assert watch(1.9).complaint(LEAST, 1.0) is None
    assert watch(50.0).complaint(LEAST - 1, 1.0) is None  # too early
    assert watch(50.0).complaint(LEAST, 0.2) is None
    assert watch(50.0, count=99).complaint(LEAST, 1.0) is None  # just resumed
    assert watch(50.0, guess=None).complaint(LEAST, 1.0) is None


def test_the_last_hundred_losses_count():
    seen = watch(50.0)
    for _ in range(100):
        seen.see(1.0)
    assert seen.complaint(LEAST, 1.0) is None


def test_at_the_end_short_runs_are_judged_too():
    assert watch(2.0, count=3).complaint(3, 1.0, ended=True) is not None
    assert watch(1.0, count=3).complaint(3, 1.0, ended=True) is None
    assert watch(1.0, count=0).complaint(0, 1.0, ended=True) is None
