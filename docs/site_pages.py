"""Pages of the site that are made from the package: the API, the commands, and what lies outside this folder.

They are written into ``docs/generated`` before Sphinx reads, and are not kept.

python docs/site_pages.py      # pictures of the last build into docs/gallery, for those that read the guides elsewhere
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"

# What lies outside docs/ and has a page of the site: where it lies -> the page, both relative to the repository.
MOVED = {
    "README.md": "docs/index.md",
    "docs/reproduction": "docs/papers.md",
    "CONTRIBUTING.md": "docs/generated/contributing.md",
    "CHANGELOG.md": "docs/generated/changelog.md",
    "SECURITY.md": "docs/generated/security.md",
    **{
        f"src/gaussmix/models/{path.parent.name}/README.md": f"docs/generated/models/{path.parent.name}.md"
        for path in sorted((ROOT / "src/gaussmix/models").glob("*/README.md"))
    },
    **{f"examples/{path.name}": f"docs/generated/gallery/{path.stem}.rst" for path in (ROOT / "examples").glob("*.py")},
}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
PLAIN = {"gaussmix.cli"}  # the commands have pages of their own


def write_pages(app: Any = None) -> None:
    """Write all of them; one that has not changed keeps its time, so that Sphinx does not read it again."""
    pages = dict(copied_pages())
    pages |= api_pages()
    pages |= command_pages()
    for name, text in pages.items():
        path = GENERATED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def copied_pages() -> Iterator[tuple[str, str]]:
    """Markdown from outside docs/, with links that hold where it comes to lie; models under one heading."""
    cards = []
    for source, page in MOVED.items():
        if not source.endswith(".md") or page == "docs/index.md":
            continue
        text = redirect(ROOT.joinpath(source).read_text(), ROOT / source, ROOT / page)
        yield str(Path(page).relative_to("docs/generated")), text
        if "/models/" in page:
            cards.append(Path(page).name)
    listed = "\n".join(cards)
    yield "models/index.md", f"# Model cards\n\nWhat the package brings with it.\n\n```{{toctree}}\n{listed}\n```\n"


def redirect(text: str, source: Path, page: Path) -> str:
    """Markdown that lay at ``source``, for ``page``: a link to a file leads to its page, or to the file from there."""

    def moved(found: re.Match[str]) -> str:
        target = found[2]
        if "://" in target or target.startswith(("mailto:", "/")):
            return found[0]
        place = (source.parent / target).resolve()
        if not place.exists():
            return found[0]
        place = ROOT / MOVED.get(place.relative_to(ROOT).as_posix(), place)
        return f"{found[1]}{os.path.relpath(place, page.parent).replace(os.sep, '/')}{found[3] or ''}{found[4]}"

    return LINK.sub(moved, text)


def redirect_links(app: Any, docname: str, content: list[str]) -> None:
    """Redirect the links of a page that lies in this folder as it does on GitHub."""
    path = DOCS / f"{docname}.md"
    if path.exists() and not path.is_relative_to(GENERATED):
        content[0] = redirect(content[0], path, path)


# --- the API, from the faces of the packages


def packages() -> list[str]:
    """Every public package, by name."""
    import gaussmix

    found = pkgutil.iter_modules(gaussmix.__path__, "gaussmix.")
    return [each.name for each in found if each.ispkg and not each.name.startswith("gaussmix._")]


def api_pages() -> dict[str, str]:
    """A page for each package, and one that lists them."""
    pages: dict[str, str] = {}
    rows = []
    for package in packages():
        face = importlib.import_module(package)
        names = [] if package in PLAIN else [name for name in getattr(face, "__all__", []) if not is_module(face, name)]
        if not names:
            continue
        pages[f"api/{package}.rst"] = api_page(package, face, names)
        summary = (inspect.getdoc(face) or "").partition("\n\n")[0].replace("\n", " ")
        rows.append(f"   * - :doc:`{package}`\n     - {summary}")
    listed = "\n".join(f"   {Path(name).stem}" for name in pages)
    top = importlib.import_module("gaussmix")
    names = ", ".join(f":py:obj:`~{defined_at(top, name)}`" for name in top.__all__)
    pages["api/index.rst"] = (
        f"{heading('API')}At the top, ``gaussmix`` has {names}.\n\n.. list-table::\n   :widths: 25 75\n\n"
        + "\n".join(rows)
        + f"\n\n.. toctree::\n   :hidden:\n\n{listed}\n"
    )
    return pages


def own_names() -> dict[str, str]:
    """Where each public name is described, for the types in docstrings."""
    faces = {package: importlib.import_module(package) for package in packages() if package not in PLAIN}
    return {
        name: f"{package}.{name}"
        for package, face in faces.items()
        for name in getattr(face, "__all__", [])
        if inspect.isclass(getattr(face, name))
    }


def is_module(face: Any, name: str) -> bool:
    """Whether a public name is a module."""
    return inspect.ismodule(getattr(face, name))


def defined_at(top: Any, name: str) -> str:
    """The name of a package's page under which a name of the top is described."""
    thing = getattr(top, name)
    if inspect.ismodule(thing):
        return thing.__name__
    return f"{'.'.join(thing.__module__.split('.')[:2])}.{name}"


