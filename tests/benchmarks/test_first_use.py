"""benchmarks/first_use.py: that it tells a first run from the next, and that README's lines are README's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

COUNT = """
import numpy as np
from gaussmix.density.axis import Axis
from gaussmix.density.counts import BinnedCounts

assert BinnedCounts(Axis(0.0, 1.0, 4)).add(np.load("x.npy")).n == 10_000
"""


def test_a_first_run_compiles_and_the_next_does_not(script: Any, tmp_path: Path, monkeypatch) -> None:
    tasks = {
        "count": script.Task(("-c", COUNT), 1e-6, 100, scipy="import scipy", kdepy="import KDEpy"),
        "count again": script.Task(("-c", COUNT), None, 1e-6, after="count"),
    }
    monkeypatch.setattr(script, "tasks", lambda n: tasks)
    lines = {(line.section, line.what): line for line in script.main(tmp_path / "x.json", tmp_path, quick=True)}
    assert lines["count", "functions compiled"].measured == 4
    assert lines["count again", "functions compiled"].measured == 0
    assert lines["count", "in a new installation"].met is False
    assert lines["count", "again"].met is True
    assert lines["count", "SciPy"].measured > 0
    assert "| **count again** |" in (tmp_path / "benchmarks-first-use.md").read_text()


def test_tasks_are_those_of_the_readme_and_of_the_command_line(script: Any) -> None:
    from gaussmix.cli import parse

    lines = script.readme_lines()
    for name in ("GMMExpansion().fit(x)", "density.ppf", "wasserstein_distance(x, y)", "compare(x, y)"):
        assert name in lines
    assert "AttributeDiffusionPipeline" not in lines
    commands = [task.words[2:] for task in script.tasks(1000).values() if task.words[0] == "-m"]
    assert len(commands) == 6
    assert all(callable(parse(words)) for words in commands)


@pytest.mark.parametrize("peer", ["scipy", "kdepy"])
def test_the_peers_code_runs(script: Any, tmp_path: Path, peer: str) -> None:
    code = getattr(script.tasks(1000)["README's densities and distances"], peer)
    assert script.cpu_seconds(("-c", code), tmp_path, tmp_path) > 0
