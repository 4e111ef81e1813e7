"""Checkpoints are whole or absent."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

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


def damage(path: Path) -> None:
    """Change one byte in the middle; size and times stay."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


FILES = ["unet.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
def test_of_a_damaged_checkpoint_the_one_before_is_read_with_one_line(tmp_path, caplog, name):
    store = CheckpointStore(tmp_path)
    store.save(5, tensors(1.0), {})
    newest = store.save(10, tensors(2.0), {})
    damage(newest / name)
    latest = store.latest()
    assert latest is not None
    assert latest.step == 5
    (line,) = [record.getMessage() for record in caplog.records]
    assert re.search(rf"step-00000010.{re.escape(name)} is (damaged|no whole).*; going on from .*step-00000005", line)


def test_a_missing_file_is_a_damage_too(tmp_path):
    store = CheckpointStore(tmp_path)
    (store.save(5, tensors(1.0), {}) / "unet.safetensors").unlink()
    with pytest.raises(ValueError, match=r"unet\.safetensors is missing; no checkpoint in .* is whole: delete it"):
        store.latest()


def test_a_damaged_one_ahead_does_not_cost_whole_ones(tmp_path):
    """With one checkpoint kept, and a damaged one of a later step, the new one stays."""
    store = CheckpointStore(tmp_path, keep=1)
    damage(store.save(10, tensors(1.0), {}) / "state.json")
    store.save(7, tensors(2.0), {})
    latest = store.latest()
    assert latest is not None
    assert latest.step == 7


def test_a_checkpoint_without_a_manifest_is_read(tmp_path):
    store = CheckpointStore(tmp_path)
    path = store.save(5, tensors(1.0), {})
    (path / "manifest.json").unlink()
    latest = store.latest()
    assert latest is not None
    assert latest.step == 5
    for damaged in ['{"step": [[]], "groups": ["unet"]}', '{"step": 5}', '{"step": 5, "groups": ["../x"]}', "[]", ""]:
        (path / "state.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"state\.json"):
            store.latest()


def test_no_checkpoint_at_all(tmp_path):
    assert CheckpointStore(tmp_path / "absent").latest() is None
    with pytest.raises(ValueError, match="keep is 0"):
        CheckpointStore(tmp_path, keep=0)


def test_files_reach_the_disk_before_their_folder_gets_its_name(tmp_path, monkeypatch):
    """A power cut after the renaming finds every file whole: fsync of each comes before."""
    flushed: set[int] = set()
    fsync, rename = os.fsync, os.rename

    def flushing(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def renaming(source, target):
        if ".writing-" in str(source):
            assert {path.stat().st_ino for path in (source, *source.rglob("*"))} <= flushed
            seen.append(Path(target).name)
        rename(source, target)

    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "rename", renaming)
    CheckpointStore(tmp_path).save(5, tensors(1.0), {})
    checkpoints.save_whole_folder(tmp_path / "model", lambda aside: (aside / "a").mkdir(parents=True))
    assert seen == ["step-00000005", "model"]


def test_a_full_disk_is_said_by_safetensors_in_its_own_way(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"cannot write .*step-00000005: I/O error: No space left"):
        CheckpointStore(tmp_path).save(5, tensors(1.0), {})
    assert list(tmp_path.iterdir()) == []
