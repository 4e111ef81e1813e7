"""Files of models: whatever is changed in them is refused, with their name; and numbers whose squares overflow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaussmix import BinnedCounts, GaussianMixture1D, GMMExpansion
from gaussmix._files import read_tensors, write_tensors

Tensors = dict[str, np.ndarray]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    GMMExpansion().fit(np.random.default_rng(0).normal(3, 2, 300)).save(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def change(path: Path, tensors: Callable[[Tensors], Any] = len, **facts: Callable[[Any], Any]) -> None:
    found, about = read_tensors(path, "GMMExpansion")
    found = {name: value.copy() for name, value in found.items()}
    tensors(found)
    for name, edit in facts.items():
        tree = json.loads(about[name])
        about[name] = json.dumps(edit(tree) or tree)
    write_tensors(path, found, "GMMExpansion", about)


def put(name: str, at: Any, value: float) -> Callable[[Tensors], None]:
    return lambda tensors: tensors[name].__setitem__(at, value)


def report(name: str, value: Any) -> Callable[[Any], None]:
    return lambda reports: reports[0].__setitem__(name, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e308, -1e308, 1e9])
@pytest.mark.parametrize("side", [0, 1])
def test_extremes_that_no_data_have(saved: Path, side: int, value: float) -> None:
    change(saved, put("0.counts.extremes", side, value), reports=report(("minimum", "maximum")[side], value))
    with pytest.raises(ValueError, match=r"m\.safetensors holds no usable model .*(extremes|minimum|maximum)"):
        GMMExpansion.load(saved)


@pytest.mark.parametrize("value", [-5, 2**63 - 1])
def test_counts_that_no_data_have(saved: Path, value: int) -> None:
    change(saved, put("0.counts.table", 20, value))
    with pytest.raises(ValueError, match=r"m\.safetensors .*table holds .*no number of points"):
        GMMExpansion.load(saved)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("reports", report("n", 299)),
        ("reports", report("n", "300")),
        ("reports", report("n", True)),
        ("reports", report("ks", math.nan)),
        ("reports", report("rule", "best")),
        ("reports", report("atoms", {"7": 0.5})),
        ("reports", report("atoms", 3.0)),
        ("reports", report("n_components", 999)),
        ("reports", report("quantity", {"kind": "datetime", "unit": "D", "resolution": "x"})),
        ("reports", lambda reports: [*reports, *reports]),
        ("reports", lambda reports: {"a": 1}),
        ("quantities", lambda known: [*known, *known]),
        ("quantities", lambda known: [{"kind": "number", "zone": 3}]),
        ("bases", lambda bases: 5),
        ("kinds", lambda kinds: [[1, None, 0.0]]),
        ("kinds", lambda kinds: [[True, math.inf, 0.0]]),
        ("names", lambda names: ["a", "b"]),
        ("parameters", lambda settings: {**settings, "rule": "best"}),
        ("parameters", lambda settings: {**settings, "range": 5}),
    ],
)
def test_facts_that_do_not_fit_what_was_counted(saved: Path, name: str, edit: Callable[[Any], Any]) -> None:
    change(saved, **{name: edit})
    with pytest.raises(ValueError, match=r"m\.safetensors holds no usable model"):
        GMMExpansion.load(saved)


def test_a_file_that_is_only_written_again_is_read(saved: Path) -> None:
    before = GMMExpansion.load(saved)
    change(saved)
    assert GMMExpansion.load(saved).report_ == before.report_


def test_counts_by_themselves(tmp_path: Path) -> None:
    from gaussmix.density.axis import Axis

    tensors = BinnedCounts(Axis(0.0, 1.0, 4)).add([0.5, 1.5], [0.5, 1.0]).to_tensors()
    assert BinnedCounts.from_tensors(tensors).n == 2
    for name, value in (("importance_mass", -1.0), ("importance_squares", math.nan), ("importance_table", -1)):
        with pytest.raises(ValueError, match=name):
            BinnedCounts.from_tensors({**tensors, name: np.full_like(tensors[name], value)})
    settings = json.dumps({"axis": {"origin": 0, "width": 1, "n_bins": 1 << 28}})
    many = {**tensors, "settings": np.frombuffer(settings.encode(), np.uint8)}
    with pytest.raises(ValueError, match="7 numbers for 268435456 bins"):
        BinnedCounts.from_tensors(many)


@pytest.mark.parametrize("scale", [1e155, 1e290])
def test_moments_where_squares_overflow_are_those_in_other_units(scale: float) -> None:
    law = GaussianMixture1D([0.3, 0.7], [-1, 2], [0.5, 1], bounds=(-3, None), tail=(0.01, 0, 2), atoms=([0.5], [0.1]))
    large = law.affine(scale)
    for name in ("mean", "std", "skewness", "kurtosis"):
        unit = scale if name in ("mean", "std") else 1.0
        assert getattr(large, name)() / unit == pytest.approx(getattr(law, name)(), rel=1e-9)
    assert large.var() == math.inf
    np.testing.assert_allclose(large.modes() / scale, law.modes(), rtol=1e-9)
    part, whole = large.truncate(0, 3 * scale), law.truncate(0, 3)
    assert (part.mean() / scale, part.std() / scale) == pytest.approx((whole.mean(), whole.std()), rel=1e-9)
    assert large.simplify(k=1).distance / scale == pytest.approx(law.simplify(k=1).distance, rel=1e-6)
