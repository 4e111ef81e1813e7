"""benchmarks/distances.py: that every section runs, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def test_every_section_measures_something(script: Any, tmp_path: Path) -> None:
    lines = script.main(tmp_path / "distances.json", tmp_path, quick=True)
    assert len({line.section for line in lines}) == 3 + 6 + 1 + 2 + 1
    assert all(np.isfinite(line.measured) for line in lines)
    exact = [line for line in lines if line.unit == "" and "growth" not in line.what]
    assert len(exact) == 3 + 6 + 1
    assert all(line.met for line in exact)
    report = json.loads((tmp_path / "distances.json").read_text())
    assert [line["measured"] for line in report["lines"]] == [line.measured for line in lines]
    text = (tmp_path / "benchmarks-distances.md").read_text()
    assert all(f"| **{line.section}** |" in text for line in lines)


@pytest.mark.parametrize("draw", ["smooth_weights", "fitted_weights", "rough_weights"])
def test_weights_sum_to_one(script: Any, draw: str) -> None:
    rows = getattr(script, draw)(5, 1)
    assert rows.shape == (5, script.SMALL)
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-14)
