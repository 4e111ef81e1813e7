"""Kernels: what they are made from, where they are kept, and what is said while they are compiled."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gaussmix import _compiled, cli

KERNELS = """
import sys
import numpy as np
from gaussmix._compiled import compiled, kernel

FACTOR = 2.0

@kernel
def scaled(x):
    return FACTOR * x

@kernel(error_model="numpy", fastmath={"contract", "nsz"})
def total(values):
    sum = 0.0
    for i in range(values.size):
        sum += scaled(values[i])
    return sum

if __name__ == "__main__":
    print(total(np.arange(4.0)), total(np.arange(4, dtype=np.float32)), len(compiled))
"""
ALL = ["total", "scaled"]  # in the order in which numba meets them


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """The kernels as a module, after replacements in their text; ``compiled`` begins empty."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(_compiled, "compiled", [])

    def load(*changes: tuple[str, str]) -> ModuleType:
        text = KERNELS
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        module = ModuleType("kernels")
        exec(compile(text, tmp_path / "kernels.py", "exec"), vars(module))
        _compiled.compiled.clear()
        return module

    return load


def names() -> list[str]:
    return [name.rpartition(".")[2] for name in _compiled.compiled]


def test_a_kernel_is_its_function_and_is_compiled_once(load, tmp_path: Path) -> None:
    module = load()
    assert module.total.__name__ == "total"
    assert module.total(np.arange(4.0)) == 12
    assert names() == ALL
    again = load(("sum += ", "sum +=  "), ("FACTOR = 2.0", "\n\nFACTOR = 2.0"))  # other lines and spaces, the same code
    assert again.total(np.arange(4.0)) == 12
    assert names() == []
    assert again.total(np.arange(4, dtype=np.float32)) == 12  # another type of argument
    assert names() == ALL
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".nbc"]


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-9], lambda data: data[:500] + b"?" + data[501:]]
)
def test_damaged_code_is_compiled_anew(load, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    load().total(np.arange(4.0))
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert load().total(np.arange(4.0)) == 12
    assert names() == ALL
    assert load().total(np.arange(4.0)) == 12
    assert names() == []


@pytest.mark.parametrize(
    ("change", "expected", "anew"),
    [
        (("FACTOR = 2.0", "FACTOR = 3.0"), 18, ALL),
        (("return FACTOR * x", "return FACTOR * x * x"), 28, ALL),
        (("sum = 0.0", "sum = 1.0"), 13, ["total"]),
        (('error_model="numpy"', 'error_model="python"'), 12, ["total"]),
    ],
)
def test_what_a_kernel_is_made_from_decides(load, change: tuple[str, str], expected: float, anew: list[str]) -> None:
    load().total(np.arange(4.0))
    assert load(change).total(np.arange(4.0)) == expected
    assert names() == anew


def run(script: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "GAUSSMIX_CACHE")}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env={**kept, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_an_installation_that_cannot_be_written_to(tmp_path: Path) -> None:
    """A file stands where a folder is needed: no user, root neither, can write there."""
    installed, temporary = tmp_path / "installed", tmp_path / "temporary"
    installed.mkdir()
    temporary.mkdir()
    (installed / "kernels.py").write_text(KERNELS)
    (installed / "__pycache__").write_text("")
    home = {"HOME": str(tmp_path / "home"), "TMPDIR": str(temporary)}
    homeless = {**home, "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    for place, number in ((home, 4), (home, 0), (homeless, 4), (homeless, 0)):
        assert run(installed / "kernels.py", **place) == f"12.0 12.0 {number}\n"
    (own,) = temporary.iterdir()
    assert own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)  # others could have put code there
    assert "12.0 12.0 4\n" in (said := run(installed / "kernels.py", **homeless))
    assert said.count("nothing that is compiled can be kept: set NUMBA_CACHE_DIR") == 1


@pytest.mark.parametrize("home", [Path("~/.cache/gaussmix"), RuntimeError("could not determine the home directory")])
def test_a_user_without_a_home(home: Path | RuntimeError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def user_cache_path(name: str) -> Path:
        if isinstance(home, Path):
            return home
        raise home

    monkeypatch.delenv("GAUSSMIX_CACHE")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", user_cache_path)
    beside, shared = (folder for folder, _ in _compiled._folders(tmp_path / "kernels.py"))
    assert beside == tmp_path / "__pycache__"
    assert shared.name == f"gaussmix-{os.getuid()}"


def test_what_was_compiled_at_installation_serves_who_may_only_read(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    assert run(tmp_path / "kernels.py") == "12.0 12.0 4\n"
    cache = tmp_path / "__pycache__"
    before = sorted(cache.iterdir())
    cache.chmod(0o555)
    tmp_path.chmod(0o555)
    assert run(tmp_path / "kernels.py", HOME="/dev/null", TMPDIR="/dev/null") == "12.0 12.0 0\n"
    tmp_path.chmod(0o755)
    assert sorted(cache.iterdir()) == before
    cache.chmod(0o755)


def test_four_processes_race_for_an_empty_cache(tmp_path: Path) -> None:
    script = tmp_path / "kernels.py"
    script.write_text(KERNELS)
    turned = tmp_path / "turned.py"  # the other type first
    turned.write_text(KERNELS.replace("print(total(np.arange(4.0)), ", "print(*[total(np.arange(4, dtype='f4'))], "))
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    racers = [
        subprocess.Popen([sys.executable, file], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for file in (script, turned, script, turned)
    ]
    for racer in racers:
        out, err = racer.communicate(timeout=120)
        assert (racer.returncode, err) == (0, "")
        assert out.startswith("12.0 12.0 ")
    assert run(script, NUMBA_CACHE_DIR=str(tmp_path / "cache")) == "12.0 12.0 0\n"
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".nbc"}


def test_the_command_line_says_it_once_and_the_library_when_asked(load, monkeypatch, capsys, caplog) -> None:
    from gaussmix.cli.density import ShowModel

    module = load()
    monkeypatch.setattr(ShowModel, "__call__", lambda _: print(module.total(np.arange(4.0))))
    assert cli.main(["density", "info", "x"]) == 0
    assert capsys.readouterr() == ("12.0\n", f"gaussmix: {_compiled.ANNOUNCEMENT}\n")
    assert cli.main(["density", "info", "x"]) == 0
    assert capsys.readouterr() == ("12.0\n", "")

    caplog.clear()
    changed = load(("FACTOR = 2.0", "FACTOR = 4.0"))
    with caplog.at_level(logging.INFO, "gaussmix"):
        assert changed.total(np.arange(4.0)) == 24
    assert caplog.messages == [_compiled.ANNOUNCEMENT]
    assert load(("FACTOR = 2.0", "FACTOR = 5.0")).total(np.arange(4.0)) == 30
    assert capsys.readouterr() == ("", "")
    assert names() == ALL


def test_numba_loads_when_a_kernel_is_called(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS + "\n    assert 'numba' in sys.modules")
    (tmp_path / "use.py").write_text("import kernels, sys\nassert 'numba' not in sys.modules\nprint(kernels.FACTOR)")
    assert run(tmp_path / "use.py") == "2.0\n"
