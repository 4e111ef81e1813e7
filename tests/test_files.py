"""Files of tensors: whole, of the right kind, replaced at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gaussmix._files import read_tensors, sweep, whole_file, write_tensors


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


def test_a_full_disk_is_said_with_the_files_name(tmp_path: Path) -> None:
    """The system's own error of a write names no file."""
    path = tmp_path / "x.bin"
    with pytest.raises(OSError, match="No space left") as caught, whole_file(path):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(ConnectionError) as other, whole_file(path):
        raise ConnectionResetError(104, "reset")
    assert other.value.filename is None


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


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    """Also in other processes, whose hashes differ: the order of the metadata is that of their names."""
    about = {f"key{k}": str(k) for k in range(12)}
    digests = set()
    for number in range(12):
        path = tmp_path / f"{number}.safetensors"
        write_tensors(path, {"b": np.arange(3), "a": np.ones(2)}, "Thing", about)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_no_changed_byte_changes_what_is_read(tmp_path: Path) -> None:
    """But for the digest's own name (then it looks like a file without one), each is noticed."""
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.arange(4.0), "b": np.arange(3, dtype=np.int32)}, "Thing", {"note": "n"})
    whole, read, errors = path.read_bytes(), 0, []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            tensors, about = read_tensors(path, "Thing")
        except ValueError as error:
            errors.append(str(error))
            continue
        read += 1
        assert about["note"] == "n"
        assert (tensors["a"].tolist(), tensors["b"].tolist()) == ([0, 1, 2, 3], [0, 1, 2])
    assert all("x.safetensors" in error for error in errors)
    assert read <= len("sha256")


def test_files_without_a_digest_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones(2)}, path, metadata={"format": "gaussmix.Thing", "version": "1", "note": "n"})
    tensors, about = read_tensors(path, "Thing")
    assert tensors["a"].tolist() == [1, 1]
    assert about["note"] == "n"


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught, whole_file(tmp_path / "no" / "x.txt") as aside:
        aside.write_text("x")
    assert caught.value.filename == str(tmp_path / "no" / "x.txt")


@pytest.mark.skipif(sys.platform == "win32", reason="there only old leftovers go")
def test_leftovers_of_killed_processes_go_and_those_of_live_ones_stay(tmp_path: Path) -> None:
    killed = f"""
import os
from pathlib import Path
from gaussmix._files import aside_name, whole_file
aside_name(Path({str(tmp_path)!r}, "folder")).mkdir()
with whole_file(Path({str(tmp_path)!r}, "x.txt")) as aside:
    aside.write_text("half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / ".mine.gm-notes.txt").write_text("a user's own")
    with whole_file(tmp_path / "y.txt") as mine:
        mine.write_text("y")
        sweep(tmp_path)
        assert mine.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.gm-notes.txt", "y.txt"]
