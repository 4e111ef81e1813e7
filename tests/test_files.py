"""Files of tensors: whole, of the right kind, replaced at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gaussmix._files import read_tensors, write_tensors


def test_round_trip(tmp_path: Path) -> None:
    tensors = {"a": np.arange(6.0).reshape(2, 3)[:, ::2], "b": np.array([1, 2], np.int64), "empty": np.zeros(0)}
    write_tensors(tmp_path / "x.safetensors", tensors, "Thing", {"note": "ü"})
    found, about = read_tensors(tmp_path / "x.safetensors", "Thing")
    assert found.keys() == tensors.keys()
    for name in tensors:
        np.testing.assert_array_equal(found[name], tensors[name])
    assert about["note"] == "ü"
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_truncated_foreign_and_future_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.arange(100.0)}, "Thing")
    whole = path.read_bytes()
    for length in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"x\.safetensors is not a whole safetensors file"):
            read_tensors(path, "Thing")
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"has the format gaussmix\.Thing, not gaussmix\.Other"):
        read_tensors(path, "Other")
    save_file({"a": np.zeros(2)}, path)
    with pytest.raises(ValueError, match="the format none that gaussmix knows"):
        read_tensors(path, "Thing")
    write_tensors(path, {}, "Thing", {"version": "2"})
    with pytest.raises(ValueError, match="this gaussmix reads version 1"):
        read_tensors(path, "Thing")
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "absent", "Thing")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.zeros(2)}, "Thing")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(path, {"a": np.ones(2)}, "Thing")
    monkeypatch.undo()
    np.testing.assert_array_equal(read_tensors(path, "Thing")[0]["a"], [0, 0])
    assert len(list(tmp_path.iterdir())) == 1
