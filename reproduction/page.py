"""The files of a reproduction: results/NAME.json, and docs/reproduction/NAME.md with its pictures.

The page is Markdown that a person wrote, ``pages/NAME.md``, with fields such as ``{algorithm2.mean.0:.4f}``. A field
is a path into the results: keys and positions separated by dots, then a format as of `str.format`. The paths start
among our numbers; ``paper.``, ``config.`` and ``cpu_seconds`` lead to the rest of the file, ``results.NAME.`` to our
numbers in results/NAME.json of this checkout. What is None or NaN reads "-". A literal brace is doubled.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import platform
import re
import string
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussmix import __version__
from gaussmix._files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGES = Path(__file__).parent / "pages"
RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "matplotlib")

_QUICK = (
    "**A quick run: the numbers come from too few repetitions to say anything, and the sentences are about the whole "
    "one.**"
)
_LARGE = 120_000
"""Bytes of a picture from which it gets a palette: rows of faces do not compress."""
_COLOURS = 128


@dataclass(frozen=True)
class Measured:
    """What a reproduction found."""

    ours: dict[str, Any]
    """JSON-able numbers, those that the page quotes among them."""
    paper: dict[str, Any]
    """The paper's, under the same keys as far as it prints them."""
    seen: dict[str, Any] = field(default_factory=dict)
    """What the pictures need beside the numbers, such as images and curves; not kept."""
    earlier_seconds: float = 0.0
    """Of CPU time, that earlier sittings spent on what was kept of them."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    cpu: float
    wall: float


def write_results(name: str, config: Any, measured: Measured, cost: Cost, out: Path, *, quick: bool) -> Path:
    """Write ``results/NAME.json`` under ``out``; a reader sees an old file or a whole new one."""
    facts = {
        "name": name,
        "quick": quick,
        "config": dataclasses.asdict(config),
        "seed": config.seed,
        "versions": versions(),
        "commit": commit(),
        "device": device(),
        "cpu_seconds": round(cost.cpu, 2),
        "wall_seconds": round(cost.wall, 2),
        "ours": measured.ours,
        "paper": measured.paper,
    }
    path = out / "results" / f"{name}.json"
    _write(path, json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def write_pictures(name: str, figures: Mapping[str, Figure], out: Path) -> list[Path]:
    """Write ``docs/reproduction/NAME<suffix>.png`` for each suffix of ``figures``."""
    from gaussmix.plots import save_figure

    paths = []
    for suffix, figure in figures.items():
        path = out / "docs" / "reproduction" / f"{name}{suffix}.png"
        for axes in figure.axes:
            if not _shows_anything(axes):
                axes.text(0.5, 0.5, "not run yet", transform=axes.transAxes, ha="center", va="center", color="#777777")
        save_figure(figure, path, dpi=110)
        if path.stat().st_size > _LARGE:
            _give_palette(path)
        paths.append(path)
    return paths


def _shows_anything(axes: Axes) -> bool:
    """Whether there is more in it than lines across, which have limits in one direction alone."""
    limits = np.asarray(axes.dataLim.extents)
    return bool(axes.texts) or not axes.axison or bool(np.isfinite(limits).all())


def write_page(name: str, out: Path) -> Path:
    """Write ``docs/reproduction/NAME.md`` from the page by hand and ``results/NAME.json`` under ``out``."""
    facts = json.loads((out / "results" / f"{name}.json").read_text(encoding="utf-8"))
    path = out / "docs" / "reproduction" / f"{name}.md"
    _write(path, page_of((PAGES / f"{name}.md").read_text(encoding="utf-8"), facts))
    return path


def page_of(template: str, facts: Mapping[str, Any]) -> str:
    """The page: ``template`` with its fields filled in from ``facts``, and how it was made.

    Raises KeyError naming a field that the results do not hold.
    """
    text = fill(template, facts).strip()
    if facts["quick"]:
        title, _, rest = text.partition("\n")
        text = f"{title}\n\n{_QUICK}\n{rest}"
    settings = ", ".join(f"{key} {_setting(value)}" for key, value in facts["config"].items())
    return (
        f"{text}\n\n---\n\n`python -m reproduction {facts['name']}`; {settings}. Took {facts['cpu_seconds']:.0f} s of "
        f"CPU time on one thread. Numbers, versions and commit: "
        f"[results/{facts['name']}.json](../../results/{facts['name']}.json).\n"
    )


def fill(template: str, facts: Mapping[str, Any]) -> str:
    """``template`` with its fields from ``facts``. Raises KeyError naming a field that they do not hold."""
    known = {**facts["ours"], "paper": facts["paper"], "config": facts["config"], "cpu_seconds": facts["cpu_seconds"]}
    parts = []
    for text, path, form, _ in string.Formatter().parse(template):
        parts.append(text)
        if path is not None:
            parts.append(_shown(_look_up_anywhere(known, path), form or ""))
    # what no seed has measured yet, and what only one has
    return re.sub(r" ± -(?![\d.])", "", "".join(parts).replace("- ± -", "not run yet"))


def _look_up_anywhere(known: Any, path: str) -> Any:
    """`look_up`, also in the results of another page or benchmark."""
    elsewhere, found, rest = path.partition("results.")
    if not found or elsewhere:
        return look_up(known, path)
    name, _, rest = rest.partition(".")
    return look_up(_numbers(name), rest)


@cache
def _numbers(name: str) -> Any:
    """Our numbers in results/NAME.json. Raises KeyError naming the file if there is none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise KeyError(f"there is no results/{name}.json")
    facts = json.loads(path.read_text(encoding="utf-8"))
    return facts.get("ours", facts)


def look_up(known: Any, path: str) -> Any:
    """What lies at ``path``: keys and positions, separated by dots; a key may hold dots itself.

    Raises KeyError naming the path.
    """
    if not path:
        return known
    words = path.split(".")
    for n in range(1, len(words) + 1):
        step, rest = ".".join(words[:n]), ".".join(words[n:])
        if isinstance(known, Mapping) and step in known:
            return look_up(known[step], rest)
        if isinstance(known, list) and step.isdecimal() and int(step) < len(known):
            return look_up(known[int(step)], rest)
    raise KeyError(f"the results hold no {path!r}")


def versions() -> dict[str, str]:
    """Of Python, of us and of what computes; torch where it did."""
    found = {"python": platform.python_version(), "gaussmix": __version__}
    used = [*PACKAGES, *(["torch"] if "torch" in sys.modules else [])]
    return found | {package: importlib.metadata.version(package) for package in used}


def commit() -> str | None:
    """The commit of this checkout, with "+" where files differ from it; None without one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", "src", "reproduction") else "")
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


def _plain(value: Any) -> Any:
    """``value`` for JSON: NumPy's numbers and arrays as Python's, NaN as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


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


def _setting(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
