"""numpydoc's own validation, on every public name: what the faces of the packages name, and the methods of classes.

python .ci/docstrings.py [PACKAGE ...]      # such as gaussmix.density; all of them if none is named
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import sys
from collections.abc import Iterator

from numpydoc.validate import validate

CHECKS = set(
    "GL03 GL06 GL07 GL08 SS01 SS02 SS03 SS04 SS05 SS06 PR01 PR02 PR03 PR04 PR07 PR08 PR09 PR10 RT04 RT05".split()
)
"""Blank lines, unknown and misplaced sections, missing docstrings; the first line: there, capital, full stop, one line,
a verb in the infinitive; parameters: all there, none unknown, in order, with a type and a sentence each."""


def packages() -> list[str]:
    """Every public package of gaussmix, itself first."""
    import gaussmix

    found = pkgutil.iter_modules(gaussmix.__path__)
    return ["gaussmix", *(f"gaussmix.{m.name}" for m in found if m.ispkg and not m.name.startswith("_"))]


def public_names(package: str) -> Iterator[str]:
    """Functions and classes that the package's face names, and the public methods that classes define themselves."""
    face = importlib.import_module(package)
    for name in getattr(face, "__all__", []):
        thing = getattr(face, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or not thing.__module__.startswith("gaussmix"):
            continue
        yield f"{thing.__module__}.{thing.__qualname__}"
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                if not method.startswith("_") and inspect.isfunction(plain):
                    yield f"{thing.__module__}.{thing.__qualname__}.{method}"


def one_argument(name: str) -> bool:
    """A method of at most one argument: its sentence may say it all."""
    owner, _, method = name.rpartition(".")
    module, _, class_name = owner.rpartition(".")
    thing = getattr(sys.modules.get(module), class_name, None)
    if not inspect.isclass(thing):
        return False
    found = getattr(thing, method)  # bound if it is a class method
    return len(inspect.signature(found).parameters) <= 1 + (not inspect.ismethod(found))


def told_elsewhere(name: str) -> bool:
    """A class whose constructor is another library's, or a dataclass with a docstring below each of its fields."""
    module, _, class_name = name.rpartition(".")
    thing = getattr(sys.modules.get(module), class_name, None)
    if not dataclasses.is_dataclass(thing):
        return inspect.isclass(thing) and not getattr(thing.__init__, "__module__", "").startswith("gaussmix")
    said: set[str] = set()
    for each in inspect.getmro(thing):
        body = ast.parse(inspect.getsource(each)).body[0].body if dataclasses.is_dataclass(each) else []
        said |= {
            field.target.id
            for field, text in itertools.pairwise(body)
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        }
    return {field.name for field in dataclasses.fields(thing)} <= said


def main() -> int:
    names = dict.fromkeys(name for package in sys.argv[1:] or packages() for name in public_names(package))
    wrong = 0
    for name in names:
        found = validate(name)
        for code, text in found["errors"]:
            if code in CHECKS and not (code == "PR01" and (one_argument(name) or told_elsewhere(name))):
                print(f"{found['file']}:{found['file_line']}: {name}: {code} {text}")
                wrong += 1
    print(f"{len(names)} public names, {wrong} errors")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
