"""benchmarks/faces.py: a quick run makes rows that a second one finds, of every kind of variant, and the page."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def faces() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("faces")


def test_rows_are_made_once_and_the_page_has_them(faces: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = partial(faces.load_or_train_classifier, steps=20, cache=tmp_path)  # its verdicts do not matter here
    monkeypatch.setattr(faces, "load_or_train_classifier", judge)
    variants = ("transformer", "muon", "no network", "diffusers")
    settings = {"variants": variants, "cpu": (0.3,), "seeds": (0,), "count": 12, "faces": 300}
    rows = faces.main(**settings, out=tmp_path / "faces.json", docs=tmp_path)
    assert [row["variant"] for row in rows] == list(variants)
    assert rows[2]["steps"] == rows[2]["cpu"] == 0
    assert all(row["steps"] > 0 for row in rows if row["variant"] != "no network")
    assert all(0 <= row["accuracy"] <= 1 and math.isfinite(row["frechet"]) for row in rows)
    page = (tmp_path / "faces-benchmark.md").read_text()
    assert "| the preset | 1 |" in page
    assert "## 0.3 CPU seconds" in page
    again = faces.main(**settings, out=tmp_path / "faces.json")
    assert json.dumps(again) == json.dumps(rows)  # with recalls of so few pictures, which are NaN


def test_two_optimisers_step_as_one(faces: Any) -> None:
    a, b = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    both = faces.Both(torch.optim.SGD([a], lr=1.0), torch.optim.SGD([b], lr=1.0), ratio=0.5)
    (a.sum() + b.sum()).backward()
    both.param_groups[0]["lr"] = 0.2
    both.step()
    assert torch.allclose(a, torch.full((2,), 0.8))
    assert torch.allclose(b, torch.full((2,), 0.9))
    both.zero_grad(set_to_none=True)
    assert a.grad is b.grad is None
