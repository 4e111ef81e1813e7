"""``gaussmix demo``: every part leaves its picture, a second run does nothing again, and Ctrl-C keeps what there is."""

from __future__ import annotations

import dataclasses
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from gaussmix.cli import main, parse
from gaussmix.cli._flags import CommandError
from gaussmix.cli.demo import RunDemo
from gaussmix.diffusion.config import PRESETS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The words of a demo that is over in seconds."""
    small = dataclasses.replace(PRESETS["transformer"], count=60, width=16, depth=1, steps=4, sample_every=2)
    monkeypatch.setitem(PRESETS, "transformer", small)
    return ["demo", "--output", str(tmp_path), "--digit-steps", "2"]


class Pictures(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [dict(attrs)["src"] or ""] if tag == "img" else []


def test_every_part_is_there_once(quick, tmp_path, capsys):
    assert main(quick) == 0
    assert "4 of 4: New digits" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text("utf-8")
    shown = Pictures(page).found
    assert {"density.png", "faces.png", "faces/samples.png", "digits/samples.png"} <= set(shown)
    assert {"faces/samples/step-00000000.png", "faces/samples/step-00000004.png"} <= set(shown)
    assert all((tmp_path / name).is_file() for name in shown)
    assert "http-equiv" not in page  # nothing is missing: it need not look again
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.size == (1800, 1680)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert main(quick) == 0
    assert capsys.readouterr().out.count(": already there, ") == 4
    kept = [path for path in made if path.name != "samples.png" or path.parent != tmp_path]
    assert all(path.stat().st_mtime_ns == made[path] for path in kept)


def test_what_the_page_tells_to_type_can_be_typed(tmp_path):
    for part in RunDemo(output=tmp_path / "with space").parts():
        for line in part.then:
            command, *words = shlex.split(line)
            assert command == "gaussmix"
            parse(words)


def test_ctrl_c_keeps_what_there_is_and_the_same_command_goes_on(quick, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise CommandError("stopped after step 2", 130)

    with monkeypatch.context() as patch:
        patch.setattr("gaussmix.cli.demo.run_training", interrupted)
        assert main(quick) == 130
    assert "keeps what there is, and the same command goes on" in capsys.readouterr().err
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("Not there yet.") == 2
    assert "http-equiv" in page
    expected = [f"faces/samples/step-{step:08d}.png" for step in (0, 2, 4)]
    assert Pictures(page).found == ["density.png", "faces.png", *expected]
    before = (tmp_path / "density.png").stat().st_mtime_ns
    assert main(quick) == 0
    assert re.findall(r"(\d) of 4: [\w ]+\n", capsys.readouterr().out) == ["3", "4"]
    assert (tmp_path / "density.png").stat().st_mtime_ns == before


def test_steps_below_one_are_refused(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path), "--steps", "0"]) == 2
    assert "steps" in capsys.readouterr().err
