"""The code in the guides runs, its commands exist, and what they link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_house import ROOT, command_error, gaussmix_commands, python_script

DOCS = ROOT / "docs"
PRINTED = {
    "autoencoder.md": "[8 8 8 8 8 8 8 8 8 8]",
    "conditional.md": "90 % intervals cover",
    "density.md": "10 000 numbers",
    "distances.md": "Wasserstein distance W1",
    "metrics.md": "real against real",
    "tables.md": "TableDensity(by='country')",
    "sampling.md": "pictures 32 to 39",
}
GUIDES = (*PRINTED, "classifier.md", "editing.md", "style.md")


def anchors(text: str) -> set[str]:
    """Of the headings of Markdown `text`, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(text: str, folder: Path) -> list[str]:
    """Targets of links and pictures in Markdown `text` that are neither in `folder` nor on the page itself."""

    def alive(target: str) -> bool:
        if "://" in target:
            return True
        file, _, anchor = target.partition("#")
        if file and not (folder / file).exists():
            return False
        return not anchor or anchor in anchors((folder / file).read_text() if file else text)

    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not alive(target)]


@pytest.mark.parametrize("guide", PRINTED)
def test_python_of_the_guide_runs(guide: str, tmp_path: Path) -> None:
    (tmp_path / "guide.py").write_text(python_script((DOCS / guide).read_text()))
    done = subprocess.run([sys.executable, "guide.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert PRINTED[guide] in done.stdout


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_of_the_guide_exist(guide: str) -> None:
    commands = gaussmix_commands((DOCS / guide).read_text())
    assert len(commands) >= 3
    assert not [error for words in commands if (error := command_error(words))]


@pytest.mark.parametrize("guide", GUIDES)
def test_links_of_the_guide_lead_somewhere(guide: str) -> None:
    assert not dead_links((DOCS / guide).read_text(), DOCS)


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("# A title, of sorts\n[a](#a-title-of-sorts) [b](density.md)", []),
        ("# A\n```\n# B\n```\n[b](#b) ![c](gallery/nothing.png)", ["#b", "gallery/nothing.png"]),
        ("[a](density.md#nowhere) [b](density.md#weights) [c](https://a.b/c)", ["density.md#nowhere"]),
    ],
)
def test_the_link_test_can_fail(text: str, dead: list[str]) -> None:
    assert dead_links(text, DOCS) == dead
