"""Check what lies in the wheel and in the source distribution of a folder: sizes, and what must and must not be there.

python .ci/contents.py dist
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

MEGABYTE = 1_000_000
MOST_CODE, MOST_ALL = 5 * MEGABYTE, 16 * MEGABYTE
NEEDED = ("README.md", "CHANGELOG.md", "CITATION.cff", "tests/conftest.py", "docs/conf.py", "constraints.txt")


def wheel_faults(path: Path) -> list[str]:
    """What is wrong with a wheel: too large, or with pages, tests or compiled files in it."""
    with zipfile.ZipFile(path) as archive:
        sizes = {each.filename: each.file_size for each in archive.infolist()}
    models = sum(size for name, size in sizes.items() if "/models/" in name)
    code = sum(sizes.values()) - models
    strangers = [name for name in sizes if not name.startswith(("gaussmix/", "gaussmix-"))]
    strangers += [name for name in sizes if name.endswith((".pyc", ".png", ".ipynb"))]
    faults = [f"{name} does not belong into the wheel" for name in strangers]
    if code > MOST_CODE:
        faults.append(f"code takes {code / MEGABYTE:.1f} MB; at most {MOST_CODE / MEGABYTE:.0f}")
    if path.stat().st_size > MOST_ALL:
        faults.append(f"the wheel takes {path.stat().st_size / MEGABYTE:.1f} MB; at most {MOST_ALL / MEGABYTE:.0f}")
    whole = path.stat().st_size / MEGABYTE
    print(f"{path.name}: {whole:.1f} MB; unpacked code {code / MEGABYTE:.1f}, models {models / MEGABYTE:.1f}")
    return faults


def source_faults(path: Path) -> list[str]:
    """What a source distribution lacks."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    print(f"{path.name}: {path.stat().st_size / MEGABYTE:.1f} MB, {len(names)} files")
    return [f"{name} is missing from the source distribution" for name in NEEDED if name not in names]


def main(folder: str = "dist") -> int:
    """Print sizes and faults; 1 if there are any."""
    wheels, sources = sorted(Path(folder).glob("*.whl")), sorted(Path(folder).glob("*.tar.gz"))
    if not wheels or not sources:
        print(f"{folder} holds {len(wheels)} wheels and {len(sources)} source distributions; build them first")
        return 1
    faults = [fault for each in wheels for fault in wheel_faults(each)]
    faults += [fault for each in sources for fault in source_faults(each)]
    print(*faults, sep="\n", end="")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
