"""What the speed benchmarks share: medians of CPU time, lines with targets, and the page that lists them."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Line:
    """One figure. `target` is the most, or the least if `at_least`, that was aimed at; None: for information."""

    section: str
    what: str
    measured: float
    unit: str = "x"
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.measured >= self.target if self.at_least else self.measured <= self.target


@dataclass(frozen=True)
class Scale:
    """How much of everything: `of` shrinks a number of points."""

    rounds: int
    divisor: int = 1

    def of(self, n: int) -> int:
        return max(n // self.divisor, 1000)


Section = Callable[[Scale], Iterator[Line]]


def cpu_medians(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each case, over rounds in which all take turns, after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, case in cases.items():
            started = time.process_time()
            case()
            if turn > 0:
                times[name].append(time.process_time() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def cpu_once(case: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the CPU seconds that it took."""
    started = time.process_time()
    result = case()
    return result, time.process_time() - started


def figure(value: float, unit: str) -> str:
    text = (
        f"{value:.1e}"
        if 0 < abs(value) < 0.01
        else f"{value:,.0f}"
        if value >= 100
        else f"{value:.3g}"
        if value < 1
        else f"{value:.2f}"
    )
    return f"{text} {unit}".strip()


def page(title: str, text: str, script: str, lines: list[Line], versions: dict[str, str]) -> str:
    """A page of docs/: `text` and the lines, which `script` measured."""
    met = [line.met for line in lines if line.met is not None]
    parts = [
        f"# {title}",
        "",
        text.replace("\n", " "),
        "",
        f"{sum(met)} of {len(met)} targets are met. Written by `benchmarks/{script}`; lines without a target are for "
        "information.",
        "",
        "| | target | measured | |",
        "|---|---:|---:|---|",
    ]
    section = ""
    for line in lines:
        if line.section != section:
            section = line.section
            parts.append(f"| **{section}** | | | |")
        target = "" if line.target is None else f"{'≥' if line.at_least else '≤'} {figure(line.target, line.unit)}"
        verdict = {None: "", True: "met", False: "**not met**"}[line.met]
        what = f"{line.what} ({line.note})" if line.note else line.what
        parts.append(f"| {what} | {target} | {figure(line.measured, line.unit)} | {verdict} |")
    parts += ["", "With " + ", ".join(f"{name} {number}" for name, number in versions.items()) + "."]
    return "\n".join(parts) + "\n"


def versions_of(packages: tuple[str, ...]) -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write_report(out: Path, lines: list[Line], versions: dict[str, str], quick: bool) -> None:
    """The JSON of a run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {"versions": versions, "quick": quick, "lines": [{**asdict(line), "met": line.met} for line in lines]}
    out.write_text(json.dumps(report, indent=1) + "\n")


def measured(sections: tuple[Section, ...], names: tuple[str, ...], scale: Scale) -> list[Line]:
    """The lines of the sections of these names, printed as they come."""
    lines: list[Line] = []
    for section in sections:
        for line in section(scale) if section.__name__ in names else ():
            print(f"{line.section}: {line.what}: {figure(line.measured, line.unit)}", flush=True)
            lines.append(line)
    return lines


def arguments(about: str, name: str, sections: tuple[Section, ...], rounds: int) -> dict[str, Any]:
    """The command line of a benchmark that writes results/NAME.json and benchmarks-NAME.md."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(f"results/{name}.json"), help="every figure (JSON)")
    parser.add_argument("--docs", type=Path, help=f"folder for benchmarks-{name}.md")
    parser.add_argument("--rounds", type=int, default=rounds)
    names = tuple(section.__name__ for section in sections)
    parser.add_argument("--sections", nargs="+", choices=names, default=names)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    return vars(parser.parse_args())
