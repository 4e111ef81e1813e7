"""Damaged files of runs, models and pictures through the commands; `files.py` runs all kinds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from campaign.files import CASES, Ended
from campaign.kills import TESTS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each command is a fork")
def test_commands_name_a_damaged_file_or_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "campaign.files", str(CASES), "checkpoint", "folder", "image", "values"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n15 commands, 0 faults" in done.stdout


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        (Ended(2, ["gaussmix: a.bin is damaged"], 0.1, 5), ""),
        (Ended(0, [], 0.1, 5), ""),
        (Ended(2, ["gaussmix: it is damaged"], 0.1, 5), "does not name the file"),
        (Ended(2, ["gaussmix: a.bin", "and more"], 0.1, 5), "status 2, 2 lines"),
        (Ended(130, ["gaussmix: a.bin"], 0.1, 5), "status 130, 1 lines"),
        (Ended(1, ["Traceback (most recent call last):"], 0.1, 5), "traceback"),
        (Ended(0, [], 2.1, 5), "takes too much"),
        (Ended(0, [], 0.1, 600_000_000), "takes too much"),
    ],
)
def test_faults_are_found(ended: Ended, fault: str) -> None:
    assert ended.fault("a.bin") == fault
