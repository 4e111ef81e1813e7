"""What strangers meet: the workflows run commands that exist, metadata agree, docstrings' examples run."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_house import ROOT, SOURCE, module_names, normalised

import gaussmix

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
SYSTEM = {"mkdir", "tar"}


# --- the workflows


def steps(workflow: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(job, step) of each step of a workflow."""
    for name, job in yaml.safe_load(workflow.read_text())["jobs"].items():
        for step in job["steps"]:
            yield name, step


def command_faults(line: str) -> list[str]:
    """What is wrong with a line of a shell: a target, script, module, test or extra that is not there."""
    return [fault for command in line.split("&&") if (fault := command_fault(shlex.split(command, comments=True)))]


def command_fault(words: list[str]) -> str | None:
    program, rest = words[0], words[1:]
    if program == "make":
        targets = [word for word in rest if re.fullmatch("[a-z]+", word) and word != "unpacked"]
        missing = [target for target in targets if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)]
        return f"no target {missing}" if missing or not targets else None
    if program.startswith("."):
        path = ROOT / program
        return None if path.is_file() and path.stat().st_mode & 0o100 else f"{program} is no script"
    if program == "python":
        return python_fault(rest)
    return None if program in SYSTEM else f"unknown program {program}"


def python_fault(rest: list[str]) -> str | None:
    """Of the words after `python`."""
    if rest[0] != "-m":
        return None if (ROOT / rest[0]).is_file() else f"{rest[0]} is no script"
    if importlib.util.find_spec(rest[1]) is None:
        return f"no module {rest[1]}"
    if rest[1] == "pytest":
        missing = [word for word in rest[2:] if not word.startswith("-") and not (ROOT / word).exists()]
        return f"no tests {missing}" if missing else None
    extras = {name for word in rest for name in re.findall(r"\w+", "".join(re.findall(r"\[(.*)\]", word)))}
    groups = {rest[place + 1] for place, word in enumerate(rest) if word == "--group"}
    known = set(PROJECT["project"]["optional-dependencies"]), set(PROJECT["dependency-groups"])
    return None if extras <= known[0] and groups <= known[1] else f"no extras or groups {extras | groups}"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_of_the_workflows_exist(workflow: Path) -> None:
    runs = [line for _, step in steps(workflow) if "run" in step for line in step["run"].splitlines()]
    assert runs
    assert not [fault for line in runs for fault in command_faults(line)]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_steps_of_the_workflows_are_whole(workflow: Path) -> None:
    """Each runs something or uses an action of a stated version; a token may read alone unless a job says otherwise."""
    text = yaml.safe_load(workflow.read_text())
    assert text["permissions"] == {"contents": "read"}
    assert {"on", True} & set(text)  # YAML 1.1 reads `on` as true
    for job, step in steps(workflow):
        assert ("run" in step) != ("uses" in step), (job, step)
        assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


@pytest.mark.parametrize(
    "line",
    [
        "make tset", "make", ".ci/nothing", "python .ci/nothing.py", "python -m nothing_of_that_name",
        "python -m pytest tests/nothing", "python -m pip install -e '.[nothing]'",
        "python -m pip install --group nothing -e .", "curl example.org",
    ],
)  # fmt: skip
def test_the_workflow_test_can_fail(line: str) -> None:
    assert len(command_faults(line)) == 1


def test_what_is_said_of_versions_is_tested() -> None:
    """The oldest and the newest Python of the classifiers run; so do the systems that SECURITY.md names."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    said = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert PROJECT["project"]["requires-python"] == f">={said[0]}"
    for job in ("linux", "core"):
        assert jobs[job]["strategy"]["matrix"]["python"] == [said[0], said[-1]]
    assert jobs["core"]["strategy"]["matrix"]["system"] == ["macos-latest", "windows-latest"]


def test_the_oldest_dependencies_are_the_lower_bounds() -> None:
    path = ROOT / ".ci" / "oldest.py"
    spec = importlib.util.spec_from_file_location("oldest", path)
    assert spec is not None
    assert spec.loader is not None
    oldest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oldest)
    lines = oldest.lower_bounds(PROJECT["project"]["dependencies"])
    assert [normalised(line) for line in lines] == [normalised(each) for each in PROJECT["project"]["dependencies"]]
    assert "numpy==1.26.*" in lines
    with pytest.raises(SystemExit, match=r"'numpy' has no lower bound"):
        oldest.lower_bounds(["numpy"])


# --- metadata


def test_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == gaussmix.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert [each["name"] for each in citation["authors"]] == [each["name"] for each in PROJECT["project"]["authors"]]


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_forms_are_whole(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    assert all(field["type"] in {"textarea", "input", "markdown"} for field in form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"]) or path.stem == "wish"


# --- the changelog


def git(folder: Path, *words: str) -> None:
    who = "-c user.name=a -c user.email=a@b.c -c init.defaultBranch=main -c commit.gpgsign=false".split()
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("files", "message", "status"),
    [
        (["src/a.py"], "A change", 1),
        (["src/a.py", "CHANGELOG.md"], "A change", 0),
        (["src/a.py"], "A comment\n\nNo changelog", 0),
        (["docs/a.md"], "A page", 0),
    ],
)
def test_a_change_of_the_package_needs_a_line(files: list[str], message: str, status: int, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/changelog").write_text((ROOT / ".ci/changelog").read_text())
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "branch", "base")
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("new\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", message)
    done = subprocess.run(["bash", ".ci/changelog", "base"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stderr


# --- examples in docstrings


def with_examples() -> list[str]:
    """Modules whose source has a prompt of Python's."""
    return [name for name in module_names() if ">>> " in module_source(name)]


def module_source(name: str) -> str:
    path = SOURCE.parent.joinpath(*name.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


@pytest.mark.parametrize("name", with_examples())
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert tried > 0
    assert not failed


EXAMPLES = [
    *"gaussmix.BinnedCounts gaussmix.GMMExpansion gaussmix.GaussianBasis gaussmix.GaussianMixture1D".split(),
    *"gaussmix.LatticeMixture1D gaussmix.ConditionalGMMExpansion gaussmix.load_labelled".split(),
    *"gaussmix.distances.compare gaussmix.plots.kdeplot gaussmix.plots.DensityDisplay".split(),
    *"gaussmix.density.TruncatedMixture1D gaussmix.latents.ExpansionSampler".split(),
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_dozen_names_have_an_example(name: str) -> None:
    package, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(package), attribute)
    assert doctest.DocTestFinder(recurse=False).find(thing)[0].examples
