"""Files of conditional models that say something impossible, with a digest that fits, end in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaussmix import ConditionalGMMExpansion
from gaussmix._files import read_tensors, write_tensors
from gaussmix.conditional.stored import KIND

Edit = Callable[[dict[str, Any], dict[str, Any]], None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=120), "c": rng.choice(["x", "y", "z"], 120).astype(object)}
    y = np.where(rng.random(120) < 0.2, 0.0, X["a"] + rng.normal(size=120))
    path = tmp_path_factory.mktemp("model") / "m.gmx"
    ConditionalGMMExpansion("fast", random_state=0, discrete=False).fit(X, y).save(path)
    return path


def rewritten(path: Path, out: Path, edit: Edit) -> Path:
    tensors, about = read_tensors(path, KIND)
    facts = {name: json.loads(text) for name, text in about.items() if name not in ("format", "version")}
    edit(tensors, facts)
    write_tensors(out, tensors, KIND, {name: json.dumps(value) for name, value in facts.items()})
    return out


def test_a_file_written_again_is_read(model: Path, tmp_path: Path) -> None:
    same = rewritten(model, tmp_path / "m.gmx", lambda tensors, facts: None)
    assert same.read_bytes() == model.read_bytes()
    ConditionalGMMExpansion.load(same)


def _set(place: str, value: Any) -> Edit:
    """Metadata at ``a.b`` replaced."""

    def edit(tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        *path, last = place.split(".")
        inner: Any = facts
        for step in path:
            inner = inner[int(step) if isinstance(inner, list) else step]
        inner[int(last) if isinstance(inner, list) else last] = value

    return edit


def _tensor(name: str, change: Callable[[np.ndarray], Any]) -> Edit:
    return lambda tensors, facts: tensors.update({name: np.asarray(change(tensors[name]))})


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (_set("parameters", [1]), "names of columns"),
        (_set("parameters.rool", "auto"), "unexpected keyword argument"),
        (_set("parameters.rule", "best"), "'rule' parameter"),
        (_set("parameters.categorical_features", [2.5]), r"its categories are \[2.5\]"),
        (_set("names", ["a", "b"]), "its names of columns are not those"),
        (_set("features.names", ["a", 3]), "names of columns"),
        (_set("features.kept", [0, 9]), "it keeps some of 4 features"),
        (_set("features.columns.1.levels", ["x", "y", 1]), "its levels of a category"),
        (_set("report.n", "many"), "its report has 'many' as n"),
        (_set("report.coverage", {}), "its report has no coverage"),
        (_set("lattice", {"origin": 0, "step": 1, "n": 10**12}), "its lattice has 1000000000000 values"),
        (_set("lattice", {"origin": 0, "step": -1, "n": 3}), "3 values, -1.0 apart"),
        (_tensor("units", lambda units: [np.nan, 1.0]), "its units are nan and 1.0"),
        (_tensor("units", lambda units: [0.0, 1e-320]), "its units are 0.0"),
        (_tensor("pit", lambda pit: pit + 1), "its transforms are not between 0 and 1"),
        (_tensor("parts.residuals.means", lambda means: means[:-1]), "could not be broadcast"),
        (_tensor("parts.shares", lambda shares: -shares), "its shares are"),
        (_tensor("parts.location.boosting.values", lambda values: values * np.inf), "leaves are not finite"),
        (_tensor("parts.location.boosting.left", lambda left: np.maximum(left, 0)), "do not lie behind their parents"),
    ],
)
def test_what_cannot_be_is_said(model: Path, tmp_path: Path, edit: Edit, why: str) -> None:
    with np.errstate(all="ignore"):
        path = rewritten(model, tmp_path / "other.gmx", edit)
    with pytest.raises(ValueError, match=why) as caught:
        ConditionalGMMExpansion.load(path)
    assert str(caught.value).startswith(f"{path} holds no usable conditional model (")
