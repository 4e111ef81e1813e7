"""The house: what an import loads, the order of the layers, versions and pins, the README's code."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

import gaussmix

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "gaussmix"
README = ROOT / "README.md"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# None of these loads on `import gaussmix`.
HEAVY = {
    "torch",
    "diffusers",
    "accelerate",
    "huggingface_hub",
    "tensorboard",
    "PIL",
    "sklearn",
    "numba",
    "matplotlib",
    "pandas",
    "pyarrow",
    "polars",
    "narwhals",
    "dask",
    "python_avatars",
    "nicegui",
}

# Lowest first: a module imports from its own layer and from those before it.
LAYERS = (
    "_typing", "_lazy", "_guard", "_files", "_compiled", "_progress", "density", "plots", "distances", "ngmg",
    "nn", "conditional", "tables", "latents", "data", "training", "metrics", "sheets", "diffusion", "autoencoder",
    "style", "studio", "cli", "__main__",
)  # fmt: skip
APPLICATIONS = {"diffusion", "autoencoder", "style", "tables", "conditional"}  # none imports another
ANYWHERE = {"_typing", "_lazy", "_guard", "_files", "_compiled"}
KEPT_SHORT = {"__init__", "__main__", "_typing"}
LONG, MOST_LONG, LONGEST_FUNCTION, MOST_MODULES = 400, 4, 80, 220
SHORT = 40  # lines; a module below it says in its head why it is one


def run_python(code: str, *, cwd: Path = ROOT, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=timeout)


# --- what an import loads


def loaded_by(code: str) -> set[str]:
    """Top-level modules in sys.modules of a fresh interpreter after `code`."""
    done = run_python(f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import gaussmix", "import gaussmix; dir(gaussmix)", "import gaussmix.cli"])
def test_import_is_light(code: str) -> None:
    assert not loaded_by(code) & HEAVY


def test_the_light_import_test_can_fail() -> None:
    assert loaded_by("import gaussmix, torch") & HEAVY == {"torch"}


def test_public_names_load_on_first_use() -> None:
    assert set(gaussmix.__all__) <= set(dir(gaussmix))
    for name in gaussmix.__all__:
        assert getattr(gaussmix, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'AtributeUNet'"):
        _ = gaussmix.AtributeUNet


def test_missing_extra_is_named() -> None:
    """With torch out of reach, a name that needs it says what to install."""
    done = run_python("import sys; sys.modules['torch'] = None\nimport gaussmix\ngaussmix.AttributeDiffusionPipeline")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: gaussmix.diffusion.AttributeDiffusionPipeline needs torch, which is not installed: "
        "pip install 'gaussmix[diffusion]'"
    )


def module_paths() -> list[Path]:
    """Every module of the package but `__main__`."""
    return [path for path in sorted(SOURCE.rglob("*.py")) if path.stem != "__main__"]


def module_names() -> list[str]:
    """The same as they are imported."""
    names = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in module_paths()]
    return [name.removesuffix(".__init__") for name in names]


def test_every_module_imports_and_none_brings_torchvision() -> None:
    loaded = loaded_by("import " + ", ".join(module_names()))
    assert "torch" in loaded
    assert not loaded & {"torchvision", "transformers"}


def test_python_m_gaussmix() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gaussmix", "--help"], capture_output=True, text=True, timeout=300, check=True
    )
    assert "faces" in done.stdout


# --- layers


def imported_layers(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """(line, layer) of each import of gaussmix in `source`, in functions and under TYPE_CHECKING as well."""
    package = path.relative_to(SOURCE.parent).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            parts = target.split(".")
            if parts[0] == "gaussmix" and len(parts) > 1 and parts[1] != "__version__":
                yield node.lineno, parts[1]


def layer_errors(path: Path, source: str) -> list[str]:
    """What is wrong with the imports of the module at `path`, a line each."""
    layer = path.relative_to(SOURCE).with_suffix("").parts[0]
    if layer not in LAYERS:
        return [f"{path.name}: layer {layer!r} has no place in LAYERS"]
    errors = []
    for line, other in imported_layers(path, source):
        where = f"{path.relative_to(ROOT)}:{line}: {layer} imports {other}"
        if other not in LAYERS:
            errors.append(f"{where}, which is no layer: import from the module that defines the name")
        elif other not in ANYWHERE and LAYERS.index(other) > LAYERS.index(layer):
            errors.append(f"{where}, which lies above it")
        elif other != layer and {other, layer} <= APPLICATIONS:
            errors.append(f"{where}: no application imports another")
    return errors


def test_layers_import_downwards() -> None:
    paths = [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]
    assert len(paths) > 5
    assert not [error for path in paths for error in layer_errors(path, path.read_text())]


@pytest.mark.parametrize(
    ("place", "source", "errors"),
    [
        ("data/x.py", "from gaussmix.diffusion.unet import AttributeUNet", 1),
        ("data/x.py", "def f():\n    import gaussmix.metrics", 1),
        ("latents/x.py", "from ..training import schedule", 1),
        ("metrics/x.py", "from gaussmix import AttributeUNet", 1),
        ("style/x.py", "from gaussmix import diffusion", 1),
        ("attic/x.py", "import numpy", 1),
        (
            "diffusion/x.py",
            "from gaussmix import __version__\nfrom ..data.base import SPLITS\nfrom . import unet",
            0,
        ),
    ],
)
def test_the_layer_test_can_fail(place: str, source: str, errors: int) -> None:
    assert len(layer_errors(SOURCE / place, source)) == errors


# --- no circles, one name for one thing, a size that fits a head


def imported_modules(name: str, source: str, modules: set[str]) -> set[str]:
    """Modules of ours that the module `name` imports, in functions as well, not under TYPE_CHECKING."""
    tree = ast.parse(source)
    package = name if any(other.startswith(f"{name}.") for other in modules) else name.rpartition(".")[0]
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in modules else module for a in node.names}
    return (found & modules) - {name}


def circles(sources: dict[str, str]) -> list[set[str]]:
    """Groups of modules that import each other, directly or round about; a face's lazy names are not imports."""
    modules = set(sources)
    reach = {name: imported_modules(name, source, modules) for name, source in sources.items()}
    grew = True
    while grew:
        grew = False
        for mine in reach.values():
            wider = mine.union(*(reach[other] for other in mine)) if mine else mine
            grew |= len(wider) > len(mine)
            mine |= wider
    inside = [name for name in sources if name in reach[name]]
    return sorted({frozenset(other for other in reach[n] if n in reach[other]) for n in inside}, key=sorted)  # pyright: ignore


