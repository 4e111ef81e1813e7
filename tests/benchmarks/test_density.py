"""benchmarks/density.py: that every section runs, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def test_every_section_measures_something(script: Any, tmp_path: Path) -> None:
    lines = script.main(tmp_path / "density.json", tmp_path, quick=True)
    assert len({line.section for line in lines}) == 11
    assert all(np.isfinite(line.measured) for line in lines)
    exact = {line.what: line.measured for line in lines}
    assert exact["largest error beside the direct sum"] < 1e-10
    assert exact["certified gap, nats a point"] < 1e-8
    assert exact["faster than torch's MixtureSameFamily"] > 1
    report = json.loads((tmp_path / "density.json").read_text())
    assert [line["measured"] for line in report["lines"]] == [line.measured for line in lines]
    text = (tmp_path / "benchmarks-density.md").read_text()
    assert all(f"| **{line.section}** |" in text for line in lines)


def test_a_target_is_a_most_or_a_least(script: Any) -> None:
    line = script.Line
    assert line("s", "w", 2.0, target=2.5).met
    assert not line("s", "w", 2.6, target=2.5).met
    assert line("s", "w", 8.1, target=8, at_least=True).met
    assert not line("s", "w", 7.9, target=8, at_least=True).met
    assert line("s", "w", 7.9).met is None
    text = script.page([line("s", "w", 7.9, "ms", 8, True, "scaled"), line("s", "v", 1e-9, "", 1e-8)], {"numpy": "2"})
    assert "| w (scaled) | ≥ 8.00 ms | 7.90 ms | **not met** |" in text
    assert "| v | ≤ 1.0e-08 | 1.0e-09 | met |" in text
    assert "1 of 2 targets are met" in text


def test_the_literal_rule_gives_one_point_its_responsibilities(script: Any) -> None:
    basis = script.GaussianBasis(0.0, 1.0, 3, 1.0)
    heights = np.exp(-0.5 * (0.25 - np.arange(3)) ** 2)
    np.testing.assert_allclose(script.one_iteration(np.array([0.25]), basis), heights / heights.sum(), rtol=1e-14)
