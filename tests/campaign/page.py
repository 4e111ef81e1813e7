"""The tables of ``docs/campaign.md``: each campaign writes its own between two marks, after it has printed it.

python -m campaign.page     in tests/; writes that of the tries anew from ``table.json``
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from campaign.tries import BAD, GOOD

HERE = Path(__file__).resolve().parent
PAGE, TABLE = HERE.parents[1] / "docs" / "campaign.md", HERE / "table.json"


def write(name: str, lines: Iterable[str]) -> None:
    """Put lines between ``<!-- name -->`` and ``<!-- /name -->`` of the page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    text = PAGE.read_text("utf-8")
    before, found, rest = text.partition(begin)
    assert found, f"{PAGE} has no {begin}"
    assert end in rest, f"{PAGE} has no {end}"
    PAGE.write_text(before + begin + "".join(f"{line}\n" for line in lines) + rest[rest.index(end) :], "utf-8")


def written(name: str) -> list[str]:
    """What stands there."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE.read_text("utf-8"), re.S)
    assert found, f"{PAGE} has no {name}"
    return found[1].splitlines()


def versions() -> str:
    """What a table was made with."""
    words = ["git", "-C", str(HERE), "log", "-1", "--format=%h of %as"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return f"Commit {commit}, Python {platform.python_version()}, {platform.system()}."


def tries_table(table: dict[str, Any]) -> list[str]:
    """The table of tries, a row a reader and one of sums."""
    columns = ("tries", *GOOD, *BAD)
    rows = sorted(table["readers"].items())
    lines = [f"| reader | {' | '.join(columns)} | slowest, CPU s | largest, MiB |", "| --- |" + " --- |" * 9]
    for name, row in rows:
        numbers = " | ".join(str(row[column]) for column in columns)
        lines.append(f"| {name} | {numbers} | {row['slowest']:.2f} | {row['largest']} |")
    sums = " | ".join(str(sum(row[column] for _, row in rows)) for column in columns)
    most = [max((row[each] for _, row in rows), default=0) for each in ("slowest", "largest")]
    return [*lines, f"| **all** | {sums} | {most[0]:.2f} | {most[1]} |"]


if __name__ == "__main__":
    write("tries", tries_table(json.loads(TABLE.read_text())))
