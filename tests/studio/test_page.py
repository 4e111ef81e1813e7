"""Sessions and the page: files that go, sentences, tabs; with NiceGUI's user, who needs no browser."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the studio is an extra: pip install 'gaussmix[studio]'")

from nicegui import ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing.user import User
from studio.visits import CSV, opened, visit

from gaussmix.studio import parts
from gaussmix.studio.layout import PAGES, Page
from gaussmix.studio.session import MOST_BYTES, Session, Settings, Studio
from gaussmix.studio.work import Progress


@dataclass
class Sent:
    """A file on its way in."""

    name: str
    content: bytes = CSV
    claimed: int | None = None

    def size(self) -> int:
        return len(self.content) if self.claimed is None else self.claimed

    async def save(self, path: Path) -> None:
        path.write_bytes(self.content)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    yield from opened(tmp_path)


# -- sessions


@pytest.mark.parametrize(
    "name", ["sales.csv", "../../etc/passwd.csv", "C:\\tables\\x.CSV", "<b>bold</b>.csv", "a\nb.csv"]
)
def test_a_file_is_kept_under_a_name_of_ours(studio: Studio, name: str) -> None:
    session = studio.open()
    kept = asyncio.run(session.keep(Sent(name), parts.TABLES))
    assert kept.path.parent == session.folder
    assert re.fullmatch(r"[0-9a-f]{16}\.csv", kept.path.name)
    assert kept.path.read_bytes() == CSV
    assert not set("/\\\n") & set(kept.name)
    assert session.files == [kept]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (Sent("x.exe"), "x.exe is none of .arrow, .csv"),
        (Sent("csv"), "csv is none of"),
        (Sent(""), "a file without a name is none of"),
        (Sent("../.."), "a file without a name is none of"),
        (Sent("x.csv\0.exe"), r"x.csv\\x00.exe is none of"),
        (Sent("x.csv\u202e"), r"x.csv\\u202e is none of"),
        (Sent("x.csv", claimed=MOST_BYTES + 1), r"x.csv has 1.1 GB; the page takes files up to 1 GB"),
    ],
)
def test_other_files_are_refused(studio: Studio, sent: Sent, said: str) -> None:
    session = studio.open()
    with pytest.raises(ValueError, match=said):
        asyncio.run(session.keep(sent, parts.TABLES))
    assert list(session.folder.iterdir()) == []


def test_a_session_keeps_so_much(studio: Studio) -> None:
    session = studio.open()
    for _ in range(2):
        asyncio.run(session.keep(Sent("x.csv", claimed=MOST_BYTES), parts.TABLES))
    with pytest.raises(ValueError, match="too much beside what this page holds"):
        asyncio.run(session.keep(Sent("x.csv"), parts.TABLES))


def test_files_go_with_their_session_alone(studio: Studio) -> None:
    mine, yours = studio.open(), studio.open()
    kept = [asyncio.run(session.keep(Sent("x.csv"), parts.TABLES)) for session in (mine, yours)]
    mine.close()
    assert [file.path.exists() for file in kept] == [False, True]
    with pytest.raises(ValueError, match="closed"):
        _ = mine.folder
    studio.close()
    assert not studio.folder.exists()


def test_errors_as_sentences(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    session = studio.open()
    kept = asyncio.run(session.keep(Sent("sales.csv"), parts.TABLES))
    assert session.sentence(ValueError(f"{kept.path} is empty")) == "sales.csv is empty"
    assert caplog.records == []
    with caplog.at_level(logging.ERROR, "gaussmix"):
        assert "by a fault of gaussmix" in session.sentence(ZeroDivisionError("secret"))
    assert "secret" in caplog.text


def test_what_is_shared_is_made_once(studio: Studio) -> None:
    made: list[int] = []
    for session in (studio.open(), studio.open()):
        assert session.studio.once("model", lambda: made.append(1) or made) is made
    assert made == [1]


# -- the page


def test_a_dropped_table(studio: Studio) -> None:
    async def steps(user: User) -> None:
        await user.should_see(ui.upload, retries=100)
        (box,) = user.find(ui.upload).elements
        await box.handle_uploads([SmallFileUpload("../<i>sales</i>.csv", "text/csv", CSV)])
        await user.should_see("50% quantile", retries=200)
        (session,) = studio.sessions
        assert [file.path.parent for file in session.files] == [session.folder]
        await box.handle_uploads([SmallFileUpload("sales.zip", "application/zip", CSV)])
        await user.should_see("sales.zip is none of")
        await box.handle_uploads([SmallFileUpload("words.csv", "text/csv", b"name\na\nb\n")])
        await user.should_see("words.csv holds text alone", retries=20)
        await box.handle_uploads([SmallFileUpload("none.csv", "text/csv", b"")])
        await user.should_see("none.csv is empty", retries=20)

    visit(studio, steps)


def test_a_session_ends_with_its_page(studio: Studio) -> None:
    async def steps(user: User) -> None:
        await user.should_see(ui.upload, retries=100)
        (session,) = studio.sessions
        folder = session.folder
        user.current_layout.client.delete()
        assert session.closed
        assert not folder.exists()
        assert studio.sessions == set()

    visit(studio, steps)


def test_a_job_on_the_page(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place in line, what it tells, cancelling it, and what it says when it fails."""
    gates = {name: threading.Event() for name in ("first", "second")}
    got: list[Any] = []

    def work(name: str, *, progress: Progress) -> str:
        while not gates[name].wait(0.005):
            progress(0.25, "looking", None)
        progress(0.5, "looking", f"a picture of {name}")
        if name == "second":
            raise ValueError("no <b>picture</b>")
        return name

    def build(session: Session) -> None:
        async def start(name: str) -> None:
            title = f"Work on {name}"
            got.append(await parts.run(session, where, title, work, name, on_value=lambda text: ui.label(text)))

        with parts.card("A card") as where:
            for name in gates:
                ui.button(f"Start {name}").on_click(partial(start, name))

    module: Any = types.ModuleType("gaussmix.studio.made_for_a_test")
    module.build = build
    monkeypatch.setitem(sys.modules, module.__name__, module)

    async def steps(user: User) -> None:
        await user.should_see("Start first", retries=100)
        user.find("Start first").click()
        await user.should_see("looking", retries=20)
        user.find("Start second").click()
        await user.should_see("1 before you")
        gates["first"].set()
        await user.should_see("a picture of first", retries=20)
        gates["second"].set()
        await user.should_see("no <b>picture</b>", retries=20)
        await user.should_not_see("before you")
        assert got == ["first", None]
        gates["first"].clear()
        user.find("Start first").click()
        await user.should_see("looking", retries=20)
        user.find("Cancel").click()
        await user.should_not_see("Work on first", retries=40)
        assert got == ["first", None, None]

    visit(studio, steps, (Page("test", "Test", module.__name__),))


def test_files_of_the_command_line_are_offered(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(CSV)
    (tmp_path / "studio").mkdir()
    studio = Studio(Settings((tmp_path / "x.csv",)), folder=tmp_path / "studio")

    async def steps(user: User) -> None:
        await user.should_see("x.csv", retries=100)

    visit(studio, steps)
    studio.close()
    assert (tmp_path / "x.csv").exists()


def test_the_page_loads_no_torch() -> None:
    modules = ["gaussmix.studio.server", *(page.module for page in PAGES)]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"


def test_every_tab_has_a_module() -> None:
    assert len({page.name for page in PAGES}) == len(PAGES) > 0
    for page in PAGES:
        assert callable(__import__(page.module, fromlist=["build"]).build)
