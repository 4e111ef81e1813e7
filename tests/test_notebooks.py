"""What notebooks show: HTML that is whole, escaped and in the page's own ink; bars that need no widgets."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gaussmix import GaussianMixture1D, GMMExpansion, TableDensity
from gaussmix._progress import progress_bar
from gaussmix.distances import compare
from gaussmix.sheets import contact_sheet
from gaussmix.tables import compare_tables

RNG = np.random.default_rng(0)
X = RNG.gamma(2.0, size=400)
TABLE = {"<b>price</b>": X, "items": RNG.integers(0, 5, 400), "town": RNG.choice(["a&b", "c"], 400).astype(object)}
MOVED = TABLE | {"<b>price</b>": 2 * X, "town": np.full(400, "a&b", object)}


def whole(text: str) -> ElementTree.Element:
    """The HTML, which is well-formed, as a tree."""
    return ElementTree.fromstring(f"<div>{text}</div>")


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    normal = GaussianMixture1D([1.0], [0.0], [1.0])
    table = TableDensity(rule="fast", by="town").fit(TABLE)
    things: dict[str, Any] = {
        "distribution": normal,
        "report": GMMExpansion("fast").fit(X).report_,
        "comparison": compare(normal, normal.affine(1.0, 1.0)),
        "table": table,
        "two tables": compare_tables(TABLE, MOVED, names=("<old>", "new")),
        "not fitted": TableDensity(),
    }
    return {name: thing._repr_html_() for name, thing in things.items()}


@pytest.mark.parametrize("name", ["distribution", "report", "comparison", "table", "two tables", "not fitted"])
def test_html_is_whole_and_takes_the_ink_of_the_page(name: str, shown: dict[str, str]) -> None:
    tree = whole(shown[name])
    assert not list(tree.iter("script"))
    for each in tree.iter():
        style = each.get("style", "")
        assert "color:" not in style.replace("color:inherit", "")
        assert "background:" not in style.replace("background:none", "")


def test_a_table_has_a_line_and_a_sparkline_a_column(shown: dict[str, str]) -> None:
    _, *rows = whole(shown["table"]).iter("tr")
    cells = [["".join(cell.itertext()) for cell in row] for row in rows]
    assert [cell[:3] for cell in cells] == [
        ["<b>price</b>", "number", "0.0%"], ["items", "integer", "0.0%"], ["town", "category", "0.0%"]
    ]  # fmt: skip
    assert [len(list(row.iter("{http://www.w3.org/2000/svg}svg"))) for row in rows] == [1, 1, 0]
    low, middle, high = map(float, cells[0][3].split(", "))
    assert low < middle < high
    assert middle == pytest.approx(np.median(X), rel=0.1)
    assert cells[2][3].startswith(("a&b ", "c "))
    assert "columns" not in shown["not fitted"]


def test_two_tables_have_a_line_and_both_shapes_a_column(shown: dict[str, str]) -> None:
    tree = whole(shown["two tables"])
    _, *rows = tree.iter("tr")
    cells = [["".join(cell.itertext()) for cell in row] for row in rows]
    assert [cell[0] for cell in cells] == ["<b>price</b>", "town", "items"]
    assert cells[0][2].startswith("W1 / spread ")
    assert " % quantile moved most, " in cells[0][4]
    assert cells[1][4].startswith("vanished category: c (")
    assert float(cells[2][2].removeprefix("W1 / spread ")) == 0 < float(cells[2][3])
    assert "opacity" in rows[2][0].get("style", "")
    assert "opacity" not in rows[0][0].get("style", "")
    for row in rows:
        assert {"var(--old)", "var(--new)"} <= {each.get("fill") for each in row.iter()}
    assert {"<old> (400 rows)", "new (400 rows)"} <= {each.text for each in tree.iter("span")}


def test_a_report_says_what_print_says(shown: dict[str, str]) -> None:
    (said,) = whole(shown["report"]).iter("pre")
    assert said.text == str(GMMExpansion("fast").fit(X).report_)


def test_a_sheet_is_a_picture_in_a_notebook() -> None:
    sheet = contact_sheet(np.zeros((1, 8, 8, 3), np.uint8), columns=1)
    assert sheet._repr_png_().startswith(b"\x89PNG")  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]


def test_a_bar_in_a_notebook_needs_no_widgets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    drawn: list[str] = []
    shell = type("ZMQInteractiveShell", (), {})()
    display = SimpleNamespace(
        HTML=str, display=lambda page, display_id: (drawn.append(page), SimpleNamespace(update=drawn.append))[1]
    )
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)  # pyright: ignore[reportArgumentType]
    with progress_bar("rows < all", 10, show=True) as set_done:
        set_done(10)
    assert len(drawn) == 2
    assert whole(drawn[-1]).find("progress").attrib == {"value": "10", "max": "10"}  # pyright: ignore
    assert drawn[-1].startswith("rows &lt; all")
    with progress_bar("nothing", 10, show=False) as set_done:
        set_done(10)
    assert len(drawn) == 2
    assert capsys.readouterr().err == ""
