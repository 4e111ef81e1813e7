"""The house: what an import loads, the order of the layers, versions and pins, the README's code."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
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
    "dask",
    "python_avatars",
}

# Lowest first: a module imports from its own layer and from those before it.
LAYERS = (
    "whole_file", "density", "distances", "ngmg", "latents", "nn", "progress", "data", "training", "metrics",
    "pictures", "plots", "diffusion", "autoencoder", "style", "papers", "studio", "cli", "__main__",
)  # fmt: skip
APPLICATIONS = {"diffusion", "autoencoder", "style"}  # none imports another


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
    done = run_python("import sys; sys.modules['torch'] = None\nimport gaussmix\ngaussmix.AttributeUNet")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: gaussmix.AttributeUNet needs torch, which is not installed: pip install 'gaussmix[diffusion]'"
    )


def module_names() -> list[str]:
    """Every module of the package but `__main__`, as it is imported."""
    paths = sorted(SOURCE.rglob("*.py"))
    names = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_every_module_imports_and_none_brings_torchvision() -> None:
    loaded = loaded_by("import " + ", ".join(module_names()))
    assert "torch" in loaded
    assert not loaded & {"torchvision", "transformers"}


def test_python_m_gaussmix() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gaussmix", "--help"], capture_output=True, text=True, timeout=300, check=True
    )
    assert "train" in done.stdout


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
        elif LAYERS.index(other) > LAYERS.index(layer):
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
            "from gaussmix import __version__\nfrom ..data.dataset import SPLITS\nfrom . import unet",
            0,
        ),
    ],
)
def test_the_layer_test_can_fail(place: str, source: str, errors: int) -> None:
    assert len(layer_errors(SOURCE / place, source)) == errors


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


@cache
def help_of(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gaussmix", *command.split(), "--help"],
        capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_error(words: list[str]) -> str | None:
    """Why `gaussmix WORDS` is wrong (an unknown sub-command, a flag that its help does not list), or None."""
    from gaussmix.cli import find_command

    if not words or words[0] in ("--help", "-h", "--version"):
        return None
    command = find_command(words)
    if command is None:
        return f"no command {words[0]!r}"
    listed = set(re.findall(r"--[\w.-]+", help_of(command)))
    unknown = [word for word in words[1:] if word.startswith("--") and word.partition("=")[0] not in listed]
    return f"{command} has no {unknown[0]}" if unknown else None


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
$ OMP_NUM_THREADS=1 gaussmix train --data avatars \\
    --out runs/demo  # a comment
cd gaussmix
```
"""


def test_readme_python_runs(tmp_path: Path) -> None:
    script = python_script(README.read_text())
    assert script.strip(), "README.md has no python block"
    (tmp_path / "README.py").write_text(script)
    done = subprocess.run([sys.executable, "README.py"], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


def test_readme_commands_exist() -> None:
    commands = gaussmix_commands(README.read_text())
    assert commands, "README.md shows no gaussmix command"
    assert not [error for words in commands if (error := command_error(words))]


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
    assert gaussmix_commands(SAMPLE) == [["train", "--data", "avatars", "--out", "runs/demo"]]
    assert command_error(["train", "--data", "avatars"]) is None
    assert command_error(["train", "--dta", "avatars"]) == "train has no --dta"
    assert command_error(["tran"]) == "no command 'tran'"
