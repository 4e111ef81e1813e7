"""Write constraints that hold the dependencies of the core at the lower bounds of pyproject.toml.

python .ci/oldest.py [FILE]      # - or nothing: to standard output
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lower_bounds(requirements: list[str]) -> list[str]:
    """Constraints for requirements such as ``numpy>=1.26``: the lowest release series that they allow."""
    bounds = []
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement)
        if found is None:
            raise SystemExit(f"{requirement!r} has no lower bound of the form name>=version; give it one")
        bounds.append(f"{found[1]}=={found[2]}.*")
    return bounds


def main(file: str = "-") -> None:
    """Write them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = "\n".join(lower_bounds(project["dependencies"])) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
