"""Where names of other projects are described: small inventories for intersphinx, which need no network.

``inventories.txt`` lists the names that our docstrings use, with the kind and the page of each; a build makes of it
what Sphinx reads. A whole ``objects.inv``, as each project has beside its pages, says kinds and pages anew:

python docs/inventories.py numpy=objects.inv pandas=objects.inv ...
"""

from __future__ import annotations

import re
import sys
import zlib
from pathlib import Path

LISTED = Path(__file__).with_name("inventories.txt")
SECTION = re.compile(r"\[(\w+) (https://\S+)\]")
NAMES = {  # short names in our docstrings -> whole ones
    "array_like": ":term:`numpy:array_like`",
    "array-like": ":term:`numpy:array_like`",
    "Axes": "matplotlib.axes.Axes",
    "bool": ":class:`bool`",
    "DataFrame": "pandas.DataFrame",
    "Figure": "matplotlib.figure.Figure",
    "Generator": "numpy.random.Generator",
    "hashable": ":term:`python:hashable`",
    "mapping": ":term:`python:mapping`",
    "ndarray": "numpy.ndarray",
    "numpy.random.Generator": ":class:`numpy.random.Generator`",
    "object": ":class:`object`",
    "path-like": ":class:`path-like <os.PathLike>`",
    "Path": "pathlib.Path",
    "RandomState": "numpy.random.RandomState",
    "Tensor": "torch.Tensor",
    "tensor": "torch.Tensor",
    "torch.device": ":class:`torch.device`",
    "torch.dtype": ":class:`torch.dtype`",
    "torch.Generator": ":class:`torch.Generator`",
    "torch.Tensor": ":class:`torch.Tensor`",
}


def write(folder: Path) -> dict[str, tuple[str, str]]:
    """Write an inventory for each project into ``folder``; what ``intersphinx_mapping`` is to be."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, lines) in read().items():
        entries = (" ".join((name, kind, "1", place, "-")) for name, kind, place in map(str.split, lines))
        packed = zlib.compress("".join(f"{entry}\n" for entry in entries).encode())
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# Zipped with zlib\n"
        path = folder / f"{project}.inv"
        path.write_bytes(head.encode() + packed)
        mapping[project] = (address, str(path))
    return mapping


def read() -> dict[str, tuple[str, list[str]]]:
    """Address and lines of each section."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in LISTED.read_text().splitlines():
        if section := SECTION.fullmatch(line):
            found[section[1]] = (section[2], [])
        elif line and not line.startswith("#"):
            found[list(found)[-1]][1].append(line)
    return found


def renew(line: str, whole: bytes) -> str:
    """A line of the list with kind and place from a whole inventory. Raises KeyError if that lacks the name."""
    name, *known = line.split()
    entries = re.findall(rf"^{re.escape(name)} (\S+) \S+ (\S+) .*$", whole.decode(), re.MULTILINE)
    kinds = known[:1] or [kind for kind, _ in entries if kind.startswith("py:")]
    for kind, place in entries:
        if kind in kinds:
            return f"{name} {kind} {place.replace('$', name)}"
    raise KeyError(f"{name} {' '.join(known[:1])}")


def main(given: list[str]) -> None:
    """Renew the sections that are named."""
    whole = {}
    for project, _, path in (each.partition("=") for each in given):
        packed = Path(path).read_bytes()
        whole[project] = zlib.decompress(packed[packed.index(b"zlib.\n") + 6 :])
    project, lines = "", []
    for line in LISTED.read_text().splitlines():
        section = SECTION.fullmatch(line)
        project = section[1] if section else project
        lines.append(renew(line, whole[project]) if line and line[0] not in "#[" and project in whole else line)
    LISTED.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
