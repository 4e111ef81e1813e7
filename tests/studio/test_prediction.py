"""The tab of prediction: what is learnt, what moves, and code that makes the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nicegui", reason="the studio is an extra: pip install 'gaussmix[studio]'")

from nicegui import ui
from nicegui.testing.user import User
from studio.visits import opened, visit

from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.studio import charts, parts, prediction
from gaussmix.studio.prediction import Fitted, Input
from gaussmix.studio.session import Settings, Studio
from gaussmix.studio.tables import Table


def write(path: Path, n: int = 150) -> Path:
    """A table in which y depends on x, and on the kind of the row; some targets are missing."""
    rng = np.random.default_rng(0)
    x, kind = rng.uniform(0, 10, n).round(3), rng.choice(["up", "down"], n)
    y = x + np.where(kind == "up", 5, -5) + rng.normal(0, 0.5, n)
    said = np.where(np.arange(n) < 10, "", y.round(4).astype(str))
    rows = [f"{a},{b},{c}" for a, b, c in zip(x, kind, said, strict=True)]
    path.write_text("\n".join(["x,kind,y", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, list[str]]:
    """What was learnt of that table, and what was told meanwhile."""
    path = write(tmp_path_factory.mktemp("tables") / "rows.csv")
    told: list[str] = []
    found = prediction.fit(
        Table.open("rows.csv", path), "y", ["x", "kind"], "fast", progress=lambda share, note="": told.append(note)
    )
    return found, told


def test_what_is_learnt_and_told(fitted: tuple[Fitted, list[str]]) -> None:
    found, told = fitted
    assert told[:1] == ["reading"]
    assert {"location", "scale", "residual forest", "value forest"} <= set(told)
    assert (found.rows, found.total, found.missing) == (140, 150, 10)
    number, word = found.inputs
    assert 0 <= number.low < number.usual < number.high <= 10
    assert set(word.choices) == {"up", "down"}
    assert found.among.mean() == pytest.approx(5, abs=2)


def test_the_row_moves_the_distribution(fitted: tuple[Fitted, list[str]]) -> None:
    found, _ = fitted
    middles = {}
    for kind in ("up", "down"):
        for x in (2.0, 8.0):
            found.at = {"x": x, "kind": kind}
            law, (low, high) = found.ask()
            middles[kind, x] = float(law.median())
            assert float(law.cdf(high) - law.cdf(low)) == pytest.approx(found.level, abs=1e-6)
    assert middles["up", 2.0] - middles["down", 2.0] == pytest.approx(10, abs=2.5)
    assert middles["up", 8.0] - middles["up", 2.0] == pytest.approx(6, abs=2.5)


def test_charts_of_a_prediction(fitted: tuple[Fitted, list[str]]) -> None:
    found, _ = fitted
    law, interval = found.ask()
    options = prediction.conditional_chart(found, law, interval)
    series = {each.get("id", each.get("name")): each for each in options["series"]}
    x, y = np.array(series["inside"]["data"]).T
    assert np.trapezoid(y, x) == pytest.approx(found.level, abs=0.02)
    assert [each["xAxis"] for each in series["inside"]["markLine"]["data"]] == list(interval)
    assert series["y, all rows"]["data"]


@pytest.mark.parametrize(("n", "bars"), [(20, 20), (200, 2)])
def test_many_integers_are_a_line_and_few_are_bars(n: int, bars: int) -> None:
    values, whole = np.arange(n), np.full(n, 1 / n)
    law = LatticeMixture1D(GaussianMixture1D([1.0], [n / 2], [n / 4]), values, whole)
    series = {each["id"]: each["data"] for each in charts.row_series(law, (5.0, 12.0), (-1.0, float(n)))}
    assert len(series["stems"]) == bars
    assert series["row"] == [[float(x), pytest.approx(1 / n)] for x in (values[1:-1] if bars < n else [])]
    assert [x for x, _ in series["inside"]] == ([5.0, *range(6, 12), 12.0] if bars < n else [])


def test_the_code_makes_what_is_seen(
    fitted: tuple[Fitted, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = fitted
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.csv")
    found.at, found.level = {"x": 3.5, "kind": "down"}, 0.8
    law, interval = found.ask()
    names: dict[str, Any] = {}
    exec(prediction.prediction_code(found), names)
    assert names["interval"] == pytest.approx(interval, rel=1e-9)
    assert names["law"].mean() == pytest.approx(law.mean(), rel=1e-9)
    assert names["model"].report_.crps == pytest.approx(found.model.report_.crps, rel=1e-9)


def test_inputs_of_all_kinds() -> None:
    whole = Input.of("n", np.array([1.0, 2, 3, 4, np.nan]))
    assert (whole.step, whole.said(2.0)) == (1.0, "2")
    fine = Input.of("x", np.linspace(0, 0.02, 300))
    assert fine.step <= (fine.high - fine.low) / 200
    assert Input.of("w", np.array(["a", None, "b", "a"], object)).choices == ("a", "b")
    assert np.isnan(Input.of("none", np.full(3, np.nan)).usual)
    assert prediction.row_of({"a": 1.0, "b": None})["b"].dtype == object


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    yield from opened(tmp_path, Settings((write(tmp_path / "rows.csv"),)))


def test_a_table_is_learnt_and_moved(studio: Studio) -> None:
    async def steps(user: User) -> None:
        await user.should_see("rows.csv", retries=100)
        user.find("rows.csv").click()
        await user.should_see("What to predict", retries=100)
        user.find("Learn").click()
        await user.should_see("How right is it?", retries=800)
        await user.should_see("10 rows without y left out")
        (slider,) = user.find(parts.Slider).elements
        (number,) = [each for each in user.find(ui.label).elements if "gm-number" in each.classes]
        before = float(number.text)
        user.find(parts.Slider).trigger("input", slider.props["max"])
        for _ in range(100):
            await asyncio.sleep(0.05)
            if float(number.text) != before:
                break
        assert float(number.text) > before + 2

    visit(studio, steps, tab="prediction", seconds=100)
