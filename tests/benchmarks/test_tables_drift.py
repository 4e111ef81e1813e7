"""benchmarks/tables_drift.py: its tables drift where they shall, and a quick run gives its lines and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gaussmix.tables import compare_tables


def test_what_drifts_is_found(script: Any, tmp_path: Path) -> None:
    for name, seed, shift in (("old", 0, 0.0), ("new", 1, 0.1)):
        script.write_table(tmp_path / f"{name}.parquet", 50_000, seed, shift)
    found = compare_tables(tmp_path / "old.parquet", tmp_path / "new.parquet")
    assert len(found.columns) == 20
    assert {column.name for column in found.columns if column.moved} == {"n0", "visits"}


def test_a_quick_run(script: Any) -> None:
    script.find_spec = lambda name: None  # no peer
    lines = {line.what: line for line in script.drift(script.Scale(1, 1000))}
    assert lines["compare_tables"].measured > 0
    assert lines["with the page"].measured > 0
    assert 20 < lines["memory"].measured < 2000  # MB
