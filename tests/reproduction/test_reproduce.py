"""`gaussmix reproduce`: every name runs, what it writes, and the paper's numbers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reproduction.__main__ import MODULES, find_reproduction, reproduce
from reproduction.expansion import table1 as expansion_table1
from reproduction.expansion import table2 as expansion_table2
from reproduction.expansion import table3 as expansion_table3
from reproduction.page import Table, table_lines

KEYS = {
    "name", "title", "quick", "config", "seed", "versions", "commit", "device", "cpu_seconds", "wall_seconds", "ours",
    "paper", "readings", "findings",
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


@pytest.mark.parametrize("name", MODULES)
def test_quick_run_writes_the_contract(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce([name, "--quick", "--out", str(tmp_path), "--seed", "5"]) == 0
    printed = capsys.readouterr()
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
    assert facts["paper"]
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", facts["commit"])

    page = (tmp_path / "docs" / "reproduction" / f"{name}.md").read_text()
    assert page.startswith(f"# {facts['title']}\n")
    assert "A quick run" in page
    assert f"](../../results/{name}.json)" in page
    for text in (*facts["findings"], *facts["readings"]):
        assert f"- {text}\n" in page
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    written = sorted(path.name for path in (tmp_path / "docs" / "reproduction").iterdir())
    assert written == sorted([*pictures, f"{name}.md"])
    for picture in pictures:
        data = (tmp_path / "docs" / "reproduction" / picture).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) > 10_000
    assert facts["findings"][0] in printed.out
    assert name in printed.err  # the progress bar
    assert "Loading" not in printed.err  # of diffusers


def test_same_seed_same_numbers() -> None:
    reproduction = find_reproduction("expansion-table1")
    quick = reproduction.config.quick()
    ours = [reproduction.run(replace(quick, seed=seed), lambda done: None).ours for seed in (1, 1, 2)]
    assert ours[0] == ours[1]
    assert ours[0] != ours[2]


def test_lists_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce([]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in MODULES)


def test_unknown_name_is_told_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"called 'expansion-tabel1'; did you mean expansion-table1\?"):
        reproduce(["expansion-tabel1", "--out", str(tmp_path)])
    with pytest.raises(ValueError, match="choose one of expansion-table1, "):
        find_reproduction("quux")


def test_the_papers_numbers() -> None:
    """Against the text of the paper."""
    numbers = [float(number) for number in re.findall(r"L = ([\d.]+)", E_TABLES)]
    one, two, three = expansion_table1.PAPER, expansion_table2.PAPER, expansion_table3.PAPER
    transcribed = [*one["algorithm1"], *one["algorithm2"], *two["algorithm1"], *two["algorithm2"]]
    assert [*transcribed, *three[20_000], *three[50_000]] == numbers
    assert expansion_table3.N_COMPONENTS == (10, 30, 50, 100, 200, 500, 1000)


def test_defaults_are_the_papers_sizes() -> None:
    for name in ("expansion-table1", "expansion-table2", "expansion-fig3-7"):
        config = find_reproduction(name).config
        assert (config.n_points, config.n_components) == (5000, 200)
    assert find_reproduction("expansion-table3").config.n_points == (20_000, 50_000)


def test_tables_in_markdown() -> None:
    table = Table("losses", ("rule", "paper", "ours"), (("a", 0.5, 0.123456), ("b", None, 2.0)))
    assert table_lines(table) == [
        "| rule | paper | ours |",
        "| --- | ---: | ---: |",
        "| a | 0.5 | 0.1235 |",
        "| b |  | 2 |",
    ]


@pytest.mark.parametrize("name", ["expansion-table1", "expansion-table2"])
def test_algorithm2_reproduces(name: str) -> None:
    """A dozen random targets: within 10 % of the paper, and what chance adds."""
    reproduction = find_reproduction(name)
    config = type(reproduction.config)(repetitions=12)
    result = reproduction.run(config, lambda done: None)
    ours, paper = result.ours["algorithm2"], np.array(result.paper["algorithm2"])
    assert (np.abs(np.array(ours["mean"]) - paper) <= 0.1 * paper + 2 * np.array(ours["standard_error"])).all()
    assert result.ours["auto"]["mean"][0] < paper.min()
