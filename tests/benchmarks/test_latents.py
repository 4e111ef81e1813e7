"""benchmarks/latents.py: what its verdicts say of rows that are made up, and which images a law learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def rows_of(script: Any, way: str, accuracy: float, noise: float, seeds: int = 3) -> list[dict[str, Any]]:
    scores = dict.fromkeys((*script.MEASURES, *script.MORE), 0.5)
    key = {"set": "digits", "size": 100, "rows": 1000, "way": way}
    return [{**key, **scores, "seed": seed, "accuracy": accuracy + noise * (-1) ** seed} for seed in range(seeds)]


def test_verdicts_follow_the_intervals_of_paired_differences(script: Any, tmp_path: Path) -> None:
    def verdict(rival: float, noise: float, seeds: int = 3) -> str:
        rows = rows_of(script, "ours", 0.9, 0, seeds) + rows_of(script, "gaussian", rival, noise, seeds)
        return script.summarise(rows)["digits"]["100"]["verdict"]["accuracy"]

    assert verdict(0.8, 0.01) == "best"
    assert verdict(0.95, 0.01) == "behind one Gaussian"
    assert verdict(0.95, 0.1) == "tied"
    assert verdict(0.8, 0.01, seeds=2) == "open"
    script.report(rows_of(script, "ours", 0.9, 0) + rows_of(script, "gaussian", 0.95, 0.01), tmp_path)
    page = (tmp_path / "latents-benchmark.md").read_text()
    assert "| digits | 100 | 3 | behind one Gaussian | tied | tied |" in page
    assert "| one Gaussian | 3 | 0.953 (-0.053 ± 0.029) |" in page


def test_so_many_of_each_class(script: Any) -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen = script.some_rows(labels, 15, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [15, 15, 15]
    assert (np.diff(chosen) > 0).all()
    assert script.some_rows(labels, None, seed=0).tolist() == list(range(100))
