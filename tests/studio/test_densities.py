"""The tab of densities: charts, reading a line, comparisons, and code that makes what is seen."""

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
from scipy import stats
from studio.visits import opened, visit

from gaussmix.studio import charts, densities, tables
from gaussmix.studio.charts import View
from gaussmix.studio.session import Settings, Studio
from gaussmix.studio.tables import Overlay, Table


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    yield from opened(tmp_path)


def silent(*about: Any) -> None:
    """No progress."""


def view_of(source: Path | str, column: str = "") -> View:
    table = Table.open(source.name if isinstance(source, Path) else source, source)
    column = column or table.numbers[0]
    return View(table, Overlay({column: tables.learn(source, column, progress=silent)}, (), ()))


def write(path: Path, **columns: Any) -> Path:
    rows = zip(*(np.asarray(each).astype(str).tolist() for each in columns.values()), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(row) for row in rows)]) + "\n")
    return path


# -- charts


@pytest.mark.parametrize(
    ("kind", "marks"), [("atoms", "point masses"), ("integers", "probabilities"), ("dates", "density")]
)
def test_charts_of_other_columns(tmp_path: Path, kind: str, marks: str) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "x.npy"
    smooth = rng.normal(size=2000)
    days = np.datetime64("2024-01-01") + rng.integers(0, 1000, 2000)
    np.save(path, {"atoms": np.where(smooth < 0, 0.0, smooth), "integers": rng.poisson(3, 2000), "dates": days}[kind])
    view = view_of(path)
    options = charts.density_chart(view)
    series = {each.get("name"): each for each in options["series"]}
    assert marks in series
    assert options["xAxis"]["type"] == ("time" if kind == "dates" else "value")
    assert sum(len(each.get("data", [])) for each in options["series"]) < 3000
    if kind == "atoms":
        assert series["point masses"]["data"][0] == pytest.approx([0.0, np.mean(smooth < 0)])
    if kind == "dates":
        (line,) = [each for each in options["series"] if each.get("id") == "line"]
        place = line["markLine"]["data"][0]["xAxis"]
        assert charts.from_axis(view.first.quantity, place) == pytest.approx(view.x)


def test_edges_logarithms_and_what_is_far_out(tmp_path: Path) -> None:
    values = np.random.default_rng(0).exponential(size=3000)
    values[:2] = 40.0, 55.0
    view = view_of(write(tmp_path / "waits.csv", wait=values))
    plain = {each.get("id"): each for each in charts.density_chart(view)["series"]}
    assert plain["edges"]["markLine"]["data"][0]["xAxis"] == pytest.approx(0.0, abs=0.01)
    view.log = view.far = True
    options = charts.density_chart(view)
    (axis,), series = options["yAxis"], {each.get("name"): each for each in options["series"]}
    assert axis["type"] == "log"
    assert all(y >= axis["min"] > 0 for each in options["series"] for _, y in each["data"])
    assert options["xAxis"]["max"] > 55.0
    rug = [x for x, _ in series["far out"]["data"]]
    assert max(rug) == pytest.approx(55.0, rel=0.01)
    first, third = np.quantile(values, [0.25, 0.75])
    fence = third + 1.5 * (third - first)
    assert tables.outliers(view.first)[1] == pytest.approx((values > fence).sum(), rel=0.1)


def test_the_area_below_the_line_is_the_share(tmp_path: Path) -> None:
    view = view_of(write(tmp_path / "x.csv", x=np.random.default_rng(0).normal(size=4000)))
    view.x = 0.7
    below, line = charts.reading(view)
    x, y = np.array(below["data"]).T
    assert np.trapezoid(y, x) == pytest.approx(stats.norm.cdf(0.7), abs=0.02)
    assert line["markLine"]["data"] == [{"xAxis": 0.7}]


# -- comparisons


def test_groups_and_how_far_they_are_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c"], 3000, p=[0.5, 0.3, 0.2])
    x = rng.normal(size=3000) + 2.0 * (kind == "b")
    path = write(tmp_path / "x.csv", kind=kind, x=x, row=np.arange(3000))
    found = tables.learn_groups(path, "x", "kind", progress=silent)
    assert list(found.columns) == ["kind a", "kind b", "kind c"]
    assert [drift.moved for drift in found.drifts] == [True, False]
    assert found.distances[0].wasserstein_1 == pytest.approx(2.0, abs=0.15)
    with pytest.raises(ValueError, match="row has 3000 values; groups are made of a column with at most 50"):
        tables.learn_groups(path, "x", "row", progress=silent)
    table = Table.open("x.csv", path)
    with pytest.raises(ValueError, match=r"x\.csv has no column kind of numbers"):
        tables.learn_pair(table, table, "kind", progress=silent)


# -- code


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.mark.parametrize("source", ["wine", "file"])
def test_the_code_makes_what_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "0123456789abcdef.csv"  # the page's own name for what people call "it's.csv"
    column = "the 'price'" if source == "file" else "alcohol"
    values = np.random.default_rng(0).gamma(3, size=500)
    view = view_of(write(kept, **{column: values}) if source == "file" else source, column)
    if source == "file":
        view.table = Table("it's.csv", kept, view.table.numbers)
        kept.rename("it's.csv")
    view.shares, view.samples, view.log, view.x = (0.1, 0.9), 20, True, float(view.law.ppf(0.3)) + 1e-3
    seen = run(densities.density_code(view))
    np.testing.assert_allclose(seen["quantiles"], view.law.ppf(view.shares), rtol=1e-12)
    assert seen["share"] == pytest.approx(float(view.law.cdf(view.x)), rel=1e-12)
    sample = [float(each) for each in densities.sample_csv(view).splitlines()[1:]]
    np.testing.assert_allclose(sample, seen["sample"], rtol=1e-12)  # sums of Gaussians, or tables of them
    drawn = densities.draw(view, tmp_path / "page.png", progress=silent)
    assert drawn.read_bytes() == (tmp_path / "density.png").read_bytes()


