"""Checkpoints are whole or absent."""

from __future__ import annotations

import pytest
import torch

from gaussmix.training import checkpoints
from gaussmix.training.checkpoints import CheckpointStore


def tensors(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"unet": {"w": torch.full((3,), value)}, "optimizer": {"w.step": torch.tensor(value)}}


def test_round_trip_and_only_the_newest_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (5, 10, 15):
        store.save(step, tensors(float(step)), {"seconds": 1.5})
    assert [p.name for p in store.paths()] == ["step-00000010", "step-00000015"]
    latest = store.latest()
    assert latest is not None
    assert (latest.step, latest.state["seconds"]) == (15, 1.5)
    assert torch.equal(latest.tensors["unet"]["w"], torch.full((3,), 15.0))


def test_the_same_step_can_be_saved_again(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(5, tensors(1.0), {})
    store.save(5, tensors(2.0), {})
    latest = store.latest()
    assert latest is not None
    assert latest.tensors["optimizer"]["w.step"] == 2.0


def test_leftovers_of_a_killed_process_are_neither_read_nor_kept(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(5, tensors(1.0), {})
    (tmp_path / ".writing-step-00000009").mkdir()
    (tmp_path / ".writing-step-00000009" / "unet.safetensors").write_bytes(b"half")
    latest = store.latest()
    assert latest is not None
    assert latest.step == 5
    store.save(10, tensors(1.0), {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000005", "step-00000010"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_an_interruption_leaves_the_old_ones(tmp_path, monkeypatch, error):
    store = CheckpointStore(tmp_path)
    store.save(5, tensors(1.0), {})

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(type(error)):
        store.save(10, tensors(1.0), {})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(5, tensors(1.0), {})
    (path / "unet.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"unet\.safetensors cannot be read .*; delete .*step-00000005"):
        store.latest()


def test_no_checkpoint_at_all(tmp_path):
    assert CheckpointStore(tmp_path / "absent").latest() is None
    with pytest.raises(ValueError, match="keep is 0"):
        CheckpointStore(tmp_path, keep=0)
