"""benchmarks/distances.py: that every section runs, and what it writes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def distances() -> Iterator[Any]:
    """The benchmark's module. It imports another one as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        spec = importlib.util.spec_from_file_location("distances_benchmark", BENCHMARKS / "distances.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


def test_every_section_measures_something(distances: Any, tmp_path: Path) -> None:
    lines = distances.main(tmp_path / "distances.json", tmp_path, quick=True)
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
def test_weights_sum_to_one(distances: Any, draw: str) -> None:
    rows = getattr(distances, draw)(5, 1)
    assert rows.shape == (5, distances.SMALL)
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-14)
