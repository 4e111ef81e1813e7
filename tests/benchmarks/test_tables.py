"""benchmarks/tables.py: that its table has twenty columns, its cases run, and its ratios are those of the times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_cases_run_on_the_table(script: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "table.parquet"
    script.make_table(path, 2_000, 50)
    assert len(pq.read_schema(path)) == 20
    seconds, memory = script.run("groups", path)
    assert 0 < seconds < 100
    assert memory > 50


def test_ratios_are_those_of_the_times(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {name: (k + 1.0, 100.0 * (k + 1)) for k, name in enumerate(script.CASES)}
    monkeypatch.setattr(script, "find_spec", lambda name: True)
    monkeypatch.setattr(script, "make_table", lambda *_: None)
    monkeypatch.setattr(script, "run", lambda name, path: times[name])
    lines = list(script.columns_and_groups(script.Scale(2)))
    ratio = next(line for line in lines if line.target == 1.5)
    assert ratio.measured == times["fit"][0] / times["summarize"][0]
    assert ratio.met
    assert [line.measured for line in lines if line.target == 400] == [times["fit"][1]]