def package_sources() -> dict[str, str]:
    return {name: path.read_text() for name, path in zip(module_names(), module_paths(), strict=True)}


def test_no_circle_of_imports() -> None:
    assert circles(package_sources()) == []


def test_the_circle_test_can_fail() -> None:
    lazy = {
        "g.a": "def f():\n    from g.b import x",
        "g.b": "from g import c",
        "g.c": "import g.a",
        "g.d": "import g.a",
    }
    assert circles(lazy) == [{"g.a", "g.b", "g.c"}]
    only_types = {"g.a": "if TYPE_CHECKING:\n    from g.b import x", "g.b": "from g.a import y"}
    assert circles(only_types) == []


def test_every_package_has_a_face() -> None:
    """`__all__`, every name of it there, and a line that says what the package is."""
    for path in sorted(SOURCE.rglob("__init__.py")):
        parts = path.parent.relative_to(SOURCE.parent).parts
        if any(part.startswith("_") for part in parts) or "models" in parts:
            continue
        package = importlib.import_module(".".join(parts))
        assert package.__doc__, parts
        assert package.__all__, parts
        assert all(getattr(package, name) is not None for name in package.__all__)
        assert set(package.__all__) <= set(dir(package))


def definitions() -> Iterator[tuple[Path, ast.AST]]:
    for path in [*SOURCE.rglob("*.py"), *(ROOT / "reproduction").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def test_no_two_classes_of_one_name() -> None:
    """Each page of a paper has its own `Config`."""
    places: dict[str, list[str]] = {}
    for path, node in definitions():
        if isinstance(node, ast.ClassDef) and not (
            node.name == "Config" and path.is_relative_to(ROOT / "reproduction")
        ):
            places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_modules_and_functions_fit_a_head() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert len(lines) <= MOST_MODULES
    assert len([path for path, n in lines.items() if n > LONG]) <= MOST_LONG
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path, node in definitions()
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []
    short = [str(path.relative_to(ROOT)) for path, n in lines.items() if n < SHORT and path.stem not in KEPT_SHORT]
    assert short == []


# --- version and pins


def normalised(requirement: str) -> str:
    """The project's name in a requirement, as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


def required() -> dict[str, str]:
    """Direct requirement -> its specifier, the extras' included."""
    project = PYPROJECT["project"]
    lines = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    return {normalised(line): line for line in lines if normalised(line) != "gaussmix"}


@cache
def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {normalised(line): line.partition("==")[2] for line in lines}


def test_version_is_the_installed_one() -> None:
    """The metadata is made from `__version__`; after a change, `pip install -e .` brings it up to date."""
    assert importlib.metadata.version("gaussmix") == gaussmix.__version__


def test_changelog_has_this_version() -> None:
    assert f"## [{gaussmix.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_requirement_torch_first() -> None:
    assert (ROOT / "constraints.txt").read_text().startswith("torch==2.13.0\n")
    assert all(re.fullmatch(r"[\w.]+", version) for version in pinned().values())
    assert set(required()) <= set(pinned())


def test_torchvision_is_nowhere() -> None:
    assert not {"torchvision", "transformers"} & (set(required()) | set(pinned()))


# --- no network


def test_network_is_blocked() -> None:
    with socket.socket() as sock, pytest.raises(RuntimeError, match=r"connection to 192\.0\.2\.1"):
        sock.connect(("192.0.2.1", 80))  # an address kept for documentation


def test_loopback_is_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()


# --- the README

SKIP = "<!-- no-test -->"
CONSOLE = {"bash", "sh", "shell", "console"}


def blocks(text: str, languages: set[str]) -> list[tuple[int, str, bool]]:
    """(0-based first line, code, whether SKIP precedes it) of each fenced block in one of `languages`."""
    found: list[tuple[int, str, bool]] = []
    lines = text.splitlines()
    start: int | None = None
    language = before = ""
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if start is None:
                start, language = number + 1, line.removeprefix("```").strip()
            else:
                if language in languages:
                    found.append((start, "\n".join(lines[start:number]), before == SKIP))
                start, before = None, ""
        elif start is None and line.strip():
            before = line.strip()
    return found


def python_script(text: str) -> str:
    """All python blocks not marked SKIP as one script; lines keep their numbers: tracebacks point into `text`."""
    script = [""] * len(text.splitlines())
    for start, code, skipped in blocks(text, {"python", "py"}):
        if not skipped:
            script[start : start + len(code.splitlines())] = code.splitlines()
    return "\n".join(script)


def gaussmix_commands(text: str) -> list[list[str]]:
    """The words after `gaussmix` in each command line of the console blocks."""
    commands = []
    for _, code, _ in blocks(text, CONSOLE):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # OMP_NUM_THREADS=1 gaussmix ...
                words.pop(0)
            if words and Path(words[0]).name == "gaussmix":
                commands.append(words[1:])
    return commands


def command_error(words: Sequence[str]) -> str | None:
    """Why `gaussmix WORDS` is wrong (an unknown command, a flag or a value that it does not take), or None."""
    from gaussmix.cli import CommandError, parse

    try:
        parse([*takewhile(lambda word: word != ">", words)])
    except CommandError as error:
        return str(error)
    except SystemExit as stop:  # help was printed, or a group alone
        return "no command" if stop.code else None
    return None


SAMPLE = f"""
```python
x = 1
```
{SKIP}

```python
raise SystemExit("skipped")
```
```python
assert x == 2
```
```bash
$ OMP_NUM_THREADS=1 gaussmix faces train --data avatars \\
    --output runs/demo  # a comment
cd gaussmix
```
"""


def test_readme_python_runs(tmp_path: Path) -> None:
    script = python_script(README.read_text())
    assert script.strip(), "README.md has no python block"
    (tmp_path / "README.py").write_text(script)
    done = subprocess.run([sys.executable, "README.py"], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


def test_readme_and_docs_commands_exist() -> None:
    pages = {path.name: gaussmix_commands(path.read_text()) for path in [README, *(ROOT / "docs").glob("*.md")]}
    assert len(pages["README.md"]) > 10
    assert sum(map(len, pages.values())) > 30
    assert not [(name, error) for name, page in pages.items() for words in page if (error := command_error(words))]


def test_readme_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join(code for _, code, _ in blocks(README.read_text(), CONSOLE))
    used = set(re.findall(r"\bmake ([a-z]+)\b", code))
    assert {"demo", "test"} <= used <= targets


def test_the_readme_tests_can_fail(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(python_script(SAMPLE))
    done = subprocess.run([sys.executable, "sample.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert 'sample.py", line 11' in done.stderr
    assert "AssertionError" in done.stderr
    assert gaussmix_commands(SAMPLE) == [["faces", "train", "--data", "avatars", "--output", "runs/demo"]]
    assert command_error("faces train --data avatars".split()) is None
    assert command_error("faces --help".split()) is None
    assert "no flag --dta; did you mean --data?" in str(command_error("faces train --dta avatars".split()))
    assert "no flag --out; did you mean --output?" in str(command_error("faces train --out runs/demo".split()))
    assert "Error parsing --steps" in str(command_error("faces train --steps many".split()))
    assert "no command tran; did you mean train?" in str(command_error("faces tran".split()))
