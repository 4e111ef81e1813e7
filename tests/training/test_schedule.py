"""Learning rate, batches and generators are functions of the step alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaussmix.training.schedule import ShuffledBatches, step_generator, warmup_cosine


@given(n_items=st.integers(1, 40), batch_size=st.integers(1, 100), seed=st.integers(0, 5))
def test_every_epoch_visits_every_item_once(n_items, batch_size, seed):
    batches = ShuffledBatches(n_items, batch_size, seed)
    n_steps = -(-3 * n_items // batch_size)
    stream = np.concatenate([batches[step] for step in range(n_steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * n_items : (epoch + 1) * n_items]) == list(range(n_items))


def test_batches_do_not_depend_on_what_was_read_before():
    straight, jumping = ShuffledBatches(10, 4, 0), ShuffledBatches(10, 4, 0)
    expected = [straight[step] for step in range(9)]
    for step in (8, 0, 5, 2, 8):
        assert np.array_equal(jumping[step], expected[step])
    assert not np.array_equal(
        np.concatenate(expected[:5]), np.concatenate([ShuffledBatches(10, 4, 1)[i] for i in range(5)])
    )


def test_empty_data_is_refused():
    with pytest.raises(ValueError, match="0 items"):
        ShuffledBatches(0, 4, 0)


def test_learning_rate_rises_then_falls_to_the_floor():
    rates = [warmup_cosine(step, step / 100, warmup_steps=10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert np.argmax(rates) in (9, 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(0.02)
    assert warmup_cosine(0, 1.5, 0) == pytest.approx(0.02)


def test_generators_differ_by_seed_step_and_stream():
    drawn = {
        (seed, step, stream): float(torch.rand((), generator=step_generator(seed, step, stream), dtype=torch.float64))
        for seed in range(3)
        for step in range(3)
        for stream in range(3)
    }
    assert len(set(drawn.values())) == 27
    assert drawn[1, 2, 0] == float(torch.rand((), generator=step_generator(1, 2, 0), dtype=torch.float64))
