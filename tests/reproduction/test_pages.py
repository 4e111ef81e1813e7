"""`python -m reproduction`: every page runs, what it writes, and that a page quotes nothing but its results."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from reproduction.__main__ import NAMES, find, main, reproduce, title
from reproduction.expansion import tables
from reproduction.page import PAGES, fill, look_up, page_of, write_pictures

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "name", "quick", "config", "seed", "versions", "commit", "device", "cpu_seconds", "wall_seconds", "ours", "paper",
}  # fmt: skip

# As E prints them.
E_TABLES = """
Table 1. Average Loss of 20 Experiments With 8 random Gaussian Components. Data size: 5000 data points.
Algorithm 1
L = 0.07099 L = 0.05091 L = 0.044296
Algorithm 2
L = 0.06866 L = 0.05085 L = 0.04447
Table 2. Average Loss of 20 Experiments With 8 Non-Gaussian random Components. Data size: 5000 data points.
Algorithm 1
L = 0.08912 L = 0.08738 L = 0.09432
Algorithm 2
L = 0.08678 L = 0.08749 L = 0.09446
Table 3. Average Loss of 25 Experiments With different numbers of components
10 30 50 100 200 500 1000
L = 0.710 L = 0.336 L = 0.200 L = 0.0778 L = 0.0295 L = 0.0326 L = 0.0378
L = 0.715 L = 0.364 L = 0.210 L = 0.065 L = 0.025 L = 0.0203 L = 0.0289
"""


def results(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "results" / f"{name}.json").read_text())


def template(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


# --- a run


@pytest.mark.parametrize("name", NAMES)
def test_quick_run_writes_the_contract(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = reproduce(name, tmp_path, quick=True, seed=5)
    facts = json.loads((tmp_path / "results" / f"{name}.json").read_text())
    assert set(facts) == KEYS
    assert facts["name"] == name
    assert facts["quick"] is True
    assert facts["seed"] == facts["config"]["seed"] == 5
    assert facts["device"].startswith("CPU: ")
    assert set(facts["versions"]) >= {"python", "gaussmix", "numpy", "scipy", "numba"}
    assert facts["cpu_seconds"] > 0
    assert facts["wall_seconds"] > 0
    assert facts["ours"]
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", facts["commit"])

    page = (tmp_path / "docs" / "reproduction" / f"{name}.md").read_text()
    assert page.startswith(f"# {title(name)}\n")
    assert "A quick run" in page
    assert f"](../../results/{name}.json)" in page
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert {path.name for path in written} == {f"{name}.json", f"{name}.md", *pictures}
    for picture in pictures:
        data = (tmp_path / "docs" / "reproduction" / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 10_000
    printed = capsys.readouterr()
    assert name in printed.err  # the progress bar
    assert "Loading" not in printed.err  # of diffusers


def test_same_seed_same_numbers() -> None:
    quick = tables.Config(table=1).quick()
    ours = [tables.measure(replace(quick, seed=seed), lambda done: None).ours for seed in (1, 1, 2)]
    means = [each["algorithm2"]["mean"] for each in ours]
    assert (means[0] == means[1]).all()
    assert (means[0] != means[2]).any()


def test_lists_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"^{name}  +{re.escape(title(name))}$", printed, re.MULTILINE) for name in NAMES)


def test_unknown_name_is_told_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["expansion-tabel1", "--output", str(tmp_path / "out")]) == 1
    assert "called 'expansion-tabel1'; did you mean expansion-table1?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="choose one of expansion-section1, "):
        find("quux")


# --- pages


@pytest.mark.parametrize("name", NAMES)
def test_page_is_what_its_results_make_of_it(name: str) -> None:
    facts = results(name)
    assert set(facts) == KEYS
    assert facts["quick"] is False
    page = (ROOT / "docs" / "reproduction" / f"{name}.md").read_text()
    assert page == page_of(template(name), facts), f"write it anew: python -m reproduction {name} --pages-only"


def numbers(value: Any) -> Iterator[float]:
    """All numbers in JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float):
        yield float(value)