def test_the_code_of_groups_and_of_two_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    first = write(tmp_path / "first.csv", kind=rng.choice([1.5, 2.0, 7.0], 900), x=rng.normal(size=900))
    second = write(tmp_path / "second.csv", x=rng.normal(size=400) + 1)
    pair = [Table.open(path.name, path) for path in (first, second)]
    views = [
        View(pair[0], tables.learn_groups(first, "x", "kind", progress=silent), by="kind"),
        View(Table.open("wine", "wine"), tables.learn_groups("wine", "alcohol", "class", progress=silent), by="class"),
        View(pair[0], tables.learn_pair(pair[0], pair[1], "x", progress=silent), pair[1]),
    ]
    for view in views:
        seen = run(densities.overlay_code(view))
        laws: dict[str, Any] = {name: column.density for name, column in view.overlay.columns.items()}
        assert seen["shares"] == pytest.approx({name: law.cdf(view.x) for name, law in laws.items()}, rel=1e-12)
        for mine, theirs in zip(view.overlay.distances, seen["distances"].values(), strict=True):
            assert theirs.to_dict() == pytest.approx(mine.to_dict(), rel=1e-9, abs=1e-12)
        assert tuple(drift.quantiles for drift in seen["drifts"].values()) == tuple(
            drift.quantiles for drift in view.overlay.drifts
        )
        drawn = densities.draw(view, tmp_path / "page.png", progress=silent)
        assert drawn.read_bytes() == (tmp_path / "density.png").read_bytes()


# -- the tab


def test_a_quantile_of_an_example(studio: Studio) -> None:
    async def steps(user: User) -> None:
        await user.should_see("Example: Wines", retries=100)
        user.find("Example: Wines").click()
        await user.should_see("50% quantile", retries=200)
        column = tables.load_example("wine")["alcohol"]
        middle = float(view_of("wine", "alcohol").law.median())
        assert abs(middle - np.median(column)) < 0.1 * column.std()
        await user.should_see(f"50.0% of alcohol are at most {middle:.6g}"[:34])
        with user:
            value = field_of(user, "What share")
            value.value = "1e9"
        user.find("What share is at most").trigger("keydown.enter")
        await user.should_see("100.0% of alcohol are at most")
        with user:
            value.value = "many"
        user.find("What share is at most").trigger("keydown.enter")
        await user.should_see("'many' is not a number")

    visit(studio, steps)


def field_of(user: User, label: str) -> ui.input:
    (found,) = [each for each in user.find(ui.input).elements if str(each.props.get("label", "")).startswith(label)]
    return found


def test_quantiles_far_out_and_files_to_take(studio: Studio) -> None:
    async def steps(user: User) -> None:
        await user.should_see("Example: Tumours", retries=100)
        user.find("Example: Tumours").click()
        await user.should_see("25% quantile", retries=200)
        with user:
            asked = field_of(user, "Quantiles")
            asked.value = "12.5, 99"
        user.find("Quantiles, in %").trigger("keydown.enter")
        await user.should_see("12.5% quantile")
        await user.should_not_see("25% quantile")
        with user:
            asked.value = "101"
        user.find("Quantiles, in %").trigger("keydown.enter")
        await user.should_see("'101' are no quantiles")
        user.find("Far out").click()
        await user.should_see("beyond 1.5 interquartile ranges")
        coming = asyncio.create_task(user.download.next(timeout=30))
        await asyncio.sleep(0)
        user.find("PNG").click()
        assert (await coming).content.startswith(b"\x89PNG")
        with user:
            count = field_of(user, "Samples")
            count.value = "3"
        coming = asyncio.create_task(user.download.next(timeout=30))
        await asyncio.sleep(0)
        user.find("Samples as CSV").click()
        lines = (await coming).content.decode().splitlines()
        assert lines[0] == "mean radius"
        assert len(lines) == 4
        user.find("Copy as Python").click()
        await user.should_see("load_breast_cancer()")

    visit(studio, steps)


def test_another_table_and_groups_beside(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [write(tmp_path / f"{k}.csv", x=rng.normal(size=300) + k, kind=rng.choice(["u", "v"], 300)) for k in (1, 2)]
    for studio in opened(tmp_path, Settings(tuple(paths))):

        async def steps(user: User) -> None:
            await user.should_see("1.csv", retries=100)
            user.find("1.csv").click()
            await user.should_see("50% quantile", retries=200)
            (beside,) = [each for each in user.find(ui.select).elements if each.props["label"] == "Compare with"]
            with user:
                beside.value = f"table {paths[1]}"
            await user.should_see("From 1.csv to 2.csv", retries=200)
            await user.should_see("beyond chance")
            with user:
                beside.value = "group kind"
            await user.should_see("From kind", retries=200)

        visit(studio, steps)
