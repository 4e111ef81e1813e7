"""One training a folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gaussmix.training.lock import LOCK_FILE, check_free, only_run


def test_the_second_is_told_who_is_there(tmp_path: Path) -> None:
    check_free(tmp_path)
    with only_run(tmp_path):
        says = rf"process {os.getpid()} on {socket.gethostname()} is training in .*; wait until it ends, or choose ano"
        with pytest.raises(ValueError, match=says), only_run(tmp_path):
            pass
        with pytest.raises(ValueError, match=says):
            check_free(tmp_path)
    check_free(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with only_run(tmp_path):
        pass


def test_a_killed_process_bars_nobody(tmp_path: Path) -> None:
    killed = f"""
import os
from pathlib import Path
from gaussmix.training.lock import only_run
with only_run(Path({str(tmp_path)!r})):
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert (tmp_path / LOCK_FILE).exists()
    check_free(tmp_path)
    with only_run(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_lock_file_is_no_traceback(tmp_path: Path) -> None:
    with only_run(tmp_path):
        (tmp_path / LOCK_FILE).write_text('{"pid": []')
        with pytest.raises(ValueError, match="another process is training in"):
            check_free(tmp_path)
