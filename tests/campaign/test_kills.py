"""A slice of the kill campaign; `kills.py` says how to run all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from campaign.kills import SCENARIOS, TESTS

POINTS = {"stores": 40, "diffusion": 6, "more-steps": 5, "autoencoder": 4, "density": 1, "style": 2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each try is a fork")
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_costs_nothing(name: str) -> None:
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    command = [sys.executable, "-m", "campaign.kills", name, "--points", str(POINTS[name])]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["failures"] == []
    assert said["tries"] == min(POINTS[name], said["points"])