def api_page(package: str, face: Any, names: list[str]) -> str:
    """The package's docstring, then each public name with its own."""
    parts = [heading(package), f".. automodule:: {package}\n"]
    for name in names:
        thing = getattr(face, name)
        kind = "class" if inspect.isclass(thing) else "function" if inspect.isfunction(thing) else "data"
        parts.append(heading(name, "-"))
        options = "   :members:\n" if kind == "class" else "   :no-value:\n" if kind == "data" else ""
        parts.append(f".. auto{kind}:: {package}.{name}\n{options}")
    return "\n".join(parts)


def heading(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}\n\n"


# --- the command line, from the commands


def command_pages() -> dict[str, str]:
    """A page for each group: what each of its commands prints for ``--help``."""
    from gaussmix.cli import GROUPS

    pages = {}
    for group, about in GROUPS.items():
        commands = importlib.import_module(f"gaussmix.cli.{group}").commands([])
        helps = "\n".join(f"## {name}\n\n```text\n{help_of([group, name])}\n```\n" for name in commands)
        pages[f"commands/{group}.md"] = f"# gaussmix {group}\n\n{about}\n\n{helps}"
    others = "\n".join(
        f"## gaussmix {name}\n\n```text\n{help_of([name])}\n```\n" for name in ("demo", "warmup", "completion")
    )
    rows = "\n".join(f"| [`gaussmix {group}`]({group}.md) | {about} |" for group, about in GROUPS.items())
    listed = "\n".join(GROUPS)
    pages["commands/index.md"] = (
        f"# Command line\n\n| | |\n| --- | --- |\n{rows}\n\nExit status: 0 done, 1 failed, 2 words or files that "
        "cannot be used, 3 a limit that you set was exceeded, 130 interrupted. `GAUSSMIX_DEBUG=1` shows tracebacks.\n\n"
        f"{others}\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
    )
    return pages


def help_of(words: list[str]) -> str:
    """What a command prints for ``--help``, 84 columns wide, without colours."""
    from gaussmix.cli import parse

    said = io.StringIO()
    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ |= {"COLUMNS": "84", "NO_COLOR": "1"}
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            parse([*words, "--help"])
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    plain = re.sub(r"\x1b\[[\d;]*m", "", said.getvalue())
    return "\n".join(line.rstrip() for line in plain.strip().splitlines())


def keep_pictures() -> None:
    """Copy what the gallery's scripts drew over the pictures of the same name in docs/gallery, in 128 colours."""
    from PIL import Image

    for kept in sorted((DOCS / "gallery").glob("*.png")):
        drawn = Image.open(GENERATED / "gallery" / "images" / f"sphx_glr_plot_{kept.stem}_001.png").convert("RGB")
        drawn.thumbnail((1200, 1200), Image.Resampling.LANCZOS)
        drawn.quantize(128, dither=Image.Dither.NONE).save(kept, optimize=True)


if __name__ == "__main__":
    keep_pictures()
