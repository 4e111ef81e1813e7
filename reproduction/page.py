"""Files of a reproduction: results/NAME.json, docs/reproduction/NAME.md and its pictures.

What a reproduction hands back: numbers beside the paper's, tables, what was read how, pictures.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaussmix import __version__
from gaussmix._files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    """Rows under column names; None is an empty cell."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Picture:
    """One figure, drawn when it is saved."""

    suffix: str
    """Added to the reproduction's name: "" or for example "-examples"."""
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Result:
    """One table or figure of a paper as we get it."""

    title: str
    about: str
    """One sentence: what is shown."""
    ours: dict[str, Any]
    """JSON-able numbers."""
    paper: dict[str, Any]
    """The paper's, under the same keys as far as it prints them."""
    tables: tuple[Table, ...]
    readings: tuple[str, ...]
    """How the paper was read where it leaves a choice, and what it does not say."""
    findings: tuple[str, ...]
    """What reproduces and what does not."""
    pictures: tuple[Picture, ...]


PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "matplotlib")

_LARGE = 120_000
"""Bytes of a picture from which it gets a palette: rows of faces do not compress."""
_COLOURS = 128


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    cpu: float
    wall: float


def write_report(name: str, config: Any, result: Result, cost: Cost, out: Path, *, quick: bool) -> list[Path]:
    """Write everything under ``out``; returns the paths, JSON first. A reader sees an old file or a whole new one."""
    from gaussmix.plots import save_figure

    results, docs = out / "results", out / "docs" / "reproduction"
    written = [results / f"{name}.json", docs / f"{name}.md"]
    for picture in result.pictures:
        path = docs / f"{name}{picture.suffix}.png"
        save_figure(picture.draw(), path, dpi=110)
        if path.stat().st_size > _LARGE:
            _give_palette(path)
        written.append(path)
    facts = {
        "name": name,
        "title": result.title,
        "quick": quick,
        "config": dataclasses.asdict(config),
        "seed": config.seed,
        "versions": versions(),
        "commit": commit(),
        "device": device(),
        "cpu_seconds": round(cost.cpu, 2),
        "wall_seconds": round(cost.wall, 2),
        "ours": result.ours,
        "paper": result.paper,
        "readings": list(result.readings),
        "findings": list(result.findings),
    }
    _write(written[0], json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    _write(written[1], markdown(name, facts, result))
    return written


def markdown(name: str, facts: dict[str, Any], result: Result) -> str:
    """The page of a reproduction."""
    lines = [f"# {result.title}", "", result.about]
    if facts["quick"]:
        lines += ["", "**A quick run: too few repetitions to say anything.**"]
    for table in result.tables:
        lines += ["", f"## {table.title}", "", *table_lines(table)]
    for title, texts in (("What was found", result.findings), ("How the paper was read", result.readings)):
        lines += ["", f"## {title}", "", *(f"- {text}" for text in texts)]
    for picture in result.pictures:
        part = f", {picture.suffix.strip('-')}" if picture.suffix else ""
        lines += ["", f"![{result.title}{part}]({name}{picture.suffix}.png)", "", f"*{picture.caption}*"]
    settings = ", ".join(f"{key} {_setting(value)}" for key, value in facts["config"].items())
    lines += [
        "",
        "---",
        "",
        f"`gaussmix reproduce {name}`; {settings}. Took {facts['cpu_seconds']:.0f} s of CPU time on one thread. "
        f"Numbers, versions and commit: [results/{name}.json](../../results/{name}.json).",
    ]
    return "\n".join(lines) + "\n"


def table_lines(table: Table) -> list[str]:
    """The table in Markdown; numbers are set right."""
    numeric = [all(not isinstance(row[i], str) for row in table.rows) for i in range(len(table.columns))]
    lines = [_row(table.columns), _row(tuple("---:" if right else "---" for right in numeric))]
    return lines + [_row(tuple(map(_text, row))) for row in table.rows]


def versions() -> dict[str, str]:
    """Of Python, of us and of what computes; torch where it did."""
    found = {"python": platform.python_version(), "gaussmix": __version__}
    used = [*PACKAGES, *(["torch"] if "torch" in sys.modules else [])]
    return found | {package: importlib.metadata.version(package) for package in used}


def commit() -> str | None:
    """The commit of the checkout that this package lies in, with "+" where files differ from it; None without one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def device() -> str:
    """The processor's name; no part of this runs on a GPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"CPU: {name}"


def _give_palette(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    with whole_file(path) as aside:
        few.save(aside, format="PNG", optimize=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else f"{cell:.4g}"


def _setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
