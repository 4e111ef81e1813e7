"""The code in the guides runs, its commands exist, and what Markdown links to is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zlib
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest
from test_house import ROOT, command_error, gaussmix_commands, python_script

DOCS = ROOT / "docs"
PAGES = [
    *ROOT.glob("*.md"),
    *DOCS.glob("*.md"),
    *(DOCS / "reproduction").glob("*.md"),
    *(ROOT / "src/gaussmix/models").rglob("*.md"),
    *(ROOT / ".github").rglob("*.md"),
]
PRINTED = {
    "autoencoder.md": "[8 8 8 8 8 8 8 8 8 8]",
    "conditional.md": "90 % intervals cover",
    "density.md": "10 000 numbers",
    "distances.md": "Wasserstein distance W1",
    "metrics.md": "real against real",
    "tables.md": "TableDensity(by='country')",
    "sampling.md": "pictures 32 to 39",
    "start.md": "10 000 numbers",
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_the_page_lead_somewhere(page: Path) -> None:
    assert not dead_links(page.read_text(), page.parent)


def test_every_page_is_in_a_table_of_contents() -> None:
    """Of the site: a page that none names is lost; Sphinx says so, but only when it is built."""
    named: set[str] = set()
    for page in DOCS.glob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            named |= {re.sub(r".*<(.*)>$", r"\1", line) for line in block.splitlines() if line and line[0] != ":"}
    lost = [page.stem for page in DOCS.glob("*.md") if not any(fnmatch(page.stem, each) for each in named)]
    assert lost == ["index"]


def load_inventories() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inventories", DOCS / "inventories.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_inventories_hold_what_short_names_stand_for(tmp_path: Path) -> None:
    inventories = load_inventories()
    listed = {line.split()[0] for _, lines in inventories.read().values() for line in lines}
    named = {re.sub(r":\w+:`(?:[^<`]+<)?(?:\w+:)?([\w.]+)>?`", r"\1", each) for each in inventories.NAMES.values()}
    assert named <= listed
    for address, path in inventories.write(tmp_path).values():
        assert address.endswith("/")
        head, packed = Path(path).read_bytes().split(b"zlib\n")
        assert head.startswith(b"# Sphinx inventory version 2\n")
        for line in zlib.decompress(packed).decode().splitlines():
            name, kind, _, place, _ = line.split(" ")
            assert (
                inventories.renew(f"{name} {kind}", f"{name} {kind} 1 {place} -\n".encode()) == f"{name} {kind} {place}"
            )
    with pytest.raises(KeyError, match=r"numpy\.nothing"):
        inventories.renew("numpy.nothing", b"numpy.ndarray py:class 1 a.html#$ -\n")


def test_numbers_on_the_papers_stand_on_their_pages() -> None:
    checked = 0
    for line in (DOCS / "papers.md").read_text().splitlines():
        link = re.search(r"\]\((reproduction/[\w-]+\.md)\) \|$", line)
        if link:
            number = line.split(" | ")[2]
            text = (DOCS / link[1]).read_text()
            found = [each for each in re.findall(r"\d[\d,.]*(?:e-\d+)?", number) if len(each) > 1]
            assert not [each for each in found if each not in text], line
            checked += len(found)
    assert checked > 20


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
