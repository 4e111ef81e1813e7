"""A slice of the kill campaign; `kills.py` says how to run all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from campaign.kills import SCENARIOS, TESTS

POINTS = {"stores": 30, "diffusion": 3, "transformer": 2, "more-steps": 3, "autoencoder": 2, "style": 1, "density": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each try is a fork")
def test_a_kill_costs_nothing() -> None:
    """One process: most of the time goes into imports."""
    assert POINTS.keys() == SCENARIOS.keys()
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    words = [f"{name}={points}" for name, points in POINTS.items()]
    done = subprocess.run(
        [sys.executable, "-m", "campaign.kills", *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert {name: each["failures"] for name, each in said.items()} == {name: [] for name in POINTS}
    assert {name: each["tries"] for name, each in said.items()} == POINTS