_ASIDE = re.compile(
    r"\{[^{}]*\}|`[^`]*`|\$[^$]*\$|\]\([^)]*\)|^#.*$|\b95 %|\b(?:Eq|Sec|Fig|Figure|Section)s?\.? [\d.]+",
    re.MULTILINE,
)  # a field, code, a formula, an address, a title, the level of an interval, a place in a paper


def loose_numbers(text: str, facts: dict[str, Any]) -> list[str]:
    """Decimal fractions and percentages that ``text`` has outside its fields, formulas and titles, and that no number
    of the results rounds to."""
    known = np.array(list(numbers([facts["ours"], facts["paper"], facts["config"]])))
    loose = []
    for match in re.finditer(r"(?<![\w.])(\d*\.\d+|\d+(?= ?%))( ?%)?(?![\w.]*\d)", _ASIDE.sub("", text)):
        digits, percent = match.groups()
        decimals = len(digits.partition(".")[2])
        scaled = known * (100 if percent else 1)
        if not np.any(np.abs(np.abs(scaled) - float(digits)) <= 0.5000001 * 10.0**-decimals):
            loose.append(match[0])
    return loose


@pytest.mark.parametrize("name", NAMES)
def test_a_page_quotes_nothing_but_its_results(name: str) -> None:
    assert not loose_numbers(template(name), results(name))


def test_the_tests_of_pages_can_fail() -> None:
    facts = {
        "ours": {"a": [0.25, 0.5], "b.c": {"d": None}},
        "paper": {"a": 0.3},
        "config": {"n": 7},
        "cpu_seconds": 1.0,
    }
    assert fill("{a.0:.1%} of {config.n}, {paper.a:.2f}, {b.c.d:.1f} {{x}}", facts) == "25.0% of 7, 0.30, - {x}"
    assert loose_numbers("Half is 0.5, a quarter 25 %, `0.77` and D Eq. 1.9 pass; {a.9}", facts) == []
    assert loose_numbers("but 0.77, 77 % and .6 do not", facts) == ["0.77", "77 %", ".6"]
    for path in ("a.2", "b.x", "a.0.0"):
        with pytest.raises(KeyError, match="the results hold no "):
            look_up(facts["ours"], path)


# --- the tables


def test_the_papers_numbers() -> None:
    """Against the text of the paper."""
    printed = [float(number) for number in re.findall(r"L = ([\d.]+)", E_TABLES)]
    one, two, three = (tables.PAPER[table] for table in (1, 2, 3))
    transcribed = [*one["algorithm1"], *one["algorithm2"], *two["algorithm1"], *two["algorithm2"]]
    assert [*transcribed, *three["mean"]["20000"], *three["mean"]["50000"]] == printed
    assert tables.N_COMPONENTS == (10, 30, 50, 100, 200, 500, 1000)


def test_defaults_are_the_papers_sizes() -> None:
    for name in ("expansion-table1", "expansion-table2"):
        config = find(name)[1]
        assert (config.n_points, config.n_components) == ((5000,), 200)
    assert find("expansion-table3")[1].n_points == (20_000, 50_000)


@pytest.mark.parametrize("table", [1, 2])
def test_algorithm2_reproduces(table: Any) -> None:
    """A dozen random targets: within 10 % of the paper, and what chance adds."""
    measured = tables.measure(tables.Config(table, repetitions=12), lambda done: None)
    ours, paper = measured.ours["algorithm2"], np.array(measured.paper["algorithm2"])
    assert (np.abs(ours["mean"] - paper) <= 0.1 * paper + 2 * ours["standard_error"]).all()
    assert measured.ours["auto"]["mean"][0] < paper.min()
    assert math.isclose(measured.ours["auto"]["worst"], abs(measured.ours["auto"]["share_of_paper"][0] - 1))


def test_an_empty_picture_says_so(tmp_path: Path) -> None:
    figure = Figure()
    empty, of_nan, full = figure.subplots(1, 3)
    for axes in (empty, of_nan, full):
        axes.axhline(0.5)
    of_nan.plot([1, 2], [math.nan, math.nan])
    full.plot([1, 2], [3, 4])
    write_pictures("some", {"": figure}, tmp_path)
    said = [[text.get_text() for text in axes.texts] for axes in (empty, of_nan, full)]
    assert said == [["not run yet"], ["not run yet"], []]
