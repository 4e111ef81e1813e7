"""docs/equations.md lists every numbered equation; its names and pages are there; modules name their equations."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import DOCS, dead_links

TEXT = (DOCS / "equations.md").read_text()
EXPANSION, DIFFUSION = re.split(r"^## D: ", TEXT.partition("## The readings")[0], flags=re.MULTILINE)


def rows(text: str) -> Iterator[tuple[str, str]]:
    """(what of the paper, what of the package) of each row of the table."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "| in the paper")):
            place, _, here = (cell.strip() for cell in line.strip("|").split("|"))
            yield place, here


def numbers(place: str, kind: str) -> list[int]:
    """Of "Eq. 3, Eq. 4" or "Figures 3 to 7"."""
    if not place.startswith(kind):
        return []
    found = [int(number) for number in re.findall(r"\d+", place)]
    return list(range(found[0], found[1] + 1)) if " to " in place else found


@pytest.mark.parametrize(
    ("text", "kind", "last"),
    [
        (EXPANSION, "Eq.", 11),
        (EXPANSION, "Algorithm", 2),
        (EXPANSION, "Table", 3),
        (EXPANSION, "Figure", 13),
        (DIFFUSION, "Eq.", 18),
        (DIFFUSION, "Algorithm", 1),
        (DIFFUSION, "Figure", 16),
    ],
)
def test_all_are_listed_once(text: str, kind: str, last: int) -> None:
    assert sorted(n for place, _ in rows(text) for n in numbers(place, kind)) == list(range(1, last + 1))


def test_links_lead_somewhere() -> None:
    assert not dead_links(TEXT, DOCS)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(gaussmix(?:\.\w+)+)`", TEXT))))
def test_names_are_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name)


@pytest.mark.parametrize(("paper", "text"), [("E", EXPANSION), ("D", DIFFUSION)])
def test_a_module_names_the_equations_that_it_implements(paper: str, text: str) -> None:
    missing = []
    for place, here in rows(text):
        if here.startswith(("not ", "follows ")):
            continue
        for name in re.findall(r"`(gaussmix(?:\.\w+)+)\.\w+`", here)[:1]:
            source = Path(importlib.import_module(name).__file__ or "").read_text()
            missing += [f"{name}: {paper} Eq. {n}" for n in numbers(place, "Eq.") if f"Eq. {n}" not in source]
    assert missing == []
